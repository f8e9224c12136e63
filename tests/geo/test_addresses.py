"""Addresses as people write them lead to the house and the dwelling, or to nobody's house."""

import csv
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import addresses, db, intake
from geo.addresses import Address, Found, Hint, Matcher, parsed
from geo.db import Caller
from geo.errors import Forbidden, Invalid, NotFound
from tests import town
from tests.conftest import Within

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
# In the order in which they refer to one another.
INTO = {
    "areas.gpkg/street": "INSERT INTO areas (name, code, path, level, kind, valid_from, geom)"
        " SELECT r->>'街道名称', r->>'街道代码', r->>'街道代码', 'street', 'division', '2020-01-01', shape",
    "areas.gpkg/communities": "INSERT INTO areas (name, code, path, level, valid_from, geom)"
        " SELECT r->>'社区名称', r->>'社区编码', r->>'社区编码', 'community', '2020-01-01', shape",
    "compounds.gpkg": "INSERT INTO compounds (name, code, address, scope, geom)"
        " SELECT r->>'小区名称', r->>'小区编码', r->>'详细地址', left(r->>'小区编码', 12), shape",
    "buildings.zip": "INSERT INTO buildings (name, code, compound, address, floors, scope, geom) SELECT r->>'LDMC', r->>'LDBM',"
        " (SELECT id FROM compounds WHERE code = r->>'XQBM'), r->>'DZ', (r->>'CS')::integer, left(r->>'LDBM', 12), shape",
    "units.csv": "INSERT INTO units (name, code, building, scope) SELECT r->>'单元', r->>'单元编码', b.id, b.scope",
    "dwellings_lanxi.csv": "INSERT INTO dwellings (name, code, building, unit, floor, scope) SELECT r->>'室号', r->>'房屋编码', b.id,"
        " (SELECT id FROM units WHERE code = r->>'单元编码'), (r->>'所在层')::integer, b.scope",
}


@pytest.fixture(scope="module")
def lanxi(address, databases, migrated) -> Iterator[sa.Engine]:
    """The houses, stairwells and dwellings of the sample town, written without what triggers do: that is shown elsewhere."""
    made = db.engine(address.url(database=databases(migrated)))
    with made.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET prefix = '990101001', demo = true"))
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for source, into in INTO.items():
            rows, shapes = sheet(source)
            housed = " JOIN buildings AS b ON b.code = r->>'楼栋编码'" if shapes is None else ""
            connection.execute(
                sa.text(
                    f"{into} FROM (SELECT r, ST_Multi(ST_GeomFromEWKB(g)) AS shape"
                    f" FROM unnest(CAST(:rows AS jsonb[]), CAST(:shapes AS bytea[])) AS t (r, g)) AS told{housed}"
                ),
                {"rows": [json.dumps(row, ensure_ascii=False) for row in rows], "shapes": shapes or [None] * len(rows)},
            )
        connection.execute(sa.text("INSERT INTO area_paths (path, level) SELECT path, level FROM areas"))
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))
    yield made
    made.dispose()


def sheet(source: str) -> tuple[list[dict[str, Any]], list[bytes] | None]:
    """The rows of a sample file, and its shapes."""
    name, _, layer = source.partition("/")
    if name.endswith(".csv"):
        with (SAMPLE / name).open(encoding="utf-8-sig", newline="") as text:
            return list(csv.DictReader(text)), None
    frame = geopandas.read_file(SAMPLE / name, **({"layer": layer} if layer else {}))
    shapes = shapely.to_wkb(shapely.set_srid(frame.to_crs(4490).geometry.values, 4326), include_srid=True)
    return json.loads(frame.drop(columns="geometry").to_json(orient="records", force_ascii=False)), [bytes(shape) for shape in shapes]


@pytest.fixture
def houses(lanxi) -> Iterator[sa.Connection]:
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
        ("\uff13\uff0d\uff12\uff0d\uff15\uff10\uff11", "|3幢|2|5|501"),
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
FULL = {ord(c): ord(c) + 0xFEE0 for c in "0123456789-#"}
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


