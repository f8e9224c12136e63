"""Changing keys: how long it takes to put a million telephone numbers under another key, while others read them.

Runs on a cluster of its own below JINGWEI_HOME, which it makes, and stops when it is done.
"""

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import sqlalchemy as sa

from api.settings import settings
from bench.loading import database
from bench.placing import peak, timed
from geo import keys, sealing
from geo.catalog import RESOURCES
from geo.cluster import Cluster
from geo.keys import FieldKey
from geo.write import sealed

POSTS = RESOURCES["posts"]
AREA = "INSERT INTO areas (level, code, name, geom) VALUES ('street', '990101009', '云汀街道', ST_Multi(ST_MakeEnvelope(122, 29, 123, 30, 4326))) RETURNING path"


def run(values: int = 1_000_000) -> None:
    """Measure one change of keys over `values` numbers and print what it took."""
    cluster = Cluster(settings().home / "bench", print, {"max_wal_size": "8GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address) as (admin, loader), tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            measure(admin, loader, home, values)
    finally:
        cluster.stop()


def measure(admin: sa.Engine, loader: sa.Engine, home: Path, values: int) -> None:
    """One run, with a reader that wants a number every hundredth of a second."""
    key = keys.field_key(home)
    ids, filling = timed(lambda: filled(admin, loader, key, values))
    print(f"{len(ids):,} numbers sealed and stored: {filling:.1f} s", flush=True)
    done, waits = threading.Event(), list[float]()
    reader = threading.Thread(target=lambda: waits.extend(read(admin, key, ids, done)))
    reader.start()
    try:
        change, seconds = timed(lambda: sealing.rotate(admin, home))
    finally:
        done.set()
        reader.join()
    assert change.moved == values and set(sealing.status(admin)) == {("posts.phone", 2)}
    waits.sort()
    print(f"{change.moved:,} under another key: {seconds:.1f} s = {change.moved / seconds:,.0f} a second")
    print(f"{len(waits):,} reads meanwhile, 0 failed: median {waits[len(waits) // 2] * 1e3:.1f} ms, 99 % within {waits[len(waits) * 99 // 100] * 1e3:.1f} ms")
    print(f"memory: {peak():.0f} MB at most")


def filled(admin: sa.Engine, loader: sa.Engine, key: FieldKey, values: int) -> list[UUID]:
    """Posts with a number each, by COPY."""
    with admin.begin() as connection:
        area = connection.scalar(sa.text(AREA))
        ids = list(connection.scalars(sa.text("SELECT uuid_v7() FROM generate_series(1, :n) ORDER BY 1"), {"n": values}))
    with loader.begin() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        columns = "id, role, area, scope, holder, phone_masked, phone_cipher, phone_hash"
        with driver.cursor().copy(f"COPY posts ({columns}) FROM STDIN") as copy:
            for at, id in enumerate(ids):
                copy.write_row((id, "steward", area, area, "张三", *sealed(POSTS, "phone", f"100{at:08}", key, id).values()))
    with admin.begin() as connection:
        connection.exec_driver_sql("ANALYZE posts")
    return ids


def read(admin: sa.Engine, key: FieldKey, ids: list[UUID], done: threading.Event) -> Iterator[float]:
    """Seconds that each read and its opening took. Raises when a number is not what it was."""
    while not done.wait(0.01):
        at, began = random.randrange(len(ids)), time.perf_counter()
        with admin.connect() as connection:
            found = connection.scalar(sa.text("SELECT phone_cipher FROM posts WHERE phone_hash = ANY (:hashes)"), {"hashes": key.lookups(f"100{at:08}")})
        assert found is not None and key.open(found, f"posts|{ids[at]}|phone") == f"100{at:08}"
        yield time.perf_counter() - began
