"""The leader's map in use: click, keys, layers, language, phone."""

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Opened = Callable[..., Page]
HERE = "/?z=16&lat=29.8&lng=122.602"


def address(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def centre(page: Page) -> tuple[float, float]:
    at: dict[str, float] = page.evaluate("() => map_main.getCenter()")
    return at["lng"], at["lat"]


def found(page: Page, layer: str) -> list[Any]:
    """What `query` says is drawn of a layer at the middle of the map."""
    rows: list[Any] = page.evaluate("() => vectors_main.query(map_main.getCenter())")
    return [row for row in rows if row["layer"] == layer]


def click_middle(page: Page) -> None:
    box = page.locator("#map_main").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#card h2")).to_be_visible()


def test_a_click_opens_the_card_of_the_grid(opened: Opened) -> None:
    page = opened(HERE)
    expect(page.locator("#card")).to_be_hidden()
    click_middle(page)
    area = page.locator("#card article").get_attribute("data-area")
    assert [row["properties"]["id"] for row in found(page, "areas")] == [area]
    assert page.locator("#card .elements dt").all_inner_texts() == ["人", "房", "地", "事", "物"]
    page.get_by_role("button", name="关闭").click()
    expect(page.locator("#card")).to_be_hidden()


def test_the_keyboard_alone_does_it_all(opened: Opened) -> None:
    page = opened(HERE)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "() => document.activeElement.id || document.activeElement.closest('[class]').className"
            )
        )
        if order[-1] == "map_main":
            break
    assert order[-1] == "map_main"
    before = centre(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)
    assert centre(page)[0] > before[0]
    page.keyboard.press("Enter")
    heading = page.locator("#card h2")
    expect(heading).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_hidden()
    expect(page.locator("#map_main")).to_be_focused()


def test_a_place_in_no_grid_says_so(opened: Opened) -> None:
    page = opened("/?z=16&lat=29.7&lng=122.4")
    click_middle(page)
    expect(page.locator("#card h2")).to_have_text("不在任何网格内")
    expect(page.locator("#card .alarm")).to_contain_text("米")


def test_a_layer_is_switched_off_and_the_address_knows(opened: Opened) -> None:
    page = opened(HERE)
    assert found(page, "areas")
    page.locator(".layers-button").click()
    page.locator("[data-layer=areas]").uncheck()
    assert not found(page, "areas")
    expect(page.locator("[data-legend=areas]")).to_be_hidden()
    assert "areas" not in address(page)["layers"].split(",")
    page.reload()
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-layer=areas]")).not_to_be_checked()
    assert not found(page, "areas")


