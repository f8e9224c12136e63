"""Plain data in the shapes that `geo.cards` and the other verbs give."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from geo.catalog import RESOURCES
from maps import pages
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
        }

    @staticmethod
    def card(text: str, found: bool = True) -> dict[str, Any]:
        away = {
            "longitude": 122.6,
            "latitude": 29.8,
            "k": 5,
            "path": [{"name": text}, {"name": text}],
            "findings": [],
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
            },
            "counts": {
                "people": 1168,
                "households": None,
                "buildings": 31,
                "open": 6,
                "overdue": 1,
                "things": 12,
            },
            "responsible": [
                {
                    "holder": text,
                    "organisation": None,
                    "role_title": "网格长",
                    "area_name": text,
                    "deputy": text,
                    "here": True,
                }
            ],
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


REPORT = {"level": "grid", "areas": 42, "covered_m2": 3_300_000.0, "parent_m2": 3_308_000.0}
Made = Callable[[str], str]


@pytest.fixture(params=["map", "list", "card", "outside", "card page", "review", "topology"])
def made(request: pytest.FixtureRequest, reader: pages.Reader, drawings: list[Drawing]) -> Made:
    """A page as a function of the text that stands in every place for one."""
    makers: dict[str, Made] = {
        "map": lambda text: pages.leader(reader, pages.View(), drawings, Examples.numbers(text)),
        "list": lambda text: pages.leader(reader, pages.View(listed=True), drawings, Examples.numbers(text)),
        "card": lambda text: pages.card(reader, Examples.card(text)),
        "outside": lambda text: pages.card(reader, Examples.card(text, found=False)),
        "card page": lambda text: pages.card_page(reader, Examples.card(text)),
        "review": lambda text: pages.review(reader, [Examples.waiting(text)], {"outside": 25}, "outside"),
        "topology": lambda text: pages.topology(reader, REPORT, {"grid": "网格"}, [Examples.finding(text)]),
    }
    return makers[request.param]
