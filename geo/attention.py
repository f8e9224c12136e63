"""What asks for attention: the grade of an area with its reasons, and the five matters to look at first with theirs.

All of it is for who answers for the place, and nobody else (`geo/sql/rules/94_attention.sql`): the public is told nothing, and gets
empty answers here. What counts and from how many on is data (`geo.grading`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from geo.catalog import WIDTHS
from geo.catalog.workflow import OPEN_STATES
from geo.grading import FACTORS, GRADES, SERVICES
from geo.statements import run

PRIORITIES = 5
LEVELS_BY_WIDTH = {width: level for level, width in WIDTHS.items()}
# A box around all there is.
WORLD = (-180.0, -90.0, 180.0, 90.0)
MAPPED = 3000  # areas of one level in one view; more than that are not told apart


@dataclass(frozen=True)
class Concern:
    """A kind of matter that is looked at first: its word, and the rule by which it is here."""

    code: str
    title: str
    rule: str


# In this order, one of each before a second of any: five late cases would hide that nobody answers for sixty homes.
CONCERNS: dict[str, Concern] = {
    concern.code: concern
    for concern in (
        Concern("late", "超时", "过了应结时间还没有结案；重大、紧急、督办的在前，超时久的在前"),
        Concern("zone_over", "到期未审", "过了计划结束时间还没有解除或延长"),
        Concern("pressing", "紧急重大", "在办的紧急、重大或督办事件，先到期的在前"),
        Concern("waiting", "未受理", "上报两小时以上还没有受理，久的在前"),
        Concern("unowned", "无人负责", "网格没有网格长也没有网格员，或楼栋不在任何网格；按户数"),
        Concern("zone_due", "即将到期", "24 小时内到计划结束时间"),
        Concern("silent", "没有上报", "近 24 小时没有巡查上报也没有办理记录的网格"),
    )
}


def priorities(connection: sa.Connection, most: int = PRIORITIES) -> list[dict[str, Any]]:
    """What the caller should look at first: `concern`, its `word` and `rule`, `number` of its kind in all, `at`, `title`, `path`, place."""
    rows = [dict(row) for row in run(connection, "priorities").mappings()]
    return list(_chosen(rows))[:most]


def quiet(connection: sa.Connection) -> tuple[int, int]:
    """How many of the caller's grids nothing was heard of in the last day, and how many grids there are."""
    found = run(connection, "grids_quiet").one()
    return found.quiet, found.every


def standing(connection: sa.Connection, level: str, box: tuple[float, float, float, float] = WORLD) -> list[dict[str, Any]]:
    """How the areas of a level stand, of those whose middle lies in `box` (west, south, east, north in degrees): `open` and `overdue`
    cases; and for who answers for them `grade` (0 to 4), `unowned` and `far`; for others these are None."""
    west, south, east, north = box
    asked = {"level": level, "west": west, "south": south, "east": east, "north": north, "most": MAPPED, "states": OPEN_STATES}
    return [dict(row) for row in run(connection, "areas_standing", **asked).mappings()]


def grades(connection: sa.Connection, level: str) -> dict[str, dict[str, Any]]:
    """The grade of every area of a level that the caller answers for, by path, each with its reasons."""
    return {row.path: _graded(row.grade, row.reasons) for row in run(connection, "attention", level=level, path=None)}


def of_area(connection: sa.Connection, level: str, path: str) -> dict[str, Any] | None:
    """The grade of one area with its reasons; None where it is not the caller's to know. Without a fact that counts it is 0."""
    row = run(connection, "attention", level=level, path=path).first()
    if row is None:
        return _graded(0, []) if run(connection, "attention_held", level=level, path=path).scalar() else None
    return _graded(row.grade, row.reasons)


def apart(connection: sa.Connection) -> list[dict[str, Any]]:
    """Homes of the caller's areas that are in no grid: `path` of the area they are in, `households`, where to look."""
    return [dict(row) for row in run(connection, "homes_apart").mappings()]


def unowned(connection: sa.Connection, path: str) -> int | None:
    """How many homes of an area nobody answers for; None where it is not the caller's to know, or where there is none."""
    return next((reason["value"] for row in run(connection, "attention", level=LEVELS_BY_WIDTH[len(path)], path=path) for reason in row.reasons
                 if reason["factor"] == "unowned"), None)


def far(connection: sa.Connection, level: str, path: str) -> list[dict[str, Any]]:
    """The services that are farther from the middle of an area than they should be: `title`, `metres` (None: there is none), `at_most`."""
    rows = run(connection, "services_far", level=level, path=path).mappings()
    return [dict(row) | {"title": SERVICES[row["service"]].title} for row in rows if row["service"] in SERVICES]


def _chosen(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    known = list(CONCERNS)
    kinds = [[row for row in rows if row["concern"] == code] for code in known]
    told = set()  # a case that waits is late soon: it is one matter
    for turn in range(max(map(len, kinds), default=0)):
        for kind in kinds:
            if turn < len(kind) and kind[turn]["feature"] not in told:
                told.add(kind[turn]["feature"])
                concern = CONCERNS[kind[turn]["concern"]]
                yield dict(kind[turn]) | {"word": concern.title, "rule": concern.rule}


def _graded(grade: int, reasons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "grade": grade, "title": GRADES[grade].title,
        "reasons": [
            dict(reason) | {
                "title": FACTORS[reason["factor"]].title, "about": FACTORS[reason["factor"]].about, "grade_title": GRADES[reason["grade"]].title,
            }
            for reason in reasons if reason["factor"] in FACTORS
        ],
    }
