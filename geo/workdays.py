"""Which days are worked: as the State Council publishes them, and as a town has it otherwise."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa

from geo import small_tables, statements
from geo.errors import Invalid
from geo.small_tables import Reject

MOST = 5_000  # lines of a file: thirteen years of days
HEADS = {"day": ("日期", "date", "day"), "working": ("上班/休息", "上班", "类型", "状态", "working", "kind"), "note": ("说明", "备注", "名称", "note", "name")}
DAY = re.compile(r"(\d{4})(?:[-/.]|年)(\d{1,2})(?:[-/.]|月)(\d{1,2})日?(?:[T ]00:00(?::00)?.*)?|(\d{4})(\d{2})(\d{2})")
WORKS = {
    **dict.fromkeys(("上班", "班", "工作日", "调休上班", "补班", "是", "1", "working", "work", "true", "yes"), True),
    **dict.fromkeys(("休息", "休", "休息日", "放假", "节假日", "假", "否", "0", "off", "rest", "false", "no"), False),
}


@dataclass(frozen=True)
class Day:
    """A day that is worked or is not, and why."""

    day: date
    working: bool
    note: str = ""


@dataclass(frozen=True)
class Known:
    """From when to when it is known which days are worked, and how many of them are the town's own."""

    first: date | None
    last: date | None
    own: int


def published(connection: sa.Connection) -> int:
    """Take in what the library knows of holidays and of working days made up for them. Days of the town's own stay.

    Returns how many days are new or other than they were. The library is renewed every November, when the State Council
    publishes the year to come: beyond the years it knows a weekday is worked.
    """
    from chinese_calendar import Holiday, constants

    names = {one.value: one.chinese for one in Holiday}
    first, last = date(min(constants.holidays).year, 1, 1), date(max(constants.holidays).year, 12, 31)
    exceptions = [
        {"day": day.isoformat(), "working": working, "note": names.get(name, "")}
        for working, days in ((False, constants.holidays), (True, constants.workdays)) for day, name in days.items()
    ]
    found: int = statements.run(
        connection, "calendar_published", first=first, last=last, exceptions=statements.document(exceptions)
    ).scalar_one()
    return found


def read(path: Path) -> tuple[list[Day], list[Reject]]:
    """The days of a file: 日期, 上班 or 休息, 说明. A day that is named twice and differently is rejected the second time.

    Raises `Invalid` where the file cannot be read or has not these columns.
    """
    found = small_tables.rows(path, _columns, MOST)
    return understood((row, cells["day"], cells["working"], cells.get("note", "")) for row, cells in found)


def understood(rows: Iterable[tuple[int, str, str, str]]) -> tuple[list[Day], list[Reject]]:
    """Days of lines of (row, day, whether it is worked, note), each either taken or rejected."""
    days: dict[date, Day] = {}
    rejects: list[Reject] = []
    for row, day, working, note in rows:
        if not (day or working or note):
            continue
        told = _day(day)
        works = WORKS.get(working.strip().lower())
        if told is None:
            rejects.append(Reject(row, day, "日期写成 2026-10-01 这样,在 2000 年至 2059 年之间。"))
        elif works is None:
            rejects.append(Reject(row, working, "写“上班”或“休息”。"))
        elif told in days and days[told].working is not works:
            rejects.append(Reject(row, day, "这一天前面已写成相反的。"))
        else:
            days.setdefault(told, Day(told, works, note[:100]))
    return list(days.values()), rejects


def sent(content: bytes, name: str) -> tuple[list[Day], list[Reject]]:
    """The days of a file that somebody sent."""
    with small_tables.lent(content, name) as path:
        return read(path)


def override(connection: sa.Connection, days: Sequence[Day]) -> int:
    """Have these days worked or not, whatever is published. They outlive every migration. Returns how many there were.

    Raises `Forbidden` for who does not answer for all that the instance covers.
    """
    given = [{"day": one.day.isoformat(), "working": one.working, "note": one.note} for one in days]
    done: int = statements.run(connection, "calendar_set", days=statements.document(given)).scalar_one()
    return done


def calendar(connection: sa.Connection, first: date, last: date) -> list[Day]:
    """The days from `first` to `last` on which weekday and work differ, and those of the town's own."""
    return [Day(**row) for row in statements.run(connection, "calendar_told", first=first, last=last).mappings()]


def known(connection: sa.Connection) -> Known:
    """What the calendar covers."""
    return Known(**statements.run(connection, "calendar_known").mappings().one())


def _day(text: str) -> date | None:
    found = DAY.fullmatch(text)
    try:
        parts = [int(part) for part in (found.groups() if found else ()) if part]
        told = date(*parts)
    except (TypeError, ValueError):
        return None
    return told if date(2000, 1, 1) < told < date(2060, 1, 1) - timedelta(days=1) else None


def _columns(titles: Mapping[str, object]) -> dict[str, str]:
    found = {
        field: title for field, words in HEADS.items() for title in titles if title.strip().lower() in words
    }
    if "day" not in found or "working" not in found:
        raise Invalid("表里要有“日期”和“上班/休息”两列,可以再有“说明”。", field="file")
    return found
