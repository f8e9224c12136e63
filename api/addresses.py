"""`GET /addresses`: where an address is; and what people have said that one means."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import alias_pages, models
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.pages import wants_html
from geo import addresses
from geo.addresses import Candidate, Found, Hint, Matcher
from geo.language import translated

PRIVATE = {"Cache-Control": "no-store"}

routes = APIRouter(tags=["addresses"], responses=dict.fromkeys((400, 401, 403, 404, 422, 503), PROBLEM))


class Alias(BaseModel):
    """What an address means, as far as a part of it. `compound` for an address that names none."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[models.Text, Spec(min_length=1, max_length=256)]
    part: Literal["compound", "building", "unit", "dwelling"]
    target: UUID
    compound: UUID | None = None
    source: Annotated[models.Text, Spec(max_length=200)] = ""


@routes.get("/addresses", summary="Where an address is", dependencies=[strict("q", "within")])
def addressed(
    connection: Connection, language: LanguageNow, answer: Response,
    q: Annotated[models.Text, Query(min_length=1, max_length=256, description="an address as people write it")],
    within: Annotated[str | None, Query(pattern="^[0-9A-Z]{1,40}$", description="the path of an area")] = None,
) -> dict[str, Any]:
    """The compound, building or dwelling that it names, with its grid and a point inside it; else what it may be, best first.
    Dwellings are told to those who may see them. Nothing of a name or number after the address is looked at."""
    found = addresses.searched(connection, q, within)
    told: list[Found | Candidate] = [*([found] if found.precision else []), *found.candidates]
    points = addresses.points(connection, told)
    areas = addresses.areas(connection, told)
    answer.headers.update(PRIVATE)

    def place(one: Found | Candidate) -> dict[str, Any]:
        lon, lat = points.get(one.building or one.compound or UUID(int=0), (None, None))
        return {
            "precision": one.precision, "title": one.title, "compound": one.compound, "building": one.building, "unit": one.unit,
            "dwelling": one.dwelling, "scope": one.scope, "area": areas.get(one.scope), "lon": lon, "lat": lat,
        }

    say = lambda text: translated(text, language)  # noqa: E731
    return {
        "match": place(found) if found.precision else None,
        "because": found.said(say),
        "missing": found.missing,
        "candidates": [place(one) | {"because": one.because.said(say)} for one in found.candidates],
    }


@routes.get(
    "/addresses/aliases", summary="What people have said that addresses mean", dependencies=[able("write"), strict("q", "text", "source", "upload")],
)
def aliases(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow,
    q: Annotated[models.Text, Query(max_length=100, description="only those in which this occurs")] = "",
    f: Literal["html", "json"] | None = None,
) -> Response:
    """In the areas that the caller answers for."""
    if wants_html(request, f):
        return alias_pages.aliases_page(request, connection, who, language)
    found = [dict(row) for row in addresses.aliases(connection) if q in row["text"]]
    return JSONResponse(jsonable_encoder({"aliases": found}), headers=PRIVATE)


@routes.post("/addresses/aliases", status_code=201, summary="Say what an address means", dependencies=[able("write"), strict()])
def alias(new: Alias, connection: Connection) -> dict[str, Any]:
    """From now on the same words mean the same place, in files, tickets and search. What is kept is the address as far as the part,
    and no word after it; what seems to be a person's name is refused."""
    hint = Hint(compound=new.compound)
    matcher = Matcher.ready(connection, about=new.text)
    kept, words = addresses.aliased(matcher, new.text, new.part, new.target, new.source, hint)
    return {"id": kept, "text": words}


@routes.delete("/addresses/aliases/{id}", status_code=204, summary="Take back what an address means", dependencies=[able("write"), strict()])
def unalias(id: UUID, connection: Connection) -> Response:
    """The words mean nothing of their own any more."""
    addresses.unaliased(connection, id)
    return Response(status_code=204)
