"""The public's pages in Chromium: reported from a phone, without a network, once; without scripts; and nobody shut out."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
HERE: dict[str, Any] = {"geolocation": {"longitude": 122.606, "latitude": 29.802, "accuracy": 12}, "permissions": ["geolocation"]}
PATIENCE = 20_000


def photo(size: tuple[int, int] = (1800, 1200)) -> dict[str, Any]:
    out = io.BytesIO()
    Image.new("RGB", size, (40, 90, 40)).save(out, "JPEG")
    return {"name": "IMG.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()}


def filled(page: Page, server: str, words: str) -> None:
    page.goto(f"{server}/report")
    page.get_by_label("井盖缺失破损").check()
    page.locator("#here").click()
    expect(page.locator("#spot-said")).to_contain_text("12 米")
    page.locator("#report-words").fill(words)


def told(page: Page) -> tuple[str, str]:
    expect(page.locator("#done")).to_be_visible(timeout=PATIENCE)
    return page.locator("#done-ticket").inner_text(), page.locator("#done-code").inner_text()


def test_a_report_with_a_photo_survives_a_lost_network_and_arrives_once(server: Server, contexts: Contexts) -> None:
    context = contexts("phone", **HERE)
    page, sent, answers = context.new_page(), [], ["lost", "lost"]

    def unlucky(route: Route) -> None:
        # The first never gets there, the answer to the second never comes back.
        sent.append(route.request.headers["idempotency-key"])
        if answers:
            if answers.pop() == "lost" and not answers:
                route.fetch()
            route.abort()
        else:
            route.continue_()

    context.route("**/reports", unlucky)
    filled(page, server, "南门口井盖没了")
    page.locator("#report-photo").set_input_files([photo()])
    expect(page.locator("#shots img")).to_have_count(1)
    page.locator("#report-notice").check()
    page.locator("#report-phone").fill("13812345678")
    assert "13812345678" not in page.evaluate("localStorage.getItem('jingwei.report')")
    page.locator("#send").click()
    expect(page.locator("#status")).to_contain_text("没有网络")
    # Closed and opened again: it goes on by itself.
    page.reload()
    expect(page.locator("#status")).to_contain_text("没有网络")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    ticket, code = told(page)
    assert len(sent) == 3 and len(set(sent)) == 1
    assert page.evaluate("localStorage.length") == 0
    page.goto(f"{server}/report/follow?ticket={ticket}")
    page.locator("[name=code]").fill(code)
    page.locator("main form button").first.click()
    expect(page.locator("main")).to_contain_text("1 张，只有办理的人能看")
    # The same matter is offered to whoever comes next, once.
    page.goto(f"{server}/report")
    page.get_by_label("井盖缺失破损").check()
    page.locator("#here").click()
    page.get_by_role("button", name="是这件，我来关注").first.click()
    expect(page.locator("h1")).to_have_text("已为您关注")


def test_a_place_is_chosen_on_the_map_and_the_draft_waits(server: Server, contexts: Contexts) -> None:
    page = contexts("phone").new_page()
    page.goto(f"{server}/report")
    page.locator("#report-words").fill("树倒了")
    page.locator("#report-kind").select_option("27003")
    page.locator("#pick").click()
    page.locator("#chosen").click(timeout=PATIENCE)
    assert 122 < float(page.locator("#report-lon").input_value()) < 123
    page.wait_for_function("(localStorage.getItem('jingwei.report') || '').includes('树倒了')")
    page.reload()
    expect(page.locator("#report-words")).to_have_value("树倒了")
    expect(page.locator("#spot-said")).to_have_text("地图上选的地点")
    page.locator("#send").click()
    told(page)


def test_it_works_without_scripts(server: Server, contexts: Contexts) -> None:
    page = contexts("phone", java_script_enabled=False).new_page()
    page.goto(f"{server}/report")
    page.locator("[name=matter][value='28002']").check(force=True)
    page.locator("#report-address").fill("澜溪苑1幢")
    page.get_by_role("button", name="查一查这个地方").click()
    expect(page.locator("#spot")).to_contain_text("1幢")
    page.locator("#report-photo").set_input_files([photo((300, 200))])
    page.locator("#send").click()
    ticket, code = told(page)
    page.get_by_role("link", name="看进度").click()
    expect(page.locator("[name=ticket]")).to_have_value(ticket)
    page.locator("[name=code]").fill(code)
    page.locator("main form button").first.click()
    expect(page.locator("h1")).to_have_text("现在：受理")


@pytest.mark.parametrize(("size", "language"), [("phone", "zh"), pytest.param("desktop", "en", marks=pytest.mark.long)])
def test_axe_finds_nothing(server: Server, contexts: Contexts, axe: str, size: str, language: str) -> None:
    page = contexts(size, **HERE).new_page()
    found = {}
    page.goto(f"{server}/report?lang={language}")
    page.locator("#report-notice").check()
    page.locator("#pick").click()
    page.locator("#chosen:enabled").wait_for(timeout=PATIENCE)
    found["form"] = violations(page, axe)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    page.locator("#chosen").click()
    page.locator("[name=matter][value='28001']").check()
    page.locator("#send").click()
    ticket, code = told(page)
    found["receipt"] = violations(page, axe)
    page.goto(f"{server}/report/follow?ticket={ticket}")
    found["asked"] = violations(page, axe)
    page.locator("[name=code]").fill(re.sub(" ", "", code))
    page.locator("main form button").first.click()
    expect(page.locator(".stages")).to_be_visible()
    found["followed"] = violations(page, axe)
    assert {name: faults for name, faults in found.items() if faults} == {}
