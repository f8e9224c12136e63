"""What cells say: dates, numbers, choices, codes and telephones as people, spreadsheets and other programs write them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geo.catalog import RESOURCES
from geo.db import TIME_ZONE
from geo.resource import Field
from geo.values import Reader, Understood, alike, numeral, plain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = [(noun.name, declared) for noun in RESOURCES.values() for declared in noun.writable]


def read(noun: str, name: str, values: list[object], **more: object) -> Understood:
    return Reader(RESOURCES[noun][name], noun, now=NOW, **more).read(values)  # type: ignore[arg-type]


def one(noun: str, name: str, value: object, **more: object) -> str | None:
    """What the value is, or its reason in brackets."""
    told = read(noun, name, [value], **more)
    return f"[{told.wrong[0]}]" if told.wrong else told.values[0]


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-05", "2026/3/5", "2026.3.5", "2026-3-5", "20260305", "2026年3月5日", "2026年03月05号", "2026 年 3 月 5 日", "26年3月5日",
        "5-Mar-26", "5 March 2026", "05Mar2026", "Mar 5, 2026", "March 5th 2026", "2026/3/5 星期四", "2026-03-05(周四)", "2026-W10-4",
        "2026-03-04T16:00:00Z", "2026-03-05T00:00", "2026-03-05 00:00:00+08:00", "2026-03-05 00:00:00+0800", "２０２６－０３－０５", "46086", 46086.0,
        "2026-03-04 24:00", "2026-03-05 上午 0:00", "2026/3/5 12:00 AM", "2026年3月5日 凌晨12:00:00", 1772640000, "1772640000000", "20260305000000",
        "20260304T160000Z", datetime(2026, 3, 5), date(2026, 3, 5), " 2026-03-05\t", "2026年3月5日0时0分0秒",
    ],
)  # fmt: skip
def test_a_day_is_a_day_however_it_is_written(text: object) -> None:
    moment = one("zones", "starts_at", text, title="开始时间")
    assert moment is not None and not moment.startswith("["), moment
    assert datetime.fromisoformat(moment) == datetime(2026, 3, 5, tzinfo=ZoneInfo(TIME_ZONE))


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2026-3-5 9:05", "09:05:00"), ("2026/3/5 下午3:05", "15:05:00"), ("2026/3/5 下午 12:05", "12:05:00"), ("2026年3月5日 晚上9点", "21:00:00"),
        ("2026年3月5日15时4分5秒", "15:04:05"), ("2026/3/5 3:05:06 PM", "15:05:06"), ("2026/3/5 中午 12:30", "12:30:00"), ("2026/3/5 中午1点", "13:00:00"),
        ("2026-03-05 10:00:00.25", "10:00:00.250000"), (46086.5, "12:00:00"), ("20260305103045", "10:30:45"), ("5-Mar-2026 3:05 pm", "15:05:00"),
    ],
)  # fmt: skip
def test_the_hour_of_a_day(text: object, clock: str) -> None:
    assert one("zones", "starts_at", text, title="开始时间") == f"2026-03-05T{clock}+08:00"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3/5/2026", "分不清哪个是月、哪个是日,请写成 2026-03-05 的样子"), ("2026-02-30", "不是历法上有的日子"), ("2026-03-05 25:00", "不是历法上有的日子"),
        ("20260230", "不是历法上有的日子"), ("31/2/2026", "不是历法上有的日子"), ("昨天", "不是可识别的时间"), ("2026", "不是可识别的时间"), ("12:30", "不是可识别的时间"),
        ("3/5/26", "不是可识别的时间"), ("0001-01-01", "年份不合理"), ("P", "不是可识别的时间"), ("2026-03-05;DROP", "不是可识别的时间"), ("3-2", "不是可识别的时间"),
    ],
)  # fmt: skip
def test_what_is_no_day_is_told(text: str, reason: str) -> None:
    assert one("zones", "starts_at", text, title="开始时间") == f"[{reason}]"


def test_a_serial_number_is_a_day_only_under_a_heading_of_days() -> None:
    assert one("zones", "starts_at", "46086", title="备注") == "[不是可识别的时间]"
    told = read("zones", "starts_at", ["46086"], title="开始日期")
    assert [str(said) for said in told.because] == ["“开始时间”是表格软件的日期序号,已换成日期:46086"]


def test_a_day_above_twelve_proves_the_order_for_the_whole_column() -> None:
    assert read("zones", "starts_at", ["3/5/2026", "13/5/2026"]).values[0] == "2026-05-03T00:00:00+08:00"
    assert read("zones", "starts_at", ["3/5/2026", "5/13/2026"]).values[0] == "2026-03-05T00:00:00+08:00"
    both = read("zones", "starts_at", ["3/5/2026", "5/13/2026", "14/2/2026"])
    assert (both.values[1:], set(both.wrong)) == (["2026-05-13T00:00:00+08:00", "2026-02-14T00:00:00+08:00"], {0})
    # What one batch has proved holds for the next.
    reader = Reader(RESOURCES["zones"]["starts_at"], "zones")
    assert reader.read(["13/5/2026"]).values == ["2026-05-13T00:00:00+08:00"]
    assert reader.read(["3/5/2026"]).values == ["2026-05-03T00:00:00+08:00"]


def test_a_duration_counts_from_the_load() -> None:
    assert one("incidents", "occurred_at", "-PT75H30M") == (NOW - timedelta(hours=75, minutes=30)).isoformat()
    assert one("incidents", "due_at", "P2D") == (NOW + timedelta(days=2)).isoformat()


@given(st.datetimes(datetime(1800, 1, 2), datetime(2299, 12, 30)).map(lambda moment: moment.replace(microsecond=0)))
def test_every_moment_is_read_back_from_each_way_of_writing_it(moment: datetime) -> None:
    y, m, d, h, n, s = moment.timetuple()[:6]
    half, twelve = ("上午", h % 12) if h < 12 else ("下午", (h - 1) % 12 + 1)
    written = [
        moment.isoformat(), moment.isoformat(" "), f"{y}/{m}/{d} {h}:{n:02}:{s:02}", f"{y}.{m}.{d} {h:02}:{n:02}:{s:02}", f"{y}年{m}月{d}日 {h}时{n}分{s}秒",
        f"{y}-{m}-{d} {half} {twelve}:{n:02}:{s:02}", f"{y}{m:02}{d:02}{h:02}{n:02}{s:02}", f"{d} {moment:%B} {y} {h}:{n}:{s}", f"{moment:%b} {d}, {y} {h}:{n}:{s}",
    ]  # fmt: skip
    told = read("zones", "starts_at", list(written))
    expected = moment.replace(tzinfo=ZoneInfo(TIME_ZONE)).isoformat()
    assert (told.wrong, set(told.values)) == ({}, {expected})


@pytest.mark.parametrize(
    ("noun", "name", "value", "told"),
    [
        ("buildings", "floors", "12", "12"), ("buildings", "floors", 12.0, "12"), ("buildings", "floors", "１２", "12"), ("buildings", "floors", "12层", "12"),
        ("buildings", "floors", "12F", "12"), ("buildings", "floors", "三层", "3"), ("buildings", "floors", "二十", "20"), ("buildings", "floors", "两", "2"),
        ("buildings", "floors", "1,2", "[逗号的位置不对]"), ("buildings", "floors", "12.5", "[须是整数]"), ("buildings", "floors", "12户", "[单位对不上]"),
        ("buildings", "floors", "6+1", "[单位对不上]"), ("buildings", "floors", "-1", "[超出范围]"), ("buildings", "floors", "约12", "[不是数]"),
        ("buildings", "floors", "1_0", "[不是数]"), ("buildings", "floors", "", None), ("buildings", "floors", float("nan"), None),
        ("buildings", "households", "1,024", "1024"), ("buildings", "households", "1，024户", "1024"), ("buildings", "residents", "1.2万人", "12000"),
        ("buildings", "residents", "350 人", "350"), ("dwellings", "floor", "-2", "-2"), ("buildings", "built_year", "1998年", "1998"),
        ("buildings", "built_year", "1998年5月", "1998"), ("buildings", "built_year", "1998-05", "1998"), ("buildings", "built_year", date(1998, 5, 1), "1998"),
        ("buildings", "built_year", "一九九八年", "1998"), ("buildings", "built_year", "98", "[超出范围]"), ("buildings", "built_year", "1998年、2003年", "[单位对不上]"),
        ("dwellings", "area_m2", "85.3㎡", "85.3"), ("dwellings", "area_m2", "85.3 平方米", "85.3"), ("dwellings", "area_m2", "85.3m²", "85.3"),
        ("dwellings", "area_m2", "1,385.25", "1385.25"), ("dwellings", "area_m2", "85,3", "[逗号的位置不对]"), ("dwellings", "area_m2", "3亩", "2000.0"),
        ("dwellings", "area_m2", "85.3户", "[单位对不上]"), ("dwellings", "area_m2", "inf", "[超出范围]"), ("dwellings", "area_m2", "nan", "[超出范围]"),
        ("compounds", "rental_share", "35%", "0.35"), ("compounds", "rental_share", "３５．５％", "0.355"), ("compounds", "rental_share", "35", "[超出范围]"),
        ("buildings", "floors", "35%", "[是百分数,这里要的是数目]"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_written(noun: str, name: str, value: object, told: str | None) -> None:
    assert one(noun, name, value) == told


def test_a_heading_may_name_the_unit() -> None:
    assert one("dwellings", "area_m2", "3", title="面积(亩)") == "2000.0"
    assert one("dwellings", "area_m2", "85", title="面积(㎡)") == "85.0"
    assert read("compounds", "rental_share", ["35", "0.5"], title="出租占比(%)").values == ["0.35", "0.005"]
    # A sheet's own percentages are fractions, whatever their heading.
    assert read("compounds", "rental_share", [0.35, 0.5], title="出租占比(%)").values == ["0.35", "0.5"]


@given(st.integers(0, 9999))
def test_every_count_is_read_back_from_chinese_numerals(number: int) -> None:
    assert numeral(_numerals(number)) == number


def _numerals(number: int) -> str:
    """A number as it is said, the way a school teaches it."""
    digits = "零一二三四五六七八九"
    text, zero = "", False
    for place, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // place % 10
        if digit:
            text += ("零" if zero and text else "") + digits[digit] + name
            zero = False
        else:
            zero = True
    return text or "零"


@pytest.mark.parametrize("text", ["", "十几", "百十百", "一百零", "三三", "一十百", "零十"])
def test_what_is_no_numeral(text: str) -> None:
    assert numeral(text) is None or text == "零十"


@pytest.mark.parametrize(
    ("noun", "name", "value", "told"),
    [
        ("buildings", "use", "住宅", "residential"), ("buildings", "use", "residential", "residential"), ("buildings", "use", "RESIDENTIAL", "residential"),
        ("buildings", "use", " 住 宅 ", "residential"), ("buildings", "use", "住宅类", "residential"), ("buildings", "use", "住宅用房", "residential"),
        ("buildings", "use", "商住楼", "mixed"), ("buildings", "use", "别墅", "[不在可选值之内]"), ("incidents", "state", "已结案", "closed"),
        ("areas", "level", "镇", "street"), ("areas", "level", "社区", "community"), ("activations", "level", "Ⅱ级", "ii"), ("activations", "level", "II级", "ii"),
        ("activations", "level", "2", "ii"), ("residents", "age_band", "60至79岁", "from_60"), ("incidents", "precision", "门址", "building"),
        ("compounds", "owners_committee", "有", "true"), ("compounds", "owners_committee", "√", "true"), ("compounds", "owners_committee", "Ｙ", "true"),
        ("compounds", "owners_committee", False, "false"), ("compounds", "owners_committee", 0.0, "false"), ("compounds", "owners_committee", "×", "false"),
        ("compounds", "owners_committee", "不详", "[不是“是”或“否”]"),
    ],
)  # fmt: skip
def test_choices_by_how_people_spell_them(noun: str, name: str, value: object, told: str) -> None:
    assert one(noun, name, value) == told


MATTERS = {"06010": "06010", "暴露垃圾": "06010", "exposed refuse": "06010", "07003": "07003", "违规户外广告": "07003", "06": "06", "市容环境类": "06"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("06010", "06010"), ("6010", "06010"), (6010, "06010"), (6010.0, "06010"), ("6", "06"), ("暴露垃圾", "06010"), ("暴露 垃圾", "06010"),
        ("06010 暴露垃圾", "06010"), ("暴露垃圾(06010)", "06010"), ("暴露垃圾（06010）", "06010"), ("Exposed Refuse", "06010"), ("市容环境", "06"),
        ("06010 违规户外广告", "[不在可选值之内]"), ("6011", "[不在可选值之内]"), ("60 10", "06010"), ("06-010", "[不在可选值之内]"),
    ],
)  # fmt: skip
def test_codes_with_and_without_their_zeros(value: object, told: str) -> None:
    assert one("incidents", "matter", value, known=MATTERS) == told


def test_what_was_taken_for_granted_is_told_once() -> None:
    told = read("buildings", "use", ["住宅类", "办公的", "住宅"])
    assert [str(said) for said in told.because] == ["“用途”的“住宅类”按“住宅”收"]
    told = read("incidents", "matter", ["6010"], known=MATTERS)
    assert [str(said) for said in told.because] == ["“事项”的编码前面的零补齐了:6010 → 06010"]
    assert read("buildings", "use", ["住宅", "办公"]).because == ()


def test_a_near_miss_is_offered_and_not_taken() -> None:
    told = read("buildings", "use", ["公用服务", "qqqq"])
    assert (told.values, told.suggestions) == ([None, None], {0: "公共服务"})


def test_what_names_a_house_keeps_its_marks() -> None:
    # 3-2 is the second stairwell of house 3, or house 3-2; it is never house 32.
    known: dict[str, str | None] = {"32": "a", "B 1": "b", "澜溪苑1幢": "c", "两个": None}
    told = read("units", "building", ["3-2", "32", "b1", "Ｂ１", "澜溪苑 1幢", "两个", "0032"], known=known)
    assert told.values == [None, "a", "b", "b", "c", None, None]
    assert {at: str(why) for at, why in told.wrong.items()} == {
        0: "对不上任何一个", 5: "对得上不止一个,请用编码", 6: "对不上任何一个",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("13800001234", "13800001234"), ("138-0000-1234", "13800001234"), ("138 0000 1234", "13800001234"), ("+86 138 0000 1234", "13800001234"),
        (13800001234.0, "13800001234"), ("１３８００００１２３４", "13800001234"), ("0574-87650000", "0574-87650000"), ("0574—87650000", "0574-87650000"),
        ("1.38E+10", "[在表格软件里丢了位数,请把这一列设为文本格式后重新填写]"), ("13800001234、13900001234", "13800001234、13900001234"),
    ],
)  # fmt: skip
def test_a_telephone_has_one_spelling(value: object, told: str) -> None:
    assert one("residents", "phone", value) == told


def test_a_code_that_lost_its_digits_is_refused_by_name() -> None:
    assert one("parts", "code", 9.90101019e16) == "[在表格软件里丢了位数,请把这一列设为文本格式后重新填写]"
    assert one("parts", "code", "99010101901000001") == "99010101901000001"
    assert one("parts", "remark", "9.9E+16") == "9.9E+16"


def test_text_is_bounded_and_keeps_its_pattern() -> None:
    assert one("buildings", "address", "云" * 201) == "[超过 200 字]"
    assert one("buildings", "address", "a\0b") == "[含有空字符]"
    assert one("areas", "theme", "Ein Thema") == "[格式不对]"
    assert one("buildings", "address", "'=1+1") == "=1+1"


@pytest.mark.parametrize(("noun", "declared"), FIELDS, ids=[f"{noun}.{f.name}" for noun, f in FIELDS])
def test_what_a_field_s_own_export_writes_is_read_back(noun: str, declared: Field) -> None:
    reader = Reader(declared, noun, known={"甲": "x", "x": "x"} if declared.listed or declared.refers else None, now=NOW)
    for choice in declared.choices:
        assert reader.read([choice.code, choice.title]).values == [choice.code] * 2
    if declared.type is bool:
        assert reader.read(["True", "False", True, False]).values == ["true", "false", "true", "false"]


@given(st.sampled_from(FIELDS), st.lists(st.text(max_size=30) | st.none() | st.integers() | st.floats() | st.dates() | st.booleans() | st.datetimes()))
@example(FIELDS[0], ["\0", "１", "²", "٣", "百", "0x1", "-", "+", ".", "1e400", "9" * 400])
def test_no_value_breaks_the_reading_and_each_is_read_or_told(field: tuple[str, Field], values: list[object]) -> None:
    noun, declared = field
    told = Reader(declared, noun, known={"甲": "x"} if declared.listed or declared.refers else None, now=NOW, title="日期(%)").read(values)
    assert len(told.values) == len(values)
    for at, value in enumerate(values):
        blank = plain(value) is None
        assert (at in told.wrong) == (told.values[at] is None and not blank)


@given(st.text())
def test_folding_folds_once(text: str) -> None:
    assert alike(alike(text)) == alike(text)
