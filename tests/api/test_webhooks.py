"""Webhooks against a receiver that really listens: signed, one row a change, until it is taken, to nowhere but what is allowed."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from api import exchanging
from api.settings import Settings, settings
from geo import db, relay, webhooks
from geo.cluster import Address
from geo.errors import Invalid
from geo.keys import FieldKey
from geo.webhooks import Delivery, Hosts
from tests import conftest, town
from tests.conftest import Client

HERE = Hosts.of("127.0.0.0/8")


class Receiver:
    """A system of others: what it was sent, and what it says to it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.says, self.location = 204, ""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.says)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def sender(live: Address) -> Iterator[sa.Engine]:
    made = db.engine(live.url("jingwei_web"), pool=2)
    yield made
    made.dispose()


def subscribe(engine: sa.Engine, url: str, key: FieldKey, *events: str, scope: str = town.PREFIX) -> tuple[Any, str]:
    with engine.begin() as connection:
        return webhooks.make(connection, "市平台", url, scope, events or ("reported", "moved", "closed", "changed"), HERE, key)


def report(engine: sa.Engine, **values: object) -> str:
    with engine.begin() as connection:
        return str(town.add(connection, "incidents", town.point(0.5, 0.5), **{"title": "井盖破损", "description": "张三家门口", "address": "灯塔路 8 号"} | values))


def gathered(engine: sa.Engine, sender: sa.Engine) -> int:
    relay.step(engine)
    return webhooks.gathered(sender)


