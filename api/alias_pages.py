"""The page of what addresses mean: said by hand, or of the texts of a file that led nowhere, and taken back. It works without scripts."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlencode
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi import Form as Body
from pydantic import Field, StringConstraints

from api import pages
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.forms import Form, Text, Trouble, tried, trouble
from api.ways import see
from geo import addresses, uploading
from geo.addresses import Matcher, Offer, Part
from geo.db import Caller
from geo.errors import BadQuery, GeoError, Invalid
from geo.language import Language, translated
from maps import pages as drawn

# Where a file says in words where something is, and so where words may have led nowhere.
FIELDS = ("geometry", "building", "unit", "dwelling", "compound")
TEXTS = 40  # of one file that are shown at once
LOOKED = 1000
# How far in a place is, as a form names it beside the place.
PARTS = {"compound": "小区", "building": "楼栋", "unit": "单元", "dwelling": "房屋"}

routes = APIRouter(include_in_schema=False, dependencies=[able("write")])

Words = Annotated[Text, Field(max_length=256)]


class Saying(Form):
    """That words mean a place: one that was offered (`chosen`, its part and number), or one called as it is registered."""

    text: Words = ""
    means: Words = ""
    chosen: Annotated[str, StringConstraints(pattern="^(?:(?:compound|building|unit|dwelling) [0-9a-f-]{36})?$")] = ""
    source: Annotated[Text, Field(max_length=200)] = ""
    upload: UUID | None = None


class Ending(Form):
    """That words mean nothing of their own any more."""

    upload: UUID | None = None
    do: Literal["end"]


def aliases_page(
    request: Request, connection: sa.Connection, who: Caller, language: Language, given: Saying | None = None,
    told: Trouble | None = None, offers: Sequence[Offer] = (),
) -> Response:
    """What is said, what may be said of an upload's texts, and the form of another, as it was last filled in."""
    query = request.query_params
    asked = query.get("q", "")[:100]
    given = given or Saying(text=query.get("text", "")[:256], source=query.get("source", "")[:200], upload=_number(query.get("upload")))
    facts: dict[str, Any] = {
        "aliases": addresses.titled(connection, asked), "q": asked, "given": given, "trouble": told, "offers": offers, "parts": PARTS, "file": None,
    }
    if given.upload and "load" in who.may:
        facts["file"] = _file(connection, given.upload, partial(translated, language=language))
    answer = pages.private(pages.page(request, language, drawn.aliases(pages.reader(request, language), facts)))
    answer.status_code = told.status if told else 200
    return answer


@routes.post("/addresses/aliases/form", dependencies=[strict()])
def say(
    given: Annotated[Saying, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Keep it, and back to the page; of a place that is not sure, what it may be."""
    offers: list[Offer] = []
    try:
        with tried(connection):
            _said(connection, given, offers)
    except GeoError as error:
        return aliases_page(request, connection, who, language, given, trouble(request, language, "say", error), offers)
    return _back(given.upload, "#file" if given.upload else "#said")


@routes.post("/addresses/aliases/{id}/form", dependencies=[strict()])
def end(
    id: UUID, given: Annotated[Ending, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """The words mean nothing of their own any more."""
    try:
        with tried(connection):
            addresses.unaliased(connection, id)
    except GeoError as error:
        return aliases_page(request, connection, who, language, told=trouble(request, language, "said", error))
    return _back(given.upload, "#said")


def _said(connection: sa.Connection, given: Saying, offers: list[Offer]) -> None:
    if not given.text.strip():
        raise Invalid("请填写别人怎么写这个地方。", field="text")
    # All of it: the place may be called quite otherwise than the words.
    matcher = Matcher.ready(connection)
    if given.chosen:
        part, _, target = given.chosen.partition(" ")
        addresses.aliased(matcher, given.text, cast(Part, part), UUID(target), given.source)
        return
    if not given.means.strip():
        raise Invalid("请填写它在系统里的名称或地址。", field="means")
    found = matcher.one(given.means)
    place = addresses.meant(found)
    if place is None:
        # Of what it may be, the places themselves: these words are those of whoever asks.
        for one in found.candidates:
            if likely := addresses.meant(one):
                offers.append(Offer(given.means, *likely, one.title))
        raise Invalid("“{means}”在系统里对不上:{why}", means=given.means, why=str(found.because[0]), field="means")
    addresses.aliased(matcher, given.text, *place, given.source)


def _file(connection: sa.Connection, id: UUID, say: Callable[[str], str]) -> dict[str, Any]:
    """The texts of one's own upload that led nowhere, each with what it may mean."""
    upload = uploading.told(connection, id)
    wrong = [one for field in FIELDS for one in uploading.problems(connection, id, field, most=LOOKED) if not one["repaired"]]
    texts = Counter(one["value"] for one in wrong if one["value"])
    matcher = Matcher.ready(connection)
    lines = []
    shown = texts.most_common(TEXTS)
    for (text, count), found in zip(shown, matcher.matched([text for text, _ in shown]), strict=True):
        known = found.title if found.precision else ""
        lines.append({"text": text, "count": count, "title": known, "because": found.said(say), "offers": addresses.offered(matcher, found)})
    return {
        "id": id, "name": upload.name, "lines": lines, "more": max(0, len(texts) - TEXTS), "unsaid": sum(not one["value"] for one in wrong),
        "again": upload.state in ("ready", "refused"),
    }


def _number(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise BadQuery(parameter="upload") from error


def _back(upload: UUID | None, mark: str) -> Response:
    query = "?" + urlencode({"upload": str(upload)}) if upload else ""
    return see("/addresses/aliases" + query + mark)
