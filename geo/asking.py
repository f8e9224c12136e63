"""Questions people ask of what is on the map: what is nearest, what is within so many metres, how much there is where, what is
under the pointer. One statement each, bound as the caller: rows by policy, places coarse and names masked as in every list.

Each costs what it may and no more: how far, how many and how intricate is looked at before anything is asked, what cannot be known
before is bounded by `PATIENCE`, and whoever asks for more is told to ask for less (docs/decisions/0044). The functions of PostGIS
used here are those that stop when they are told to: distance, transformation, boxes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, radians
from typing import Any, Literal

import shapely
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from geo import crs, query, tiles
from geo.catalog import RESOURCES, WIDTHS
from geo.crs import SRID, Bounds, Datum
from geo.db import Caller
from geo.errors import BadQuery, Invalid
from geo.layers import Layer
from geo.query import Filter
from geo.resource import Audience, Place, Resource
from geo.spine import AREA_SHARES, LAYER_FEATURES
from geo.tables import TABLES

FARTHEST = 50_000  # metres: across a city, not across a country
WIDEST = 1.0  # degrees of what is asked around
VERTICES = 1_000  # of what is asked around: each is measured against each of what may be near
CANDIDATES = 20_000  # that may be near: 0.3 s to measure
MOST = 1_000  # that are told at once
PATIENCE = "1500ms"
METRES = 110_500.0  # of a degree of latitude, where it is shortest
# How near to the pointer something is meant, and how much of a layer is told of.
PIXELS, TOLD = 8, 5

TOO_MUCH = "这样问要看的东西太多:请缩小距离或范围,或者加上条件。"
PEOPLE = ("dwellings", "households", "residents", "non_local")
PEOPLE_AT_ONCE = 100  # areas, where people are told: the public's number of a street takes up to 40 ms

Subject = Resource | Layer
Row = sa.Select[Any]


@dataclass(frozen=True)
class Around:
    """What is asked around: as WKB in storage degrees, and how far it reaches."""

    wkb: bytes
    bounds: Bounds

    @property
    def srid(self) -> int:
        """Of the projection in which metres are metres here."""
        west, south, east, north = self.bounds
        return crs.metric_srid((west + east) / 2, (south + north) / 2)

    @property
    def degrees(self) -> float:
        """Degrees of longitude that a metre is at the most, a little farther towards the pole too."""
        farthest = max(abs(self.bounds[1]), abs(self.bounds[3])) + FARTHEST / METRES
        return 1 / METRES / max(0.01, cos(radians(min(89.5, farthest))))

    def box(self, metres: float) -> Bounds:
        """All that can be within so many metres."""
        west, south, east, north = self.bounds
        wide, tall = metres * self.degrees, metres / METRES
        return west - wide, south - tall, east + wide, north + tall

    @property
    def geometry(self) -> sa.ColumnElement[Any]:
        """For a statement."""
        return sa.func.ST_SetSRID(sa.func.ST_GeomFromWKB(self.wkb), SRID)


def around(shape: Any) -> Around:
    """A shape in storage degrees, if it is not too much to ask around."""
    west, south, east, north = (float(n) for n in shape.bounds)
    if shapely.get_num_coordinates(shape) > VERTICES:
        raise Invalid("顶点超过 {most} 个:请用简单些的形状来问。", most=VERTICES)
    if east - west > WIDEST or north - south > WIDEST:
        raise Invalid("范围超过 {most} 度:请用小些的形状来问。", most=WIDEST)
    return Around(bytes(shapely.to_wkb(shape)), (west, south, east, north))


def around_point(lon: float, lat: float, datum: Datum) -> Around:
    """A position in degrees of its datum."""
    return around(shapely.Point(*crs.point_to_storage(lon, lat, datum)))


def around_feature(connection: sa.Connection, resource: Resource, id: Any, caller: Caller) -> Around:
    """A feature as the caller sees it, be that its coarse place. Raises `NotFound` and `Gone` as reading it does."""
    audience = caller.sees(resource)
    place = query.place(resource, audience)
    t = TABLES[resource.name]
    counted = sa.select(sa.func.ST_NPoints(place), sa.case((sa.func.ST_NPoints(place) <= VERTICES, sa.func.ST_AsBinary(place))))
    found = connection.execute(counted.where(t.c.id == id, *query.conditions(resource, Filter(), audience), place.is_not(None))).one_or_none()
    if found is None:
        raise query.missing(connection, resource, id)
    if found[1] is None:
        raise BadQuery("顶点超过 {most} 个:请用简单些的形状来问。", most=VERTICES)
    try:
        return around(shapely.from_wkb(bytes(found[1])))
    except Invalid as error:
        raise BadQuery(error.sentence, **error.facts) from error


@dataclass(frozen=True)
class Found:
    """Features as a JSON array that PostGIS wrote, nearest first, each with `distance_m`; how many there are in all."""

    features: str
    count: int
    matched: int


def nearest(
    connection: sa.Connection, subject: Subject, spot: Around, k: int, metres: float, want: Filter, audience: Audience
) -> Found:
    """The k nearest within some metres, by true distance: by degrees, which favour north and south, only where to look is found."""
    rows, place = _rows(subject, want, audience)
    here = sa.func.ST_Transform(spot.geometry, spot.srid)
    boxed = place.op("&&")(_envelope(spot.box(metres)))
    first = sa.select(place.label("geom")).where(*_where(subject, want, audience), boxed).order_by(place.op("<->")(spot.geometry)).limit(k).cte("first")
    farthest = sa.func.max(sa.func.ST_Distance(sa.func.ST_Transform(first.c.geom, spot.srid), here)) + 0.01
    reach = sa.select(sa.case((sa.func.count() < k, metres), else_=sa.func.least(metres, farthest)).label("metres")).select_from(first).cte("reach")
    near = rows.add_columns(_distance(place, spot).label("distance_m")).join(reach, sa.true()).where(
        boxed, place.op("&&")(sa.func.ST_Expand(spot.geometry, reach.c.metres * spot.degrees))
    )
    measured = near.order_by(None).cte("near")
    chosen = sa.select(measured).where(measured.c.distance_m <= metres).order_by(measured.c.distance_m, measured.c.id).limit(k).subquery("nearest")
    numbered = sa.select(chosen, sa.func.row_number().over(order_by=(chosen.c.distance_m, chosen.c.id)).label("n")).subquery("row")
    return _told(connection, subject, numbered, k, None)


def within(
    connection: sa.Connection, subject: Subject, spot: Around, metres: float, limit: int, want: Filter, audience: Audience
) -> Found:
    """All that is within some metres of something, nearest first. Raises `BadQuery` when too much may be."""
    rows, place = _rows(subject, want, audience)
    measured = rows.add_columns(_distance(place, spot).label("distance_m")).where(place.op("&&")(_envelope(spot.box(metres))))
    near = measured.order_by(None).limit(CANDIDATES + 1).cte("near")
    numbered = sa.select(near, sa.func.row_number().over(order_by=(near.c.distance_m, near.c.id)).label("n")).where(
        near.c.distance_m <= metres).subquery("row")
    return _told(connection, subject, numbered, limit, near)


def _rows(subject: Subject, want: Filter, audience: Audience) -> tuple[Row, sa.ColumnElement[Any]]:
    """The rows of a noun or of a layer of somebody's own as the caller reads them, and where they are."""
    if isinstance(subject, Layer):
        t = LAYER_FEATURES.c
        told = sa.select(t.id, t.properties.label("properties"), t.geom.label("geom")).where(*_where(subject, want, audience))
        return told, t.geom
    return query.matching(subject, want, audience).where(*_placed(subject)).order_by(None), query.place(subject, audience)


