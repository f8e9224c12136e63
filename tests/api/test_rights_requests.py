"""Requests of persons and the papers of destruction, from outside: what is told to whom, and what is not."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from geo import destroyed
from geo.catalog import RESOURCES
from geo.keys import FieldKey
from tests import town

PHONE = "10010000001"
ASKED = {"kind": "access", "about": "想看看登记了我什么", "name": "张三丰", "phone": PHONE}


HELD = {"Authorization": f"Bearer {town.LEADER}"}


class Staff(TestClient):
    """Asks as the town's leader, reading too."""

    def request(self, method: str, url: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().request(method, url, headers=HELD | (kwargs.pop("headers", None) or {}), **kwargs)


@pytest.fixture
def staff(client: TestClient) -> TestClient:
    """Somebody who answers for the whole instance."""
    return Staff(client.app)


def ask(client: TestClient, **given: object) -> dict[str, Any]:
    answer = client.post("/rights-requests", json=ASKED | given)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture
def resident(staff: TestClient, connection: sa.Connection) -> str:
    house = str(town.add(connection, "buildings"))
    given = {"type": "Feature", "properties": {"name": "张三丰", "phone": PHONE, "building": house}}
    answer = staff.post("/collections/residents/items", json=given)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def step(client: TestClient, told: dict[str, Any], name: str, **body: object) -> Any:
    return client.post(f"/rights-requests/{told['ticket']}/{name}", json=body)


def found(id: str) -> dict[str, Any]:
    return {"how": "callback", "findings": [{"noun": "residents", "id": id}]}


def test_asked_followed_and_answered_with_a_copy(staff: TestClient, connection: sa.Connection, resident: str) -> None:
    told = ask(staff)
    address = f"/rights-requests/{told['ticket']}"
    read = staff.get(address, params={"code": told["code"]})
    assert (read.status_code, read.headers["cache-control"], read.json()["state"]) == (200, "no-store", "received")
    assert PHONE not in read.text and "张三丰" not in read.text
    [case] = staff.get("/rights-requests", params={"ticket": told["ticket"]}).json()["requests"]
    assert (case["name"], case["phone_masked"], case["overdue"]) == ("张三丰", "100****0001", False)
    [candidate] = step(staff, told, "search").json()["candidates"]
    assert (candidate["id"], candidate["title"]) == (resident, "张*")
    assert step(staff, told, "verify", **found(resident)).json()["state"] == "verified"
    answer = step(staff, told, "answer")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    [copy] = answer.json()["copies"]
    assert {f["name"]: f["value"] for f in copy["fields"]}["phone"] == PHONE
    assert "张三丰" in answer.json()["text"]
    trail = connection.execute(sa.text("SELECT actor, action, noun, feature, purpose FROM trail ORDER BY id")).all()
    looked = [(row.noun, row.feature) for row in trail if row.purpose == "rights_request"]
    assert looked == [("rights_requests", ""), ("rights_requests", told["ticket"]), ("residents", resident)]
    assert {row.actor for row in trail if row.purpose == "rights_request"} == {"leader"}
    states = [s["state"] for s in staff.get(address, params={"code": told["code"]}, headers={"Accept-Language": "en"}).json()["steps"]]
    assert states == ["received", "verified", "answered"]
    assert step(staff, told, "answer").status_code == 409


def test_corrected(staff: TestClient, connection: sa.Connection, resident: str) -> None:
    told = ask(staff, kind="correct")
    step(staff, told, "verify", **found(resident))
    finding = found(resident)["findings"][0]
    wrong = step(staff, told, "answer", finding=finding, values={"age_band": "young"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "values.age_band")
    assert step(staff, told, "answer", finding=finding | {"id": str(uuid4())}, values={}).status_code == 404
    assert step(staff, told, "answer", finding=finding, values={"age_band": "from_14"}).status_code == 200
    assert connection.scalar(sa.text("SELECT age_band FROM residents")) == "from_14"


def test_deleted_with_a_certificate(staff: TestClient, application: FastAPI, connection: sa.Connection, resident: str) -> None:
    told = ask(staff, kind="delete")
    step(staff, told, "verify", **found(resident))
    [id] = step(staff, told, "answer").json()["certificates"]
    assert connection.scalar(sa.text("SELECT count(*) FROM residents")) == 0
    [listed] = staff.get("/certificates").json()["certificates"]
    one = staff.get(f"/certificates/{id}").json()
    assert (listed["id"], one["cause"], one["total"], one["holds"]) == (id, "request", 2, True)
    page = staff.get(f"/certificates/{id}/page")
    assert "居民 · 整行:1 条" in page.text
    assert resident in destroyed.path(application.state.home).read_text()
    assert staff.get(f"/certificates/{uuid4()}").status_code == 404


def test_refused_and_appealed(staff: TestClient) -> None:
    told = ask(staff, kind="explain")
    assert step(staff, told, "answer").json()["field"] == "note"
    refusal = {"grounds": "unfounded", "note": "已答复三次", "appeal_channel": "望汀区网信办"}
    for missing in refusal:
        assert step(staff, told, "refuse", **{k: v for k, v in refusal.items() if k != missing}).status_code == 422
    assert step(staff, told, "refuse", **refusal).json()["state"] == "refused"
    english = {"Accept-Language": "en"}
    last = staff.get(f"/rights-requests/{told['ticket']}", params={"code": told["code"]}, headers=english).json()["steps"][-1]
    assert (last["state_title"], last["grounds_title"][:7], last["note"]) == ("Refused", "Without", "已答复三次")
    appeal = ask(staff, kind="appeal", appeal_of=told["ticket"], code=told["code"])
    own = step(staff, appeal, "answer", note="维持")
    assert (own.status_code, own.json()["rule"]) == (422, "rights_log_appeal_check")


def test_put_off_by_an_assessment(staff: TestClient, connection: sa.Connection) -> None:
    id = town.add(connection, "activations", opened_at="2026-01-01T00:00:00+08:00")
    body = {"until": "2999-01-01T00:00:00+08:00", "assessed_by": "法制科", "reason": "复议尚未审结,须保留作证据"}
    address = f"/activations/{id}/assessments"
    assert staff.post(address, json=body).status_code == 422
    connection.execute(sa.text("UPDATE activations SET closed_at = now()"))
    early = staff.post(address, json=body)
    assert early.status_code == 422
    until = connection.scalar(sa.text("SELECT now() + interval '200 days'"))
    assert until is not None
    done = staff.post(address, json=body | {"until": until.isoformat()})
    assert done.status_code == 201, done.text
    assert staff.post(f"/activations/{uuid4()}/assessments", json=body | {"until": until.isoformat()}).status_code == 404


def test_what_is_over_is_told_in_words(staff: TestClient, connection: sa.Connection, resident: str) -> None:
    assert staff.get("/retention/due").json() == {"due": []}
    connection.execute(sa.text("UPDATE residents SET retired_at = now() - interval '31 days'"))
    [line] = staff.get("/retention/due").json()["due"]
    assert (line["noun"], line["count"], line["title"], line["why"]) == ("residents", 1, "居民 · 整行", "已注销,不再需要")


def test_nobody_else_reads_it(client: TestClient, connection: sa.Connection) -> None:
    told = ask(client)
    town.token(connection, town.post(connection, "walker", "grid_worker", town.A), "jw_test_walker")
    for address in ("/rights-requests", "/retention/due", "/certificates"):
        assert client.get(address, headers={"Authorization": "Bearer jw_test_walker"}).status_code == 403, address
    for name in ("search", "verify", "answer", "refuse"):
        address = f"/rights-requests/{told['ticket']}/{name}"
        assert client.post(address, json={}, headers={"Authorization": "Bearer jw_test_walker"}).status_code == 403, address
        assert client.post(address, json={}, headers=town.NOBODY).status_code == 401, address
    for address in ("/rights-requests", "/retention/due", "/certificates", f"/certificates/{uuid4()}", f"/certificates/{uuid4()}/page"):
        assert client.get(address).status_code == 401, address
    other = ask(client)
    for code in ("AAAAAAAAAA", other["code"]):
        wrong = client.get(f"/rights-requests/{told['ticket']}", params={"code": code})
        unknown = client.get("/rights-requests/QQ22222222", params={"code": code})
        assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json()) == (404, wrong.json())


BAD: list[tuple[dict[str, object], int]] = [
    ({"kind": "spy"}, 422), ({"about": ""}, 422), ({"about": "长" * 2001}, 422), ({"about": "\0\0"}, 422), ({"phone": "1" * 41}, 422),
    ({"phone": "无"}, 422), ({"name": "\ud800"}, 422), ({"zzz": 1}, 422), ({"kind": "appeal"}, 422),
    ({"kind": "appeal", "appeal_of": "QQ22222222", "code": "AAAAAAAAAA"}, 404),
]


@pytest.mark.parametrize(("given", "status"), BAD, ids=[str(given)[:30] for given, _ in BAD])
def test_what_cannot_be_is_refused(client: TestClient, connection: sa.Connection, given: dict[str, object], status: int) -> None:
    import json

    answer = client.post("/rights-requests", content=json.dumps(ASKED | given), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert connection.scalar(sa.text("SELECT count(*) FROM rights_requests")) == 0


@pytest.mark.parametrize("path", ["/rights-requests/QQ22222222", "/rights-requests/QQ22222222?code=A", "/rights-requests?state=zzz",
                                     "/rights-requests?zzz=1", "/rights-requests/x'--?code=AAAAAAAAAA", "/certificates/x", "/retention/due?moment=2999"])
def test_addresses_that_cannot_be(staff: TestClient, path: str) -> None:
    assert staff.get(path).status_code in (400, 404)


def test_steps_that_cannot_be(staff: TestClient, connection: sa.Connection, key: FieldKey) -> None:
    told = ask(staff)
    for name, body, status in (
        ("verify", {"how": "by looks", "findings": []}, 422), ("verify", {"how": "callback"}, 422),
        ("verify", {"how": "callback", "findings": [{"noun": "parts", "id": str(uuid4())}]}, 422),
        ("verify", {"how": "callback", "findings": [{"noun": "residents", "id": str(uuid4())}]}, 422),
        ("answer", {}, 409), ("answer", {"values": {"x": 1}, "zzz": 1}, 422), ("shred", {}, 404), ("refuse", {}, 422),
    ):
        assert step(staff, told, name, **body).status_code == status, (name, body)
    assert step(staff, {"ticket": "QQ22222222"}, "answer").status_code == 404
    assert all(RESOURCES[noun].keeps_personal for noun in ("residents", "households", "incidents", "organisations", "posts"))
