"""The table to fill in: what the declaration says is in it, and what is filled in is understood."""

import io
import zipfile
from datetime import date, datetime
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
import xlsxwriter
from python_calamine import CalamineWorkbook, SheetVisibleEnum

from geo import exporting, files, matching, sheets, templates
from geo.catalog import CODE_LISTS, RESOURCES
from geo.language import translated
from geo.resource import Audience, Resource
from geo.values import Reader

each = pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda r: r.name)
LISTS = {name: {"01": "例一", "02": "例二"} for name in CODE_LISTS}


def opened(book: bytes) -> CalamineWorkbook:
    return CalamineWorkbook.from_filelike(io.BytesIO(book))


@each
def test_the_declaration_is_in_it(resource: Resource) -> None:
    made = templates.template(resource, LISTS)
    book = opened(made)
    table, notes = book.get_sheet_by_index(0).to_python(), book.get_sheet_by_name(sheets.NOTES).to_python()
    fields = [field.title for field in resource.writable]
    assert table[0][: len(fields)] == fields
    assert table[0][len(fields) :] == {None: [], "POINT": [sheets.LON, sheets.LAT]}.get(resource.geometry, [sheets.WKT])
    assert sheets.is_example(table[1]) and not sheets.is_example(table[0]) and len(table) == 2
    told = {str(row[0]): row for row in notes}
    for field in resource.writable:
        row = told[field.title]
        assert (row[1], row[2]) == (field.name, "必填" if field.required and field.default is None else "")
        assert all(choice.title in row[4] for choice in field.choices)
        if resource.kept(field) and (resource.personal or field.secret or field.name_of_person):
            kept = resource.kept(field)
            assert kept and kept.purpose in row[7] and f"{kept.days} 天" in row[7]
    # Nobody picks from the list of what may be picked.
    seen = {sheet.name: sheet.visible for sheet in book.sheets_metadata}
    assert seen.get(sheets.LISTS, SheetVisibleEnum.Hidden) is SheetVisibleEnum.Hidden and set(seen) <= {resource.title, *sheets.ASIDE}
    assert templates.template(resource, LISTS) == made


def filled(resource: Resource, lists: templates.Lists, folder: Path) -> Path:
    """The table with its example as a row of somebody's own: without the word that keeps it out."""
    made = opened(templates.template(resource, lists)).get_sheet_by_index(0).to_python()
    made[1][0] = str(made[1][0]).removeprefix(f"{sheets.EXAMPLE}:")
    path = folder / "filled.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet(resource.title)
        day = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for at, line in enumerate(made):
            for column, cell in enumerate(line):
                sheet.write_datetime(at, column, cell, day) if isinstance(cell, datetime) else sheet.write(at, column, cell)
    return path


@each
def test_what_is_filled_in_is_understood(connection: sa.Connection, resource: Resource, tmp_path: Path) -> None:
    path = filled(resource, {name: exporting.listed(connection, name) for name in CODE_LISTS}, tmp_path)
    with files.opened(path) as (described, batches):
        # By its headings alone it is known for what it is, and each column for its field. Of WKT it is not known what it draws.
        told = None if resource.geometry in (None, "POINT") else resource.name
        proposal = matching.proposed(described, told, called="filled.xlsx")
        rows = next(iter(batches))
    assert proposal.resource == resource.name
    assert {name: found.column for name, found in proposal.columns.items()} == {field.name: field.title for field in resource.writable}
    assert not proposal.missing and not proposal.dropped and not proposal.extras and not proposal.refused
    for field in resource.writable:
        if field.refers:
            continue
        known = {title: code for code, title in exporting.listed(connection, field.listed).items()} if field.listed else None
        understood = Reader(field, resource.name, known, title=field.title).read(rows.columns[field.title].to_pylist())
        assert understood.wrong == {} and None not in understood.values, field.name
    if resource.geometry:
        assert rows.problems == {} and (rows.lon is not None or rows.geometry is not None)


def xml(resource: Resource, name: str = "xl/worksheets/sheet1.xml") -> str:
    with zipfile.ZipFile(io.BytesIO(templates.template(resource, LISTS))) as book:
        return book.read(name).decode()


def test_drop_downs_reach_as_far_as_the_rows() -> None:
    sheet = xml(RESOURCES["facilities"])
    drop = [part for part in sheet.split("<dataValidation ") if 'type="list"' in part]
    fields = [f for f in RESOURCES["facilities"].writable if f.choices or f.listed or f.type is bool]
    assert len(drop) == len(fields) and all(f"{templates.ROWS + 1}\"" in part for part in drop)
    kinds = next(part for part in drop if f"'{sheets.LISTS}'!$A$2:$A$3" in part)
    assert 'promptTitle="类别"' in kinds
    assert '<pane ySplit="1"' in sheet


def test_below_worker_nobody_sees_what_is_workers() -> None:
    resource = RESOURCES["buildings"]
    heads = opened(templates.template(resource, LISTS, Audience.PUBLIC)).get_sheet_by_index(0).to_python()[0]
    assert "户数" not in heads and "层数" in heads


def test_the_notes_are_in_the_readers_language_and_the_headings_as_they_are_read_back() -> None:
    book = opened(templates.template(RESOURCES["residents"], LISTS, say=partial(translated, language="en")))
    heads = book.get_sheet_by_index(0).to_python()[0]
    notes = " ".join(str(cell) for row in book.get_sheet_by_name(sheets.NOTES).to_python() for cell in row)
    assert heads[0] == "姓名" and "Required" in notes and "730 days" in notes


def test_an_example_begins_the_row() -> None:
    assert sheets.is_example(["示例:1幢", ""]) and sheets.is_example([None, " ", "示例"])
    assert not sheets.is_example(["1幢", "示例"]) and not sheets.is_example([None, ""]) and not sheets.is_example([date(2026, 1, 1)])
