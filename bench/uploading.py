"""Uploading: from a bureau's zipped shapefile to placed buildings, beside ogr2ogr, which checks and places nothing.

The outlines are those of a real town where JINGWEI_BENCH_BUILDINGS names a GeoParquet file of them, else invented. They are
repeated side by side for the larger sizes, so that no two lie on each other. Times are of one run, one after the other.
"""

import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from api.settings import settings
from bench.loading import NAME, database
from bench.placing import timed
from geo.cluster import Address, Cluster

SIZES = (41_046, 500_000)
SEED = 20261124

# In a process of its own, so that its memory is its own: that of a worker, with the reading process beside it. It waits for files, as
# the worker of a server does; `sent` is that worker's way: in two steps, behind those who wait for pages, the noun open to its readers.
WORKER = """
import os, sys, threading, time
from pathlib import Path

def peak(pid):
    # Not `ru_maxrss`, which goes on counting what the process was before it became another program: its parent.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)

def watched():
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            try:
                peaks[0] = max(peaks[0], peak(child))
            except OSError:
                pass
        time.sleep(0.1)

peaks = [0]
threading.Thread(target=watched, daemon=True).start()
from geo import db, intake
from geo.keys import field_key
engine, key, cache = db.engine(sys.argv[1]), field_key(Path(sys.argv[2])), Path(sys.argv[3])
if sys.argv[4] == "standing":
    intake.prepared()
engine.connect().close()
print("ready", flush=True)
for line in sys.stdin:
    how, path = line.split(" ", 1)
    order = intake.Order(Path(path.strip()), "buildings")
    if how == "load":
        report = intake.load(engine, order, key, cache)
    else:
        os.nice(10)
        with engine.begin() as connection:
            staging, report = intake.staged(connection, order, key, cache)
        print("read", flush=True)
        with engine.begin() as connection:
            staging.connection = connection
            del staging.copy
            intake.settled(connection, staging, report)
            staging.dropped()
    assert report.unstored == 0, report
    print("done", report.stored, peak("self"), peaks.pop(), flush=True)
    peaks[:] = [0]
"""
SERVER = """
import sys, uvicorn
uvicorn.run("api.serving:web", factory=True, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", access_log=False, log_level="warning")
"""
# What others look at meanwhile: a page of areas, their tile, and a tile of the buildings that are on their way.
ASKED = ("/collections/areas/items?limit=100", "/tiles/areas/{z}/{x}/{y}.pbf", "/tiles/buildings/{z}/{x}/{y}.pbf")
EVERY, IDLE = 0.05, 10.0  # seconds


def run(sizes: Sequence[int] = SIZES) -> None:
    """Measure loads of zipped shapefiles and print them as ratios of ogr2ogr's."""
    home = settings().home / "bench"
    cluster = Cluster(home, print, {"max_wal_size": "8GB", "shared_buffers": "512MB", "autovacuum": "off"})
    address = cluster.ensure()
    try:
        for size in sizes:
            with database(address) as (admin, _), tempfile.TemporaryDirectory() as folder:
                measure(admin, address, size, Path(folder), home)
    finally:
        cluster.stop()


def measure(admin: sa.Engine, address: Address, size: int, folder: Path, home: Path) -> None:
    """One size: grids under it, then the same file by either, and what others notice of it."""
    shapes = outlines(size)
    grids(admin, shapes)
    archive = written(shapes, folder)
    # Both begin with the file in the memory of the machine.
    archive.read_bytes()
    _, plain = timed(lambda: peer(address, archive))
    print(f"{size:>9,} buildings, {archive.stat().st_size / 1e6:.0f} MB zipped: ogr2ogr {plain:.1f} s", flush=True)
    with Worker(address, home, folder) as worker:
        (stored, own, reader), ours = timed(lambda: worker.takes("load", archive))
    assert stored == size
    print(f"{'':>9} read, checked, placed, stored: {ours:.1f} s = {ours / plain:.2f}×", flush=True)
    print(f"{'':>9} memory: {own} MB the worker, {reader} MB the reading process", flush=True)
    if size <= 100_000:
        _, again = timed(lambda: loaded(address, archive, home, folder))
        print(f"{'':>9} sent again, by a command that begins with nothing: {again:.1f} s = {again / plain:.2f}×", flush=True)
        return
    emptied(admin)
    with Worker(address, home, folder) as worker, served(address, home) as port, Looking(port, shapes) as others:
        idle = others.during(lambda: time.sleep(IDLE))
        _, sent = timed(lambda: others.during(lambda: worker.takes("sent", archive)))
        busy = others.last
    print(f"{'':>9} sent to a running server, compared, its indexes kept up: {sent:.1f} s = {sent / plain:.2f}×", flush=True)
    for asked in ASKED:
        before, meanwhile = (float(np.quantile(found[asked], 0.95)) * 1000 for found in (idle, busy))
        told = f"p95 {before:.1f} ms idle, {meanwhile:.1f} ms meanwhile = {meanwhile / before:.2f}× ({len(busy[asked])} times)"
        print(f"{'':>9} {asked.split('/{')[0].split('?')[0]}: {told}", flush=True)


