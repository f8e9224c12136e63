"""The layers of the map as vector tiles: what is in them, what never is, and for how long they may be kept."""

import re
from collections.abc import Mapping
from uuid import UUID

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.shelf import Shelf
from geo import accounts, db, door, tiles
from geo.catalog import RESOURCES
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.resource import Audience
from tests import town
from tests.conftest import Client, Within


def address(connection: sa.Connection, layer: str, z: int, x: float = 0.5, y: float = 0.5) -> str:
    """The tile that holds a position of the town."""
    lon, lat = town.at(x, y)
    column, row = connection.execute(
        sa.text("SELECT floor((:lon + 180) / 360 * 2 ^ :z)::int, floor((1 - asinh(tan(radians(:lat))) / pi()) / 2 * 2 ^ :z)::int"),
        {"lon": lon, "lat": lat, "z": z},
    ).one()
    return f"/tiles/{layer}/{z}/{column}/{row}.pbf"


@pytest.mark.parametrize(
    "tile",
    ["23/0/0", "-1/0/0", "99/0/0", "5/32/0", "5/0/32", "5/-1/0", "5/0/-1", "0/1/0", "22/4194304/0", "14/99999999999999999999/1"],
)  # fmt: skip
def test_a_tile_that_does_not_exist(client: TestClient, tile: str) -> None:
    refused = client.get(f"/tiles/parts/{tile}.pbf")
    assert refused.status_code in (400, 404)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("tile", ["a/0/0", "1/b/0", "1/0/c", "1.5/0/0", "1/0", "1/0/0/0"])
def test_an_address_that_is_no_tile(client: TestClient, tile: str) -> None:
    assert client.get(f"/tiles/parts/{tile}.pbf").status_code == 404


@pytest.mark.parametrize("query", ["zzz=1", "v=1&v=2", "v=x", "buffer=99999", "extent=1000000", "limit=1"])
def test_nothing_else_may_be_asked_of_a_tile(client: TestClient, query: str) -> None:
    assert client.get(f"/tiles/parts/17/0/0.pbf?{query}").status_code == 400


@pytest.mark.parametrize("layer", ["residents", "households", "dwellings", "units", "posts", "nowhere", "changes", "areas; DROP TABLE areas"])
def test_layers_that_are_none(client: TestClient, layer: str) -> None:
    assert client.get(f"/tiles/{layer}/17/0/0.pbf").status_code == 404


def test_a_tile_without_its_version_is_asked_for_again(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "parts")
    here = address(connection, "parts", 17)
    assert client.get(here).headers["cache-control"] == "no-cache"
    assert client.get(here + "?v=0").headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get(here).headers["content-type"] == "application/vnd.mapbox-vector-tile"


def test_the_version_of_a_layer_moves_with_it(live_client: TestClient, live_engine: sa.Engine) -> None:
    from geo import relay

    relay.step(live_engine)
    before = live_client.get("/tiles/versions").json()
    assert set(before) == {name for name, noun in RESOURCES.items() if noun.geometry}
    live_client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]))
    relay.step(live_engine)
    after = live_client.get("/tiles/versions").json()
    assert after["parts"] > before["parts"]
    assert {name for name in before if before[name] != after[name]} == {"parts"}


@pytest.mark.parametrize(
    ("z", "shown", "hidden"),
    [(11, "云汀街道", "澜溪社区"), (13, "澜溪社区", "第一网格"), (14, "第一网格", "澜溪社区")],
)
def test_one_level_of_areas_a_zoom(client: TestClient, connection: sa.Connection, z: int, shown: str, hidden: str) -> None:
    tiles = {address(connection, "areas", z, x, 1) for x in (0.5, 2, 3.5)}
    content = b"".join(client.get(tile).content for tile in tiles)
    assert shown.encode() in content
    assert hidden.encode() not in content


