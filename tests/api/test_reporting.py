"""Reporting by those who may not read back: ticket and code come back, nothing else; what should not be written is left out."""

import logging
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import secrets
from geo.catalog import RESOURCES
from geo.crs import wgs_to_gcj
from tests import town
from tests.api.test_collections import raced

PHONE = "13812345678"
DEVICE = {"Device-Key": "d1f0-5c1e-77aa-secret", "Idempotency-Key": "k-1"}
LON, LAT = town.at(0.5, 0.5)


def report(client: TestClient, headers: dict[str, str] | None = None, **told: object) -> Any:
    return client.post("/reports", json={"title": "井盖破损"} | told, headers=town.NOBODY | (headers or {}))


def follow(client: TestClient, ticket: str, code: str | None) -> Any:
    return client.get(f"/reports/{ticket}", headers={} if code is None else {"Report-Code": code})


def stored(connection: sa.Connection) -> Any:
    return connection.execute(sa.text("SELECT *, ST_X(geom) AS lon, ST_Y(geom) AS lat FROM incidents ORDER BY id DESC LIMIT 1")).one()


def test_anybody_reports_and_follows(client: TestClient, connection: sa.Connection) -> None:
    made = report(client, matter="sample", description="路口西侧", address="灯塔路 8 号", lon=LON, lat=LAT)
    assert made.status_code == 201, made.text
    assert set(made.json()) == {"ticket", "code", "left_out"} and made.json()["left_out"] == {}
    assert made.headers["cache-control"] == "no-store" and made.headers["location"] == f"/reports/{made.json()['ticket']}"
    row = stored(connection)
    assert (row.number, row.title, row.channel, row.source, row.scope, row.matter, row.state, row.owner) == (
        made.json()["ticket"], kind(connection), "public", "report", town.A, "sample", "reported", None
    )
    assert row.description == "井盖破损\n路口西侧"
    assert (round(row.lon, 6), round(row.lat, 6)) == (round(LON, 6), round(LAT, 6))
    told = follow(client, made.json()["ticket"], made.json()["code"])
    assert told.status_code == 200 and told.headers["cache-control"] == "no-store"
    assert (told.json()["ticket"], told.json()["state"]) == (made.json()["ticket"], "reported")
    assert "路口" not in told.text
    # As people type it from paper.
    code = made.json()["code"].lower()
    assert follow(client, made.json()["ticket"].lower(), f"{code[:4]}-{code[4:8]} {code[8:]}").status_code == 200


def kind(connection: sa.Connection) -> str:
    """The title of the matter that the tests report."""
    return str(connection.scalar(sa.text("SELECT title FROM matters WHERE code = 'sample'")))


def test_what_a_resident_writes_is_told_to_nobody_before_a_worker_has_read_it(client: TestClient, connection: sa.Connection) -> None:
    # It may accuse somebody by name, and a title is everybody's: in lists, cards, tiles, files.
    said = "三楼王某某又在楼道烧纸"
    report(client, title=said, matter="sample", lon=LON, lat=LAT)
    row = stored(connection)
    for path in ("/collections/incidents/items", f"/collections/incidents/items/{row.id}", f"/identify?lon={LON}&lat={LAT}&z=16", "/?view=list"):
        answer = client.get(path, headers=town.NOBODY)
        assert answer.status_code == 200 and "王某某" not in answer.text, path
    worker = town.come(connection, "worker", "grid_worker", town.A)
    read = client.get(f"/collections/incidents/items/{row.id}", headers=worker)
    assert read.json()["properties"]["description"] == said
    body = {"properties": {"title": "楼道烧纸"}}
    named = client.patch(
        f"/collections/incidents/items/{row.id}", json=body, headers=worker | {"If-Match": read.headers["etag"], "Content-Type": "application/merge-patch+json"}
    )
    assert named.status_code in (200, 204), named.text
    told = client.get(f"/collections/incidents/items/{row.id}", headers=town.NOBODY).json()["properties"]
    assert told["title"] == "楼道烧纸" and "description" not in told


