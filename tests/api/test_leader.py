"""What the leader's map tells, to whom, and what can be done from it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo.catalog import RESOURCES
from maps.sheets import SHEETS
from tests import town
from tests.geo.test_attention import case, manned

HTML = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "zh"}
LON, LAT = town.at(0.5, 1.0)
CARD = f"/identify?lon={LON}&lat={LAT}"
NOW = datetime.now(UTC)


@pytest.fixture
def leader(connection: sa.Connection) -> dict[str, str]:
    return town.come(connection, "street", "street", town.PREFIX) | HTML


def test_a_leader_is_told_why_and_the_public_is_not(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    case(connection, title="井盖缺失", due_at=NOW - timedelta(hours=15))
    page, public = client.get("/", headers=leader).text, client.get("/", headers=HTML).text
    assert "井盖缺失" in page and "超时 15 小时" in page and "当前重点事项" in page and "关注等级" in page
    assert "过了应结时间还没有结案" in page
    for word in ("当前重点事项", "关注等级", "井盖缺失", "真空地带", "服务盲区", "没有上报"):
        assert word not in public, word
    card = client.get(CARD, headers=leader).text
    assert re.search(r"超时事件 1</b> <span class=\"meta\">达到 1，为低", card)
    assert "关注等级" not in client.get(CARD, headers=HTML).text
    # A link to a sheet of others' opens one's own.
    assert 'data-overlay="attention"' not in client.get("/?sheet=leader", headers=HTML).text


def test_how_areas_stand_is_told_level_by_level(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    case(connection, due_at=NOW - timedelta(hours=15))
    told = client.get("/areas/standing?level=grid", headers=leader).json()
    assert {row[0]: row[3:6] for row in told["areas"]}[_area(connection, town.A)] == [1, 1, 1]
    assert {row[5] for row in client.get("/areas/standing?level=grid").json()["areas"]} == {None}
    west, south = town.at(0, 0)
    near = client.get(f"/areas/standing?level=grid&bbox={west},{south},{west + 0.01},{south + 0.02}", headers=leader).json()
    assert [row[0] for row in near["areas"]] == [_area(connection, town.A)]
    assert client.get("/areas/standing?level=x").status_code == 400


def test_the_numbers_say_what_changed_since_yesterday(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    long, now = NOW - timedelta(days=3), NOW - timedelta(hours=2)
    case(connection, reported_at=long, due_at=now)  # open yesterday, late today
    case(connection, reported_at=long, due_at=long)  # late on both days
    case(connection, reported_at=now, due_at=NOW + timedelta(days=1))  # new
    case(connection, reported_at=long, due_at=long, closed_at=now, state="feedback")  # late yesterday, closed today
    case(connection, reported_at=long, due_at=NOW, closed_at=NOW - timedelta(hours=30), state="feedback")  # closed yesterday
    page = client.get("/", headers=leader).text
    shown = re.findall(r"</dt><dd>(\d+)</dd><dd class=\"sub\">.*?<small[^>]*>(?:<span[^>]*>.</span>)?([^<]*)</small>", page, re.S)
    assert shown == [("2", "与昨日持平"), ("3", "与昨日持平"), ("1", "与昨日持平"), ("0", "与昨日持平")]
    connection.execute(sa.text("UPDATE incidents SET reported_at = :now WHERE state = 'handling'"), {"now": now})
    page = client.get("/", headers=leader).text
    assert "较昨日 +2" in page and "较昨日 +1" in page


def test_a_case_is_moved_from_the_card_and_the_view_comes_back(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    case(connection, title="井盖缺失", state="dispatched", lead_area=town.A)
    fragment = client.get(CARD + "&z=16", headers=leader | {"HX-Request": "true"}).text
    form = re.search(r'<form method="post" action="(/cases/[^"]+/moves)".*?</form>', fragment, re.S)
    assert form
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[0]))
    assert hidden["back"].startswith("/?z=16&amp;lat=")
    there = client.post(form[1], data=hidden | {"back": "/?z=16&sheet=leader"}, headers=leader, follow_redirects=False)
    assert there.status_code == 303, re.sub(r"<[^>]+>|\s+", " ", there.text)
    assert there.headers["location"] == f"/?z=16&sheet=leader&done={hidden['action']}"
    assert "已办：接办。" in client.get(there.headers["location"], headers=leader).text


def test_who_is_called_is_written_down(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    body = town.example(RESOURCES["posts"], role="grid_leader", area=town.A, holder="甲", phone="138 1234 5678")
    post = client.post("/collections/posts/items", json=body).json()["id"]
    page = client.get(CARD, headers=leader).text
    assert f'action="/posts/{post}/call"' in page and "13812345678" not in page
    answer = client.post(f"/posts/{post}/call", headers=leader | {"HX-Request": "true"})
    assert '<a class="button small primary" href="tel:13812345678">' in answer.text and answer.headers["cache-control"] == "no-store"
    row = connection.execute(sa.text("SELECT actor, noun, feature, purpose FROM unmaskings")).one()
    assert (row.actor, row.noun, str(row.feature), row.purpose) == ("street", "posts", post, "contact")
    assert connection.scalar(sa.text("SELECT purpose FROM trail ORDER BY id DESC LIMIT 1")) == "contact"
    assert client.post(f"/posts/{post}/call", headers=HTML | {"Authorization": ""}, follow_redirects=False).status_code == 303
    other = town.come(connection, "elsewhere", "grid_worker", town.D)
    assert client.post(f"/posts/{post}/call", headers=other).status_code in (403, 404)


def test_a_list_is_sorted_by_any_column(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    manned(connection, town.A, town.B, town.C, town.D)
    case(connection, due_at=NOW - timedelta(hours=1), scope=town.D)
    first = {
        sort: re.findall(r'<th scope="row"><a href="[^"]*">([^<]+)</a>', client.get(f"/?view=list&sort={sort}", headers=leader).text)
        for sort in ("name", "grade", "open", "overdue")
    }
    assert first == {"name": ["柳汀社区", "澜溪社区"], **{key: ["柳汀社区", "澜溪社区"] for key in ("grade", "open", "overdue")}}
    assert 'aria-sort="descending"' in client.get("/?view=list&sort=open", headers=leader).text
    assert client.get("/?view=list&sort=x", headers=leader).status_code == 400


def test_a_drawing_stands_in_for_the_map(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    case(connection, due_at=NOW - timedelta(hours=1))
    answer = client.get("/map.svg", headers=leader)
    assert answer.headers["content-type"] == "image/svg+xml" and answer.text.count("<path") >= 4 + 1
    assert '<img src="/map.svg"' in client.get("/", headers=leader).text
    # Colour is of a grade, which nobody else is told.
    assert "fill-opacity" in answer.text and "fill-opacity" not in client.get("/map.svg").text


def test_every_sheet_names_nouns_that_are_drawn(client: TestClient, leader: dict[str, str]) -> None:
    for sheet in SHEETS.values():
        assert all(RESOURCES[name].geometry for name in sheet.layers)
        page = client.get(f"/?sheet={sheet.code}", headers=leader).text
        on = re.findall(r'data-(?:layer|overlay)="(\w+)"[^>]* checked', page)
        assert set(on) == {*sheet.layers, *sheet.overlays}
        assert f'data-to="{sheet.code}"' in page and re.search(rf'data-to="{sheet.code}"[^>]*aria-current="page"', page)


def _area(connection: sa.Connection, path: str) -> str:
    return str(connection.scalar(sa.text("SELECT id FROM areas WHERE path = :path"), {"path": path}))
