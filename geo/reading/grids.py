"""Tables made by hand: where the heading is, which rows are sums, what a spreadsheet has made of numbers of houses and people."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from geo.reading.source import Refused, Source

LOOKED = 50  # rows in which a heading is looked for
# The first cell of a row of sums. A place may be called so too, but then more follows.
TOTAL = re.compile(r"\s*(?:本页|本表|累计)?\s*(?:合\s*计|总\s*计|小\s*计|共\s*计)(?:\s*[:\uff1a(\uff08].{0,16}|\s*[\d.]{0,9}\s*[户人栋幢条个]?\s*)?")
# Titles of columns that hold numbers of houses, which a spreadsheet takes for days of the year.
HOUSED = re.compile("房|室|号楼|楼号|楼栋|楼幢|栋|幢|单元|门牌|户号|地址|住址|house|room|unit|building|address|dwelling", re.I)
DATED = re.compile("日期|时间|日$|年月|生日|出生|date|time|birth|建成|竣工", re.I)
HOUSE = re.compile(r"\d{1,4}(?:[-\u2014\uff0d]\d{1,4}){1,3}")
MONTHS = {name: number for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
# How a spreadsheet shows a day when it saves text: 3月2日, 2-Mar, Mar-32.
SHOWN = re.compile(r"(?P<m>\d{1,2})月(?P<d>\d{1,2})日|(?P<d2>\d{1,2})-(?P<m2>[A-Za-z]{3})|(?P<m3>[A-Za-z]{3})-(?P<y>\d{2})")
LOST = re.compile(r"[1-9](?:\.\d+)?[Ee]\+(?:1[5-9]|2\d)")
VALUE = re.compile(r"-?\d+(?:\.\d+)?|\d{1,4}(?:[-\u2014\uff0d]\d{1,4}){1,3}|1\d{10}|\d{17}[\dXx]")
YEAR = re.compile(r"(?:19|20)\d\d年?")

Rows = Sequence[Sequence[object]]
Merge = tuple[int, int, int, int]  # first row, first column, last row, last column


class Heading(NamedTuple):
    """The rows `first` to `last` (from 0; `last` is -1 where there is none) and the titles they make, a title a column."""

    first: int
    last: int
    titles: list[str]

    @property
    def value(self) -> str:
        """As `opened` takes it: counted from 1."""
        if self.last < 0:
            return "0"
        return f"{self.first + 1}" if self.first == self.last else f"{self.first + 1}-{self.last + 1}"


def full(cell: object) -> bool:
    """Whether there is anything in a cell."""
    return bool(str(cell).strip()) if cell is not None else False


def heading(rows: Rows, merges: Sequence[Merge] = (), wanted: str | None = None) -> Heading:
    """The heading of a table that begins with `rows`: as `wanted` says ("2", "2-3", "0"), else the first row that is about as
    full as rows get and holds words only, with the row under it where that finishes it."""
    if wanted is not None:
        if not (said := re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", wanted)) or int(said[2] or said[1]) > len(rows):
            raise Refused("表头要写成行号,如 2 或 2-3。", option="--header")
        first, last = int(said[1]) - 1, int(said[2] or said[1]) - 1
        if last < 0:
            return Heading(0, -1, [""] * len(rows[0]))
    else:
        first = last = _fullest(rows)
        if first == 0 and _bare(rows):
            return Heading(0, -1, [""] * len(rows[0]))
        if first and _finished(rows[first - 1], rows[first], first - 1, merges):
            first -= 1
        elif first + 1 < len(rows) and _finished(rows[first], rows[first + 1], first, merges):
            last = first + 1
    if last > first:
        return Heading(first, last, _joined(rows[first : last + 1], [m for m in merges if m[0] == first]))
    return Heading(first, last, [_text(cell) for cell in rows[first]] if rows else [])


def named(titles: Sequence[str], source: Source) -> list[str]:
    """Titles that all differ, nameless columns by their number; tells which had to be told apart."""
    out: list[str] = []
    twice: list[str] = []
    for number, title in enumerate(titles, 1):
        name, again = title or f"列{number}", 2
        while name in out:
            name, again = f"{title}_{again}", again + 1
        if title and name != title:
            twice.append(name)
        out.append(name)
    if twice:
        source.tell("names", "、".join(twice), "有几列同名,后面的改叫:{columns}", {"columns": twice})
    return out


def headed(found: Heading, source: Source) -> None:
    """Tell which rows were the heading."""
    facts = {"row": found.value, "titles": [title for title in found.titles if title][:20]}
    if found.last < 0:
        source.tell("header", "0", "没有表头,各列按次序编号", facts, option="header")
    elif found.last > found.first:
        source.tell("header", found.value, "表头占第 {row} 行,上下两格合成了一个列名", facts, option="header")
    elif found.first:
        source.tell("header", found.value, "表头在第 {row} 行,上面的标题行没有收", facts, option="header")
    else:
        source.tell("header", found.value, "表头在第 {row} 行", facts, option="header", doubtful=False)


def total(row: Sequence[object]) -> bool:
    """Whether a row holds sums of others."""
    first = next((str(cell).strip() for cell in row if full(cell)), "")
    return bool(TOTAL.fullmatch(first))


def totalled(count: int, source: Source) -> None:
    """Tell how many rows of sums were left out."""
    if count:
        source.tell("totals", count, "{count} 行合计、小计没有收", {"count": count})


class Column:
    """What the cells of one column look like, by the first few thousand of them."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.days: list[tuple[str, str]] = []  # as the spreadsheet has it, as a number of a house
        self.houses = 0
        self.lost: str | None = None

    def look(self, cell: object) -> None:
        """Take one more cell into account."""
        if isinstance(cell, str):
            text = cell.strip()
            if HOUSE.fullmatch(text):
                self.houses += 1
            elif LOST.fullmatch(text):
                self.lost = self.lost or text
            elif restored := housed(text):
                self.days.append((text, restored))
        elif isinstance(cell, float) and abs(cell) >= 1e15 and cell.is_integer():
            # A spreadsheet keeps fifteen digits; an ID number has eighteen.
            self.lost = self.lost or f"{cell:.6G}"
        elif isinstance(cell, date):
            self.days.append((cell.isoformat()[:10], str(housed(cell))))

    @property
    def mistaken(self) -> bool:
        """Whether its days are numbers of houses."""
        return bool(self.days) and not DATED.search(self.title) and (bool(HOUSED.search(self.title)) or self.houses > 0)


