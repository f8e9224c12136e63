"""Giving accounts by page: inside one's own areas, below one's own rank, and nothing half done."""

import contextlib
import io
import re
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
import xlsxwriter
from fastapi import FastAPI
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from api import cli_account
from geo import accounts, db, enrolling
from geo.db import Caller
from geo.errors import Forbidden, Invalid, NotFound
from tests import town
from tests.conftest import Visitor, Within

Visitors = Callable[..., Visitor]
HERE, THERE = "990101001001", "990101001002"
LATER = f"{datetime.now() + timedelta(days=30):%Y-%m-%d}"


@pytest.fixture
def chief(connection: sa.Connection) -> str:
    """The leader of one community, with a worker of their own, and a worker of the other."""
    town.post(connection, "chief", "community_leader", HERE)
    town.admitted(connection, "chief")
    town.post(connection, "mine", "grid_worker", town.A)
    town.post(connection, "theirs", "grid_worker", town.C)
    return "chief"


@pytest.fixture
def guard(connection: sa.Connection) -> str:
    """The administrator of security, with a second factor already."""
    town.post(connection, "guard", "security_admin")
    town.admitted(connection, "guard")
    # The first code of it has been given, and it is not asked for here.
    connection.execute(sa.text("UPDATE accounts SET totp_at = now() WHERE login = 'guard'"))
    return "guard"


@pytest.fixture
def guarding(visitors: Visitors, connection: sa.Connection, guard: str) -> Visitor:
    visitor = visitors()
    connection.execute(sa.text("UPDATE accounts SET totp_at = NULL WHERE login = 'guard'"))
    visitor.sign_in(guard)
    connection.execute(sa.text("UPDATE accounts SET totp_at = now() WHERE login = 'guard'"))
    return visitor


def of(connection: sa.Connection, login: str) -> dict[str, Any]:
    return accounts.known(connection, login)


def alarm(text: str) -> str:
    found = re.search(r'<p class="alarm" role="alert"[^>]*>([^<]+)</p>', text)
    return unescape(found[1]) if found else ""


def logins(text: str) -> list[str]:
    return re.findall(r'<a href="/accounts/[0-9a-f-]{36}">[^<]*</a><span class="meta">(\w[\w.-]*)', text)


