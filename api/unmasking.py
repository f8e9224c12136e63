"""`POST …/unmask`: what is masked of one record, for a purpose; and the review of it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import desk, models
from api.collections import PROBLEM
from api.deps import (
    PURPOSE_CODES,
    CallerNow,
    Connection,
    Key,
    LanguageNow,
    able,
    noted,
    shown,
    strict,
    witnessed,
)
from api.pages import wants_html
from geo import unmasking
from geo.disclosure import REVIEWED_WITHIN
from geo.errors import Invalid
from geo.resource import Audience, Resource

PRIVATE = {"Cache-Control": "no-store"}

routes = APIRouter(tags=["unmaskings"], responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 429, 503), PROBLEM))


class Asked(BaseModel):
    """What somebody wants to see of a record, what for, and why in their own words."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal[PURPOSE_CODES]  # type: ignore[valid-type]
    note: Annotated[models.Text, Spec(min_length=2, max_length=200)]
    fields: Annotated[list[Annotated[models.Text, Spec(max_length=40)]], Spec(min_length=1, max_length=20)]


class Reviewed(BaseModel):
    """Whether it was in order, and why."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["proper", "improper"]
    opinion: Annotated[models.Text, Spec(min_length=2, max_length=500)]


def router(resource: Resource) -> APIRouter | None:
    """The route of one noun; None for one of which nothing is masked to who works with it."""
    if not unmasking.masked(resource, Audience.LEADER):
        return None

    def known(who: CallerNow) -> None:
        shown(resource, who)

    of_noun = APIRouter(
        prefix=f"/collections/{resource.name}", tags=[resource.name], dependencies=[Depends(known)],
        responses=dict.fromkeys((400, 401, 403, 404, 410, 422, 429, 503), PROBLEM),
    )

    @of_noun.post("/items/{id}/unmask", summary=f"See what is masked of one of {resource.name}", dependencies=[able("unmask"), strict()])
    def unmask(id: UUID, asked: Asked, request: Request, answer: Response, connection: Connection, who: CallerNow, key: Key) -> dict[str, Any]:
        """The named fields in clear, thirty records an hour. It is in the trail before it is answered, and others review it."""
        may = [field.name for field in unmasking.masked(resource, who.sees(resource))]
        if not set(asked.fields) <= set(may):
            raise Invalid("只能查看 {choices} 的明文。", field="fields", choices=may)
        entry = witnessed(request, "unmask", resource.name, str(id), asked.purpose)
        found = unmasking.unmask(connection, resource, id, asked.fields, asked.purpose, asked.note, entry, key)
        answer.headers.update(PRIVATE)
        return {"id": id, "unmasking": found.id, "fields": found.values}

    return of_noun


@routes.get("/unmaskings", summary="Who looked at what in clear", dependencies=[able("approve", "audit", "unmask"), strict("state", "before", "limit")])
def unmaskings(
    request: Request, connection: Connection, language: LanguageNow, state: Literal["waiting", "reviewed"] | None = None,
    before: UUID | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100, f: Literal["html", "json"] | None = None,
) -> Any:
    """One's own, those in areas that one decides over, all for who audits; newest first. What nobody has reviewed for a
    week is counted as overdue."""
    rows = unmasking.listed(connection, None if state is None else state == "waiting", before, limit)
    if wants_html(request, f):
        return desk.unmaskings_page(request, connection, language, rows)
    waiting, overdue = unmasking.waiting(connection)
    told = {"numberWaiting": waiting, "numberOverdue": overdue, "days": REVIEWED_WITHIN.days, "unmaskings": rows}
    return JSONResponse(jsonable_encoder(told), headers=PRIVATE)


@routes.post("/unmaskings/{id}/review", status_code=204, summary="Review an unmasking", dependencies=[able("approve", "audit"), strict()])
def review(id: UUID, reviewed: Reviewed, request: Request, connection: Connection) -> Response:
    """Say as a second person, once, whether it was in order."""
    unmasking.review(connection, id, reviewed.verdict, reviewed.opinion)
    noted(request, "approve", "unmaskings", str(id), result=reviewed.verdict)
    return Response(status_code=204)
