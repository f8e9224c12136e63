"""Photos of cases: sent by who reported and by who works with it, seen by the latter, and by everybody once a person has released each."""

from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, get_args
from uuid import UUID

import anyio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api import deps
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, Home, Key, LanguageNow, able, anyone, noted, strict, taken
from api.limits import Limits, limited
from api.multipart import Parts
from geo import photos, query, reporting
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import Invalid, TooLarge, Unavailable
from geo.language import translated
from geo.photos import A_REPORT, BYTES, KINDS, Photo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path as File


PRIVATE = {"Cache-Control": "private, no-store"}
# Of a form without scripts, all its photos together: they are held in memory, never on a disk as they came.
FORM = 25_000_000
FIELDS, FIELD = 40, 20_000
# Forms that are held at once in one process, and for how long a slow one may take.
RECEIVING, SECONDS = 6, 120.0
# Decoders at work at once.
DEVELOPING = 2
CASE = RESOURCES["incidents"]

routes = APIRouter(tags=["incidents"], responses=dict.fromkeys((400, 401, 403, 404, 413, 422, 429, 503), PROBLEM))
FORMED = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["photo"],
    "properties": {"photo": {"type": "string", "format": "binary"}, "kind": {"type": "string", "enum": list(get_args(photos.Kind))}},
}}}}}  # fmt: skip