def test_five_thousand_addresses(houses: sa.Connection) -> None:
    rows = houses.execute(sa.text(DWELLINGS)).all()
    asked = [*invented(rows, 5_000, 20260801)]
    found = Matcher.ready(houses).matched([one.text for one in asked], [one.hint for one in asked])
    wrong = [(one.sort, one.text, told.title, told.said()) for one, told in zip(asked, found, strict=True) if not right(one, told)]
    # A wrong house is worse than none: not one, neither for what there is nor for what there is not.
    assert [
        (one.text, told.title) for one, told in zip(asked, found, strict=True)
        if (told.building or told.dwelling) and (told.building != one.row.building or one.sort == "house")
    ] == []
    assert [one for one in wrong if one[0] != "slip"] == []
    assert len(wrong) / len(asked) <= 0.02
    assert {one.sort for one in asked} == {"right", "house", "room", "slip"} and len(SPELLINGS) >= 12


def test_no_slip_beside_the_numbers_leads_to_another_house(houses: sa.Connection) -> None:
    rng = random.Random(7)
    asked = [one for one in invented(houses.execute(sa.text(DWELLINGS)).all(), 6_000, 11) if one.sort == "right"]
    texts = []
    for one in asked:
        at = rng.choice([found.start() for found in re.finditer(r"[^\d零一二三四五六七八九十]|(?<=\d)一", one.text)])
        between = one.text[at - 1 : at].isdigit() and one.text[at + 1 : at + 2].isdigit()
        # Without what parts them two numbers are another number.
        put = rng.choice([*"澜溪柳枫新村苑园花东小区街道幢单元号-/ ,(张王", "-" if between else ""])
        texts.append(one.text[:at] + put + one.text[at + (rng.random() < 0.7) :])
    found = Matcher.ready(houses).matched(texts, [one.hint for one in asked])
    assert [
        (text, told.title, told.said()) for one, text, told in zip(asked, texts, found, strict=True) if told.building not in (None, one.row.building)
    ] == []
    assert sum(told.building is not None for told in found) > len(found) / 3


C1, C2 = "990101001001", "990101001002"
YES, BUILDING, COMPOUND = "dwelling", "building", "compound"


