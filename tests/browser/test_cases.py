"""A case through the hands of four people at once, a board that moves by itself, and nothing for the accessibility checker to find."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]
# Refuse lies in front of a house of the worker's own grid, and by the responsibility list is the grid's.
REPORT = """async () => {
    const house = (await (await fetch('/collections/buildings/items?limit=1')).json()).features[0];
    let spot = house.geometry.coordinates;
    while (Array.isArray(spot[0])) spot = spot[0];
    const properties = {title: '', channel: 'patrol', matter: '06010', address: house.properties.name};
    properties.title = '门前暴露垃圾 ' + Date.now();
    const made = await fetch('/collections/incidents/items', {method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({type: 'Feature', geometry: {type: 'Point', coordinates: spot}, properties})});
    return [(await made.json()).id, properties.title];
}"""


def come(contexts: Contexts, states: States, login: str, size: str = "desktop", **options: Any) -> Page:
    return contexts(size, storage_state=states(login), **options).new_page()


def reported(worker: Page, server: Server) -> tuple[str, str]:
    """A case that a worker has found in their grid: where its page is, and what it is called."""
    worker.goto(f"{server}/inbox")
    id, title = worker.evaluate(REPORT)
    return f"{server}/cases/{id}", title


def column(board: Page, stage: str, title: str) -> None:
    """The card is in a column, and the page has not been loaded anew."""
    expect(board.locator(f".s-{stage} .ticket", has_text=title)).to_be_visible(timeout=10_000)
    assert board.evaluate("window.mine") == 1


def test_four_people_take_a_case_through_and_the_board_follows(server: Server, contexts: Contexts, states: States) -> None:
    worker = come(contexts, states, "grid_worker", "phone")
    board = come(contexts, states, "street")
    board.goto(f"{server}/cases/board?matter=06010")
    board.evaluate("window.mine = 1")
    case, title = reported(worker, server)
    column(board, "accept", title)

    acceptor = come(contexts, states, "acceptor")
    acceptor.goto(f"{server}/inbox")
    # Nothing is asked for: one press.
    acceptor.get_by_role("listitem").filter(has_text=title).get_by_role("button", name="受理").click()
    expect(acceptor.get_by_role("status").filter(has_text="已办")).to_be_visible()
    acceptor.get_by_role("listitem").filter(has_text=title).get_by_role("button", name="立案").click()

    # Without scripts it is the same.
    dispatcher = come(contexts, states, "dispatcher", java_script_enabled=False)
    dispatcher.goto(case)
    expect(dispatcher.get_by_label("派给谁").locator("option").first).to_contain_text("按责任清单：澜溪社区第一网格")
    dispatcher.get_by_role("button", name="派遣", exact=True).click()
    column(board, "dispatch", title)

    worker.goto(f"{server}/inbox")
    worker.get_by_role("listitem").filter(has_text=title).get_by_role("button", name="接办").click()
    column(board, "handle", title)
    worker.get_by_role("listitem").filter(has_text=title).get_by_role("link", name="处置完毕").click()
    # The field that the address names has the focus.
    expect(worker.locator("#do-handle-opinion")).to_be_focused()
    worker.keyboard.type("已清运")
    worker.keyboard.press("Tab")
    worker.keyboard.press("Enter")
    expect(worker.get_by_role("status").filter(has_text="已办")).to_be_visible()

    checker = come(contexts, states, "checker", "phone")
    checker.goto(case)
    checker.locator("#do-pass-opinion").fill("现场干净")
    checker.get_by_role("button", name="核查通过", exact=True).click()
    column(board, "close", title)
    acceptor.goto(case)
    acceptor.get_by_role("button", name="结案", exact=True).click()
    acceptor.locator("#do-answer-opinion").fill("已清理,感谢反映")
    acceptor.get_by_role("button", name="反馈", exact=True).click()
    column(board, "feedback", title)
    assert acceptor.locator(".timeline > li").count() == 9
    expect(acceptor.locator(".timeline")).to_contain_text("按责任清单")


def test_who_is_called_comes_and_stays(server: Server, contexts: Contexts, states: States) -> None:
    case, _ = reported(come(contexts, states, "grid_worker", "phone"), server)
    street = come(contexts, states, "street")
    street.goto(case)
    street.locator("summary", has_text="吹哨").click()
    street.get_by_label("云汀管理站").check()
    street.locator("#do-whistle-opinion").fill("请到现场")
    street.get_by_role("button", name="吹哨", exact=True).click()
    expect(street.get_by_role("status").filter(has_text="已办")).to_be_visible()

    called = come(contexts, states, "department", "phone", permissions=["geolocation"])
    called.goto(case)
    lon, lat = called.evaluate("async (id) => (await (await fetch('/collections/incidents/items/' + id)).json()).geometry.coordinates", case.rpartition("/")[2])
    called.get_by_role("button", name="应哨", exact=True).click()
    expect(called.get_by_role("status").filter(has_text="已办")).to_be_visible()
    # From a kilometre away it is not believed.
    for away, told in ((0.01, "alert"), (0.0, "status")):
        called.context.set_geolocation({"longitude": lon + away, "latitude": lat})
        called.get_by_role("button", name="用我现在的位置").click()
        expect(called.get_by_label("经度")).to_have_value(f"{lon + away:.6f}")
        called.get_by_role("button", name="报到", exact=True).click()
        expect(called.get_by_role(told).filter(has_text="太远" if away else "已办").first).to_be_visible()
    expect(street.locator("main")).to_contain_text("按时到场", timeout=10_000)
    # Nobody leaves before the street lets them.
    expect(called.get_by_role("button", name="离场")).to_have_count(0)


def test_what_is_being_written_is_not_taken_away(server: Server, contexts: Contexts, states: States) -> None:
    worker = come(contexts, states, "grid_worker", "phone")
    case, _ = reported(worker, server)
    acceptor, street = come(contexts, states, "acceptor"), come(contexts, states, "street")
    acceptor.goto(case)
    acceptor.locator("#do-accept-opinion").fill("情况属实")
    street.goto(case)
    street.locator("summary", has_text="督办").click()
    street.locator("#do-supervise-opinion").fill("今天办结")
    street.get_by_role("button", name="督办", exact=True).click()
    # The head and what was done are told anew, the form is left alone, and it is said that there is news.
    expect(acceptor.locator("#log")).to_contain_text("今天办结", timeout=10_000)
    expect(acceptor.locator("#head .tag")).to_contain_text("督办")
    expect(acceptor.locator("[data-stale]")).to_be_visible()
    expect(acceptor.locator("#do-accept-opinion")).to_have_value("情况属实")
    acceptor.get_by_role("button", name="受理", exact=True).click()
    expect(acceptor.get_by_role("alert")).to_contain_text("督办")
    expect(acceptor.locator("#do-accept-opinion")).to_have_value("情况属实")
    acceptor.get_by_role("button", name="受理", exact=True).click()
    expect(acceptor.get_by_role("status").filter(has_text="已办")).to_be_visible()


@pytest.mark.parametrize(
    ("size", "language"),
    [("phone", "zh"), *(pytest.param(*other, marks=pytest.mark.long) for other in (("phone", "en"), ("desktop", "zh"), ("desktop", "en")))],
)
def test_axe_finds_nothing_on_cases(server: Server, contexts: Contexts, states: States, axe: str, size: str, language: str) -> None:
    street = come(contexts, states, "street", size, locale="zh-CN" if language == "zh" else "en-GB")
    found = {}
    for path in ("/inbox", "/cases/board", "/cases?late=1&within=990101001"):
        street.goto(server + path)
        found[path] = violations(street, axe)
        assert street.evaluate("() => document.documentElement.scrollWidth") <= (390 if size == "phone" else 1440), path
    street.locator("tbody th a").first.click()
    street.wait_for_load_state("networkidle")
    for summary in street.locator("#steps summary").all():
        summary.click()
    found["case"] = violations(street, axe)
    assert street.evaluate("() => document.documentElement.scrollWidth") <= (390 if size == "phone" else 1440)
    assert {path: faults for path, faults in found.items() if faults} == {}
