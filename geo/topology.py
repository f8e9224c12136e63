"""Whether the areas of a level fit together and are answered for: gaps, overlaps, codes, posts.

Overlay is done in the plane of degrees, in which points are placed, by snapping to a grid; measures are taken
on the local Gauss-Krüger plane. A report of 605 grids with 24,000 vertices takes about a second, one of 10,131
with 640,000 about ten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from geo import query, statements
from geo.catalog import LEVELS, RESOURCES, WIDTHS
from geo.errors import BadQuery
from geo.language import translated
from geo.resource import Audience, Place
from geo.spine import PLACEMENTS
from geo.tables import TABLES

# Degrees, a micrometre: overlay on this grid cannot fail, closes the 1e-14° by which a corner on a neighbour's edge misses
# it, and is a tenth of the thinnest overlap found in real data (7 µm of 159 m). 1e-9, the last decimal that is
# exchanged, lost one of four known overlaps and was off by 3 % on the largest.
GRID = 1e-11
# m²; what an edge of 20 m makes when one of its ends is off by 0.1 mm, the last decimal that is exchanged.
LEAST = 0.001
# Metres. Two boundaries surveyed to ±0.5 m each (class A of GB/T 47678.5) may leave so much between them and both be
# right. What is nowhere wider (no disc of this diameter fits in) is a sliver: drawing, not ground.
SLIVER = 1.0
# Points drawn of the records that lie in no area; their number is told in full.
DRAWN = 1000
MEASURES = {"grid": GRID, "least": LEAST, "width": SLIVER}

Asked = dict[str, Any]

# The kinds of finding in the order in which they are told: the sentence and the title.
KINDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "gap": ("缺口", "{above}有一块地不属于任何{level}。"),
    "overlap": ("重叠", "{names}重叠。"),
    "outside_parent": ("越界", "{name}有一部分在上级{above}之外。"),
    "no_parent": ("无上级", "{name}没有所属的{directly}。"),
    "no_polygon": ("无边界", "{name}没有边界,什么也落不进去。"),
    "unplaced": ("落空", "{count} 条{noun}不在任何{level}内。"),
    "sliver_gap": ("窄缝", "{above}的{level}之间有一条缝,处处窄于 {width} 米。"),
    "sliver_overlap": ("窄条重叠", "{names}沿边重叠,处处窄于 {width} 米。"),
    "sliver_outside": ("窄条越界", "{name}沿边超出上级{above},处处窄于 {width} 米。"),
    "duplicate_code": ("重码", "编码 {code} 同时属于{names}。"),
    "blank_code": ("缺码", "{name}没有编码,按编码规则可用 {proposed}。"),
    "code_scheme": ("编码不合规则", "{name}的编码 {code} 不合编码规则 {scheme}。"),
    "code_hierarchy": ("编码不合层级", "{name}的编码 {code} 不以上级{parent}的编码 {stem} 开头。"),
    "retired_code": ("注销编码", "{name}的编码 {code} 原属已注销的{other}。"),
    "no_lead": ("无牵头单位", "{name}的管理方式为{mode},却没有牵头单位。"),
    "no_post": ("无责任人", "{name}没有责任人。"),
    "no_steward": ("无楼道长", "{name}有 {count} 个楼道没有楼道长:{units}。"),
    "no_micro_grid": ("未入微网格", "{name}有 {count} 栋住宅不属于任何微网格:{units}。"),
    "astray_post": ("岗位悬空", "{name}已注销,还有 {count} 个岗位对它负责。"),
})
# Where a kind of finding has a case that its sentence does not fit.
OTHERWISE = {
    "gap": "有一块地被{level}围住,却不属于任何{level}。",
    "sliver_gap": "{level}之间有一条缝,处处窄于 {width} 米。",
    "blank_code": "{name}没有编码,按编码规则也推不出。",
    "no_steward": "{name}没有楼道长。",
}
NOWHERE = "不在任何区域内的地方"
AREAS = RESOURCES["areas"]


@dataclass(frozen=True)
class Mention:
    """An area that a finding is about; without `id` where there is none any more."""

    path: str
    name: str
    code: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit.

    `measure_m2` is that of the gap or overlap, else that of the areas. `geometry` is GeoJSON in degrees: the piece of
    ground, else the representative points of what it is about. `facts` go into the sentence.
    """

    kind: str
    areas: tuple[Mention, ...] = ()
    measure_m2: float | None = None
    geometry: str | None = None
    count: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)  # facts that are titles, and so have a translation

    @property
    def subject(self) -> str:
        """What it is about, in few words: names, or the noun."""
        return "、".join(area.name for area in self.areas) or self.words.get("noun", NOWHERE)

    @property
    def sentence(self) -> str:
        """The finding in Chinese."""
        return self.said("zh")

    def said(self, language: str) -> str:
        """The finding as a sentence."""
        lacking = {
            "gap": not self.areas, "sliver_gap": not self.areas, "blank_code": not self.facts.get("proposed"),
            "no_steward": "units" not in self.facts,
        }
        pattern = OTHERWISE[self.kind] if lacking.get(self.kind) else KINDS[self.kind][1]
        first = self.areas[0] if self.areas else Mention("", translated(NOWHERE, language))
        facts = {
            "name": first.name, "code": first.code, "names": "、".join(area.name for area in self.areas),
            "above": self.areas[-1].name if self.areas else "", "width": f"{SLIVER:g}", "count": self.count, **self.facts,
        }
        return translated(pattern, language).format(
            **facts | {name: translated(word, language) for name, word in self.words.items()}
        )


