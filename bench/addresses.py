"""Addresses: how fast texts become dwellings, how that grows, and what memory it takes, beside a plain join on exact parts.

Runs on a cluster of its own below JINGWEI_HOME. The join is told compound, house, stairwell and room in columns of their own, spelt as
they are stored: what a file would have to be for a database alone to do it.
"""

import math
import random
from collections import Counter
from itertools import product

import sqlalchemy as sa

from api.settings import settings
from bench.loading import database
from bench.placing import SEED, best, peak, timed
from geo.addresses import Matcher
from geo.cluster import Cluster

COMPOUNDS, HOUSES, UNITS, FLOORS = 500, 40, 2, 6
SIZES = (1_000, 10_000, 100_000)
SPELLINGS = (
    "{c}{n}幢{u}单元{r}室", "{c}{n}-{u}-{r}", "云汀街道{c}{n}栋{u}单元{r}", "{c}{n}#{u}-{r}", "{c}{n}号楼{u}门{r}号", "{c} {n}—{u}—{r}", "{c}{n}幢{r}",
    "{c}{n}幢9单元{r}", "{c}99幢{u}单元{r}",
)  # fmt: skip

JOIN = """
SELECT count(d.id) FROM asked AS a
LEFT JOIN compounds AS c ON c.name = a.c AND c.retired_at IS NULL
LEFT JOIN buildings AS b ON b.compound = c.id AND b.name = a.b AND b.retired_at IS NULL
LEFT JOIN units AS u ON u.building = b.id AND u.name = a.u AND u.retired_at IS NULL
LEFT JOIN dwellings AS d ON d.unit = u.id AND d.name = a.r AND d.retired_at IS NULL
"""


def run() -> None:
    """Measure and print."""
    cluster = Cluster(settings().home / "bench", print, {"shared_buffers": "512MB", "max_wal_size": "8GB"})
    address = cluster.ensure()
    try:
        with database(address) as (admin, _):
            names = filled(admin)
            with admin.begin() as connection:
                measure(connection, names)
    finally:
        cluster.stop()


def measure(connection: sa.Connection, names: list[str]) -> None:
    """The same rows as texts and as parts."""
    dwellings = COMPOUNDS * HOUSES * UNITS * FLOORS * 2
    print(f"{COMPOUNDS} compounds, {COMPOUNDS * HOUSES:,} houses, {dwellings:,} dwellings, {len(SPELLINGS)} spellings, seed {SEED}")
    bare = peak()
    _, seconds = timed(lambda: Matcher.ready(connection))
    print(f"ready: {seconds:.2f} s, {peak() - bare:.0f} MB")
    lookup = Matcher.ready(connection)
    text, _ = asked(names, 1)[0]
    lookup.one(text)
    print(f"one address more: {best(lambda: lookup.one(text), 9) * 1e3:.2f} ms")
    for size in SIZES:
        rows = asked(names, size)
        # A fresh one each time: what is in the houses is read again.
        matcher = Matcher.ready(connection)
        found, seconds = timed(lambda rows=rows, m=matcher: m.matched([text for text, _ in rows]))  # type: ignore[misc]
        joined = join(connection, rows)
        told = Counter(one.precision for one in found)
        print(
            f"{size:>7,} texts: {seconds:.2f} s = {size / seconds * 60:,.0f} a minute, {told['dwelling']:,} dwellings, {told['building']:,} houses;"
            f" exact join {joined:.2f} s = {seconds / joined:.1f}×; memory {peak():.0f} MB at most",
            flush=True,
        )


def join(connection: sa.Connection, rows: list[tuple[str, tuple[str, str, str, str]]]) -> float:
    """Seconds of the join on exact parts, its rows put there before; the best of three."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS asked")
    connection.exec_driver_sql("CREATE TEMP TABLE asked (c text, b text, u text, r text)")
    columns = [list(column) for column in zip(*(parts for _, parts in rows), strict=True)]
    connection.execute(
        sa.text("INSERT INTO asked SELECT * FROM unnest(CAST(:c AS text[]), CAST(:b AS text[]), CAST(:u AS text[]), CAST(:r AS text[]))"),
        dict(zip("cbur", columns, strict=True)),
    )
    connection.exec_driver_sql("ANALYZE asked")
    seconds = math.inf
    for _ in range(3):
        seconds = min(seconds, timed(lambda: connection.scalar(sa.text(JOIN)))[1])
    return seconds


def asked(names: list[str], count: int) -> list[tuple[str, tuple[str, str, str, str]]]:
    """Addresses, each with its parts as they are stored; one in nine names no stairwell that there is, one no house."""
    rng = random.Random(SEED)
    rows = []
    for at in range(count):
        name, house, unit = rng.choice(names), rng.randint(1, HOUSES), rng.randint(1, UNITS)
        room = f"{rng.randint(1, FLOORS)}0{rng.randint(1, 2)}"
        text = SPELLINGS[at % len(SPELLINGS)].format(c=name, n=house, u=unit, r=room)
        rows.append((text, (name, f"{house}幢", f"{unit}单元", room)))
    return rows


def filled(admin: sa.Engine) -> list[str]:
    """A district of compounds; the names of these."""
    names = ["".join(name) for name in product("澜柳枫石望砚锦渔新溪", "溪浪林埠潮桥和灯纺月", ("花园", "新村", "家园", "公寓", "小区"))][:COMPOUNDS]
    square = "ST_Multi(ST_MakeEnvelope(122.6, 29.8, 122.6001, 29.8001, 4326))"
    with admin.begin() as connection:
        run = connection.exec_driver_sql
        run("SET LOCAL session_replication_role = replica")
        run("INSERT INTO areas (name, level, code, path) VALUES ('云汀街道', 'street', '990101001', '990101001')")
        connection.execute(
            sa.text(f"INSERT INTO compounds (name, scope, geom) SELECT name, '990101001', {square} FROM unnest(CAST(:names AS text[])) AS name"),
            {"names": names},
        )
        run(
            f"INSERT INTO buildings (name, compound, floors, scope, geom) SELECT n || '幢', c.id, {FLOORS}, c.scope, {square}"
            f" FROM compounds AS c, generate_series(1, {HOUSES}) AS n"
        )
        run(f"INSERT INTO units (name, building, scope) SELECT n || '单元', b.id, b.scope FROM buildings AS b, generate_series(1, {UNITS}) AS n")
        run(
            "INSERT INTO dwellings (name, building, unit, floor, scope) SELECT floor || '0' || n, u.building, u.id, floor, u.scope"
            f" FROM units AS u, generate_series(1, {FLOORS}) AS floor, generate_series(1, 2) AS n"
        )
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return names
