"""Uploading: from a bureau's zipped shapefile to placed buildings, beside ogr2ogr, which checks and places nothing.

The outlines are those of a real town where JINGWEI_BENCH_BUILDINGS names a GeoParquet file of them, else invented. They are
repeated side by side for the larger sizes, so that no two lie on each other. Times are of one run, one after the other.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
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

# In a process of its own, so that its memory is its own: that of a worker, with the reading process beside it.
LOAD = """
import resource, sys
from pathlib import Path
from geo import db, intake
from geo.keys import field_key
engine = db.engine(sys.argv[1])
report = intake.load(engine, intake.Order(Path(sys.argv[2]), "buildings"), field_key(Path(sys.argv[3])), Path(sys.argv[4]))
assert report.unstored == 0, report
peaks = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(report.stored, *peaks)
"""


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
    """One size: grids under it, then the same file by either."""
    shapes = outlines(size)
    grids(admin, shapes)
    archive = written(shapes, folder)
    # Both begin with the file in the memory of the machine.
    archive.read_bytes()
    _, plain = timed(lambda: peer(address, archive))
    (stored, own, reader), ours = timed(lambda: loaded(address, archive, home, folder))
    assert stored == size
    again = "" if size > 100_000 else f", sent again {timed(lambda: loaded(address, archive, home, folder))[1] / plain:.2f}×"
    print(f"{size:>9,} buildings, {archive.stat().st_size / 1e6:.0f} MB zipped: ogr2ogr {plain:.1f} s", flush=True)
    print(f"{'':>9} read, checked, placed, compared, stored: {ours:.1f} s = {ours / plain:.2f}×{again}", flush=True)
    print(f"{'':>9} memory: {own} MB the worker, {reader} MB the reading process", flush=True)


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
    """Rows stored, and the most memory of the worker and of the reading process, in MB."""
    url = address.url("jingwei_loader", NAME).render_as_string(hide_password=False)
    run = subprocess.run(
        [sys.executable, "-c", LOAD, url, str(archive), str(home), str(folder / "cache")], check=True, capture_output=True, text=True,
    )
    stored, own, reader = map(int, run.stdout.split()[-3:])
    return stored, own, reader


