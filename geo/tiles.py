"""Vector tiles: PostGIS writes them, one statement a layer.

A tile carries ids and what the style needs, never a person's or a place's particulars; labels are a point layer of
their own, because a polygon's label would repeat at every tile edge. What is drawn grows coarser zoom by zoom: one level of
areas, small shapes and lanes left out, lines with fewer bends, points near each other as one with their number.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache

import sqlalchemy as sa

from geo import query, statements
from geo.catalog import RESOURCES
from geo.crs import Bounds
from geo.db import Caller
from geo.errors import BadQuery
from geo.matrices import DEEPEST, SIDE, WEB_MERCATOR, MatrixSet
from geo.resource import Audience, Place, Resource

# One administrative level a zoom: a rule of legibility as much as of speed.
LEVELS = ((8, "district"), (11, "street"), (13, "community"), (DEEPEST, "grid"))
# Where an instance has no areas of that level, the next best that it has.
INSTEAD = {
    "district": ["district", "city", "province", "street", "community", "grid"],
    "street": ["street", "district", "city", "province", "community", "grid"],
    "community": ["community", "street", "district", "city", "province", "grid"],
    "grid": ["grid", "community", "street", "district", "city", "province"],
}
# Of a layer with more than this in one tile nobody can tell one from another.
MOST = 20_000
FINE = 14  # from here 4096 steps a side, before 2048: nobody sees the difference, and tiles are half as large
SINGLY = 15  # from here every point is drawn as itself; before, those in one of CELLS × CELLS cells of a tile as one
CELLS = 64
CLOSEST = 16  # the map draws no tiles of a later zoom, so names are there by then
MARGIN = 1 / 32  # of its side that a tile reaches over its edge


def tile(
    connection: sa.Connection, resource: Resource, z: int, x: int, y: int, audience: Audience, matrices: MatrixSet = WEB_MERCATOR
) -> bytes:
    """The MVT of one layer and its labels. Raises `BadQuery` for a tile that does not exist.

    Below the layer's zooms the tile is empty: a layer is not read where it is not drawn.
    """
    if not matrices.holds(z, x, y):
        raise BadQuery(parameter="z/x/y")
    if z < resource.style.zooms[0]:
        return b""
    gathered = resource.geometry == "POINT" and z < SINGLY
    named = resource.style.named is not None and z >= min(resource.style.named - 1, CLOSEST)
    statement = _statement(resource, audience, matrices.srid, gathered, named, z >= FINE, _missing(resource, z))
    values = {**bounds(matrices, z, x, y, 0 if gathered else MARGIN), **_level(resource, z)}
    return bytes(connection.scalar(statement, values) or b"")


def versions(connection: sa.Connection) -> dict[str, int]:
    """The version of every layer: what its tiles' addresses carry, moved on by the relay after each write.

    What lies in several areas is seen by those of each, so that other areas are another version of it.
    """
    known = {row.layer: int(row.version) for row in connection.execute(sa.text("SELECT layer, version FROM layer_versions"))}
    areas = known.get("areas", 0)
    return {
        name: max(known.get(name, 0), areas if resource.place is Place.SHARES else 0)
        for name, resource in RESOURCES.items() if resource.geometry
    }


def version(connection: sa.Connection, resource: Resource) -> int:
    """The version of one layer."""
    return versions(connection)[resource.name]


def drawn(caller: Caller) -> Iterator[Resource]:
    """The nouns that a caller may ask tiles of. Whoever reads of a person is written down, and a map asks for a tile a second."""
    for resource in RESOURCES.values():
        if resource.geometry and not resource.personal and caller.knows(resource):
            yield resource


def extent(connection: sa.Connection) -> Bounds | None:
    """How far the areas reach that the caller sees, in degrees."""
    found = statements.run(connection, "drawn_extent").one_or_none()
    return (found.west, found.south, found.east, found.north) if found else None


def differs(resource: Resource, caller: Caller) -> bool:
    """Whether a caller is drawn anything else of a noun than everybody is: rows that are not the public's, the place itself
    where the public is shown its area, a name in clear. For the rest the map takes everybody's tiles, of the whole town.

    One's own rows are never drawn: a tile that is nobody else's would say that there is something.
    """
    if caller.role in ("jingwei_public", "jingwei_own"):
        return False
    audience = caller.sees(resource)
    drawn = [(query.place(resource, a).name, _label(resource, a)) for a in (audience, Audience.PUBLIC)]
    drafts = resource.public_rows is not None and resource.drawn_rows is None and audience >= Audience.WORKER
    return resource.audience > Audience.PUBLIC or drawn[0] != drawn[1] or drafts


def kept(caller: Caller) -> bool:
    """Whether what a caller is drawn may be kept under its version and fingerprint. Of a department not: it sees what its body leads,
    and which body that is changes without anybody writing to a layer."""
    return not caller.role.startswith("jingwei_organisation")


def fingerprint(caller: Caller) -> str:
    """Of everything that a caller's tiles are bound to: who has the same is drawn the same. Twelve hexadecimal digits."""
    bound = (caller.bound_role, caller.audience, *caller.scope, "", *sorted(caller.categories))
    return hashlib.sha256("|".join(map(str, bound)).encode()).hexdigest()[:12]


