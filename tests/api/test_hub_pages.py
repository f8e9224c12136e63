"""The street's office before a browser: who is called, who came, what waits for the street, a task given out by a form."""

import pytest
import sqlalchemy as sa

from tests import town
from tests.api.test_case_pages import Staff
from tests.conftest import Client
from tests.geo.test_hub import HERE, Office
from tests.geo.test_incidents import TO_HANDLING


class Room(Staff, Office):
    """The office and its people before a browser."""


@pytest.fixture
def room(connection: sa.Connection, client: Client) -> Room:
    return Room(connection, client)


def test_a_whistle_by_forms(room: Room) -> None:
    case = room.reported()
    room.walked(case, *TO_HANDLING)
    at = f"/cases/{case}/moves"
    assert "请选要叫到现场的单位" in room.sends("street", at, 422, action="whistle", opinion="塌陷")
    room.sends("street", at, action="whistle", opinion="塌陷", bodies=[room.bodies["water"], room.bodies["roads"]], minutes="30", metres="200")
    assert "还没有应哨" in room.page("street", f"/cases/{case}") and f"/cases/{case}" in room.page("water", "/inbox")
    room.sends("water", at, action="respond")
    assert "已应哨，在路上" in room.page("street", f"/cases/{case}")
    assert "请写经纬度" in room.sends("water", at, 422, action="report_in", lon="x", lat="y")
    room.sends("water", at, action="report_in", lon=str(HERE["lon"]), lat=str(HERE["lat"]))
    page = room.page("street", f"/cases/{case}")
    assert "按时到场" in page and 'id="do-release"' in page and 'id="do-leave"' not in room.page("water", f"/cases/{case}")
    room.sends("street", at, action="release")
    assert room.sends("water", at, action="leave", back="/inbox") == "/inbox?done=leave"
    assert "water" in room.page("street", "/hub")


def test_what_the_office_has_before_it(room: Room) -> None:
    urgent = room.urgent()
    assert "紧急，还没有人知悉" in room.page("street", "/hub") and "等人知悉" in room.page("grid_worker", f"/cases/{urgent}")
    assert 'id="do-acknowledge"' in room.page("grid_worker", f"/cases/{urgent}")
    room.sends("grid_worker", f"/cases/{urgent}/moves", action="acknowledge")
    assert "知悉" in room.page("street", f"/cases/{urgent}") and "紧急，还没有人知悉" not in room.page("street", "/hub")
    gap = room.reported()
    room.walked(gap, *TO_HANDLING[:2])
    assert f'id="gap-{gap}"' in room.page("street", "/hub")
    room.page("grid_worker", "/hub", 403)


def test_a_task_by_a_form(room: Room) -> None:
    assert "请选派给哪些区域" in room.sends("street", "/hub/tasks", 422, title="排查用气安全")
    there = room.sends("street", "/hub/tasks", title="排查用气安全", about="三天内", areas=[town.A[:12]])
    page = room.page("street", there)
    assert "逐级用时" in page and "分解" in page and "拆分和协办" in page
    assert "签收" in room.page("community_leader", "/inbox")
