"""Which area covers each of a million points: a label raster, with exact tests only where a boundary passes.

One `Raster` remembers one set of areas of one level. A cell of its grid says: this area and no other covers
all of me; nothing touches me; or a boundary passes (or areas overlap), look closer. A closer look counts the
turns of each ring around the point, from the edges inside that one cell.

The answer is the one PostGIS gives, to the last point. `ST_Covers` and `ST_Contains` of a polygon and a point
never reach GEOS: PostGIS answers them with a winding number in plain doubles, which differed from the robust
predicate of GEOS (and so of shapely) at 118 of 58,920 points computed on edges of 1° length, and from the
arithmetic here at none. It is the same arithmetic, multiplication by multiplication; every shortcut rests on
comparisons that hold for it too, see `Raster._turned`. Two departures are known. From its second look at a
polygon on, PostGIS skips edges shorter than 1e-12°, and answers false for points inside, level with such an edge,
for which its first answer was true: the edges count here, and areas are best stored without them. And a processor
on which PostGIS was compiled with fused multiplication may decide otherwise at points within 1e-14° of an edge.

Coordinates are degrees, longitude first, in the storage CRS.
"""

import math
import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geo.errors import Invalid

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Labels = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Number = TypeVar("Number", np.int64, np.float64)

CLEAN, EDGE, OVERLAP, OUTSIDE = range(4)
REASONS = (None, "edge", "overlap", "outside")

# A point in no area, but no farther than this from one (planar degrees, 1.1 cm of latitude), lies on its edge.
# Planar, because a geodesic between the ends of a 1 km edge leaves the straight edge by more than 1 cm.
NEAR = 1e-7
# Of areas equally near to a millimetre, the one with the smallest path is the nearest.
TIE = 1e-3

# What a cell holds besides a label: nothing, or below that the number of a seam (-2 is seam 0, -3 seam 1 …).
NOTHING = -1
# Columns are widened by this share of a cell where edges are looked for. Where an edge crosses a row is known
# to 1e-5 of a cell at worst, so no edge is missed, and the side of a point left of the widened edge is sure.
SLACK = 1 / 1024
# Cells for each area and the bounds of the whole: bench/placing.py.
CELLS_AN_AREA, FEWEST, MOST = 400, 1 << 16, 1 << 22
# Points taken at once, so that intermediate arrays stay in the processor's cache; those outside grow a hundredfold.
STRETCH, FAR_STRETCH = 1 << 16, 1 << 12
# Edges in one leaf of the search tree of boundaries, and boxes under a box.
PIECE, FAN = 4, 4
# Codes of combined levels for which a table is laid out: 84 MB.
TABLE = 1 << 24
FORMAT = 1

# A chain of edges right of the cell ends before, or begins after, this edge.
BEFORE, AFTER = np.uint8(1), np.uint8(2)
# Larger than any code of a ring or polygon that settles a point; see `Raster._settled`.
UNSETTLED = np.int32(1 << 30)

# GRS80 (CGCS2000); the polar radius of WGS84 differs by 0.1 mm.
AXIS, FLATTENING = 6378137.0, 1 / 298.257222101
SQUARE = FLATTENING * (2 - FLATTENING)


@dataclass(frozen=True)
class Placed:
    """The area of each point, in the order of the points.

    `label` is an index into `Raster.paths`, -1 for a point outside; `reason` an index into `REASONS`.
    `nearest` (index, else -1) and `distance_m` (metres, else nan) are of points outside, when asked for.
    """

    label: Labels
    reason: Bytes
    nearest: Labels
    distance_m: Floats


class Rings(NamedTuple):
    """All rings of all areas, end to end."""

    x: Floats  # vertices, the first of a ring repeated at its end
    y: Floats
    start: Labels
    area: Labels
    part: Labels  # number of the polygon among all polygons of all areas
    rank: Labels  # 0 is the shell, then its holes


class Seams(NamedTuple):
    """The cells that need a closer look, with all there is to see."""

    start: Labels  # seam → its passages: a ring that enters the cell or goes around it
    ring: Labels  # passage → its ring
    turns: NDArray[np.int16]  # passage → turns around the cell by what does not enter it
    edges: Labels  # passage → its edges
    vertex: Labels  # edge → the vertex where it begins
    flags: Bytes


