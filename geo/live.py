"""What changed since, for those who look on: the change log as the relay has numbered it, within the caller's areas."""

from typing import Any

import sqlalchemy as sa

from geo.statements import run


def reached(connection: sa.Connection) -> int:
    """The number of the last change that was published; 0 before the first."""
    return int(run(connection, "relayed_to").scalar_one() or 0)


def since(connection: sa.Connection, number: int, most: int = 500) -> list[dict[str, Any]]:
    """Changes after a number: `number`, `at`, `noun`, `feature` (None for a whole batch), `operation`, `batch`. Never what a record
    holds: whoever is told asks for it, and is given what is theirs."""
    return [dict(row) for row in run(connection, "changes_after", after=number, most=most).mappings()]
