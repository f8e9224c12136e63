"""The label raster against shapely where both are exact, and against the plain rule of PostGIS everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod, Transformer

from geo import raster
from geo.errors import Invalid
from geo.raster import EDGE, OUTSIDE, REASONS, Levels, Raster

Areas = NDArray[np.object_]
Floats = NDArray[np.float64]

SEEDS = st.integers(0, 2**32 - 1)
CELLS = st.sampled_from((1, 40, 900, 30_000))
ORIGIN = np.array([112.0, 30.0])
MERCATOR = Transformer.from_crs(4326, 3395, always_xy=True)
KINDS = ("whole", "gaps", "overlaps", "holes", "slivers", "parts")
SIDES = st.sampled_from((0.002, 0.3, 7.0))


def square(west: float, south: float, east: float, north: float) -> shapely.Polygon:
    return shapely.box(112 + west, 30 + south, 112 + east, 30 + north)


def triangles(rng: np.random.Generator) -> Areas:
    """Areas on a lattice of 1/64°, where every product of coordinates is exact: shapely and PostGIS agree.

    Merged triangles give shared edges, holes, gaps and areas of several parts; loose ones overlap them.
    """
    lattice = np.unique(rng.integers(0, 24, (40, 2)), axis=0)
    mesh = shapely.get_parts(shapely.delaunay_triangles(shapely.multipoints(ORIGIN + lattice / 64)))
    owner = rng.integers(0, 9, len(mesh))
    merged = [shapely.union_all(mesh[owner == one]) for one in range(8)]
    loose = [
        shapely.Polygon(ORIGIN + rng.integers(0, 24, (3, 2)) / 64) for _ in range(int(rng.integers(0, 4)))
    ]
    areas = np.array(merged + loose, dtype=object)
    return valid(areas)


def tessellation(rng: np.random.Generator, side: float, kind: str) -> Areas:
    """Voronoi cells in a frame: shared edges, or gaps and overlaps down to rounding, holes, slivers, parts."""
    frame = shapely.box(112, 30, 112 + side, 30 + side)
    seeds = shapely.multipoints(ORIGIN + rng.uniform(0, side, (14, 2)))
    cells = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=frame)), frame)
    if kind == "gaps":
        cells = np.array([shapely.affinity.scale(cell, 1 - 1e-13, 1 - 1e-13) for cell in cells])
    elif kind == "overlaps":
        cells = shapely.buffer(cells, side * 10 ** rng.uniform(-9, -2), join_style="mitre")
    elif kind == "holes":
        inside = shapely.buffer(shapely.centroid(cells), side / 50, quad_segs=2)
        cells = np.append(shapely.difference(cells, inside), inside[:7])
    elif kind == "slivers":
        sliver = shapely.polygons(
            [[(112, 30), (112 + side, 30 + side / 3), (112 + side, 30 + side / 3 + 1e-9)]]
        )
        cells = np.append(shapely.difference(cells, sliver[0]), sliver)
    elif kind == "parts":
        cells = np.append(cells[6:], [shapely.union_all(cells[:3]), shapely.union_all(cells[3:6])])
    return valid(cells)


def valid(areas: Areas) -> Areas:
    kept: Areas = areas[np.isin(shapely.get_type_id(areas), (3, 6)) & shapely.is_valid(areas)]
    kept = kept[shapely.area(kept) > 0]
    return kept


def probed(rng: np.random.Generator, areas: Areas, made: Raster) -> tuple[Floats, Floats]:
    """Points on edges, on vertices, level with vertices, on borders of cells, beside edges, anywhere, far away."""
    starts, ends = edges(areas)
    some = rng.integers(0, len(starts), 60)
    on = starts[some] + (ends[some] - starts[some]) * rng.uniform(0, 1, (60, 1))
    west, south, east, north = shapely.total_bounds(areas)
    around = [west, south] + rng.uniform(-0.2, 1.2, (60, 2)) * [east - west, north - south]
    bordering = around.copy()
    x0, y0, scale, rows, columns = made.frame
    bordering[::2, 0] = x0 + rng.integers(0, columns, 30) / scale
    bordering[1::2, 1] = y0 + rng.integers(0, rows, 30) / scale
    level = np.column_stack((around[:, 0], starts[some][:, 1]))
    beside = on + rng.uniform(-3e-7, 3e-7, (60, 2)) * rng.integers(0, 2, (60, 2))
    far = rng.uniform((-180, -80), (180, 80), (4, 2))
    points = np.concatenate((on, starts[some], around, bordering, level, beside, far))
    return points[:, 0].copy(), points[:, 1].copy()


def edges(areas: Areas) -> tuple[Floats, Floats]:
    rings = shapely.get_rings(shapely.get_parts(areas))
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    begin = np.flatnonzero(ring[1:] == ring[:-1])
    return vertices[begin], vertices[begin + 1]


def wound(area: Any, x: Floats, y: Floats) -> NDArray[np.int8]:
    """-1 outside, 0 on the boundary, 1 inside: each point against each edge, as PostGIS does it."""
    verdict = np.full(len(x), -1, np.int8)
    for part in shapely.get_parts(area):
        own = np.ones(len(x), np.int8)
        for rank, ring in enumerate(shapely.get_rings(part)):
            side = turned(shapely.get_coordinates(ring), x, y)
            settled = side * (1 if rank == 0 else -1)
            own = np.where(own == 1, settled, own)
        verdict = np.where(verdict == -1, own, verdict)
    return verdict


def turned(ring: Floats, x: Floats, y: Floats) -> NDArray[np.int8]:
    (x1, y1), (x2, y2) = ring[:-1].T[..., None], ring[1:].T[..., None]
    side = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)
    on = (side == 0) & (np.minimum(x1, x2) <= x) & (x <= np.maximum(x1, x2))
    on &= (np.minimum(y1, y2) <= y) & (y <= np.maximum(y1, y2))
    rising, falling = (y1 <= y) & (y < y2) & (side > 0), (y2 <= y) & (y < y1) & (side < 0)
    turns = rising.sum(axis=0) - falling.sum(axis=0)
    return np.where(on.any(axis=0), 0, np.where(turns != 0, 1, -1)).astype(np.int8)


def ruled(areas: Areas, sides: NDArray[np.int8], x: Floats, y: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Label and reason by the words of the rule; `sides` has a row for each area, in the order of paths."""
    covering = sides >= 0
    reason = np.where(covering.sum(axis=0) > 1, np.where((sides == 1).any(axis=0), 2, EDGE), 0)
    label = np.where(covering.any(axis=0), covering.argmax(axis=0), -1)
    near = shapely.distance(areas[:, None], shapely.points(x, y)) <= raster.NEAR
    lost = label == -1
    label[lost] = np.where(near.any(axis=0), near.argmax(axis=0), -1)[lost]
    reason[lost] = np.where(near.any(axis=0), EDGE, OUTSIDE)[lost]
    return label, reason