@pytest.mark.parametrize(
    ("text", "precision", "missing", "title", "first"),
    [
        ("澜溪苑3幢2单元201", YES, None, "澜溪苑3幢2单元201室", None),
        ("澜溪苑3号", BUILDING, None, "澜溪苑3幢", None),
        ("澜溪苑3幢底商", BUILDING, None, "澜溪苑3幢", None),
        ("澜溪苑3幢301", BUILDING, None, "澜溪苑3幢", "澜溪苑3幢1单元301室"),
        ("澜溪苑3-301", BUILDING, None, "澜溪苑3幢", "澜溪苑3幢1单元301室"),
        ("澜溪苑3楼301", BUILDING, None, "澜溪苑3幢", "澜溪苑3幢1单元301室"),
        ("澜溪苑3-2-201、202", BUILDING, None, "澜溪苑3幢2单元", None),
        ("澜溪苑3幢9单元101", BUILDING, "unit", "澜溪苑3幢", None),
        ("澜溪苑3幢1单元309", BUILDING, "dwelling", "澜溪苑3幢1单元", None),
        ("澜溪苑", COMPOUND, None, "澜溪苑", None),
        ("澜溪苑12号商铺", COMPOUND, None, "澜溪苑", None),
        ("澜溪苑2单元201", COMPOUND, "building", "澜溪苑", None),
        ("澜北路2号3幢2单元201", YES, None, "澜溪苑3幢2单元201室", None),
        ("澜北路2号", COMPOUND, None, "澜溪苑", "澜溪苑车棚"),
        ("望海路100号澜溪苑", COMPOUND, None, "澜溪苑", None),
        ("张三,澜溪苑3幢", BUILDING, None, "澜溪苑3幢", None),
        ("澜北3幢", BUILDING, None, "澜北花园3幢", None),
        ("石埠老街18号", BUILDING, None, "石埠老街18号", None),
        ("石埠街30号", BUILDING, None, "石埠老街18号", None),
        ("砚桥中心A座1204", BUILDING, None, "砚桥中心A座", None),
        ("砚桥中心1号楼", BUILDING, None, "砚桥中心1号楼", None),
        ("云汀工业园3号厂房", BUILDING, None, "云汀工业园3号厂房", None),
        ("云汀街道枫汀社区望汀第三中学教学楼", BUILDING, None, "望汀第三中学教学楼", None),
        ("溪月花苑车棚", BUILDING, None, "溪月花苑车棚", None),
        # Not matched, and what it may be.
        ("澜溪院3幢2单元201", None, "compound", "", "澜溪苑3幢2单元201室"),
        ("澜溪3-2-201", None, "compound", "", "澜溪新村3幢2单元201室"),
        ("东澜溪苑3幢", None, "compound", "", "澜溪苑3幢"),
        ("澜溪苑三期3幢", None, "compound", "", "澜溪苑3幢"),
        ("澜溪苑北区,3幢", None, "compound", "", "澜溪苑3幢"),
        ("澜北花园,某某苑3幢", None, "compound", "", "澜北花园3幢"),
        ("澜溪苑33幢101", None, "building", "", "澜溪苑3幢"),
        ("澜溪苑3幢1单元901", None, "dwelling", "", "澜溪苑3幢1单元"),
        ("柳汀社区澜溪苑3幢", None, None, "", "澜溪苑3幢"),
        ("某某社区澜溪苑3幢", None, "compound", "", "澜溪苑3幢"),
        ("盐仓弄5号", None, None, "", "盐仓弄5号(盐仓弄5号)"),
        ("石埠老街18-2号", None, "building", "", "石埠老街18号"),
        ("澜溪苑3幢附近", None, None, "", "澜溪苑3幢"),
        ("望海路枫林花园附近", None, None, "", "枫林花园"),
        ("1-2-3-501", None, "compound", "", None),
        ("501", None, "compound", "", None),
        ("", None, "compound", "", None),
    ],
)  # fmt: skip
def test_an_address_leads_to_one_place_or_to_candidates(
    lanxi: sa.Engine, text: str, precision: str | None, missing: str | None, title: str, first: str | None
) -> None:
    with lanxi.connect() as connection:
        found = Matcher.ready(connection).one(text)
        # For one text alone the answer is the same.
        alone = addresses.searched(connection, text)
    for told in (found, alone):
        assert (told.precision, told.missing, told.title) == (precision, missing, title), told.said()
        assert first in [one.title for one in told.candidates][:2] if first else told.candidates == ()
        assert "{" not in told.said() and all(str(one.because) for one in told.candidates)


def test_what_a_file_says_besides_tells_which_compound(houses: sa.Connection) -> None:
    matcher = Matcher.ready(houses)
    ids = {row.title: row.id for row in houses.execute(sa.text("SELECT id, name AS title FROM compounds"))}
    house = houses.scalar(sa.text("SELECT id FROM buildings WHERE compound = :c AND name = '3幢'"), {"c": ids["澜溪苑"]})
    assert matcher.one("3-2-201").missing == "compound"
    for hint in (Hint(compound=ids["澜溪苑"]), Hint(where="澜溪苑"), Hint(where="澜溪社区澜溪苑")):
        assert matcher.one("3-2-201", hint).title == "澜溪苑3幢2单元201室"
    # 2-201 is house 2, or stairwell 2 of the house that the row is about: both are there, and nobody guesses.
    told = matcher.one("2-201", Hint(compound=ids["澜溪苑"], building=house))
    assert told.precision is None and {one.title for one in told.candidates} >= {"澜溪苑2幢", "澜溪苑3幢2单元201室"}
    assert matcher.one("2单元201", Hint(building=house)).title == "澜溪苑3幢2单元201室"
    # A compound in the address that is not the chosen one.
    told = matcher.one("澜溪新村3幢", Hint(compound=ids["澜溪苑"]))
    assert (told.precision, told.candidates[0].title) == (None, "澜溪新村3幢")
    assert matcher.one("3幢", Hint(where="澜溪院")).precision is None
    # Which compound a whole file speaks of.
    texts = [f"{n}-1-101" for n in range(1, 16)]
    assert [title for _, title, share in matcher.suggested(texts) if share == 1][:1] != []
    assert matcher.suggested(texts)[-1][2] < 1


