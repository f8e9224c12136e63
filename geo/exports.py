"""Files with persons in them: one asks, another allows, and then they are taken once, with who and when in every row.

The steps and their order are constraints of the log (`geo/sql/rules/74_exports.sql`). All is bound to the caller's
transaction. Whatever else takes persons' data out of the server (snapshots, packages for the field) asks `approved`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import door, exporting, query
from geo.db import TIME_ZONE, Caller
from geo.disclosure import ROWS
from geo.errors import BadQuery, Conflict, Forbidden, Invalid, NotFound
from geo.exporting import Order, Row
from geo.keys import FieldKey
from geo.query import Filter
from geo.resource import Audience, Resource
from geo.statements import run
from geo.unmasking import opened

STATES = {
    "requested": "待批准", "approved": "已批准", "refused": "已拒绝", "withdrawn": "已撤回", "taken": "已取走", "expired": "已过期",
}
Where = Mapping[str, Any]
Move = Literal["approved", "refused", "withdrawn"]


@dataclass(frozen=True)
class Export:
    """One request, as those see it who may: what is asked for, by whom, how far it is.

    `where` is the filter as it was asked for; `mine` and `decidable` say what the one who looks may do with it. `ends_at`
    is when an approval, or a request that nobody decides, runs out.
    """

    id: UUID
    number: int
    at: datetime
    actor: str
    acting_as: str
    name: str
    noun: str
    format: str
    fields: Sequence[str] | None
    clear: bool
    filter: Where
    purpose: str
    note: str
    scope: Sequence[str]
    areas: Sequence[str]
    expected: int
    most: int
    state: str
    decided_at: datetime | None
    decided_by: str | None
    opinion: str | None
    rows: int | None
    ends_at: datetime | None
    mine: bool
    decidable: bool
    account: UUID
    appointment: UUID
    within: str | None  # the name of the area that the filter names

    @property
    def takeable(self) -> bool:
        """Whether who looks may have the file now."""
        return self.mine and self.state == "approved"


def needs_second(resource: Resource, clear: bool) -> bool:
    """Whether a file takes a second person: rows about persons do, masked or not, and whatever is in clear."""
    return clear or resource.personal


def ask(connection: sa.Connection, order: Order, where: Where, clear: bool, purpose: str, note: str) -> UUID:
    """Ask for a file with persons in it. Raises `Invalid` (rule `exports_most_check`) for more rows than may leave at once."""
    exporting.selected(order)
    expected = exporting.counted(connection, order, ROWS)
    asked = {
        "noun": order.resource.name, "format": order.kind, "fields": None if order.fields is None else list(order.fields),
        "clear": clear, "filter": json.dumps(where), "purpose": purpose, "note": note, "expected": expected,
    }
    return UUID(str(run(connection, "ask_export", **asked).scalar_one()))


def listed(connection: sa.Connection, most: int = 100) -> list[Export]:
    """The requests that the caller may look at, newest first: their own, those they may decide over, all for who audits."""
    return [Export(**row) for row in run(connection, "exports", id=None, most=most).mappings()]


def told(connection: sa.Connection, id: UUID) -> Export:
    """One of them. Raises `NotFound`."""
    found = run(connection, "exports", id=id, most=1).mappings().one_or_none()
    if found is None:
        raise NotFound(id=str(id))
    return Export(**found)


def move(connection: sa.Connection, id: UUID, target: Move, opinion: str = "") -> None:
    """Approve or refuse a request as a second person, or withdraw one's own.

    Raises `NotFound`, `Forbidden` for who asked for it or may not decide here, `Conflict` when somebody was quicker.
    """
    run(connection, "move_export", id=id, target=target, opinion=opinion)


def approved(connection: sa.Connection, id: UUID, noun: str | None = None) -> Export:
    """The request by which the caller may take persons' data along at this moment, for `noun`.

    Raises `NotFound`, `Conflict` for one that is not approved, taken already or run out, `Forbidden` for another's.
    """
    export = told(connection, id)
    if not export.mine:
        raise Forbidden("只有申请人可以取这份文件。")
    allowed = run(connection, "allowed_export", id=id).one_or_none() is not None
    # Asked for again: somebody may have taken it between the two looks.
    export = export if allowed else told(connection, id)
    if export.state != "approved":
        raise Conflict(REFUSALS[export.state], state=export.state)
    if not allowed:
        raise Forbidden("请切换到申请时的身份再取:{acting_as}。", acting_as=export.acting_as)
    if noun is not None and export.noun != noun:
        raise Conflict("这份批准是给 {noun} 的。", noun=export.noun)
    return export


REFUSALS = {
    "requested": "这份申请还没有批准。",
    "refused": "这份申请已被拒绝。",
    "withdrawn": "这份申请已撤回。",
    "taken": "这份文件已经取走,只能取一次。再要请重新申请。",
    "expired": "这份申请已过期:批准后 24 小时内取,7 天内没有人批准的作废。请重新申请。",
}


def take(
    connection: sa.Connection, export: Export, to: BinaryIO | Path, entry: int, caller: Caller, key: FieldKey,
    encoding: str = "utf-8", crs: str | None = None,
) -> int:
    """Write the file of an approved request and close it; `entry` is the row of the trail that was committed before. How its
    text and coordinates are written is for who takes it to say: that tells nobody more.

    Returns the rows. Raises `TooLarge` when there are more by now than may leave, `Conflict` when it was taken meanwhile.
    """
    resource = exporting.noun(export.noun)
    order = ordered(
        resource, export.format, caller.sees(resource), export.fields, export.filter, watermark(export), export.most, encoding, crs
    )
    open_them = partial(_opened, connection, export, entry, key) if export.clear else None
    if isinstance(to, Path):
        count = exporting.written_to(connection, order, to, open_them)
    else:
        count = exporting.written(connection, order, to, open_them)
    run(connection, "take_export", entry=entry, id=export.id, rows=count)
    return count


def ordered(
    resource: Resource, kind: str, audience: Audience, fields: Sequence[str] | None, where: Where, mark: str | None = None,
    most: int | None = None, encoding: str = "utf-8", crs: str | None = None,
) -> Order:
    """What to write, of a filter as people give it: `bbox`, field → value in `equals`, the path of an area in `within`.
    Raises `Invalid`."""
    try:
        equals = {
            name: query.parsed(query.filterable(resource, name, audience), value if isinstance(value, str) else json.dumps(value))
            for name, value in (where.get("equals") or {}).items()
        }
    except BadQuery as error:
        raise Invalid("条件有误:{parameter}。", field="filter", **error.facts) from error
    box = where.get("bbox")
    want = Filter(tuple(box) if box else None, equals, within=where.get("within"))
    order = Order(resource, kind, audience, fields, want, mark, most, encoding, crs)
    try:
        exporting.selected(order)
    except BadQuery as error:
        raise Invalid(error.sentence, **(error.facts | {"rule": "fields"})) from error
    return order


def watermark(export: Export) -> str:
    """Who took it, when, by which request: the same in every row and in the file's name."""
    return f"{export.name or export.actor} ({export.actor}) {_now():%Y-%m-%d %H:%M} No.{export.number}"


