"""Open311 as its clients speak it: what FixMyStreet sends and expects back, the standard's errors, and nothing that is not everybody's."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests import town

BASE = "/open311/v2"
LON, LAT = town.at(0.5, 0.5)


def post(client: TestClient, fmt: str = "xml", **form: object) -> Any:
    body = urlencode({"service_code": "sample", "lat": LAT, "long": LON, "description": "井盖破损"} | form)
    return client.post(f"{BASE}/requests.{fmt}", content=body, headers=town.NOBODY | {"Content-Type": "application/x-www-form-urlencoded"})


def xml(answer: Any) -> ElementTree.Element:
    assert answer.headers["content-type"] == "text/xml; charset=utf-8" and answer.text.startswith("<?xml version='1.0' encoding='UTF-8'?>")
    return ElementTree.fromstring(answer.content)


def ask(client: TestClient, path: str, **query: object) -> Any:
    return client.get(f"{BASE}/{path}", params=query, headers=town.NOBODY)


def test_what_fixmystreet_sends_becomes_a_case_and_its_polls_follow_it(client: TestClient, connection: sa.Connection) -> None:
    # The fields of its Open311.pm: an empty jurisdiction, the reporter's name and address, attributes, a picture's address.
    made = post(
        client, jurisdiction_id="", email="wang@example.org", first_name="三", last_name="王", description="title: 井盖\n\ndetail: 松动\n",
        media_url="https://fixmystreet.example/photo/1.full.jpeg", **{"attribute[fixmystreet_id]": "17", "account_id": "9"},
    )  # fmt: skip
    assert made.status_code == 201, made.text
    root = xml(made)
    number = root.findtext("request/service_request_id") or ""
    assert root.tag == "service_requests" and number.startswith("R") and root.findtext("request/account_id") == "9"
    assert "查询码" in (root.findtext("request/service_notice") or "")
    row = connection.execute(sa.text("SELECT * FROM incidents WHERE number = :n"), {"n": number}).one()
    assert (row.channel, row.matter, row.scope, row.state, row.reporter_phone_masked) == ("public", "sample", town.A, "reported", None)
    assert row.description.endswith("https://fixmystreet.example/photo/1.full.jpeg") and "wang" not in str(row)
    told = xml(ask(client, f"requests/{number}.xml")).find("request")
    assert told is not None and (told.findtext("status"), told.findtext("service_code")) == ("open", "sample")
    assert "松动" not in ask(client, f"requests/{number}.json").text
    since = datetime.now(UTC) - timedelta(hours=1)
    polled = {"jurisdiction_id": "", "start_date": since.isoformat(timespec="seconds"), "end_date": datetime.now(UTC).isoformat()}
    assert xml(ask(client, "servicerequestupdates.xml", **polled)).findall("request_update") == []
    acceptor = town.come(connection, "acceptor", "acceptor", town.A)
    moved = client.post(f"/incidents/{row.id}/moves", json={"action": "reject", "opinion": "不属本市管辖"}, headers=acceptor)
    assert moved.status_code in (200, 201), moved.text
    polled["end_date"] = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    updates = xml(ask(client, "servicerequestupdates.xml", **polled))
    assert updates.tag == "service_request_updates"
    assert [(u.findtext("service_request_id"), u.findtext("status"), u.findtext("description")) for u in updates] == [(number, "closed", "不予受理")]
    assert "管辖" not in ElementTree.tostring(updates, encoding="unicode")
    assert ask(client, f"requests/{number}.json").json()[0]["status"] == "closed"
    assert ask(client, f"tokens/{number}.json").json() == [{"service_request_id": number, "token": number}]


def test_services_and_what_is_asked_for(client: TestClient) -> None:
    listed = ask(client, "services.json").json()
    kinds = {one["service_code"]: one for one in listed}
    assert kinds["06010"]["group"] and kinds["06010"]["service_name"] and kinds["06010"]["metadata"] is True
    # A class is none: its kinds are; and what sensors tell is reported by nobody.
    assert "06" not in kinds and not any(code.startswith("29") for code in kinds)
    assert [e.findtext("service_code") for e in xml(ask(client, "services.xml"))] == [one["service_code"] for one in listed]
    defined = xml(ask(client, "services/sample.xml"))
    assert defined.tag == "service_definition" and defined.findtext("attributes/attribute/code") == "external_id"
    found = xml(ask(client, "discovery.xml"))
    assert found.findtext("endpoints/endpoint/specification") == "http://wiki.open311.org/GeoReport_v2"
    assert [f.text for f in found.iterfind("endpoints/endpoint/formats/format")] == ["text/xml", "application/json"]


def test_requests_by_each_filter(client: TestClient, connection: sa.Connection) -> None:
    numbers = [xml(post(client)).findtext("request/service_request_id") for _ in range(3)]
    connection.execute(sa.text("UPDATE incidents SET steps = NULL, state = 'closed', reported_at = now() - interval '100 days' WHERE number = :n"), {"n": numbers[0]})
    connection.execute(sa.text("UPDATE incidents SET exercise = true WHERE number = :n"), {"n": numbers[1]})

    def got(**query: object) -> list[str]:
        return [one["service_request_id"] for one in ask(client, "requests.json", **query).json()]

    assert got() == [numbers[2]] == got(status="open,closed") == got(service_code="x,sample") == got(status="open", page=1, page_size=1)
    assert got(status="closed") == got(service_code="06010") == got(page=2) == []
    long_ago = datetime.now(UTC) - timedelta(days=120)
    assert got(start_date=long_ago.isoformat()) == [numbers[0]] == got(start_date=str(long_ago.date()), status="closed")
    # The ids override everything else.
    assert set(got(service_request_id=",".join(filter(None, numbers)), status="closed", service_code="06010")) == {numbers[0], numbers[2]}
    assert ask(client, f"requests/{numbers[1]}.json").status_code == 404


def test_a_place_in_any_of_its_three_ways(client: TestClient, connection: sa.Connection) -> None:
    compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑")
    house = town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6)
    for form in ({"address_string": "澜溪苑3幢"}, {"address_id": str(house)}):
        number = xml(post(client, lat="", long="", **form)).findtext("request/service_request_id")
        row = connection.execute(sa.text("SELECT precision, scope FROM incidents WHERE number = :n"), {"n": number}).one()
        assert tuple(row) == ("building", town.A), form


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"service_code": ""}, 400), ({"service_code": "nosuch"}, 404), ({"lat": "", "long": ""}, 400), ({"lat": "91"}, 400), ({"long": ""}, 400),
        ({"lat": "nan"}, 400), ({"lat": "", "long": "", "address_id": "x"}, 404), ({"jurisdiction_id": "elsewhere.example"}, 404),
        ({"api_key": "jw_no-such-key"}, 403), ({"api_key": "密"}, 403), ({"media_url": "file:///etc/passwd"}, 400), ({"media_url": "http://x/ y"}, 400),
        ({"description": "长" * 4001}, 400), ({"description": "\0"}, 400),
    ],
)  # fmt: skip
def test_errors_in_the_form_of_the_standard(client: TestClient, form: dict[str, str], status: int) -> None:
    answer = post(client, **form)
    root = xml(answer)
    assert (answer.status_code, root.tag, root.findtext("error/code")) == (status, "errors", str(status)), answer.text
    assert root.findtext("error/description")
    told = post(client, "json", **form)
    assert told.status_code == status and [set(one) for one in told.json()] == [{"code", "description"}]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("requests.xml", {"start_date": "yesterday"}, 400), ("requests.xml", {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-06-01T00:00:00Z"}, 400),
        ("requests.xml", {"start_date": "2026-02-01", "end_date": "2026-01-01"}, 400), ("requests.xml", {"status": "fixed"}, 400),
        ("requests.xml", {"servicecode": "x"}, 400), ("requests/R1-1.xml", {}, 404), ("tokens/R1-1.xml", {}, 404), ("services/nosuch.xml", {}, 404),
        ("services.xml", {"jurisdiction_id": "nosuch"}, 404), ("requests.xml", {"page_size": "0"}, 400),
    ],
)  # fmt: skip
def test_questions_that_are_wrong(client: TestClient, path: str, query: dict[str, str], status: int) -> None:
    answer = ask(client, path, **query)
    assert (answer.status_code, xml(answer).findtext("error/code")) == (status, str(status)), answer.text


def test_a_program_that_sends_its_own_number_twice_makes_one_case(client: TestClient, connection: sa.Connection) -> None:
    mine = {"api_key": town.LEADER, "attribute[external_id]": "17", "phone": "13812345678"}
    one, other = post(client, **mine), post(client, **mine)
    assert one.status_code == other.status_code == 201 and one.content == other.content
    assert post(client, **mine | {"description": "路灯不亮"}).status_code == 400
    rows = connection.execute(sa.text("SELECT channel, reporter_phone_masked FROM incidents WHERE matter = 'sample'")).all()
    # Reported by whoever told that program, and not by the account that its key is of.
    assert [tuple(row) for row in rows] == [("public", "138****5678")]
    # Without a key nobody's number is known, and nobody's phone is kept.
    assert {post(client, **mine | {"api_key": ""}).status_code for _ in range(2)} == {201}
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents WHERE matter = 'sample' AND reporter_phone_masked IS NULL")) == 2


def test_only_forms_are_taken(client: TestClient) -> None:
    hostile = '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    answer = client.post(f"{BASE}/requests.xml", content=hostile, headers=town.NOBODY | {"Content-Type": "text/xml"})
    assert answer.status_code == 400 and xml(answer).findtext("error/code") == "400"
    # What people write is text in XML, whatever it looks like.
    made = post(client, account_id="<b>&\x0b")
    assert xml(made).findtext("request/account_id") == "<b>&"
