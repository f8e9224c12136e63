"""Files made for one reader: written whole, then sent."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO
from uuid import UUID

import sqlalchemy as sa
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.deps import noted, witnessed
from api.settings import settings
from geo import exporting, exports
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import Forbidden, Invalid, TooLarge, Unavailable
from geo.exporting import Order
from geo.exports import Export
from geo.keys import FieldKey

PRIVATE = {"Cache-Control": "no-store"}
KINDS = {
    "csv": "text/csv; charset=utf-8", "geojson": "application/geo+json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "geojsons": "application/geo+json-seq",
    "gpkg": "application/geopackage+sqlite3", "fgb": "application/vnd.flatgeobuf", "shp": "application/zip",
    "kml": "application/vnd.google-earth.kml+xml", "parquet": "application/vnd.apache.parquet",
}
BLOCK = 1 << 16
PATIENCE_SECONDS = 5.0
ROWS = 200_000  # written in 28 s on two processors with ten others at work; a proxy waits for a minute

# Writing takes a processor, and people who look at a map must find one too.
_writing = threading.BoundedSemaphore(1)


def asked(
    request: Request, connection: sa.Connection, who: Caller, noun: str, kind: str, fields: list[str] | None, where: Mapping[str, Any],
    clear: bool, purpose: str, note: str, encoding: str = "utf-8", crs: str | None = None,
) -> UUID | Response:
    """The file; or, where persons are in it, the number of the request that a second person must approve."""
    resource = RESOURCES.get(noun)
    if resource is None or not who.knows(resource):
        raise Invalid("没有这种记录。", field="noun", choices=[name for name, known in RESOURCES.items() if who.knows(known)])
    order = exports.ordered(resource, kind, who.sees(resource), fields, where, encoding=encoding, crs=crs)
    if exports.needs_second(resource, clear):
        id = exports.ask(connection, order, where, clear, purpose, note)
        noted(request, "export", noun, str(id), purpose, "requested")
        return id
    witnessed(request, "export", noun, f"?{order.want.told}", purpose)
    if exporting.counted(connection, order, ROWS) > ROWS:
        raise TooLarge("超过 {most} 行。请缩小区域或加上条件,或用命令 jingwei export。", most=ROWS)
    with written() as to:
        exporting.written(connection, order, to)
        return _sent(to, exports.file_name(noun, kind, who), kind)


def taken(connection: sa.Connection, who: Caller, order: Order) -> Response:
    """The file of a list that anybody may read who can ask for it, in another format than GeoJSON."""
    if exporting.counted(connection, order, ROWS) > ROWS:
        raise TooLarge("超过 {most} 行。请缩小区域或加上条件,或用命令 jingwei export。", most=ROWS)
    with written() as to:
        exporting.written(connection, order, to)
        return _sent(to, exports.file_name(order.resource.name, order.kind, who), order.kind)


def fetched(
    request: Request, connection: sa.Connection, who: Caller, id: UUID, key: FieldKey, encoding: str = "utf-8", crs: str | None = None
) -> Response:
    """The file of an approved request, once."""
    export = exports.approved(connection, id)
    entry = witnessed(request, "export", export.noun, str(id), export.purpose)
    with written() as to:
        exports.take(connection, export, to, entry, who, key, encoding, crs)
        return _sent(to, exports.file_name(export.noun, export.format, who, export), export.format)


def moved(request: Request, connection: sa.Connection, who: Caller, id: UUID, target: exports.Move, opinion: str = "") -> Export:
    """A request after one more step, which is in the trail before it is committed."""
    needed = "export" if target == "withdrawn" else "approve"
    if needed not in who.may:
        raise Forbidden()
    exports.move(connection, id, target, opinion)
    export = exports.told(connection, id)
    noted(request, needed, export.noun, str(id), export.purpose, target)
    return export


@contextmanager
def written() -> Iterator[BinaryIO]:
    """A file without a name, to be written whole before a byte of it is sent: what breaks off half way is an error and no
    short file that looks like a whole one, and a slow reader holds neither a transaction nor a connection."""
    if not _writing.acquire(timeout=PATIENCE_SECONDS):
        raise Unavailable(retry_after=10)
    try:
        folder = settings().home / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as unless_sent:
            to = unless_sent.enter_context(tempfile.TemporaryFile(dir=folder))
            yield to
            unless_sent.pop_all()
    finally:
        _writing.release()


def _sent(to: BinaryIO, name: str, kind: str) -> Response:
    size = to.tell()
    to.seek(0)

    def blocks() -> Iterator[bytes]:
        with to:
            while block := to.read(BLOCK):
                yield block

    headers = PRIVATE | {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(blocks(), headers=headers, media_type=KINDS[kind])
