"""Placing in bulk: the same answer as the trigger's `place_point`, for a million points at a time.

The areas are remembered as label rasters, one a level and set of area versions, kept on disk by what they contain.
What a record stores is a number: its row of `placements`, one area version a level.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from geo import statements
from geo.catalog import RESOURCES, WIDTHS
from geo.errors import Invalid, NotFound
from geo.raster import REASONS, Levels, Placed, Raster
from geo.resource import Place, Resource

Strings = NDArray[np.object_]
LEVELS = tuple(WIDTHS)  # largest first
COLUMNS = ", ".join(LEVELS)


@dataclass(frozen=True)
class Area:
    """One area version, as placing needs it."""

    id: str
    level: str
    path: str
    code: str | None
    name: str
    since: datetime
    until: datetime | None
    label: tuple[float, float] | None


@dataclass(frozen=True)
class Epoch:
    """A stretch of time in which no boundary changed: its areas, and a raster for each level that has any."""

    areas: tuple[Area, ...]
    rasters: Mapping[str, Raster]
    by_path: Mapping[str, Area]

    @property
    def wanted(self) -> str | None:
        """The deepest level that a record must be found on."""
        return next((level for level in reversed(LEVELS) if level in self.rasters and level != "micro_grid"), None)


@dataclass(frozen=True)
class Places:
    """What a row of each point stores, in the order of the points."""

    placement: NDArray[np.int32]  # 0 for none
    scope: Strings
    reason: Strings
    nearest: Strings  # id of the nearest area, for points outside
    nearest_m: NDArray[np.float64]
    label: NDArray[np.float64]  # n × 2: the point shown in place of the true one, nan where no area is


@dataclass
class Placer:
    """The areas of every epoch, ready to be asked. Made once a load, inside its transaction."""

    connection: sa.Connection
    root: str
    switches: NDArray[np.float64]  # moments at which a boundary changed, POSIX seconds
    epochs: dict[int, Epoch] = field(default_factory=dict)
    areas: list[Area] = field(default_factory=list)
    shapes: dict[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    now: float = 0.0
    _numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    @classmethod
    def ready(cls, connection: sa.Connection, cache: Path | None = None) -> Self:
        """Read the living areas. `cache` is the folder in which prepared rasters are kept."""
        root, now = connection.execute(sa.text("SELECT instance_prefix(), extract(epoch FROM now())::float8")).one()
        areas, shapes = [], {}
        for row in statements.run(connection, "placeable_areas"):
            area = Area(
                str(row.id), row.level, row.path, row.code, row.name, row.valid_from, row.valid_to,
                None if row.x is None else (row.x, row.y),
            )
            areas.append(area)
            if row.geom is not None:
                shapes[area.id] = bytes(row.geom)
        moments = {a.since.timestamp() for a in areas} | {a.until.timestamp() for a in areas if a.until}
        return cls(connection, root, np.array(sorted(moments)), areas=areas, shapes=shapes, cache=cache, now=now)

    def place(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], moments: NDArray[np.float64] | None = None,
        region: NDArray[np.bool_] | None = None, stated: Strings | None = None,
    ) -> Places:
        """Place points given in degrees of the storage CRS.

        `moments` are POSIX seconds (nan: now), `region` marks points that are a region's centroid only, `stated` holds
        the area each record says it is in (code, path or name; None or '' for nothing).
        """
        count = len(lon)
        when = np.full(count, self.now) if moments is None else np.where(np.isnan(moments), self.now, moments)
        epoch = np.searchsorted(self.switches, when, side="right")
        found = Places(
            np.zeros(count, np.int32), np.full(count, self.root, object), np.full(count, None, object),
            np.full(count, None, object), np.full(count, np.nan), np.full((count, 2), np.nan),
        )
        present = int(np.searchsorted(self.switches, self.now, side="right"))
        for number in np.unique(epoch):
            rows = np.flatnonzero(epoch == number)
            self._placed(found, rows, lon[rows], lat[rows], int(number))
            if number < present:
                # Who answers is who answers now; where it was then is in the placement.
                self._answered(found, rows, lon[rows], lat[rows], present)
        if stated is not None:
            self._compared(found, epoch, stated)
        if region is not None and region.any():
            self._imprecise(found, region, stated)
        return found

    def epoch(self, number: int) -> Epoch:
        """The epoch after that many switches."""
        if number not in self.epochs:
            moment = self.switches[number - 1] if number else -np.inf
            holding = [
                a for a in self.areas
                if a.since.timestamp() <= moment and (a.until is None or a.until.timestamp() > moment)
            ]
            rasters = {}
            for level in LEVELS:
                drawn = [a for a in holding if a.level == level and a.id in self.shapes]
                if drawn:
                    rasters[level] = self._raster(drawn)
            self.epochs[number] = Epoch(tuple(holding), rasters, {a.path: a for a in holding})
        return self.epochs[number]

    def _raster(self, areas: Sequence[Area]) -> Raster:
        shapes = [self.shapes[a.id] for a in areas]
        if self.cache is None:
            return Raster.prepared([a.path for a in areas], shapely.from_wkb(shapes))
        told = hashlib.sha256()
        for area, shape in zip(areas, shapes, strict=True):
            told.update(f"{area.path}\0{len(shape)}\0".encode() + shape)
        file = self.cache / f"raster-{told.hexdigest()[:32]}.npz"
        kept = Raster.load(file)
        if kept is None:
            kept = Raster.prepared([a.path for a in areas], shapely.from_wkb(shapes))
            self.cache.mkdir(parents=True, exist_ok=True)
            kept.save(file)
        return kept

    def _combined(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], number: int
    ) -> tuple[list[tuple[tuple[str, ...], str | None]], NDArray[np.int32], Placed | None]:
        """The combinations of areas that occur (path a level, '' for none; reason at the wanted level), which of them
        each point has, and the wanted level's own answer."""
        now = self.epoch(number)
        answer = Levels(now.rasters).place(lon, lat, (now.wanted,) if now.wanted else ())
        kinds = []
        for labels, reasons in zip(answer.labels, answer.reasons, strict=True):
            found = {
                level: now.rasters[level].paths[label]
                for level, label in zip(answer.levels, labels, strict=True) if label >= 0
            }
            reason = REASONS[reasons[answer.levels.index(now.wanted)]] if now.wanted else None
            kinds.append((tuple(found.get(level, "") for level in LEVELS), reason))
        return kinds, answer.which, answer.placed.get(now.wanted or "")

    def _placed(
        self, found: Places, rows: NDArray[np.intp], lon: NDArray[np.float64], lat: NDArray[np.float64], number: int
    ) -> None:
        kinds, which, wanted = self._combined(lon, lat, number)
        epoch = self.epoch(number)
        ids = self._numbered([paths for paths, _ in kinds], epoch)
        deepest = [next((path for path in reversed(paths) if path), "") for paths, _ in kinds]
        labels = [_label(epoch, paths) for paths, _ in kinds]
        found.placement[rows] = np.array(ids, np.int32)[which] if kinds else 0
        found.scope[rows] = np.array([path or self.root for path in deepest], object)[which]
        found.reason[rows] = np.array([reason for _, reason in kinds], object)[which]
        found.label[rows] = np.array(labels, np.float64).reshape(-1, 2)[which]
        if wanted is not None:
            lost = np.flatnonzero(wanted.nearest >= 0)
            paths = epoch.rasters[epoch.wanted or ""].paths
            near = np.array([epoch.by_path[path].id for path in paths], object)
            found.nearest[rows[lost]] = near[wanted.nearest[lost]]
            found.nearest_m[rows[lost]] = wanted.distance_m[lost]

    def _answered(
        self, found: Places, rows: NDArray[np.intp], lon: NDArray[np.float64], lat: NDArray[np.float64], number: int
    ) -> None:
        kinds, which, _ = self._combined(lon, lat, number)
        now = np.array([next((path for path in reversed(paths) if path), "") for paths, _ in kinds], object)[which]
        known = (now != "") & (found.placement[rows] > 0)
        found.scope[rows[known]] = now[known]

    def _numbered(self, kinds: Sequence[tuple[str, ...]], epoch: Epoch) -> list[int]:
        """The number in `placements` of each combination of paths, made where it is new; 0 for none at all."""
        keys = [tuple(epoch.by_path[path].id if path else "" for path in paths) for paths in kinds]
        fresh = {
            key: next(path for path in reversed(paths) if path)
            for key, paths in zip(keys, kinds, strict=True) if any(paths) and key not in self._numbers
        }
        if fresh:
            told = [
                {"path": path, **{level: id or None for level, id in zip(LEVELS, key, strict=True)}}
                for key, path in fresh.items()
            ]
            for row in statements.run(self.connection, "placement_numbers", wanted=json.dumps(told)):
                self._numbers[tuple(row[1:])] = row[0]
        return [self._numbers.get(key, 0) for key in keys]

    def _compared(self, found: Places, epoch: NDArray[np.intp], stated: Strings) -> None:
        """Mark what contradicts the area its record states; such a record answers to what both have in common."""
        said = np.flatnonzero(np.array([bool(text) for text in stated]) & (found.placement > 0))
        if not len(said):
            return
        verdicts: dict[tuple[int, int, str], str | None] = {}
        numbers = {number: key for key, number in self._numbers.items()}
        for row in said:
            if found.reason[row] == "outside":
                continue
            question = (int(epoch[row]), int(found.placement[row]), str(stated[row]))
            if question not in verdicts:
                verdicts[question] = self._claimed(*question, numbers)
            claimed = verdicts[question]
            if claimed is not None:
                found.reason[row] = "contradiction"
                found.scope[row] = max(_above(found.scope[row], claimed), self.root)

    def _claimed(self, number: int, placement: int, text: str, numbers: Mapping[int, tuple[str, ...]]) -> str | None:
        """The path that a stated area stands for when it does not agree with where the point is, else None."""
        epoch = self.epoch(number)
        said = sorted(area.path for area in _named(epoch, text.strip()))
        if not said:
            return None
        by_id = {area.id: area.path for area in epoch.areas}
        paths = [by_id[id] for id in numbers[placement] if id]
        deepest = max(paths, key=len)
        if any(deepest.startswith(path) or path.startswith(deepest) or path in paths for path in said):
            return None
        return said[0]

    def stated(self, text: str | None) -> str:
        """The path of the area that a text means now, or the root: who answers for what has no place of its own."""
        epoch = self.epoch(int(np.searchsorted(self.switches, self.now, side="right")))
        said = [area.path for area in _named(epoch, (text or "").strip())] if text and text.strip() else []
        if not said and text and any(area.until is not None and area.until.timestamp() <= self.now for area in self.areas):
            # Whoever came after an area that was called so: the line of succession is for the database to follow.
            return str(self.connection.scalar(sa.select(sa.func.stated_now(text.strip()))))
        return min(said, key=lambda path: (-len(path), path), default=self.root)

    def _imprecise(self, found: Places, region: NDArray[np.bool_], stated: Strings | None) -> None:
        """A region's centroid keeps the area it falls in, marked; it answers where its region is known, else at the root."""
        known: dict[str, str] = {}
        for row in np.flatnonzero(region):
            text = str(stated[row] or "") if stated is not None else ""
            if text not in known:
                known[text] = self.stated(text)
            found.scope[row] = known[text]
        found.reason[region] = "imprecise"
        found.nearest[region] = None
        found.nearest_m[region] = np.nan


