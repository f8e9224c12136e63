"""What a zone touches: the areas it lies in, and what stands in it."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import statements
from geo.errors import NotFound


def touched(connection: sa.Connection, zone: UUID) -> list[dict[str, Any]]:
    """Every area the zone touches: m² inside it, the share of the zone, the share of the area (0–1)."""
    return list(statements.run(connection, "touched_areas", noun="zones", feature=zone).scalars())


def affected(connection: sa.Connection, zone: UUID) -> dict[str, float | None]:
    """Counts of what stands in the zone. Those of people and homes are None save to who works in all of it.

    Raises `NotFound` for a zone that the caller may not see.
    """
    row = statements.run(connection, "affected", feature=zone).mappings().one_or_none()
    if row is None:
        raise NotFound()
    return dict(row)
