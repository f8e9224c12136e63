"""Cases as Open311 (GeoReport v2) tells of them: what may be reported, what everybody may know of each, and how it went on.

A service is a kind of matter, its code the matter's; a request is a case, its id the case's number. Whoever asks, what is told is
what the public may see: a place as coarse as on the map, no words of who reported, photos that were released.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo.catalog.workflow import STATES
from geo.errors import Invalid, NotFound
from geo.reporting import matters
from geo.statements import run

LONGEST = timedelta(days=90)  # between the ends of what is asked for, as the standard has it
PAGE, MOST = 1000, 1000
OPEN, CLOSED = "open", "closed"


@dataclass(frozen=True)
class Service:
    """What may be reported, in Chinese and English, with the class that it belongs to."""

    code: str
    title: str
    title_en: str
    group: str
    group_en: str


@dataclass(frozen=True)
class Wanted:
    """Which requests: by their `numbers`, and then by nothing else; or reported in [since, until), of services, open or closed."""

    numbers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    status: str = ""
    page: int = 1
    size: int = PAGE


def services(connection: sa.Connection) -> list[Service]:
    """Everything that people may report: kinds, and classes that have none."""
    rows = {row["code"]: row for row in matters(connection)}
    classes = {row["parent"] for row in rows.values()}
    return [
        Service(row["code"], row["title"], row["title_en"] or row["title"], above.get("title", ""), above.get("title_en") or above.get("title", ""))
        for row in rows.values() if row["code"] not in classes for above in [rows.get(row["parent"], {})]
    ]  # fmt: skip


def service(connection: sa.Connection, code: str) -> Service:
    """One of them. Raises `NotFound`."""
    for one in services(connection):
        if one.code == code:
            return one
    raise NotFound("没有这个服务:service_code {code}。", code=code)


def span(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The stretch that is asked for: the last 90 days where nothing is said, 90 days at most. Raises `Invalid`."""
    until = until or (min(now, since + LONGEST) if since else now)
    since = since or until - LONGEST
    if since > until or until - since > LONGEST:
        raise Invalid("start_date 须早于 end_date,相差不超过 90 天。", field="start_date")
    return since, until


def requests(connection: sa.Connection, wanted: Wanted) -> list[dict[str, Any]]:
    """What everybody may know of cases, the latest first: `number`, `title`, `matter`, `service`, `service_en`, `state`, `closed`,
    `reported_at`, `updated_at`, `due_at`, `agency`, `area`, `lon` and `lat` in degrees, `photo` (an id)."""
    found = run(
        connection, "open311_requests", numbers=list(wanted.numbers) or None, ids=_ids(wanted.numbers), services=list(wanted.services) or None,
        since=wanted.since, until=wanted.until, over=None if not wanted.status else wanted.status == CLOSED, closed=_closed(),
        size=wanted.size, skip=(wanted.page - 1) * wanted.size,
    ).mappings()
    return [dict(row) | {"closed": STATES[row["state"]].settled} for row in found]


def updates(connection: sa.Connection, since: datetime, until: datetime, most: int = MOST) -> list[dict[str, Any]]:
    """The steps that cases took in [since, until), the first of them first: `update`, `number`, `state`, `closed`, `at`."""
    found = run(connection, "open311_updates", since=since, until=until, most=most).mappings()
    return [dict(row) | {"closed": STATES[row["state"]].settled} for row in found]


def _closed() -> list[str]:
    return [code for code in STATES if STATES[code].settled]


def _ids(numbers: Sequence[str]) -> list[UUID]:
    """A case that was loaded without a number goes by its id."""
    found = []
    for number in numbers:
        try:
            found.append(UUID(number))
        except ValueError:
            continue
    return found
