"""Plain data in the shapes that `geo.cards` and the other verbs give."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from geo.catalog import RESOURCES
from geo.resource import Audience
from maps import pages, sheets
from maps.layer import Drawing, drawing

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
EXTENT = (122.58, 29.78, 122.62, 29.82)


# Texts that want to be more: each would set `window.__x` in a browser, or make the server compute 50337.
PAYLOADS = (Path(__file__).parent / "payloads.txt").read_text(encoding="utf-8").splitlines()
EVALUATED = str(7 * 7191)


@pytest.fixture(params=PAYLOADS)
def payload(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def examples() -> type["Examples"]:
    return Examples


@pytest.fixture
def reader() -> pages.Reader:
    return pages.Reader("zh", lambda text: text, "n0nce")


@pytest.fixture
def drawings() -> list[Drawing]:
    return [
        drawing(
            noun,
            {choice.code: choice.title for choice in noun[noun.style.by].choices} if noun.style.by else {},
        )
        for noun in RESOURCES.values()
        if noun.geometry
    ]


class Examples:
    """One text in every place for a text."""

    @staticmethod
    def zone(text: str) -> dict[str, Any]:
        texts = (
            "name",
            "kind_title",
            "legal_basis",
            "deciding_organ",
            "document_number",
            "measures",
            "help_phone",
        )
        return dict.fromkeys(texts, text) | {
            "appeal_channel": text,
            "exercise": True,
            "standing": "active",
            "standing_title": "生效",
            "share": 3,
            "starts_at": NOW,
            "planned_end": NOW,
        }

    @staticmethod
    def numbers(text: str) -> dict[str, Any]:
        row = {
            "id": "7",
            "name": text,
            "path": text,
            "longitude": 122.6,
            "latitude": 29.8,
            "open": 1,
            "overdue": 1,
            "grids": 5,
            "buildings": 12,
            "people": None,
            "households": 1200,
            "zones": 1,
            "things": 3,
            "grade": {"grade": 3, "title": "较大", "reasons": [{"title": "超时事件", "value": 3}]},
        }
        return {
            "name": text,
            "k": 5,
            "extent": EXTENT,
            "as_of": NOW,
            "level_title": "社区",
            "levels": [{"code": "grid", "title": "网格", "count": 42}],
            "buildings": 1260,
            "open": 69,
            "overdue": 7,
            "zones": 5,
            "zones_overdue": 1,
            "to_review": 25,
            "communities": [row],
            "inside": [{"name": text, "path": text, "level": "community"}] * 2,
            "deeper": True,
            "zoom": 13,
            "zone_list": [Examples.zone(text)],
            "before": {"open": 60, "overdue": 9, "closed": 4, "closed_before": 4, "zones": 5},
            "quiet": 3,
            "grids": 42,
            "graded": True,
            "priorities": [Examples.matter(text)],
            "zones_now": [],
            "sheets": sheets.offered(Audience.LEADER),
            "overlays": [(overlay, True) for overlay in sheets.overlays(Audience.LEADER)],
            "done": text,
        }

    @staticmethod
    def matter(text: str) -> dict[str, Any]:
        return {
            "concern": "late", "word": "超时", "rule": "过了应结时间还没有结案；重大、紧急、督办的在前，超时久的在前", "title": text, "fact": text,
            "place": text, "every": text, "zoom": 16, "longitude": 122.6, "latitude": 29.8,
        }

    @staticmethod
    def graded() -> dict[str, Any]:
        reason = {"factor": "late", "title": "超时事件", "about": "过了", "value": 3, "grade": 3, "grade_title": "较大", "at_least": 3}
        return {"grade": 3, "title": "较大", "reasons": [reason, reason | {"grade": 0, "at_least": None}]}

    @staticmethod
    def case(text: str, field: str) -> dict[str, Any]:
        leading = {"action": "dispatch", "title": "派遣", "field": field, "reasoned": True, "at_once": False}
        return {
            "id": "7", "title": text, "stage": "accept", "state_title": "受理", "left": text, "late": True, "urgent": True, "supervised": True,
            "grade": "major", "grade_title": "重大", "exercise": True, "steps": 3, "leading": leading,
        }

    @staticmethod
    def card(text: str, found: bool = True) -> dict[str, Any]:
        away = {
            "longitude": 122.6,
            "latitude": 29.8,
            "k": 5,
            "path": [{"name": text}, {"name": text}],
            "findings": [],
            "elsewhere": None,
            "attention": None,
            "unowned": 63,
            "responsible": [Examples.post(text)],
            "back": "/?z=16",
            "own": [{"id": "7", "title": text, "properties": {text: text}}],
        }
        if not found:
            return away | {
                "area": None,
                "nearest": {"name": text, "metres": 132},
                "zones": [Examples.zone(text)],
            }
        return away | {
            "nearest": None,
            "zones": [Examples.zone(text)],
            "area": {
                "id": "7",
                "name": text,
                "code": text,
                "level_title": "网格",
                "derived": True,
                "square_metres": 28400.0,
                "management_mode": "demolition",
                "management_title": "待拆迁",
                "path": "990101001001001",
            },
            "counts": {
                "people": 1168,
                "households": None,
                "buildings": 31,
                "open": 6,
                "overdue": 1,
                "things": 12,
            },
            "attention": Examples.graded(),
            "far": [{"title": "看病", "metres": metres, "at_most": 1000} for metres in (1240, None)],
            "responsible": [Examples.post(text)],
            "cases": [Examples.case(text, field) for field in ("to", "opinion", "until")],
            "places": [("7", text)],
            "bodies": [{"id": "7", "name": text}],
            "incidents": [
                {
                    "title": text,
                    "state": "handling",
                    "state_title": "处置",
                    "overdue": True,
                    "exercise": True,
                    "reported_at": NOW,
                }
            ],
            "findings": [{"title": "与相邻区域重叠", "names": [text], "square_metres": 1240.3}],
        }

    @staticmethod
    def post(text: str) -> dict[str, Any]:
        return {
            "id": "7", "holder": text, "organisation": None, "role_title": "网格长", "area_name": text, "deputy": text, "here": True, "phone": text,
        }

    @staticmethod
    def waiting(text: str) -> dict[str, Any]:
        return {
            "title": text,
            "noun_title": "楼栋",
            "reason_title": "不在任何网格内",
            "stated_area": text,
            "nearest_name": text,
            "nearest_m": 12.3,
            "lon": 122.6,
            "lat": 29.8,
        }

    @staticmethod
    def finding(text: str) -> dict[str, Any]:
        return {
            "title": "重叠",
            "sentence": text,
            "square_metres": 1240.3,
            "longitude": 122.6,
            "latitude": 29.8,
            "zoom": 17,
        }


    @staticmethod
    def appointment(text: str) -> dict[str, Any]:
        return {
            "id": "7", "role": "grid_worker", "title": text, "places": text, "body": text, "stands": True, "stands_in": True, "stands_in_for": "8", "current": True,
            "over": False, "since": NOW, "until": NOW, "mine": True, "other_name": text, "other_login": text,
        }

    @staticmethod
    def person(text: str) -> dict[str, Any]:
        return {
            "id": "7", "login": text, "name": text, "kind": "system", "made_by": text, "made_at": NOW, "seen_at": NOW, "in_hand": True,
            "totp": False, "state": "idle", "state_title": "没有任职", "appointments": [Examples.appointment(text)],
        }

    @staticmethod
    def token(text: str) -> dict[str, Any]:
        return {"id": "7", "title": text, "role_title": text, "ends_at": NOW, "used_at": NOW}

    @staticmethod
    def slip(text: str) -> dict[str, Any]:
        return {"login": text, "name": text, "code": text, "ends": NOW, "link": "https://jingwei.example/slip?code=X"}

    @staticmethod
    def offered(text: str) -> dict[str, Any]:
        return {
            "roles": [("grid_worker", text)], "ticked": [{"path": text, "title": text}], "suggested": [{"path": text, "title": text}],
            "matters": [(text, text)],
            "given": {"login": text, "name": text, "kind": "person", "role": "", "area": [text, "another"], "category": [], "since": text, "until": text},
        }

    @staticmethod
    def reader(text: str) -> pages.Reader:
        return pages.Reader("zh", lambda text: text, "n0nce", pages.Known(
            text, text, text, text, [Examples.appointment(text), Examples.appointment(text) | {"current": False}], [("/account", text)],
        ))

    @staticmethod
    def working(text: str) -> pages.Reader:
        return replace(Examples.reader(text), known=pages.Known(text, text, text, text, works=True))


STANDING = {"id": "7", "path": "7", "longitude": 122.6, "latitude": 29.8, "open": 3, "overdue": 1, "grade": 2}
SKETCH: dict[str, Any] = {
    "wide": 900, "height": 700, "areas": {"7": "M 0 0 L 9 0 9 9 Z"}, "zones": [("sealed", "M 0 0 L 9 0 9 9 Z")], "place": lambda *_: (10.0, 20.0),
}
REPORT = {"level": "grid", "areas": 42, "covered_m2": 3_300_000.0, "parent_m2": 3_308_000.0}
Made = Callable[[str], str]


@pytest.fixture(params=[
    "map", "list", "card", "outside", "card page", "working card", "call", "outline", "review", "topology", "refusal", "sign in", "code", "slip", "account", "second factor",
    "accounts", "person", "newcomer", "enrolment", "slips", "slips alone",
    "collections", "features", "feature",
])
def made(request: pytest.FixtureRequest, reader: pages.Reader, drawings: list[Drawing]) -> Made:
    """A page as a function of the text that stands in every place for one."""
    makers: dict[str, Made] = {
        "map": lambda text: pages.leader(reader, pages.View(), drawings, Examples.numbers(text)),
        "list": lambda text: pages.leader(reader, pages.View(listed=True), drawings, Examples.numbers(text)),
        "card": lambda text: pages.card(reader, Examples.card(text)),
        "outside": lambda text: pages.card(reader, Examples.card(text, found=False)),
        "card page": lambda text: pages.card_page(reader, Examples.card(text)),
        "working card": lambda text: pages.card_page(Examples.working(text), Examples.card(text)),
        "call": lambda text: pages.call(reader, text, False),
        "outline": lambda text: pages.outline(text, SKETCH, [STANDING | {"name": text}, STANDING | {"name": text, "id": "8", "overdue": 0}]),
        "review": lambda text: pages.review(reader, [Examples.waiting(text)], {"outside": 25}, "outside"),
        "topology": lambda text: pages.topology(reader, REPORT, {"grid": "网格"}, [Examples.finding(text)]),
    }
    told = Examples.reader
    proper: dict[str, Any] = {
        "called": "x", "login": "x", "totp": True, "otpauth": None, "secret": "", "sessions": [], "tokens": [], "held": [], "lent": [],
        "oidc": "x", "days": (30,), "token": None, "trouble": None, "done": "", "withheld": False,
    }
    wrong = refused
    makers |= {
        "refusal": lambda text: pages.refusal(told(text), 403, text),
        "sign in": lambda text: pages.sign_in(told(text), {
            "next": "/" + text, "login": text, "proof": None, "oidc": text, "trouble": wrong("sign-in", text)}),
        "code": lambda text: pages.sign_in(told(text), {"next": "/", "login": text, "proof": text, "oidc": "", "trouble": None}),
        "slip": lambda text: pages.slip(told(text), {
            "code": text, "holder": {"name": text, "login": text}, "trouble": wrong("slip", text)}),
        "account": lambda text: pages.account(told(text), proper | {
            "called": text, "login": text, "token": text, "tokens": [Examples.token(text)], "trouble": wrong("lend", text), "done": text,
            "sessions": [{"id": "7", "opened_at": NOW, "seen_at": NOW, "origin": text, "here": here} for here in (True, False)],
            "held": [Examples.appointment(text) | {"stands_in": stands} for stands in (True, False)], "lent": [Examples.appointment(text)],
        }),
        "second factor": lambda text: pages.account(told(text), proper | {"otpauth": "otpauth://totp/x", "secret": text}),
        "accounts": lambda text: pages.accounts(told(text), {
            "accounts": [Examples.person(text)], "total": 7, "page": 2, "pages": 3, "q": text, "role": text, "area": text, "state": text,
            "roles": {text: text}, "states": {text: text}, "suggested": [{"path": text, "title": text}], "trouble": wrong("search", text)}),
        "person": lambda text: pages.person(told(text), Examples.offered(text) | {
            "account": Examples.person(text), "bodies": [{"name": text}], "trouble": wrong("appoint", text), "sessions": [{}], "tokens": [Examples.token(text)],
            "token": text, "own": False, "done": text}),
        "newcomer": lambda text: pages.newcomer(told(text), Examples.offered(text) | {
            "trouble": wrong("newcomer", text), "may_keep": True}),
        "enrolment": lambda text: pages.enrolment(told(text), {
            "rows": [{"number": 1, "login": text, "name": text, "role": text, "area": text, "done": "refused", "title": text, "why": text}],
            "counts": [(text, 1)], "fresh": ["7"], "written": True, "most": 500, "trouble": None}),
        "collections": lambda text: pages.collections(told(text), [{"id": "x", "title": text, "description": text}]),
        "features": lambda text: pages.features(told(text), {
            "id": "x", "title": text, "about": text, "columns": [("a", text), ("b", text)], "rows": [{"id": "7", "cells": {"a": text, "b": None}}],
            "one": False, "next": "/" + text, "prev": "/" + text, "asked": [(text, text)], "json": "/" + text}),
        "feature": lambda text: pages.features(told(text), {
            "id": "x", "title": text, "about": text, "columns": [("a", text)], "rows": [{"id": "7", "cells": {"a": text}}], "one": True,
            "next": None, "prev": None, "asked": [], "json": "/"}),
        "slips": lambda text: pages.slips(told(text), [Examples.slip(text)], text, str),
        "slips alone": lambda text: pages.slips_alone([Examples.slip(text)], text, str),
    }
    return makers[request.param]


def refused(form: str, text: str) -> SimpleNamespace:
    """The refusal of a form, as `api.forms` tells it."""
    return SimpleNamespace(form=form, sentence=text, field=None, status=422)
