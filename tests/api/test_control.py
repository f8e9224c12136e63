"""`POST /zones`: what a zone touches and holds, what it must say before it is in force, and who sees it when."""

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import control, db
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import NotFound
from tests import town

ZONES = RESOURCES["zones"]
AUTHORITY = ("legal_basis", "deciding_organ", "document_number", "measures", "starts_at", "planned_end", "help_phone", "appeal_channel")


def zone(west: float, south: float, east: float, north: float, **given: object) -> dict[str, Any]:
    """A zone to draw, with all the authority it needs."""
    return town.example(ZONES, **given) | {"geometry": town.box(west, south, east, north)}


def drawn(client: TestClient, *box: float, **given: object) -> dict[str, Any]:
    """A zone drawn: what is answered."""
    answer = client.post("/zones", json=zone(*box, **given))  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_what_a_zone_touches(client: TestClient) -> None:
    told = drawn(client, 0.5, 0.5, 1.5, 1.5)
    shares = {area["path"]: area for area in told["areas"]}
    assert {path: round(area["share"], 4) for path, area in shares.items()} == {town.PREFIX: 1, town.A[:12]: 1, town.A: 0.5, town.B: 0.5}
    assert shares[town.A]["area_share"] == pytest.approx(0.25, abs=1e-4)
    assert shares[town.A]["measure_m2"] == pytest.approx(0.5 * 966.6 * 1108.6, rel=0.01)
    assert [area["level"] for area in told["areas"]] == ["street", "community", "grid", "grid"]
    assert told["properties"]["scope"] == town.A[:12]


def test_a_building_on_the_border_is_one_building_with_a_share(client: TestClient, connection: sa.Connection) -> None:
    inside = town.add(connection, "buildings", town.box(0.1, 0.1, 0.2, 0.2), code="1", households=12, residents=30)
    town.add(connection, "buildings", town.box(0.45, 0.1, 0.55, 0.2), code="2", households=20, residents=50)
    town.add(connection, "buildings", town.box(0.5, 0.3, 0.6, 0.4), code="3")  # touches along a wall: not in it
    gone = town.add(connection, "buildings", town.box(0.1, 0.3, 0.2, 0.4), code="4", residents=7)
    connection.execute(sa.text("UPDATE buildings SET retired_at = now() WHERE id = :id"), {"id": gone})
    for n in range(6):
        town.add(connection, "dwellings", building=inside, name=str(n))
    town.add(connection, "units", building=inside)
    town.add(connection, "entrances", town.point(0.3, 0.3))
    told = drawn(client, 0, 0, 0.5, 0.5)["affected"]
    assert told.pop("building_share") == pytest.approx(1.5, abs=1e-6)
    assert told == {
        "buildings": 2, "buildings_inside": 1, "buildings_straddling": 1, "units": 1, "dwellings": 6, "households": 32, "residents": 80,
        "entrances": 1,
    }  # fmt: skip


@pytest.mark.parametrize("residents", [0, 1, 5, 40])
def test_people_in_a_shape_are_counted_for_who_works_in_it(client: TestClient, connection: sa.Connection, web: Any, residents: int) -> None:
    town.add(connection, "buildings", town.box(0.1, 0.1, 0.2, 0.2), residents=residents, households=residents)
    zone = drawn(client, 0, 0, 0.5, 0.5)
    for caller, counted in ((Caller(), None), (Caller("x", "jingwei_area", (town.A,)), residents)):
        with db.transaction(web, caller, read_only=True) as bound:
            affected = control.affected(bound, zone["id"])
        assert (affected["residents"], affected["households"], affected["buildings"]) == (counted, counted, 1)
    with pytest.raises(NotFound), db.transaction(web, Caller("x", "jingwei_area", (town.C,)), read_only=True) as bound:
        control.affected(bound, zone["id"])


@pytest.mark.parametrize("field", AUTHORITY)
@pytest.mark.parametrize("state", ["active", "lifted"])
@pytest.mark.parametrize("way", ["/zones", "/collections/zones/items"])
def test_without_authority_a_zone_is_a_draft(client: TestClient, way: str, state: str, field: str) -> None:
    given: dict[str, object] = {"state": state, "lifted_at": "2026-04-01T00:00:00+08:00", field: None}
    refused = client.post(way, json=zone(0, 0, 1, 1, **given))
    assert (refused.status_code, refused.json()["rule"]) == (422, "zones_authority_check")
    assert client.post(way, json=zone(0, 0, 1, 1, **(given | {"state": "draft"}))).status_code == 201


