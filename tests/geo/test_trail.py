"""The trail: every write is in it once, nobody alters it unseen, and it is kept as long as it must be."""

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from geo import anchors, chain, db, ends, intake, retention, schema, trail
from geo.catalog import ACTIONS, RESOURCES
from geo.catalog.roles import ROLES
from geo.chain import Fault, Head, Kind
from geo.cluster import Address
from geo.errors import Forbidden, Invalid, Unavailable
from geo.keys import FieldKey, anchor_key_path
from geo.spine import CHANGES
from geo.trail import Entry, Wanted
from tests import town
from tests.conftest import ROOT, Databases, serial

LENGTH = 150  # rows of the chain that is tampered with
TOLD = sa.text("SELECT id, actor, acting_as, action, noun, feature, scope, purpose, result, origin FROM trail WHERE id > :id ORDER BY id")


def last(engine: sa.Engine) -> int:
    """The number of the last row."""
    with engine.begin() as connection:
        return int(connection.scalar(sa.text("SELECT max(id) FROM trail")) or 0)


def told_since(engine: sa.Engine, id: int) -> list[Any]:
    """The rows after one."""
    with engine.begin() as connection:
        return list(connection.execute(TOLD, {"id": id}))


def bound(connection: sa.Connection, **settings: str) -> None:
    """What the web server says about its caller, for one transaction."""
    said = {"actor": "grid-7", "acting_as": f"grid_worker@{town.A}", "lo": town.PREFIX, "hi": town.PREFIX + "~"} | settings
    connection.exec_driver_sql("SET LOCAL ROLE jingwei_area")
    for name, value in said.items():
        connection.execute(sa.text("SELECT set_config(:name, :value, true)"), {"name": f"jingwei.{name}", "value": value})


@pytest.fixture
def web(live: Address) -> Iterator[sa.Engine]:
    """The web server's own login."""
    made = db.engine(live.url("jingwei_web"), pool=8)
    yield made
    made.dispose()


@pytest.fixture
def login(live: Address) -> Iterator[sa.Engine]:
    """The login that only appends."""
    made = db.engine(live.url("jingwei_trail"), pool=4)
    yield made
    made.dispose()


PLACED = sa.text("INSERT INTO parts (id, name, geom) VALUES (:id, :name, ST_SetSRID(ST_Point(:x, :y), 4326))")


def part(connection: sa.Connection, x: float = 0.5, id: UUID | None = None) -> UUID:
    """A part of the town, written plainly; its id."""
    made = id or uuid4()
    lon, lat = town.at(x, 0.5)
    connection.execute(PLACED, {"id": made, "name": "井盖", "x": lon, "y": lat})
    return made


# Every write, once


def test_every_write_leaves_one_row_of_who_what_where(web: sa.Engine, live_engine: sa.Engine) -> None:
    before = last(live_engine)
    id = uuid4()
    steps: list[tuple[str, str]] = [
        ("add", ""), ("change", "UPDATE parts SET name = '路灯' WHERE id = :id"),
        ("change", "UPDATE parts SET geom = ST_Translate(geom, 0.01, 0) WHERE id = :id"),
        ("retire", "UPDATE parts SET retired_at = now() WHERE id = :id"),
        ("restore", "UPDATE parts SET retired_at = NULL WHERE id = :id"),
    ]  # fmt: skip
    for _, statement in steps:
        with web.begin() as connection:
            bound(connection, origin="10.1.2.3", purpose="visit")
            if statement:
                connection.execute(sa.text(statement), {"id": id})
            else:
                part(connection, id=id)
    with web.begin() as connection:  # what changes nothing is no write
        bound(connection)
        connection.execute(sa.text("UPDATE parts SET name = name WHERE id = :id"), {"id": id})
    told = told_since(live_engine, before)
    assert [row.action for row in told] == [action for action, _ in steps]
    common = {(r.actor, r.acting_as, r.noun, r.feature, r.purpose, r.result, r.origin) for r in told}
    assert common == {("grid-7", f"grid_worker@{town.A}", "parts", str(id), "visit", "done", "10.1.2.3")}
    assert [row.scope for row in told] == [town.A, town.A, town.B, town.B, town.B]
    assert [row.id for row in told] == list(range(before + 1, before + 6))


def test_what_is_rolled_back_leaves_no_row_and_no_gap(web: sa.Engine, live_engine: sa.Engine) -> None:
    before = last(live_engine)
    with web.connect() as connection:
        outer = connection.begin()
        bound(connection)
        part(connection)
        outer.rollback()
    with web.begin() as connection:
        bound(connection)
        kept = part(connection)
        inner = connection.begin_nested()
        part(connection)
        inner.rollback()
    assert [(row.id, row.feature) for row in told_since(live_engine, before)] == [(before + 1, str(kept))]


def test_a_redrawing_is_told_and_what_follows_from_it_is_not(live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        part(connection, 1.2)
    before = last(live_engine)
    with live_engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE areas SET geom = ST_Multi(ST_MakeEnvelope(:w, :s, :e, :n, 4326)) WHERE path = :path"),
            dict(zip("wsen", (*town.at(0, 0), *town.at(1.3, 2)), strict=True)) | {"path": town.A},
        )
        journal = connection.execute(sa.text("SELECT noun, operation FROM changes ORDER BY id DESC LIMIT 2")).all()
    assert {tuple(row) for row in journal} == {("areas", "change"), ("parts", "place")}
    assert [(row.action, row.noun) for row in told_since(live_engine, before)] == [("change", "areas")]


def test_a_load_and_its_undoing_are_a_row_each(live: Address, live_engine: sa.Engine, key: FieldKey, tmp_path: Path) -> None:
    source = tmp_path / "parts.csv"
    west, south = town.at(0.5, 0.5)
    source.write_text("name,lon,lat\n" + "".join(f"灯{n},{west + n / 1e5},{south}\n" for n in range(300)))
    before = last(live_engine)
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    report = intake.load(loader, intake.Order(source, "parts", {}, {}), key)
    loader.dispose()
    with live_engine.begin() as connection:
        assert ends.undo(connection, report.batch) == 300
    told = told_since(live_engine, before)
    assert [(r.actor, r.action, r.noun, r.feature) for r in told] == [
        ("jingwei_loader", "batch", "parts", str(report.batch)), ("jingwei_admin", "undo", "parts", str(report.batch)),
    ]  # fmt: skip


def test_the_loader_writes_no_single_row_unseen(live: Address, live_engine: sa.Engine) -> None:
    # Only a batch stands for its rows: the loader's login without one is trailed like anybody.
    with live_engine.begin() as connection:
        id = part(connection)
    before = last(live_engine)
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    with loader.begin() as connection:
        connection.execute(sa.text("UPDATE parts SET name = 'x' WHERE id = :id"), {"id": id})
    loader.dispose()
    assert [(row.actor, row.action, row.feature) for row in told_since(live_engine, before)] == [("jingwei_loader", "change", str(id))]