def test_areas_that_are_no_more_or_not_yet_are_not_drawn(client: TestClient, connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE areas SET valid_to = now() WHERE path = :p"), {"p": town.A})
    town.area(connection, "grid", None, "明年的", 0, 0, 1, 2, valid_from="2099-01-01T00:00:00+08:00")
    content = client.get(address(connection, "areas", 14)).content
    assert "第一网格".encode() not in content
    assert "明年的".encode() not in content


def test_a_layer_is_not_read_where_it_is_not_drawn(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "parts")
    for z in (0, 5, 16):
        assert client.get(address(connection, "parts", z)).status_code == 204


def test_nothing_particular_is_in_a_tile(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "incidents", title="某人家中的事", address="某路某号", description="细节", number="n-1")
    town.add(connection, "organisations", contact="欧阳锋")
    town.add(connection, "buildings", residents=31, address="某路某号")
    for layer in ("incidents", "organisations", "buildings"):
        content = b"".join(client.get(address(connection, layer, 17, *spot)).content for spot in ((0.5, 0.5), (0.5, 1)))
        for word in ("某人家中的事", "某路某号", "细节", "欧阳锋", "residents"):
            assert word.encode() not in content


def test_an_incident_is_drawn_where_its_grid_is(client: TestClient, connection: sa.Connection) -> None:
    # The exact place is for those who work there, whatever the zoom.
    for n, x in enumerate((0.1, 0.9)):
        town.add(connection, "incidents", town.point(x, 0.1), number=str(n))
    label = connection.execute(sa.text("SELECT ST_X(label_point), ST_Y(label_point) FROM areas WHERE path = :p"), {"p": town.A}).one()
    spot = ((label[0] - town.WEST) * 100, (label[1] - town.SOUTH) * 100)
    assert client.get(address(connection, "incidents", 18, 0.1, 0.1)).status_code == 204
    assert client.get(address(connection, "incidents", 18, *spot)).status_code == 200
    told = client.get("/collections/incidents/items").json()["features"]
    assert [f["geometry"]["coordinates"] for f in told] == [pytest.approx(list(label))] * 2


def test_what_is_retired_is_not_drawn(client: TestClient, connection: sa.Connection) -> None:
    id = town.add(connection, "parts")
    here = address(connection, "parts", 17)
    assert client.get(here).status_code == 200
    connection.execute(sa.text("UPDATE parts SET retired_at = now() WHERE id = :id"), {"id": id})
    assert client.get(here).status_code == 204


def test_text_in_a_tile_is_text(client: TestClient, connection: sa.Connection) -> None:
    name = "<img src=x onerror=alert(1)>'; DROP TABLE parts; --"
    town.add(connection, "parts", name=name)
    assert name.encode() in client.get(address(connection, "parts", 17)).content


# Everybody's tiles and one's own


def bound(connection: sa.Connection, entrance: Within, login: str, role: str, *areas: str) -> Caller:
    """Somebody as a request of theirs is bound."""
    appointment = town.post(connection, login, role, *areas, categories=["sample"] if role == "department" else ())
    town.token(connection, appointment, f"token-{login}")
    return door.by_token(entrance, f"token-{login}").caller  # type: ignore[arg-type]


def as_bearer(login: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token-{login}"}


SCOPED = [code for code, role in ROLES.items() if role.scoped]


@pytest.mark.parametrize("role", SCOPED)
def test_whoever_is_drawn_more_has_tiles_of_their_own_and_nobody_else(
    connection: sa.Connection, web: Within, entrance: Within, role: str
) -> None:
    who = bound(connection, entrance, "somebody", role, town.A)
    drawn = {name: noun for name, noun in RESOURCES.items() if noun.geometry and name != "areas"}
    for name, noun in drawn.items():
        # Off the middle of the grid, so that a coarse place is another; drafts too, where there are.
        town.add(connection, name, matter="sample") if noun.category else town.add(connection, name)
        if name == "zones":
            town.add(connection, name, town.box(0.4, 0.4, 0.7, 0.7), state="draft")
    connection.execute(sa.text("UPDATE incidents SET title = 'x'"))
    at = [int(part) for part in address(connection, "x", 17).removesuffix(".pbf").split("/")[-3:]]
    nobody = Caller()
    for name, noun in (drawn | {"areas": RESOURCES["areas"]}).items():
        found = {}
        for caller in (nobody, who):
            with db.transaction(web, caller, read_only=True) as connected:  # type: ignore[arg-type]
                found[caller.actor] = tiles.tile(connected, noun, *at, caller.sees(noun)) if caller.knows(noun) else None
        # All that there is lies in their area: what they are drawn is the same, or the noun is one of which they see more.
        assert tiles.differs(noun, who) == (found["somebody"] != found["anonymous"]), name
    assert tiles.differs(RESOURCES["incidents"], who) == (who.audience >= Audience.WORKER)


@pytest.mark.parametrize("role", [code for code in ROLES if code not in SCOPED])
def test_whoever_has_no_area_has_no_tiles_of_their_own(connection: sa.Connection, entrance: Within, role: str) -> None:
    who = bound(connection, entrance, "somebody", role) if role != "public" else Caller()
    assert [name for name, noun in RESOURCES.items() if tiles.differs(noun, who)] == []


def test_a_worker_sees_the_town_around_and_their_own_grid_in_detail(client: Client, connection: sa.Connection, entrance: Within) -> None:
    bound(connection, entrance, "worker", "grid_worker", town.A)
    for n, x in enumerate((0.5, 2.5)):
        town.add(connection, "parts", town.point(x, 0.5), name=f"part-{n}")
        town.add(connection, "incidents", town.point(x, 0.1), number=str(n))
    mine, beside = (address(connection, "parts", 17, x) for x in (0.5, 2.5))
    assert client.get(beside, headers=as_bearer("worker")).status_code == 204
    everybodys = client.get(beside.replace("/tiles/", "/tiles/public/"), headers=as_bearer("worker"))
    assert b"part-1" in everybodys.content
    assert everybodys.content == client.get(beside).content
    assert client.get(mine, headers=as_bearer("worker")).content == client.get(mine.replace("/tiles/", "/tiles/public/")).content
    # Where it is to the metre, for who works there.
    exact = address(connection, "incidents", 18, 0.5, 0.1)
    assert client.get(exact, headers=as_bearer("worker")).status_code == 200
    assert client.get(exact.replace("/tiles/", "/tiles/public/"), headers=as_bearer("worker")).status_code == 204


def test_a_residents_own_rows_are_never_drawn(client: Client, connection: sa.Connection, entrance: Within) -> None:
    resident = bound(connection, entrance, "resident", "resident")
    for n, x in enumerate((0.1, 2.5)):
        town.add(connection, "incidents", town.point(x, 0.1), number=str(n))
    connection.execute(sa.text("UPDATE incidents SET owner = :who WHERE number = '0'"), {"who": resident.account})
    assert client.get("/collections/incidents/items", headers=as_bearer("resident")).json()["numberReturned"] == 1
    centres = connection.execute(sa.text("SELECT ST_X(label_point), ST_Y(label_point) FROM areas WHERE path IN (:a, :c)"), {"a": town.A, "c": town.C}).all()
    for lon, lat in centres:
        here = address(connection, "incidents", 18, (lon - town.WEST) * 100, (lat - town.SOUTH) * 100)
        told = [client.get(here, headers=headers).content for headers in ({}, as_bearer("resident"))]
        assert told[0] == told[1] != b""


def test_a_browser_keeps_a_tile_of_ones_own_under_its_scope_only(client: Client, connection: sa.Connection, entrance: Within) -> None:
    who, other = bound(connection, entrance, "worker", "grid_worker", town.A), bound(connection, entrance, "beside", "grid_worker", town.C)
    town.add(connection, "incidents")
    here, mine = address(connection, "incidents", 17), tiles.fingerprint(who)
    connection.execute(sa.text("INSERT INTO layer_versions (layer, version) VALUES ('incidents', 7)"))

    def kept(query: str) -> str:
        answer = client.get(here + query, headers=as_bearer("worker"))
        assert answer.headers["vary"] == "Accept-Encoding, Cookie, Authorization"
        return str(answer.headers["cache-control"])

    for v in (0, 6, 7):
        assert kept(f"?v={v}&s={mine}") == "private, max-age=31536000, immutable"
    # Under another's name, none, or that of a version still to come it would be shown when that is asked for.
    for query in ("", "?v=7", f"?s={mine}", f"?v=7&s={tiles.fingerprint(other)}", "?v=7&s=", f"?v=8&s={mine}", f"?v=9223372036854775807&s={mine}"):
        assert kept(query) == "private, no-store"
    for query in ("?s=xyz", "?s=" + "a" * 13, "?v=-1", f"?v={2**63}", "?s=a&s=b"):
        assert client.get(here + query).status_code == 400


def test_a_departments_tile_is_kept_nowhere(client: Client, connection: sa.Connection, entrance: Within) -> None:
    # Which body it stands for, and so what it sees, changes without anybody writing to a layer.
    who = bound(connection, entrance, "department", "department", town.A)
    town.add(connection, "incidents", matter="sample")
    client.app.state.shelf = Shelf()  # type: ignore[attr-defined]
    here = address(connection, "incidents", 17)
    answer = client.get(f"{here}?v=0&s={tiles.fingerprint(who)}", headers=as_bearer("department"))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")
    assert client.app.state.shelf.held == 0  # type: ignore[attr-defined]
    connection.execute(sa.text("UPDATE incidents SET retired_at = now()"))
    assert client.get(here, headers=as_bearer("department")).status_code == 204


def test_nobody_puts_the_tile_of_today_under_the_version_of_tomorrow(client: Client, connection: sa.Connection) -> None:
    town.add(connection, "parts")
    connection.execute(sa.text("INSERT INTO layer_versions (layer, version) VALUES ('parts', 7)"))
    for here in (address(connection, "parts", 17), address(connection, "parts", 17).replace("/tiles/", "/tiles/public/")):
        assert "immutable" in client.get(f"{here}?v=7").headers["cache-control"]
        assert "immutable" not in client.get(f"{here}?v=8").headers["cache-control"]


def test_the_fingerprint_is_of_all_that_binds(connection: sa.Connection, entrance: Within) -> None:
    holders: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "a": ("grid_worker", (town.A,)), "c": ("grid_worker", (town.C,)), "ac": ("grid_worker", (town.A, town.C)), "leading": ("community_leader", (town.A,)),
        "steward": ("steward", (town.A,)), "department": ("department", (town.A,)),
    }  # fmt: skip
    marks = {login: tiles.fingerprint(bound(connection, entrance, f"of-{login}", role, *areas)) for login, (role, areas) in holders.items()}
    assert len(set(marks.values())) == len(marks)
    assert all(re.fullmatch("[0-9a-f]{12}", mark) for mark in marks.values())
    # Who is bound to the same is drawn the same.
    assert tiles.fingerprint(bound(connection, entrance, "again", "grid_worker", town.A)) == marks["a"]


@pytest.mark.usefixtures("quick")
def test_the_map_asks_for_everybodys_tiles_but_where_the_reader_sees_more(client: Client, connection: sa.Connection) -> None:
    def asked() -> dict[str, tuple[str, str]]:
        page = client.get("/", headers={"Accept": "text/html"}).text
        found = re.findall(r'"name": "(\w+)".*?"path": "([\w/]+)", "points": \w+, "query": "([^"]+)"', page)
        return {name: (path, query.encode().decode("unicode_escape")) for name, path, query in found}

    drawn = {name for name, noun in RESOURCES.items() if noun.geometry and noun.audience is Audience.PUBLIC}
    assert asked() == {name: (f"public/{name}", "v=0") for name in drawn}
    account: UUID = town.person(connection, "wang", "grid_worker", town.A)
    elsewhere = accounts.appoint(connection, account, "grid_leader", [town.C])
    client.post("/sessions", json={"login": "wang", "password": town.PASSWORD}, headers=town.OWN)
    mine = asked()
    assert {name for name, (path, _) in mine.items() if path == name} == {"incidents"}
    assert re.fullmatch("v=0&s=[0-9a-f]{12}", mine["incidents"][1])
    # Another appointment, another address: what the browser has kept of the one is not shown as the other's.
    current = client.get("/me").json()["acting_as"]
    other = elsewhere if current == f"grid_worker@{town.A}" else None
    assert other is not None or current == f"grid_leader@{town.C}"
    if other is None:
        held = [held["id"] for held in client.get("/me").json()["appointments"] if held["areas"] == [town.A]]
        other = UUID(held[0])
    assert client.put("/me/acting", json={"appointment": str(other)}, headers=town.OWN).status_code == 204
    assert asked()["incidents"][1] != mine["incidents"][1]
