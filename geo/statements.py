"""The named statements in `geo/sql/queries`, found by name and run with bound values."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import sqlalchemy as sa

HEAD = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@cache
def statements() -> dict[str, sa.TextClause]:
    """Every statement by its name; `-- name --` on a line of its own begins one."""
    found: dict[str, sa.TextClause] = {}
    for script in (files("geo.sql") / "queries").iterdir():
        if script.name.endswith(".sql"):
            _, *parts = HEAD.split(script.read_text(encoding="utf-8"))
            for name, body in zip(parts[::2], parts[1::2], strict=True):
                if name in found:
                    raise ValueError(f"two statements are named {name}")
                found[name] = sa.text(body)
    return found


def run(connection: sa.Connection, name: str, **values: object) -> sa.CursorResult[*tuple[Any, ...]]:
    """Run the statement called `name`."""
    return connection.execute(statements()[name], values)


def document(value: object) -> str:
    """A value as JSON that PostgreSQL holds: text without NUL and without halves of characters; what JSON does not know, as text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(r"(?<!\\)((?:\\\\)*)\\u0000", r"\1", text).encode("utf-8", "replace").decode()
