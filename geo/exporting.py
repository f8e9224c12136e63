"""From the database to a file: every field, the area of every level, and how the record came to it.

What is masked leaves masked, unless a second person has allowed otherwise (`geo.exports`). Tables for people (`PEOPLE`) have
titles over their columns and in their cells, and can be edited and sent back (`geo.sheets`); the other formats have names and
codes. What takes GDAL or Arrow is written by a process of its own (`geo.packing`), which a web process can afford.
"""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import db, sheets
from geo.catalog import RESOURCES
from geo.db import TIME_ZONE
from geo.disclosure import FORMATS
from geo.errors import BadQuery, GeoError, Invalid, NotFound, TooLarge
from geo.query import DECIMALS, Filter, conditions, expression, place
from geo.resource import Audience, Field, Place, Resource
from geo.sheets import ABBREVIATED, PLACES, WATERMARK, safe
from geo.tables import CODES, TABLES

LEVELS = ("street", "community", "grid")
# Titles over the columns and in the cells; else names and codes.
PEOPLE = ("csv", "xlsx", "shp", "kml")
PACKED = ("gpkg", "fgb", "shp", "kml", "parquet")
UNDRAWN = ("csv", "xlsx", "geojson", "geojsons", "parquet")  # may hold what has no geometry
ENDINGS = {"shp": "zip"}
ENCODINGS = ("utf-8", "gbk")
ENCODED = ("csv", "shp")
# CGCS2000 in degrees, and its Gauss-Krüger zones of 3°: with the number of the zone before the easting, and without.
DEGREES = "EPSG:4490"
ZONES = tuple(f"EPSG:{code}" for code in range(4513, 4555))
PROJECTED = ("shp", "gpkg", "fgb", "parquet")
UNSPREAD = ("wkb", "geojson", "extras")  # columns of the query that are no column of a table
SHEET_ROWS = 1_048_575  # of a spreadsheet, under its heads
CELL = 32_767  # characters that a spreadsheet keeps in one
FIRST_DAY = datetime(1900, 3, 1)  # before it spreadsheets disagree about the days
CHUNK = 5_000
# Column names by which GDAL's formats mean something of their own.
RESERVED = ("fid", "ogc_fid", "geom", "geometry")
SHAPES = {"POINT": "Point", "MULTILINESTRING": "MultiLineString", "MULTIPOLYGON": "MultiPolygon"}
ABBREVIATION = re.compile("[A-Z][A-Z0-9]{1,9}")
PLACEMARK = "Name"  # the column that the KML driver takes for the title of a placemark
PATIENCE_SECONDS = 600  # with a file whose rows are all there: an index of some millions takes minutes
END = b"end\n"  # as `geo.packing` takes it

Row = dict[str, Any]
# Puts in clear what is masked in some rows, by their ids.
Opened = Callable[[Sequence[Row]], Sequence[Row]]
Words = Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Order:
    """What to write: the rows of a noun that an audience may see and wants, which fields of them, in which format.

    `mark` goes with every row, and into the head and foot of a sheet. More rows than `most` are refused whole. `encoding` is
    that of the text of a csv or shp, `crs` the coordinates of a shape: degrees, or one of `ZONES`. Of more rows than `first` only
    these. Raises `Invalid` for what a format has no place for.
    """

    resource: Resource
    kind: str
    audience: Audience = Audience.WORKER
    fields: Sequence[str] | None = None
    want: Filter = field(default_factory=Filter)
    mark: str | None = None
    most: int | None = None
    encoding: str = "utf-8"
    crs: str | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS or (self.encoding != "utf-8" and self.kind not in ENCODED):
            raise Invalid("{format} 的文字只写 UTF-8;csv 和 shp 可以另选 GBK。", format=self.kind, field="encoding", choices=list(ENCODINGS))
        if self.crs not in (None, DEGREES, *ZONES):
            raise Invalid("坐标系只写 EPSG:4490 和 EPSG:4513 到 EPSG:4554。", field="crs", named=self.crs)
        if self.crs in ZONES and self.kind not in PROJECTED:
            raise Invalid("{format} 只写经纬度。要平面坐标请选 {formats}。", format=self.kind, formats=list(PROJECTED), field="crs")
        if not self.resource.geometry and self.kind not in UNDRAWN:
            raise Invalid("{noun} 没有几何,请写成 {formats}。", noun=self.resource.title, formats=list(UNDRAWN), field="format")

    @property
    def told(self) -> bool:
        """Whether titles take the place of names and codes."""
        return self.kind in PEOPLE