def _level(resource: Resource, z: int) -> dict[str, object]:
    if resource.name != "areas":
        return {}
    return {"levels": INSTEAD[level_at(z)]}


def level_at(z: float) -> str:
    """The level of areas that is drawn at a zoom."""
    return next(level for deepest, level in LEVELS if z <= deepest)


def _missing(resource: Resource, z: int) -> tuple[str, ...]:
    return tuple(value for value, from_zoom in resource.style.coming if z < from_zoom)


def bounds(matrices: MatrixSet, z: int, x: int, y: int, margin: float) -> Mapping[str, float]:
    """A tile for a statement: in units of the CRS, in degrees with and without its margin."""
    found: dict[str, float] = {}
    for name, box in (
        ("", matrices.box(z, x, y)), ("in_", matrices.degrees(z, x, y)), ("out_", matrices.degrees(z, x, y, margin)),
    ):
        found |= {f"{name}{side}": value for side, value in zip(("west", "south", "east", "north"), box, strict=True)}
    # Degrees of a pixel, as wide as it is here.
    return found | {"pixel": (found["in_east"] - found["in_west"]) / SIDE}


BOX = "ST_MakeEnvelope(:{0}west, :{0}south, :{0}east, :{0}north, {1})"


@cache
def _statement(
    resource: Resource, audience: Audience, srid: int, gathered: bool, named: bool, fine: bool, missing: tuple[str, ...]
) -> sa.TextClause:
    where = query.place(resource, audience).name
    by = resource[resource.style.by] if resource.style.by else None
    style = f", {by.name}" if by else ""
    kind = f", {by.derived or by.name} AS {by.name}" if by else ""
    extent = 4096 if fine else 2048
    box, reach, inside = (BOX.format(name, number) for name, number in (("", srid), ("out_", 4326), ("in_", 4326)))
    rows = f"{where} && {reach} AND retired_at IS NULL AND {_drawn_rows(resource)}"
    if missing:
        rows += f" AND coalesce({resource.style.by}, '') NOT IN ({', '.join(map(repr, missing))})"
    if gathered:
        return sa.text(_gathered(resource, rows, where, kind, style, box, srid, extent, _label(resource, audience) if named else None))
    if resource.style.least and resource.geometry != "POINT":
        rows += (
            f" AND greatest(ST_XMax({where}) - ST_XMin({where}), ST_YMax({where}) - ST_YMin({where})) >= :pixel * {resource.style.least}"
        )
    spot = {"areas": "label_point"}.get(resource.name, where if resource.geometry == "POINT" else f"ST_PointOnSurface({where})")
    # Half a step of the tile: what it takes away would not show. Before the zooms of `FINE` alone, where there are many bends.
    shape = "seen.geom" if fine or resource.geometry == "POINT" else f"ST_Simplify(seen.geom, :pixel * {SIDE / extent / 2}, true)"
    if resource.geometry == "MULTIPOLYGON" and not resource.style.least and resource.name != "areas":
        # What must be seen is seen, be it smaller than a pixel: where it would vanish a square stands for it.
        wide = "greatest(ST_XMax(seen.geom) - ST_XMin(seen.geom), ST_YMax(seen.geom) - ST_YMin(seen.geom))"
        shape = f"CASE WHEN {wide} < :pixel * 2 THEN ST_Expand(seen.geom, :pixel) ELSE {shape} END"
    labels = (
        f""", told AS (
            SELECT id::text AS id, label, ST_AsMVTGeom(ST_Transform(spot, {srid}), {box}, {extent}, 0) AS geom
            FROM seen WHERE spot && {inside} AND label <> ''
        )"""
        if named else ""
    )
    return sa.text(
        f"""
        WITH seen AS (
            SELECT id, {where} AS geom{kind}{f", {_label(resource, audience)} AS label, {spot} AS spot" if named else ""}
            FROM {resource.name} WHERE {rows} LIMIT {MOST}
        ), drawn AS (
            SELECT id::text AS id{style}, ST_AsMVTGeom(ST_Transform({shape}, {srid}), {box}, {extent}, {int(extent * MARGIN)}) AS geom
            FROM seen
        ){labels}
        SELECT (SELECT ST_AsMVT(drawn, '{resource.name}', {extent}, 'geom') FROM drawn WHERE geom IS NOT NULL)
        """
        + (f"|| (SELECT ST_AsMVT(told, '{resource.name}_labels', {extent}, 'geom') FROM told WHERE geom IS NOT NULL)" if named else "")
    )


