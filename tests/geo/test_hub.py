"""The street's office: departments that are called and come, what is urgent and goes up, what nobody is named for, parts, grades, tasks."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from geo import accounts
from tests import town
from tests.conftest import Client
from tests.geo.test_incidents import TO_HANDLING, Desk

LON, LAT = town.at(0.5, 0.5)
HERE = {"lon": LON, "lat": LAT + 0.001}  # 110 m to the north
STARTS = "2026-01-01T00:00:00+08:00"


class Office(Desk):
    """The same town, with two departments of which each has somebody."""

    def __init__(self, connection: sa.Connection, client: Client) -> None:
        super().__init__(connection, client)
        self.bodies = {name: str(self.department(name)) for name in ("water", "roads")}
        self.known["community_leader"] = town.come(connection, "the.community", "community_leader", town.A[:12])

    def department(self, name: str) -> UUID:
        """A department with somebody who stands for it."""
        body = town.add(self.connection, "organisations", kind="department", name=name)
        appointment = town.post(self.connection, f"the.{name}", "department", town.PREFIX, categories=["none"])
        accounts.embody(self.connection, appointment, body)
        self.known[name] = town.holding(self.connection, appointment, f"the.{name}")
        return body

    def whistled(self, *names: str) -> str:
        """A case to whose place some departments are called."""
        case = self.reported()
        self.walked(case, *TO_HANDLING)
        self.does("street", case, "whistle", opinion="路面塌陷,请到现场会商", bodies=[self.bodies[name] for name in names])
        return case

    def waits(self, role: str) -> dict[str, list[str]]:
        """What is in somebody's inbox: case → steps."""
        return {row["id"]: row["actions"] for row in self.client.get("/inbox", headers=self.known[role]).json()["incidents"]}

    def swept(self, minutes: float) -> Any:
        """A pass of the clock so many minutes from now."""
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        return self.connection.execute(sa.text("SELECT * FROM duties_swept(:moment, 100)"), {"moment": moment}).one()

    def urgent(self) -> str:
        """An urgent case in the first grid."""
        return str(town.add(self.connection, "incidents", urgent=True, state="reported"))

    def levels(self, case: str) -> list[tuple[str, bool]]:
        """Who was told of a case, lowest first, and whether there was nobody."""
        told = self.client.get(f"/incidents/{case}/duty-calls", headers=self.known["street"]).json()["calls"]
        return [(row["level"], row["gap"]) for row in told]


@pytest.fixture
def office(connection: sa.Connection, client: Client) -> Office:
    return Office(connection, client)


