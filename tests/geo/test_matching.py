"""What a file is taken for: its noun, its columns, and what is left out."""

import re
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pypinyin import lazy_pinyin

from geo import matching
from geo.catalog import RESOURCES
from geo.language import translated
from geo.matching import Proposal
from geo.resource import Field, Resource

FIELDS = [(noun, declared) for noun in RESOURCES.values() for declared in noun.writable]
NAMED = pytest.mark.parametrize(("noun", "declared"), FIELDS, ids=[f"{n.name}.{f.name}" for n, f in FIELDS])


def proposed(columns: dict[str, list[object]] | list[str], resource: str | None = None, **more: Any) -> Proposal:
    told = columns if isinstance(columns, dict) else {name: [] for name in columns}
    described = SimpleNamespace(columns=told, position_columns=more.pop("position", []), sample=[])
    return matching.proposed(described, resource, more.pop("remembered", None), **more)


def found(proposal: Proposal) -> dict[str, str]:
    return {name: one.column for name, one in proposal.columns.items()}


@pytest.mark.parametrize("noun", RESOURCES.values(), ids=list(RESOURCES))
@pytest.mark.parametrize("spelled", ["name", "title"])
def test_the_headings_of_its_own_export_are_a_noun_s_fields(noun: Resource, spelled: str) -> None:
    heads = {declared.name: getattr(declared, spelled) for declared in noun.writable}
    proposal = proposed(list(heads.values()), noun.name)
    assert found(proposal) == heads
    assert all(one.sure for one in proposal.columns.values())
    assert (proposal.extras, proposal.dropped, proposal.refused, proposal.missing) == ({}, {}, {}, ())


@NAMED
def test_every_spelling_that_is_declared_finds_its_field(noun: Resource, declared: Field) -> None:
    for spelling in declared.spellings:
        assert found(proposed([spelling], noun.name)) == {declared.name: spelling}


def _written(text: str) -> Iterator[str]:
    """A heading as files have it: cased, spaced, marked, with a unit, numbered, cut to ten bytes, in pinyin."""
    yield from (text, text.upper(), text.lower(), f" {text} ", f"*{text}", f"{text}(㎡)", f"{text}（必填）", f"3.{text}", f"基本情况/{text}", f"{text}:")
    yield "".join(chr(ord(c) + 0xFEE0) if 33 <= ord(c) < 127 else c for c in text)
    yield re.sub("_(.)", lambda found: found[1].upper(), text)
    for encoding in ("utf-8", "gb18030"):
        head = text.encode(encoding)[:10].decode(encoding, "ignore")
        if len(head) > 1:
            yield head
    if re.fullmatch("[一-鿿]{2,}", text):
        syllables = lazy_pinyin(text)
        yield from ("".join(syllables), "_".join(syllables), " ".join(map(str.title, syllables)))
        if len(text) > 2:
            yield "".join(syllable[0] for syllable in syllables).upper()


@cache
def _heads(noun: str) -> dict[str, frozenset[str]]:
    """Every heading by which the noun's fields may come here, and the fields that each may mean."""
    owners: dict[str, set[str]] = {}
    for declared in RESOURCES[noun].writable:
        for spelling in declared.spellings:
            for head in _written(spelling):
                owners.setdefault(head, set()).add(declared.name)
    return {head: frozenset(names) for head, names in owners.items()}


@pytest.mark.parametrize("noun", RESOURCES)
def test_a_heading_finds_its_field_however_it_is_written(noun: str) -> None:
    # What two fields share is told as not sure, and is one of the two.
    for head, names in _heads(noun).items():
        (name, one), *more = proposed([head], noun).columns.items()
        assert (name in names, one.column, more) == (True, head, []), head
        assert len(names) == 1 or not one.sure or head in RESOURCES[noun][name].spellings, head


