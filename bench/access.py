"""Access: what it costs that the database asks who is looking, beside the same statement told the same bounds by hand.

Runs on a cluster of its own below JINGWEI_HOME. The statement beside it is run by a superuser, whom no policy binds, with the
scope written into it: what somebody would write who trusted the application to remember.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from api.settings import settings
from bench.loading import database
from geo import db, query, relay
from geo.catalog import RESOURCES
from geo.cluster import Cluster
from geo.db import Caller
from geo.query import Filter
from geo.resource import Audience
from geo.tables import TABLES

INCIDENTS = RESOURCES["incidents"]
T = TABLES["incidents"]
STREETS, COMMUNITIES, GRIDS = 10, 10, 100
DISTRICT = "990101"
RUNS = 31


@dataclass(frozen=True)
class Case:
    """One question, as its rows are asked for; `within` tells who asks it."""

    name: str
    ask: Callable[[tuple[str, ...]], sa.Select[tuple[object, ...]]]


def run(rows: int = 1_000_000) -> None:
    """Measure every question by every width of scope and print the ratios."""
    cluster = Cluster(settings().home / "bench", print, {"max_wal_size": "8GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address) as (admin, loader):
            filled(admin, loader, rows)
            web = db.engine(admin.url.set(username="jingwei_web", password=address.passwords["jingwei_web"]), pool=1)
            while relay.fold(web):
                pass
            print(f"{rows:,} incidents in {STREETS * COMMUNITIES * GRIDS:,} grids; median of {RUNS} runs in turns")
            measure(admin, web)
            web.dispose()
    finally:
        cluster.stop()


def measure(admin: sa.Engine, web: sa.Engine) -> None:
    """Questions × scopes, each by policy and by hand."""
    worst: dict[str, float] = {}
    for title, role, scope in scopes():
        caller = Caller("bench", role, scope, Audience.LEADER if role == "jingwei_leader" else Audience.WORKER)
        for case in cases(admin, scope):
            statement = case.ask(())
            told = case.ask(scope)
            with bound(web, caller) as asked, equal(admin) as plain:
                here, there = beside(lambda s=statement, c=asked: c.execute(s).all(), lambda s=told, c=plain: c.execute(s).all())
            ratio = here / there
            worst[case.name] = max(worst.get(case.name, 0), ratio)
            print(f"{title:22} {case.name:22} {here * 1e3:8.2f} ms by policy, {there * 1e3:8.2f} ms by hand = {ratio:.2f}×")
    print("access: " + ", ".join(f"{name} {ratio:.2f}×" for name, ratio in worst.items()) + " at most")
    with bound(web, Caller("bench", "jingwei_leader", (DISTRICT,), Audience.LEADER)) as asked, equal(admin) as plain:
        told = sa.text("SELECT * FROM area_counts_told(:path)")
        counted = sa.text(
            "SELECT count(*), count(*) FILTER (WHERE state <> 'closed') FROM incidents WHERE scope >= :path AND scope < :path || '~'"
        )
        for title, path in (("street", {"path": DISTRICT + "001"}), ("district", {"path": DISTRICT})):
            here, there = beside(lambda p=path: asked.execute(told, p).all(), lambda p=path: plain.execute(counted, p).all())
            print(f"sums of a {title}: {here * 1e3:.2f} ms from what is kept, {there * 1e3:.2f} ms by counting = {here / there:.3f}×")
    binding = timed(lambda: entered(web))
    print(f"binding a caller to a transaction: {binding * 1e3:.2f} ms")


def scopes() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Who asks: of one grid up to the district, and of several areas far apart."""
    yield "a grid", "jingwei_area", (DISTRICT + "001001001",)
    yield "a community", "jingwei_leader", (DISTRICT + "001001",)
    yield "a street", "jingwei_leader", (DISTRICT + "001",)
    yield "the district", "jingwei_leader", (DISTRICT,)
    yield "three grids", "jingwei_area", tuple(DISTRICT + code for code in ("001001001", "001002003", "003001002"))


