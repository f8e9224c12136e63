"""Calendar and limits over HTTP: read by everybody, set by who answers for all, with every line accounted for."""

from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from api import cli, cli_times
from tests import town

DAYS = "日期,上班/休息,说明\n2027-02-10,休息,春节\n2027-02-14,上班,调休\n2027-02-31,休息,\n"
LIMITS = "小类代码,小类名称,立案条件,处置时限\n06010,暴露垃圾,,2小时\n06012,道路不洁,大片,3天\n09006,占道经营,,立即\n"


def test_days_of_a_file_are_worked_or_not(client):
    assert client.get("/calendar?year=2027").json() == {"year": 2027, "known": False, "days": []}
    answer = client.post("/calendar", files={"file": ("日历.csv", DAYS)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["taken"] == 2
    assert [(one["row"], one["value"]) for one in answer.json()["rejects"]] == [(3, "2027-02-31")]
    assert client.get("/calendar?year=2027").json()["days"] == [
        {"day": "2027-02-10", "working": False, "note": "春节"}, {"day": "2027-02-14", "working": True, "note": "调休"},
    ]
    # Of everybody, and the days of the years known.
    told = client.get("/calendar?year=2026", headers=town.NOBODY).json()
    assert told["known"] and {"day": "2026-10-10", "working": True, "note": "国庆节"} in told["days"]


def test_a_table_of_limits(client):
    answer = client.post("/limits", files={"file": ("时限.csv", LIMITS)}, data={"hour": "work_hour"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["begun"], told["over"], told["unmatched"]) == (1, 0, 0)
    assert [(one["row"], one["value"]) for one in told["rejects"]] == [(2, "3天"), (3, "立即")]
    assert "工作日还是自然日" in told["rejects"][0]["reason"]
    again = client.post("/limits?lang=en", files={"file": ("时限.csv", LIMITS)}, data={"hour": "urgent_hour", "day": "work_day"}).json()
    assert (again["begun"], again["over"], len(again["rejects"])) == (2, 1, 1)
    assert again["rejects"][0]["reason"] == "There is no number with a unit in the limit."
    matters = client.get("/limits", headers=town.NOBODY).json()["matters"]
    assert [(one["matter"], one["kind"], one["amount"]) for one in matters] == [("06010", "urgent_hour", 2.0), ("06012", "work_day", 3.0)]
    # What was in force stays known.
    assert [one["kind"] for one in client.get("/limits?matter=06010").json()["matters"]] == ["work_hour", "urgent_hour"]


def test_a_stage_has_another_limit(client, connection):
    answer = client.put("/limits/stages/filed", json={"limit": "10分钟", "source": "区政府令3号"})
    assert answer.json() == {"state": "filed", "urgent": False, "kind": "urgent_minute", "amount": 10.0}
    assert {"state": "filed", "urgent": False, "clock": "dispatch", "kind": "urgent_minute", "amount": 10.0, "source": "区政府令3号"} in client.get("/limits").json()["stages"]
    assert client.put("/limits/stages/filed", json={"limit": "很快"}).status_code == 422
    assert client.put("/limits/stages/abroad", json={"limit": "10分钟"}).status_code == 404
    told = connection.execute(sa.text("SELECT action, purpose FROM trail WHERE action = 'settings' ORDER BY id DESC LIMIT 1")).one()
    assert told == ("settings", "limit filed 10 urgent_minute")


@pytest.mark.parametrize(("role", "area", "status"), [
    ("street", town.PREFIX, 200), ("community_leader", town.PREFIX + "001", 403), ("grid_worker", town.A, 403), ("acceptor", town.PREFIX, 403),
    ("street", town.PREFIX + "001", 403),  # not all that the instance covers
])
def test_what_holds_for_all_is_set_by_who_answers_for_all(client, connection, role, area, status):
    headers = town.come(connection, "somebody", role, area)
    for method, path, how in (
        ("POST", "/calendar", {"files": {"file": ("a.csv", DAYS)}}),
        ("POST", "/limits", {"files": {"file": ("a.csv", LIMITS)}, "data": {"hour": "work_hour"}}),
        ("PUT", "/limits/stages/filed", {"json": {"limit": "10分钟"}}),
    ):
        assert client.request(method, path, headers=headers, **how).status_code == status, path


@pytest.mark.parametrize(("name", "content"), [("a.exe", "x"), ("a.csv", ""), ("a.csv", "甲,乙\n1,2\n"), ("a.xlsx", "no workbook")])
def test_what_is_no_table_is_refused(client, name, content):
    for path in ("/calendar", "/limits"):
        answer = client.post(path, files={"file": (name, content)})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


def test_the_commands_say_what_became_of_every_line(connection, monkeypatch, tmp_path):
    monkeypatch.setattr(cli_times, "owner", lambda: nullcontext(connection))
    monkeypatch.setattr(cli_times.console, "width", 200)
    (tmp_path / "days.csv").write_text(DAYS, "utf-8")
    (tmp_path / "limits.csv").write_text(LIMITS, "utf-8")

    def run(*arguments):
        done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        return done.exit_code, done.output

    assert run("calendar", "load", tmp_path / "days.csv") == (1, "另定了 2 天\n第 3 行未收:2027-02-31 日期写成 2026-10-01 这样,在 2000 年至 2059 年之间。\n")
    assert run("calendar", "show", 2027) == (0, "2027-02-10 休息 春节\n2027-02-14 上班 调休\n")
    code, told = run("limits", "load", tmp_path / "limits.csv", "--hour", "work_hour", "--day", "work_day")
    assert code == 1 and told.startswith("新增 2 条时限,替换 0 条") and "第 3 行未收:立即" in told
    assert run("limits", "stage", "filed", "10分钟") == (0, "")
    code, told = run("limits", "show")
    assert code == 0 and "filed 10 urgent_minute" in told and "06010 暴露垃圾  2 work_hour" in told
