"""The one SELECT behind every list, map and export."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql.base import PGDialect

from geo.crs import SRID
from geo.db import Caller
from geo.errors import BadQuery, Forbidden, Gone, NotFound
from geo.references import CRS84, Reference
from geo.resource import Audience, Field, Place, Resource
from geo.tables import TABLES

# Nine decimals of a degree are 0.1 mm: what is read, edited and written back stays on its neighbours' edges.
DECIMALS = CRS84.decimals
SORTED_BY = 4  # fields

Bbox = tuple[float, float, float, float]
Interval = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class Sort:
    """A field by which a list is ordered. What has no value comes last."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class Filter:
    """Which features: inside what box or area (its path, with all below it), equal to what, of what time, and so on; in what
    order; from which one on, onwards or backwards; how many.

    `lookups` are secret fields with the keyed hashes under which the number that is looked for may be kept. `condition` is a
    filter in CQL2, compiled for whoever asks. `time` is a first and a last moment, None for an open end. `place` is where a page
    begins: the values of `sort`, then the id, as `Page` told them.
    """

    bbox: Bbox | None = None
    equals: Mapping[str, object] = field(default_factory=dict)
    limit: int = 100
    lookups: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    within: str | None = None
    condition: sa.ColumnElement[bool] | None = None
    time: Interval | None = None
    sort: tuple[Sort, ...] = ()
    place: tuple[object, ...] | None = None
    backwards: bool = False

    @property
    def costly(self) -> bool:
        """Whether what it costs cannot be known before it is asked."""
        return self.condition is not None or bool(self.sort) or self.time is not None

    @property
    def told(self) -> str:
        """What was filtered by, without the values: they may be a person's."""
        others = {"bbox": self.bbox, "within": self.within, "filter": self.condition is not None, "datetime": self.time}
        return ",".join([*self.equals, *self.lookups, *[name for name, given in others.items() if given]])


@dataclass(frozen=True)
class Page:
    """Features as a JSON array that PostGIS wrote and their number; where the page after them begins and where that before them
    ends, if there is one, and whether this is all there is."""

    features: str
    count: int
    next: list[Any] | None
    prev: list[Any] | None
    whole: bool


def page(connection: sa.Connection, resource: Resource, want: Filter, audience: Audience, reference: Reference = CRS84) -> Page:
    """One page of features, in the order that is wanted and then of their ids, which is that of their making.

    Raises `BadQuery` for a field that does not exist or that this audience may not see.
    """
    rows = matching(resource, want, audience)
    sorts = [value.label(f"sort_{n}") for n, value in enumerate(_sorted_by(resource, want, audience))]
    cut = rows.add_columns(*sorts).limit(want.limit + 1).cte("rows")
    order = _order(want, [cut.c[one.name] for one in sorts], cut.c.id)
    numbered = sa.select(cut, sa.func.row_number().over(order_by=order).label("n")).subquery("row")
    within = numbered.c.n <= want.limit
    written, source = feature(resource, numbered, reference)
    features = sa.func.json_agg(aggregate_order_by(written, numbered.c.n.desc()) if want.backwards else written)
    place = sa.cast(sa.func.json_build_array(*[sa.cast(numbered.c[one.name], sa.Text) for one in sorts], numbered.c.id), sa.Text)
    found = connection.execute(
        sa.select(
            sa.cast(sa.func.coalesce(features.filter(within), sa.text("'[]'::json")), sa.Text),
            sa.func.count().filter(within),
            sa.func.count(),
            sa.func.max(place).filter(numbered.c.n == 1),
            sa.func.max(place).filter(sa.and_(within, numbered.c.n >= want.limit)),
        ).select_from(source)
    ).one()
    return _paged(want, *found)


def _paged(want: Filter, features: str, count: int, seen: int, first: str | None, last: str | None) -> Page:
    """What a page says of those beside it. One that was read backwards comes from a page that follows it."""
    more, begun = seen > want.limit, want.place is not None
    places = [json.loads(place) if place else None for place in (first, last)]
    if want.backwards:
        return Page(features, count, places[0], places[1] if more else None, False)
    return Page(features, count, places[1] if more else None, places[0] if begun else None, not more and not begun)


def one(connection: sa.Connection, resource: Resource, id: UUID, caller: Caller, reference: Reference = CRS84) -> tuple[str, int]:
    """One feature as GeoJSON text, and its version. Raises `Gone` when it is retired, `NotFound` when it is not there."""
    found = connection.execute(_one(resource, caller.sees(resource), reference), {"id": id}).one_or_none()
    if found is None:
        raise missing(connection, resource, id)
    return found[0], found[1]


