"""The street's office (综合指挥室) over the cases of its area: who was called to a place and came, who was told of what is urgent, what nobody
is named for, and tasks from above.

What is done with a case is a step of it (`geo.incidents`); here is what those steps carry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import secrets, statements
from geo.clocks import MOST


@dataclass(frozen=True)
class Raised:
    """What a pass has done: told a level further up of what nobody has heard of, and told of departments that are late.
    `behind`: there is more."""

    raised: int
    late: int
    behind: bool


def whistle(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """Every body that was called to the place of a case, the last whistle first: when it was called and due, answered, came (`away_m`
    metres from the place), left. For whoever works with the case; empty for anybody else."""
    return _rows(connection, "whistle_told", incident=incident)


def arrivals(connection: sa.Connection, within: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Of each department how often it was called from `since` to before `until`, answered, came, came in time, and the mean and longest
    minutes. For those who lead within the path; nothing for anybody else."""
    return _rows(connection, "whistle_arrivals", within=within, since=since, until=until)


def told(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """Who was told of an urgent case, from the grid up; `gap` where nobody is responsible; who has heard."""
    return _rows(connection, "duty_calls_told", incident=incident)


def waits(connection: sa.Connection) -> dict[str, int]:
    """How many minutes the offices of an area have to hear of what is urgent; `""` for every area that has none of its own."""
    return {row["area"]: row["minutes"] for row in _rows(connection, "duty_waits_told")}


def set_wait(connection: sa.Connection, area: str, minutes: int) -> None:
    """How many minutes the offices of an area have. Raises `Forbidden` for an area that is not the caller's, `Invalid`."""
    statements.run(connection, "duty_wait_set", area=area, minutes=minutes)


def parts(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """The cases that a case was split into, and the one that it is a part of (`whole`): how each stands and who leads."""
    return _rows(connection, "parts_told", incident=incident)


def gaps(connection: sa.Connection, most: int = 200) -> list[UUID]:
    """Open cases in the caller's areas that the responsibility list names nobody for, the oldest first."""
    return [row["id"] for row in _rows(connection, "duty_gaps_told", most=most)]


def unlisted(connection: sa.Connection, area: str) -> list[dict[str, Any]]:
    """Matters that no line leads in an area, with the cases of a year; those that happen most first."""
    return _rows(connection, "matter_gaps_told", area=area)


def before_the_office(connection: sa.Connection, most: int = 200) -> list[dict[str, Any]]:
    """Cases in the caller's areas with `why` they are the office's business: `unheard`, `whistle`, `dispute`, `report_up`, `convene`."""
    return _rows(connection, "hub_waits", most=most)


def assign(
    connection: sa.Connection, within: str, title: str, areas: Sequence[str], about: str = "", matter: str | None = None, moment: datetime | None = None
) -> UUID:
    """Give out a task (布置) from an area that the caller leads to some areas below it, each with a case of its own. The id of the whole.
    Raises `Forbidden`, `Invalid`."""
    return UUID(str(statements.run(
        connection, "task_assigned", within=within, title=title, matter=matter, about=secrets.redacted(about)[0] or title, areas=list(areas), moment=moment,
    ).scalar_one()))


def delays(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """How long a task took at each level, in minutes from when that level was given it: until it was taken over, split on, done; median
    and nine tenths. None of what has not happened yet."""
    return _rows(connection, "task_delays_told", incident=incident)


def sweep(engine: sa.Engine, moment: datetime | None = None, most: int = MOST) -> Raised:
    """One pass: what nobody has heard of in time goes up a level, departments that did not come are told of; each once for ever."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT set_config('jingwei.actor', 'clock', true)")
        done = statements.run(connection, "duties_swept", moment=moment, most=most).one()
    return Raised(done.raised, done.late, max(done.raised, done.late) >= most)


def _rows(connection: sa.Connection, name: str, **bound: object) -> list[dict[str, Any]]:
    return [dict(row) for row in statements.run(connection, name, **bound).mappings()]