def _where(subject: Subject, want: Filter, audience: Audience) -> list[sa.ColumnElement[bool]]:
    if isinstance(subject, Layer):
        return [LAYER_FEATURES.c.edition == subject.edition]
    return [*query.conditions(subject, want, audience), *_placed(subject)]


def _placed(resource: Resource) -> list[sa.ColumnElement[bool]]:
    t = TABLES[resource.name]
    if resource.name == "areas":
        return [t.c.valid_from <= sa.func.now(), sa.or_(t.c.valid_to.is_(None), t.c.valid_to > sa.func.now())]
    # The middle of a region is no place to be near to.
    return [t.c.precision != "region"] if "precision" in t.c else []


def _distance(place: sa.ColumnElement[Any], spot: Around) -> sa.ColumnElement[Any]:
    there, here = sa.func.ST_Transform(place, spot.srid), sa.func.ST_Transform(spot.geometry, spot.srid)
    return sa.cast(sa.func.round(sa.cast(sa.func.ST_Distance(there, here), sa.Numeric), 2), sa.Float)


def _envelope(box: Bounds) -> sa.ColumnElement[Any]:
    return sa.func.ST_MakeEnvelope(*box, SRID)


def _told(connection: sa.Connection, subject: Subject, numbered: sa.Subquery, limit: int, near: sa.CTE | None) -> Found:
    if isinstance(subject, Layer):
        properties = sa.func.jsonb_build_object("distance_m", numbered.c.distance_m).op("||")(numbered.c.properties)
        shape = sa.cast(sa.func.ST_AsGeoJSON(numbered.c.geom, query.DECIMALS, 0), sa.JSON)
        written: sa.ColumnElement[Any] = sa.func.json_build_object(
            "type", "Feature", "id", numbered.c.id, "geometry", shape, "properties", properties)
        source: sa.FromClause = numbered
    else:
        written, source = query.feature(subject, numbered)
    shown = numbered.c.n <= limit
    features = sa.cast(sa.func.coalesce(sa.func.json_agg(aggregate_order_by(written, numbered.c.n)).filter(shown), sa.text("'[]'::json")), sa.Text)
    candidates = sa.select(sa.func.count()).select_from(near).scalar_subquery() if near is not None else sa.literal(0)
    with patient(connection):
        found = connection.execute(sa.select(features, sa.func.count().filter(shown), sa.func.count(), candidates).select_from(source)).one()
    if found[3] > CANDIDATES:
        raise BadQuery(TOO_MUCH, parameter="metres")
    return Found(found[0], found[1], found[2])