def test_only_the_areas_asked_for(houses: sa.Connection) -> None:
    assert Matcher.ready(houses, within=C1).one("澜溪苑3幢").precision == "building"
    assert Matcher.ready(houses, within=[C2]).one("澜溪苑3幢").precision is None
    assert Matcher.ready(houses, within=[C2, C1]).one("澜溪苑3幢").precision == "building"
    assert Matcher.ready(houses, within="").one("澜溪苑3幢").precision == "building"


def test_points_are_inside(houses: sa.Connection) -> None:
    found = Matcher.ready(houses).matched(["澜溪苑3幢", "澜溪苑", "某某苑3幢"])
    points = addresses.points(houses, found)
    assert points.keys() == {found[0].building, found[0].compound}
    inside = "SELECT ST_Covers(geom, ST_SetSRID(ST_Point(:lon, :lat), 4326)) FROM buildings WHERE id = :id"
    lon, lat = points[found[0].building]
    assert houses.scalar(sa.text(inside), {"lon": lon, "lat": lat, "id": found[0].building})
    assert addresses.areas(houses, found[:1]) == {C1: "澜溪社区"}


@contextmanager
def seen(connection: sa.Connection, who: Caller) -> Iterator[sa.Connection]:
    """A request of theirs."""
    with db.transaction(Within(connection, "jingwei_web"), who) as asked:  # type: ignore[arg-type]
        yield asked


@pytest.mark.parametrize(
    ("role", "area", "precision", "elsewhere"),
    [
        ("grid_worker", C1, "dwelling", None), ("community_leader", C1, "dwelling", None), ("steward", C1, "dwelling", None),
        ("resident", None, "building", "building"), ("system_admin", None, "building", "building"),
    ],
)  # fmt: skip
def test_nobody_finds_what_they_may_not_see(
    houses: sa.Connection, role: str, area: str | None, precision: str, elsewhere: str | None
) -> None:
    who = town.caller(houses, role, role, *([area] if area else []))
    with seen(houses, who) as connection:
        matcher = Matcher.ready(connection)
        mine = matcher.one("云汀街道澜溪社区澜溪苑3幢2单元201")
        assert mine.precision == precision and (mine.unit is None) == (precision == "building")
        other = matcher.one("云汀街道柳汀社区柳西花园3幢")
        assert other.precision == elsewhere and (other.building is None) == (elsewhere is None)
        assert all(one.building is None or one.scope.startswith(area or "") for one in (*mine.candidates, *other.candidates))


