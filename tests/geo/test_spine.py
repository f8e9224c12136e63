"""What everything stands on: who may do what, what is written down, how it ends, and who is told."""

import json
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import db, ends, query, relay, retention, write
from geo.catalog import RESOURCES
from geo.cluster import Address
from geo.db import Caller
from geo.errors import Conflict, Forbidden, Gone, Invalid, NotFound
from geo.keys import FieldKey
from geo.query import Filter
from geo.resource import Audience
from geo.tables import TABLES
from tests import town

PARTS = RESOURCES["parts"]
WEST_SIDE, EAST_SIDE = town.A[:12], town.C[:12]
PUBLIC = Caller()


def area(path: str, actor: str = "tester") -> Caller:
    """Somebody who works for the area of `path`."""
    return Caller(actor, "jingwei_leader", (path,), Audience.LEADER)


# Roles


DENIED = [
    ("jingwei_public", "SELECT reporter_phone_cipher FROM incidents"),
    ("jingwei_public", "SELECT reporter_phone_masked FROM incidents"),
    ("jingwei_public", "SELECT geom FROM incidents"),
    ("jingwei_public", "SELECT extras FROM parts"),
    ("jingwei_public", "SELECT households FROM buildings"),
    ("jingwei_public", "SELECT holder FROM posts"),
    ("jingwei_public", "SELECT count(*) FROM residents"),
    ("jingwei_public", "SELECT count(*) FROM changes"),
    ("jingwei_public", "SELECT count(*) FROM idempotency"),
    ("jingwei_public", "SELECT count(*) FROM trail"),
    ("jingwei_public", "INSERT INTO parts (name) VALUES ('x')"),
    ("jingwei_public", "UPDATE instance SET demo = false"),
    ("jingwei_public", "SELECT replace_points('parts', '', '', NULL, NULL, NULL)"),
    ("jingwei_public", "SELECT rows_destroyed('parts', NULL, false)"),
    ("jingwei_public", "SELECT st_estimatedextent('jingwei', 'incidents', 'geom')"),
    ("jingwei_area", "UPDATE parts SET scope = 'x'"),
    ("jingwei_area", "UPDATE parts SET placement = 1"),
    ("jingwei_area", "UPDATE parts SET version = 1"),
    ("jingwei_area", "DELETE FROM parts"),
    ("jingwei_area", "TRUNCATE parts"),
    ("jingwei_area", "UPDATE changes SET actor = 'x'"),
    ("jingwei_area", "DELETE FROM idempotency"),
    ("jingwei_area", "INSERT INTO area_paths VALUES ('X', 'grid')"),
    ("jingwei_area", "SELECT batch_undone(NULL)"),
    ("jingwei_area", "SELECT relayed()"),
    ("jingwei_area", "CREATE TABLE x ()"),
    ("jingwei_area", "CREATE TABLE public.x ()"),
]


@pytest.mark.parametrize(("role", "statement"), DENIED, ids=[f"{role[8:]}: {statement[:50]}" for role, statement in DENIED])
def test_a_role_may_not(web: Any, role: Any, statement: str) -> None:
    with pytest.raises(Forbidden), db.transaction(web, Caller("tester", role, (town.PREFIX,))) as bound:
        bound.exec_driver_sql(statement)


def test_a_login_without_a_role_may_nothing(connection: sa.Connection) -> None:
    for login in ("jingwei_web", "jingwei_trail"):
        for statement in ("SELECT count(*) FROM parts", "SELECT count(*) FROM areas", "SELECT count(*) FROM trail"):
            with pytest.raises(Forbidden), db.translated(), connection.begin_nested():
                connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {login}")
                connection.exec_driver_sql(statement)


@pytest.mark.parametrize("login", ["jingwei_web", "jingwei_loader", "jingwei_trail"])
@pytest.mark.parametrize("role", ["jingwei_owner", "jingwei_definer", "jingwei_admin", "jingwei_direct", "jingwei_loader"])
def test_nobody_becomes_what_is_above_him(connection: sa.Connection, login: str, role: str) -> None:
    if login == role:
        return
    with pytest.raises(Forbidden), db.translated(), connection.begin_nested():
        connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {login}")
        connection.exec_driver_sql(f"SET ROLE {role}")


