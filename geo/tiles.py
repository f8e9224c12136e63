"""Vector tiles: PostGIS writes them, one statement a layer.

A tile carries ids and what the style needs, never a person's or a place's particulars; labels are a point layer of
their own, because a polygon's label would repeat at every tile edge. Zooms are Web Mercator.
"""

import hashlib
from functools import cache

import sqlalchemy as sa

from geo import query
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import BadQuery
from geo.resource import Audience, Resource

DEEPEST = 22
# One administrative level a zoom: a rule of legibility as much as of speed.
LEVELS = ((11, "street"), (13, "community"), (DEEPEST, "grid"))
# Where an instance has no areas of that level, the next best that it has.
INSTEAD = {
    "street": ["street", "district", "city", "province", "community", "grid"],
    "community": ["community", "street", "district", "city", "province", "grid"],
    "grid": ["grid", "community", "street", "district", "city", "province"],
}
# Of a layer with more than this in one tile nobody can tell one from another.
MOST = 20_000


def tile(connection: sa.Connection, resource: Resource, z: int, x: int, y: int, audience: Audience) -> bytes:
    """The MVT of one layer and its labels. Raises `BadQuery` for a tile that does not exist.

    Below the layer's zooms the tile is empty: a layer is not read where it is not drawn.
    """
    if not (0 <= z <= DEEPEST and 0 <= x < 2**z and 0 <= y < 2**z):
        raise BadQuery(parameter="z/x/y")
    if z < resource.style.zooms[0]:
        return b""
    found = connection.scalar(_statement(resource, audience, z >= 14), {"z": z, "x": x, "y": y, **_level(resource, z)})
    return bytes(found or b"")


def versions(connection: sa.Connection) -> dict[str, int]:
    """The version of every layer: what its tiles' addresses carry, moved on by the relay after each write."""
    known = {row.layer: int(row.version) for row in connection.execute(sa.text("SELECT layer, version FROM layer_versions"))}
    return {name: known.get(name, 0) for name, resource in RESOURCES.items() if resource.geometry}


def version(connection: sa.Connection, resource: Resource) -> int:
    """The version of one layer."""
    found = connection.scalar(sa.text("SELECT version FROM layer_versions WHERE layer = :layer"), {"layer": resource.name})
    return int(found or 0)


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


def fingerprint(caller: Caller) -> str:
    """Of everything that a caller's tiles are bound to: who has the same is drawn the same. Twelve hexadecimal digits."""
    bound = (caller.bound_role, caller.audience, *caller.scope, "", *sorted(caller.categories))
    return hashlib.sha256("|".join(map(str, bound)).encode()).hexdigest()[:12]


def _level(resource: Resource, z: int) -> dict[str, object]:
    if resource.name != "areas":
        return {}
    return {"levels": INSTEAD[next(level for deepest, level in LEVELS if z <= deepest)]}


@cache
def _statement(resource: Resource, audience: Audience, fine: bool) -> sa.TextClause:
    """`fine` tiles have 4096 steps a side, coarser zooms 2048: nobody sees the difference, and they are half as large."""
    where = query.place(resource, audience).name
    by = resource[resource.style.by] if resource.style.by else None
    style = f", {by.name}" if by else ""
    kind = f", {by.derived or by.name} AS {by.name}" if by else ""
    own = f"{resource.name}_labels"
    if resource.name == "areas":
        # Column by column: a function of the whole row would ask for columns that the public has no right to.
        own_rows = (
            "areas.level = first_level(:levels) AND areas.theme = 'governance' AND areas.kind NOT IN ('unit', 'thematic')"
            " AND areas.valid_from <= now() AND (areas.valid_to IS NULL OR areas.valid_to > now())"
        )
        spot = "label_point"
    else:
        own_rows, spot = resource.drawn_rows or "true", f"ST_PointOnSurface({where})"
    extent = 4096 if fine else 2048
    label = _label(resource, audience)
    return sa.text(
        f"""
        WITH bound AS (
            SELECT ST_TileEnvelope(:z, :x, :y) AS box, ST_Transform(ST_TileEnvelope(:z, :x, :y, margin => 0.03125), 4326) AS reach,
                   ST_Transform(ST_TileEnvelope(:z, :x, :y), 4326) AS inside
        ), seen AS (
            SELECT id, {where} AS geom, {label} AS label{kind}, {spot} AS spot
            FROM {resource.name}, bound WHERE {where} && bound.reach AND retired_at IS NULL AND {own_rows} LIMIT {MOST}
        ), drawn AS (
            SELECT id::text AS id{style},
                   ST_AsMVTGeom(ST_Transform(seen.geom, 3857), bound.box, {extent}, {extent // 32}) AS geom
            FROM seen, bound
        ), told AS (
            SELECT id::text AS id, label, ST_AsMVTGeom(ST_Transform(spot, 3857), bound.box, {extent}, 0) AS geom
            FROM seen, bound WHERE spot && bound.inside AND label <> ''
        )
        SELECT (SELECT ST_AsMVT(drawn, '{resource.name}', {extent}, 'geom') FROM drawn WHERE geom IS NOT NULL)
            || (SELECT ST_AsMVT(told, '{own}', {extent}, 'geom') FROM told WHERE geom IS NOT NULL)
        """
    )


def _label(resource: Resource, audience: Audience) -> str:
    field = resource[resource.label]
    masked = field.masked_to(audience)
    # What a public incident is about is in its card; on the map it is a sign.
    return "''" if resource.name == "incidents" else f"coalesce({field.name}{'_masked' if masked else ''}, '')"