def test_the_longest_that_may_be_said_is_stored_whole(client: TestClient, connection: sa.Connection) -> None:
    assert report(client, title="长" * 200, description="长" * 3799).status_code == 201
    assert stored(connection).description == "长" * 200 + "\n" + "长" * 3799


def test_only_who_has_ticket_and_code(client: TestClient, connection: sa.Connection) -> None:
    one, other = (report(client).json() for _ in range(2))
    answers = [follow(client, one["ticket"], other["code"]), follow(client, other["ticket"], one["code"]), follow(client, one["ticket"], "x"), follow(client, "R1", one["code"])]
    assert {(a.status_code, a.json()["detail"]) for a in answers} == {(404, "回执号或查询码不对。")}
    assert follow(client, one["ticket"], None).status_code == 400
    assert client.get(f"/reports/{one['ticket']}", params={"code": one["code"]}, headers={"Report-Code": one["code"]}).status_code == 400
    # What is kept opens nothing.
    kept = connection.execute(sa.text("SELECT code_hash FROM receipts WHERE ticket = :t"), {"t": one["ticket"]}).scalar_one()
    assert one["code"].encode() not in bytes(kept) and len(one["code"]) == 16
    connection.execute(sa.text("UPDATE incidents SET retired_at = now()"))
    assert follow(client, one["ticket"], one["code"]).status_code == 404


@pytest.mark.parametrize("datum", ["gcj02", "wgs84", "cgcs2000"])
def test_a_place_in_any_datum(client: TestClient, connection: sa.Connection, datum: str) -> None:
    lon, lat = (float(n[0]) for n in wgs_to_gcj(np.array([LON]), np.array([LAT]))) if datum == "gcj02" else (LON, LAT)
    assert report(client, lon=lon, lat=lat, datum=datum).status_code == 201
    row = stored(connection)
    assert abs(row.lon - LON) < 1e-8 and abs(row.lat - LAT) < 1e-8


def test_without_a_place_it_waits_for_one(client: TestClient, connection: sa.Connection) -> None:
    assert report(client).status_code == 201
    row = stored(connection)
    assert (row.geom, row.precision, row.scope) == (None, "region", town.PREFIX)


def test_the_place_of_its_address_does(client: TestClient, connection: sa.Connection) -> None:
    compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑")
    town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6)
    assert report(client, address="澜溪苑3幢2单元门口的灯").status_code == 201
    row = stored(connection)
    assert (row.precision, row.scope) == ("building", town.A) and abs(row.lon - town.at(0.35, 0.35)[0]) < 1e-3
    # A wrong one is worse than none.
    assert report(client, address="澜溪院3幢").status_code == 201
    assert (stored(connection).geom, stored(connection).precision) == (None, "region")


def test_a_phone_comes_with_the_notice_and_is_sealed(client: TestClient, connection: sa.Connection) -> None:
    notice = client.get("/reports/notice", headers={"Accept-Language": "en"}).json()["notice"]
    assert "180" in notice and "encrypted" in notice
    refused = report(client, phone=PHONE)
    assert (refused.status_code, refused.json()["field"], PHONE in refused.text) == (422, "notice", False)
    made = report(client, phone=PHONE, notice=True, lon=LON, lat=LAT)
    assert made.status_code == 201 and PHONE not in made.text
    row = stored(connection)
    assert row.reporter_phone_masked == "138****5678"
    assert PHONE not in str(connection.execute(sa.text("SELECT r::text, i::text FROM incidents AS i JOIN receipts AS r ON r.incident = i.id")).one())
    worker = town.come(connection, "worker", "grid_worker", town.A)
    asked = {"purpose": "service", "note": "回电核实", "fields": ["reporter_phone"]}
    assert client.post(f"/collections/incidents/items/{row.id}/unmask", json=asked, headers=worker).json()["fields"] == {"reporter_phone": PHONE}