@dataclass(frozen=True)
class Raster:
    """The memory of one set of areas: made once for each version of the set, kept, asked often."""

    paths: tuple[str, ...]
    frame: Floats  # west, south, cells per degree, rows, columns
    cells: Labels
    rings: Rings
    seams: Seams

    @classmethod
    def prepared(cls, paths: Sequence[str], polygons: ArrayLike, cells: int | None = None) -> Self:
        """The raster of areas given as valid Polygons or MultiPolygons in degrees, one path each, in any order.

        Raises `Invalid` when paths repeat or an area is empty or no polygon.
        """
        areas = np.atleast_1d(np.asarray(polygons, dtype=object))
        if not len(set(paths)) == len(paths) == len(areas):
            raise Invalid("每个区域须有且只有一个路径。")
        if not np.isin(shapely.get_type_id(areas), (3, 6)).all() or shapely.is_empty(areas).any():
            raise Invalid("区域必须是非空的面。")
        order = sorted(range(len(paths)), key=paths.__getitem__)
        rings = _unravelled(areas[order])
        frame = _framed(rings, cells or min(max(CELLS_AN_AREA * len(areas), FEWEST), MOST))
        labels, seams = _drawn(rings, frame)
        return cls(tuple(paths[at] for at in order), frame, labels, rings, seams)

    def place(self, lon: ArrayLike, lat: ArrayLike, nearest: bool = True) -> Placed:
        """The area covering each point (degrees); of several the one with the smallest path.

        `nearest` asks for the nearest area of points outside too, at about 5 µs for each of these.
        Raises `Invalid` when a coordinate is not a number or off the globe.
        """
        px, py = _checked(lon, lat)
        label = np.empty(len(px), np.int32)
        reason = np.empty(len(px), np.uint8)
        beside = np.full(len(px), -1, np.int32)
        distance = np.full(len(px), np.nan)
        for first in range(0, len(px), STRETCH):
            some = slice(first, first + STRETCH)
            label[some], reason[some] = self._looked_up(px[some], py[some])
        lost = np.flatnonzero(label == NOTHING)
        reason[lost] = OUTSIDE
        for first in range(0, len(lost) if self.paths else 0, FAR_STRETCH):
            far = lost[first : first + FAR_STRETCH]
            label[far] = self._beside(px[far], py[far])
            outside = label[far] == NOTHING
            reason[far[~outside]] = EDGE
            far = far[outside]
            if nearest:
                beside[far], distance[far] = self._nearest(px[far], py[far])
        return Placed(label, reason, beside, distance)

    @property
    def nbytes(self) -> int:
        """Bytes held, without the search tree, which grows when first a point lies outside."""
        return sum(array.nbytes for array in self._arrays().values())

    def save(self, file: Path) -> None:
        """Write the raster to a file, which is replaced as a whole or not at all."""
        fresh = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            with fresh.open("wb") as to:
                np.savez(to, allow_pickle=False, format=np.asarray(FORMAT), **self._arrays())
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """The raster that `save` wrote; None if there is none, or it is damaged or of another format."""
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
                if int(kept["format"]) != FORMAT:
                    return None
                rings = Rings(*(kept[f"rings_{name}"] for name in Rings._fields))
                seams = Seams(*(kept[f"seams_{name}"] for name in Seams._fields))
                return cls(tuple(kept["paths"].tolist()), kept["frame"], kept["cells"], rings, seams)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "paths": np.asarray(self.paths, dtype=np.str_),
            "frame": self.frame,
            "cells": self.cells,
            **{f"rings_{name}": array for name, array in self.rings._asdict().items()},
            **{f"seams_{name}": array for name, array in self.seams._asdict().items()},
        }

    def _looked_up(self, px: Floats, py: Floats) -> tuple[Labels, Bytes]:
        west, south, scale, rows, columns = self.frame
        cell = _numbered(py, south, scale, int(rows))
        cell *= int(columns)
        cell += _numbered(px, west, scale, int(columns))
        label = self.cells[cell]
        reason = np.full(len(px), CLEAN, np.uint8)
        close = np.flatnonzero(label < NOTHING)
        if len(close):
            label[close], reason[close] = self._settled(px[close], py[close], NOTHING - 1 - label[close])
        return label, reason

    def _settled(self, px: Floats, py: Floats, seam: Labels) -> tuple[Labels, Bytes]:
        """Labels and reasons in cells that a boundary enters, from the passages of rings through them."""
        seams = self.seams
        point, passage = _spread(seams.start[seam], seams.start[seam + 1])
        ring = seams.ring[passage]
        rank, part, area = self.rings.rank[ring], self.rings.part[ring], self.rings.area[ring]
        side = self._turned(px, py, point, passage)

        # The first ring of a polygon that is not merely around the point settles it: on the ring → on the
        # boundary (1), out of the shell or within a hole → outside (0); if none does, inside (2).
        code = np.where(side == 0, 4 * rank + 1, np.where((side > 0) == (rank > 0), 4 * rank, UNSETTLED + 2))
        head = _heads(point, part)
        code = _least(code, head)
        # And the first polygon of an area that does not leave the point outside settles the area.
        point, area = point[head], area[head]
        head = _heads(point, area)
        code = _least(np.where(code & 3, 4 * np.arange(len(code)) + (code & 3), UNSETTLED), head) & 3
        point, area = point[head], area[head]

        covering = np.flatnonzero(code)[::-1]
        label = np.full(len(px), NOTHING, np.int32)
        label[point[covering]] = area[covering]  # the last written stays, and that is the smallest
        several = np.bincount(point[covering], minlength=len(px)) > 1
        interior = np.bincount(point[code == 2], minlength=len(px)) > 0
        return label, np.where(several, np.where(interior, OVERLAP, EDGE), CLEAN).astype(np.uint8)

    def _turned(self, px: Floats, py: Floats, point: Integers, passage: Integers) -> NDArray[np.int8]:
        """Each point against each passage of its cell: 1 inside the ring, 0 on it, -1 outside.

        An edge counts +1 where it rises and -1 where it falls past the point on its right, lower end included.
        Of the edges that do not enter the cell, those to its left never count; those to its right count for
        sure when they pass the latitude, and in a chain of them all ends cancel but the first and last. An end
        above or below the row of the cell makes a constant (`Seams.turns`); one on an edge inside the cell
        depends on the point (`BEFORE`, `AFTER`).
        """
        seams, rings = self.seams, self.rings
        start, stop = seams.edges[passage], seams.edges[passage + 1]
        pair, at = _spread(start, stop)
        vertex, flags, who = seams.vertex[at], seams.flags[at], point[pair]
        x, y = px[who], py[who]
        x1, y1, x2, y2 = rings.x[vertex], rings.y[vertex], rings.x[vertex + 1], rings.y[vertex + 1]
        # PostGIS's own expression; in exact terms, twice the area of the triangle.
        side = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)
        below1, below2 = y < y1, y < y2
        turn = (~below1 & below2 & (side > 0)).astype(np.int8)
        turn -= below1 & ~below2 & (side < 0)
        turn += below1 & (flags & BEFORE).astype(np.bool_)
        turn -= below2 & (flags & AFTER).astype(np.bool_)
        total = np.concatenate(([0], np.cumsum(turn, dtype=np.int32)))
        upto = np.cumsum(stop - start)
        turns = seams.turns[passage] + total[upto] - total[upto - (stop - start)]
        state = np.where(turns != 0, 1, -1).astype(np.int8)

        flat = np.flatnonzero(side == 0)
        x, y, x1, y1, x2, y2 = x[flat], y[flat], x1[flat], y1[flat], x2[flat], y2[flat]
        along = (np.minimum(x1, x2) <= x) & (x <= np.maximum(x1, x2))
        along &= (np.minimum(y1, y2) <= y) & (y <= np.maximum(y1, y2))
        state[pair[flat[along]]] = 0
        return state

    @cached_property
    def _in_degrees(self) -> "Boundary":
        """The boundaries in degrees."""
        return Boundary(self.rings, self.rings.x, self.rings.y)

    @cached_property
    def _in_metres(self) -> "Boundary":
        """The boundaries in the Mercator projection."""
        return Boundary(self.rings, *_projected(self.rings.x, self.rings.y))

    def _beside(self, px: Floats, py: Floats) -> Labels:
        """The smallest area at most `NEAR` each point, -1 if there is none."""
        point, piece = self._in_degrees.within(px, py, NEAR * 1.001)
        near = np.flatnonzero(self._in_degrees.reached(px[point], py[point], piece)[0] <= NEAR)
        return _smallest(len(px), point[near], self._in_degrees.area[piece[near]])

    def _nearest(self, px: Floats, py: Floats) -> tuple[Labels, Floats]:
        """The nearest area to each point and the metres to it.

        Nearest is nearest in the Mercator projection of the ellipsoid (EPSG:3395): conformal, so that it favours
        no direction as plain degrees do, and one plane for points anywhere.
        """
        x, y = _projected(px, py)
        area, there, north = self._in_metres.nearest(x, y)
        # Simpson's rule for the scale on the way.
        start, middle, end = (_stretched(at) for at in (y, (y + north) / 2, north))
        metres: Floats = np.hypot(there - x, north - y) * (1 / start + 4 / middle + 1 / end) / 6
        return area, metres


