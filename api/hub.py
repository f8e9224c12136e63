"""The street's office: what it has before it, what nobody is named for, who came when they were called, and tasks from above."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi import Form as Body
from pydantic import BaseModel, ConfigDict, Field

from api import case_pages, desk, models, pages
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.forms import Form, Text, Trouble, tried, trouble
from api.incidents import PRIVATE, Case
from api.ways import see
from geo import docket, enrolling, hub
from geo.errors import GeoError, Invalid
from geo.language import translated
from maps import pages as drawn

MONTH = timedelta(days=30)
UNLISTED = 100
WHY = {"unheard": "紧急，还没有人知悉", "whistle": "吹哨，还没有放行", "dispute": "等裁定", "report_up": "重大，还没有上报区县", "convene": "较大，还没有会商"}
Path = Annotated[str, Query(pattern="^[0-9A-Z]{2,18}$")]

routes = APIRouter(tags=["incidents"], responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 503), PROBLEM))


class NewTask(BaseModel):
    """A task: what it is, from which area it comes (`within`), and which areas below are to do it."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=2, max_length=200)]
    about: Annotated[models.Text, Field(max_length=2000)] = ""
    matter: Annotated[models.Text, Field(max_length=40)] | None = None
    within: Annotated[models.Text, Field(pattern="^[0-9A-Z]{2,18}$")]
    areas: Annotated[list[Annotated[models.Text, Field(pattern="^[0-9A-Z]{2,18}$")]], Field(min_length=1, max_length=200)]


class NewWait(BaseModel):
    """How many minutes offices have to hear of what is urgent."""

    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[int, Field(ge=1, le=1440)]


class Assigning(Form):
    """A task as its form says it."""

    title: Annotated[Text, Field(max_length=200)] = ""
    about: Annotated[Text, Field(max_length=2000)] = ""
    areas: Annotated[list[Text], Field(max_length=200)] = Field(default_factory=list)


@routes.get("/incidents/{id}/whistle", summary="Who was called to the place of a case", dependencies=[able("write"), strict()])
def whistle(id: Case, connection: Connection) -> dict[str, Any]:
    """Each body with when it was called, is due, answered, came and left. Where exactly somebody stood is not told."""
    return {"calls": hub.whistle(connection, id)}


@routes.get("/incidents/{id}/duty-calls", summary="Who was told of an urgent case", dependencies=[able("write"), strict()])
def duty_calls(id: Case, connection: Connection) -> dict[str, Any]:
    """Level by level from the grid up: `gap` where nobody is responsible, and who has heard of it."""
    return {"calls": hub.told(connection, id)}


@routes.get("/incidents/{id}/parts", summary="What a case was split into", dependencies=[able("write"), strict()])
def parts(id: Case, connection: Connection) -> dict[str, Any]:
    """Each a case of its own; `whole` is the one that this is a part of."""
    return {"parts": hub.parts(connection, id)}


@routes.get("/whistle-arrivals", summary="How departments came when they were called", dependencies=[able("write"), strict("within", "since", "until")])
def arrivals(
    answer: Response, connection: Connection, who: CallerNow, within: Path | None = None, since: datetime | None = None, until: datetime | None = None
) -> dict[str, Any]:
    """Of the last thirty days, or from `since` to before `until`; for those who lead there. Means of those who came."""
    answer.headers.update(PRIVATE)
    end = until or datetime.now(enrolling.LOCAL)
    begin = since or end - MONTH
    path = within or (who.scope[0] if who.scope else "")
    return {"within": path, "since": begin, "until": end, "departments": hub.arrivals(connection, path, begin, end)}


@routes.get("/duty-gaps", summary="What the responsibility list names nobody for", dependencies=[able("write"), strict("area")])
def gaps(answer: Response, connection: Connection, who: CallerNow, area: Path | None = None) -> dict[str, Any]:
    """Open cases in your areas without a rule, the oldest first, and the matters that no line leads in an area."""
    answer.headers.update(PRIVATE)
    path = area or (who.scope[0] if who.scope else "")
    return {"incidents": hub.gaps(connection), "area": path, "matters": hub.unlisted(connection, path)}


