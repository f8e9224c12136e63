"""The leader's map: what asks for attention and why, the card of an area, and what can be done from there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from api import case_pages, pages
from api.deps import CallerNow, Connection, Key, LanguageNow, able, box, link, strict, witnessed
from api.pages import Latitude, Longitude, Zoom
from geo import asking, attention, cards, docket, enrolling, layers, tiles, unmasking
from geo.catalog import RESOURCES, workflow
from geo.db import Caller
from geo.errors import BadQuery
from geo.language import Language, translated
from geo.matrices import WEB_MERCATOR
from geo.resource import Audience
from maps import pages as drawn
from maps import sheets

SORTS = ("name", "grade", "open", "overdue", "buildings", "people")
# A level of areas that has no grade is drawn by its outline alone.
LEVELS = Literal["street", "community", "grid"]

routes = APIRouter(include_in_schema=False)


@routes.get("/", dependencies=[strict("z", "lat", "lng", "layers", "view", "within", "card", "sheet", "sort", "done")])
def front(
    request: Request,
    connection: Connection,
    who: CallerNow,
    language: LanguageNow,
    z: Zoom | None = None,
    lat: Latitude | None = None,
    lng: Longitude | None = None,
    layers: str | None = None,
    view: Literal["map", "list"] = "map",
    within: Annotated[str, Query(pattern="^[0-9A-Z]{0,15}$")] = "",
    sheet: Annotated[str, Query(pattern="^[a-z]{0,20}$")] = "",
    sort: Literal["", *SORTS] = "",  # type: ignore[valid-type]
    done: Annotated[str, Query(max_length=40)] = "",
    f: Literal["html", "json"] | None = None,
) -> Any:
    """The leader's map to a browser, the landing page of the API to a program."""
    if not pages.wants_html(request, f):
        return landing(request, language)
    offered = sheets.offered(who.audience if answers(who) else Audience.PUBLIC)
    # A link to a sheet that is not for the reader shows the reader's own.
    chosen = next((one for one in offered if one.code == sheet), offered[0])
    look = drawn.View(lat, lng, z, view == "list", within, chosen.code, sort)
    numbers = told(connection, who, language, look)
    reader = pages.reader(request, language)
    done = translated("已办：{step}。", language).format(step=translated(workflow.ACTIONS[done], language)) if done in workflow.ACTIONS else ""
    if look.listed:
        return pages.page(request, language, drawn.leader(reader, look, (), numbers))
    names = list(chosen.layers) + list(chosen.overlays) if layers is None else [name for name in layers.split(",") if name]
    levels = {level["code"] for level in numbers["levels"]}
    shown = pages.drawings(connection, who, language, ",".join(n for n in names if n not in sheets.OVERLAYS), levels, own=layers is None)
    overlays = [(overlay, overlay.code in names) for overlay in sheets.overlays(who.audience if answers(who) else Audience.PUBLIC)]
    return pages.page(request, language, drawn.leader(reader, look, shown, numbers | {"overlays": overlays, "sheets": offered, "done": done}))


def landing(request: Request, language: Language) -> dict[str, Any]:
    """Where everything is, in the shape of OGC API."""
    return {
        "title": request.app.state.instance.name,
        "description": translated("空间治理服务:区域、人房地事物、事件和管控区域。", language),
        "links": [
            link(request, "/", "self"),
            link(request, "/", "alternate", "text/html"),
            link(request, "/api", "service-desc", "application/vnd.oai.openapi+json;version=3.1"),
            link(request, "/docs", "service-doc", "text/html"),
            link(request, "/collections", "data"),
            link(request, "/conformance", "conformance"),
            link(request, "/tiles", "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"),
            link(request, "/tileMatrixSets", "http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes"),
            link(request, f"/tiles/{WEB_MERCATOR.id}/style.json", "style", "application/vnd.mapbox.style+json"),
        ],
    }


def answers(who: Caller) -> bool:
    """Whether somebody works in areas that they answer for: what asks for attention is theirs to know."""
    return who.role.startswith(("jingwei_area", "jingwei_leader"))


