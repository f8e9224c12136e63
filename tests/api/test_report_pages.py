"""The public's pages: told with no account and no script, once, where somebody stands or a code hangs; followed with ticket and code."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from geo import photos, pictures
from tests import town
from tests.conftest import Client, Visitor
from tests.geo.test_photos import ATTACKS, picture

Visitors = Callable[..., Visitor]
LON, LAT = town.at(0.5, 0.5)
TICKET = re.compile(r'id="done-ticket">(R\d{6}-[0-9A-Z]+)<')
CODE = re.compile(r'id="done-code">([0-9A-Z ]+)<')
PLACE = {"lon": str(LON), "lat": str(LAT), "datum": "cgcs2000"}


@pytest.fixture(autouse=True)
def nearby(monkeypatch: pytest.MonkeyPatch) -> None:
    """Developed in this process: a start takes a quarter of a second."""
    def developed(sent: bytes) -> photos.Photo:
        try:
            return photos.Photo(*pictures.developed(sent))
        except pictures.Refused as refusal:
            raise photos.Invalid(str(refusal), field="photo") from refusal
    monkeypatch.setattr(photos, "developed", developed)


@pytest.fixture
def house(connection: sa.Connection) -> dict[str, Any]:
    """House 3 of 澜溪苑 in grid A, with a stairwell."""
    def insert(table: str, **values: Any) -> Any:
        names = ", ".join(values)
        slots = ", ".join(f"ST_Multi(ST_GeomFromGeoJSON(:{n}))" if n == "geom" else f":{n}" for n in values)
        return connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({slots}) RETURNING id"), values).scalar_one()
    compound = insert("compounds", name="澜溪苑", geom=json.dumps(town.box(0.2, 0.2, 0.8, 0.8)))
    building = insert("buildings", name="3幢", compound=compound, geom=json.dumps(town.box(0.4, 0.4, 0.42, 0.42)))
    unit = insert("units", name="2单元", building=building)
    return {"building": str(building), "unit": str(unit)}


def filled(visitor: Visitor, files: list[bytes] | None = None, **given: str) -> Any:
    page = visitor.get("/report").text
    once = re.search(r'name="once" value="([0-9a-f]+)"', page)
    assert once
    data = {"once": once[1], "matter": "28001", "do": "send"} | PLACE | given
    sent = [("photo", (f"{n}.jpg", content)) for n, content in enumerate(files or [b""])]
    return visitor.post("/report", data=data, files=sent)


def latest(connection: sa.Connection) -> Any:
    return connection.execute(sa.text("SELECT *, ST_X(geom) AS lon, ST_Y(geom) AS lat FROM incidents ORDER BY id DESC LIMIT 1")).one()


def receipt(answer: Any) -> dict[str, str]:
    ticket, code = TICKET.search(answer.text), CODE.search(answer.text)
    assert ticket and code, answer.text
    return {"ticket": ticket[1], "code": code[1]}


def test_somebody_without_an_account_reports_with_photos(visitors: Visitors, connection: sa.Connection) -> None:
    answer = filled(visitors(), [picture(), picture(colour=(1, 9, 1))], words="井盖没了,天黑危险", phone="13812345678", notice="1")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", answer.text
    assert set(receipt(answer)) == {"ticket", "code"}
    row = latest(connection)
    assert (row.matter, row.channel, row.scope, row.description, row.reporter_phone_masked) == ("28001", "public", town.A, "井盖没了,天黑危险", "138****5678")
    assert connection.scalar(sa.text("SELECT count(*) FROM incident_photos WHERE incident = :id AND actor = ''"), {"id": row.id}) == 2


def test_loaded_again_it_is_the_same_report(visitors: Visitors, connection: sa.Connection) -> None:
    visitor = visitors()
    one = filled(visitor, words="路面塌了", once="a" * 32)
    again = filled(visitor, words="路面塌了", once="a" * 32)
    assert receipt(one) == receipt(again)
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents WHERE source = 'report'")) == 1
    other = filled(visitor, words="别的话", once="a" * 32)
    assert other.status_code == 409 and "再提交一次" in other.text and "a" * 32 not in other.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"matter": "", "words": ""}, "请选是什么事"), ({"lon": "", "lat": ""}, "请说在哪里"), ({"lon": "x"}, "地点有误"), ({"lat": "nan"}, "地点有误"),
        ({"lon": "999"}, "地点有误"), ({"phone": "13812345678"}, "看告知"), ({"phone": "<b>", "notice": "1"}, "电话号码有误"), ({"building": "x"}, "没有这个地方"),
        ({"unit": str(uuid4())}, "没有这个地方"), ({"matter": "99999"}, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_said_in_place(visitors: Visitors, connection: sa.Connection, given: dict[str, str], said: str) -> None:
    answer = filled(visitors(), **({"words": "王家的<script>window.__x=1</script>"} | given))
    assert answer.status_code in (422, 404) and 'role="alert"' in answer.text and said in answer.text
    assert "<script>window" not in answer.text
    if given.get("words") is None:
        assert "&lt;script&gt;" in answer.text
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents WHERE source = 'report'")) == 0


def test_a_photo_that_is_none_keeps_the_rest_of_the_form(visitors: Visitors, connection: sa.Connection) -> None:
    answer = filled(visitors(), [picture(), ATTACKS["an archive behind a photo"][0]()], words="井盖没了")
    assert answer.status_code == 422 and "夹带" in answer.text and "井盖没了" in answer.text
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents WHERE source = 'report'")) == 0


def test_a_code_on_the_wall_says_where(visitors: Visitors, connection: sa.Connection, house: dict[str, Any]) -> None:
    visitor = visitors()
    page = visitor.get("/report", params={"unit": house["unit"]})
    assert page.status_code == 200 and "澜溪苑3幢2单元" in page.text
    answer = filled(visitor, unit=house["unit"], lon="", lat="", address="二楼转角", words="灯坏了")
    assert receipt(answer)
    row = latest(connection)
    assert (row.address, row.scope, row.precision) == ("澜溪苑3幢2单元 二楼转角", town.A, "building")
    assert abs(row.lon - town.at(0.41, 0)[0]) < 1e-4
    for kind in ("buildings", "units"):
        code = visitor.get(f"/qr/{kind}/{house[kind[:-1]]}.svg")
        assert code.status_code == 200 and code.headers["content-type"].startswith("image/svg+xml") and b"<svg" in code.content
    assert visitor.get(f"/qr/buildings/{uuid4()}.svg").status_code == 404
    gone = visitor.get("/report", params={"building": str(uuid4())})
    assert gone.status_code == 404 and "没有这个地方" in gone.text and 'name="words"' in gone.text


def test_words_are_a_place_where_they_mean_one(visitors: Visitors, connection: sa.Connection, house: dict[str, Any]) -> None:
    visitor = visitors()
    looked = filled(visitor, do="look", lon="", lat="", address="澜溪苑3幢2单元501室", words="漏水")
    assert looked.status_code == 200 and "澜溪苑3幢" in looked.text and "漏水" in looked.text and "两周内没有人报过" in looked.text
    assert receipt(filled(visitor, lon="", lat="", address="澜溪苑3幢", words="漏水"))
    assert latest(connection).scope == town.A
    unknown = filled(visitor, do="look", lon="", lat="", address="不知道什么地方")
    assert "没有认出这个地址" in unknown.text
    assert receipt(filled(visitor, lon="", lat="", address="不知道什么地方"))
    assert (latest(connection).geom, latest(connection).address) == (None, "不知道什么地方")
    made = visitor.post("/reports", json={"title": "漏水", "address": "澜溪苑3幢"})
    assert made.status_code == 201 and latest(connection).scope == town.A


# What is known already


def test_one_follows_what_others_reported_and_cannot_move_it(visitors: Visitors, client: Client, connection: sa.Connection) -> None:
    visitor = visitors()
    first = receipt(filled(visitor, words="王某某家门口井盖没了"))
    case = latest(connection).id
    looked = filled(visitors(), do="look", lon=str(LON + 0.0005))
    assert "附近已经有人报过" in looked.text and str(case) in looked.text and "王某某" not in looked.text
    told = visitor.get("/reports/near", params={"matter": "28001", "lon": LON, "lat": LAT}).json()["reports"]
    assert [set(one) for one in told] == [{"incident", "title", "area", "reported_on", "stage", "stage_title"}]
    joined = visitor.post("/report/join", data={"incident": str(case), "once": "b" * 32})
    mine = receipt(joined)
    assert mine != first and receipt(visitor.post("/report/join", data={"incident": str(case), "once": "b" * 32})) == mine
    how = visitor.post("/report/follow", data=mine)
    assert "别人报的事" in how.text and "撤回" not in how.text and "王某某" not in how.text
    for action in ("cancel", "rate", "object"):
        refused = client.post(f"/reports/{mine['ticket']}/moves", json={"action": action, "opinion": "不要了", "rating": 1}, headers=town.NOBODY | {"Report-Code": mine["code"]})
        assert refused.status_code == 404
    sent = client.post(f"/reports/{mine['ticket']}/photos", files={"photo": ("a.jpg", picture())}, headers=town.NOBODY | {"Report-Code": mine["code"]})
    assert sent.status_code == 404
    # Sent again, the report of the first one has its own ticket still.
    assert receipt(visitor.post("/report/follow", data=first) and filled(visitor, words="又一件"))


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ("reported_at = now() - interval '13 days'", 1), ("reported_at = now() - interval '15 days'", 0), ("retired_at = now()", 0),
        ("exercise = true", 0), ("matter = '28002'", 0), ("state = 'closed', steps = NULL, closed_at = now()", 0),
    ],
)  # fmt: skip
def test_what_is_near_is_the_same_recent_and_open(visitors: Visitors, connection: sa.Connection, change: str, near: int) -> None:
    filled(visitors())
    connection.execute(sa.text(f"UPDATE incidents SET {change} WHERE source = 'report'"))
    ask = {"matter": "28001", "lon": LON, "lat": LAT}
    assert len(visitors().get("/reports/near", params=ask).json()["reports"]) == near
    assert visitors().get("/reports/near", params=ask | {"lon": LON + 0.002}).json() == {"reports": []}


def test_where_people_quarrel_is_told_to_nobody(visitors: Visitors, connection: sa.Connection) -> None:
    filled(visitors(), matter="20001")
    assert visitors().get("/reports/near", params={"matter": "20001", "lon": LON, "lat": LAT}).json() == {"reports": []}
    assert visitors().post("/report/join", data={"incident": str(latest(connection).id), "once": "c" * 32}).status_code == 404


# How it goes


def test_its_reporter_sees_how_it_goes_and_takes_it_back(visitors: Visitors, connection: sa.Connection) -> None:
    visitor = visitors()
    mine = receipt(filled(visitor, words="灯不亮"))
    page = visitor.get("/report/follow", params={"ticket": mine["ticket"]})
    assert mine["ticket"] in page.text and mine["code"] not in page.text
    how = visitor.post("/report/follow", data=mine)
    assert how.status_code == 200 and how.headers["cache-control"] == "no-store" and "灯不亮" not in how.text
    assert re.findall(r'<li class="(now|past|next)"', how.text) == ["now", "next", "next", "next", "next"]
    assert visitor.post("/report/follow", data=mine | {"code": "0" * 16}).status_code == 404
    short = visitor.post("/report/follow", data=mine | {"do": "cancel", "opinion": ""})
    assert short.status_code == 422 and "请写明意见" in short.text
    back = visitor.post("/report/follow", data=mine | {"do": "cancel", "opinion": "已经修好了"})
    assert "已撤回" in back.text and latest(connection).state == "cancelled" and "不再办理" in back.text


def test_it_is_told_what_was_answered_and_nothing_else_of_the_log(visitors: Visitors, client: Client, connection: sa.Connection) -> None:
    visitor = visitors()
    mine = receipt(filled(visitor))
    case = str(latest(connection).id)
    desk, hub = town.come(connection, "desk", "acceptor", town.PREFIX), town.come(connection, "hub", "dispatcher", town.PREFIX)
    worker, other = town.come(connection, "worker", "grid_worker", town.A), town.come(connection, "other", "checker", town.PREFIX)

    def does(who: dict[str, str], action: str, **given: str) -> None:
        answer = client.post(f"/incidents/{case}/moves", json={"action": action} | given, headers=who)
        assert answer.status_code == 201, answer.text

    does(desk, "accept")
    does(desk, "file")
    does(hub, "dispatch", lead_area=town.A)
    assert "第一网格" in visitor.post("/report/follow", data=mine).text
    does(worker, "start")
    does(worker, "handle", opinion="只给自己人看的话")
    does(other, "pass", opinion="也是内部的话")
    does(desk, "close")
    does(desk, "answer", opinion="井盖已换新,感谢您")
    how = visitor.post("/report/follow", data=mine)
    assert "井盖已换新,感谢您" in how.text and "只给自己人" not in how.text and "内部的话" not in how.text
    assert re.findall(r'<li class="(now|past|next)"', how.text) == ["past", "past", "past", "past", "now"]
    rated = visitor.post("/report/follow", data=mine | {"do": "rate", "rating": "5"})
    assert "谢谢您的评价" in rated.text and latest(connection).rating == 5
    again = visitor.post("/report/follow", data=mine | {"do": "object", "opinion": "又坏了"})
    assert "已提出异议" in again.text and latest(connection).state == "dispatched"
    assert "井盖已换新" in again.text


def test_it_speaks_english(visitors: Visitors) -> None:
    page = visitors().get("/report?lang=en").text
    assert "Missing or broken manhole cover" in page and not re.search(r">[^<]*[\u4e00-\u9fff]{3,}[^<]*<", re.sub(r'<a class="language".*?</a>', "", page, flags=re.S))


# Codes to print


def test_a_sheet_is_for_those_who_answer_for_the_area(visitors: Visitors, client: Client, connection: sa.Connection, house: dict[str, Any]) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A) | {"Accept": "text/html"}
    sheet = client.get(f"/qr/sheet?within={town.A}", headers=worker)
    assert sheet.status_code == 200 and sheet.text.count('<article class="slip"') == 1 and "澜溪苑3幢2单元" in sheet.text and sheet.text.count('class="qr"') == 1
    assert "澜溪苑3幢</h2>" in client.get(f"/qr/sheet?within={town.A}&each=building", headers=worker).text
    assert '<article class="slip"' not in client.get(f"/qr/sheet?within={town.B}", headers=worker).text
    assert visitors().get(f"/qr/sheet?within={town.A}").status_code == 303
    assert visitors().get("/qr/sheet?within=990101001%25").status_code in (303, 400)


def test_the_code_of_a_report_opens_nothing(visitors: Visitors) -> None:
    answer = visitors().get("/qr/reports/R260101-ABCDEF.svg")
    assert answer.status_code == 200 and b"<svg" in answer.content
    assert visitors().get("/qr/reports/x%3Cscript%3E.svg").status_code == 404


def test_the_picker_may_be_framed_by_us_alone(visitors: Visitors) -> None:
    page = visitors().get("/report/place")
    assert page.status_code == 200 and "frame-ancestors 'self'" in page.headers["content-security-policy"] and "map_main" in page.text
