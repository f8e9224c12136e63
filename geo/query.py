"""The one SELECT behind every list, map and export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect

from geo.crs import SRID
from geo.db import Caller
from geo.errors import BadQuery, Forbidden, Gone, NotFound
from geo.resource import Audience, Field, Place, Resource
from geo.tables import TABLES

# Nine decimals of a degree are 0.1 mm: what is read, edited and written back stays on its neighbours' edges.
DECIMALS = 9

Bbox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Filter:
    """Which features: inside what box or area (its path, with all below it), equal to what, after which one, how many.

    `lookups` are secret fields with the keyed hashes under which the number that is looked for may be kept.
    """

    bbox: Bbox | None = None
    equals: Mapping[str, object] = field(default_factory=dict)
    limit: int = 100
    after: UUID | None = None
    lookups: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    within: str | None = None

    @property
    def told(self) -> str:
        """What was filtered by, without the values: they may be a person's."""
        return ",".join([*self.equals, *self.lookups, *(["bbox"] if self.bbox else []), *(["within"] if self.within else [])])


@dataclass(frozen=True)
class Page:
    """Features as a JSON array that PostGIS wrote, their number, and the last id when there are more."""

    features: str
    count: int
    next: UUID | None


def page(connection: sa.Connection, resource: Resource, want: Filter, audience: Audience) -> Page:
    """One page of features, in the order of their ids, which is that of their making.

    Raises `BadQuery` for a field that does not exist or that this audience may not see.
    """
    rows = matching(resource, want, audience).limit(want.limit + 1).cte("rows")
    numbered = sa.select(rows, sa.func.row_number().over(order_by=rows.c.id).label("n")).subquery("row")
    within = numbered.c.n <= want.limit
    written, source = feature(resource, numbered)
    found = connection.execute(
        sa.select(
            sa.cast(
                sa.func.coalesce(
                    sa.func.json_agg(written).filter(within), sa.text("'[]'::json")
                ),
                sa.Text,
            ),
            sa.func.count().filter(within),
            sa.func.count(),
            sa.func.max(sa.cast(numbered.c.id, sa.Text)).filter(within),
        ).select_from(source)
    ).one()
    return Page(found[0], found[1], UUID(found[3]) if found[2] > want.limit else None)


def one(connection: sa.Connection, resource: Resource, id: UUID, caller: Caller) -> tuple[str, int]:
    """One feature as GeoJSON text, and its version. Raises `Gone` when it is retired, `NotFound` when it is not there."""
    found = connection.execute(_one(resource, caller.sees(resource)), {"id": id}).one_or_none()
    if found is None:
        raise missing(connection, resource, id)
    return found[0], found[1]


@cache
def _one(resource: Resource, audience: Audience) -> sa.TextClause:
    """The statement that reads one of a noun, made once: composing forty columns anew was a millisecond of each request."""
    t = TABLES[resource.name]
    rows = matching(resource, Filter(), audience).where(t.c.id == sa.literal_column("CAST(:id AS uuid)")).subquery("row")
    written, source = feature(resource, rows)
    made = sa.select(sa.cast(written, sa.Text), rows.c.version).select_from(source).compile(dialect=PGDialect(paramstyle="named"))
    return sa.text(str(made)).bindparams(**made.params)


def missing(connection: sa.Connection, resource: Resource, id: UUID) -> NotFound | Gone | Forbidden:
    """What to say of an id that no row answers to: gone if it was there for this caller, not theirs if everybody may know
    that it is there, else unknown."""
    fate = connection.scalar(
        sa.select(sa.func.feature_fate(resource.name, id))
    )
    if fate == "elsewhere":
        return Forbidden("这一项不在您负责的区域内。", id=str(id))
    return Gone(id=str(id)) if fate == "retired" else NotFound(id=str(id))


def matching(resource: Resource, want: Filter, audience: Audience) -> sa.Select[Any]:
    """The rows that match, living ones only, each with the columns this audience may have."""
    t = TABLES[resource.name]
    shown = [*_columns(resource, audience), *([place(resource, audience).label("geom")] if resource.geometry else [])]
    return sa.select(t.c.id, t.c.version, *shown).where(*conditions(resource, want, audience)).order_by(t.c.id)


def conditions(resource: Resource, want: Filter, audience: Audience) -> list[sa.ColumnElement[bool]]:
    """What a row must be to be wanted; living, whatever else."""
    t = TABLES[resource.name]
    found: list[sa.ColumnElement[bool]] = [t.c.retired_at.is_(None)]
    found += [expression(resource, filterable(resource, name, audience)) == value for name, value in want.equals.items()]
    found += [t.c[f"{lookable(resource, name, audience).name}_hash"].in_(hashes) for name, hashes in want.lookups.items()]
    if want.bbox and resource.geometry:
        found.append(inside(place(resource, audience), want.bbox))
    if want.within:
        found += [t.c.scope >= want.within, t.c.scope < f"{want.within}~"]
    if want.after:
        found.append(t.c.id > want.after)
    return found


