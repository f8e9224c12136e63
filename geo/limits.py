"""How long matters may take, from the tables that cities publish, which are dirty.

Each row is a matter with a condition for filing it, one for closing it, and a limit. What is written as a limit says its kind
of time only now and then: 2紧急工作时 does, 1天 does not. What a bare hour or day means there is for whoever brings the table
to say; without that, and wherever else a row cannot be read for certain, it is rejected with the reason, and nothing is guessed.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import sqlalchemy as sa

from geo import small_tables, statements
from geo.clocks import STAGES, Kind
from geo.errors import Invalid, NotFound
from geo.small_tables import Reject

BareHour = Literal["work_hour", "urgent_hour"]
BareDay = Literal["work_day", "natural_day"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST = 5_000  # rows of a table: the national list has some five hundred matters
LONGEST = {"urgent_minute": 1440, "urgent_hour": 2400, "natural_day": 1096, "work_hour": 2400, "work_day": 750}
FIELDS = {
    "class_code": "大类代码 大类编码 大类编号",
    "code": "小类代码 小类编码 小类编号 事项代码 事项编码 代码 编码 code matter",
    "class_title": "大类名称 大类",
    "title": "小类名称 小类 事项名称 事项 部件名称 事件名称 部件小类 事件小类 名称 title",
    "condition": "立案条件 立案标准 立案规范 立案 问题描述 condition",
    "closing": "结案条件 结案标准 结案规范 结案 closing",
    "limit": "处置时限 时限 处理时限 办理时限 处置时间 结案时限 limit",
    "unit": "处置单位 责任单位 承办单位 权属单位 处理单位 unit",
    "department": "主管部门 牵头部门 牵头单位 责任部门 主管单位 department lead",
}
NAMING = ("class_code", "code", "class_title", "title")
DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
NUMERAL = "〇零一二两三四五六七八九十百半"
# Longest first: 紧急工作时 is not 工作时.
UNITS: tuple[tuple[str, str], ...] = (
    ("紧急工作小时|紧急工作时|紧急小时|紧急时", "urgent_hour"),
    ("紧急工作日|紧急工作天|紧急日|紧急天", "natural_day"),
    ("紧急工作分钟|紧急工作分|紧急分钟|紧急分|分钟|分", "urgent_minute"),
    ("工作小时|工作时", "work_hour"),
    ("工作日|工作天", "work_day"),
    ("自然小时|自然时|日历小时", "urgent_hour"),
    ("自然日|自然天|日历日|日历天", "natural_day"),
    ("小时|时|h", "bare_hour"),
    ("天|日|d", "bare_day"),
)
NUMBER = rf"\d+(?:\.\d+)?|[{NUMERAL}]+"
SPAN = re.compile(rf"(?P<number>{NUMBER})\s*个?\s*(?P<half>半)?\s*(?:{'|'.join(f'(?P<u{n}>{words})' for n, (words, _) in enumerate(UNITS))})", re.I)
RANGE = re.compile(rf"(?:{NUMBER})\s*个?\s*(?:-|~|—|–|至|到)\s*(?:{NUMBER})")
BREAK = re.compile(r"[\n;;]+")
AROUND = re.compile(r"^[\s,,、。.::]+|[\s,,、。.::]+$")
WITHIN = re.compile(r"^(?:不超过|不多于|不得超过|≤|<=|<|限)\s*|\s*(?:之内|以内|内)(?=$|[\s,,、。])")

BESIDE = re.compile(r"\s*\((工作|自然|日历)(?:日|天|时|小时)?\)")
# A word of some kind of time that is not the limit's own.
QUALIFIED = re.compile("紧急|工作[日天时小]|自然|日历")

NO_LIMIT = "没有写时限。"
NO_NUMBER = "时限里没有数和单位。"
TWO_LIMITS = "一格里有不止一个时限,请分成几行,各写立案条件。"
UNCLEAR = "看不出时限是工作时间还是自然时间。"
A_RANGE = "时限是一个范围,请写成一个数。"
BARE_HOUR = "只写了“小时”:请说明这张表的小时是工作时还是自然小时。"
BARE_DAY = "只写了“天”:请说明这张表的天是工作日还是自然日。"
TOO_LONG = "时限为零或太长。"
NO_MATTER = "没有写事项的代码或名称。"


@dataclass(frozen=True)
class Bare:
    """What an hour and a day mean in a table that does not say: stated by whoever brings it, or nothing."""

    hour: BareHour | None = None
    day: BareDay | None = None


@dataclass(frozen=True)
class Span:
    """So much time of a kind; `before` and `after` are the words around it in the cell."""

    kind: Kind
    amount: float
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Limit:
    """One row of a table of limits, as understood. `matter` is the code in our list, if it is there."""

    row: int
    matter: str | None
    code: str
    title: str
    condition: str
    closing: str
    kind: Kind
    amount: float
    unit: str = ""
    department: str = ""


@dataclass(frozen=True)
class Taken:
    """What became of a table: limits that began and those they took the place of; matters that are none of ours."""

    begun: int
    over: int
    unmatched: int


def spans(text: str, bare: Bare) -> list[Span]:
    """The limits in a cell, one to a line. Raises `ValueError` with the reason, a gettext sentence, where one cannot be read."""
    told = unicodedata.normalize("NFKC", text).strip()
    lines = [line for part in BREAK.split(told) if (line := AROUND.sub("", part))]
    if not lines:
        raise ValueError(NO_LIMIT)
    return [_span(line, bare) for line in lines]


def _span(line: str, bare: Bare) -> Span:
    if RANGE.search(line):
        raise ValueError(A_RANGE)
    found = list(SPAN.finditer(line))
    if not found:
        raise ValueError(NO_NUMBER)
    if len(found) > 1:
        raise ValueError(TWO_LIMITS)
    (one,) = found
    unit = next(unit for n, (_, unit) in enumerate(UNITS) if one[f"u{n}"])
    # 3天(工作日): said beside it.
    if unit.startswith("bare") and (said := BESIDE.match(line, one.end())):
        unit = ("work_" if said[1].startswith("工作") else "natural_" if unit == "bare_day" else "urgent_") + unit.removeprefix("bare_")
        line = line[: said.start()] + line[said.end() :]
    amount = _number(one["number"]) + (0.5 if one["half"] else 0)
    kind = _kind(unit, bare)
    if not 0 < amount <= LONGEST[kind]:
        raise ValueError(TOO_LONG)
    before, after = (_bared(AROUND.sub("", WITHIN.sub("", AROUND.sub("", part)))) for part in (line[: one.start()], line[one.end() :]))
    # 12天3, 一天半: a number beside the limit is another limit, a part of it, or a slip.
    if re.search(rf"[\d{NUMERAL}多余]$", before) or re.match(rf"[\d{NUMERAL}多余]", after):
        raise ValueError(TWO_LIMITS)
    if QUALIFIED.search(before + after):
        raise ValueError(UNCLEAR)
    return Span(kind, amount, before, after)


def _bared(text: str) -> str:
    """Words without the brackets around them."""
    return AROUND.sub("", re.sub(r"^\((.*)\)$", r"\1", text).strip("()"))


def _kind(unit: str, bare: Bare) -> Kind:
    if unit == "bare_hour":
        if bare.hour is None:
            raise ValueError(BARE_HOUR)
        return bare.hour
    if unit == "bare_day":
        if bare.day is None:
            raise ValueError(BARE_DAY)
        return bare.day
    return cast(Kind, unit)


def _number(text: str) -> float:
    if text[0].isdigit():
        return float(text)
    if text == "半":
        return 0.5
    if "半" in text:
        raise ValueError(NO_NUMBER)
    total, digit = 0, 0
    for c in text:
        if c in "十百":
            total, digit = total + (digit or 1) * (10 if c == "十" else 100), 0
        else:
            digit = DIGITS[c]
    return total + digit


def read(path: Path, bare: Bare, matters: Mapping[str, str]) -> tuple[list[Limit], list[Reject]]:
    """The limits of a table, and the rows that could not be read; `matters` is our list, code → title.

    Raises `Invalid` where the file cannot be read or has no column of matters or of limits.
    """
    return understood(small_tables.rows(path, _columns, MOST), bare, matters)


def sent(content: bytes, name: str, bare: Bare, matters: Mapping[str, str]) -> tuple[list[Limit], list[Reject]]:
    """The limits of a table that somebody sent."""
    with small_tables.lent(content, name) as path:
        return read(path, bare, matters)


def understood(
    rows: Iterable[tuple[int, Mapping[str, str]]], bare: Bare, matters: Mapping[str, str]
) -> tuple[list[Limit], list[Reject]]:
    """Every row that says anything becomes limits or one reject. A row without a matter is of the matter above it: such cells
    were merged, or left out because they would say the same."""
    limits: list[Limit] = []
    rejects: list[Reject] = []
    above: dict[str, str] = {}
    # A title that two of ours have says neither.
    titles = Counter(map(_alike, matters.values()))
    named = {_alike(title): code for code, title in matters.items() if titles[_alike(title)] == 1}
    for row, cells in rows:
        if not any(cells.values()):
            continue
        same = all(cells.get(field, "") in ("", above.get(field, "")) for field in NAMING)
        if not same:
            # A class goes on until another is named.
            classed = {} if cells.get("class_code") or cells.get("class_title") else {f: above.get(f, "") for f in ("class_code", "class_title")}
            above = {field: cells.get(field, "") for field in NAMING} | classed
        cells = {**cells, **above}
        code, title = _code(cells, matters), cells.get("title", "")
        if not (cells.get("code") or title):
            rejects.append(Reject(row, "", NO_MATTER))
            continue
        try:
            told = spans(cells.get("limit", ""), bare)
        except ValueError as error:
            rejects.append(Reject(row, cells.get("limit", "")[:200], str(error)))
            continue
        matter = code if code in matters else named.get(_alike(title))
        for span in told:
            limits.append(Limit(
                row, matter, code[:40], title[:200], _joined(cells.get("condition", ""), span.before),
                _joined(cells.get("closing", ""), span.after), span.kind, span.amount,
                cells.get("unit", "")[:200], cells.get("department", "")[:200],
            ))
    return limits, rejects


def matters(connection: sa.Connection) -> dict[str, str]:
    """Our list of matters, code → title."""
    return {row.code: row.title for row in statements.run(connection, "matters_listed")}


def replace(connection: sa.Connection, limits: Sequence[Limit], source: str) -> Taken:
    """Have the matters of a table the limits that it gives them and no others, from now on; what is under way keeps the time it
    was given. `source` is the file. Raises `Forbidden` for who does not answer for all that the instance covers."""
    told = statements.run(connection, "matter_limits_set", given=statements.document([vars(one) for one in limits]), source=source[:200]).one()
    return Taken(told.begun, told.over, sum(one.matter is None for one in limits))


def told(connection: sa.Connection, matter: str | None = None) -> list[dict[str, Any]]:
    """The limits in force, or all that a matter ever had."""
    return [dict(row) for row in statements.run(connection, "matter_limits_told", matter=matter).mappings()]


def staged(connection: sa.Connection, state: str, text: str, urgent: bool = False, source: str = "") -> Span:
    """Give a stage another limit: `text` as in a table, with its kind of time. Raises `Invalid`, `NotFound`, `Forbidden`."""
    if state not in {row[0] for row in STAGES}:
        raise NotFound("没有这个环节:{state}。", state=state[:40])
    try:
        (span,) = spans(text, Bare())
    except ValueError as error:
        raise Invalid(str(error), field="limit") from error
    statements.run(connection, "stage_limit_set", state=state, urgent=urgent, kind=span.kind, amount=span.amount, source=source[:200])
    return span


def _columns(titles: Iterable[str]) -> dict[str, str]:
    """The column of each field: by a heading of its own, else by one that begins or ends with it."""
    found: dict[str, str] = {}
    plainly = {title: re.sub(r"[\s((].*", "", unicodedata.normalize("NFKC", title).strip().lower()) or title for title in titles}
    for exactly in (True, False):
        for field, words in FIELDS.items():
            for word in words.split():
                for title, told in plainly.items():
                    fits = told == word if exactly else (len(word) > 2 and (told.endswith(word) or told.startswith(word)))
                    if fits and title not in found.values():
                        found.setdefault(field, title)
    if "limit" not in found or not {"code", "title"} & {*found}:
        raise Invalid("表里要有“处置时限”一列,以及事项的代码或名称。", field="file")
    return found


def _code(cells: Mapping[str, str], matters: Mapping[str, str]) -> str:
    """The code of a row, of the forms in which tables have it the one that is ours: 1 beside 01, 6 and 10 for 06010."""
    small, large = cells.get("code", ""), cells.get("class_code", "")
    padded = large.zfill(2) if large.isdigit() else large
    forms = [small, small.zfill(2) if small.isdigit() else small, small.zfill(5) if small.isdigit() else small]
    if small.isdigit() and padded and len(small) <= 3:
        forms += [padded + small.zfill(3), padded + small.zfill(2)]
    return next((form for form in forms if form in matters), (padded + small.zfill(2)) if small.isdigit() and padded and len(small) <= 2 else small)


def _alike(title: str) -> str:
    return re.sub(r"\s|[((].*?[))]", "", unicodedata.normalize("NFKC", title)).lower()


def _joined(told: str, more: str) -> str:
    return ";".join(part for part in dict.fromkeys((told, more)) if part)[:1000]
