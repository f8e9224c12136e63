"""The 12345 exchange: tickets in by program and by table, repeats that are the same case, the hotline's own limit, results back."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import python_calamine
import sqlalchemy as sa
import xlsxwriter
from starlette.testclient import TestClient

from tests import town

LON, LAT = town.at(0.5, 0.5)
DUE = datetime(2031, 5, 6, 9, 30, tzinfo=UTC)


@pytest.fixture
def hotline(connection: sa.Connection) -> dict[str, str]:
    return town.come(connection, "hotline", "exchange")


def bring(client: TestClient, who: dict[str, str], number: str = "TS2026-1", **told: object) -> Any:
    body = {"number": number, "kind": "投诉", "matter": "06010", "title": "井盖响", "description": "晚上响", "lon": LON, "lat": LAT} | told
    return client.post("/hotline/tickets", json=body, headers=who)


def row(connection: sa.Connection, id: str) -> Any:
    return connection.execute(sa.text("SELECT * FROM incidents WHERE id = :id"), {"id": id}).one()


def told(client: TestClient, who: dict[str, str], number: str = "TS2026-1") -> Any:
    return client.get(f"/hotline/tickets/{number}", headers=who).json()


def test_a_ticket_is_a_case_and_its_result_goes_back(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    made = bring(client, hotline, due_at=DUE.isoformat(), phone="13812345678", description="晚上响,李先生电话 13987654321")
    assert made.status_code == 201, made.text
    assert made.json()["how"] == "made" and made.json()["left_out"] == ["电话号码"] and made.json()["case"] == "TS2026-1"
    case = row(connection, made.json()["incident"])
    assert (case.channel, case.sub_source, case.scope, case.state, case.promised_at, case.reporter_phone_masked) == (
        "public", "12345", town.A, "reported", DUE, "138****5678"
    )
    # A title is everybody's: it is the matter's, not the caller's words.
    assert "响" not in case.title and case.description.startswith("井盖响\n晚上响") and "13987654321" not in case.description
    acceptor = town.come(connection, "acceptor", "acceptor", town.A)
    moved = client.post(f"/incidents/{case.id}/moves", json={"action": "accept"}, headers=acceptor)
    assert moved.status_code in (200, 201), moved.text
    case = row(connection, str(case.id))
    # The clocks have gone on, and the hotline's limit is as it was.
    assert case.due_at and case.due_at < DUE and case.promised_at == DUE and told(client, hotline)["due_at"].startswith("2031-05-06")
    client.post(f"/incidents/{case.id}/moves", json={"action": "reject", "opinion": "产权属铁路部门,已告知"}, headers=acceptor)
    result = told(client, hotline)
    assert (result["state"], result["closed"], result["result"]) == ("rejected", True, "产权属铁路部门,已告知")
    assert [t["number"] for t in client.get("/hotline/tickets", params={"closed": True}, headers=hotline).json()["tickets"]] == ["TS2026-1"]


def test_the_earlier_of_both_limits_presses(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    id = bring(client, hotline, due_at=(datetime.now(UTC) - timedelta(hours=1)).isoformat()).json()["incident"]
    acceptor = town.come(connection, "acceptor", "acceptor", town.A)
    assert client.get(f"/collections/incidents/items/{id}", headers=acceptor).json()["properties"]["overdue"] is True
    (mine,) = [one for one in client.get("/inbox", headers=acceptor).json()["incidents"] if one["id"] == id]
    assert datetime.fromisoformat(mine["due_at"]) < datetime.now(UTC)


def test_the_same_number_again_is_the_same_case(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    one, other = bring(client, hotline), bring(client, hotline)
    assert (one.status_code, other.status_code, other.json()["how"], other.json()["repeats"]) == (201, 200, "again", 0)
    third = bring(client, hotline, description="还在响", due_at=DUE.isoformat())
    assert (third.json()["how"], third.json()["repeats"], third.json()["incident"]) == ("repeated", 1, one.json()["incident"])
    case = row(connection, one.json()["incident"])
    assert case.description.endswith("还在响") and case.promised_at == DUE
    assert connection.scalar(sa.text("SELECT count(*) FROM incidents WHERE sub_source = '12345'")) == 1


def test_the_same_matter_at_the_same_place_is_linked(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    one = bring(client, hotline).json()
    other = bring(client, hotline, "TS2026-2", lon=LON + 0.0003).json()
    assert (other["how"], other["incident"]) == ("linked", one["incident"]) and told(client, hotline, "TS2026-2")["linked"] is True
    assert bring(client, hotline, "TS2026-3", lon=LON + 0.01).json()["how"] == "made"
    # Of matters of people two at one place are two.
    assert {bring(client, hotline, f"TS2026-{n}", matter="20001").json()["how"] for n in (4, 5)} == {"made"}


def test_a_repeat_of_what_was_closed(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    id = bring(client, hotline).json()["incident"]
    close = "UPDATE incidents SET steps = NULL, state = 'closed', lead_area = scope, reported_at = now() - interval '90 days', closed_at = now() - CAST(:ago AS interval) WHERE id = :id"
    connection.execute(sa.text(close), {"id": id, "ago": "3 days"})
    connection.execute(sa.text("DELETE FROM incident_log WHERE incident = :id"), {"id": id})
    again = bring(client, hotline, description="又响了").json()
    assert (again["how"], again["incident"], row(connection, id).state) == ("reopened", id, "dispatched")
    connection.execute(sa.text(close), {"id": id, "ago": "30 days"})
    assert bring(client, hotline, description="又响了").json()["how"] == "again"
    later = bring(client, hotline, description="还是响").json()
    assert later["how"] == "made" and later["incident"] != id and later["case"] == "TS2026-1-3"
    assert told(client, hotline)["incident"] == later["incident"]


def test_who_may(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    assert bring(client, hotline).status_code == 201
    worker = town.come(connection, "worker", "grid_worker", town.A)
    assert bring(client, worker, "X1").status_code == 403 and bring(client, town.NOBODY, "X1").status_code == 401
    # Another system is told nothing of it; who answers for the place is.
    other = town.come(connection, "other", "exchange")
    assert client.get("/hotline/tickets/TS2026-1", headers=other).status_code == 404
    assert client.get("/hotline/tickets/TS2026-1", headers=town.come(connection, "acceptor", "acceptor", town.A)).status_code == 200
    assert client.get("/hotline/tickets/TS2026-1", headers=town.come(connection, "elsewhere", "acceptor", town.C)).status_code == 404
    for wrong in ({"number": "../x y"}, {"kind": "闲聊"}, {"matter": "nosuch"}, {"lon": 1, "lat": None}, {"due_at": "2026-01-01"}):
        assert bring(client, hotline, **{"number": "X1"} | wrong).status_code == 422, wrong


def test_its_own_table_in_and_out(client: TestClient, connection: sa.Connection, hotline: dict[str, str]) -> None:
    compound = town.add(connection, "compounds", town.box(0.2, 0.2, 0.8, 0.8), name="澜溪苑")
    town.add(connection, "buildings", town.box(0.3, 0.3, 0.4, 0.4), name="3幢", compound=compound, floors=6)
    title = connection.scalar(sa.text("SELECT title FROM matters WHERE code = '06010'"))
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for at, line in enumerate((
            ("工单编号", "诉求类型", "诉求内容", "诉求地址", "诉求分类", "来电时间", "办理时限", "联系电话"),
            ("=1+1", "投诉", "", "", "", "", "", ""),
            ("12345-001", "投诉", "路灯不亮", "澜溪苑3幢", title, "2026-01-05 08:30", "2026/1/12", "13812345678"),
            ("12345-002", "闲聊", "随便说说", "", "物业", "上周", "", ""),
            ("12345-003", "咨询", "怎么办居住证", "", "物业", "2026-01-05", "", ""),
        )):  # fmt: skip
            for column, cell in enumerate(line):
                sheet.write_string(at, column, str(cell))
    answer = client.post("/hotline/tables", files={"file": ("工单.xlsx", content.getvalue())}, headers=hotline)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [(one["row"], one["number"], one["how"]) for one in body["taken"]] == [(2, "12345-001", "made"), (4, "12345-003", "made")]
    assert [(one["row"], bool(one["reason"])) for one in body["rejects"]] == [(1, True), (3, True)]
    case = row(connection, body["taken"][0]["incident"])
    assert (case.scope, case.precision, case.matter, case.number) == (town.A, "building", "06010", "12345-001")
    assert case.promised_at.astimezone(ZoneInfo("Asia/Shanghai")).isoformat().startswith("2026-01-12T")
    assert row(connection, body["taken"][1]["incident"]).description == "怎么办居住证\n物业"
    back = client.get("/hotline/tickets.xlsx", headers=hotline)
    lines = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(back.content)).get_sheet_by_index(0).to_python()
    assert lines[0][0] == "工单编号" and {line[0] for line in lines[1:]} == {"12345-001", "12345-003"}
    # And in again, it is what it was.
    again = client.post("/hotline/tables", files={"file": ("工单.xlsx", content.getvalue())}, headers=hotline).json()
    assert [one["how"] for one in again["taken"]] == ["again", "again"]
