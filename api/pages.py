"""What a browser shows: the leader's map, the card, the lists, and the files they are made of.

Routes of a few lines: verbs of `geo` give plain data, `maps` makes the page.
"""

import gzip
import math
import mimetypes
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Annotated, Any, Literal

import shapely
import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from starlette_compress import CompressMiddleware

from api import menu
from api.deps import Connection, LanguageNow, anyone, language, strict
from api.guard import FOR_EVER
from api.limits import limited
from geo import cards, layers, placing, tiles
from geo import topology as reports
from geo.catalog import RESOURCES
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.door import Presence
from geo.errors import BadQuery, NotFound
from geo.language import Language, translated
from geo.resource import REASONS, Resource
from maps import pages
from maps.layer import Drawing, drawing
from maps.layer import own as somebodys
from maps.links import ASSETS, PREFIX, fingerprint

HTML = "text/html; charset=utf-8"
OWN = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REASON_TITLES = {choice.code: choice.title for choice in REASONS}
# Four of five incidents are closed: drawn, they hide what is still to be done.
QUIET = {"incidents": frozenset({"close", "feedback"})}

Longitude = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)]
Zoom = Annotated[float, Query(ge=0, le=22, allow_inf_nan=False)]

routes = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Put the pages and their files on `app`."""
    app.include_router(routes)
    # A tile shrinks to a half, a page to a fifth. Our files come packed already and are left alone.
    app.add_middleware(CompressMiddleware, minimum_size=1000)


@routes.get(PREFIX + "/{path:path}", dependencies=[Depends(anyone)])
def asset(path: str, request: Request, v: str | None = None) -> Response:
    """A file of ours. With the fingerprint of its content in the address it may be kept for ever."""
    if path not in _assets():
        raise NotFound()
    content, packed = _content(path)
    kept = f"public, {FOR_EVER}" if v == fingerprint(path) else "no-cache"
    headers = {"Cache-Control": kept, "Vary": "Accept-Encoding", "ETag": f'"{fingerprint(path)}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=_kind(path))
    return Response(content, headers=headers, media_type=_kind(path))


@routes.get("/review", dependencies=[strict("reason")])
def review(
    request: Request, connection: Connection, language: LanguageNow, reason: str | None = None,
    f: Literal["html", "json"] | None = None,
) -> Any:
    """What awaits a placing decision, nearest to a decision first: a page to a browser, the records to a program."""
    if reason is not None and reason not in REASON_TITLES:
        raise BadQuery(parameter="reason", choices=list(REASON_TITLES))
    rows = [
        row | {"noun_title": RESOURCES[row["noun"]].title, "reason_title": REASON_TITLES[row["reason"]]}
        for row in placing.review(connection, reason=reason)
    ]
    counts = waiting(connection)
    if not wants_html(request, f):
        return {"numberWaiting": counts, "records": rows}
    return page(request, language, pages.review(reader(request, language), rows, counts, reason))


@routes.get("/boundaries", dependencies=[limited("costly"), strict("level")])
def boundaries(
    request: Request, connection: Connection, language: LanguageNow, level: str | None = None
) -> Response:
    """Whether the areas of a level fit together, the deepest level that there is unless another is named."""
    levels = {row["code"]: row["title"] for row in cards.headlines(connection)["levels"]}
    deepest = next((code for code in ("grid", "community", "street") if code in levels), "grid")
    report = reports.report(connection, level or deepest)
    found = [_drawn(finding, language) for finding in report.findings]
    return page(request, language, pages.topology(reader(request, language), vars(report), levels, found))


def wants_html(request: Request, f: str | None) -> bool:
    """Whether a person is asking: a browser says so in `Accept`, and `f=json` overrules it."""
    if f is not None:
        return f == "html"
    accepted = [part.split(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    first = next(
        (kind for kind in accepted if kind in ("text/html", "application/json", "application/geo+json")), ""
    )
    return first == "text/html"


def reader(request: Request, language: Language) -> pages.Reader:
    """Who reads this page, as far as the request has asked."""
    say = partial(translated, language=language)
    here: Presence | None = request.scope.get("presence")
    return pages.Reader(language, say, nonce(request), known(here, language) if here and here.caller.account else None)


def known(here: Presence, language: Language) -> pages.Known:
    """Somebody who has come in, as the top of a page shows them."""
    acting = here.caller.appointment
    others = [
        {
            "id": other["id"], "title": ROLES[other["role"]].title, "places": places(other["names"], language),
            "stands_in": other["stands_in"],
            "current": other["id"] == str(acting) or (here.withheld and other["role"] == here.role),
        }
        for other in here.others if other["role"] in ROLES
    ]
    now = next((other for other in others if other["current"]), None)
    return pages.Known(
        here.name or here.caller.actor, here.caller.actor, ROLES[here.role].title, now["places"] if now else "", others,
        menu.entries(here.caller.may), here.withheld, "write" in here.caller.may,
    )


def places(names: Sequence[str], language: Language) -> str:
    """Names of areas in one line."""
    return ("、" if language == "zh" else ", ").join(names)


def nonce(request: Request) -> str:
    """What a script of this answer must carry to run."""
    made: str = request.scope["nonce"]
    return made


def page(request: Request, language: Language, text: str) -> Response:
    """An HTML answer. The language that the address asks for is remembered."""
    answer = Response(text, media_type=HTML)
    # For who has come in it goes out as kept by nobody (`api/guard.py`).
    answer.headers["Cache-Control"] = "no-cache"
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept, Accept-Language, Cookie, HX-Request"
    if request.query_params.get("lang") == language:
        answer.set_cookie("lang", language, max_age=31_536_000, httponly=True, samesite="lax")
    return answer


def private(answer: Response) -> Response:
    """A page that nothing keeps: there is a code in it, or somebody's account."""
    answer.headers["Cache-Control"] = "no-store"
    return answer


