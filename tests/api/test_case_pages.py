"""The pages of cases as a browser without scripts takes them: what waits, the list, the board, a case with its next step as a form."""

import csv
import html
import io
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from api import case_pages
from geo import accounts
from geo.catalog.workflow import MOVES
from geo.enrolling import LOCAL
from tests import town
from tests.conftest import Client
from tests.geo.test_incidents import REPORT, TO_CHECKED, TO_HANDLING, Desk

HTML = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "zh"}
MARKUP = "<img src=x onerror=alert(1)>"
TICKET = re.compile(r'<li class="ticket.*?</li>', re.DOTALL)


class Staff(Desk):
    """The same people before a browser."""

    def page(self, role: str, path: str, status: int = 200) -> str:
        """What a page says, entities put back."""
        answer = self.client.get(path, headers=self.known[role] | HTML, follow_redirects=False)
        assert answer.status_code == status, answer.text[:2000]
        return html.unescape(answer.text)

    def sends(self, role: str, path: str, status: int = 303, **form: Any) -> str:
        """Where a form leads, or what the page says that answers it."""
        answer = self.client.post(path, data=form, headers=self.known[role] | HTML, follow_redirects=False)
        assert answer.status_code == status, answer.text[:2000]
        return answer.headers["location"] if status == 303 else html.unescape(answer.text)

    def titled(self, title: str, **more: object) -> str:
        """The id of a report, which is called by its matter until somebody gives it a title."""
        made = self.client.post("/reports", json=REPORT | more, headers=town.NOBODY)
        case = self.connection.scalar(sa.text("SELECT incident FROM receipts WHERE ticket = :t"), {"t": made.json()["ticket"]})
        self.connection.execute(sa.text("UPDATE incidents SET title = :title WHERE id = :id"), {"title": title, "id": case})
        return str(case)

    def listed(self, role: str, query: str = "") -> list[str]:
        """The titles of a list, in its order."""
        return re.findall(r'<th scope="row" role="rowheader"><a href="[^"]+">([^<]+)</a>', self.page(role, f"/cases{query}"))


@pytest.fixture
def staff(connection: sa.Connection, client: Client) -> Staff:
    return Staff(connection, client)


def test_what_waits_and_is_done_with_one_press(staff: Staff) -> None:
    case = staff.reported()
    page = staff.page("acceptor", "/inbox")
    assert f'action="/cases/{case}/moves"' in page and "没有等您办" in staff.page("grid_worker", "/inbox")
    assert staff.client.get("/inbox/count", headers=staff.known["acceptor"]).json() == 1
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    there = staff.sends("acceptor", f"/cases/{case}/moves", **hidden)
    assert there == "/inbox?done=accept" and "已办：受理。" in staff.page("acceptor", there)
    assert staff.stands(case)["state"] == "accepted"
    # A program is answered as before.
    assert [row["id"] for row in staff.client.get("/inbox", headers=staff.known["acceptor"]).json()["incidents"]] == [case]


def test_only_what_leads_on_waits(staff: Staff) -> None:
    case = staff.reported()
    staff.walked(case, *TO_HANDLING)
    asks = {role: staff.client.get("/inbox", headers=staff.known[role]).json()["incidents"] for role in ("dispatcher", "grid_worker", "street", "acceptor")}
    assert {role: [row["actions"] for row in rows] for role, rows in asks.items()} == {
        "dispatcher": [], "grid_worker": [["dispute", "handle", "return"]], "street": [], "acceptor": []}
    staff.does("grid_worker", case, "ask_suspension", opinion="等汛期过")
    [row] = staff.client.get("/inbox", headers=staff.known["dispatcher"]).json()["incidents"]
    assert row["actions"] == ["suspend"] and f"/cases/{case}#do-suspend-until" in staff.page("dispatcher", "/inbox")


