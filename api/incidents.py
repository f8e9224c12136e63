"""Cases and their steps: `POST /incidents/{id}/moves` takes one, `GET` says which there are, which were, and whose it is."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import case_pages, errors, models
from api.collections import PROBLEM, IdempotencyKey
from api.deps import CallerNow, Connection, Expected, Key, LanguageNow, PublicConnection, able, strict
from api.limits import guessed
from api.pages import wants_html
from geo import clocks, incidents, query, reporting
from geo.catalog import RESOURCES, workflow
from geo.errors import GeoError
from geo.incidents import Given, Step
from geo.language import Language, translated

PRIVATE = {"Cache-Control": "no-store"}
Action = Literal[tuple(workflow.ACTIONS)]  # type: ignore[valid-type]



def case(id: UUID, answer: Response, connection: Connection, who: CallerNow) -> UUID:
    """A case that whoever asks sees, in an answer that nothing keeps. Raises as reading it does."""
    query.one(connection, RESOURCES["incidents"], id, who)
    answer.headers.update(PRIVATE)
    return id


Case = Annotated[UUID, Depends(case)]

routes = APIRouter(tags=["incidents"], responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 503), PROBLEM))


class NewMove(BaseModel):
    """A step: its action, the opinion, and what this action asks for beside."""

    model_config = ConfigDict(extra="forbid")

    action: Action  # type: ignore[valid-type]
    opinion: Annotated[models.Text, Field(max_length=2000)] = ""
    lead: UUID | None = None
    lead_area: Annotated[models.Text, Field(max_length=18, pattern="^[0-9A-Z]{2,18}$")] | None = None
    until: datetime | None = None
    into: UUID | None = None
    grade: Literal["general", "larger", "major"] | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    limit: UUID | None = None
    bodies: Annotated[list[UUID], Field(max_length=50)] = Field(default_factory=list)
    minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    metres: Annotated[int, Field(ge=20, le=2000)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    address: Annotated[models.Text, Field(max_length=256)] = ""
    listed: bool = False

    @property
    def given(self) -> Given:
        """What it brings."""
        return Given(
            self.opinion, self.lead, self.lead_area, self.until, self.into, self.grade, self.rating, self.limit, tuple(self.bodies), self.minutes,
            self.metres, (self.lon, self.lat) if self.lon is not None and self.lat is not None else None, self.address, self.listed,
        )


class OneMove(NewMove):
    """A step of a case among many."""

    incident: UUID
    seen: Annotated[int, Field(ge=1)] | None = None


class ManyMoves(BaseModel):
    """Steps of many cases, each taken or refused by itself."""

    model_config = ConfigDict(extra="forbid")

    moves: Annotated[list[OneMove], Field(min_length=1, max_length=500)]


class NewReportMove(BaseModel):
    """What who reported may do: take back what nobody has begun with, rate, object."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["cancel", "rate", "object"]
    opinion: Annotated[models.Text, Field(max_length=2000)] = ""
    rating: Annotated[int, Field(ge=1, le=5)] | None = None


@routes.post("/incidents/{id}/moves", status_code=201, summary="Take a step with a case", dependencies=[able("write"), strict()])
def move(
    id: UUID, new: NewMove, answer: Response, connection: Connection, seen: Expected, language: LanguageNow,
    idempotency_key: IdempotencyKey = None,
) -> dict[str, Any]:
    """`If-Match` is the number of the last step that you know of: of several who take one at once, one is first. Sent again under one
    `Idempotency-Key` it is the same step."""
    made = incidents.move(connection, Step(id, new.action, new.given, seen, idempotency_key))
    answer.headers.update(PRIVATE | {"ETag": f'"{made.number}"'} | ({"Idempotency-Replayed": "true"} if made.replayed else {}))
    return stand(id, made, language)


