"""`/observations`: numbers of sensors, shaped as SensorThings has them, and the rules by which they become cases."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api import models
from api.collections import PROBLEM
from api.deps import Connection, able, noted, strict
from geo import observations
from geo.crs import Datum
from geo.errors import Invalid
from geo.observations import Observation, Rule, Stream, Thing

PRIVATE = {"Cache-Control": "private, no-store"}
CODE = "^[0-9A-Za-z_.-]{1,40}$"
Code = Annotated[str, Path(pattern=CODE)]
KNOWN = frozenset(("result", "phenomenonTime", "resultTime", "Datastream", "parameters"))
MOST = 1e10  # of a result: from eleven digits on it is the number of a phone or a device
MOMENT = TypeAdapter(datetime)

routes = APIRouter(tags=["observations"], responses=dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 503), PROBLEM))


class NewStream(BaseModel):
    """What is measured, and in what."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(pattern=CODE)]
    title: Annotated[models.Text, Field(min_length=1, max_length=100)]
    unit: Annotated[models.Text, Field(max_length=20)] = ""


class NewThing(BaseModel):
    """Where something measures; `login` of the system that alone may send for it."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=1, max_length=100)]
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    datum: Datum = Datum.CGCS2000
    login: Annotated[models.Text, Field(max_length=64)] | None = None
    datastreams: Annotated[list[NewStream], Field(min_length=1, max_length=50)]


class NewRule(BaseModel):
    """From which value on and for how many seconds it becomes which case; `once_in` seconds no second one."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=1, max_length=100)]
    matter: Annotated[models.Text, Field(max_length=40)]
    above: Annotated[float, Field(allow_inf_nan=False)] | None = None
    below: Annotated[float, Field(allow_inf_nan=False)] | None = None
    back: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    lasting: Annotated[float, Field(ge=0, le=604_800)] = 0
    once_in: Annotated[float, Field(ge=60, le=7_776_000)] = 86_400
    urgent: Annotated[bool, Field(strict=True)] = False


@routes.post("/observations", status_code=201, summary="Send what was measured", dependencies=[able("deliver"), strict()])
def send(told: dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)], answer: Response, connection: Connection) -> dict[str, Any]:
    """One observation as SensorThings has it, or a list of at most 1,000: `result` (a number, or true and false), `phenomenonTime`,
    `Datastream` with its `@iot.id`. What could tell a person is refused, in `parameters` as well, which are not kept. Not newer than the last
    of its stream it is `late`, and nothing is done with it: what is sent twice counts once."""
    answer.headers.update(PRIVATE)
    return observations.take(connection, [_observation(one) for one in (told if isinstance(told, list) else [told])])


@routes.get("/things", summary="What measures, and by which rules", dependencies=[able("deliver"), strict()])
def listed(answer: Response, connection: Connection) -> dict[str, Any]:
    """Those of your areas, or those that you send for, with the last number of each stream and the cases that their rules have made."""
    answer.headers.update(PRIVATE)
    return {"things": observations.told(connection)}


@routes.put("/things/{code}", summary="Register what measures", dependencies=[able("times"), strict()])
def register(code: Code, new: NewThing, request: Request, connection: Connection) -> dict[str, Any]:
    """Where it is, and its streams. Those that it names no longer are over. No camera that tells faces, nothing that listens for phones."""
    streams = tuple(Stream(s.code, s.title, s.unit) for s in new.datastreams)
    observations.register(connection, Thing(code, new.title, new.lon, new.lat, new.datum, new.login, streams))
    noted(request, "settings", purpose=f"thing {code}")
    return {"code": code}


@routes.delete("/things/{code}", status_code=204, summary="Take what measures out of use", dependencies=[able("times"), strict()])
def retire(code: Code, request: Request, connection: Connection) -> Response:
    """What it sends from now on is refused."""
    observations.retire(connection, code)
    noted(request, "settings", purpose=f"thing {code} retired")
    return Response(status_code=204)


@routes.post("/datastreams/{code}/rules", status_code=201, summary="Have numbers become cases", dependencies=[able("times"), strict()])
def rule(code: Code, new: NewRule, request: Request, connection: Connection) -> dict[str, Any]:
    """While its case is open, and within `once_in` of it, what meets the rule comes to that case."""
    id = observations.rule(connection, code, Rule(**new.model_dump()))
    noted(request, "settings", purpose=f"observation rule {id}")
    return {"id": str(id)}


@routes.delete("/observation_rules/{id}", status_code=204, summary="Have them no longer", dependencies=[able("times"), strict()])
def end(id: UUID, request: Request, connection: Connection) -> Response:
    """Cases that it made stay."""
    observations.end(connection, id)
    noted(request, "settings", purpose=f"observation rule {id} ended")
    return Response(status_code=204)


def _observation(told: Mapping[str, Any]) -> Observation:
    observations.impersonal({name: value for name, value in told.items() if name not in ("phenomenonTime", "resultTime", "Datastream", "result")})
    if unknown := told.keys() - KNOWN:
        raise Invalid("观测里有不认识的内容:{field}。", field=sorted(unknown)[0][:40])
    result, stream = told.get("result"), told.get("Datastream")
    if not isinstance(result, (bool, int, float)) or not math.isfinite(result) or abs(result) > MOST:
        raise Invalid("result 须是一个数,或 true、false。", field="result")
    code = stream.get("@iot.id") if isinstance(stream, Mapping) and len(stream) == 1 else None
    if not isinstance(code, (str, int)) or isinstance(code, bool) or len(str(code)) > 40:
        raise Invalid("Datastream 须写成 {example}。", field="Datastream", example='{"@iot.id": "…"}')
    try:
        at = MOMENT.validate_python(told.get("phenomenonTime") or told.get("resultTime") or datetime.now(UTC))
    except ValidationError as error:
        raise Invalid("phenomenonTime 须是带时区的时间,例如 2026-01-01T08:00:00+08:00。", field="phenomenonTime") from error
    if at.tzinfo is None or at.year < 2000:
        raise Invalid("phenomenonTime 须是带时区的时间,例如 2026-01-01T08:00:00+08:00。", field="phenomenonTime")
    return Observation(str(code), float(result), at)