def test_what_was_said_once_is_known_next_time(houses: sa.Connection) -> None:
    ids = {row.name: row.id for row in houses.execute(sa.text("SELECT id, name FROM compounds"))}
    worker = town.caller(houses, "keeper", "grid_worker", C1)
    with seen(houses, worker) as connection:
        matcher = Matcher.ready(connection)
        assert matcher.one("老宿舍3幢2单元201").precision is None
        kept, words = addresses.aliased(matcher, "云汀街道澜溪社区老宿舍3幢2单元201 张三", "compound", ids["澜溪苑"], "花名册.xlsx")
        assert words == "老宿舍"
        # The same said again is the same.
        assert addresses.aliased(matcher, "老宿舍", "compound", ids["澜溪苑"])[0] == kept
        found = Matcher.ready(connection).one("老宿舍5幢1单元101")
        assert (found.title, found.because[0].sentence) == ("澜溪苑5幢1单元101室", addresses.HOW["kept"])
        # A house and a dwelling of it that go by another number.
        matcher = Matcher.ready(connection)
        right = matcher.one("澜溪苑3幢2单元201")
        addresses.aliased(matcher, "澜溪苑甲幢", "building", right.building)
        addresses.aliased(matcher, "三角地9-9-909", "dwelling", right.dwelling)
        matcher = Matcher.ready(connection)
        assert matcher.one("澜溪苑甲幢2单元201").dwelling == right.dwelling
        assert matcher.one("三角地9-9-909").dwelling == right.dwelling and matcher.one("三角地9-9-908").precision is None
        # In a file of one compound the compound need not be written.
        addresses.aliased(matcher, "丙幢", "building", right.building, hint=Hint(compound=ids["澜溪苑"]))
        assert Matcher.ready(connection).one("丙幢2-201", Hint(compound=ids["澜溪苑"])).dwelling == right.dwelling
        assert Matcher.ready(connection).one("丙幢2-201", Hint(compound=ids["澜溪新村"])).precision is None
        # Said otherwise, it means the other.
        again, _ = addresses.aliased(matcher, "老宿舍", "compound", ids["澜溪新村"])
        assert again != kept and Matcher.ready(connection).one("老宿舍5幢").title == "澜溪新村5幢"
        assert {row.text for row in addresses.aliases(connection)} == {"老宿舍", "澜溪苑甲幢", "三角地9幢9单元909室", "澜溪苑丙幢"}
    for role, area in (("grid_worker", C2), ("resident", None), ("steward", C1)):
        with seen(houses, town.caller(houses, f"other_{role}", role, *([area] if area else []))) as connection:
            assert addresses.aliases(connection) == [] and Matcher.ready(connection).one("三角地9-9-909").precision is None
    # What a place is called goes with the place.
    houses.execute(sa.text("UPDATE buildings SET retired_at = now() WHERE id = :id"), {"id": right.building})
    with seen(houses, worker) as connection:
        assert {row.text for row in addresses.aliases(connection)} == {"老宿舍"}
        addresses.unaliased(connection, again)
        assert addresses.aliases(connection) == []
    with pytest.raises(NotFound), seen(houses, worker) as connection:
        addresses.unaliased(connection, again)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("张三3-2-201", Invalid), ("李四家", Invalid), ("3-2-201", Invalid), ("澜溪苑", Invalid), ("", Invalid), ("长" * 70 + "3幢", Invalid),
    ],
)  # fmt: skip
def test_no_persons_and_no_other_places_name(houses: sa.Connection, text: str, refused: type[Exception]) -> None:
    other = houses.scalar(sa.text("SELECT id FROM compounds WHERE name = '澜溪新村'"))
    with pytest.raises(refused):
        addresses.aliased(Matcher.ready(houses), text, "compound", other)


def test_only_who_answers_for_a_place_says_what_it_is_called(houses: sa.Connection) -> None:
    target = houses.scalar(sa.text("SELECT id FROM compounds WHERE name = '澜溪苑'"))
    for role, area, refused in (("grid_worker", C2, NotFound), ("resident", None, Forbidden), ("steward", C1, Forbidden)):
        with (
            pytest.raises(refused),
            seen(houses, town.caller(houses, f"no_{role}", role, *([area] if area else []))) as connection,
        ):
            addresses.aliased(Matcher.ready(connection), "老宿舍", "compound", target)


@pytest.fixture
def load(lanxi: sa.Engine, address, key, tmp_path: Path) -> Iterator[Callable[..., intake.Report]]:
    """Loads a table as text, as any file is."""
    loader = db.engine(address.url("jingwei_loader", database=lanxi.url.database), pool=1)

    def run(into: str, text: str, **more: Any) -> intake.Report:
        path = tmp_path / f"{into}.csv"
        path.write_text(text, "utf-8")
        return intake.load(loader, intake.Order(path, into, **more), key, tmp_path / "cache")

    yield run
    loader.dispose()


