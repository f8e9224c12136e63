"""The trail: what a row of it costs a write, and how fast a chain of a million is verified, by both hashes.

Runs on a cluster of its own below JINGWEI_HOME, which it makes, and stops when it is done.
"""

import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import sqlalchemy as sa

from api.settings import settings
from bench.placing import peak, timed
from geo import db, schema, trail
from geo.cluster import Address, Cluster

NAME = "bench_trail"
WRITERS = (1, 8)
WRITES, ROUNDS = 400, 6
APPENDED = sa.text(
    "SELECT count(trail_appended('grid-' || n % 300, 'grid_worker@990101001001001', 'read', 'residents', uuid_v7()::text,"
    " '990101001001001', 'visit', 'done', '10.20.30.40')) FROM generate_series(1, :rows) AS n"
)
BOUND = (
    "SELECT set_config('role', 'jingwei_area', true), set_config('jingwei.actor', 'bench', true),"
    " set_config('jingwei.lo', '', true), set_config('jingwei.hi', '~', true)"
)


def run(rows: int = 1_000_000) -> None:
    """Measure writes with and without their trail, then chains of `rows` rows."""
    cluster = Cluster(settings().home / "bench", print, {"max_wal_size": "4GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address) as admin:
            writes(admin, db.engine(address.url("jingwei_web", NAME), pool=max(WRITERS)))
        for algorithm in ("sha256", "sm3"):
            with database(address) as admin, tempfile.TemporaryDirectory() as folder:
                chain(admin, algorithm, rows, Path(folder))
    finally:
        cluster.stop()
    print(f"memory: {peak():.0f} MB at most")


@contextmanager
def database(address: Address, name: str = NAME) -> Iterator[sa.Engine]:
    """A fresh database, as its administrator."""
    url = address.url(database="postgres").set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(url, autocommit=True) as made:
        made.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        made.execute(f"CREATE DATABASE {name}")
    admin = db.engine(address.url(database=name))
    schema.migrate(admin, address.passwords)
    yield admin
    admin.dispose()


def writes(admin: sa.Engine, web: sa.Engine) -> None:
    """Transactions that change one record each, with the trail and without, turn and turn about."""
    with admin.begin() as connection:
        ids = connection.execute(
            sa.text(
                "INSERT INTO parts (name, geom) SELECT 'p', ST_SetSRID(ST_Point(122.6, 29.8), 4326)"
                " FROM generate_series(1, :count) RETURNING id"
            ),
            {"count": max(WRITERS)},
        ).scalars().all()  # fmt: skip
    for writers in WRITERS:
        took: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
        for _ in range(ROUNDS):
            for state, seconds in took.items():
                with admin.begin() as connection:
                    connection.exec_driver_sql(f"ALTER TABLE changes {state} TRIGGER changes_trailed")
                seconds.append(timed(partial(written, web, ids[:writers]))[1] / (writers * WRITES))
        trailed, plain = (statistics.median(took[state]) for state in ("ENABLE", "DISABLE"))
        print(
            f"{writers} writing at once: {1 / trailed:,.0f} writes/s with the trail, {1 / plain:,.0f} without:"
            f" a write costs {trailed / plain:.2f}×",
            flush=True,
        )
    web.dispose()


def written(web: sa.Engine, ids: list[object]) -> None:
    """Each of as many threads as there are ids changes its own record, `WRITES` times."""

    def work(id: object) -> None:
        for n in range(WRITES):
            with web.begin() as connection:
                connection.exec_driver_sql(BOUND)
                connection.execute(sa.text("UPDATE parts SET name = :name WHERE id = :id"), {"name": str(n), "id": id})

    threads = [threading.Thread(target=work, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def chain(admin: sa.Engine, algorithm: str, rows: int, folder: Path) -> None:
    """A chain of so many rows: appended, verified by us, by PostgreSQL, and from an exported file."""
    with admin.begin() as connection:
        trail.hashed(connection, algorithm)
    with admin.begin() as connection:
        _, appending = timed(lambda: connection.execute(APPENDED, {"rows": rows}))
    (found, _), verifying = timed(partial(trail.verified, admin, folder))
    assert found.whole and found.rows >= rows
    with admin.begin() as connection:
        broken, asking = timed(lambda: connection.scalar(sa.text("SELECT trail_broken()")))
        size = connection.scalar(sa.text("SELECT pg_total_relation_size('trail')"))
    assert broken is None
    _, exporting = timed(partial(trail.export, admin, folder / "trail"))
    (found, _), reading = timed(partial(trail.verified_file, folder / "trail", folder))
    assert found.whole and found.rows >= rows
    print(f"{algorithm}, {found.rows:,} rows, {size / rows:.0f} B each with indexes: appended in {appending:.1f} s")
    print(f"{algorithm}, verified: {verifying:.1f} s = {found.rows / verifying:,.0f} rows/s", flush=True)
    print(f"{algorithm}, by PostgreSQL alone: {asking:.1f} s = {found.rows / asking:,.0f} rows/s")
    print(f"{algorithm}, exported in {exporting:.1f} s, the file verified in {reading:.1f} s", flush=True)
