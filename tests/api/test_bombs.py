"""Shapes made to hurt, asked about and stored: answered or refused, and the database is the one that was started before.

A self-crossing polygon of 251 vertices took a whole cluster down in `ST_MakeValid` under a time limit, which is why that is
called nowhere; here is the time limit, and everything else that a shape can be.
"""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from geo.catalog import RESOURCES
from tests import town
from tests.conftest import Client

Ring = list[list[float]]


def ring(points: list[tuple[float, float]]) -> Ring:
    """Positions around the middle of grid A, closed; offsets in hundredths of a degree."""
    placed = [town.at(0.5 + x, 0.5 + y) for x, y in points]
    return [*placed, placed[0]]


def star(n: int) -> Ring:
    """Every edge crosses nearly every other."""
    step = n // 2
    return ring([(0.4 * math.cos(2 * math.pi * k * step / n), 0.4 * math.sin(2 * math.pi * k * step / n)) for k in range(n)])


def comb(n: int, width: float = 0.4) -> Ring:
    """Valid, and all edge: teeth of no breadth to speak of."""
    teeth = [(width * k / n, 0.4 if k % 2 else 0.001) for k in range(n)]
    return ring([*teeth, (width, 0.0), (0.0, 0.0)])


def spiral(n: int) -> Ring:
    out = [(0.4 * k / n * math.cos(k / 5), 0.4 * k / n * math.sin(k / 5)) for k in range(1, n)]
    back = [(0.4 * (k + 0.3) / n * math.cos(k / 5), 0.4 * (k + 0.3) / n * math.sin(k / 5)) for k in range(n - 1, 0, -1)]
    return ring(out + back)


def circle(n: int, radius: float = 0.3) -> Ring:
    return ring([(radius * math.cos(2 * math.pi * k / n), radius * math.sin(2 * math.pi * k / n)) for k in range(n)])


def scribble(n: int, seed: int = 1) -> Ring:
    drawn = random.Random(seed)
    return ring([(drawn.random(), drawn.random()) for _ in range(n)])


def square(side: float, x: float = 0.0, y: float = 0.0) -> Ring:
    return ring([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])


def polygon(*rings: Ring) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def many(polygons: list[list[Ring]]) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": polygons}


def line(points: Ring) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": points}


