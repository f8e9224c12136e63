"""Loading: what placing costs on the way into the database, beside bare COPY and beside placing by PostGIS.

Runs on a cluster of its own below JINGWEI_HOME, which it makes, and stops when it is done.
"""

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import shapely
import sqlalchemy as sa

from api.settings import settings
from bench.placing import Town, built, peak, timed
from geo import db, intake, schema
from geo.cluster import Address, Cluster
from geo.intake import Order
from geo.keys import FieldKey, field_key

NAME = "bench"
COLUMNS = "id, number, title, channel, source, batch, scope, geom"


def run(points: int = 1_000_000) -> None:
    """Measure loads of `points` rows and print them as ratios of COPY."""
    home = settings().home / "bench"
    cluster = Cluster(home, print, {"max_wal_size": "8GB", "shared_buffers": "512MB", "autovacuum": "off"})
    address = cluster.ensure()
    try:
        with database(address) as (admin, loader), tempfile.TemporaryDirectory() as folder:
            measure(admin, loader, built(points=points), Path(folder), field_key(home))
    finally:
        cluster.stop()


def measure(admin: sa.Engine, loader: sa.Engine, town: Town, folder: Path, key: FieldKey) -> None:
    """One run: areas, then the same rows again and again."""
    areas, points = written(town, folder)
    load = partial(intake.load, loader, key=key, cache=folder / "cache")
    _, seconds = timed(lambda: load(Order(areas, "areas", {}, {"level": "grid"})))
    print(f"{len(town.areas):,} areas loaded, coded and checked: {seconds:.1f} s", flush=True)
    order = Order(points, "incidents", {}, {"channel": "patrol"})

    report, filling = timed(lambda: load(order))
    assert report.stored == len(town.lon)
    rows = copied_out(admin, folder / "rows.csv")
    _, bare = timed(lambda: copied_in(admin, loader, rows, "bare"))
    _, plain = timed(lambda: copied_in(admin, loader, rows, "incidents"))
    emptied(admin)
    with admin.begin() as connection:
        # One row, so that the table is not empty and its indexes are kept up, as on any day but the first.
        connection.execute(
            sa.text(
                "INSERT INTO incidents (title, channel, geom) VALUES ('t', 'patrol', ST_SetSRID(ST_Point(0, 0), 4326))"
            )
        )
    _, placed = timed(lambda: load(order))
    _, joining = timed(lambda: joined(admin))

    print(f"{len(town.lon):,} rows by COPY into a bare table: {bare:.1f} s")
    print(
        f"the same rows by COPY into the table, its indexes and change log kept up, placing off: {plain:.1f} s"
    )
    print(
        f"read, checked, placed and stored by jingwei load: {placed:.1f} s = {placed / plain:.2f}× that COPY"
    )
    print(
        f"first fill of the empty table, indexes built after: {filling:.1f} s = {filling / bare:.2f}× bare COPY"
    )
    print(f"placing alone by a PostGIS join update, on top of a load: {joining:.1f} s")
    print(f"memory: {peak():.0f} MB at most")


@contextmanager
def database(address: Address) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """A fresh database, as its administrator and as the loader."""
    with psycopg.connect(
        address.url(database="postgres").set(drivername="postgresql").render_as_string(False), autocommit=True
    ) as made:
        made.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        made.execute(f"CREATE DATABASE {NAME}")
    admin, loader = db.engine(address.url(database=NAME)), db.engine(address.url("jingwei_loader", NAME))
    schema.migrate(admin, address.passwords)
    yield admin, loader
    admin.dispose()
    loader.dispose()


def written(town: Town, folder: Path) -> tuple[Path, Path]:
    """The town as a bureau sends it: areas as WKT with their codes, points as longitude and latitude."""
    areas, points = folder / "areas.csv", folder / "points.csv"
    with areas.open("w", newline="") as to:
        rows = csv.writer(to)
        rows.writerow(("编码", "名称", "WKT"))
        rows.writerows(
            zip(town.paths, town.paths, shapely.to_wkt(town.areas, rounding_precision=-1), strict=True)
        )
    with points.open("w") as to:
        to.write("number,title,lon,lat\n")
        for at, (x, y) in enumerate(zip(town.lon.tolist(), town.lat.tolist(), strict=True)):
            to.write(f"N{at:07},事件{at % 50},{x!r},{y!r}\n")
    return areas, points


def copied_out(admin: sa.Engine, file: Path) -> Path:
    """The stored rows without their placing, as COPY takes them back."""
    with admin.connect() as connection, file.open("wb") as to:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        unplaced = COLUMNS.replace("scope", "''")
        with driver.cursor().copy(
            f"COPY (SELECT {unplaced} FROM incidents) TO STDOUT WITH (FORMAT csv)"
        ) as copy:
            for part in copy:
                to.write(part)
    return file


def copied_in(admin: sa.Engine, loader: sa.Engine, file: Path, table: str) -> None:
    """COPY by the loader, for whom no trigger places, into an emptied table."""
    with admin.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS bare")
        connection.exec_driver_sql("CREATE TABLE bare AS SELECT * FROM incidents WITH NO DATA")
        connection.exec_driver_sql("GRANT INSERT ON bare TO jingwei_loader")
    emptied(admin)
    with loader.begin() as connection, file.open("rb") as source:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with driver.cursor().copy(
            f"COPY {table} ({COLUMNS}) FROM STDIN WITH (FORMAT csv, FORCE_NOT_NULL (scope))"
        ) as copy:
            while part := source.read(1 << 20):
                copy.write(part)


def emptied(admin: sa.Engine) -> None:
    """No incident left, as after creation."""
    with admin.begin() as connection:
        connection.exec_driver_sql("TRUNCATE incidents CASCADE")


def joined(admin: sa.Engine) -> None:
    """What a plain PostGIS update by join does, rolled back."""
    with admin.connect() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(
            "UPDATE incidents AS n SET placement = p.id FROM areas AS a JOIN placements AS p ON p.grid = a.id"
            " WHERE a.level = 'grid' AND ST_Covers(a.geom, n.geom)"
        )
        connection.rollback()
