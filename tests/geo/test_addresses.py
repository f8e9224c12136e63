"""Addresses as people write them lead to the house and the dwelling, or to nobody's house."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import db, intake
from geo.addresses import Address, Found, Hint, Matcher, parsed

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LOADS = (
    ("areas.gpkg", "areas", "street", {"level": "street", "kind": "division"}),
    ("areas.gpkg", "areas", "communities", {"level": "community"}),
    ("compounds.gpkg", "compounds", None, {}),
    ("buildings.zip", "buildings", None, {}),
    ("units.csv", "units", None, {}),
    ("dwellings_lanxi.csv", "dwellings", None, {}),
)


@pytest.fixture(scope="module")
def lanxi(address, databases, migrated, key) -> Iterator[sa.Engine]:
    """The sample town's houses, stairwells and dwellings, loaded as any file is."""
    url = address.url(database=databases(migrated))
    made = db.engine(url)
    with made.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET prefix = '990101001', demo = true"))
    loader = db.engine(address.url("jingwei_loader", database=url.database))
    for file, into, layer, values in LOADS:
        intake.load(loader, intake.Order(SAMPLE / file, into, values=values, layer=layer), key)
    loader.dispose()
    yield made
    made.dispose()


@pytest.fixture
def town(lanxi) -> Iterator[sa.Connection]:
    """A transaction on it that is never committed."""
    with lanxi.connect() as opened:
        outer = opened.begin()
        yield opened
        outer.rollback()


def said(address: Address) -> str:
    """`where|house|unit|floor|room|side|rest`, what is not said left empty."""
    told = (address.where, address.house, address.unit, address.floor, address.room, address.side, address.rest)
    return "|".join("" if part is None else str(part) for part in told).rstrip("|")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3-2-501", "|3幢|2|5|501"),
        ("3—2—501", "|3幢|2|5|501"),
        ("3-2-501", "|3幢|2|5|501"),
        ("3一2一501", "|3幢|2|5|501"),
        ("3/2/501", "|3幢|2|5|501"),
        ("3.2.501", "|3幢|2|5|501"),
        ("3 2 501", "|3幢|2|5|501"),
        ("3#2-501", "|3幢|2|5|501"),
        ("3#2#501", "|3幢|2|5|501"),
        ("3幢-2-501", "|3幢|2|5|501"),
        ("3幢2单元501", "|3幢|2|5|501"),
        ("3栋二单元0501", "|3幢|2|5|501"),
        ("3栋2门501号", "|3幢|2|5|501"),
        ("第三幢第二单元501室", "|3幢|2|5|501"),
        ("三幢二单元五零一", "|3幢|2|5|501"),
        ("3号楼二单元五楼东户", "|3幢|2|5||东"),
        ("3栋501", "|3幢||5|501"),
        ("3号501", "|3号||5|501"),
        ("5号楼1单元1204", "|5幢|1|12|1204"),
        ("A座12层1204", "|A幢||12|1204"),
        ("甲幢乙单元101", "|甲幢|乙|1|101"),
        ("3-2-501-1", "|3幢|2|5|501-1"),
        ("3幢底商", "|3幢|||||底商"),
        ("3幢12号商铺", "|3幢|||||12号商铺"),
        ("12号商铺", "||||||12号商铺"),
        ("3幢-1层", "|3幢||-1"),
        ("3幢负一楼车库", "|3幢||-1|||车库"),
        ("3幢2单元 5口人", "|3幢|2"),
        ("澜溪苑", "澜溪苑"),
        ("澜溪苑三期3-501", "澜溪苑三期|3幢||5|501"),
        ("澜溪苑 3 幢 2 单元 501", "澜溪苑|3幢|2|5|501"),
        ("澜溪苑2单元501", "澜溪苑||2|5|501"),
        ("澜北路2号澜溪苑3幢", "澜北路2号澜溪苑|3幢"),
        ("澜北路2号3-2-501", "澜北路2号|3幢|2|5|501"),
        ("石埠老街18号201室", "石埠老街|18号||2|201"),
        ("100弄3号501室", "100弄|3号||5|501"),
        ("八一小区3栋", "八一小区|3幢"),
        ("五一新村3幢", "五一新村|3幢"),
        ("望汀第三中学教学楼", "望汀第三中学教学楼"),
        ("云汀街道澜溪社区澜溪苑3幢2单元501室", "云汀街道澜溪社区澜溪苑|3幢|2|5|501"),
        ("河旁新村3幢", "河旁新村|3幢"),
    ],
)  # fmt: skip
def test_addresses_are_read(text: str, wanted: str) -> None:
    assert said(parsed(text)) == wanted


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("2-501", ["||2|5|501"]),
        ("3-2", ["|3幢|||2"]),
        ("5楼501", ["|||5|501"]),
        ("石埠老街18号3楼301", ["石埠老街|18号||3|301"]),
        ("石埠老街18-2号", ["石埠老街|18幢|2", "石埠老街|18幢|||2"]),
        ("3-2-501", []),
        ("3幢501", []),
    ],
)
def test_other_readings_are_told(text: str, others: list[str]) -> None:
    assert [said(other) for other in parsed(text).others] == others


