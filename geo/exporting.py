"""From the database to a file: every field, the area of every level, and how the record came to it.

Text that a spreadsheet would take for a formula is told from one by a leading apostrophe, which `jingwei load` takes off.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from geo import db
from geo.catalog import RESOURCES
from geo.errors import BadQuery, Invalid, NotFound
from geo.query import DECIMALS, expression, place
from geo.resource import Audience, Place, Resource
from geo.tables import TABLES

LEVELS = ("street", "community", "grid")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝")
# GDAL's names; a shapefile's fields are cut to ten ASCII characters and told in a dictionary beside it.
DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile"}
UNSPREAD = ("wkb", "geojson", "extras")  # columns of the query that are no column of a table for people
FORMATS = ("csv", "xlsx", "geojson", "parquet", *DRIVERS)


def export(
    engine: sa.Engine, name: str, target: Path, kind: str, fields: Sequence[str] | None = None,
    audience: Audience = Audience.WORKER,
) -> int:
    """Write the living records of a resource to `target`. Returns how many.

    Secret fields leave masked. Raises `NotFound`, `BadQuery` for a field this audience may not see, `Invalid` for a format.
    """
    if name not in RESOURCES:
        raise NotFound("没有名为 {resource} 的资源。", resource=name, resources=list(RESOURCES))
    if kind not in FORMATS:
        raise Invalid("不能写成 {format}。", format=kind, formats=list(FORMATS))
    resource = RESOURCES[name]
    query = selected(resource, fields, audience)
    part = target.with_name(f"{target.stem}.part.{kind}")
    writers = {"csv": _csv, "geojson": _geojson, "xlsx": _xlsx, "parquet": _framed}
    try:
        with db.translated(), engine.connect().execution_options(stream_results=True, yield_per=5_000) as connection:
            count = writers.get(kind, _framed)(connection.execute(query), resource, part, _extras(connection, resource, fields))
        _moved(part, target, kind)
    finally:
        part.unlink(missing_ok=True)
    return count


def selected(resource: Resource, fields: Sequence[str] | None, audience: Audience) -> sa.Select[Any]:
    """One row a record: its fields, its areas by level, its placing reason, its geometry."""
    t = TABLES[resource.name]
    known = {field.name: field for field in resource.seen_by(audience)}
    chosen = list(known) if fields is None else [field.strip() for field in fields]
    columns: list[Any] = [t.c.id]
    for name in chosen:
        if name not in known:
            raise BadQuery("{noun} 没有字段 {field}。", noun=resource.title, field=name, parameter=name, fields=list(known))
        field = known[name]
        columns.append(t.c[f"{name}_masked"].label(name) if field.masked_to(audience) else expression(resource, field).label(name))
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
    if fields is None and audience >= Audience.WORKER:
        columns.append(t.c.extras)
    if resource.geometry:
        shape = place(resource, audience)
        columns += [sa.func.ST_AsBinary(shape).label("wkb"), sa.func.ST_AsGeoJSON(shape, DECIMALS, 0).label("geojson")]
        if resource.geometry == "POINT":
            columns += [sa.func.ST_X(shape).label("lon"), sa.func.ST_Y(shape).label("lat")]
    return sa.select(*columns).select_from(source).where(t.c.retired_at.is_(None)).order_by(t.c.id)


def safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _extras(connection: sa.Connection, resource: Resource, fields: Sequence[str] | None) -> list[str]:
    if fields is not None:
        return []
    told = connection.execute(sa.text(f"SELECT DISTINCT jsonb_object_keys(extras) AS name FROM {resource.name} ORDER BY name"))
    own = {field.name for field in resource.all_fields}
    return [name for name in told.scalars() if name not in own]


def _flat(row: Any) -> dict[str, object]:
    flat = {name: value for name, value in row._mapping.items() if name not in UNSPREAD}
    return flat | {name: value for name, value in (row._mapping.get("extras") or {}).items() if name not in flat}


def _told(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if type(value).__name__ == "UUID" else value


def _csv(rows: sa.CursorResult[Any], resource: Resource, part: Path, extras: Sequence[str]) -> int:
    count = 0
    shape = ["geojson"] if resource.geometry not in (None, "POINT") else []
    heads = [*(name for name in list(rows.keys()) if name not in UNSPREAD), *extras]
    with part.open("w", encoding="utf-8-sig", newline="") as to:
        writer = csv.writer(to)
        writer.writerow([*heads, *shape])
        for row in rows:
            flat = _flat(row)
            writer.writerow([*(safe(_told(flat.get(name))) for name in heads), *(row._mapping[name] for name in shape)])
            count += 1
    return count


def _geojson(rows: sa.CursorResult[Any], resource: Resource, part: Path, extras: Sequence[str]) -> int:
    count = 0
    with part.open("w", encoding="utf-8") as to:
        to.write('{"type":"FeatureCollection","features":[')
        for row in rows:
            properties = {name: _told(value) for name, value in _flat(row).items() if name not in ("id", "lon", "lat")}
            shape = row._mapping.get("geojson") or "null"
            to.write(
                f'{"," if count else ""}\n{{"type":"Feature","id":"{row.id}","geometry":{shape},'
                f'"properties":{json.dumps(properties, ensure_ascii=False)}}}'
            )
            count += 1
        to.write("\n]}\n")
    return count


def _xlsx(rows: sa.CursorResult[Any], resource: Resource, part: Path, extras: Sequence[str]) -> int:
    import xlsxwriter

    options = {"strings_to_formulas": False, "strings_to_urls": False}
    count = 0
    with xlsxwriter.Workbook(part, options) as book:
        sheet = book.add_worksheet(resource.title)
        heads: dict[str, int] = {}
        for row in rows:
            count += 1
            for name, value in _flat(row).items():
                sheet.write(count, heads.setdefault(name, len(heads)), _told(value))
        for name, at in heads.items():
            known = {field.name: field.title for field in resource.all_fields}
            sheet.write(0, at, known.get(name, name))
    return count


def _framed(rows: sa.CursorResult[Any], resource: Resource, part: Path, extras: Sequence[str]) -> int:
    import geopandas
    import pandas
    import pyogrio

    records, shapes = [], []
    for row in rows:
        flat = {name: _told(value) for name, value in _flat(row).items() if name not in ("lon", "lat")}
        records.append(flat)
        shapes.append(row._mapping.get("wkb"))
    frame = pandas.DataFrame.from_records(records)
    kind = part.suffix.removeprefix(".")
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
        known = {field.name: field.title for field in resource.all_fields}
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