def test_called_to_the_place_and_staying_until_it_is_done(office: Office) -> None:
    case = office.whistled("water", "roads")
    assert office.waits("water") == {case: ["report_in", "respond"]}
    assert office.client.get(f"/collections/incidents/items/{case}", headers=office.known["water"]).status_code == 200
    office.does("water", case, "respond")
    assert office.waits("water") == {case: ["report_in"]}
    # 1.1 km away is not there.
    assert office.does("water", case, "report_in", 422, lon=LON, lat=LAT + 0.01)["rule"] == "whistle_calls_near_check"
    assert office.does("water", case, "report_in", 422)["rule"] == "whistle_calls_place_check"
    office.does("water", case, "report_in", **HERE)
    assert office.does("water", case, "report_in", 422, **HERE)["rule"] == "whistle_calls_called_check"
    assert office.does("water", case, "leave", 422)["rule"] == "whistle_calls_freed_fkey"
    [standing] = {row["whistle"] for row in office.client.get(f"/incidents/{case}/whistle", headers=office.known["street"]).json()["calls"]}
    with pytest.raises(sa.exc.IntegrityError, match="freed_fkey"), office.connection.begin_nested():
        office.connection.execute(sa.text("UPDATE whistle_calls SET left_at = arrived_at WHERE whistle = :id AND arrived_at IS NOT NULL"), {"id": standing})
    # Handled: who came may go, and who did not come need not any more.
    office.does("grid_worker", case, "handle", opinion="已修好")
    assert office.waits("water") == {case: ["leave"]} and office.waits("roads") == {}
    office.does("water", case, "leave")
    assert office.client.get(f"/collections/incidents/items/{case}", headers=office.known["water"]).status_code == 404
    log = office.client.get(f"/incidents/{case}/log", headers=office.known["street"]).json()["log"]
    assert [row["action"] for row in log][-5:] == ["whistle", "respond", "report_in", "handle", "leave"]
    assert str(HERE["lat"]) not in str(log), "where somebody was is not on the log"
    told = office.client.get(
        "/whistle-arrivals", params={"since": "2026-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}, headers=office.known["street"]).json()["departments"]
    assert [(row["name"], row["called"], row["answered"], row["arrived"], row["in_time"]) for row in told] == [("roads", 1, 0, 0, 0), ("water", 1, 1, 1, 1)]
    assert office.client.get("/whistle-arrivals", headers=office.known["grid_worker"]).json()["departments"] == []


def test_the_street_lets_them_go(office: Office) -> None:
    case = office.whistled("water")
    assert office.does("street", case, "whistle", 422, opinion="再叫", bodies=[office.bodies["water"]])["rule"] == "whistles_bodies_check"
    office.does("street", case, "whistle", opinion="再叫一家", bodies=[office.bodies["roads"]])
    office.does("roads", case, "report_in", **HERE)
    office.does("community_leader", case, "release", 403)
    office.does("street", case, "release")
    assert office.does("street", case, "release", 422)["rule"] == "whistles_standing_check"
    office.does("roads", case, "leave")
    assert office.does("water", case, "respond", 404)["status"] == 404, "who did not come has no more to do with it"


def test_who_does_not_come_is_told_of_once(office: Office) -> None:
    case = office.whistled("water")
    assert (office.swept(29).late, office.swept(31).late, office.swept(40).late) == (0, 1, 0)
    log = office.client.get(f"/incidents/{case}/log", headers=office.known["street"]).json()["log"]
    assert log[-1]["action"] == "escalate" and log[-1]["facts"]["body"] == office.bodies["water"]


def test_the_point_is_kept_for_a_month(office: Office) -> None:
    case = office.whistled("water")
    office.does("water", case, "report_in", **HERE)
    kept = sa.text("SELECT count(point), count(away_m) FROM whistle_calls")
    for days, points in ((29, 1), (31, 0)):
        moment = datetime.now(UTC) + timedelta(days=days)
        office.connection.execute(sa.text("SELECT * FROM retention_stretch('whistle_calls', 'point', 'period', NULL, :at, 100)"), {"at": moment}).all()
        assert tuple(office.connection.execute(kept).one()) == (points, 1), case


def test_urgent_goes_up_until_somebody_has_heard(office: Office) -> None:
    case = office.urgent()
    assert office.levels(case) == [("grid", False)] and "acknowledge" in office.waits("grid_worker")[case]
    assert "acknowledge" not in office.waits("community_leader").get(case, [])
    assert (office.swept(4).raised, office.swept(6).raised, office.swept(6).raised) == (0, 1, 0)
    assert office.levels(case) == [("grid", False), ("community", False)] and "acknowledge" in office.waits("community_leader")[case]
    assert office.swept(12).raised == 1 and office.swept(60).raised == 0
    assert office.levels(case) == [("grid", False), ("community", False), ("street", False)]
    office.does("community_leader", case, "acknowledge")
    assert office.does("street", case, "acknowledge", 422)["rule"] == "duty_calls_acknowledged_check"
    assert office.stands(case)["state"] == "reported"
    log = office.client.get(f"/incidents/{case}/log", headers=office.known["street"]).json()["log"]
    assert [(row["action"], row["facts"].get("told")) for row in log[1:]] == [("escalate", ["community"]), ("escalate", ["street"]), ("acknowledge", None)]


def test_heard_of_in_time_goes_no_further(office: Office) -> None:
    case = office.urgent()
    office.does("grid_worker", case, "acknowledge")
    assert office.swept(60).raised == 0 and office.levels(case) == [("grid", False)]


def test_where_nobody_is_responsible_the_next_level_is_told_at_once(office: Office) -> None:
    office.connection.execute(sa.text("UPDATE appointments SET valid_to = now() WHERE role IN ('grid_worker', 'grid_leader')"))
    case = office.urgent()
    assert office.levels(case) == [("grid", True), ("community", False)]


def test_how_long_is_a_matter_of_the_area(office: Office) -> None:
    assert office.client.put(f"/duty-waits/{town.A}", json={"minutes": 30}, headers=office.known["street"]).status_code == 200
    assert office.client.put(f"/duty-waits/{town.A}", json={"minutes": 30}, headers=office.known["grid_worker"]).status_code == 403
    assert office.client.put("/duty-waits/990102", json={"minutes": 30}, headers=office.known["street"]).status_code == 403
    office.urgent()
    assert (office.swept(29).raised, office.swept(31).raised) == (0, 1)


def test_a_dispute_is_ruled_on_and_becomes_a_line(office: Office) -> None:
    case = office.reported()
    office.walked(case, *TO_HANDLING[:2])
    office.does("dispatcher", case, "dispatch", lead=office.bodies["water"])
    office.does("water", case, "dispute", opinion="不属于本单位")
    assert office.stands(case)["returns"] == 1
    office.does("dispatcher", case, "dispatch", 409, lead=office.bodies["water"])
    assert "rule" in office.waits("street")[case]
    office.does("street", case, "rule", opinion="由市政办理", lead=office.bodies["roads"], listed=True)
    line = office.connection.execute(sa.text("SELECT * FROM duty_items WHERE retired_at IS NULL")).one()
    assert (line.matter, line.area, line.part, line.by, str(line.organisation)) == ("sample", town.PREFIX, "lead", "organisation", office.bodies["roads"])
    # The next one goes there by itself, and a second ruling takes the place of the first.
    office.connection.execute(sa.text("UPDATE duty_items SET starts_at = now() - interval '1 hour'"))
    other = office.reported()
    assert office.client.get(f"/incidents/{other}/routes", headers=office.known["street"]).json()["routes"][0]["organisation"] == office.bodies["roads"]
    office.walked(other, *TO_HANDLING[:2])
    office.does("dispatcher", other, "dispatch")
    office.does("roads", other, "dispute", opinion="不属于本单位")
    office.does("street", other, "rule", opinion="由供水办理", lead=office.bodies["water"], listed=True)
    standing = office.connection.execute(sa.text("SELECT organisation FROM duty_items WHERE ends_at IS NULL")).scalars().all()
    assert [str(body) for body in standing] == [office.bodies["water"]]


def test_what_nobody_is_named_for_is_listed(office: Office) -> None:
    case = office.reported()
    office.walked(case, *TO_HANDLING[:2])
    told = office.client.get("/duty-gaps", headers=office.known["street"]).json()
    assert told["incidents"] == [case] and any(row["matter"] == "sample" and row["cases"] == 1 for row in told["matters"])
    town.add(office.connection, "duty_items", part="lead", matter="sample", area=town.PREFIX, by="grid", starts_at=STARTS)
    told = office.client.get("/duty-gaps", headers=office.known["street"]).json()
    assert told["incidents"] == [] and all(row["matter"] != "sample" for row in told["matters"])
    assert office.client.get("/duty-gaps", params={"area": "990102"}, headers=office.known["street"]).json()["matters"] == []


def test_grids_are_given_what_is_admitted(office: Office) -> None:
    town.add(office.connection, "duty_items", part="admit", matter="06010", area=town.PREFIX, by="grid", starts_at=STARTS)
    case = office.reported()
    office.walked(case, *TO_HANDLING[:2])
    refused = office.does("dispatcher", case, "dispatch", 422, lead_area=town.A)
    assert refused["rule"] == "incidents_admission_check" and "准入清单" in str(refused["detail"])
    town.add(office.connection, "duty_items", part="admit", matter="sample", area=town.A[:12], by="grid", starts_at=STARTS)
    office.does("dispatcher", case, "dispatch", lead_area=town.A)


def test_a_grade_asks_for_its_way(office: Office) -> None:
    case = office.reported()
    office.walked(case, *TO_HANDLING[:2])
    assert office.does("acceptor", case, "grade", 422, grade="larger")["rule"] == "incident_log_opinion_check"
    assert office.does("street", case, "convene", 422, opinion="会商")["rule"] == "incident_log_grade_check"
    office.does("acceptor", case, "grade", grade="larger", opinion="涉及两个社区")
    assert office.does("dispatcher", case, "dispatch", 422, lead_area=town.A)["rule"] == "incident_log_convene_check"
    assert "convene" in office.waits("street")[case]
    office.does("street", case, "convene", opinion="联席会议定由网格先办")
    office.does("dispatcher", case, "dispatch", lead_area=town.A)
    # What is major is begun with at once, and not settled before the district knows.
    office.does("street", case, "grade", grade="major", opinion="有人受伤")
    office.does("grid_worker", case, "start")
    assert office.does("grid_worker", case, "handle", 422, opinion="已处置")["rule"] == "incident_log_report_up_check"
    office.does("street", case, "report_up", opinion="已报区应急局")
    assert office.levels(case) == [("district", True)]
    office.does("grid_worker", case, "handle", opinion="已处置")


def test_the_whole_waits_for_its_parts(office: Office) -> None:
    case = office.reported()
    office.walked(case, *TO_HANDLING)
    assert office.does("dispatcher", case, "split", 422, opinion="管线")["rule"] == "incidents_part_check"
    office.does("dispatcher", case, "split", opinion="路面由市政修", lead=office.bodies["roads"])
    office.does("grid_worker", case, "assist", opinion="请供水配合停水", lead=office.bodies["water"])
    told = office.client.get(f"/incidents/{case}/parts", headers=office.known["street"]).json()["parts"]
    assert [(row["lead"], row["state"], row["number"][-2:]) for row in told] == [("roads", "dispatched", "-1"), ("water", "dispatched", "-2")]
    assert office.does("grid_worker", case, "handle", 422, opinion="我这边好了")["rule"] == "incidents_parts_check"
    for row in told:
        assert list(office.waits(row["lead"])) == [row["id"]]
        for action in ("start", "handle"):
            office.does(row["lead"], row["id"], action, opinion="已办")
    office.does("grid_worker", case, "handle", opinion="都好了")
    office.does("checker", case, "pass", opinion="合格")
    assert office.does("acceptor", case, "close", 422)["rule"] == "incidents_parts_check"
    for row in told:
        office.walked(row["id"], ("checker", "pass"), ("acceptor", "close"))
    office.does("acceptor", case, "close")


def test_a_task_from_above_goes_down_and_comes_back(office: Office) -> None:
    new = {"title": "排查独居老人用气安全", "about": "三天内逐户上门", "within": town.PREFIX, "areas": [town.A[:12], town.C[:12]]}
    assert office.client.post("/tasks", json=new, headers=office.known["grid_worker"]).status_code == 403
    made = office.client.post("/tasks", json=new, headers=office.known["street"])
    assert made.status_code == 201, made.text
    task = made.json()["incident"]
    first, second = (row["id"] for row in office.client.get(f"/incidents/{task}/parts", headers=office.known["street"]).json()["parts"])
    assert office.waits("community_leader") == {first: ["start"]} or "start" in office.waits("community_leader")[first]
    office.does("community_leader", first, "start")
    office.does("community_leader", first, "split", opinion="第一网格逐户上门", lead_area=town.A)
    [grid] = [row["id"] for row in office.client.get(f"/incidents/{first}/parts", headers=office.known["community_leader"]).json()["parts"] if not row["whole"]]
    office.does("grid_worker", grid, "start")
    office.does("grid_worker", grid, "handle", opinion="查了 40 户")
    # Said again from the logs: minutes from being given to each level until it was taken over, split on, done.
    for number, minutes in ((1, 0), (2, 20), (3, 50)):
        office.connection.execute(
            sa.text("UPDATE incident_log SET at = '2026-03-05T08:00Z'::timestamptz + make_interval(mins => :minutes) WHERE incident = :id AND number = :number"),
            {"minutes": minutes, "id": first, "number": number})
    told = {row["level"]: row for row in office.client.get(f"/tasks/{task}/delays", headers=office.known["street"]).json()["levels"]}
    assert set(told) == {"street", "community", "grid"}
    assert (told["community"]["parts"], told["community"]["taken_over"], told["community"]["done"]) == (2, 1, 0)
    assert (told["community"]["receipt_p50"], told["community"]["split_p90"], told["community"]["done_p50"]) == (20, 50, None)
    assert (told["grid"]["taken_over"], told["grid"]["done"]) == (1, 1)
    assert office.stands(second)["channel"] == "superior"