def housed(cell: object) -> str | None:
    """The number of a house that a spreadsheet made a day of: 3-2 is the second of March of the year of typing, 3-32 the
    first of March 1932, because the month has no 32nd day."""
    if isinstance(cell, datetime | date):
        old = cell.day == 1 and (1930 <= cell.year <= 1999 or (cell.year, cell.month) == (2029, 2))
        return f"{cell.month}-{cell.year % 100}" if old else f"{cell.month}-{cell.day}"
    if not isinstance(cell, str) or not (said := SHOWN.fullmatch(cell.strip())):
        return None
    month = said["m"] or MONTHS.get((said["m2"] or said["m3"]).lower())
    return f"{month}-{said['d'] or said['d2'] or said['y']}" if month else None


def profiled(titles: Mapping[int, str], rows: Iterator[Sequence[object]]) -> dict[int, Column]:
    """Each column's looks, by its number."""
    columns = {number: Column(title) for number, title in titles.items()}
    for row in rows:
        for number, column in columns.items():
            if number < len(row):
                column.look(row[number])
    return columns


def amended(columns: Mapping[int, Column], source: Source, dates: str | None, numbers: str | None) -> tuple[set[int], set[int]]:
    """Which columns get their numbers of houses back, and which are left out because their numbers lost digits.

    Refuses lost digits by name unless somebody said that the column may go.
    """
    lost = {number: column for number, column in columns.items() if column.lost}
    if lost and numbers != "drop":
        raise Refused(
            "{columns} 列的号码超过 15 位,被 Excel 改成了科学计数(如 {shown}),末尾几位已经丢失。请把这一列设为“文本”格式,重新填写后再传。",
            columns=[column.title for column in lost.values()], shown=next(iter(lost.values())).lost, option="--numbers", choices=["drop"],
        )
    for column in lost.values():
        facts: dict[str, object] = {"column": column.title, "shown": column.lost}
        source.tell("numbers", "drop", "{column} 列的号码丢了末尾几位(如 {shown}),整列没有收", facts, ("drop",), "numbers")
    back = {number for number, column in columns.items() if column.mistaken}
    for number in sorted(back):
        column = columns[number]
        seen, restored = column.days[0]
        facts = {
            "column": column.title, "count": len(column.days), "seen": seen, "restored": restored,
            "examples": [list(pair) for pair in column.days[:5]],
        }
        if dates == "keep":
            source.tell("dates", "keep", "{column} 列的 {count} 格按您说的当作日期", facts, ("restore", "keep"), "dates", doubtful=False)
        else:
            sentence = "{column} 列有 {count} 个门牌被 Excel 改成了日期(如 {seen}),已还原成 {restored}"
            source.tell("dates", "restore", sentence, facts, ("restore", "keep"), "dates")
    return (set() if dates == "keep" else back), set(lost)