def told(engine: sa.Engine, query: str) -> list[sa.Row[tuple[object, ...]]]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query)).all())


def test_a_file_with_addresses_alone_is_placed(lanxi: sa.Engine, load: Callable[..., intake.Report]) -> None:
    report = load(
        "facilities",
        "名称,编码,类别,地址\n菜店,Z1,shop,澜溪苑3幢底商\n驿站,Z2,shop,云汀街道澜溪社区澜溪苑\n诊所,Z3,shop,澜溪苑3幢2单元201\n"
        "不明,Z4,shop,澜溪苑99幢\n无址,Z5,shop,\n",
    )
    assert (report.read, report.stored, report.unstored) == (5, 3, 2)
    assert report.addressed == {"building": 1, "compound": 1, "dwelling": 1, "": 1}
    query = (
        "SELECT f.code, f.precision, f.scope, ST_Covers(CASE f.precision WHEN 'compound' THEN c.geom ELSE b.geom END, f.geom) AS inside"
        " FROM facilities AS f, compounds AS c, buildings AS b WHERE f.code LIKE 'Z%' AND c.name = '澜溪苑' AND b.compound = c.id AND b.name = '3幢'"
        " ORDER BY f.code"
    )
    assert told(lanxi, query) == [("Z1", "building", C1, True), ("Z2", "compound", C1, True), ("Z3", "dwelling", C1, True)]
    kept = told(lanxi, "SELECT p.row, p.field, p.reason, p.value, p.suggestion FROM load_problems AS p JOIN batches AS b ON b.id = p.batch WHERE b.noun = 'facilities' ORDER BY 1")
    assert [(row.row, row.field, row.value) for row in kept] == [(4, "geometry", "澜溪苑99幢"), (5, "geometry", "")]
    assert kept[0].reason == "{title}查不到{house}。" and "澜溪苑9幢" in kept[0].suggestion
    # What is there already stays where it is: the file says no better where.
    with lanxi.begin() as connection:
        connection.execute(sa.text("UPDATE facilities SET geom = ST_Translate(geom, 0.0001, 0), precision = 'exact' WHERE code = 'Z1'"))
    moved = told(lanxi, "SELECT ST_AsText(geom), precision FROM facilities WHERE code = 'Z1'")
    load("facilities", "名称,编码,类别,地址\n菜店,Z1,shop,澜溪苑5幢\n")
    assert told(lanxi, "SELECT ST_AsText(geom), precision FROM facilities WHERE code = 'Z1'") == moved
    load("incidents", "案卷号,标题,来源,地址\nZ9,灯不亮,群众举报,澜溪苑5幢\nZ10,灯不亮,群众举报,某处\n")
    # A ticket without a place is a ticket all the same.
    query = "SELECT number, precision, geom IS NULL AS nowhere, placing_reason FROM incidents WHERE number LIKE 'Z%' ORDER BY number"
    assert [tuple(row)[:3] for row in told(lanxi, query)] == [("Z10", "exact", True), ("Z9", "building", False)]


def test_households_by_their_address(lanxi: sa.Engine, load: Callable[..., intake.Report]) -> None:
    report = load(
        "households",
        "户号,户编码,小区,住址,户人数\nH1,ZH1,澜溪苑,3-2-201张三家,2\nH2,ZH2,澜溪苑,3幢1单元309,3\nH3,ZH3,,澜北花园2幢1单元101,1\nH4,ZH4,澜溪苑,99-1-101李四,1\n",
    )
    assert (report.stored, report.unstored) == (3, 1)
    query = (
        "SELECT h.code, c.name || b.name AS house, d.name AS room, h.scope = b.scope AS held FROM households AS h JOIN buildings AS b ON b.id = h.building"
        " JOIN compounds AS c ON c.id = b.compound LEFT JOIN dwellings AS d ON d.id = h.dwelling WHERE h.code LIKE 'ZH%' ORDER BY 1"
    )
    assert told(lanxi, query) == [("ZH1", "澜溪苑3幢", "201", True), ("ZH2", "澜溪苑3幢", None, True), ("ZH3", "澜北花园2幢", "101", True)]
    # The column is read and not kept, neither of what is stored nor of what is not.
    assert told(lanxi, "SELECT 1 FROM households WHERE extras::text LIKE '%张%'") == []
    kept = told(lanxi, f"SELECT * FROM load_problems WHERE batch = '{report.batch}'")
    assert [(row.field, row.value) for row in kept] == [("building", "")] and "李四" not in str(kept)