def replace(
    connection: sa.Connection, resource: str | None = None, box: tuple[float, ...] | None = None, cache: Path | None = None
) -> dict[str, int]:
    """Place every record of a noun (or of all) anew, or those in a box (west, south, east, north in degrees). Returns how
    many moved; only what differs is written. Polygons and lines get their shares again.

    Raises `NotFound` for an unknown noun, `Invalid` for a box that is none.
    """
    if resource is not None and resource not in RESOURCES:
        raise NotFound("没有名为 {resource} 的资源。", resource=resource, resources=list(RESOURCES))
    if box is not None and not (len(box) == 4 and -180 <= box[0] <= box[2] <= 180 and -90 <= box[1] <= box[3] <= 90):
        raise Invalid("范围须是 west,south,east,north 四个经纬度。", field="bbox")
    reach = dict(zip(("west", "south", "east", "north"), box or (None,) * 4, strict=True))
    placer = Placer.ready(connection, cache)
    moved = {
        noun: _replaced(connection, declared, placer, reach)
        for noun, declared in RESOURCES.items() if declared.place is Place.POINT and resource in (None, noun)
    }
    for noun, declared in RESOURCES.items():
        if declared.place is Place.INHERITS and resource in (None, noun):
            [moved[noun]] = statements.run(connection, "settle_houses", noun=noun, seat=list(declared.seat), **reach).scalars()
    if resource is None:
        statements.run(connection, "settle_shapes", **reach)
    return moved


