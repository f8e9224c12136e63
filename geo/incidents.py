"""What can be done with a case: move it a step, ask what may be done, what has been, whose it is by the list.

Which steps there are and who may take them is data (`geo.catalog.workflow`), held by the log's foreign keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import secrets
from geo.db import translated
from geo.errors import GeoError
from geo.statements import document, run


@dataclass(frozen=True)
class Given:
    """What a step may bring: an opinion; to whom; until when; into which case; a grade; a rating; which of
    several limits of its matter; the bodies that are called, within how many minutes, and how near in metres is there; a place
    (longitude, latitude) and its address; whether a ruling becomes a line of the responsibility list. Only what its action asks for."""

    opinion: str = ""
    lead: UUID | None = None
    lead_area: str | None = None
    until: datetime | None = None
    into: UUID | None = None
    grade: str | None = None
    rating: int | None = None
    limit: UUID | None = None
    bodies: tuple[UUID, ...] = ()
    minutes: int | None = None
    metres: int | None = None
    place: tuple[float, float] | None = None
    address: str = ""
    listed: bool = False


@dataclass(frozen=True)
class Step:
    """A step to be taken. `seen` is the number of the last step that whoever asks knows of, `again` their idempotency key."""

    incident: UUID
    action: str
    given: Given = field(default_factory=Given)
    seen: int | None = None
    again: str | None = None


@dataclass(frozen=True)
class Stand:
    """Where a case stands after a step: its number in the log, the state, when; whether it was taken before."""

    number: int
    state: str
    at: datetime
    replayed: bool = False


def move(connection: sa.Connection, step: Step, moment: datetime | None = None) -> Stand:
    """Take a step. Raises `NotFound` for a case that is not the caller's business, `Forbidden` for a step that is somebody else's,
    `Conflict` (rule `incident_log_move_fkey`) for one that there is not from here, `Conflict` (`incident_log_pkey`) when it was
    moved since `seen`, `Invalid` with the name of the rule that it breaks."""
    made = run(
        connection, "move_incident", incident=step.incident, action=step.action, given=document(_written(step.given)), expected=step.seen,
        again=step.again, moment=moment,
    ).one()
    return Stand(made.number, made.state, made.at, made.replayed)


def move_each(connection: sa.Connection, steps: Sequence[Step]) -> Iterator[Stand | GeoError]:
    """Take each of many steps; one that is refused leaves the others."""
    for step in steps:
        try:
            with translated(), connection.begin_nested():
                made = move(connection, step)
        except GeoError as refused:
            yield refused
        else:
            yield made


def moves(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """The steps the caller may take: `action`, `target`, `role`, `reasoned`, and `steps`, the number of the last one taken."""
    return [dict(row) for row in run(connection, "incident_moves", incident=incident).mappings()]


def log(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """Every step that was taken, for whoever works with the case; empty for anybody else."""
    return [dict(row) for row in run(connection, "incident_log", incident=incident).mappings()]


def routes(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """The lines of the responsibility list that apply: of those with `part` lead the first leads. Empty where there is no rule."""
    return [dict(row) for row in run(connection, "incident_routes", incident=incident).mappings()]


def inbox(connection: sa.Connection, most: int = 100) -> list[dict[str, Any]]:
    """What waits for the caller, the most pressing first, each with the `actions` that lead on."""
    return [dict(row) for row in run(connection, "inbox", most=most).mappings()]


def _written(given: Given) -> dict[str, Any]:
    told = {
        name: str(value) if isinstance(value, UUID | datetime) else value
        for name, value in (vars(given) | {"bodies": [str(body) for body in given.bodies]}).items() if value not in (None, "", False, [])
    }
    if given.opinion:
        # Of persons nothing goes into a log that is never destroyed.
        told["opinion"] = secrets.redacted(given.opinion)[0]
    return told
