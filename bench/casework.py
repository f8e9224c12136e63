"""Cases over 10,200 grids: how fast they are reported through HTTP beside the same statements in plain SQL, how long all that is late
takes to be told, what the board and the indicators cost with 225,000 cases and their logs, and how soon a browser knows.

Runs on a cluster of its own below JINGWEI_HOME, with one web process of the real server and its worker beside it. The load comes from
one process on connections that stay open, of bytes made beforehand: another client's interpreter on the same two cores took a third of
what there was to measure.
"""

import http.client
import json
import os
import random
import re
import selectors
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.settings import settings
from bench.placing import timed
from bench.tiles import served
from bench.trail import database
from geo import accounts, clocks, db, query
from geo.catalog import RESOURCES
from geo.cluster import Cluster, installed
from geo.db import Caller
from geo.door import digest
from geo.query import Filter
from geo.resource import Audience

NAME = "bench_casework"
DISTRICT = "990101"
STREETS, COMMUNITIES, GRIDS = 10, 34, 30
CLIENTS = 8
NOUN = RESOURCES["incidents"]
MATTER = "06010"


@dataclass(frozen=True)
class Clerk:
    """Somebody who takes reports."""

    account: UUID
    appointment: UUID
    token: str

# A street is ten rows of grids, a community three columns of them; sides have as many corners as drawn ones.
GROUND = """
    WITH cell AS (
        SELECT s, c, g, 114 + (3 * c + g % 3) * 0.005 AS x, 30 + (10 * s + g / 3) * 0.005 AS y
        FROM generate_series(0, :streets - 1) AS s, generate_series(0, :communities - 1) AS c, generate_series(0, :grids - 1) AS g
    ), path AS (
        SELECT *, :district || lpad((s + 1)::text, 3, '0') AS street, lpad((c + 1)::text, 3, '0') AS community, lpad((g + 1)::text, 3, '0') AS grid FROM cell
    ), drawn AS (
        SELECT 'grid' AS level, street || community || grid AS path, x AS west, y AS south, x + 0.005 AS east, y + 0.005 AS north FROM path
        UNION ALL SELECT 'community', street || community, min(x), min(y), max(x) + 0.005, max(y) + 0.005 FROM path GROUP BY street, community
        UNION ALL SELECT 'street', street, min(x), min(y), max(x) + 0.005, max(y) + 0.005 FROM path GROUP BY street
        UNION ALL SELECT 'district', :district, min(x), min(y), max(x) + 0.005, max(y) + 0.005 FROM path
    ), known AS (
        INSERT INTO area_paths (path, level) SELECT path, level FROM drawn RETURNING path
    )
    INSERT INTO areas (level, code, path, name, theme, kind, valid_from, geom, label_point)
    SELECT level, path, path, path, 'governance', 'base', '1900-01-01', ST_Multi(ST_Segmentize(ST_MakeEnvelope(west, south, east, north, 4326), 0.001)),
        ST_SetSRID(ST_Point((west + east) / 2, (south + north) / 2), 4326) FROM drawn
"""


def grounded(admin: sa.Engine) -> None:
    """The district with its areas, as drawn; their triggers are measured elsewhere (`bench.loading`)."""
    with admin.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(sa.text("UPDATE instance SET prefix = :prefix"), {"prefix": DISTRICT})
        connection.execute(sa.text(GROUND), {"district": DISTRICT, "streets": STREETS, "communities": COMMUNITIES, "grids": GRIDS})
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def clerk(connection: sa.Connection, login: str, role: str, area: str) -> Clerk:
    """Somebody of a role in an area, with a token."""
    account = accounts.make(connection, login, login.title())
    appointment = accounts.appoint(connection, account, role, (area,))
    token = f"jw_bench_{login}"
    connection.execute(
        sa.text("INSERT INTO tokens (hash, account, appointment, title, made_by, ends_at) VALUES (:hash, :account, :appointment, 'b', 'b', now() + interval '1 day')"),
        {"hash": digest(token), "account": account, "appointment": appointment},
    )
    return Clerk(account, appointment, token)


def clerks(admin: sa.Engine) -> list[Clerk]:
    """So many who take reports for the whole district."""
    with admin.begin() as connection:
        return [clerk(connection, f"clerk{n}", "acceptor", DISTRICT) for n in range(CLIENTS)]


