"""The leak matrix: every route, every kind of caller, every kind of row, on every kind of connection; held against the model."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from api.deps import Engines
from geo import db
from geo.db import Caller
from geo.resource import Audience
from tests.access.actors import cast
from tests.access.conftest import World
from tests.access.operations import Operation, operations, routes
from tests.access.regimes import Matrix, Pair, Tally, chosen, connected, harmless, on
from tests.access.rows import ONE

PARALLEL = " ".join(
    f"-c{name}={value}" for name, value in {
        "max_parallel_workers_per_gather": 4, "parallel_setup_cost": 0, "parallel_tuple_cost": 0, "min_parallel_table_scan_size": 0,
        "min_parallel_index_scan_size": 0,
    }.items()
)  # fmt: skip


@pytest.fixture(scope="module")
def asked(matrix: Matrix) -> list[Operation]:
    """All there is to ask."""
    return operations(matrix.app, matrix.oracle)


@pytest.fixture(scope="module")
def pairs(asked: list[Operation]) -> list[Pair]:
    """Every actor with every request that leaves the town as it is."""
    return [(actor, operation) for actor, operation in product(cast(), asked) if harmless(actor, operation)]


def fresh(world: World) -> Engines:
    """A connection of its own for every request."""
    return Engines(connected(world.address, poolclass=sa.NullPool), *(db.engine(world.address.url(name)) for name in ("jingwei_door", "jingwei_trail")))


def dirty(world: World) -> Engines:
    """One connection for all, each request on what the last one left, which was another caller's or an error."""
    return Engines(*(db.engine(world.address.url(name), pool=1) for name in ("jingwei_web", "jingwei_door", "jingwei_trail")))


def parallel(world: World) -> Engines:
    """Plans that are shared out among workers, wherever that can be: settings have to reach them."""
    options = f"-csearch_path={db.SEARCH_PATH} -ctimezone={db.TIME_ZONE} {PARALLEL}"
    web = connected(world.address, connect_args={"options": options, "prepare_threshold": None})
    return Engines(web, *(db.engine(world.address.url(name)) for name in ("jingwei_door", "jingwei_trail")))


def held(tally: Tally, of: str) -> None:
    """Nothing was wrong, and here is how much was asked."""
    told = f"{of}: {tally.checked:,} answers, {len(tally.by_route)} routes, {len(tally.by_actor)} actors, {dict(sorted(tally.by_status.items()))}"
    print(f"\n{told}")
    assert not tally.wrong, f"{told}\n{len(tally.wrong)} wrong\n" + "\n".join(sorted(tally.wrong)[:200])


# engines, and so many requests at once
REGIMES: dict[str, tuple[Callable[[World], Engines], int]] = {"dirty": (dirty, 1), "fresh": (fresh, 4), "parallel": (parallel, 4)}
FEW = {"dirty": 1_500, "fresh": 400, "parallel": 400}
MANY = 30_000


def test_nobody_is_told_what_is_anothers(matrix: Matrix, pairs: list[Pair]) -> None:
    tally = matrix.run(chosen(pairs, 4_500), at_once=4)
    held(tally, "pooled")
    assert {operation.route for _, operation in pairs} == set(tally.by_route)


@pytest.mark.parametrize("regime", REGIMES)
def test_nor_on_other_connections(world: World, matrix: Matrix, pairs: list[Pair], regime: str) -> None:
    engines, at_once = REGIMES[regime]
    with on(matrix, engines(world)):
        held(matrix.run(chosen(pairs, FEW[regime], seed=1), at_once), regime)


@pytest.mark.long
@pytest.mark.parametrize("regime", REGIMES)
def test_nor_in_ninety_thousand_answers(world: World, matrix: Matrix, pairs: list[Pair], regime: str) -> None:
    engines, at_once = REGIMES[regime]
    with on(matrix, engines(world)):
        held(matrix.run(chosen(pairs, MANY, seed=list(REGIMES).index(regime)), at_once), regime)


def test_plans_are_shared_out(world: World) -> None:
    # Otherwise the third regime would be the first once more.
    engines = parallel(world)
    with db.transaction(engines.web, Caller("", "jingwei_area", (ONE,), Audience.WORKER), read_only=True) as connection:
        plan = "\n".join(connection.scalars(sa.text("EXPLAIN (COSTS OFF) SELECT count(*) FROM buildings")))
    assert "Gather" in plan, plan
    for engine in (engines.web, engines.door, engines.trail):
        engine.dispose()


@pytest.mark.parametrize("most", [1_300, pytest.param(15_000, marks=pytest.mark.long)])
def test_a_write_is_for_those_who_answer(matrix: Matrix, asked: list[Operation], undone: Callable[[], Any], most: int) -> None:
    pairs = [(actor, operation) for actor, operation in product(cast(), asked) if not harmless(actor, operation)]
    held(matrix.run(chosen(pairs, most), around=undone), f"undone, of {len(pairs):,}")


def test_every_route_is_asked(matrix: Matrix, asked: list[Operation]) -> None:
    assert {route.name for route in routes(matrix.app)} == {operation.route for operation in asked}
