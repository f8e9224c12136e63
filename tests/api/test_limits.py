"""How often somebody may ask: counted before anything is done, by account or by address, and told when to come again."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api import limits
from api.app import create_app
from api.deps import Engines, anyone
from api.limits import LIMITS, Limit, Limits, limited
from api.oidc import Provider
from api.settings import settings
from geo import door
from geo.keys import FieldKey
from tests import town
from tests.conftest import Client, Within

pytestmark = pytest.mark.usefixtures("quick")

LEVEL = "/topology?level=grid"
FEW = {kind: Limit(limit.about, limit.minutes, 3, 5) for kind, limit in LIMITS.items()}


class Untouchable:
    """An engine of which nobody may take a connection."""

    def begin(self) -> Any:
        raise AssertionError("a connection was taken")

    def dispose(self) -> None:
        """Nothing is held."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time by which is counted."""
    import limits.storage.memory as memory

    passed = [0.0]
    real = memory.time.time
    monkeypatch.setattr(memory.time, "time", lambda: real() + passed[0])

    def forward(seconds: float) -> None:
        passed[0] += seconds

    return forward


@pytest.fixture
def few(application: FastAPI, client: Client) -> Client:
    """The server where three are too many."""
    application.state.limits = Limits(FEW)
    return client


def guess(client: TestClient, login: str = "wang", password: str = "not-the-password") -> Any:
    return client.post("/sessions", json={"login": login, "password": password}, headers=town.OWN)


def test_after_the_last_one_it_says_when_to_come_again(few: Client, clock: Callable[[float], None]) -> None:
    assert [few.get(LEVEL).status_code for _ in range(3)] == [200] * 3
    refused = few.get(LEVEL)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "/problems/too-many"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    # The boundary page asks the same of the processor.
    assert few.get("/boundaries").status_code == 429
    assert few.get("/collections").status_code == 200
    clock(int(refused.headers["retry-after"]))
    assert few.get(LEVEL).status_code == 200


def test_a_flood_takes_neither_a_hash_nor_a_connection(
    few: Client, application: FastAPI, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert guess(few).status_code == 401
        few.get(LEVEL)

    def hashing() -> Any:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr(door, "_hasher", hashing)
    nothing: Any = Untouchable()
    application.state.engines = Engines(nothing, nothing, nothing)
    assert {guess(few, f"user-{n}").status_code for n in range(50)} == {429}
    assert {few.get(LEVEL).status_code for _ in range(50)} == {429}
    # With a made-up credential too, and with another each time.
    assert {few.get(LEVEL, headers={"Authorization": f"Bearer {n}"}).status_code for n in range(50)} == {429}


def test_only_failures_of_signing_in_count(few: Client, connection: sa.Connection) -> None:
    town.person(connection, "wang")
    for _ in range(10):
        assert guess(few, "wang", town.PASSWORD).status_code == 201
    few.cookies.clear()
    assert [guess(few).status_code for _ in range(2)] == [401, 401]
    # A sign-in of one's own clears nothing: or it would pay for the next guesses at somebody else's.
    assert guess(few, "wang", town.PASSWORD).status_code == 201
    few.cookies.clear()
    assert guess(few).status_code == 401
    assert guess(few, "wang", town.PASSWORD).status_code == 429


def test_being_asked_for_a_code_is_no_failure(few: Client, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    town.person(connection, "wang")
    connection.execute(sa.text("UPDATE accounts SET totp_at = now() WHERE login = 'wang'"))
    monkeypatch.setattr(door, "_code_holds", lambda *_: False)
    for _ in range(10):
        assert guess(few, "wang", town.PASSWORD).json()["needs"] == "code"


def test_two_hundred_names_and_one_guess_each(client: Client, application: FastAPI) -> None:
    application.state.limits = Limits()
    statuses = [guess(client, f"user-{n}").status_code for n in range(200)]
    assert (statuses.count(401), statuses.count(429)) == (20, 180)


def test_an_account_has_a_number_of_its_own(few: Client, connection: sa.Connection) -> None:
    for name in ("one", "two"):
        town.token(connection, town.post(connection, name, "grid_worker", town.A), name)
    for name in ("one", "two"):
        # The first time it is not known yet whose the token is.
        assert few.get("/me", headers={"Authorization": f"Bearer {name}"}).status_code == 200
    # What nobody in particular has used up at the same address is not theirs.
    for _ in range(4):
        few.get(LEVEL)
    for name in ("one", "two"):
        statuses = [few.get(LEVEL, headers={"Authorization": f"Bearer {name}"}).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]


def test_accounts_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KNOWN", 3)
    counted = Limits(FEW)
    for n in range(10):
        scope = {"type": "http", "headers": [(b"authorization", str(n).encode())], "method": "GET", "path": "/", "query_string": b""}
        counted.recognised(Request(scope), uuid4())
    assert len(counted._accounts) == 3


def from_address(few: Client, host: str) -> TestClient:
    return TestClient(few.app, client=(host, 1234))


def test_an_address_of_another_network_has_a_number_of_its_own(few: Client) -> None:
    def asked(host: str) -> int:
        status: int = from_address(few, host).get(LEVEL).status_code
        return status

    assert [asked("192.0.2.1") for _ in range(4)] == [200, 200, 200, 429]
    assert asked("192.0.2.2") == 200
    # Whoever has one address of IPv6 has all of its network.
    assert [asked(f"2001:db8:0:1::{n}") for n in range(4)] == [200, 200, 200, 429]
    assert asked("2001:db8:0:2::1") == 200
    assert [asked("::ffff:192.0.2.7") for _ in range(4)] == [200, 200, 200, 429]
    assert asked("::ffff:192.0.2.8") == 200


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "counted_together"),
    [
        # Whom nobody trusts may say what they like, from this machine too.
        ("", "127.0.0.1", ["203.0.113.1", "203.0.113.2"], True), ("10.0.0.0/8", "192.0.2.1", ["203.0.113.1", "203.0.113.2"], True),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.1", "203.0.113.2"], False),
        # What the client has put in front of what the proxy added is made up.
        ("10.0.0.0/8", "10.1.2.3", ["198.51.100.1, 203.0.113.1", "198.51.100.2, 203.0.113.1"], True),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.1, 10.9.9.9", "203.0.113.2, 10.9.9.9"], False),
        ("10.0.0.0/8", "10.1.2.3", ["", ""], True),
    ],
)
def test_only_a_trusted_proxy_is_believed_who_asks(
    few: Client, proxies: str, peer: str, forwarded: list[str], counted_together: bool
) -> None:
    client = TestClient(believing(few.app, proxies), client=(peer, 1234))
    statuses = [client.get(LEVEL, headers={"X-Forwarded-For": forwarded[n % 2]}).status_code for n in range(6)]
    assert statuses == [200] * 3 + [429] * 3 if counted_together else [200] * 6