class Column(NamedTuple):
    """One column of a file: the key of the row, what stands over it, the field if it is one."""

    key: str
    head: str
    field: Field | None = None


def export(
    engine: sa.Engine, name: str, target: Path, kind: str, fields: Sequence[str] | None = None,
    audience: Audience = Audience.WORKER, encoding: str = "utf-8", crs: str | None = None,
) -> int:
    """Write the living records of a resource to `target`, masked. Returns how many.

    Raises `NotFound`, `BadQuery` for a field this audience may not see, `Invalid` for a format, encoding or CRS.
    """
    order = Order(noun(name), checked(kind), audience, fields, encoding=encoding, crs=crs)
    with db.translated(), engine.connect() as connection:
        return written_to(connection, order, target)


def noun(name: str) -> Resource:
    """The resource of that name. Raises `NotFound`."""
    if name not in RESOURCES:
        raise NotFound("没有名为 {resource} 的资源。", resource=name, resources=list(RESOURCES))
    return RESOURCES[name]


def checked(kind: str) -> str:
    """The format, if it is one. Raises `Invalid`."""
    if kind not in FORMATS:
        raise Invalid("不能写成 {format}。", format=kind, formats=list(FORMATS))
    return kind


def file_name(name: str, kind: str) -> str:
    """A name with the ending of the format."""
    return f"{name}.{ENDINGS.get(kind, kind)}"


def written_to(connection: sa.Connection, order: Order, target: Path, opened: Opened | None = None) -> int:
    """Write what `connection` may see to a file, which is there whole or not at all. Returns how many rows."""
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as to:
            count = written(connection, order, to, opened)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count


def written(connection: sa.Connection, order: Order, to: BinaryIO, opened: Opened | None = None) -> int:
    """The same into an open file, row by row: memory does not grow with the rows."""
    writers = {"csv": _csv, "geojson": _geojson, "geojsons": _geojsons, "xlsx": _xlsx}
    columns = _columns(connection, order)
    with closing(_rows(connection, order, opened, _words(connection, order))) as rows:
        return writers.get(order.kind, _packed)(rows, order, columns, to)


def counted(connection: sa.Connection, order: Order, most: int) -> int:
    """How many rows there are to write; from `most` + 1 on it is not counted further."""
    found = sa.select(TABLES[order.resource.name].c.id).where(*conditions(order.resource, order.want, order.audience)).limit(min(most + 1, order.first or most + 1))
    return int(connection.scalar(sa.select(sa.func.count()).select_from(found.subquery())) or 0)