def _replaced(connection: sa.Connection, resource: Resource, placer: Placer, reach: Mapping[str, object]) -> int:
    """Place the records of one noun anew; what differs goes through a table of its own and one UPDATE."""
    name, moment = resource.name, f"extract(epoch FROM n.{resource.moment})" if resource.moment else "NULL"
    rows = connection.execute(
        sa.text(
            f"SELECT n.id::text, ST_X(p), ST_Y(p), {moment}::float8, n.precision = 'region', n.stated_area, n.placement, n.scope,"
            f" n.placing_reason, n.nearest_area::text, n.nearest_m FROM {name} AS n, ST_PointOnSurface(n.geom) AS p"
            " WHERE n.retired_at IS NULL AND NOT ST_IsEmpty(p)"
            " AND (CAST(:west AS float8) IS NULL OR n.geom && ST_MakeEnvelope(:west, :south, :east, :north, 4326))"
        ),
        reach,
    ).all()
    if not rows:
        return 0
    ids, lon, lat, when, region, stated, placement, scope, reason, nearest, metres = zip(*rows, strict=True)
    found = placer.place(
        np.array(lon, float), np.array(lat, float), np.array(when, float), np.array(region, bool), np.array(stated, object)
    )
    if name == "buildings":
        for row, path in statements.run(connection, "whole_houses", houses=list(ids), scopes=found.scope.tolist()):
            found.scope[row] = path
    changed = np.flatnonzero(
        (np.array([number or 0 for number in placement]) != found.placement) | (np.array(scope, object) != found.scope)
        | (np.array(reason, object) != found.reason) | (np.array(nearest, object) != found.nearest)
        | (np.abs(np.array(metres, float) - found.nearest_m) > 1)
    )
    told = [
        {
            "id": ids[at], "placement": int(found.placement[at]) or None, "scope": found.scope[at], "reason": found.reason[at],
            "nearest": found.nearest[at], "nearest_m": None if np.isnan(found.nearest_m[at]) else float(found.nearest_m[at]),
        }
        for at in changed
    ]
    coarse = f", geom_coarse = coarse_point(m.placement, '{resource.coarse}', n.geom)" if resource.coarse else ""
    for start in range(0, len(told), 20_000):
        connection.execute(
            sa.text(
                f"UPDATE {name} AS n SET placement = m.placement, scope = m.scope, placing_reason = m.reason,"
                f" nearest_area = m.nearest, nearest_m = m.nearest_m{coarse}"
                " FROM json_to_recordset(CAST(:moved AS json)) AS m"
                " (id uuid, placement integer, scope text, reason text, nearest uuid, nearest_m float8) WHERE n.id = m.id"
            ),
            {"moved": json.dumps(told[start : start + 20_000])},
        )
    return len(told)


