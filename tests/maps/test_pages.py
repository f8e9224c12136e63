"""The pages keep text as text, hold on to nothing outside, and are documents of their own."""

import gzip
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from maps import pages
from maps.layer import Drawing
from maps.links import ASSETS, PREFIX

Made = Callable[[str], str]
EVALUATED = str(7 * 7191)
ELSEWHERE = re.compile(r"""(?:src|href|action|url\()\s*=?\s*["']?\s*(?:[a-z]+:)?//""", re.IGNORECASE)


class Skeleton(HTMLParser):
    """The tags of a page and the names of their attributes, without any text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value) for name, value in attrs]


def test_a_text_changes_no_markup(made: Made, payload: str) -> None:
    page = made(payload)
    assert Skeleton(page).tags == Skeleton(made("x")).tags
    assert EVALUATED not in page


def test_the_same_data_gives_the_same_page(made: Made) -> None:
    assert made("云汀") == made("云汀")


def test_nothing_is_fetched_from_elsewhere(made: Made) -> None:
    page = made("云汀")
    assert not ELSEWHERE.search(page)
    for _, name, value in Skeleton(page).attributes:
        if name in ("src", "href") and not (value or "").startswith("#"):
            assert re.match(r"[/?](?!/)", value or ""), value


def test_every_script_has_the_nonce_and_no_element_a_handler(made: Made) -> None:
    skeleton = Skeleton(made("云汀"))
    scripts = [tag for tag in skeleton.tags if tag[0] == "script"]
    assert all("nonce" in tag for tag in scripts)
    assert not [name for _, name, _ in skeleton.attributes if name.startswith("on")]


def test_a_page_is_a_document(reader: pages.Reader, drawings: list[Drawing], examples: Any) -> None:
    page = pages.leader(reader, pages.View(), drawings, examples.numbers("云汀街道"))
    tags = [tag[0] for tag in Skeleton(page).tags]
    assert page.startswith('<!DOCTYPE html>\n<html lang="zh-CN">')
    assert (tags.count("title"), tags.count("main"), tags.count("h1")) == (1, 1, 1)
    assert "user-scalable" not in page
    assert page.index('class="skip"') < page.index("<header")


def test_the_numbers_stand_without_scripts(
    reader: pages.Reader, drawings: list[Drawing], examples: Any
) -> None:
    for view in (pages.View(), pages.View(listed=True)):
        page = re.sub(
            r"<script.*?</script>",
            "",
            pages.leader(reader, view, drawings, examples.numbers("云汀街道")),
            flags=re.S,
        )
        assert all(f">{number}<" in page for number in (69, 7))
        assert "待落格复核 25<" in page
        assert "1,260" in page
        assert "2026-11-22 08:00" in page


def test_a_small_count_of_people_is_not_told_and_is_not_zero(reader: pages.Reader, examples: Any) -> None:
    assert "户少,不公布" in pages.card(reader, examples.card("x"))
    assert "—(人少,不公布)" in pages.leader(reader, pages.View(listed=True), (), examples.numbers("x"))


def test_a_place_in_no_grid_names_the_nearest(reader: pages.Reader, examples: Any) -> None:
    page = pages.card(reader, examples.card("第三网格", found=False))
    assert "不在任何网格内" in page
    assert "最近的是 第三网格，相距 132 米。" in page


def test_nobody_responsible_is_said_aloud(reader: pages.Reader, examples: Any) -> None:
    assert "本级没有登记责任人" in pages.card(reader, examples.card("x") | {"responsible": []})


def test_the_state_of_the_map_comes_from_the_address(
    reader: pages.Reader, drawings: list[Drawing], examples: Any
) -> None:
    page = pages.leader(reader, pages.View(29.8, 122.6, 16), drawings, examples.numbers("x"))
    assert "map_main.setView([29.8, 122.6], 16)" in page
    assert "fitBounds([[29.78, 122.58], [29.82, 122.62]])" in pages.leader(
        reader, pages.View(), drawings, examples.numbers("x")
    )


@pytest.mark.parametrize(("kind", "most"), [("script", 80_000), ("stylesheet", 12_000)])
def test_the_map_page_keeps_its_budget(
    reader: pages.Reader, drawings: list[Drawing], kind: str, most: int, examples: Any
) -> None:
    page = pages.leader(reader, pages.View(), drawings, examples.numbers("云汀街道"))
    pattern = r'<script[^>]* src="([^"?]+)' if kind == "script" else r'<link rel="stylesheet" href="([^"?]+)'
    inline = "".join(re.findall(r"<script[^>]*>(.*?)</script>", page, re.S)) if kind == "script" else ""
    files = [ASSETS / address.removeprefix(PREFIX + "/") for address in re.findall(pattern, page)]
    assert len(files) >= 2
    packed = [
        len(gzip.compress(content)) for content in (inline.encode(), *(file.read_bytes() for file in files))
    ]
    assert sum(packed) <= most
