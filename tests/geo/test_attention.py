"""How much attention an area asks for, by which facts, and to whom it is told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from geo import attention, db
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.grading import FACTORS, GRADED, GRADES, steps
from tests import town
from tests.conftest import Within

NOW = datetime.now(UTC)
Asked = Callable[..., Any]
AWAY = ("own", "partner", "organisation")


@pytest.fixture
def asked(web: Within) -> Asked:
    """Asks as somebody of the town, `street` unless told otherwise."""
    def ask(verb: Callable[..., Any], *given: object, role: str = "street", area: str = town.PREFIX) -> Any:
        held = ROLES[role]
        areas = (area,) if held.scoped else ()
        categories = ("sample",) if held.right == "organisation" else ()
        who = Caller("tester", f"jingwei_{held.right}", areas, held.audience, f"{role}@{area}", None, None, categories)
        with db.transaction(web, who, True) as bound:  # type: ignore[arg-type]
            return verb(bound, *given)

    return ask


def case(connection: sa.Connection, **values: object) -> None:
    """A case of grid A as it stands."""
    columns = {"title": "x", "channel": "public", "scope": town.A, "precision": "exact", "state": "handling", "reported_at": NOW - timedelta(days=2), **values}
    names = ", ".join(columns)
    id = connection.scalar(sa.text(f"INSERT INTO incidents ({names}) VALUES ({', '.join(f':{name}' for name in columns)}) RETURNING id"), columns)
    connection.execute(sa.text("UPDATE incidents SET steps = NULL, scope = :scope WHERE id = :id"), {"scope": columns["scope"], "id": id})
    connection.execute(sa.text("DELETE FROM incident_log WHERE incident = :id"), {"id": id})


def manned(connection: sa.Connection, *grids: str) -> None:
    for grid in grids:
        town.add(connection, "posts", role="grid_worker", area=grid, holder="甲")


def factors(grade: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {reason["factor"]: (reason["value"], reason["grade"]) for reason in grade["reasons"]}


def test_a_grade_is_the_highest_that_one_fact_reaches(connection: sa.Connection, asked: Asked) -> None:
    for _ in range(3):
        case(connection, due_at=NOW - timedelta(hours=1), channel="patrol", reported_at=NOW - timedelta(hours=5))
    case(connection, due_at=NOW + timedelta(days=1), urgent=True)
    grade = asked(attention.of_area, "grid", town.A)
    assert (grade["grade"], grade["title"]) == (3, "较大")
    assert factors(grade) == {"late": (3, 3), "pressing": (1, 2)}
    # What was late and is closed, what is an exercise, and what nobody knows the grid of, counts nowhere.
    for more in ({"state": "feedback"}, {"exercise": True}, {"precision": "region"}, {"state": "rejected"}):
        case(connection, due_at=NOW - timedelta(hours=1), **more)
    assert asked(attention.of_area, "grid", town.A) == grade
    # Every reason carries the threshold that it reached.
    assert [reason["at_least"] for reason in grade["reasons"]] == [3, 1]


def test_the_thresholds_are_those_that_are_declared(connection: sa.Connection) -> None:
    kept = connection.execute(sa.text("SELECT factor, level, grade, at_least, version FROM attention_steps")).mappings()
    key = lambda row: (row["factor"], row["level"], row["grade"])  # noqa: E731
    assert sorted(map(dict, kept), key=key) == sorted(steps(), key=key)
    for factor in FACTORS.values():
        for level in GRADED:
            known = [at for at in getattr(factor, level) if at is not None]
            assert known == sorted(set(known)), (factor.code, level)
    assert len(GRADES) == 5


def test_only_who_answers_for_a_place_is_told(connection: sa.Connection, asked: Asked) -> None:
    case(connection, due_at=NOW - timedelta(hours=1))
    everybody = [role.code for role in ROLES.values() if role.right in AWAY or role.administrator]
    assert len(everybody) >= 6
    for role in everybody:
        assert asked(attention.grades, "grid", role=role) == {}
        assert asked(attention.of_area, "grid", town.A, role=role) is None
        assert asked(attention.priorities, role=role) == [] and asked(attention.apart, role=role) == []
        assert {row["grade"] for row in asked(attention.standing, "grid", role=role)} <= {None}
    # A worker of another grid is told of that grid alone, and sums of a whole of which they hold a part are not for them.
    assert set(asked(attention.grades, "grid", role="grid_worker", area=town.B)) <= {town.B}
    assert asked(attention.of_area, "grid", town.A, role="grid_worker", area=town.B) is None
    assert asked(attention.grades, "community", role="grid_worker", area=town.A) == {}
    assert asked(attention.of_area, "grid", town.A, role="grid_worker", area=town.A)["grade"] == 1


def test_no_fact_is_of_persons(connection: sa.Connection) -> None:
    ours = ("scopes_held", "grids_quiet", "homes_unowned", "homes_apart", "attention_facts", "attention_told", "priorities_told")
    written = connection.scalar(sa.text("SELECT string_agg(prosrc, ' ') FROM pg_proc WHERE proname = ANY (:ours)"), {"ours": list(ours)})
    for word in ("residents", "non_local", "residence_type", "rental", "rented", "dwellings", "age_band", "smartphone", "health", "'use'"):
        assert word not in written, word


def test_homes_that_nobody_answers_for(connection: sa.Connection, asked: Asked) -> None:
    manned(connection, town.A, town.B, town.C)
    for x, homes in ((0.5, 10), (1.5, 20), (3.5, 7), (3.9, 63)):  # A, B, D without anybody, and the east that is in no grid
        town.add(connection, "buildings", town.box(x - 0.05, 0.4, x + 0.05, 0.6), households=homes)
    assert asked(attention.of_area, "grid", town.A) == {"grade": 1, "title": "低", "reasons": asked(attention.of_area, "grid", town.A)["reasons"]}
    assert "unowned" not in factors(asked(attention.of_area, "grid", town.A))
    assert factors(asked(attention.of_area, "grid", town.D))["unowned"] == (7, 1)
    assert factors(asked(attention.of_area, "community", town.D[:12]))["unowned"] == (70, 2)
    assert factors(asked(attention.of_area, "street", town.PREFIX))["unowned"] == (70, 2)
    [apart] = asked(attention.apart)
    assert (apart["path"], apart["households"]) == (town.D[:12], 63)
    assert (apart["longitude"], apart["latitude"]) == pytest.approx(town.at(3.9, 0.5), abs=1e-6)
    [row] = [row for row in asked(attention.priorities) if row["concern"] == "unowned"]
    assert row["number"] == 70
    # Folding the sums changes none of it.
    connection.execute(sa.text("SELECT tallies_folded()"))
    assert factors(asked(attention.of_area, "street", town.PREFIX))["unowned"] == (70, 2)


def test_one_of_each_kind_comes_before_a_second_of_any(connection: sa.Connection, asked: Asked) -> None:
    manned(connection, town.A, town.B, town.C, town.D)
    for hours in range(1, 8):
        case(connection, title=f"late-{hours}", due_at=NOW - timedelta(hours=hours))
    case(connection, title="major", due_at=NOW - timedelta(minutes=5), grade="major")
    case(connection, title="waits", state="reported", reported_at=NOW - timedelta(hours=3))
    found = asked(attention.priorities)
    # What waits is late too by its clock, and is one matter.
    assert [row["concern"] for row in found] == ["late", "waiting", "silent", "late", "late"]
    assert [row["title"] for row in found if row["concern"] == "late"] == ["major", "late-7", "late-6"]
    assert found[0]["number"] == 9 and all(row["rule"] and row["word"] for row in found)


def test_a_grid_that_was_heard_of_is_not_silent(connection: sa.Connection, asked: Asked) -> None:
    assert asked(attention.quiet) == (4, 4)
    case(connection, channel="patrol", reported_at=NOW - timedelta(hours=3))
    case(connection, channel="public", scope=town.B, reported_at=NOW - timedelta(hours=3))
    case(connection, channel="patrol", scope=town.C, reported_at=NOW - timedelta(hours=30))
    assert asked(attention.quiet) == (3, 4)


def test_what_is_too_far(connection: sa.Connection, asked: Asked) -> None:
    [lon, lat] = town.at(0.5, 1.0)
    town.add(connection, "facilities", {"type": "Point", "coordinates": [lon, lat + 0.002]}, kind="clinic", status="open", name="近")
    found = {row["service"]: row["metres"] for row in asked(attention.far, "grid", town.A)}
    # 222 m to a clinic is near; of the others there is none.
    assert found == {"shelter": None, "market": None, "daily": None}
    connection.execute(sa.text("UPDATE facilities SET geom = ST_Translate(geom, 0, 0.02)"))
    told = asked(attention.far, "grid", town.A)
    [medical] = [row for row in told if row["service"] == "medical"]
    assert medical["metres"] == pytest.approx(2440, abs=30) and medical["at_most"] == 1000
