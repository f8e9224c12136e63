"""`GET /addresses`: one search for everybody, of what each may see; and what is said of an address once."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests import town

OWN = {"Authorization": ""}


@pytest.fixture
def house(connection: sa.Connection) -> dict[str, UUID]:
    """One compound in the first grid, with one house, two stairwells and two dwellings; and a house alone in the third."""
    compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑", aliases="老澜", address="澜北路2号", code="X1")
    building = town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6, code="B1", address="澜北路4号")
    units = [town.add(connection, "units", name=f"{n}单元", building=building, code=f"U{n}") for n in (1, 2)]
    dwelling = town.add(connection, "dwellings", name="501", building=building, unit=units[1], floor=5, code="D1")
    town.add(connection, "dwellings", name="501", building=building, unit=units[0], floor=5, code="D2")
    far = town.add(connection, "buildings", town.box(2.3, 0.3, 2.4, 0.4), name="柳东街18号", compound=None, floors=2, code="B2", address="柳东街18号")
    return {"compound": compound, "building": building, "unit": units[1], "dwelling": dwelling, "far": far}


def asked(client: TestClient, q: str, headers: dict[str, str] = OWN, **parameters: str) -> Any:
    answer = client.get("/addresses", params={"q": q, **parameters}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_who_works_there_is_led_to_the_door(client: TestClient, connection: sa.Connection, house: dict[str, UUID]) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    told = asked(client, "云汀街道澜溪社区澜溪苑3幢2单元501 张三 13800001111", worker)
    match = told["match"]
    assert (match["precision"], match["dwelling"], match["unit"]) == ("dwelling", str(house["dwelling"]), str(house["unit"]))
    assert (match["scope"], match["area"]) == (town.A, "第一网格") and "张" not in str(told)
    lon, lat = town.at(0.35, 0.35)
    assert abs(match["lon"] - lon) < 0.001 and abs(match["lat"] - lat) < 0.001
    told = asked(client, "老澜3-501", worker)
    assert told["match"]["precision"] == "building" and {one["dwelling"] for one in told["candidates"]} >= {str(house["dwelling"])}
    # What is not theirs is not there.
    assert asked(client, "柳东街18号", worker)["match"] is None


@pytest.mark.parametrize("role", [None, "resident", "system_admin"])
def test_the_public_is_led_to_the_house(client: TestClient, connection: sa.Connection, house: dict[str, UUID], role: str | None) -> None:
    headers = town.come(connection, "somebody", role) if role else OWN
    told = asked(client, "澜溪苑3幢2单元501", headers)
    assert told["match"]["precision"] == "building" and told["match"]["building"] == str(house["building"])
    assert told["match"]["unit"] is None and told["match"]["dwelling"] is None and told["candidates"] == []
    assert asked(client, "柳东街18号", headers)["match"]["building"] == str(house["far"])
    assert asked(client, "澜溪苑", headers)["match"]["precision"] == "compound"
    assert asked(client, "柳东街18号", headers, within=town.A)["match"] is None


def test_no_match_says_why_and_what_it_may_be(client: TestClient, house: dict[str, UUID]) -> None:
    told = asked(client, "澜溪院3幢")
    assert told["match"] is None and told["missing"] == "compound" and told["because"]
    assert [(one["title"], one["precision"]) for one in told["candidates"]] == [("澜溪苑3幢", "building")]
    english = asked(client, "澜溪苑33幢", lang="en")
    assert english["because"] == "澜溪苑: no 33幢 was found there." and english["candidates"][0]["building"] == str(house["building"])


@pytest.mark.parametrize("query", ["q=", "q=a&q=b", "", "q=%00", "q=a&within=x';--", f"q={'a' * 300}", "q=a&limit=3"])
def test_what_cannot_be_asked(client: TestClient, query: str) -> None:
    assert client.get(f"/addresses?{query}", headers=OWN).status_code in (400, 422)


def test_said_once_and_taken_back(client: TestClient, connection: sa.Connection, house: dict[str, UUID]) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    new = {"text": "老纺织宿舍9幢 李四", "part": "building", "target": str(house["building"]), "source": "花名册.xlsx"}
    assert asked(client, "老纺织宿舍9幢2单元501", worker)["match"] is None
    made = client.post("/addresses/aliases", json=new, headers=worker)
    assert made.status_code == 201 and made.json()["text"] == "老纺织宿舍9幢"
    assert asked(client, "老纺织宿舍9幢2单元501", worker)["match"]["dwelling"] == str(house["dwelling"])
    assert asked(client, "老纺织宿舍9幢2单元501")["match"] is None
    listed = client.get("/addresses/aliases", headers=worker).json()["aliases"]
    assert [(one["text"], one["building"], one["actor"]) for one in listed] == [("老纺织宿舍9幢", str(house["building"]), "worker")]
    other = town.come(connection, "other", "grid_worker", town.C)
    assert client.get("/addresses/aliases", headers=other).json()["aliases"] == []
    path = f"/addresses/aliases/{made.json()['id']}"
    assert client.delete(path, headers=other).status_code == 404
    assert client.post("/addresses/aliases", json=new, headers=other).status_code == 404
    assert client.delete(path, headers=worker).status_code == 204
    assert asked(client, "老纺织宿舍9幢2单元501", worker)["match"] is None


@pytest.mark.parametrize(
    ("change", "status"),
    [({"text": "张三3幢"}, 422), ({"text": "3幢"}, 422), ({"part": "street"}, 422), ({"target": "x"}, 422), ({"text": "\0"}, 422), ({"more": 1}, 422)],
)
def test_what_cannot_be_said(
    client: TestClient, connection: sa.Connection, house: dict[str, UUID], change: dict[str, object], status: int
) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    new = {"text": "老纺织宿舍9幢", "part": "building", "target": str(house["building"])} | change
    assert client.post("/addresses/aliases", json=new, headers=worker).status_code == status
    assert client.post("/addresses/aliases", json=new, headers=OWN).status_code in (401, 422)
