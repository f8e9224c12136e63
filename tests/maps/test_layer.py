"""Every declared style can be drawn, and its legend says in words what it draws."""

import json
import re

import pytest

from geo.catalog import RESOURCES
from geo.resource import Resource, Style
from maps.layer import PATTERNS, SYMBOLS, Drawing, drawing, mixed
from maps.legend import entries, swatch

DRAWN = [noun for noun in RESOURCES.values() if noun.geometry]
NOUNS = pytest.mark.parametrize("noun", DRAWN, ids=lambda noun: noun.name)
KINDS = {"sealed": "封控区", "controlled": "管控区", "precaution": "防范区"}


def shown(noun: Resource) -> Drawing:
    by = noun[noun.style.by] if noun.style.by else None
    return drawing(noun, {choice.code: choice.title for choice in by.choices} if by else {})


@NOUNS
def test_every_noun_with_a_place_can_be_drawn(noun: Resource) -> None:
    told = json.loads(json.dumps(shown(noun).told()))
    assert told["name"] == noun.name
    assert told["zooms"][0] <= told["native"]
    for look in (told["look"], *told["looks"].values()):
        assert look.get("fill") or look.get("stroke")
        assert look.get("symbol", "circle") in SYMBOLS


@NOUNS
def test_the_legend_has_a_word_for_everything_drawn(noun: Resource) -> None:
    lines = entries(shown(noun))
    assert [line.value for line in lines] == list(shown(noun).looks)
    assert all(re.search(r"[\u4e00-\u9fff]", line.title) for line in lines if shown(noun).titles)


def test_zones_are_told_apart_without_colour() -> None:
    drawn = drawing(RESOURCES["zones"], KINDS)
    looks = {(bool(look.hatch), bool(look.dash), look.width) for look in drawn.looks.values()}
    assert len(looks) == len(KINDS)
    assert len({line.swatch for line in entries(drawn)}) == len(KINDS)
    assert drawn.looks["controlled"].width == 2.5


def test_states_of_incidents_are_told_apart_without_colour() -> None:
    drawn = shown(RESOURCES["incidents"])
    assert len({look.symbol for look in drawn.looks.values()}) == len(drawn.looks) == len(SYMBOLS)


@pytest.mark.parametrize("geometry", ["POINT", "MULTIPOLYGON"])
def test_an_unknown_shape_is_refused_by_name(geometry: str) -> None:
    noun = RESOURCES["parts" if geometry == "POINT" else "zones"]
    odd = Resource(
        "odd", "怪", "", noun.fields, "物", geometry=noun.geometry, place=noun.place,
        style=Style(by=noun.style.by, shapes=(("x", "star"),)),
    )  # fmt: skip
    with pytest.raises(KeyError, match="star"):
        drawing(odd, {"x": "星"})


def test_what_is_hidden_is_not_ticked() -> None:
    drawn = drawing(
        RESOURCES["incidents"], {"accepted": "受理", "closed": "结案"}, hidden=frozenset({"closed"})
    )
    assert [line.shown for line in entries(drawn)] == [True, False]
    assert drawn.told()["hidden"] == ["closed"]


def test_a_swatch_is_decoration() -> None:
    assert all('aria-hidden="true"' in swatch(shown(noun)) for noun in DRAWN)
    assert set(PATTERNS) == {"hatch", "outline", "dash"}


def test_colours_are_mixed() -> None:
    assert mixed("#000000", "#FFFFFF", 0.5) == "#808080"
    assert mixed("#0B4F8A", "#FFFFFF", 0) == "#0B4F8A"