def reported(port: int, tokens: Sequence[str], each: int) -> float:
    """Reports a second, by so many clients at once that wait for each answer before they send the next."""
    waiting = selectors.DefaultSelector()
    for n, token in enumerate(tokens):
        line = socket.create_connection(("127.0.0.1", port))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rng = random.Random(f"{n} {time.time_ns()}")
        waiting.register(line, selectors.EVENT_READ, Client(line, [request(token, *somewhere(rng)) for _ in range(each)]))
    began = time.perf_counter()
    for known in waiting.get_map().values():
        known.data.send()
    while waiting.get_map():
        for known, _ in waiting.select():
            if not known.data.answered():
                waiting.unregister(known.fileobj)
                known.data.line.close()
    return len(tokens) * each / (time.perf_counter() - began)


@dataclass
class Client:
    """A connection that stays open, and what it is still to send."""

    line: socket.socket
    left: list[bytes]
    got: bytes = b""
    body: bytes = b""

    def send(self) -> None:
        self.line.sendall(self.left.pop())

    def answered(self) -> bool:
        """Take what has come; after a whole answer send the next request, if there is one."""
        self.got += self.line.recv(65536)
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found or len(body) < int(re.search(rb"content-length: (\d+)", head)[1]):  # type: ignore[index]
            return True
        if head[9:12] != b"201":
            raise RuntimeError(self.got.decode())
        self.got, self.body = b"", body
        if self.left:
            self.send()
            return True
        return False


def somewhere(rng: random.Random) -> tuple[float, float]:
    """A point of the district."""
    return round(rng.uniform(114.0001, 114 + 3 * COMMUNITIES * 0.005 - 0.0001), 7), round(rng.uniform(30.0001, 30 + STREETS * 0.05 - 0.0001), 7)


def request(token: str, lon: float, lat: float) -> bytes:
    """A report as the program of a hotline sends it, with its key."""
    facts = {"title": "占道经营", "channel": "public", "matter": MATTER, "address": "云汀街道澜溪路 12 号"}
    body = json.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": facts}).encode()
    head = (
        f"POST /collections/incidents/items HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {uuid4()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# What a report is to the database, statement by statement: bound to the caller, asked for its key, written, kept under the key, read back.
STATEMENTS = r"""
\set east random(1, 5099)
\set north random(1, 4999)
BEGIN;
SELECT set_config(name, value, true) FROM unnest(ARRAY['transaction_read_only', 'role', 'jingwei.actor', 'jingwei.acting_as', 'jingwei.origin',
    'jingwei.account', 'jingwei.appointment', 'jingwei.lo', 'jingwei.hi', 'jingwei.scopes', 'jingwei.categories'],
    ARRAY['off', 'jingwei_area', 'clerk' || :client_id, 'acceptor@990101', '127.0.0.1', (SELECT account FROM clerks WHERE n = :client_id)::text,
    (SELECT appointment FROM clerks WHERE n = :client_id)::text, '990101', '990101~', '990101', '']) AS bound (name, value);
SELECT gen_random_uuid() AS key, uuid_v7() AS id \gset
SELECT pg_advisory_xact_lock(hashtextextended('clerk' || :client_id || E'\n' || ':key', 0));
SELECT route, body_hash, feature FROM idempotency WHERE actor = 'clerk' || :client_id AND key = ':key';
INSERT INTO incidents (id, title, channel, matter, address, geom, source)
VALUES (':id', '占道经营', 'public', '{matter}', '云汀街道澜溪路 12 号', ST_SetSRID(ST_Point(114 + :east / 10000.0, 30 + :north / 10000.0), 4326), 'api');
INSERT INTO idempotency (actor, key, route, body_hash, status, noun, feature)
VALUES ('clerk' || :client_id, ':key', '/collections/incidents/items', sha256('x'), 201, 'incidents', ':id');
{read};
COMMIT;
"""


def stated(url: sa.URL, clerks: Sequence[Clerk], each: int) -> float:
    """The same a second, by PostgreSQL's own program: what anything on this database could come to."""
    clerks_known = ", ".join(f"({n}, '{one.account}'::uuid, '{one.appointment}'::uuid)" for n, one in enumerate(clerks))
    caller = Caller("bench", "jingwei_area", (DISTRICT,), Audience.WORKER)
    rows = query.matching(NOUN, Filter(), caller.sees(NOUN)).where(sa.literal_column("incidents.id = ':id'")).subquery("row")
    written, source = query.feature(NOUN, rows)
    read = sa.select(sa.cast(written, sa.Text), rows.c.version).select_from(source).compile(
        dialect=postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True})
    script = STATEMENTS.replace("{matter}", MATTER).replace("{read}", str(read).replace("%%", "%"))
    script = script.replace("FROM clerks", f"FROM (VALUES {clerks_known}) AS clerks (n, account, appointment)")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        environ = os.environ | {
            "PGHOST": str(url.query["host"]), "PGPORT": str(url.query["port"]), "PGUSER": str(url.username), "PGPASSWORD": str(url.password),
            "PGDATABASE": str(url.database), "PGOPTIONS": f"-csearch_path={db.SEARCH_PATH} -ctimezone={db.TIME_ZONE}",
        }
        told = subprocess.run(
            [installed()[0].folder / "pgbench", "-n", "-c", str(len(clerks)), "-j", "1", "-t", str(each), "-f", file.name], env=environ, check=True, capture_output=True, text=True,
        ).stdout
    return float(re.search(r"tps = ([\d.]+)", told)[1])  # type: ignore[index]