def selected(order: Order) -> sa.Select[Any]:
    """One row a record: its fields, its areas by level, its placing reason, its geometry."""
    resource, audience = order.resource, order.audience
    t = TABLES[resource.name]
    known = {declared.name: declared for declared in resource.seen_by(audience)}
    chosen = list(known) if order.fields is None else [name.strip() for name in order.fields]
    columns: list[Any] = [t.c.id, t.c.version]
    for name in chosen:
        if name not in known:
            raise BadQuery("{noun} 没有字段 {field}。", noun=resource.title, field=name, parameter=name, fields=list(known))
        if resource.coarse and audience < Audience.WORKER and name == "nearest_m":
            continue
        if known[name].masked_to(audience):
            columns.append(t.c[f"{name}_masked"].label(name))
        elif order.told and known[name].refers not in (None, "area_paths"):
            columns.append(_coded(resource, known[name]).label(name))
        else:
            columns.append(expression(resource, known[name]).label(name))
    source: sa.FromClause = t
    if resource.place in (Place.POINT, Place.INHERITS):
        placements = sa.table("placements", *[sa.column(c) for c in ("id", *LEVELS)])
        source = source.outerjoin(placements, placements.c.id == t.c.placement)
        for level in LEVELS:
            area = TABLES["areas"].alias(level)
            source = source.outerjoin(area, area.c.id == placements.c[level])
            columns += [area.c.name.label(f"{level}_name"), area.c.path.label(f"{level}_path")]
    elif resource.name != "areas":
        for level, width in zip(LEVELS, (9, 12, 15), strict=True):
            area = TABLES["areas"].alias(level)
            source = source.outerjoin(area, sa.and_(
                area.c.path == sa.func.left(t.c.scope, width), sa.func.length(t.c.scope) >= width,
                area.c.retired_at.is_(None), area.c.valid_to.is_(None),
            ))
            columns += [area.c.name.label(f"{level}_name"), area.c.path.label(f"{level}_path")]
    columns.append(t.c.scope)
    if _extended(order):
        columns.append(t.c.extras)
    if resource.geometry:
        columns += _drawn(order, place(resource, audience))
    return sa.select(*columns).select_from(source).where(*conditions(resource, order.want, audience)).order_by(t.c.id).limit(order.first)


def _drawn(order: Order, shape: Any) -> Iterator[Any]:
    """The geometry as the format takes it: in a table of points two numbers, of all else WKT."""
    if order.kind in PACKED:
        yield sa.func.ST_AsBinary(shape).label("wkb")
    elif order.kind not in ("csv", "xlsx"):
        yield sa.func.ST_AsGeoJSON(shape, DECIMALS, 0).label("geojson")
    elif order.resource.geometry == "POINT":
        yield from (sa.func.ST_X(shape).label("lon"), sa.func.ST_Y(shape).label("lat"))
    else:
        yield sa.func.ST_AsText(shape, DECIMALS).label("wkt")


def _coded(resource: Resource, wanted: Field) -> Any:
    """A reference as people write it: the code of what it points at, else its id."""
    pointing = TABLES[resource.name].c[wanted.name]
    other = RESOURCES[str(wanted.refers)]
    if not other.key:
        return pointing
    aimed = TABLES[other.name].alias(f"{wanted.name}_aimed")
    code = sa.select(aimed.c[other.key[0]]).where(aimed.c.id == pointing, aimed.c.retired_at.is_(None)).scalar_subquery()
    return sa.func.coalesce(code, sa.cast(pointing, sa.Text))


def _extended(order: Order) -> bool:
    """Whether columns that no field claimed go with it."""
    return order.fields is None and order.audience >= Audience.WORKER


def _words(connection: sa.Connection, order: Order) -> Words:
    """For each field how its values are written; nothing where names and codes are."""
    if not order.told:
        return {}
    zone = ZoneInfo(TIME_ZONE)
    words: dict[str, Callable[[Any], Any]] = {}
    for declared in order.resource.seen_by(order.audience):
        if declared.type in (int, float) or (declared.type is str and not declared.choices and not declared.listed):
            continue  # stands for itself
        known = listed(connection, declared.listed) if declared.listed else {c.code: c.title for c in declared.choices}
        words[declared.name] = partial(sheets.worded, titles=sheets.told_apart(known), zone=zone)
    return words


def listed(connection: sa.Connection, name: str) -> dict[str, str]:
    """The codes of a list that are in use, in their order, with their titles."""
    codes = CODES[name]
    found = connection.execute(sa.select(codes.c.code, codes.c.title).where(codes.c.retired_at.is_(None)).order_by(codes.c.code))
    return {row.code: row.title for row in found}


