"""Reading as the server does: by the real process behind its wall."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter

from geo import files


@pytest.fixture(scope="session")
def known() -> list[str]:
    return sorted(files._known())


@pytest.fixture
def read(known):
    def reader(path, **how):
        with files.opened(path, drivers=known, **how) as (described, batches):
            return described, list(batches)

    return reader


@pytest.fixture
def rows(read):
    """All rows of a file as records."""
    def records(path, **how):
        described, batches = read(path, **how)
        return described, [{name: column[at].as_py() for name, column in b.columns.items()} for b in batches for at in range(len(b.rows))]

    return records


@pytest.fixture
def evidence():
    """The evidence of one aspect."""
    return lambda described, aspect: [one for one in described.evidence if one.aspect == aspect]


@pytest.fixture
def workbook(tmp_path) -> Callable[..., Path]:
    """A workbook of sheets by name, each rows of cells; `merged` are ranges of the first with their text."""
    def made(sheets, merged=(), name="表.xlsx", hidden=()):
        with xlsxwriter.Workbook(tmp_path / name) as book:
            day, formats = book.add_format({"num_format": "m月d日"}), {}
            for title, lines in sheets.items():
                sheet = formats[title] = book.add_worksheet(title)
                for at, line in enumerate(lines):
                    for column, cell in enumerate(line):
                        if hasattr(cell, "year"):
                            sheet.write_datetime(at, column, cell, day)
                        elif cell is not None:
                            sheet.write(at, column, cell)
                if title in hidden:
                    sheet.hide()
            for span, text in merged:
                next(iter(formats.values())).merge_range(span, text)
        return tmp_path / name

    return made