def test_a_read_cannot_write(web: Any) -> None:
    with pytest.raises(Forbidden), db.transaction(web, area(town.PREFIX), read_only=True) as bound:
        bound.exec_driver_sql("INSERT INTO parts (name, geom) VALUES ('x', ST_SetSRID(ST_Point(122.605, 29.805), 4326))")


def test_an_area_sees_and_writes_its_own_only(web: Any, connection: sa.Connection, key: FieldKey) -> None:
    west = town.add(connection, "parts", town.point(0.5, 0.5), code="w")
    east = town.add(connection, "parts", town.point(2.5, 0.5), code="e")
    with db.transaction(web, area(WEST_SIDE), read_only=True) as bound:
        page = query.page(bound, PARTS, Filter(), Audience.WORKER)
        assert (str(west) in page.features, str(east) in page.features) == (True, False)
        # That there is such a part everybody may know; it is not theirs.
        with pytest.raises(Forbidden):
            query.one(bound, PARTS, east, area(WEST_SIDE))
    for row in (west, east):
        # A thing may not be pushed over the border either: it would be somebody else's from then on.
        with pytest.raises(Forbidden), db.transaction(web, area(WEST_SIDE)) as bound:
            write.change(bound, PARTS, row, {}, point(2.4, 1), key)
    with pytest.raises(Forbidden), db.transaction(web, area(WEST_SIDE)) as bound:
        write.add(bound, PARTS, {"name": "x"}, point(2.4, 1), key)


def point(x: float, y: float) -> bytes:
    """A point of the town as WKB."""
    import shapely

    return bytes(shapely.to_wkb(shapely.Point(town.at(x, y))))


def test_a_scope_ends_with_its_transaction(live: Address, live_engine: sa.Engine) -> None:
    # On a connection used before, a setting that was never made is '' and not NULL. A prefix policy would show all
    # rows then; a range shows none.
    with live_engine.begin() as connection:
        town.add(connection, "parts")
    web = db.engine(live.url("jingwei_web"), pool=1)
    counted = sa.text("SELECT count(*) FROM parts")
    for _ in ("fresh", "used"):
        with web.begin() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE jingwei_area")
            assert connection.scalar(counted) == 0
        with db.transaction(web, area(town.PREFIX)) as connection:
            assert connection.scalar(counted) == 1
    with web.begin() as connection:
        assert connection.scalar(sa.text("SELECT current_user")) == "jingwei_web"
        assert connection.scalar(sa.text("SHOW transaction_read_only")) == "off"
        for name in ("actor", "acting_as", "lo", "hi"):
            assert connection.scalar(sa.text(f"SELECT current_setting('jingwei.{name}', true)")) == ""
    web.dispose()


def test_plans_are_not_kept_for_another_caller(live_engine: sa.Engine) -> None:
    # A plan made for one street was kept after five runs and took 0.4 s for the next.
    with live_engine.begin() as connection:
        for _ in range(10):
            connection.execute(sa.text("SELECT count(*) FROM parts WHERE scope = :s"), {"s": "x"})
        assert connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_people_with_a_login_of_their_own_are_held_to_their_path(connection: sa.Connection) -> None:
    town.add(connection, "incidents", town.point(0.5, 0.5), number="w")
    town.add(connection, "incidents", town.point(2.5, 0.5), number="e")
    connection.exec_driver_sql("CREATE ROLE test_qgis LOGIN; GRANT jingwei_direct TO test_qgis")
    connection.execute(sa.text("INSERT INTO direct_logins VALUES ('test_qgis', :path)"), {"path": WEST_SIDE})
    connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION test_qgis")
    seen = sa.text("SELECT array_agg(number) FROM incidents")
    assert connection.scalar(seen) == ["w"]
    # Settings are for the server; anybody may make one.
    connection.exec_driver_sql("SELECT set_config('jingwei.lo', '', true), set_config('jingwei.hi', '~', true)")
    connection.exec_driver_sql("SELECT set_config('jingwei.actor', 'somebody else', true)")
    assert connection.scalar(seen) == ["w"]
    added = "INSERT INTO parts (name, geom) VALUES ('x', ST_SetSRID(ST_Point({}, {}), 4326)) RETURNING scope, id"
    made = connection.exec_driver_sql(added.format(*town.at(0.5, 0.5))).one()
    assert made.scope == town.A
    for forbidden in (added.format(*town.at(2.5, 0.5)), "SELECT reporter_phone_cipher FROM incidents", "SELECT count(*) FROM changes"):
        with pytest.raises(Forbidden), db.translated(), connection.begin_nested():
            connection.exec_driver_sql(forbidden)
    connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION DEFAULT")
    assert journal(connection, "parts", made.id)[0].actor == "test_qgis"