def test_who_has_a_login_of_their_own_is_trailed_as_that_login(live: Address, live_engine: sa.Engine) -> None:
    name = f"test_qgis_{uuid4().hex[:8]}"
    with live_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT jingwei_direct TO {name}")
        connection.execute(sa.text("INSERT INTO direct_logins VALUES (:name, :path)"), {"name": name, "path": town.PREFIX})
    before = last(live_engine)
    direct = db.engine(live.url().set(username=name, password="x"), pool=1)
    try:
        with direct.begin() as connection:
            for setting in ("actor", "acting_as", "origin", "purpose"):
                connection.execute(sa.text("SELECT set_config(:name, 'forged', true)"), {"name": f"jingwei.{setting}"})
            id = part(connection)
            # Early or at the end, once.
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        told = told_since(live_engine, before)
        assert [(r.actor, r.acting_as, r.action, r.feature, r.purpose) for r in told] == [(name, "", "add", str(id), "")]
        assert "forged" not in told[0].origin
        for statement in ("SELECT * FROM trail", "SELECT trail_appended('', '', 'read', '', '', '', '', '', '')", "LOCK TABLE trail_cuts"):
            with pytest.raises(Forbidden), db.translated(), direct.begin() as connection:
                connection.exec_driver_sql(statement)
    finally:
        direct.dispose()
        with live_engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_settings_and_logins_are_told_without_their_values(live_engine: sa.Engine) -> None:
    before = last(live_engine)
    with live_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE instance SET k = 7, trail_days = 200")
        connection.exec_driver_sql("UPDATE instance SET k = 7")
        connection.execute(sa.text("INSERT INTO direct_logins VALUES ('somebody', :path)"), {"path": town.A})
        connection.exec_driver_sql("DELETE FROM direct_logins WHERE login = 'somebody'")
    told = told_since(live_engine, before)
    assert [(row.action, row.noun, row.result) for row in told] == [
        ("settings", "instance", "k, trail_days"), ("account", "direct_logins", "insert"), ("account", "direct_logins", "delete"),
    ]  # fmt: skip
    assert told[1].feature == "somebody"
    with live_engine.begin() as connection:
        town.post(connection, "newcomer", "grid_worker", town.A)
    assert {(row.action, row.noun) for row in told_since(live_engine, told[-1].id)} == {("add", "accounts"), ("change", "accounts")}


def test_every_operation_of_the_journal_is_an_action() -> None:
    check = next(str(c.sqltext) for c in CHANGES.constraints if isinstance(c, sa.CheckConstraint))
    operations = {part for part in check.split("'") if part.isalpha() and part.islower()}
    # Nobody acts when a place is found anew, or a clock tells that something is late.
    assert operations - {action.code for action in ACTIONS} == {"place", "tell"}


def test_what_is_not_on_the_list_is_not_told(login: sa.Engine) -> None:
    with pytest.raises(Unavailable):
        trail.append(login, Entry("looked at", "grid-7"))


# No trail, no write


