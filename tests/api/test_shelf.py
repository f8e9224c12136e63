"""Tiles kept ready: never one that is over, never one of somebody else's, never more than fits."""

import gzip
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from api.shelf import Answer, Shelf, Tile
from geo import relay, tiles
from tests import town
from tests.api.test_tilesets import WEB_MERCATOR, here, layers
from tests.conftest import Client

KEY = (("parts",), "WebMercatorQuad", 1, 0, 0, "nobody")


def key(x: int = 0, *names: str, mark: str = "nobody") -> tuple[tuple[str, ...], str, int, int, int, str]:
    return (names or ("parts",), "WebMercatorQuad", 9, x, 0, mark)


def test_a_tile_is_made_once_a_version() -> None:
    shelf, made = Shelf(), []

    def make() -> bytes:
        made.append(1)
        return b"x" * 2000

    first = shelf.tile(key(), (1,), make)
    assert first is shelf.tile(key(), (1,), make) and len(made) == 1
    assert first.packed and gzip.decompress(first.content) == first.plain == b"x" * 2000
    assert shelf.tile(key(), (2,), make) is not first and len(made) == 2
    # Somebody slow comes with what is over: it is theirs, and nobody else's.
    shelf.tile(key(), (1,), make)
    assert shelf.tile(key(), (2,), make).versions == (2,) and len(made) == 3


def test_what_is_over_leaves_with_the_next_version() -> None:
    shelf = Shelf()
    for n in range(5):
        shelf.tile(key(n), (1,), lambda: b"x" * 2000)
        shelf.tile(key(n, "roads"), (1,), lambda: b"x" * 2000)
    together = key(9, "parts", "roads")
    shelf.tile(together, (1, 1), lambda: b"y" * 2000)
    before = shelf.held
    shelf.told({"parts": 2})
    assert shelf.held < before and not any(shelf._found(key(n), (1,)) for n in range(5))
    assert shelf._found(together, (1, 1)) is None and all(shelf._found(key(n, "roads"), (1,)) for n in range(5))
    shelf.told({"roads": 2})
    assert shelf.held == 0 and not shelf._tiles


def test_it_holds_no_more_than_it_may() -> None:
    shelf = Shelf(100_000)
    for n in range(1000):
        content = bytes(range(256)) * 8 + n.to_bytes(4, "big")
        shelf.tile(key(n), (1,), lambda content=content: content)
        assert shelf.held <= 100_000
    assert 20 < len(shelf._tiles) < 1000
    # The last ones are those that stay, and one that is too large for the shelf goes by it.
    assert shelf._found(key(999), (1,)) and not shelf._found(key(0), (1,))
    import os

    shelf.tile(key(5000), (1,), lambda: os.urandom(50_000))
    assert shelf._found(key(5000), (1,)) is None
    assert shelf.held == sum(one.size for one in shelf._tiles.values() if isinstance(one, Tile))


def test_who_sees_the_same_has_another_tag() -> None:
    shelf = Shelf()
    tags = {shelf.tile(key(mark=mark), (1,), lambda: b"same").tag for mark in ("a", "b")}
    assert len(tags) == 2


def test_many_ask_and_one_makes() -> None:
    shelf, made, gate = Shelf(), [], threading.Event()

    def make() -> bytes:
        made.append(1)
        gate.wait(5)
        return b"once"

    asking = [threading.Thread(target=shelf.tile, args=(key(), (1,), make)) for _ in range(8)]
    for one in asking:
        one.start()
    while not made:
        time.sleep(0.001)
    gate.set()
    for one in asking:
        one.join(5)
    assert len(made) == 1 and not shelf._making


