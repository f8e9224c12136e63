"""The card, the headlines, the list: right numbers, nothing about few people, nothing the public may not know."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from geo import cards, db
from geo.catalog import RESOURCES
from tests import town

IN_A, IN_B, IN_C, IN_OVERLAP, NOWHERE = (0.5, 1.0), (1.5, 1.0), (2.5, 1.0), (3.05, 1.0), (3.9, 1.0)
AUTHORITY = {
    "state": "active", "legal_basis": "法", "deciding_organ": "局", "document_number": "1号", "measures": "疏散",
    "starts_at": "2026-01-01T00:00:00+08:00", "planned_end": "2126-01-01T00:00:00+08:00", "help_phone": "110",
    "appeal_channel": "12345",
}  # fmt: skip

Card = Callable[..., dict[str, Any]]


@pytest.fixture
def public(web: Any) -> Iterator[sa.Connection]:
    """What a request of the public runs in: its role, its scope, reading only."""
    with db.transaction(web, db.Caller(), read_only=True) as connection:
        yield connection


@pytest.fixture
def card(connection: sa.Connection, web: Any) -> Card:
    def asked(place: tuple[float, float], language: str = "zh", zoom: float = 16) -> dict[str, Any]:
        lon, lat = town.at(*place)
        with db.transaction(web, db.Caller(), read_only=True) as public:
            return cards.card(public, lon, lat, language, zoom)

    return asked


@pytest.mark.parametrize(
    ("zoom", "path"), [(10, town.PREFIX), (12, town.A[:12]), (13.5, town.A[:12]), (14, town.A)]
)
def test_the_card_is_of_the_level_that_the_map_shows(card: Card, zoom: float, path: str) -> None:
    found = card(IN_A, zoom=zoom)
    assert found["area"]["path"] == path
    assert [step["path"] for step in found["path"]] == [path[:n] for n in (9, 12, 15) if n <= len(path)]


@pytest.mark.parametrize(("people", "told"), [(0, None), (1, None), (4, None), (5, 5), (7, 5), (12, 10), (13, 15)])
def test_few_people_are_not_told(
    connection: sa.Connection, card: Card, people: int, told: int | None
) -> None:
    town.add(connection, "buildings", town.box(0.4, 0.4, 0.6, 0.6), residents=people, households=people)
    counts = card(IN_A)["counts"]
    assert (counts["people"], counts["households"], counts["buildings"]) == (told, told, 1)
    assert "residents" not in counts


def test_the_list_keeps_few_people_to_itself_too(connection: sa.Connection, web: Any) -> None:
    town.add(connection, "buildings", town.box(0.4, 0.4, 0.6, 0.6), residents=3, households=1)
    with db.transaction(web, db.Caller(), read_only=True) as public:
        told = cards.listing(public, "zh")
    row = next(row for row in told["communities"] if row["name"] == "澜溪社区")
    assert (row["people"], row["households"], row["buildings"], row["grids"]) == (None, None, 1, 2)
    assert "residents" not in json.dumps(told, default=str)


def test_the_list_goes_down_to_the_grids(public: sa.Connection) -> None:
    top = cards.listing(public, "zh")
    assert (top["level"], top["deeper"], top["inside"]) == ("community", True, [])
    inner = cards.listing(public, "zh", top["communities"][0]["path"])
    assert (inner["level"], inner["deeper"], inner["zoom"]) == ("grid", False, 16)
    assert [row["name"] for row in inner["communities"]] == ["第一网格", "第二网格"]
    assert [step["name"] for step in inner["inside"]] == ["云汀街道", "澜溪社区"]
    assert cards.listing(public, "zh", town.A)["communities"] == []


def test_a_region_is_no_location(connection: sa.Connection, card: Card) -> None:
    for precision in ("exact", "region"):
        town.add(connection, "incidents", town.point(*IN_A), title=precision, precision=precision)
    found = card(IN_A)
    assert found["counts"]["open"] == 1
    assert [row["title"] for row in found["incidents"]] == ["exact"]


def test_what_is_late_comes_first_and_what_is_closed_not_at_all(
    connection: sa.Connection, card: Card
) -> None:
    late, early = "2026-01-02T00:00:00+08:00", "2126-01-02T00:00:00+08:00"
    for title, state, due in (
        ("later", "handling", early),
        ("late", "handling", late),
        ("gone", "closed", late),
    ):
        town.add(connection, "incidents", town.point(*IN_A), title=title, state=state, due_at=due)
    found = card(IN_A)
    assert [(row["title"], row["overdue"]) for row in found["incidents"]] == [
        ("late", True),
        ("later", False),
    ]
    assert (found["counts"]["open"], found["counts"]["overdue"]) == (2, 1)


def test_names_of_people_are_masked_and_posts_end(connection: sa.Connection, card: Card) -> None:
    town.add(connection, "posts", role="grid_leader", area=town.A, holder="欧阳明月", deputy="李四")
    town.add(connection, "posts", role="community_leader", area=town.A[:12], holder="王五")
    town.add(
        connection,
        "posts",
        role="police",
        area=town.A,
        holder="赵六",
        starts_at="2025-01-01T00:00:00+08:00",
        ends_at="2026-01-01T00:00:00+08:00",
    )
    responsible = card(IN_A)["responsible"]
    assert [(post["role_title"], post["here"]) for post in responsible] == [
        ("网格长", True),
        ("社区负责人", False),
    ]
    assert "明月" not in str(responsible)
    assert responsible[0]["holder"].startswith("欧")
    assert card(IN_C)["responsible"] == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"state": "draft"}, False),
        ({"state": "lifted", "lifted_at": "2026-02-01T00:00:00+08:00"}, False),
    ],
)
def test_a_zone_in_force_stands_with_its_authority(
    connection: sa.Connection, card: Card, changes: dict[str, object], told: bool
) -> None:
    town.add(
        connection, "zones", town.box(0.5, 0.0, 1.5, 2.0), name="警戒", kind="sample", **AUTHORITY | changes
    )
    zones = card(IN_A)["zones"]
    assert [zone["name"] for zone in zones] == ["警戒"] * told
    if told:
        assert (zones[0]["share"], zones[0]["standing"], zones[0]["help_phone"]) == (50, "active", "110")
        assert card(IN_A, "en")["zones"][0]["kind_title"] == "Sample"
        assert card(IN_C)["zones"] == []


def test_a_zone_over_no_grid_has_no_share_of_one(connection: sa.Connection, card: Card) -> None:
    town.add(connection, "zones", town.box(3.85, 0.9, 3.95, 1.1), kind="sample", **AUTHORITY)
    (zone,) = card(NOWHERE)["zones"]
    assert zone["share"] is None


def test_a_zone_past_its_end_awaits_review(connection: sa.Connection, card: Card, web: Any) -> None:
    past = AUTHORITY | {"planned_end": "2026-01-02T00:00:00+08:00"}
    town.add(connection, "zones", town.box(0.5, 0.0, 1.5, 2.0), kind="sample", **past)
    assert card(IN_A)["zones"][0]["standing_title"] == "逾期待审"
    with db.transaction(web, db.Caller(), read_only=True) as public:
        assert (told := cards.headlines(public))["zones"] == told["zones_overdue"] == 1


def test_nowhere_names_the_nearest(card: Card) -> None:
    found = card(NOWHERE)
    assert found["area"] is None
    assert found["nearest"]["name"] == "第四网格"
    assert found["nearest"]["metres"] == pytest.approx(97, abs=1)
    assert [step["name"] for step in found["path"]] == ["云汀街道", "柳汀社区"]


def test_an_overlap_is_told_in_square_metres(card: Card) -> None:
    (finding,) = card(IN_OVERLAP)["findings"]
    assert finding["names"] == ["第四网格"]
    assert finding["square_metres"] == pytest.approx(96.6 * 2218, rel=0.01)
    assert card(IN_A)["findings"] == []


def test_a_blank_and_a_repeated_code_are_told(connection: sa.Connection, card: Card) -> None:
    connection.execute(sa.text("UPDATE areas SET code = NULL WHERE path = :path"), {"path": town.A})
    connection.execute(sa.text("UPDATE areas SET code = :c WHERE path = :b"), {"c": town.C, "b": town.B})
    assert [finding["title"] for finding in card(IN_A)["findings"]] == ["没有编码"]
    assert [finding["title"] for finding in card(IN_B)["findings"]] == ["编码与另一区域相同"]


def test_the_headlines_count_what_lives(connection: sa.Connection, public: sa.Connection) -> None:
    before = cards.headlines(public)
    assert [(level["code"], level["count"]) for level in before["levels"]] == [
        ("street", 1),
        ("community", 2),
        ("grid", 4),
    ]
    assert [row["name"] for row in before["communities"]] == ["澜溪社区", "柳汀社区"]
    assert before["extent"] == pytest.approx((122.6, 29.8, 122.64, 29.82))
    assert (before["open"], before["zones"], before["buildings"]) == (0, 0, 0)
    assert before["as_of"] is None


def test_an_empty_instance_shows_the_country(connection: sa.Connection, web: Any) -> None:
    connection.execute(sa.text("UPDATE areas SET retired_at = now()"))
    with db.transaction(web, db.Caller(), read_only=True) as public:
        told = cards.headlines(public)
        assert told["extent"] == cards.EVERYWHERE
        assert (told["levels"], told["communities"]) == ([], [])
        assert cards.card(public, 122.6, 29.8, "zh")["nearest"] is None


def test_a_legend_has_the_kinds_in_use(connection: sa.Connection, web: Any) -> None:
    zones, incidents = RESOURCES["zones"], RESOURCES["incidents"]
    with db.transaction(web, db.Caller(), read_only=True) as public:
        assert cards.titles(public, zones, zones["kind"], "zh") == {}
    town.add(connection, "zones", town.box(0.5, 0.0, 1.5, 2.0), kind="sample", **AUTHORITY)
    with db.transaction(web, db.Caller(), read_only=True) as public:
        assert cards.titles(public, zones, zones["kind"], "zh") == {"sample": "例"}
        assert cards.titles(public, zones, zones["kind"], "en") == {"sample": "Sample"}
        assert next(iter(cards.titles(public, incidents, incidents["state"], "zh"))) == "reported"
