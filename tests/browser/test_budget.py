"""What a first view costs. Bytes, requests, nodes and heap are counted, because times depend on the machine."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("size", "path", "requests", "kilobytes"),
    [("desktop", "/", 110, 500), ("phone", "/", 80, 200), ("phone", "/?z=16&lat=29.8&lng=122.602", 80, 250)],
)
def test_a_first_view_stays_small(
    server: str, contexts: Callable[..., BrowserContext], size: str, path: str, requests: int, kilobytes: int
) -> None:
    page = contexts(size).new_page()
    finished: list[int] = []
    page.on("requestfinished", lambda request: finished.append(request.sizes()["responseBodySize"]))
    page.goto(server + path)
    page.wait_for_load_state("networkidle")
    assert len(finished) <= requests
    assert sum(finished) <= kilobytes * 1000
    assert page.evaluate("() => document.querySelectorAll('*').length") <= 1500


def test_a_town_is_painted_within_a_frame_or_two(
    server: str, contexts: Callable[..., BrowserContext]
) -> None:
    page = contexts().new_page()
    page.goto(server + "/?z=16&lat=29.8&lng=122.602")
    page.wait_for_load_state("networkidle")
    # Measured 2 to 8 ms with 1,260 buildings; one path for all of a style instead of batches of 100 takes ten times that.
    spent: float = page.evaluate(
        """() => {
            const from = performance.now();
            for (let turn = 0; turn < 10; turn++) vectors_main._paint();
            return (performance.now() - from) / 10;
        }"""
    )
    assert spent < 100


def test_the_heap_does_not_grow_with_use(server: str, contexts: Callable[..., BrowserContext]) -> None:
    page = contexts().new_page()
    page.goto(server + "/?z=16&lat=29.8&lng=122.602")
    for turn in range(24):
        page.evaluate(
            "(turn) => map_main.setView([29.8, 122.602 + turn % 5 / 500], 14 + turn % 6, {animate: false})",
            turn,
        )
        page.wait_for_load_state("networkidle")
    heap = page.context.new_cdp_session(page)
    heap.send("HeapProfiler.collectGarbage")
    metrics = {
        m["name"]: m["value"]
        for m in (heap.send("Performance.enable"), heap.send("Performance.getMetrics"))[1]["metrics"]
    }
    assert metrics["JSHeapUsedSize"] < 60_000_000