def test_the_whole_loop_by_forms(staff: Staff) -> None:
    starts = "2026-01-01T00:00:00+08:00"
    town.add(staff.connection, "duty_items", part="lead", matter="sample", area=town.A, by="grid", duties="当天修好", legal_basis="责任清单第三条", starts_at=starts)
    case = staff.reported()
    at = f"/cases/{case}/moves"
    for role, action in (("acceptor", "accept"), ("acceptor", "file")):
        assert f'value="{action}"' in staff.page(role, f"/cases/{case}")
        assert staff.sends(role, at, action=action, seen=staff.stands(case)["steps"]) == f"/cases/{case}?done={action}"
    page = staff.page("dispatcher", f"/cases/{case}")
    assert "按责任清单：第一网格" in page and "当天修好（责任清单第三条）" in page
    assert "现在等派遣员：派遣。" in staff.page("acceptor", f"/cases/{case}")
    staff.sends("dispatcher", at, action="dispatch", to="")
    assert staff.stands(case)["lead_area"] == town.A and "现在等第一网格：接办。" in staff.page("dispatcher", f"/cases/{case}")
    for role, action in (("grid_worker", "start"), ("grid_worker", "handle"), ("checker", "pass"), ("acceptor", "close"), ("acceptor", "answer")):
        # What leads on is the first form of the page, and open.
        assert f'<div class="first" id="do-{action}">' in staff.page(role, f"/cases/{case}")
        staff.sends(role, at, action=action, opinion="已看过现场")
    assert staff.stands(case)["state"] == "feedback"
    page = staff.page("street", f"/cases/{case}")
    assert page.count("<blockquote>已看过现场</blockquote>") == 5 and "派给 第一网格" in page and "按责任清单" in page
    assert "各环节用时" in page and "7 个工作日" in page
    assert re.findall(r'<time[^>]*>[^<]+</time> · ([^<]+)</p>', page)[:2] == ["上报人", "The.Acceptor · 受理员 第一网格"]


def test_what_a_step_asks_for(staff: Staff) -> None:
    case, other = staff.reported(), staff.titled("另一件")
    at = f"/cases/{case}/moves"
    staff.walked(case, *TO_HANDLING[:2])
    # There is no line of the list: somebody has to be named, and the page says so.
    assert "责任清单里没有这个事项" in staff.page("dispatcher", f"/cases/{case}")
    assert "请写明派给谁" in staff.sends("dispatcher", at, 422, action="dispatch", to="")
    body = town.add(staff.connection, "organisations", kind="department", name="云汀市政所")
    assert f'value="body:{body}"' in staff.page("dispatcher", f"/cases/{case}")
    staff.sends("dispatcher", at, action="dispatch", to=f"body:{body}")
    assert str(staff.stands(case)["lead"]) == str(body)
    assert "云汀市政所" in staff.page("grid_worker", f"/cases/{case}"), "the name of a body is no secret"
    staff.sends("dispatcher", at, action="grade", grade="major", opinion="有人受伤")
    assert "请选一个分级" in staff.sends("dispatcher", at, 422, action="grade", grade="huge", opinion="有人受伤")
    assert staff.stands(case)["grade"] == "major"
    number = staff.stands(other)["number"]
    assert "没有编号为 X1 的事件" in staff.sends("acceptor", at, 404, action="merge", into="X1", opinion="同一件")
    staff.sends("acceptor", at, action="merge", into=number, opinion="同一件")
    assert str(staff.stands(case)["duplicate_of"]) == other and "另一件" in staff.page("acceptor", f"/cases/{case}")


def test_what_has_to_be_asked_for_is_offered_once_it_was(staff: Staff) -> None:
    case = staff.reported()
    staff.walked(case, *TO_HANDLING)
    assert 'id="do-force"' not in staff.page("street", f"/cases/{case}")
    staff.does("grid_worker", case, "ask_force", opinion="产权不明")
    assert 'id="do-force"' in staff.page("street", f"/cases/{case}") and f"/cases/{case}#do-force-opinion" in staff.page("street", "/inbox")
    staff.does("grid_worker", case, "return", opinion="不属于本网格")
    staff.does("dispatcher", case, "dispatch", lead_area=town.A)
    assert 'id="do-force"' not in staff.page("street", f"/cases/{case}")


def test_suspended_until_a_day(staff: Staff) -> None:
    case = staff.reported()
    staff.walked(case, *TO_HANDLING)
    at, day = f"/cases/{case}/moves", f"{datetime.now(LOCAL) + timedelta(days=30):%Y-%m-%d}"
    assert "请写明挂账到哪一天" in staff.sends("dispatcher", at, 422, action="suspend", opinion="等汛期过")
    staff.sends("dispatcher", at, action="suspend", opinion="等汛期过", until=day)
    page = staff.page("street", f"/cases/{case}")
    assert f"到 {day} 止" in page and "挂账" in page


def test_of_two_who_act_the_second_is_told(staff: Staff) -> None:
    case = staff.reported()
    staff.walked(case, TO_HANDLING[0])
    staff.does("acceptor", case, "file", opinion="立案")
    page = staff.sends("acceptor", f"/cases/{case}/moves", 409, action="file", opinion="我也立案", seen=2)
    assert "The.Acceptor已在" in page and "“立案”" in page and "您写的意见：我也立案" in page
    assert staff.stands(case)["steps"] == 3