@dataclass(frozen=True)
class Report:
    """What was found at a level, and how much ground its areas and those of the level above cover together (m²)."""

    level: str
    areas: int
    covered_m2: float | None
    parent: str | None
    parent_m2: float | None
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """By kind: how many findings, how many things they are about, and their m² together."""
        told: dict[str, dict[str, float]] = {}
        for found in self.findings:
            line = told.setdefault(found.kind, {"findings": 0, "count": 0, "measure_m2": 0.0})
            line["findings"] += 1
            line["count"] += found.count
            line["measure_m2"] += found.measure_m2 or 0.0
        return told


def findings(
    connection: sa.Connection, level: str, theme: str = "governance", moment: datetime | None = None
) -> list[Finding]:
    """Everything that does not fit among the areas of a level, gravest kind first, largest first; see `report`."""
    return list(report(connection, level, theme, moment).findings)


def report(
    connection: sa.Connection, level: str, theme: str = "governance", moment: datetime | None = None
) -> Report:
    """How the areas of `level` stand at `moment` (now).

    `theme` is a theme of areas, or `unit` and `thematic` for the kinds of governed areas that are tessellations of their
    own. Raises `BadQuery` for a level that there is not.
    """
    if level not in WIDTHS:
        raise BadQuery(parameter="level", choices=list(WIDTHS))
    above = [name for name in WIDTHS if WIDTHS[name] < WIDTHS[level]][::-1]
    asked: Asked = {
        "level": level, "theme": theme, "directly": above[0] if above else None,
        "moment": moment or connection.scalar(sa.select(sa.func.now())),
    }
    [stood] = _rows(connection, "topology_level", asked, above=above)
    asked |= {"parent": stood["parent"]}
    told: list[Finding] = []
    covered: Asked = {}
    if level != "micro_grid" and stood["areas"]:
        # Micro-grids are lists of houses and stairwells: the ground between two houses is nobody's, and no gap.
        gaps = _rows(connection, "topology_gaps", asked, **MEASURES)
        covered = gaps[0]
        told += _read([row for row in gaps if row["kind"]], asked)
        told += _read(_rows(connection, "topology_overlaps", asked, **MEASURES), asked)
        told += _read(_rows(connection, "topology_outside", asked, **MEASURES), asked)
    expected = stood["expected"] or stood["parent"] is not None
    told += _read(_rows(connection, "topology_parentless", asked, expected=expected), asked)
    told += _read(_rows(connection, "topology_duplicates", asked), asked)
    told += _read(_rows(connection, "topology_blanks", asked), asked)
    told += _read(_rows(connection, "topology_codes", asked), asked)
    if theme == "governance":
        told += _read(_rows(connection, "topology_leaderless", asked), asked)
        told += _read(_rows(connection, "topology_posts", asked), asked)
        if level == "micro_grid":
            told += _read(_rows(connection, "topology_houses", asked), asked) if stood["areas"] else []
        else:
            told += _unplaced(connection, level)
            told += _read(_rows(connection, "topology_stairwells", asked), asked)
    order = {kind: place for place, kind in enumerate(KINDS)}
    told.sort(key=lambda f: (order[f.kind], -(f.measure_m2 or 0), [area.path for area in f.areas]))
    own_m2, above_m2 = covered.get("own_m2"), covered.get("above_m2")
    return Report(level, stood["areas"], own_m2, stood["parent"], above_m2, tuple(told))