def _rows(connection: sa.Connection, order: Order, opened: Opened | None, words: Words) -> Generator[Row]:
    """The rows as they are to be written, from a cursor on the server."""
    options = {"stream_results": True, "yield_per": CHUNK}
    count = 0
    with connection.execute(selected(order), execution_options=options) as found:
        for chunk in found.mappings().partitions():
            count += len(chunk)
            if order.most is not None and count > order.most:
                raise TooLarge("超过 {most} 行,没有导出。请缩小区域或加上条件。", most=order.most)
            rows: Sequence[Row] = [dict(row) for row in chunk]
            for row in opened(rows) if opened else rows:
                for name, worded in words.items():
                    if row.get(name) is not None:
                        row[name] = worded(row[name])
                if order.mark:
                    row[WATERMARK] = order.mark
                # What the record brought along stands in columns of its own.
                yield row | {name: value for name, value in (row.get("extras") or {}).items() if name not in row}


def _columns(connection: sa.Connection, order: Order) -> list[Column]:
    """The columns: those of every row, then those that some rows brought along, no two under the same head."""
    keys = [str(column.key) for column in selected(order).selected_columns if column.key not in UNSPREAD]
    # Where it lies comes last: it is found anew when the table is sent back.
    keys = [key for key in keys if key not in PLACES] + [key for key in keys if key in PLACES]
    own = {declared.name: declared for declared in order.resource.all_fields}
    heads = sheets.headings(order.resource) if order.told else {}
    columns = [Column(key, heads.get(key, key), own.get(key)) for key in keys]
    if _extended(order):
        t = TABLES[order.resource.name]
        names = sa.select(sa.func.jsonb_object_keys(t.c.extras).label("name")).where(*conditions(order.resource, order.want, order.audience))
        brought = connection.scalars(sa.select(names.subquery().c.name).distinct().order_by(sa.text("1")))
        columns += [Column(name, name) for name in brought if name not in own and name not in keys]
    label = order.resource.label
    if order.kind == "kml" and label in keys:
        # What a placemark is called on the map; of most it is the very field that is called name.
        columns = [column._replace(head=PLACEMARK) if column.key == label == "name" else column for column in columns]
        columns += [Column(label, PLACEMARK, own[label])] if label != "name" else []
    if order.mark:
        columns.append(Column(WATERMARK, heads.get(WATERMARK, WATERMARK)))
    return _apart(order, columns)


def _apart(order: Order, columns: Sequence[Column]) -> list[Column]:
    """The columns with a number behind each head that another one has: a file with two alike is not read again."""
    taken = {name.casefold() for name in RESERVED} if order.kind in PACKED else set()
    apart = []
    for column in columns:
        head, number = column.head, 2
        while head.casefold() in taken:
            head, number = f"{column.head}_{number}", number + 1
        taken.add(head.casefold())
        apart.append(column._replace(head=head))
    return apart


