"""Sixty seconds: from opening the map to having acted, by mouse, by keys, on a phone, and back again."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]


@pytest.fixture
def led(server: Server, contexts: Contexts, states: States) -> Callable[..., Page]:
    """Opens a page as the street. The map has drawn how its areas stand when this comes back."""

    def opened(path: str = "/", size: str | tuple[int, int] = "desktop", login: str = "street", **options: Any) -> Page:
        page = contexts(size, storage_state=states(login), **options).new_page()
        if options.get("java_script_enabled") is False or "view=list" in path:
            page.goto(server + path)
        else:
            with page.expect_response(lambda answer: "/areas/standing" in answer.url):
                page.goto(server + path)
        return page

    return opened


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def test_from_the_first_look_to_the_deed(led: Callable[..., Page]) -> None:
    page = led()
    # What there is, and what changed.
    expect(page.locator(".numbers dd.sub").first).to_contain_text("昨日")
    expect(page.locator(".fresh")).to_contain_text("没有上报")
    matters = page.locator(".first > li")
    expect(matters).to_have_count(5)
    expect(page.locator(".first")).to_contain_text("63 户无人负责")
    # Why these: the rule is printed.
    page.get_by_text("为什么是这几件").click()
    expect(page.locator(".why dd").first).to_be_visible()
    # One of them: the map goes there and the card opens, with its grade and the reasons for it.
    first = matters.first
    title = first.locator(".what").inner_text()
    first.locator("a").click()
    expect(page.locator("#card h2")).to_be_focused()
    expect(page.locator("#card .attention")).to_contain_text("达到")
    expect(page.locator("#card .elements dt")).to_have_text(["人", "房", "地", "事", "物"])
    expect(page.locator("#card .acts")).to_contain_text(title)
    assert "card" in query(page)
    # Call: the number is a link that calls.
    page.locator("#card .call button").first.click()
    expect(page.locator("#card .call a[href^='tel:']")).to_have_count(1)
    # Act: the step of the case that leads on, and back in the same view.
    before = query(page)
    act = page.locator("#card .acts li", has_text=title).locator(".act")
    act.locator("summary").click()
    act.locator("[name=opinion]").fill("请今日办结")
    act.locator("button").click()
    expect(page.locator("#note")).to_contain_text("已办")
    expect(page.locator("#card h2")).to_be_visible()
    after = query(page)
    assert {name: after[name] for name in ("z", "card")} == {name: before[name] for name in ("z", "card")}


def test_back_closes_the_card_and_forward_opens_it(led: Callable[..., Page]) -> None:
    page = led()
    page.locator(".first a", has_text="户无人负责").click()
    expect(page.locator("#card h2")).to_have_text("不在任何网格内")
    expect(page.locator("#card")).to_contain_text("63 户")
    page.locator(".first a").nth(0).click()
    expect(page.locator("#card .attention")).to_be_visible()
    page.go_back()
    expect(page.locator("#card h2")).to_have_text("不在任何网格内")
    page.go_back()
    expect(page.locator("#card")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#card h2")).to_have_text("不在任何网格内")


def test_the_keyboard_goes_from_a_matter_to_its_card_and_back(led: Callable[..., Page]) -> None:
    page = led()
    page.locator(".first a").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#card h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_hidden()
    expect(page.locator("#map_main")).to_be_focused()
    page.locator(".layers-button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#layers")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#layers")).to_be_hidden()
    expect(page.locator(".layers-button")).to_be_focused()


def test_how_areas_stand_is_drawn_without_fetching_ground(led: Callable[..., Page]) -> None:
    page = led("/?z=16&lat=29.7985&lng=122.6034")
    asked: list[str] = []
    page.locator(".layers-button").click()
    page.on("request", lambda request: asked.append(request.url))
    marked = "() => vectors_main._marks.marks.size"
    expect(page.locator("[data-key=attention]")).to_be_visible()
    page.locator("[data-overlay=attention]").uncheck()
    assert page.evaluate(marked) == 0
    expect(page.locator("[data-key=attention]")).to_be_hidden()
    page.locator("[data-overlay=attention]").check()
    assert page.evaluate(marked) > 0
    assert [url for url in asked if "/tiles/" in url or "standing" in url] == []
    assert "attention" in query(page)["layers"].split(",")


def test_a_sheet_keeps_the_place_and_brings_its_layers(led: Callable[..., Page]) -> None:
    page = led("/?z=16&lat=29.7985&lng=122.6034")
    with page.expect_response(lambda answer: "/areas/standing" in answer.url):
        page.locator("[data-to=coverage]").click()
    assert query(page)["z"] == "16" and query(page)["sheet"] == "coverage"
    expect(page.locator("[data-key=unowned]")).to_be_visible()
    expect(page.locator("[data-key=attention]")).to_be_hidden()


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_axe_finds_nothing_of_a_leader(led: Callable[..., Page], axe: str, size: str, language: str) -> None:
    page = led(f"/?lang={language}", size)
    assert violations(page, axe) == []
    if size == "phone":
        page.locator("[data-sheet=todo]").click()
    page.locator(".first a").first.click()
    expect(page.locator("#card .attention")).to_be_visible()
    for summary in page.locator("#card summary").all():
        summary.click()
    assert violations(page, axe) == []
    page.goto(page.url.split("?")[0] + "?view=list")
    assert violations(page, axe) == []


def test_nothing_scrolls_sideways_at_320_and_at_twice_the_text(led: Callable[..., Page]) -> None:
    for path, wide, text in (("/", 320, ""), ("/?view=list", 320, ""), ("/", 1280, "200%"), ("/?view=list", 1280, "200%")):
        page = led(path, (wide, 800))
        if text:
            page.evaluate("(size) => { document.documentElement.style.fontSize = size; document.body.style.zoom = size; }", text)
        assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (path, wide)
        page.context.close()


def test_without_scripts_numbers_matters_and_a_drawing_stand(led: Callable[..., Page]) -> None:
    page = led("/", java_script_enabled=False)
    expect(page.locator(".first > li")).to_have_count(5)
    drawing = page.locator(".noscript img")
    expect(drawing).to_be_visible()
    box = drawing.bounding_box()
    assert box and box["width"] > 200 and box["height"] > 200
    page.locator(".first a").first.click()
    expect(page.locator(".first > li")).to_have_count(5)
    page.get_by_role("link", name="改用列表查看").click()
    page.get_by_role("columnheader", name="超时").get_by_role("link").click()
    assert "sort=overdue" in page.url
    late = [int(text) for text in page.locator(".communities tbody td.figure:nth-child(4)").all_inner_texts()]
    assert late == sorted(late, reverse=True) and late[0] > 0


@pytest.mark.parametrize(("size", "requests", "kilobytes"), [("desktop", 80, 500), ("phone", 60, 200)])
def test_a_leaders_first_view_stays_small(led: Callable[..., Page], size: str, requests: int, kilobytes: int, server: Server, contexts: Contexts, states: States) -> None:
    page = contexts(size, storage_state=states("street")).new_page()
    finished: list[int] = []
    page.on("requestfinished", lambda request: finished.append(request.sizes()["responseBodySize"]))
    # What goes on listening is never over, and is no part of a first view.
    page.route("**/changes**", lambda route: route.abort())
    page.goto(server + "/")
    page.wait_for_load_state("networkidle")
    assert len(finished) <= requests and sum(finished) <= kilobytes * 1000
    assert page.evaluate("() => document.querySelectorAll('*').length") <= 900
