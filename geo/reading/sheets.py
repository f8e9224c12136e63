"""Workbooks (XLSX, XLS, XLSB, ODS, ET), as offices fill them in."""

import itertools
import re
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from geo.files import ROW, Layer
from geo.reading import grids
from geo.reading.archives import promised
from geo.reading.source import EMPTY, ROWS, Refused, Source
from geo.reading.values import plain

PROFILED = 2_000_000  # cells: up to here all are looked at beforehand
# Sheets beside a table that explain how to fill it in.
BESIDE = re.compile("说明|须知|填表|示例|样例|字典|代码表|选项|readme|notes?$|instructions?|lists?$", re.I)
SHEET = "工作表"


@dataclass
class Sheet:
    """One sheet with its heading; rows are counted from its first that holds anything."""

    name: str
    sheet: Any
    merges: list[grids.Merge]
    heading: grids.Heading

    def rows(self) -> Iterator[list[object]]:
        """The rows below the heading, what was merged filled down."""
        start = self.heading.last + 1
        down = deque(sorted(m for m in self.merges if m[2] > m[0] and m[2] >= start))
        active: list[tuple[int, int, object]] = []
        for at, row in enumerate(self.sheet.iter_rows()):
            while down and down[0][0] <= at:
                first, column, last, _ = down.popleft()
                if first == at and column < len(row):
                    active.append((last, column, row[column]))
            if active:
                active = [one for one in active if one[0] >= at]
                for _, column, value in active:
                    if not grids.full(row[column]):
                        row[column] = value
            if at >= start:
                yield row


def workbook(path: Path, order: Mapping[str, Any]) -> Source:
    """The sheet that was asked for, the only one with a table in it, or all that have the same heading as one."""
    if zipfile.is_zipfile(path):
        promised(path).close()
    layers, sheets = _sheets(path, order)
    titles = {tuple(filter(None, one.heading.titles)) for one in sheets}
    if len(sheets) > 1 and len(titles) > 1:
        names = [one.name for one in sheets]
        raise Refused(
            "有多个工作表,请用 --layer 指明一个:{choices}", option="--layer", choices=names, counts=[one.sheet.height for one in sheets]
        )
    source = _table(sheets, order)
    source.layers = layers
    names = [one.name for one in sheets]
    if len(sheets) > 1:
        facts = {"count": len(sheets), "sheets": names[:20]}
        source.tell("layer", "、".join(names[:20]), "{count} 个工作表的表头相同,合在一起读,表名记在“工作表”一列", facts, tuple(names), "layer")
    elif len(layers) > 1:
        source.tell("layer", names[0], "读的是工作表 {sheet}", {"sheet": names[0]}, tuple(one.name for one in layers), "layer")
    return source


def _sheets(path: Path, order: Mapping[str, Any]) -> tuple[list[Layer], list[Sheet]]:
    from python_calamine import CalamineWorkbook, SheetVisibleEnum

    wanted = order.get("layer")
    try:
        # By content, not by name: what WPS calls .et is one or the other.
        book = CalamineWorkbook.from_filelike(path.open("rb"))
        shown = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible or one.name == wanted]
        if wanted is not None and wanted not in shown:
            raise Refused("没有这个工作表。", option="--layer", choices=shown)
        read = [(name, book.get_sheet_by_name(name)) for name in shown]
        filled = [(name, sheet) for name, sheet in read if any(any(map(grids.full, row)) for row in sheet.iter_rows())]
    except Refused:
        raise
    except Exception as error:
        raise Refused("表格读不出来,可能已损坏或有密码。", reason=str(error)[:200]) from error
    if not filled:
        raise Refused(EMPTY)
    layers = [Layer(name, sheet.height) for name, sheet in filled]
    told = [one for one in filled if not BESIDE.search(one[0])] or filled
    return layers, [_headed(name, sheet, order.get("header")) for name, sheet in told if wanted in (None, name)] or [
        _headed(name, sheet, order.get("header")) for name, sheet in filled if name == wanted
    ]


def _headed(name: str, sheet: Any, wanted: str | None) -> Sheet:
    top, left = sheet.start or (0, 0)
    merges = [(a - top, b - left, c - top, d - left) for (a, b), (c, d) in sheet.merged_cell_ranges or ()]
    # What a person counts from the top of the sheet begins below the rows that hold nothing.
    if wanted and (said := re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", wanted)) and said[1] != "0":
        wanted = "-".join(str(max(1, int(number) - top)) for number in said.groups() if number)
    rows = list(itertools.islice(sheet.iter_rows(), grids.LOOKED))
    return Sheet(name, sheet, merges, grids.heading(rows, merges, wanted))


def _table(sheets: list[Sheet], order: Mapping[str, Any]) -> Source:
    first = sheets[0]
    source = Source(iter(()), None)
    titles = grids.named(first.heading.titles, source)
    columns = {number: title for number, title in enumerate(titles) if first.heading.titles[number] or _used(first, number)}
    if not columns:
        raise Refused("找不到表头。")
    top = (first.sheet.start or (0, 0))[0]
    moved = grids.Heading(first.heading.first + top, first.heading.last + top if first.heading.last >= 0 else -1, first.heading.titles)
    grids.headed(moved, source)
    cells = sum(one.sheet.height for one in sheets) * max(1, len(columns))
    seen = itertools.chain.from_iterable(one.rows() for one in sheets)
    body = [0, 0]

    def looked() -> Iterator[list[object]]:
        for row in itertools.islice(seen, None if cells <= PROFILED else ROWS):
            body[0] += any(map(grids.full, row))
            if grids.total(row):
                body[1] += 1
            else:
                yield row

    houses, lost = grids.amended(grids.profiled(columns, looked()), source, order.get("dates"), order.get("numbers"))
    grids.totalled(body[1], source)
    kept = {title: number for number, title in columns.items() if number not in lost}
    source.count = body[0] - body[1] if cells <= PROFILED else None
    source.parts = _rows(sheets, kept, houses)
    source.names = {title: title for title in kept}
    if len(sheets) > 1:
        name = _sheet_name([*kept])
        source.names[name] = name
    return source


def _used(sheet: Sheet, number: int) -> bool:
    return any(number < len(row) and grids.full(row[number]) for row in itertools.islice(sheet.rows(), grids.LOOKED))


def _rows(sheets: list[Sheet], columns: Mapping[str, int], houses: set[int]) -> Iterator[pa.RecordBatch]:
    """The rows below the headings with their numbers, without blank lines and sums; sheets follow each other."""
    before = 0
    names = [*columns]
    for one in sheets:
        body = ((number, row) for number, row in enumerate(one.rows(), before + 1) if any(map(grids.full, row)) and not grids.total(row))
        while part := list(itertools.islice(body, ROWS)):
            arrays = [_column([row[at] for _, row in part], at in houses) for at in columns.values()]
            if len(sheets) > 1:
                arrays.append(pa.array([one.name] * len(part), pa.string()))
            numbers = pa.array([number for number, _ in part], pa.int64())
            yield pa.record_batch([*arrays, numbers], names=[*names, *([_sheet_name(names)] if len(sheets) > 1 else []), ROW])
        before += one.sheet.height


def _sheet_name(names: list[str]) -> str:
    name = SHEET
    while name in names:
        name += "_"
    return name


def _column(cells: list[object], house: bool) -> pa.Array:
    return pa.array([(grids.housed(cell) if house else None) or plain(cell) for cell in cells], pa.string())
