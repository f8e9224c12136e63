"""What changed, told as it happens: to whom it concerns, in order, once, and on from where it broke off."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpx2 as httpx
import pytest
import sqlalchemy as sa
from starlette.requests import Request

from api import live
from geo import relay
from geo.catalog import RESOURCES
from tests import town
from tests.conftest import Client, Server


def test_a_list_of_ones_own(live_client: Client, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        mine, theirs = town.come(connection, "mine", "grid_worker", town.A), town.come(connection, "theirs", "grid_worker", town.C)
    relay.step(live_engine)
    begun = live_client.get("/changes", headers=mine).json()["last"]
    made = live_client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]))
    relay.step(live_engine)
    told = live_client.get("/changes", params={"after": begun}, headers=mine).json()
    assert [(row["noun"], row["feature"], row["operation"]) for row in told["changes"]] == [("parts", made.json()["id"], "add")]
    assert set(told["changes"][0]) == {"number", "at", "noun", "feature", "operation", "batch"}
    assert live_client.get("/changes", params={"after": begun}, headers=theirs).json() == {"changes": [], "last": begun}
    assert live_client.get("/changes", params={"after": told["last"]}, headers=mine).json()["changes"] == []
    assert live_client.get("/changes", headers=town.NOBODY).status_code == 401


def test_what_is_anothers_is_looked_through_once(live_client: Client, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        theirs = town.caller(connection, "theirs", "grid_worker", town.C)
    relay.step(live_engine)
    request = Request({"type": "http", "app": live_client.app})

    async def twice() -> tuple[int, int]:
        _, begun = await live.asked(request, theirs, 0)
        assert live_client.post("/collections/parts/items", json=town.example(RESOURCES["parts"])).status_code == 201
        relay.step(live_engine)
        await anyio.sleep(live.PACE)
        told, reached = await live.asked(request, theirs, begun)
        assert told == []
        return begun, reached

    # In a thread of its own: a browser of another test may have a loop at work in this one.
    with ThreadPoolExecutor(1) as apart:
        begun, reached = apart.submit(anyio.run, twice).result()
    assert reached > begun


class Listener(threading.Thread):
    """Somebody whose page listens: what was heard, and when."""

    def __init__(self, server: Server, cookies: httpx.Cookies, since: int | None = None) -> None:
        super().__init__(daemon=True)
        self.server, self.cookies, self.since = server, cookies, since
        self.heard: list[tuple[dict[str, object], float]] = []
        self.last, self.open, self.over = 0, threading.Event(), threading.Event()

    def run(self) -> None:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(self.since)} if self.since is not None else {})
        with httpx.Client(cookies=self.cookies, timeout=60) as client, client.stream("GET", f"{self.server}/changes", headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    self.last = int(line[4:])
                    self.open.set()
                elif line.startswith("data: "):
                    self.heard.append((json.loads(line[6:]), time.monotonic()))
                if self.over.is_set():
                    return

    def hears(self, feature: str, seconds: float = 10) -> dict[str, object]:
        """The event about a record."""
        patience = time.monotonic() + seconds
        while time.monotonic() < patience:
            for told, _ in self.heard:
                if told["feature"] == feature:
                    return told
            time.sleep(0.02)
        raise AssertionError(f"nothing was heard of {feature}: {self.heard}")


@pytest.fixture
def street(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=str(server), timeout=30, headers={"Sec-Fetch-Site": "same-origin"}) as client:
        assert client.post("/sessions", json={"login": "street", "password": server.password}).status_code in (200, 201)
        yield client


def reported(client: httpx.Client, title: str) -> str:
    """A case of the sample town, and its id."""
    point = client.get("/collections/buildings/items", params={"limit": 1}).json()["features"][0]["geometry"]["coordinates"]
    while isinstance(point[0], list):
        point = point[0]
    made = client.post("/collections/incidents/items", json={
        "type": "Feature", "geometry": {"type": "Point", "coordinates": point[:2]}, "properties": {"title": title, "channel": "patrol", "matter": "28001"}})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def test_a_page_hears_of_it_and_goes_on_where_it_broke_off(server: Server, street: httpx.Client) -> None:
    first = Listener(server, street.cookies)
    first.start()
    assert first.open.wait(10)
    case = reported(street, "井盖缺失")
    assert first.hears(case)["operation"] == "add"
    first.over.set()
    moved = street.post(f"/incidents/{case}/moves", json={"action": "accept"})
    assert moved.status_code == 201, moved.text
    again = Listener(server, street.cookies, since=first.last)
    again.start()
    assert again.hears(case)["operation"] == "change"
    numbers = [told["number"] for told, _ in (*first.heard, *again.heard)]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    again.over.set()