def prepared(areas: Areas, rng: np.random.Generator, cells: int | None = None) -> Raster:
    """The areas take their paths in order, but are handed over in another."""
    order = rng.permutation(len(areas))
    return Raster.prepared([f"{at:03d}" for at in order], areas[order], cells)


@settings(max_examples=60)
@given(SEEDS, CELLS)
def test_agrees_with_shapely_on_a_lattice(seed: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    areas = triangles(rng)
    starts, ends = edges(areas)
    x, y = np.concatenate((starts, (starts + ends) / 2, ORIGIN + rng.integers(-8, 104, (200, 2)) / 256)).T
    found = prepared(areas, rng, cells).place(x, y)
    inside, covered = shapely.contains_xy(areas[:, None], x, y), shapely.intersects_xy(areas[:, None], x, y)
    label, reason = ruled(areas, np.where(inside, 1, np.where(covered, 0, -1)), x, y)
    assert np.array_equal(found.label, label)
    assert np.array_equal(found.reason, reason)


@settings(max_examples=100)
@given(SEEDS, CELLS, SIDES, st.sampled_from(KINDS))
def test_agrees_with_the_plain_rule_everywhere(seed: int, cells: int, side: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    areas = tessellation(rng, side, kind)
    made = prepared(areas, rng, cells)
    x, y = probed(rng, areas, made)
    found = made.place(x, y)
    label, reason = ruled(areas, np.array([wound(area, x, y) for area in areas]), x, y)
    assert np.array_equal(found.label, label)
    assert np.array_equal(found.reason, reason)


PLAIN = """
SELECT p.n, coalesce(c.path, e.path) AS path,
    CASE WHEN c.n > 1 THEN CASE WHEN c.inside THEN 'overlap' ELSE 'edge' END
         WHEN c.n = 0 THEN CASE WHEN e.path IS NULL THEN 'outside' ELSE 'edge' END END AS reason
FROM unnest(CAST(:x AS float8[]), CAST(:y AS float8[])) WITH ORDINALITY AS p (x, y, n),
    LATERAL (SELECT ST_SetSRID(ST_Point(p.x, p.y), 4326) AS geom) AS at,
    LATERAL (SELECT count(*) AS n, min(path) AS path, bool_or(ST_Contains(a.geom, at.geom)) AS inside
             FROM drawn AS a WHERE ST_Covers(a.geom, at.geom)) AS c,
    LATERAL (SELECT min(path) AS path FROM drawn AS a WHERE c.n = 0 AND ST_DWithin(a.geom, at.geom, 1e-7)) AS e
ORDER BY p.n
"""


@settings(max_examples=20)
@given(SEEDS, SIDES, st.sampled_from(KINDS))
def test_agrees_with_postgis_everywhere(connection: sa.Connection, seed: int, side: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    areas = tessellation(rng, side, kind)
    made = prepared(areas, rng)
    x, y = probed(rng, areas, made)
    found = made.place(x, y)
    with connection.begin_nested() as stage:
        connection.execute(sa.text('CREATE TEMP TABLE drawn (path text COLLATE "C", geom geometry)'))
        connection.execute(
            sa.text("INSERT INTO drawn VALUES (:path, ST_GeomFromWKB(:geom, 4326))"),
            [{"path": f"{n:03d}", "geom": shapely.to_wkb(area)} for n, area in enumerate(areas)],
        )
        rows = connection.execute(sa.text(PLAIN), {"x": x.tolist(), "y": y.tolist()}).all()
        stage.rollback()
    told = [
        (made.paths[label] if label >= 0 else None, REASONS[reason])
        for label, reason in zip(found.label, found.reason, strict=True)
    ]
    assert told == [(row.path, row.reason) for row in rows]


@settings(max_examples=30)
@given(SEEDS, SIDES)
def test_nearest_is_nearest_in_mercator(seed: int, side: float) -> None:
    rng = np.random.default_rng(seed)
    areas = tessellation(rng, side, "whole")
    made = prepared(areas, rng)
    x, y = probed(rng, areas, made)
    found = made.place(x, y)
    outside = found.reason == OUTSIDE
    plane = shapely.transform(areas, lambda at: np.column_stack(MERCATOR.transform(*at.T)))
    far = shapely.distance(plane[:, None], shapely.points(*MERCATOR.transform(x, y)))
    least = (far <= far.min(axis=0) + raster.TIE).argmax(axis=0)
    assert np.array_equal(found.nearest, np.where(outside, least, -1))
    assert np.array_equal(np.isnan(found.distance_m), ~outside)


A, B, C = square(0, 0, 1, 1), square(1, 0, 2, 1), square(0, 1, 2, 2)
ISLAND = square(0.25, 0.25, 0.5, 0.5)
YARD = shapely.difference(A, ISLAND)


@pytest.mark.parametrize(
    ("areas", "at", "path", "reason"),
    [
        pytest.param([A, B, C], (0.5, 0.5), "000", None, id="inside one"),
        pytest.param([A, B, C], (0, 0.5), "000", None, id="on the outer edge of one"),
        pytest.param([B, A, C], (1, 0.5), "000", "edge", id="on an edge of two"),
        pytest.param([C, B, A], (1, 1), "000", "edge", id="on a corner of three"),
        pytest.param([C, B, A], (1, 1 - 2**-20), "001", "edge", id="beside the corner"),
        pytest.param([A, ISLAND], (0.3, 0.3), "000", "overlap", id="inside two"),
        pytest.param([A, ISLAND], (0.25, 0.3), "000", "overlap", id="inside one and on the edge of another"),
        pytest.param([ISLAND, A], (0.5, 0.5), "000", "overlap", id="inside the second"),
        pytest.param([A, A], (0.75, 0.75), "000", "overlap", id="the same area twice"),
        pytest.param([A, A], (1, 1), "000", "edge", id="on the edge of the same area twice"),
        pytest.param([YARD], (0.3, 0.3), None, "outside", id="in a hole"),
        pytest.param([YARD], (0.25, 0.3), "000", None, id="on the edge of a hole"),
        pytest.param([YARD, ISLAND], (0.3, 0.3), "001", None, id="on an island"),
        pytest.param([ISLAND, YARD], (0.3, 0.5), "000", "edge", id="on the shore"),
        pytest.param([A, B], (2 + 9e-8, 0.5), "001", "edge", id="a centimetre off"),
        pytest.param([A, B], (2 + 1.1e-7, 0.5), None, "outside", id="more than a centimetre off"),
        pytest.param(
            [shapely.MultiPolygon([A, square(3, 0, 4, 1)]), B], (3.5, 0.5), "000", None, id="second part"
        ),
        pytest.param([A], (-60, -60), None, "outside", id="on another continent"),
    ],
)
@pytest.mark.parametrize("cells", [1, 64, 40_000])
def test_follows_the_rule(
    areas: list[Any], at: tuple[float, float], path: str | None, reason: str | None, cells: int
) -> None:
    paths = [f"{number:03d}" for number in range(len(areas))]
    for turn in (1, -1):
        made = Raster.prepared(paths[::turn], areas[::turn], cells)
        found = made.place(112 + at[0], 30 + at[1])
        assert REASONS[found.reason[0]] == reason
        assert (made.paths[found.label[0]] if found.label[0] >= 0 else None) == path


@pytest.mark.parametrize("off", [(-0.001, 0.4), (0.4, -0.02), (-0.05, -0.05), (0.3, 1.4), (1.5, 0.5)])
def test_distance_is_true_to_the_ellipsoid(off: tuple[float, float]) -> None:
    x, y = 112 + off[0], 30 + off[1]
    line = shapely.segmentize(A.exterior, 1e-5)
    along = shapely.get_coordinates(line)
    true = Geod(ellps="GRS80").inv(np.full(len(along), x), np.full(len(along), y), *along.T)[2].min()
    assert Raster.prepared(["A"], [A]).place(x, y).distance_m[0] == pytest.approx(true, rel=1e-4)


def test_of_areas_equally_near_the_smallest_path_is_the_nearest() -> None:
    for turn in (1, -1):
        found = Raster.prepared(["B", "A"][::turn], [A, B][::turn]).place(113, 29.9)
        assert (found.label[0], found.nearest[0]) == (-1, 0)
        assert found.distance_m[0] == pytest.approx(11_085.3, abs=0.5)


@pytest.mark.parametrize("point", [(np.nan, 30), (112, np.inf), (-np.inf, 30), (180.001, 30), (112, -90.001)])
def test_refuses_what_is_no_coordinate(point: tuple[float, float]) -> None:
    made = Raster.prepared(["A"], [A])
    with pytest.raises(Invalid) as refused:
        made.place([112, point[0], point[0]], [30, point[1], point[1]])
    assert refused.value.facts == {"row": 1, "count": 2}
    assert not len(made.place([], []).label)


@pytest.mark.parametrize(
    ("paths", "areas"),
    [
        (["A", "A"], [A, B]),
        (["A"], [A, B]),
        (["A"], [shapely.Polygon()]),
        (["A"], [A.exterior]),
        (["A"], [None]),
    ],
)
def test_refuses_what_is_no_area(paths: list[str], areas: list[Any]) -> None:
    with pytest.raises(Invalid):
        Raster.prepared(paths, areas)


def test_no_areas_hold_nothing() -> None:
    found = Raster.prepared([], []).place([112.0, -30], [30.0, 40])
    assert (found.label.tolist(), found.reason.tolist(), found.nearest.tolist()) == (
        [-1] * 2,
        [OUTSIDE] * 2,
        [-1] * 2,
    )
    assert np.isnan(found.distance_m).all()


def test_a_thin_strip_asks_for_no_more_cells_than_allowed() -> None:
    made = Raster.prepared(["A"], [square(0, 0, 8, 1e-9)], 10_000)
    assert len(made.cells) < 50_000


def test_survives_the_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    areas = tessellation(rng, 0.3, "holes")
    made, kept = prepared(areas, rng), tmp_path / "areas.npz"
    made.save(kept)
    again = Raster.load(kept)
    assert again is not None
    assert (again.paths, again.nbytes) == (made.paths, made.nbytes)
    x, y = probed(rng, areas, made)
    for was, now in zip(vars(made.place(x, y)).values(), vars(again.place(x, y)).values(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert [file.name for file in tmp_path.iterdir()] == ["areas.npz"]


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "flipped", "other format"])
def test_a_damaged_file_is_no_raster(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "areas.npz"
    if damage == "other format":
        monkeypatch.setattr(raster, "FORMAT", raster.FORMAT + 1)
    Raster.prepared(["A", "B"], [A, B], 5_000).save(kept)
    monkeypatch.undo()
    whole = kept.read_bytes()
    if damage == "absent":
        kept.unlink()
    elif damage == "empty":
        kept.write_bytes(b"")
    elif damage == "cut":
        kept.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        middle = len(whole) // 2
        kept.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    assert Raster.load(kept) is None


@pytest.mark.parametrize("table", [1 << 24, 0], ids=["by table", "by sorting"])
def test_levels_are_placed_at_once(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "TABLE", table)
    rng = np.random.default_rng(11)
    grids = tessellation(rng, 0.3, "overlaps")
    streets = tessellation(rng, 0.3, "gaps")
    levels = Levels.prepared(
        {
            "street": ([f"S{number}" for number in range(len(streets))], streets),
            "community": ([], []),
            "grid": ([f"G{number}" for number in range(len(grids))], grids),
        }
    )
    x, y = probed(rng, grids, levels.rasters["grid"])
    found = levels.place(x, y)
    assert found.levels == ("street", "community", "grid")
    for column, level in enumerate(found.levels):
        alone = levels.rasters[level].place(x, y)
        assert np.array_equal(found.labels[found.which, column], alone.label)
        assert np.array_equal(found.reasons[found.which, column], alone.reason)
    combinations = np.column_stack((found.labels, found.reasons))
    assert len(np.unique(combinations, axis=0)) == len(combinations) == len(np.unique(found.which))