def test_only_the_loader_brings_its_own_placement(connection: sa.Connection) -> None:
    brought = (
        "INSERT INTO parts (name, geom, scope, placement) VALUES ('x', ST_SetSRID(ST_Point(122.605, 29.805), 4326), '990101', 7)"
        " RETURNING scope, placement"
    )
    with connection.begin_nested():
        connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION jingwei_loader")
        assert connection.exec_driver_sql(brought).one() == ("990101", 7)
        connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION DEFAULT")
    assert connection.exec_driver_sql(brought).one().scope == town.A


# Changes


def journal(connection: sa.Connection, noun: str, feature: UUID) -> list[Any]:
    """What is written down about a feature, oldest first."""
    return list(
        connection.execute(
            sa.text("SELECT * FROM changes WHERE noun = :noun AND feature = :feature ORDER BY id"), {"noun": noun, "feature": feature}
        )
    )


def test_every_change_is_written_down(web: Any, connection: sa.Connection, key: FieldKey) -> None:
    caller = Caller("grid-7", "jingwei_area", (town.PREFIX,), Audience.WORKER, acting_as="网格员")
    with db.transaction(web, caller) as bound:
        id = write.add(bound, PARTS, {"name": "井盖"}, point(0.5, 0.5), key)
        write.change(bound, PARTS, id, {"name": "路灯"}, None, key)
        write.change(bound, PARTS, id, {}, point(1.5, 0.5), key)
        write.change(bound, PARTS, id, {"name": "路灯"}, None, key)
        write.retire(bound, PARTS, id)
    connection.execute(sa.text("UPDATE parts SET retired_at = NULL WHERE id = :id"), {"id": id})
    told = journal(connection, "parts", id)
    assert [row.operation for row in told] == ["add", "change", "change", "retire", "restore"]
    assert [row.version for row in told] == [1, 2, 3, 4, 5]
    assert {(row.actor, row.acting_as) for row in told[:4]} == {("grid-7", "网格员")}
    assert told[0].patch is None
    assert told[1].patch == {"name": "井盖", "version": 1}
    assert (told[2].scope_before, told[2].scope_after) == (town.A, town.B)
    # The geometry as it was, to the last bit: GeoJSON would round it.
    was = connection.scalar(sa.text("SELECT ST_AsBinary(CAST(:ewkb AS geometry))"), {"ewkb": told[2].patch["geom"]})
    assert bytes(was) == point(0.5, 0.5)
    assert told[0].xid == connection.scalar(sa.text("SELECT pg_current_xact_id()::text"))


@given(st.lists(st.sampled_from(["name", "owner", "move", "retire", "restore"]), min_size=1, max_size=8))
def test_the_journal_leads_back_to_every_version(connection: sa.Connection, steps: list[str]) -> None:
    stage = connection.begin_nested()
    id = town.add(connection, "parts")
    row = sa.text("SELECT to_jsonb(p) - 'geom' || jsonb_build_object('geom', geom::text) FROM parts AS p WHERE id = :id")
    known = [connection.scalar(row, {"id": id})]
    for n, step in enumerate(steps):
        change = {
            "name": f"name = 'n{n}'", "owner": f"owner = 'o{n}'", "retire": "retired_at = now()", "restore": "retired_at = NULL",
            "move": f"geom = ST_Translate(geom, {n} * 0.003, 0)",
        }[step]  # fmt: skip
        connection.execute(sa.text(f"UPDATE parts SET {change} WHERE id = :id"), {"id": id})
        now = connection.scalar(row, {"id": id})
        if now != known[-1]:
            known.append(now)
    patches = [change.patch for change in journal(connection, "parts", id)][1:]
    assert [state["version"] for state in known] == list(range(1, len(known) + 1))
    state = known.pop()
    for patch in reversed(patches):
        state = state | patch
        assert state == known.pop()
    assert known == []
    stage.rollback()