@pytest.mark.parametrize(
    "text",
    ["3-2-501张三家", "3幢2单元501 张三 13800001111", "姓名:张三 地址:3-2-501 电话:13812345678", "3-2-501(张三)", "3-2-501室户主张三", "3栋2-501,张三"],
)
def test_who_lives_there_is_not_kept(text: str) -> None:
    read = parsed(text)
    assert said(read) == "|3幢|2|5|501" and read.text == "3幢2单元501室"
    assert "张" not in repr(read) and "138" not in repr(read)


@pytest.mark.parametrize(
    ("text", "attribute"), [("澜溪苑3幢附近", "near"), ("望海路枫林花园对面", "near"), ("3-2-501、502", "several"), ("1-2-3-501", "unread")]
)
def test_what_is_not_one_place_is_told(text: str, attribute: str) -> None:
    assert getattr(parsed(text), attribute)


@given(st.text(alphabet="0123456789一二十A—-~、,,幢栋号楼座单元层室户至和::#( )澜溪苑路负东附近张\n", max_size=60))
def test_nothing_breaks_the_reader(text: str) -> None:
    read = parsed(text)
    assert parsed(read.text) is not None and len(read.text) < 80
    assert all(part is None or part.isalnum() or "-" in part for part in (read.number, read.unit, read.room))


DWELLINGS = """
    SELECT d.id, d.name AS room, u.name AS unit, b.name AS house, b.id AS building, c.id AS compound, c.name AS compound_name, b.address
    FROM dwellings AS d JOIN units AS u ON u.id = d.unit JOIN buildings AS b ON b.id = d.building JOIN compounds AS c ON c.id = b.compound
    ORDER BY d.code
"""
# c compound, n house, u stairwell, r room, f floor, a street and number; N and U in Chinese. Those without a compound are read beside a
# column of compounds, or one compound chosen for all.
SPELLINGS = (
    "{c}{n}幢{u}单元{r}室", "{c}{n}-{u}-{r}", "{c} {n} 幢 {u} 单元 {r}", "云汀街道澜溪社区{c}{n}栋{u}单元{r}室", "澜溪社区{c}{n}号楼{u}门{r}号",
    "{n}-{u}-{r}", "{n}—{u}—{r}", "{n}#{u}-{r}", "{n}幢{u}-{r}", "{n}/{u}/{r}", "{n} {u} {r}", "{n}一{u}一{r}", "第{n}幢第{u}单元{r}",
    "{c}{N}幢{U}单元{r}", "{c}({a}){n}幢{u}单元{r}室", "{a}{c}{n}座{u}梯{r}", "{n}栋{u}单元{f}楼{r}室", "{n}-{u}-{r}张三家", "{c}{n}-{u}-0{r}",
    "住址:{c}{n}幢{u}单元{r} 电话:13800001111", "{n}号{u}单元{r}", "{c}小区{n}幢{u}单元{r}", "望汀区云汀街道{c}{n}#楼{u}单元{r}",
)  # fmt: skip
FULL = str.maketrans("0123456789-#", "0123456789-#")
SOUNDS = {"澜": "兰", "溪": "西", "苑": "院", "花": "华", "村": "邨", "园": "圆", "月": "悦", "庭": "亭", "里": "理", "府": "俯", "北": "被", "新": "心", "东": "冬"}


def han(number: str) -> str:
    tens, ones = divmod(int(number), 10)
    digits = "零一二三四五六七八九"
    return ("" if tens == 0 else "十" if tens == 1 else f"{digits[tens]}十") + (digits[ones] if ones or not tens else "")


@dataclass(frozen=True)
class Asked:
    """An address as somebody might write it, and what is true of it."""

    text: str
    hint: Hint
    row: sa.Row[tuple[object, ...]]
    sort: str


