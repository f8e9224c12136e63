"""What sensors send: numbers that become one case, however many come; never what could tell a person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests import town

LON, LAT = town.at(0.5, 0.5)
NOW = datetime.now(UTC).replace(microsecond=0)
WATER = {"title": "人民路下穿水位计", "lon": LON, "lat": LAT, "datastreams": [{"code": "w1.level", "title": "水位", "unit": "cm"}]}


@pytest.fixture
def gateway(connection: sa.Connection) -> dict[str, str]:
    return town.come(connection, "gateway", "exchange")


def register(client: TestClient, code: str = "w1", **told: object) -> Any:
    return client.put(f"/things/{code}", json=WATER | told)


def rule(client: TestClient, **told: object) -> Any:
    return client.post("/datastreams/w1.level/rules", json={"title": "下穿积水", "matter": "06010", "above": 20} | told)


def seen(result: object, minutes: float, stream: str = "w1.level", **more: object) -> dict[str, object]:
    at = (NOW - timedelta(hours=12) + timedelta(minutes=minutes)).isoformat()
    return {"result": result, "phenomenonTime": at, "Datastream": {"@iot.id": stream}} | more


def send(client: TestClient, who: dict[str, str], *told: object) -> Any:
    return client.post("/observations", json=told[0] if len(told) == 1 else list(told), headers=who)


def cases(connection: sa.Connection) -> list[Any]:
    return list(connection.execute(sa.text("SELECT * FROM incidents WHERE channel = 'sensor' ORDER BY id")))


def test_a_number_becomes_a_case(client: TestClient, connection: sa.Connection, gateway: dict[str, str]) -> None:
    assert register(client).status_code == 200 and rule(client, urgent=True).status_code == 201
    low = send(client, gateway, seen(12, 0))
    assert (low.status_code, low.json()) == (201, {"taken": 1, "late": 0, "cases": []})
    high = send(client, gateway, seen(31.5, 1)).json()
    assert [(one["made"], one["attached"], one["datastream"]) for one in high["cases"]] == [(True, 1, "w1.level")]
    (case,) = cases(connection)
    assert (str(case.id), case.title, case.matter, case.scope, case.urgent, case.state, case.sub_source) == (
        high["cases"][0]["incident"], "下穿积水", "06010", town.A, True, "reported", "w1"
    )
    assert "31.5cm" in case.description and case.occurred_at < case.reported_at
    # What is sent twice counts once.
    again = send(client, gateway, seen(31.5, 1)).json()
    assert (again["taken"], again["late"], again["cases"]) == (0, 1, [])
    (thing,) = client.get("/things", headers=gateway).json()["things"]
    assert thing["streams"][0]["last"] == 31.5 and thing["streams"][0]["rules"][0]["attached"] == 1


def test_a_flood_is_one_case(client: TestClient, connection: sa.Connection, gateway: dict[str, str]) -> None:
    register(client)
    rule(client)
    for part in range(10):
        answer = send(client, gateway, *(seen(40 + n % 7, (part * 1000 + n) / 60) for n in range(1000)))
        assert answer.status_code == 201 and answer.json()["taken"] == 1000
    assert len(cases(connection)) == 1 and answer.json()["cases"][0]["attached"] == 10_000
    assert send(client, gateway, *(seen(1, n) for n in range(1001))).status_code == 422


def test_how_long_and_how_far_back(client: TestClient, connection: sa.Connection, gateway: dict[str, str]) -> None:
    register(client)
    rule(client, lasting=300, back=5, once_in=3600)
    # Four minutes are not five; 17 is not back, 14 is.
    send(client, gateway, seen(25, 0), seen(25, 4), seen(14, 4.5), seen(25, 5), seen(25, 9))
    assert cases(connection) == []
    send(client, gateway, seen(17, 9.5), seen(25, 10))
    assert len(cases(connection)) == 1
    # Over and closed: within the hour it is still that one, then it is another.
    connection.execute(sa.text("UPDATE incidents SET steps = NULL, state = 'closed', closed_at = now() WHERE channel = 'sensor'"))
    assert send(client, gateway, seen(25, 60)).json()["cases"][0]["made"] is False
    assert send(client, gateway, seen(25, 71)).json()["cases"][0]["made"] is True
    assert len(cases(connection)) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {"mac": "x"}}, {"parameters": {"device": "3C:5A:B4:01:02:03"}}, {"parameters": {"a": [{"b": "490154203237518"}]}},
        {"parameters": {"号牌": "1"}}, {"parameters": {"note": "浙A12345"}}, {"parameters": {"faceId": 1}}, {"parameters": {"x": 13812345678}},
        {"photo": "a.jpg"}, {"parameters": {"x": "data:image/png;base64,AAAA"}}, {"FeatureOfInterest": {}}, {"result": "浙A12345"}, {"result": 13812345678},
        {"result": None}, {"phenomenonTime": "yesterday"}, {"phenomenonTime": "2026-01-01T00:00:00"}, {"Datastream": {"@iot.id": "w1.level", "imei": 1}},
        {"phenomenonTime": (NOW + timedelta(days=2)).isoformat()},
    ],
)  # fmt: skip
def test_what_could_tell_a_person_is_refused(client: TestClient, gateway: dict[str, str], more: dict[str, object]) -> None:
    register(client)
    assert send(client, gateway, seen(25, 0, parameters={"battery": 3.1, "place": "东侧"})).status_code == 201
    answer = send(client, gateway, seen(25, 1) | more)
    assert answer.status_code == 422, answer.text


def test_who_may(client: TestClient, connection: sa.Connection, gateway: dict[str, str]) -> None:
    assert register(client, login="gateway").status_code == 200
    rule(client)
    worker = town.come(connection, "worker", "grid_worker", town.A)
    assert send(client, worker, seen(1, 0)).status_code == 403 and client.put("/things/x", json=WATER, headers=worker).status_code == 403
    other = town.come(connection, "other", "exchange")
    assert send(client, other, seen(1, 0)).status_code == 404 and client.get("/things", headers=other).json()["things"] == []
    assert send(client, gateway, seen(1, 0, "nosuch")).status_code == 404
    elsewhere = town.come(connection, "elsewhere", "street", town.C)
    assert client.put("/things/w1", json=WATER, headers=elsewhere).status_code == 403
    assert client.delete("/things/w1", headers=elsewhere).status_code == 403
    assert register(client, login="nobody").status_code == 422
    assert register(client, title="人脸识别摄像机").status_code == 422
    for wrong in ({"above": None}, {"above": 1, "below": 2}, {"matter": "nosuch"}, {"lasting": -1}):
        assert rule(client, **wrong).status_code == 422, wrong
    (listed,) = client.get("/things", headers={"Authorization": f"Bearer {town.LEADER}"}).json()["things"]
    assert client.delete(f"/observation_rules/{listed['streams'][0]['rules'][0]['id']}").status_code == 204
    assert send(client, gateway, seen(90, 1)).json()["cases"] == []
    assert client.delete("/things/w1").status_code == 204 and send(client, gateway, seen(90, 2)).status_code == 404