def _plain(value: object) -> object:
    """A value as JSON has it."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if isinstance(value, UUID) else value


def _csv(rows: Iterator[Row], order: Order, columns: Sequence[Column], to: BinaryIO) -> int:
    count = 0
    # GB 18030 is GBK and all the characters beyond it.
    text = io.TextIOWrapper(to, encoding="utf-8-sig" if order.encoding == "utf-8" else "gb18030", newline="", write_through=True)
    writer = csv.writer(text)
    # A column that somebody's file brought along may be called like a formula too.
    writer.writerow([safe(column.head) for column in columns])
    for row in rows:
        writer.writerow([safe(row.get(column.key)) for column in columns])
        count += 1
    text.detach()
    return count


def _geojson(rows: Iterator[Row], order: Order, columns: Sequence[Column], to: BinaryIO) -> int:
    count = 0
    head = {"type": "FeatureCollection"} | ({WATERMARK: order.mark} if order.mark else {})
    to.write(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "features":['.encode())
    for row in rows:
        to.write(f'{"," if count else ""}\n{_feature(row)}'.encode())
        count += 1
    to.write(b"\n]}\n")
    return count


def _geojsons(rows: Iterator[Row], order: Order, columns: Sequence[Column], to: BinaryIO) -> int:
    """A GeoJSON text sequence (RFC 8142): a record separator before each feature, a line feed behind it."""
    count = 0
    for row in rows:
        to.write(f"\x1e{_feature(row)}\n".encode())
        count += 1
    return count


def _feature(row: Row) -> str:
    properties = {name: _plain(value) for name, value in row.items() if name not in (*UNSPREAD, "id")}
    shape = row.get("geojson") or "null"
    told = json.dumps(properties, ensure_ascii=False)
    return f'{{"type":"Feature","id":"{row["id"]}","geometry":{shape},"properties":{told}}}'


def _xlsx(rows: Iterator[Row], order: Order, columns: Sequence[Column], to: BinaryIO) -> int:
    import xlsxwriter

    # In constant memory a row leaves for a temporary file when the next begins, so the heads come first. What has persons
    # in it is bounded, stays in memory and lies in no file that a crash would leave behind.
    options = {"strings_to_formulas": False, "strings_to_urls": False, "constant_memory": not order.mark, "in_memory": bool(order.mark)}
    count = 0
    with xlsxwriter.Workbook(to, options) as book:
        sheet = book.add_worksheet(order.resource.title)
        if order.mark:
            mark = order.mark.replace("&", "&&")
            sheet.set_header(f"&C{mark}")
            sheet.set_footer(f"&C{mark}")
            book.set_properties({"comments": order.mark})
        heading = book.add_format({"bold": True})
        # As text, or a code loses its noughts and a house number becomes a day when somebody types it anew.
        text, moment = book.add_format({"num_format": "@"}), book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for at, column in enumerate(columns):
            kind = _type(column)
            sheet.set_column(at, at, 20, moment if kind is datetime else None if kind in (int, float) else text)
            sheet.write_string(0, at, column.head, heading)
        sheet.freeze_panes(1, 0)
        for row in rows:
            count += 1
            if count > SHEET_ROWS:
                raise TooLarge("超过 {most} 行,一张表格放不下。请写成 csv,或加上条件。", most=SHEET_ROWS)
            for at, column in enumerate(columns):
                _celled(sheet, count, at, row.get(column.key), moment)
    return count


def _celled(sheet: Any, row: int, at: int, value: object, moment: Any) -> None:
    if isinstance(value, datetime) and value >= FIRST_DAY and not value.microsecond:
        sheet.write_datetime(row, at, value, moment)
    elif isinstance(value, int | float):
        sheet.write_number(row, at, value)
    elif value is not None and len(text := str(value)) <= CELL:
        # What is longer is a shape of a thousand vertices: an empty cell leaves it as it is.
        sheet.write_string(row, at, text)


def _type(column: Column) -> type:
    """What the values of a column are, as the query gives them."""
    if column.field is not None:
        return column.field.type
    return int if column.key == "version" else float if column.key in ("lon", "lat") else str


def _packed(rows: Iterator[Row], order: Order, columns: Sequence[Column], to: BinaryIO) -> int:
    """Have a process of its own write the file, and fetch it."""
    # What has persons in it lies in memory only, where there is such a folder.
    memory = "/dev/shm" if order.mark and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="jingwei-", dir=memory) as job:
        target = Path(job, file_name("packed", order.kind))
        with _Packer(order, columns, target) as packer:
            count = 0
            for row in rows:
                packer.send(row)
                count += 1
            packer.ended()
        with target.open("rb") as done:
            shutil.copyfileobj(done, to)
    return count


class _Packer:
    """The writing process, and what it says when it cannot go on."""

    def __init__(self, order: Order, columns: Sequence[Column], target: Path) -> None:
        self.columns, self.target = columns, target
        self.types = [_type(column) if _type(column) in ((int, float) if order.told else (int, float, bool)) else str for column in columns]
        names = shortened(columns) if order.kind == "shp" else [column.head for column in columns]
        told = {
            "kind": order.kind, "target": str(target), "names": names, "types": [kind.__name__ for kind in self.types],
            "shape": SHAPES.get(order.resource.geometry or ""), "crs": order.crs or DEGREES, "encoding": order.encoding,
            "layer": order.resource.name, "title": order.resource.title,
            "dictionary": _dictionary(columns, names), "dictionary_name": sheets.DICTIONARY,
        }
        # Nothing of our own environment goes along: it may hold the database's address.
        environment = {
            "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1]),
            "TMPDIR": str(target.parent), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        with (target.parent / "complaints").open("wb") as complaints:
            self.child = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "geo.packing"], cwd=target.parent, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints, start_new_session=True,
            )
        # Not as an argument: there is room for 128 kB, and what columns somebody's file brought along is not bounded.
        self._said(f"{json.dumps(told, ensure_ascii=False)}\n".encode())

    def __enter__(self) -> "_Packer":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.child.stdin
        with suppress(OSError):
            self.child.stdin.close()
        self.child.kill()
        self.child.wait()

    def send(self, row: Row) -> None:
        """One more row. Raises what `ended` does."""
        shape = row.get("wkb")
        cells = [_plain(row.get(column.key)) for column in self.columns]
        cells = [c if c is None or kind is not str else str(c) for c, kind in zip(cells, self.types, strict=True)]
        self._said(f"{json.dumps([bytes(shape).hex() if shape else None, *cells], ensure_ascii=False)}\n".encode())

    def ended(self) -> None:
        """That was all. Raises `Invalid` for what cannot be written in this format or encoding."""
        self._said(END)
        assert self.child.stdin
        with suppress(OSError):
            self.child.stdin.close()
        if self.child.wait(PATIENCE_SECONDS):
            raise self._refusal()

    def _said(self, line: bytes) -> None:
        assert self.child.stdin
        try:
            self.child.stdin.write(line)
        except OSError as error:
            raise self._refusal() from error

    def _refusal(self) -> GeoError:
        self.child.wait()
        refusal = self.target.parent / "refusal"
        if refusal.exists():
            told = json.loads(refusal.read_bytes())
            return Invalid(told.pop("sentence"), **told)
        error = GeoError()
        # Where it broke, without what was being written: that may be a person's.
        told = (self.target.parent / "complaints").read_text(errors="replace")[-4_000:]
        error.__cause__ = RuntimeError("\n".join(re.findall(r"^  File .*|^[\w.]+(?:Error|Exception)\b", told, re.M)))
        return error


def shortened(columns: Sequence[Column]) -> list[str]:
    """Ten ASCII characters for each column, no two alike: all that a DBF keeps. A field's abbreviation in the standards where
    it has one (LDMC), else the head of its name."""
    taken: list[str] = []
    for number, column in enumerate(columns):
        aliases = column.field.aliases if column.field else ()
        standard = next((alias for alias in aliases if ABBREVIATION.fullmatch(alias)), "")
        name = standard or ABBREVIATED.get(column.key, column.key)
        cut = "".join(c for c in name if c.isascii() and (c.isalnum() or c == "_"))[:10]
        cut = cut if cut[:1].isalpha() else f"F{number}"
        while cut.casefold() in (*RESERVED, *(known.casefold() for known in taken)):
            cut = f"{cut[:6]}_{number}"
        taken.append(cut)
    return taken


def _dictionary(columns: Sequence[Column], names: Sequence[str]) -> list[list[str]]:
    """What the short names of a shapefile mean; how often each was cut is for who writes it to say."""
    lines = [list(sheets.DICTIONARY_HEADS)]
    for name, column in zip(names, columns, strict=True):
        values = "、".join(choice.title for choice in column.field.choices) if column.field else ""
        lines.append([name, column.key, column.head, values])
    return lines