def _gathered(
    resource: Resource, rows: str, where: str, kind: str, style: str, box: str, srid: int, extent: int, label: str | None
) -> str:
    """Points of one cell and one value as one, in their middle, with their number; whoever is alone keeps id and name. In this
    tile alone, half-open, so that nobody is counted twice at an edge."""
    alone = "CASE WHEN count(*) = 1 THEN {} END"
    shown = (
        f"|| (SELECT ST_AsMVT(told, '{resource.name}_labels', {extent}, 'geom')"
        " FROM (SELECT id, label, geom FROM placed WHERE geom IS NOT NULL AND label <> '') AS told)" if label else ""
    )
    return f"""
        WITH seen AS (
            SELECT id, ST_X({where}) AS x, ST_Y({where}) AS y{kind}{f", {label} AS label" if label else ""} FROM {resource.name}
            WHERE {rows} AND ST_X({where}) >= :in_west AND ST_X({where}) < :in_east AND ST_Y({where}) > :in_south AND ST_Y({where}) <= :in_north
        ), cells AS (
            SELECT {alone.format("min(id::text)")} AS id{style}, nullif(count(*), 1)::integer AS count, avg(x) AS x, avg(y) AS y
                {f", {alone.format('min(label)')} AS label" if label else ""}
            FROM seen
            GROUP BY floor((x - :in_west) / (:in_east - :in_west) * {CELLS}), floor((:in_north - y) / (:in_north - :in_south) * {CELLS}){style}
        ), placed AS (
            SELECT cells.*, ST_AsMVTGeom(ST_Transform(ST_SetSRID(ST_Point(x, y), 4326), {srid}), {box}, {extent}, 0) AS geom FROM cells
        )
        SELECT (SELECT ST_AsMVT(drawn, '{resource.name}', {extent}, 'geom')
                FROM (SELECT id{style}, count, geom FROM placed WHERE geom IS NOT NULL) AS drawn)
        {shown}
        """


def _drawn_rows(resource: Resource) -> str:
    if resource.name != "areas":
        return resource.drawn_rows or "true"
    # Column by column: a function of the whole row would ask for columns that the public has no right to.
    return (
        "areas.level = first_level(:levels) AND areas.theme = 'governance' AND areas.kind NOT IN ('unit', 'thematic')"
        " AND areas.valid_from <= now() AND (areas.valid_to IS NULL OR areas.valid_to > now())"
    )


def _label(resource: Resource, audience: Audience) -> str:
    field = resource[resource.label]
    masked = field.masked_to(audience)
    # What a public incident is about is in its card; on the map it is a sign.
    return "''" if resource.name == "incidents" else f"coalesce({field.name}{'_masked' if masked else ''}, '')"