def test_a_move_by_redrawing_is_no_change_by_a_person(connection: sa.Connection) -> None:
    id = town.add(connection, "parts", town.point(1.2, 0.5))
    connection.execute(
        sa.text("UPDATE areas SET geom = ST_Multi(ST_MakeEnvelope(:w, :s, :e, :n, 4326)) WHERE path = :path"),
        dict(zip("wsen", (*town.at(0, 0), *town.at(1.3, 2)), strict=True)) | {"path": town.A},
    )
    last = journal(connection, "parts", id)[-1]
    assert (last.operation, last.scope_before, last.scope_after) == ("place", town.B, town.A)


def test_nothing_is_left_in_the_journal_of_a_batch_but_one_line(connection: sa.Connection) -> None:
    batch, ids = loaded(connection, 5)
    assert connection.scalar(sa.text("SELECT count(*) FROM changes WHERE feature = ANY (:ids)"), {"ids": ids}) == 0
    line = connection.execute(sa.text("SELECT operation, patch FROM changes WHERE batch = :b"), {"b": batch}).one()
    assert tuple(line) == ("batch", {"rows": 5})


def loaded(connection: sa.Connection, count: int) -> tuple[UUID, list[UUID]]:
    """A batch of parts, as the loader leaves it: its id and those of its rows."""
    with connection.begin_nested():
        connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION jingwei_loader")
        batch = connection.scalar(
            sa.text("INSERT INTO batches (noun, source, actor) VALUES ('parts', 'parts.csv', 'tester') RETURNING id")
        )
        ids = connection.scalars(
            sa.text(
                "INSERT INTO parts (name, geom, scope, batch) SELECT 'p' || n, ST_SetSRID(ST_Point(122.605, 29.805), 4326), :scope, :batch"
                " FROM generate_series(1, :count) AS n RETURNING id"
            ),
            {"scope": town.A, "batch": batch, "count": count},
        ).all()
        connection.execute(sa.select(sa.func.batch_journalled("parts", batch, count)))
        connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION DEFAULT")
    assert isinstance(batch, UUID)
    return batch, list(ids)


# Ends


def test_a_batch_is_taken_back_whole_and_once(connection: sa.Connection) -> None:
    batch, ids = loaded(connection, 5)
    other, _ = loaded(connection, 2)
    assert ends.undo(connection, batch) == 5
    living = sa.text("SELECT count(*) FROM parts WHERE retired_at IS NULL AND batch = :b")
    assert connection.scalar(living, {"b": batch}) == 0
    assert connection.scalar(living, {"b": other}) == 2
    assert journal(connection, "parts", ids[0])[-1].operation == "retire"
    for unknown in (batch, uuid4()):
        with pytest.raises(NotFound), db.translated(), connection.begin_nested():
            ends.undo(connection, unknown)


@pytest.mark.parametrize("change", ["name = 'z'", "retired_at = now()", "geom = ST_Translate(geom, 0.01, 0)"])
def test_a_batch_that_somebody_went_on_with_is_not_taken_back(connection: sa.Connection, change: str) -> None:
    batch, ids = loaded(connection, 3)
    connection.execute(sa.text(f"UPDATE parts SET {change} WHERE id = :id"), {"id": ids[1]})
    with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
        ends.undo(connection, batch)
    assert refused.value.facts["rule"] == "batches_undo_check"
    assert connection.scalar(sa.text("SELECT undone_at IS NULL FROM batches WHERE id = :b"), {"b": batch})


def test_a_batch_placed_anew_may_still_be_taken_back(connection: sa.Connection) -> None:
    batch, _ = loaded(connection, 3)
    connection.exec_driver_sql("UPDATE parts SET scope = '990101001' WHERE batch IS NOT NULL")
    assert ends.undo(connection, batch) == 3


