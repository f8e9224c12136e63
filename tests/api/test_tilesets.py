"""OGC API Tiles, TileJSON and styles: what they say of our tiles is so, to a program that knows only the standards."""

import json
import math
import re
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.tilesets import CONFORMANCE, SCHEME, VECTOR
from geo.catalog import RESOURCES
from geo.matrices import CGCS2000, MATRIX_SETS, WEB_MERCATOR, MatrixSet
from tests import town
from tests.access.answers import layers
from tests.conftest import ROOT, Client

DRAWN = [name for name, noun in RESOURCES.items() if noun.geometry and not noun.personal]
SETS = list(MATRIX_SETS.values())


def here(cut: MatrixSet, z: int, x: float = 0.5, y: float = 0.5) -> tuple[int, int]:
    """Row and column of the tile that holds a position of the town, by the standard's own formula on what the set says of itself."""
    lon, lat = town.at(x, y)
    matrix = next(one for one in cut.document("")["tileMatrices"] if one["id"] == str(z))
    east, north = (lon, lat) if cut is CGCS2000 else (math.radians(lon) * 6378137, math.asinh(math.tan(math.radians(lat))) * 6378137)
    left, top = matrix["pointOfOrigin"] if cut is WEB_MERCATOR else reversed(matrix["pointOfOrigin"])
    side = matrix["cellSize"] * matrix["tileWidth"]
    return math.floor((top - north) / side), math.floor((east - left) / side)


def linked(told: dict[str, Any], rel: str) -> str:
    """Where a link of this kind leads, below the server."""
    return str(next(link["href"] for link in told["links"] if link["rel"] == rel)).removeprefix("http://testserver")


def test_the_way_from_the_landing_page_to_a_tile(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "parts")
    landing = client.get("/?f=json").json()
    assert set(CONFORMANCE) == set(client.get(linked(landing, "conformance")).json()["conformsTo"])
    sets = client.get(linked(landing, VECTOR)).json()
    assert [one["dataType"] for one in sets["tilesets"]] == ["vector", "vector"]
    for one, cut in zip(sets["tilesets"], SETS, strict=True):
        told = client.get(linked(one, "self")).json()
        scheme = client.get(linked(told, SCHEME)).json()
        assert (scheme["id"], scheme["crs"]) == (cut.id, told["crs"])
        row, column = here(cut, 17)
        bounds = next(limit for limit in told["tileMatrixSetLimits"] if limit["tileMatrix"] == "17")
        assert bounds["minTileRow"] <= row <= bounds["maxTileRow"] and bounds["minTileCol"] <= column <= bounds["maxTileCol"]
        address = linked(told, "item").format(tileMatrix=17, tileRow=row, tileCol=column)
        answer = client.get(address)
        assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
        assert {"parts", "parts_labels", "areas"} <= set(layers(answer.content))
        assert set(layers(answer.content)) <= {layer["id"] for layer in told["layers"]}


@pytest.mark.parametrize("name", DRAWN)
def test_every_collection_has_its_tiles(client: TestClient, connection: sa.Connection, name: str) -> None:
    collection = client.get(f"/collections/{name}").json()
    tilesets = client.get(linked(collection, VECTOR)).json()["tilesets"]
    for one, cut in zip(tilesets, SETS, strict=True):
        told = client.get(linked(one, "self")).json()
        own = told["layers"][0]
        assert (own["id"], own["minTileMatrix"]) == (name, str(max(cut.first, RESOURCES[name].style.zooms[0])))
        assert "{tileMatrix}/{tileRow}/{tileCol}" in linked(told, "item")


