"""A case from being reported to being answered, and what may not happen on the way."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from geo import incidents
from geo.catalog import RESOURCES
from geo.catalog.workflow import MOVES, STATES
from geo.db import translated
from geo.errors import Conflict
from geo.incidents import Step
from tests import town
from tests.conftest import Client

REPORT = {"title": "井盖缺失", "matter": "sample", "lon": town.at(0.5, 0.5)[0], "lat": town.at(0.5, 0.5)[1]}


class Desk:
    """A town with an acceptor, a dispatcher, a worker, a checker, a street office: each says what is done with one case."""

    def __init__(self, connection: sa.Connection, client: Client) -> None:
        self.connection, self.client = connection, client
        self.known: dict[str, dict[str, str]] = {}
        for role in ("acceptor", "dispatcher", "checker", "grid_worker", "grid_leader", "street"):
            self.known[role] = town.come(connection, f"the.{role.replace('_', '.')}", role, town.PREFIX if role == "street" else town.A)

    def reported(self) -> str:
        """A report of anybody; the id of its incident."""
        made = self.client.post("/reports", json=REPORT, headers=town.NOBODY)
        assert made.status_code == 201, made.text
        self.ticket, self.code = made.json()["ticket"], made.json()["code"]
        return str(self.connection.scalar(sa.text("SELECT incident FROM receipts WHERE ticket = :t"), {"t": self.ticket}))

    def does(self, role: str, incident: str, action: str, status: int = 201, **given: object) -> dict[str, object]:
        """What comes of a step."""
        answer = self.client.post(f"/incidents/{incident}/moves", json={"action": action, **given}, headers=self.known[role])
        assert answer.status_code == status, answer.text
        told: dict[str, object] = answer.json()
        return told

    def walked(self, incident: str, *steps: tuple[str, str]) -> None:
        """Each of some steps, with an opinion."""
        for role, action in steps:
            self.does(role, incident, action, opinion="已看过现场", **({"lead_area": town.A} if action == "dispatch" else {}))

    def stands(self, incident: str) -> sa.RowMapping:
        """The row of a case."""
        return self.connection.execute(sa.text("SELECT * FROM incidents WHERE id = :id"), {"id": incident}).mappings().one()


TO_HANDLING = (("acceptor", "accept"), ("acceptor", "file"), ("dispatcher", "dispatch"), ("grid_worker", "start"))
TO_CHECKED = (*TO_HANDLING, ("grid_worker", "handle"), ("checker", "pass"))


@pytest.fixture
def desk(connection: sa.Connection, client: Client) -> Desk:
    return Desk(connection, client)


def test_the_whole_loop(desk: Desk) -> None:
    case = desk.reported()
    desk.walked(case, ("acceptor", "ask_verification"), ("checker", "verify"), ("acceptor", "file"), *TO_CHECKED[2:], ("acceptor", "close"), ("acceptor", "answer"))
    stands = desk.stands(case)
    assert (stands["state"], stands["lead_area"], stands["closed_at"] is not None) == ("feedback", town.A, True)
    told = desk.client.get(f"/incidents/{case}/log", headers=desk.known["street"]).json()["log"]
    assert [(row["source"], row["target"]) for row in told] == list(
        zip(["", *(row["target"] for row in told[:-1])], (row["target"] for row in told), strict=True))
    assert len(told) == stands["steps"] and told[-1]["target"] == stands["state"]
    assert told[0]["actor"] == "" and told[4]["facts"]["lead_area"] == town.A
    rated = desk.client.post(f"/reports/{desk.ticket}/moves", json={"action": "rate", "rating": 5}, headers={**town.NOBODY, "Report-Code": desk.code})
    assert rated.status_code == 201 and desk.stands(case)["rating"] == 5


@pytest.mark.parametrize(
    ("walked", "role", "action", "status"),
    [
        ((), "acceptor", "close", 409), ((), "dispatcher", "dispatch", 409), ((), "grid_worker", "accept", 403),
        (TO_HANDLING, "acceptor", "close", 409), (TO_HANDLING, "dispatcher", "handle", 403), (TO_HANDLING[:3], "grid_worker", "handle", 409),
        ((*TO_HANDLING, ("grid_worker", "handle")), "acceptor", "close", 409), ((*TO_HANDLING, ("grid_worker", "handle")), "grid_worker", "pass", 422),
        (TO_CHECKED, "checker", "close", 403), (TO_CHECKED, "street", "close", 403), ((*TO_HANDLING, ("grid_worker", "return")), "grid_worker", "start", 409),
        (TO_HANDLING, "street", "force", 422), ((*TO_CHECKED, ("acceptor", "close")), "grid_worker", "handle", 409),
    ],
)  # fmt: skip
def test_what_is_no_step_is_refused(desk: Desk, walked: tuple[tuple[str, str], ...], role: str, action: str, status: int) -> None:
    case = desk.reported()
    desk.walked(case, *walked)
    before = desk.stands(case)
    assert desk.does(role, case, action, status, opinion="请结案", lead_area=town.A)["detail"]
    assert desk.stands(case) == before


def test_a_step_that_needs_a_reason(desk: Desk) -> None:
    case = desk.reported()
    desk.walked(case, *TO_HANDLING)
    assert desk.does("grid_worker", case, "return", 422)["rule"] == "incident_log_opinion_check"
    desk.does("grid_worker", case, "return", opinion="不属于本网格")
    assert desk.stands(case)["returns"] == 1
    assert desk.does("street", case, "rule", opinion="由第一网格办理", lead_area=town.A)["state"] == "dispatched"


def test_forced_by_two(desk: Desk) -> None:
    case = desk.reported()
    desk.walked(case, *TO_HANDLING, ("grid_worker", "ask_force"), ("street", "force"))
    assert desk.stands(case)["forced"]
    answer = desk.client.post(
        f"/reports/{desk.ticket}/moves", json={"action": "object", "opinion": "没有修好"}, headers={**town.NOBODY, "Report-Code": desk.code})
    assert answer.json()["state"] == "dispatched", answer.text
    stands = desk.stands(case)
    assert (stands["lead_area"], stands["forced"], stands["closed_at"]) == (town.A, False, None)


def test_routed_by_the_list(desk: Desk) -> None:
    add = desk.connection
    company = town.add(add, "organisations", kind="property_company", name="云汀物业")
    town.add(add, "compounds", town.box(0.4, 0.4, 0.6, 0.6), property_company="云汀物业")
    starts = "2026-01-01T00:00:00+08:00"
    wide = town.add(add, "duty_items", part="lead", matter="sample", area=town.PREFIX, by="community", starts_at=starts)
    near = town.add(add, "duty_items", part="lead", matter="sample", area=town.A, by="grid", starts_at=starts)
    case = desk.reported()

    def routes() -> list[tuple[str, object]]:
        told = desk.client.get(f"/incidents/{case}/routes", headers=desk.known["street"]).json()["routes"]
        return [(row["item"], row["area"] or row["organisation"]) for row in told]

    assert routes() == [(str(near), town.A), (str(wide), town.A[:12])]
    owner = town.add(add, "duty_items", part="lead", matter="sample", area=town.PREFIX, by="owner", starts_at=starts)
    assert routes()[0] == (str(owner), str(company))
    # Nobody leads what is reported against them.
    add.execute(sa.text("UPDATE incidents SET against = :company WHERE id = :id"), {"company": company, "id": case})
    assert routes()[0] == (str(near), town.A)
    desk.walked(case, *TO_HANDLING[:2])
    assert desk.does("dispatcher", case, "dispatch", 422, lead=str(company))["rule"] == "incidents_impartial_check"
    desk.does("dispatcher", case, "dispatch")
    stands = desk.stands(case)
    assert (stands["lead"], stands["lead_area"]) == (None, town.A)
    # A line that came later changes nothing of where an old case goes.
    add.execute(sa.text("UPDATE duty_items SET starts_at = now() + interval '1 hour', ends_at = NULL WHERE id = :id"), {"id": near})
    assert routes()[0] == (str(wide), town.A[:12])


def test_no_line_is_a_gap_and_never_two_lead(desk: Desk) -> None:
    case = desk.reported()
    desk.walked(case, *TO_HANDLING[:2])
    assert desk.does("dispatcher", case, "dispatch", 422)["rule"] == "incidents_route_check"
    line = {"matter": "sample", "area": town.A, "starts_at": "2026-01-01T00:00:00+08:00"}
    town.add(desk.connection, "duty_items", part="lead", by="grid", **line)
    second = desk.client.post("/collections/duty_items/items", json=town.example(RESOURCES["duty_items"], part="lead", by="community", **line))
    assert (second.status_code, second.json()["rule"]) == (409, "duty_items_one_lead_excl")


def test_merged_and_back(desk: Desk) -> None:
    first, second = desk.reported(), desk.reported()
    desk.walked(second, ("acceptor", "accept"))
    assert desk.does("acceptor", second, "merge", 422, opinion="同一件事", into=second)["rule"] == "incidents_duplicate_of_check"
    desk.does("acceptor", second, "merge", opinion="同一件事", into=first)
    assert desk.stands(second)["state"] == "merged" and desk.does("acceptor", first, "merge", 422, opinion="反过来", into=second)
    desk.does("acceptor", second, "unmerge", opinion="不是同一件")
    assert (desk.stands(second)["state"], desk.stands(second)["duplicate_of"]) == ("accepted", None)


def test_suspended_once_and_extended_twice(desk: Desk) -> None:
    case = desk.reported()
    desk.walked(case, *TO_HANDLING)
    for _ in range(2):
        desk.does("dispatcher", case, "extend", opinion="材料未到")
    assert desk.does("dispatcher", case, "extend", 422, opinion="材料未到")["rule"] == "incident_log_extension_check"
    assert desk.does("dispatcher", case, "suspend", 422, opinion="等汛期过")["rule"] == "incident_log_suspension_check"
    later = str(desk.connection.scalar(sa.text("SELECT now() + interval '30 days'")))
    desk.does("dispatcher", case, "suspend", opinion="等汛期过", until=later.replace(" ", "T"))
    desk.does("grid_worker", case, "resume")
    assert desk.does("dispatcher", case, "suspend", 422, opinion="再等", until=later.replace(" ", "T"))["rule"] == "incident_log_suspension_check"


def test_seen_and_sent_again(desk: Desk) -> None:
    case = desk.reported()
    once = {**desk.known["acceptor"], "Idempotency-Key": "k1", "If-Match": '"1"'}
    answers = [desk.client.post(f"/incidents/{case}/moves", json={"action": "accept"}, headers=once) for _ in range(2)]
    assert [a.status_code for a in answers] == [201, 201] and answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"
    stale = desk.client.post(f"/incidents/{case}/moves", json={"action": "file"}, headers=desk.known["acceptor"] | {"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["rule"]) == (409, "incident_log_pkey")
    other = desk.client.post(f"/incidents/{case}/moves", json={"action": "file"}, headers=once)
    assert (other.status_code, other.json()["rule"]) == (409, "idempotency_key")


def test_many_at_once(desk: Desk) -> None:
    cases = [desk.reported() for _ in range(3)]
    desk.walked(cases[1], ("acceptor", "accept"))
    told = desk.client.post(
        "/incident_moves", json={"moves": [{"incident": case, "action": "accept"} for case in cases]}, headers=desk.known["acceptor"]).json()
    assert told["moved"] == 2 and [row.get("status") for row in told["results"]] == [None, 409, None]


def test_what_waits(desk: Desk) -> None:
    case = desk.reported()
    waiting: Callable[[str], list[str]] = lambda role: [  # noqa: E731
        row["id"] for row in desk.client.get("/inbox", headers=desk.known[role]).json()["incidents"]]
    assert case in waiting("acceptor") and case not in waiting("grid_worker")
    desk.walked(case, *TO_HANDLING[:3])
    assert case in waiting("grid_worker") and case not in waiting("acceptor")
    offered = desk.client.get(f"/incidents/{case}/moves", headers=desk.known["grid_worker"]).json()
    assert {"start", "return"} <= {move["action"] for move in offered["moves"]} and offered["steps"] == 4


def test_whoever_has_nothing_to_do_with_it(desk: Desk) -> None:
    case = desk.reported()
    elsewhere = town.come(desk.connection, "elsewhere", "acceptor", town.C)
    for answer in (
        desk.client.post(f"/incidents/{case}/moves", json={"action": "accept"}, headers=elsewhere),
        desk.client.get(f"/incidents/{case}/log", headers=elsewhere), desk.client.get(f"/incidents/{case}/moves", headers=elsewhere),
    ):
        assert answer.status_code in (403, 404)
    assert desk.client.post(f"/incidents/{case}/moves", json={"action": "accept"}, headers=town.NOBODY).status_code == 401


def test_the_state_is_nobodys_to_write(desk: Desk) -> None:
    case = desk.reported()
    changed = desk.client.patch(f"/collections/incidents/items/{case}", json={"properties": {"state": "closed"}}, headers=desk.known["street"])
    assert changed.status_code == 422
    with pytest.raises(sa.exc.DBAPIError, match="incidents_steps_fkey"), desk.connection.begin_nested():
        desk.connection.execute(sa.text("UPDATE incidents SET state = 'closed' WHERE id = :id"), {"id": case})
        desk.connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))


def test_a_loaded_case_begins_its_log_when_it_moves(connection: sa.Connection) -> None:
    case = town.add(connection, "incidents", state="suspended")
    connection.execute(sa.text("UPDATE incidents SET steps = NULL WHERE id = :id"), {"id": case})
    connection.execute(sa.text("DELETE FROM incident_log WHERE incident = :id"), {"id": case})
    assert incidents.move(connection, Step(case, "resume")).number == 2
    assert [(row["action"], row["target"]) for row in incidents.log(connection, case)] == [("load", "suspended"), ("resume", "handling")]
    with pytest.raises(Conflict), translated():
        incidents.move(connection, Step(case, "resume"))


def test_every_state_is_reached_and_left() -> None:
    reached = {move.target for move in MOVES if move.action != "load" and move.target}
    left = {source for move in MOVES for source in move.sources if move.target not in (None, source)}
    assert reached == set(STATES)
    assert {state for state in STATES if state not in left} == {"rejected", "cancelled"}

