"""Of a person nothing is read without a purpose and a row of the trail; a phone is found by its whole number, and no address or
log ever holds it."""

import logging
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo.catalog import RESOURCES
from geo.catalog.purposes import PURPOSES
from geo.resource import Resource
from tests import town
from tests.api.test_unmasking import NAME, PHONE, broken, last, resident, told

PERSONAL = [r for r in RESOURCES.values() if r.personal]
SEALED = [r for r in RESOURCES.values() if any(field.secret for field in r.all_fields)]
VISIT = {"Purpose": "visit"}
each = pytest.mark.parametrize("resource", PERSONAL, ids=lambda r: r.name)


@pytest.fixture
def worker(connection: sa.Connection) -> dict[str, str]:
    """A grid worker of grid A."""
    return town.come(connection, "worker", "grid_worker", town.A)


def test_there_are_nouns_about_persons() -> None:
    assert {"residents", "households"} <= {r.name for r in PERSONAL}


@each
def test_reading_asks_for_a_purpose(client: TestClient, connection: sa.Connection, worker: dict[str, str], resource: Resource) -> None:
    items = f"/collections/{resource.name}/items"
    since = last(connection)
    for address in (items, f"{items}/{uuid4()}"):
        for headers in ({}, {"Purpose": ""}, {"Purpose": "curiosity"}, {"Purpose": "VISIT"}, {"Purpose": "x" * 41}):
            refused = client.get(address, headers=worker | headers)
            assert refused.status_code == 400, headers
        assert client.get(address, headers=worker).json()["choices"] == [purpose.code for purpose in PURPOSES]
    assert told(connection, since) == []


@each
def test_reading_leaves_a_row(client: TestClient, connection: sa.Connection, worker: dict[str, str], resource: Resource) -> None:
    id = str(town.add(connection, resource.name))
    items = f"/collections/{resource.name}/items"
    since = last(connection)
    assert client.get(items, headers=worker | VISIT).json()["numberReturned"] == 1
    assert client.get(items, headers=worker | {"Purpose": "service"}, params={"residence_type": "away", "limit": 5}).status_code == 200
    assert client.get(f"{items}/{id}", headers=worker | VISIT).status_code == 200
    assert client.get(f"{items}/{id}", headers=worker | VISIT | {"If-None-Match": '"v1"'}).status_code == 304
    rows = told(connection, since)
    assert [(row.actor, row.action, row.noun, row.feature, row.purpose, row.scope, row.result) for row in rows] == [
        ("worker", "read", resource.name, feature, purpose, town.A, "asked")
        for feature, purpose in (("?", "visit"), ("?residence_type", "service"), (id, "visit"), (id, "visit"))
    ]
    # Field names only: what was filtered for may be a person's.
    assert all("away" not in str(row) for row in rows)


@each
def test_without_a_trail_nothing_is_read(client: TestClient, connection: sa.Connection, worker: dict[str, str], resource: Resource) -> None:
    id = str(town.add(connection, resource.name))
    broken(connection)
    for address in ("", f"/{id}"):
        refused = client.get(f"/collections/{resource.name}/items{address}", headers=worker | VISIT)
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
        assert id not in refused.text.replace(refused.json().get("instance", ""), "")