def test_a_failure_is_not_kept() -> None:
    shelf = Shelf()
    with pytest.raises(ZeroDivisionError):
        shelf.tile(key(), (1,), lambda: b"%d" % (1 // 0))
    assert shelf.tile(key(), (1,), lambda: b"well").plain == b"well" and not shelf._making


def test_an_answer_is_believed_while_the_watch_is_awake() -> None:
    shelf = Shelf()
    asked = (b"/tiles/public/parts/1/0/0.pbf", b"", True)
    shelf.keep(asked, Answer(("parts",), (1,), 200, [], b"", b""))
    assert shelf.answer(asked) is None
    shelf.told({"parts": 1})
    assert shelf.answer(asked)
    shelf.told({"parts": 2})
    assert shelf.answer(asked) is None
    shelf.keep(asked, Answer(("parts",), (2,), 200, [], b"", b""))
    assert shelf.answer(asked) and not shelf.idle
    shelf._watched = (shelf._watched[0], time.monotonic() - 1)
    assert shelf.answer(asked) is None


@pytest.fixture
def parts(live_engine: sa.Engine) -> str:
    """The address of the tile at which the parts of the town are."""
    with live_engine.begin() as connection:
        town.add(connection, "parts", name="第一件")
    relay.step(live_engine)
    row, column = here(WEB_MERCATOR, 17)
    return f"17/{column}/{row}"


def names(answer: Any) -> set[str]:
    """What is named in a tile of parts."""
    assert answer.status_code in (200, 204)
    return {f.attributes["label"] for f in layers(answer.content).get("parts_labels", [])} if answer.content else set()


def test_on_a_running_server(live_client: Client, live_engine: sa.Engine, parts: str) -> None:
    # One database for all of it: each costs a second to make.
    from_the_shelf_or_not_it_is_the_same_answer(live_client, live_engine, parts)
    the_watch_notices_by_itself(live_client, live_engine, parts)
    nobody_sees_a_tile_of_before_a_version(live_client, live_engine, parts)
    what_a_caller_is_shown_is_kept_for_them_alone(live_client, live_engine)
    boundaries_that_come_into_force_are_another_version(live_engine)


def nobody_sees_a_tile_of_before_a_version(live_client: Client, live_engine: sa.Engine, parts: str) -> None:
    row, column = parts.split("/")[2], parts.split("/")[1]
    everybodys, own = f"/tiles/public/parts/{parts}.pbf", f"/collections/parts/tiles/WebMercatorQuad/17/{row}/{column}"
    together = f"/tiles/WebMercatorQuad/17/{row}/{column}?collections=areas,parts"
    addresses = (everybodys, own, together)
    shelf: Shelf = live_client.app.state.shelf  # type: ignore[attr-defined]

    def asked() -> list[set[str]]:
        return [names(live_client.get(address, headers=town.NOBODY)) for address in addresses]

    assert asked() == [{"第一件", "第2件"}] * 3
    for n in range(3, 6):
        before = tiles.versions(live_engine.connect())["parts"]
        with live_engine.begin() as connection:
            town.add(connection, "parts", name=f"第{n}件")
        # Before the version moves, what is kept or what is new; nothing else.
        assert all(one >= {"第一件", *(f"第{k}件" for k in range(2, n))} for one in asked())
        relay.step(live_engine)
        # The watch may not have looked yet: it is told what it would see.
        with live_engine.connect() as connection:
            shelf.told(tiles.versions(connection))
        assert tiles.versions(live_engine.connect())["parts"] > before
        assert asked() == [{"第一件", *(f"第{k}件" for k in range(2, n + 1))}] * 3


def the_watch_notices_by_itself(live_client: Client, live_engine: sa.Engine, parts: str) -> None:
    address = f"/tiles/public/parts/{parts}.pbf"
    for _ in range(200):
        assert names(live_client.get(address)) == {"第一件"}
        if live_client.app.state.shelf.answer((address.encode(), b"", True)):  # type: ignore[attr-defined]
            break
        time.sleep(0.02)
    else:
        pytest.fail("nothing was kept for everybody")
    with live_engine.begin() as connection:
        town.add(connection, "parts", name="第2件")
    relay.step(live_engine)
    patience = time.monotonic() + 10
    while names(live_client.get(address)) != {"第一件", "第2件"}:
        assert time.monotonic() < patience
    assert names(live_client.get(address)) == {"第一件", "第2件"}


def from_the_shelf_or_not_it_is_the_same_answer(live_client: Client, live_engine: sa.Engine, parts: str) -> None:
    shelf: Shelf = live_client.app.state.shelf  # type: ignore[attr-defined]
    with live_engine.connect() as connection:
        v = tiles.versions(connection)["parts"]
    for address in (f"/tiles/public/parts/{parts}.pbf", f"/tiles/public/parts/{parts}.pbf?v={v}", f"/tiles/public/parts/{parts}.pbf?v={v + 1}"):
        for headers in ({"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}):
            shelf._watched = (0.0, 0.0)
            made = live_client.get(address, headers=headers)
            with live_engine.connect() as connection:
                shelf.told(tiles.versions(connection))
            kept = live_client.get(address, headers=headers)
            assert (kept.status_code, kept.content, dict(kept.headers)) == (made.status_code, made.content, dict(made.headers))
            assert kept.headers["content-security-policy"].startswith("default-src 'none'")
            assert ("immutable" in kept.headers["cache-control"]) == address.endswith(f"?v={v}")
            again = live_client.get(address, headers=headers | {"If-None-Match": made.headers["etag"]})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", made.headers["etag"])


def what_a_caller_is_shown_is_kept_for_them_alone(live_client: Client, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        people = {login: town.come(connection, login, "grid_worker", area) for login, area in (("wa", town.A), ("wc", town.C))}
        town.add(connection, "incidents", town.point(0.5, 0.1), number="1")
        leader = {"Authorization": f"Bearer {town.LEADER}"}
    relay.step(live_engine)
    row, column = here(WEB_MERCATOR, 18, 0.5, 0.1)
    address = f"/tiles/incidents/18/{column}/{row}.pbf"
    expected = {"wa": 200, "wc": 204, "leader": 200, "nobody": 204}
    for _ in range(3):
        for who, headers in {**people, "leader": leader, "nobody": {}}.items():
            answer = live_client.get(address, headers=headers)
            assert answer.status_code == expected[who], who
            with live_engine.connect() as connection:
                live_client.app.state.shelf.told(tiles.versions(connection))  # type: ignore[attr-defined]


def boundaries_that_come_into_force_are_another_version(live_engine: sa.Engine) -> None:
    relay.step(live_engine)
    with live_engine.begin() as connection:
        before = tiles.versions(connection)
        connection.execute(sa.text("UPDATE relay SET struck_at = now() - interval '1 hour'"))
        connection.execute(sa.text("ALTER TABLE areas DISABLE TRIGGER z_changed"))
        connection.execute(sa.text("UPDATE areas SET valid_to = now() - interval '1 minute' WHERE path = :p"), {"p": town.A})
    relay.strike(live_engine)
    with live_engine.connect() as connection:
        after = tiles.versions(connection)
    # The areas, and what is seen by who answers for one of those it lies in.
    moved = {name for name in after if after[name] > before[name]}
    assert {"areas", "roads", "zones", "land_parcels"} <= moved and "parts" not in moved
