"""`POST /exports`: files to take along, at once where nobody is in them, else with the leave of a second person."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api import desk, models, sending
from api.collections import PROBLEM
from api.deps import PURPOSE_CODES, CallerNow, Connection, Key, LanguageNow, able, strict
from api.limits import limited
from api.pages import wants_html
from api.sending import KINDS, PRIVATE
from geo import exports
from geo.disclosure import FORMATS
from geo.exporting import ENCODINGS
from geo.exports import Export

routes = APIRouter(tags=["exports"], responses=dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 503), PROBLEM))

Value = Annotated[models.Text, Field(max_length=200)] | Annotated[bool, Field(strict=True)] | int | Annotated[float, Field(allow_inf_nan=False)]


Encoding = Annotated[Literal[ENCODINGS], Field(description="of the text of a csv or shp")]  # type: ignore[valid-type]
Crs = Annotated[
    str | None, Field(max_length=20, description="of the shapes of a shp, gpkg, fgb or parquet: EPSG:4490 (degrees) or EPSG:4513 to EPSG:4554")
]


class Where(BaseModel):
    """Which records: in a box (west, south, east, north in degrees), in an area with all below it, with these values."""

    model_config = ConfigDict(extra="forbid")

    bbox: tuple[
        Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)], Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)],
        Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)], Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)],
    ] | None = None
    within: Annotated[str, Field(pattern="^[0-9A-Z]{2,18}$", description="the path of an area")] | None = None
    equals: Annotated[dict[Annotated[models.Text, Field(max_length=40)], Value], Field(max_length=20)] = {}


class Asked(BaseModel):
    """What is wanted, and what for. With `personal` names and numbers are in clear; then, and for records about persons
    whether in clear or not, a second person must approve, and `note` says why it is needed."""

    model_config = ConfigDict(extra="forbid")

    noun: Annotated[models.Text, Field(max_length=40)]
    format: Literal[FORMATS] = "csv"  # type: ignore[valid-type]
    encoding: Encoding = "utf-8"
    crs: Crs = None
    filter: Where = Where()
    fields: Annotated[list[Annotated[models.Text, Field(max_length=40)]], Field(min_length=1, max_length=100)] | None = None
    purpose: Literal[PURPOSE_CODES] = "service"  # type: ignore[valid-type]
    note: Annotated[models.Text, Field(max_length=200)] = ""
    personal: Annotated[bool, Field(strict=True)] = False


class Decided(BaseModel):
    """Why one approves or refuses."""

    model_config = ConfigDict(extra="forbid")

    opinion: Annotated[models.Text, Field(min_length=2, max_length=500)]


@routes.post(
    "/exports", summary="Take records along", dependencies=[limited("export"), able("export"), strict()],
    responses={200: {"content": {kind: {} for kind in KINDS.values()}}, 201: {"description": "Asked for: a second person decides"}},
)
def ask(asked: Asked, request: Request, connection: Connection, who: CallerNow) -> Any:
    """The file at once, masked, of all that one may see of it. Where persons are in it, a request that another account
    must approve (`201`), for at most 5,000 rows, to be fetched once from `/exports/{id}/file`."""
    where = asked.filter.model_dump(exclude_defaults=True)
    made = sending.asked(
        request, connection, who, asked.noun, asked.format, asked.fields, where, asked.personal, asked.purpose, asked.note,
        asked.encoding, asked.crs,
    )
    if isinstance(made, Response):
        return made
    return JSONResponse(told_of(exports.told(connection, made)), 201, PRIVATE | {"Location": f"/exports/{made}"})


@routes.get("/exports", summary="Requests to take persons' records along", dependencies=[able("export", "approve", "audit"), strict("limit")])
def listed(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100, f: Literal["html", "json"] | None = None,
) -> Any:
    """One's own, those that one may decide over, all for who audits; newest first."""
    if wants_html(request, f):
        return desk.exports_page(request, connection, who, language)
    return JSONResponse({"exports": [told_of(export) for export in exports.listed(connection, limit)]}, headers=PRIVATE)


@routes.get("/exports/{id}", summary="One request", dependencies=[able("export", "approve", "audit"), strict()])
def one(id: UUID, connection: Connection) -> Response:
    """What is asked for, how far it is, and what one may do with it."""
    return JSONResponse(told_of(exports.told(connection, id)), headers=PRIVATE)


@routes.post("/exports/{id}/approve", summary="Approve a request", dependencies=[able("approve"), strict()])
def approve(id: UUID, decided: Decided, request: Request, connection: Connection, who: CallerNow) -> Response:
    """As another person than who asks, for areas that one decides over. The file may be fetched once, within a day."""
    return JSONResponse(told_of(sending.moved(request, connection, who, id, "approved", decided.opinion)), headers=PRIVATE)


@routes.post("/exports/{id}/refuse", summary="Refuse a request", dependencies=[able("approve"), strict()])
def refuse(id: UUID, decided: Decided, request: Request, connection: Connection, who: CallerNow) -> Response:
    """As another person than who asks."""
    return JSONResponse(told_of(sending.moved(request, connection, who, id, "refused", decided.opinion)), headers=PRIVATE)


@routes.post("/exports/{id}/withdraw", summary="Withdraw a request", dependencies=[able("export"), strict()])
def withdraw(id: UUID, request: Request, connection: Connection, who: CallerNow) -> Response:
    """One's own, as long as its file was not fetched."""
    return JSONResponse(told_of(sending.moved(request, connection, who, id, "withdrawn")), headers=PRIVATE)


@routes.post(
    "/exports/{id}/file", summary="Fetch the file of an approved request", dependencies=[limited("export"), able("export"), strict("encoding", "crs")],
    response_class=Response, responses={200: {"content": {kind: {} for kind in KINDS.values()}}},
)
def fetch(
    id: UUID, request: Request, connection: Connection, who: CallerNow, key: Key, encoding: Encoding = "utf-8", crs: Crs = None
) -> Response:
    """Once, by who asked for it, in the capacity in which it was asked for, within a day of the approval. Who, when and the
    number of the request are in every row and in the file's name."""
    return sending.fetched(request, connection, who, id, key, encoding, crs)


def told_of(export: Export) -> dict[str, Any]:
    """A request as a program reads it."""
    kept: dict[str, Any] = jsonable_encoder({name: value for name, value in vars(export).items() if name not in ("account", "appointment")})
    return kept | {"takeable": export.takeable}
