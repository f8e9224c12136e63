"""Shapes that are not what they should be: mended and told one by one, or named with what is wrong and where."""

import json
import math
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import shapely

from geo.files import FAULTS, Repair

VERTICES = 200_000
HAIR = 1e-6  # degrees
SIMPLE, PATIENCE = 60, 2.0
MENDED: dict[str, Callable[[Any], Any]] = {
    "Repeated point": lambda shape: shapely.remove_repeated_points(shape, 0),
    "Ring order": lambda shape: shapely.orient_polygons(shape, exterior_cw=True),
}


def judged(shapes: Any, reasons: list[str | None], spared: Any, closed: Sequence[int], clockwise: bool) -> list[str | None]:
    """Mend `shapes` in place; says of each what was done (`Repair` in JSON), and in `reasons` why it cannot be drawn.

    `spared` marks those that are not to be mended, which become problems. Rings of `closed` have been closed already;
    `clockwise`: outer rings must run so.
    """
    fixed: list[str | None] = [None] * len(shapes)
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    if not (np.abs(xy) <= (180, 90)).all() or np.bincount(owner, minlength=1).max() > VERTICES:
        for lost, why in _unearthly(shapes, xy, owner):
            reasons[lost], shapes[lost] = why, None
        for at in np.flatnonzero(shapely.get_num_coordinates(shapes) > VERTICES).tolist():
            reasons[at], shapes[at] = f"顶点超过 {VERTICES} 个", None
        xy, owner = shapely.get_coordinates(shapes, return_index=True)
    sound = shapely.is_valid(shapes)
    opened = [(at, "Ring not closed", *shapes[at].bounds[:2]) for at in closed if shapes[at] is not None]
    for at, what, lon, lat in (*opened, *_repeating(shapes, xy, owner), *(_reversed(shapes, xy, owner, sound) if clockwise else ())):
        if spared[at]:
            reasons[at], shapes[at] = f"几何无效:{FAULTS[what]}", None
        else:
            before = _square_metres(shapes[at])
            shapes[at] = MENDED.get(what, lambda shape: shape)(shapes[at])
            fixed[at] = _told(Repair(what, lon, lat, before, before))
            sound[at] = shapely.is_valid(shapes[at])
    for at in np.flatnonzero(~sound & ~shapely.is_missing(shapes)).tolist():
        what, lon, lat = _fault(shapes[at])
        why = f"{FAULTS.get(what, what)}({lon:.6f}, {lat:.6f})"
        if spared[at]:
            reasons[at], shapes[at] = f"几何无效:{why}", None
            continue
        mended = _mended(shapes[at])
        if mended is None or shapely.is_empty(mended) or shapely.get_dimensions(mended) != shapely.get_dimensions(shapes[at]):
            reasons[at], shapes[at], fixed[at] = f"几何无效且修不好:{why}", None, None
        else:
            fixed[at] = _told(Repair(what, lon, lat, _square_metres(shapes[at]), _square_metres(mended)))
            shapes[at] = mended
    return fixed


def _told(repair: Repair) -> str:
    return json.dumps(asdict(repair), ensure_ascii=False)


def _fault(shape: Any) -> tuple[str, float, float]:
    """What GEOS says is wrong, and where."""
    said = re.fullmatch(r"(.*?)\s*\[\s*(\S+)\s+([^\s\]]+).*\]", shapely.is_valid_reason(shape))
    if said:
        return said[1], float(said[2]), float(said[3])
    west, south, *_ = shape.bounds
    return str(shapely.is_valid_reason(shape)), west, south


def _unearthly(shapes: Any, xy: Any, owner: Any) -> Iterator[tuple[int, str]]:
    """Shapes with coordinates that are no longitude and latitude."""
    # Written so that NaN is bad too. A hair beyond the edge of the world is rounding.
    bad = ~((np.abs(xy[:, 0]) <= 180 + HAIR) & (np.abs(xy[:, 1]) <= 90 + HAIR))
    over = (np.abs(xy[:, 0]) > 180) | (np.abs(xy[:, 1]) > 90)
    for at in np.setdiff1d(owner[over], owner[bad]).tolist():
        shapes[at] = shapely.transform(shapes[at], lambda c: np.clip(c, (-180, -90), (180, 90)))
    for at, place in dict(zip(owner[bad][::-1].tolist(), xy[bad][::-1].tolist(), strict=True)).items():
        finite = np.isfinite(place).all()
        yield at, f"坐标 {place[0]:.6g}, {place[1]:.6g} 不在地球上" if finite else "坐标不是有限的数"