def file_name(resource: str, kind: str, caller: Caller, export: Export | None = None) -> str:
    """In ASCII, because a header has nothing else: noun, when, who, number of the request."""
    parts = [resource, f"{_now():%Y%m%d-%H%M}", caller.actor, *([f"no{export.number}"] if export else [])]
    name = "-".join("".join(c if (c.isalnum() and c.isascii()) or c in "-_." else "_" for c in part) for part in parts)
    return exporting.file_name(name, kind)


def requester(connection: sa.Connection, id: UUID) -> Caller:
    """Who asked for an export, bound as they are now. Raises `NotFound`, and `Forbidden` when they hold that appointment no more."""
    row = run(connection, "caller_of_export", id=id).mappings().one_or_none()
    if row is None:
        raise NotFound(id=str(id))
    caller = door.bound(dict(row)).caller
    if caller.appointment is None:
        raise Forbidden("申请人已不在申请时的任上。")
    return caller


def _opened(connection: sa.Connection, export: Export, entry: int, key: FieldKey, rows: Sequence[Row]) -> Sequence[Row]:
    resource = exporting.noun(export.noun)
    by_id = {row["id"]: row for row in rows}
    for found in run(connection, "open_export", entry=entry, id=export.id, ids=list(by_id)):
        row = by_id[found.id]
        if found.field in row:
            row[found.field] = opened(resource, found.id, found.field, found.clear, found.cipher, key)
    return rows


def _now() -> datetime:
    return datetime.now(ZoneInfo(TIME_ZONE))