@given(st.data())
def test_a_sheet_of_any_headings_in_any_order_is_matched(data: st.DataObject) -> None:
    noun = data.draw(st.sampled_from(list(RESOURCES)))
    alone: dict[str, list[str]] = {}
    for head, names in _heads(noun).items():
        if len(names) == 1:
            alone.setdefault(*names, []).append(head)  # type: ignore[misc]
    heads = {name: data.draw(st.sampled_from(sorted(alone[name]))) for name in sorted(alone)}
    columns = data.draw(st.permutations([*heads.values(), "经度", "纬度", "别的什么"]))
    proposal = proposed(columns, noun, position=["经度", "纬度"])
    assert found(proposal) == heads
    assert {*proposal.extras, *proposal.dropped} == {"别的什么"}


def test_what_one_heading_means_depends_on_the_noun() -> None:
    # BM is the other name of a compound, and the code of an area and of a response.
    assert [found(proposed(["BM"], noun)) for noun in ("compounds", "areas", "activations")] == [{"aliases": "BM"}, {"code": "BM"}, {"code": "BM"}]
    assert found(proposed(["单位名称"], "posts")) == {"organisation": "单位名称"}
    assert found(proposed(["单位名称"], "organisations")) == {"name": "单位名称"}
    assert found(proposed(["小区编码"], "compounds")) == {"code": "小区编码"}
    assert found(proposed(["小区编码"], "buildings")) == {"compound": "小区编码"}
    assert found(proposed(["编号", "编码"], "incidents")) == {"number": "编号"}


@pytest.mark.parametrize(
    ("noun", "name", "heading"),
    [
        ("buildings", "name", "楼栋名称"), ("buildings", "name", "loudongmingcheng"), ("buildings", "floors", "地上层数(层)"), ("buildings", "households", "户数/户"),
        ("buildings", "households", "户数（户）"), ("buildings", "compound", "所属小区名称"), ("buildings", "built_year", "builtYear"),
        ("buildings", "built_year", "Year built"), ("dwellings", "area_m2", "面积(㎡)"), ("dwellings", "area_m2", "建筑面积(平方米)"), ("dwellings", "building", "所在楼栋"),
        ("compounds", "owners_committee", "是否有业委会"), ("facilities", "name", "机构名称"), ("facilities", "kind", "设施类型"), ("roads", "name", "道路名称"),
        ("entrances", "compound", "小区名称"), ("incidents", "title", "案件标题"), ("parts", "code", "部件编码"), ("units", "building", "楼栋ID"),
        ("residents", "phone", "手机号码"), ("residents", "building", "楼栋名称"), ("areas", "parent", "所属社区名称"), ("land_parcels", "code", "DKBM"),
    ],
)  # fmt: skip
def test_usual_headings(noun: str, name: str, heading: str) -> None:
    assert found(proposed([heading], noun)) == {name: heading}


def test_of_two_columns_the_better_evidence_wins_and_the_other_is_named() -> None:
    proposal = proposed({"楼栋名称": ["1幢"], "名称": ["一幢"], "楼栋号": ["1"]}, "buildings")
    assert found(proposal) == {"name": "楼栋号"}
    assert {name: str(why) for name, why in proposal.extras.items()} == {
        "楼栋名称": "和“楼栋号”都像“楼栋号”,取了“楼栋号”", "名称": "和“楼栋号”都像“楼栋号”,取了“楼栋号”",
    }  # fmt: skip


def test_values_deny_a_heading() -> None:
    proposal = proposed({"室号": ["501"], "楼栋": ["3"], "面积": ["大", "小", "不详"], "建筑面积": ["85.3㎡", "120㎡", "77"]}, "dwellings")
    assert found(proposal)["area_m2"] == "建筑面积"
    alone = proposed({"室号": ["501"], "楼栋": ["3"], "面积": ["大", "小", "85"]}, "dwellings").columns["area_m2"]
    assert (alone.column, alone.sure, str(alone.because)) == ("面积", False, "列名像“面积”,但样本里只有 33% 的值能识别")


