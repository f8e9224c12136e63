"""`/nearest`, `/within`, `/aggregate`, `/identify`: right to the metre, filtered, and of any layer."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from pyproj import Geod
from starlette.testclient import TestClient

from geo import asking
from tests import town
from tests.conftest import Client

GEOD = Geod(ellps="WGS84")


def asked(client: TestClient, path: str, **parameters: object) -> dict[str, Any]:
    """An answer to a question about the middle of grid A, unless another place is given."""
    place = {} if "of" in parameters else dict(zip(("lon", "lat"), town.at(0.5, 0.5), strict=True))
    answer = client.get(path, params=place | parameters)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def names(told: dict[str, Any]) -> list[str]:
    return [feature["properties"]["name"] for feature in told["features"]]


@pytest.fixture
def shelters(connection: sa.Connection) -> dict[str, tuple[float, float]]:
    """Facilities around the middle of grid A: two to the north and east that degrees and metres put in another order."""
    spots = {"here": (0.5, 0.5), "east": (0.6, 0.5), "north": (0.5, 0.59), "far": (0.5, 1.9), "farther": (3.5, 1.0)}
    for name, spot in spots.items():
        town.add(connection, "facilities", town.point(*spot), name=name, status="open" if name != "here" else "closed")
    return spots


@pytest.mark.usefixtures("shelters")
def test_the_nearest_in_metres_not_in_degrees(client: TestClient, shelters: dict[str, tuple[float, float]]) -> None:
    # At 30° a degree of longitude is shorter: 0.001 east is 96 m, 0.0009 north 100 m.
    told = asked(client, "/nearest", layer="facilities", k=3)
    assert names(told) == ["here", "east", "north"]
    for feature in told["features"]:
        metres = GEOD.inv(*town.at(0.5, 0.5), *town.at(*shelters[feature["properties"]["name"]]))[2]
        assert feature["properties"]["distance_m"] == pytest.approx(metres, rel=0.001, abs=0.01)
    assert names(asked(client, "/nearest", layer="facilities", k=1)) == ["here"]
    assert names(asked(client, "/nearest", layer="facilities", k=5, metres=200)) == ["here", "east", "north"]
    assert names(asked(client, "/nearest", layer="facilities", k=2, status="open")) == ["east", "north"]


@pytest.mark.usefixtures("shelters")
def test_the_nearest_of_any_number_is_as_all_in_their_order(client: TestClient, connection: sa.Connection) -> None:
    for n in range(40):
        town.add(connection, "facilities", town.point(0.5 + (n * 37 % 41 - 20) / 30, 0.5 + (n * 23 % 43 - 21) / 30), name=f"n{n}")
    every = asked(client, "/within", layer="facilities", metres=50_000, limit=1000)
    far = [feature["properties"]["distance_m"] for feature in every["features"]]
    assert (every["numberMatched"], every["numberReturned"], far) == (45, 45, sorted(far))
    for k in (1, 2, 3, 7, 20, 44, 100):
        assert [f["id"] for f in asked(client, "/nearest", layer="facilities", k=k, metres=50_000)["features"]] == [f["id"] for f in every["features"]][:k]


def test_within_so_many_metres(client: TestClient, shelters: dict[str, tuple[float, float]]) -> None:
    for name, spot in shelters.items():
        metres = GEOD.inv(*town.at(0.5, 0.5), *town.at(*spot))[2]
        if metres:
            assert name in names(asked(client, "/within", layer="facilities", metres=metres * 1.0005))
            assert name not in names(asked(client, "/within", layer="facilities", metres=metres * 0.9995))
    told = asked(client, "/within", layer="facilities", metres=5000, limit=2)
    assert (told["numberMatched"], told["numberReturned"]) == (5, 2)


@pytest.mark.usefixtures("shelters")
def test_within_of_a_feature_and_of_a_shape(client: Client, connection: sa.Connection) -> None:
    zone = town.add(connection, "zones", town.box(0.4, 0.4, 0.6, 0.6))
    told = asked(client, "/within", layer="facilities", of=f"zones/{zone}", metres=5)
    assert names(told) == ["here", "north", "east"] or set(names(told)) == {"here", "east", "north"}
    assert {f["properties"]["distance_m"] for f in told["features"]} == {0}
    drawn = {"layer": "facilities", "geometry": town.box(0.55, 0.4, 0.7, 0.55)}
    answer = client.post("/within", json=drawn, headers=town.NOBODY)
    assert (answer.status_code, names(answer.json())) == (200, ["east"])
    assert set(names(client.post("/within", json=drawn | {"metres": 100}, headers=town.NOBODY).json())) == {"here", "east", "north"}
    assert names(client.post("/within", json=drawn | {"where": {"status": "closed"}, "metres": 100}, headers=town.NOBODY).json()) == ["here"]
    line = {"layer": "facilities", "geometry": town.line((0.5, 0.4), (0.5, 0.7))}
    assert set(names(client.post("/within", json=line, headers=town.NOBODY).json())) == {"here", "north"}
    # A draft is nobody's to ask around.
    draft = town.add(connection, "zones", state="draft")
    assert client.get("/within", params={"layer": "facilities", "of": f"zones/{draft}", "metres": 5}).status_code == 404


def test_what_is_located_to_a_region_is_near_to_nothing(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "facilities", precision="region", stated_area="第一网格")
    assert asked(client, "/within", layer="facilities", metres=50_000)["numberMatched"] == 0
    assert asked(client, "/nearest", layer="facilities", metres=50_000)["numberReturned"] == 0
    assert [row["value"] for row in added_up(client, layer="facilities")] == [0, 0, 0, 0]


def test_a_datum_is_undone(client: TestClient, shelters: dict[str, tuple[float, float]]) -> None:
    moved = asked(client, "/nearest", layer="facilities", k=1, datum="gcj02")["features"][0]["properties"]
    assert moved["name"] != "here" or moved["distance_m"] > 100


def test_of_a_layer_of_somebodys_own(client: TestClient, connection: sa.Connection) -> None:
    edition = connection.scalar(sa.text("SELECT uuid_v7()"))
    account = connection.scalar(sa.text("SELECT id FROM accounts LIMIT 1"))
    connection.execute(sa.text("INSERT INTO batches (id, noun, source, actor) VALUES (:e, 'layers', 'test', 'test')"), {"e": edition})
    connection.execute(
        sa.text("INSERT INTO layers (id, scope, title, about, kind, audience, color, opacity, columns, rows, edition, batch, account)"
                " VALUES (:e, :scope, '水井', '', 'point', 0, '#0A7D3C', 1, '[]', 2, :e, :e, :account)"),
        {"e": edition, "scope": town.PREFIX, "account": account},
    )
    for n, x in enumerate((0.5, 0.6)):
        connection.execute(
            sa.text("INSERT INTO layer_features (edition, id, properties, geom) VALUES (:e, uuid_v7(), CAST(:p AS jsonb), ST_SetSRID(ST_GeomFromGeoJSON(:g), 4326))"),
            {"e": edition, "p": json.dumps({"no": n}), "g": json.dumps(town.point(x, 0.5))},
        )
    told = asked(client, "/nearest", layer=str(edition))
    assert [(f["properties"]["no"], round(f["properties"]["distance_m"])) for f in told["features"]] == [(0, 0), (1, 97)]
    assert asked(client, "/within", layer=str(edition), metres=50)["numberMatched"] == 1
    assert client.get("/nearest", params={"layer": str(edition), "lon": 1, "lat": 1, "no": 1}).status_code == 400
    found = asked(client, "/identify", z=18, f="json", own=str(edition))["found"]
    assert {"layer": str(edition), "title": "水井", "properties": {}} in found or any(one["layer"] == str(edition) for one in found)


# How much there is where

def added_up(client: TestClient, headers: dict[str, str] | None = None, **parameters: object) -> list[dict[str, Any]]:
    answer = client.get("/aggregate", params={"level": "grid", **parameters}, headers=headers or {})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["areas"]
    return rows


def test_counts_and_sums_by_area(client: TestClient, connection: sa.Connection) -> None:
    for n, x in enumerate((0.2, 0.4, 1.5, 2.5)):
        town.add(connection, "facilities", town.point(x, 0.5), capacity=10 * (n + 1), status="open" if n else "closed")
    assert {row["path"]: row["value"] for row in added_up(client, layer="facilities")} == {town.A: 2, town.B: 1, town.C: 1, town.D: 0}
    assert {row["path"]: row["value"] for row in added_up(client, layer="facilities", measure="capacity")} == {town.A: 30, town.B: 30, town.C: 40, town.D: None}
    assert [row["value"] for row in added_up(client, layer="facilities", level="community")] == [3, 1]
    assert [row["value"] for row in added_up(client, layer="facilities", level="street")] == [4]
    divided = added_up(client, layer="facilities", by="status", within=town.A)
    assert [(row["by"], row["value"]) for row in divided] == [("closed", 1), ("open", 1)]
    assert [row["value"] for row in added_up(client, layer="facilities", status="open")] == [1, 1, 1, 0]


def test_rates_have_their_numerator_and_denominator(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "facilities", town.point(0.5, 0.5))
    [first, *_] = added_up(client, layer="facilities", per="km2")
    square, _ = GEOD.polygon_area_perimeter(*zip(*(town.at(*p) for p in ((0, 0), (1, 0), (1, 2), (0, 2))), strict=True))
    assert first["denominator"] == pytest.approx(square / 1e6, rel=1e-6)
    assert first["value"] == pytest.approx(first["numerator"] / first["denominator"]) and first["numerator"] == 1


def test_what_lies_in_several_areas_is_in_each(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "roads", town.line((0.5, 0.5), (1.5, 0.5)))
    assert [row["value"] for row in added_up(client, layer="roads")] == [1, 1, 0, 0]
    metres = [row["value"] for row in added_up(client, layer="roads", measure="measure")]
    assert metres[0] == pytest.approx(482, rel=0.01) and metres[0] == pytest.approx(metres[1], rel=1e-3) and metres[2:] == [None, None]


def test_people_are_told_as_they_may_be(client: Client, connection: sa.Connection) -> None:
    for n, (x, residents) in enumerate(((0.5, 31), (1.5, 3), (2.5, 12))):
        town.add(connection, "buildings", town.box(x, 0.4, x + 0.01, 0.41), code=f"h{n}", residents=residents, households=residents)
    town.add(connection, "facilities", town.point(0.5, 0.5))
    assert [row["value"] for row in added_up(client, layer="buildings", measure="residents")] == [30, None, 10, None]
    assert [row["value"] for row in added_up(client, layer="buildings", measure="residents", level="street")] == [40]
    worker = town.come(connection, "worker", "street", town.PREFIX)
    assert [row["value"] for row in added_up(client, worker, layer="buildings", measure="residents")] == [31, 3, 12, 0]
    rate = added_up(client, layer="facilities", per="residents")
    assert [row["value"] and round(row["value"], 2) for row in rate] == [33.33, None, 0, None]
    # What is summed by hand is for those who may read the number itself.
    assert client.get("/aggregate", params={"layer": "buildings", "level": "grid", "by": "residents"}).status_code == 400
    assert client.get("/aggregate", params={"layer": "buildings", "level": "grid", "residents": 31}).status_code == 400


def test_page_by_page(client: TestClient) -> None:
    first = client.get("/aggregate", params={"layer": "facilities", "level": "grid", "limit": 3}).json()
    assert (first["numberReturned"], first["next"]) == (3, town.C)
    last = client.get("/aggregate", params={"layer": "facilities", "level": "grid", "limit": 3, "after": first["next"]}).json()
    assert ([row["path"] for row in last["areas"]], last["next"]) == ([town.D], None)


# Under the pointer


def test_all_that_is_drawn_there(client: TestClient, connection: sa.Connection) -> None:
    made = {name: str(town.add(connection, name)) for name in ("facilities", "zones", "buildings")}
    town.add(connection, "roads")
    found = asked(client, "/identify", z=18, f="json")["found"]
    assert [one["layer"] for one in found] == ["zones", "facilities", "buildings", "areas"]
    assert {one["layer"]: one["id"] for one in found}.items() >= made.items()
    assert next(one for one in found if one["layer"] == "areas")["properties"]["level"] == "grid"
    assert [one["layer"] for one in asked(client, "/identify", z=13, f="json")["found"]] == ["zones", "areas", "roads"]
    assert [one["layer"] for one in asked(client, "/identify", z=18, f="json", layers="facilities")["found"]] == ["facilities"]
    lon, lat = town.at(0.5, 0.5)
    pixel = 360 / 256 / 2**18
    for away, due in ((7, True), (9, False)):
        near = asked(client, "/identify", lon=lon + away * pixel, lat=lat, z=18, f="json", layers="facilities")["found"]
        assert bool(near) == due
    assert asked(client, "/identify", lon=lon + 9 * pixel, lat=lat, z=18, f="json", layers="facilities", pixels=10)["found"]


def test_what_is_not_for_the_public_is_not_here_either(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "organisations", contact="欧阳锋")
    for told in (asked(client, "/identify", z=18, f="json"), asked(client, "/nearest", layer="organisations"), asked(client, "/within", layer="organisations", metres=500)):
        text = json.dumps(told, ensure_ascii=False)
        assert "organisations" in text or "distance_m" in text
        assert "欧阳锋" not in text


# What is too much

REFUSED = [
    "/within?layer=facilities&lon=0&lat=0&metres=20000000", "/within?layer=facilities&lon=0&lat=0&metres=50001", "/within?layer=facilities&lon=0&lat=0",
    "/within?layer=facilities&metres=5", "/within?layer=facilities&lon=0&metres=5", "/within?layer=facilities&lon=0&lat=0&metres=0", "/within?layer=facilities&lon=0&lat=0&metres=-5",
    "/within?layer=facilities&lon=0&lat=0&metres=NaN", "/within?layer=facilities&lon=0&lat=0&metres=1e999", "/within?layer=facilities&lon=181&lat=0&metres=5",
    "/within?layer=facilities&lon=0&lat=0&metres=5&limit=10000", "/within?layer=facilities&lon=0&lat=0&metres=5&limit=0", "/within?layer=facilities&lon=0&lat=0&metres=5&zzz=1",
    "/within?layer=facilities&of=x&metres=5", "/within?layer=facilities&of=residents/01912f0e-0000-7000-8000-000000000000&metres=5",
    "/within?layer=facilities&of=facilities/../../x&metres=5", "/within?layer=facilities&of=facilities/01912f0e-0000-7000-8000-000000000000&lon=1&metres=5",
    "/within?layer=facilities&lon=0&lat=0&metres=5&minutes=10", "/nearest?layer=facilities&lon=0&lat=0&k=0", "/nearest?layer=facilities&lon=0&lat=0&k=101", "/nearest?layer=facilities&lon=0&lat=0&k=9999999999999999999",
    "/nearest?layer=facilities&lon=0&lat=0&phone=1", "/nearest?layer=facilities&lon=0&lat=0&kind=a&kind=b", "/nearest?layer=organisations&lon=0&lat=0&contact=x", "/nearest?layer=facilities&lon=0&lat=0&bbox=0,0,1,1",
    "/aggregate?layer=facilities&level=micro_grid", "/aggregate?layer=facilities&level=grid&measure=pg_sleep(9)", "/aggregate?layer=facilities&level=grid&measure=name", "/aggregate?layer=facilities&level=grid&by=phone",
    "/aggregate?layer=facilities&level=grid&within=x", "/aggregate?layer=facilities&level=grid&within=99%25", "/aggregate?layer=facilities&level=grid&limit=100000", "/aggregate?layer=buildings&level=grid&measure=residents&limit=1000",
    "/aggregate?layer=buildings&level=grid&measure=households_", "/aggregate?layer=facilities&level=grid&per=x", "/identify?lon=0&lat=0&f=json&pixels=1e9", "/identify?lon=0&lat=0&f=json&layers=residents",
    "/identify?lon=0&lat=0&f=json&layers=parts,parts", "/identify?lon=0&lat=0&f=json&z=99",
]  # fmt: skip


@pytest.mark.parametrize("question", REFUSED, ids=range(len(REFUSED)))
def test_refused_by_name(client: TestClient, question: str) -> None:
    answer = client.get(question)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text


@pytest.mark.parametrize("layer", ["residents", "households", "units", "accounts", "x'; DROP TABLE areas; --", "", "01912f0e-0000-7000-8000-000000000000"])
def test_layers_that_are_none(client: TestClient, layer: str) -> None:
    for path in ("/nearest", "/within", "/aggregate"):
        answer = client.get(path, params={"layer": layer, "lon": 1, "lat": 1, "metres": 5} if path != "/aggregate" else {"layer": layer, "level": "grid"})
        assert answer.status_code == (200 if (path, layer) == ("/aggregate", "units") else 404), (path, answer.text)


def test_too_many_that_may_be_near(client: TestClient, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        town.add(connection, "facilities", town.point(0.5, 0.5 + n / 100))
    monkeypatch.setattr(asking, "CANDIDATES", 5)
    answer = client.get("/within", params={"layer": "facilities", "lon": town.at(0.5, 0.5)[0], "lat": town.at(0.5, 0.5)[1], "metres": 5000})
    assert (answer.status_code, answer.json()["detail"]) == (400, asking.TOO_MUCH)


def test_what_takes_too_long_is_refused_and_not_a_fault(client: TestClient, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    town.add(connection, "facilities")
    monkeypatch.setattr(asking, "_placed", lambda resource: [sa.func.coalesce(sa.cast(sa.func.pg_sleep(5), sa.Text), "") != "x"])
    monkeypatch.setattr(asking, "PATIENCE", "50ms")
    for address in ("/within?layer=facilities&metres=50&lon={}&lat={}", "/nearest?layer=facilities&lon={}&lat={}", "/identify?f=json&z=18&lon={}&lat={}", "/aggregate?layer=facilities&level=grid"):
        answer = client.get(address.format(*town.at(0.5, 0.5)))
        assert (answer.status_code, answer.json()["detail"]) == (400, asking.TOO_MUCH)