def test_other_nouns_ask_for_nothing(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    town.add(connection, "parts")
    since = last(connection)
    assert client.get("/collections/parts/items", headers=worker).json()["numberReturned"] == 1
    assert told(connection, since) == []


def test_the_row_is_committed_first(live_client: TestClient, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        worker = town.come(connection, "worker", "grid_worker", town.A)
        # The reading itself fails.
        connection.exec_driver_sql("REVOKE SELECT ON residents FROM jingwei_area; REVOKE SELECT (id) ON residents FROM jingwei_area")
    assert live_client.get("/collections/residents/items", headers=worker | VISIT).status_code == 403
    with live_engine.begin() as connection:
        assert [row.action for row in told(connection) if row.actor == "worker"] == ["read", "refused"]


def test_a_noun_about_persons_is_never_public_and_never_drawn(client: TestClient) -> None:
    for resource in PERSONAL:
        assert client.get(f"/tiles/{resource.name}/15/27545/13601.pbf").status_code == 404
    with pytest.raises(ValueError, match="about persons"):
        Resource("guests", "客人", "x", RESOURCES["parts"].fields, "人", geometry="POINT", place=RESOURCES["parts"].place)


# Looking for a phone


def sought(client: TestClient, noun: str, headers: dict[str, str], **where: str) -> Any:
    return client.post(f"/collections/{noun}/search", json={"where": where}, headers=headers | VISIT)


def test_a_phone_is_found_by_its_whole_number(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    id = resident(client, connection)
    resident(client, connection, code="r2", phone="13912345678")
    since = last(connection)
    for spelled in (PHONE, "13812345678", "+86 138-1234-5678", "１３８１２３４５６７８"):
        found = sought(client, "residents", worker, phone=spelled)
        assert [feature["id"] for feature in found.json()["features"]] == [id], spelled
        assert found.json()["features"][0]["properties"]["phone"] == "138****5678"
        assert NAME not in found.text
        assert found.headers["cache-control"] == "no-store"
    assert [(r.action, r.noun, r.feature, r.purpose) for r in told(connection, since)] == [("read", "residents", "?phone", "visit")] * 4
    for other in ("13812345670", "1381234567", "12345678"):
        assert sought(client, "residents", worker, phone=other).json()["features"] == []
    assert sought(client, "residents", worker, phone=PHONE, residence_type="away").json()["numberReturned"] == 0
    assert sought(client, "residents", worker, phone=PHONE, residence_type="registered").json()["numberReturned"] == 1


def test_a_phone_is_found_inside_ones_areas_only(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    resident(client, connection, 1.5)
    assert sought(client, "residents", worker, phone=PHONE).json()["features"] == []
    assert sought(client, "residents", town.come(connection, "other", "grid_worker", town.B), phone=PHONE).json()["numberReturned"] == 1


@pytest.mark.parametrize("resource", SEALED, ids=lambda r: r.name)
def test_who_may_not_see_a_number_may_not_look_for_it(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    name = next(field.name for field in resource.all_fields if field.secret)
    made = client.post(f"/collections/{resource.name}/items", json=town.full(resource, **town.needs(connection, resource), **{name: PHONE}))
    assert made.status_code == 201, made.text
    leader = {"Authorization": f"Bearer {town.LEADER}"}
    assert sought(client, resource.name, leader, **{name: PHONE}).json()["numberReturned"] == 1
    for headers in (town.NOBODY, town.come(connection, "steward", "steward", town.A)):
        refused = sought(client, resource.name, headers, **{name: PHONE})
        assert refused.status_code == (400 if resource.audience < 2 else 404)
        assert "1234" not in refused.text
    # Not in an address, which is logged.
    refused = client.get(f"/collections/{resource.name}/items", params={name: PHONE}, headers=leader | VISIT)
    assert (refused.status_code, refused.json()["parameter"]) == (400, name)


def test_what_is_no_search(client: TestClient, worker: dict[str, str]) -> None:
    at = "/collections/residents/search"
    assert client.post(at, json={"where": {"phone": PHONE}}, headers=worker).status_code == 400
    for body in ({}, {"where": {}}, {"where": {"phone": 1}}, {"where": {"phone": None}}, {"where": {"phone": "1234"}}, {"where": {"phone": "abc"}},
                 {"where": {"phone": PHONE}, "limit": 0}, {"where": {"phone": PHONE}, "after": "x"}, {"where": {"phone": "a\0"}}, {"zzz": 1}, []):
        assert client.post(at, json=body, headers=worker | VISIT).status_code == 422, body
    for name in ("name", "phone_hash", "zzz", "scope"):
        refused = sought(client, "residents", worker, **{name: "x" * 8})
        assert (refused.status_code, refused.json()["parameter"]) == (400, name)
    assert client.post("/collections/parts/search", json={"where": {"name": "x"}}, headers=worker).status_code in (404, 405)


def test_pages_of_a_search(client: TestClient, connection: sa.Connection, worker: dict[str, str]) -> None:
    made = {resident(client, connection, code=f"r{n}") for n in range(5)}
    seen: list[str] = []
    after = None
    for _ in range(5):
        page = client.post("/collections/residents/search", json={"where": {"phone": PHONE}, "limit": 2, "after": after}, headers=worker | VISIT).json()
        seen += [feature["id"] for feature in page["features"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == 5 and set(seen) == made


def test_a_number_is_in_no_log(client: TestClient, connection: sa.Connection, worker: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    id = resident(client, connection)
    with caplog.at_level(logging.DEBUG):
        sought(client, "residents", worker, phone=PHONE)
        sought(client, "residents", worker, zzz=PHONE)
        connection.exec_driver_sql("ALTER TABLE residents RENAME TO gone")
        broken_ = sought(client, "residents", worker, phone=PHONE)
    assert broken_.status_code >= 400
    for text in (broken_.text, caplog.text, str(told(connection))):
        assert "1234" not in text, text[:500]
    assert id not in caplog.text


def test_the_hash_is_looked_up_by_its_index(client: TestClient, connection: sa.Connection) -> None:
    # Under a policy an operator that is not leak-proof would be asked of every row.
    leakproof = "SELECT bool_and(p.proleakproof) FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode WHERE o.oprname = '=' AND o.oprleft = 'bytea'::regtype"
    assert connection.scalar(sa.text(leakproof)) is True