def refusal(request: Request, status: int, sentence: str) -> Response:
    """What somebody reads who asked for a page with a browser and may not have it."""
    said = language(request)
    answer = private(page(request, said, pages.refusal(reader(request, said), status, sentence)))
    answer.status_code = status
    return answer


def waiting(connection: sa.Connection) -> dict[str, int]:
    """How many records await a placing decision, by reason."""
    counts: dict[str, int] = {}
    for by_reason in placing.review_counts(connection).values():
        for reason, number in by_reason.items():
            counts[reason] = counts.get(reason, 0) + number
    return counts


def _drawn(finding: reports.Finding, language: Language) -> dict[str, Any]:
    told = {
        "title": reports.KINDS[finding.kind][0],
        "sentence": finding.said(language),
        "square_metres": finding.measure_m2,
        "longitude": None,
        "latitude": None,
        "zoom": 17,
    }
    if finding.geometry is None:
        return told
    shape = shapely.from_geojson(finding.geometry)
    spot, (west, south, east, north) = shape.representative_point(), shape.bounds
    # As near as shows it whole in a window of 500 pixels.
    span = max(east - west, north - south, 1e-4)
    return told | {
        "longitude": spot.x,
        "latitude": spot.y,
        "zoom": max(11, min(18, int(math.log2(360 * 500 / 256 / span)))),
    }


def drawings(
    connection: sa.Connection, who: Caller, language: Language, wanted: str | None, levels: set[str], own: bool | None = None
) -> list[Drawing]:
    """The layers that somebody may see, those named in `wanted` shown (None: as declared), areas of `levels` only. `own`: whether those of
    people's own are shown that are not named."""
    drawn = {
        name: noun for name, noun in RESOURCES.items() if noun.geometry and who.knows(noun)
    }
    chosen = None if wanted is None else set(filter(None, wanted.split(",")))
    # A link to a layer that has ended since still leads to the map.
    if chosen is not None and any(name not in drawn and not OWN.fullmatch(name) for name in chosen):
        raise BadQuery(parameter="layers")
    versions, whose = tiles.versions(connection), tiles.fingerprint(who)
    nouns = [
        drawing(
            noun,
            _titles(connection, noun, language, levels),
            version=str(versions[name]),
            scope=whose if tiles.differs(noun, who) else "",
            shown=None if chosen is None else name in chosen,
            hidden=QUIET.get(name, frozenset()),
        )
        for name, noun in drawn.items()
    ]
    return nouns + [
        somebodys(
            str(layer.id), layer.title, layer.kind, layer.color, layer.opacity, address=f"/layers/{layer.id}/tiles/{{z}}/{{x}}/{{y}}.mvt?{{query}}",
            version=str(layer.version), scope="" if layer.audience == "public" else whose, shown=(chosen is None if own is None else own) or str(layer.id) in (chosen or ()),
        )
        for layer in layers.listed(connection)
    ]


def _titles(
    connection: sa.Connection, noun: Resource, language: Language, levels: set[str]
) -> dict[str, str]:
    if not noun.style.by:
        return {}
    titles = cards.titles(connection, noun, noun[noun.style.by], language)
    if noun.name != "areas":
        return titles
    # Of the areas, the levels that are drawn and that there are.
    seen = levels & {level for _, level in tiles.LEVELS}
    return {code: title for code, title in titles.items() if code in seen}


@cache
def _assets() -> frozenset[str]:
    return frozenset(str(file.relative_to(ASSETS)) for file in ASSETS.rglob("*") if file.is_file())


@cache
def _content(path: str) -> tuple[bytes, bytes]:
    content = (ASSETS / path).read_bytes()
    return content, gzip.compress(content, 9, mtime=0)


def _kind(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"
