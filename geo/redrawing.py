"""Redrawing, splitting, merging and withdrawing areas: a new version from a local midnight on, the old one kept.

Each verb tells first what would change and writes only when told to. Records keep the area of their own time; who
answers for them follows the boundaries of today.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from geo import statements
from geo.catalog import RESOURCES, WIDTHS
from geo.errors import Invalid, NotFound
from geo.resource import Place

# Degrees of the grid on which gaps and overlaps are computed, and m² of the smallest that is told: as in geo/topology.py.
GRID, LEAST = 1e-11, 0.001


@dataclass(frozen=True)
class Piece:
    """A part that an area is cut into. `shape` is WKB in the storage CRS."""

    name: str
    shape: bytes
    code: str | None = None


@dataclass(frozen=True)
class Moved:
    """How many records of a noun come from one area into another (paths; None: in no area of the level).

    `earlier` of them are older than the change: they keep the area of their time, and only who answers changes.
    """

    noun: str
    source: str | None
    target: str | None
    count: int
    earlier: int
    households: int = 0
    residents: int = 0


@dataclass(frozen=True)
class Strip:
    """Ground that would be in no area (`others` empty), or in two. GeoJSON, m² on the local Gauss-Krüger plane."""

    geometry: str
    measure_m2: float
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """What a redrawing changes, from the local midnight `at` on. `batch` takes it back, once it has been applied."""

    at: datetime
    level: str
    closed: tuple[str, ...]
    opened: tuple[str, ...]
    moved: tuple[Moved, ...]
    gaps: tuple[Strip, ...]
    overlaps: tuple[Strip, ...]
    applied: bool = False
    batch: UUID | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)  # areas below that go on under another path

    @property
    def buildings(self) -> int:
        """Houses that come to another area."""
        return sum(move.count for move in self.moved if move.noun == "buildings")

    @property
    def households(self) -> int:
        """Households in those houses."""
        return sum(move.households for move in self.moved)


def redraw(
    connection: sa.Connection, path: str, shape: bytes, at: date | datetime, *, also: Mapping[str, bytes] | None = None,
    apply: bool = False,
) -> Difference:
    """Give an area another boundary from `at` on; with `also`, its neighbours in the same stroke.

    Shapes are WKB in the storage CRS; `at` is a day, or its midnight where this instance is. Raises `NotFound` for a path
    that has no area then, `Invalid` for a shape or a day that cannot be, `Conflict` when somebody else was quicker.
    """
    shapes = {path: shape, **(also or {})}
    moment = _midnight(connection, at)
    old = _standing(connection, shapes, moment)
    if len({row["level"] for row in old.values()}) > 1:
        raise Invalid("一次只能调整同一层级的区域。", field="also")
    opening = [{"like": p, "path": p, "code": old[p]["code"], "geom": drawn.hex()} for p, drawn in shapes.items()]
    return _done(connection, old, opening, moment, apply)


def split(
    connection: sa.Connection, path: str, pieces: Sequence[Piece], at: date | datetime, *, apply: bool = False
) -> Difference:
    """Cut an area into pieces with paths of their own; what lies below goes on under the piece that holds it."""
    if len(pieces) < 2:
        raise Invalid("至少要分成两块。", field="pieces")
    moment = _midnight(connection, at)
    old = _standing(connection, [path], moment, for_good=True)
    opening: list[dict[str, Any]] = [
        {"like": path, "parent": _above(path), "name": p.name, "code": p.code, "geom": p.shape.hex(), "of": [path]} for p in pieces
    ]
    return _done(connection, old, opening, moment, apply)


def merge(
    connection: sa.Connection, paths: Sequence[str], at: date | datetime, name: str, *, code: str | None = None,
    shape: bytes | None = None, apply: bool = False,
) -> Difference:
    """Join areas under one parent into one with a path of its own; its shape is theirs together, or `shape`."""
    if len(set(paths)) < 2:
        raise Invalid("至少要有两个区域才能合并。", field="paths")
    moment = _midnight(connection, at)
    old = _standing(connection, paths, moment, for_good=True)
    if len({_above(path) for path in paths}) > 1 or len({row["level"] for row in old.values()}) > 1:
        raise Invalid("只能合并同一上级之下的同级区域。", field="paths")
    together = shape or bytes(statements.run(connection, "joined_shape", ids=[row["id"] for row in old.values()]).scalar_one())
    first = min(old)
    opening = [{
        "like": first, "parent": _above(first), "name": name, "code": code, "geom": together.hex(), "of": sorted(old),
    }]
    return _done(connection, old, opening, moment, apply)


def withdraw(connection: sa.Connection, path: str, at: date | datetime, *, apply: bool = False) -> Difference:
    """End an area without a successor: the area above answers from then on."""
    moment = _midnight(connection, at)
    old = _standing(connection, [path], moment, for_good=True)
    if below := _below(connection, old, moment):
        raise Invalid("其下还有 {count} 个区域,请先调整它们。", count=len(below), field="path")
    return _done(connection, old, [], moment, apply)


def _midnight(connection: sa.Connection, at: date | datetime) -> datetime:
    if not isinstance(at, datetime):
        return connection.execute(sa.select(sa.func.local_midnight(at))).scalar_one()  # type: ignore[no-any-return]
    day = connection.scalar(sa.text("SELECT CAST(timezone(time_zone, :at) AS date) FROM instance"), {"at": at})
    if at != connection.scalar(sa.select(sa.func.local_midnight(day))):
        raise Invalid("区域只在当地零点换新。", field="at")
    return at


def _standing(
    connection: sa.Connection, paths: Iterable[str], moment: datetime, for_good: bool = False
) -> dict[str, Mapping[str, Any]]:
    """The versions in force at a moment, by path."""
    wanted = sorted(set(paths))
    rows: dict[str, Mapping[str, Any]] = {
        row["path"]: dict(row)
        for row in statements.run(connection, "standing_versions", paths=wanted, at=moment).mappings()
    }
    for path in wanted:
        row = rows.get(path)
        if row is None:
            raise NotFound(path=path)
        if row["valid_from"] >= moment:
            raise Invalid("这个区域在这一天才生效,或已另有安排。", field="at", path=path)
        if for_good and row["valid_to"] is not None:
            raise Invalid("这个区域以后已另有安排。", field="at", path=path)
        if for_good and row["root"]:
            raise Invalid("实例自己的区域不能拆分、合并或撤销。", field="path", path=path)
    return rows


def _done(
    connection: sa.Connection, old: Mapping[str, Mapping[str, Any]], opening: list[dict[str, Any]], moment: datetime, apply: bool
) -> Difference:
    """Write it, look at what it did, and unless it is to stay take it back."""
    level = next(iter(old.values()))["level"]
    below = _below(connection, old, moment) if any("of" in part for part in opening) else []
    tops = len(opening)
    opening = [*opening, *_carried(connection, opening, below)]
    closing = [*old, *(row["path"] for row in below)]
    reach = {
        "at": moment, "ids": [row["id"] for row in old.values()],
        "drawn": [bytes.fromhex(part["geom"]) for part in opening[:tops] if part.get("geom")],
    }
    before = _places(connection, level, reach)
    savepoint = connection.begin_nested()
    try:
        made = connection.execute(sa.select(sa.func.areas_redrawn(closing, sa.cast(opening, JSONB), moment))).scalar_one()
        after = _places(connection, level, reach)
        paths: list[str] = made["paths"] or []
        strips = statements.run(
            connection, "strips_arising", level=level, at=moment, ids=reach["ids"], opened=paths[:tops], grid=GRID, least=LEAST
        ).all()
    except BaseException:
        savepoint.rollback()
        raise
    if apply:
        savepoint.commit()
    else:
        savepoint.rollback()
    found = [Strip(row.geometry, row.measure, tuple(row.others)) for row in strips]
    return Difference(
        moment, level, tuple(sorted(old)), tuple(paths[:tops]), tuple(_moved(before, after)),
        tuple(strip for strip in found if not strip.others), tuple(strip for strip in found if strip.others),
        apply, UUID(made["batch"]) if apply else None,
        {part["like"]: path for part, path in zip(opening[tops:], paths[tops:], strict=True)},
    )


def _below(connection: sa.Connection, old: Mapping[str, Any], moment: datetime) -> list[dict[str, Any]]:
    """The areas below those, larger levels first."""
    rows = statements.run(connection, "versions_below", paths=list(old), at=moment).mappings()
    return [dict(row) for row in rows]


def _carried(connection: sa.Connection, opening: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The areas below as they go on: each under the piece that holds it, under a path of its own."""
    numbers: dict[str, int] = {}
    for number, part in enumerate(opening):
        for gone in part.get("of", ()):
            numbers.setdefault(gone, number)
    several = {gone for gone, count in Counter(gone for part in opening for gone in part.get("of", ())).items() if count > 1}
    carried: list[dict[str, Any]] = []
    for row in below:
        # Where a level is skipped, the nearest area above that is on the move.
        above = max((gone for gone in numbers if row["path"].startswith(gone)), key=len)
        number = numbers[above]
        if above in several:
            shapes = [bytes.fromhex(part["geom"]) for part in opening]
            number = statements.run(connection, "holding_piece", area=row["id"], pieces=shapes).scalar_one()
        numbers[row["path"]] = len(opening) + len(carried)
        carried.append({"like": row["path"], "under": number, "code": row["code"], "of": [row["path"]]})
    return carried


def _above(path: str) -> str:
    return path[: max((width for width in WIDTHS.values() if width < len(path)), default=0)]


Placed = dict[tuple[str, UUID], tuple[str | None, bool, int, int]]


def _places(connection: sa.Connection, level: str, reach: Mapping[str, Any]) -> Placed:
    """Where the records within reach are at the moment, at one level."""
    found: Placed = {}
    for name, noun in RESOURCES.items():
        if noun.place is Place.POINT:
            rows = statements.run(connection, "places_within_reach", noun=name, of_moment=noun.moment or "", level=level, **reach)
            for row in rows:
                found[name, row.id] = (row.path, row.earlier, row.households or 0, row.residents or 0)
    return found


def _moved(before: Placed, after: Placed) -> list[Moved]:
    sums: dict[tuple[str, str | None, str | None], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for key, (source, earlier, households, residents) in before.items():
        target = after[key][0]
        if source != target:
            line = sums[key[0], source, target]
            for n, value in enumerate((1, int(earlier), households, residents)):
                line[n] += value
    order = list(RESOURCES)
    lines = [Moved(*key, *line) for key, line in sums.items()]
    return sorted(lines, key=lambda m: (order.index(m.noun), m.source or "", m.target or ""))
