"""The processes of a running server, over real sockets."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from geo import db
from geo.cluster import Address
from tests import town
from tests.conftest import HOME, ROOT


@pytest.fixture
def served(live: Address, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """`jingwei serve` with two web processes, and its port. A case has waited for twenty minutes."""
    admin = db.engine(live.url(), pool=1)
    with admin.begin() as connection:
        reported_at = datetime.now(UTC) - timedelta(minutes=20)
        town.add(connection, "incidents", state="reported", reported_at=reported_at, closed_at=None)
    admin.dispose()
    (tmp_path / "keys").symlink_to(HOME / "keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = os.environ | {"JINGWEI_HOME": str(tmp_path), "JINGWEI_DATABASE_URL": live.url().render_as_string(hide_password=False)}
    command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True)
    try:
        patience = time.monotonic() + 180
        while time.monotonic() < patience and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_answers_at_once_and_ends_whole(
    served: tuple["subprocess.Popen[bytes]", int], live_engine: sa.Engine, tmp_path: Path
) -> None:
    process, port = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)  # one, kept open
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        connection.request("GET", "/collections/parts")
        answer = connection.getresponse()
        answer.read()
        seconds.append(time.perf_counter() - started)
        assert answer.status == 200
        assert "uvicorn" not in str(answer.headers).lower()
    # Without TCP_NODELAY no answer takes less than the 40 ms of a delayed acknowledgement; with it the fastest of
    # thirty is a few milliseconds, however busy the machine.
    connection.close()
    assert min(seconds) < 0.03

    # The worker beside the web processes moves a layer's version on after a write.
    version = sa.text("SELECT version FROM layer_versions WHERE layer = 'parts'")
    with live_engine.begin() as written:
        town.add(written, "parts")
    patience = time.monotonic() + 20
    moved = None
    while moved is None and time.monotonic() < patience:
        time.sleep(0.05)
        with live_engine.begin() as asked:
            moved = asked.scalar(version)
    assert moved
    # And has told, at its start, of the case that was late, and where the trail ends.
    with live_engine.begin() as asked:
        late = asked.scalars(sa.text("SELECT alarm FROM clock_alarms ORDER BY times")).all()
    assert late == ["near", "late"]
    told = list(tmp_path.glob("anchors.jsonl"))
    assert told and told[0].stat().st_size > 0

    family = {process.pid, *descendants(process.pid)}
    assert len(family) >= 4  # itself, two that answer, the worker
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    patience = time.monotonic() + 10
    while any(alive(pid) for pid in family) and time.monotonic() < patience:
        time.sleep(0.05)
    assert [pid for pid in family if alive(pid)] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    found: list[int] = []
    for child in (Path(f"/proc/{pid}/task/{pid}/children").read_text()).split():
        found += [int(child), *descendants(int(child))]
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_taken_port_is_said_in_one_sentence(live: Address, tmp_path: Path) -> None:
    (tmp_path / "keys").symlink_to(HOME / "keys")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = os.environ | {"JINGWEI_HOME": str(tmp_path), "JINGWEI_DATABASE_URL": live.url().render_as_string(hide_password=False), "LANG": "zh_CN.UTF-8"}
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", "serve", "--port", str(port)], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=180
        )
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "JINGWEI_PORT" in done.stderr
    assert "Traceback" not in done.stderr