@pytest.mark.parametrize("cut", SETS, ids=lambda cut: cut.id)
def test_a_corner_lies_where_the_set_says(client: TestClient, connection: sa.Connection, cut: MatrixSet) -> None:
    town.add(connection, "parts", town.point(0.5, 0.5))
    for z in (17, 20):
        row, column = here(cut, z)
        found = layers(client.get(f"/collections/parts/tiles/{cut.id}/{z}/{row}/{column}").content)["parts"]
        [(x, y)] = found[0].positions
        west, south, east, north = cut.degrees(z, column, row)
        lon, lat = town.at(0.5, 0.5)
        assert x == pytest.approx((lon - west) / (east - west), abs=1 / 4096)
        assert y == pytest.approx((north - lat) / (north - south), abs=1 / 2000)
        assert client.get(f"/collections/parts/tiles/{cut.id}/{z}/{row}/{column + 1}").status_code == 204


def test_degrees_are_cut_as_tianditu_does() -> None:
    first = CGCS2000.document("")["tileMatrices"][0]
    assert (first["id"], first["matrixWidth"], first["matrixHeight"], first["cellSize"]) == ("1", 2, 1, 0.703125)
    # As its capabilities say, to the millionth.
    assert first["scaleDenominator"] == pytest.approx(2.958293554545656e8 * 279541132.0143589 / 295829355.4545656)
    assert CGCS2000.box(1, 0, 0) == (-180, -90, 0, 90)
    assert not any(CGCS2000.holds(*tile) for tile in ((0, 0, 0), (1, 0, 1), (2, 0, 2), (1, 2, 0)))
    assert WEB_MERCATOR.document("")["tileMatrices"][0]["scaleDenominator"] == pytest.approx(559082264.0287178)


def test_several_layers_in_one_tile(client: TestClient, connection: sa.Connection) -> None:
    for name in ("parts", "facilities", "buildings"):
        town.add(connection, name)
    row, column = here(WEB_MERCATOR, 17)
    at = f"/tiles/WebMercatorQuad/17/{row}/{column}"
    alone = [client.get(f"/collections/{name}/tiles/WebMercatorQuad/17/{row}/{column}").content for name in ("parts", "buildings")]
    assert client.get(f"{at}?collections=parts,buildings").content == b"".join(alone)
    assert {"parts", "facilities", "buildings", "areas"} <= set(layers(client.get(at).content))
    for wrong in ("parts,parts", "nowhere", "", "parts,", "residents", ",".join(["parts"] * 400), "parts,units"):
        assert client.get(at, params={"collections": wrong}).status_code == 400, wrong


@pytest.mark.parametrize(
    "path",
    ["NoSuchQuad", "NoSuchQuad/1/0/0", "WebMercatorQuad/x/0/0", "WebMercatorQuad/1/0", "CGCS2000Quad/tilejson.json", "CGCS2000Quad/style.json", "webmercatorquad"],
)
def test_what_is_not_there(client: TestClient, path: str) -> None:
    for at in ("/tiles", "/collections/parts/tiles"):
        assert client.get(f"{at}/{path}").status_code == 404


@pytest.mark.parametrize("tile", ["WebMercatorQuad/23/0/0", "WebMercatorQuad/1/2/0", "CGCS2000Quad/0/0/0", "CGCS2000Quad/1/1/0", "WebMercatorQuad/-1/0/0", "WebMercatorQuad/9/9/999999999999999999999"])
def test_tiles_that_do_not_exist(client: TestClient, tile: str) -> None:
    for at in ("/tiles", "/collections/parts/tiles"):
        assert client.get(f"{at}/{tile}").status_code == 400
        assert client.get(f"{at}/WebMercatorQuad/9/9/9?limit=1").status_code == 400


@pytest.mark.parametrize("name", DRAWN)
def test_tilejson_and_style(client: TestClient, connection: sa.Connection, name: str) -> None:
    at = f"/collections/{name}/tiles/WebMercatorQuad"
    told = client.get(f"{at}/tilejson.json").json()
    noun = RESOURCES[name]
    assert (told["tilejson"], told["vector_layers"][0]["id"], told["minzoom"]) == ("3.0.0", name, noun.style.zooms[0])
    west, south, east, north = told["bounds"]
    assert west < town.at(0.5, 0.5)[0] < east and south < town.at(0.5, 0.5)[1] < north
    row, column = here(WEB_MERCATOR, 17)
    assert client.get(told["tiles"][0].format(z=17, x=column, y=row)).status_code in (200, 204)
    style = client.get(f"{at}/style.json").json()
    assert style["version"] == 8 and style["sources"]["jingwei"]["url"].endswith(f"{at}/tilejson.json")
    drawn = [layer for layer in style["layers"] if layer["type"] != "background"]
    assert {layer["source-layer"] for layer in drawn} == {name}
    told_of = json.dumps(drawn)
    # Every colour of the declared palette is in it.
    for _, color in noun.style.palette:
        assert color in told_of or name == "areas"