class Form(Parts):
    """A form with photos: `fields` as text, the last of a name counting, and `files`, those that are not empty."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[bytes] = []

    def _part(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]
        if self._filed and len(self._data) > BYTES:
            raise TooLarge("一张照片最多 {most} MB。", most=BYTES // 1_000_000)
        if not self._filed and (len(self._data) > FIELD or len(self.fields) > FIELDS):
            raise TooLarge()

    def _over(self) -> None:
        super()._over()
        if self._filed and self._data:
            self.files.append(bytes(self._data))
            if len(self.files) > A_REPORT:
                raise Invalid("一次最多 {most} 张照片。", field="photo", most=A_REPORT)


async def received(request: Request, most: int = FORM) -> Form:
    """A form with photos, held in memory. Raises `Invalid` for what is no such form, `TooLarge`, `Unavailable` for one too slow."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise Invalid("请用表单(multipart/form-data)发送,照片放在 photo 一栏。", field="photo")
    form, size = Form(), 0
    async with deps.meanwhile(request), _held(request):
        try:
            parser = MultipartParser(options[b"boundary"], form.callbacks())
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise TooLarge("照片一共最多 {most} MB。", most=most // 1_000_000)
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise Invalid("表单不完整或读不懂,请重新发送。", field="photo") from error
    if not form.ended:
        raise Invalid("表单不完整或读不懂,请重新发送。", field="photo")
    return form


@asynccontextmanager
async def _held(request: Request) -> "AsyncIterator[None]":
    try:
        with anyio.fail_after(SECONDS):
            async with taken(request.app.state.receiving):
                yield
    except TimeoutError as error:
        raise Unavailable("网络太慢,没有收完,请再试一次。", retry_after=5) from error


async def developed(request: Request, sent: Sequence[bytes]) -> list[Photo]:
    """What is to be seen on photos that somebody sent, a few decoders at work at once. Raises as `photos.developed`."""
    done = []
    async with deps.meanwhile(request):
        for one in sent:
            async with taken(request.app.state.developing):
                done.append(await anyio.to_thread.run_sync(photos.developed, one))
    return done


def _one(form: Form) -> tuple[bytes, photos.Kind]:
    kind = form.fields.get("kind") or "near"
    if len(form.files) != 1 or kind not in KINDS or form.fields.keys() - {"kind", "number"}:
        raise Invalid("一次一张照片,放在 photo 一栏;kind 是 near、far、before、after 之一。", field="photo")
    return form.files[0], kind


@contextmanager
def bound(request: Request, who: Caller) -> "Iterator[Any]":
    """A transaction of the caller, from a thread."""
    with contextmanager(deps.bound)(request, who) as connection:
        yield connection


@routes.post(
    "/reports/{ticket}/photos", status_code=201, summary="Add a photo to your report", dependencies=[limited("photo"), strict()],
    openapi_extra=FORMED,
)
async def add_to_report(
    ticket: Annotated[str, Path(pattern="^[0-9A-Za-z-]{1,40}$")], request: Request, home: Home, key: Key, who: Annotated[Caller, Depends(anyone)],
    turn: Annotated[None, Depends(deps.turn, scope="function")],
    report_code: Annotated[str, Header(min_length=1, max_length=40, description="the code that came with the ticket")],
) -> Response:
    """At most four, JPEG, PNG or WebP of at most 10 MB. Only its pixels are kept, at most 1600 a side. Sent again it is the same photo.
    It is seen by those who work with the case, and by others only when somebody of them has released it."""
    limits: Limits = request.app.state.limits
    with limits.tried("slip", request):
        await anyio.to_thread.run_sync(lambda: _asked(request, who, ticket, report_code, key))
    sent, kind = _one(await received(request, BYTES + FIELD))
    (photo,) = await developed(request, [sent])
    id = await anyio.to_thread.run_sync(lambda: _added(request, who, home, key, ticket, report_code, photo, kind))
    return JSONResponse({"id": str(id), "width": photo.width, "height": photo.height}, 201, PRIVATE)


def _asked(request: Request, who: Caller, ticket: str, code: str, key: Any) -> None:
    # Before ten megabytes are taken from whoever only guesses.
    with bound(request, who) as connection:
        reporting.held(connection, ticket, code, key)


def _added(request: Request, who: Caller, home: "File", key: Any, ticket: str, code: str, photo: Photo, kind: photos.Kind) -> UUID:
    with bound(request, who) as connection:
        return photos.added_to_report(connection, home, key, ticket, reporting.proofs(key, code), photo, kind)


@routes.post(
    "/incidents/{id}/photos", status_code=201, summary="Add a photo to a case", dependencies=[limited("upload"), able("write"), strict("number")],
    openapi_extra=FORMED,
)
async def add_to_incident(
    id: UUID, request: Request, home: Home, key: Key, who: CallerNow, number: Annotated[int | None, Query(ge=1, description="of the step that it belongs to")] = None,
) -> Response:
    """By whoever works with it, of one of its steps or of none. As for a report; at most forty of a case."""
    sent, kind = _one(await received(request, BYTES + FIELD))
    (photo,) = await developed(request, [sent])

    def kept() -> UUID:
        with bound(request, who) as connection:
            return photos.added_to_incident(connection, home, key, id, photo, kind, number)

    made = await anyio.to_thread.run_sync(kept)
    return JSONResponse({"id": str(made), "width": photo.width, "height": photo.height}, 201, PRIVATE | {"Location": f"/photos/{made}"})


@routes.get("/incidents/{id}/photos", summary="The photos of a case", dependencies=[strict()])
def listed(id: UUID, answer: Response, connection: Connection, who: CallerNow, language: LanguageNow) -> dict[str, Any]:
    """Those that you may see: to whoever works with it all, to others what was released."""
    query.one(connection, CASE, id, who)
    answer.headers.update(PRIVATE)
    told = photos.listed(connection, id)
    return {"photos": [row | {"href": f"/photos/{row['id']}", "title": translated(KINDS[row["kind"]], language)} for row in told]}


def _witnessed(request: Request, id: UUID, who: CallerNow) -> None:
    # Before anything is read: whoever works here may see what is not released, and that they looked is told.
    if "write" in who.may:
        noted(request, "read", "incident_photos", str(id), "service")


@routes.get("/photos/{id}", summary="A photo", dependencies=[strict(), Depends(_witnessed)], responses={200: {"content": {"image/jpeg": {}}}})
def shown(id: UUID, request: Request, connection: Connection, who: CallerNow, home: Home, key: Key) -> Response:
    """A JPEG. Each look of somebody who works here leaves a line in the trail."""
    photo = photos.shown(connection, home, key, id)
    tag = f'"{photo.tag}"'
    # Asked for again each time: what is withheld again must not be in anybody's cache.
    headers = {"Cache-Control": "public, no-cache", "ETag": tag} if photo.released else dict(PRIVATE)
    if photo.released and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    # Nothing in it is more than a picture, even to a browser that is asked to see a page in it.
    headers |= {"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Disposition": f'inline; filename="{id}.jpg"'}
    return Response(photo.content, headers=headers, media_type="image/jpeg")


@routes.post("/photos/{id}/release", summary="Show a photo to everybody", dependencies=[able("write"), strict()])
def release(id: UUID, connection: Connection, answer: Response) -> dict[str, Any]:
    """By an acceptor, dispatcher or leader, who has looked at it: no faces, number plates, doors of flats, papers."""
    answer.headers.update(PRIVATE)
    return {"id": str(id), "incident": str(photos.decided(connection, id, "release")), "released": True}


@routes.delete("/photos/{id}/release", summary="Show a photo to everybody no longer", dependencies=[able("write"), strict()])
def withhold(id: UUID, connection: Connection, answer: Response) -> dict[str, Any]:
    """From now on only those who work with the case see it."""
    answer.headers.update(PRIVATE)
    return {"id": str(id), "incident": str(photos.decided(connection, id, "withhold")), "released": False}


@routes.delete("/photos/{id}", status_code=204, summary="Destroy a photo", dependencies=[able("write"), strict()])
def discard(id: UUID, connection: Connection) -> Response:
    """For one that ought not to have been taken: its key is gone at once, and its file within two hours."""
    photos.decided(connection, id, "discard")
    return Response(status_code=204)
