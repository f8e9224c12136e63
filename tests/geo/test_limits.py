"""Tables of limits as cities have them, dirt and all: what is read is read right, and the rest is told with its reason."""

from pathlib import Path

import pytest
import sqlalchemy as sa
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from geo import limits
from geo.errors import Invalid, NotFound
from geo.limits import Bare, Span, spans

WORK = Bare("work_hour", "work_day")
NATURAL = Bare("urgent_hour", "natural_day")
MATTERS = {"06": "市容环境类", "06010": "暴露垃圾", "06012": "道路不洁", "09006": "占道经营", "09012": "占用消防通道"}


@pytest.mark.parametrize(("text", "span"), [
    ("2紧急工作时", Span("urgent_hour", 2)), ("1天", Span("work_day", 1)), ("5天", Span("work_day", 5)), ("4小时", Span("work_hour", 4)),
    ("2紧急工作日", Span("natural_day", 2)), ("1紧急工作时制止", Span("urgent_hour", 1, after="制止")), ("7个工作日", Span("work_day", 7)),
    ("24小时内", Span("work_hour", 24)), ("不超过3天", Span("work_day", 3)), ("三个工作日", Span("work_day", 3)), ("十五天", Span("work_day", 15)),
    ("半小时", Span("work_hour", 0.5)), ("30分钟", Span("urgent_minute", 30)), ("1.5自然日", Span("natural_day", 1.5)), ("12 工作时", Span("work_hour", 12)),
    ("爆管引起的:5天", Span("work_day", 5, "爆管引起的")), ("一天半", None), ("3天(自然日)", Span("natural_day", 3)), ("2小时(工作时间)", None), ("工作日3天", None), ("两小时", Span("work_hour", 2)),
    ("2紧急工作时,恢复", Span("urgent_hour", 2, after="恢复")), ("1个半小时", Span("work_hour", 1.5)), ("二十四小时", Span("work_hour", 24)),
])
def test_a_limit_as_people_write_it(text, span):
    if span is None:
        # Half a day more, or a day of another kind: read wrong it would be a case that is late and nobody knows.
        with pytest.raises(ValueError, match="。"):
            spans(text, WORK)
    else:
        assert spans(text, WORK) == [span]


@pytest.mark.parametrize(("text", "reason"), [
    ("", limits.NO_LIMIT), (" \n", limits.NO_LIMIT), ("立即", limits.NO_NUMBER), ("3", limits.NO_NUMBER), ("1-3天", limits.A_RANGE), ("三至五天", limits.A_RANGE),
    ("2小时,爆管引起的5天", limits.TWO_LIMITS), ("0天", limits.TOO_LONG), ("9999天", limits.TOO_LONG), ("1个月", limits.NO_NUMBER), ("12天3", limits.TWO_LIMITS),
])
def test_what_cannot_be_read_is_not_guessed(text, reason):
    with pytest.raises(ValueError, match=reason[:6]):
        spans(text, WORK)


def test_a_bare_hour_means_what_was_said_and_nothing_otherwise():
    assert spans("4小时", NATURAL) == [Span("urgent_hour", 4)]
    assert spans("2天", NATURAL) == [Span("natural_day", 2)]
    for text, reason in (("4小时", limits.BARE_HOUR), ("2天", limits.BARE_DAY)):
        with pytest.raises(ValueError, match=reason[:8]):
            spans(text, Bare())
    assert spans("4工作时", Bare()) == [Span("work_hour", 4)]


WORDS = {"urgent_hour": "紧急工作时", "natural_day": "自然日", "work_hour": "工作时", "work_day": "工作日", "urgent_minute": "分钟"}


@given(
    kind=st.sampled_from(sorted(WORDS)), amount=st.integers(1, 700), half=st.booleans(), pad=st.sampled_from(["", " ", "\u3000", "个"]),
    wide=st.booleans(), within=st.sampled_from(["", "内", "以内", "之内"]),
)
def test_every_limit_that_is_written_plainly_is_read(kind, amount, half, pad, wide, within):
    number = f"{amount}.5" if half and kind != "natural_day" else str(amount)
    text = number if not wide else number.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789."})
    assert spans(f"\n{text}{pad}{WORDS[kind]}{within}", Bare()) == [Span(kind, float(number))]


@given(st.text(st.sampled_from("0123456789.十百半两二个小时天日工作紧自然分钟内-至;\n,()制止月 "), max_size=14), st.sampled_from([WORK, NATURAL, Bare()]))
def test_whatever_is_written_is_read_soundly_or_not_at_all(text, bare):
    try:
        told = spans(text, bare)
    except ValueError as error:
        assert str(error).endswith("。")
        return
    for span in told:
        assert span.kind in limits.KINDS and 0 < span.amount <= limits.LONGEST[span.kind]
        # No number is lost beside the one that was read.
        assert not any(c.isdigit() for c in (span.before[-1:] + span.after[:1]))


cells = st.fixed_dictionaries({
    "code": st.sampled_from(["", "06010", "9006", "x"]), "title": st.sampled_from(["", "暴露垃圾", "占道经营", "无此事项"]),
    "limit": st.sampled_from(["", "1天", "2紧急工作时", "立即", "1-3天", "1天\n2小时"]), "condition": st.sampled_from(["", "缺失"]),
})


@given(st.lists(cells, max_size=12))
def test_every_row_is_accounted_for(rows):
    taken, rejects = limits.understood(list(enumerate(rows, 1)), WORK, MATTERS)
    said = {number for number, row in enumerate(rows, 1) if any(row.values())}
    assert {limit.row for limit in taken} | {reject.row for reject in rejects} == said
    assert not {limit.row for limit in taken} & {reject.row for reject in rejects}
    for limit in taken:
        assert limit.matter is None or limit.matter in MATTERS


