"""Clocks of 225,000 running cases: reckoning what is due, sweeping them, and a holiday that moves them all.

Runs on a cluster of its own below JINGWEI_HOME, which it makes, and stops when it is done.
"""

from functools import partial

import sqlalchemy as sa

from api.settings import settings
from bench.placing import peak, timed
from bench.trail import database
from geo.cluster import Cluster

NAME = "bench_clocks"
CASES = (
    "INSERT INTO incidents (scope, title, channel, state, precision, placing_reason, steps) SELECT '990101001001001', 'x', 'patrol', 'handling',"
    " 'region', 'imprecise', 1 FROM generate_series(1, :cases)"
)
LOGGED = (
    "INSERT INTO incident_log (incident, number, action, source, target, role, reasoned, at, actor, scope)"
    " SELECT id, 1, 'load', '', 'handling', 'system', false, '2026-09-01', 'bench', scope FROM incidents"
)
CLOCKS = """
    INSERT INTO incident_clocks (incident, number, state, clock, kind, amount, started_at, resumed_at, due_at, alarm_at)
    SELECT id, 1, 'handling', 'handle', 'work_day', 7, since, since, due_after('work_day', 7, since), due_after('work_day', 5.6, since)
    FROM (SELECT id, timestamptz '2026-09-01' + random() * interval '60 days' AS since FROM incidents) AS begun
"""


def run(cases: int = 225_000) -> None:
    """Measure functions, sweeps and a change of the calendar over so many running clocks."""
    cluster = Cluster(settings().home / "bench", print, {"max_wal_size": "4GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address, NAME) as admin:
            measured(admin, cases)
    finally:
        cluster.stop()
    print(f"memory: {peak():.0f} MB at most")


def measured(admin: sa.Engine, cases: int) -> None:
    """The numbers of docs/decisions/0047."""
    ask = partial(told, admin)
    with admin.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in (CASES, LOGGED, CLOCKS):
            connection.execute(sa.text(statement), {"cases": cases} if statement is CASES else {})
    with admin.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    for kind in ("work_hour", "urgent_hour"):
        ask(f"due_after of all, {kind}", f"SELECT count(due_after('{kind}', 8, started_at)) FROM incident_clocks")
        ask(f"time_spent of all, {kind}", f"SELECT count(time_spent('{kind}', started_at, '2026-11-25')) FROM incident_clocks")
    ask("how late each is", "SELECT count(*) FILTER (WHERE clock_late(c, '2026-10-10')) FROM incident_clocks AS c")
    ask("sixty years laid out, and all reckoned anew", "SELECT calendar_laid()")
    swept = "SELECT told, resumed FROM incidents_swept('{}', {})"
    ask("a pass, nothing to tell", swept.format("2026-08-01", 200))
    for day in (9, 9, 10, 10):
        ask(f"a pass on {day} September, at most 200 clocks", swept.format(f"2026-09-{day:02} 16:00+08", 200))
    ask("a pass on 11 September, at most 1,000 clocks", swept.format("2026-09-11 16:00+08", 1000))


def told(admin: sa.Engine, title: str, statement: str, **values: object) -> None:
    """Run a statement once, committed, and print how long it took and what it counted."""
    with admin.begin() as connection:
        done, seconds = timed(partial(connection.execute, sa.text(statement), values))
        counted = " ".join(map(str, done.one())) if done.returns_rows else done.rowcount
    print(f"{title:45} {seconds * 1000:9.1f} ms  {counted}", flush=True)
