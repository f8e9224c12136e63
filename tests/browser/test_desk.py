"""Asking, deciding and fetching in a browser without scripts; reviewing what was seen; and nobody is shut out of these pages."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]
UNMASK = """async () => {
    const found = await (await fetch('/collections/residents/items?limit=1', {headers: {Purpose: 'visit'}})).json();
    const answer = await fetch(`/collections/residents/items/${found.features[0].id}/unmask`, {
        method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({purpose: 'visit', note: '上门看望', fields: ['name', 'phone']})});
    return answer.status;
}"""


def test_two_people_and_one_file(server: Server, contexts: Contexts, states: States) -> None:
    leader = contexts(java_script_enabled=False, storage_state=states("community_leader")).new_page()
    leader.goto(f"{server}/exports")
    leader.get_by_label("内容").select_option(label="居民")
    # All the residents of a community are more than may leave at once.
    leader.get_by_label("区域").select_option(index=2)
    leader.get_by_label("缘由").fill("台风转移逐户通知")
    leader.get_by_label("姓名、电话要明文").check()
    leader.get_by_role("button", name="导出或申请").click()
    expect(leader.get_by_role("region", name="我的申请").locator("tbody tr").first).to_contain_text("待批准")

    street = contexts("phone", java_script_enabled=False, storage_state=states("street")).new_page()
    street.goto(f"{server}/exports")
    asked = street.locator("article").filter(has_text="台风转移逐户通知").first
    expect(asked).to_contain_text("含个人信息明文")
    asked.get_by_label("意见").fill("同意")
    asked.get_by_role("button", name="批准").click()

    leader.reload()
    with leader.expect_download() as fetching:
        leader.get_by_role("button", name="取文件").first.click()
    assert fetching.value.suggested_filename.startswith("residents-") and "-community_leader-no" in fetching.value.suggested_filename
    text = fetching.value.path().read_text(encoding="utf-8-sig")
    assert "水印" in text.splitlines()[0] and "****" not in text
    leader.goto(f"{server}/exports")
    expect(leader.get_by_role("region", name="我的申请").locator("tbody tr").first).to_contain_text("已取走")


@pytest.mark.parametrize(("size", "language"), [("desktop", "zh"), ("phone", "en")])
def test_axe_finds_nothing_on_the_desk(
    server: Server, contexts: Contexts, states: States, axe: str, size: str, language: str
) -> None:
    locale = "zh-CN" if language == "zh" else "en-GB"
    leader = contexts(size, storage_state=states("community_leader"), locale=locale).new_page()
    leader.goto(f"{server}/account")
    assert leader.evaluate(UNMASK) == 200
    leader.goto(f"{server}/exports")
    leader.locator("#noun").select_option("residents")
    leader.locator("#within").select_option(index=2)
    leader.locator("#note").fill("上门走访")
    with leader.expect_navigation():
        leader.locator("form[action='/exports/form'] button").click()
    found = {"asked": violations(leader, axe)}
    street = contexts(size, storage_state=states("street"), locale=locale).new_page()
    for path in ("/templates", "/addresses/aliases", "/exports", "/unmaskings"):
        street.goto(server + path)
        assert street.locator("main a[download]" if path == "/templates" else "main form").count() > 0
        found[path] = violations(street, axe)
        assert street.evaluate("() => document.documentElement.scrollWidth") <= (390 if size == "phone" else 1440), path
    # What is wrong with a form is told in its page.
    street.locator("main form input[name=opinion]").first.fill("  ")
    street.locator("main form button").first.click()
    expect(street.get_by_role("alert")).to_be_visible()
    found["alert"] = violations(street, axe)
    assert {path: faults for path, faults in found.items() if faults} == {}
