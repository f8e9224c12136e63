"""Real Chromium against a real server. The content security policy stays on: nothing here evaluates text in a page."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import Server

ROOT = Path(__file__).parents[2]
# Without these Chromium calls its maker's hosts at every start.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("no Chromium: `make test` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def contexts(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser contexts of a size, in Chinese unless told otherwise; all are closed at the end."""
    made: list[BrowserContext] = []

    def make(size: str | tuple[int, int] = "desktop", **options: Any) -> BrowserContext:
        width, height = SIZES[size] if isinstance(size, str) else size
        viewport = {"width": width, "height": height}
        made.append(chromium.new_context(**({"viewport": viewport, "locale": "zh-CN"} | options)))
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.fixture
def opened(server: str, contexts: Callable[..., BrowserContext]) -> Opened:
    """Opens a path of the server and waits until its tiles have come."""

    def open_page(path: str = "/", size: str | tuple[int, int] = "desktop", **options: Any) -> Page:
        page = contexts(size, **options).new_page()
        page.goto(server + path)
        page.wait_for_load_state("networkidle")
        return page

    return open_page


@pytest.fixture(scope="session")
def states(server: Server, chromium: Browser) -> Callable[[str], Any]:
    """The cookies of somebody of the demonstration who has signed in, once a session: signing in costs a tenth of a second."""
    kept: dict[str, Any] = {}

    def state(login: str) -> Any:
        if login not in kept:
            context = chromium.new_context()
            page = context.new_page()
            page.goto(f"{server}/sign-in")
            page.locator("[name=login]").fill(login)
            page.locator("[name=password]").fill(server.password)
            page.locator("main button").click()
            page.wait_for_url(lambda url: "/sign-in" not in url)
            kept[login] = context.storage_state()
            context.close()
        return kept[login]

    return state


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker, brought by npm at set-up."""
    script = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.fail("no axe-core: `make test` installs it (npm)")
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def payloads() -> list[str]:
    """Texts that would set `window.__x` if anything took them for more than texts."""
    return (ROOT / "tests" / "maps" / "payloads.txt").read_text(encoding="utf-8").splitlines()