def test_tls_is_believed_of_a_trusted_proxy_only(few: Client, connection: sa.Connection) -> None:
    town.person(connection, "wang")

    def cookie(proxies: str) -> str:
        client = TestClient(believing(few.app, proxies), client=("10.1.2.3", 1234))
        said = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"}
        answer = client.post("/sessions", json={"login": "wang", "password": town.PASSWORD}, headers=said)
        return str(answer.headers["set-cookie"])

    assert cookie("10.0.0.0/8").startswith("__Host-jingwei=")
    assert cookie("").startswith("jingwei=")


def believing(app: Any, proxies: str) -> Any:
    """The server as the setting makes it."""
    return ProxyHeadersMiddleware(app, trusted_hosts=proxies) if proxies else app


def test_the_setting_says_who_is_believed(
    application: FastAPI, connection: sa.Connection, web: Within, key: FieldKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINGWEI_TRUSTED_PROXIES", "10.0.0.0/8")
    settings.cache_clear()
    served = create_app(Engines(web, Within(connection, "jingwei_door"), Within(connection, "jingwei_trail")), key)  # type: ignore[arg-type]
    settings.cache_clear()
    # Before all others, those that ask for the scheme included.
    assert served.user_middleware[0].cls is ProxyHeadersMiddleware
    assert served.user_middleware[0].kwargs == {"trusted_hosts": "10.0.0.0/8"}
    assert ProxyHeadersMiddleware not in [middleware.cls for middleware in application.user_middleware]


def test_every_kind_of_the_table_can_be_asked_for_and_stands_in_the_reference() -> None:
    from api.reference import pages

    table = pages()["limits.md"]
    for kind, limit in LIMITS.items():
        assert f"| `{kind}` | {limit.about} |" in table

    app = FastAPI()
    app.state.limits = Limits(FEW)

    def route(kind: limits.Kind) -> None:
        @app.get(f"/{kind}", dependencies=[limited(kind), Depends(anyone)])
        def asked() -> None: ...

    for kind in LIMITS:
        route(kind)
    client = TestClient(app, raise_server_exceptions=False)
    for kind in LIMITS:
        assert [client.get(f"/{kind}").status_code for _ in range(4)] == [200] * 3 + [500]


def test_the_public_asks_and_guesses_so_often(few: Client) -> None:
    asked = {"kind": "access", "about": "我的电话登记在哪里", "name": "某人", "phone": "13800001234"}
    answers = [few.post("/rights-requests", json=asked, headers=town.NOBODY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201] * 3 + [429]
    ticket, code = answers[0].json()["ticket"], answers[0].json()["code"]
    for _ in range(6):
        assert few.get(f"/rights-requests/{ticket}?code={code}").status_code == 200
    guesses = [few.get(f"/rights-requests/{ticket}?code=WRONG{n}").status_code for n in range(4)]
    assert guesses == [404] * 3 + [429]
    assert few.get(f"/rights-requests/{ticket}?code={code}").status_code == 429


def test_way_backs_from_a_provider_that_fail_are_counted(few: Client, application: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.state, "provider", Provider("http://127.0.0.1:1", "jingwei", "", "x", "http://127.0.0.1/oidc/callback"))
    assert [few.get("/oidc/callback?code=c&state=s").status_code for _ in range(4)] == [401] * 3 + [429]


def test_limits_are_counted_before_it_is_asked_who_is_there(application: FastAPI) -> None:
    """In the table of routes: the limit first, whatever else a route depends on."""
    found = []
    for route in routes_of(application):
        calls = [dependency.call for dependency in route.dependant.dependencies]
        places = [n for n, call in enumerate(calls) if getattr(call, "__qualname__", "").startswith(("limited.", "guessed."))]
        if places:
            found.append(route.path)
            before = calls[: places[0]]
            assert not any(getattr(call, "__module__", "") == "api.deps" and call.__name__ in ("turn", "presence", "asked") for call in before), route.path
            assert places == [0], route.path
    assert {"/topology", "/boundaries", "/areas/{path}/redraw", "/rights-requests", "/rights-requests/{ticket}", "/oidc/callback", "/reports", "/reports/{ticket}", "/exports",
            "/exports/form", "/exports/{id}/file"} <= set(found)


def routes_of(router: Any) -> Iterator[Any]:
    """Every route that answers, however deep it was included."""
    from fastapi.routing import APIRoute

    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        elif isinstance(route, APIRoute):
            yield route