def test_an_address_under_the_heading_of_a_code(lanxi: sa.Engine, load: Callable[..., intake.Report]) -> None:
    report = load(
        "households",
        "户号,户编码,小区,楼栋,单元,房屋\n"
        "R1,ZR1,澜溪苑,3-2-201,,\n"  # all of it under the first
        "R2,ZR2,,,,澜溪苑3幢2单元201室\n"  # and under the last, which tells the house
        "R3,ZR3,澜溪苑,3幢,2,201\n"  # in parts
        "R4,ZR4,澜北花园,3,,\n"  # a name that other compounds have too
        "R5,ZR5,澜溪苑,3幢,1单元,309\n"  # no such dwelling, where others are registered
        "R6,ZR6,,3幢,,\n"  # in which compound?
        "R7,ZR7,澜溪苑,3幢,,澜溪苑5幢1单元101\n"  # two houses
        "R8,ZR8,,乱写,,\n"
        "R9,ZR9,,,,\n",
    )
    assert (report.read, report.stored, report.unstored) == (9, 4, 5)
    query = (
        "SELECT h.code, c.name || b.name AS house, u.name AS stairs, d.name AS room FROM households AS h JOIN buildings AS b ON b.id = h.building"
        " JOIN compounds AS c ON c.id = b.compound LEFT JOIN dwellings AS d ON d.id = h.dwelling LEFT JOIN units AS u ON u.id = d.unit"
        " WHERE h.code LIKE 'ZR%' ORDER BY 1"
    )
    assert told(lanxi, query) == [
        ("ZR1", "澜溪苑3幢", "2单元", "201"), ("ZR2", "澜溪苑3幢", "2单元", "201"), ("ZR3", "澜溪苑3幢", "2单元", "201"), ("ZR4", "澜北花园3幢", None, None),
    ]
    kept = told(lanxi, f"SELECT row, field, reason, value, suggestion FROM load_problems WHERE batch = '{report.batch}' ORDER BY row")
    assert [(row.row, row.field, row.reason) for row in kept] == [
        (5, "dwelling", "这栋楼没有登记这一室,只到楼栋。"), (6, "building", "没有写小区。"), (7, "dwelling", "这里写的是{title},与楼栋一列不是同一栋。"),
        (8, "building", "不是已有的编码,也读不出地址"), (9, "building", "缺少{title}"),
    ]  # fmt: skip
    assert "3幢、" in kept[1].suggestion and kept[2].suggestion == "澜溪苑5幢1单元101室"
    # Of people no words are kept.
    assert {row.value for row in kept} == {""} and report.addressed == {"dwelling": 3, "building": 2, "": 3}
    assert "按地址查找:" in str(report)