def test_choices_are_found_by_their_values() -> None:
    proposal = proposed({"楼栋号": ["1", "2", "3"], "f7": ["住宅", "商住", "办公楼"], "f8": ["甲", "乙", "丙"]}, "buildings")
    assert found(proposal) == {"name": "楼栋号", "use": "f7"}
    assert (proposal.columns["use"].sure, str(proposal.columns["use"].because)) == (False, "列里的值多是“用途”的可选值")
    assert list(proposal.extras) == ["f8"]


def test_no_field_of_a_person_is_guessed_from_values() -> None:
    values = {"楼栋": ["1", "1"], "f1": ["张伟", "王芳"], "f2": ["13800001234", "13900001234"], "f3": ["云汀路1号", "云汀路2号"]}
    proposal = proposed(values, "residents")
    assert found(proposal) == {"building": "楼栋"}
    assert (set(proposal.dropped), proposal.missing) == ({"f1", "f2", "f3"}, ("name",))
    assert str(proposal.dropped["f2"]) == "像是个人信息(电话),没有收"
    assert str(proposal.dropped["f3"]) == "这里只收声明过的列"


def test_what_the_sender_settled_last_time_goes_first() -> None:
    columns = {"BH": ["990101001001001"], "名称": ["甲"], "编码": ["x"], "SQBH": ["990101001001"]}
    assert found(proposed(columns, "areas")) == {"name": "名称", "code": "编码"}
    proposal = proposed(columns, "areas", remembered={"code": "BH", "parent": "SQBH", "lead_body": "不在文件里", "没有的": "名称"})
    assert found(proposal) == {"code": "BH", "parent": "SQBH", "name": "名称"}
    assert [str(proposal.columns[name].because) for name in ("code", "parent", "name")] == ["上次这样对应", "上次这样对应", "列名就是“名称”"]
    assert str(proposal.extras["编码"]) == "和“BH”都像“编码”,取了“BH”"


def test_what_is_ordered_goes_before_all_and_what_has_a_value_takes_no_column() -> None:
    columns: dict[str, list[object]] = {"甲": ["1"], "乙": ["2"], "名称": ["x"], "层级": ["网格"]}
    proposal = proposed(columns, "areas", remembered={"name": "甲"}, ordered={"name": "乙"}, given=("level",))
    assert found(proposal) == {"name": "乙"}
    assert (str(proposal.columns["name"].because), proposal.missing) == ("按您的指定", ())
    assert set(proposal.extras) == {"甲", "名称", "层级"}
    # What is personal is not made plain by an order.
    ids: list[object] = ["11010519491231002X", "110105194912310029"]
    assert "甲" in proposed({"甲": ids}, "areas", ordered={"code": "甲"}).dropped


def test_the_finest_area_is_the_one_above() -> None:
    grids = {
        "名称": ["甲", "乙", "丙"], "街道": ["云汀街道"] * 3, "社区": ["澜溪社区", "柳汀社区", "石埠头社区"],
    }  # fmt: skip
    assert found(proposed(grids, "areas")) == {"name": "名称", "parent": "社区"}
    assert found(proposed({"社区": ["澜溪社区", "柳汀社区"]}, "areas")) == {"name": "社区"}
    assert found(proposed({"部件名称": ["井盖"] * 3, **{k: grids[k] for k in ("街道", "社区")}}, "parts")) == {"name": "部件名称", "stated_area": "社区"}


