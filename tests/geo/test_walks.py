"""Random people do random things with cases: whatever they do, nothing closes that was not handled and checked, nothing is
lost, and where a case stands is where its log ends."""

import random
import threading
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import accounts, db, incidents
from geo.catalog.roles import ROLES as HELD
from geo.catalog.workflow import ACTIONS, MOVES
from geo.cluster import Address
from geo.db import Caller
from geo.errors import Conflict, Forbidden, GeoError, Invalid, NotFound
from geo.incidents import Given, Step
from tests import town

ROLES = ("acceptor", "dispatcher", "checker", "grid_worker", "grid_leader", "community_leader", "street")
STAYS = {move.action for move in MOVES if move.target is None}
ONWARD = ("accepted", "filed", "dispatched", "handling", "handled", "checked", "closed", "feedback")
BODIES = ("department.1", "department.2")
AREAS = {"community_leader": town.A[:12], "street": town.PREFIX}


def team(connection: sa.Connection) -> dict[str, Caller]:
    """Two of each role of the town, and one who has no business in it."""
    told = {
        f"{role}.{n}": town.caller(connection, f"{role.replace('_', '.')}.{n}", role, AREAS.get(role, town.A)) for role in ROLES for n in (1, 2)
    }
    for name in BODIES:
        appointment = town.post(connection, name, "department", town.PREFIX, categories=["none"])
        accounts.embody(connection, appointment, town.add(connection, "organisations", kind="department", name=name))
        account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": appointment})
        held = HELD["department"]
        told[name] = Caller(
            name, "jingwei_organisation", (town.PREFIX,), held.audience, f"department@{town.PREFIX}", account, appointment, (), frozenset(held.may))
    return told | {"stranger": town.caller(connection, "stranger", "acceptor", town.C)}


class Model:
    """What must be true of a case, said again without the tables of the machine."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []  # action, actor
        self.grades: list[str] = []

    def closed_rightly(self) -> bool:
        """Whether what led to the closing is: handled, then checked by another and closed; or asked to be forced, and forced by
        another. Counted from when the case was last given to somebody."""
        begun = max((n for n, (action, _) in enumerate(self.steps) if action in ("dispatch", "rule", "reopen", "object")), default=-1)
        since = self.steps[begun + 1 :]
        if self.steps[-1][0] == "force":
            # A case that nobody was given yet may be given up as well.
            asked = [actor for action, actor in since if action == "ask_force"]
            return bool(asked) and asked[-1] != self.steps[-1][1]
        order = [action for action, _ in since if action in ("handle", "pass", "fail", "close")]
        by = dict(since)
        return begun >= 0 and order[-3:] == ["handle", "pass", "close"] and by["handle"] != by["pass"]


def tried(connection: sa.Connection, web: Any, who: Caller, step: Step) -> str | GeoError:
    """The state that a step leads to, or why it does not."""
    try:
        with db.transaction(web, who) as asking:
            return incidents.move(asking, step).state
    except GeoError as refused:
        return refused


def a_step(rng: random.Random, case: UUID, others: list[UUID], bodies: list[UUID]) -> Step:
    """Something that somebody might do, sensible or not."""
    given_ = Given(
        opinion=rng.choice(["", *["情况属实,按清单办理"] * 7]), lead_area=rng.choice([None, town.A, town.A, town.A, town.A[:12], "000000000"]),
        into=rng.choice([None, *others]), grade=rng.choice([None, "larger", "major", *["general"] * 5]), rating=rng.choice([None, 4]), bodies=tuple(rng.sample(bodies, rng.randint(0, len(bodies)))),
        place=rng.choice([None, *[(town.at(0.5, 0.5)[0], town.at(0.5, 0.5)[1])] * 3, (town.at(0.9, 0.5)[0], town.at(0.9, 0.5)[1])]),
    )
    return Step(case, rng.choice(sorted(ACTIONS)), given_)


@pytest.fixture
def people(connection: sa.Connection) -> dict[str, Caller]:
    return team(connection)


def walked(connection: sa.Connection, web: Any, people: dict[str, Caller], seed: int, cases: int, steps: int) -> Counter[str]:
    """Random walks; how often which state was reached."""
    rng = random.Random(seed)
    ids = [town.add(connection, "incidents") for _ in range(cases)]
    models = {id: Model() for id in ids}
    reached = Counter[str]()
    bodies = list(connection.scalars(sa.text("SELECT id FROM organisations WHERE name = ANY (:names)"), {"names": list(BODIES)}))
    for _ in range(steps):
        id = rng.choice(ids)
        name, who = rng.choice(sorted(people.items()))
        step = a_step(rng, id, ids, bodies)
        if rng.random() < 0.8:
            # Mostly what one is offered, or hardly anything would ever be closed.
            with db.transaction(web, who, read_only=True) as asking:
                offered = incidents.moves(asking, id)
            if name == "stranger":
                assert offered == []
            # And of that what leads on, more often than what ends it.
            onward = [move["action"] for move in offered if move["target"] in ONWARD and move["action"] not in STAYS] if rng.random() < 0.8 else []
            # A part more, or a grade, holds the whole up: now and then.
            if chosen := onward or [move["action"] for move in offered if move["action"] not in ("split", "assist", "grade") or rng.random() < 0.03]:
                step = Step(id, rng.choice(chosen), step.given)
        result = tried(connection, web, who, step)
        if isinstance(result, GeoError):
            assert isinstance(result, Conflict | Forbidden | Invalid | NotFound), result
            assert name != "stranger" or isinstance(result, NotFound)
            continue
        assert name != "stranger"
        models[id].steps.append((step.action, who.actor))
        models[id].grades += [step.given.grade or ""] if step.action == "grade" else []
        reached[result] += 1
        if result == "closed" and step.action in ("close", "force"):
            assert models[id].closed_rightly(), models[id].steps
    kept = connection.execute(
        sa.text(
            "SELECT i.id, i.state, i.steps, i.closed_at, i.returns, array_agg(l.source ORDER BY l.number) AS sources, array_agg(l.target ORDER BY l.number) AS targets,"
            " array_agg(l.action ORDER BY l.number) AS actions FROM incidents AS i JOIN incident_log AS l ON l.incident = i.id WHERE i.id = ANY (:ids) GROUP BY i.id"
        ),
        {"ids": ids},
    ).all()
    assert {row.id for row in kept} == set(ids)
    for row in kept:
        assert row.sources == ["", *row.targets[:-1]] and (row.state, row.steps) == (row.targets[-1], len(row.targets))
        assert row.actions[1:] == [action for action, _ in models[row.id].steps]
        assert row.returns == row.actions.count("return") + row.actions.count("dispute")
        assert (row.closed_at is not None) == (row.state in ("closed", "feedback", "rejected", "cancelled", "merged"))
        graded(row.actions, models[row.id].grades)
        whistled(row.actions, row.targets)
    parts = "SELECT count(*) FROM incidents AS p JOIN incident_log AS l ON l.incident = p.parent AND l.facts ->> 'part' = p.id::text WHERE p.parent = ANY (:ids)"
    split = sum(row.actions.count("split") + row.actions.count("assist") for row in kept)
    assert connection.scalar(sa.text(parts), {"ids": ids}) == split, "each part is on the log of the whole"
    return reached


def graded(actions: list[str], grades: list[str]) -> None:
    """What is larger was given out, and what is major settled, only after its grade's own step; as each was graded then."""
    grade, given = "general", iter(grades)
    for at, action in enumerate(actions):
        grade = next(given) if action == "grade" else grade
        assert (grade, action) not in {("larger", "dispatch"), ("larger", "handle")} or "convene" in actions[:at]
        assert (grade, action) != ("major", "handle") or "report_up" in actions[:at]