OPEN = 0.1  # of all, still in hand, and every one of them late
CASES = (
    """
    INSERT INTO incidents (id, scope, title, number, channel, matter, state, precision, reported_at, occurred_at, due_at, closed_at, lead_area, urgent, rating, steps, placement, geom, geom_coarse)
    SELECT uuid_v7(), a.path, '占道经营', 'B' || n, (ARRAY['patrol', 'patrol', 'public', 'enforcement'])[1 + n % 4], :matter, c.state, 'exact',
        c.at, c.at, CASE WHEN c.state <> 'feedback' THEN c.at + interval '3 days' ELSE c.at + interval '5 days' END, CASE WHEN c.state = 'feedback' THEN c.at + c.took END, a.path, n % 50 = 0,
        CASE WHEN c.state = 'feedback' AND n % 3 = 0 THEN 3 + n % 3 END, CASE WHEN c.state = 'feedback' THEN 9 ELSE 5 END, NULL,
        ST_SetSRID(ST_Point(ST_X(a.label_point) + (n % 7 - 3) * 0.0005, ST_Y(a.label_point)), 4326), a.label_point
    FROM generate_series(1, :cases) AS n
    JOIN (SELECT path, label_point, row_number() OVER (ORDER BY path) - 1 AS place FROM areas WHERE level = 'grid') AS a ON a.place = n * 7919 % (:grids)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN n % 1000 < 1000 * :open THEN 'handling' ELSE 'feedback' END AS state,
            CASE WHEN n % 1000 < 1000 * :open THEN now() - interval '4 days' - (n % 9) * interval '1 day' ELSE now() - interval '10 days' - (n % 360) * interval '1 day' END AS at,
            interval '1 hour' * (1 + n % 131) AS took) AS c
    """,
    """
    INSERT INTO incident_log (incident, number, action, source, target, role, reasoned, at, actor, acting_as, scope, facts)
    SELECT i.id, s.number, s.action, s.source, s.target, s.role, false, i.reported_at + s.number * interval '6 minutes', 'clerk0', 'acceptor@990101', i.scope,
        CASE WHEN s.action = 'dispatch' THEN jsonb_build_object('lead_area', i.scope) ELSE '{}' END
    FROM incidents AS i CROSS JOIN (VALUES
        (1, 'report', '', 'reported', 'reporter'), (2, 'accept', 'reported', 'accepted', 'acceptor'), (3, 'file', 'accepted', 'filed', 'acceptor'),
        (4, 'dispatch', 'filed', 'dispatched', 'dispatcher'), (5, 'start', 'dispatched', 'handling', 'lead'), (6, 'handle', 'handling', 'handled', 'lead'),
        (7, 'ask_check', 'handled', 'checking', 'acceptor'), (8, 'pass', 'checking', 'checked', 'checker'), (9, 'close', 'checked', 'closed', 'acceptor')
    ) AS s (number, action, source, target, role)
    WHERE s.number <= i.steps AND i.number LIKE 'B%'
    """,
    """
    INSERT INTO incident_clocks (incident, number, state, clock, kind, amount, started_at, resumed_at, spent, due_at, alarm_at, ended_at)
    SELECT i.id, 1, 'dispatched', 'handle', 'work_day', 3, i.reported_at, i.reported_at, CASE WHEN i.closed_at IS NULL THEN 0 ELSE 1 END,
        i.due_at, CASE WHEN i.closed_at IS NULL THEN i.reported_at + interval '2 days' END, i.closed_at
    FROM incidents AS i WHERE i.number LIKE 'B%'
    """,
    "UPDATE incidents SET state = 'closed' WHERE state = 'feedback' AND number LIKE 'B%'",
)