def feature(resource: Resource, row: sa.Subquery) -> tuple[sa.ColumnElement[Any], sa.FromClause]:
    """The SQL that writes each row as a GeoJSON feature, and what it selects from.

    The properties are a row of their own, because `json_build_object` takes no more than a hundred arguments.
    """
    keys = [c.key for c in row.c if c.key not in ("id", "geom", "n")]
    properties = sa.select(*[row.c[key] for key in keys]).correlate(row).lateral("properties")
    shape: sa.ColumnElement[Any] = sa.null()
    if resource.geometry:
        shape = sa.cast(sa.func.ST_AsGeoJSON(row.c.geom, DECIMALS, 0), sa.JSON)
    written = sa.func.json_build_object(
        sa.literal_column("'type'"), sa.literal_column("'Feature'"),
        sa.literal_column("'id'"), row.c.id,
        sa.literal_column("'geometry'"), shape,
        sa.literal_column("'properties'"), sa.func.row_to_json(sa.literal_column("properties")),
    )
    return written, row.join(properties, sa.true())


def filterable(resource: Resource, name: str, audience: Audience) -> Field:
    """The field by which this audience may filter, or `BadQuery`: no filter on what one may not see."""
    for candidate in resource.seen_by(audience):
        if candidate.name == name and not candidate.masked_to(audience):
            if resource.coarse and audience < Audience.WORKER and name == "nearest_m":
                break
            return candidate
    raise BadQuery(parameter=name)


def lookable(resource: Resource, name: str, audience: Audience) -> Field:
    """The secret field by whose whole number this audience may look for records, or `BadQuery`."""
    for candidate in resource.all_fields:
        if candidate.name == name and candidate.secret and candidate.audience <= audience:
            return candidate
    raise BadQuery(parameter=name)


def expression(resource: Resource, wanted: Field) -> sa.ColumnElement[Any]:
    """The SQL value of a field: its column, or what it is derived from."""
    if wanted.derived is not None:
        return sa.literal_column(f"({wanted.derived})")
    return TABLES[resource.name].c[wanted.name]


def place(resource: Resource, audience: Audience) -> sa.ColumnElement[Any]:
    """The geometry this audience works with, in every predicate, tile and sort: the coarse one below its precision."""
    t = TABLES[resource.name]
    return t.c.geom_coarse if resource.coarse and audience < Audience.WORKER else t.c.geom


def parsed(wanted: Field, text: str) -> object:
    """A query parameter as the value of a field. Raises `BadQuery` when it is none."""
    try:
        value = _READERS[wanted.type](text)
    except (ValueError, OverflowError) as error:
        raise BadQuery(parameter=wanted.name) from error
    if wanted.choices and value not in wanted.codes:
        raise BadQuery(parameter=wanted.name, choices=list(wanted.codes))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**31:
        raise BadQuery(parameter=wanted.name)
    return value


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refused()


def _refused() -> bool:
    raise ValueError


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < 1e300 else _refused()


def _moment(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if not 1 < value.year < 9999:
        raise ValueError
    return value if value.tzinfo else _refused_moment()


def _refused_moment() -> datetime:
    raise ValueError


_READERS: dict[type, Any] = {
    str: str, int: int, float: _finite, bool: _boolean, datetime: _moment, date: date.fromisoformat, UUID: UUID,
}


@cache
def _columns(resource: Resource, audience: Audience) -> tuple[sa.ColumnElement[Any], ...]:
    t = TABLES[resource.name]
    found: list[sa.ColumnElement[Any]] = []
    for shown in resource.seen_by(audience):
        if resource.coarse and audience < Audience.WORKER and shown.name == "nearest_m":
            continue
        if shown.masked_to(audience):
            found.append(t.c[f"{shown.name}_masked"].label(shown.name))
        else:
            found.append(expression(resource, shown).label(shown.name))
    if resource.place is not Place.NONE or resource.of_area:
        found.append(t.c.scope)
    if audience >= Audience.WORKER:
        found.append(t.c.extras)
    return tuple(found)


def inside(geometry: sa.ColumnElement[Any], bbox: Bbox) -> sa.ColumnElement[bool]:
    """Whether a geometry touches a box; one whose west is east of its east goes round the back of the globe."""
    west, south, east, north = bbox
    boxes = [(west, south, east, north)] if west <= east else [(west, south, 180, north), (-180, south, east, north)]
    # The envelope of a diagonal, because a polygon without extent would intersect nothing.
    drawn = [
        sa.func.ST_Envelope(
            sa.func.ST_SetSRID(sa.func.ST_MakeLine(sa.func.ST_Point(*box[:2]), sa.func.ST_Point(*box[2:])), SRID)
        )
        for box in boxes
    ]
    return sa.or_(*[sa.and_(geometry.op("&&")(box), sa.func.ST_Intersects(geometry, box)) for box in drawn])