def whistled(actions: list[str], targets: list[str]) -> None:
    """Nobody reports in who was not called, and nobody leaves before they may."""
    standing = present = False
    for action, source, target in zip(actions, ["", *targets], targets, strict=False):
        assert action not in ("respond", "report_in", "release") or standing, actions
        assert action != "leave" or (present and not standing), actions
        present |= action == "report_in"
        standing = (standing or action == "whistle") and action != "release" and (
            source == target or target not in ("handled", "closed", "rejected", "cancelled", "merged"))


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_whatever_is_done(connection: sa.Connection, web: Any, people: dict[str, Caller], seed: int) -> None:
    walked(connection, web, people, seed, cases=2, steps=25)


def test_the_walks_go_everywhere(connection: sa.Connection, web: Any, people: dict[str, Caller]) -> None:
    reached = walked(connection, web, people, 7, cases=8, steps=500)
    assert {"filed", "dispatched", "handling", "handled", "checked", "closed", "feedback"} <= set(reached)


@pytest.mark.long
def test_thousands_of_cases(connection: sa.Connection, web: Any, people: dict[str, Caller]) -> None:
    for seed in range(60):
        walked(connection, web, people, seed, cases=50, steps=3000)


def test_of_four_who_move_at_once_one_does(live: Address, live_engine: sa.Engine) -> None:
    live_web = db.engine(live.url("jingwei_web"), pool=4)
    with live_engine.begin() as connection:
        case = town.add(connection, "incidents", state="handled")
        movers = [town.caller(connection, f"mover.{n}", "checker", town.A) for n in range(4)]
    results: list[object] = []
    ready = threading.Barrier(4)

    def moving(who: Caller) -> None:
        ready.wait()
        try:
            with db.transaction(live_web, who) as asking:
                results.append(incidents.move(asking, Step(case, "pass", Given("合格"), seen=1)))
        except GeoError as refused:
            results.append(refused)

    threads = [threading.Thread(target=moving, args=(who,)) for who in movers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "Conflict", "Conflict", "Stand"]
    live_web.dispose()
    with live_engine.connect() as connection:
        told = connection.execute(sa.text("SELECT count(*) FROM incident_log WHERE incident = :id"), {"id": case}).scalar_one()
    assert told == 2
