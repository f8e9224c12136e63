"""What tests stand on: a private cluster, a migrated database with a small town, and three ways to reach it.

`connection` and `client` share one transaction that is never committed. `live_client` commits, on a database of
its own, for what only shows after a commit. `server` is a real process with the sample town.
"""

import contextlib
import fcntl
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from psycopg import sql
from starlette.testclient import TestClient

from api.app import create_app
from api.deps import Engines
from api.limits import Limits
from api.shelf import Shelf
from geo import db, schema
from geo.cluster import Address, Cluster
from geo.keys import FieldKey, field_key
from tests import town

ROOT = Path(__file__).parents[1]
HOME = Path(os.environ.get("JINGWEI_HOME", ROOT / ".jingwei")) / "test"

# A database that is thrown away need not survive a power cut.
# One that waits for itself would wait for ever.
HASTY = {
    "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "128MB", "autovacuum": "off",
    "lock_timeout": "15s", "statement_timeout": "120s",
}

for profile, examples in (("jingwei", 25), ("long", 400)):
    hypothesis.register_profile(
        profile, deadline=None, max_examples=examples, print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip
hypothesis.load_profile("jingwei")  # --hypothesis-profile=long for a night


@pytest.fixture(scope="session")
def address() -> Iterator[Address]:
    """Where the test cluster answers; the last session to leave stops it."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "in-use").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_SH)
        cluster = Cluster(HOME, print, HASTY)
        yield cluster.ensure()
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cluster.stop()


Databases = Callable[..., str]


@pytest.fixture(scope="session")
def databases(address: Address) -> Iterator[Databases]:
    """Makes a database of this test run, empty or from a template, and answers its name."""
    mine = f"test_{os.getpid()}"
    made: list[str] = []

    def make(template: str = "template1") -> str:
        made.append(f"{mine}_{len(made)}")
        _administer(address, "CREATE DATABASE {} TEMPLATE {}", made[-1], template)
        return made[-1]

    for name in _listed(address):
        # Left behind by a session that was killed.
        if name.startswith("test_") and not Path(f"/proc/{name.split('_')[1]}").exists():
            _administer(address, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    yield make
    for name in made:
        _administer(address, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def migrated(address: Address, databases: Databases) -> str:
    """A database that has been migrated, and holds nothing. To be cloned, not written to."""
    name = databases()
    with serial():
        engine = db.engine(address.url(database=name))
        schema.migrate(engine, address.passwords)
        engine.dispose()
    return name


@contextlib.contextmanager
def serial() -> Iterator[None]:
    """Roles belong to the whole cluster, and two sessions altering one at once fail."""
    with (HOME / "migrating").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def peopled(address: Address, databases: Databases, migrated: str) -> str:
    """The same with the small town of `tests.town`, as a demonstration. To be cloned, not written to."""
    name = databases(migrated)
    engine = db.engine(address.url(database=name))
    with engine.begin() as connection:
        town.build(connection)
        town.staff(connection)
    engine.dispose()
    return name


@pytest.fixture(scope="session")
def engine(address: Address, databases: Databases, peopled: str) -> Iterator[sa.Engine]:
    """The administrator's engine on the database where nothing is committed."""
    made = db.engine(address.url(database=databases(peopled)), pool=2)
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """The administrator, inside a transaction that is never committed."""
    with engine.connect() as opened:
        outer = opened.begin()
        yield opened
        outer.rollback()


class Within:
    """Stands for the engine of a login: what it begins is a savepoint of the test's transaction, held by that login."""

    def __init__(self, connection: sa.Connection, login: str) -> None:
        self.connection, self.login = connection, login
        # A request at a time: there is one connection.
        self.turn = threading.Lock()

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A savepoint that ends like a transaction would: what was set in it is as before. One login may begin inside
        another, as a row of the trail is written while a request's own transaction is open."""
        with self.turn:
            login, role = self.connection.exec_driver_sql("SELECT session_user, current_setting('role')").one()
            with self.connection.begin_nested():
                self.connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {self.login}")
                yield self.connection
            outer = login if login.startswith("jingwei_") and login != "jingwei_admin" else "DEFAULT"
            self.connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {outer}")
            self.connection.exec_driver_sql(f"SET LOCAL ROLE {role}")

    def dispose(self) -> None:
        """Nothing is held."""


@pytest.fixture(scope="session")
def key(address: Address) -> FieldKey:
    """The key of secret fields."""
    return field_key(HOME)


@pytest.fixture
def web(connection: sa.Connection) -> Within:
    """What `db.transaction` takes in a test for the engine of `jingwei_web`."""
    return Within(connection, "jingwei_web")


@pytest.fixture(scope="session")
def application(engine: sa.Engine, key: FieldKey, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The server, put together once: that takes longer than most tests."""
    return create_app(Engines(engine, engine, engine), key, tmp_path_factory.mktemp("home"))


class Client(TestClient):
    """Asks as anybody, and writes as the town's leader unless it is told otherwise."""

    def request(self, method: str, url: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """A request; `headers` may hold another `Authorization`, or an empty one for nobody's."""
        headers = dict(kwargs.pop("headers", None) or {})
        if method not in ("GET", "HEAD") and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {town.LEADER}"
        if not headers.get("Authorization"):
            headers.pop("Authorization", None)
        return super().request(method, url, headers=headers, **kwargs)


@pytest.fixture
def client(application: FastAPI, connection: sa.Connection, web: Within) -> Client:
    """The server on the test's own transaction, with the roles, scopes and read-only reads of the real one."""
    application.state.limits = Limits({})
    # What is never committed is no version: a shelf would show the tile of before.
    application.state.shelf = Shelf(0)
    application.state.engines = Engines(  # type: ignore[arg-type]
        web, Within(connection, "jingwei_door"), Within(connection, "jingwei_trail")
    )
    return Client(application)


class Visitor(TestClient):
    """A browser: it says which page a form stands on, follows nothing by itself, and is nobody until it signs in."""

    def __init__(self, application: FastAPI) -> None:
        headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "zh", "Origin": "http://testserver"}
        super().__init__(application, headers=headers, follow_redirects=False)

    def sign_in(self, login: str, **more: str) -> Any:
        """The form of the front door, filled in as somebody of the town would."""
        return self.post("/sign-in", data={"login": login, "password": town.PASSWORD} | more)


@pytest.fixture
def visitors(application: FastAPI, client: Client) -> Callable[..., Visitor]:
    """Makes browsers of their own, each signed in as who is named, on the test's own transaction."""

    def make(login: str = "") -> Visitor:
        visitor = Visitor(application)
        if login:
            answer = visitor.sign_in(login)
            assert answer.status_code == 303, answer.text
        return visitor

    return make


@pytest.fixture
def live(address: Address, databases: Databases, peopled: str) -> Iterator[Address]:
    """A database of this test's own, with the small town, to commit to."""
    name = databases(peopled)
    yield Address(address.url(database=name), address.passwords)
    _administer(address, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def live_engine(live: Address) -> Iterator[sa.Engine]:
    """The administrator's engine on the database of `live_client`."""
    made = db.engine(live.url())
    yield made
    made.dispose()


@pytest.fixture
def live_client(live: Address, key: FieldKey, tmp_path: Path) -> Iterator[Client]:
    """The server with real logins and real commits."""
    engines = Engines(
        db.engine(live.url("jingwei_web"), pool=8), db.engine(live.url("jingwei_door"), pool=8), db.engine(live.url("jingwei_trail"), pool=1)
    )
    # Entered, so that all its requests share one event loop, and closed, so that its connections are.
    served = create_app(engines, key, tmp_path)
    served.state.limits = Limits({})
    with Client(served) as client:
        yield client


class Server(str):
    """The address of a server, and the password of its demonstration accounts, which are called like their roles."""

    password: str


@pytest.fixture(scope="session")
def server(address: Address, databases: Databases, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The address of a real server with the sample town, loaded as `jingwei demo` loads it."""
    from api import cli

    if not (cli.SAMPLE / "load.toml").exists():
        pytest.skip("data/sample has not been made: run data/make_sample")
    with serving("demo", address.url(database=databases(migrated)), tmp_path_factory.mktemp("home")) as (served, log):
        served.password = re.findall(r"\b(?:[a-z]+-){3}[a-z]+\b", log.read_text())[0]
        yield served


@contextlib.contextmanager
def serving(command: str, url: sa.URL, home: Path) -> Iterator[tuple[Server, Path]]:
    """A real server as `jingwei COMMAND` starts it, and what it prints."""
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    (home / "keys").symlink_to(HOME / "keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = os.environ | {
        "JINGWEI_HOME": str(home), "JINGWEI_PORT": str(port), "JINGWEI_DATABASE_URL": url.render_as_string(hide_password=False),
    }
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", command], cwd=ROOT, env=environ, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _answered(f"http://127.0.0.1:{port}/collections", process, log)
            yield Server(f"http://127.0.0.1:{port}"), log
        finally:
            process.terminate()
            process.wait(20)


def _answered(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 180) -> None:
    patience = time.monotonic() + seconds
    while time.monotonic() < patience:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"the server did not answer:\n{log.read_text()[-4000:]}")


def _administer(address: Address, statement: str, *names: str) -> None:
    with _postgres(address) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _listed(address: Address) -> list[str]:
    with _postgres(address) as connection:
        return [name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()]


def _postgres(address: Address) -> "psycopg.Connection[tuple[str]]":
    url = address.url(database="postgres").set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


@pytest.fixture
def canary() -> Iterator[tuple[int, list[Any]]]:
    """A port that must never be called, and who has called it."""
    calls: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    calls.append(listener.accept())
                except OSError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1], calls
        stop.set()
        thread.join()