def _rows(connection: sa.Connection, name: str, asked: Asked, **more: object) -> list[Asked]:
    wanted = statements.statements()[name].compile().params.keys()
    values = {key: value for key, value in {**asked, **more}.items() if key in wanted}
    return [dict(row) for row in statements.run(connection, name, **values).mappings()]


def _read(rows: list[Asked], asked: Asked) -> Iterator[Finding]:
    modes = {choice.code: choice.title for choice in AREAS["management_mode"].choices}
    titles = {choice.code: choice.title for choice in LEVELS}
    for row in rows:
        facts = dict(row.get("facts") or {})
        words = {"level": titles[asked["level"]], "directly": titles.get(asked["directly"], "")}
        if "mode" in facts:
            words["mode"] = modes[facts.pop("mode")]
        if units := facts.pop("names", None):
            facts["units"] = "、".join(units) + ("等" if facts["count"] > len(units) else "")
        yield Finding(
            row["kind"], tuple(_mentioned(**area) for area in row["areas"] or ()), row["measure"], row["geometry"],
            facts.pop("count", 1), facts, words,
        )


def _mentioned(path: str, name: str | None, code: str | None, id: str | None) -> Mention:
    """An area by its name, or where it came without one, by its path."""
    return Mention(path, name or path, code, id)


def _unplaced(connection: sa.Connection, level: str) -> Iterator[Finding]:
    """By noun, the living records that have a place and lie in no area of the level at their own time."""
    without = sa.func.array(sa.select(PLACEMENTS.c.id).where(PLACEMENTS.c[level].is_(None)).scalar_subquery())
    title = next(choice.title for choice in LEVELS if choice.code == level)
    for name, noun in RESOURCES.items():
        if noun.place is not Place.POINT or noun.audience > Audience.PUBLIC:
            continue
        t = TABLES[name]
        place = sa.func.ST_PointOnSurface(query.place(noun, Audience.PUBLIC)).label("geom")
        lost = sa.select(place, sa.func.row_number().over(order_by=t.c.id).label("n")).where(
            t.c.retired_at.is_(None), t.c.placing_reason.is_distinct_from("imprecise"),
            t.c.placement.is_(None) | (t.c.placement == sa.func.any(without)),
        ).subquery()
        few = sa.func.ST_Collect(lost.c.geom).filter(lost.c.n <= DRAWN)
        told = sa.select(sa.func.count(), sa.func.ST_AsGeoJSON(few, query.DECIMALS, 0)).select_from(lost)
        count, drawn = connection.execute(told).one()
        if count:
            yield Finding("unplaced", (), None, drawn, count, {}, {"level": title, "noun": noun.title})
