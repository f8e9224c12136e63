"""`POST /areas/{path}/redraw` tells a difference and writes nothing unless told to."""

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests import town

NEW: dict[str, Any] = {"at": "2026-03-01", "geometry": town.box(0, 0, 0.7, 2), "also": {town.B: town.box(0.7, 0, 2, 2)}}


def test_the_difference_is_told_then_made(client: TestClient, connection: sa.Connection) -> None:
    for n, homes in enumerate((3, 12)):
        shape = town.box(0.8, 0.1 + n / 2, 0.82, 0.12 + n / 2)
        town.add(connection, "buildings", shape, code=str(n), households=homes)
    answer = client.post(f"/areas/{town.A}/redraw", json=NEW)
    assert answer.status_code == 200
    told = answer.json()
    assert told["moved"] == [{"noun": "buildings", "from": town.A, "to": town.B, "count": 2, "earlier": 0, "households": 15}]
    assert (told["at"], told["applied"], told["batch"], told["gaps"]) == ("2026-03-01T00:00:00+08:00", False, None, [])
    placed = sa.text("SELECT count(*) FROM buildings WHERE scope = :path")
    assert connection.scalar(placed, {"path": town.A}) == 2
    done = client.post(f"/areas/{town.A}/redraw", params={"apply": "true"}, json=NEW).json()
    assert done["applied"]
    assert connection.scalar(placed, {"path": town.B}) == 2
    assert connection.scalar(sa.text("SELECT actor FROM batches WHERE id = :batch"), {"batch": done["batch"]}) == "leader"


def test_strips_come_as_features(client: TestClient) -> None:
    [gap] = client.post(f"/areas/{town.A}/redraw", json={k: NEW[k] for k in ("at", "geometry")}).json()["gaps"]
    assert gap["geometry"]["type"] == "Polygon"
    assert gap["properties"]["measure_m2"] == pytest.approx(642_400, rel=1e-2)


BOWTIE = {"type": "Polygon", "coordinates": [[town.at(0, 0), town.at(1, 1), town.at(1, 0), town.at(0, 1), town.at(0, 0)]]}


@pytest.mark.parametrize(
    ("path", "query", "body", "status"),
    [
        (town.A, "", {}, 422),
        (town.A, "", {**NEW, "at": "2026-02-30"}, 422),
        (town.A, "", {**NEW, "at": "9999-01-01"}, 422),
        (town.A, "", {**NEW, "geometry": town.point(1, 1)}, 422),
        (town.A, "", {**NEW, "geometry": BOWTIE}, 422),
        (town.A, "", {**NEW, "also": {town.B: BOWTIE}}, 422),
        (town.A, "", {**NEW, "also": {"990101001": town.box(0, 0, 1, 1)}}, 422),
        (town.A, "", {**NEW, "also": {"\0": town.box(0, 0, 1, 1)}}, 422),
        (town.A, "", {**NEW, "shape": 1}, 422),
        (town.A, "?apply=perhaps", NEW, 400),
        (town.A, "?aply=true", NEW, 400),
        ("990101001009", "", NEW, 404),
        ("x'--", "", NEW, 404),
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, path: str, query: str, body: dict[str, Any], status: int) -> None:
    answer = client.post(f"/areas/{path}/redraw{query}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(("role", "status"), [("", 401), ("grid_worker", 403), ("community_leader", 200)])
def test_areas_are_redrawn_by_who_leads_them(client: TestClient, connection: sa.Connection, role: str, status: int) -> None:
    headers = town.NOBODY
    if role:
        town.token(connection, town.post(connection, "somebody", role, town.A[:12]), "jw_somebody")
        headers = {"Authorization": "Bearer jw_somebody"}
    assert client.post(f"/areas/{town.A}/redraw", json=NEW, headers=headers).status_code == status
