"""The routes of every collection, in the shape of OGC API Features: paging, boxes, identity, repetition, races."""

import json
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.models import VERTICES
from geo.catalog import RESOURCES
from geo.resource import Audience
from tests import town

PARTS, BUILDINGS, ROADS, ZONES = (RESOURCES[name] for name in ("parts", "buildings", "roads", "zones"))
ITEMS = "/collections/parts/items"


def part(x: float = 0.5, y: float = 0.5, **given: object) -> dict[str, Any]:
    """A part to post."""
    return town.example(PARTS, **given) | {"geometry": town.point(x, y)}


def test_what_there_is(client: TestClient) -> None:
    told = client.get("/collections").json()
    assert [c["id"] for c in told["collections"]] == [name for name, r in RESOURCES.items() if r.audience is Audience.PUBLIC]
    one = client.get("/collections/parts").json()
    assert one["title"] == "部件"
    for link in one["links"]:
        assert client.get(link["href"].removeprefix("http://testserver")).status_code == 200


def test_the_description_of_the_api_is_whole(client: TestClient) -> None:
    answer = client.get("/api")
    assert answer.headers["content-type"].startswith(("application/json", "application/vnd.oai.openapi+json"))
    told = answer.json()
    assert told["openapi"].startswith("3.1")
    for name in RESOURCES:
        assert set(told["paths"][f"/collections/{name}/items"]) == {"get", "post"}
        assert set(told["paths"][f"/collections/{name}/items/{{id}}"]) == {"get", "put", "patch", "delete"}
    operations = [o for path in told["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)
    assert all(o.get("summary") for o in operations)


def test_pages_are_followed_to_the_end(client: TestClient, connection: sa.Connection) -> None:
    made = {str(town.add(connection, "parts", code=f"p{n}", state="lost")) for n in range(7)}
    town.add(connection, "parts", state="intact")
    seen: list[str] = []
    href = f"{ITEMS}?limit=3&state=lost"
    for _ in range(10):
        page = client.get(href).json()
        assert page["numberReturned"] == len(page["features"]) <= 3
        seen += [f["id"] for f in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        href = following[0].removeprefix("http://testserver")
    assert len(seen) == 7
    assert set(seen) == made


@pytest.mark.parametrize(
    ("bbox", "there"),
    [
        ("122.6,29.8,122.61,29.81", True),
        ("122.6,29.8,0,122.61,29.81,9", True),
        ("122.605,29.805,122.605,29.805", True),  # a point is in a box without extent
        ("122.61,29.8,122.62,29.81", False),
        ("170,-90,122.61,90", True),  # across the 180th meridian and on
        ("123,-90,122,90", False),
        ("-180,-90,180,90", True),
    ],
)
def test_boxes(client: TestClient, connection: sa.Connection, bbox: str, there: bool) -> None:
    id = str(town.add(connection, "parts"))
    found = client.get(ITEMS, params={"bbox": bbox})
    assert found.status_code == 200, found.text
    assert (id in [f["id"] for f in found.json()["features"]]) is there


@pytest.mark.parametrize(
    "bbox", ["", "1", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,1,1", "0,0,inf,1", "-181,0,1,1", "0,0,1,91", "0,2,1,1", "1e999,0,1,1", "1,2,3,4,5,6,7"]
)
def test_boxes_that_are_none(client: TestClient, bbox: str) -> None:
    refused = client.get(ITEMS, params={"bbox": bbox})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "bbox")


@pytest.mark.parametrize(("limit", "status"), [("1", 200), ("10001", 200), ("999999999999999999999", 200), ("0", 400), ("-1", 400), ("x", 400), ("1.5", 400)])
def test_limits(client: TestClient, limit: str, status: int) -> None:
    assert client.get(ITEMS, params={"limit": limit}).status_code == status


def test_a_client_may_bring_the_id(client: TestClient) -> None:
    id = str(uuid4())
    assert client.post(ITEMS, json=part() | {"id": id}).json()["id"] == id
    again = client.post(ITEMS, json=part() | {"id": id})
    assert (again.status_code, again.json()["rule"]) == (409, "parts_pkey")


def test_a_merge_patch_says_only_what_changes(client: TestClient) -> None:
    made = client.post(ITEMS, json=part(owner="区政府", remark="靠墙")).json()
    one = f"{ITEMS}/{made['id']}"
    assert client.patch(one, json={"properties": {"owner": None}}).json()["properties"]["owner"] is None
    moved = client.patch(one, json={"geometry": town.point(1.5, 0.5)}).json()
    assert (moved["geometry"]["coordinates"], moved["properties"]["scope"]) == (town.at(1.5, 0.5), town.B)
    assert moved["properties"]["name"] == made["properties"]["name"]
    assert client.patch(one, json={}).status_code == 200
    for refused in ({"properties": {"name": None}}, {"properties": {"name": ""}}, {"properties": {"state": "?"}}, {"zzz": 1}):
        assert client.patch(one, json=refused).status_code == 422, refused


@pytest.mark.parametrize(
    ("collection", "given", "stored"),
    [
        ("parts", {"type": "Point", "coordinates": [122.605, 29.805, 12.5]}, {"type": "Point", "coordinates": [122.605, 29.805]}),
        ("parts", {"type": "Point", "coordinates": [122.6051234567, 29.8]}, {"type": "Point", "coordinates": [122.605123457, 29.8]}),
        ("parts", {"type": "Point", "coordinates": [180, -90]}, {"type": "Point", "coordinates": [180, -90]}),
        ("roads", town.line((0, 0), (1, 1)), {"type": "MultiLineString", "coordinates": [[town.at(0, 0), town.at(1, 1)]]}),
        ("buildings", town.box(0, 0, 1, 1), {"type": "MultiPolygon", "coordinates": [town.box(0, 0, 1, 1)["coordinates"]]}),
    ],
)
def test_geometries_are_told_as_they_are_kept(client: TestClient, collection: str, given: dict[str, Any], stored: dict[str, Any]) -> None:
    answer = client.post(f"/collections/{collection}/items", json=town.example(RESOURCES[collection]) | {"geometry": given})
    assert answer.status_code == 201, answer.text
    assert answer.json()["geometry"] == stored


@pytest.mark.parametrize(
    ("collection", "geometry"),
    [("parts", town.box(0, 0, 1, 1)), ("buildings", town.point(0, 0)), ("roads", town.point(0, 0)), ("zones", town.line((0, 0), (1, 1)))],
)
def test_another_kind_of_geometry_is_refused(client: TestClient, collection: str, geometry: dict[str, Any]) -> None:
    refused = client.post(f"/collections/{collection}/items", json=town.example(RESOURCES[collection]) | {"geometry": geometry})
    assert (refused.status_code, refused.json()["field"], refused.json()["rule"]) == (422, "geometry", f"{collection}_geom_check")


def test_more_vertices_than_anybody_draws_are_a_file(client: TestClient) -> None:
    ring = [town.at(n / VERTICES, 0) for n in range(VERTICES)] + [town.at(1, 1), town.at(0, 0)]
    refused = client.post("/collections/zones/items", json=town.example(ZONES) | {"geometry": {"type": "Polygon", "coordinates": [ring]}})
    assert refused.status_code == 422
    assert str(VERTICES) in refused.json()["detail"]


def test_a_time_without_a_zone_is_local(client: TestClient) -> None:
    given = town.example(RESOURCES["incidents"], occurred_at="2026-03-05T00:30:00")
    told = client.post("/collections/incidents/items", json=given).json()
    assert told["properties"]["occurred_at"] == "2026-03-05T00:30:00+08:00"


# Who may write


def test_nobody_writes_unknown(client: TestClient, connection: sa.Connection) -> None:
    id = town.add(connection, "parts")
    asked = (("POST", ITEMS), ("PUT", f"{ITEMS}/{id}"), ("PATCH", f"{ITEMS}/{id}"), ("DELETE", f"{ITEMS}/{id}"), ("POST", "/zones"))
    before = connection.scalar(sa.text("SELECT count(*) FROM trail"))
    for method, path in asked:
        refused = client.request(method, path, json=part(), headers=town.NOBODY)
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthorised")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert client.get(f"{ITEMS}/{id}").status_code == 200
    told = connection.execute(sa.text("SELECT action, purpose, result, origin FROM trail ORDER BY id OFFSET :n"), {"n": before}).all()
    # The route, not the address: anything may be typed into that.
    assert [tuple(row) for row in told] == [
        ("refused", f"{method} {path.replace(str(id), '{id}')}", "unauthorised", "testclient") for method, path in asked
    ]


def test_a_read_is_read_only(live_client: TestClient, live_engine: sa.Engine) -> None:
    # Should a function called by a read ever write, the database refuses.
    with live_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION placing_level(moment timestamptz) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
            " SET search_path = jingwei, public, pg_temp AS $$ BEGIN DELETE FROM parts; RETURN 'grid'; END $$"
        )
    refused = live_client.get("/locate", params={"lon": 122.605, "lat": 29.805})
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")


# Commit, repetition, races


def test_a_failed_commit_is_not_answered_with_201(live_client: TestClient, live_engine: sa.Engine) -> None:
    # A dependency that commits after the answer has left would have said 201 by then.
    with live_engine.begin() as connection:
        connection.exec_driver_sql("""
            CREATE FUNCTION refused_late() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE check_violation USING CONSTRAINT = 'parts_late_check', TABLE = 'parts'; END $$;
            CREATE CONSTRAINT TRIGGER late AFTER INSERT ON parts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refused_late();
        """)
    refused = live_client.post(ITEMS, json=part())
    assert (refused.status_code, refused.json()["rule"]) == (422, "parts_late_check")
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM parts")) == 0
        assert connection.scalar(sa.text("SELECT count(*) FROM changes WHERE noun = 'parts'")) == 0


def test_what_is_answered_is_committed(live_client: TestClient, live_engine: sa.Engine) -> None:
    made = live_client.post(ITEMS, json=part()).json()["id"]
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT id FROM parts")) == UUID(made)


def test_the_same_request_again_makes_nothing_new(client: TestClient, connection: sa.Connection) -> None:
    again = {"Idempotency-Key": "k-1"}
    first, second = (client.post(ITEMS, json=part(), headers=again) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    # The order of members says nothing.
    turned = json.dumps(dict(reversed(part().items())))
    assert client.post(ITEMS, content=turned, headers=again | {"Content-Type": "application/json"}).json()["id"] == first.json()["id"]
    other = client.post(ITEMS, json=part(name="另一个"), headers=again)
    assert (other.status_code, other.json()["rule"]) == (409, "idempotency_key")
    elsewhere = client.post("/collections/entrances/items", json=town.example(RESOURCES["entrances"]), headers=again)
    assert (elsewhere.status_code, elsewhere.json()["rule"]) == (409, "idempotency_key")
    assert connection.scalar(sa.text("SELECT count(*) FROM parts")) == 1


def test_a_refused_request_may_be_corrected_under_its_key(client: TestClient) -> None:
    again = {"Idempotency-Key": "k-2"}
    client.post(ITEMS, json=part(code="taken"))
    assert client.post(ITEMS, json=part(code="taken"), headers=again).status_code == 409
    assert client.post(ITEMS, json=part(code="free"), headers=again).status_code == 201


def test_the_same_request_after_the_feature_is_gone_says_so(client: TestClient) -> None:
    again = {"Idempotency-Key": "k-3"}
    made = client.post(ITEMS, json=part(), headers=again).json()["id"]
    client.delete(f"{ITEMS}/{made}")
    assert client.post(ITEMS, json=part(), headers=again).status_code == 410


def raced(count: int, request: Any) -> list[Any]:
    """The answers of `count` requests made at once."""
    answers: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(n: int) -> None:
        start.wait()
        answers[n] = request(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_of_64_same_requests_at_once_one_makes_the_feature(live_client: TestClient, live_engine: sa.Engine) -> None:
    answers = raced(64, lambda _: live_client.post(ITEMS, json=part(), headers={"Idempotency-Key": "race"}))
    assert [a.status_code for a in answers] == [201] * 64
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("idempotency-replayed" not in a.headers for a in answers) == 1
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM parts")) == 1
        assert connection.scalar(sa.text("SELECT count(*) FROM changes WHERE noun = 'parts'")) == 1


def test_of_24_changes_at_once_one_wins(live_client: TestClient, live_engine: sa.Engine) -> None:
    made = live_client.post(ITEMS, json=part()).json()["id"]
    answers = raced(
        24, lambda n: live_client.patch(f"{ITEMS}/{made}", json={"properties": {"owner": f"o{n}"}}, headers={"If-Match": '"v1"'})
    )
    assert sorted(a.status_code for a in answers) == [200] + [412] * 23
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT version FROM parts")) == 2


def test_of_16_with_one_code_at_once_one_gets_it(live_client: TestClient) -> None:
    answers = raced(16, lambda _: live_client.post(ITEMS, json=part(code="the one")))
    assert sorted(a.status_code for a in answers) == [201] + [409] * 15
    assert {a.json()["rule"] for a in answers if a.status_code == 409} == {"parts_code_key"}
