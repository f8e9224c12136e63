"""Proposed codes: in reading order, by the scheme, never one that was given before."""

import random

import pytest
import sqlalchemy as sa

from geo import codes
from geo.errors import BadQuery
from tests import town

COMMUNITY = "990101001001"


@pytest.fixture
def board(connection: sa.Connection) -> sa.Connection:
    """Nine grids without a code, three by three, laid out in a random order; their names are their places on the map."""
    connection.exec_driver_sql("DELETE FROM areas")
    town.area(connection, "community", COMMUNITY, "澜溪社区", 0, 0, 3, 3)
    places = [(row, column) for row in range(3) for column in range(3)]
    random.Random(7).shuffle(places)
    for row, column in places:
        # Corners are not quite in line, as in life.
        askew = 0.04 * ((row + 2 * column) % 3)
        town.area(connection, "grid", None, f"{row}{column}", column, 2 - row + askew, column + 0.9, 2.9 - row + askew)
    return connection


def proposals(connection: sa.Connection) -> dict[str, str | None]:
    return {p.name: p.code for p in codes.proposed(connection, "grid", COMMUNITY)}


def test_numbers_run_as_a_map_is_read(board: sa.Connection) -> None:
    wanted = {f"{n // 3}{n % 3}": f"{COMMUNITY}{n + 1:03d}" for n in range(9)}
    assert proposals(board) == wanted
    assert board.scalar(sa.text("SELECT count(*) FROM areas WHERE level = 'grid' AND code IS NOT NULL")) == 0


def test_no_number_is_given_twice(board: sa.Connection) -> None:
    board.exec_driver_sql(f"UPDATE areas SET code = '{COMMUNITY}004' WHERE name = '11'")
    board.exec_driver_sql(f"UPDATE areas SET code = '{COMMUNITY}006' WHERE name = '22'")
    board.exec_driver_sql(f"UPDATE areas SET code = '{COMMUNITY}012' WHERE name = '22'")  # 006 was given, and is no more
    board.exec_driver_sql("UPDATE areas SET retired_at = now() WHERE name = '22'")
    assert sorted(map(str, proposals(board).values())) == [f"{COMMUNITY}{n:03d}" for n in range(13, 20)]


def test_used_up_numbers_are_filled_from_below(board: sa.Connection) -> None:
    board.exec_driver_sql(f"UPDATE areas SET code = '{COMMUNITY}999' WHERE name = '00'")
    board.exec_driver_sql(f"UPDATE areas SET code = '{COMMUNITY}002' WHERE name = '01'")
    assert proposals(board)["02"] == f"{COMMUNITY}001"
    assert proposals(board)["10"] == f"{COMMUNITY}003"


def test_the_scheme_is_data(board: sa.Connection) -> None:
    board.exec_driver_sql("UPDATE instance SET code_scheme = 'GB/T 30428.1'")
    assert proposals(board)["00"] == f"{COMMUNITY}01"
    board.exec_driver_sql("UPDATE instance SET code_scheme = 'CJ/T 349'")
    assert set(proposals(board).values()) == {None}  # its codes do not begin with that of the community


def test_a_street_goes_on_from_the_instance(connection: sa.Connection) -> None:
    connection.exec_driver_sql("DELETE FROM areas")
    connection.exec_driver_sql("UPDATE instance SET prefix = '990101'")
    town.area(connection, "street", None, "云汀街道", 0, 0, 1, 1)
    town.area(connection, "community", None, "澜溪社区", 0, 0, 1, 1)
    assert [p.code for p in codes.proposed(connection, "street")] == ["990101001"]
    assert [p.code for p in codes.proposed(connection, "community")] == [None]
    connection.exec_driver_sql("UPDATE areas SET code = '990101001000' WHERE level = 'street'")
    assert [p.code for p in codes.proposed(connection, "community")] == ["990101001001"]


def test_schemes_are_kept_as_the_file_says(connection: sa.Connection) -> None:
    names = set(connection.scalars(sa.text("SELECT name FROM code_schemes")))
    assert "6-3-3-3" in names
    connection.exec_driver_sql("INSERT INTO code_schemes (name, patterns) VALUES ('old', '{}'), ('ours', '{}')")
    connection.exec_driver_sql("UPDATE instance SET code_scheme = 'ours'")
    codes.load(connection)
    assert set(connection.scalars(sa.text("SELECT name FROM code_schemes"))) == names | {"ours"}


def test_an_unknown_level_is_refused(connection: sa.Connection) -> None:
    with pytest.raises(BadQuery):
        codes.proposed(connection, "planet")
