"""Pages of the public: telling of something without an account, following it, and the printed codes that know where they hang.

They work without scripts; what a script adds is where one stands, and that a report survives a bad network.
"""

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import anyio
import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Form as Body
from pydantic import Field, ValidationError

from api import pages, photos, reporting
from api.deps import (
    CallerNow,
    Connection,
    Home,
    Key,
    LanguageNow,
    PublicConnection,
    able,
    anyone,
    bound,
    strict,
)
from api.forms import Form, Text, Trouble, tried, trouble
from api.limits import Limits, limited
from api.settings import settings
from geo import cards, locating
from geo import photos as kept
from geo import reporting as reports
from geo.catalog import workflow
from geo.crs import Datum
from geo.errors import Conflict, GeoError, Invalid
from geo.language import Language, translated
from geo.reporting import Again, Spot
from maps import pages as drawn

# What residents of a town report most, as its hotline counts it; everything else is in the list below.
USUAL = ("06010", "25002", "09012", "25001", "28001", "28002", "24001", "20004")
AROUND = "areas,compounds,buildings,roads"
FIELDS = frozenset(
    ("matter", "kind", "lon", "lat", "datum", "spot", "building", "unit", "address", "words", "phone", "notice", "once", "do")
)
ACTIONS = {"cancel": "已撤回。", "rate": "谢谢您的评价。", "object": "已提出异议,事件重新办理。"}
RATINGS = ((5, "很满意"), (4, "满意"), (3, "一般"), (2, "不满意"), (1, "很不满意"))
STEPS = {stage.code: stage.title for stage in workflow.STAGES}

routes = APIRouter(include_in_schema=False)

Id = Annotated[UUID | None, Query()]


@routes.get("/report", dependencies=[strict("building", "unit", "lon", "lat", "matter")])
def report_page(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow, building: Id = None, unit: Id = None,
    lon: pages.Longitude | None = None, lat: pages.Latitude | None = None, matter: Annotated[str, Query(pattern="^[0-9A-Za-z_]{0,40}$")] = "",
) -> Response:
    """The form; a printed code brings its place along."""
    given = {"matter": matter} | {name: str(value) for name, value in (("building", building), ("unit", unit), ("lon", lon), ("lat", lat)) if value is not None}
    told = None
    try:
        _preset(connection, given)
    except GeoError as error:
        given = {"matter": matter}
        told = trouble(request, language, "report", error)
    return _form(request, connection, language, given, told)


@routes.post("/report", dependencies=[limited("public_write"), strict()])
async def report(request: Request, who: CallerNow, language: LanguageNow, home: Home, key: Key) -> Response:
    """Look whether it is known already, or send it: the answer is ticket and code, once. Loaded again it is the same report."""
    form = await photos.received(request)
    given = {name: value.strip() for name, value in form.fields.items() if name in FIELDS and value.strip()}
    pictures: list[kept.Photo] = []
    told: Trouble | None = None
    if given.get("do") != "look":
        try:
            pictures = await photos.developed(request, form.files)
        except Invalid as error:
            told = trouble(request, language, "report", error)

    def answered() -> Response:
        with contextmanager(bound)(request, who) as connection:
            if told or given.get("do") == "look":
                return _looked(request, connection, language, given, told)
            try:
                with tried(connection):
                    new = _new(connection, given)
                    once = given.get("once") or secrets.token_hex(16)
                    told_of = reports.Report(**new.model_dump(exclude={"notice"}), precision="building" if _named(given) else None)
                    made = reports.report(connection, told_of, key, reporting.again(new, "form", once))
                    for picture in pictures:
                        kept.added_to_report(connection, home, key, made.ticket, reports.proofs(key, made.code), picture)
            except Conflict:
                # Gone back to, changed and sent once more: what it says now is another report, and is sent only if that is meant.
                fresh = {name: value for name, value in given.items() if name != "once"}
                return _looked(request, connection, language, fresh, trouble(request, language, "report", Conflict("这份表单已经报过了。如果是另一件事,请再提交一次。")))
            except GeoError as error:
                return _looked(request, connection, language, given, trouble(request, language, "report", error))
            return _done(request, language, made, len(pictures))

    return await anyio.to_thread.run_sync(answered)