def test_a_state_is_hidden_without_fetching_again(opened: Opened) -> None:
    page = opened(HERE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(".layers-button").click()
    closed = page.locator("[data-of=incidents][data-value=close]")
    expect(closed).not_to_be_checked()
    closed.check()
    page.wait_for_timeout(300)
    assert [url for url in asked if "/tiles/" in url] == []


def test_a_layer_that_is_not_drawn_yet_is_faint(opened: Opened) -> None:
    page = opened("/?z=13&lat=29.8&lng=122.602")
    assert page.locator("label.far [data-layer=buildings]").count() == 1
    assert page.locator("label.far [data-layer=areas]").count() == 0
    page.locator(".layers-button").click()
    expect(page.locator("#far")).to_be_visible()


def test_the_address_holds_where_one_looks(opened: Opened) -> None:
    page = opened("/")
    page.get_by_role("button", name="放大").click()
    page.wait_for_timeout(500)
    kept = address(page)
    again = opened("/?" + urlparse(page.url).query)
    assert again.evaluate("() => map_main.getZoom()") == float(kept["z"])
    assert centre(again) == pytest.approx((float(kept["lng"]), float(kept["lat"])), abs=1e-4)


def test_a_layer_that_does_not_come_is_said_and_asked_for_again(opened: Opened) -> None:
    page = opened("/?z=14&lat=29.8&lng=122.602")
    page.route("**/tiles/**", lambda route: route.abort())
    page.get_by_role("button", name="放大").click()
    expect(page.locator("#note")).to_contain_text("正在重试")
    page.unroute("**/tiles/**")
    expect(page.locator("#note")).to_be_empty(timeout=15_000)
    # The note goes when the last tile has come; what is in it is drawn a moment later.
    for _ in range(100):
        if found(page, "areas"):
            return
        page.wait_for_timeout(100)
    pytest.fail("the areas did not come back")


def test_a_link_with_a_card_opens_it(opened: Opened) -> None:
    page = opened(HERE)
    click_middle(page)
    assert "card" in address(page)
    name = page.locator("#card h2").inner_text()
    again = opened("/?" + urlparse(page.url).query)
    expect(again.locator("#card h2")).to_have_text(name)
    again.keyboard.press("Escape")
    assert "card" not in address(again)


@pytest.mark.parametrize("path", ["/review", "/boundaries"])
def test_a_finding_is_shown_on_the_map(opened: Opened, path: str) -> None:
    page = opened(path)
    link = page.get_by_role("link", name="在地图上看").first
    link.click()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#card h2")).to_be_visible()


def test_a_community_in_the_overview_leads_there(opened: Opened) -> None:
    page = opened("/")
    before = centre(page)
    page.locator("#overview tbody a").first.click()
    page.wait_for_timeout(600)
    assert centre(page) != before
    page.get_by_role("button", name="看全域").click()
    page.wait_for_timeout(600)
    assert centre(page) == pytest.approx(before, abs=1e-3)


def test_the_other_language_keeps_the_place_and_is_remembered(opened: Opened, server: str) -> None:
    page = opened(HERE)
    page.locator(".language").click()
    page.wait_for_load_state("networkidle")
    assert page.locator("html").get_attribute("lang") == "en"
    assert centre(page) == pytest.approx((122.602, 29.8), abs=1e-4)
    page.goto(server + "/")
    assert page.locator("html").get_attribute("lang") == "en"
    page.goto(server + "/?lang=zh")
    assert page.locator("html").get_attribute("lang") == "zh-CN"


def test_on_a_phone_nothing_covers_anything(opened: Opened) -> None:
    page = opened(HERE, "phone", has_touch=True)
    parts = (".bar", ".numbers", ".stage", ".sheet.open", ".tabs")

    def boxes() -> list[dict[str, float]]:
        return [
            box for part in parts if page.locator(part).count() and (box := page.locator(part).bounding_box())
        ]

    assert len(boxes()) == 4
    for sheet in ("layers", "todo"):
        page.locator(f".tabs [data-sheet={sheet}]").tap()
        shown = boxes()
        assert len(shown) == 5
        for one, other in combinations(shown, 2):
            below = one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
            assert below, (sheet, one, other)
        assert max(box["y"] + box["height"] for box in shown) <= 845


def test_on_a_phone_a_tap_opens_the_sheet_and_keeps_the_spot_in_view(opened: Opened) -> None:
    page = opened(HERE, "phone", has_touch=True)
    box = page.locator("#map_main").bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + 60, box["y"] + box["height"] - 60)
    expect(page.locator("#right.open #card h2")).to_be_visible()
    article = page.locator("#card article")
    spot = [float(article.get_attribute(f"data-{axis}") or 0) for axis in ("lng", "lat")]
    assert page.evaluate("([lng, lat]) => map_main.getBounds().contains([lat, lng])", spot)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?view=list",
        "/?view=list&within=990101001001",
        "/review",
        "/boundaries",
        "/identify?lon=122.602&lat=29.8",
    ],
)
def test_a_narrow_phone_has_no_sideways_scroll(opened: Opened, path: str) -> None:
    page = opened(path, (320, 640))
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_a_finger_hits_what_it_means(opened: Opened) -> None:
    page = opened(HERE, "phone", has_touch=True)
    click_middle(page)
    small = page.evaluate(
        """() => Array.from(document.querySelectorAll("button, .bar a, label, summary, .leaflet-bar a"))
            .filter((element) => element.offsetParent)
            .map((element) => [element.textContent.trim(), element.getBoundingClientRect()])
            .filter(([, box]) => box.height < 44 || box.width < 44).map(([text]) => text)"""
    )
    assert small == []


def test_without_scripts_the_numbers_stand_and_a_list_is_offered(opened: Opened) -> None:
    page = opened("/", java_script_enabled=False)
    shown = page.locator(".numbers dd:not(.sub)").all_inner_texts()
    assert all(re.match(r"\d", number) for number in shown)
    page.get_by_role("link", name="改用列表查看").click()
    assert page.locator(".communities tbody tr").count() == 9
    assert page.locator(".numbers dd:not(.sub)").all_inner_texts() == shown
    page.locator(".communities tbody th a").first.click()
    expect(page.locator(".communities tbody th").nth(1)).to_be_visible()
    grids = page.locator(".communities tbody th").all_inner_texts()
    page.get_by_role("link", name=f"查看 {grids[0]}").click()
    expect(page.locator(".card h2")).to_have_text(grids[0])