def test_a_leader_sees_their_own_people(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    visitor = visitors(chief)
    page = visitor.get("/accounts")
    assert logins(page.text) == ["chief", "mine"]
    assert page.headers["cache-control"] == "no-store"
    assert visitor.get(f"/accounts/{of(connection, 'mine')['id']}").status_code == 200
    for other in ("theirs", "leader"):
        assert visitor.get(f"/accounts/{of(connection, other)['id']}").status_code == 404
    assert visitor.get(f"/accounts/{uuid4()}").status_code == 404
    own = visitor.get(f"/accounts/{of(connection, chief)['id']}").text
    assert "这是您自己的账号" in own
    assert "停用账号" not in own


def test_a_leader_offers_what_they_may_give(visitors: Visitors, chief: str) -> None:
    page = visitors(chief).get("/accounts/new").text
    roles = re.findall(r'<option value="(\w+)"', page.partition('id="newcomer-role"')[2].partition("</select>")[0])
    assert {"grid_worker", "steward", "department"} <= set(roles)
    assert not {"community_leader", "street", "district", "system_admin", "resident", "public"} & set(roles)
    ticks = re.findall(r'name="area" value="(\w+)"', page)
    assert ticks == [HERE, town.A, town.B]
    assert 'name="kind"' not in page


def test_a_worker_is_made_and_comes_in_by_their_slip(
    application: FastAPI, visitors: Visitors, connection: sa.Connection, chief: str
) -> None:
    visitor = visitors(chief)
    form = {"login": "Li.Si", "name": "李四 <b>", "role": "grid_worker", "area": [town.B, ""], "since": "", "until": LATER, "category": []}
    answer = visitor.post("/accounts/new", data=form)
    assert answer.status_code == 200
    assert "李四 &lt;b&gt;" in answer.text
    assert '<svg viewBox' in answer.text
    code = re.search(r'class="secret">([A-Z2-7 ]{19})</dd>', answer.text)
    assert code
    assert "Scan this, or open http://127.0.0.1:8000/slip" in answer.text
    [held] = of(connection, "li.si")["appointments"]
    assert (held["role"], held["areas"], held["to"][:10]) == ("grid_worker", [town.B], f"{datetime.now() + timedelta(days=31):%Y-%m-%d}")
    new = "copper-tide-almond-67"
    worker = visitors()
    assert worker.post("/slip", data={"code": code[1], "password": new, "again": new}).headers["location"] == "/"
    told = worker.get("/me", headers={"Accept": "application/json"}).json()
    assert (told["login"], told["scope"]) == ("li.si", [town.B])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"login": "mine"}, "这个登录名已被占用。"), ({"login": "李四"}, "登录名为 2 至 64 个小写字母"),
        ({"role": "street"}, "您不能任命街道。"), ({"role": "system_admin", "area": []}, "您不能任命系统管理员。"),
        ({"role": "nothing"}, "没有这个角色。"), ({"area": [town.C]}, f"您能看到的区域里没有 {town.C}。"), ({"area": []}, "这个角色要写区域。"),
        ({"until": "tomorrow"}, "日期写成 2026-12-31 这样:tomorrow"), ({"until": "2020-01-01"}, "截止日期早于起始日期。"),
        ({"role": "department"}, "职能部门还须给出事项类别"), ({"category": ["06"]}, "职能部门还须给出事项类别"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(
    visitors: Visitors, connection: sa.Connection, chief: str, wrong: dict[str, Any], sentence: str
) -> None:
    form = {"login": "fresh", "name": "新", "role": "grid_worker", "area": [town.A]}
    answer = visitors(chief).post("/accounts/new", data=form | wrong)
    assert answer.status_code in (403, 404, 409, 422)
    assert sentence in alarm(answer.text)
    assert 'value="新"' in answer.text
    with pytest.raises(NotFound):
        of(connection, "fresh")
    if answer.status_code == 403:
        assert connection.scalar(sa.text("SELECT count(*) FROM trail WHERE actor = 'chief' AND action = 'refused'")) == 1


def test_a_leader_resets_and_closes_own_workers_and_nobody_else(
    visitors: Visitors, connection: sa.Connection, chief: str, guard: str
) -> None:
    visitor = visitors(chief)
    mine = of(connection, "mine")["id"]
    at = f"/accounts/{mine}"
    assert "一次性码" in visitor.post(f"{at}/slip").text
    assert visitor.post(f"{at}/disable").headers["location"] == f"{at}?done=disabled"
    assert of(connection, "mine")["disabled"]
    assert visitor.post(f"{at}/enable").headers["location"] == f"{at}?done=enabled"
    assert not of(connection, "mine")["disabled"]
    # Somebody who works in the other community too is not theirs alone.
    accounts.appoint(connection, mine, "grid_worker", [town.D])
    before = [dict(a) for a in accounts.told(connection)]
    for verb in ("slip", "disable", "sessions"):
        refused = visitor.post(f"{at}/{verb}")
        assert (refused.status_code, alarm(refused.text) or "管不到") == (403, "管不到")
        assert "这个账号有您管不到的任职" in refused.text
        for login in ("theirs", "leader", chief, guard):
            assert visitor.post(f"/accounts/{of(connection, login)['id']}/{verb}").status_code in (403, 404)
    assert visitor.post("/accounts/slips", data={"account": [str(mine)]}).status_code == 403
    assert accounts.told(connection) == before
    assert connection.scalar(sa.text("SELECT count(*) FROM slips WHERE used_at IS NULL")) == 1


def test_somebody_is_appointed_and_their_term_is_ended(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    visitor = visitors(chief)
    at = f"/accounts/{of(connection, 'mine')['id']}"
    assert visitor.post(f"{at}/appoint", data={"role": "checker", "area": "澜溪社区 第二网格", "until": LATER}).headers["location"] == (
        f"{at}?done=appointed"
    )
    page = visitor.get(f"{at}?done=appointed").text
    assert "已任命。" in page
    assert f"到 {LATER} 止" in page
    held = next(a for a in of(connection, "mine")["appointments"] if a["role"] == "checker")
    assert held["areas"] == [HERE, town.B]
    above = visitor.post(f"{at}/appoint", data={"role": "street", "area": HERE})
    assert (above.status_code, alarm(above.text)) == (403, "您不能任命街道。")
    assert visitor.post(f"{at}/dismiss", data={"id": held["id"]}).headers["location"] == f"{at}?done=ended"
    page = visitor.get(at).text
    assert "以前的任职（1）" in page
    theirs = of(connection, "theirs")["appointments"][0]["id"]
    assert visitor.post(f"{at}/dismiss", data={"id": theirs}).status_code == 403


def test_on_leave_all_goes_to_somebody_else(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    visitor = visitors(chief)
    at = f"/accounts/{of(connection, 'mine')['id']}"
    town.post(connection, "next", "grid_worker", town.B)
    for form, sentence in (
        ({"login": "nobody"}, "没有账号 nobody。"), ({"login": chief}, "没有权限做这件事。"),
        ({"login": "next", "at": LATER, "disable": "true"}, "移交还没到日子"),
    ):
        assert sentence in alarm(visitor.post(f"{at}/hand-over", data=form).text)
    assert len(of(connection, "next")["appointments"]) == 1
    answer = visitor.post(f"{at}/hand-over", data={"login": "next", "disable": "true"})
    assert answer.headers["location"] == f"{at}?done=handed-over"
    assert sorted(a["areas"][0] for a in of(connection, "next")["appointments"] if a["current"]) == [town.A, town.B]
    gone = of(connection, "mine")
    assert gone["disabled"]
    assert not any(a["current"] for a in gone["appointments"])
    assert alarm(visitor.post(f"{at}/hand-over", data={"login": "next"}).text) == "没有可以移交的任职。"


def test_all_sessions_of_somebody_are_closed(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    town.admitted(connection, "mine")
    worker, visitor = visitors("mine"), visitors(chief)
    at = f"/accounts/{of(connection, 'mine')['id']}"
    assert "结束全部登录（1）" in visitor.get(at).text
    assert visitor.post(f"{at}/sessions").headers["location"] == f"{at}?done=sessions"
    assert worker.get("/account").headers["location"].startswith("/sign-in")


def test_accounts_are_found(visitors: Visitors, connection: sa.Connection, guarding: Visitor, chief: str) -> None:
    accounts.disable(connection, of(connection, "theirs")["id"])
    accounts.make(connection, "idle", "闲人")
    for query, found in (
        ("q=MIN", ["mine"]), ("q=闲", ["idle"]), ("q=%25", []), ("role=community_leader", ["chief"]), ("area=第一网格", ["mine"]),
        (f"area={HERE}", ["chief", "mine"]), (f"area={HERE}&role=grid_worker", ["mine"]), ("state=disabled", ["theirs"]),
        ("state=idle", ["idle"]), ("state=waiting", ["idle", "leader", "mine"]), ("q=nobody-at-all", []),
    ):
        assert logins(guarding.get(f"/accounts?{query}").text) == found, query
    assert "没有 没有的区域。" in alarm(guarding.get("/accounts?area=没有的区域").text)
    strange = guarding.get("/accounts?bogus=1")
    assert strange.status_code == 400


def test_accounts_come_a_page_at_a_time(guarding: Visitor, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.people.AT_ONCE", 2)
    for number in range(5):
        accounts.make(connection, f"w{number}")
    page = guarding.get("/accounts?q=w").text
    assert logins(page) == ["w0", "w1"]
    assert "第 1 页，共 3 页" in page
    following = re.search(r'href="(/accounts\?[^"]+page=2)"', page)
    assert following
    assert logins(guarding.get(unescape(following[1])).text) == ["w2", "w3"]
    assert guarding.get("/accounts?page=9").status_code == 200


def test_slips_are_printed_together(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    town.post(connection, "second", "grid_worker", town.B)
    visitor = visitors(chief)
    chosen = [str(of(connection, login)["id"]) for login in ("mine", "second")]
    page = visitor.post("/accounts/slips", data={"account": chosen}).text
    assert page.count('<article class="slip"') == 2
    assert len(set(re.findall(r'class="secret">([A-Z2-7 ]{19})</dd>', page))) == 2
    assert visitor.post("/accounts/slips", data={}).headers["location"] == "/accounts"


def test_an_account_of_a_system_gets_tokens_and_no_slip(application: FastAPI, guarding: Visitor, connection: sa.Connection) -> None:
    # The one who gives roles keeps no accounts: kinds are for who does.
    assert 'name="kind"' not in guarding.get("/accounts/new").text
    account = accounts.make(connection, "feed", "感知平台", "system")
    at = f"/accounts/{account}"
    assert guarding.post(f"{at}/appoint", data={"role": "acceptor", "area": HERE}).status_code == 303
    page = guarding.get(at).text
    assert "新凭条" not in page
    held = of(connection, "feed")["appointments"][0]["id"]
    assert alarm(guarding.post(f"{at}/tokens", data={"title": "", "appointment": held}).text) == "请写明令牌的用途。"
    made = guarding.post(f"{at}/tokens", data={"title": "接入", "days": "30", "appointment": held}).text
    token = re.search(r'tabindex="0">(jw_[\w-]+)<', made)
    assert token
    program = TestClient(application, headers={"Authorization": f"Bearer {token[1]}"})
    assert program.get("/me").json()["scope"] == [HERE]
    ending = re.search(r'token-end"><input type="hidden" name="id" value="([0-9a-f-]+)"', guarding.get(at).text)
    assert ending
    assert guarding.post(f"{at}/token-end", data={"id": ending[1]}).headers["location"] == f"{at}?done=token-ended"
    assert program.get("/me").status_code == 401


def test_the_address_of_a_form_leads_back_to_its_person(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    at = f"/accounts/{of(connection, 'mine')['id']}"
    assert visitors(chief).get(f"{at}/appoint").headers["location"] == at


# ---- from a sheet

HEAD = ("登录名", "姓名", "角色", "区域编码", "类别", "起始", "截止")


def sheet(*rows: tuple[object, ...], head: tuple[str, ...] = HEAD) -> bytes:
    book = io.BytesIO()
    with xlsxwriter.Workbook(book, {"in_memory": True, "strings_to_formulas": False}) as made:
        page = made.add_worksheet()
        for number, row in enumerate((head, *rows)):
            page.write_row(number, 0, row)
    return book.getvalue()


ROWS = (
    ("zhang.san", "张三", "网格员", town.A, "", "", LATER),
    ("li.si", "李四", "grid_worker", float(town.B), "", "2026年1月2日", ""),
    ("li.si", "李四", "Checker", "澜溪社区", "", "", ""),
    ("wu.ye", "=1+1", "", "", "", "", ""),
    ("mine", "", "楼道长", "第一网格", "", "", ""),
)
FAULTY = (
    ("wang.wu", "王五", "街道", HERE, "", "", ""), ("zhao.liu", "赵六", "网格员", town.C, "", "", ""), ("qian.qi", "钱七", "网格员", "", "", "", ""),
    ("theirs", "", "网格员", town.A, "", "", ""), ("sun.ba", "孙八", "职能部门", HERE, "天文", "", ""), ("a b", "", "", "", "", "", ""),
)


def upload(visitor: Visitor, content: bytes, name: str = "people.xlsx", **form: str) -> Any:
    return visitor.post("/accounts/import", data=form, files={"file": (name, content)})


def outcomes(text: str) -> dict[str, str]:
    rows = re.findall(r'<tr><th scope="row">\d+</th><td>([^<]*)<.*?<span class="tag[^"]*">([^<]+)</span>', text)
    return {f"{n}:{login}": told for n, (login, told) in enumerate(rows)}


def test_a_sheet_makes_people_all_or_none(visitors: Visitors, connection: sa.Connection, chief: str) -> None:
    visitor = visitors(chief)
    answer = upload(visitor, sheet(*ROWS, *FAULTY))
    assert answer.status_code == 200
    told = outcomes(answer.text)
    assert list(told.values()) == ["未收"] * 6 + ["可收,未写入"] * 5
    assert "没有写入" in answer.text
    for sentence in ("您不能任命街道。", f"没有 {town.C}。", "这个角色要写区域。", "这个登录名已被占用。", "没有这个事项类别:天文", "登录名为 2 至 64"):
        assert sentence in answer.text
    with pytest.raises(NotFound):
        of(connection, "zhang.san")
    answer = upload(visitor, sheet(*ROWS, *FAULTY), partly="true")
    assert sorted(outcomes(answer.text).values()) == sorted(["未收"] * 6 + ["新建账号"] * 3 + ["已任命"] * 2)
    assert "=1+1" in answer.text
    assert [(a["role"], a["areas"]) for a in of(connection, "li.si")["appointments"]] in (
        [("checker", [HERE]), ("grid_worker", [town.B])],
    )
    with pytest.raises(NotFound):
        of(connection, "wang.wu")
    # The new ones get their slips in one go.
    fresh = re.findall(r'type="hidden" name="account" value="([0-9a-f-]+)"', answer.text)
    assert visitor.post("/accounts/slips", data={"account": fresh}).text.count('<article class="slip"') == len(fresh) == 3
    # Twice changes nothing.
    again = upload(visitor, sheet(*ROWS))
    assert set(outcomes(again.text).values()) == {"原已任此职"}


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (sheet(("x", "y"), head=("姓名", "角色")), "people.xlsx", "表里没有“登录名”这一列。请下载模板填写。"),
        (b"not a sheet at all", "people.xlsx", "只有表头,下面一行数据也没有。"), (sheet(*ROWS), "people.exe", "请上传 XLSX 表格。"),
        (sheet(), "people.xlsx", "只有表头,下面一行数据也没有。"),
        (sheet(*[(f"w{n}",) for n in range(enrolling.MOST + 1)]), "people.xlsx", "一次最多 500 行,请分成几个文件。"),
    ],
)  # fmt: skip
def test_a_sheet_that_is_none_is_refused_in_place(visitors: Visitors, chief: str, content: bytes, name: str, sentence: str) -> None:
    answer = upload(visitors(chief), content, name)
    assert (answer.status_code, alarm(answer.text)) == (422, sentence)


def test_a_sheet_over_the_bound_is_refused(visitors: Visitors, chief: str) -> None:
    answer = upload(visitors(chief), b" " * 1_000_001)
    assert answer.status_code == 413


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_template_is_what_the_import_reads(visitors: Visitors, chief: str, language: str) -> None:
    answer = visitors(chief).get(f"/accounts/template.xlsx?lang={language}")
    assert answer.headers["content-disposition"] == 'attachment; filename="accounts.xlsx"'
    # Empty as it is, it is read as far as saying that nobody is in it.
    with pytest.raises(Invalid, match="只有表头"):
        enrolling.read(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        texts = re.findall(r"<t[^>]*>([^<]+)</t>", book.read("xl/sharedStrings.xml").decode())
    row = ("li.si", "李四", "网格员", town.A, "", "2026-01-02", LATER)
    assert enrolling.read(sheet(row, head=tuple(texts))) == [enrolling.Row(1, *row)]


@pytest.mark.parametrize(
    ("text", "last", "told"),
    [
        ("2026-12-31", False, "2026-12-31T00:00:00+08:00"), ("2026-12-31", True, "2027-01-01T00:00:00+08:00"),
        ("2026/1/2", False, "2026-01-02T00:00:00+08:00"), ("2026年1月2日", False, "2026-01-02T00:00:00+08:00"),
        ("20260102", False, "2026-01-02T00:00:00+08:00"), ("2026-01-02T00:00:00", False, "2026-01-02T00:00:00+08:00"),
    ],
)  # fmt: skip
def test_days_are_read_as_people_write_them(text: str, last: bool, told: str) -> None:
    read = enrolling.day(text, last)
    assert read is not None
    assert read.isoformat() == told


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-30", "9999-12-31", "31.12.2026", "x"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        enrolling.day(text, last=True)
    assert enrolling.day(" ") is None


# ---- below the pages

VERBS = ("appointment_ended", "session_ended", "token_ended", "sessions_ended", "account_disabled")


@pytest.mark.parametrize("verb", VERBS)
def test_who_is_nobody_ends_nothing(web: Within, connection: sa.Connection, chief: str, verb: str) -> None:
    account = of(connection, "mine")
    appointment: UUID = account["appointments"][0]["id"]
    town.token(connection, appointment, "jw_test_of-a-worker")
    connection.execute(sa.text("INSERT INTO sessions (hash, account, idle, ends_at) VALUES ('s', :id, '1 h', now() + interval '1 h')"), account)
    ids = {"appointment_ended": appointment, "sessions_ended": account["id"], "account_disabled": account["id"]}
    for name, table in (("session_ended", "sessions"), ("token_ended", "tokens")):
        ids[name] = connection.scalar(sa.text(f"SELECT id FROM {table} WHERE account = :id"), account)
    call = f"SELECT {verb}(:id{', true' if verb == 'account_disabled' else ''})"
    for caller in (Caller(), Caller(role="jingwei_area", scope=(town.A,), actor="x", account=uuid4())):
        with pytest.raises((Forbidden, NotFound)), db.transaction(web, caller) as asking:  # type: ignore[arg-type]
            asking.execute(sa.text(call), {"id": ids[verb]})


def test_names_of_colleagues_are_for_who_holds_an_office(web: Within, connection: sa.Connection, chief: str) -> None:
    resident = town.post(connection, "resident", "resident")
    for appointment, found in ((None, False), (resident, False), (of(connection, "mine")["appointments"][0]["id"], True)):
        account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": appointment})
        caller = Caller(role="jingwei_own", account=account, appointment=appointment)
        with db.transaction(web, caller, read_only=True) as asking:  # type: ignore[arg-type]
            assert bool(asking.scalar(sa.text("SELECT account_named(' Chief ')"))) is found


# ---- from the terminal


@pytest.fixture
def terminal(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`jingwei account …` on the test's own transaction."""
    monkeypatch.setattr(cli_account, "owner", lambda: contextlib.nullcontext(connection))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    return lambda *words: CliRunner().invoke(cli_account.app, list(words))


def test_a_sheet_is_taken_by_the_terminal_too(
    terminal: Callable[..., Result], connection: sa.Connection, chief: str, tmp_path: Path
) -> None:
    file, slips = tmp_path / "people.xlsx", tmp_path / "slips.html"
    file.write_bytes(sheet(*ROWS, ("xx", "[red]", "无此角色", "", "", "", "")))
    held = terminal("import", str(file), "--slips", str(slips))
    assert held.exit_code == 1
    assert "[red]" in held.output
    assert "没有这个角色" in held.output
    assert not slips.exists()
    done = terminal("import", str(file), "--slips", str(slips), "--partly")
    assert done.output.count("新建账号") == 3
    page = slips.read_text(encoding="utf-8")
    assert page.count('<article class="slip"') == 3
    assert "zhang.san" in page
    assert "/static/" not in page
    assert slips.stat().st_mode & 0o777 == 0o600
    assert of(connection, "li.si")["made_by"] == "jingwei_admin"


def test_the_terminal_tells_where_somebody_is_signed_in(
    terminal: Callable[..., Result], visitors: Visitors, connection: sa.Connection, chief: str
) -> None:
    visitor = visitors(chief)
    assert "testclient" in terminal("sessions", chief).output
    assert visitor.get("/account").status_code == 200
    terminal("sessions", chief, "--end")
    assert visitor.get("/account").status_code == 303
    assert "testclient" not in terminal("sessions", chief).output


def test_a_department_stands_for_a_body(
    visitors: Visitors, connection: sa.Connection, chief: str, terminal: Callable[..., Result]
) -> None:
    appointment = town.post(connection, "office", "department", HERE, categories=["sample"])
    body = town.add(connection, "organisations", kind="department", name="云汀市政所")
    stands = sa.text("SELECT organisation FROM appointment_bodies WHERE appointment = :id")
    visitor, at = visitors(chief), f"/accounts/{of(connection, 'office')['id']}"
    assert f'action="{at}/body"' in visitor.get(at).text and "云汀市政所" in visitor.get(at).text
    assert "没有这个单位：无此单位。" in alarm(visitor.post(f"{at}/body", data={"id": str(appointment), "body": "无此单位"}).text)
    assert visitor.post(f"{at}/body", data={"id": str(appointment), "body": "云汀市政所"}).headers["location"] == f"{at}?done=embodied"
    assert connection.scalar(stands, {"id": appointment}) == body and "代表 云汀市政所" in visitor.get(at).text
    visitor.post(f"{at}/body", data={"id": str(appointment), "body": ""})
    assert connection.scalar(stands, {"id": appointment}) is None
    # Of others it is said, and not of oneself; of departments alone.
    mine = of(connection, "mine")
    assert '/body"' not in visitor.get(f"/accounts/{mine['id']}").text
    assert "只有职能部门" in visitor.post(f"/accounts/{mine['id']}/body", data={"id": mine["appointments"][0]["id"], "body": "云汀市政所"}).text
    assert terminal("body", "office", "云汀市政所").exit_code == 0 and connection.scalar(stands, {"id": appointment}) == body
    assert terminal("body", "mine", "云汀市政所").exit_code == 1
