"""What everybody is told of how many live where: of fewer than k nothing follows, from no sum and from no rest."""

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import cards, db, relay
from geo.errors import Forbidden
from tests import town

K = 5
NAMES = ("dwellings", "households", "residents", "non_local")
# Three grids of two communities, and a place in a street and in no grid of it.
PLACES = {"A": (0.4, 0.4), "B": (1.4, 0.4), "C": (2.4, 0.4), "nowhere": (3.9, 1.0)}
PATHS = ("", town.PREFIX[:2], town.PREFIX[:6], town.PREFIX, town.A[:12], town.C[:12], town.A, town.B, town.C, town.D, f"{town.A}001")
Told = Mapping[str, tuple[int | None, ...]]

TOLD = sa.text("SELECT p.path, c.* FROM unnest(CAST(:paths AS text[])) AS p (path), area_counts_told(p.path) AS c")


def told(web: Any, caller: db.Caller | None = None) -> Told:
    """Every number of people and homes in every area."""
    with db.transaction(web, caller or db.Caller(), read_only=True) as bound:
        return {row.path: tuple(getattr(row, name) for name in NAMES) for row in bound.execute(TOLD, {"paths": list(PATHS)})}


def peopled(connection: sa.Connection) -> dict[str, Any]:
    """A house in every place."""
    return {
        name: town.add(connection, "buildings", town.box(x, y, x + 0.1, y + 0.1), code=name, households=0, residents=0)
        for name, (x, y) in PLACES.items()
    }


def live(connection: sa.Connection, house: Any, number: int) -> None:
    connection.execute(
        sa.text("UPDATE buildings SET households = :n, residents = :n, non_local = :n WHERE id = :id"), {"id": house, "n": number}
    )


NUMBERS = st.lists(st.one_of(st.integers(0, K - 1), st.integers(0, 40)), min_size=len(PLACES), max_size=len(PLACES))


@settings(max_examples=15)
@given(NUMBERS, st.booleans())
def test_of_fewer_than_k_every_number_looks_the_same(connection: sa.Connection, web: Any, numbers: list[int], fold: bool) -> None:
    # Whoever sees every public number, and knows of all cells but one how many live there, learns of that one that it is few.
    stage = connection.begin_nested()
    houses = peopled(connection)
    for house, number in zip(houses.values(), numbers, strict=True):
        live(connection, house, number)
    if fold:
        relay.fold(web)
    before = told(web)
    for house, number in zip(houses.values(), numbers, strict=True):
        for other in range(K) if number < K else ():
            live(connection, house, other)
            assert told(web) == before, (numbers, number, other)
        live(connection, house, number)
    stage.rollback()


@given(NUMBERS)
def test_a_sum_is_that_of_what_is_told_of_its_parts(connection: sa.Connection, web: Any, numbers: list[int]) -> None:
    stage = connection.begin_nested()
    for house, number in zip(peopled(connection).values(), numbers, strict=True):
        live(connection, house, number)
    parts = dict(zip(PLACES, (0 if n < K else K * ((n + 2) // K) for n in numbers), strict=True))
    due = {
        town.A: parts["A"], town.B: parts["B"], town.C: parts["C"], town.D: 0, town.A[:12]: parts["A"] + parts["B"], "": sum(parts.values()),
    }  # fmt: skip
    found = told(web)
    assert {path: found[path][2] for path in due} == {path: number or None for path, number in due.items()}
    # And nobody's number is further from what it is than k for each of its cells.
    assert abs((found[""][2] or 0) - sum(numbers)) < K * len(PLACES)
    stage.rollback()


def test_of_less_than_a_grid_nothing_is_told(connection: sa.Connection, web: Any) -> None:
    live(connection, peopled(connection)["A"], 40)
    assert told(web)[town.A][2] == 40
    assert told(web)[f"{town.A}001"] == (None,) * 4


@pytest.mark.parametrize(("role", "scope", "exact"), [
    ("area", town.A, True), ("area", town.B, False), ("leader", town.A[:12], True), ("partner", town.A, False), ("organisation", town.A, False),
])  # fmt: skip
def test_who_works_there_is_told_as_it_is(connection: sa.Connection, web: Any, role: str, scope: str, exact: bool) -> None:
    live(connection, peopled(connection)["A"], 13)
    assert told(web, db.Caller("x", f"jingwei_{role}", (scope,)))[town.A][2] == (13 if exact else 15)


def test_nobody_asks_how_a_cell_is_told(web: Any) -> None:
    for asking in ("SELECT persons_told('')", "SELECT tallies_of('')", "SELECT area_counts('')"):
        with pytest.raises(Forbidden), db.transaction(web, db.Caller(), read_only=True) as bound:
            bound.execute(sa.text(asking))


def test_the_pages_tell_what_the_numbers_tell(connection: sa.Connection, web: Any) -> None:
    houses = peopled(connection)
    for name, number in {"A": 13, "B": 4, "C": 7}.items():
        live(connection, houses[name], number)
    with db.transaction(web, db.Caller(), read_only=True) as bound:
        whole = {row["path"]: row["people"] for row in cards.listing(bound, "zh")["communities"]}
        inner = {row["path"]: row["people"] for row in cards.listing(bound, "zh", town.A[:12])["communities"]}
        card = cards.card(bound, *town.at(0.5, 1.0), "zh")["counts"]
    assert (whole[town.A[:12]], whole[town.C[:12]]) == (15, 5)
    assert inner == {town.A: 15, town.B: None}
    assert (card["people"], card["households"]) == (15, 15)
