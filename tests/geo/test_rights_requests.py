"""A person asks, is made sure of, and is answered in time; of two people at one request the later is told so."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from geo import db, destroyed, retention, rights_requests, statements, write
from geo.catalog import RESOURCES
from geo.cluster import Address
from geo.db import Caller
from geo.errors import Conflict, Forbidden, Invalid, NotFound
from geo.keys import FieldKey
from geo.rights_requests import MOVES, Slip
from tests import town
from tests.conftest import Within

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
PHONE = "10010000001"
PUBLIC = Caller()


@pytest.fixture
def staff(connection: sa.Connection) -> Caller:
    """Who answers for the data of persons in the street."""
    return town.caller(connection, "clerk", "street", town.PREFIX)


@pytest.fixture
def asked(web: Any, key: FieldKey) -> Any:
    """Asks, as the public does."""

    def ask(kind: Any = "access", about: str = "我是张三丰,想看看登记了我什么", **given: Any) -> Slip:
        with db.transaction(web, PUBLIC) as bound:
            return rights_requests.receive(bound, kind, about, key, **{"name": "张三丰", "phone": PHONE, **given})

    return ask


@pytest.fixture
def held(web: Any, connection: sa.Connection, staff: Caller, key: FieldKey) -> dict[str, UUID]:
    """A resident, whose wife has the same phone, and what they reported."""
    house = town.add(connection, "buildings")
    with db.transaction(web, staff) as bound:
        person = {"name": "张三丰", "phone": PHONE, "building": house, "age_band": "from_60"}
        me = write.add(bound, RESOURCES["residents"], person, None, key)
        wife = write.add(bound, RESOURCES["residents"], person | {"name": "黄蓉"}, None, key)
        report = {"title": "井盖缺失", "channel": "public", "reporter_phone": f"+86 {PHONE}"}
        said = write.add(bound, RESOURCES["incidents"], report, None, key)
        write.add(bound, RESOURCES["incidents"], report | {"reporter_phone": "10010000002"}, None, key)
    return {"residents": me, "wife": wife, "incidents": said}


def verified(web: Any, staff: Caller, slip: Slip, held: dict[str, UUID]) -> None:
    with db.transaction(web, staff) as bound:
        findings = [(noun, held[noun]) for noun in ("residents", "incidents")]
        rights_requests.verify(bound, slip.ticket, "callback", findings)


def followed(web: Any, slip: Slip, key: FieldKey) -> list[str]:
    with db.transaction(web, PUBLIC, read_only=True) as bound:
        return [step["state"] for step in rights_requests.follow(bound, slip.ticket, slip.code, key)["steps"]]


def test_who_has_ticket_and_code_is_told_and_nobody_else(web: Any, connection: sa.Connection, asked: Any, key: FieldKey) -> None:
    slip, other = asked(), asked()
    assert followed(web, slip, key) == ["received"]
    with db.transaction(web, PUBLIC, read_only=True) as bound:
        spelled = rights_requests.follow(bound, slip.ticket, f" {slip.code.lower()} ", key)
        assert spelled["due_at"]
        for ticket, code in ((slip.ticket, other.code), (other.ticket, slip.code), ("QQ22222222", slip.code), (slip.ticket, "")):
            with pytest.raises(NotFound):
                rights_requests.follow(bound, ticket, code, key)
    kept = json.dumps([list(map(str, row)) for row in connection.execute(sa.text("SELECT * FROM rights_requests"))], ensure_ascii=False)
    assert slip.ticket in kept
    assert not any(canary in kept for canary in (slip.code, "张三丰", PHONE, "登记了我什么"))


def test_a_request_is_due_in_fifteen_days_or_sooner(web: Any, connection: sa.Connection, asked: Any, key: FieldKey) -> None:
    assert abs(asked().due_at - (NOW + 15 * DAY)) < timedelta(minutes=30)
    connection.exec_driver_sql("UPDATE instance SET answer_days = 3")
    # The public cannot be told that it is later or earlier than it is.
    assert abs(asked(moment=NOW - 99 * DAY).due_at - (NOW - 96 * DAY)) < timedelta(minutes=30)
    assert abs(asked(moment=NOW + 99 * DAY).due_at - (NOW + 3 * DAY)) < timedelta(minutes=30)
    with pytest.raises(Invalid), db.translated(), connection.begin_nested():
        connection.exec_driver_sql("UPDATE instance SET answer_days = 16")


def test_what_is_late_is_listed(web: Any, staff: Caller, connection: sa.Connection, asked: Any, key: FieldKey) -> None:
    late, soon, done = asked(), asked(), asked("explain")
    connection.execute(sa.text("UPDATE rights_requests SET due_at = now() - interval '1 day' WHERE ticket = ANY (:t)"), {"t": [late.ticket, done.ticket]})
    with db.transaction(web, staff) as bound:
        rights_requests.answer(bound, done.ticket, "按张贴的规则保存两年。")
        every = rights_requests.listed(bound, key)
        assert [case.ticket for case in every] == [late.ticket, soon.ticket, done.ticket]
        assert [case.overdue for case in every] == [True, False, True]
        assert [case.ticket for case in rights_requests.listed(bound, key, overdue=True)] == [late.ticket]
        assert [case.ticket for case in rights_requests.listed(bound, key, state="answered")] == [done.ticket]
        [one] = rights_requests.listed(bound, key, ticket=soon.ticket)
        assert (one.name, one.about[:5], one.phone_masked, one.handled_by) == ("张三丰", "我是张三丰", "100****0001", "anonymous")
    assert [case.ticket for case in rights_requests.listed(connection, key, overdue=True, moment=NOW + 16 * DAY)] == [late.ticket, soon.ticket]


def test_the_public_and_those_of_a_part_see_no_requests(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey) -> None:
    slip = asked()
    with pytest.raises(Forbidden), db.transaction(web, PUBLIC) as bound:
        rights_requests.listed(bound, key)
    for statement in ("SELECT * FROM rights_requests", "SELECT * FROM rights_log", "SELECT * FROM rights_findings"):
        for caller in (PUBLIC, staff):
            with pytest.raises(Forbidden), db.transaction(web, caller) as bound:
                bound.exec_driver_sql(statement)
    # One who leads a part, one of another street, and one who works here and has no business with it.
    part = town.caller(connection, "head", "community_leader", town.A[:12])
    town.area(connection, "street", "990101002", "别的街道", 10, 10, 11, 11)
    street, sender = town.caller(connection, "far", "street", "990101002"), town.caller(connection, "sender", "dispatcher", town.PREFIX)
    for other in (part, street):
        with db.transaction(web, other) as bound:
            assert rights_requests.listed(bound, key) == []
            assert rights_requests.candidates(bound, slip.ticket, key) == []
    with pytest.raises(Forbidden), db.transaction(web, sender) as bound:
        rights_requests.listed(bound, key)
    for step in (
        lambda bound: rights_requests.verify(bound, slip.ticket, "callback", []),
        lambda bound: rights_requests.refuse(bound, slip.ticket, "identity", "不能核实", "区网信办"),
        lambda bound: rights_requests.answer(bound, slip.ticket, "好"),
    ):
        for other in (part, street, sender):
            with pytest.raises(Forbidden if other is sender else NotFound), db.transaction(web, other) as bound:
                step(bound)
    verified(web, staff, slip, held)
    for other in (part, street):
        with db.transaction(web, other) as bound:
            assert rights_requests.found(bound, slip.ticket) == []


def test_records_are_found_by_the_keyed_hash_of_the_phone(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey) -> None:
    slip = asked(phone="+86-100 1000 0001")
    with db.transaction(web, staff) as bound:
        told = rights_requests.candidates(bound, slip.ticket, key)
    assert {(one["noun"], one["id"]) for one in told} == {("residents", held["residents"]), ("residents", held["wife"]), ("incidents", held["incidents"])}
    # Names are masked: the number may be a family's.
    assert {one["title"] for one in told if one["noun"] == "residents"} == {"张*", "黄*"}


def test_a_copy_tells_all_that_is_held_and_who_looked(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey) -> None:
    slip = asked()
    verified(web, staff, slip, held)
    connection.execute(
        sa.text("SELECT trail_appended('eve', 'grid_worker@1', 'read', 'residents', :id, '', '走访', 'done', '')"), {"id": str(held["residents"])}
    )
    with db.transaction(web, staff) as bound:
        copies = rights_requests.copy(bound, slip.ticket, key)
    assert [(one["noun"], one["id"]) for one in copies] == [("incidents", str(held["incidents"])), ("residents", str(held["residents"]))]
    fields = {field["name"]: field["value"] for field in copies[1]["fields"]}
    assert (fields["name"], fields["phone"], fields["age_band"], fields["residence_type"]) == ("张三丰", PHONE, "60至79岁", "户籍")
    assert copies[1]["keeping"] == {"purpose": "上门服务和紧急联系", "basis": "履行法定职责", "days": 730}
    assert [(one["by"], one["operation"]) for one in copies[1]["written"]] == [(staff.acting_as, "add")]
    assert [(one["by"], one["purpose"]) for one in copies[1]["looked"]] == [("grid_worker@1", "走访")]
    page = rights_requests.printed(copies)
    assert all(word in page for word in ("张三丰", PHONE, "井盖缺失", "走访", "730 天"))
    assert "黄蓉" not in page
    assert "Residents" in rights_requests.printed(rights_requests_in_english(web, staff, held, asked, key), "en")
    assert followed(web, slip, key) == ["received", "verified", "answered"]
    assert "没有找到" in rights_requests.printed([])
    with pytest.raises(Conflict), db.transaction(web, staff) as bound:
        rights_requests.copy(bound, slip.ticket, key)


def rights_requests_in_english(web: Any, staff: Caller, held: dict[str, UUID], asked: Any, key: FieldKey) -> list[dict[str, Any]]:
    slip = asked()
    verified(web, staff, slip, held)
    with db.transaction(web, staff) as bound:
        return rights_requests.copy(bound, slip.ticket, key, "en")


def test_nobody_is_copied_before_who_asks_is_made_sure_of(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey, tmp_path: Path) -> None:
    access, delete, correct = asked(), asked("delete"), asked("correct")
    for step in (
        lambda bound: rights_requests.copy(bound, access.ticket, key),
        lambda bound: rights_requests.delete(bound, tmp_path, delete.ticket),
    ):
        with pytest.raises(Conflict) as refused, db.transaction(web, staff) as bound:
            step(bound)
        assert refused.value.sentence == db.SENTENCES["rights_log_kind_source_target_fkey"]
    with pytest.raises(NotFound), db.transaction(web, staff) as bound:
        rights_requests.correct(bound, correct.ticket, "residents", held["residents"], {"name": "张三"}, key)
    # Nor does one kind open what another asks for.
    verified(web, staff, access, held), verified(web, staff, correct, held)
    for step in (
        lambda bound: rights_requests.delete(bound, tmp_path, access.ticket),
        lambda bound: rights_requests.copy(bound, correct.ticket, key),
        lambda bound: rights_requests.answer(bound, access.ticket, "好"),
        lambda bound: rights_requests.correct(bound, access.ticket, "residents", held["residents"], {"name": "张三"}, key),
        lambda bound: rights_requests.correct(bound, correct.ticket, "residents", held["wife"], {"name": "张三"}, key),
    ):
        with pytest.raises(NotFound), db.transaction(web, staff) as bound:
            step(bound)
    assert connection.scalar(sa.text("SELECT count(*) FROM residents")) == 2
    assert not destroyed.path(tmp_path).exists()


def test_a_correction_changes_their_record(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey) -> None:
    slip = asked("correct", "我的年龄段写错了")
    verified(web, staff, slip, held)
    with db.transaction(web, staff) as bound:
        rights_requests.correct(bound, slip.ticket, "residents", held["residents"], {"age_band": "from_14", "phone": "10010000009"}, key)
    row = connection.execute(sa.text("SELECT age_band, phone_hash FROM residents WHERE id = :id"), {"id": held["residents"]}).one()
    assert (row.age_band, bytes(row.phone_hash)) == ("from_14", key.lookup("10010000009"))
    assert followed(web, slip, key)[-1] == "answered"


def test_a_deletion_reaches_all_that_is_theirs_and_the_request_itself(
    web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID], key: FieldKey, tmp_path: Path
) -> None:
    slip = asked("delete", "请删掉我张三丰的登记")
    verified(web, staff, slip, held)
    with db.transaction(web, staff) as bound:
        [told] = rights_requests.delete(bound, tmp_path, slip.ticket)
    assert (told.cause, told.approved_by, told.request is not None) == ("request", "clerk", True)
    assert {(noun, field): count for noun, field, count in told.counts} == {
        ("residents", ""): 1, ("incidents", "reporter_phone"): 1, ("rights_requests", "subject"): 1}
    assert connection.scalar(sa.text("SELECT array_agg(id) FROM residents")) == [held["wife"]]
    assert connection.scalar(sa.text("SELECT reporter_phone_hash FROM incidents WHERE id = :id"), {"id": held["incidents"]}) is None
    row = connection.execute(sa.text("SELECT subject_cipher, phone_hash FROM rights_requests WHERE ticket = :t"), {"t": slip.ticket}).one()
    assert row == (None, None)
    assert followed(web, slip, key) == ["received", "verified", "answered"]
    with db.transaction(web, staff) as bound:
        [case] = rights_requests.listed(bound, key, ticket=slip.ticket)
        assert (case.state, case.name, case.about, case.phone_masked) == ("answered", "", "", "")
    with pytest.raises(NotFound), db.transaction(web, staff) as bound:
        statements.run(bound, "rights_deleted", ticket=slip.ticket)
    listed = list(destroyed.entries(tmp_path))
    assert {entry["noun"] for entry in listed if "noun" in entry} == {"residents", "incidents", "rights_requests"}


def test_a_refusal_says_why_and_where_to_turn(web: Any, staff: Caller, connection: sa.Connection, asked: Any, key: FieldKey) -> None:
    slip = asked("delete")
    for grounds, note, channel in ((None, "不能", "区网信办"), ("identity", "", "区网信办"), ("identity", "不能核实", ""), ("because", "不", "区")):
        with pytest.raises(Invalid), db.transaction(web, staff) as bound:
            rights_requests.refuse(bound, slip.ticket, grounds, note, channel)  # type: ignore[arg-type]
    with db.transaction(web, staff) as bound:
        rights_requests.refuse(bound, slip.ticket, "identity", "回拨无人接听三次", "望汀区网信办 0580-1234567")
    with db.transaction(web, PUBLIC, read_only=True) as bound:
        last = rights_requests.follow(bound, slip.ticket, slip.code, key)["steps"][-1]
    assert (last["state"], last["grounds"], last["note"], last["appeal_channel"]) == (
        "refused", "identity", "回拨无人接听三次", "望汀区网信办 0580-1234567")


def test_an_appeal_is_for_another_to_judge(web: Any, staff: Caller, connection: sa.Connection, asked: Any, key: FieldKey) -> None:
    slip = asked("delete")
    with pytest.raises(Invalid) as early:
        asked("appeal", "我不服", appeal_of=slip.ticket, code=slip.code)
    assert early.value.facts["rule"] == "rights_requests_appeal_check"
    with db.transaction(web, staff) as bound:
        rights_requests.refuse(bound, slip.ticket, "unfounded", "已重复提出五次", "望汀区网信办")
    with pytest.raises(NotFound):
        asked("appeal", "我不服", appeal_of=slip.ticket, code="2222222222")
    with pytest.raises(Invalid):
        asked("appeal", "我不服")
    appeal = asked("appeal", "我不服", appeal_of=slip.ticket, code=slip.code)
    assert appeal.code == slip.code
    with pytest.raises(Invalid) as own, db.transaction(web, staff) as bound:
        rights_requests.answer(bound, appeal.ticket, "维持")
    assert own.value.facts["rule"] == "rights_log_appeal_check"
    with db.transaction(web, town.caller(connection, "chief", "district", town.PREFIX)) as bound:
        rights_requests.answer(bound, appeal.ticket, "撤销原决定,请重新提出")
        [case] = rights_requests.listed(bound, key, ticket=appeal.ticket)
    assert (case.appeal_of, case.handled_by, case.state) == (slip.ticket, "chief", "answered")


def test_a_phone_is_needed_to_find_the_records(asked: Any) -> None:
    for kind in ("access", "correct", "delete"):
        with pytest.raises(Invalid) as refused:
            asked(kind, phone="不知道")
        assert refused.value.facts["field"] == "phone"
    assert asked("explain", phone="").ticket


def test_what_is_found_must_be_there_and_personal(web: Any, staff: Caller, connection: sa.Connection, asked: Any, held: dict[str, UUID]) -> None:
    slip = asked()
    for findings in ([("residents", uuid4())], [("parts", town.add(connection, "parts"))], [("nowhere", uuid4())], [("rights_requests", uuid4())]):
        with pytest.raises(Invalid) as refused, db.transaction(web, staff) as bound:
            rights_requests.verify(bound, slip.ticket, "callback", findings)
        assert refused.value.facts["rule"] == "rights_findings_feature_check"
    with pytest.raises(Invalid), db.transaction(web, staff) as bound:
        rights_requests.verify(bound, slip.ticket, "by looks", [])


@pytest.mark.parametrize("kind", MOVES)
def test_no_other_step_is_possible(connection: sa.Connection, kind: str) -> None:
    # As the administrator, whom no function asks.
    states = {"", "received", "verified", "answered", "refused"}
    appeal = connection.scalar(sa.text(_request("access"))) if kind == "appeal" else None
    id = connection.scalar(sa.text(_request(kind)), {"appeal": appeal} if kind == "appeal" else {})
    allowed = set()
    for source in states:
        for target in states:
            try:
                with db.translated(), connection.begin_nested():
                    connection.execute(
                        sa.text("INSERT INTO rights_log (request, number, kind, source, target, at, actor, note, grounds, appeal_channel)"
                                " VALUES (:id, 1, :kind, :source, :target, now(), 'x', 'n', 'identity', 'c')"),
                        {"id": id, "kind": kind, "source": source, "target": target},
                    )
                    allowed.add((source, target))
                    raise Conflict
            except Conflict:
                pass
    assert allowed == set(MOVES[kind])


def _request(kind: str) -> str:
    appeal = ":appeal" if kind == "appeal" else "NULL"
    return (
        "INSERT INTO rights_requests (ticket, code_hash, kind, scope, appeal_of, received_at, due_at)"
        f" VALUES ('T{kind}', '', '{kind}', '', {appeal}, now(), now()) RETURNING id"
    )


def test_of_several_at_once_one_comes_first(live: Address, live_engine: sa.Engine, key: FieldKey) -> None:
    web = db.engine(live.url("jingwei_web"), pool=8)
    with db.transaction(web, PUBLIC) as bound:
        slip = rights_requests.receive(bound, "explain", "请说明", key)
    with live_engine.begin() as connection:
        staff = [town.caller(connection, f"clerk{n}", "street", town.PREFIX) for n in range(6)]
    outcomes: list[str] = []
    start = threading.Barrier(6)

    def answer(n: int) -> None:
        try:
            with db.transaction(web, staff[n]) as bound:
                start.wait()
                rights_requests.answer(bound, slip.ticket, f"{n}")
            outcomes.append("answered")
        except Conflict:
            outcomes.append("conflict")

    clerks = [threading.Thread(target=answer, args=(n,)) for n in range(6)]
    for clerk in clerks:
        clerk.start()
    for clerk in clerks:
        clerk.join(60)
    web.dispose()
    assert sorted(outcomes) == ["answered", *["conflict"] * 5]
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM rights_log")) == 2
        told = connection.execute(sa.text("SELECT feature, purpose, result FROM trail WHERE action = 'request' ORDER BY id")).all()
        assert told == [(slip.ticket, "explain", "received"), (slip.ticket, "explain", "answered")]


def test_a_request_is_forgotten_three_years_after_its_answer(
    web: Any, staff: Caller, connection: sa.Connection, asked: Any, key: FieldKey, tmp_path: Path
) -> None:
    admin: Any = Within(connection, "jingwei_admin")
    slip, refused, open_ = asked("explain"), asked(), asked()
    with db.transaction(web, staff) as bound:
        rights_requests.answer(bound, slip.ticket, "按张贴的规则,张三丰")
        rights_requests.refuse(bound, refused.ticket, "identity", "不是张三丰", "区网信办")
    assert list(retention.run(admin, tmp_path, NOW + 1094 * DAY)) == []
    [line] = list(retention.run(admin, tmp_path, NOW + 1096 * DAY))
    assert (line.noun, line.count) == ("rights_requests", 2)
    left = connection.execute(sa.text("SELECT ticket FROM rights_requests WHERE subject_cipher IS NOT NULL")).scalars().all()
    assert left == [open_.ticket]
    assert connection.scalar(sa.text("SELECT count(*) FROM rights_log WHERE note LIKE '%张三丰%'")) == 0
    assert followed(web, refused, key) == ["received", "refused"]
