"""Tickets of the 12345 hotline: taken in, followed, and answered under the number that the hotline has for each.

The same number again is the same case: word for word it is the same message, and anything else a repeat, which is counted, and by
which a case that is closed goes on. A ticket of the same matter at the same place is of the case that is open there. The hotline's
own limit stands beside our clocks, and the earlier of both is what a case is pressed by.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import secrets, small_tables, write
from geo.catalog.incidents import INCIDENTS
from geo.catalog.workflow import STATES
from geo.crs import Datum
from geo.db import TIME_ZONE, translated
from geo.errors import GeoError, Invalid
from geo.exchanges import TICKET_KINDS
from geo.keys import FieldKey
from geo.reporting import placed
from geo.sheets import safe
from geo.small_tables import Reject
from geo.statements import document, run

Kind = Literal["consult", "help", "complaint", "suggestion", "tip", "thanks", "other"]
How = Literal["made", "again", "repeated", "linked", "reopened"]

MOST = 500  # tickets of one table: each is placed by its address
NUMBER = re.compile(r"[0-9A-Za-z][0-9A-Za-z_./-]{0,39}")
HEADS = {
    "number": "工单编号 工单号 热线工单编号 受理编号 诉求编号 编号 ticket number",
    "kind": "诉求类型 工单类型 诉求性质 类型 类别 事件 class kind",
    "title": "标题 诉求标题 工单标题 主题 title",
    "words": "诉求内容 内容 工单内容 问题描述 反映内容 说明 description",
    "address": "诉求地址 事发地址 事发地点 诉求地点 地址 位置 address",
    "matter": "事项 事项代码 诉求分类 内容分类 类9 matter",
    "came_at": "来电时间 受理时间 登记时间 日期 时间 date",
    "due_at": "办理时限 要求办结时间 截止时间 答复期限 热线时限 办结期限 due_at",
    "phone": "联系电话 来电号码 电话 phone",
    "lon": "经度 lon lng",
    "lat": "纬度 lat",
}  # fmt: skip
SPELLED: dict[str, Kind] = {
    "咨询": "consult", "求助": "help", "求决": "help", "诉求": "help", "投诉": "complaint", "建议": "suggestion", "意见": "suggestion", "意见建议": "suggestion",
    "举报": "tip", "检举": "tip", "感谢": "thanks", "表扬": "thanks", "其他": "other", "consult": "consult", "help": "help", "complaint": "complaint",
    "suggestion": "suggestion", "tip": "tip", "thanks": "thanks", "other": "other",
}  # fmt: skip
MOMENT = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T ]+(\d{1,2})[::](\d{2})(?:[::](\d{2}))?(?:\.\d+)?)?\s*(?:\+08:?00)?")
RESULT_HEADS = ("工单编号", "诉求类型", "案卷号", "状态", "承办单位", "受理时间", "答复期限", "结案时间", "办理结果", "重复次数")


@dataclass(frozen=True)
class Ticket:
    """One ticket: `number` as the hotline has it; a place in degrees of `datum`, or an address; `phone` of whoever called."""

    number: str
    kind: Kind = "other"
    title: str = ""
    words: str = ""
    matter: str | None = None
    address: str | None = None
    lon: float | None = None
    lat: float | None = None
    datum: Datum = Datum.CGCS2000
    came_at: datetime | None = None
    due_at: datetime | None = None
    phone: str | None = None


@dataclass(frozen=True)
class Taken:
    """What became of a ticket: a case `made`, the same message `again`, `repeated`, `linked` to a case that was there, or one that
    was closed `reopened`. `repeats` of this number; `left_out` of its words, by name."""

    number: str
    incident: UUID
    case: str
    how: How
    repeats: int
    left_out: tuple[str, ...] = field(default=())


def take(connection: sa.Connection, ticket: Ticket, key: FieldKey) -> Taken:
    """Take a ticket in. Raises `Forbidden` for who may not deliver, `Invalid` for a number or a matter that is none."""
    if not NUMBER.fullmatch(ticket.number):
        raise Invalid("工单编号为 1 至 40 个字母、数字、横线、下划线、点或斜线。", field="number")
    title, out = secrets.redacted(ticket.title)
    words, more = secrets.redacted(ticket.words)
    address, most = secrets.redacted(ticket.address or "")
    told = "\n".join(filter(None, (title, words)))
    id = connection.scalar(sa.select(sa.func.uuid_v7()))
    assert isinstance(id, UUID)
    place, precision = placed(connection, ticket.lon, ticket.lat, ticket.datum, address)
    phone = write.sealed(INCIDENTS, "reporter_phone", ticket.phone, key, id)
    said = document([ticket.number, ticket.kind, told, address, ticket.matter, ticket.lon, ticket.lat])
    made = run(
        connection, "hotline_take", external=ticket.number, kind=ticket.kind, due=ticket.due_at, said=key.fingerprint(said), known=key.fingerprints(said),
        id=id, matter=ticket.matter, words=told[:3800] or None, address=address or None, place=place, precision=precision, came=ticket.came_at,
        masked=phone["reporter_phone_masked"], cipher=phone["reporter_phone_cipher"], hash=phone["reporter_phone_hash"],
    ).one()  # fmt: skip
    return Taken(ticket.number, made.incident, made.number, made.how, made.repeats, (*out, *more, *most))


def take_each(connection: sa.Connection, tickets: Iterable[tuple[int, Ticket]], key: FieldKey) -> Iterator[tuple[int, Taken | GeoError]]:
    """Take in each of many, by row; one that is refused leaves the others."""
    for row, ticket in tickets:
        try:
            with translated(), connection.begin_nested():
                made = take(connection, ticket, key)
        except GeoError as refused:
            yield row, refused
        else:
            yield row, made


def told(
    connection: sa.Connection, numbers: Sequence[str] = (), since: datetime | None = None, closed: bool | None = None, most: int = 1000
) -> list[dict[str, Any]]:
    """How tickets go, of those that the caller brought or answers for, the last to move first: `number`, `kind`, `incident`, `case`, `state`,
    `closed`, `agency`, `came_at`, `due_at` (the hotline's), `closed_at`, `moved_at`, `result`, `repeats`, `linked`. Raises `Forbidden`."""
    found = run(connection, "hotline_told", numbers=list(numbers) or None, since=since, closed=closed, most=most).mappings()
    return [dict(row) for row in found]


def results(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The same as a table for the hotline, in its own words (XLSX)."""
    import xlsxwriter

    content = io.BytesIO()
    zone = ZoneInfo(TIME_ZONE)
    with xlsxwriter.Workbook(content, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet("办理结果")
        sheet.write_row(0, 0, RESULT_HEADS)
        for at, row in enumerate(rows, 1):
            moments = [row[name].astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if row[name] else "" for name in ("came_at", "due_at", "closed_at")]
            cells = (
                row["number"], TICKET_KINDS[row["kind"]], row["case"], STATES[row["state"]].title, row["agency"] or "", *moments, row["result"] or "",
            )  # fmt: skip
            for column, cell in enumerate(cells):
                sheet.write_string(at, column, str(safe(cell)))
            sheet.write_number(at, len(cells), row["repeats"])
        sheet.set_column(0, len(RESULT_HEADS) - 1, 18)
    return content.getvalue()


def read(path: Path, matters: Mapping[str, str]) -> tuple[list[tuple[int, Ticket]], list[Reject]]:
    """The tickets of the hotline's own table by row, and the rows that could not be read; `matters` is our list, code → title.

    Raises `Invalid` where the file cannot be read or has no column of numbers.
    """
    return understood(small_tables.rows(path, _columns, MOST), matters)


def sent(content: bytes, name: str, matters: Mapping[str, str]) -> tuple[list[tuple[int, Ticket]], list[Reject]]:
    """The same of a table that somebody sent."""
    with small_tables.lent(content, name) as path:
        return read(path, matters)


def understood(rows: Iterable[tuple[int, Mapping[str, str]]], matters: Mapping[str, str]) -> tuple[list[tuple[int, Ticket]], list[Reject]]:
    """Every row that says anything becomes a ticket or a reject. What it calls its matter and we do not stays among its words."""
    tickets: list[tuple[int, Ticket]] = []
    rejects: list[Reject] = []
    titles = list(matters.values())
    named = {title: code for code, title in matters.items() if titles.count(title) == 1}
    for row, cells in rows:
        if not any(cells.values()):
            continue
        try:
            tickets.append((row, _ticket(cells, matters, named)))
        except ValueError as error:
            reason, value = error.args
            rejects.append(Reject(row, value[:200], reason))
    return tickets, rejects


def _ticket(cells: Mapping[str, str], matters: Mapping[str, str], named: Mapping[str, str]) -> Ticket:
    number = cells.get("number", "")
    if not NUMBER.fullmatch(number):
        raise ValueError("没有工单编号,或编号不对。", number)
    called = cells.get("matter", "")
    matter = called if called in matters else named.get(called)
    words = "\n".join(filter(None, (cells.get("words", ""), called if called and not matter else "")))
    kind = SPELLED.get(cells.get("kind", "") or "other", "other")
    return Ticket(
        number, kind, cells.get("title", "")[:200], words, matter, cells.get("address") or None, *_point(cells), Datum.CGCS2000,
        _moment(cells.get("came_at", "")), _moment(cells.get("due_at", "")), cells.get("phone") or None,
    )  # fmt: skip


def _point(cells: Mapping[str, str]) -> tuple[float | None, float | None]:
    lon, lat = cells.get("lon", ""), cells.get("lat", "")
    if not lon and not lat:
        return None, None
    try:
        x, y = float(lon), float(lat)
    except ValueError:
        raise ValueError("经纬度不对。", f"{lon},{lat}") from None
    if not (-180 <= x <= 180 and -90 <= y <= 90):
        raise ValueError("经纬度不对。", f"{lon},{lat}")
    return x, y


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    found = MOMENT.fullmatch(text)
    try:
        if not found:
            raise ValueError
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        # A day alone is over when it is over.
        whole = (hour, minute, second) if found[4] else (23, 59, 59)
        return datetime(year, month, day, *whole, tzinfo=ZoneInfo(TIME_ZONE))
    except ValueError:
        raise ValueError("时间写法看不懂,请写成 2026-01-31 09:30。", text) from None


def _columns(titles: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    plainly = {re.sub(r"\s|[((].*", "", title).lower(): title for title in titles}
    for name, words in HEADS.items():
        for word in words.split():
            if word in plainly and plainly[word] not in found.values():
                found.setdefault(name, plainly[word])
    if "number" not in found:
        raise Invalid("表里要有“工单编号”一列。", field="file")
    return found
