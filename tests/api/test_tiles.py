"""The layers of the map as vector tiles: what is in them, what never is, and for how long they may be kept."""

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo.catalog import RESOURCES
from tests import town


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
    before = live_client.get("/tiles").json()
    assert set(before) == {name for name, noun in RESOURCES.items() if noun.geometry}
    live_client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]))
    relay.step(live_engine)
    after = live_client.get("/tiles").json()
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