def invented(rows: Sequence[sa.Row[tuple[object, ...]]], count: int, seed: int) -> Iterator[Asked]:
    """Addresses of dwellings that there are, in every spelling; one in ten names a house, one a stairwell or room that there is not, and
    one has a slip in the name of its compound."""
    rng = random.Random(seed)
    numbers = {(row.compound, parsed(row.house).number) for row in rows}
    rooms = {(row.building, row.unit, row.room) for row in rows}
    for at in range(count):
        row, spelling = rng.choice(rows), SPELLINGS[at % len(SPELLINGS)]
        told = {"c": row.compound_name, "n": parsed(row.house).number, "u": parsed(row.unit).unit, "r": row.room, "a": row.address}
        sort = rng.choice(("house", "room", "slip", *["right"] * 7))
        if sort == "house":
            told["n"] = str(rng.randint(1, 99))
            sort = "right" if (row.compound, told["n"]) in numbers else sort
            if sort == "right":
                told["n"] = parsed(row.house).number
        elif sort == "room":
            told |= {"u": str(rng.randint(1, 9)), "r": f"{rng.randint(1, 30)}0{rng.randint(1, 9)}"}
            if (row.building, f"{told['u']}单元", told["r"]) in rooms:
                sort, told["u"] = "room", "99"
        elif sort == "slip":
            if "{c}" not in spelling:
                spelling = "{c}{n}-{u}-{r}"
            slips = [told["c"].replace(one, SOUNDS[one], 1) for one in told["c"] if one in SOUNDS]
            slips += [told["c"][:2] + "小" + told["c"][2:], told["c"][0] + told["c"][2:]]
            told["c"] = rng.choice(slips)
        text = spelling.format(**told, N=han(told["n"]), U=han(told["u"]), f=told["r"][:-2])
        if rng.random() < 0.2:
            text = text.translate(FULL)
        hint = Hint() if "{c}" in spelling else rng.choice((Hint(compound=row.compound), Hint(where=row.compound_name)))
        yield Asked(text, hint, row, sort)


def right(asked: Asked, found: Found) -> bool:
    """Whether the answer is as good as can be."""
    if asked.sort == "right":
        return found.dwelling == asked.row.id and found.building == asked.row.building and found.precision == "dwelling"
    if asked.sort == "house":
        return found.building is None and found.precision is None and found.missing == "building"
    if asked.sort == "room":
        return found.dwelling is None and found.building in (None, asked.row.building)
    first = found.candidates[0].dwelling if found.candidates else None
    return found.dwelling == asked.row.id or (found.precision is None and first == asked.row.id)


def test_five_thousand_addresses(town: sa.Connection) -> None:
    rows = town.execute(sa.text(DWELLINGS)).all()
    asked = [*invented(rows, 5_000, 20260801)]
    found = Matcher.ready(town).matched([one.text for one in asked], [one.hint for one in asked])
    wrong = [(one.sort, one.text, told.title, told.said()) for one, told in zip(asked, found, strict=True) if not right(one, told)]
    # A wrong house is worse than none: not one, neither for what there is nor for what there is not.
    assert [
        (one.text, told.title) for one, told in zip(asked, found, strict=True)
        if (told.building or told.dwelling) and (told.building != one.row.building or one.sort == "house")
    ] == []
    assert [one for one in wrong if one[0] != "slip"] == []
    assert len(wrong) / len(asked) <= 0.02
    assert {one.sort for one in asked} == {"right", "house", "room", "slip"} and len(SPELLINGS) >= 12


def test_no_slip_beside_the_numbers_leads_to_another_house(town: sa.Connection) -> None:
    rng = random.Random(7)
    asked = [one for one in invented(town.execute(sa.text(DWELLINGS)).all(), 6_000, 11) if one.sort == "right"]
    texts = []
    for one in asked:
        at = rng.choice([found.start() for found in re.finditer(r"[^\d零一二三四五六七八九十]|(?<=\d)一", one.text)])
        between = one.text[at - 1 : at].isdigit() and one.text[at + 1 : at + 2].isdigit()
        # Without what parts them two numbers are another number.
        put = rng.choice([*"澜溪柳枫新村苑园花东小区街道幢单元号-/ ,(张王", "-" if between else ""])
        texts.append(one.text[:at] + put + one.text[at + (rng.random() < 0.7) :])
    found = Matcher.ready(town).matched(texts, [one.hint for one in asked])
    assert [
        (text, told.title, told.said()) for one, text, told in zip(asked, texts, found, strict=True) if told.building not in (None, one.row.building)
    ] == []
    assert sum(told.building is not None for told in found) > len(found) / 3