class Worker:
    """A process that takes files."""

    def __init__(self, address: Address, home: Path, folder: Path, standing: bool = True) -> None:
        url = address.url("jingwei_loader", NAME).render_as_string(hide_password=False)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(home), str(folder / "cache"), "standing" if standing else ""],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def __enter__(self) -> "Worker":
        self._said("ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def takes(self, how: str, archive: Path) -> tuple[int, int, int]:
        """Rows stored, and the most memory of the worker and of the reading process, in MB."""
        assert self.process.stdin
        print(how, archive, file=self.process.stdin, flush=True)
        stored, own, reader = map(int, self._said("done"))
        return stored, own, reader

    def _said(self, word: str) -> list[str]:
        assert self.process.stdout
        for line in self.process.stdout:
            first, *rest = line.split()
            if first == word:
                return rest
        raise RuntimeError("the worker ended")


@contextmanager
def served(address: Address, home: Path) -> Iterator[int]:
    """The port of a web process before the database of the measurement."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environ = os.environ | {"JINGWEI_HOME": str(home), "JINGWEI_DATABASE_URL": address.url(database=NAME).render_as_string(hide_password=False)}
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environ)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


class Looking:
    """Somebody who asks for one page after the other, every `EVERY` seconds whether or not the one before has come."""

    def __init__(self, port: int, shapes: NDArray[np.object_]) -> None:
        west, south, east, north = (float(value) for value in shapely.total_bounds(shapes[:1000]))
        zoom = 13
        at = np.radians((south + north) / 2)
        x = int(((west + east) / 2 + 180) / 360 * 2**zoom)
        y = int((1 - np.arcsinh(np.tan(at)) / np.pi) / 2 * 2**zoom)
        self.addresses = {asked: f"http://127.0.0.1:{port}" + asked.format(z=zoom, x=x, y=y) for asked in ASKED}
        self.last: dict[str, list[float]] = {}

    def __enter__(self) -> "Looking":
        self.pool = ThreadPoolExecutor(16)
        for address in self.addresses.values():
            self._asked(address)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def during(self, work: Callable[[], object]) -> dict[str, list[float]]:
        """Seconds that each answer took while `work` was done."""
        over = threading.Event()
        waiting: dict[str, list[Future[float]]] = {asked: [] for asked in ASKED}

        def look() -> None:
            for turn in itertools.count():
                asked = ASKED[turn % len(ASKED)]
                waiting[asked].append(self.pool.submit(self._asked, self.addresses[asked]))
                if over.wait(EVERY):
                    return

        looking = threading.Thread(target=look)
        looking.start()
        try:
            work()
        finally:
            over.set()
            looking.join()
        self.last = {asked: [one.result() for one in found] for asked, found in waiting.items()}
        return self.last

    @staticmethod
    def _asked(address: str) -> float:
        begun = time.perf_counter()
        with urllib.request.urlopen(address, timeout=60) as answer:
            answer.read()
        return time.perf_counter() - begun


def emptied(admin: sa.Engine) -> None:
    """No building left, as after creation."""
    with admin.begin() as connection:
        connection.exec_driver_sql("TRUNCATE buildings, batches, changes, tallies, tally_changes CASCADE")


def outlines(size: int) -> NDArray[np.object_]:
    """So many outlines in degrees, repeated eastward."""
    source = os.environ.get("JINGWEI_BENCH_BUILDINGS")
    if source:
        raw = pq.read_table(source, columns=["geometry"]).column("geometry").to_pylist()
        base = shapely.from_wkb(np.array(raw, object))
    else:
        base = invented(41_046)
    west, _, east, _ = shapely.total_bounds(base)
    step = float(east - west) + 0.01
    parts = [shapely.transform(base, lambda xy, n=n: xy + np.array([n * step, 0.0])) for n in range(-(-size // len(base)))]
    return np.concatenate(parts)[:size]


def invented(count: int) -> NDArray[np.object_]:
    """Slabs and courts in rows, turned a little, as houses stand: 5 to 12 corners."""
    random = np.random.default_rng(SEED)
    x, y = 122.0 + 0.0008 * (np.arange(count) % 400), 29.0 + 0.0006 * (np.arange(count) // 400)
    wide, deep = random.uniform(0.0002, 0.0006, count), random.uniform(0.0001, 0.0003, count)
    slabs = shapely.box(x, y, x + wide, y + deep)
    courts = shapely.box(x + wide * 0.3, y + deep * 0.4, x + wide * 0.7, y + deep * 1.2)
    return np.where(random.random(count) < 0.5, shapely.difference(slabs, courts), slabs)


def grids(admin: sa.Engine, shapes: NDArray[np.object_]) -> None:
    """One community and a grid each square of a hundredth of a degree, as what is placed is placed somewhere."""
    west, south, east, north = (float(value) for value in shapely.total_bounds(shapes))
    with admin.begin() as connection:
        connection.exec_driver_sql("UPDATE instance SET prefix = '990101001'")
        insert = (
            "INSERT INTO areas (level, code, name, geom, valid_from) SELECT %(level)s, %(code)s || CASE WHEN %(step)s::float8 IS NULL THEN '' ELSE"
            " lpad((row_number() OVER ())::text, 3, '0') END, 'g', ST_Multi(geom), '2020-01-01' FROM ({source}) AS q (geom)"
        )
        box = {"w": west - 0.01, "s": south - 0.01, "e": east + 0.01, "n": north + 0.01}
        envelope = "ST_MakeEnvelope(%(w)s, %(s)s, %(e)s, %(n)s, 4326)"
        for level, code, step in (("street", "990101001", None), ("community", "990101001001", None), ("grid", "990101001001", max(east - west, north - south) / 25)):
            source = f"SELECT {envelope}" if step is None else f"SELECT g.geom FROM ST_SquareGrid(%(step)s, {envelope}) AS g LIMIT 900"
            connection.exec_driver_sql(insert.format(source=source), {**box, "level": level, "code": code, "step": step})


def written(shapes: NDArray[np.object_], folder: Path) -> Path:
    """As a bureau sends it: a zipped shapefile with a code, a name and storeys."""
    count = len(shapes)
    target = folder / "buildings.shp"
    pyogrio.raw.write(
        target, shapely.to_wkb(shapes), [np.array([f"B{n:07}" for n in range(count)], object), np.array([f"{n % 90 + 1}幢" for n in range(count)], object), np.full(count, 6)],
        ["LDBM", "LDMC", "CS"], geometry_type="MultiPolygon", crs="EPSG:4490", encoding="UTF-8", driver="ESRI Shapefile", promote_to_multi=True,
    )
    archive = folder / "buildings.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as to:
        for part in folder.glob("buildings.*"):
            if part != archive:
                to.write(part, part.name)
    return archive


def peer(address: Address, archive: Path) -> None:
    """ogr2ogr into a table of its own, with its index, by COPY."""
    url = address.url(database=NAME)
    given = {"host": url.host or url.query.get("host"), "port": url.port or url.query.get("port"), "dbname": NAME, "user": url.username}
    dsn = "PG:" + " ".join(f"{name}='{value}'" for name, value in given.items() if value)
    environ = os.environ | {"PGPASSWORD": url.password or "", "PG_USE_COPY": "YES"}
    subprocess.run(
        ["ogr2ogr", "-q", "-f", "PostgreSQL", dsn, f"/vsizip/{archive}/buildings.shp", "-nln", "plain", "-nlt", "MULTIPOLYGON", "-overwrite", "-lco", "SCHEMA=public"],
        check=True, env=environ,
    )


def loaded(address: Address, archive: Path, home: Path, folder: Path) -> tuple[int, int, int]:
    """The same by a process that begins with it, as a command does."""
    with Worker(address, home, folder, standing=False) as worker:
        return worker.takes("load", archive)