def cases(admin: sa.Engine, scope: tuple[str, ...]) -> Iterator[Case]:
    """The questions of a day: a window of the map, one record, a page, the page after a thousand, a sum."""
    # The first area's own ground, as the map of its holder shows it: about 400 incidents where the scope holds so many.
    west, south = place(scope[0])
    box = (west, south, west + 0.02, south + 0.02)

    def rows(want: Filter, *more: sa.ColumnElement[bool]) -> Callable[[tuple[str, ...]], sa.Select[tuple[object, ...]]]:
        return lambda by_hand: query.matching(INCIDENTS, want, Audience.WORKER).where(*more, *within(by_hand)).limit(want.limit)

    yield Case("window", rows(Filter(bbox=box, limit=1_000)))
    with admin.connect() as connection:
        one = connection.scalar(sa.select(T.c.id).where(*within(scope[:1])).limit(1))
    yield Case("key", rows(Filter(), T.c.id == one))
    yield Case("page", rows(Filter(limit=100)))
    yield Case("filtered page", rows(Filter(equals={"state": "handling"}, limit=100)))
    if scope != (DISTRICT,):
        yield Case("sum", lambda by_hand: sa.select(sa.func.count()).select_from(T).where(T.c.retired_at.is_(None), *within(by_hand)))


def within(scope: tuple[str, ...]) -> list[sa.ColumnElement[bool]]:
    """The bounds of a scope as a careful author writes them."""
    return [sa.or_(*[sa.and_(T.c.scope >= path, T.c.scope < path + "~") for path in scope])] if scope else []


def place(path: str) -> tuple[float, float]:
    """The south-west corner of the ground of a path: streets side by side, communities and grids in rows inside them."""
    parts = [int(path[n : n + 3] or 1) - 1 for n in (6, 9, 12)]
    return 114 + parts[0] * 0.2 + (parts[2] % 10) * 0.02, 30 + parts[1] * 0.2 + (parts[2] // 10) * 0.02


def filled(admin: sa.Engine, loader: sa.Engine, rows: int) -> None:
    """The grids' paths, and incidents spread over them; placed as they are made, because placing is measured elsewhere."""
    with admin.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET prefix = :prefix"), {"prefix": DISTRICT})
    statement = sa.text(
        "WITH grid AS (SELECT s, c, g, :district || lpad(s::text, 3, '0') || lpad(c::text, 3, '0') || lpad(g::text, 3, '0') AS path"
        " FROM generate_series(1, :streets) AS s, generate_series(1, :communities) AS c, generate_series(1, :grids) AS g)"
        " INSERT INTO incidents (title, number, channel, state, reported_at, scope, geom, geom_coarse)"
        " SELECT 'x', path || n, 'patrol', (ARRAY['closed', 'closed', 'closed', 'closed', 'handling', 'accepted'])[1 + (n % 6)], now() - n * interval '1 hour',"
        " path, ST_SetSRID(ST_Point(114 + (s - 1) * 0.2 + ((g - 1) % 10) * 0.02 + random() * 0.02,"
        " 30 + (c - 1) * 0.2 + ((g - 1) / 10) * 0.02 + random() * 0.02), 4326),"
        " ST_SetSRID(ST_Point(114 + (s - 1) * 0.2 + ((g - 1) % 10) * 0.02 + 0.01, 30 + (c - 1) * 0.2 + ((g - 1) / 10) * 0.02 + 0.01), 4326)"
        " FROM grid, generate_series(1, :each) AS n"
    )
    with loader.begin() as connection:
        connection.execute(
            statement,
            {"district": DISTRICT, "streets": STREETS, "communities": COMMUNITIES, "grids": GRIDS, "each": rows // (STREETS * COMMUNITIES * GRIDS)},
        )
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE incidents")


@contextmanager
def bound(web: sa.Engine, caller: Caller) -> Iterator[sa.Connection]:
    """A transaction of a caller's, as a request has one."""
    with db.transaction(web, caller, read_only=True) as connection:
        yield connection


@contextmanager
def equal(admin: sa.Engine) -> Iterator[sa.Connection]:
    """The superuser with the planner's settings of the web server."""
    with admin.connect() as connection:
        connection.exec_driver_sql("SET jit = off; SET max_parallel_workers_per_gather = 0; SET random_page_cost = 1.1")
        yield connection


def entered(web: sa.Engine) -> None:
    with bound(web, Caller("bench", "jingwei_area", (DISTRICT,), Audience.WORKER)):
        pass


def beside(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The medians of two, taken in turns so that a busy machine bears on both."""
    first, second = [], []
    for n in range(RUNS + 2):
        for question, kept in ((one, first), (other, second)) if n % 2 else ((other, second), (one, first)):
            began = time.perf_counter()
            question()
            kept.append(time.perf_counter() - began)
    return statistics.median(first[2:]), statistics.median(second[2:])


def timed(question: Callable[[], object]) -> float:
    """The median of one."""
    return beside(question, lambda: None)[0]