@contextmanager
def patient(connection: sa.Connection) -> Iterator[None]:
    """Wait so long and no longer for what is asked; then it was too much, and whoever asks can ask for less."""
    connection.execute(sa.text("SELECT set_config('statement_timeout', :patience, true)"), {"patience": PATIENCE})
    try:
        yield
    except sa.exc.DBAPIError as error:
        # Cut off inside of PostGIS, it says that it was interrupted.
        if getattr(error.orig, "sqlstate", "") in ("57014", "XX000"):
            raise BadQuery(TOO_MUCH) from error
        raise


# How much there is where

Per = Literal["km2", "residents"]


@dataclass(frozen=True)
class Measure:
    """What is added up: `count` (how many), a number of the row, or people and homes as they may be told."""

    of: str = "count"
    per: Per | None = None
    by: str | None = None


def measures(resource: Resource, audience: Audience) -> list[str]:
    """What may be added up of a noun: of what lies in several areas its number and its size in each."""
    if resource.place is Place.SHARES:
        return ["count", "measure"]
    numbers = [
        field.name for field in resource.seen_by(audience)
        if field.stored and field.type in (int, float) and not field.masked_to(audience) and field.name != "nearest_m"
    ]
    return ["count", *numbers]


def aggregate(
    connection: sa.Connection, resource: Resource, level: str, measure: Measure, within: str, after: str, limit: int, want: Filter,
    audience: Audience,
) -> list[dict[str, Any]]:
    """What of a noun the caller sees, added up for every area of a level that the caller sees, in the order of paths.

    A row an area (with `by`: an area and value): `path`, `code`, `name`, `value`, and of a rate `numerator` and `denominator`.
    People are told as to this caller: to those who do not work there in multiples of k, None for too few (docs/decisions/0035).
    Raises `BadQuery` for what may not be added up.
    """
    if measure.of not in (*measures(resource, audience), *PEOPLE):
        raise BadQuery(parameter="measure", choices=[*measures(resource, audience), *PEOPLE])
    areas = TABLES["areas"]
    by = _divided(resource, measure.by, audience)
    counted = _counted(resource, WIDTHS[level], measure, within, want, audience, by)
    people = sa.func.area_counts_told(areas.c.path).table_valued(*PEOPLE, name="people").lateral()
    if measure.of in PEOPLE:
        total: sa.ColumnElement[Any] = sa.column(measure.of, _selectable=people)
    else:
        total = sa.func.coalesce(counted.c.value, 0) if measure.of == "count" else counted.c.value
    living = [
        areas.c.level == level, areas.c.path >= within, areas.c.path < f"{within}~", areas.c.path > after, areas.c.theme == "governance",
        areas.c.kind.not_in(("unit", "thematic")), areas.c.retired_at.is_(None), areas.c.valid_from <= sa.func.now(),
        sa.or_(areas.c.valid_to.is_(None), areas.c.valid_to > sa.func.now()),
    ]
    ground = sa.cast(sa.func.ST_Area(sa.cast(areas.c.geom, _Geography())) / 1e6, sa.Float)
    beneath: sa.ColumnElement[Any] | None = {"km2": ground, "residents": sa.cast(sa.column("residents", _selectable=people), sa.Float) / 1000}.get(measure.per or "")
    told = [areas.c.path, areas.c.code, areas.c.name, total.label("value")]
    source: sa.FromClause = areas.outerjoin(counted, counted.c.area == (areas.c.id if resource.place is Place.SHARES else areas.c.path))
    if measure.of in PEOPLE or measure.per == "residents":
        source = source.join(people, sa.true())
    if by is not None:
        told.append(counted.c.by.label("by"))
    if beneath is not None:
        told[3] = (sa.cast(total, sa.Float) / sa.func.nullif(beneath, 0)).label("value")
        told += [total.label("numerator"), beneath.label("denominator")]
    # A page ends with an area, and of one that is divided by values every value is on it.
    paths = sa.select(areas.c.path).where(*living).order_by(areas.c.path).limit(limit).scalar_subquery()
    statement = sa.select(*told).select_from(source).where(*living, areas.c.path.in_(paths)).order_by(areas.c.path, *([counted.c.by] if by is not None else []))
    with patient(connection):
        return [dict(row) for row in connection.execute(statement).mappings()]


