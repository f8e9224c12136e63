"""The leak matrix: every route, every kind of caller, every kind of row, on every kind of connection; held against the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from api.deps import Engines
from geo import db
from tests.access.actors import cast
from tests.access.conftest import World
from tests.access.operations import Operation, operations, routes
from tests.access.regimes import Matrix, Pair, Tally, chosen, harmless
from tests.conftest import Within

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


@contextmanager
def on(matrix: Matrix, engines: Engines) -> Iterator[Matrix]:
    """The server on other connections."""
    before, matrix.app.state.engines = matrix.app.state.engines, engines
    try:
        yield matrix
    finally:
        matrix.app.state.engines = before
        for engine in (engines.web, engines.door, engines.trail):
            engine.dispose()


def connected(world: World, **options: Any) -> sa.Engine:
    """The engine of the web's login, as the server has it but for `options`."""
    options = {"connect_args": {"options": f"-csearch_path={db.SEARCH_PATH} -ctimezone={db.TIME_ZONE}", "prepare_threshold": None}} | options
    return sa.create_engine(world.address.url("jingwei_web"), **options)


def fresh(world: World) -> Engines:
    """A connection of its own for every request."""
    return Engines(connected(world, poolclass=sa.NullPool), *(db.engine(world.address.url(name)) for name in ("jingwei_door", "jingwei_trail")))


def dirty(world: World) -> Engines:
    """One connection for all, each request on what the last one left, which was another caller's or an error."""
    return Engines(*(db.engine(world.address.url(name), pool=1) for name in ("jingwei_web", "jingwei_door", "jingwei_trail")))


def parallel(world: World) -> Engines:
    """Plans that are shared out among workers, wherever that can be: settings have to reach them."""
    options = f"-csearch_path={db.SEARCH_PATH} -ctimezone={db.TIME_ZONE} {PARALLEL}"
    web = connected(world, connect_args={"options": options, "prepare_threshold": None})
    return Engines(web, *(db.engine(world.address.url(name)) for name in ("jingwei_door", "jingwei_trail")))


def held(tally: Tally, of: str) -> None:
    """Nothing was wrong, and here is how much was asked."""
    told = f"{of}: {tally.checked:,} answers, {len(tally.by_route)} routes, {len(tally.by_actor)} actors, {dict(sorted(tally.by_status.items()))}"
    print(f"\n{told}")
    assert not tally.wrong, f"{told}\n{len(tally.wrong)} wrong\n" + "\n".join(sorted(tally.wrong)[:200])


REGIMES: dict[str, tuple[Callable[[World], Engines], int, int, int]] = {
    # engines, so many at once, so many answers in the short run, in the long one
    "dirty": (dirty, 1, 1_500, 30_000),
    "fresh": (fresh, 4, 500, 30_000),
    "parallel": (parallel, 4, 500, 30_000),
}


def test_nobody_is_told_what_is_anothers(matrix: Matrix, pairs: list[Pair]) -> None:
    tally = matrix.run(chosen(pairs, 4_500), at_once=4)
    held(tally, "pooled")
    assert {operation.route for _, operation in pairs} == set(tally.by_route)


@pytest.mark.parametrize("regime", REGIMES)
def test_nor_on_other_connections(world: World, matrix: Matrix, pairs: list[Pair], regime: str) -> None:
    engines, at_once, few, _ = REGIMES[regime]
    with on(matrix, engines(world)):
        held(matrix.run(chosen(pairs, few), at_once), regime)


@pytest.fixture
def undone(world: World, matrix: Matrix) -> Iterator[Callable[[], Any]]:
    """The server on one transaction that is never committed; each request within a savepoint that is taken back."""
    engine = db.engine(world.address.url(), pool=1)
    with engine.connect() as connection:
        outer = connection.begin()
        within = Engines(*(Within(connection, login) for login in ("jingwei_web", "jingwei_door", "jingwei_trail")))  # type: ignore[arg-type]
        with on(matrix, within):
            @contextmanager
            def around() -> Iterator[None]:
                save = connection.begin_nested()
                yield
                save.rollback()

            yield around
        outer.rollback()
    engine.dispose()


def test_a_write_is_for_those_who_answer(matrix: Matrix, asked: list[Operation], undone: Callable[[], Any]) -> None:
    pairs = [(actor, operation) for actor, operation in product(cast(), asked) if not harmless(actor, operation)]
    held(matrix.run(chosen(pairs, 1_500), around=undone), "undone")


def test_every_route_is_asked(matrix: Matrix, asked: list[Operation]) -> None:
    assert {route.name for route in routes(matrix.app)} == {operation.route for operation in asked}