@routes.get("/incidents/{id}/moves", summary="The steps you may take with a case", dependencies=[able("write"), strict()])
def moves(id: Case, connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """From where it stands, in your capacity; `reasoned` asks for an opinion. `steps` goes into `If-Match`."""
    told = incidents.moves(connection, id)
    return {
        "steps": told[0]["steps"] if told else None,
        "moves": [
            {"action": row["action"], "title": translated(workflow.ACTIONS[row["action"]], language), "target": row["target"],
             "role": row["role"], "reasoned": row["reasoned"]} for row in told
        ],
    }  # fmt: skip


@routes.get("/incidents/{id}/log", summary="Every step that a case has taken", dependencies=[able("write"), strict()])
def log(id: Case, connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """Who, when, in which capacity, with which opinion. Who reported it is not told."""
    return {"log": [row | {"title": translated(workflow.ACTIONS[row["action"]], language)} for row in incidents.log(connection, id)]}


@routes.get("/incidents/{id}/clocks", summary="How long a case has taken, stage by stage", dependencies=[able("write"), strict()])
def clocks_of(id: Case, connection: Connection) -> dict[str, Any]:
    """Each clock with its limit, what of it is spent (in units of its kind), when it is due, and what was told of it."""
    return {"clocks": clocks.of(connection, id)}


@routes.get("/incidents/{id}/routes", summary="Whose a case is by the responsibility list", dependencies=[able("write"), strict()])
def whose(id: Case, connection: Connection) -> dict[str, Any]:
    """The lines that apply, the one that decides first, as the list was when the case was reported. None: there is a gap in the list."""
    return {"routes": incidents.routes(connection, id)}


@routes.post("/incident_moves", summary="Take a step with many cases", dependencies=[able("write"), strict()])
def move_each(new: ManyMoves, answer: Response, connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """Each by itself: what is refused says why, and leaves the others."""
    answer.headers.update(PRIVATE)
    steps = [Step(one.incident, one.action, one.given, one.seen) for one in new.moves]
    results = [
        refusal(step.incident, made, language) if isinstance(made, GeoError) else stand(step.incident, made, language)
        for step, made in zip(steps, incidents.move_each(connection, steps), strict=True)
    ]
    return {"moved": sum("state" in result for result in results), "results": results}


@routes.get("/inbox", summary="What waits for you", dependencies=[able("write"), strict("limit", "done")])
def inbox(
    request: Request, answer: Response, connection: Connection, language: LanguageNow, limit: Annotated[int, Query(ge=1, le=500)] = 100,
    f: Literal["html", "json"] | None = None,
) -> Any:
    """Cases from where you may take a step that leads on, the most pressing first: a page to a browser, the records to a program."""
    if wants_html(request, f):
        return case_pages.inbox_page(request, connection, language)
    answer.headers.update(PRIVATE)
    return {"incidents": incidents.inbox(connection, limit)}


@routes.post("/reports/{ticket}/moves", status_code=201, summary="Take back, rate, or object", dependencies=[guessed("slip"), strict()])
def move_report(
    ticket: Annotated[str, Path(pattern="^[0-9A-Za-z-]{1,40}$")], new: NewReportMove, answer: Response, connection: PublicConnection, key: Key,
    language: LanguageNow, report_code: Annotated[str, Header(min_length=1, max_length=40, description="the code that came with the ticket")],
) -> dict[str, Any]:
    """By whoever has ticket and code. An objection within fifteen days of its closing opens the case again, for those who had it."""
    answer.headers.update(PRIVATE)
    made = reporting.move(connection, ticket, report_code, key, new.action, new.opinion, new.rating)
    return {"ticket": ticket, "state": made["state"], "title": translated(workflow.STATES[made["state"]].title, language)}


def stand(id: UUID, made: incidents.Stand, language: Language) -> dict[str, Any]:
    """Where a case stands after a step."""
    title = translated(workflow.STATES[made.state].title, language)
    return {"incident": str(id), "number": made.number, "state": made.state, "title": title, "at": made.at.isoformat()}


def refusal(id: UUID, error: GeoError, language: Language) -> dict[str, Any]:
    """Why a case stays where it is."""
    said = error.said(lambda text: translated(text, language))
    return {"incident": str(id), "status": errors.STATUS[type(error)], "type": f"/problems/{type(error).slug()}", "detail": said}
