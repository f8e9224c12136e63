"""From the database to a file: every field, the area of every level, and how the record came to it.

What is masked leaves masked, unless a second person has allowed otherwise (`geo.exports`). Text that a spreadsheet would
take for a formula is told from one by a leading apostrophe, which `jingwei load` takes off.
"""

import csv
import io
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from geo import db
from geo.catalog import RESOURCES
from geo.disclosure import FORMATS
from geo.errors import BadQuery, Invalid, NotFound, TooLarge
from geo.query import DECIMALS, Filter, conditions, expression, place
from geo.resource import Audience, Place, Resource
from geo.tables import TABLES

LEVELS = ("street", "community", "grid")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝")
# GDAL's names; a shapefile's fields are cut to ten ASCII characters and told in a dictionary beside it.
DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile"}
UNSPREAD = ("wkb", "geojson", "extras")  # columns of the query that are no column of a table for people
# What a web process writes: the others need data frames, which it does not import (188 MB, 5.3 s).
PLAIN = ("csv", "xlsx", "geojson")
SHEET_ROWS = 1_048_575  # of a spreadsheet, under its heads
WATERMARK = "watermark"
CHUNK = 5_000

Row = dict[str, Any]
# Puts in clear what is masked in some rows, by their ids.
Opened = Callable[[Sequence[Row]], Sequence[Row]]


@dataclass(frozen=True)
class Order:
    """What to write: the rows of a noun that an audience may see and wants, which fields of them, in which format.

    `mark` goes with every row, and into the head and foot of a sheet. More rows than `most` are refused whole.
    """

    resource: Resource
    kind: str
    audience: Audience = Audience.WORKER
    fields: Sequence[str] | None = None
    want: Filter = field(default_factory=Filter)
    mark: str | None = None
    most: int | None = None


def export(
    engine: sa.Engine, name: str, target: Path, kind: str, fields: Sequence[str] | None = None,
    audience: Audience = Audience.WORKER,
) -> int:
    """Write the living records of a resource to `target`, masked. Returns how many.

    Raises `NotFound`, `BadQuery` for a field this audience may not see, `Invalid` for a format.
    """
    order = Order(noun(name), checked(kind), audience, fields)
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


def written_to(connection: sa.Connection, order: Order, target: Path, opened: Opened | None = None) -> int:
    """Write what `connection` may see to a file, which is there whole or not at all. Returns how many rows."""
    part = target.with_name(f"{target.stem}.part.{order.kind}")
    try:
        if order.kind in PLAIN:
            with part.open("wb") as to:
                count = written(connection, order, to, opened)
        else:
            with closing(_rows(connection, order, opened)) as rows:
                count = _framed(rows, order, part)
        _moved(part, target, order.kind)
    finally:
        part.unlink(missing_ok=True)
    return count


def written(connection: sa.Connection, order: Order, to: BinaryIO, opened: Opened | None = None) -> int:
    """The same into an open file, in one of the `PLAIN` formats, row by row: memory does not grow with the rows."""
    writers = {"csv": _csv, "geojson": _geojson, "xlsx": _xlsx}
    heads = _heads(connection, order)
    with closing(_rows(connection, order, opened)) as rows:
        return writers[order.kind](rows, order, heads, to)


def counted(connection: sa.Connection, order: Order, most: int) -> int:
    """How many rows there are to write; from `most` + 1 on it is not counted further."""
    found = sa.select(TABLES[order.resource.name].c.id).where(*conditions(order.resource, order.want, order.audience)).limit(most + 1)
    return int(connection.scalar(sa.select(sa.func.count()).select_from(found.subquery())) or 0)


def selected(order: Order) -> sa.Select[Any]:
    """One row a record: its fields, its areas by level, its placing reason, its geometry."""
    resource, audience = order.resource, order.audience
    t = TABLES[resource.name]
    known = {declared.name: declared for declared in resource.seen_by(audience)}
    chosen = list(known) if order.fields is None else [name.strip() for name in order.fields]
    columns: list[Any] = [t.c.id]
    for name in chosen:
        if name not in known:
            raise BadQuery("{noun} 没有字段 {field}。", noun=resource.title, field=name, parameter=name, fields=list(known))
        if resource.coarse and audience < Audience.WORKER and name == "nearest_m":
            continue
        masked = known[name].masked_to(audience)
        columns.append(t.c[f"{name}_masked"].label(name) if masked else expression(resource, known[name]).label(name))
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
        shape = place(resource, audience)
        columns += [sa.func.ST_AsBinary(shape).label("wkb"), sa.func.ST_AsGeoJSON(shape, DECIMALS, 0).label("geojson")]
        if resource.geometry == "POINT":
            columns += [sa.func.ST_X(shape).label("lon"), sa.func.ST_Y(shape).label("lat")]
    return sa.select(*columns).select_from(source).where(*conditions(resource, order.want, audience)).order_by(t.c.id)


def safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _extended(order: Order) -> bool:
    """Whether columns that no field claimed go with it."""
    return order.fields is None and order.audience >= Audience.WORKER


def _rows(connection: sa.Connection, order: Order, opened: Opened | None) -> Generator[Row]:
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
                if order.mark:
                    row[WATERMARK] = order.mark
                yield row


