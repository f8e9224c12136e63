"""Files of people on their way to the map: dropped, understood, corrected, stored, seen and taken back, in Chromium."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from shapely.geometry import box

from tests.browser.test_access import violations
from tests.conftest import Server

pytestmark = pytest.mark.browser

Contexts = Callable[..., BrowserContext]
States = Callable[[str], Any]
UPLOAD = re.compile(r"/uploads/[0-9a-f-]{36}")
PATIENCE = 90_000
WEST, SOUTH = 122.606, 29.801
MARKUP = "<img src=x onerror='window.__x=1'>"
DROP = """([files]) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
    }
    const drop = document.querySelector('#drop');
    for (const kind of ['dragenter', 'dragover', 'drop']) {
        drop.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
    }
}"""
UNDER = "([lat, lng]) => vectors_main.query(L.latLng(lat, lng)).map((one) => one.layer)"


def dropped(page: Page, files: Sequence[tuple[str, bytes]]) -> None:
    page.evaluate(DROP, [[[name, base64.b64encode(content).decode()] for name, content in files]])
    page.wait_for_url(UPLOAD)
    settled(page)


def settled(page: Page) -> None:
    """The page has come anew after the worker has done its part."""
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    page.wait_for_load_state("networkidle")


def shapefile(folder: Path, mark: str, count: int = 12) -> list[tuple[str, bytes]]:
    """Buildings in GBK, without a word about their encoding, as loose parts."""
    houses = [box(x, y, x + 0.0003, y + 0.0003) for x, y in ((WEST + i % 4 * 0.0006, SOUTH + i // 4 * 0.0006) for i in range(count))]
    told = {"楼栋名称": [f"{mark}{i}幢" for i in range(count)], "楼栋编码": [f"{mark}-{i:03}" for i in range(count)], "地上层数": [6] * count}
    geopandas.GeoDataFrame(told, geometry=houses, crs=4490).to_file(folder / "楼栋.shp", encoding="gbk")
    return [(part.name, part.read_bytes()) for part in sorted(folder.glob("楼栋.*")) if part.suffix != ".cpg"]


def test_a_shapefile_is_dropped_and_becomes_a_layer(server: Server, contexts: Contexts, states: States, tmp_path: Path) -> None:
    page = contexts(storage_state=states("street")).new_page()
    page.goto(f"{server}/uploads")
    dropped(page, shapefile(tmp_path, "试"))
    expect(page.get_by_role("heading", level=1)).to_have_text("楼栋.zip")
    expect(page.locator(".of-new dd")).to_have_text("12")
    # The preview is drawn from the staging table, over what is known.
    middle = [SOUTH + 0.00015, WEST + 0.00015]
    page.wait_for_function("window.map_main && document.querySelectorAll('.leaflet-overlay-pane canvas').length === 2")
    assert drawn(page) > 0.5, "nothing of what is staged is drawn"
    row = page.locator("tr[data-row='1']")
    row.locator("a.goes").click()
    expect(row).to_have_class(re.compile("here"))
    centre = page.evaluate("() => [map_main.getCenter().lat, map_main.getCenter().lng]")
    assert centre == pytest.approx(middle, abs=1e-5)
    page.get_by_role("link", name="看过了,下一步".replace(",", "，")).click()
    page.get_by_role("button", name="入库 12 行").click()
    settled(page)
    expect(page.get_by_role("heading", name="12 行已入库")).to_be_visible()
    own = page.url
    page.get_by_role("link", name="在地图上看").click()
    page.wait_for_load_state("networkidle")
    page.evaluate("([lat, lng]) => map_main.setView([lat, lng], 18, {animate: false})", middle)
    page.wait_for_function(f"({UNDER})({json.dumps(middle)}).includes('buildings')")
    page.goto(own)
    page.get_by_text("撤回这一批").click()
    page.get_by_role("button", name="确认撤回").click()
    settled(page)
    expect(page.get_by_role("heading", name="这一批已撤回")).to_be_visible()


def test_what_is_none_of_the_nouns_becomes_a_layer_of_its_own(server: Server, contexts: Contexts, states: States) -> None:
    lines = "".join(f"{i:03},{MARKUP},{WEST + i / 2000},{SOUTH}\n" for i in range(5))
    page = contexts(storage_state=states("street")).new_page()
    page.goto(f"{server}/uploads")
    dropped(page, [("测点.csv", f"测号,读数说明,经度,纬度\n{lines}".encode())])
    title = "{{ 7*7191 }}" + MARKUP
    page.get_by_label("图层名称").fill(title)
    page.get_by_label("谁可以看").select_option("public")
    page.get_by_label("没有偏移（GPS").check()
    page.get_by_role("button", name="重新读取").click()
    page.wait_for_load_state()
    settled(page)
    expect(page.locator(".of-new dd")).to_have_text("5")
    expect(page.locator("tr[data-row='1']")).to_contain_text(MARKUP)
    page.get_by_role("link", name="看过了，下一步").click()
    page.get_by_role("button", name="入库 5 行").click()
    settled(page)
    own = page.url
    page.get_by_role("link", name="在地图上看").click()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_label(title)).to_be_checked()
    page.evaluate("([lat, lng]) => map_main.setView([lat, lng], 18, {animate: false})", [SOUTH, WEST])
    page.wait_for_load_state("networkidle")
    box = page.locator("#map_main").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#card .own h3")).to_have_text(title)
    expect(page.locator("#card .own dd")).to_have_text(["000", MARKUP])
    assert page.locator("img[src=x]").count() == 0 and page.evaluate("() => window.__x") is None
    page.goto(own)
    page.get_by_text("撤回这一批").click()
    page.get_by_role("button", name="确认撤回").click()
    settled(page)
    expect(page.get_by_role("heading", name="这一批已撤回")).to_be_visible()


def drawn(page: Page) -> float:
    """How much of the canvas of what is staged is painted, in per cent."""
    page.wait_for_load_state("networkidle")
    share: float = page.evaluate("""() => {
        const canvas = document.querySelectorAll('.leaflet-overlay-pane canvas')[1];
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let painted = 0;
        for (let i = 3; i < data.length; i += 4) if (data[i]) painted++;
        return 400 * painted / data.length;
    }""")
    return share


def test_a_wrong_guess_is_corrected_with_the_keyboard_alone(server: Server, contexts: Contexts, states: States) -> None:
    lines = "".join(f"甲店{i},K{i},hospital,招牌{i},{WEST + i / 2000},{SOUTH}\n" for i in range(6))
    content = f"名称,编码,类别,招牌,经度,纬度\n{lines}坏店,K9,没有这类,招牌,{WEST},{SOUTH}\n".encode("gb18030")
    page = contexts("phone", storage_state=states("street")).new_page()
    # Choosers are watched from before the page is there: switched on beside the key, the watch comes now and then after it.
    page.on("filechooser", lambda _: None)
    page.goto(f"{server}/uploads")
    page.locator("#noun").select_option("facilities")
    page.locator("#noun").press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "file"
    with page.expect_file_chooser() as choosing:
        page.keyboard.press("Space")
    choosing.value.set_files([{"name": "设施.csv", "mimeType": "text/csv", "buffer": content}])
    page.wait_for_url(UPLOAD)
    settled(page)
    # Points without a word about their datum: asked before all else.
    page.get_by_label("没有偏移").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="确认，重新读取").press("Enter")
    page.wait_for_load_state()
    settled(page)
    expect(page.locator(".of-refused dd")).to_have_text("1")
    page.get_by_role("link", name="对应").press("Enter")
    page.wait_for_load_state()
    on = page.get_by_role("link", name="没有错，下一步")
    again = page.get_by_role("button", name="按改过的重新读取")
    expect(on).to_be_visible()
    expect(again).to_be_hidden()
    page.get_by_label("名称").select_option("招牌")
    again.press("Enter")
    page.wait_for_load_state()
    settled(page)
    page.get_by_role("link", name=re.compile("^新增记录 6")).press("Enter")
    expect(page.locator("table.rowed tbody tr").first).to_contain_text("招牌0")
    page.get_by_role("link", name="看过了，下一步").press("Enter")
    page.get_by_role("button", name="入库没有问题的 6 行").press("Enter")
    page.wait_for_load_state()
    settled(page)
    expect(page.get_by_role("heading", name="6 行已入库")).to_be_visible()
    own = page.url
    page.get_by_role("link", name="在地图上看").press("Enter")
    page.wait_for_url(re.compile("layers="))
    page.wait_for_load_state("networkidle")
    page.evaluate("([lat, lng]) => map_main.setView([lat, lng], 18, {animate: false})", [SOUTH, WEST + 5 / 2000])
    page.wait_for_function(f"({UNDER})({json.dumps([SOUTH, WEST + 5 / 2000])}).includes('facilities')")
    page.goto(own)
    with page.expect_download() as fetching:
        page.get_by_role("link", name="下载问题清单").click()
    assert "没有这类" in fetching.value.path().read_text(encoding="utf-8-sig")
    page.get_by_text("撤回这一批").press("Enter")
    page.get_by_role("button", name="确认撤回").press("Enter")
    page.wait_for_load_state()
    settled(page)
    expect(page.get_by_role("heading", name="这一批已撤回")).to_be_visible()


def test_what_a_file_brings_along_stays_text(server: Server, contexts: Contexts, states: States) -> None:
    content = f'名称,编码,类别,"{MARKUP}",经度,纬度\n"{MARKUP}",M1,hospital,"{MARKUP}",{WEST},{SOUTH}\n乙,M2,"{MARKUP}",1,{WEST},{SOUTH}\n'
    page = contexts(storage_state=states("street")).new_page()
    page.goto(f"{server}/uploads")
    page.locator("#noun").select_option("facilities")
    dropped(page, [(f"{MARKUP}.csv".replace("/", ""), content.encode())])
    address = page.url.partition("?")[0]
    for query in ("?step=2", "?step=3", "?step=4&tab=new", "?step=4&tab=problems", "?step=5"):
        page.goto(address + query)
        page.wait_for_load_state("networkidle")
        assert "onerror" in page.locator("main").inner_text(), query
        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("() => window.__x") is None
    page.goto(f"{server}/uploads")
    expect(page.locator("table.uploads")).to_contain_text("onerror")
    assert page.locator("img[src=x]").count() == 0 and page.evaluate("() => window.__x") is None


def test_a_large_file_goes_on_where_the_network_broke(server: Server, contexts: Contexts, states: States) -> None:
    padding = "长" * 1000
    content = "名称,编码,类别,备注,经度,纬度\n" + "".join(f"甲店{i},L{i},hospital,{padding},{WEST},{SOUTH}\n" for i in range(500))
    page = contexts(storage_state=states("street")).new_page()
    page.goto(f"{server}/uploads")
    # What is large is eight megabytes; here it is one, of which the second part is lost on its way.
    page.evaluate("() => Object.assign(document.querySelector('#words').dataset, {large: 1048576, part: 1048576})")
    lost: list[str] = []

    def broken(route: Any) -> None:
        if route.request.method == "PUT" and "at=1048576" in route.request.url and not lost:
            lost.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/partial_uploads/**", broken)
    page.locator("#noun").select_option("facilities")
    dropped(page, [("大.csv", content.encode())])
    assert len(lost) == 1
    expect(page.get_by_role("heading", level=1)).to_have_text("大.csv")
    expect(page.locator("main")).to_contain_text("500 行")


def test_it_works_without_scripts(server: Server, contexts: Contexts, states: States) -> None:
    page = contexts(java_script_enabled=False, storage_state=states("street")).new_page()
    page.goto(f"{server}/uploads")
    page.get_by_text("没有文件？粘贴表格或接龙").click()
    page.get_by_label("从 Excel、微信里复制").fill(f"名称\t编码\t类别\t经度\t纬度\n甲店\tP1\thospital\t{WEST}\t{SOUTH}")
    page.get_by_role("button", name="上传粘贴的内容").click()
    page.wait_for_url(UPLOAD)
    # Loaded anew every two seconds, by the page itself.
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    # A list without a name says neither what it is of nor which coordinates it has: both are asked at once.
    page.locator("#noun").select_option("facilities")
    page.get_by_label("没有偏移（GPS").check()
    page.get_by_role("button", name="重新读取").click()
    expect(page.locator("#going")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator(".of-new dd")).to_have_text("1")
    page.get_by_text("不要这个文件了").click()
    page.get_by_role("button", name="放弃这个文件").click()
    expect(page.locator("table.uploads tbody tr").first).to_contain_text("已结束")


@pytest.mark.parametrize(("size", "language"), [("desktop", "zh"), pytest.param("phone", "en", marks=pytest.mark.long)])
def test_axe_finds_nothing_on_any_step(
    server: Server, contexts: Contexts, states: States, axe: str, size: str, language: str
) -> None:
    x, y = WEST, SOUTH
    bow = f"POLYGON (({x} {y}, {x + 0.001} {y + 0.001}, {x + 0.001} {y}, {x} {y + 0.001}, {x} {y}))"
    houses = f'楼栋名称,楼栋编码,层数,联系电话,WKT\n甲楼,A1,3,13800138000,"{bow}"\n乙楼,A2,三百层,13800138001,"{bow}"\n'
    points = f"名称,编码,类别,经度,纬度\n甲店,A1,hospital,{x},{y}\n"
    page = contexts(size, storage_state=states("street"), locale="zh-CN" if language == "zh" else "en-GB").new_page()
    wide = 390 if size == "phone" else 1440
    found = {}

    def looked(name: str) -> None:
        found[name] = violations(page, axe)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= wide, name

    page.goto(f"{server}/uploads")
    page.locator(".paste summary").click()
    looked("list")
    page.locator("#noun").select_option("buildings")
    dropped(page, [("楼栋.csv", houses.encode())])
    address = page.url.partition("?")[0]
    for query in ("?step=2", "?step=3", "?step=4&tab=problems", "?step=4&tab=mended", "?step=4&tab=new", "?step=5"):
        page.goto(address + query)
        page.wait_for_load_state("networkidle")
        for summary in page.locator("main summary").all():
            summary.click()
        looked(query)
    for name, noun, content in (
        ("confirm.csv", "facilities", points), ("missing.csv", "facilities", "招牌,号牌\n甲,1\n"), ("refused.csv", "", "a,b\n1,2\n"),
        ("broken.zip", "", "PK and no archive"),
    ):
        page.goto(f"{server}/uploads")
        page.locator("#noun").select_option(noun)
        dropped(page, [(name, content.encode())])
        for summary in page.locator("main summary").all():
            summary.click()
        looked(name)
    page.goto(address + "?step=5")
    page.locator("button[value=apply]").click()
    page.wait_for_load_state()
    settled(page)
    page.locator(".ends summary").click()
    looked("applied")
    page.locator("button[value=undo]").click()
    page.wait_for_load_state()
    settled(page)
    looked("undone")
    assert {name: faults for name, faults in found.items() if faults} == {}
