"""`GET /topology` tells what does not fit, to everybody, and nothing that is not theirs to know."""

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from tests import town


def test_a_report_is_a_feature_collection(client: TestClient) -> None:
    answer = client.get("/topology", params={"level": "grid"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    told = answer.json()
    assert (told["type"], told["level"], told["areas"], told["parent"]) == ("FeatureCollection", "grid", 4, "community")
    [overlap] = [f["properties"] for f in told["features"] if f["properties"]["kind"] == "overlap"]
    assert overlap["sentence"] == "第三网格、第四网格重叠。"
    assert [a["path"] for a in overlap["areas"]] == [town.C, town.D]
    [line] = [line for line in told["summary"] if line["kind"] == "overlap"]
    assert line == {"kind": "overlap", "title": "重叠", "findings": 1, "count": 1, "measure_m2": overlap["measure_m2"]}


@pytest.mark.parametrize(
    "query", ["", "level=planet", "level=grid&level=grid", "level=grid&kind=gap", "level=grid&theme=%27", "level=grid%00"]
)
def test_odd_questions_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/topology?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("level", ["province", "city", "district", "street", "community", "grid", "micro_grid"])
def test_every_level_and_theme_answers(client: TestClient, level: str) -> None:
    assert client.get("/topology", params={"level": level}).status_code == 200
    assert client.get("/topology", params={"level": level, "theme": "unit"}).status_code == 200


def test_the_true_place_of_a_lost_report_is_not_told(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "incidents", town.point(9.1234567, 9.1234567))
    features = client.get("/topology", params={"level": "grid"}).json()["features"]
    [lost] = [f for f in features if f["properties"]["kind"] == "unplaced"]
    assert lost["properties"]["count"] == 1
    assert lost["geometry"]["coordinates"] != [town.at(9.1234567, 9.1234567)]