def test_what_is_wrong_is_said_in_place(staff: Staff) -> None:
    case = staff.reported()
    page = staff.sends("acceptor", f"/cases/{case}/moves", 422, action="reject", opinion=" ")
    assert 'role="alert" id="do-reject-trouble"' in page and '<details id="do-reject" open>' in page and "aria-invalid" in page
    assert "没有这一步" in staff.sends("acceptor", f"/cases/{case}/moves", 422, action="abolish")
    assert "没有权限" in staff.sends("grid_worker", f"/cases/{case}/moves", 403, action="accept")


def test_the_board(staff: Staff) -> None:
    first, second = staff.titled("第一件"), staff.titled("第二件")
    staff.walked(first, *TO_HANDLING)
    closed = staff.titled("第三件")
    staff.walked(closed, *TO_CHECKED, ("acceptor", "close"))
    page = staff.page("street", "/cases/board")
    columns = dict(re.findall(r'<section class="column s-(\w+)"(.*?)</section>', page, re.DOTALL))
    held = {stage: re.findall(r">(第.件)</a>", text) for stage, text in columns.items()}
    assert held == {"accept": ["第二件"], "dispatch": [], "handle": ["第一件"], "close": ["第三件"], "feedback": []}
    # A button where nothing is asked, else the way to its form.
    assert f'action="/cases/{second}/moves"' in columns["accept"]
    assert f'href="/cases/{first}#do-handle-opinion"' in staff.page("grid_worker", "/cases/board")
    old = sa.text("UPDATE incidents SET closed_at = now() - interval '40 days', reported_at = now() - interval '50 days' WHERE id = :id")
    staff.connection.execute(old, {"id": closed})
    assert "第三件" not in staff.page("street", "/cases/board")


def test_a_column_shows_twenty_and_more_on_demand(staff: Staff) -> None:
    for number in range(22):
        staff.titled(f"第 {number} 号")
    assert len(TICKET.findall(page := staff.page("street", "/cases/board"))) == 20 and "再看 2 件" in page
    assert len(TICKET.findall(staff.page("street", "/cases/board?more=accept"))) == 22


def test_the_filter_is_the_address_and_the_file(staff: Staff) -> None:
    here, there = staff.titled("甲"), staff.titled("乙", lon=town.at(1.5, 0.5)[0])
    staff.walked(here, *TO_HANDLING)
    # The other lies in the second grid, where these workers have no business.
    assert staff.listed("street") == ["乙", "甲"] and staff.listed("grid_worker") == ["甲"]
    late = sa.text("UPDATE incidents SET due_at = now() - interval '3 hours' WHERE id = :id")
    staff.connection.execute(late, {"id": there})
    for query, found in (
        ("?stage=handle", ["甲"]), ("?state=reported", ["乙"]), (f"?within={town.B}", ["乙"]), ("?late=1", ["乙"]), ("?supervised=1", []),
        ("?matter=sample&channel=public", ["乙", "甲"]), ("?matter=none", []),
        ("?stage=&state=&late=", ["乙", "甲"]),
    ):
        assert staff.listed("street", query) == found, query
        file = staff.client.post(f"/cases/file{query}", data={"format": "csv"}, headers=staff.known["street"] | HTML)
        rows = list(csv.DictReader(io.StringIO(file.text.lstrip("\ufeff"))))
        assert sorted(row["标题"] for row in rows) == sorted(found), (query, file.text[:300])
    assert staff.listed("grid_worker", "?mine=1") == ["甲"] and staff.listed("street", "?mine=1") == []
    assert "超时 3 小时" in staff.page("street", "/cases?late=1")
    staff.page("street", "/cases?stage=unknown", 400)
    assert staff.client.post("/cases/file", data={"format": "csv"}, headers=staff.known["grid_worker"] | HTML).status_code == 403


def test_what_is_over_is_listed_when_asked_for(staff: Staff) -> None:
    case = staff.titled("完了")
    staff.walked(case, *TO_CHECKED, ("acceptor", "close"))
    assert staff.listed("street") == [] and staff.listed("street", "?all=1") == staff.listed("street", "?stage=close") == ["完了"]