def _fullest(rows: Rows) -> int:
    widths = [sum(map(full, row)) for row in rows[:LOOKED]]
    widest = max(widths, default=0)
    for at, row in enumerate(rows[:20]):
        told = [cell for cell in row if full(cell)]
        if told and len(told) * 10 >= widest * 6 and all(isinstance(cell, str) for cell in told):
            return at
    return 0


def _bare(rows: Rows) -> bool:
    """Whether the first row is data: values like those under it, where titles are words."""
    def valued(row: Sequence[object]) -> bool:
        told = [str(cell).strip() for cell in row if full(cell)]
        return bool(told) and sum(bool(VALUE.fullmatch(t)) and not YEAR.fullmatch(t) for t in told) * 2 >= len(told)

    return len(rows) > 1 and valued(rows[0]) and valued(rows[1])


def _finished(above: Sequence[object], below: Sequence[object], at: int, merges: Sequence[Merge]) -> bool:
    """Whether the row below a heading belongs to it: words that stand under titles reaching over several columns, and nothing
    under those that reach down."""
    told = [number for number, cell in enumerate(below) if full(cell)]
    # One title above all is the table's.
    if not told or sum(map(full, above)) < 2 or not all(isinstance(below[number], str) for number in told):
        return False
    if any(VALUE.fullmatch(str(below[number]).strip()) for number in told):
        return False
    wide = [m for m in merges if m[0] == at and m[2] == at and m[3] > m[1]]
    if wide:
        return all(any(m[1] <= number <= m[3] for m in wide) for number in told)
    blank = {number for number in range(1, len(below)) if number >= len(above) or not full(above[number])}
    # Without merged cells told: the row below fills what is blank above and, beside it, what stands to the left of the blank.
    left = {number - 1 for number in blank if number - 1 not in blank}
    return bool(blank) and blank <= {*told} and {*told} <= blank | left and len(told) < len([*filter(full, above)]) + len(blank)


def _joined(rows: Rows, merges: Sequence[Merge]) -> list[str]:
    width = max(map(len, rows))
    above = [_text(cell) for cell in rows[0]] + [""] * (width - len(rows[0]))
    below = [_text(cell) for cell in rows[-1]] + [""] * (width - len(rows[-1]))
    over = list(above)
    for at in range(1, width):
        # A title reaches to the right over what is blank beside it, as far as there is something below.
        if not over[at] and below[at]:
            over[at] = over[at - 1]
    for _, first, _, last in merges:
        for at in range(first, min(last + 1, width)):
            over[at] = above[first]
    told = [name for name in below if name]
    # By themselves where that is enough, because readers of titles know 经度, not 位置经度.
    return [
        (name if told.count(name) == 1 and name not in above else over[at] + name) if name else over[at]
        for at, name in enumerate(below)
    ]


def _text(cell: object) -> str:
    """A title without the blanks that stretch it (姓 名) and without line breaks."""
    said = re.sub(r"\s+", " ", str(cell)).strip() if cell is not None else ""
    return re.sub(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])", "", said)
