"""From drawn lines to exact ground: one noded net of lines, whose faces every area is made of.

Community, grid and street share their corners to the last digit because each is a union of the same faces.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import plan
import shapely
from shapely import Geometry, LineString, Point, Polygon, box
from shapely.ops import linemerge, polygonize, substring

# Snap rounding: two lines that meet, meet in a vertex of both.
CENTIMETRE = 0.01
WIDTHS = {"trunk": 24.0, "street": 14.0, "lane": 7.0, "railway": 20.0}
STRIP_M2 = 8_000.0
OVERLAP_M2 = 1_240.0


@dataclass(frozen=True)
class Street:
    """A street or railway by its centre line."""

    name: str
    kind: str
    line: LineString


@dataclass(frozen=True)
class Block:
    """A face of the net, and the ground left on it when streets, water and railway are taken off."""

    community: plan.Community
    plot: plan.Plot
    face: Polygon
    free: Polygon


@dataclass(frozen=True)
class Ground:
    """Everything of the town that is not built: all polygons in metres from the origin."""

    outline: Polygon
    river: Polygon
    island: Polygon
    stream: Polygon
    streets: list[Street]
    blocks: list[Block]
    communities: dict[str, Polygon]
    grids: dict[tuple[str, int], Polygon]
    strip: Polygon
    overlap: Polygon


def surveyed() -> Ground:
    """The ground, surveyed. The strip lies in its community and in no grid; the overlap lies in two grids."""
    ring, middle, stream = (
        curved([*plan.OUTLINE, plan.OUTLINE[0]], 20),
        curved(plan.RIVER),
        curved(plan.STREAM),
    )
    north, south = beside(middle, _half_river), beside(middle, lambda x: -_half_river(x))
    railway = Street("云铁线", "railway", curved(plan.RAILWAY, 25))
    fixed = [ring, north, stream, railway.line]
    streets = _joined(_drawn(north, south), fixed)
    faces = _faced([*fixed, *(street.line for street in streets)], Polygon(ring.coords))
    streets = [railway, *(street for street in streets if street.kind != "border")]
    river = Polygon([*north.coords, *reversed(south.coords)])
    kerbs = [street.line.buffer(WIDTHS[street.kind] / 2 + 2) for street in streets]
    blocks = _blocked(faces, shapely.union_all([river, stream.buffer(6), *kerbs]))
    grids, overlap = _overlapped(_gathered(blocks))
    communities = {
        community.code: shapely.coverage_union_all(
            [block.face for block in blocks if block.community is community]
        )
        for community in plan.COMMUNITIES
    }
    outline = shapely.coverage_union_all(faces)
    island = substring(middle, middle.project(Point(1655, 660)), middle.project(Point(1790, 670))).buffer(16)
    return Ground(
        outline=outline,
        river=river.intersection(outline).difference(island),
        island=island,
        stream=stream.buffer(5.5).intersection(outline).difference(river),
        streets=[Street(s.name, s.kind, s.line.intersection(outline)) for s in streets],
        blocks=blocks,
        communities=communities,
        grids=grids,
        strip=next(block.face for block in blocks if block.plot.use == "strip"),
        overlap=overlap,
    )


def curved(points: plan.Line, step: float = 14.0) -> LineString:
    """A Catmull-Rom curve through the control points, a vertex every `step` metres or so."""
    (ax, ay), (bx, by), (yx, yy), (zx, zy) = points[0], points[1], points[-2], points[-1]
    control = [(2 * ax - bx, 2 * ay - by), *points, (2 * zx - yx, 2 * zy - yy)]
    out = [points[0]]
    for a, b, c, d in zip(control, control[1:], control[2:], control[3:], strict=False):
        pieces = max(1, round(math.dist(b, c) / step))
        for i in range(1, pieces + 1):
            x, y = (_cubic(a[k], b[k], c[k], d[k], i / pieces) for k in (0, 1))
            out.append((x, y))
    return LineString(out)


def _cubic(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def beside(line: LineString, distance: Callable[[float], float]) -> LineString:
    """The line moved to its left by a distance that may change with the easting."""
    points = list(line.coords)
    out = []
    for i, (x, y) in enumerate(points):
        (x0, y0), (x1, y1) = points[max(0, i - 1)], points[min(len(points) - 1, i + 1)]
        length = math.hypot(x1 - x0, y1 - y0)
        out.append((x - (y1 - y0) / length * distance(x), y + (x1 - x0) / length * distance(x)))
    return LineString(out)


def _half_river(x: float) -> float:
    """Half the width of the river, which opens towards the sea in the east."""
    return 24 + 40 * math.pow(max(0.0, (x - 300) / 1900), 1.6)


def _drawn(north: LineString, south: LineString) -> list[Street]:
    banks = [
        Street("滨江北路", "street", beside(north, lambda x: 38 + 8 * math.sin(x / 170)).simplify(0.5)),
        Street(
            "滨江南路", "street", beside(south, lambda x: -(40 + 9 * math.sin(x / 140 + 1))).simplify(0.5)
        ),
    ]
    borders = [Street(name, "border", curved(points)) for name, points in plan.BORDERS.items()]
    return [
        *(Street(name, kind, curved(points)) for name, (kind, points) in plan.STREETS.items()),
        *banks,
        *borders,
    ]


def _joined(streets: list[Street], fixed: list[LineString]) -> list[Street]:
    """The streets, each ended where it first and last meets another line near its ends."""
    out = []
    for street in streets:
        line = _longer(street.line, 15)
        others = shapely.union_all([*fixed, *(other.line for other in streets if other is not street)])
        along = sorted(
            line.project(Point(c))
            for part in shapely.get_parts(line.intersection(others))
            for c in part.coords
        )
        start = along[0] if along[0] < 45 else 0.0
        end = along[-1] if along[-1] > line.length - 45 else line.length
        out.append(Street(street.name, street.kind, substring(line, start, end)))
    return out


def _longer(line: LineString, by: float) -> LineString:
    (ax, ay), (bx, by_), *_, (yx, yy), (zx, zy) = points = list(line.coords)
    first, last = by / math.dist((ax, ay), (bx, by_)), by / math.dist((yx, yy), (zx, zy))
    start, end = (
        (ax + (ax - bx) * first, ay + (ay - by_) * first),
        (zx + (zx - yx) * last, zy + (zy - yy) * last),
    )
    return LineString([start, *points, end])


def _faced(lines: list[LineString], outline: Polygon) -> list[Polygon]:
    """The faces of the net, with the face of the strip cut so that the strip has its size."""
    seed = next(Point(p.x, p.y) for c in plan.COMMUNITIES for p in c.plots if p.use == "strip")
    net = shapely.union_all(lines, grid_size=CENTIMETRE)
    bank = next(face for face in polygonize(net) if face.contains(seed))
    west, south, east, north = bank.bounds
    width = _solved(
        lambda w: bank.intersection(box(west, south, west + w, north)).area, STRIP_M2, east - west
    )
    cut = bank.intersection(LineString([(west + width, south), (west + width, north)]))
    inside = outline.buffer(1)
    net = shapely.union_all([net, cut], grid_size=CENTIMETRE)
    return [face for face in polygonize(net) if inside.contains(face)]


def _solved(measure: Callable[[float], float], wanted: float, high: float) -> float:
    """Where a growing measure reaches the wanted value, between 0 and `high`."""
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(middle) < wanted else (low, middle)
    return low


def _blocked(faces: list[Polygon], taken: Geometry) -> list[Block]:
    blocks = []
    for community in plan.COMMUNITIES:
        for plot in community.plots:
            face = next(face for face in faces if face.contains(Point(plot.x, plot.y)))
            free = max(
                shapely.get_parts(face.difference(taken)), key=lambda part: part.area, default=Polygon()
            )
            blocks.append(Block(community, plot, face, free))
    if len({id(block.face) for block in blocks}) != len(faces):
        raise ValueError(f"{len(blocks)} plots are declared for {len(faces)} faces of the net")
    return blocks


def _gathered(blocks: list[Block]) -> dict[tuple[str, int], Polygon]:
    faces: dict[tuple[str, int], list[Polygon]] = {}
    for block in blocks:
        if block.plot.grid:
            faces.setdefault((block.community.code, block.plot.grid), []).append(block.face)
    return {key: shapely.coverage_union_all(parts) for key, parts in faces.items()}


def _overlapped(grids: dict[tuple[str, int], Polygon]) -> tuple[dict[tuple[str, int], Polygon], Polygon]:
    """The grids, with one of 柳汀 drawn across its street into the next."""
    over, into = ("002", 5), ("002", 4)
    shared = max(
        shapely.get_parts(linemerge(grids[over].intersection(grids[into]))), key=lambda part: part.length
    )
    corners = list(shared.coords)
    start = len(corners) // 2
    edge = LineString(corners[start : start + 4])
    side = 1 if grids[into].contains(beside(edge, lambda _: 5.0).interpolate(0.5, normalized=True)) else -1

    def strayed(depth: float) -> Polygon:
        return Polygon([*edge.coords, *reversed(beside(edge, lambda _: side * depth).coords)])

    depth = _solved(lambda d: strayed(d).area, OVERLAP_M2, 60)
    overlap = shapely.set_precision(strayed(depth), 1e-4)
    return grids | {over: shapely.union_all([grids[over], overlap])}, overlap