def told(connection: sa.Connection, who: Caller, language: Language, look: drawn.View) -> dict[str, Any]:
    """The numbers with their change since yesterday, what to look at first, and the areas: the page without its map."""
    numbers = cards.listing(connection, language, look.within) if look.listed else cards.headlines(connection)
    now = datetime.now(enrolling.LOCAL)
    quiet, grids = attention.quiet(connection) if answers(who) else (0, 0)
    numbers |= {
        "to_review": sum(pages.waiting(connection).values()), "before": cards.changes(connection), "quiet": quiet, "grids": grids,
        "priorities": [reasoned(row, language, now) for row in attention.priorities(connection)] if answers(who) else None,
        "zones_now": [] if answers(who) else cards.zones_now(connection, language),
    }
    grades = attention.grades(connection, numbers["level"]) if answers(who) else None
    rows = [
        row | {"grade": None if grades is None else grades.get(row["path"], {"grade": 0, "title": "无", "reasons": []})} for row in numbers["communities"]
    ]
    return numbers | {"communities": sorted_rows(rows, look.sort or ("grade" if grades is not None and not look.listed else "")), "graded": grades is not None}


def sorted_rows(rows: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """Rows by a column: the largest first, names as they are read. What is not told comes last."""
    if by == "name":
        return sorted(rows, key=lambda row: row["name"])
    if by == "grade":
        return sorted(rows, key=lambda row: (-(row["grade"]["grade"] if row["grade"] else 0), -row["overdue"], row["path"]))
    return sorted(rows, key=lambda row: -(row.get(by) or -1)) if by in SORTS else list(rows)


def reasoned(row: Mapping[str, Any], language: Language, now: datetime) -> dict[str, Any]:
    """A matter to look at first, with what people read: its line, why it is here, and at which zoom its place is looked at."""
    say = partial(translated, language=language)
    concern, number = row["concern"], row["number"]
    when = case_pages.left(row["at"], now, language) if row["at"] else ""
    title, fact, place, every = row["title"] or "", when, row["area"], say("共 {count} 件").format(count=number) if number > 1 else ""
    if concern == "unowned":
        title, fact, every = say("{count} 户无人负责").format(count=f"{number:,}"), "", ""
    elif concern == "silent":
        title, fact, every = say("{count} 个网格近 24 小时没有上报").format(count=number), "", ""
        place = say("首个：{name}").format(name=row["title"])
    elif concern == "waiting":
        fact = say("已等 {long}").format(long=case_pages.lasting((now - row["at"]).total_seconds(), language))
    elif concern == "zone_over":
        fact = say("已过 {long}").format(long=case_pages.lasting((now - row["at"]).total_seconds(), language))
    return dict(row) | {"title": title, "fact": fact, "place": place, "every": every, "zoom": 16}


@routes.get("/identify", dependencies=[strict("lon", "lat", "z", "own", "layers", "pixels", "done")])
def identify(
    request: Request,
    connection: Connection,
    language: LanguageNow,
    who: CallerNow,
    lon: Longitude,
    lat: Latitude,
    z: Zoom = 16,
    own: Annotated[str, Query(max_length=4000, description="layers of people's own that are looked at, with commas between")] = "",
    layers_named: Annotated[str | None, Query(alias="layers", max_length=2000, description="nouns, with commas between; of `f=json`")] = None,
    pixels: Annotated[float, Query(ge=0, le=32, allow_inf_nan=False, description="how near something must be; of `f=json`")] = asking.PIXELS,
    done: Annotated[str, Query(max_length=40)] = "",
    f: Literal["html", "json"] | None = None,
) -> Response:
    """The card of the area at a place: a fragment for the map, a page of its own for anybody else; with `f=json` all that is
    drawn there at this zoom, layer by layer."""
    if f == "json":
        there = {noun.name: noun for noun in tiles.drawn(who)}
        chosen = list(there) if layers_named is None else layers_named.split(",")
        if len(set(chosen)) != len(chosen) or not set(chosen) <= set(there):
            raise BadQuery(parameter="layers")
        found = asking.identify(connection, who, [there[name] for name in chosen], lon, lat, z, pixels)
        mine = [
            {"layer": str(one["id"]), "title": one["title"], "properties": one["properties"]}
            for one in layers.here(connection, [_number(one) for one in filter(None, own.split(","))], lon, lat, z)
        ]
        return JSONResponse(jsonable_encoder({"lon": lon, "lat": lat, "z": z, "found": found + mine}))
    facts = cards.card(connection, lon, lat, language, z)
    facts["own"] = layers.here(connection, [_number(one) for one in filter(None, own.split(","))], lon, lat, z)
    fragment = bool(request.headers.get("hx-request"))
    here = {"lon": f"{lon:.6f}", "lat": f"{lat:.6f}", "z": f"{z:g}"}
    facts["back"] = drawn.there(lon, lat, round(z)) if fragment else "/identify?" + urlencode(here)
    if facts["area"] and "write" in who.may:
        facts |= acted(connection, facts, language)
    make = drawn.card if fragment else drawn.card_page
    return pages.page(request, language, make(pages.reader(request, language), facts))


def acted(connection: sa.Connection, facts: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """What can be done from a card: its cases with the step that leads on, and whom one can be given to."""
    now = datetime.now(enrolling.LOCAL)
    cases = [case_pages.shown(case, language, now) for case in docket.told_of(connection, [row["id"] for row in facts["incidents"]])]
    giving = any(case["leading"] and case["leading"]["field"] == "to" for case in cases)
    places = case_pages.places(connection, facts["area"]["path"], language) if giving else []
    return {"cases": cases, "bodies": docket.bodies(connection) if giving else [], "places": places}


@routes.get("/areas/standing", dependencies=[strict("level", "bbox")])
def standing(connection: Connection, who: CallerNow, level: LEVELS, bbox: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """How the areas of a level stand, as the map draws it: id, longitude, latitude, open and overdue cases; of who answers for them the
    grade, and whether nobody is responsible (1) or services are far (2). `apart`: where homes are in no grid, and how many."""
    rows = attention.standing(connection, level, box(bbox) or attention.WORLD)
    told = [
        [str(row["id"]), row["longitude"], row["latitude"], row["open"], row["overdue"], row["grade"], (row["unowned"] or 0) + 2 * (row["far"] or 0)]
        for row in rows
    ]
    apart = [[row["longitude"], row["latitude"], row["households"]] for row in attention.apart(connection)] if answers(who) else []
    return JSONResponse({"level": level, "areas": told, "apart": apart}, headers={"Cache-Control": "no-store"})


@routes.get("/map.svg", dependencies=[strict()])
def outline(connection: Connection, who: CallerNow, language: LanguageNow) -> Response:
    """The map as a drawing, for a page without scripts and for paper."""
    numbers = cards.headlines(connection)
    there = [level["code"] for level in numbers["levels"] if level["code"] in ("street", "community", "grid") and level["count"] <= 400]
    level = there[-1] if there else numbers["level"]
    rows = attention.standing(connection, level, numbers["extent"])
    sketch = cards.outlines(connection, level, numbers["extent"], 900)
    answer = Response(drawn.outline(numbers["name"], sketch, rows), media_type="image/svg+xml")
    answer.headers["Cache-Control"] = "no-store"
    return answer


@routes.post("/posts/{id}/call", dependencies=[able("unmask"), strict()])
def call(id: UUID, request: Request, connection: Connection, language: LanguageNow, who: CallerNow, key: Key) -> Response:
    """The number of who answers for an area, to call it now: written down before, as every unmasking is."""
    noun = RESOURCES["posts"]
    entry = witnessed(request, "unmask", "posts", str(id), "contact")
    found = unmasking.unmask(connection, noun, id, ["phone"], "contact", "从网格卡片拨打电话", entry, key)
    fragment = bool(request.headers.get("hx-request"))
    text = drawn.call(pages.reader(request, language), found.values["phone"] or "", fragment)
    return pages.private(pages.page(request, language, text))


def _number(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadQuery(parameter="own") from error
