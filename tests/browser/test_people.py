"""Coming in and giving accounts, in a browser and without scripts: a leader makes a worker, who comes in by a slip."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]
PAGES = ("/account", "/accounts", "/accounts/new", "/accounts/import", "/accounts/no")
OUTSIDE = ("/sign-in", "/slip?code=ABCD")


def come_in(page: Page, server: Server, login: str, password: str) -> None:
    page.goto(f"{server}/sign-in")
    expect(page.get_by_label("登录名")).to_be_focused()
    page.get_by_label("登录名").fill(login)
    page.get_by_label("口令", exact=True).fill(password)
    page.locator("main button").click()


def test_a_leader_makes_a_worker_who_comes_in_by_a_slip(server: Server, contexts: Contexts) -> None:
    leader = contexts(java_script_enabled=False).new_page()
    come_in(leader, server, "community_leader", "not-the-password")
    expect(leader.get_by_role("alert")).to_be_visible()
    expect(leader.get_by_label("口令", exact=True)).to_be_focused()
    leader.get_by_label("口令", exact=True).fill(server.password)
    leader.locator("main button").click()
    expect(leader.locator(".me .as")).to_have_text("当前身份：社区负责人 · 澜溪社区")

    leader.locator(".me summary").click()
    leader.get_by_role("link", name="账号管理").click()
    leader.get_by_role("link", name="新建账号").click()
    leader.get_by_label("登录名").fill("zhao.liu")
    leader.get_by_label("姓名").fill("赵六")
    leader.get_by_label("角色").select_option(label="网格员")
    leader.get_by_label("澜溪社区第二网格").check()
    leader.get_by_role("button", name="新建并打印凭条").click()
    slip = leader.locator(".slip")
    expect(slip).to_have_count(1)
    expect(slip.locator("h2")).to_have_text("赵六")
    code = slip.locator(".secret").inner_text()
    # What is printed is the slip alone.
    leader.emulate_media(media="print")
    expect(leader.locator(".bar")).to_be_hidden()
    expect(slip).to_be_visible()

    worker = contexts("phone", java_script_enabled=False).new_page()
    worker.goto(f"{server}/slip?code={code.replace(' ', '')}")
    expect(worker.locator("main")).to_contain_text("赵六，您好")
    worker.get_by_label("新口令", exact=True).fill("walnut-kite-otter-58")
    worker.get_by_label("再输一遍新口令").fill("walnut-kite-otter-58")
    worker.locator("main button").click()
    expect(worker.locator(".me .as")).to_have_text("当前身份：网格员 · 澜溪社区第二网格")
    worker.goto(f"{server}/?view=list")
    assert worker.evaluate("() => document.documentElement.scrollWidth") <= 390
    told = worker.request.get(f"{server}/me").json()
    assert (told["login"], len(told["scope"])) == ("zhao.liu", 1)
    grids = worker.request.get(f"{server}/collections/areas/items?level=grid").json()
    assert [grid["properties"]["name"] for grid in grids["features"]] == ["澜溪社区第二网格"]
    worker.goto(f"{server}/accounts")
    expect(worker.locator("h1")).to_have_text("没有权限做这件事。")

    # The worker forgets; the leader gives a new slip, closes the account, and can do neither to anybody else.
    leader.goto(f"{server}/accounts?q=zhao.liu")
    leader.get_by_role("link", name="赵六").click()
    leader.get_by_role("button", name="停用账号").click()
    expect(leader.get_by_role("status")).to_contain_text("账号已停用")
    worker.goto(f"{server}/account")
    expect(worker.locator("h1")).to_have_text("登录")
    leader.goto(f"{server}/accounts?q=street")
    expect(leader.locator("main")).to_contain_text("没有找到账号。")


def test_one_acts_as_one_thing_at_a_time(server: Server, contexts: Contexts, states: States) -> None:
    friend = contexts("phone").new_page()
    come_in(friend, server, "grid_worker", server.password)
    expect(friend.locator(".me .as")).to_contain_text("网格员")
    leader = contexts(storage_state=states("community_leader")).new_page()
    leader.goto(f"{server}/account")
    leader.get_by_text("请人代班").click()
    leader.get_by_label("借给谁").fill("grid_worker")
    leader.get_by_label("到哪天止").fill("2099-12-31")
    leader.get_by_role("button", name="借出").click()
    expect(leader.get_by_role("status")).to_contain_text("已借出")
    friend.goto(f"{server}/review")
    friend.locator(".me summary").click()
    friend.get_by_role("button", name="社区负责人").click()
    expect(friend).to_have_url(f"{server}/review")
    expect(friend.locator(".me .as")).to_contain_text("社区负责人 · 澜溪社区")
    leader.get_by_role("button", name="收回").click()
    friend.reload()
    # What was lent is gone at once, and nothing else is put in its place unasked.
    expect(friend.locator(".notice")).to_contain_text("您刚才的任职已经结束")
    friend.locator(".me summary").click()
    friend.get_by_role("button", name="网格员").click()
    expect(friend.locator(".me .as")).to_contain_text("网格员")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing_on_the_pages_of_accounts(
    server: Server, contexts: Contexts, states: States, axe: str, size: str, language: str
) -> None:
    found: dict[str, list[str]] = {}

    def checked(page: Page, name: str) -> None:
        page.evaluate("() => document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
        found[name] = violations(page, axe)
        if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            found[name].append("wider than the screen")

    for state, paths in ((None, OUTSIDE), (states("community_leader"), PAGES)):
        page = contexts(size, storage_state=state, locale="zh-CN" if language == "zh" else "en-GB").new_page()
        for path in paths:
            page.goto(server + path)
            checked(page, path)
    page.goto(f"{server}/accounts?q=steward")
    page.locator("tbody a").first.click()
    checked(page, "a person")
    page.locator("form[action$='/slip'] button").click()
    checked(page, "a slip")
    assert {path: faults for path, faults in found.items() if faults} == {}


def test_the_bar_fits_a_small_screen(server: Server, contexts: Contexts, states: States) -> None:
    for state in (None, states("community_leader")):
        for locale in ("zh-CN", "en-GB"):
            page = contexts((320, 640), storage_state=state, locale=locale).new_page()
            page.goto(f"{server}/account" if state else f"{server}/sign-in")
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