def workbook(path: Path) -> None:
    """A table as an office made it: a title over all, merged cells, a class code that has lost its zero."""
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("部件事件")
        sheet.merge_range(0, 0, 0, 7, "立案、结案和处置时限标准")
        for at, head in enumerate(("大类代码", "大类名称", "小类代码", "小类名称", "立案条件", "结案条件", "处置时限", "责任单位")):
            sheet.write(1, at, head)
        rows = (
            (6, "市容环境类", "010", "暴露垃圾", "有暴露垃圾", "清除", "2小时", "环卫所"),
            (6, "市容环境类", "012", "道路不洁", "小片", "清扫", "2小时", "环卫所"),
            ("", "", "", "", "大片", "清扫", "1天", ""),
            ("", "", "", "", "有油污", "清洗", "", ""),
            ("09", "街面秩序类", "006", "占道经营", "占用人行道", "离开", "1紧急工作时制止", "综合执法队"),
            ("09", "街面秩序类", 12, "占用消防通道(含小区)", "堵塞", "畅通", "视情况", "消防"),
            ("9", "街面秩序类", "12", "占用消防通道", "堵塞", "畅通", "2紧急工作日", "消防"),
            ("01", "公用设施类", "01", "上水井盖", "缺失、移位、开裂", "恢复", "2紧急工作时\n加固的1天", "水务"),
        )
        for at, row in enumerate(rows, 2):
            sheet.write_row(at, 0, row)
        sheet.merge_range(3, 3, 5, 3, "道路不洁")


def test_a_table_of_an_office(tmp_path):
    workbook(tmp_path / "limits.xlsx")
    taken, rejects = limits.read(tmp_path / "limits.xlsx", WORK, MATTERS)
    told = [(limit.matter, limit.code, limit.condition, limit.closing, limit.kind, limit.amount) for limit in taken]
    assert told == [
        ("06010", "06010", "有暴露垃圾", "清除", "work_hour", 2),
        ("06012", "06012", "小片", "清扫", "work_hour", 2),
        ("06012", "06012", "大片", "清扫", "work_day", 1),
        ("09006", "09006", "占用人行道", "离开;制止", "urgent_hour", 1),
        ("09012", "09012", "堵塞", "畅通", "natural_day", 2),
        (None, "0101", "缺失、移位、开裂", "恢复", "urgent_hour", 2),
        (None, "0101", "缺失、移位、开裂;加固的", "恢复", "work_day", 1),
    ]
    assert [(reject.value, reject.reason) for reject in rejects] == [("", limits.NO_LIMIT), ("视情况", limits.NO_NUMBER)]
    # As a person finds them in the sheet.
    assert [reject.row for reject in rejects] == [4, 6]


def test_a_table_that_says_no_limits(tmp_path):
    (tmp_path / "a.csv").write_text("名称,编号\n甲,1\n", "utf-8")
    with pytest.raises(Invalid):
        limits.read(tmp_path / "a.csv", WORK, MATTERS)
    with pytest.raises(Invalid):
        limits.sent(b"x", "a.exe", WORK, MATTERS)


def test_a_later_table_takes_the_place_of_the_one_before(connection):
    ours = limits.matters(connection)
    rows = lambda *told: [(n, dict(zip(("code", "limit", "condition"), row, strict=True))) for n, row in enumerate(told, 1)]  # noqa: E731
    first, _ = limits.understood(rows(("06010", "2小时", ""), ("06012", "1天", "小片"), ("06012", "2天", "大片"), ("无", "3天", "")), WORK, ours)
    assert limits.replace(connection, first, "a.csv") == limits.Taken(4, 0, 1)
    # The same again changes nothing.
    assert limits.replace(connection, first, "b.csv") == limits.Taken(0, 0, 1)
    second, _ = limits.understood(rows(("06012", "1天", "小片"), ("06012", "5天", "大片")), WORK, ours)
    assert limits.replace(connection, second, "c.csv") == limits.Taken(1, 1, 0)
    told = connection.execute(sa.text("SELECT matter, condition, amount, source, valid_to IS NULL AS lives FROM matter_limits ORDER BY source")).all()
    assert [(row.matter, row.condition, row.amount, row.source) for row in told if row.lives] == [
        ("06010", "", 2, "a.csv 1"), ("06012", "小片", 1, "a.csv 2"), (None, "", 3, "a.csv 4"), ("06012", "大片", 5, "c.csv 2"),
    ]
    assert [row.source for row in told if not row.lives] == ["a.csv 3"]


def test_the_limit_of_a_stage(connection):
    assert limits.staged(connection, "filed", "10分钟") == Span("urgent_minute", 10)
    assert connection.scalar(sa.text("SELECT amount FROM stage_limits WHERE state = 'filed' AND NOT urgent")) == 10
    for text in ("立即", "2小时"):
        with pytest.raises(Invalid):
            limits.staged(connection, "filed", text)
    with pytest.raises(NotFound):
        limits.staged(connection, "abroad", "10分钟")
    # Of urgent cases a stage may begin to have a limit of its own.
    limits.staged(connection, "handled", "10分钟", urgent=True)
    told = connection.execute(sa.text("SELECT urgent, clock, amount FROM stage_limits WHERE state = 'handled' ORDER BY urgent")).all()
    assert [tuple(row) for row in told] == [(False, "check", 30), (True, "check", 10)]