@cache
def _one(resource: Resource, audience: Audience, reference: Reference) -> sa.TextClause:
    """The statement that reads one of a noun, made once: composing forty columns anew was a millisecond of each request."""
    t = TABLES[resource.name]
    rows = matching(resource, Filter(), audience).where(t.c.id == sa.literal_column("CAST(:id AS uuid)")).subquery("row")
    written, source = feature(resource, rows, reference)
    made = sa.select(sa.cast(written, sa.Text), rows.c.version).select_from(source).compile(dialect=PGDialect(paramstyle="named"))  # type: ignore[no-untyped-call]
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
    return sa.select(t.c.id, t.c.version, *shown).where(*conditions(resource, want, audience)).order_by(
        *_order(want, _sorted_by(resource, want, audience), t.c.id))


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
    if want.condition is not None:
        found.append(want.condition)
    if want.time:
        found.append(_meanwhile(resource, want.time, audience))
    if want.place is not None:
        found.append(_beyond(want, _sorted_by(resource, want, audience), t.c.id))
    return found


def _sorted_by(resource: Resource, want: Filter, audience: Audience) -> list[sa.ColumnElement[Any]]:
    return [expression(resource, filterable(resource, one.field, audience)) for one in want.sort]


def _order(want: Filter, sorts: Sequence[sa.ColumnElement[Any]], id: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    """As wanted, then by id; of a page that is read backwards the other way round. What has no value comes last."""
    if not want.backwards:
        return [*[(v.desc() if one.descending else v.asc()).nulls_last() for v, one in zip(sorts, want.sort, strict=True)], id]
    return [*[(v.asc() if one.descending else v.desc()).nulls_first() for v, one in zip(sorts, want.sort, strict=True)], id.desc()]


def _beyond(want: Filter, sorts: Sequence[sa.ColumnElement[Any]], id: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether a row comes after a place in the order, or before it. With nothing to sort by it is one comparison, for the index."""
    *values, last = want.place or ()
    same: list[sa.ColumnElement[bool]] = []
    ways: list[sa.ColumnElement[bool]] = []
    for value, at, one in zip(sorts, values, want.sort, strict=True):
        past: sa.ColumnElement[bool]
        if at is None:
            # Only what has a value comes before what has none, and nothing after it.
            past = value.is_not(None) if want.backwards else sa.false()
        elif want.backwards:
            past = value > at if one.descending else value < at
        else:
            past = sa.or_(value < at if one.descending else value > at, value.is_(None))
        ways.append(sa.and_(*same, past))
        same.append(value.is_(None) if at is None else value == at)
    ways.append(sa.and_(*same, id < last if want.backwards else id > last))
    return sa.or_(*ways) if len(ways) > 1 else ways[0]


def _meanwhile(resource: Resource, time: Interval, audience: Audience) -> sa.ColumnElement[bool]:
    """Whether a row's own time meets a period. What says no time is of every time, as the standard has it."""
    begun, ended = lasting(resource, audience)
    first, last = time
    if begun is None:
        return sa.true()
    since, until = expression(resource, begun), expression(resource, ended or begun)
    terms = []
    if last is not None:
        terms.append(sa.or_(since <= last, since.is_(None)))
    if first is not None:
        terms.append(sa.or_(until >= first, until.is_(None)))
    return sa.and_(sa.true(), *terms)


PERIODS = (("valid_from", "valid_to"), ("starts_at", "ends_at"), ("starts_at", "planned_end"))


def lasting(resource: Resource, audience: Audience) -> tuple[Field | None, Field | None]:
    """The fields of a noun's own time: of its beginning and its end, or of its one moment."""
    fields = {field.name: field for field in resource.seen_by(audience)}
    for begun, ended in PERIODS:
        if begun in fields and ended in fields:
            return fields[begun], fields[ended]
    return fields.get(resource.moment or ""), None


def feature(resource: Resource, row: sa.Subquery, reference: Reference = CRS84) -> tuple[sa.ColumnElement[Any], sa.FromClause]:
    """The SQL that writes each row as a GeoJSON feature, and what it selects from.

    The properties are a row of their own, because `json_build_object` takes no more than a hundred arguments.
    """
    keys = [c.key for c in row.c if c.key not in ("id", "geom", "n") and not c.key.startswith("sort_")]
    properties = sa.select(*[row.c[key] for key in keys]).correlate(row).lateral("properties")
    shape: sa.ColumnElement[Any] = sa.null()
    if resource.geometry:
        shape = sa.cast(sa.func.ST_AsGeoJSON(reference.told(row.c.geom), reference.decimals, 0), sa.JSON)
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


def filterables(resource: Resource, audience: Audience) -> list[Field]:
    """The fields by which this audience may filter and sort."""
    found = []
    for candidate in resource.seen_by(audience):
        with suppress(BadQuery):
            found.append(filterable(resource, candidate.name, audience))
    return found


def identity(resource: Resource) -> sa.ColumnElement[Any]:
    """The id of a row."""
    return TABLES[resource.name].c.id


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


def names(resource: Resource, audience: Audience) -> set[str]:
    """The properties that this audience is told."""
    return {"version", *(column.key for column in _columns(resource, audience) if column.key)}


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