def filled(admin: sa.Engine, cases: int) -> None:
    """So many cases of a year with the steps that they took, one in ten still in hand."""
    values = {"cases": cases, "grids": STREETS * COMMUNITIES * GRIDS, "open": OPEN, "matter": MATTER}
    with admin.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in CASES:
            connection.execute(sa.text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
        connection.exec_driver_sql("SELECT tallies_made_anew()")
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def run(cases: int = 225_000) -> None:
    """Measure reports through HTTP and in plain SQL by size, then what a year of cases costs to look at and to sweep."""
    home = settings().home / "bench"
    cluster = Cluster(home, print, {"max_wal_size": "8GB", "shared_buffers": "512MB"})
    address = cluster.ensure()
    try:
        with database(address, NAME) as admin:
            grounded(admin)
            desk = clerks(admin)
            with admin.begin() as connection:
                chiefs = {role: clerk(connection, role, role, area) for role, area in (("district", DISTRICT), ("street", DISTRICT + "001"))}
            web = address.url("jingwei_web", NAME)
            with served(admin.url.render_as_string(hide_password=False), workers=2) as port:
                settled(port)
                print(f"{STREETS * COMMUNITIES * GRIDS:,} grids; {CLIENTS} clients", flush=True)
                growing(admin, web, port, desk, "no cases yet")
                filled(admin, cases)
                growing(admin, web, port, desk, f"{cases:,} cases")
                pages(port, chiefs)
                heard(port, desk[0])
            swept(admin)
    finally:
        cluster.stop()


def settled(port: int) -> None:
    """Let the processes beside the web processes come up, which reads much."""
    time.sleep(15)
    asked(port, "/collections", "")


def growing(admin: sa.Engine, web: sa.URL, port: int, desk: Sequence[Clerk], title: str) -> None:
    """Reports a second in both ways, turn and turn about, so that others on the machine bear on both."""
    tokens = [one.token for one in desk]
    reported(port, tokens, 40)
    both = [(reported(port, tokens, 250), stated(web, desk, 250)) for _ in range(3)]
    ours, plain = (statistics.median(rates) for rates in zip(*both, strict=True))
    print(f"reports, {title}: {ours:.0f}/s through HTTP, {plain:.0f}/s the same statements in plain SQL = {ours / plain:.2f}", flush=True)


def pages(port: int, chiefs: Mapping[str, Clerk]) -> None:
    """What those who lead look at, as a browser asks."""
    month = f"since={date.today().replace(day=1) - timedelta(days=60):%Y-%m-01}&until={date.today().replace(day=1) - timedelta(days=30):%Y-%m-01}"
    for title, path in (("board", "/cases/board"), ("cases", "/cases"), ("indicators of a month", f"/indicators?{month}"), ("… by street", f"/indicators?{month}&by=street")):
        for role, chief in chiefs.items():
            took = sorted(timed(partial(asked, port, path, chief.token))[1] for _ in range(15))
            print(f"{title} of a {role}: {took[7] * 1e3:.0f} ms, at most {took[-1] * 1e3:.0f} ms", flush=True)


def asked(port: int, path: str, token: str) -> bytes:
    """A page."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path, headers={"Accept": "text/html", "Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    connection.close()
    return body


def heard(port: int, who: Clerk, times: int = 60) -> None:
    """How long after its answer a report is on the stream that a page listens to."""
    came: dict[str, float] = {}
    ready = threading.Event()

    def listen() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/changes", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {who.token}"})
        stream = connection.getresponse()
        ready.set()
        while len(came) < times:
            line = stream.readline()
            if line.startswith(b"data: "):
                came[json.loads(line[6:])["feature"]] = time.perf_counter()

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    ready.wait(30)
    written: dict[str, float] = {}
    rng = random.Random(1)
    for _ in range(times):
        line = Client(socket.create_connection(("127.0.0.1", port)), [request(who.token, *somewhere(rng))])
        line.send()
        while line.answered():
            pass
        written[json.loads(line.body)["id"]] = time.perf_counter()
        line.line.close()
        time.sleep(rng.uniform(0.02, 0.15))
    listening.join(30)
    waits = sorted(came[id] - at for id, at in written.items() if id in came)
    print(f"from the answer to the stream: {waits[len(waits) // 2] * 1e3:.0f} ms, p95 {waits[int(len(waits) * 0.95)] * 1e3:.0f} ms, {len(waits)} of {times} heard", flush=True)


def swept(admin: sa.Engine) -> None:
    """All that is late told in passes of the worker's size, each a transaction of its own."""
    with admin.begin() as connection:
        # The worker has told them once already.
        connection.execute(sa.text("DELETE FROM clock_alarms"))
        connection.execute(sa.text("UPDATE incident_clocks SET alarm_at = now() - interval '1 minute' WHERE ended_at IS NULL AND due_at < now()"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE incident_clocks")
    with admin.begin() as connection:
        late = connection.scalar(sa.text("SELECT count(*) FROM incident_clocks WHERE alarm_at <= now()"))
    told, began = 0, time.perf_counter()
    while (done := clocks.sweep(admin)).told:
        told += done.told
    print(f"a sweep of {late:,} clocks that are late: {time.perf_counter() - began:.2f} s, {told:,} alarms", flush=True)