def test_what_should_not_be_written_is_left_out_and_named(client: TestClient, connection: sa.Connection) -> None:
    told = {
        "title": "有确诊病例家里漏水", "description": "户主 330102199003074511,电话 138-1234-5678,是社区矫正对象;编号 12345678",
        "address": "3 幢 +86 13912345678",
    }
    made = report(client, **told)
    assert made.status_code == 201
    assert made.json()["left_out"] == {
        "title": ["不收的个人情况"], "description": ["证件号码", "电话号码", "不收的个人情况"], "address": ["电话号码"],
    }
    row = stored(connection)
    assert (row.title, row.description, row.address) == (
        "群众举报", "有〔略〕家里漏水\n户主 〔略〕,电话 〔略〕,是〔略〕;编号 12345678", "3 幢 〔略〕",
    )
    everywhere = " ".join(connection.scalars(sa.text("SELECT t::text FROM incidents AS t UNION ALL SELECT c::text FROM changes AS c")))
    for gone in ("330102", "1234-5678", "13912345678", "确诊", "矫正"):
        assert gone not in everywhere
    english = client.post("/reports", json={"title": "call 13812345678"}, headers=town.NOBODY | {"Accept-Language": "en"}).json()
    assert english["left_out"] == {"title": ["a phone number"]}


@pytest.mark.parametrize("text", ["井盖 330102199003074512", "第 20260305 号", "12345678901234567890", "长" * 200])
def test_other_numbers_stay(text: str) -> None:
    assert secrets.redacted(text) == (text, ())


@pytest.mark.parametrize(("wrong", "field"), [
    ({"title": ""}, "title"), ({"title": "x" * 201}, "title"), ({"title": "a\0"}, "title"), ({"title": None}, "title"), ({"title": 1}, "title"),
    ({"matter": "no such"}, "matter"), ({"lon": 122.6}, "lat"), ({"lat": 29.8}, "lon"), ({"lon": 181, "lat": 0}, "lon"), ({"lon": "x", "lat": 0}, "lon"),
    ({"datum": "mars"}, "datum"), ({"phone": "no", "notice": True}, "phone"), ({"phone": "1" * 41, "notice": True}, "phone"), ({"notice": "yes"}, "notice"),
    ({"description": "x" * 4001}, "description"), ({"owner": str(uuid4())}, "owner"), ({"state": "closed"}, "state"), ({"reporter_phone": PHONE}, "reporter_phone"),
])
def test_what_is_no_report(client: TestClient, connection: sa.Connection, wrong: dict[str, object], field: str) -> None:
    refused = report(client, **wrong)
    assert (refused.status_code, refused.json()["field"].split(".")[0]) == (422, field), refused.text
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents")) == 0


# Sent twice