def test_a_draft_is_shown_to_nobody_until_it_is_whole(client: TestClient, connection: sa.Connection) -> None:
    made = drawn(client, 0, 0, 1, 1, state="draft", name="尚未决定", help_phone=None)["id"]
    one = f"/collections/zones/items/{made}"
    tile = tile_of(connection, 0.5, 0.5)

    def seen() -> list[bool]:
        everywhere = [client.get("/collections/zones/items"), client.get("/locate", params=dict(zip(("lon", "lat"), town.at(0.5, 0.5), strict=True)))]
        return [client.get(one).status_code == 200, *("尚未决定" in answer.text for answer in everywhere), "尚未决定".encode() in client.get(tile).content]

    assert seen() == [False] * 4
    assert client.get(one).status_code == 404
    refused = client.patch(one, json={"properties": {"state": "active"}})
    assert (refused.status_code, refused.json()["rule"]) == (422, "zones_authority_check")
    assert client.patch(one, json={"properties": {"help_phone": "12345", "state": "active"}}).status_code == 200
    assert seen() == [True] * 4


def tile_of(connection: sa.Connection, x: float, y: float) -> str:
    """The address of the zones' tile at a position of the town."""
    lon, lat = town.at(x, y)
    column, row = connection.execute(
        sa.text("SELECT floor((:lon + 180) / 360 * 2 ^ 14)::int,"
                " floor((1 - asinh(tan(radians(:lat))) / pi()) / 2 * 2 ^ 14)::int"), {"lon": lon, "lat": lat}
    ).one()  # fmt: skip
    return f"/tiles/zones/14/{column}/{row}.pbf"


@pytest.mark.parametrize(
    ("given", "standing"),
    [
        ({"starts_at": "2020-01-01T00:00:00+08:00", "planned_end": "2099-01-01T00:00:00+08:00"}, "active"),
        ({"starts_at": "2098-01-01T00:00:00+08:00", "planned_end": "2099-01-01T00:00:00+08:00"}, "upcoming"),
        ({"starts_at": "2020-01-01T00:00:00+08:00", "planned_end": "2021-01-01T00:00:00+08:00"}, "overdue_review"),
        ({"state": "lifted", "lifted_at": "2026-04-01T00:00:00+08:00"}, "lifted"),
    ],
)
def test_where_a_zone_stands(client: TestClient, given: dict[str, object], standing: str) -> None:
    # Past its planned end it is neither over nor extended: somebody has to look.
    made = drawn(client, 0, 0, 1, 1, **given)
    assert made["properties"]["standing"] == standing
    assert [f["id"] for f in client.get("/collections/zones/items", params={"standing": standing}).json()["features"]] == [made["id"]]


def test_a_zone_never_extends_itself(client: TestClient) -> None:
    end = "2026-03-06T08:00:00+08:00"
    made = drawn(client, 0, 0, 1, 1, planned_end=end)["id"]
    assert client.patch(f"/collections/zones/items/{made}", json={"properties": {"name": "改名"}}).json()["properties"]["planned_end"] == end


def test_a_zone_redrawn_touches_other_areas(client: TestClient, connection: sa.Connection) -> None:
    made = drawn(client, 0.1, 0.1, 0.9, 0.9)["id"]
    client.patch(f"/collections/zones/items/{made}", json={"geometry": town.box(2.1, 0.1, 2.9, 0.9)})
    paths = sa.text("SELECT array_agg(areas.path ORDER BY areas.path) FROM area_shares JOIN areas ON areas.id = area WHERE feature = :id")
    assert connection.scalar(paths, {"id": made}) == [town.PREFIX, town.C[:12], town.C]


def test_the_same_drawing_sent_twice_is_one_zone(client: TestClient, connection: sa.Connection) -> None:
    again = {"Idempotency-Key": "zone-1"}
    first, second = (client.post("/zones", json=zone(0, 0, 1, 1), headers=again) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert connection.scalar(sa.text("SELECT count(*) FROM zones")) == 1


def test_a_zone_across_everything(client: TestClient) -> None:
    told = client.post("/zones", json=town.example(ZONES) | {"geometry": {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}})
    assert told.status_code in (201, 422), told.text
