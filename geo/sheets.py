"""Tables that people fill in and send back: their headings, how a value is written in a cell, and which cells and rows say
nothing. What goes out (`geo.exporting`, `geo.templates`) and what comes in hold to the same words.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from uuid import UUID

from geo.resource import Field, Resource

# By these an edited export finds its records again, and sees that somebody was there meanwhile.
ID, VERSION = "记录编号", "版本"
LON, LAT, WKT = "经度", "纬度", "WKT"
WATERMARK = "watermark"
# Where a record lies: told on the way out, found anew on the way in.
PLACES = {
    "street_name": "所在街道", "street_path": "所在街道路径", "community_name": "所在社区", "community_path": "所在社区路径",
    "grid_name": "所在网格", "grid_path": "所在网格路径", "scope": "区域路径",
}
# For a DBF, where two of these would be cut to the same ten characters.
ABBREVIATED = {
    "street_name": "street", "street_path": "street_cd", "community_name": "community", "community_path": "commun_cd",
    "grid_name": "grid", "grid_path": "grid_cd",
}
# Sheets of a workbook, and a member of an archive, that explain and hold no rows.
NOTES, LISTS, DICTIONARY = "填写说明", "可选值", "字段说明"
ASIDE = (NOTES, LISTS, DICTIONARY)
DICTIONARY_HEADS = ("短名", "字段", "名称", "可选值", "截短的行数")
EXAMPLE = "示例"
YES, NO = "是", "否"

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝")
# Stars of any make; crosses and dots only where they stand for digits or follow a surname.
MASK = re.compile(r"[*∗✱]|(?<=\d)[xX×•●○]{3,}(?=\d)|^[一-鿿]{1,2}[xX×•●○]{1,3}$")


def headings(resource: Resource) -> dict[str, str]:
    """The heading over each column of a table for people: those of every record, its fields, where it is."""
    fields = {field.name: field.title for field in resource.all_fields}
    return {"id": ID, "version": VERSION} | fields | {"lon": LON, "lat": LAT, "wkt": WKT} | PLACES | {WATERMARK: "水印"}


def set_aside(resource: Resource) -> frozenset[str]:
    """Headings that an export writes and nobody can give: neither a field nor something the record brought along."""
    given = {field.name for field in resource.writable} | {"lon", "lat", "wkt"}
    told = {name: title for name, title in headings(resource).items() if name not in given}
    short = {name[:10] for name in told}  # what a shapefile leaves of them
    placemark = set() if resource.label == "name" else {"Name"}  # the label a second time
    return frozenset({*told, *told.values(), *short, *placemark, *ABBREVIATED.values()})


def is_example(cells: Sequence[object]) -> bool:
    """Whether a row is there to show how, and is left out: its first cell that is not empty begins with 示例."""
    first = next((text for cell in cells if cell is not None and (text := str(cell).strip())), "")
    return first.startswith(EXAMPLE)


def is_mask(text: str) -> bool:
    """Whether this stands for a name or number and is none: `张*`, `138****1234`, full-width stars, crosses.

    In a cell of a field that `may_be_masked` it leaves the value as it was, and never replaces it. No telephone number, no
    number of a citizen and no person's name has a star in it.
    """
    return bool(MASK.search(unicodedata.normalize("NFKC", text).strip()))


def may_be_masked(field: Field) -> bool:
    """Whether somebody is given the mask of this field in place of its value."""
    return field.secret or field.name_of_person


def worded(value: object, titles: Mapping[str, str], zone: tzinfo) -> object:
    """A value as people write it: the title of a choice or code, 是 and 否, a moment by the clock of the place.

    `titles` are those of its field's codes; a code that has none stands for itself.
    """
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, datetime):
        return value.astimezone(zone).replace(tzinfo=None)
    if isinstance(value, UUID):
        return str(value)
    return titles.get(value, value) if isinstance(value, str) else value


def told_apart(titles: Mapping[str, str]) -> dict[str, str]:
    """Code → title, without the titles that would be read back as another code."""
    shared = {title for title in titles.values() if list(titles.values()).count(title) > 1}
    return {code: title for code, title in titles.items() if title not in shared and titles.get(title, title) == title}


def safe(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
