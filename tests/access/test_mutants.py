"""Every policy and every check in a function taken away or widened, one at a time: the probes must notice each."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from geo import db
from geo.catalog import RESOURCES
from tests.access import probes
from tests.access.conftest import World
from tests.access.probes import Desk, Noticed


@dataclass(frozen=True)
class Mutant:
    """The rules with one thing wrong."""

    name: str
    about: str  # the table, or the function
    statement: str


# What changes nothing when it is taken away, and why it stays.
REDUNDANT = {
    # The path of an area is given once and never changes, so no update brings one out of anybody's hands.
    **dict.fromkeys(
        ("areas_area_change checks everything", "areas_area_change_several checks everything", "areas_direct_change checks everything"),
        "the path of an area never changes",
    ),
    # Of what asks it, who has a login of their own may call nothing.
    "caller_appointment: session_user = 'jingwei_web' (0)": "a login of one's own may call no function that asks for an appointment",
    # The public holds no area: whatever asks that has asked for its right before, and this is the second lock.
    "caller_holds: ELSE false END (0)": "whatever asks what is held asks by which right too",
    "export_allowed: e.account = caller_account() (0)": "the appointment that asked is of one account, and the caller's own",
    "export_allowed: caller_may('export') (0)": "only an appointment that has the ability can have asked, and the same appointment takes",
}

SPINE = ("area_shares", "idempotency")
LAYERS = ("layers", "layer_features", "layer_shown", "layer_changed")
POLICIES = """
SELECT policyname AS name, tablename AS "table", permissive = 'PERMISSIVE' AS permissive, qual, with_check
FROM pg_policies WHERE schemaname = 'jingwei' ORDER BY tablename, policyname
"""
FUNCTIONS = """
SELECT oid::regprocedure::text AS signature, proname AS name, pg_get_functiondef(oid) AS definition
FROM pg_proc WHERE pronamespace = 'jingwei'::regnamespace AND prokind = 'f' ORDER BY 1
"""
# What a function asks about its caller, and what it is then told.
CALL = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
CHECKS = {
    re.compile(rf"\b(?:caller_holds|caller_may|in_hand|may_appoint|scopes_hold){CALL}"): "true",
    re.compile(rf"\bcaller_right\(\) IN {CALL}"): "true",
    re.compile(rf"\bcaller_right\(\) NOT IN {CALL}"): "false",
    re.compile(r"\bcaller_right\(\) = '\w+'"): "true",
    re.compile(r"\(caller_appointment\(\)\)\.role = '\w+'"): "true",
    re.compile(r"\b[\w.]+ (?:=|IS NOT DISTINCT FROM|IS DISTINCT FROM) caller_account\(\)"): "true",
    re.compile(rf"\bid IN \(SELECT features_here{CALL}\)"): "true",
    re.compile(r"\bsession_user = '\w+'(?= AND)"): "true",
    re.compile(r"\ba\.account = nullif\(current_setting\('jingwei.account', true\), ''\)::uuid"): "true",
    re.compile(r"\bELSE false END"): "ELSE true END",
}  # fmt: skip


def policies(connection: sa.Connection) -> Iterator[Mutant]:
    """Each policy dropped, and each side of each made to let everything through."""
    for policy in connection.execute(sa.text(POLICIES)):
        yield Mutant(f"{policy.name} dropped", policy.table, f"DROP POLICY {policy.name} ON {policy.table}")
        if policy.qual:
            yield Mutant(f"{policy.name} shows everything", policy.table, f"ALTER POLICY {policy.name} ON {policy.table} USING (true)")
        if policy.with_check:
            yield Mutant(f"{policy.name} checks everything", policy.table, f"ALTER POLICY {policy.name} ON {policy.table} WITH CHECK (true)")
    for table in connection.scalars(sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'jingwei'::regnamespace")):
        yield Mutant(f"no policies on {table}", table, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def checks(connection: sa.Connection) -> Iterator[Mutant]:
    """Each question that a function asks about its caller answered with yes."""
    for function in connection.execute(sa.text(FUNCTIONS)):
        for check, answer in CHECKS.items():
            body = function.definition.index("AS $function$")
            for number, found in enumerate(check.finditer(function.definition, body)):
                changed = function.definition[: found.start()] + answer + function.definition[found.end() :]
                yield Mutant(f"{function.name}: {found[0]} ({number})", function.name, changed)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    """A connection whose transaction is never committed, with all that the probes ask about."""
    engine = db.engine(world.address.url(), pool=1)
    with engine.connect() as connection:
        outer = connection.begin()
        probes.logins(connection)
        probes.opened(connection, world.casting)
        probes.sent(connection, world.casting)
        yield Desk(connection, world.oracle, world.casting, probes.people(few=True))
        outer.rollback()
    engine.dispose()


def noticed(desk: Desk, mutant: Mutant) -> str | None:
    """The first thing that the probes find wrong with a mutant."""
    save = desk.connection.begin_nested()
    desk.one_is_enough = True
    try:
        db.run_script(desk.connection, mutant.statement)
        if mutant.about in RESOURCES:
            probes.nouns(desk, [mutant.about])
        elif mutant.about in SPINE:
            probes.spine(desk)
        elif mutant.about in LAYERS:
            probes.layers(desk)
        else:
            probes.functions(desk, mutant.about)
            probes.nouns(desk, ["zones", "incidents"])
    except Noticed as wrong:
        return str(wrong)
    except sa.exc.DBAPIError as error:
        return f"{type(error.orig).__name__}: {error.orig}"
    finally:
        save.rollback()
    return None


@pytest.mark.long
def test_the_probes_find_nothing_wrong(desk: Desk) -> None:
    probes.nouns(desk)
    probes.spine(desk)
    probes.layers(desk)
    probes.functions(desk)
    print(f"\n{desk.asked:,} probes of {len(desk.people)} actors")
    assert desk.wrong == []


def survivors(desk: Desk, mutants: list[Mutant]) -> list[str]:
    """The mutants that nobody notices."""
    alive = []
    for mutant in mutants:
        by = noticed(desk, mutant)
        print(f"{mutant.name}: {by or 'ALIVE'}"[:300], flush=True)
        if by is None:
            alive.append(mutant.name)
    print(f"\n{len(mutants) - len(alive)} of {len(mutants)} mutants noticed")
    return sorted(set(alive) - set(REDUNDANT))


def some(mutants: list[Mutant], share: float) -> list[Mutant]:
    """A part of the mutants: all of them take minutes."""
    return random.Random(0).sample(mutants, round(len(mutants) * share))


@pytest.mark.parametrize("share", [0.03, pytest.param(1, marks=pytest.mark.long)])
def test_a_policy_that_is_missing_is_noticed(desk: Desk, share: float) -> None:
    alive = survivors(desk, some(list(policies(desk.connection)), share))
    assert not alive, "\n".join(alive)


@pytest.mark.long
def test_a_check_that_is_missing_is_noticed(desk: Desk) -> None:
    alive = survivors(desk, list(checks(desk.connection)))
    assert not alive, "\n".join(alive)