@routes.get("/duty-waits", summary="How long offices have to hear of what is urgent", dependencies=[able("write"), strict()])
def waits(answer: Response, connection: Connection) -> dict[str, Any]:
    """In minutes, by area; the smallest area around counts, and `""` everywhere else."""
    answer.headers.update(PRIVATE)
    return {"waits": hub.waits(connection)}


@routes.put("/duty-waits/{area}", summary="Set how long they have", dependencies=[able("times"), strict()])
def set_wait(area: str, new: NewWait, connection: Connection) -> dict[str, Any]:
    """For an area of yours and all below that have none of their own, from now on."""
    hub.set_wait(connection, area, new.minutes)
    return {"area": area, "minutes": new.minutes}


@routes.post("/tasks", status_code=201, summary="Give out a task to areas below", dependencies=[able("write"), strict()])
def assign(new: NewTask, answer: Response, connection: Connection) -> dict[str, Any]:
    """A case that your area leads, with a part for each of the areas: in their inbox as everything else is."""
    answer.headers.update(PRIVATE)
    return {"incident": hub.assign(connection, new.within, new.title, new.areas, new.about, new.matter)}


@routes.get("/tasks/{id}/delays", summary="How long a task took at each level", dependencies=[able("write"), strict()])
def delays(id: Case, connection: Connection) -> dict[str, Any]:
    """Minutes from when a level was given it until it was taken over, split on and done: median and nine tenths."""
    return {"levels": hub.delays(connection, id)}


@routes.get("/hub", include_in_schema=False, dependencies=[able("approve"), strict("done")])
def office(request: Request, connection: Connection, who: CallerNow, language: LanguageNow, done: Annotated[str, Query(max_length=40)] = "") -> Response:
    """The page of the office."""
    return _office(request, connection, who, language, done=done)


@routes.get("/hub/tasks", include_in_schema=False, dependencies=[able("approve"), strict()])
def office_again() -> Response:
    """The address of the form, read again: the page it stands on."""
    return see("/hub")


@routes.post("/hub/tasks", include_in_schema=False, dependencies=[able("approve"), strict()])
def assign_by_form(
    given: Annotated[Assigning, Body()], request: Request, connection: Connection, who: CallerNow, language: LanguageNow
) -> Response:
    """Give out a task, and on to its page."""
    try:
        if len(given.title.strip()) < 2:
            raise Invalid("请写明任务的标题。", field="title")
        if not given.areas:
            raise Invalid("请选派给哪些区域。", field="areas")
        with tried(connection):
            made = hub.assign(connection, who.scope[0] if who.scope else "", given.title, given.areas, given.about)
    except GeoError as error:
        return _office(request, connection, who, language, trouble(request, language, "task", error), given)
    return see(f"/cases/{made}?done=assign")


def _office(
    request: Request, connection: sa.Connection, who: CallerNow, language: LanguageNow, told: Trouble | None = None,
    given: Assigning | None = None, done: str = "",
) -> Response:
    say = partial(translated, language=language)
    now = datetime.now(enrolling.LOCAL)
    area = who.scope[0] if who.scope else ""
    before = hub.before_the_office(connection)
    gapped = hub.gaps(connection)
    known = {
        case["id"]: case_pages.shown(case, language, now)
        for case in docket.told_of(connection, list(dict.fromkeys([*(row["id"] for row in before), *gapped])), moves=False)
    }
    unlisted = hub.unlisted(connection, area)
    facts = {
        "before": [known[row["id"]] | {"why": say(WHY[row["why"]]), "since": row["since"]} for row in before if row["id"] in known],
        "gaps": [known[id] | {"why": "", "since": None} for id in gapped if id in known],
        "unlisted": [
            {"code": row["matter"], "title": row["title_en"] if language == "en" else row["title"], "cases": row["cases"]} for row in unlisted[:UNLISTED]
        ],
        "more": max(0, len(unlisted) - UNLISTED), "arrivals": hub.arrivals(connection, area, now - MONTH, now),
        "areas": [(path, title) for path, title in desk.areas_offered(connection, language) if path.startswith(area) and path != area],
        "trouble": told, "given": given or Assigning(), "done": done,
    }
    answer = pages.private(pages.page(request, language, drawn.hub(pages.reader(request, language), facts)))
    answer.status_code = told.status if told else 200
    return answer