def _heads(connection: sa.Connection, order: Order) -> list[str]:
    """The columns of a table for people: those of every row, then those that some rows brought along."""
    heads = [str(column.key) for column in selected(order).selected_columns if column.key not in UNSPREAD]
    if _extended(order):
        t = TABLES[order.resource.name]
        keys = sa.select(sa.func.jsonb_object_keys(t.c.extras).label("name")).where(*conditions(order.resource, order.want, order.audience))
        names = connection.scalars(sa.select(keys.subquery().c.name).distinct().order_by(sa.text("1")))
        own = {declared.name for declared in order.resource.all_fields}
        heads += [name for name in names if name not in own and name not in heads]
    return [*heads, WATERMARK] if order.mark else heads


def _flat(row: Row) -> Row:
    flat = {name: value for name, value in row.items() if name not in UNSPREAD}
    return flat | {name: value for name, value in (row.get("extras") or {}).items() if name not in flat}


def _told(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if type(value).__name__ == "UUID" else value


def _csv(rows: Iterator[Row], order: Order, heads: Sequence[str], to: BinaryIO) -> int:
    count = 0
    shape = ["geojson"] if order.resource.geometry not in (None, "POINT") else []
    text = io.TextIOWrapper(to, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    # A column that somebody's file brought along may be called like a formula too.
    writer.writerow([*map(safe, heads), *shape])
    for row in rows:
        flat = _flat(row)
        writer.writerow([*(safe(_told(flat.get(name))) for name in heads), *(row[name] for name in shape)])
        count += 1
    text.detach()
    return count


def _geojson(rows: Iterator[Row], order: Order, heads: Sequence[str], to: BinaryIO) -> int:
    count = 0
    head = {"type": "FeatureCollection"} | ({WATERMARK: order.mark} if order.mark else {})
    to.write(f'{json.dumps(head, ensure_ascii=False)[:-1]}, "features":['.encode())
    for row in rows:
        properties = {name: _told(value) for name, value in _flat(row).items() if name not in ("id", "lon", "lat")}
        shape = row.get("geojson") or "null"
        to.write(
            f'{"," if count else ""}\n{{"type":"Feature","id":"{row["id"]}","geometry":{shape},'
            f'"properties":{json.dumps(properties, ensure_ascii=False)}}}'.encode()
        )
        count += 1
    to.write(b"\n]}\n")
    return count


def _xlsx(rows: Iterator[Row], order: Order, heads: Sequence[str], to: BinaryIO) -> int:
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
        known = {declared.name: declared.title for declared in order.resource.all_fields} | {WATERMARK: "水印"}
        for at, name in enumerate(heads):
            sheet.write(0, at, known.get(name, name))
        for row in rows:
            count += 1
            if count > SHEET_ROWS:
                raise TooLarge("超过 {most} 行,一张表格放不下。请写成 csv,或加上条件。", most=SHEET_ROWS)
            flat = _flat(row)
            for at, name in enumerate(heads):
                if (value := _told(flat.get(name))) is not None:
                    sheet.write(count, at, value)
    return count


def _framed(rows: Iterator[Row], order: Order, part: Path) -> int:
    import geopandas
    import pandas
    import pyogrio

    resource, kind = order.resource, order.kind
    records, shapes = [], []
    for row in rows:
        records.append({name: _told(value) for name, value in _flat(row).items() if name not in ("lon", "lat")})
        shapes.append(row.get("wkb"))
    frame = pandas.DataFrame.from_records(records)
    if not resource.geometry:
        if kind != "parquet":
            raise Invalid("{noun} 没有几何,请写成 csv、xlsx 或 parquet。", noun=resource.title, formats=["csv", "xlsx", "parquet"])
        frame.to_parquet(part)
        return len(frame)
    drawn = geopandas.GeoDataFrame(
        frame, geometry=geopandas.GeoSeries.from_wkb([None if s is None else bytes(s) for s in shapes]), crs="EPSG:4326"
    )
    if kind == "parquet":
        drawn.to_parquet(part)
    elif kind == "shp":
        short = shortened([c for c in drawn.columns if c != "geometry"])
        pyogrio.write_dataframe(drawn.rename(columns=short), part, driver=DRIVERS[kind], encoding="UTF-8")
        known = {declared.name: declared.title for declared in resource.all_fields}
        lines = [f"{cut}\t{name}\t{known.get(name, '')}" for name, cut in short.items()]
        part.with_suffix(".fields.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        pyogrio.write_dataframe(drawn, part, driver=DRIVERS[kind])
    return len(drawn)


def shortened(names: Sequence[str]) -> dict[str, str]:
    """Ten ASCII characters for each name, no two alike: all that a DBF keeps."""
    taken: dict[str, str] = {}
    for number, name in enumerate(names):
        cut = "".join(c for c in name if c.isascii() and (c.isalnum() or c == "_"))[:10] or f"F{number}"
        while cut in taken.values():
            cut = f"{cut[:7]}_{number}"[:10]
        taken[name] = cut
    return taken


def _moved(part: Path, target: Path, kind: str) -> None:
    if kind != "shp":
        part.replace(target)
        return
    for ending in _parts(part):
        ending.replace(target.with_name(target.stem + ending.name.removeprefix(part.stem)))


def _parts(part: Path) -> Iterator[Path]:
    yield from list(part.parent.glob(f"{part.stem}.*"))
