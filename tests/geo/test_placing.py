"""Placing in the database against brute force, on random tessellations with holes, slivers, shared edges and overlaps.

Coordinates are multiples of 2^-24°, so that every product of them is exact and there is one right answer at every edge
and vertex, in PostGIS as in shapely.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from starlette.testclient import TestClient

from geo import placing
from geo.catalog import RESOURCES
from geo.resource import Place
from tests import town

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=settings().max_examples // 2)  # of what takes a third of a second each
# Away from the small town, whose street they belong to by their code.
ORIGIN = np.array([118.0, 30.0])
STEP = 1 / 256
NEAR = 2**-24  # degrees: 7 mm, within the centimetre that still counts as on the edge
FAR = 2**-22  # 27 mm, beyond it
CST = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True)
class Area:
    """An area of a random tessellation."""

    level: str
    path: str
    shape: shapely.Geometry


def tessellation(rng: np.random.Generator, level: str, parent: str) -> list[Area]:
    """Merged triangles on a lattice: shared edges, holes, enclaves, gaps, areas of several parts; then loose ones over
    them, and slivers one lattice step wide. Paths come in random order."""
    nodes = np.unique(rng.integers(0, 16, (28, 2)), axis=0)
    mesh = shapely.get_parts(shapely.delaunay_triangles(shapely.multipoints(ORIGIN + nodes * STEP)))
    owner = rng.integers(0, 7, len(mesh))
    shapes = [shapely.union_all(mesh[owner == one]) for one in range(6)]  # what the seventh owns is a gap
    for _ in range(int(rng.integers(0, 3))):
        shapes.append(shapely.Polygon(ORIGIN + rng.integers(0, 16, (3, 2)) * STEP))
    start = ORIGIN + rng.integers(0, 12, 2) * STEP
    shapes.append(shapely.Polygon(start + np.array([[0, 0], [4 * STEP, 3 * STEP], [4 * STEP, 3 * STEP + NEAR * 64]])))
    kept = [s for s in shapes if s.area > 0 and s.is_valid]
    numbers = rng.choice(46_000, len(kept), replace=False) + 100
    return [Area(level, parent + np.base_repr(n, 36).zfill(3), s) for n, s in zip(numbers.tolist(), kept, strict=True)]


def probes(rng: np.random.Generator, areas: Sequence[Area]) -> np.ndarray[Any, Any]:
    """Vertices, points on edges, beside both, half-way between lattice nodes, and far away."""
    corners = np.unique(np.concatenate([shapely.get_coordinates(area.shape) for area in areas]), axis=0)
    rings = [shapely.get_coordinates(r) for a in areas for r in shapely.get_rings(shapely.get_parts(a.shape)).tolist()]
    edges = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in rings])
    edges = edges[rng.integers(0, len(edges), 40)]
    # An eighth of an edge is exact in binary, and so on the edge.
    along = edges[:, 0] + (edges[:, 1] - edges[:, 0]) * rng.integers(1, 8, (40, 1)) / 8
    points = np.concatenate([corners[rng.permutation(len(corners))[:30]], along, ORIGIN + rng.integers(-4, 36, (40, 2)) * STEP / 2])
    beside = points[rng.integers(0, len(points), 40)] + rng.integers(-1, 2, (40, 2)) * rng.choice([NEAR, FAR], (40, 1))
    return np.concatenate([points, beside])


def drawn(connection: sa.Connection, areas: Sequence[Area], **values: object) -> None:
    """Write the areas as they are; nothing lies there yet, so nothing is placed anew."""
    connection.exec_driver_sql("ALTER TABLE areas DISABLE TRIGGER e_settled")
    columns = "".join(f", {name}" for name in values)
    connection.execute(
        sa.text(
            f"INSERT INTO areas (level, code, parent, name, geom{columns}) SELECT a.level, a.code, left(a.code, -3), a.code,"
            f" ST_Multi(ST_SetSRID(CAST(a.geom AS geometry), 4326)){''.join(f', :{name}' for name in values)}"
            " FROM json_to_recordset(CAST(:areas AS json)) AS a (level text, code text, geom text)"
        ),
        {"areas": json.dumps([{"level": a.level, "code": a.path, "geom": shapely.to_wkb(a.shape, hex=True)} for a in areas]), **values},
    )
    connection.exec_driver_sql("ALTER TABLE areas ENABLE TRIGGER e_settled")


def found(areas: Sequence[Area], point: shapely.Point) -> tuple[str | None, str | None]:
    """The rule, in its own words: the path of the one area, and why it wants a second look."""
    covering = [area for area in areas if area.shape.covers(point)]
    if covering:
        inside = any(area.shape.contains(point) for area in covering)
        reason = None if len(covering) == 1 else "overlap" if inside else "edge"
        return min(area.path for area in covering), reason
    near = [area.path for area in areas if area.shape.distance(point) <= 1e-7]
    return (min(near), "edge") if near else (None, None)


@given(SEEDS)
def test_areas_at_a_point_are_those_of_brute_force(connection: sa.Connection, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grids, communities = tessellation(rng, "grid", town.A[:12]), tessellation(rng, "community", town.PREFIX)
    points = probes(rng, grids + communities)
    with connection.begin_nested() as stage:
        drawn(connection, grids + communities)
        rows = connection.execute(
            sa.text(
                "SELECT n, level, path, reason FROM unnest(CAST(:x AS float8[]), CAST(:y AS float8[])) WITH ORDINALITY AS p (x, y, n),"
                " areas_at(ST_SetSRID(ST_Point(p.x, p.y), 4326), now())"
            ),
            {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()},
        ).all()
        stage.rollback()
    told = {(row.n - 1, row.level): (row.path, row.reason) for row in rows}
    for n, point in enumerate(shapely.points(points)):
        for level, areas in (("grid", grids), ("community", communities)):
            assert told.get((n, level), (None, None)) == found(areas, point), (point.wkt, level)


@FEW
@given(SEEDS)
def test_one_point_at_a_time_and_all_at_once_are_the_same(connection: sa.Connection, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with connection.begin_nested() as stage:
        now = connection.scalar(sa.text("SELECT now()"))
        switches = [now - timedelta(days=300), now - timedelta(days=9), now + timedelta(days=9)]
        before = tessellation(rng, "grid", town.A[:12])
        drawn(connection, before, valid_to=switches[0])
        between = tessellation(rng, "grid", town.C[:12])
        drawn(connection, between, valid_from=switches[0], valid_to=switches[1])
        after = tessellation(rng, "grid", town.C[:12])
        drawn(connection, after, valid_from=switches[1])
        communities = tessellation(rng, "community", town.PREFIX)
        drawn(connection, communities)
        points = probes(rng, before + between + after)
        near = timedelta(microseconds=1)
        moments: list[datetime | None] = [None, now, now - timedelta(days=100), *switches, *(s - near for s in switches)]
        when = [moments[n] for n in rng.integers(0, len(moments), len(points))]
        names = [None, "", "没有这个地方", "澜溪", "澜溪社区", "云汀街道", town.PREFIX, town.A, "第一网格"]
        names += [area.path for area in (*before, *after, *communities)]
        stated = [names[n] for n in rng.integers(0, len(names), len(points))]
        region = rng.random(len(points)) < 0.1
        rows = connection.execute(
            sa.text(
                "SELECT q.placement, q.scope, q.reason, q.nearest::text, q.nearest_m"
                " FROM unnest(CAST(:x AS float8[]), CAST(:y AS float8[]), CAST(:w AS timestamptz[]), CAST(:r AS boolean[]),"
                " CAST(:s AS text[])) WITH ORDINALITY AS p (x, y, moment, region, stated, n),"
                " place_point(ST_SetSRID(ST_Point(p.x, p.y), 4326), coalesce(p.moment, now()),"
                " CASE WHEN p.region THEN 'region' ELSE 'exact' END, nullif(btrim(p.stated), '')) AS q ORDER BY n"
            ),
            {"x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "w": when, "r": region.tolist(), "s": stated},
        ).all()
        placer = placing.Placer.ready(connection)
        seconds = np.array([np.nan if w is None else w.timestamp() for w in when])
        places = placer.place(points[:, 0], points[:, 1], seconds, region, np.array(stated, object))
        as_near = {
            (places.nearest[n], n): connection.scalar(
                sa.text("SELECT ST_Distance(geom::geography, ST_SetSRID(ST_Point(:x, :y), 4326)::geography) FROM areas WHERE id = :id"),
                {"x": float(points[n, 0]), "y": float(points[n, 1]), "id": places.nearest[n]},
            )
            for n in np.flatnonzero(places.nearest != np.array([row.nearest for row in rows], object)).tolist()
        }
        stage.rollback()
    for n, row in enumerate(rows):
        at = (seed, points[n].tolist(), when[n], stated[n], bool(region[n]))
        bulk = (places.placement[n] or None, places.scope[n], places.reason[n])
        assert (row.placement, row.scope, row.reason) == bulk, at
        assert (row.nearest_m is None) == np.isnan(places.nearest_m[n]), at
        if row.nearest_m is not None:
            # One measures to edges that are straight on the ground, the other in degrees: 13 cm apart on one of 6 km.
            assert row.nearest_m == pytest.approx(places.nearest_m[n], abs=0.5), at
            assert row.nearest == places.nearest[n] or as_near[places.nearest[n], n] < row.nearest_m + 0.5, at


@given(SEEDS)
def test_the_nearest_is_nearest_on_the_ground(connection: sa.Connection, seed: int) -> None:
    # A degree of longitude is shorter here than one of latitude: nearest in degrees is not nearest on the ground.
    rng = np.random.default_rng(seed)
    offsets = rng.integers(-24, 24, (20, 2))
    # A dozen to the north, nearer in degrees than the one to the east.
    offsets = [o for o in offsets if not (-15 < o[0] < 15 and -15 < o[1] < 15)] + [(n, 10) for n in range(-6, 6)] + [(11, 0)]
    boxes = [shapely.box(*(ORIGIN + o * STEP), *(ORIGIN + o * STEP + STEP)) for o in map(np.array, offsets)]
    areas = [Area("grid", f"{town.A[:12]}{n:03}", box) for n, box in enumerate(boxes, 100)]
    with connection.begin_nested() as stage:
        drawn(connection, areas)
        lon, lat = (ORIGIN + STEP / 4).tolist()
        place = "ST_SetSRID(ST_Point(:lon, :lat), 4326)"
        measured = connection.execute(
            sa.text(f"SELECT path, ST_Distance(geom::geography, {place}::geography) AS metres FROM areas WHERE level = 'grid'"),
            {"lon": lon, "lat": lat},
        ).all()
        least = min(row.metres for row in measured)
        due = min(row.path for row in measured if row.metres <= least + 0.001)
        row = connection.execute(
            sa.text(
                "SELECT reason, (SELECT path FROM areas WHERE id = nearest) AS path, nearest_m"
                f" FROM place_point({place}, now(), 'exact', NULL)"
            ),
            {"lon": lon, "lat": lat},
        ).one()
        stage.rollback()
    assert (row.reason, row.path) == ("outside", due)
    assert row.nearest_m == pytest.approx(least, abs=0.002)


POINTS = [name for name, noun in RESOURCES.items() if noun.place is Place.POINT and noun.geometry == "POINT"]
PLACED = sa.text("SELECT p.scope, p.placing_reason AS reason, round(p.nearest_m) AS metres FROM parts AS p WHERE id = :id")


@pytest.mark.parametrize(
    ("x", "y", "scope", "reason"),
    [
        (0.5, 0.5, town.A, None),
        (1.0, 0.5, town.A, "edge"),  # on the edge that A and B share: the smaller path
        (1.0, 2.0, town.A, "edge"),  # a corner of both
        (0.0, 1.0, town.A, None),  # on the edge of A alone: covered by exactly one
        (2.0, 1.0, town.B, "edge"),
        (3.05, 1.0, town.C, "overlap"),
        (3.0, 1.0, town.C, "overlap"),  # inside C and on the edge of D
        (3.1, 1.0, town.C, "overlap"),
        (3.9, 1.0, town.C[:12], "outside"),  # in its community, in no grid
        (5.0, 1.0, town.PREFIX, "outside"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["sql", "api"])
def test_a_point_is_placed_when_it_is_written(
    client: TestClient, connection: sa.Connection, way: str, x: float, y: float, scope: str, reason: str | None
) -> None:
    if way == "sql":
        id: UUID | str = town.add(connection, "parts", town.point(x, y))
    else:
        made = client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]) | {"geometry": town.point(x, y)})
        id = made.json()["id"]
        assert (made.json()["properties"]["scope"], made.json()["properties"]["placing_reason"]) == (scope, reason)
    assert tuple(connection.execute(PLACED, {"id": id}).one())[:2] == (scope, reason)


@pytest.mark.parametrize(("x", "metres"), [(3.9, 966.6 * 0.1), (5.0, 966.6 * 1.2)])
def test_a_point_outside_knows_the_nearest(connection: sa.Connection, x: float, metres: float) -> None:
    id = town.add(connection, "parts", town.point(x, 1))
    row = connection.execute(
        sa.text("SELECT a.path, p.nearest_m FROM parts AS p JOIN areas AS a ON a.id = p.nearest_area WHERE p.id = :id"), {"id": id}
    ).one()
    assert row.path == town.D
    assert row.nearest_m == pytest.approx(metres, rel=0.005)


@pytest.mark.parametrize(
    ("stated", "scope", "reason"),
    [
        (town.A, town.A, None), ("第一网格", town.A, None), ("澜溪", town.A, None), ("澜溪社区", town.A, None), ("云汀街道", town.A, None),
        (" 第一网格 ", town.A, None), ("", town.A, None), ("没有这个地方", town.A, None), ("'; DROP TABLE areas; --", town.A, None),
        ("第二网格", town.A[:12], "contradiction"), (town.B, town.A[:12], "contradiction"),
        ("柳汀", town.PREFIX, "contradiction"), ("第三网格", town.PREFIX, "contradiction"),
    ],
)  # fmt: skip
def test_what_contradicts_its_record_answers_to_what_both_have_in_common(
    connection: sa.Connection, stated: str, scope: str, reason: str | None
) -> None:
    id = town.add(connection, "parts", town.point(0.5, 0.5), stated_area=stated)
    assert tuple(connection.execute(PLACED, {"id": id}).one())[:2] == (scope, reason)
    # Corrected, it is clean.
    connection.execute(sa.text("UPDATE parts SET stated_area = :a WHERE id = :id"), {"a": town.A, "id": id})
    assert tuple(connection.execute(PLACED, {"id": id}).one())[:2] == (town.A, None)


@pytest.mark.parametrize(("stated", "scope"), [(None, town.PREFIX), ("柳汀", town.C[:12]), ("没有这个地方", town.PREFIX)])
def test_a_centroid_of_a_region_is_no_location(connection: sa.Connection, stated: str | None, scope: str) -> None:
    id = town.add(connection, "parts", town.point(0.5, 0.5), precision="region", stated_area=stated)
    row = connection.execute(
        sa.text("SELECT p.scope, placing_reason, a.path FROM parts AS p JOIN placements AS q ON q.id = placement"
                " JOIN areas AS a ON a.id = q.grid WHERE p.id = :id"), {"id": id}
    ).one()  # fmt: skip
    # It keeps the area that the point falls in, and counts nowhere.
    assert tuple(row) == (scope, "imprecise", town.A)
    assert connection.scalar(sa.text("SELECT parts FROM area_counts(:p)"), {"p": town.PREFIX}) == 0


def test_what_has_no_geometry_answers_where_it_says(connection: sa.Connection) -> None:
    connection.exec_driver_sql("INSERT INTO incidents (title, channel, stated_area) VALUES ('无位置', 'public', '柳汀社区')")
    row = connection.exec_driver_sql("SELECT scope, placement, placing_reason, geom_coarse FROM incidents").one()
    assert tuple(row) == (town.C[:12], None, "imprecise", None)


@pytest.mark.parametrize("noun", POINTS)
def test_every_point_is_placed_and_moves(connection: sa.Connection, noun: str) -> None:
    id = town.add(connection, noun, town.point(0.5, 0.5))
    scope = sa.text(f"SELECT scope FROM {noun} WHERE id = :id")
    assert connection.scalar(scope, {"id": id}) == town.A
    connection.execute(sa.text(f"UPDATE {noun} SET geom = ST_Translate(geom, 0.01, 0) WHERE id = :id"), {"id": id})
    assert connection.scalar(scope, {"id": id}) == town.B


# Time


@given(st.data())
def test_a_record_lies_in_the_version_of_its_own_time(connection: sa.Connection, data: st.DataObject) -> None:
    midnights = [datetime(2026, 1, 1, tzinfo=CST) + timedelta(days=30 * n) for n in range(4)]
    moments = st.one_of(st.sampled_from(midnights), st.datetimes(datetime(2025, 12, 1), datetime(2026, 5, 1)).map(lambda t: t.replace(tzinfo=CST)))
    moment = data.draw(moments) + timedelta(microseconds=data.draw(st.sampled_from([-1, 0, 1])))
    with connection.begin_nested() as stage:
        # The strip of 2–3.1 belongs to C, then to B, then to C again, then to D: half-open, at local midnight.
        owners = [town.C, town.B, town.C, town.D]
        lasting = list(zip(owners, [datetime(1900, 1, 1, tzinfo=CST), *midnights[:3]], [*midnights[:3], None], strict=True))
        connection.exec_driver_sql("ALTER TABLE areas DISABLE TRIGGER e_settled; UPDATE areas SET retired_at = now() WHERE level = 'grid'")
        for path, since, until in lasting:
            town.area(connection, "grid", None, path, 2, 0, 3, 2, path=path, valid_from=since, valid_to=until)
        id = town.add(connection, "incidents", town.point(2.5, 1), occurred_at=moment)
        row = connection.execute(
            sa.text("SELECT a.path, i.scope FROM incidents AS i JOIN placements AS q ON q.id = i.placement"
                    " JOIN areas AS a ON a.id = q.grid WHERE i.id = :id"), {"id": id}
        ).one()  # fmt: skip
        stage.rollback()
    due = next(path for path, since, until in lasting if since <= moment and (until is None or moment < until))
    # Where it was then; and who answers for it now.
    assert tuple(row) == (due, town.D)


@FEW
@given(SEEDS)
def test_redrawing_places_all_that_it_concerns(connection: sa.Connection, seed: int) -> None:
    # After any redrawing by hand, placing everything anew finds nothing to do.
    rng = np.random.default_rng(seed)
    with connection.begin_nested() as stage:
        for n in range(20):
            names = [None, "第一网格", "第三网格", "柳汀"]
            town.add(connection, "parts", town.point(*rng.uniform(-1, 5, 2).round(2)), code=str(n), stated_area=names[rng.integers(4)])
        for n in range(5):
            town.add(connection, "incidents", town.point(*rng.uniform(-1, 5, 2).round(2)), number=str(n))
        for n in range(4):
            x, y = rng.uniform(0, 3.5, 2).round(2)
            town.add(connection, "zones", town.box(x, y, x + 1, y + 1), code=f"z{n}")
            town.add(connection, "buildings", town.box(x, y, x + 0.3, y + 0.3), code=f"b{n}")
        for n in range(4):
            grid = [town.A, town.B, town.C, town.D][rng.integers(4)]
            match rng.integers(4):
                case 0:
                    west, south = rng.uniform(-1, 4, 2).round(2)
                    town.area(connection, "grid", None, "新网格", west, south, west + 1, south + 1)
                case 1:
                    connection.execute(sa.text("UPDATE areas SET retired_at = now() WHERE path = :p"), {"p": grid})
                case 2:
                    connection.execute(
                        sa.text("UPDATE areas SET geom = ST_Translate(geom, :x, :y) WHERE path = :p"),
                        {"p": grid, "x": float(rng.uniform(-0.02, 0.02)), "y": float(rng.uniform(-0.02, 0.02))},
                    )
                case _:
                    connection.execute(
                        sa.text("UPDATE areas SET name = '改名' || :n, valid_to = now() WHERE path = :p AND valid_to IS NULL"), {"p": grid, "n": n}
                    )
        shares = "SELECT array_agg((s.*)::text ORDER BY noun, feature, area) FROM area_shares AS s"
        before = connection.scalar(sa.text(shares))
        assert connection.scalar(sa.text("SELECT areas_settled(NULL, NULL, NULL)")) == 0, seed
        assert connection.scalar(sa.text(shares)) == before
        stage.rollback()


# Polygons, and what has its place from another


def test_a_building_is_in_one_grid_by_its_representative_point(connection: sa.Connection) -> None:
    # A U whose middle is empty: its centroid is in B, the building is not.
    u = [(0.7, 0), (1.3, 0), (1.3, 0.1), (0.8, 0.1), (0.8, 0.9), (0.9, 0.9), (0.9, 1), (0.7, 1), (0.7, 0)]
    shape = {"type": "Polygon", "coordinates": [[town.at(*position) for position in u]]}
    id = town.add(connection, "buildings", shape)
    row = connection.execute(
        sa.text("SELECT b.scope, b.placing_reason, a.path FROM buildings AS b, areas AS a WHERE b.id = :id AND a.level = 'grid'"
                " AND ST_Covers(a.geom, ST_PointOnSurface(b.geom))"), {"id": id}
    ).one()  # fmt: skip
    assert row.scope == row.path
    assert row.placing_reason is None


INHERITING = [name for name, noun in RESOURCES.items() if noun.place is Place.INHERITS]


@pytest.mark.parametrize("noun", INHERITING)
def test_what_is_in_a_building_moves_with_it(connection: sa.Connection, noun: str) -> None:
    building = town.add(connection, "buildings", town.box(0.4, 0.4, 0.6, 0.6))
    other = town.add(connection, "buildings", town.box(2.4, 0.4, 2.6, 0.6))
    id = town.add(connection, noun, building=building)
    place = sa.text(f"SELECT n.scope, n.placement = b.placement FROM {noun} AS n JOIN buildings AS b ON b.id = n.building WHERE n.id = :id")
    assert tuple(connection.execute(place, {"id": id}).one()) == (town.A, True)
    connection.execute(sa.text("UPDATE buildings SET geom = ST_Translate(geom, 0.01, 0) WHERE id = :b"), {"b": building})
    assert tuple(connection.execute(place, {"id": id}).one()) == (town.B, True)
    connection.execute(sa.text("UPDATE areas SET geom = ST_Translate(geom, 0.02, 0) WHERE path IN (:a, :b)"), {"a": town.A, "b": town.B})
    connection.execute(sa.text("UPDATE buildings SET stated_area = '柳汀' WHERE id = :b"), {"b": building})
    assert tuple(connection.execute(place, {"id": id}).one())[1] is True
    connection.execute(sa.text(f"UPDATE {noun} SET building = :b WHERE id = :id"), {"b": other, "id": id})
    assert tuple(connection.execute(place, {"id": id}).one())[1] is True
    versions = sa.text("SELECT count(*), max(version) FROM changes WHERE noun = :noun AND feature = :id")
    told, version = connection.execute(versions, {"noun": noun, "id": id}).one()
    assert told == version == connection.scalar(sa.text(f"SELECT version FROM {noun} WHERE id = :id"), {"id": id})


@given(SEEDS)
def test_shares_are_those_of_the_plane_and_make_a_whole(connection: sa.Connection, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform([0.1, 0.1], [2.9, 1.9], (6, 2)).round(3)
    hull = shapely.convex_hull(shapely.multipoints(corners))
    ring = [town.at(x, y) for x, y in shapely.get_coordinates(hull).tolist()]
    with connection.begin_nested() as stage:
        id = town.add(connection, "zones", {"type": "Polygon", "coordinates": [ring]})
        rows = connection.execute(
            sa.text("SELECT level, a.path, measure, share, area_share, metric_srid(z.geom) AS srid, ST_AsBinary(a.geom) AS area"
                    " FROM area_shares JOIN areas AS a ON a.id = area JOIN zones AS z ON z.id = feature WHERE feature = :id"),
            {"id": id},
        ).all()  # fmt: skip
        scope = connection.scalar(sa.text("SELECT scope FROM zones WHERE id = :id"), {"id": id})
        stage.rollback()
    plane = Transformer.from_crs(4326, rows[0].srid, always_xy=True)

    def measured(shape: shapely.Geometry) -> float:
        return float(shapely.transform(shape, plane.transform, interleaved=False).area)

    for level in ("street", "community", "grid"):
        of_level = [row for row in rows if row.level == level]
        # A straight edge in degrees is bent on the plane, and cut it is bent at the cut.
        assert sum(row.share for row in of_level) == pytest.approx(1, abs=1e-3)
        for row in of_level:
            area = shapely.from_wkb(bytes(row.area))
            inside = measured(shapely.intersection(shapely.Polygon(ring), area))
            assert row.measure == pytest.approx(inside, rel=1e-9)
            assert row.share == pytest.approx(min(1, inside / measured(shapely.Polygon(ring))), rel=1e-9)
            assert row.area_share == pytest.approx(min(1, inside / measured(area)), rel=1e-9)
    # It answers to the smallest area that holds all of it.
    holders = [path for level, path, _, west, east in town.AREAS if corners[:, 0].min() >= west and corners[:, 0].max() <= east]
    assert scope == max(holders, key=lambda path: (len(path), path == town.C))


def test_a_line_has_shares_by_length(connection: sa.Connection) -> None:
    id = town.add(connection, "roads", town.line((0.5, 1), (2.5, 1)))
    rows = connection.execute(
        sa.text("SELECT areas.path, share, area_share FROM area_shares JOIN areas ON areas.id = area WHERE feature = :id AND level = 'grid'"
                " ORDER BY areas.path"), {"id": id}
    ).all()  # fmt: skip
    assert [(row.path, round(row.share, 4), row.area_share) for row in rows] == [(town.A, 0.25, 0), (town.B, 0.5, 0), (town.C, 0.25, 0)]


def test_touching_along_an_edge_is_no_share(connection: sa.Connection) -> None:
    id = town.add(connection, "zones", town.box(0.2, 0.2, 1.0, 0.8))
    paths = sa.text("SELECT array_agg(areas.path ORDER BY areas.path) FROM area_shares JOIN areas ON areas.id = area WHERE feature = :id")
    assert connection.scalar(paths, {"id": id}) == [town.PREFIX, town.A[:12], town.A]
