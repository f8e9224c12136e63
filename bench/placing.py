"""Placing: how fast, how large, and whether to the last point the same answer as others give.

All ratios are of figures taken in the same run on the same data, so that a busy or slow machine bears on both.
"""

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.raster import EDGE, OUTSIDE, Levels, Raster

Floats = NDArray[np.float64]
T = TypeVar("T")

SEED = 20260801
ORIGIN, SIDE = np.array([114.0, 30.0]), 0.005  # an area measures about 500 m
ROWS, COLUMNS = 100, 102
BENDS = 15  # vertices along a shared edge between two corners
CLUSTERS, SPREAD = 400, 0.006
SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Town:
    """Areas that share their winding edges, and points that crowd, as those of a real hotline do."""

    paths: list[str]
    areas: NDArray[np.object_]
    lon: Floats
    lat: Floats

    def first(self, points: int) -> "Town":
        return Town(self.paths, self.areas, self.lon[:points], self.lat[:points])


def run() -> None:
    """Measure everything and print it."""
    town = built()
    vertices = shapely.get_num_coordinates(town.areas).mean() - 1
    print(f"{len(town.areas):,} areas of {vertices:.0f} vertices, {len(town.lon):,} points, seed {SEED}")

    bare = peak()
    raster, preparing = timed(partial(Raster.prepared, town.paths, town.areas))
    raster.place(town.lon, town.lat)
    print(
        f"preparation: {preparing:.2f} s once for each version of the areas, {raster.nbytes / 1e6:.0f} MB kept"
    )
    for size in SIZES:
        part = town.first(size)
        seconds, full = (best(partial(raster.place, part.lon, part.lat, near)) for near in (False, True))
        print(
            f"raster, {size:>9,} points: {seconds:.3f} s, with the nearest area of those outside {full:.3f} s"
        )
    several_levels(town)
    print(f"memory: {peak():.0f} MB at most, of which {bare:.0f} MB before the raster")
    beside_the_join(town, raster)


def built(rows: int = ROWS, columns: int = COLUMNS, points: int = SIZES[-1], seed: int = SEED) -> Town:
    """A town from a seed; of its points 1 % are computed on edges and 0.2 % are vertices of areas."""
    rng = np.random.default_rng(seed)
    extent = np.array([columns, rows]) * SIDE
    areas = tessellated(rng, rows, columns, extent)
    paths = [f"990101001{number:06d}" for number in range(len(areas))]
    vertices = shapely.get_coordinates(areas).reshape(len(areas), -1, 2)
    centres = ORIGIN + rng.uniform(0, extent, (CLUSTERS, 2))
    at = centres[rng.integers(0, CLUSTERS, points)] + rng.normal(0, SPREAD, (points, 2))
    on = rng.choice(points, points // 100, replace=False)
    area, bend = rng.integers(0, len(areas), len(on)), rng.integers(0, vertices.shape[1] - 1, len(on))
    share = np.where(np.arange(len(on)) % 5 == 0, 0, rng.uniform(0, 1, len(on)))[:, None]
    at[on] = vertices[area, bend] + (vertices[area, bend + 1] - vertices[area, bend]) * share
    return Town(paths, areas, at[:, 0].copy(), at[:, 1].copy())


def tessellated(rng: np.random.Generator, rows: int, columns: int, extent: Floats) -> NDArray[np.object_]:
    """Quadrilaterals with bent sides; neighbours share every vertex of the side between them."""
    corner = np.stack(np.meshgrid(np.arange(columns + 1), np.arange(rows + 1)), axis=-1).astype(np.float64)
    corner = ORIGIN + extent / [columns, rows] * (corner + rng.uniform(-0.18, 0.18, corner.shape))
    south, west = bent(rng, corner[:, :-1], corner[:, 1:]), bent(rng, corner[:-1], corner[1:])
    north, east = south[1:], west[:, 1:]
    back = [side[:, :, :0:-1] for side in (north, west[:, :-1])]
    ring = (south[:-1], east, corner[1:, 1:, None], back[0], corner[1:, :-1, None], back[1])
    return np.asarray(shapely.polygons(np.concatenate(ring, axis=2).reshape(rows * columns, -1, 2)))


def bent(rng: np.random.Generator, start: Floats, end: Floats) -> Floats:
    """Lines from start (inclusive) to end (exclusive) that wind about the straight way between."""
    share = np.linspace(0, 1, BENDS + 2)[1:-1]
    phase = rng.uniform(0, 2 * np.pi, (3, *start.shape[:-1], 1))
    wave = sum(
        np.sin((2 + n) * np.pi * share + phase[n]) * size for n, size in enumerate((0.05, 0.03, 0.015))
    )
    way = (end - start)[..., None, :]
    across = np.stack((-way[..., 1], way[..., 0]), axis=-1)
    bends = start[..., None, :] + way * share[:, None] + across * (wave * np.sin(np.pi * share))[..., None]
    return np.concatenate((start[..., None, :], bends), axis=-2)


def several_levels(town: Town) -> None:
    """Street, community, grid and micro-grid in one call, as a load asks for them."""
    rng = np.random.default_rng(SEED)
    levels = {"micro_grid": (town.paths, town.areas)}
    for level, split in (("grid", 3), ("community", 12), ("street", 25)):
        areas = tessellated(rng, ROWS // split, COLUMNS // split, np.array([COLUMNS, ROWS]) * SIDE)
        levels[level] = ([f"{number:06d}" for number in range(len(areas))], areas)
    asked, preparing = timed(partial(Levels.prepared, levels))
    found = asked.place(town.lon, town.lat, ())
    seconds = best(partial(asked.place, town.lon, town.lat, ()))
    sizes = ", ".join(f"{len(areas):,}" for _, areas in levels.values())
    print(f"four levels of {sizes} areas: prepared in {preparing:.2f} s, placed in {seconds:.3f} s, ", end="")
    print(f"{len(found.labels):,} combinations")


def beside_the_join(town: Town, raster: Raster) -> None:
    """The same question to `geopandas.sjoin`, turn and turn about, so that a neighbour's load bears on both."""
    import geopandas  # not before the memory of the raster has been measured

    areas = geopandas.GeoDataFrame(geometry=town.areas, crs=4326)
    points = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(town.lon, town.lat), crs=4326)
    placing = joining = math.inf
    for _ in range(4):
        found, seconds = timed(partial(raster.place, town.lon, town.lat, nearest=False))
        placing = min(placing, seconds)
        pairs, seconds = timed(partial(geopandas.sjoin, points, areas, predicate="intersects"))
        joining = min(joining, seconds)

    smallest = pairs["index_right"].groupby(level=0).min()
    label = np.full(len(town.lon), -1)
    label[smallest.index] = smallest
    # sjoin knows no centimetre: what it finds in no area, the raster may find on the edge of one.
    edge = (label == -1) & (found.reason == EDGE)
    differing = (label != found.label) & ~edge
    print(
        f"points: {(found.reason == OUTSIDE).sum():,} outside, {edge.sum():,} beside an edge by rounding alone"
    )
    print(f"answers that differ from geopandas.sjoin: {differing.sum():,}")
    print(f"geopandas.sjoin: {joining:.2f} s, raster: {placing:.3f} s, each the best of four")
    print(f"placing: {joining / placing:.1f}× geopandas.sjoin")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def best(work: Callable[[], object], times: int = 3) -> float:
    return min(timed(work)[1] for _ in range(times))


def peak() -> float:
    """The most memory this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
