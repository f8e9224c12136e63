"""What is in every area, summed: whatever was written, by whomever, and whether or not it was folded in yet."""

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import relay
from geo.catalog import RESOURCES
from tests import town

NOUNS = {name: noun for name, noun in RESOURCES.items() if name != "areas"}
PATHS = ("", town.PREFIX, town.A[:12], town.C[:12], town.A, town.B, town.C, town.D)


def counted(connection: sa.Connection, path: str) -> Mapping[str, int]:
    """The same by counting the rows."""
    found: dict[str, int] = {}
    for name, noun in NOUNS.items():
        located = (("located", "(precision <> 'region')::integer"),) if noun.geometry else ()
        for quantity, expression in (("rows", "1"), *located, *noun.tallied):
            value = connection.scalar(
                sa.text(f"SELECT sum({expression}) FROM {name} WHERE scope ^@ :path AND retired_at IS NULL"), {"path": path}
            )
            if value:
                found[f"{name}.{quantity}"] = value
    return found


def summed(connection: sa.Connection, path: str) -> Mapping[str, int]:
    """What the sums say."""
    told = connection.scalar(sa.select(sa.func.tallies_of(path)))
    return {name: value for name, value in told.items() if value}


STEP = st.sampled_from(["add", "retire", "restore", "move", "close", "region", "people", "destroy", "redraw", "fold"])


@given(st.lists(STEP, min_size=1, max_size=12))
def test_sums_are_what_counting_gives(connection: sa.Connection, web: Any, steps: list[str]) -> None:
    stage = connection.begin_nested()
    run = connection.exec_driver_sql
    town.add(connection, "buildings", town.box(0.1, 0.1, 0.2, 0.2), households=7, residents=20)
    for n, step in enumerate(steps):
        match step:
            case "add":
                town.add(connection, "incidents", town.point(0.3 + n % 4, 0.5), number=str(n))
                town.add(connection, "residents")
            case "retire":
                run("UPDATE incidents SET retired_at = now()")
            case "restore":
                run("UPDATE incidents SET retired_at = NULL")
            case "move":
                run("UPDATE incidents SET geom = ST_Translate(geom, 0.007, 0); UPDATE buildings SET geom = ST_Translate(geom, 0.007, 0)")
            case "close":
                run("UPDATE incidents SET state = 'closed', steps = NULL WHERE state <> 'closed'")
            case "region":
                run("UPDATE incidents SET precision = 'region'")
            case "people":
                run("UPDATE buildings SET residents = residents + 1, non_local = NULL")
            case "destroy":
                run("DELETE FROM incidents WHERE id = (SELECT id FROM incidents ORDER BY id LIMIT 1)")
            case "redraw":
                run(f"UPDATE areas SET geom = ST_Multi(ST_Expand(ST_Envelope(geom), 0.002)) WHERE path = '{town.B}'")
            case "fold":
                relay.fold(web)
    for path in PATHS:
        assert summed(connection, path) == counted(connection, path), path
    stage.rollback()


@pytest.mark.parametrize("fold", [False, True])
def test_made_anew_they_are_the_same(connection: sa.Connection, web: Any, fold: bool) -> None:
    for noun in NOUNS:
        town.add(connection, noun)
    if fold:
        relay.fold(web)
    before = {path: summed(connection, path) for path in PATHS}
    assert before[town.A]["incidents.open"] == 1
    connection.execute(sa.select(sa.func.tallies_made_anew()))
    assert {path: summed(connection, path) for path in PATHS} == before
