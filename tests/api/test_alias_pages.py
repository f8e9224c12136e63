"""The page of what addresses mean: said by hand or of a file's texts, and taken back."""

import re
from uuid import UUID

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import db
from geo.receiving import Working
from tests import town
from tests.api.test_addresses import house

PAGE = {"Accept": "text/html"}
LEADER = {"Authorization": f"Bearer {town.LEADER}"}
assert house


@pytest.fixture
def worker(connection: sa.Connection) -> dict[str, str]:
    return PAGE | town.come(connection, "worker", "grid_worker", town.A)


@pytest.fixture
def working(live, key, live_client):
    engine = db.engine(live.url("jingwei_loader"), pool=2)
    yield Working(engine, key, live_client.app.state.home)
    engine.dispose()


def said(client: TestClient, who: dict[str, str], status: int = 303, **fields: str) -> str:
    answer = client.post("/addresses/aliases/form", data=fields, headers=who, follow_redirects=False)
    assert answer.status_code == status, answer.text
    return answer.text


def shown(client: TestClient, who: dict[str, str], query: str = "") -> str:
    answer = client.get(f"/addresses/aliases{query}", headers=who)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", answer.text
    return answer.text


def test_said_by_hand_listed_and_ended(client: TestClient, house: dict[str, UUID], worker: dict[str, str]) -> None:
    assert "还没有记下的叫法" in shown(client, worker)
    said(client, worker, text="老纺织宿舍9幢 李四", means="澜溪苑3幢", source="花名册.xlsx")
    said(client, worker, text="老水塔", means="澜溪苑")
    text = shown(client, worker)
    assert re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)', text) == [("老水塔", "澜溪苑"), ("老纺织宿舍9幢", "澜溪苑3幢")]
    assert "花名册.xlsx" in text and ">worker<" in text and "第一网格" in text and "李四" not in text
    assert re.findall(r'<th scope="row">([^<]*)', shown(client, worker, "?q=水塔")) == ["老水塔"]
    found = client.get("/addresses", params={"q": "老水塔3幢2单元501"}, headers=worker).json()
    assert found["match"]["dwelling"] == str(house["dwelling"])
    id = re.findall("/addresses/aliases/([0-9a-f-]{36})/form", text)[0]
    end = client.post(f"/addresses/aliases/{id}/form", data={"do": "end"}, headers=worker, follow_redirects=False)
    assert end.status_code == 303 and "老水塔" not in shown(client, worker)
    again = client.post(f"/addresses/aliases/{id}/form", data={"do": "end"}, headers=worker)
    assert again.status_code == 404 and 'role="alert"' in again.text


def test_a_place_that_is_not_sure_is_chosen(client: TestClient, house: dict[str, UUID], worker: dict[str, str]) -> None:
    text = said(client, worker, 422, text="<b>老厂房</b>宿舍", means="澜溪院3幢")
    assert 'role="alert"' in text and "澜溪苑3幢" in text and "&lt;b&gt;老厂房" in text and "<b>老厂房" not in text
    (choice,) = re.findall(r'name="chosen" value="([^"]*)"', text)
    assert choice == f"building {house['building']}"
    said(client, worker, text="老厂房宿舍", means="澜溪院3幢", chosen=choice)
    assert "老厂房宿舍" in shown(client, worker)
    for fields in ({"text": "3幢", "means": "澜溪苑3幢"}, {"text": "", "means": "澜溪苑3幢"}, {"text": "老厂房", "means": ""}, {"text": "澜溪苑", "means": "柳东街18号"}):
        assert 'role="alert"' in said(client, worker, 422, **fields)


@pytest.mark.parametrize("query", ["?upload=x", "?more=1", "?q=%00"])
def test_what_cannot_be_asked(client: TestClient, worker: dict[str, str], query: str) -> None:
    assert client.get(f"/addresses/aliases{query}", headers=worker).status_code in (400, 422)


def test_the_texts_of_a_file_that_led_nowhere(live_client, live_engine, working) -> None:
    with live_engine.begin() as connection:
        compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑", code="X1")
        town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6, code="B1")
    rows = "名称,编码,类别,地址\n甲店,F1,hospital,澜溪院3幢\n乙店,F2,hospital,澜溪院3幢底商\n丙店,F3,hospital,<i>老井边</i>\n丁店,F4,hospital,澜溪苑3幢\n"
    id = live_client.post("/uploads", files={"file": ("设施.csv", rows.encode())}, data={"noun": "facilities"}, headers=LEADER).json()["id"]
    working.read(UUID(id))
    problems = live_client.get(f"/uploads/{id}?step=4", headers=LEADER | PAGE).text
    assert f'href="/addresses/aliases?upload={id}"' in problems
    text = live_client.get(f"/addresses/aliases?upload={id}", headers=LEADER | PAGE).text
    assert "澜溪院3幢底商" in text and "&lt;i&gt;老井边" in text and "“澜溪院”就是澜溪苑" in text
    choice = f"compound {compound}"
    assert choice in text
    told = live_client.post(
        "/addresses/aliases/form", data={"text": "澜溪院3幢", "chosen": choice, "source": "设施.csv", "upload": id}, headers=LEADER | PAGE, follow_redirects=False,
    )
    assert told.status_code == 303 and told.headers["location"] == f"/addresses/aliases?upload={id}#file"
    assert live_client.get(told.headers["location"], headers=LEADER | PAGE).text.count("对上了") == 2
    assert live_client.post(f"/uploads/{id}/form", data={"do": "read"}, headers=LEADER | PAGE, follow_redirects=False).status_code == 303
    working.read(UUID(id))
    upload = live_client.get(f"/uploads/{id}", headers=LEADER).json()
    assert (upload["counts"]["new"], upload["counts"]["refused"]) == (3, 1)
    # A file is its sender's alone.
    with live_engine.begin() as connection:
        other = town.come(connection, "other", "street", town.PREFIX)
    assert live_client.get(f"/addresses/aliases?upload={id}", headers=other | PAGE).status_code == 404


def test_a_house_that_was_found_is_called_by_its_name(live_client, live_engine, working) -> None:
    with live_engine.begin() as connection:
        compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑", code="X1")
        building = town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6, code="B1")
        unit = town.add(connection, "units", name="2单元", building=building, code="U1")
        town.add(connection, "dwellings", name="501", building=building, unit=unit, floor=5, code="D1")
    id = live_client.post(
        "/uploads", files={"file": ("住户.csv", "户号,户编码,房屋\nH1,Y1,3-2-501王小明家\nH2,Y2,3-2-502\n".encode())}, data={"noun": "households"}, headers=LEADER
    ).json()["id"]
    working.read(UUID(id))
    text = live_client.get(f"/uploads/{id}?step=4&tab=new", headers=LEADER | PAGE).text
    assert "<td>澜溪苑3幢</td>" in text and "<td>澜溪苑3幢2单元501</td>" in text and str(building) not in text
    assert "房屋 1" in text and "楼栋 1" in text
    assert live_client.get(f"/uploads/{id}", headers=LEADER).json()["told"]["samples"]["房屋"] == ["3幢2单元501室", "3幢2单元502室"]
    # Of people no words are kept, and the page says where to look for them.
    assert "没有留下原文" in live_client.get(f"/addresses/aliases?upload={id}", headers=LEADER | PAGE).text
