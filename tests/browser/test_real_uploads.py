"""Real sets, where they are beside the checkout: from the drop to the map, a wrong guess corrected by hand, a batch taken back.

A first start, the administrator of a district, and files of four bureaus as they came.
"""

import base64
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import pyotp
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_upload import DROP, UPLOAD
from tests.conftest import Server, serving
from tests.geo.test_files import SHARED

pytestmark = [
    pytest.mark.browser, pytest.mark.long, pytest.mark.skipif(not SHARED.exists(), reason="the real data are not beside this checkout"),
]  # fmt: skip

PATIENCE = 300_000
PASSWORD = "lake-heron-77-cobalt"
XIHU, YICHANG, CUT = SHARED / "cn_hangzhou_xihu", SHARED / "cn_yichang", SHARED / "derived_cn_uploads"
# The layers of what is drawn in the middle of the map.
HERE = "() => vectors_main.query(map_main.getCenter()).map((one) => one.layer)"


@pytest.fixture
def fresh(address: Any, databases: Any, migrated: str, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server with nothing in it, and what it printed at its first start."""
    with serving("serve", address.url(database=databases(migrated)), tmp_path / "home") as started:
        yield started


def entered(page: Page, server: Server, log: Path) -> None:
    """The administrator comes in for the first time, by the link that the start has printed, and with a telephone."""
    page.goto(f"{server}/slip?code={re.findall('code=([A-Za-z0-9-]+)', log.read_text())[0]}")
    for box in page.locator("main input[type=password]").all():
        box.fill(PASSWORD)
    page.locator("main form button").last.click()
    page.wait_for_url(lambda url: "/slip" not in url)
    page.goto(f"{server}/account")
    page.locator("#second-factor-password").fill(PASSWORD)
    page.locator("form[action='/account/second-factor'] button").click()
    (secret,) = re.findall(r"\b(?:[A-Z2-7]{4} ?){8,}", page.locator("main").inner_text())
    page.locator("#code-code").fill(pyotp.TOTP(secret.replace(" ", "")).now())
    page.locator("form[action='/account/code'] button").click()
    expect(page.locator("#second-factor .tag.good")).to_be_visible()


def settled(page: Page) -> None:
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    page.wait_for_load_state("networkidle")


def dropped(page: Page, server: Server, name: str, content: bytes) -> None:
    page.goto(f"{server}/uploads")
    page.evaluate(DROP, [[[name, base64.b64encode(content).decode()]]])
    page.wait_for_url(UPLOAD, timeout=PATIENCE)
    settled(page)


def stored(page: Page, count: str) -> None:
    """From the check to the map, where what was stored is drawn."""
    page.get_by_role("link", name="看过了，下一步").click()
    page.locator("button[value=apply]").click()
    page.wait_for_load_state()
    settled(page)
    expect(page.get_by_role("heading", name=f"{count} 行已入库")).to_be_visible()
    own = page.url
    page.get_by_role("link", name="在地图上看").click()
    page.wait_for_load_state("networkidle")
    page.wait_for_function("window.map_main && window.vectors_main")
    page.goto(own)


def test_four_bureaus(fresh: tuple[Server, Path], contexts: Callable[..., BrowserContext], tmp_path: Path) -> None:
    server, log = fresh
    desk = contexts()
    page = desk.new_page()
    entered(page, server, log)

    # The streets, communities and grids of a district, each as it came.
    for name, count in (("streets_镇街", "11"), ("communities_社区", "213"), ("grids_网格", "605")):
        dropped(page, server, f"xihu_{name}.geojson", next(XIHU.glob(f"xihu_{name}*")).read_bytes())
        expect(page.locator(".of-new dd")).to_have_text(count)
        stored(page, count)
    page.goto(f"{server}/?z=16&lat=30.29&lng=120.06&layers=areas")
    page.wait_for_load_state("networkidle")
    assert "areas" in page.evaluate(HERE)
    # Communities are called as in the column that has their names, not as in the one that is all but empty.
    assert page.locator("main tbody th").first.inner_text().endswith(("社区", "村"))

    # A shapefile in GBK that says so nowhere, on a phone: the grids are known again. Taken back, they are as they were.
    phone = contexts("phone", storage_state=desk.storage_state()).new_page()
    dropped(phone, server, "01_gbk_no_cpg_no_ldid.zip", (CUT / "01_gbk_no_cpg_no_ldid.zip").read_bytes())
    expect(phone.locator(".of-changed dd")).to_have_text("26")
    expect(phone.locator("tr[data-row='1']")).to_contain_text("蝶园社区第二网格")
    assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390
    stored(phone, "26")
    phone.get_by_text("撤回这一批").click()
    phone.get_by_role("button", name="确认撤回").click()
    settled(phone)
    expect(phone.get_by_role("heading", name="这一批已撤回")).to_be_visible()

    # Ten thousand tickets, of which nobody but the bureau knows where their coordinates are from, and the title is guessed wrong.
    dropped(page, server, "incidents_12345_民生基础_10758.csv", next(YICHANG.glob("incidents*")).read_bytes())
    page.get_by_label("没有偏移（GPS").check()
    page.get_by_role("button", name="确认，重新读取").click()
    page.wait_for_load_state()
    settled(page)
    page.goto(page.url.partition("?")[0] + "?step=3")
    title = page.get_by_label("标题")
    expect(title).to_have_value("事件")
    title.select_option("类9")
    page.get_by_role("button", name="按改过的重新读取").click()
    page.wait_for_load_state()
    settled(page)
    expect(page.locator(".of-new dd")).to_have_text("10,758")
    expect(page.locator("tr[data-row='1']")).to_contain_text("物业")
    stored(page, "10,758")

    # Forty thousand houses of another country are none of our nouns, and a layer of their own.
    geopandas.read_parquet(SHARED / "buildings_moscow_41046" / "buildings.parquet").to_file(tmp_path / "buildings.shp")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in tmp_path.glob("buildings.*"):
            archive.write(part, part.name)
    dropped(page, server, "buildings.zip", made.getvalue())
    page.get_by_label("图层名称").fill("莫斯科楼栋")
    page.get_by_label("谁可以看").select_option("public")
    page.get_by_role("button", name="重新读取").click()
    page.wait_for_load_state()
    settled(page)
    # Nobody has said yet where this instance lies.
    page.get_by_label("归哪个区域").select_option(label="北山 000000001")
    page.get_by_role("button", name="重新读取").click()
    page.wait_for_load_state()
    settled(page)
    expect(page.locator(".of-new dd")).to_have_text("41,046")
    stored(page, "41,046")
    page.get_by_role("link", name="在地图上看").click()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_label("莫斯科楼栋")).to_be_checked()
