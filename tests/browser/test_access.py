"""Nobody is shut out: axe finds nothing on any page, at two sizes, in two languages."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Opened = Callable[..., Page]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATHS = (
    "/",
    "/?view=list",
    "/?view=list&within=990101001001",
    "/review",
    "/boundaries",
    "/identify?lon=122.602&lat=29.8",
    "/identify?lon=122.4&lat=29.7",
)


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    run = "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})"
    result: dict[str, Any] = page.evaluate(run, RULES)
    return [
        f"{found['id']}: {node['target']} {node['failureSummary']}"
        for found in result["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing(opened: Opened, server: str, axe: str, size: str, language: str) -> None:
    page = opened(f"/?lang={language}", size)
    found = {"/": violations(page, axe)}
    for path in PATHS[1:]:
        page.goto(server + path)
        found[path] = violations(page, axe)
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing_with_the_card_and_the_sheets_open(opened: Opened, axe: str, size: str) -> None:
    page = opened("/?z=16&lat=29.8&lng=122.602", size)
    page.locator("#map_main").click()
    expect(page.locator("#card h2")).to_be_visible()
    for summary in page.locator("#card summary").all():
        summary.click()
    assert violations(page, axe) == []
    if size == "phone":
        page.locator(".tabs [data-sheet=layers]").click()
        assert violations(page, axe) == []


def test_text_twice_as_large_needs_no_sideways_scroll(opened: Opened) -> None:
    # A zoom of 200 % on a screen of 640 is a page of 320 with everything twice the size.
    page = opened("/?view=list", (320, 640), device_scale_factor=2)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_a_reader_who_wants_no_motion_gets_none(opened: Opened) -> None:
    page = opened("/", reduced_motion="reduce")
    assert page.evaluate("() => map_main.options.zoomAnimation") is False