def test_a_house_by_its_code_and_a_room_in_words(lanxi: sa.Engine, load: Callable[..., intake.Report]) -> None:
    query = "SELECT b.code, d.code AS room FROM buildings AS b JOIN compounds AS c ON c.id = b.compound AND c.name = '澜溪苑' JOIN dwellings AS d ON d.building = b.id"
    house, room = told(lanxi, f"{query} JOIN units AS u ON u.id = d.unit WHERE b.name = '3幢' AND u.name = '2单元' AND d.name = '201'")[0]
    report = load(
        "households", f"户号,户编码,楼栋编码,单元,房屋\nK1,ZK1,{house},2单元,201\nK2,ZK2,,,{room}\nK3,ZK3,{house},,2-201\nK4,ZK4,{house},,两室一厅\nK5,ZK5,{house},,201\n",
    )
    query = "SELECT h.code, b.code AS house, d.code AS room FROM households AS h JOIN buildings AS b ON b.id = h.building LEFT JOIN dwellings AS d ON d.id = h.dwelling"
    # 201 there is in several stairwells, and what is no room at all stays unread.
    assert told(lanxi, f"{query} WHERE h.code LIKE 'ZK%' ORDER BY 1") == [
        ("ZK1", house, room), ("ZK2", house, room), ("ZK3", house, room), ("ZK4", house, None),
    ]  # fmt: skip
    (kept,) = told(lanxi, f"SELECT row, field, suggestion FROM load_problems WHERE batch = '{report.batch}'")
    assert kept[:2] == (5, "dwelling") and "澜溪苑3幢2单元201室" in kept.suggestion and report.unread == {"房屋": 1}
    # Sent again without a word of where: it stays where it is.
    again = load("households", "户号,户编码,户人数,楼栋\nK1,ZK1,4,\n")
    assert (again.changed, again.unstored) == (1, 0) and told(lanxi, f"{query} WHERE h.code = 'ZK1' AND h.size = 4") == [("ZK1", house, room)]
    # In another house it has no longer the dwelling of the one before.
    other = told(lanxi, "SELECT b.code FROM buildings AS b JOIN compounds AS c ON c.id = b.compound AND c.name = '澜溪苑' WHERE b.name = '5幢'")[0][0]
    load("households", f"户号,户编码,楼栋\nK1,ZK1,澜溪苑5幢\nK3,ZK3,{house}\n")
    assert told(lanxi, f"{query} WHERE h.code IN ('ZK1', 'ZK3') ORDER BY 1") == [("ZK1", other, None), ("ZK3", house, room)]


def test_residents_stairwells_and_compounds_in_words(lanxi: sa.Engine, load: Callable[..., intake.Report]) -> None:
    report = load("residents", "姓名,登记号,楼栋\n某甲,ZP1,澜溪苑3幢2单元201室\n某乙,ZP2,澜溪苑99幢\n")
    assert (report.stored, report.unstored) == (1, 1)
    query = "SELECT b.name FROM residents AS r JOIN buildings AS b ON b.id = r.building WHERE r.code = 'ZP1'"
    assert told(lanxi, query) == [("3幢",)]
    assert told(lanxi, f"SELECT field, value, record FROM load_problems WHERE batch = '{report.batch}'") == [("building", "", {"登记号": "ZP2"})]
    report = load("units", "单元,单元编码,楼栋\n9单元,ZU9,澜溪苑5幢\n8单元,ZU8,某某苑3幢\n")
    assert (report.stored, report.unstored) == (1, 1)
    assert told(lanxi, f"SELECT field, value, reason FROM load_problems WHERE batch = '{report.batch}'") == [("building", "某某苑3幢", "写的小区或街路名对不上任何一个。")]
    report = load("posts", "岗位,责任区域,单元,责任人\n楼道长,990101001001,澜溪苑3幢2单元,某丙\n楼道长,990101001001,澜溪苑3幢,某丁\n", columns={"unit": "单元"})
    assert (report.stored, report.unstored) == (1, 1)
    assert told(lanxi, f"SELECT field, reason FROM load_problems WHERE batch = '{report.batch}'") == [("unit", "只写到{title},再往里没有写。")]
    query = "SELECT x.name, c.name FROM entrances AS x LEFT JOIN compounds AS c ON c.id = x.compound WHERE x.code LIKE 'ZE%' ORDER BY x.code"
    report = load("entrances", "名称,编码,小区,经度,纬度\n东门,ZE1,云汀街道澜溪社区澜溪苑,120.5,30.5\n西门,ZE2,澜溪院,120.5,30.5\n")
    assert told(lanxi, query) == [("东门", "澜溪苑"), ("西门", None)] and report.unread == {"小区": 1}
