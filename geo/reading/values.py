"""Values of a file as text."""

import math
from datetime import date, datetime


def plain(value: object) -> str | None:
    """A cell or attribute as people write it; nothing for an empty one."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()[:200]
    return str(value)
