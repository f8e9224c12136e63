"""As a client of another Open311 server: a small one that is not ours, and one of ours; each request is one case, and is answered."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api import cli_open311
from geo.errors import Invalid, Unavailable
from tests import town

LON, LAT = town.at(0.5, 0.5)
REQUESTS = f"""<?xml version="1.0" encoding="UTF-8"?><service_requests>
<request><service_request_id>638344</service_request_id><status>open</status><service_code>06010</service_code><service_name>垃圾</service_name>
<description>路边有垃圾,李先生 13812345678</description><requested_datetime>2026-04-14T06:37:38-08:00</requested_datetime><lat>{LAT}</lat><long>{LON}</long></request>
<request><service_request_id>638345</service_request_id><status>open</status><service_code>x/1</service_code><description/><lat>nan</lat><long/></request>
<request><service_request_id/><status>open</status></request></service_requests>"""


class Other:
    """A server of requests that knows nothing of us."""

    def __init__(self) -> None:
        self.requests, self.says = REQUESTS, 200
        self.asked: list[dict[str, list[str]]] = []
        self.told: list[dict[str, str]] = []
        other = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                other.asked.append(parse_qs(urlsplit(self.path).query))
                self._answer(other.requests.encode())

            def do_POST(self) -> None:
                other.told.append(dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode())))
                self._answer(b"<service_request_updates/>")

            def _answer(self, body: bytes) -> None:
                self.send_response(other.says)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v2"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.fixture(autouse=True)
def ours(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's transactions are savepoints of the test's."""

    @contextmanager
    def owner() -> Iterator[sa.Connection]:
        with connection.begin_nested():
            yield connection

    monkeypatch.setattr(cli_open311, "owner", owner)


def cases(connection: sa.Connection) -> list[Any]:
    return list(connection.execute(sa.text("SELECT i.*, f.number AS theirs FROM foreign_requests AS f JOIN incidents AS i ON i.id = f.incident ORDER BY f.number")))


def test_requests_come_once_and_how_they_go_is_told(connection: sa.Connection, client: TestClient, other: Other) -> None:
    with httpx2.Client() as asking:
        assert [cli_open311.fetched(asking, other.url, timedelta(days=2)) for _ in range(2)] == [2, 0]
        assert other.asked[0]["status"] == ["open"] and other.asked[0]["start_date"][0].endswith("+00:00")
        one, two = cases(connection)
        assert (one.theirs, one.matter, one.scope, one.state, one.channel, one.sub_source) == ("638344", "06010", town.A, "reported", "public", "open311")
        assert "13812345678" not in one.description and one.description.startswith("垃圾") and "垃圾," not in one.title
        assert (two.matter, two.geom, two.precision) == (None, None, "region")
        # Nothing has happened yet that they do not know.
        assert cli_open311.told_back(asking, other.url) == (0, 0)
        acceptor = town.come(connection, "acceptor", "acceptor", town.A)
        client.post(f"/incidents/{one.id}/moves", json={"action": "accept"}, headers=acceptor)
        other.says = 503
        assert cli_open311.told_back(asking, other.url) == (0, 1)
        with pytest.raises(Unavailable):
            cli_open311.fetched(asking, other.url, timedelta(days=2))
        client.post(f"/incidents/{one.id}/moves", json={"action": "reject", "opinion": "不属本市管辖"}, headers=acceptor)
        other.says = 200
        assert [cli_open311.told_back(asking, other.url) for _ in range(2)] == [(1, 0), (0, 0)]
    told = other.told[-1]
    assert (told["service_request_id"], told["status"], told["description"], told["update_id"]) == ("638344", "CLOSED", "不予受理", "638344-3")
    assert "管辖" not in str(told)


def test_what_our_own_server_tells_is_understood(client: TestClient) -> None:
    form = {"service_code": "06010", "lat": LAT, "long": LON, "description": "路边有垃圾"}
    assert client.post("/open311/v2/requests.xml", data=form, headers=town.NOBODY).status_code == 201
    (node,) = cli_open311.read(client.get("/open311/v2/requests.xml").content)
    request = cli_open311.understood(node)
    assert request is not None and request.number.startswith("R") and request.service == "06010" and request.at is not None


@pytest.mark.parametrize(
    "hostile",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', b"<a>", b"", b"<a>&undefined;</a>", b'{"a": 1}',
        b"<a>\xff</a>",
    ],
)  # fmt: skip
def test_xml_that_is_not_read(hostile: bytes) -> None:
    with pytest.raises(Invalid):
        cli_open311.read(hostile)
