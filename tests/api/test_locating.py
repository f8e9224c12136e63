"""`GET /locate`: every level's area at a point, who answers there, what is in force, and the nearest when there is none."""

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import crs
from tests import town

GRIDS = {town.A: "第一网格", town.B: "第二网格", town.C: "第三网格", town.D: "第四网格"}


def located(client: TestClient, x: float, y: float, **parameters: object) -> dict[str, Any]:
    """What is told of a position in the town."""
    lon, lat = town.at(x, y)
    answer = client.get("/locate", params={"lon": lon, "lat": lat, **parameters})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize(
    ("x", "grid", "reason"), [(0.5, town.A, None), (1.0, town.A, "edge"), (3.05, town.C, "overlap"), (3.5, town.D, None), (0.0, town.A, None)]
)
def test_the_areas_at_a_point(client: TestClient, x: float, grid: str, reason: str | None) -> None:
    told = located(client, x, 1)
    assert [(a["level"], a["path"]) for a in told["areas"]] == [("street", town.PREFIX), ("community", grid[:12]), ("grid", grid)]
    assert (told["areas"][-1]["name"], told["areas"][-1]["reason"]) == (GRIDS[grid], reason)
    assert told["nearest"] is None


def test_in_a_community_but_in_no_grid(client: TestClient) -> None:
    told = located(client, 3.9, 1)
    assert [a["level"] for a in told["areas"]] == ["street", "community"]
    assert told["nearest"]["path"] == town.D
    assert told["nearest"]["distance_m"] == pytest.approx(96.6, rel=0.01)


def test_far_away(client: TestClient) -> None:
    told = client.get("/locate", params={"lon": 87.6, "lat": 43.8}).json()
    assert told["areas"] == []
    assert told["nearest"]["distance_m"] > 3_000_000


def test_the_nearest_is_the_nearest_on_the_ground(client: TestClient, connection: sa.Connection) -> None:
    # Nearer in degrees to the north, nearer in metres to the east.
    town.area(connection, "grid", None, "北", 20, 11, 21, 12)
    town.area(connection, "grid", None, "东", 21.6, 9.5, 22.6, 10.5)
    assert located(client, 20.5, 10)["nearest"]["name"] == "东"


def test_who_answers_here_now_with_names_masked(client: TestClient, connection: sa.Connection) -> None:
    past, later = "2020-01-01T00:00:00+08:00", "2099-01-01T00:00:00+08:00"
    town.add(connection, "posts", role="grid_leader", area=town.A, holder="欧阳锋", deputy="洪七公", starts_at=past, ends_at=later)
    town.add(connection, "posts", role="grid_worker", area=town.A, holder="已离任", starts_at=past, ends_at="2021-01-01T00:00:00+08:00")
    town.add(connection, "posts", role="police", area=town.A, holder="未上任", starts_at=later, ends_at=None)
    town.add(connection, "posts", role="street_leader", area=town.PREFIX, holder="黄药师", starts_at=past, ends_at=None)
    told = located(client, 0.5, 0.5)
    assert told["areas"][-1]["responsible"] == [{"role": "grid_leader", "holder": "欧*", "deputy": "洪*", "organisation": None}]
    assert [p["holder"] for p in told["areas"][0]["responsible"]] == ["黄*"]
    assert "欧阳锋" not in str(told)


def test_zones_in_force_here(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "zones", name="生效的")
    town.add(connection, "zones", name="草稿", state="draft")
    town.add(connection, "zones", name="已解除", state="lifted", lifted_at="2026-03-05T08:00:00+08:00")
    town.add(connection, "zones", name="逾期的", starts_at="2020-01-01T00:00:00+08:00", planned_end="2020-02-01T00:00:00+08:00")
    town.add(connection, "zones", town.box(2, 0, 3, 1), name="别处的")
    told = {zone["name"]: zone["standing"] for zone in located(client, 0.5, 0.5)["zones"]}
    assert told == {"生效的": "active", "逾期的": "overdue_review"}


@pytest.mark.parametrize("datum", list(crs.Datum))
def test_a_position_of_another_datum_is_taken_to_ours(client: TestClient, datum: crs.Datum) -> None:
    told = located(client, 0.5, 0.5, datum=datum.value)
    assert (told["lon"], told["lat"]) == crs.point_to_storage(*town.at(0.5, 0.5), datum)
    shifted = datum in (crs.Datum.GCJ02, crs.Datum.BD09)
    assert ((told["lon"], told["lat"]) != tuple(town.at(0.5, 0.5))) is shifted


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("lon=181&lat=1", "lon"), ("lon=1&lat=-90.1", "lat"), ("lon=nan&lat=1", "lon"), ("lon=1&lat=inf", "lat"), ("lon=1e999&lat=1", "lon"),
        ("lat=1", "lon"), ("lon=&lat=1", "lon"), ("lon=x&lat=1", "lon"), ("lon=1&lat=1&datum=nad27", "datum"), ("lon=1&lat=1&zzz=1", "zzz"),
        ("lon=1&lat=1&lon=2", "lon"), ("lon=1&lat=1%00", "lat"),
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused(client: TestClient, query: str, field: str) -> None:
    refused = client.get(f"/locate?{query}")
    assert refused.status_code == 400
    assert field in (refused.json().get("field"), refused.json().get("parameter"))


def test_the_ends_of_the_earth(client: TestClient) -> None:
    for lon, lat in ((180, 0), (-180, 0), (0, 90), (0, -90), (180, 90)):
        assert client.get("/locate", params={"lon": lon, "lat": lat}).status_code == 200
