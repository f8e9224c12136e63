"""Database and application are killed (SIGKILL) in the middle of whatever they do: every step that was acknowledged is there once, and
of every other there is all or nothing.

What was acknowledged is kept here, outside. Clients send a request again under its key until it is answered, as a phone does; some give
up after the first failure, and of theirs either everything is there or nothing is.
"""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from geo import db, schema
from geo.cluster import DATABASE, Cluster
from tests import town
from tests.conftest import HOME, ROOT, _administer

CLIENTS = 4
TOKEN = "jw_test_acceptor-of-kills"
STEPS = ("accept", "file")


@pytest.fixture
def home() -> Iterator[Path]:
    """A place that the database's user may enter."""
    made = HOME / f"kills-{os.getpid()}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(("kills", "writes"), [
    pytest.param(8, 600, id="8 kills"),
    pytest.param(int(os.environ.get("JINGWEI_KILLS", "200")), int(os.environ.get("JINGWEI_KILLED_WRITES", "1000000")), id="a campaign", marks=pytest.mark.long),
])  # fmt: skip
def test_what_was_acknowledged_is_there_once_and_the_rest_not_at_all(home: Path, kills: int, writes: int) -> None:
    # With all that makes a commit last, unlike the cluster of the other tests.
    cluster = Cluster(home, lambda text: None, {})
    address = cluster.ensure()
    try:
        _administer(address, "CREATE DATABASE {}", DATABASE)
        admin = db.engine(address.url(), pool=1)
        schema.migrate(admin, address.passwords)
        with admin.begin() as connection:
            town.build(connection)
            town.token(connection, town.post(connection, "acceptor", "acceptor", town.PREFIX), TOKEN)
        admin.dispose()
        told = Told()
        campaign(cluster, address.url(), home, told, kills, writes)
        admin = db.engine(cluster.ensure().url(), pool=1)
        with admin.connect() as connection:
            compared(connection, told)
        admin.dispose()
    finally:
        cluster.stop()
        shutil.rmtree(cluster.place)
    assert told.kills == kills and told.written >= writes


class Told:
    """The oracle: what was answered, what was given up, what is to be done."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.cases: dict[str, list[str]] = {}  # id → the actions whose answer came
        self.created: dict[str, str] = {}  # key → id that was answered
        self.given_up: set[str] = set()  # keys without an answer
        self.written = self.kills = 0
        self.over = threading.Event()
        self.wrong: list[str] = []

    def wrote(self, id: str, action: str, key: str) -> None:
        with self.turn:
            self.cases.setdefault(id, []).append(action)
            self.written += 1
            if action == "report":
                self.created[key] = id


def campaign(cluster: Cluster, url: sa.URL, home: Path, told: Told, kills: int, writes: int) -> None:
    """Clients at work while now the one and now the other is killed and started again."""
    port = free()
    rng = random.Random(kills)
    with application(url, home, port) as first:
        process = first
        clients = [threading.Thread(target=client, args=(n, port, told), daemon=True) for n in range(CLIENTS)]
        for one in clients:
            one.start()
        for n in range(kills):
            already = told.written
            # So that every time something is under way.
            patience = time.monotonic() + 60
            while told.written < already + writes / (kills + 1) and time.monotonic() < patience:
                time.sleep(0.01)
            time.sleep(rng.random() * 0.02)
            if n % 5 == 2:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                process = started(url, home, port)
            else:
                pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGKILL)
                assert cluster.ensure().url() == url
            told.kills += 1
        patience = time.monotonic() + 60 + writes / 20
        while told.written < writes and time.monotonic() < patience:
            time.sleep(0.05)
        told.over.set()
        for one in clients:
            one.join(60)
        stopped(process)
    assert not any(one.is_alive() for one in clients) and told.wrong == []


def client(number: int, port: int, told: Told) -> None:
    """Report a case, accept it, file it; and the next."""
    rng = random.Random(number)
    while not told.over.is_set():
        key, gives_up = str(uuid4()), rng.random() < 0.1
        body = {"type": "Feature", "geometry": town.point(0.5, 0.5), "properties": {"title": "井盖缺失", "channel": "public"}}
        answer = sent(port, "/collections/incidents/items", body, key, told, gives_up)
        if answer is None:
            continue
        told.wrote(answer["id"], "report", key)
        for action in STEPS:
            if sent(port, f"/incidents/{answer['id']}/moves", {"action": action}, f"{key}-{action}", told, False) is None:
                return
            told.wrote(answer["id"], action, key)


def sent(port: int, path: str, body: object, key: str, told: Told, gives_up: bool) -> "dict[str, str] | None":
    """The answer to a request that is sent until it has one; None when who sent it has given up."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": key, "Content-Type": "application/json"}
    patience = time.monotonic() + 90
    while time.monotonic() < patience:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            if answer.status == 201:
                made: dict[str, str] = json.loads(text)
                return made
            if answer.status != 503:
                told.wrong.append(f"{answer.status} {path} {text.decode()}")
                return None
        except (OSError, http.client.HTTPException):
            pass
        if gives_up:
            told.given_up.add(key)
            return None
        time.sleep(0.05)
    told.wrong.append(f"no answer for 90 s: {path}")
    return None


def compared(connection: sa.Connection, told: Told) -> None:
    """What is there with what was answered."""
    def every(query: str) -> list[sa.Row[tuple[object, ...]]]:
        return list(connection.execute(sa.text(query)).all())

    kept = {row.key: str(row.feature) for row in every("SELECT key, feature FROM idempotency")}
    assert told.created.items() <= kept.items()
    assert kept.keys() - told.created.keys() <= told.given_up
    there = {str(row.id): row for row in every("SELECT id, state, steps FROM incidents")}
    assert set(there) == set(kept.values())
    steps: dict[str, list[str]] = {}
    for row in every("SELECT incident, number, action FROM incident_log ORDER BY incident, number"):
        steps.setdefault(str(row.incident), []).append(row.action)
        assert row.number == len(steps[str(row.incident)])
    assert set(steps) == set(there)
    for id, row in there.items():
        assert steps[id] == told.cases.get(id, ["report"]), id
        assert (row.state, row.steps) == ({1: "reported", 2: "accepted", 3: "filed"}[len(steps[id])], len(steps[id]))
    # A change and a row of the trail for each report and step, a clock for each case, and a chain that holds.
    [number] = every(
        "SELECT (SELECT count(*) FROM changes WHERE noun = 'incidents' AND operation IN ('add', 'change')) AS changes,"
        " (SELECT count(*) FROM trail WHERE noun = 'incidents' AND action IN ('add', 'change')) AS trail, (SELECT count(*) FROM incident_log) AS log,"
        " (SELECT count(DISTINCT incident) FROM incident_clocks) AS clocks, trail_broken() AS broken"
    )
    assert (number.changes, number.trail, number.clocks, number.broken) == (number.log, number.log, len(there), None)


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def application(url: sa.URL, home: Path, port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """The server; whichever process it is by then is gone in the end."""
    process = started(url, home, port)
    try:
        yield process
    finally:
        stopped(process)


def started(url: sa.URL, home: Path, port: int) -> "subprocess.Popen[bytes]":
    environ = os.environ | {"JINGWEI_HOME": str(home), "JINGWEI_DATABASE_URL": url.render_as_string(False)}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--workers", "1"]
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, stdout=log, stderr=log)


def stopped(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