def _repeating(shapes: Any, xy: Any, owner: Any) -> Iterator[tuple[int, str, float, float]]:
    """Lines and polygons with the same vertex twice in a row, and the first such place."""
    same = (xy[1:] == xy[:-1]).all(axis=1) & (owner[1:] == owner[:-1])
    places = dict(zip(owner[1:][same][::-1].tolist(), xy[1:][same][::-1].tolist(), strict=True))
    for at, (lon, lat) in sorted(places.items()):
        # One ring may begin where another ended, and points of a multipoint may coincide.
        fewer = shapely.get_dimensions(shapes[at]) > 0 and shapely.get_num_coordinates(
            shapely.remove_repeated_points(shapes[at], 0)
        ) < shapely.get_num_coordinates(shapes[at])
        if fewer:
            yield at, "Repeated point", lon, lat


def _reversed(shapes: Any, xy: Any, owner: Any, sound: Any) -> Iterator[tuple[int, str, float, float]]:
    """Polygons whose outer ring runs counter-clockwise."""
    turned, known = _turning(shapes, xy, owner, sound)
    rest = np.flatnonzero(~known)
    polygons, of = shapely.get_parts(shapes[rest], return_index=True)
    turned[rest[of[shapely.is_ccw(shapely.get_exterior_ring(polygons))]]] = True
    for at in np.flatnonzero(turned).tolist():
        west, south, *_ = shapes[at].bounds
        yield at, "Ring order", west, south


def _turning(shapes: Any, xy: Any, owner: Any, sound: Any) -> tuple[Any, Any]:
    """Which polygons run counter-clockwise, and of which that is told: of valid ones of a single ring, by the sign of the area that
    it encloses. That takes a quarter of the time of taking each ring out to be asked."""
    turned, known = np.zeros(len(shapes), bool), np.zeros(len(shapes), bool)
    if not len(xy):
        return turned, known
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    x, y = (xy - np.repeat(xy[first], np.diff(first, append=len(xy)), axis=0)).T
    cross = np.zeros(len(xy))
    # From one shape to the next there is no edge, and what it would count is left out: there the next one is at its origin.
    cross[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    area, size = np.add.reduceat(cross, first), np.add.reduceat(np.abs(cross), first)
    single = sound & (shapely.get_type_id(shapes) == 3) & (shapely.get_num_interior_rings(shapes) == 0)
    at = owner[first]
    known[at] = single[at] & (np.abs(area) > 1e-9 * size)
    turned[at] = known[at] & (area > 0)
    return turned, known


def _square_metres(shape: Any) -> float:
    # Near enough to see what a repair did: a degree is 111.2 km, and east of itself less by the latitude.
    return float(shape.area * 111_195**2 * math.cos(math.radians((shape.bounds[1] + shape.bounds[3]) / 2)))


def _mended(shape: Any) -> Any:
    """The shape made valid, or None when that takes longer than `PATIENCE` seconds.

    By structure: the other method takes minutes on 250 vertices, and this one seconds on 500 that all cross each other.
    Nothing can interrupt it, so what has more than `SIMPLE` vertices is mended by a process that can be ended.
    """
    if shapely.get_num_coordinates(shape) <= SIMPLE:
        return shapely.make_valid(shape, method="structure", keep_collapsed=False)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        # It never returns into the rows of its parent, and its default answer to the alarm, to end, no library can hold up.
        try:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            with open(there, "wb") as out:
                out.write(shapely.to_wkb(shapely.make_valid(shape, method="structure", keep_collapsed=False)))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(there)
    with open(here, "rb") as told:
        wkb = told.read()
    _, status = os.waitpid(child, 0)
    return shapely.from_wkb(wkb) if status == 0 else None