def test_the_same_report_again_is_one(client: TestClient, connection: sa.Connection) -> None:
    first, second = (report(client, DEVICE, lon=LON, lat=LAT) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers and second.headers["idempotency-replayed"] == "true"
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents")) == 1
    assert follow(client, second.json()["ticket"], second.json()["code"]).status_code == 200
    other = report(client, DEVICE, title="另一件")
    assert (other.status_code, other.json()["rule"]) == (409, "idempotency_key")
    # The device and what it said are told by nothing that is kept.
    kept = str(connection.execute(sa.text("SELECT * FROM idempotency")).one())
    assert DEVICE["Device-Key"] not in kept and "井盖" not in kept


def test_a_key_is_of_its_device(client: TestClient, connection: sa.Connection) -> None:
    # Of two strangers with the same key neither is told of the other's report.
    first = report(client, DEVICE).json()
    other = report(client, DEVICE | {"Device-Key": "another-device-of-another"}).json()
    assert first["ticket"] != other["ticket"] and first["code"] != other["code"]
    for headers in ({"Idempotency-Key": "k-1"}, DEVICE | {"Device-Key": "short"}):
        refused = report(client, headers)
        assert refused.status_code == 400
        assert "device" in (refused.json().get("parameter") or refused.json()["field"]).lower()
    # A device's key alone changes nothing: each is a report of its own.
    assert len({report(client, {"Device-Key": DEVICE["Device-Key"]}).json()["ticket"] for _ in range(2)}) == 2
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents")) == 4


def test_of_many_at_once_one_is_stored(live_client: TestClient, live_engine: sa.Engine) -> None:
    answers = raced(12, lambda _: report(live_client, DEVICE))
    assert [a.status_code for a in answers] == [201] * 12
    assert len({(a.json()["ticket"], a.json()["code"]) for a in answers}) == 1
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM incidents")) == 1


# Who reports


def test_a_resident_owns_what_they_report_and_nobody_elses(client: TestClient, connection: sa.Connection) -> None:
    resident, neighbour = (town.come(connection, login, "resident") for login in ("li", "wang"))
    body = {"title": "路灯不亮", "description": "门口", "lon": LON, "lat": LAT}
    assert client.post("/reports", json=body, headers=resident).status_code == 201
    report(client, title="别人的", matter="sample")
    own = client.get("/collections/incidents/items", headers=resident).json()["features"]
    assert [feature["properties"]["title"] for feature in own] == ["群众举报"]
    # The public's fields, and the place no finer than the public's.
    assert "description" not in own[0]["properties"] and own[0]["geometry"]["coordinates"] != [LON, LAT]
    assert client.get("/collections/incidents/items", headers=neighbour).json()["features"] == []
    assert client.get(f"/collections/incidents/items/{own[0]['id']}", headers=neighbour).status_code == 404
    assert stored(connection).channel == "public"


def test_a_worker_reports_across_a_border(client: TestClient, connection: sa.Connection) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    item = town.example(RESOURCES["incidents"]) | {"geometry": town.point(1.5, 0.5)}
    refused = client.post("/collections/incidents/items", json=item, headers=worker)
    assert (refused.status_code, refused.json()["report"], "/reports" in refused.json()["detail"]) == (403, "/reports", True)
    lon, lat = town.at(1.5, 0.5)
    made = client.post("/reports", json={"title": "隔壁网格", "lon": lon, "lat": lat}, headers=worker)
    assert made.status_code == 201
    row = stored(connection)
    assert (row.scope, row.channel, row.owner) == (town.B, "patrol", None)
    # It cannot be read back, save its progress with the code.
    assert client.get(f"/collections/incidents/items/{row.id}", headers=worker).status_code == 403
    assert follow(client, made.json()["ticket"], made.json()["code"]).status_code == 200
    # Other nouns say no more than before.
    part = town.example(RESOURCES["parts"]) | {"geometry": town.point(1.5, 0.5)}
    assert "report" not in client.post("/collections/parts/items", json=part, headers=worker).json()


@pytest.mark.parametrize(("role", "areas"), [("steward", [town.A]), ("department", [town.PREFIX]), ("street", [town.PREFIX]), ("expert", [town.A])])
def test_everybody_may_report(client: TestClient, connection: sa.Connection, role: str, areas: list[str]) -> None:
    headers = town.come(connection, role, role, *areas, categories=["sample"] if role == "department" else [])
    assert client.post("/reports", json={"title": "见到的", "lon": LON, "lat": LAT}, headers=headers).status_code == 201
    assert stored(connection).channel == "patrol"


def test_what_was_reported_is_in_no_log(client: TestClient, connection: sa.Connection, caplog: pytest.LogCaptureFixture) -> None:
    connection.exec_driver_sql("ALTER TABLE receipts RENAME TO gone")
    with caplog.at_level(logging.DEBUG):
        broken = report(client, description="张三家漏水", phone=PHONE, notice=True)
    assert broken.status_code >= 500
    for text in (broken.text, caplog.text):
        assert PHONE not in text and "张三" not in text and "1234" not in text.replace("138****", "")