def test_destruction_leaves_only_that_it_was(web: Any, connection: sa.Connection, key: FieldKey, tmp_path: Path) -> None:
    zones, caller = RESOURCES["zones"], area(town.PREFIX)
    given = town.example(zones, name="只此一处")["properties"]
    with db.transaction(web, caller) as bound:
        id = write.add(bound, zones, given, box(0.5, 0.5, 1.5, 1.5), key)
        kept = write.add(bound, zones, given | {"name": "留下的"}, box(0.5, 0.5, 1.5, 1.5), key)
        write.remember(bound, caller, "key-1", "/zones", b"x", zones, id)
        write.change(bound, zones, id, {"name": "改过的"}, None, key)
    retention.destroy(connection, tmp_path, zones, [id])
    everything = [
        json.dumps([list(map(str, row)) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")], ensure_ascii=False)
        for table in ("zones", "idempotency", "area_shares")
    ]
    assert str(id) not in "".join(everything)
    told = journal(connection, "zones", id)
    assert [row.operation for row in told] == ["add", "change", "destroy"]
    assert {(row.patch, row.scope_before, row.scope_after) for row in told[:2]} == {(None, None, None)}
    assert connection.scalar(sa.text("SELECT count(*) FROM area_shares WHERE feature = :id"), {"id": kept})
    for absent in (id, uuid4()):
        with pytest.raises(NotFound):
            retention.destroy(connection, tmp_path, zones, [absent])


def box(west: float, south: float, east: float, north: float) -> bytes:
    """A rectangle of the town as WKB."""
    import shapely

    return bytes(shapely.to_wkb(shapely.box(*town.at(west, south), *town.at(east, north))))


def test_retired_is_gone_to_those_who_could_see_it_and_unknown_to_others(web: Any, connection: sa.Connection) -> None:
    id = town.add(connection, "parts")
    connection.execute(sa.text("UPDATE parts SET retired_at = now() WHERE id = :id"), {"id": id})
    for caller, told in ((area(WEST_SIDE), Gone), (PUBLIC, Gone), (area(EAST_SIDE), NotFound)):
        with pytest.raises(told), db.transaction(web, caller, read_only=True) as bound:
            query.one(bound, PARTS, id, caller)


def _together(work: Any, count: int) -> None:
    failed: list[BaseException] = []

    def run(n: int) -> None:
        try:
            work(n)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# Relay and clock


def relayed(engine: sa.Engine) -> list[str]:
    """One step of the relay, by the login that does it."""
    return relay.step(engine)


def test_a_writer_who_commits_late_is_not_forgotten(live: Address, live_engine: sa.Engine) -> None:
    worker = db.engine(live.url("jingwei_web"), pool=1)
    with live_engine.begin() as connection:
        town.add(connection, "parts")  # the placement of all three, which a second writer would wait for
    relayed(worker)
    with live_engine.connect() as late, live_engine.begin() as early:
        opened = late.begin()
        first = town.add(late, "parts")
        second = town.add(early, "parts")
        early.get_transaction().commit()  # type: ignore[union-attr]
        assert relayed(worker) == ["parts"]
        opened.commit()
    assert relayed(worker) == ["parts"]
    assert relayed(worker) == []
    with live_engine.begin() as connection:
        told = connection.execute(
            sa.text("SELECT feature FROM changes WHERE noun = 'parts' AND number IS NOT NULL ORDER BY number")
        ).scalars()
        assert list(told)[-2:] == [second, first]
        version = connection.scalar(sa.text("SELECT version FROM layer_versions WHERE layer = 'parts'"))
        assert version == connection.scalar(sa.text("SELECT max(number) FROM changes"))
    worker.dispose()


def test_every_change_is_relayed_once_under_many_writers(live: Address, live_engine: sa.Engine) -> None:
    worker = db.engine(live.url("jingwei_web"), pool=1)
    writers = db.engine(live.url(), pool=6)
    relayed(worker)
    with live_engine.begin() as connection:
        start = connection.scalar(sa.text("SELECT number FROM relay"))
    over = threading.Event()

    def written(n: int) -> None:
        if n == 6:
            while not over.is_set():
                relayed(worker)
                time.sleep(0.005)
            return
        for step in range(12):
            with writers.begin() as connection:
                town.add(connection, "parts", code=f"{n}-{step}")
                # Ids are given out in another order than transactions end in.
                time.sleep(0.002 * ((n + step) % 4))
        if n == 0:
            time.sleep(0.2)
            over.set()

    _together(written, 7)
    relayed(worker)
    with live_engine.begin() as connection:
        numbers = connection.execute(
            sa.text("SELECT number FROM changes WHERE noun = 'parts' ORDER BY number")
        ).scalars().all()  # fmt: skip
        assert numbers == list(range(start + 1, start + 73))
    worker.dispose()
    writers.dispose()


def test_a_boundary_comes_into_force_by_itself(live: Address, live_engine: sa.Engine) -> None:
    worker = db.engine(live.url("jingwei_web"), pool=1)
    with live_engine.begin() as connection:
        id = town.add(connection, "parts", town.point(1.5, 0.5))
        switch = connection.scalar(sa.text("SELECT clock_timestamp() + interval '0.4 s'"))
        connection.execute(sa.text("UPDATE areas SET valid_to = :at WHERE path = :path"), {"at": switch, "path": town.B})
        town.area(connection, "grid", "990101001001009", "新网格", 1, 0, 2, 2, valid_from=switch)
    scope = sa.text("SELECT scope FROM parts WHERE id = :id")
    with live_engine.begin() as connection:
        assert connection.scalar(scope, {"id": id}) == town.B
    time.sleep(0.5)
    assert relay.strike(worker) == 1
    assert relay.strike(worker) == 0
    with live_engine.begin() as connection:
        assert connection.scalar(scope, {"id": id}) == "990101001001009"
    worker.dispose()


# Identity


def test_ids_grow_with_time_and_say_their_kind(connection: sa.Connection) -> None:
    ids = connection.scalars(sa.text("SELECT uuid_v7() FROM generate_series(1, 50)")).all()
    assert {(id.version, id.variant) for id in ids} == {(7, "specified in RFC 4122")}
    milliseconds = [id.int >> 80 for id in ids]
    assert milliseconds == sorted(milliseconds)
    assert abs(milliseconds[0] / 1000 - time.time()) < 60


def test_an_id_is_never_changed(connection: sa.Connection) -> None:
    id = town.add(connection, "parts")
    connection.execute(sa.text("UPDATE parts SET id = uuid_v7(), name = 'z' WHERE id = :id"), {"id": id})
    assert connection.scalar(sa.text("SELECT name FROM parts WHERE id = :id"), {"id": id}) == "z"


@given(st.integers(0, 36**3 - 1))
def test_path_segments_count_in_base_36(connection: sa.Connection, number: int) -> None:
    segment = connection.scalar(sa.text("SELECT path_segment(:n, 3)"), {"n": number})
    assert int(segment, 36) == number
    assert connection.scalar(sa.text("SELECT path_number(:s)"), {"s": segment}) == number


def test_a_path_is_given_once(connection: sa.Connection) -> None:
    first = town.area(connection, "grid", None, "新一", 0.1, 0.1, 0.2, 0.2, parent=WEST_SIDE)
    path = sa.text("SELECT path FROM areas WHERE id = :id")
    assert connection.scalar(path, {"id": first}) == WEST_SIDE + "003"
    connection.execute(sa.text("UPDATE areas SET retired_at = now() WHERE id = :id"), {"id": first})
    second = town.area(connection, "grid", None, "新二", 0.1, 0.1, 0.2, 0.2, parent=WEST_SIDE)
    assert connection.scalar(path, {"id": second}) == WEST_SIDE + "004"


def test_the_code_of_an_area_that_is_no_more_is_not_given_again(connection: sa.Connection) -> None:
    connection.execute(sa.text("UPDATE areas SET retired_at = now() WHERE path = :path"), {"path": town.D})
    with pytest.raises(Invalid) as refused, db.translated(), connection.begin_nested():
        town.area(connection, "grid", town.D, "又一个", 3, 0, 3.8, 2)
    assert refused.value.facts == {"rule": "areas_code_retired_check", "field": "code"}


def test_two_versions_of_an_area_may_not_be_in_force_at_once(connection: sa.Connection) -> None:
    with pytest.raises(Conflict) as refused, db.translated(), connection.begin_nested():
        town.area(connection, "grid", town.A, "又一个", 0, 0, 1, 2, path=town.A)
    assert refused.value.facts["rule"] == "areas_versions_excl"


@pytest.mark.parametrize(
    ("level", "code", "path"),
    [
        ("grid", "990101001001777", "990101001001777"),  # of our shape, under its parent: kept
        ("grid", "SQ-07", "990101001001003"),  # not of our shape: the next number
        ("grid", "330102001001777", "990101001001003"),  # of our shape, but of another place
        ("grid", None, "990101001001003"),
        ("micro_grid", None, "990101001001001001"),
        ("community", "990101001777000", "990101001777"),  # a tail of zeros, as registers write it
    ],
)  # fmt: skip
def test_a_new_area_gets_a_path_under_the_ground_it_stands_on(
    connection: sa.Connection, level: str, code: str | None, path: str
) -> None:
    made = town.area(connection, level, code, "新", 0.1, 0.1, 0.2, 0.2)
    assert connection.scalar(sa.select(TABLES["areas"].c.path).where(TABLES["areas"].c.id == made)) == path
