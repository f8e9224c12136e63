"""Tables of some hundred lines that somebody sends to be read at once – calendars, limits, tickets – row by row, as text."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from geo.errors import Invalid
from geo.values import plain

ENDINGS = (".csv", ".xlsx", ".xls", ".ods", ".et")


@dataclass(frozen=True)
class Reject:
    """A line that could not be read: its row in the file, the value, and the reason, a gettext sentence."""

    row: int
    value: str
    reason: str


def rows(path: Path, chosen: Callable[[Mapping[str, object]], Mapping[str, str]], most: int) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table by their numbers, each as field → text; which column is which field is `chosen` among its titles.

    Raises `Invalid` where the file cannot be read or has more than `most` rows.
    """
    # Brings a library of 40 MB along, which the rest of a web process has no use for.
    from geo import files

    with files.opened(path, drivers=[]) as (described, parts):
        columns = chosen(described.columns)
        found: list[tuple[int, dict[str, str]]] = []
        for part in parts:
            cells = {field: part.columns[title].to_pylist() for field, title in columns.items()}
            for at, row in enumerate(part.rows):
                found.append((int(row), {field: (plain(values[at]) or "").strip() for field, values in cells.items()}))
            if len(found) > most:
                raise Invalid("一次最多 {most} 行,请分成几个文件。", most=most, field="file")
    return found


@contextmanager
def lent(content: bytes, name: str) -> Iterator[Path]:
    """What somebody sent as a file, for as long as it is read. Raises `Invalid` for a name that is no table's."""
    suffix = Path(name).suffix.lower()
    if suffix not in ENDINGS:
        raise Invalid("请上传 CSV 或 XLSX 表格。", field="file")
    with tempfile.TemporaryDirectory(prefix="jingwei-") as folder:
        path = Path(folder) / f"table{suffix}"
        path.write_bytes(content)
        yield path