def _divided(resource: Resource, by: str | None, audience: Audience) -> sa.ColumnElement[Any] | None:
    try:
        return query.expression(resource, query.filterable(resource, by, audience)) if by else None
    except BadQuery as error:
        raise BadQuery(parameter="by") from error


class _Geography(sa.types.UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "geography"


def _counted(
    resource: Resource, width: int, measure: Measure, within: str, want: Filter, audience: Audience, by: sa.ColumnElement[Any] | None
) -> sa.CTE:
    t = TABLES[resource.name]
    divided = [by.label("by")] if by is not None else []
    rows = _where(resource, want, audience)
    if resource.place is Place.SHARES:
        s = AREA_SHARES.c
        value = sa.func.count() if measure.of != "measure" else sa.func.sum(s.measure)
        shared = sa.select(s.area.label("area"), value.label("value"), *divided).select_from(sa.join(AREA_SHARES, t, s.feature == t.c.id))
        counted = shared.where(s.noun == resource.name, s.path >= within, s.path < f"{within}~", *rows).group_by(s.area, *divided)
        return counted.cte("counted")
    area = sa.func.left(t.c.scope, width).collate("C")
    value = sa.func.count() if measure.of not in measures(resource, audience)[1:] else sa.func.sum(t.c[measure.of])
    counted = sa.select(area.label("area"), value.label("value"), *divided).where(t.c.scope >= within, t.c.scope < f"{within}~", *rows)
    return counted.group_by(sa.literal_column("1"), *divided).cte("counted")


# Under the pointer


def identify(
    connection: sa.Connection, caller: Caller, subjects: Sequence[Resource], lon: float, lat: float, zoom: float, pixels: float = PIXELS
) -> list[dict[str, Any]]:
    """What of some nouns is at a place (storage degrees) as it is drawn at a zoom, so many pixels from it at the most; of each the
    nearest few, those of the uppermost layer first."""
    reach = pixels * 360 / 256 / 2**zoom
    spot = sa.func.ST_SetSRID(sa.func.ST_MakePoint(lon, lat), SRID)
    asked = [_here(resource, caller.sees(resource), spot, reach, zoom) for resource in subjects if resource.style.zooms[0] <= zoom]
    if not asked:
        return []
    with patient(connection):
        found = connection.execute(sa.union_all(*asked)).all()
    order = {resource.name: -resource.style.order for resource in RESOURCES.values()}
    rows = sorted(found, key=lambda row: (order[row.layer], row.layer, row.degrees, str(row.id)))
    return [{"layer": row.layer, "id": str(row.id), "properties": row.properties} for row in rows]


def _here(resource: Resource, audience: Audience, spot: sa.ColumnElement[Any], reach: float, zoom: float) -> Any:
    place = query.place(resource, audience)
    rows = query.matching(resource, Filter(), audience).where(
        place.op("&&")(sa.func.ST_Expand(spot, reach)), sa.func.ST_DWithin(place, spot, reach), *_placed(resource)
    )
    if resource.name == "areas":
        level = sa.func.first_level(sa.cast(tiles.INSTEAD[tiles.level_at(zoom)], sa.ARRAY(sa.Text)))
        t = TABLES["areas"]
        rows = rows.where(t.c.level == level, t.c.theme == "governance", t.c.kind.not_in(("unit", "thematic")))
    elif resource.drawn_rows:
        rows = rows.where(sa.literal_column(resource.drawn_rows))
    near = rows.add_columns(sa.func.ST_Distance(place, spot).label("degrees")).order_by(None).order_by(sa.literal_column("degrees"), TABLES[resource.name].c.id)
    found = near.limit(TOLD).subquery(resource.name + "_here")
    told = sa.select(*[found.c[c.key] for c in found.c if c.key not in ("id", "geom", "degrees")]).correlate(found).lateral(f"{resource.name}_told")
    return sa.select(
        sa.literal(resource.name).label("layer"), found.c.id.label("id"), found.c.degrees.label("degrees"),
        sa.func.row_to_json(sa.literal_column(f"{resource.name}_told")).label("properties"),
    ).select_from(found.join(told, sa.true()))