@pytest.mark.parametrize(
    ("columns", "called", "noun"),
    [
        ({"LDMC": ["1幢", "2幢"], "LDBM": ["B1", "B2"], "CS": [6, 11], "HS": [24, 44]}, "", "buildings"),
        ({"名称": ["澜溪第一网格", "澜溪第二网格"], "编码": ["990101001001001", "990101001001002"]}, "", "areas"),
        ({"名称": ["澜溪社区", "柳汀社区"], "编码": ["990101001001", "990101001002"]}, "社区.shp", "areas"),
        ({"小区名称": ["澜溪苑", "柳汀花园"], "物业": ["甲公司", "乙公司"]}, "导出.xlsx", "compounds"),
        ({"名称": ["雨水井盖", "污水井盖"], "经度": ["121"], "纬度": ["29"]}, "井盖普查.csv", "parts"),
        ({"姓名": ["张伟", "王芳"], "联系电话": ["13800001234", "13900001234"], "楼栋": ["1幢", "2幢"]}, "", "residents"),
        ({"工单编号": ["1", "2"], "内容": ["漏水", "占道"], "受理时间": ["2026-03-05"], "案卷状态": ["结案"]}, "", "incidents"),
        ({"fid": [1, 2], "h3": ["8a", "8b"]}, "", None),
        ({"a": ["x"], "b": ["y"]}, "测量成果.csv", None),
    ],
)  # fmt: skip
def test_what_a_file_is(columns: dict[str, list[object]], called: str, noun: str | None) -> None:
    proposal = proposed(columns, None, called=called, position=[name for name in columns if name in ("经度", "纬度")])
    assert proposal.resource == noun, proposal.resources[:3]
    scores = [fit.score for fit in proposal.resources]
    assert (len(scores), scores) == (len(RESOURCES), sorted(scores, reverse=True))
    assert all(0 <= score <= 1 for score in scores)
    if noun is None:
        assert (proposal.columns, scores[0] < matching.FITS) == ({}, True)
        assert {str(why) for why in proposal.extras.values()} == {"没有合适的资源,可作为自有图层的一列"}


@pytest.mark.parametrize("shape", ["POINT", "MULTILINESTRING", "MULTIPOLYGON"])
def test_shapes_speak_for_a_noun(shape: str) -> None:
    made = shapely.from_wkt({"POINT": "POINT (0 0)", "MULTILINESTRING": "LINESTRING (0 0, 1 1)", "MULTIPOLYGON": "POLYGON ((0 0, 1 0, 0 1, 0 0))"}[shape])
    described = SimpleNamespace(columns={"名称": ["甲", "乙"]}, position_columns=[], sample=[None, made])
    assert RESOURCES[matching.proposed(described, None).resources[0].name].geometry == shape


def test_a_file_s_name_and_its_codes_say_what_is_in_no_column() -> None:
    columns: dict[str, list[object]] = {"名称": ["甲", "乙"], "编码": ["990101001001001", "990101001001002"]}
    proposal = proposed(columns, "areas", called="望汀区网格.shp")
    assert {name: (one.value, one.sure) for name, one in proposal.values.items()} == {"level": ("grid", True)}
    assert (proposal.missing, proposal.scheme) == ((), matching.Scheme("6-3-3-3", "grid", 1.0))
    doubted = proposed(columns, "areas", called="社区边界.shp").values["level"]
    assert (doubted.value, doubted.sure, str(doubted.because)) == ("grid", False, "编码的位数是“网格”这一级的")
    assert proposed(["名称"], "areas").missing == ("level",)
    assert proposed(["标题"], "incidents", called="12345热线工单.xlsx").values["channel"].value == "public"
    assert proposed(["标题", "来源"], "incidents", called="12345热线工单.xlsx").values == {}


@pytest.mark.parametrize(
    ("codes", "level"),
    [
        (["990101001", "990101002"], "street"), (["990101001001"], "community"), (["990101001001001"], "grid"), (["990101001001001001"], "micro_grid"),
        (["990101"], "district"), (["99010100100101"], "grid"), (["12345678901234567890"], "grid"), (["A1", "B2"], None), ([], None),
    ],
)  # fmt: skip
def test_the_scheme_of_codes(codes: list[object], level: str | None) -> None:
    scheme = matching.scheme_of(codes)
    assert (scheme and scheme.level) == level


# What is left out.