class Joining(Form):
    """A case that somebody else reported, and by what sending twice is known."""

    incident: UUID
    once: Annotated[Text, Field(min_length=16, max_length=64)]


@routes.post("/report/join", dependencies=[limited("public_write"), strict()])
def join(given: Annotated[Joining, Body()], request: Request, connection: PublicConnection, language: LanguageNow, key: Key) -> Response:
    """Follow that one instead: a ticket and code of one's own."""
    try:
        with tried(connection):
            made = reports.join(connection, given.incident, key, Again(given.once, "join", b""))
    except GeoError as error:
        return _form(request, connection, language, {}, trouble(request, language, "report", error))
    return _done(request, language, made, follows=True)


class Following(Form):
    """Ticket and code, and what somebody who has them does."""

    ticket: Annotated[Text, Field(max_length=40)] = ""
    code: Annotated[Text, Field(max_length=40)] = ""
    do: Literal["look", "cancel", "rate", "object"] = "look"
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    opinion: Annotated[Text, Field(max_length=2000)] = ""


@routes.get("/report/follow", dependencies=[Depends(anyone), strict("ticket")])
def follow_page(request: Request, language: LanguageNow, ticket: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Where ticket and code are typed. The code is in no address: addresses end up in logs."""
    return _follow(request, language, {"ticket": ticket, "code": ""})


@routes.post("/report/follow", dependencies=[strict()])
def follow(given: Annotated[Following, Body()], request: Request, connection: PublicConnection, language: LanguageNow, key: Key) -> Response:
    """How it goes, and whatever its reporter may do now."""
    limits: Limits = request.app.state.limits
    typed, told, done = {"ticket": given.ticket, "code": given.code}, None, ""
    try:
        with limits.tried("slip", request):
            how = reports.told(connection, given.ticket, given.code, key)
    except GeoError as error:
        return _follow(request, language, typed, told=trouble(request, language, "follow", error))
    if given.do != "look":
        try:
            with tried(connection):
                reports.move(connection, given.ticket, given.code, key, given.do, given.opinion, given.rating)
            done = ACTIONS[given.do]
        except GeoError as error:
            told = trouble(request, language, given.do, error)
        how = reports.told(connection, given.ticket, given.code, key)
    return _follow(request, language, typed, how, told, done)


@routes.get("/report/place", dependencies=[strict("lon", "lat")])
def place(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow, lon: pages.Longitude | None = None,
    lat: pages.Latitude | None = None,
) -> Response:
    """The map alone, to be looked at in a frame of the form: its middle is the place."""
    numbers = cards.headlines(connection)
    shown = pages.drawings(connection, who, language, AROUND, {level["code"] for level in numbers["levels"]})
    view = drawn.View(lat, lon, 18.0 if lat is not None else None)
    return pages.page(request, language, drawn.picker(pages.reader(request, language), view, [one for one in shown if one.shown], numbers["extent"]))


# Codes to print


@routes.get("/qr/buildings/{id}.svg", dependencies=[strict()])
def building_code(id: UUID, request: Request, connection: PublicConnection) -> Response:
    """The code that hangs at a house: where it is, and nothing of anybody."""
    reports.preset(connection, building=id)
    return _code(request, _link(building=id))


@routes.get("/qr/units/{id}.svg", dependencies=[strict()])
def unit_code(id: UUID, request: Request, connection: PublicConnection) -> Response:
    """The code that hangs in a stairwell."""
    reports.preset(connection, unit=id)
    return _code(request, _link(unit=id))


@routes.get("/qr/reports/{ticket}.svg", dependencies=[Depends(anyone), strict()])
def ticket_code(ticket: Annotated[str, Field(pattern="^R[0-9]{6}-[0-9A-Z]{1,16}$")], request: Request) -> Response:
    """Where a report is followed, with its ticket filled in. The code that opens it is not in it."""
    return _code(request, f"{settings().own_url}/report/follow?{urlencode({'ticket': ticket})}")


@routes.get("/qr/sheet", dependencies=[able("write"), strict("within", "each")])
def sheet(
    request: Request, connection: Connection, language: LanguageNow, within: Annotated[str, Query(pattern="^[0-9A-Z]{9,18}$")],
    each: Literal["building", "unit"] = "unit",
) -> Response:
    """The codes of an area's houses, or of each of their stairwells, to print and hang up."""
    rows = reports.stuck(connection, within)
    if each == "building":
        rows = list({row["building"]: row | {"unit": None, "stairwell": None} for row in rows}.values())
    told = [
        {"title": "".join(filter(None, (row["compound"], row["house"], row["stairwell"]))),
         "link": _link(unit=row["unit"]) if row["unit"] else _link(building=row["building"])} for row in rows
    ]  # fmt: skip
    english = partial(translated, language="en")
    text = drawn.codes(pages.reader(request, language), told, request.app.state.instance.name, within, each, english)
    return pages.private(pages.page(request, language, text))


def _link(**place: UUID) -> str:
    return f"{settings().own_url}/report?{urlencode(place)}"


def _code(request: Request, link: str) -> Response:
    content = drawn.qr_file(link)
    headers = {"Cache-Control": "public, no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="image/svg+xml")


# What the form says


def _preset(connection: sa.Connection, given: dict[str, str]) -> Spot | None:
    """The place that a form names already: of a printed code, or chosen from what its words may mean."""
    if given.get("building") or given.get("unit"):
        try:
            ids = {name: UUID(given[name]) for name in ("building", "unit") if given.get(name)}
        except ValueError as error:
            raise Invalid("没有这个地方,可能已拆除或改号。请直接写地址。", field="address") from error
        return reports.preset(connection, **ids)
    if given.get("spot"):
        given["lon"], _, given["lat"] = given["spot"].partition(",")
        given["datum"] = "cgcs2000"
    if given.get("lon") and given.get("lat"):
        try:
            lon, lat, datum = float(given["lon"]), float(given["lat"]), Datum(given.get("datum", "cgcs2000"))
            if not (-180 <= lon <= 180 and -90 <= lat <= 90):
                raise ValueError(lon, lat)
        except ValueError as error:
            raise Invalid("地点有误,请重新选。", field="address") from error
        found = locating.locate(connection, lon, lat, datum)
        areas = [area["name"] for area in found["areas"]]
        return Spot(areas[-1] if areas else "", lon, lat, areas[-1] if areas else "")
    return None


def _named(given: Mapping[str, str]) -> bool:
    return bool(given.get("building") or given.get("unit"))


def _matter(given: Mapping[str, str]) -> str | None:
    # The list counts before the choices above it: without scripts they do not know of each other.
    chosen = given.get("kind") or given.get("matter")
    return None if chosen in (None, "other") else chosen


def _new(connection: sa.Connection, given: dict[str, str]) -> reporting.New:
    matter, words = _matter(given), given.get("words", "")
    if not matter and len(words) < 2:
        raise Invalid("请选是什么事,或者写几个字。", field="words")
    if given.get("phone") and not given.get("notice"):
        raise Invalid("留电话前请先看告知,并打勾。", field="notice")
    spot = _preset(connection, given)
    if spot is None and not given.get("address"):
        raise Invalid("请说在哪里:定位、在地图上选,或者写地址。", field="address")
    named = _named(given)
    told: dict[str, object] = {
        # What was said stands whole in the description; a kind that speaks for itself needs no words.
        "title": words[:200] or _titled(connection, matter), "description": words[200:] or None, "matter": matter,
        "address": " ".join(filter(None, (spot.title if spot and named else "", given.get("address")))) or None,
        "phone": given.get("phone") or None, "notice": bool(given.get("notice")),
    }
    if spot:
        told |= {"lon": spot.lon, "lat": spot.lat, "datum": Datum.CGCS2000 if named else given.get("datum", "cgcs2000")}
    try:
        return reporting.New.model_validate(told)
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        said = {"phone": "电话号码有误。", "title": "请写几个字。", "description": "说明最多 4,000 字。", "address": "地址最多 256 字。"}
        raise Invalid(said.get(wrong, ""), field={"title": "words", "description": "words"}.get(wrong, wrong)) from error


def _titled(connection: sa.Connection, matter: str | None) -> str:
    return next((row["title"] for row in reports.matters(connection) if row["code"] == matter), "群众举报")


# What is shown


def _form(
    request: Request, connection: sa.Connection, language: Language, given: Mapping[str, str], told: Trouble | None = None,
    spot: Spot | None = None, others: list[Spot] | None = None, near: list[dict[str, Any]] | None = None, looked: bool = False,
) -> Response:
    if spot is None and told is None:
        spot = _preset(connection, dict(given))
    known = reports.matters(connection)
    titles = {row["code"]: row for row in known}
    groups = [{"title": _say(row, language), "kinds": [{"code": k["code"], "title": _say(k, language)} for k in known if k["parent"] == row["code"]]} for row in known if not row["parent"]]
    facts = {
        "given": dict.fromkeys(FIELDS, "") | dict(given), "trouble": told, "spot": spot, "others": others or [], "near": near or [], "looked": looked,
        "usual": [{"code": code, "title": _say(titles[code], language)} for code in USUAL if code in titles],
        "groups": [group for group in groups if group["kinds"] and group["title"]],
        "notice": translated(reports.NOTICE, language).format(days=reports.KEPT_DAYS), "once": given.get("once") or secrets.token_hex(16),
        "language": language,
    }
    answer = pages.private(pages.page(request, language, drawn.report(pages.reader(request, language), facts)))
    answer.status_code = told.status if told else 200
    return answer


def _looked(request: Request, connection: sa.Connection, language: Language, given: dict[str, str], told: Trouble | None) -> Response:
    """The form again, with the place that its words mean, and what is known of the same matter there."""
    spot: Spot | None = None
    others: list[Spot] = []
    try:
        spot = _preset(connection, given)
    except GeoError as error:
        told = told or trouble(request, language, "report", error)
        given = {name: value for name, value in given.items() if name not in ("building", "unit", "lon", "lat", "spot", "datum")}
    if spot is None and given.get("address"):
        # Its words place it when it is sent, as exactly as they are.
        spot, others = reports.spots(connection, given["address"])
    matter = _matter(given)
    near = []
    if matter and spot:
        datum = Datum(given.get("datum", "cgcs2000")) if given.get("lon") and not _named(given) else Datum.CGCS2000
        near = [reporting.known(one, language) for one in reports.near(connection, matter, spot.lon, spot.lat, datum)]
    return _form(request, connection, language, given, told, spot, others, near, looked=True)


def _say(row: Mapping[str, Any], language: Language) -> str:
    return str(row["title_en"] if language == "en" and row["title_en"] else row["title"])


def _done(request: Request, language: Language, made: reports.Receipt, pictures: int = 0, follows: bool = False) -> Response:
    left_out = [translated(what, language) for out in made.left_out.values() for what in out]
    facts = {"ticket": made.ticket, "code": made.code, "left_out": left_out, "pictures": pictures, "follows": follows, "address": settings().own_url}
    return pages.private(pages.page(request, language, drawn.reported(pages.reader(request, language), facts)))


def _follow(
    request: Request, language: Language, typed: Mapping[str, str], how: Mapping[str, Any] | None = None, told: Trouble | None = None, done: str = "",
) -> Response:
    stages, shown = [], None
    if how is not None:
        reached = list(STEPS).index(how["stage"]) if how["stage"] in STEPS else -1
        stages = [
            {"title": title, "at": how["stages"].get(code), "now": code == how["stage"], "past": at < reached}
            for at, (code, title) in enumerate(STEPS.items())
        ]
        shown = dict(how) | {"title": workflow.STATES[how["state"]].title, "left": how["stage"] is None, "stage_title": STEPS.get(how["stage"], "")}
    facts = {"typed": typed, "how": shown, "stages": stages, "trouble": told, "done": translated(done, language) if done else "", "ratings": RATINGS}
    answer = pages.private(pages.page(request, language, drawn.follow(pages.reader(request, language), facts)))
    answer.status_code = told.status if told else 200
    return answer