BOMBS: dict[str, dict[str, Any]] = {
    **{f"star of {n}": polygon(star(n)) for n in (5, 7, 11, 21, 61, 101, 251, 501, 801, 999, 2001)},
    **{f"scribble of {n}": polygon(scribble(n)) for n in (10, 50, 251, 900, 5000)},
    **{f"comb of {n}": polygon(comb(n)) for n in (10, 100, 500, 980, 3000)},
    **{f"narrow comb of {n}": polygon(comb(n, 1e-7)) for n in (100, 900)},
    **{f"spiral of {n}": polygon(spiral(n)) for n in (50, 200, 450)},
    **{f"circle of {n}": polygon(circle(n)) for n in (16, 900, 1000, 9000)},
    **{f"line scribbled {n} times": line(scribble(n, 7)) for n in (20, 60, 500)},
    **{f"many squares, {n}": many([[square(0.001, k % 14 / 50, k // 14 / 50)] for k in range(n)]) for n in (50, 190, 400)},
    **{f"squares in squares, {n}": many([[square(0.4 - k / 1000, k / 2000, k / 2000)] for k in range(n)]) for n in (20, 180)},
    "the same square 190 times": many([[square(0.1)]] * 190),
    "190 holes": polygon(square(0.4), *[square(0.001, 0.01 + k % 14 / 50, 0.01 + k // 14 / 50) for k in range(190)]),
    "a hole as large as its polygon": polygon(square(0.4), square(0.4)),
    "a bow-tie": polygon(ring([(0, 0), (0.4, 0.4), (0.4, 0), (0, 0.4)])),
    "a needle": polygon(ring([(0, 0), (0.4, 1e-13), (0.4, 2e-13)])),
    "nothing as wide as anything": polygon(ring([(0, 0), (1e-12, 0), (1e-12, 1e-12)])),
    "a spike": polygon(ring([(0, 0), (0.2, 0), (0.2, 0.4), (0.2, 0), (0.4, 0), (0.4, 0.1)])),
    "a point as a polygon": polygon(ring([(0, 0)] * 900)),
    "to and fro": line([town.at(0.5 + k % 2 / 10, 0.5) for k in range(900)]),
    "the world": polygon([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]),
    "half the world": polygon([[0, -90], [180, -90], [180, 90], [0, 90], [0, -90]]),
    "around the pole": polygon([[0, 89.6], [0.9, 89.6], [0.9, 90], [0, 90], [0, 89.6]]),
    "at the other side": polygon([[179.5, 10], [180, 10], [180, 10.5], [179.5, 10.5], [179.5, 10]]),
    "across it": line([[179.9, 10], [-179.9, 10]]),
    "the south pole": {"type": "Point", "coordinates": [0, -90]},
    "no land": {"type": "Point", "coordinates": [0, 0]},
    "a breath from zero": {"type": "Point", "coordinates": [5e-324, -5e-324]},
    "fine beyond measure": line([[122.605 + k * 1e-15, 29.805] for k in range(900)]),
    "all digits": polygon([[122.60512345678901, 29.80512345678901], [122.60612345678902, 29.80512345678907], [122.60612345678909, 29.80612345678903], [122.60512345678901, 29.80512345678901]]),
    "open": polygon(circle(20)[:-1]),
    "empty": polygon([]),
    "nested": {"type": "Polygon", "coordinates": [[[[[[[[[[]]]]]]]]]]},
}  # fmt: skip


@pytest.fixture
def unharmed(connection: sa.Connection) -> Iterator[None]:
    """The database is still the one that was started before."""
    started = sa.text("SELECT pg_postmaster_start_time()")
    before = connection.scalar(started)
    yield
    assert connection.scalar(started) == before


@pytest.mark.usefixtures("unharmed")
def test_shapes_that_hurt(client: Client, connection: sa.Connection) -> None:
    assert len(BOMBS) >= 60
    for n in range(20):
        town.add(connection, "facilities", town.point(0.3 + n / 50, 0.5), name=f"f{n}")
    # What is asked about is intricate itself.
    town.add(connection, "zones", polygon(comb(400)))
    town.add(connection, "zones", polygon(spiral(200)))
    answers = {}
    for name, shape in BOMBS.items():
        for layer, metres in (("facilities", 50_000), ("zones", 0)):
            answer = client.post("/within", json={"layer": layer, "geometry": shape, "metres": metres}, headers=town.NOBODY)
            assert answer.status_code in (200, 400, 422), (name, answer.status_code, answer.text[:300])
            answers[name, layer] = answer.status_code
        # One transaction for all of the test: the limit of a question stays on, and a write has its own.
        connection.execute(sa.text("SET LOCAL statement_timeout = '10s'"))
        # Stored it is judged once more, by the same rules and by the database's own.
        kind = "roads" if shape["type"] == "LineString" else "facilities" if shape["type"] == "Point" else "zones"
        given = town.example(RESOURCES[kind]) | {"geometry": shape}
        stored = client.post(f"/collections/{kind}/items", json=given)
        assert stored.status_code in (201, 403, 413, 422), (name, stored.status_code, stored.text[:300])
        if stored.status_code == 201:
            id = stored.json()["id"]
            assert client.get("/within", params={"layer": "facilities", "of": f"{kind}/{id}", "metres": 50_000}).status_code in (200, 400), name
            connection.execute(sa.text(f"UPDATE {kind} SET retired_at = now() WHERE id = :id"), {"id": id})
    assert {answers[f"star of {n}", "zones"] for n in (5, 61, 251, 999, 2001)} == {422}
    assert answers["comb of 980", "zones"] == answers["circle of 900", "facilities"] == 200
    assert answers["the world", "facilities"] == answers["comb of 3000", "zones"] == 422


@pytest.mark.usefixtures("unharmed")
def test_tiles_of_shapes_that_hurt(client: Client, connection: sa.Connection) -> None:
    for n, shape in enumerate((polygon(comb(900)), polygon(comb(900, 1e-5)), polygon(spiral(400)), BOMBS["190 holes"], polygon(circle(9000)))):
        town.add(connection, "zones", shape, name=f"z{n}")
    lon, lat = town.at(0.5, 0.5)
    for cut in ("WebMercatorQuad", "CGCS2000Quad"):
        for z in range(9, 23):
            row = math.floor((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z) if cut == "WebMercatorQuad" else math.floor((90 - lat) / 360 * 2**z)
            answer = client.get(f"/collections/zones/tiles/{cut}/{z}/{row}/{math.floor((lon + 180) / 360 * 2**z)}")
            assert answer.status_code in (200, 204)
            assert (answer.status_code == 204) == (z < 11)
