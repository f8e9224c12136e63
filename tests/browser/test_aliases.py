"""What addresses mean, said in a browser: with scripts and without, at a desk and on a phone."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.test_access import violations
from tests.browser.test_upload import PATIENCE, UPLOAD
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]


@pytest.mark.parametrize(("size", "scripts"), [pytest.param("desktop", True, marks=pytest.mark.long), ("phone", False)])
def test_an_address_that_led_nowhere_is_said_once(server: Server, contexts: Contexts, states: States, axe: str, size: str, scripts: bool) -> None:
    page = contexts(size, java_script_enabled=scripts, storage_state=states("street"), locale="zh-CN" if scripts else "en-GB").new_page()
    page.goto(f"{server}/uploads")
    page.locator(".paste summary").click()
    page.locator("#text").fill(f"名称\t编码\t类别\t地址\n甲店\tAL{size}\thospital\t澜溪院3幢\n乙店\tAM{size}\thospital\t{size}老井边\n")
    page.locator("#paste button").click()
    page.wait_for_url(UPLOAD)
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    page.goto(page.url.partition("?")[0] + "?step=4&tab=problems")
    page.locator("main a[href^='/addresses/aliases']").click()
    lines = page.locator("table.strange tbody tr")
    expect(lines).to_have_count(2)
    if scripts:
        assert violations(page, axe) == []
    assert page.locator("main").bounding_box()["width"] <= (390 if size == "phone" else 1440)  # type: ignore[index]
    lines.filter(has_text="澜溪院").locator("button[name=chosen]").first.click()
    expect(lines.filter(has_text="澜溪院").locator(".tag.good")).to_be_visible()
    lines.filter(has_text="老井边").locator("input[name=means]").fill("没有的地方9幢")
    lines.filter(has_text="老井边").get_by_role("button").last.click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.locator("#say-means").fill("澜溪苑5幢")
    page.locator("form", has=page.locator("#say-means")).get_by_role("button").click()
    expect(lines.locator(".tag.good")).to_have_count(2)
    page.locator("button[value=read]").click()
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator(".of-new dd")).to_have_text("2")
    page.goto(f"{server}/addresses/aliases")
    kept = page.locator("table.aliases tbody tr")
    count = kept.count()
    for words in ("澜溪院", "老井边"):
        kept.filter(has_text=words).get_by_role("button").first.click()
    expect(kept).to_have_count(count - 2)
