"""What is kept of persons goes when it is over and not a day earlier, from everywhere, once, and stays gone."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from geo import db, destroyed, ends, identity, intake, retention, schema, write
from geo.catalog import CODE_LISTS, RESOURCES
from geo.cluster import Address, chosen, installed
from geo.db import Caller
from geo.errors import Forbidden, Invalid, NotFound, Unavailable
from geo.keys import FieldKey
from geo.resource import Audience, Field, Keeping, Resource
from geo.tables import TABLES, columns, metadata
from tests import town
from tests.conftest import Databases, Within, serial

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
RULES = [rule for rule in retention.rules() if rule["noun"] in RESOURCES]
WORKER = Caller("tester", "jingwei_area", (town.PREFIX,), Audience.WORKER)


@pytest.fixture
def admin(connection: sa.Connection) -> Any:
    """The administrator's engine, on the test's own transaction."""
    return Within(connection, "jingwei_admin")


def ran(engine: Any, home: Path, moment: datetime | None = None, most: int = 500) -> list[retention.Due]:
    """A run to its end."""
    return list(retention.run(engine, home, moment, most))


def activation(connection: sa.Connection, **values: object) -> UUID:
    """An emergency that is going on."""
    return town.add(connection, "activations", **{"opened_at": NOW - 10 * DAY, **values})


def person(connection: sa.Connection, **values: object) -> UUID:
    """A resident with a phone, in grid A."""
    phone = {"phone_masked": "100****0001", "phone_cipher": b"\1cipher", "phone_hash": b"\1hash"}
    return town.add(connection, "residents", **{"name": "张三丰", **phone, **values})


def scalar(connection: sa.Connection, query: str, **values: object) -> Any:
    return connection.scalar(sa.text(query), values)


# The registry


def test_every_personal_field_has_purpose_basis_and_period() -> None:
    kept = {(rule["noun"], column) for rule in RULES for column in rule["columns"]}  # type: ignore[attr-defined]
    for resource in RESOURCES.values():
        for field in resource.fields:
            if field.stored and (field.secret or field.name_of_person or resource.element == "人"):
                assert {(resource.name, c.name) for c in columns(field)} <= kept, f"{resource.name}.{field.name}"
    assert all(rule["purpose"] and rule["basis"] and rule["since"] for rule in retention.rules())


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ((Field("phone", str, "电话", secret=True, audience=Audience.WORKER),), {}),
        ((Field("holder", str, "责任人", name_of_person=True),), {}),
        ((Field("age", int, "年龄"),), {"element": "人"}),
        ((Field("age", int, "年龄"),), {"element": "人", "keeping": Keeping("走访", "duty", 30, since="left_at", whole=True)}),
        ((Field("age", int, "年龄"),), {"element": "人", "keeping": Keeping("走访", "duty", 30, since="age", whole=True)}),
        ((Field("phone", str, "电话", keeping=Keeping("走访", "duty", 30, since="retired_at")),), {}),
    ],
)
def test_a_personal_field_without_them_is_no_declaration(fields: tuple[Field, ...], given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"about persons|personal, so|kept since"):
        Resource("guests", "访客", "来访的人。", (Field("name", str, "称呼"), *fields), **{"element": "组织", **given})


def test_nothing_is_kept_without_purpose_or_for_ever() -> None:
    for given in (("", "duty", 30), ("走访", "because", 30), ("走访", "duty", 0)):
        with pytest.raises(ValueError, match="purpose"):
            Keeping(*given, since="x")  # type: ignore[arg-type]


def test_what_is_declared_is_what_the_database_goes_by(connection: sa.Connection) -> None:
    told = connection.execute(sa.text("SELECT * FROM retention_rules")).mappings().all()
    assert sorted(map(dict, told), key=lambda r: r["position"]) == retention.rules()
    connection.execute(sa.text("DELETE FROM retention_rules WHERE noun = 'posts'"))
    connection.execute(sa.text("UPDATE retention_rules SET days = 9999"))
    connection.execute(sa.text("INSERT INTO retention_rules SELECT 'gone', field, position, columns, purpose, basis, since, days, retired_days, whole FROM retention_rules LIMIT 1"))
    schema._declared(connection)
    assert connection.execute(sa.text("SELECT * FROM retention_rules")).rowcount == len(retention.rules())
    assert scalar(connection, "SELECT max(days) FROM retention_rules") < 9999


def test_every_table_that_may_quote_a_row_is_on_one_list() -> None:
    # A table that keeps what rows say belongs into `retention.TRACES`, one that does not into `retention.UNTOUCHED`.
    assert identity.ACCOUNTS.metadata is metadata
    telling = (sa.Text, sa.JSON, sa.LargeBinary, sa.ARRAY)
    quoting = {
        table.name for table in metadata.tables.values()
        if table.name not in RESOURCES and table.name not in CODE_LISTS and any(isinstance(c.type, telling) for c in table.c)
    }
    reached = {trace.table for trace in retention.TRACES}
    assert reached & set(retention.UNTOUCHED) == set()
    assert quoting - reached - set(retention.UNTOUCHED) == set()
    assert (reached | set(retention.UNTOUCHED)) - set(metadata.tables) == set()
    assert all(retention.UNTOUCHED.values())
    assert {b.table for b in retention.BESIDE} <= reached


def test_statistics_keep_nothing_of_what_persons_said(connection: sa.Connection, key: FieldKey) -> None:
    for n in range(30):
        house = person(connection, name="欧阳无痕", code=f"c{n}")
        connection.execute(sa.text("UPDATE residents SET name = '司马无迹' WHERE id = :id"), {"id": house})
    connection.exec_driver_sql("ANALYZE residents, changes, load_problems, batches")
    sampled = scalar(connection, "SELECT string_agg(s::text, ' ') FROM pg_stats AS s WHERE schemaname = 'jingwei'")
    assert "无痕" not in sampled and "无迹" not in sampled


# When


@pytest.mark.parametrize("rule", RULES, ids=[f"{r['noun']}.{r['field']}" for r in RULES])
def test_gone_when_due_and_not_a_day_earlier(connection: sa.Connection, admin: Any, tmp_path: Path, rule: dict[str, Any]) -> None:
    given: dict[str, Any] = {rule["since"]: NOW}
    if rule["since"] == "closed_at":
        given["reported_at"] = NOW - DAY
    for column in rule["columns"]:
        if rule["field"] and column != "owner" and TABLES[rule["noun"]].c[column].computed is None:
            given[column] = b"\1x" if isinstance(TABLES[rule["noun"]].c[column].type, sa.LargeBinary) else "张*"
    if rule["noun"] == "posts" and rule["field"] != "holder":
        # A post that a person holds goes whole; here nobody does.
        given |= {"holder": None, "organisation": town.add(connection, "organisations")}
    id = town.add(connection, rule["noun"], **given)
    due = NOW + rule["days"] * DAY
    early = [line for line in retention.due(connection, due - DAY) if line.noun == rule["noun"]]
    assert early == []
    assert [line for line in ran(admin, tmp_path, due - DAY) if line.noun == rule["noun"]] == []
    [line] = [line for line in retention.due(connection, due) if (line.noun, line.field) == (rule["noun"], rule["field"])]
    assert (line.cause, line.count, line.activation) == ("period", 1, None)
    assert abs(line.since - due) < timedelta(seconds=1)
    ran(admin, tmp_path, due)
    left = connection.execute(sa.text(f"SELECT * FROM {rule['noun']} WHERE id = :id"), {"id": id}).mappings().one_or_none()
    if rule["whole"]:
        assert left is None
    else:
        assert left is not None
        assert {column: left[column] for column in rule["columns"]} == dict.fromkeys(rule["columns"])
    assert retention.due(connection, due) == []


def test_without_its_moment_a_period_has_not_begun(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    town.add(connection, "incidents", closed_at=None, reporter_phone_masked="1", reporter_phone_cipher=b"1", reporter_phone_hash=b"1")
    town.add(connection, "posts", ends_at=None)
    assert retention.due(connection, NOW + 100 * 365 * DAY) == []


def test_what_is_off_the_lists_is_kept_for_thirty_days(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    id = person(connection)
    connection.execute(sa.text("UPDATE residents SET retired_at = :at WHERE id = :id"), {"at": NOW, "id": id})
    assert ran(admin, tmp_path, NOW + 29 * DAY) == []
    assert [(line.cause, line.count) for line in ran(admin, tmp_path, NOW + 30 * DAY)] == [("retired", 1)]
    assert scalar(connection, "SELECT count(*) FROM residents") == 0


def test_whoever_is_confirmed_again_stays(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    id = person(connection, verified_at=NOW - 700 * DAY)
    assert retention.due(connection, NOW + 31 * DAY)
    connection.execute(sa.text("UPDATE residents SET verified_at = :at WHERE id = :id"), {"at": NOW, "id": id})
    assert retention.due(connection, NOW + 31 * DAY) == []


def test_nobody_is_confirmed_in_the_future_or_never(connection: sa.Connection) -> None:
    for given in (NOW + 9999 * DAY, None):
        id = person(connection, verified_at=given, code=str(given))
        verified = scalar(connection, "SELECT verified_at FROM residents WHERE id = :id", id=id)
        assert abs(verified - NOW) < timedelta(minutes=30)
        connection.execute(sa.text("UPDATE residents SET verified_at = :at WHERE id = :id"), {"at": given, "id": id})
        assert scalar(connection, "SELECT verified_at FROM residents WHERE id = :id", id=id) == verified


# Emergencies


def closed(connection: sa.Connection, id: UUID) -> datetime:
    """End an emergency now; when its review is over."""
    connection.execute(sa.text("UPDATE activations SET closed_at = now() WHERE id = :id"), {"id": id})
    until: datetime = scalar(connection, "SELECT review_until FROM activations WHERE id = :id", id=id)
    return until


def test_after_an_emergency_its_persons_go_and_its_counts_stay(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    flood, other = activation(connection, name="防台"), activation(connection, name="别的")
    house = town.add(connection, "buildings", residents=3, households=1)
    gathered = [person(connection, activation=flood, building=house, code=str(n)) for n in range(3)]
    home = town.add(connection, "households", activation=flood, building=house)
    stays = [person(connection, building=house, household=home), person(connection, activation=other, building=house)]
    called = town.add(
        connection, "incidents", activation=flood, closed_at=None, reporter_phone_masked="1", reporter_phone_cipher=b"1", reporter_phone_hash=b"1"
    )
    counts = connection.execute(sa.text("SELECT * FROM area_counts(:path)"), {"path": town.PREFIX}).one()
    tally = retention.gathered(connection, flood)
    assert tally == {("residents", town.A[:12]): 3, ("households", town.A[:12]): 1, ("incidents", town.A[:12]): 1}
    assert ran(admin, tmp_path, NOW + 300 * DAY) == []
    until = closed(connection, flood)
    assert timedelta(days=29) < until - NOW <= timedelta(days=31)
    assert ran(admin, tmp_path, until - timedelta(seconds=1)) == []
    lines = ran(admin, tmp_path, until)
    assert {(line.noun, line.field): line.count for line in lines} == {
        ("residents", ""): 3, ("households", ""): 1, ("incidents", "reporter_phone"): 1}
    assert {(line.cause, line.activation) for line in lines} == {("emergency", flood)}
    assert scalar(connection, "SELECT count(*) FROM residents WHERE id = ANY (:ids)", ids=gathered) == 0
    assert scalar(connection, "SELECT array_agg(id ORDER BY id) FROM residents") == sorted(stays)
    assert scalar(connection, "SELECT household FROM residents WHERE id = :id", id=stays[0]) is None
    assert scalar(connection, "SELECT reporter_phone_hash FROM incidents WHERE id = :id", id=called) is None
    assert connection.execute(sa.text("SELECT * FROM area_counts(:path)"), {"path": town.PREFIX}).one() == counts
    assert retention.gathered(connection, flood) == tally
    [told] = retention.certificates(connection)
    assert (told.cause, told.activation, told.total) == ("emergency", flood, 5)
    assert {(noun, field): count for noun, field, count in told.counts} == {
        ("residents", ""): 3, ("households", ""): 1, ("incidents", "reporter_phone"): 1}
    organ = scalar(connection, "SELECT deciding_organ || ' ' || closed_by FROM activations WHERE id = :id", id=flood)
    assert told.approved_by == organ


def test_what_was_gathered_is_used_for_nothing_else(connection: sa.Connection) -> None:
    flood, other = activation(connection), activation(connection)
    id, ordinary = person(connection, activation=flood), person(connection)
    for given in (None, other):
        with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
            connection.execute(sa.text("UPDATE residents SET activation = :to WHERE id = :id"), {"to": given, "id": id})
        assert (refused.value.facts["rule"], refused.value.facts["field"]) == ("activations_use_check", "activation")
    connection.execute(sa.text("UPDATE residents SET activation = :to WHERE id = :id"), {"to": other, "id": ordinary})
    closed(connection, flood)
    with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
        person(connection, activation=flood)
    assert refused.value.facts["rule"] == "activations_over_check"


def test_an_end_is_counted_from_when_it_is_told(connection: sa.Connection) -> None:
    id = activation(connection, opened_at=NOW - 400 * DAY)
    connection.execute(sa.text("UPDATE activations SET closed_at = :at WHERE id = :id"), {"at": NOW - 300 * DAY, "id": id})
    until = scalar(connection, "SELECT review_until FROM activations WHERE id = :id", id=id)
    assert until - NOW > 29 * DAY
    connection.execute(sa.text("UPDATE activations SET closed_at = :at WHERE id = :id"), {"at": NOW + 30 * DAY, "id": id})
    assert scalar(connection, "SELECT review_until FROM activations WHERE id = :id", id=id) == until


def test_an_end_is_taken_back_in_time_only(connection: sa.Connection) -> None:
    id = activation(connection)
    closed(connection, id)
    connection.execute(sa.text("UPDATE activations SET closed_at = NULL WHERE id = :id"), {"id": id})
    assert connection.execute(sa.text("SELECT review_until, closed_by FROM activations WHERE id = :id"), {"id": id}).one() == (None, None)
    closed(connection, id)
    connection.execute(sa.text("UPDATE activations SET review_until = now() - interval '1 s' WHERE id = :id"), {"id": id})
    with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
        connection.execute(sa.text("UPDATE activations SET closed_at = NULL WHERE id = :id"), {"id": id})
    assert refused.value.facts["rule"] == "activations_reopened_check"


def test_an_emergency_taken_off_the_lists_has_ended(connection: sa.Connection) -> None:
    id = activation(connection)
    connection.execute(sa.text("UPDATE activations SET retired_at = now() WHERE id = :id"), {"id": id})
    assert scalar(connection, "SELECT review_until FROM activations WHERE id = :id", id=id) > NOW + 29 * DAY


def test_only_an_assessment_puts_it_off(web: Any, connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    id = activation(connection)
    person(connection, activation=id)
    until = NOW + 300 * DAY
    with pytest.raises(Invalid) as early, db.translated(), connection.begin_nested():
        retention.assess(connection, id, until, "法制科", "复议尚未审结,须保留作证据")
    assert early.value.facts["rule"] == "assessments_review_check"
    review = closed(connection, id)
    with pytest.raises(Forbidden), db.transaction(web, WORKER) as bound:
        bound.execute(sa.text("UPDATE activations SET review_until = :to"), {"to": until})
    for far, by, why in ((NOW + 400 * DAY, "法制科", "复议尚未审结,须保留作证据"), (until, "", "复议尚未审结,须保留作证据"), (until, "法制科", "要")):
        with pytest.raises(Invalid), db.translated(), connection.begin_nested():
            retention.assess(connection, id, far, by, why)
    with db.transaction(web, town.caller(connection, "clerk", "street", town.PREFIX)) as bound:
        assert retention.assess(bound, id, until, "法制科", "复议尚未审结,须保留作证据", "望法评〔2026〕1号") == until
    for other in (town.caller(connection, "walker", "grid_worker", town.A), town.caller(connection, "guard", "security_admin")):
        with pytest.raises((NotFound, Forbidden)), db.transaction(web, other) as bound:
            retention.assess(bound, id, until, "法制科", "复议尚未审结,须保留作证据")
    assert ran(admin, tmp_path, review + DAY) == []
    assert [line.count for line in ran(admin, tmp_path, until)] == [1]
    assert scalar(connection, "SELECT actor || assessed_by FROM assessments") == "clerk法制科"


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize(("table", "column"), [("certificates", "total"), ("assessments", "reason"), ("destructions", "number")])
def test_what_was_done_is_not_rewritten(
    connection: sa.Connection, admin: Any, tmp_path: Path, statement: str, table: str, column: str
) -> None:
    id = activation(connection)
    person(connection, activation=id)
    until = closed(connection, id)
    retention.assess(connection, id, until + DAY, "法制科", "复议尚未审结,须保留作证据")
    ran(admin, tmp_path, until + DAY)
    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    for role in ("jingwei_admin", "jingwei_definer"):
        with pytest.raises(Forbidden), db.translated(), connection.begin_nested():
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            connection.exec_driver_sql(statement.format(table, column, column))


# How: rows, fields, traces


def test_a_field_goes_and_its_record_stays(connection: sa.Connection, admin: Any, tmp_path: Path, key: FieldKey) -> None:
    id = write.add(connection, RESOURCES["incidents"], {"title": "井盖缺失", "channel": "public", "reporter_phone": "10010000001"}, None, key)
    write.remember(connection, WORKER, "k", "/x", b"hash of the body", RESOURCES["incidents"], id)
    write.change(connection, RESOURCES["incidents"], id, {"reporter_phone": "10010000002", "title": "井盖松动"}, None, key)
    write.change(connection, RESOURCES["incidents"], id, {"reported_at": NOW - DAY, "closed_at": NOW}, None, key)
    counts = connection.execute(sa.text("SELECT * FROM area_counts(:path)"), {"path": town.PREFIX}).one()
    [line] = ran(admin, tmp_path, NOW + 180 * DAY)
    assert (line.noun, line.field, line.count) == ("incidents", "reporter_phone", 1)
    journal = connection.execute(sa.text("SELECT operation, patch FROM changes WHERE feature = :id ORDER BY id"), {"id": id}).all()
    assert [row.operation for row in journal] == ["add", "change", "change", "destroy"]
    assert journal[1].patch["title"] == "井盖缺失"
    assert "reporter_phone" not in json.dumps([row.patch for row in journal])
    assert scalar(connection, "SELECT count(*) FROM idempotency") == 0
    assert scalar(connection, "SELECT title FROM incidents WHERE id = :id", id=id) == "井盖松动"
    assert connection.execute(sa.text("SELECT * FROM area_counts(:path)"), {"path": town.PREFIX}).one() == counts
    [told] = retention.certificates(connection)
    assert (told.cause, told.counts) == ("period", (("incidents", "reporter_phone", 1),))


def test_who_reported_is_forgotten_with_how_to_reach_them(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    resident = town.accounts.make(connection, "li", "", "person")
    phone = {"reporter_phone_masked": "1", "reporter_phone_cipher": b"1", "reporter_phone_hash": b"1"}
    closed = {"reported_at": NOW - 200 * DAY, "closed_at": NOW - 181 * DAY, "state": "closed"}
    over, unreachable = (town.add(connection, "incidents", number=n, owner=resident, **closed, **given) for n, given in (("1", phone), ("2", {})))
    still = town.add(connection, "incidents", number="3", owner=resident, reported_at=NOW - 200 * DAY, closed_at=NOW - 179 * DAY, state="closed", **phone)
    ran(admin, tmp_path)
    owners = dict(connection.execute(sa.text("SELECT id, owner FROM incidents")).all())  # type: ignore[arg-type]
    assert owners == {over: None, unreachable: None, still: resident}
    assert str(resident) not in json.dumps(list(connection.scalars(sa.text("SELECT patch FROM changes WHERE feature = :id"), {"id": over})))


def test_a_batch_is_taken_back_without_what_was_destroyed(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    batch = scalar(connection, "INSERT INTO batches (noun, source, actor) VALUES ('incidents', 'x', 'y') RETURNING id")
    phone = {"reporter_phone_masked": "1", "reporter_phone_cipher": b"1", "reporter_phone_hash": b"1"}
    first, second = (town.add(connection, "incidents", batch=batch, reported_at=NOW - DAY, closed_at=NOW, **phone) for _ in range(2))
    ran(admin, tmp_path, NOW + 180 * DAY)
    retention.destroy(connection, tmp_path, RESOURCES["incidents"], [first])
    # What retention struck is nobody's change, and does not hold the batch.
    assert ends.undo(connection, batch) == 1
    [left] = connection.execute(sa.text("SELECT id, retired_at, reporter_phone_hash FROM incidents WHERE batch = :b"), {"b": batch}).all()
    assert (left.id, left.reporter_phone_hash) == (second, None) and left.retired_at


def test_a_row_that_somebody_is_writing_is_passed_over(live_engine: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        held, free = person(connection, code="held"), person(connection, code="free")
    later = NOW + 731 * DAY
    with live_engine.begin() as writing:
        writing.execute(sa.text("SELECT FROM residents WHERE id = :id FOR UPDATE"), {"id": held})
        assert [line.count for line in ran(live_engine, tmp_path, later)] == [1]
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT array_agg(id) FROM residents") == [held]
    assert [line.count for line in ran(live_engine, tmp_path, later)] == [1]
    with live_engine.begin() as connection:
        assert [told.total for told in retention.certificates(connection)] == [1, 1]
        assert not scalar(connection, "SELECT count(*) FROM residents WHERE id = ANY (:ids)", ids=[held, free])


def test_by_hand_with_a_certificate(connection: sa.Connection, tmp_path: Path) -> None:
    id, kept = person(connection), person(connection)
    told = retention.destroy(connection, tmp_path, RESOURCES["residents"], [id])
    assert (told.cause, told.counts, told.total) == ("hand", (("residents", "", 1),), 1)
    assert scalar(connection, "SELECT array_agg(id) FROM residents") == [kept]
    before = destroyed.path(tmp_path).read_text()
    with pytest.raises(NotFound), connection.begin_nested():
        retention.destroy(connection, tmp_path, RESOURCES["residents"], [kept, uuid4()])
    assert destroyed.path(tmp_path).read_text() == before


def test_what_was_destroyed_is_not_sent_again(connection: sa.Connection, tmp_path: Path) -> None:
    id = person(connection)
    retention.destroy(connection, tmp_path, RESOURCES["residents"], [id])
    with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
        person(connection, id=id)
    assert refused.value.facts["rule"] == "destructions_final_check"


def test_a_certificate_agrees_with_its_list(connection: sa.Connection, admin: Any, tmp_path: Path) -> None:
    ids = [person(connection, code=str(n)) for n in range(7)]
    ran(admin, tmp_path, NOW + 731 * DAY, most=3)
    [told] = retention.certificates(connection)
    assert told.total == 7
    assert retention.certificate(connection, told.id) == (told, True)
    import hashlib

    lines = "\n".join(sorted(f"residents||{id}" for id in ids))
    assert hashlib.sha256(told.salt + lines.encode()).digest() == told.hash
    for language, words in (("zh", ("销毁证明", "居民 · 整行:7 条", "相符")), ("en", ("Certificate", "Residents", "Agrees with"))):
        page = retention.printed(told, True, language)
        assert all(word in page for word in words), page
    assert "不符" in retention.printed(told, False)
    connection.exec_driver_sql("ALTER TABLE destructions DISABLE TRIGGER certified; UPDATE destructions SET ids = ids[2:]")
    assert retention.certificate(connection, told.id) == (told, False)
    with pytest.raises(NotFound):
        retention.certificate(connection, uuid4())


def test_nothing_is_destroyed_when_the_list_cannot_be_written(live_engine: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        person(connection)
    (tmp_path / "destroyed.jsonl").mkdir()
    with pytest.raises(Unavailable):
        ran(live_engine, tmp_path, NOW + 731 * DAY)
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM residents") == 1
        assert scalar(connection, "SELECT count(*) FROM destructions") == 0


def test_a_torn_line_of_the_list_is_passed_over(tmp_path: Path) -> None:
    destroyed.append(tmp_path, {"id": "1", "words": "中文"})
    with destroyed.path(tmp_path).open("ab") as torn:
        torn.write('{"id": "2", "words": "中'.encode()[:-1])
    destroyed.append(tmp_path, {"id": "3"})
    assert [entry["id"] for entry in destroyed.entries(tmp_path)] == ["1", "3"]
    assert destroyed.path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert list(destroyed.entries(tmp_path / "nowhere")) == []


# Twice at once, and half


def test_two_jobs_at_once_destroy_and_count_each_row_once(live_engine: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        house = town.add(connection, "buildings")
        connection.execute(
            sa.text("INSERT INTO residents (name, code, building) SELECT '张三', n::text, :house FROM generate_series(1, 200) AS n"), {"house": house}
        )
    trouble: list[BaseException] = []

    def work() -> None:
        try:
            ran(live_engine, tmp_path, NOW + 731 * DAY, most=20)
        except BaseException as error:
            trouble.append(error)

    jobs = [threading.Thread(target=work) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert trouble == []
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM residents") == 0
        assert sum(told.total for told in retention.certificates(connection)) == 200
        assert scalar(connection, "SELECT count(*) FROM destructions WHERE certificate IS NULL") == 0
        assert scalar(connection, "SELECT count(*) = count(DISTINCT gone) FROM destructions, unnest(ids) AS gone")
        # In the trail a stretch is one row, which names it, and a certificate another.
        told = connection.execute(sa.text("SELECT noun, feature FROM trail WHERE action = 'destroy' ORDER BY id")).all()
        stretches = set(connection.execute(sa.text("SELECT id::text FROM destructions")).scalars())
        assert {row.feature for row in told if row.noun == "residents"} == stretches
        assert len(told) == len(stretches) + len(retention.certificates(connection))


def test_broken_off_half_way_and_run_again(live_engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_engine.begin() as connection:
        house = town.add(connection, "buildings")
        for n in range(10):
            person(connection, building=house, code=str(n))
    later = NOW + 731 * DAY
    first = retention.run(live_engine, tmp_path, later, 2)
    next(first), next(first)
    appended = destroyed.append

    def killed(home: Path, entry: Any) -> None:
        appended(home, entry)
        raise KeyboardInterrupt  # after the list was written, before the commit

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(destroyed, "append", killed)
        next(first)
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM residents") == 6
        assert retention.certificates(connection) == []
    assert sum(line.count for line in ran(live_engine, tmp_path, later)) == 6
    with live_engine.begin() as connection:
        [told] = retention.certificates(connection)
        assert (told.total, retention.certificate(connection, told.id)[1]) == (10, True)
    # What the list says beyond that was destroyed by the second run: nothing is left to do again.
    assert retention.replay(live_engine, tmp_path) == []
    assert retention.replay(live_engine, tmp_path) == []


# After a restore


@pytest.fixture
def tool(address: Address) -> Callable[..., bytes]:
    """Runs one of PostgreSQL's own programs against a database of the test cluster."""
    folder = chosen(installed()).folder

    def run(program: str, url: sa.URL, *arguments: str) -> bytes:
        where = url.set(drivername="postgresql").render_as_string(hide_password=False)
        done = subprocess.run([str(folder / program), "-d", where, *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


def test_a_restored_backup_forgets_again(
    live: Address, live_engine: sa.Engine, databases: Databases, tmp_path: Path, tool: Callable[..., bytes], key: FieldKey
) -> None:
    with live_engine.begin() as connection:
        flood = activation(connection)
        gone = [person(connection, activation=flood, name="欧阳无痕", code=str(n)) for n in range(3)]
        kept = person(connection, name="令狐常在", code="kept")
        caller = write.add(
            connection, RESOURCES["incidents"], {"title": "井盖", "channel": "public", "reporter_phone": "10010000001", "activation": flood}, None, key
        )
    backup = tmp_path / "backup"
    tool("pg_dump", live.url(), "-Fc", "-n", "jingwei", "-f", str(backup))
    with live_engine.begin() as connection:
        later = person(connection, activation=flood, code="after the backup")
        until = closed(connection, flood)
    ran(live_engine, tmp_path, until)
    with live_engine.begin() as connection:
        told = retention.certificates(connection)
        assert told[0].total == 5
    url = live.url(database=databases())
    restored = db.engine(url)
    with serial(), restored.begin() as connection:
        schema.ground(connection)
        connection.exec_driver_sql("DROP SCHEMA jingwei CASCADE")
    tool("pg_restore", url, str(backup))
    with restored.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM residents WHERE name = '欧阳无痕'") == 3
    with serial():
        schema.migrate(restored)
    [again] = retention.replay(restored, tmp_path)
    assert (again.cause, again.total) == ("replay", 4)
    assert retention.replay(restored, tmp_path) == []
    with restored.begin() as connection:
        assert scalar(connection, "SELECT array_agg(id) FROM residents") == [kept]
        assert scalar(connection, "SELECT reporter_phone_hash FROM incidents WHERE id = :id", id=caller) is None
        # The certificates of the first time are known again, and agree with the list.
        known = {one.id: one for one in retention.certificates(connection)}
        assert known[told[0].id] == told[0]
        assert all(retention.certificate(connection, id)[1] for id in known)
        assert scalar(connection, "SELECT count(*) FROM changes WHERE noun = 'residents' AND feature = ANY (:ids) AND patch IS NOT NULL", ids=[*gone, later]) == 0
    dump = tool("pg_dump", url, "-n", "jingwei").decode()
    assert "欧阳无痕" not in dump and "令狐常在" in dump
    restored.dispose()


def test_the_list_of_another_database_is_not_ours(live_engine: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        id = person(connection)
    entry = {"id": str(uuid4()), "at": NOW, "cause": "hand", "activation": None, "request": None, "noun": "residents", "field": "", "columns": None}
    destroyed.append(tmp_path, {**entry, "instance": str(uuid4()), "ids": [str(id)]})
    assert retention.replay(live_engine, tmp_path) == []
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM residents") == 1
        own = str(scalar(connection, "SELECT id FROM instance"))
    # A noun that is no more, and one that is.
    destroyed.append(tmp_path, {**entry, "id": str(uuid4()), "instance": own, "noun": "guests", "ids": [str(id)]})
    destroyed.append(tmp_path, {**entry, "instance": own, "ids": [str(id)]})
    [told] = retention.replay(live_engine, tmp_path)
    assert told.total == 1


# Nowhere


def test_what_was_destroyed_is_found_nowhere(
    live: Address, live_engine: sa.Engine, tmp_path: Path, key: FieldKey, tool: Callable[..., bytes]
) -> None:
    name, code, phone, other = "欧阳无痕", "CANARY77", "10019876543", "10013456789"
    with live_engine.begin() as connection:
        flood = activation(connection, code="FT1")
        house = town.add(connection, "buildings", code="B1")
    caller = WORKER
    web = db.engine(live.url("jingwei_web"))
    residents, incidents = RESOURCES["residents"], RESOURCES["incidents"]
    with db.transaction(web, caller) as bound:
        given = {"name": name, "code": code, "phone": phone, "building": house, "activation": flood}
        id = write.add(bound, residents, given, None, key)
        write.remember(bound, caller, "k", "/collections/residents/items", b"hash", residents, id)
        write.change(bound, residents, id, {"name": name + "子", "phone": other}, None, key)
        write.change(bound, residents, id, {"name": "李四", "code": code + "X"}, None, key)
        write.retire(bound, residents, id)
        told = {"title": "积水", "channel": "public", "reporter_phone": phone, "activation": flood}
        write.change(bound, incidents, write.add(bound, incidents, told, None, key), {"reporter_phone": other}, None, key)
    web.dispose()
    file = tmp_path / f"{name}.csv"
    file.write_text(f"姓名,登记号,楼栋编码,手机,年龄段\n{name},{code}L,B1,{phone},\n{name},{code}M,没有这栋{code},{phone},\n{name},{code}L,B1,,\n", "utf-8")
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    report = intake.load(loader, intake.Order(file, "residents", {}, {"activation": "FT1"}), key)
    loader.dispose()
    assert (report.stored, report.unstored) == (1, 2)

    def found() -> list[str]:
        dump = tool("pg_dump", live.url(), "-n", "jingwei").decode()
        hashes = [key.lookup(number).hex() for number in (phone, other)]
        return [canary for canary in (name, code, phone, other, *hashes) if canary in dump]

    assert {name, code, key.lookup(phone).hex(), key.lookup(other).hex()} == set(found())
    with live_engine.begin() as connection:
        until = closed(connection, flood)
    assert {line.cause for line in ran(live_engine, tmp_path, until)} == {"emergency"}
    assert found() == []
    listed = destroyed.path(tmp_path).read_text("utf-8")
    assert str(id) in listed and not any(canary in listed for canary in (name, code, phone, other))
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT count(*) FROM load_problems WHERE batch = :b", b=report.batch) == 2
        assert scalar(connection, "SELECT rows FROM batches WHERE id = :b", b=report.batch) == 1
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    with pytest.raises(Invalid, match="已经终止"):
        intake.load(loader, intake.Order(file, "residents", {}, {"activation": "FT1", "building": "B1"}), key)
    loader.dispose()


def test_rows_kept_as_work_go_after_ninety_days(live: Address, live_engine: sa.Engine, tmp_path: Path, key: FieldKey) -> None:
    file = tmp_path / "住户.csv"
    file.write_text("户号,楼栋编码,人数\n1-101,没有这栋,3\n", "utf-8")
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    report = intake.load(loader, intake.Order(file, "households"), key)
    loader.dispose()
    assert ran(live_engine, tmp_path, NOW + 89 * DAY) == []
    [line] = ran(live_engine, tmp_path, NOW + 91 * DAY)
    assert (line.noun, line.field, line.count) == ("load_problems", "record", 1)
    with live_engine.begin() as connection:
        kept = scalar(connection, "SELECT report::text FROM batches WHERE id = :b", b=report.batch)
        assert "没有这栋" not in kept + scalar(connection, "SELECT reason || record::text FROM load_problems")
    assert ran(live_engine, tmp_path, NOW + 91 * DAY) == []


# The night


@pytest.fixture
def worker(live: Address) -> Iterator[sa.Engine]:
    made = db.engine(live.url("jingwei_web"), pool=1)
    yield made
    made.dispose()


def test_the_worker_destroys_what_is_over_and_no_more(live_engine: sa.Engine, worker: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        over, current = person(connection, code="a"), person(connection, code="b")
        connection.exec_driver_sql("ALTER TABLE residents DISABLE TRIGGER a_verified")
        connection.execute(sa.text("UPDATE residents SET verified_at = now() - interval '731 days' WHERE id = :id"), {"id": over})
    # It cannot be told that it is later than it is.
    assert [line.count for line in ran(worker, tmp_path, NOW + 5000 * DAY)] == [1]
    with live_engine.begin() as connection:
        assert scalar(connection, "SELECT array_agg(id) FROM residents") == [current]
        [told] = retention.certificates(connection)
        assert (told.issued_by, told.total) == ("retention", 1)
    for statement in ("SELECT * FROM struck(NULL, NULL, 'hand', NULL, NULL, 'residents', '', NULL, '{}', false)", "SELECT rows_destroyed('residents', '{}', false)"):
        with pytest.raises(Forbidden), db.translated(), worker.begin() as connection:
            connection.exec_driver_sql(statement)


def test_once_a_night_or_when_one_was_missed(connection: sa.Connection, admin: Any) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"{text}:00+08:00")

    assert not retention.awaited(admin, at("2030-01-01T12:00"))
    assert retention.awaited(admin, at("2030-01-01T01:30"))
    retention.rested(admin, at("2030-01-01T01:30"))
    assert not retention.awaited(admin, at("2030-01-01T04:00"))
    assert not retention.awaited(admin, at("2030-01-02T00:30"))
    assert retention.awaited(admin, at("2030-01-02T02:00"))
    # Switched off at night: as soon as it is on again.
    assert retention.awaited(admin, at("2030-01-03T09:00"))
