"""Showing what is masked of one record, to one person, for a reason: written down before, and open to review after.

The database decides and counts (`geo/sql/rules/73_unmasking.sql`); here ciphers are opened. All is bound to the caller's
transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from geo import query
from geo.disclosure import REVIEWED_WITHIN
from geo.errors import Invalid
from geo.keys import FieldKey
from geo.resource import Audience, Field, Resource
from geo.statements import run

VERDICTS = {"proper": "正当", "improper": "不当"}


@dataclass(frozen=True)
class Unmasked:
    """The number of the unmasking, for who reviews it, and the values in clear; None where there is none."""

    id: UUID
    values: dict[str, str | None]


def masked(resource: Resource, audience: Audience) -> tuple[Field, ...]:
    """The fields that this audience may ask to see, as it is given their mask only."""
    return tuple(field for field in resource.seen_by(audience) if field.stored and field.masked_to(audience))


def unmask(
    connection: sa.Connection, resource: Resource, id: UUID, fields: Sequence[str], purpose: str, note: str, entry: int, key: FieldKey
) -> Unmasked:
    """The named fields of a record in clear. `entry` is the row of the trail that was committed before.

    Raises `NotFound`, `Gone` or `Forbidden` for a record that is not the caller's to see, `TooMany` after thirty an hour,
    `Invalid` for a note that says nothing or holds a number.
    """
    asked = {"entry": entry, "noun": resource.name, "feature": id, "fields": list(fields), "purpose": purpose, "note": note}
    rows = run(connection, "unmask", **asked).all()
    if not rows:
        raise query.missing(connection, resource, id)
    return Unmasked(rows[0].unmasking, {row.field: opened(resource, id, row.field, row.clear, row.cipher, key) for row in rows})


def opened(resource: Resource, id: UUID, field: str, clear: str | None, cipher: bytes | None, key: FieldKey) -> str | None:
    """A field as `sealed_fields` gives it, in clear."""
    return clear if cipher is None else key.open(bytes(cipher), f"{resource.name}|{id}|{field}")


def listed(
    connection: sa.Connection, waiting: bool | None = None, before: UUID | None = None, most: int = 100
) -> list[dict[str, Any]]:
    """Unmaskings that the caller may look at, newest first: their own, those in areas that they decide over, all for who
    audits. `reviewable` are those that they may review."""
    return [dict(row) for row in run(connection, "unmaskings", waiting=waiting, before=before, most=most).mappings()]


def waiting(connection: sa.Connection) -> tuple[int, int]:
    """How many of those the caller may look at nobody has reviewed, and how many of them for longer than `REVIEWED_WITHIN`."""
    found = run(connection, "unmaskings_waiting", days=REVIEWED_WITHIN.days).one()
    return found.waiting, found.overdue


def review(connection: sa.Connection, id: UUID, verdict: Literal["proper", "improper"], opinion: str) -> None:
    """Say as a second person whether an unmasking was in order; once. Raises `NotFound`, `Forbidden`, `Conflict`."""
    if verdict not in VERDICTS:
        raise Invalid(field="verdict", choices=list(VERDICTS))
    run(connection, "review_unmasking", id=id, verdict=verdict, opinion=opinion)