BROKEN = {
    "no right to append": ("REVOKE INSERT ON trail FROM jingwei_definer", "GRANT INSERT ON trail TO jingwei_definer"),
    "no table": ("ALTER TABLE trail RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO trail"),
    "no function": (
        "ALTER FUNCTION trail_appended(text, text, text, text, text, text, text, text, text) RENAME TO elsewhere",
        "ALTER FUNCTION elsewhere(text, text, text, text, text, text, text, text, text) RENAME TO trail_appended",
    ),
    "no hash": ("ALTER FUNCTION trail_digest(bytea) RENAME TO elsewhere", "ALTER FUNCTION elsewhere(bytea) RENAME TO trail_digest"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_write_that_cannot_be_trailed_does_not_happen(web: sa.Engine, login: sa.Engine, live_engine: sa.Engine, how: str) -> None:
    with web.begin() as connection:
        bound(connection)
        kept = part(connection)
    stored = sa.text("SELECT (SELECT count(*) FROM parts), (SELECT count(*) FROM changes), (SELECT name FROM parts WHERE id = :id)")
    with live_engine.begin() as connection:
        before = connection.execute(stored, {"id": kept}).one()
        connection.exec_driver_sql(BROKEN[how][0])
    for statement in ("", "UPDATE parts SET name = 'x' WHERE id = :id", "UPDATE parts SET retired_at = now() WHERE id = :id"):
        with pytest.raises(Unavailable) as refused, db.translated(), web.begin() as connection:
            bound(connection)
            if statement:
                connection.execute(sa.text(statement), {"id": kept})
            else:
                part(connection)
        assert refused.value.sentence == db.UNTRAILED
    with pytest.raises(Unavailable) as refused:
        trail.append(login, Entry("read", "grid-7", noun="residents"))
    assert refused.value.sentence == db.UNTRAILED
    with live_engine.begin() as connection:
        connection.exec_driver_sql(BROKEN[how][1])
        assert connection.execute(stored, {"id": kept}).one() == before
        assert connection.scalar(sa.text("SELECT trail_broken()")) is None
    trail.append(login, Entry("read", "grid-7", noun="residents"))


def test_migrating_switches_the_triggers_on_again_and_trails_what_waits(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE changes DISABLE TRIGGER changes_trailed; ALTER TABLE trail DISABLE TRIGGER ALL")
    schema.rules(connection)
    off = "SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('changes'::regclass, 'trail'::regclass) AND tgenabled <> 'O'"
    assert connection.scalar(sa.text(off)) == 0
    connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
    id = part(connection)
    told = sa.text("SELECT count(*) FROM trail WHERE feature = :id")
    assert connection.scalar(told, {"id": str(id)}) == 0
    schema.rules(connection)
    assert connection.scalar(told, {"id": str(id)}) == 1


def test_rows_from_before_there_were_numbers_are_chained_anew(address: Address, databases: Databases) -> None:
    engine = db.engine(address.url(database=databases()), pool=1)
    with serial(), engine.begin() as connection:
        schema.ground(connection)
        connection.exec_driver_sql("SET LOCAL ROLE jingwei_owner")
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO trail (id, actor, action, result, previous, hash)"
            " SELECT n, 'anonymous', 'POST /collections/parts/items', 'refused', 'x', 'y' FROM unnest(ARRAY[3, 4, 9]) AS n"
        )
    with serial():
        schema.migrate(engine)
    with trail.looking(engine) as connection:
        assert trail.verify(connection).whole
        told = connection.execute(sa.text("SELECT id, action, result FROM trail ORDER BY id")).all()
    assert [tuple(row) for row in told] == [(n, "refused", "POST /collections/parts/items") for n in (1, 2, 3)]
    engine.dispose()


def test_who_waits_too_long_for_the_chain_is_told_to_come_again(web: sa.Engine, live_engine: sa.Engine) -> None:
    with live_engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("LOCK TABLE trail_cuts IN EXCLUSIVE MODE")
        with pytest.raises(Unavailable), db.translated(), web.begin() as connection:
            bound(connection)
            connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            id = part(connection)
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM parts WHERE id = :id"), {"id": id}) == 0


def test_a_request_that_writes_may_append_on_the_other_login_meanwhile(web: sa.Engine, login: sa.Engine, live_engine: sa.Engine) -> None:
    # With the chain's lock taken at the write, this would wait for itself, and PostgreSQL could not see it.
    before = last(live_engine)
    with web.begin() as connection:
        bound(connection)
        part(connection)
        trail.append(login, Entry("refused", "grid-7", result="PATCH /collections/parts/items/{id}"))
    assert [row.action for row in told_since(live_engine, before)] == ["refused", "add"]


def test_a_snapshot_from_before_does_not_fork_the_chain(web: sa.Engine, login: sa.Engine, live_engine: sa.Engine) -> None:
    with pytest.raises(Unavailable), db.translated(), web.connect() as late:
        late.execution_options(isolation_level="REPEATABLE READ")
        with late.begin():
            bound(late)
            id = part(late)
            trail.append(login, Entry("read", "grid-8"))
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM parts WHERE id = :id"), {"id": id}) == 0
        assert connection.scalar(sa.text("SELECT trail_broken()")) is None


def test_many_write_while_the_chain_is_verified(web: sa.Engine, login: sa.Engine, live_engine: sa.Engine, tmp_path: Path) -> None:
    before, each, done, failed = last(live_engine), 25, threading.Event(), list[BaseException]()

    def work(n: int) -> None:
        try:
            for _ in range(each):
                if n % 2:
                    trail.append(login, Entry("read", f"a{n}", noun="residents", feature=str(uuid4())))
                else:
                    with db.translated(), web.begin() as connection:
                        bound(connection, actor=f"a{n}")
                        part(connection)
        except BaseException as error:
            failed.append(error)

    def verify() -> None:
        try:
            while not done.is_set():
                found, known = trail.verified(live_engine, tmp_path)
                assert found.whole, found
                assert known.broken is None
                looks.append(found.rows)
        except BaseException as error:
            failed.append(error)

    looks: list[int] = []
    writers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    looker = threading.Thread(target=verify)
    for thread in (looker, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    looker.join()
    assert failed == []
    assert looks == sorted(looks) and len(set(looks)) > 1
    told = told_since(live_engine, before)
    assert [row.id for row in told] == list(range(before + 1, before + 8 * each + 1))
    assert {row.actor: sum(row.actor == other.actor for other in told) for row in told} == {f"a{n}": each for n in range(8)}
    found, _ = trail.verified(live_engine, tmp_path)
    assert found.whole


# Tampering


@pytest.fixture(scope="module")
def chained(address: Address, databases: Databases, peopled: str) -> Iterator[tuple[sa.Engine, list[Head]]]:
    """A chain of `LENGTH` rows, with its heads as they were at some of them, the last included."""
    made = db.engine(address.url(database=databases(peopled)), pool=2)
    heads: list[Head] = []
    while (end := last(made)) < LENGTH:
        action, noun = (("read", "residents"), ("refused", ""), ("unmask", "residents"))[end % 3]
        trail.append(made, Entry(action, f"网格员{end % 7}", "grid_worker@990101", noun, str(uuid4()), town.A, "上门\\“服务”\n", origin="10.0.0.1"))
        if end + 1 in (LENGTH // 3, LENGTH * 2 // 3, LENGTH):
            with made.begin() as connection:
                _, head = trail.head(connection) or ("", Head(0, b""))
            heads.append(head)
    yield made, heads
    made.dispose()


def rechained(connection: sa.Connection, first: int, final: int | None = None) -> None:
    """Rows from `first` to `final` hashed anew, each upon the one before it, as somebody who knows how would."""
    connection.execute(
        sa.text(
            "SELECT relinked(number) FROM generate_series(CAST(:first AS bigint), coalesce(CAST(:final AS bigint), (SELECT max(id) FROM trail)))"
            " AS number"
        ),
        {"first": first, "final": final},
    )


RELINKED = """
CREATE OR REPLACE FUNCTION relinked(number bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trail SET previous = coalesce((SELECT hash FROM trail WHERE id < number ORDER BY id DESC LIMIT 1), '\\x') WHERE id = number;
    UPDATE trail SET hash = trail_due(id, previous, at, actor, acting_as, action, noun, feature, scope, purpose, result, origin)
    WHERE id = number;
END $$
"""


def renumbered(connection: sa.Connection, first: int, by: int) -> None:
    """All rows from `first` on further down, or up."""
    run = connection.exec_driver_sql
    run(f"UPDATE trail SET id = -id - 1000000 WHERE id >= {first}")
    run(f"UPDATE trail SET id = -id - 1000000 + {by} WHERE id < -900000")


def forged(connection: sa.Connection, id: int, well: bool, at: str = "now()") -> None:
    """A row that never was, at `id`; well made, it hangs on the one before it and proves its place."""
    connection.exec_driver_sql(
        "INSERT INTO trail (id, at, actor, action, noun, result, previous, hash)"
        f" VALUES ({id}, {at}, 'forged', 'read', 'residents', 'done', sha256('x'), sha256('{id}'))"
    )
    if well:
        rechained(connection, id, id)


def swapped(connection: sa.Connection, one: int, other: int) -> None:
    run = connection.exec_driver_sql
    run(f"UPDATE trail SET id = -999999 WHERE id = {one}")
    run(f"UPDATE trail SET id = {one} WHERE id = {other}")
    run(f"UPDATE trail SET id = {other} WHERE id = -999999")


TEXTS = ("actor", "acting_as", "action", "noun", "feature", "scope", "purpose", "result", "origin")
Expected = tuple[Kind, Callable[[Fault], bool]]


def exactly(kind: Kind, id: int, until: int | None = None) -> Expected:
    return kind, lambda fault: (fault.id, fault.until) == (id, id if until is None else until)


def between(kind: Kind, id: int) -> Expected:
    return kind, lambda fault: fault.id <= id <= fault.until


def edited(connection: sa.Connection, pick: random.Random) -> Expected:
    id = pick.randint(1, LENGTH)
    columns: Mapping[str, str] = {
        **{name: f"{name} || 'x'" for name in TEXTS}, "at": "at + interval '1 us'", "previous": "sha256(previous)", "hash": "sha256(hash)",
        "actor": "''", "origin": "reverse(origin) || '!'", "noun": "'parts '", "feature": "'x'",
    }  # fmt: skip
    column = pick.choice(list(columns))
    connection.exec_driver_sql(f"UPDATE trail SET {column} = {columns[column]} WHERE id = {id}")
    return exactly(Kind.CHANGED, id)


def edited_and_hashed(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(2, LENGTH - 3)
    final = pick.randint(first, min(first + 3, LENGTH - 2))
    connection.exec_driver_sql(f"UPDATE trail SET actor = actor || '!' WHERE id = {first}")
    rechained(connection, first, final)
    # Where the forgery ends is told exactly: the row after it hangs on the row that was.
    return exactly(Kind.CHANGED, final)


def all_edited(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(1, LENGTH)
    connection.exec_driver_sql(f"UPDATE trail SET origin = origin || '0' WHERE id >= {first}")
    return exactly(Kind.CHANGED, first)


def deleted(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(1, LENGTH - 4)
    final = first + pick.randint(0, 3)
    connection.exec_driver_sql(f"DELETE FROM trail WHERE id BETWEEN {first} AND {final}")
    return exactly(Kind.REMOVED, first, final)


def deleted_and_closed_up(connection: sa.Connection, pick: random.Random) -> Expected:
    expected = deleted(connection, pick)
    first = next(id for id in range(1, LENGTH) if expected[1](Fault(id, id, Kind.REMOVED)) or any(expected[1](Fault(id, id + n, Kind.REMOVED)) for n in range(4)))
    size = next(n for n in range(4) if expected[1](Fault(first, first + n, Kind.REMOVED))) + 1
    renumbered(connection, first + size, -size)
    return expected


def put_in(connection: sa.Connection, pick: random.Random) -> Expected:
    id = pick.randint(1, LENGTH)
    renumbered(connection, id, 1)
    forged(connection, id, well=pick.random() < 0.5)
    return exactly(Kind.INSERTED, id)


def put_before(connection: sa.Connection, pick: random.Random) -> Expected:
    forged(connection, id := -pick.randint(0, 5), well=pick.random() < 0.5)
    return exactly(Kind.INSERTED, id)


def put_behind(connection: sa.Connection, pick: random.Random) -> Expected:
    forged(connection, LENGTH + 1, well=False)
    return exactly(Kind.CHANGED, LENGTH + 1)


def rows_swapped(connection: sa.Connection, pick: random.Random) -> Expected:
    one, other = sorted(pick.sample(range(1, LENGTH + 1), 2))
    swapped(connection, one, other)
    return exactly(Kind.REORDERED, one)


def neighbours_swapped(connection: sa.Connection, pick: random.Random) -> Expected:
    one = pick.randint(1, LENGTH - 1)
    swapped(connection, one, one + 1)
    return exactly(Kind.REORDERED, one)


def turned_round(connection: sa.Connection, pick: random.Random) -> Expected:
    one, two, three = sorted(pick.sample(range(1, LENGTH + 1), 3))
    swapped(connection, one, two)
    swapped(connection, one, three)
    # Neighbours that moved together are told together.
    return Kind.REORDERED, lambda fault: fault.id == one


def moved_away(connection: sa.Connection, pick: random.Random) -> Expected:
    id, to = pick.randint(1, LENGTH - 1), pick.choice([-3, 0, LENGTH + 1, LENGTH + 40])
    connection.exec_driver_sql(f"UPDATE trail SET id = {to} WHERE id = {id}")
    return exactly(Kind.REORDERED, id)


def contents_swapped(connection: sa.Connection, pick: random.Random) -> Expected:
    one, other = sorted(pick.sample(range(1, LENGTH + 1), 2))
    names = "at, actor, acting_as, action, noun, feature, scope, purpose, result, origin"
    connection.exec_driver_sql(
        f"UPDATE trail AS t SET ({names}) = (SELECT {names} FROM trail AS o WHERE o.id = {one} + {other} - t.id) WHERE id IN ({one}, {other})"
    )
    return exactly(Kind.CHANGED, one)


def tail_cut(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(1, LENGTH)
    connection.exec_driver_sql(f"DELETE FROM trail WHERE id >= {first}")
    return exactly(Kind.CUT, first, LENGTH)


def rewritten(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(1, LENGTH)
    change = pick.choice(["actor = actor || '!'", "at = at - interval '1 h'", "feature = ''", "result = 'denied'"])
    connection.exec_driver_sql(f"UPDATE trail SET {change} WHERE id = {first}")
    rechained(connection, first)
    return between(Kind.REWRITTEN, first)


def tail_cut_and_written_on(connection: sa.Connection, pick: random.Random) -> Expected:
    first = pick.randint(1, LENGTH)
    connection.exec_driver_sql(f"DELETE FROM trail WHERE id >= {first}")
    for _ in range(first, LENGTH + 3):
        connection.exec_driver_sql("SELECT trail_appended('a', '', 'read', '', '', '', '', 'done', '')")
    return between(Kind.REWRITTEN, first)


def backdated(connection: sa.Connection, pick: random.Random) -> Expected:
    forged(connection, LENGTH + 1, well=True, at=f"now() - interval '{pick.randint(2, 10**6)} s'")
    if pick.random() < 0.5:
        connection.exec_driver_sql("SELECT trail_appended('a', '', 'read', '', '', '', '', 'done', '')")
    return exactly(Kind.BACKDATED, LENGTH + 1)


TAMPERINGS = (
    edited, edited, edited_and_hashed, all_edited, deleted, deleted_and_closed_up, put_in, put_before, put_behind, rows_swapped,
    neighbours_swapped, turned_round, moved_away, contents_swapped, tail_cut, rewritten, tail_cut_and_written_on, backdated,
)  # fmt: skip
# Which kinds may come along with which: a forgery with new hashes in it also contradicts a head that lies there.
BESIDE = {Kind.CHANGED: {Kind.REWRITTEN}, Kind.REWRITTEN: {Kind.BACKDATED}}


def tampered(chained: tuple[sa.Engine, list[Head]], seed: int, aside: Path | None = None) -> None:
    """One tampering by a superuser with every trigger off: found, of its kind, at its place, and nothing else."""
    engine, heads = chained
    pick = random.Random(seed)
    how = TAMPERINGS[seed % len(TAMPERINGS)]
    with engine.connect() as connection:
        outer = connection.begin()
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(RELINKED)
        kind, right = how(connection, pick)
        found = trail.verify(connection, heads)
        faults = {fault.kind: fault for fault in found.faults}
        assert kind in faults and right(faults[kind]), (seed, how.__name__, found.faults)
        assert set(faults) - {kind} <= BESIDE.get(kind, set()), (seed, how.__name__, found.faults)
        if kind not in (Kind.CUT, Kind.REWRITTEN, Kind.BACKDATED):
            # PostgreSQL by itself sees all that needs no head.
            assert connection.scalar(sa.text("SELECT trail_broken()")) is not None, (seed, how.__name__)
        outer.rollback()


@pytest.mark.parametrize("seed", range(0, 216, 36))
def test_tampering_by_a_superuser_is_found_at_its_place(chained: tuple[sa.Engine, list[Head]], seed: int) -> None:
    for each in range(seed, seed + 36):
        tampered(chained, each)


@pytest.mark.long
def test_ten_thousand_tamperings_are_found_at_their_places(chained: tuple[sa.Engine, list[Head]]) -> None:
    for seed in range(1_000, 11_000):
        tampered(chained, seed)


def test_an_honest_chain_raises_no_alarm(chained: tuple[sa.Engine, list[Head]]) -> None:
    engine, heads = chained
    with trail.looking(engine) as connection:
        found = trail.verify(connection, heads)
        assert found.whole and found.rows == LENGTH
        assert connection.scalar(sa.text("SELECT trail_broken()")) is None
        assert found.head is not None and (found.head.id, found.head.hash) == (heads[-1].id, heads[-1].hash)


@pytest.mark.parametrize("seed", range(4))
def test_two_tamperings_do_not_hide_each_other(chained: tuple[sa.Engine, list[Head]], seed: int) -> None:
    engine, heads = chained
    pick = random.Random(seed)
    met = 0
    with engine.connect() as connection:
        outer = connection.begin()
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(RELINKED)
        for _ in range(20):
            stage = connection.begin_nested()
            try:
                for how in pick.sample(TAMPERINGS, 2):
                    how(connection, pick)
            except sa.exc.IntegrityError:
                pass  # the second would have put a row where the first had one
            else:
                met += 1
                assert not trail.verify(connection, heads).whole
            stage.rollback()
        outer.rollback()
    assert met > 10


def test_an_exported_chain_tells_the_same_without_a_database(
    chained: tuple[sa.Engine, list[Head]], databases: Databases, address: Address, tmp_path: Path
) -> None:
    engine, heads = chained
    engine.dispose()  # a database in use cannot be cloned
    copy = db.engine(address.url(database=databases(str(engine.url.database))), pool=1)
    file = tmp_path / "trail"
    assert trail.export(copy, file) == LENGTH
    found, _ = trail.verified_file(file, more=heads)
    assert found.whole and found.rows == LENGTH
    with copy.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE honest AS SELECT * FROM trail")
        connection.exec_driver_sql(RELINKED)
    for how in (edited, deleted, put_in, rows_swapped, rewritten, tail_cut):
        with copy.begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("DELETE FROM trail; INSERT INTO trail SELECT * FROM honest")
            how(connection, random.Random(7))
        trail.export(copy, file)
        with trail.looking(copy) as connection:
            told = trail.verify(connection, heads)
        assert not told.whole
        assert trail.verified_file(file, more=heads)[0] == told
    copy.dispose()


def test_an_exported_chain_that_was_cut_or_lengthened_is_no_chain(chained: tuple[sa.Engine, list[Head]], tmp_path: Path) -> None:
    file = tmp_path / "trail"
    trail.export(chained[0], file)
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == LENGTH + 2
    for content in (lines[:-1], lines[:-9], [*lines[:-3], lines[-1]], [*lines, lines[-1]], lines[1:], [], [b"PK\3\4\n"], [*lines[:5], b"x\n"]):
        file.write_bytes(b"".join(content))
        with pytest.raises(Invalid):
            trail.verified_file(file)
    for text in (b"[1]", b'[1, "x"]', b'[1, "5", "prune"]', b'[1, "5", {"prune": "prune"}, 0, "prune"]'):
        row = b" %b %b\n" % (chain.digest("sha256")(text).hex().encode(), text)
        file.write_bytes(lines[0] + row + b'{"rows": 1}\n')
        with pytest.raises(Invalid):
            trail.verified_file(file)


def test_the_check_that_the_auditor_page_shows_is_one(chained: tuple[sa.Engine, list[Head]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "howto" / "auditor.md").read_text(encoding="utf-8")
    check = page.split("```python\n")[1].split("```")[0]
    file = tmp_path / "trail.txt"
    trail.export(chained[0], file)
    names: dict[str, Any] = {}
    exec(check, names)
    assert names["before"].decode() == chained[1][-1].hash.hex()
    file.write_bytes(file.read_bytes().replace(b'"read"', b'"write"', 1))
    with pytest.raises(AssertionError):
        exec(check, {})


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), min_size=8, max_size=8))
def test_what_is_hashed_is_plain_json(connection: sa.Connection, texts: list[str]) -> None:
    # So that anybody can check a chain, with any language that knows JSON.
    stage = connection.begin_nested()
    entry = Entry("read", *texts)
    id = trail.run(connection, "trail_append", **vars(entry)).scalar_one()
    row = next(row for row in list(trail._rows(connection)) if row.id == id)
    at = connection.scalar(sa.text("SELECT extract(epoch FROM at)::text FROM trail WHERE id = :id"), {"id": id})
    rest = [entry.actor, entry.acting_as, entry.action, entry.noun, entry.feature, entry.scope, entry.purpose, entry.result, entry.origin]
    assert row.text == json.dumps([id, at, *rest], ensure_ascii=False).encode()
    assert row.hash == chain.digest("sha256")(row.previous + row.text)
    stage.rollback()


def test_a_clock_that_is_put_back_is_written_down(live_engine: sa.Engine) -> None:
    before = last(live_engine)
    with live_engine.begin() as connection:
        # A row from when the clock was an hour ahead.
        connection.execute(
            sa.text("SELECT trail_linked(id + 1, hash, now() + interval '1 h', 'a', '', 'read', '', '', '', '', 'done', '') FROM trail_head()")
        )
    trail.append(live_engine, Entry("read", "b"))
    trail.append(live_engine, Entry("read", "c"))
    told = told_since(live_engine, before)
    assert [(row.actor, row.action) for row in told] == [("a", "read"), ("jingwei", "clock"), ("b", "read"), ("c", "read")]
    assert -3600.0 <= float(told[1].result.split()[0]) < -3590
    with trail.looking(live_engine) as connection:
        assert trail.verify(connection).whole


# How long it is kept


def aged(connection: sa.Connection, *days: float) -> None:
    """Rows that are so many days old, appended as if they had been written then."""
    for age in days:
        connection.execute(
            sa.text(
                "SELECT trail_linked(coalesce((SELECT id FROM trail_head()), 0) + 1, coalesce((SELECT hash FROM trail_head()), '\\x'),"
                " now() - make_interval(secs => :age * 86400.0), 'a', '', 'read', 'residents', '', '', '', 'done', '')"
            ),
            {"age": age},
        )


@pytest.fixture
def old(connection: sa.Connection) -> sa.Connection:
    """A trail of ten rows, eight of them old enough to go, in a transaction that is never committed."""
    with_role = "SET LOCAL session_replication_role = {}".format
    connection.exec_driver_sql(with_role("replica"))
    connection.exec_driver_sql("DELETE FROM trail")
    aged(connection, 300, 250, 200, 199, 190, 185, 184, 183.01, 182.99, 1)
    connection.exec_driver_sql(with_role("origin"))
    return connection


def test_only_rows_that_are_old_enough_go_and_the_chain_goes_on(old: sa.Connection) -> None:
    heads = [Head(i, h, a) for i, h, a in old.execute(sa.text("SELECT id, hash, at FROM trail"))]
    assert trail.prune(old) == 8
    assert old.execute(sa.text("SELECT id, action FROM trail ORDER BY id")).all() == [(9, "read"), (10, "read"), (11, "clock"), (12, "prune")] or (
        old.execute(sa.text("SELECT id, action FROM trail ORDER BY id")).all() == [(9, "read"), (10, "read"), (11, "prune")]
    )
    cut = old.execute(sa.text("SELECT until, hash, rows FROM trail_cuts")).one()
    assert (cut.until, bytes(cut.hash), cut.rows) == (8, heads[7].hash, 8)
    found = trail.verify(old, heads)
    assert found.whole and found.rows == 3
    assert old.scalar(sa.text("SELECT trail_broken()")) is None
    assert trail.prune(old) == 0


@pytest.mark.parametrize(("days", "goes"), [(183, 8), (188, 5), (365, 0)])
def test_a_term_may_be_longer(old: sa.Connection, days: int, goes: int) -> None:
    old.execute(sa.text("UPDATE instance SET trail_days = :days"), {"days": days})
    assert trail.prune(old) == goes
    assert trail.verify(old).whole


@pytest.mark.parametrize("days", [182, 0, -1, None])
def test_a_term_is_never_shorter(connection: sa.Connection, days: int | None) -> None:
    with pytest.raises(Invalid), db.translated(), connection.begin_nested():
        connection.execute(sa.text("UPDATE instance SET trail_days = :days"), {"days": days})


def test_an_old_row_behind_a_young_one_stays(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    connection.exec_driver_sql("DELETE FROM trail")
    aged(connection, 200, 100, 200)
    connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
    assert trail.prune(connection) == 1


REFUSED = {
    "a young row": "DELETE FROM trail WHERE id = 9",
    "an old row without a cut": "DELETE FROM trail WHERE id = 1",
    "all": "DELETE FROM trail",
    "emptied": "TRUNCATE trail",
    "emptied with others": "TRUNCATE instance, trail CASCADE",
    "changed": "UPDATE trail SET actor = 'x'",
    "changed, none of it": "UPDATE trail SET actor = 'x' WHERE false",
    "a cut over young rows": "INSERT INTO trail_cuts (until, hash, rows) SELECT id, hash, 9 FROM trail WHERE id = 9",
    "a cut of another hash": "INSERT INTO trail_cuts (until, hash, rows) VALUES (3, 'x', 3)",
    "a cut beyond the end": "INSERT INTO trail_cuts (until, hash, rows) VALUES (99, 'x', 99)",
    "a changed cut": "UPDATE trail_cuts SET until = 10",
    "no cut": "DELETE FROM trail_cuts",
    "cuts emptied": "TRUNCATE trail_cuts",
}


@pytest.mark.parametrize("role", ["jingwei_admin", "jingwei_owner", "jingwei_definer"])
@pytest.mark.parametrize("what", REFUSED)
def test_the_trail_is_kept_from_whoever_asks(old: sa.Connection, what: str, role: str) -> None:
    with pytest.raises(Forbidden), db.translated(), old.begin_nested():
        old.exec_driver_sql(f"SET LOCAL ROLE {role}")
        old.exec_driver_sql(REFUSED[what])
    assert old.scalar(sa.text("SELECT count(*) FROM trail")) == 10


@pytest.mark.parametrize("login", ["jingwei_trail", "jingwei_web", "jingwei_loader"])
def test_a_login_has_no_right_to_alter_the_trail(connection: sa.Connection, login: str) -> None:
    for statement in (*REFUSED.values(), "SELECT trail_pruned()", "SELECT trail_linked(1, '', now(), '', '', '', '', '', '', '', '', '')"):
        with pytest.raises(Forbidden), db.translated(), connection.begin_nested():
            connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {login}")
            connection.exec_driver_sql(statement)


def test_a_cut_that_was_none_is_found(old: sa.Connection) -> None:
    heads = [Head(i, h, a) for i, h, a in old.execute(sa.text("SELECT id, hash, at FROM trail"))]
    assert trail.prune(old) == 8
    old.exec_driver_sql("SET LOCAL session_replication_role = replica")
    stage = old.begin_nested()
    old.exec_driver_sql("DELETE FROM trail_cuts")
    assert trail.verify(old).faults == (Fault(1, 8, Kind.REMOVED),)
    stage.rollback()
    stage = old.begin_nested()
    old.exec_driver_sql("UPDATE trail_cuts SET until = 9; DELETE FROM trail WHERE id = 9")
    assert Fault(1, 9, Kind.PRUNED) in trail.verify(old).faults
    stage.rollback()
    # With everything that honest pruning leaves, and hashed as it should be: only the heads know that row 9 was young.
    old.exec_driver_sql("INSERT INTO trail_cuts (until, hash, rows) SELECT id, hash, 1 FROM trail WHERE id = 9; DELETE FROM trail WHERE id = 9")
    old.execute(
        sa.text("SELECT trail_appended('jingwei_admin', '', 'prune', 'trail', '9', '', '', :hash, '')"), {"hash": heads[8].hash.hex()}
    )
    assert trail.verify(old).whole
    assert trail.verify(old, heads).faults == (Fault(9, 9, Kind.PRUNED),)


# Nothing personal


def test_destroying_a_person_leaves_the_chain_whole_and_nothing_of_them(live_engine: sa.Engine, tmp_path: Path) -> None:
    residents = RESOURCES["residents"]
    before = last(live_engine)
    with live_engine.begin() as connection:
        id = town.add(connection, "residents", name="只此一人甲", code="R-777-只此")
        connection.execute(sa.text("UPDATE residents SET name = '只此一人乙' WHERE id = :id"), {"id": id})
    trail.append(live_engine, Entry("unmask", "grid-7", noun="residents", feature=str(id), purpose="visit"))
    with live_engine.begin() as connection:
        retention.destroy(connection, tmp_path, residents, [id])
        told = "".join(str(row) for row in connection.execute(TOLD, {"id": before}))
    assert "只此" not in told and "R-777" not in told
    assert [row.action for row in told_since(live_engine, before) if row.feature == str(id)] == ["add", "change", "unmask", "destroy"]
    with trail.looking(live_engine) as connection:
        assert trail.verify(connection).whole


def test_destroying_a_field_is_told_as_destruction(live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        id = town.add(connection, "incidents", address="只此一处 7 号")
    before = last(live_engine)
    with live_engine.begin() as connection:
        connection.execute(sa.text("SELECT fields_struck('incidents', ARRAY['address'], ARRAY[CAST(:id AS uuid)])"), {"id": id})
    assert [(row.action, row.feature) for row in told_since(live_engine, before)] == [("destroy", str(id))]


# SM3


SM3 = ("abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")  # GB/T 32905-2016, A.1


@pytest.fixture
def unbegun(live_engine: sa.Engine) -> sa.Engine:
    """A database whose trail has no row yet."""
    with live_engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("DELETE FROM trail")
    return live_engine


def test_a_chain_by_sm3(unbegun: sa.Engine, tmp_path: Path) -> None:
    with unbegun.begin() as connection:
        trail.hashed(connection, "sm3")
    with unbegun.begin() as connection:
        assert connection.scalar(sa.text("SELECT encode(trail_digest(convert_to(:text, 'UTF8')), 'hex')"), {"text": SM3[0]}) == SM3[1]
        for size in (0, 1, 55, 56, 63, 64, 65, 119, 1000):
            content = random.Random(size).randbytes(size)
            plain = hashes.Hash(hashes.SM3())
            plain.update(content)
            due = plain.finalize()
            assert connection.scalar(sa.text("SELECT trail_digest(:content)"), {"content": content}) == due == chain.digest("sm3")(content)
    for n in range(20):
        trail.append(unbegun, Entry("read", f"a{n}"))
    found, _ = trail.verified(unbegun, tmp_path)
    assert found.whole and found.rows == 21  # the choice itself is the first
    trail.export(unbegun, tmp_path / "trail")
    assert trail.verified_file(tmp_path / "trail")[0] == found
    with unbegun.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("UPDATE trail SET actor = 'x' WHERE id = 7")
    with trail.looking(unbegun) as connection:
        assert trail.verify(connection).faults == (Fault(7, 7, Kind.CHANGED),)
    # After a restore of our schema alone the extension is missing, and migrating brings it.
    with unbegun.begin() as connection:
        connection.exec_driver_sql("DROP EXTENSION pgcrypto")
    with serial(), unbegun.begin() as connection:
        schema.rules(connection)
    trail.append(unbegun, Entry("read", "b"))


@pytest.mark.parametrize("algorithm", ["sha256", "sm3"])
def test_the_hash_is_chosen_before_the_first_row(live_engine: sa.Engine, algorithm: str) -> None:
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE instance SET name = name"))
    if algorithm == "sha256":  # what it is already
        with live_engine.begin() as connection:
            trail.hashed(connection, algorithm)
        return
    with pytest.raises(Invalid) as refused, db.translated(), live_engine.begin() as connection:
        trail.hashed(connection, algorithm)
    assert refused.value.facts["rule"] == "instance_trail_begun_check"
    assert "留痕已经开始" in refused.value.sentence


def test_a_server_without_sm3_says_so(unbegun: sa.Engine) -> None:
    # What pgcrypto says where OpenSSL has no such algorithm; there is one here that it does not have.
    with unbegun.begin() as connection:
        with pytest.raises(Unavailable) as refused:
            trail.hashed(connection, "sm33")
        assert "SM33" in str(refused.value) and "SHA-256" in str(refused.value)
    with pytest.raises(Invalid), db.translated(), unbegun.begin() as connection:
        connection.exec_driver_sql("UPDATE instance SET trail_hash = 'md5'")


# Anchors


INSTANCE = "01900000-0000-7000-8000-000000000001"


def head(id: int) -> Head:
    return Head(id, bytes([id]) * 32, datetime(2026, 3, 5, 8, id, tzinfo=UTC))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with three anchors."""
    for id in (1, 2, 3):
        assert anchors.append(tmp_path, INSTANCE, head(id))
    return tmp_path


def test_anchors_are_read_as_they_were_written(home: Path) -> None:
    assert not anchors.append(home, INSTANCE, head(3))  # told already
    assert anchors.append(home, "another", head(9))
    assert anchors.append(home, INSTANCE, head(4))
    assert anchors.read(home, INSTANCE).heads == tuple(map(head, (1, 2, 3, 4)))
    assert anchors.read(home, "another").heads == (head(9),)
    assert (anchor_key_path(home).stat().st_mode & 0o777, len(anchor_key_path(home).read_bytes())) == (0o600, 32)
    assert anchors.read(home / "nowhere", INSTANCE) == anchors.Anchors()


@pytest.mark.parametrize(
    ("how", "broken", "left"),
    [
        (lambda lines: [lines[0].replace(b'"id": 1', b'"id": 7'), *lines[1:]], 1, 0),
        (lambda lines: [lines[0], lines[2]], 2, 1),
        (lambda lines: [lines[1], lines[0], lines[2]], 1, 0),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2, 1),
        (lambda lines: [*lines[:2], b"nonsense\n", lines[2]], 3, 2),
        (lambda lines: [*lines, b"[]\n"], 4, 3),
        (lambda lines: [*lines, b'{"mac": 5}\n'], 4, 3),
        (lambda lines: lines[1:], 1, 0),
    ],
)
def test_an_altered_anchor_is_found(home: Path, how: Callable[[list[bytes]], list[bytes]], broken: int, left: int) -> None:
    place = anchors.path(home)
    place.write_bytes(b"".join(how(place.read_bytes().splitlines(keepends=True))))
    known = anchors.read(home, INSTANCE)
    assert (known.broken, len(known.heads)) == (broken, left)


def test_anchors_of_another_key_are_not_ours(home: Path) -> None:
    anchor_key_path(home).write_bytes(b"x" * 32)
    assert anchors.read(home, INSTANCE).broken == 1
    anchor_key_path(home).write_bytes(b"short")
    with pytest.raises(Unavailable):
        anchors.read(home, INSTANCE)


def test_a_line_that_a_power_cut_tore_is_written_over(home: Path) -> None:
    place = anchors.path(home)
    with place.open("ab") as file:
        file.write(place.read_bytes().splitlines()[0][:40])
    assert anchors.read(home, INSTANCE).heads == tuple(map(head, (1, 2, 3)))
    assert anchors.append(home, INSTANCE, head(4))
    assert anchors.read(home, INSTANCE).heads == tuple(map(head, (1, 2, 3, 4)))


def test_anchors_that_cannot_be_written_are_told(home: Path) -> None:
    anchors.path(home).unlink()
    anchors.path(home).mkdir()
    with pytest.raises(Unavailable):
        anchors.append(home, INSTANCE, head(4))
    with pytest.raises(Unavailable):
        anchors.read(home, INSTANCE)


def test_a_verified_chain_is_anchored_and_a_broken_one_is_not(live_engine: sa.Engine, tmp_path: Path) -> None:
    found, known = trail.verified(live_engine, tmp_path)
    assert found.whole and known.heads == ()
    trail.append(live_engine, Entry("read", "a"))
    found, known = trail.verified(live_engine, tmp_path)
    assert found.whole and len(known.heads) == 1
    with live_engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("DELETE FROM trail WHERE id = (SELECT max(id) FROM trail)")
    for _ in range(2):
        found, known = trail.verified(live_engine, tmp_path)
        assert [fault.kind for fault in found.faults] == [Kind.CUT]
        assert len(known.heads) == 2


def test_after_a_return_to_a_backup_one_goes_on_and_it_is_told_for_ever(live_engine: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        trail.resume(live_engine, tmp_path, "no reason at all", "a")
    trail.verified(live_engine, tmp_path)
    kept = last(live_engine)
    for _ in range(3):
        trail.append(live_engine, Entry("read", "a"))
        trail.verified(live_engine, tmp_path)
    with live_engine.begin() as connection:  # the backup knows nothing of the last three
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(sa.text("DELETE FROM trail WHERE id > :kept"), {"kept": kept})
    trail.append(live_engine, Entry("read", "written before anybody noticed"))
    assert not trail.verified(live_engine, tmp_path)[0].whole
    assert trail.resume(live_engine, tmp_path, "磁盘坏了,恢复到昨夜的备份", "a").id == kept
    for _ in range(2):
        found, known = trail.verified(live_engine, tmp_path)
        assert found.whole and [told["reason"] for told in known.resumed] == ["磁盘坏了,恢复到昨夜的备份"]
    assert [(row.action, row.result) for row in told_since(live_engine, kept + 1)] == [("resume", f"{kept + 1}–{kept + 3}")]


def test_the_worker_anchors_on_its_own_login(live: Address, web: sa.Engine, live_engine: sa.Engine, tmp_path: Path) -> None:
    assert trail.anchored(web, tmp_path)
    assert not trail.anchored(web, tmp_path)
    with live_engine.begin() as connection:
        instance = connection.scalar(sa.text("SELECT id::text FROM instance"))
        end = connection.execute(sa.text("SELECT id, hash, at FROM trail ORDER BY id DESC LIMIT 1")).one()
    assert anchors.read(tmp_path, instance).heads == (Head(end.id, bytes(end.hash), end.at),)


# Reading it


def appointment(connection: sa.Connection, role: str, *areas: str) -> dict[str, str]:
    """What the web server says of a caller of a role, with an account of their own."""
    id = town.post(connection, f"test-{uuid4().hex[:8]}", role, *areas)
    account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": id})
    return {"appointment": str(id), "account": str(account), "scopes": ",".join(areas)}


def test_who_audits_reads_the_trail_and_nobody_else(web: sa.Engine, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        roles = ("grid_worker", "street", "system_admin", "security_admin", "audit_admin")
        callers = {role: appointment(connection, role, *([town.PREFIX] if ROLES[role].scoped else [])) for role in roles}
    for caller in ({}, *(callers[role] for role in roles[:-1])):
        with pytest.raises(Forbidden), db.translated(), web.begin() as connection:
            bound(connection, **caller)
            trail.page(connection, Wanted())
    with web.begin() as connection:
        bound(connection, **callers["audit_admin"])
        assert trail.page(connection, Wanted())[0].id == last(live_engine)


def test_the_trail_is_paged_from_its_end(live_engine: sa.Engine) -> None:
    for n in range(7):
        trail.append(live_engine, Entry("read" if n % 2 else "export", f"a{n % 3}", noun="residents", feature=f"f{n}", scope=(town.A, town.B)[n % 2]))
    seen: list[int] = []
    with live_engine.begin() as connection:
        while lines := trail.page(connection, Wanted(before=seen[-1] if seen else None, most=4)):
            seen += [line.id for line in lines]
        assert seen == list(range(last(live_engine), 0, -1))
        now = connection.scalar(sa.text("SELECT now()"))
        for wanted, count in (
            (Wanted(actor="a0"), 3), (Wanted(action="export"), 4), (Wanted(noun="residents", action="read"), 3),
            (Wanted(feature="f3"), 1), (Wanted(scope=town.B, noun="residents"), 3), (Wanted(scope=town.PREFIX, noun="residents"), 7),
            (Wanted(since=now), 0), (Wanted(until=now, noun="residents"), 7), (Wanted(feature="' OR true --"), 0),
        ):  # fmt: skip
            assert len(trail.page(connection, wanted)) == count, wanted


def test_who_audits_a_part_sees_that_part(web: sa.Engine, live_engine: sa.Engine) -> None:
    for scope in (town.A, town.C, ""):
        trail.append(live_engine, Entry("read", "a", noun="residents", scope=scope))
    with live_engine.begin() as connection:
        auditor = appointment(connection, "audit_admin")
    with web.begin() as connection:
        bound(connection, **auditor)
        assert [line.scope for line in trail.page(connection, Wanted(noun="residents"))] == ["", town.C, town.A]
    with web.begin() as connection:
        bound(connection, **auditor | {"scopes": town.A[:12]})
        assert [line.scope for line in trail.page(connection, Wanted(noun="residents"))] == [town.A]


# A million


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["sha256", "sm3"])
def test_a_million_rows_are_verified(unbegun: sa.Engine, tmp_path: Path, algorithm: str) -> None:
    with unbegun.begin() as connection:
        trail.hashed(connection, algorithm)
    with unbegun.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(
            "SELECT count(trail_appended('grid-' || mod(n, 300), 'grid_worker@990101', 'read', 'residents', uuid_v7()::text, '990101', 'visit',"
            " 'done', '10.0.0.1')) FROM generate_series(1, 1000000) AS n"
        )
    found, _ = trail.verified(unbegun, tmp_path)
    assert found.whole and found.rows >= 1_000_000
    pick = random.Random(1)
    for _ in range(3):
        victim = pick.randint(1, found.rows)
        for statement, fault in (
            ("UPDATE trail SET purpose = 'audit' WHERE id = {}", Fault(victim, victim, Kind.CHANGED)),
            ("DELETE FROM trail WHERE id = {}", Fault(victim, victim, Kind.REMOVED)),
        ):
            with unbegun.connect() as connection:
                outer = connection.begin()
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
                connection.exec_driver_sql(statement.format(victim))
                assert trail.verify(connection).faults == (fault,)
                outer.rollback()
