"""Code schemes: data that says what the codes of a level look like. They propose and report, and never refuse."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from geo import statements
from geo.catalog import WIDTHS
from geo.errors import BadQuery

SCHEMES = Path(__file__).parents[1] / "data" / "codes" / "code_schemes.json"


@dataclass(frozen=True)
class Proposal:
    """An area without a code, and the one the scheme would give it; None where the code above is missing or the numbers
    are used up."""

    area: UUID
    path: str
    name: str
    code: str | None


def load(connection: sa.Connection, source: Path = SCHEMES) -> None:
    """Make `code_schemes` what the file says. A scheme that left the file stays as long as the instance uses it."""
    if source.exists():
        statements.run(connection, "schemes_loaded", schemes=source.read_text(encoding="utf-8"))


def proposed(
    connection: sa.Connection, level: str, parent: str = "", moment: datetime | None = None
) -> list[Proposal]:
    """Codes for the areas of `level` at or below the path `parent` that have none, in the order of their paths.

    Numbers run from north to south and from west to east, above the highest ever given; none is ever given twice, be its
    area retired or not. Nothing is written.
    """
    if level not in WIDTHS:
        raise BadQuery(parameter="level", choices=list(WIDTHS))
    rows = statements.run(connection, "codes_proposed", level=level, parent=parent, moment=moment)
    return [Proposal(**row) for row in rows.mappings()]