def test_paged_by_the_last_of_the_page(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_pages, "AT_ONCE", 2)
    titles = [f"第 {number} 件" for number in range(5)]
    for title in titles:
        staff.titled(title)
    # Reported in one moment, or never as far as anybody knows: the order holds all the same.
    staff.connection.execute(sa.text("UPDATE incidents SET reported_at = NULL WHERE title IN ('第 0 件', '第 3 件')"))
    found, query, pages = [], "", 0
    while query is not None and pages < 5:
        found += staff.listed("street", query)
        after = re.search(r'rel="next" href="/cases(\?[^"]+)"', staff.page("street", f"/cases{query}"))
        query, pages = after[1] if after else None, pages + 1  # type: ignore[assignment]
    assert pages == 3 and sorted(found) == titles and set(found[-2:]) == {"第 0 件", "第 3 件"}


def test_many_at_once(staff: Staff) -> None:
    cases = [staff.titled(f"第 {number} 件") for number in range(3)]
    staff.walked(cases[1], TO_HANDLING[0])
    ticked = [f"{case}:1" for case in cases]
    page = staff.sends("acceptor", "/cases/moves", 200, action="accept", case=ticked, back="/cases?stage=accept")
    assert "办了 2 件，没办成 1 件" in page and "刚刚有人动过" in page and page.count('class="good"') == 2
    assert [staff.stands(case)["state"] for case in cases] == ["accepted"] * 3
    assert 'data-at="/cases?stage=accept"' in page
    # The filter of the page is kept, and what is not for many is not offered.
    assert '<option value="accept" selected>' in page and 'option value="merge"' not in page
    assert staff.client.get("/cases/moves", headers=staff.known["acceptor"] | HTML, follow_redirects=False).headers["location"] == "/cases"
    assert "请先勾选" in staff.sends("acceptor", "/cases/moves", 422, action="accept")
    assert "请选要办的步骤" in staff.sends("acceptor", "/cases/moves", 422, case=ticked)


def test_no_text_is_markup(staff: Staff) -> None:
    case = staff.titled(MARKUP)
    staff.does("acceptor", case, "accept", opinion=MARKUP)
    for path in ("/cases", "/cases/board", "/inbox", f"/cases/{case}"):
        answer = staff.client.get(path, headers=staff.known["acceptor"] | HTML)
        assert MARKUP not in answer.text and html.escape(MARKUP) in answer.text, path


def test_perhaps_the_same(staff: Staff) -> None:
    case, near = staff.titled("甲"), staff.titled("乙", lon=REPORT["lon"] + 0.0005)
    far = staff.titled("丙", lon=REPORT["lon"] + 0.003)
    page = staff.page("street", f"/cases/{case}")
    assert "可能是同一件" in page and f'href="/cases/{near}"' in page and f'href="/cases/{far}"' not in page
    assert re.search(r"4[78] 米", page)


def test_nobody_elses_business(staff: Staff) -> None:
    case = staff.titled("乙", lon=town.at(1.5, 0.5)[0])
    staff.page("grid_worker", f"/cases/{case}", 403)
    staff.page("street", f"/cases/{uuid4()}", 404)
    for path in ("/cases", "/cases/board", f"/cases/{case}"):
        answer = staff.client.get(path, headers=HTML | town.NOBODY, follow_redirects=False)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next="), path


def test_a_department_has_what_its_body_leads(staff: Staff) -> None:
    body = town.add(staff.connection, "organisations", kind="department", name="云汀市政所")
    appointment = town.post(staff.connection, "office", "department", town.PREFIX, categories=["sample"])
    accounts.embody(staff.connection, appointment, body)
    staff.known["department"] = town.holding(staff.connection, appointment, "office")
    mine, other = staff.titled("甲"), staff.titled("乙")
    staff.walked(mine, *TO_HANDLING[:2])
    staff.sends("dispatcher", f"/cases/{mine}/moves", action="dispatch", to=f"body:{body}")
    assert staff.listed("department", "?mine=1") == ["甲"] and staff.listed("department") == ["乙", "甲"]
    assert f"/cases/{mine}" in staff.page("department", "/inbox") and f"/cases/{other}" not in staff.page("department", "/inbox")


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(0.5, "还剩 1 分钟"), (59.5, "还剩 59 分钟"), (61, "还剩 1 小时"), (47 * 60 + 5, "还剩 47 小时"), (48 * 60 + 5, "还剩 2 天"), (-90, "超时 1 小时")],
)
def test_how_long_there_is(minutes: float, said: str) -> None:
    now = datetime.now(LOCAL)
    assert case_pages.left(now + timedelta(minutes=minutes), now, "zh") == said


def test_every_step_has_its_place_on_the_page() -> None:
    assert set(case_pages.LEADING) | set(case_pages.CALLED) | set(case_pages.WHISTLED) | set(case_pages.ASKS) | case_pages.NOT_AT_ONCE <= {move.action for move in MOVES}