def review(connection: sa.Connection, limit: int = 200, reason: str | None = None, noun: str | None = None) -> list[dict[str, Any]]:
    """The review queue: records in no area, in two, contradicting what they state, or placed only roughly.

    Each with its noun, title, reason, stated area, nearest area and distance in metres, and the point shown to the public.
    """
    rows = statements.run(connection, "review_queue", limit=limit, reason=reason, noun=noun)
    return [dict(row) for row in rows.mappings()]


def review_counts(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """How many records of each noun wait for a second look, by reason."""
    counts: dict[str, dict[str, int]] = {}
    for noun, reason, number in statements.run(connection, "review_counts"):
        counts.setdefault(noun, {})[reason] = number
    return counts


def _label(epoch: Epoch, paths: tuple[str, ...]) -> tuple[float, float]:
    """The label point of the smallest area no smaller than a grid."""
    for level, path in zip(reversed(LEVELS), reversed(paths), strict=True):
        if level != "micro_grid" and path and (label := epoch.by_path[path].label):
            return label
    return (np.nan, np.nan)


def _named(epoch: Epoch, text: str) -> list[Area]:
    names = (text, f"{text}社区", f"{text}街道", f"{text}村")
    return [a for a in epoch.areas if text in (a.code, a.path) or a.name in names]


def _above(one: str, other: str) -> str:
    """The longest path above both, ending where a level ends."""
    common = [width for width in WIDTHS.values() if width <= min(len(one), len(other)) and one[:width] == other[:width]]
    return one[: max(common)] if common else ""
