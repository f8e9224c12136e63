"""Tiles and items: what the server adds to the statement that PostgreSQL runs, by four clients; and tiles that are ready.

Runs on a cluster of its own below JINGWEI_HOME, with one web process of the real server and its worker beside it. The plain
statement is run by a superuser, whom no policy binds, from four processes: the most that anything on this database can give.
"""

import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import sqlalchemy as sa

from api.settings import settings
from bench.loading import database
from geo import query, relay, tiles
from geo.catalog import RESOURCES
from geo.cluster import Cluster
from geo.matrices import WEB_MERCATOR
from geo.query import Filter
from geo.resource import Audience

BUILDINGS = RESOURCES["buildings"]
WEST, SOUTH, STEP = 118.0, 30.0, 0.0004  # degrees between houses: as dense as a town
CLIENTS = 4
Tile = tuple[int, int, int]


def run(rows: int = 1_000_000) -> None:
    """Fill a table, ask it in three ways and print the ratios."""
    cluster = Cluster(settings().home / "bench", print, {"max_wal_size": "8GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address) as (admin, loader):
            side = filled(admin, loader, rows)
            url = admin.url.render_as_string(hide_password=False)
            with served(url) as port:
                print(f"{rows:,} buildings; {CLIENTS} clients")
                measure(url, port, side)
                seen(admin, port)
                attacked(port)
    finally:
        cluster.stop()


def measure(url: str, port: int, side: int) -> None:
    """Tiles by zoom, tiles that are ready, items of a window."""
    for z in (15, 16, 17):
        wanted = some(z, side, 240)
        # In turns, each half of the tiles: what one has warmed the other finds.
        both = [(by_sql(url, half), by_http(port, [address(tile) for tile in half])) for half in (wanted[::2], wanted[1::2])]
        plain, ours = (statistics.mean(rates) for rates in zip(*both, strict=True))
        print(f"tiles of zoom {z}: {plain:7.1f}/s by the statement alone, {ours:7.1f}/s by the server, made anew = {ours / plain:.2f}×", flush=True)
    ready = [address(tile) for tile in some(15, side, 40)]
    by_http(port, ready)
    rates = [by_http(port, ready * 300) for _ in range(3)]
    print(f"tiles that are ready: {max(rates):7.0f}/s, best of three", flush=True)
    boxes = [box(tile) for tile in some(16, side, 120)]
    plain = items_by_sql(url, boxes)
    ours = by_http(port, [f"/collections/buildings/items?limit=1000&bbox={','.join(f'{n:.6f}' for n in one)}" for one in boxes])
    print(f"items of a window: {plain:7.1f}/s by the statement alone, {ours:7.1f}/s by the server = {plain / ours:.2f}× as long", flush=True)


def seen(admin: sa.Engine, port: int) -> None:
    """How long after a commit nobody is given the tile of before any more."""
    tile = address(some(16, 100, 1)[0])
    west, south, east, north = WEB_MERCATOR.degrees(*(int(part) for part in tile.removesuffix(".pbf").split("/")[-3:]))
    waits = []
    for _ in range(20):
        before = asyncio.run(_body(port, tile))
        with admin.begin() as connection:
            connection.execute(
                sa.text("INSERT INTO buildings (name, geom) VALUES ('新', ST_Multi(ST_Expand(ST_SetSRID(ST_Point(:x, :y), 4326), 0.00005)))"),
                {"x": (west + east) / 2, "y": (south + north) / 2},
            )
        began = time.perf_counter()
        while asyncio.run(_body(port, tile)) == before:
            if time.perf_counter() - began > 10:
                raise RuntimeError("never seen")
        waits.append(time.perf_counter() - began)
    print(f"a write is seen after {statistics.median(waits):.2f} s, at the latest {max(waits):.2f} s", flush=True)


async def _body(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return (await reader.read()).partition(b"\r\n\r\n")[2]


ATTACKS = {
    "limit=10000 by 32": ("/collections/buildings/items?limit=10000", 32),
    "the widest within by 32": (f"/within?layer=buildings&lon={WEST + 0.1}&lat={SOUTH + 0.1}&metres=50000&limit=1000", 32),
    "nearest of none by 32": (f"/nearest?layer=buildings&lon={WEST + 0.1}&lat={SOUTH + 0.1}&k=100&metres=50000&name=none", 32),
}


def attacked(port: int) -> None:
    """How long others wait for a small answer while somebody asks for as much as may be asked."""
    idle = asyncio.run(_waits(port, "", 0))
    for name, (path, clients) in ATTACKS.items():
        waits = asyncio.run(_waits(port, path, clients))
        longest = max(asyncio.run(_timed(port, [path])))
        print(
            f"{name}: others' p95 {waits[int(len(waits) * 0.95)] * 1e3:.0f} ms, idle {idle[int(len(idle) * 0.95)] * 1e3:.0f} ms;"
            f" one of them alone {longest:.2f} s", flush=True,
        )


async def _waits(port: int, path: str, clients: int) -> list[float]:
    async def on_and_on() -> None:
        while True:
            await _timed(port, [path])

    busy = [asyncio.ensure_future(on_and_on()) for _ in range(clients)]
    await asyncio.sleep(1)
    waits = await _timed(port, ["/tiles/versions"] * 60)
    for one in busy:
        one.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    return sorted(waits)


async def _timed(port: int, paths: Sequence[str]) -> list[float]:
    waits = []
    for path in paths:
        began = time.perf_counter()
        await _client(port, [path], any_status=True)
        waits.append(time.perf_counter() - began)
    return waits


def filled(admin: sa.Engine, loader: sa.Engine, rows: int) -> int:
    """A square of houses. How many to a side."""
    side = int(rows**0.5)
    statement = sa.text(
        "INSERT INTO buildings (name, scope, geom) SELECT (n % 97) || '号楼', '990101001001' || lpad((n / 1000)::text, 3, '0'),"
        " ST_Multi(ST_SetSRID(ST_MakePolygon(ST_MakeLine(ARRAY[ST_Point(x, y), ST_Point(x + w, y), ST_Point(x + w, y + h), ST_Point(x + w * 0.6, y + h),"
        " ST_Point(x + w * 0.6, y + h * 0.7), ST_Point(x, y + h * 0.7), ST_Point(x, y)])), 4326))"
        " FROM (SELECT n, :west + (n % :side) * :step AS x, :south + (n / :side) * :step AS y, :step * (0.3 + random() * 0.5) AS w,"
        " :step * (0.3 + random() * 0.5) AS h FROM generate_series(0, :rows - 1) AS n) AS drawn"
    )
    with admin.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET prefix = '990101001'"))
    with loader.begin() as connection:
        connection.execute(statement, {"west": WEST, "south": SOUTH, "step": STEP, "side": side, "rows": side * side})
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE buildings")
    relay.fold(admin)
    return side


def some(z: int, side: int, number: int) -> list[Tile]:
    """Tiles within the square, no two the same."""
    by_row = WEB_MERCATOR.limits(z, (WEST, SOUTH, WEST + side * STEP, SOUTH + side * STEP))
    every = [(z, x, y) for y in range(by_row[0] + 1, by_row[1]) for x in range(by_row[2] + 1, by_row[3])]
    return random.Random(z).sample(every, min(number, len(every)))


def address(tile: Tile) -> str:
    """Where a tile is for everybody."""
    z, x, y = tile
    return f"/tiles/public/buildings/{z}/{x}/{y}.pbf"


def box(tile: Tile) -> tuple[float, ...]:
    """The window of a tile."""
    return WEB_MERCATOR.degrees(*tile)


@contextmanager
def served(url: str, workers: int = 1) -> Iterator[int]:
    """So many web processes and the worker on the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = os.environ | {"JINGWEI_HOME": str(settings().home / "bench"), "JINGWEI_DATABASE_URL": url, "JINGWEI_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "api.cli", "serve", "--workers", str(workers)], env=environ, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def spread(work: Sequence[object]) -> list[Sequence[object]]:
    """So many for each client."""
    return [work[n::CLIENTS] for n in range(CLIENTS)]


def by_sql(url: str, wanted: Sequence[Tile]) -> float:
    """Tiles a second by the very statement, from processes of their own."""
    return _by_processes(_tiles_asked, url, wanted)


def items_by_sql(url: str, boxes: Sequence[tuple[float, ...]]) -> float:
    """Pages a second, the same."""
    return _by_processes(_items_asked, url, boxes)


def _by_processes(ask: object, url: str, work: Sequence[object]) -> float:
    with ProcessPoolExecutor(CLIENTS) as pool:
        list(pool.map(_nothing, range(CLIENTS * 4)))
        spans = list(pool.map(ask, [url] * CLIENTS, spread(work)))  # type: ignore[arg-type]
    return len(work) / (max(end for _, end in spans) - min(start for start, _ in spans))


def _nothing(n: int) -> None:
    time.sleep(0.05)


def _tiles_asked(url: str, wanted: Sequence[Tile]) -> tuple[float, float]:
    with _plainly(url) as connection:
        start = time.time()
        for z, x, y in wanted:
            tiles.tile(connection, BUILDINGS, z, x, y, Audience.PUBLIC)
        return start, time.time()


def _items_asked(url: str, boxes: Sequence[query.Bbox]) -> tuple[float, float]:
    with _plainly(url) as connection:
        start = time.time()
        for one in boxes:
            query.page(connection, BUILDINGS, Filter(bbox=one, limit=1000), Audience.PUBLIC)
        return start, time.time()


@contextmanager
def _plainly(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, connect_args={"options": "-csearch_path=jingwei,public", "prepare_threshold": None})
    with engine.connect() as connection:
        connection.exec_driver_sql("SET jit = off; SET max_parallel_workers_per_gather = 0; SET random_page_cost = 1.1")
        tiles.tile(connection, BUILDINGS, 15, 0, 0, Audience.PUBLIC)
        yield connection
    engine.dispose()


def by_http(port: int, paths: Sequence[str]) -> float:
    """Answers a second, on connections that stay open."""
    return asyncio.run(_asked(port, paths))


async def _asked(port: int, paths: Sequence[str]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, paths[n::CLIENTS]) for n in range(CLIENTS)))
    return len(paths) / (time.perf_counter() - began)


async def _client(port: int, paths: Sequence[str], any_status: bool = False) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for path in paths:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if head[9:12] not in (b"200", b"204") and not (any_status and head[9:12] in (b"400", b"503")):
            raise RuntimeError(head.decode())
        at = head.find(b"content-length: ")
        await reader.readexactly(int(head[at + 16 : head.index(b"\r", at)]) if at >= 0 else 0)
    writer.close()