def test_a_style_of_all_in_their_order(client: TestClient, connection: sa.Connection) -> None:
    style = client.get("/tiles/WebMercatorQuad/style.json?collections=roads,areas,buildings").json()
    order = list(dict.fromkeys(layer.get("source-layer") for layer in style["layers"]))
    assert order == [None, "roads", "areas", "buildings"]
    assert style["sources"]["jingwei"]["url"].endswith("/tiles/WebMercatorQuad/tilejson.json?collections=roads,areas,buildings")
    told = client.get(style["sources"]["jingwei"]["url"]).json()
    assert {layer["id"].removesuffix("_labels") for layer in told["vector_layers"]} == {"roads", "areas", "buildings"}


def test_what_a_caller_does_not_know_is_in_no_set(client: Client, connection: sa.Connection) -> None:
    for path in ("/collections/residents/tiles", "/collections/posts/tiles/WebMercatorQuad", "/collections/units/tiles/WebMercatorQuad/17/1/1"):
        assert client.get(path).status_code == 404
    worker = town.come(connection, "worker", "grid_worker", town.A)
    mine = client.get("/collections/incidents/tiles/WebMercatorQuad/tilejson.json", headers=worker).json()["tiles"][0]
    everybodys = client.get("/collections/incidents/tiles/WebMercatorQuad/tilejson.json").json()["tiles"][0]
    assert "/tiles/public/" in everybodys and "/collections/incidents/tiles/" in mine
    town.add(connection, "incidents", town.point(0.5, 0.1))
    row, column = here(WEB_MERCATOR, 18, 0.5, 0.1)
    address = f"/collections/incidents/tiles/WebMercatorQuad/18/{row}/{column}"
    assert client.get(address).status_code == 204
    answer = client.get(address, headers=worker)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")


# Coarser zoom by zoom


def tile(client: TestClient, name: str, z: int, x: float = 0.5, y: float = 0.5) -> dict[str, Any]:
    row, column = here(WEB_MERCATOR, z, x, y)
    return layers(client.get(f"/collections/{name}/tiles/WebMercatorQuad/{z}/{row}/{column}").content)


def test_points_near_each_other_are_one_with_their_number(client: TestClient, connection: sa.Connection) -> None:
    # A hand's breadth apart, two kinds of them, and one by itself.
    for n in range(7):
        town.add(connection, "facilities", town.point(0.5 + n / 1e6, 0.5), name=f"f{n}")
    alone = town.add(connection, "facilities", town.point(0.45, 0.45), name="alone")
    found = tile(client, "facilities", 14)["facilities"]
    told = {feature.attributes.get("id"): feature.attributes.get("count") for feature in found}
    assert told == {None: 7, str(alone): None}
    assert len(tile(client, "facilities", 15)["facilities"]) >= 7


def test_nobody_is_counted_twice_at_an_edge(client: TestClient, connection: sa.Connection) -> None:
    row, column = here(WEB_MERCATOR, 14)
    west, south, east, north = WEB_MERCATOR.degrees(14, column, row)
    for lon, lat in ((west, north), (east, south), (west, (south + north) / 2), (east, (south + north) / 2), ((west + east) / 2, north), ((west + east) / 2, south)):
        town.add(connection, "facilities", {"type": "Point", "coordinates": [lon, lat]})
    counted = 0
    for x in (-1, 0, 1):
        for y in (-1, 0, 1):
            answer = client.get(f"/collections/facilities/tiles/WebMercatorQuad/14/{row + y}/{column + x}")
            counted += sum(f.attributes.get("count", 1) for f in layers(answer.content).get("facilities", []))
    assert counted == 6