def due(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE webhook_deliveries SET next_at = now() WHERE next_at IS NOT NULL"))


def rows(engine: sa.Engine) -> list[Any]:
    with engine.begin() as connection:
        return list(connection.execute(sa.text("SELECT * FROM webhook_deliveries ORDER BY change")))


def test_what_is_sent_is_signed_and_says_what_everybody_may_know(live_engine: sa.Engine, sender: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    _, secret = subscribe(live_engine, receiver.url, key)
    subscribe(live_engine, receiver.url, key, "closed")
    subscribe(live_engine, receiver.url, key, scope=town.C)
    id = report(live_engine)
    assert gathered(live_engine, sender) == 1
    # Nobody is told what was there before, and nothing twice.
    assert gathered(live_engine, sender) == 0
    assert exchanging.sent(sender, HERE, key) == 1 and exchanging.sent(sender, HERE, key) == 0
    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert (told["event"], told["incident"]["id"], told["incident"]["scope"], told["incident"]["state"]) == ("reported", id, town.A, "reported")
    assert headers["Jingwei-Delivery"] == told["id"] and headers["Jingwei-Event"] == "reported"
    assert not {"description", "address", "reporter_phone_masked", "geom"} & told["incident"].keys() and "张三" not in body.decode()
    now = datetime.now(UTC)
    signed = headers["Jingwei-Signature"]
    assert webhooks.verified(secret, signed, told["id"], body, now)
    assert not webhooks.verified(secret, signed, told["id"], body + b" ", now) and not webhooks.verified("other", signed, told["id"], body, now)
    # A copy that somebody sends on later is known by its age.
    assert not webhooks.verified(secret, signed, told["id"], body, datetime.fromtimestamp(now.timestamp() + 301, UTC))
    with live_engine.begin() as connection:
        assert secret.encode() not in bytes(connection.scalar(sa.text("SELECT secret_cipher FROM webhooks ORDER BY id LIMIT 1")))


def test_each_event_under_its_name(live_engine: sa.Engine, sender: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    subscribe(live_engine, receiver.url, key)
    id = report(live_engine)
    for change in ("title = '井盖松动'", "steps = NULL, state = 'handling'", "state = 'closed', closed_at = now()", "retired_at = now()"):
        with live_engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE incidents SET {change} WHERE id = :id"), {"id": id})
    report(live_engine, exercise=True)
    assert gathered(live_engine, sender) == 5
    assert [row.event for row in rows(live_engine)] == ["reported", "changed", "moved", "closed", "changed"]
    exchanging.sent(sender, HERE, key)
    # It is told as it is now: of what was withdrawn nothing.
    assert {json.dumps(json.loads(body)["incident"]) for _, body in receiver.got} == {json.dumps({"id": id, "retired": True})}


def test_a_receiver_that_is_down_and_comes_up(live_engine: sa.Engine, sender: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    subscribe(live_engine, receiver.url, key)
    for _ in range(3):
        report(live_engine)
    gathered(live_engine, sender)
    receiver.says = 503
    # One try tells that it is down: the others wait as long.
    assert exchanging.sent(sender, HERE, key) == 1 and exchanging.sent(sender, HERE, key) == 0
    first, *others = rows(live_engine)
    assert (first.tries, first.answer, [row.tries for row in others]) == (1, "503", [0, 0])
    receiver.says = 200
    due(live_engine)
    assert exchanging.sent(sender, HERE, key) == 3
    assert all(row.delivered_at for row in rows(live_engine))
    # The one that was tried twice came under one id.
    ids = [headers["Jingwei-Delivery"] for headers, _ in receiver.got]
    assert len(ids) == 4 and len(set(ids)) == 3 and ids[0] == ids[1]


def test_given_up_after_so_many_and_sent_once_more(live_engine: sa.Engine, sender: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    subscribe(live_engine, receiver.url, key)
    report(live_engine)
    gathered(live_engine, sender)
    receiver.says = 500
    for _ in range(webhooks.TRIES + 2):
        due(live_engine)
        exchanging.sent(sender, HERE, key)
    assert len(receiver.got) == webhooks.TRIES
    with live_engine.begin() as connection:
        (dead,) = webhooks.deliveries(connection, True)
        assert (dead["tries"], dead["answer"], webhooks.told(connection)[0]["dead"]) == (webhooks.TRIES, "500", 1)
        webhooks.retry(connection, dead["id"])
    receiver.says = 200
    assert exchanging.sent(sender, HERE, key) == 1 and rows(live_engine)[0].delivered_at
    assert [webhooks.delay(n) for n in (1, 2, 7, 8, 9)] == [10, 30, 7290, 21600, 21600]


def test_one_row_a_change_whoever_gathers_and_is_killed(live_engine: sa.Engine, sender: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    subscribe(live_engine, receiver.url, key)
    for _ in range(5):
        report(live_engine)
    relay.step(live_engine)
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: webhooks.gathered(sender), range(6))) == 5
    # Killed between taking and sending: nobody else takes it for a while, and then it is sent.
    held = webhooks.claimed(sender, key)
    assert len(held) == 5 and webhooks.claimed(sender, key) == []
    due(live_engine)
    assert exchanging.sent(sender, HERE, key) == 5 and {str(one.id) for one in held} == {h["Jingwei-Delivery"] for h, _ in receiver.got}
    # What comes too late from the one that was thought dead changes nothing.
    webhooks.answered(sender, held[0], False, "late")
    assert all(row.delivered_at for row in rows(live_engine))


def test_a_server_that_is_started_again_goes_on(live: Address, live_engine: sa.Engine, key: FieldKey, receiver: Receiver) -> None:
    subscribe(live_engine, receiver.url, key, "reported")

    def run(wanted: int) -> None:
        over = threading.Event()
        thread = exchanging.beside(Settings(webhook_hosts="127.0.0.0/8"), conftest.HOME, live.url("jingwei_web"), over)
        assert thread is not None
        patience = time.monotonic() + 30
        while len(receiver.got) < wanted and time.monotonic() < patience:
            relay.step(live_engine)
            time.sleep(0.05)
        over.set()
        thread.join()

    for wanted in (1, 2):
        report(live_engine)
        relay.step(live_engine)
        run(wanted)
    assert len(receiver.got) == 2 and len({headers["Jingwei-Delivery"] for headers, _ in receiver.got}) == 2
    assert exchanging.beside(Settings(webhook_hosts=""), Path(), live.url("jingwei_web"), threading.Event()) is None


def posted(url: str, hosts: Hosts) -> tuple[bool, str]:
    return exchanging.posted(Delivery(UUID(int=1), UUID(int=2), url, "reported", b"{}", "secret", 0), hosts, 0.0)


def test_it_leads_nowhere_else(receiver: Receiver, canary: tuple[int, list[Any]]) -> None:
    port, calls = canary
    receiver.says, receiver.location = 302, f"http://127.0.0.1:{port}/"
    assert posted(receiver.url, HERE) == (False, "302") and calls == []
    # A name that is allowed and stands for this machine.
    named = f"http://localhost:{port}/"
    assert posted(named, Hosts.of("localhost")) == (False, "not allowed")
    assert posted(named, Hosts.of("localhost,10.0.0.0/8")) == (False, "not allowed")
    assert posted(f"http://127.0.0.1:{port}/", Hosts.of("10.0.0.0/8,crm.example")) == (False, "not allowed")
    assert calls == [] and posted(receiver.url.replace("127.0.0.1", "localhost"), Hosts.of("localhost,127.0.0.0/8"))[1] == "302"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://10.0.0.1/", "http://user:pw@10.0.0.1/", "http://10.0.0.1.evil.example/", "http://[::1]/", "http://0x0a000001/", "http:///x", "//10.0.0.1",
        "http://169.254.169.254/", "http://crm.example.evil.example/", "http://10.0.0.1:99999/", "http://10.0.0.1/#" + "x", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_not_allowed(url: str) -> None:
    with pytest.raises(Invalid):
        Hosts.of("10.0.0.0/8, CRM.example").allowed(url)
    assert Hosts.of("10.0.0.0/8, CRM.example").allowed("https://crm.example/x") == "crm.example"


def test_who_may(client: Client, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "webhook_hosts", "10.0.0.0/8")
    admin = town.come(connection, "admin", "system_admin")
    connection.execute(sa.text("UPDATE accounts SET totp_at = now(), totp_cipher = '\\x00' WHERE login = 'admin'"))
    body = {"title": "市平台", "url": "https://10.1.2.3/hook", "scope": town.PREFIX, "events": ["closed"]}
    made = client.post("/webhooks", json=body, headers=admin)
    assert made.status_code == 201 and made.json()["secret"].startswith("jws_") and made.headers["cache-control"] == "private, no-store"
    (listed,) = client.get("/webhooks", headers=admin).json()["webhooks"]
    assert listed["url"] == body["url"] and "secret" not in json.dumps(listed)
    assert client.get("/webhooks/deliveries", headers=admin).json() == {"deliveries": []}
    for wrong in ({"url": "https://example.org/"}, {"scope": "123456789"}, {"events": []}, {"events": ["x"]}):
        assert client.post("/webhooks", json=body | wrong, headers=admin).status_code == 422, wrong
    street = {"Authorization": f"Bearer {town.LEADER}"}
    assert client.post("/webhooks", json=body, headers=street).status_code == 403 and client.get("/webhooks", headers=street).status_code == 403
    assert client.delete(f"/webhooks/{made.json()['id']}", headers=admin).status_code == 204
    assert client.delete(f"/webhooks/{made.json()['id']}", headers=admin).status_code == 404
    assert client.post(f"/webhooks/deliveries/{made.json()['id']}/retry", headers=admin).status_code == 404
