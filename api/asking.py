"""`/nearest`, `/within`, `/aggregate`: what people ask of what is on the map. `/locate` and `/identify` have files of their own."""

import json
import re
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import models
from api.collections import GEOJSON, PROBLEM
from api.deps import HEAVILY, CallerNow, Connection, ReadConnection, check_known, equal_to, shown, strict
from api.limits import limited
from api.tiles import named
from geo import asking, query
from geo.asking import Found, Measure, Per
from geo.catalog import RESOURCES
from geo.crs import Datum
from geo.db import Caller
from geo.errors import BadQuery, NotFound
from geo.layers import Layer
from geo.query import Filter
from geo.resource import Audience, Resource

routes = APIRouter(tags=["questions"], responses=dict.fromkeys((400, 401, 403, 404, 422, 429, 503), PROBLEM))

Lon = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)]
Lat = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)]
Named = Annotated[str, Query(max_length=60, description="a noun, or the number of a layer of somebody's own")]
Metres = Annotated[float, Query(gt=0, le=asking.FARTHEST, allow_inf_nan=False, description="at the most; 50 km is the most that may be asked")]
Limit = Annotated[int, Query(ge=1, le=asking.MOST)]
ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {GEOJSON: {}}}, 410: PROBLEM}
FIELDS = {"parameters": [{
    "name": "filter", "in": "query", "required": False, "style": "form", "explode": True,
    "description": "any field of the noun that may be filtered by: `kind=clinic`", "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}]}
OF = re.compile(r"([a-z_]{1,40})/([0-9a-f-]{32,36})")


@routes.get("/nearest", summary="The nearest of a layer", dependencies=[HEAVILY], response_class=Response, responses=ANSWER, openapi_extra=FIELDS)
def nearest(
    request: Request, connection: Connection, who: CallerNow, layer: Named, lon: Lon, lat: Lat, datum: Datum = Datum.CGCS2000,
    k: Annotated[int, Query(ge=1, le=100)] = 5, metres: Metres = 5_000,
) -> Response:
    """The k nearest to a place, each with `distance_m`, no farther than `metres`. `?layer=facilities&kind=shelter&k=3&lon=…&lat=…`"""
    subject = named(layer, who, connection)
    want, audience = filtered(request, subject, who, {"layer", "lon", "lat", "datum", "k", "metres"})
    return answered(asking.nearest(connection, subject, asking.around_point(lon, lat, datum), k, metres, want, audience))


@routes.get("/within", summary="What is within so many metres", dependencies=[HEAVILY], response_class=Response, responses=ANSWER, openapi_extra=FIELDS)
def within(
    request: Request, connection: Connection, who: CallerNow, layer: Named, metres: Metres, lon: Lon | None = None, lat: Lat | None = None,
    of: Annotated[str | None, Query(max_length=80, description="a feature, as `buildings/01912f0e-…`, in place of `lon` and `lat`")] = None,
    datum: Datum = Datum.CGCS2000, limit: Limit = 100,
) -> Response:
    """Of a place or of a feature, nearest first, each with `distance_m`; `numberMatched` says how many there are in all."""
    subject = named(layer, who, connection)
    want, audience = filtered(request, subject, who, {"layer", "metres", "lon", "lat", "of", "datum", "limit"})
    if of is None:
        if lon is None or lat is None:
            raise BadQuery("请给出位置 lon、lat,或者一个对象 of。", parameter="lon")
        spot = asking.around_point(lon, lat, datum)
    elif lon is not None or lat is not None or datum is not Datum.CGCS2000:
        raise BadQuery("位置和对象只能给一个。", parameter="of")
    else:
        spot = asking.around_feature(connection, *feature(of, who), who)
    return answered(asking.within(connection, subject, spot, metres, limit, want, audience))


class Drawn(BaseModel):
    """A question about a shape that somebody drew."""

    model_config = ConfigDict(extra="forbid")

    layer: Annotated[models.Text, Spec(max_length=60)]
    geometry: models.Geometry
    metres: Annotated[float, Spec(ge=0, le=asking.FARTHEST, allow_inf_nan=False)] = 0
    where: Annotated[dict[Annotated[models.Text, Spec(max_length=40)], Annotated[models.Text, Spec(max_length=200)]], Spec(max_length=20)] = {}
    limit: Annotated[int, Spec(ge=1, le=asking.MOST)] = 100


@routes.post("/within", summary="What is in or near a shape", dependencies=[HEAVILY, strict()], response_class=Response, responses=ANSWER)
def within_drawn(drawn: Drawn, connection: ReadConnection, who: CallerNow) -> Response:
    """The same around a point, a line or a polygon of at most 1,000 vertices; with no `metres`, in it or touching it."""
    subject = named(drawn.layer, who, connection)
    audience = who.sees(subject) if isinstance(subject, Resource) else who.audience
    spot = asking.around(models.drawn(drawn.geometry, asking.VERTICES))
    return answered(asking.within(connection, subject, spot, drawn.metres, drawn.limit, Filter(equals=equal(subject, drawn.where, audience)), audience))


@routes.get(
    "/aggregate", summary="How much of a layer there is in every area", dependencies=[limited("costly"), HEAVILY], openapi_extra=FIELDS,
)
def aggregate(
    request: Request, connection: Connection, who: CallerNow,
    layer: Annotated[str, Query(max_length=60, description="a noun")],
    level: Literal["province", "city", "district", "street", "community", "grid"],
    measure: Annotated[str, Query(max_length=40, description="`count`, a number of the noun to add up, `measure` (m², m of what lies in several areas),"
                                                              " or people: `residents`, `households`, `non_local`, `dwellings`")] = "count",
    per: Annotated[Per | None, Query(description="for each km² of the area, or for each 1,000 residents")] = None,
    by: Annotated[str | None, Query(max_length=40, description="a field whose values are told apart")] = None,
    within: Annotated[str, Query(pattern="^[0-9]{0,18}$", description="the path of an area, of which the parts are told")] = "",
    after: Annotated[str, Query(pattern="^[0-9]{0,18}$", description="the path after which the page begins")] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """For every area that the caller sees, of what the caller sees; a rate with its numerator and its denominator. People are
    told as on the cards: to the public in multiples of k, and `null` for too few. `?layer=facilities&level=community&by=kind`"""
    noun = RESOURCES.get(layer)
    if noun is None or noun.personal or noun.name == "areas" or not (noun.geometry or noun.of_area or noun.place.value == "inherits"):
        raise NotFound()
    shown(noun, who)
    audience = who.sees(noun)
    equals = equal_to(request, noun, audience, {"layer", "level", "measure", "per", "by", "within", "after", "limit"})
    people = measure in asking.PEOPLE or per == "residents"
    if people and limit > asking.PEOPLE_AT_ONCE:
        raise BadQuery("有人数的统计一次最多 {most} 个区域。", parameter="limit", most=asking.PEOPLE_AT_ONCE)
    wanted = Measure(measure, per, by)
    rows = asking.aggregate(connection, noun, level, wanted, within, after, limit, Filter(equals=equals), audience)
    full = len({row["path"] for row in rows}) == limit
    return {
        "layer": layer, "level": level, "measure": measure, "per": per, "by": by, "numberReturned": len(rows), "areas": rows,
        "next": rows[-1]["path"] if full else None,
    }


def filtered(request: Request, subject: Resource | Layer, who: Caller, others: set[str]) -> tuple[Filter, Audience]:
    """What its fields are to be, and as whom the caller looks at it."""
    if isinstance(subject, Layer):
        check_known(request, others)
        return Filter(), who.audience
    audience = who.sees(subject)
    return Filter(equals=equal_to(request, subject, audience, others)), audience


def equal(subject: Resource | Layer, where: dict[str, str], audience: Audience) -> dict[str, object]:
    """The same from a body."""
    if where and isinstance(subject, Layer):
        raise BadQuery(parameter="where")
    if isinstance(subject, Layer):
        return {}
    try:
        return {name: query.parsed(query.filterable(subject, name, audience), value) for name, value in where.items()}
    except BadQuery as error:
        raise BadQuery(parameter="where") from error


def feature(of: str, who: Caller) -> tuple[Resource, UUID]:
    """A noun that is drawn, and an id."""
    found = OF.fullmatch(of)
    noun = RESOURCES.get(found[1]) if found else None
    if found is None or noun is None or not noun.geometry or noun.personal:
        raise BadQuery(parameter="of")
    shown(noun, who)
    try:
        return noun, UUID(found[2])
    except ValueError as error:
        raise BadQuery(parameter="of") from error


def answered(found: Found) -> Response:
    """Features as GeoJSON."""
    head = json.dumps({"type": "FeatureCollection", "numberMatched": found.matched, "numberReturned": found.count})
    return Response(f'{head[:-1]}, "features": {found.features}}}', media_type=GEOJSON)


