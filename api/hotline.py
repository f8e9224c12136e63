"""`/hotline`: tickets of the 12345 hotline in, by program or as the table that it writes, and their results back under the same numbers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response, UploadFile
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api import models
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, Key, LanguageNow, able, strict
from api.limits import limited
from api.times import content, rejected
from geo import hotline, limits
from geo.catalog.workflow import STATES
from geo.crs import Datum
from geo.errors import GeoError, Invalid, NotFound
from geo.exchanges import TICKET_KINDS
from geo.hotline import Kind, Taken, Ticket
from geo.language import Language, translated

PRIVATE = {"Cache-Control": "private, no-store"}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Number = Annotated[str, Path(pattern=r"^[0-9A-Za-z][0-9A-Za-z_.-]{0,39}$")]
Since = Annotated[AwareDatetime | None, Query(description="what moved since then")]
Closed = Annotated[bool | None, Query(description="only what is closed, or only what is not")]

routes = APIRouter(prefix="/hotline", tags=["hotline"], responses=dict.fromkeys((400, 401, 403, 404, 413, 422, 429, 503), PROBLEM))


class New(BaseModel):
    """A ticket as the hotline has it. `kind` is one of 咨询、求助、投诉、建议、举报、感谢、其他, in Chinese or by its code."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[models.Text, Field(min_length=1, max_length=40, pattern=hotline.NUMBER.pattern)]
    kind: Literal[
        "consult", "help", "complaint", "suggestion", "tip", "thanks", "other", "咨询", "求助", "投诉", "建议", "举报", "感谢", "其他"
    ] = "other"  # fmt: skip
    title: Annotated[models.Text, Field(max_length=200)] = ""
    description: Annotated[models.Text, Field(max_length=3500)] = ""
    matter: Annotated[models.Text, Field(max_length=40)] | None = None
    address: Annotated[models.Text, Field(max_length=256)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    datum: Datum = Datum.CGCS2000
    came_at: AwareDatetime | None = None
    due_at: AwareDatetime | None = None
    phone: Annotated[models.Text, Field(max_length=40, pattern=r"^[0-9+() -]{5,40}$")] | None = None


@routes.post("/tickets", status_code=201, summary="Bring a ticket", dependencies=[able("deliver"), strict()])
def bring(new: New, answer: Response, connection: Connection, key: Key, language: LanguageNow) -> dict[str, Any]:
    """By its number it is one case for good: sent again word for word it is the same message (`again`), with other words a repeat, which is
    counted and re-opens what was closed within 15 days. Of the same matter within 100 m of an open case it is `linked` to that. `due_at` is the
    hotline's own limit; no clock of ours changes it. What nobody should have written into it is left out, and named in `left_out`."""
    if (new.lon is None) != (new.lat is None):
        raise Invalid("经度和纬度要一起给。", field="lat" if new.lat is None else "lon")
    kind: Kind = hotline.SPELLED[new.kind]
    told = new.model_dump(exclude={"description", "kind"}) | {"kind": kind, "words": new.description}
    made = hotline.take(connection, Ticket(**told), key)
    answer.headers.update(PRIVATE | {"Location": f"/hotline/tickets/{made.number}"})
    if made.how == "again":
        answer.status_code = 200
    return _taken(made, language)


@routes.get("/tickets", summary="How tickets go", dependencies=[able("deliver"), strict("since", "closed", "limit")])
def listed(
    answer: Response, connection: Connection, language: LanguageNow, since: Since = None, closed: Closed = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> dict[str, Any]:
    """Those that you brought, and those of the areas you answer for; the last to move first. `result` is what the caller is to be told."""
    answer.headers.update(PRIVATE)
    return {"tickets": [_told(row, language) for row in hotline.told(connection, (), since, closed, limit)]}


@routes.get(
    "/tickets.xlsx", summary="The results, as a table", dependencies=[limited("export"), able("deliver"), strict("since", "closed")],
    responses={200: {"content": {XLSX: {}}}},
)  # fmt: skip
def results(connection: Connection, who: CallerNow, since: Since = None, closed: Closed = None) -> Response:
    """For a hotline that takes tables back: a line a ticket, under its own number."""
    table = hotline.results(hotline.told(connection, (), since, closed, 5000))
    return Response(table, 200, PRIVATE | {"Content-Disposition": 'attachment; filename="hotline-results.xlsx"'}, XLSX)


@routes.get("/tickets/{number}", summary="How one ticket goes", dependencies=[able("deliver"), strict()])
def one(number: Number, answer: Response, connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """As the list has it."""
    answer.headers.update(PRIVATE)
    for row in hotline.told(connection, [number]):
        return _told(row, language)
    raise NotFound("没有这张工单。")


@routes.post("/tables", summary="Bring the table that the hotline writes", dependencies=[limited("upload"), able("deliver"), strict()])
def table(answer: Response, connection: Connection, key: Key, language: LanguageNow, file: UploadFile) -> dict[str, Any]:
    """XLSX or CSV of at most 500 tickets, with 工单编号 and whatever else there is of 诉求类型, 标题, 诉求内容, 诉求地址, 事项, 来电时间, 办理时限,
    联系电话, 经度, 纬度. Each row is taken in by itself; what could not be is in `rejects`."""
    rows, rejects = hotline.sent(content(file), file.filename or "", limits.matters(connection))
    taken: list[dict[str, Any]] = []
    told = rejected(rejects, language)
    for row, made in hotline.take_each(connection, rows, key):
        if isinstance(made, GeoError):
            told.append({"row": row, "value": "", "reason": made.said(lambda text: translated(text, language))})
        else:
            taken.append({"row": row} | _taken(made, language))
    answer.headers.update(PRIVATE)
    return {"taken": taken, "rejects": sorted(told, key=lambda reject: reject["row"])}


def _taken(made: Taken, language: Language) -> dict[str, Any]:
    return {
        "number": made.number, "incident": str(made.incident), "case": made.case, "how": made.how, "repeats": made.repeats,
        "left_out": [translated(what, language) for what in made.left_out],
    }  # fmt: skip


def _told(row: dict[str, Any], language: Language) -> dict[str, Any]:
    moments = {name: value.isoformat() for name, value in row.items() if isinstance(value, datetime)}
    return row | moments | {
        "incident": str(row["incident"]), "kind_title": translated(TICKET_KINDS[row["kind"]], language),
        "state_title": translated(STATES[row["state"]].title, language),
    }  # fmt: skip
