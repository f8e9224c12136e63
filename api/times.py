"""Which days are worked and how long everything may take: read by everybody, set by who answers for all of the instance."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, UploadFile
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import models
from api.collections import PROBLEM
from api.deps import Connection, LanguageNow, PublicConnection, able, noted, strict
from api.limits import limited
from geo import clocks, limits, workdays
from geo.errors import TooLarge
from geo.language import Language, translated
from geo.limits import BareDay, BareHour
from geo.small_tables import Reject

BYTES = 8 << 20  # of a table: the largest published one has 0.1 MB

routes = APIRouter(tags=["times"], responses=dict.fromkeys((400, 401, 403, 404, 413, 422, 503), PROBLEM))


class Stage(BaseModel):
    """How long a stage may take, as in a table: 15分钟, 2紧急工作时, 7个工作日. `source` says who decided it."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[models.Text, Spec(min_length=1, max_length=40)]
    urgent: Annotated[bool, Spec(strict=True)] = False
    source: Annotated[models.Text, Spec(max_length=200)] = ""


@routes.get("/calendar", summary="Which days are worked", dependencies=[strict("year")])
def calendar(connection: PublicConnection, year: Annotated[int, Query(ge=2000, le=2059)]) -> dict[str, Any]:
    """The holidays of a year, the days made up for them, and days of the town's own; every other weekday is worked."""
    days = workdays.calendar(connection, date(year, 1, 1), date(year, 12, 31))
    known = workdays.known(connection)
    return {
        "year": year, "known": bool(known.last and known.first and known.first.year <= year <= known.last.year),
        "days": [{"day": one.day.isoformat(), "working": one.working, "note": one.note} for one in days],
    }


@routes.post("/calendar", summary="Have days worked or not, whatever is published", dependencies=[limited("upload"), able("times"), strict()])
def override(request: Request, connection: Connection, language: LanguageNow, file: UploadFile) -> dict[str, Any]:
    """A table of 日期, 上班/休息, 说明. What runs by working days is due by the new calendar at once."""
    days, rejects = workdays.sent(content(file), file.filename or "")
    taken = workdays.override(connection, days) if days else 0
    noted(request, "settings", purpose=f"calendar {taken}")
    return {"taken": taken, "rejects": rejected(rejects, language)}


@routes.get("/limits", summary="How long everything may take", dependencies=[strict("matter")])
def limited_to(
    connection: PublicConnection, matter: Annotated[str | None, Query(max_length=40, pattern="^[0-9A-Za-z]+$")] = None
) -> dict[str, Any]:
    """The limits of stages, and of matters those in force; with `matter` all that it ever had."""
    return {"stages": clocks.stages(connection), "matters": limits.told(connection, matter)}


@routes.post("/limits", summary="Bring a table of limits", dependencies=[limited("upload"), able("times"), strict()])
def bring(
    request: Request, connection: Connection, language: LanguageNow, file: UploadFile,
    hour: Annotated[BareHour | None, Form(description="what a bare hour is, where the table does not say")] = None,
    day: Annotated[BareDay | None, Form(description="what a bare day is, where the table does not say")] = None,
) -> dict[str, Any]:
    """A matter of the table has its limits from now on; matters that it does not name keep theirs, and cases under way keep the
    time they were given. `unmatched` are rows of matters that are not in our list: they are kept, and apply to nothing."""
    rows, rejects = limits.sent(content(file), file.filename or "", limits.Bare(hour, day), limits.matters(connection))
    taken = limits.replace(connection, rows, file.filename or "")
    noted(request, "settings", purpose=f"limits {taken.begun}")
    return {"begun": taken.begun, "over": taken.over, "unmatched": taken.unmatched, "rejects": rejected(rejects, language)}


@routes.put("/limits/stages/{state}", summary="How long a stage may take", dependencies=[able("times"), strict()])
def stage(request: Request, state: Annotated[str, Spec(pattern="^[a-z]{1,20}$")], wanted: Stage, connection: Connection) -> dict[str, Any]:
    """From the next case on that comes into it."""
    span = limits.staged(connection, state, wanted.limit, wanted.urgent, wanted.source)
    noted(request, "settings", purpose=f"limit {state} {span.amount:g} {span.kind}")
    return {"state": state, "urgent": wanted.urgent, "kind": span.kind, "amount": span.amount}


def content(file: UploadFile) -> bytes:
    """A table that somebody sent. Raises `TooLarge`."""
    content = file.file.read(BYTES + 1)
    if len(content) > BYTES:
        raise TooLarge("文件超过 {most} MB。", most=BYTES >> 20)
    return content


def rejected(rejects: list[Reject], language: Language) -> list[dict[str, Any]]:
    """The rows that could not be read."""
    return [{"row": one.row, "value": one.value, "reason": translated(one.reason, language)} for one in rejects]