def test_each_value_is_counted_for_itself(client: TestClient, connection: sa.Connection) -> None:
    for n, state in enumerate(("accepted", "accepted", "closed")):
        town.add(connection, "incidents", town.point(0.5, 0.5), number=str(n), state=state)
    label = connection.execute(sa.text("SELECT ST_X(label_point), ST_Y(label_point) FROM areas WHERE path = :p"), {"p": town.A}).one()
    found = tile(client, "incidents", 13, (label[0] - town.WEST) * 100, (label[1] - town.SOUTH) * 100)["incidents"]
    assert sorted((f.attributes["stage"], f.attributes.get("count", 1)) for f in found) == [("accept", 2), ("close", 1)]


def test_lanes_and_crumbs_come_later(client: TestClient, connection: sa.Connection) -> None:
    for kind in ("trunk", "street", "lane"):
        town.add(connection, "roads", kind=kind)
    for z, due in ((11, {"trunk"}), (12, {"trunk", "street"}), (14, {"trunk", "street", "lane"})):
        assert {f.attributes["kind"] for f in tile(client, "roads", z)["roads"]} == due
    town.add(connection, "land_parcels", town.box(0.5, 0.5, 0.51, 0.51))
    assert "land_parcels" not in tile(client, "land_parcels", 11)
    assert "land_parcels" in tile(client, "land_parcels", 16)
    # A zone is never too small to be seen.
    town.add(connection, "zones", town.box(0.5, 0.5, 0.501, 0.501))
    assert "zones" in tile(client, "zones", 11)


def test_names_come_with_the_zoom_that_shows_them(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "buildings", name="一号楼")
    assert set(tile(client, "buildings", 15)) == {"buildings"}
    assert set(tile(client, "buildings", 16)) == {"buildings", "buildings_labels"}


def test_lines_have_fewer_bends_from_afar(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "roads", town.line(*[(n / 1000, 0.5 + n % 2 / 100_000) for n in range(1000)]), kind="trunk")
    [road] = tile(client, "roads", 12)["roads"]
    assert len(road.positions) < 10


def test_only_id_and_style_are_in_a_tile(client: TestClient, connection: sa.Connection) -> None:
    for name in DRAWN:
        noun = RESOURCES[name]
        if name != "areas":
            town.add(connection, name)
        for z in (13, 14, 17):
            for layer, features in tile(client, name, z).items():
                allowed = {"id", "label"} if layer.endswith("_labels") else {"id", "count", noun.style.by}
                assert {key for feature in features for key in feature.attributes} <= allowed, layer


# What is claimed


@pytest.mark.parametrize("at", ["/tiles", "/collections/buildings/tiles"])
def test_a_tileset_says_what_the_standard_asks(client: TestClient, at: str) -> None:
    for brief, cut in zip(client.get(at).json()["tilesets"], SETS, strict=True):
        told = client.get(linked(brief, "self")).json()
        assert linked(brief, "self") == f"{at}/{cut.id}"
        for one in (brief, told):
            assert (one["dataType"], one["crs"], one.get("tileMatrixSetURI")) == ("vector", cut.crs, cut.known)
            assert linked(one, SCHEME) == f"/tileMatrixSets/{cut.id}"
        [item] = [link for link in told["links"] if link["rel"] == "item"]
        assert item["templated"] is True and item["type"] == "application/vnd.mapbox-vector-tile"
        assert all(name in item["href"] for name in ("{tileMatrix}", "{tileRow}", "{tileCol}"))


def test_every_claim_is_shown_by_a_test_that_there_is() -> None:
    text = (ROOT / "docs" / "standards.md").read_text(encoding="utf-8")
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name
    shown = set(re.findall(r"`/conf/([\w-]+)/", text)) | set(re.findall(r"`((?:json-)?tilematrixset)`", text))
    assert {claim.rpartition("/")[2] for claim in CONFORMANCE if "common" not in claim} == shown
