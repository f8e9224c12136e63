"""Many accounts at once, from a sheet of people: every row is accounted for, and nothing is half made."""

import re
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import accounts, db
from geo.catalog.roles import ROLES
from geo.errors import Forbidden, GeoError, Invalid
from geo.language import translated

LOCAL = ZoneInfo(db.TIME_ZONE)
MOST = 500  # rows of a sheet: each is a savepoint and ten calls, and all are one transaction
COLUMNS = {
    "login": "登录名", "name": "姓名", "role": "角色", "area": "区域编码", "category": "类别", "since": "起始", "until": "截止",
}
HEADS = {
    "login": "login account 账号 登录名 用户名", "name": "name 姓名 名字", "role": "role 角色 职务 岗位",
    "area": "area areas 区域编码 区域 网格 网格编码 所属区域", "category": "category categories kind 类别 事项类别",
    "since": "from since 起始 起始日期 开始 自", "until": "to until 截止 截止日期 结束 至",
}
DATE = re.compile(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})日?(?:[T ].*)?")
SEPARATORS = re.compile(r"[\s,,、;;]+")

Done = Literal["made", "appointed", "unchanged", "refused", "held"]
OUTCOMES: dict[Done, str] = {
    "made": "新建账号", "appointed": "已任命", "unchanged": "原已任此职", "refused": "未收", "held": "可收,未写入",
}


