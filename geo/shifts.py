"""Whether positions are shifted, told by what is known at their place: a datum is right when shapes coincide.

GCJ-02 lies 480–620 m and BD-09 1.1–1.4 km from the truth, several buildings and often a grid away. Points of a file, put
back by each datum in turn, fall into known buildings about as often as buildings cover the ground (a fifth in a town) under
the wrong ones, and far oftener under the right one; polygons then lie on top of known ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geo import crs
from geo.crs import Bounds, Datum

# Compared are these: WGS 84 has CGCS2000's numbers.
DATUMS = (Datum.CGCS2000, Datum.GCJ02, Datum.BD09)
FEWEST = 8  # shapes with which a comparison begins to say something
SURE = 4.0  # standard errors by which the best has to lead
REACH = 0.02  # degrees: more than the farther shift


@dataclass(frozen=True)
class Verdict:
    """The datum under which most coincides, the next one, and the share (0–1) of each; `count` shapes were compared."""

    best: Datum
    second: Datum
    shares: Mapping[Datum, float]
    count: int


def around(bounds: Bounds) -> Bounds:
    """Where a file with these bounds can lie, shifted or not."""
    return bounds[0] - REACH, bounds[1] - REACH, bounds[2] + REACH, bounds[3] + REACH


def compared(shapes: NDArray[np.object_], known: Sequence[bytes]) -> Verdict | None:
    """Which datum brings `shapes` (degrees, as the file has them) onto known polygons; None where that is not clear.

    Points count by whether they fall into one, polygons by how much they share with the one that fits best (area in common by
    area in either). Lines say nothing.
    """
    there = shapely.from_wkb(np.asarray(known, object), on_invalid="ignore") if len(known) else np.empty(0, object)
    there = there[shapely.is_valid(there) & ~shapely.is_missing(there)]
    # A road lies between houses: under a wrong datum it crosses them, and that would speak for the wrong one.
    told = shapely.is_valid(shapes) & ~shapely.is_empty(shapes) & ~shapely.is_missing(shapes) & (shapely.get_dimensions(shapes) != 1)
    mine = shapes[told]
    if len(mine) < FEWEST or not len(there):
        return None
    tree = shapely.STRtree(there)
    scores = {datum: _score(crs.to_storage(mine, None, datum), there, tree) for datum in DATUMS}
    shares = {datum: float(score.mean()) for datum, score in scores.items()}
    best, second, _ = sorted(DATUMS, key=lambda datum: shares[datum], reverse=True)
    # By shape, because the same shape is asked under both.
    lead = scores[best] - scores[second]
    error = float(lead.std(ddof=1)) / np.sqrt(len(lead))
    if shares[best] < 0.3 or lead.mean() < max(0.1, SURE * error):
        return None
    return Verdict(best, second, shares, len(there))


def _score(mine: NDArray[np.object_], there: NDArray[np.object_], tree: shapely.STRtree) -> NDArray[np.float64]:
    out = np.zeros(len(mine))
    at, of = tree.query(mine, predicate="intersects")
    if not len(at):
        return out
    flat = shapely.get_dimensions(mine[at]) == 2
    shared = np.ones(len(at))
    a, b = mine[at[flat]], there[of[flat]]
    common = shapely.area(shapely.intersection(a, b))
    shared[flat] = common / np.maximum(shapely.area(a) + shapely.area(b) - common, 1e-300)
    np.maximum.at(out, at, shared)
    return out
