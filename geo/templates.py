"""An empty table for every noun, made from its declaration: what to fill in, what may stand there, and an example.

The headings are those that the intake knows; what a field means, and what of it must be there, stands on a sheet of its own.
The same declaration makes the same bytes.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from geo import sheets
from geo.catalog import RESOURCES
from geo.crs import CHINA
from geo.resource import BASES, Audience, Field, Resource
from geo.sheets import EXAMPLE, LAT, LISTS, LON, NOTES, WKT

Say = Callable[[str], str]
Lists = Mapping[str, Mapping[str, str]]  # code list → code → title

ROWS = 5_000  # below the heading that drop-downs and checks reach to
MADE = datetime(2026, 1, 1, tzinfo=UTC)  # no template is younger than its declaration
MOST = 32_767  # a number that a spreadsheet takes for the length of a text
# A place at sea, where the sample town lies too.
EXAMPLES: dict[str, dict[str, object]] = {
    "POINT": {LON: 122.605, LAT: 29.805},
    "MULTILINESTRING": {WKT: "LINESTRING (122.604 29.805, 122.606 29.806)"},
    "MULTIPOLYGON": {WKT: "POLYGON ((122.604 29.804, 122.606 29.804, 122.606 29.806, 122.604 29.806, 122.604 29.804))"},
}
TYPES: dict[type, str] = {
    str: "文字", int: "整数", float: "数字", bool: "是/否", datetime: "时间,如 2026-03-05 08:00", date: "日期,如 2026-03-05", UUID: "编码",
}
AUDIENCES = {
    Audience.PUBLIC: "公开", Audience.PARTNER: "合作单位以上", Audience.WORKER: "工作人员", Audience.LEADER: "负责人",
}
HEADS = ("列名", "字段", "必填", "类型", "可填的值", "最长", "谁能看到", "说明")


class Head(NamedTuple):
    """One column of the table: what stands over it, whether it must be filled in, the field if it is one."""

    title: str
    required: bool
    field: Field | None


def heads(resource: Resource, audience: Audience) -> list[Head]:
    """The columns of the table: the fields that this audience may see and give, then where the record is."""
    found = [
        Head(field.title, field.required and field.default is None, field)
        for field in resource.writable if field.audience <= audience
    ]
    titles = {"POINT": (LON, LAT), "MULTILINESTRING": (WKT,), "MULTIPOLYGON": (WKT,)}.get(resource.geometry or "", ())
    return found + [Head(title, resource.geometry_required, None) for title in titles]


def template(resource: Resource, lists: Lists, audience: Audience = Audience.WORKER, say: Say = str) -> bytes:
    """The workbook. `lists` holds the codes of every list that the resource names; `say` turns a sentence into the reader's
    language. Headings and values stay as they are read back."""
    import xlsxwriter

    to = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(to, options) as book:
        book.set_properties({"created": MADE.replace(tzinfo=None), "title": resource.title})
        columns = heads(resource, audience)
        _table(book, resource, columns, lists, say)
        _notes(book, resource, columns, lists, say)
        _lists(book, columns, lists)
    return to.getvalue()


def _table(book: Any, resource: Resource, columns: Sequence[Head], lists: Lists, say: Say) -> None:
    sheet = book.add_worksheet(resource.title)
    must = book.add_format({"bold": True, "bg_color": "#FCE4D6", "bottom": 1, "num_format": "@"})
    may = book.add_format({"bottom": 1, "bg_color": "#EDEDED", "num_format": "@"})
    shown = {"italic": True, "font_color": "#808080"}
    # As text, so that a code keeps its noughts, a long number its digits, and 3-2 is no day in March.
    formats = {kind: book.add_format({"num_format": told}) for kind, told in FORMATS.items()}
    greyed = {kind: book.add_format({"num_format": told} | shown) for kind, told in FORMATS.items()}
    for at, head in enumerate(columns):
        kind = head.field.type if head.field else str if head.title == WKT else float
        sheet.set_column(at, at, 12 + 2 * min(len(head.title), 10), formats.get(kind, formats[str]))
        sheet.write_string(0, at, head.title, must if head.required else may)
        value = example(resource, head, lists)
        if at == 0:
            # By its first cell the row is known for what it is, and left out.
            value = f"{EXAMPLE}:{value}"
        _written(sheet, 1, at, value, greyed.get(kind, greyed[str]))
        if rule := _rule(head, at, lists, columns, say):
            sheet.data_validation(1, at, ROWS, at, rule)
    sheet.freeze_panes(1, 0)


FORMATS: dict[type, str] = {
    str: "@", UUID: "@", bool: "@", int: "0", float: "General", datetime: "yyyy-mm-dd hh:mm", date: "yyyy-mm-dd",
}


def _written(sheet: Any, row: int, at: int, value: object, style: Any) -> None:
    if isinstance(value, datetime):
        sheet.write_datetime(row, at, value, style)
    elif isinstance(value, int | float):
        sheet.write_number(row, at, value, style)
    else:
        sheet.write_string(row, at, "" if value is None else str(value), style)


def example(resource: Resource, head: Head, lists: Lists) -> object:
    """A value that may stand under a heading."""
    field = head.field
    if field is None:
        return EXAMPLES[str(resource.geometry)][head.title]
    if titles := allowed(field, lists):
        return titles[0]
    if field.secret:
        return "13800000000"
    if field.name_of_person:
        return "张三"
    if field.refers:
        return "990101001001001" if field.refers == "area_paths" else "A-001"
    if field.type in (int, float):
        low, high = field.minimum or 0, field.maximum
        return field.type(low if low else 1 if high is None or high >= 1 else low)
    if field.type is datetime:
        return datetime(2026, 3, 5, 8)
    if field.type is date:
        return datetime(2026, 3, 5)
    return "governance" if field.pattern else field.title


def allowed(field: Field, lists: Lists) -> list[str]:
    """What may stand in a cell, where that can be listed: titles of choices and codes, 是 and 否."""
    if field.type is bool:
        return [sheets.YES, sheets.NO]
    known = dict(lists.get(field.listed, {})) if field.listed else {choice.code: choice.title for choice in field.choices}
    told = sheets.told_apart(known)
    return [told.get(code, code) for code in known]


def _rule(head: Head, at: int, lists: Lists, columns: Sequence[Head], say: Say) -> dict[str, object] | None:
    """What a spreadsheet checks while one types, and says beside the cell."""
    field = head.field
    told = {"input_title": head.title[:32], "input_message": _hint(head, lists, say)[:255], "ignore_blank": True}
    if field is None:
        if head.title == WKT:
            return {"validate": "any"} | told
        low, high = CHINA[1::2] if head.title == LAT else CHINA[0::2]
        return told | {"validate": "decimal", "criteria": "between", "minimum": low, "maximum": high, "error_type": "warning"}
    if titles := allowed(field, lists):
        # An element of the list on another sheet: in the rule itself there is room for 255 characters.
        place = _letters([h for h in columns if h.field and allowed(h.field, lists)].index(head))
        return told | {"validate": "list", "source": f"='{LISTS}'!${place}$2:${place}${len(titles) + 1}"}
    if field.type in (int, float):
        low = field.minimum if field.minimum is not None else -(2**31) + 1
        high = field.maximum if field.maximum is not None else 2**31 - 1
        return told | {"validate": "integer" if field.type is int else "decimal", "criteria": "between", "minimum": low, "maximum": high}
    if field.type in (datetime, date):
        return told | {"validate": "date", "criteria": "between", "minimum": date(1900, 3, 1), "maximum": date(2300, 12, 31), "error_type": "warning"}
    if field.secret or field.refers:
        return {"validate": "any"} | told
    return told | {"validate": "length", "criteria": "<=", "value": min(field.longest, MOST)}


def _letters(number: int) -> str:
    from xlsxwriter.utility import xl_col_to_name

    return str(xl_col_to_name(number))


def _hint(head: Head, lists: Lists, say: Say) -> str:
    """One sentence beside the cell."""
    parts = [say("必填") if head.required else say("选填")]
    field = head.field
    if field is None:
        parts.append(say(PLACED[head.title]))
    else:
        parts.append(say(TYPES[field.type]))
        parts += [_about(field, say)] if _about(field, say) else []
        if field.type is str and not allowed(field, lists) and not field.secret:
            parts.append(say("最长 {count} 字").format(count=field.longest))
    return ";".join(parts)


PLACED = {
    LON: "CGCS2000 经度,度,如 122.605。不知道坐标的可以空着,但要写清地址。",
    LAT: "CGCS2000 纬度,度,如 29.805。不知道坐标的可以空着,但要写清地址。",
    WKT: "CGCS2000 经纬度的 WKT。画好的边界请直接上传 Shapefile 或 GeoPackage,不必填这一列。",
}


# What a file may also name in words (`geo.seating`).
HOUSED = ("buildings", "units", "dwellings")


def _about(field: Field, say: Say) -> str:
    """What is to be known of a field beside its type: unit, bounds, what it refers to."""
    parts = []
    if field.refers == "area_paths":
        parts.append(say("填区域的编码或名称"))
    elif field.refers:
        sentence = "填{noun}的编码,或写地址到这一级" if field.refers in HOUSED else "填{noun}的编码;只有一个叫这个名字的,填名称也行"
        parts.append(say(sentence).format(noun=say(RESOURCES[field.refers].title)))
    if field.minimum is not None and field.maximum is not None:
        parts.append(f"{field.minimum:g}–{field.maximum:g}")
    elif field.minimum is not None:
        parts.append(f"≥ {field.minimum:g}")
    if field.unit:
        parts.append(say("单位 {unit}").format(unit=say(field.unit)))
    if field.default is not None:
        default = next((choice.title for choice in field.choices if choice.code == field.default), field.default)
        default = (sheets.NO, sheets.YES)[default] if isinstance(default, bool) else default
        parts.append(say("不填为“{value}”").format(value=default))
    return ";".join(parts)


def _notes(book: Any, resource: Resource, columns: Sequence[Head], lists: Lists, say: Say) -> None:
    """Field by field: what it is, whether it must be there, what may stand in it, who will see it, why it is kept."""
    sheet = book.add_worksheet(NOTES)
    bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    for at, width in enumerate((18, 18, 6, 24, 40, 8, 14, 60)):
        sheet.set_column(at, at, width, wrapped)
    row = 0
    for sentence in _sentences(resource, say):
        sheet.write_string(row, 0, sentence, bold if row == 0 else book.add_format())
        row += 1
    row += 1
    for at, title in enumerate(HEADS):
        sheet.write_string(row, at, say(title), bold)
    for number, head in enumerate(columns, row + 1):
        for at, cell in enumerate(_described(resource, head, lists, say)):
            sheet.write_string(number, at, cell, wrapped)


def _sentences(resource: Resource, say: Say) -> Iterator[str]:
    yield f"{say(resource.title)}:{say(resource.about)}"
    yield say("底色为橙色的列必填。表头请不要改;不用的列可以删掉,多出来的列随记录保存。")
    yield say("第一格以“示例”开头的行不会导入,可以留着。")
    if resource.geometry == "POINT":
        yield say("位置填经度、纬度(CGCS2000,度)。没有坐标的,写清地址或楼栋,导入时按地址对位置。")
    elif resource.geometry:
        yield say("边界或线路请直接上传 Shapefile、GeoPackage 或 GeoJSON;少量的也可以在 WKT 列里写。")
    if resource.keeps_personal:
        yield say("表里有个人信息:只填确有需要的,填好的表不要外传,导入之后请删除。")
        yield say("打了星号的姓名和号码(张*、138****1234)导入时不会改动原来的值。")


def _described(resource: Resource, head: Head, lists: Lists, say: Say) -> Iterator[str]:
    field = head.field
    yield head.title
    yield field.name if field else ""
    yield say("必填") if head.required else ""
    if field is None:
        yield from ("", "", "", "", say(PLACED[head.title]))
        return
    yield say(TYPES[field.type])
    yield "、".join(allowed(field, lists))
    yield str(field.longest) if field.type is str and not allowed(field, lists) else ""
    yield say(AUDIENCES[max(field.audience, resource.audience)])
    parts = [_about(field, say)]
    if (field.secret or field.name_of_person or resource.personal) and (kept := resource.kept(field)):
        basis = next(base.title for base in BASES if base.code == kept.basis)
        said = say("个人信息:用于{purpose},依据{basis},留存 {days} 天")
        parts.append(said.format(purpose=say(kept.purpose), basis=say(basis), days=kept.days))
    yield "。".join(filter(None, parts))


def _lists(book: Any, columns: Sequence[Head], lists: Lists) -> None:
    """What drop-downs draw on."""
    listed = [head for head in columns if head.field and allowed(head.field, lists)]
    if not listed:
        return
    sheet = book.add_worksheet(LISTS)
    sheet.hide()
    for at, head in enumerate(listed):
        assert head.field
        sheet.write_column(0, at, [head.title, *allowed(head.field, lists)])