@dataclass(frozen=True)
class Row:
    """What a line of the sheet says, as it is written there."""

    number: int  # counted from 1 below the head
    login: str = ""
    name: str = ""
    role: str = ""
    area: str = ""
    category: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a row; `why` when it was refused, `account` when there is one now."""

    row: Row
    done: Done
    account: UUID | None = None
    why: GeoError | None = None


def template(language: str) -> bytes:
    """An empty sheet to fill in, which offers the roles there are. All cells are text: codes keep their zeros."""
    import xlsxwriter

    book = BytesIO()
    with xlsxwriter.Workbook(book, {"in_memory": True}) as made:
        bold, text = made.add_format({"bold": True, "bottom": 1}), made.add_format({"num_format": "@"})
        sheet = made.add_worksheet(translated("人员", language))
        for at, title in enumerate(COLUMNS.values()):
            sheet.write(0, at, translated(title, language), bold)
            sheet.set_column(at, at, 18, text)
        sheet.data_validation(1, 2, MOST, 2, {
            "validate": "list", "source": [translated(r.title, language) for r in ROLES.values() if r.rank], "error_type": "warning",
        })
        sheet.freeze_panes(1, 0)
    return book.getvalue()


def read(content: bytes, name: str = "people.xlsx") -> list[Row]:
    """The rows of a sheet that somebody sent. Raises `Invalid` when it cannot be read, has no column of logins, or too many rows."""
    # Brings a library of 40 MB along, which the rest of a web process has no use for.
    from geo import files

    if not name.lower().endswith((".xlsx", ".xls", ".ods", ".csv")):
        raise Invalid("请上传 XLSX 表格。", field="file")
    with tempfile.TemporaryDirectory(prefix="jingwei-") as folder:
        path = Path(folder) / f"people{Path(name).suffix.lower()}"
        path.write_bytes(content)
        with files.opened(path, drivers=[]) as (described, parts):
            columns = _columns(described.columns)
            rows: list[Row] = []
            for part in parts:
                cells = {field: part.columns[title].to_pylist() for field, title in columns.items()}
                for at, number in enumerate(part.rows):
                    rows.append(Row(int(number), **{field: str(values[at] or "").strip() for field, values in cells.items()}))
                if len(rows) > MOST:
                    raise Invalid("一次最多 {most} 行,请分成几个文件。", most=MOST, field="file")
    return rows


def enrol(connection: sa.Connection, rows: Sequence[Row], partly: bool = False) -> list[Outcome]:
    """Make and appoint whom the rows name. If any is refused nothing is written, unless `partly`: then the others are."""
    known = {a["login"]: a for a in accounts.told(connection, logins=[row.login.lower() for row in rows])}
    matters = {text: m["code"] for m in accounts.matters(connection, parents=False) for text in (m["code"], m["title"], m["title_en"].lower())}
    offered = set(accounts.offered(connection))
    with db.translated(), connection.begin_nested() as whole:
        outcomes = [_enrolled(connection, row, known, matters, offered) for row in rows]
        if not partly and any(outcome.why for outcome in outcomes):
            whole.rollback()
            return [outcome if outcome.why else Outcome(outcome.row, "held") for outcome in outcomes]
    return outcomes


def day(text: str, last: bool = False) -> datetime | None:
    """A date as people write it: its first moment, or with `last` the first one after it; None for an empty text."""
    if not text.strip():
        return None
    found = DATE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError(text)
        year, month, number = map(int, found.groups())
        begins = datetime(year, month, number, tzinfo=LOCAL)
        return begins + timedelta(days=1) if last else begins
    except (ValueError, OverflowError) as error:
        raise Invalid("日期写成 2026-12-31 这样:{date}", date=text[:40], field="until" if last else "since") from error


def role_called(text: str) -> str:
    """The code of a role that is named by code or title, in either language. Raises `Invalid`."""
    for role in ROLES.values():
        if text.strip().lower() in (role.code, role.title, translated(role.title, "en").lower()):
            return role.code
    raise Invalid("没有这个角色:{role}", role=text[:40], field="role")


def _columns(titles: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for title in titles:
        for field, words in HEADS.items():
            if title.strip().lower() in (*words.split(), translated(COLUMNS[field], "en").lower()):
                found.setdefault(field, title)
    if "login" not in found:
        raise Invalid("表里没有“登录名”这一列。请下载模板填写。", field="file")
    return found


def offers(role: str, offered: Collection[str]) -> None:
    """`Invalid` for a role that there is not, `Forbidden` for one that the caller may not give."""
    if role not in ROLES:
        raise Invalid("没有这个角色。", field="role")
    if role not in offered:
        raise Forbidden("您不能任命{role}。", role=ROLES[role].title, field="role")


def _enrolled(
    connection: sa.Connection, row: Row, known: dict[str, dict[str, Any]], matters: Mapping[str, str], offered: Collection[str]
) -> Outcome:
    login = row.login.lower()
    account: UUID | None = None
    try:
        with db.translated(), connection.begin_nested():
            if login not in known:
                account = accounts.make(connection, login, row.name)
            held = known.get(login, {"id": account, "appointments": []})
            done: Done = "made" if account else "unchanged"
            if row.role and not _holds(held["appointments"], wanted := _wanted(connection, row, matters, offered)):
                accounts.appoint(connection, held["id"], **wanted)
                done = "made" if account else "appointed"
                held = held | {"appointments": [*held["appointments"], {**wanted, "to": None}]}
        known[login] = held
        return Outcome(row, done, held["id"])
    except GeoError as why:
        return Outcome(row, "refused", why=why)


def _wanted(connection: sa.Connection, row: Row, matters: Mapping[str, str], offered: Collection[str]) -> dict[str, Any]:
    role = role_called(row.role)
    offers(role, offered)
    if ROLES[role].scoped and not row.area:
        raise Invalid("这个角色要写区域。", field="area")
    categories = [text for text in SEPARATORS.split(row.category) if text]
    if unknown := [text for text in categories if text.lower() not in matters]:
        raise Invalid("没有这个事项类别:{category}", category=unknown[0][:40], field="category")
    return {
        "role": role, "areas": accounts.called(connection, [row.area]), "categories": [matters[text.lower()] for text in categories],
        "since": day(row.since), "until": day(row.until, last=True),
    }


def _holds(appointments: Iterable[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    """Whether somebody has what a row wants already: the same sheet twice changes nothing the second time."""
    for held in appointments:
        lasting = held["to"] is None or datetime.fromisoformat(held["to"]) > datetime.now(LOCAL)
        same = all(sorted(held[part]) == sorted(wanted[part]) for part in ("areas", "categories"))
        if lasting and same and held["role"] == wanted["role"] and not held.get("stands_in_for"):
            return True
    return False