def test_what_is_refused_is_refused_whatever_was_remembered() -> None:
    columns: dict[str, list[object]] = {
        "名称": ["甲", "乙"], "宗教信仰": ["无", "佛教"], "是否涉毒": ["否", "否"], "备注": ["", "社区矫正对象"], "说明": ["门口有台阶"] * 9 + ["三楼有上访户"],
    }  # fmt: skip
    proposal = proposed(columns, "facilities", remembered={"hours": "宗教信仰", "address": "备注"})
    assert {name: str(why) for name, why in proposal.refused.items()} == {
        "宗教信仰": "列名属于不收的一类,整列不收", "是否涉毒": "列名属于不收的一类,整列不收", "备注": "样本里有 1 格写着不收的情况(社区矫正),整列不收",
    }  # fmt: skip
    assert {name: str(why) for name, why in proposal.cells.items()} == {"说明": "样本里有 1 格写着不收的情况(信访),这些格不收"}
    assert found(proposal) == {"name": "名称"}
    assert set(proposal.extras) == {"说明"}


def test_counts_by_area_are_nobody_s() -> None:
    counts: dict[str, list[object]] = {"街道": ["云汀街道", "望潮街道"], "类别": ["无症状感染者", "确诊病例"], "例数": [3, 4]}
    assert (proposed(counts).refused, proposed(counts).cells) == ({}, {})
    for name, values in (("姓名", ["张伟", "王芳"]), ("楼栋", ["1幢", "2幢"]), ("联系电话", ["13800001234", "13900001234"])):
        assert set(proposed({**counts, name: values}).refused) == {"类别"}


def test_a_personal_column_does_not_hide_behind_the_heading_of_a_plain_field() -> None:
    numbers: list[object] = ["11010519491231002X", "110105194912310029"]
    proposal = proposed({"名称": ["甲", "乙"], "编码": numbers}, "facilities")
    assert (found(proposal), {name: str(why) for name, why in proposal.dropped.items()}) == (
        {"name": "名称"}, {"编码": "像是个人信息(身份证号),没有收"},
    )  # fmt: skip
    people: list[object] = ["张伟", "王芳", "李秀英", "刘洋", "陈静"]
    assert "名称" in proposed({"名称": people}, "facilities").dropped
    # A person's own field takes them, and a public number is one.
    assert found(proposed({"姓名": people}, "residents")) == {"name": "姓名"}
    assert found(proposed({"求助电话": ["13800001234"] * 3}, "zones")) == {"help_phone": "求助电话"}


def test_beside_a_refused_cell_a_column_is_still_personal() -> None:
    notes: list[object] = ["请找 13800001234"] * 9 + ["社区矫正对象"]
    proposal = proposed({"名称": ["甲"], "其他说明": notes}, "facilities")
    assert (set(proposal.dropped), proposal.cells) == ({"其他说明"}, {})


@given(
    st.dictionaries(st.text(max_size=12), st.lists(st.text(max_size=12) | st.none() | st.integers() | st.floats(), max_size=6), max_size=8),
    st.sampled_from([None, *RESOURCES]), st.dictionaries(st.sampled_from(["name", "code", "level", "x"]), st.text(max_size=12)), st.text(max_size=12),
)
def test_every_column_is_told_once(
    columns: dict[str, list[object]], noun: str | None, remembered: dict[str, str], called: str
) -> None:
    proposal = proposed(columns, noun, remembered=remembered, called=called)
    told = [*found(proposal).values(), *proposal.extras, *proposal.dropped, *proposal.refused]
    assert sorted(told) == sorted(columns)
    for said in (*proposal.extras.values(), *proposal.dropped.values(), *(fit.because for fit in proposal.resources)):
        assert str(said)
        assert not re.search("[\u4e00-\u9fff]", translated(said.sentence, "en"))


def test_a_column_that_is_all_but_empty_names_nothing_beside_a_full_one() -> None:
    # Communities of a district, as a bureau really sent them.
    told = {
        "name": [*[None] * 39, "某某社区"], "cunshe": [f"{n}号社区" for n in range(40)], "zhenjie": ["双浦镇", "三墩镇"] * 20,
        "areaCode": [*[None] * 39, "330106110008"], "xzqhbm": [f"3301061100{n:02}" for n in range(40)],
    }
    assert found(proposed(told, "areas")) == {"name": "cunshe", "parent": "zhenjie", "code": "xzqhbm"}
    assert found(proposed({"name": [None, None], "xzqhbm": ["330106110008", "330106110009"]}, "areas"))["name"] == "name"
