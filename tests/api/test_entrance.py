"""Coming in, and one's own account: forms that post and redirect, and tell a stranger nothing."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from html import unescape

import pyotp
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import entrance, menu
from api.limits import LIMITS, Limits
from api.ways import own_path
from geo import accounts
from geo.catalog.roles import ABILITIES
from tests import town
from tests.conftest import Visitor

Visitors = Callable[..., Visitor]
ELSEWHERE = (
    "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "\t//evil.example", "/%0d%0aSet-Cookie:x\r\n",
    "javascript:alert(1)", "/ /evil", "///evil.example", "http:evil.example", "/sign-out", "/sign-in?next=/", "x", "", "/é", "/" + "a" * 2001,
)


@pytest.fixture
def worker(connection: sa.Connection) -> str:
    """A grid worker of grid A, who is also a checker of the whole community."""
    appointment = town.post(connection, "worker", "grid_worker", town.A)
    account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": appointment})
    accounts.appoint(connection, account, "checker", ["990101001001"])
    connection.execute(sa.text("INSERT INTO sessions (hash, account, appointment, idle, ends_at, ended_at)"
                               " VALUES ('x', :account, :appointment, '1 h', now(), now())"), {"account": account, "appointment": appointment})
    town.admitted(connection, "worker")
    return "worker"


@pytest.fixture
def admin(connection: sa.Connection) -> str:
    town.post(connection, "keeper", "system_admin")
    town.admitted(connection, "keeper")
    return "keeper"


def trail(connection: sa.Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute(sa.text("SELECT actor, action, result FROM trail ORDER BY id"))
    return [(row.actor, row.action, row.result) for row in rows]


def changed_by(connection: sa.Connection, login: str) -> str | None:
    """Under whose name the latest change of an account is told."""
    asking = "SELECT c.actor FROM changes AS c JOIN accounts AS a ON a.id = c.feature WHERE a.login = :login ORDER BY c.id DESC LIMIT 1"
    return connection.scalar(sa.text(asking), {"login": login})


def alarm(text: str) -> str:
    found = re.search(r'<p class="alarm" role="alert"[^>]*>([^<]+)</p>', text)
    return unescape(found[1]) if found else ""


def test_somebody_comes_in_and_every_page_says_as_what(visitors: Visitors, worker: str) -> None:
    visitor = visitors()
    page = visitor.get("/sign-in?next=/review")
    assert 'autocomplete="username"' in page.text
    assert 'autocomplete="current-password"' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert '<input type="hidden" name="next" value="/review">' in page.text
    answer = visitor.sign_in(worker, next="/review")
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    for path in ("/review", "/?view=list", "/account"):
        told = visitor.get(path)
        assert told.status_code == 200
        assert re.search(r'class="as">.*?网格员 · 第一网格</span>', told.text)
        assert "核查员 · 澜溪社区" in told.text
    assert visitor.get("/sign-in?next=/boundaries").headers["location"] == "/boundaries"


def test_the_front_door_tells_a_stranger_nothing(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    told = []
    for login, password in (("nobody", "x" * 12), (worker, "wrong-wrong-wrong"), (worker, town.PASSWORD + " ")):
        answer = visitors().post("/sign-in", data={"login": login, "password": password, "next": "/review"})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert password not in answer.text
        assert f'value="{login}"' in answer.text
        assert re.search(r'<input id="sign-in-password"[^>]*aria-invalid="true" autofocus', answer.text)
        told.append(alarm(answer.text))
    connection.execute(sa.text("UPDATE accounts SET locked_until = now() + interval '1 hour' WHERE login = :login"), {"login": worker})
    told.append(alarm(visitors().sign_in(worker).text))
    assert set(told) == {told[0]} != {""}
    # People type passwords where their name goes: what is no name of anybody is in no row.
    assert {("?", "sign_in", "refused"), (worker, "sign_in", "refused")} <= set(trail(connection))
    assert "nobody" not in {row[0] for row in trail(connection)}


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_nobody_is_led_out_of_the_house(wanted: str) -> None:
    assert own_path(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/?z=16&lat=29.8&lng=122.6", "/accounts?q=%E6%9D%8E", "/identify?lon=1&lat=2"])
def test_somebody_is_led_back_to_where_they_were(wanted: str) -> None:
    assert own_path(wanted) == wanted


def test_the_form_itself_leads_nowhere_else(visitors: Visitors, worker: str) -> None:
    evil = "//evil.example/x"
    visitor = visitors()
    assert evil not in visitor.get("/sign-in", params={"next": evil}).text
    assert visitor.sign_in(worker, next=evil).headers["location"] == "/"
    assert visitor.get("/sign-in", params={"next": evil}).headers["location"] == "/"
    # Nor by the page that the browser says it came from.
    assert 'name="next" value="/"' in visitors().get("/sign-in", headers={"Referer": "https://evil.example/a"}).text
    assert 'name="next" value="/review"' in visitors().get("/sign-in", headers={"Referer": "http://testserver/review"}).text


POSTS = (
    "/sign-in", "/slip", "/sign-out", "/acting", "/account/password", "/account/second-factor", "/account/code", "/account/sessions",
    "/account/tokens", "/account/token-end", "/account/lend", "/account/end", "/accounts/new", "/accounts/slips", "/accounts/import",
)


STRANGERS = ("https://evil.example", "null", "http://testserver.evil.example", "http://testserver:81", "")


@pytest.mark.parametrize("path", POSTS)
def test_a_form_on_another_page_does_nothing(visitors: Visitors, path: str) -> None:
    # Refused before anything is read, whoever's cookie it is; the forms of the door without any.
    visitor = visitors()
    for origin in STRANGERS:
        if path not in ("/sign-in", "/slip"):
            visitor.cookies.set("jingwei", "whatever")
        answer = visitor.post(path, data={"login": "leader", "password": town.PASSWORD}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "不是从本站的页面发出的" in answer.text
        assert "set-cookie" not in answer.headers


def test_a_session_that_has_ended_leads_to_the_door_and_back(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    visitor, other = visitors(worker), visitors(worker)
    connection.execute(sa.text("UPDATE sessions SET ended_at = now()"))
    answer = visitor.get("/?z=16&lat=29.8&lng=122.6")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2F%3Fz%3D16%26lat%3D29.8%26lng%3D122.6"
    posted = visitor.post("/account/password", data={}, headers={"Referer": "http://testserver/account"})
    assert posted.headers["location"] == "/sign-in?next=%2Faccount"
    program = visitor.get("/collections", headers={"Accept": "application/json"})
    assert (program.status_code, program.headers["content-type"]) == (401, "application/problem+json")
    script = other.get(
        "/identify?lon=1&lat=1", headers={"Accept": "*/*", "HX-Request": "true", "Referer": "http://testserver/?z=3"}
    )
    assert (script.status_code, script.headers["hx-redirect"]) == (401, "/sign-in?next=%2F%3Fz%3D3")
    door = visitor.get(answer.headers["location"])
    assert door.status_code == 200
    # The cookie is forgotten, so that who does not sign in sees what is public.
    assert visitor.get("/").status_code == 200


def test_who_may_not_is_told_so_on_a_page(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    answer = visitors(worker).get("/accounts")
    assert answer.status_code == 403
    assert "没有权限做这件事" in answer.text
    assert "您现在的身份是 网格员" in answer.text
    assert (worker, "refused", "forbidden") in trail(connection)
    assert visitors().get("/accounts").headers["location"] == "/sign-in?next=%2Faccounts"
    assert visitors().get("/nowhere").text.count("没有这一项") == 2
    problem = visitors(worker).get("/accounts", headers={"Accept": "application/json"})
    assert (problem.status_code, problem.headers["content-type"]) == (403, "application/problem+json")


def test_going_out_closes_the_session(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    visitor = visitors(worker)
    token = visitor.cookies["jingwei"]
    answer = visitor.post("/sign-out")
    assert answer.headers["location"] == "/sign-in"
    assert "jingwei" not in visitor.cookies
    visitor.cookies.set("jingwei", token)
    assert visitor.get("/account").status_code == 303
    assert (worker, "sign_out", "done") in trail(connection)


def test_somebody_acts_as_another_of_what_they_are(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    visitor = visitors(worker)
    checker = re.search(r'value="([0-9a-f-]+)">核查员', visitor.get("/account").text)
    assert checker
    answer = visitor.post("/acting", data={"appointment": checker[1]}, headers={"Referer": "http://testserver/?view=list"})
    assert answer.headers["location"] == "/?view=list"
    assert re.search(r'class="as">.*?核查员 · 澜溪社区</span>', visitor.get("/").text)
    theirs = town.post(connection, "other", "grid_worker", town.B)
    assert visitor.post("/acting", data={"appointment": str(theirs)}).status_code == 403
    assert "核查员" in visitor.get("/").text


def test_who_acts_as_less_is_led_to_a_page_they_may_see(visitors: Visitors, connection: sa.Connection) -> None:
    town.post(connection, "chief", "community_leader", "990101001001")
    account = town.admitted(connection, "chief")
    accounts.appoint(connection, account, "grid_worker", [town.A])
    visitor = visitors("chief")
    page = visitor.get("/accounts")
    lesser = re.search(r'value="([0-9a-f-]+)">网格员', page.text)
    assert lesser
    answer = visitor.post("/acting", data={"appointment": lesser[1]}, headers={"Referer": "http://testserver/accounts"})
    assert answer.headers["location"] == "/"
    assert 'href="/accounts"' not in visitor.get("/").text


def test_a_second_factor_begins_with_its_first_code(visitors: Visitors, worker: str) -> None:
    visitor = visitors(worker)
    wrong = visitor.post("/account/second-factor", data={"password": "wrong-wrong-wrong"})
    assert wrong.status_code == 401
    assert alarm(wrong.text)
    assert visitor.post("/account/second-factor", data={"password": town.PASSWORD}).headers["location"] == "/account"
    page = visitor.get("/account").text
    assert '<svg viewBox' in page
    shown = re.search(r'<p class="secret">([A-Z2-7 ]+)</p>', page)
    assert shown
    once = pyotp.TOTP(shown[1].replace(" ", ""))
    now = int(time.time())
    unlike = next(f"{n:06}" for n in range(9) if f"{n:06}" not in {once.at(now + step * 30) for step in (-2, -1, 0, 1, 2)})
    assert visitor.post("/account/code", data={"code": unlike}).status_code == 422
    # Nothing is asked for before the first code was given.
    assert visitors().sign_in(worker).status_code == 303
    assert visitor.post("/account/code", data={"code": once.at(now - 30)}).headers["location"] == "/account?done=code"
    assert "手机验证码已启用" in visitor.get("/account?done=code").text

    second = visitors()
    asked = second.sign_in(worker)
    assert asked.status_code == 200
    assert 'autocomplete="one-time-code"' in asked.text
    assert town.PASSWORD not in asked.text
    proof = re.search(r'name="proof" value="([0-9a-f]+)"', asked.text)
    assert proof
    refused = second.post("/sign-in", data={"proof": proof[1], "code": unlike})
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert second.post("/sign-in", data={"proof": proof[1][:-2] + "00", "code": once.at(now)}).status_code == 401
    assert second.post("/sign-in", data={"proof": proof[1], "code": once.at(now), "next": "/review"}).headers["location"] == "/review"
    # A code is used once.
    assert visitors().post("/sign-in", data={"proof": proof[1], "code": once.at(now)}).status_code == 401


def test_the_proof_of_a_password_runs_out(visitors: Visitors, worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visitors(worker)
    visitor.post("/account/second-factor", data={"password": town.PASSWORD})
    secret = re.search(r'<p class="secret">([A-Z2-7 ]+)</p>', visitor.get("/account").text)
    assert secret
    once = pyotp.TOTP(secret[1].replace(" ", ""))
    visitor.post("/account/code", data={"code": once.at(int(time.time()) - 30)})
    proof = re.search(r'name="proof" value="([0-9a-f]+)"', visitors().sign_in(worker).text)
    assert proof
    monkeypatch.setattr(entrance, "PROOF_SECONDS", -1)
    late = visitors().post("/sign-in", data={"proof": proof[1], "code": once.now()})
    assert (late.status_code, alarm(late.text)) == (401, "等得太久了,请重新输入口令。")


def test_an_administrator_gets_a_second_factor_first(visitors: Visitors, connection: sa.Connection, admin: str) -> None:
    visitor = visitors()
    assert visitor.sign_in(admin, next="/accounts").headers["location"] == "/account"
    assert "请先启用手机验证码" in visitor.get("/account").text
    assert "管理员要先启用手机验证码" in visitor.get("/").text
    assert visitor.get("/accounts").headers["location"] == "/account"
    town.post(connection, "friend", "grid_worker", town.A)
    held = connection.scalar(sa.text("SELECT a.id FROM appointments AS a JOIN accounts AS c ON c.id = a.account WHERE login = 'keeper'"))
    lent = {"appointment": str(held), "login": "friend", "until": "2099-01-01"}
    assert visitor.post("/account/lend", data=lent).headers["location"] == "/account"
    assert connection.scalar(sa.text("SELECT count(*) FROM appointments WHERE stands_in_for IS NOT NULL")) == 0
    visitor.post("/account/second-factor", data={"password": town.PASSWORD})
    shown = re.search(r'<p class="secret">([A-Z2-7 ]+)</p>', visitor.get("/account").text)
    assert shown
    visitor.post("/account/code", data={"code": pyotp.TOTP(shown[1].replace(" ", "")).now()})
    assert visitor.get("/accounts").status_code == 200


@pytest.fixture
def slip(connection: sa.Connection, worker: str) -> str:
    return accounts.slip(connection, accounts.known(connection, worker)["id"])[0]


def test_a_slip_sets_a_password_once(visitors: Visitors, connection: sa.Connection, worker: str, slip: str) -> None:
    old, visitor = visitors(worker), visitors()
    page = visitor.get(f"/slip?code={slip}")
    assert page.status_code == 200
    assert "Worker，您好" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "strict-origin"
    assert f'href="/slip?code={slip}&amp;lang=en"' in page.text
    new = "copper-tide-almond-67"
    for password, again, sentence in (
        ("kurz-12", "kurz-12", "口令须为 10 至 128 个字符。"), ("password123", "password123", "太容易被猜到"), (new, new + "x", "两遍输入的口令不一样。"),
    ):
        answer = visitor.post("/slip", data={"code": slip, "password": password, "again": again})
        assert answer.status_code == 422
        assert sentence in alarm(answer.text)
        assert password not in answer.text
    answer = visitor.post("/slip", data={"code": slip, "password": new, "again": new})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert changed_by(connection, worker) == worker
    assert "网格员 · 第一网格" in visitor.get("/").text
    # What was open before is closed, and the slip is used up.
    assert old.get("/account").headers["location"].startswith("/sign-in")
    assert visitors().get(f"/slip?code={slip}").status_code == 404
    used = visitors().post("/slip", data={"code": slip, "password": new, "again": new})
    assert used.status_code == 404
    assert "凭条无效" in alarm(used.text)


def test_a_slip_is_typed_from_paper(visitors: Visitors, slip: str) -> None:
    visitor = visitors()
    assert 'name="code"' in visitor.get("/slip").text
    typed = " ".join(slip[at : at + 4] for at in range(0, 16, 4)).lower().replace("o", "0")
    new = "copper-tide-almond-67"
    assert visitor.post("/slip", data={"code": typed, "password": new, "again": new}).status_code == 303


def test_codes_are_not_guessed_for_ever(application: FastAPI, visitors: Visitors, slip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(application.state._state, "limits", Limits({"slip": replace(LIMITS["slip"], anonymous=3)}))
    visitor = visitors()
    # One that holds is not counted.
    answers = [visitor.get(f"/slip?code={code}").status_code for code in (slip, "AAAA", slip, "BBBB", "CCCC")]
    assert answers == [200, 404, 200, 404, 404]
    late = visitor.post("/slip", data={"code": "DDDD", "password": "x", "again": "x"})
    assert (late.status_code, alarm(late.text)) == (429, "尝试过于频繁,请稍后再试。")
    assert int(late.headers["retry-after"]) > 0


def test_somebody_changes_their_password(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    visitor, elsewhere = visitors(worker), visitors(worker)
    new = "copper-tide-almond-67"
    for form, status in (
        ({"old": "wrong-wrong", "password": new, "again": new}, 401), ({"old": town.PASSWORD, "password": new, "again": "x"}, 422),
        ({"old": town.PASSWORD, "password": town.PASSWORD, "again": town.PASSWORD}, 422),
        ({"old": town.PASSWORD, "password": "password123456", "again": "password123456"}, 422),
    ):
        answer = visitor.post("/account/password", data=form)
        assert (answer.status_code, bool(alarm(answer.text))) == (status, True)
    answer = visitor.post("/account/password", data={"old": town.PASSWORD, "password": new, "again": new})
    assert answer.headers["location"] == "/account?done=password"
    # Told under their name, not that of the login by which the door asks.
    assert changed_by(connection, worker) == worker
    assert "口令已改" in visitor.get("/account?done=password").text
    assert elsewhere.get("/account").headers["location"].startswith("/sign-in")
    assert visitors().post("/sign-in", data={"login": worker, "password": new}).status_code == 303


def test_somebody_ends_their_other_sessions(visitors: Visitors, worker: str) -> None:
    here, one, two, three = (visitors(worker) for _ in range(4))
    listed = re.findall(r'name="id" value="([0-9a-f-]+)"', here.get("/account").text)
    assert len(listed) == 3
    assert here.post("/account/sessions", data={"id": listed[0]}).headers["location"] == "/account?done=sessions"
    assert sorted(v.get("/account").status_code for v in (one, two, three)) == [200, 200, 303]
    here.post("/account/sessions", data={})
    assert [v.get("/account").status_code for v in (here, one, two, three)] == [200, 303, 303, 303]


def test_a_token_is_shown_once_and_opens_no_account(application: FastAPI, visitors: Visitors, worker: str) -> None:
    visitor = visitors(worker)
    appointment = re.search(r'<option value="([0-9a-f-]+)">网格员', visitor.get("/account").text)
    assert appointment
    nameless = visitor.post("/account/tokens", data={"title": " ", "days": "30", "appointment": appointment[1]})
    assert alarm(nameless.text) == "请写明令牌的用途。"
    made = visitor.post("/account/tokens", data={"title": "平台 <b>", "days": "30", "appointment": appointment[1]})
    token = re.search(r'<p class="secret" tabindex="0">(jw_[\w-]+)</p>', made.text)
    assert token
    page = visitor.get("/account").text
    assert token[1] not in page
    assert "平台 &lt;b&gt;" in page
    program = TestClient(application, headers={"Authorization": f"Bearer {token[1]}"})
    assert program.get("/me").json()["acting_as"] == f"grid_worker@{town.A}"
    assert program.get("/account").status_code == 401
    assert program.post("/account/sessions", data={}).status_code == 401
    ending = re.search(r'action="/account/token-end"><input type="hidden" name="id" value="([0-9a-f-]+)"', page)
    assert ending
    visitor.post("/account/token-end", data={"id": ending[1]})
    assert program.get("/me").status_code == 401


def test_an_appointment_is_lent_and_taken_back(visitors: Visitors, connection: sa.Connection, worker: str) -> None:
    town.post(connection, "friend", "steward", "990101001002")
    town.admitted(connection, "friend")
    visitor, friend = visitors(worker), visitors("friend")
    appointment = re.search(r'<option value="([0-9a-f-]+)">网格员', visitor.get("/account").text)
    assert appointment
    until = f"{datetime.now() + timedelta(days=3):%Y-%m-%d}"
    for form, sentence in (
        ({"login": "nobody", "until": until}, "没有账号 nobody。"), ({"login": "friend", "until": ""}, "请写明借到哪一天。"),
        ({"login": "friend", "until": "31/12/2099"}, "日期写成 2026-12-31 这样:31/12/2099"), ({"login": worker, "until": until}, "没有权限做这件事。"),
    ):
        answer = visitor.post("/account/lend", data={"appointment": appointment[1]} | form)
        assert alarm(answer.text) == sentence
    answer = visitor.post("/account/lend", data={"appointment": appointment[1], "login": " Friend ", "until": until})
    assert answer.headers["location"] == "/account?done=lent"
    page = visitor.get("/account").text
    assert f"由 Friend 代 · 到 {until} 止" in page or f"由 Friend 代，到 {until} 止" in page
    theirs = friend.get("/account").text
    assert "代班" in theirs
    assert "替 Worker" in theirs
    lent = re.search(r'action="/account/end"><input type="hidden" name="id" value="([0-9a-f-]+)"', page)
    assert lent
    assert visitor.post("/account/end", data={"id": lent[1]}).headers["location"] == "/account?done=ended"
    assert "替 Worker" not in friend.get("/account").text
    # Nobody ends what is neither theirs nor lent by them.
    street = connection.scalar(sa.text("SELECT a.id FROM appointments AS a JOIN accounts AS c ON c.id = a.account WHERE login = 'leader'"))
    assert visitor.post("/account/end", data={"id": str(street)}).status_code == 403


def test_the_address_of_a_form_leads_back_to_its_page(visitors: Visitors, worker: str) -> None:
    assert visitors(worker).get("/account/password").headers["location"] == "/account"


PUBLIC = ("/templates",)  # in the menu too, because who fills in tables looks for them there


def test_every_line_of_the_menu_is_a_page(visitors: Visitors) -> None:
    assert {entry.address: visitors().get(entry.address).headers.get("location", "")[:14] for entry in menu.ENTRIES} == {
        entry.address: "" if entry.address in PUBLIC else "/sign-in?next=" for entry in menu.ENTRIES
    }
    assert {ability for entry in menu.ENTRIES for ability in entry.abilities} <= set(ABILITIES)


def test_the_door_of_the_place_is_shown_when_there_is_one(
    application: FastAPI, visitors: Visitors, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/oidc/sign-in" not in visitors().get("/sign-in").text
    monkeypatch.setitem(application.state._state, "oidc", "政务 <统一> 身份")
    page = visitors().get("/sign-in?next=/review").text
    assert 'href="/oidc/sign-in?next=%2Freview"' in page
    assert "用 政务 &lt;统一&gt; 身份 登录" in page
    assert 'href="/oidc/link?next=/account"' in visitors(worker).get("/account").text


def test_who_comes_without_scripts_can_do_everything(visitors: Visitors, worker: str, slip: str) -> None:
    visitor = visitors(worker)
    for path in ("/account", "/sign-in", f"/slip?code={slip}"):
        text = (visitors() if path.startswith("/sign-in") else visitor).get(path).text
        assert "<script" not in text
        forms = re.findall(r'<form method="post" action="([^"]+)"', text)
        assert forms
        # A form that says nothing is refused for what it says, not for where it went.
        answers = {form: visitors().post(form, data={"stray": "x"}).status_code for form in forms if form != "/sign-out"}
        assert {form: status for form, status in answers.items() if status not in (303, 422)} == {}