class Boundary:
    """All boundaries in a plane, cut into pieces of a few edges under a tree of boxes, each over `FAN` below it.

    All points go down the tree together, a few array operations a level. Areas of 10 and of 100,000 edges cost the
    same, and points across the country as little as those across the street (4 to 6 µs).
    """

    def __init__(self, rings: Rings, x: Floats, y: Floats) -> None:
        edges = np.diff(rings.start) - 1
        ring, start = _spread(np.zeros(len(edges), np.intp), -(-edges // PIECE))
        start *= PIECE
        count = np.minimum(edges[ring] - start, PIECE)
        start += rings.start[ring]
        piece, vertex = _spread(start, start + count + 1)
        boxes = _boxes(np.stack((x, x, y, y))[:, vertex], _heads(piece))
        order = np.argsort(_interleaved(boxes[0] + boxes[1], boxes[2] + boxes[3]))
        self.area = rings.area[ring][order]
        self._x, self._y, self._start, self._stop = x, y, start[order], (start + count)[order]
        self._tree = [boxes[:, order]]
        while (width := self._tree[0].shape[1]) > 1:
            self._tree.insert(0, _boxes(self._tree[0], np.arange(0, width, FAN)))

    def within(self, px: Floats, py: Floats, reach: float) -> tuple[Integers, Integers]:
        """Pairs of point and piece, point after point, with all pieces no farther than `reach` from the point."""
        point, node = np.arange(len(px)), np.zeros(len(px), np.intp)
        for boxes in self._tree[1:]:
            point, node = _below(point, node, boxes)
            kept = _apart(boxes[:, node], px[point], py[point]) <= reach * reach
            point, node = point[kept], node[kept]
        return point, node

    def nearest(self, px: Floats, py: Floats) -> tuple[Labels, Floats, Floats]:
        """The nearest area to each point, and the place where its boundary is reached."""
        point, node = np.arange(len(px)), np.zeros(len(px), np.intp)
        for boxes in self._tree[1:]:
            point, node = _below(point, node, boxes)
            box, x, y = boxes[:, node], px[point], py[point]
            surely = np.sqrt(_least(_apart_at_most(box, x, y), _heads(point))) + TIE
            kept = _apart(box, x, y) <= surely[point] ** 2
            point, node = point[kept], node[kept]
        distance, x, y = self.reached(px[point], py[point], node)
        least = _least(distance, _heads(point))[point]
        close, first = distance <= least + TIE, distance == least
        area = _smallest(len(px), point[close], self.area[node[close]])
        there, north = np.empty(len(px)), np.empty(len(px))
        there[point[first]], north[point[first]] = x[first], y[first]
        return area, there, north

    def reached(self, px: Floats, py: Floats, piece: Integers) -> tuple[Floats, Floats, Floats]:
        """How far each point is from its piece, by the arithmetic of PostGIS, and the place on the piece."""
        pair, vertex = _spread(self._start[piece], self._stop[piece])
        x, y = px[pair], py[pair]
        x1, y1, x2, y2 = self._x[vertex], self._y[vertex], self._x[vertex + 1], self._y[vertex + 1]
        dx, dy = x2 - x1, y2 - y1
        length = dx * dx + dy * dy
        share = np.divide((x - x1) * dx + (y - y1) * dy, length, out=np.zeros_like(x), where=length > 0)
        share = np.clip(share, 0, 1)
        # At the end the end itself: the sum would miss it by rounding.
        x = np.where(share < 1, x1 + share * dx, x2)
        y = np.where(share < 1, y1 + share * dy, y2)
        ox, oy = x - px[pair], y - py[pair]
        distance = np.sqrt(ox * ox + oy * oy)
        least = _least(distance, _heads(pair))
        first = distance == least[pair]
        there, north = np.empty(len(piece)), np.empty(len(piece))
        there[pair[first]], north[pair[first]] = x[first], y[first]
        return least, there, north


@dataclass(frozen=True)
class Placements:
    """Points placed at several levels at once: few combinations, and one number a point.

    `labels` and `reasons` have a row for each combination that occurs and a column for each of `levels`;
    `which` is the row of each point. `placed` keeps each level's own answer.
    """

    levels: tuple[str, ...]
    labels: Labels
    reasons: Bytes
    which: Labels
    placed: Mapping[str, Placed]


@dataclass(frozen=True)
class Levels:
    """One raster for each level, asked together."""

    rasters: Mapping[str, Raster]

    @classmethod
    def prepared(cls, areas: Mapping[str, tuple[Sequence[str], ArrayLike]]) -> Self:
        """Paths and polygons of each level, as `Raster.prepared` takes them."""
        return cls({level: Raster.prepared(paths, polygons) for level, (paths, polygons) in areas.items()})

    def place(self, lon: ArrayLike, lat: ArrayLike, nearest: Collection[str] | None = None) -> Placements:
        """The area of each level for each point (degrees), and the nearest for points outside: of the levels that
        `nearest` names, or of all."""
        placed = {
            level: raster.place(lon, lat, nearest is None or level in nearest)
            for level, raster in self.rasters.items()
        }
        which = np.zeros(len(np.atleast_1d(lon)), np.int32)
        labels, reasons = np.empty((1, 0), np.int32), np.empty((1, 0), np.uint8)
        for level, found in placed.items():
            own = len(REASONS) * (len(self.rasters[level].paths) + 1)
            code = which.astype(np.int64) * own + len(REASONS) * (found.label + 1) + found.reason
            seen, which = _condensed(code, len(labels) * own)
            before, rest = np.divmod(seen, own)
            label, reason = np.divmod(rest, len(REASONS))
            labels = np.column_stack((labels[before], label.astype(np.int32) - 1))
            reasons = np.column_stack((reasons[before], reason.astype(np.uint8)))
        return Placements(tuple(placed), labels, reasons, which, placed)


def _condensed(code: Integers, bound: int) -> tuple[Integers, Labels]:
    """The codes that occur, ascending, and the position of each among them; as `np.unique`, but without sorting
    as long as the table of all possible codes stays small (1 M points: 10 ms for 80 ms)."""
    if bound > TABLE:
        seen, position = np.unique(code, return_inverse=True)
        return seen, position.astype(np.int32)
    occurs = np.zeros(bound, np.bool_)
    occurs[code] = True
    seen = np.flatnonzero(occurs)
    table = np.empty(bound, np.int32)
    table[seen] = np.arange(len(seen), dtype=np.int32)
    return seen, table[code]


def _checked(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    px, py = np.atleast_1d(np.asarray(lon, np.float64)), np.atleast_1d(np.asarray(lat, np.float64))
    # Written so that a NaN fails it.
    sound = (np.abs(px) <= 180) & (np.abs(py) <= 90)
    if not sound.all():
        first = int(np.argmin(sound))
        raise Invalid("坐标不是地球上的经纬度。", row=first, count=int((~sound).sum()))
    return px, py


def _unravelled(areas: NDArray[np.object_]) -> Rings:
    parts, area = shapely.get_parts(areas, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    x, y = np.ascontiguousarray(vertices.T)
    start = _starts(np.bincount(ring, minlength=len(rings)))
    rank = np.arange(len(rings)) - np.searchsorted(part, part)
    return Rings(x, y, start, area[part].astype(np.int32), part.astype(np.int32), rank.astype(np.int32))


def _framed(rings: Rings, cells: int) -> Floats:
    """A grid of about so many square cells (in degrees) with a margin of one cell all around."""
    if not len(rings.x):
        return np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    west, south, east, north = rings.x.min(), rings.y.min(), rings.x.max(), rings.y.max()
    # The second bound holds the frame of one thin strip to a few times the cells asked for.
    step = max(math.sqrt((east - west) * (north - south) / cells), max(east - west, north - south) / cells)
    rows, columns = (math.floor(extent / step) + 3 for extent in (north - south, east - west))
    return np.array([west - step, south - step, 1 / step, rows, columns])


def _numbered(at: Floats, origin: float, scale: float, count: int) -> Integers:
    """The row or column of a coordinate. Monotone, rounding included: of two vertices or points the one in the
    higher row lies higher."""
    number = at - origin
    number *= scale
    return np.clip(number, 0, count - 1, out=number).astype(np.intp)


class Strides(NamedTuple):
    """Edges cut by the rows of the grid: one stride is one edge in one row."""

    ring: Integers
    vertex: Integers  # where the edge begins
    row: Integers
    first: Integers  # columns that the edge may touch in this row
    last: Integers
    before: Integers  # first column of the edge before, if it joins this one in this row; else -1
    after: Integers
    rise: NDArray[np.int8]  # 1 or -1 where the edge leaves the row upwards or comes from above


class Gaps(NamedTuple):
    """Runs of cells, in a row, that a ring goes around without entering them."""

    ring: Integers
    start: Integers
    stop: Integers
    turns: NDArray[np.int16]


def _drawn(rings: Rings, frame: Floats) -> tuple[Labels, Seams]:
    """The cells and seams of a set of rings."""
    size, columns = int(frame[3] * frame[4]), int(frame[4])
    strides = _strode(rings, frame)
    cell, ring, edges, vertex, flags = _entered(strides, columns, len(rings.area))
    turns, gaps = _wound(strides, cell, ring, size, columns)
    cells, seam = _filled(rings, gaps, cell, size)

    # The rings that go all around a seam are passages too, without edges.
    rank = _starts(seam.astype(np.intp))
    around, at = _spread(rank[gaps.start], rank[gaps.stop])
    cell = np.concatenate((cell, np.flatnonzero(seam)[at]))
    ring = np.concatenate((ring, gaps.ring[around]))
    turns = np.concatenate((turns, gaps.turns[around]))
    edges = np.concatenate((edges, np.zeros(len(around), np.intp)))
    # Stable, and passages without edges move none: the edges stay in order.
    order = np.lexsort((ring, cell))
    cell, ring, turns, edges = cell[order], ring[order], turns[order], edges[order]

    start = np.searchsorted(cell, np.append(np.flatnonzero(seam), size)).astype(np.int32)
    cells[seam] = NOTHING - 1 - np.arange(len(start) - 1)
    return cells, Seams(start, ring.astype(np.int32), turns, _starts(edges), vertex.astype(np.int32), flags)


def _strode(rings: Rings, frame: Floats) -> Strides:
    west, south, scale = frame[:3]
    rows, columns = int(frame[3]), int(frame[4])
    u, v = (rings.x - west) * scale, (rings.y - south) * scale
    level = _numbered(rings.y, south, scale, rows)
    number, begin = _spread(rings.start[:-1], rings.start[1:] - 1)
    low, high = np.minimum(level[begin], level[begin + 1]), np.maximum(level[begin], level[begin + 1])
    edge, row = _spread(low, high + 1)
    vertex = begin[edge]

    u1, v1, u2, v2 = u[vertex], v[vertex], u[vertex + 1], v[vertex + 1]
    rise = v2 - v1
    # The whole extent of edges flatter than the slack; dividing by their rise would lose the precision.
    steep = np.abs(rise) > SLACK
    slope = np.divide(u2 - u1, rise, out=np.zeros_like(rise), where=steep)
    bottom = np.where(steep, u1 + (np.maximum(np.minimum(v1, v2), row - SLACK) - v1) * slope, u1)
    top = np.where(steep, u1 + (np.minimum(np.maximum(v1, v2), row + 1 + SLACK) - v1) * slope, u2)
    first = np.clip(np.floor(np.minimum(bottom, top) - SLACK), 0, columns - 1).astype(np.intp)
    last = np.clip(np.floor(np.maximum(bottom, top) + SLACK), 0, columns - 1).astype(np.intp)

    stride = _starts(high + 1 - low)[:-1] - low  # + row = the stride of an edge in a row
    start = rings.start - np.arange(len(rings.start))  # ring → its first edge
    behind, ahead = np.arange(-1, len(begin) - 1), np.arange(1, len(begin) + 1)
    behind[start[:-1]], ahead[start[1:] - 1] = start[1:] - 1, start[:-1]
    before, after = np.full(len(edge), -1), np.full(len(edge), -1)
    joins = np.flatnonzero(level[vertex] == row)
    before[joins] = first[stride[behind[edge[joins]]] + row[joins]]
    joins = np.flatnonzero(level[vertex + 1] == row)
    after[joins] = first[stride[ahead[edge[joins]]] + row[joins]]
    beyond = (level[vertex + 1] > row).astype(np.int8) - (level[vertex] > row).astype(np.int8)
    return Strides(number[edge], vertex, row, first, last, before, after, beyond)


def _entered(
    strides: Strides, columns: int, rings: int
) -> tuple[Integers, Integers, Integers, Integers, Bytes]:
    """Cell, ring and number of edges of each passage, by cell and ring; vertex and flags of each edge."""
    stride, column = _spread(strides.first, strides.last + 1)
    cell, ring = strides.row[stride] * columns + column, strides.ring[stride]
    order = np.argsort(cell * rings + ring, kind="stable")
    stride, column, cell, ring = stride[order], column[order], cell[order], ring[order]
    flags = BEFORE * (strides.before[stride] > column) + AFTER * (strides.after[stride] > column)
    head = _heads(cell, ring)
    edges = np.diff(head, append=len(cell))
    return cell[head], ring[head], edges, strides.vertex[stride], flags.astype(np.uint8)


def _wound(
    strides: Strides, cell: Integers, ring: Integers, size: int, columns: int
) -> tuple[NDArray[np.int16], Gaps]:
    """Turns around each passage's cell by the edges right of it, and the gaps of cells with the same turns."""
    crossing = np.flatnonzero(strides.rise)
    where = strides.ring[crossing] * size + strides.row[crossing] * columns + strides.first[crossing]
    order = np.argsort(where)
    where, rise = where[order], np.append(0, np.cumsum(strides.rise[crossing][order], dtype=np.int32))
    place = ring * size + cell
    end = place + columns - cell % columns
    turns = rise[np.searchsorted(where, end)] - rise[np.searchsorted(where, place, side="right")]

    order = np.argsort(place)
    place, end, around = place[order], end[order], turns[order]
    # Right of its last passage in a row a ring turns around nothing.
    gap = np.flatnonzero((around[:-1] != 0) & (place[1:] < end[:-1]) & (place[1:] > place[:-1] + 1))
    gaps = Gaps(ring[order[gap]], cell[order[gap]] + 1, cell[order[gap + 1]], around[gap].astype(np.int16))
    return turns.astype(np.int16), gaps


def _filled(rings: Rings, gaps: Gaps, entered: Integers, size: int) -> tuple[Labels, NDArray[np.bool_]]:
    """The label of each cell that one area covers, and which cells are seams."""
    sign = np.where(rings.rank[gaps.ring] == 0, 1, -1).astype(np.int32)
    depth, total = np.zeros(size + 1, np.int32), np.zeros(size + 1, np.int32)
    for layer, weight in ((depth, sign), (total, sign * rings.area[gaps.ring])):
        np.add.at(layer, gaps.start, weight)
        np.subtract.at(layer, gaps.stop, weight)
        np.cumsum(layer, out=layer)
    seam = (depth[:-1] != 0) & (depth[:-1] != 1)
    seam[entered] = True
    # One deep, the sum of the labels is the label.
    return np.where(depth[:-1] == 1, total[:-1], np.int32(NOTHING)), seam


def _smallest(count: int, point: Integers, area: Labels) -> Labels:
    """For each of `count` points the smallest of its areas, -1 if it has none."""
    none = np.int32(np.iinfo(np.int32).max)
    smallest = np.full(count, none)
    np.minimum.at(smallest, point, area)
    smallest[smallest == none] = NOTHING
    return smallest


def _projected(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Mercator on the ellipsoid (EPSG:3395), metres at the equator; the poles, which it has not, at 89.9°."""
    phi = np.radians(np.clip(lat, -89.9, 89.9))
    eccentricity = math.sqrt(SQUARE)
    north = np.arcsinh(np.tan(phi)) - eccentricity * np.arctanh(eccentricity * np.sin(phi))
    return AXIS * np.radians(lon), AXIS * north


def _stretched(north: Floats) -> Floats:
    """How much longer than on the ellipsoid a short way is in the projection."""
    chi = np.arctan(np.sinh(north / AXIS))  # conformal latitude; its series to the geodetic, to 1e-8 rad
    third = SQUARE / 2 + 5 * SQUARE**2 / 24 + SQUARE**3 / 12
    phi = chi + third * np.sin(2 * chi) + (7 * SQUARE**2 / 48 + 29 * SQUARE**3 / 240) * np.sin(4 * chi)
    factor: Floats = np.sqrt(1 - SQUARE * np.sin(phi) ** 2) / np.cos(phi)
    return factor


def _boxes(boxes: Floats, head: Integers) -> Floats:
    """The box (west, east, south, north) around each run of boxes."""
    sides = ((np.minimum, np.maximum)[n % 2].reduceat(side, head) for n, side in enumerate(boxes))
    return np.stack(tuple(sides))


def _below(point: Integers, node: Integers, boxes: Floats) -> tuple[Integers, Integers]:
    """Each point with each of the boxes under its own."""
    pair, node = _spread(node * FAN, np.minimum(node * FAN + FAN, boxes.shape[1]))
    return point[pair], node


def _apart(boxes: Floats, x: Floats, y: Floats) -> Floats:
    """The square of the distance of points from boxes, one each."""
    west, east, south, north = boxes
    dx = np.maximum(np.maximum(west - x, x - east), 0)
    dy = np.maximum(np.maximum(south - y, y - north), 0)
    square: Floats = dx * dx + dy * dy
    return square


def _apart_at_most(boxes: Floats, x: Floats, y: Floats) -> Floats:
    """The square of the distance within which there is something in each box: what a box is around touches every
    side of it, so the nearer of two sides is touched, at worst at its farther end."""
    west, east, south, north = np.abs(boxes - np.stack((x, x, y, y)))
    upright = np.minimum(west, east) ** 2 + np.maximum(south, north) ** 2
    level = np.maximum(west, east) ** 2 + np.minimum(south, north) ** 2
    square: Floats = np.minimum(upright, level)
    return square


def _interleaved(x: Floats, y: Floats) -> NDArray[np.uint32]:
    """Places along a Z-curve: what is near in the plane is mostly near in this order."""
    code = np.zeros(len(x), np.uint32)
    for shift, at in enumerate((x, y)):
        low, extent = at.min(), max(float(np.ptp(at)), np.finfo(np.float64).tiny)
        bits = ((at - low) / extent * 65535).astype(np.uint32)
        for width in (8, 4, 2, 1):
            bits = (bits | (bits << np.uint32(width))) & np.uint32(0xFFFFFFFF // (2**width + 1))
        code |= bits << np.uint32(shift)
    return code


def _spread(start: NDArray[np.integer], stop: NDArray[np.integer]) -> tuple[Integers, Integers]:
    """All whole numbers of several ranges in a row, and for each the number of its range."""
    count = (stop - start).astype(np.intp)
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) + np.repeat(start - (np.cumsum(count) - count), count)


def _starts(count: NDArray[np.integer]) -> Labels:
    """Where each of several runs of given lengths begins, and where the last ends."""
    return np.concatenate(([0], np.cumsum(count))).astype(np.int32)


def _heads(*keys: NDArray[np.integer]) -> Integers:
    """Where a run of equal keys begins."""
    changes = np.zeros(len(keys[0]), np.bool_)
    changes[:1] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changes)


def _least(values: NDArray[Number], head: Integers) -> NDArray[Number]:
    """The least of each run."""
    return np.minimum.reduceat(values, head) if len(head) else values[:0]
