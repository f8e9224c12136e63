"""What a zone touches: the areas it lies in, and what stands in it."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import statements


def touched(connection: sa.Connection, zone: UUID) -> list[dict[str, Any]]:
    """Every area the zone touches: m² inside it, the share of the zone, the share of the area (0–1)."""
    return list(statements.run(connection, "touched_areas", noun="zones", feature=zone).scalars())


def affected(connection: sa.Connection, zone: UUID, k: int) -> dict[str, float | None]:
    """Counts of what stands in the zone. Counts of people and homes below `k` are not told (None)."""
    row = statements.run(connection, "affected", feature=zone).mappings().one()
    people = ("dwellings", "households", "residents")
    return {name: None if name in people and 0 < value < k else value for name, value in row.items()}
