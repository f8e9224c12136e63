"""Boundaries move at midnight: the difference is told first, old records keep their area, only what lies there is touched."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import db, ends, placing, redrawing
from geo.db import Caller
from geo.errors import Forbidden, Invalid, NotFound
from geo.redrawing import Moved, Piece
from tests import town
from tests.conftest import Within

DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=ZoneInfo("Asia/Shanghai"))
C1, C2 = "990101001001", "990101001002"


def drawn(west: float, east: float, south: float = 0, north: float = 2) -> bytes:
    return bytes(shapely.to_wkb(shapely.geometry.shape(town.box(west, south, east, north))))


def house(connection: sa.Connection, x: float, **values: object) -> Any:
    return town.add(connection, "buildings", town.box(x, 1, x + 0.02, 1.02), **{"name": f"{x}", "code": f"b{x}", **values})


def incident(connection: sa.Connection, x: float, moment: datetime, **values: object) -> Any:
    return town.add(connection, "incidents", town.point(x, 0.5), occurred_at=moment.isoformat(), number=f"{x:.4f} {moment:%Y%m%d%H%M%S%f}", **values)


def stands(connection: sa.Connection, noun: str, id: object) -> tuple[str, str]:
    """The grid a record was in at its own time, and who answers now."""
    told = sa.text(
        f"SELECT g.path, n.scope FROM {noun} AS n LEFT JOIN placements AS p ON p.id = n.placement"
        " LEFT JOIN areas AS g ON g.id = p.grid WHERE n.id = :id"
    )
    return tuple(connection.execute(told, {"id": id}).one())  # type: ignore[return-value]


def everything(connection: sa.Connection) -> dict[str, Any]:
    """All that a redrawing may touch."""
    return {
        name: connection.execute(sa.text(f"SELECT {what} ORDER BY 1")).all()
        for name, what in {
            "areas": "id, path, code, valid_from, valid_to, geom::text FROM areas WHERE retired_at IS NULL",
            "buildings": "id, placement, scope, placing_reason FROM buildings", "incidents": "id, placement, scope FROM incidents",
            "units": "id, placement, scope FROM units", "posts": "id, area, scope FROM posts", "successions": "* FROM successions",
        }.items()
    }


def settled(connection: sa.Connection) -> bool:
    """Whether everything is where placing would put it."""
    return not any(placing.replace(connection).values())


def last(connection: sa.Connection) -> int:
    return connection.scalar(sa.text("SELECT coalesce(max(id), 0) FROM changes")) or 0


def touched(connection: sa.Connection, since: int) -> set[tuple[str, Any]]:
    rows = connection.execute(sa.text("SELECT noun, feature FROM changes WHERE id > :since AND noun <> 'areas'"), {"since": since})
    return {tuple(row) for row in rows}


def test_the_difference_is_told_and_nothing_done(connection: sa.Connection) -> None:
    for x, homes in ((0.5, 10), (0.8, 24), (0.9, 6), (1.5, 12)):
        house(connection, x, households=homes, residents=3 * homes)
    incident(connection, 0.8, MIDNIGHT - timedelta(days=30))
    incident(connection, 0.85, MIDNIGHT + timedelta(days=30))
    before, since = everything(connection), last(connection)
    told = redrawing.redraw(connection, town.A, drawn(0, 0.7), DAY, also={town.B: drawn(0.7, 2)})
    assert told.moved == (
        Moved("buildings", town.A, town.B, 2, 0, 30, 90),
        Moved("incidents", town.A, town.B, 2, 1),
    )
    assert (told.buildings, told.households, told.gaps, told.overlaps, told.applied) == (2, 30, (), (), False)
    assert (told.at, told.closed, told.opened) == (MIDNIGHT, (town.A, town.B), (town.A, town.B))
    assert everything(connection) == before
    assert last(connection) >= since
    assert touched(connection, since) == set()


def test_records_keep_the_area_of_their_time(connection: sa.Connection) -> None:
    moments = [MIDNIGHT - timedelta(microseconds=1), MIDNIGHT, MIDNIGHT + timedelta(days=1)]
    before, at, later = (incident(connection, 0.8, moment) for moment in moments)
    stays, goes, other = house(connection, 0.5), house(connection, 0.8), house(connection, 2.5)
    far = incident(connection, 2.5, MIDNIGHT + timedelta(days=1))
    near = incident(connection, 0.5, MIDNIGHT - timedelta(days=1))
    since = last(connection)
    told = redrawing.redraw(connection, town.A, drawn(0, 0.7), DAY, also={town.B: drawn(0.7, 2)}, apply=True)
    assert told.applied
    assert stands(connection, "incidents", before) == (town.A, town.B)
    assert stands(connection, "incidents", at) == stands(connection, "incidents", later) == (town.B, town.B)
    assert stands(connection, "buildings", goes) == (town.B, town.B)
    assert stands(connection, "buildings", stays) == (town.A, town.A)
    versions = "SELECT valid_from <= :at, valid_to FROM areas WHERE path = :path ORDER BY valid_from"
    assert connection.execute(sa.text(versions), {"path": town.A, "at": MIDNIGHT}).all() == [(True, MIDNIGHT), (True, None)]
    # What lies elsewhere is not written, nor what is older than the change and stays with whom it was.
    assert touched(connection, since).isdisjoint({("buildings", other), ("incidents", far), ("incidents", near)})
    assert settled(connection)


@pytest.mark.parametrize(("east", "gap", "overlap"), [(0.7, 0.3, 0), (1.2, 0, 0.2), (1.0, 0, 0)])
def test_ground_that_would_be_left_or_claimed_twice(connection: sa.Connection, east: float, gap: float, overlap: float) -> None:
    told = redrawing.redraw(connection, town.A, drawn(0, east), DAY)
    whole = 965.2 * 2217.0  # m², a column of one by two hundredths of a degree at 29.81° N
    assert [strip.measure_m2 for strip in told.gaps] == ([pytest.approx(gap * whole, rel=2e-3)] if gap else [])
    assert [strip.measure_m2 for strip in told.overlaps] == ([pytest.approx(overlap * whole, rel=2e-3)] if overlap else [])
    assert [strip.others for strip in told.overlaps] == ([(town.A, town.B)] if overlap else [])


def test_overlaps_of_old_are_not_laid_to_the_new(connection: sa.Connection) -> None:
    # C and D overlap already; D grows on its far side.
    assert redrawing.redraw(connection, town.D, drawn(3, 4), DAY).overlaps == ()


def test_the_clock_brings_what_was_decided(connection: sa.Connection) -> None:
    goes, old = house(connection, 0.8), incident(connection, 0.8, MIDNIGHT)
    connection.execute(sa.text("UPDATE incidents SET precision = 'region', stated_area = '第一网格' WHERE id = :id"), {"id": incident(connection, 0.3, MIDNIGHT)})
    tomorrow = datetime.now(ZoneInfo("Asia/Shanghai")).date() + timedelta(days=1)
    told = redrawing.merge(connection, [town.A, town.B], tomorrow, "合并网格", apply=True)
    [new] = told.opened
    assert [m.noun for m in told.moved] == ["buildings", "incidents"]
    assert stands(connection, "buildings", goes) == (town.A, town.A)
    assert connection.scalar(sa.text("SELECT clock_struck()")) == 0
    # A day later.
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    for column in ("valid_from", "valid_to"):
        connection.exec_driver_sql(f"UPDATE areas SET {column} = {column} - interval '1 day' WHERE {column} > now()")
    connection.exec_driver_sql("UPDATE successions SET at = at - interval '1 day'")
    connection.exec_driver_sql("UPDATE relay SET struck_at = now() - interval '1 day'")
    connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
    assert connection.scalar(sa.text("SELECT clock_struck()")) == 2
    assert stands(connection, "buildings", goes) == (new, new)
    assert stands(connection, "incidents", old) == (town.A, new)
    rough = "SELECT scope FROM incidents WHERE precision = 'region'"
    assert connection.scalar(sa.text(rough)) == new
    assert connection.scalar(sa.text("SELECT clock_struck()")) == 0


def test_a_split_hands_on_by_houses(connection: sa.Connection) -> None:
    for x in (0.1, 0.2, 0.3, 0.8):
        house(connection, x)
    old = incident(connection, 0.8, MIDNIGHT - timedelta(days=9))
    rough = incident(connection, 0.8, MIDNIGHT, precision="region", stated_area="第一网格")
    assert stands(connection, "incidents", rough)[1] == town.A
    pieces = [Piece("西片", drawn(0, 0.7), "990101001001011"), Piece("东片", drawn(0.7, 1))]
    told = redrawing.split(connection, town.A, pieces, DAY, apply=True)
    west, east = told.opened
    assert west == "990101001001011"  # a code that fits is the path
    assert east.startswith(C1)
    assert {(m.noun, m.source, m.target, m.count) for m in told.moved} == {
        ("buildings", town.A, west, 3), ("buildings", town.A, east, 1), ("incidents", town.A, east, 1),
    }  # fmt: skip
    shares = connection.execute(sa.text("SELECT new_path, share, at FROM successions WHERE old_path = :a ORDER BY share DESC"), {"a": town.A})
    assert shares.all() == [(west, 0.75, MIDNIGHT), (east, 0.25, MIDNIGHT)]
    assert stands(connection, "incidents", old) == (town.A, east)
    # Nobody knows in which piece it lies: the community answers.
    assert stands(connection, "incidents", rough)[1] == C1
    assert (told.gaps, told.overlaps) == ((), ())
    assert settled(connection)
    with pytest.raises(Invalid), db.translated(), connection.begin_nested():
        town.area(connection, "grid", town.A, "冒名", 0, 0, 0.1, 0.1)


def test_bare_ground_is_handed_on_by_ground(connection: sa.Connection) -> None:
    told = redrawing.split(connection, town.A, [Piece("西片", drawn(0, 0.7)), Piece("东片", drawn(0.7, 1))], DAY, apply=True)
    shares = {row.new_path: row.share for row in connection.execute(sa.text("SELECT new_path, share FROM successions"))}
    assert [shares[path] for path in told.opened] == pytest.approx([0.7, 0.3])


def test_a_merger_carries_along_what_lies_below(connection: sa.Connection) -> None:
    homes = [house(connection, x) for x in (0.5, 1.5, 2.5, 3.5)]
    unit = town.add(connection, "units", building=homes[0], name="1单元", code="u")
    micro = connection.scalar(
        sa.text("INSERT INTO areas (level, code, name, members, parent) VALUES ('micro_grid', :code, '一楼道', '1单元', :a) RETURNING path"),
        {"code": f"{town.A}001", "a": town.A},
    )
    connection.execute(sa.text("INSERT INTO area_members (area, building, unit) VALUES (:m, :b, :u)"), {"m": micro, "b": homes[0], "u": unit})
    worker = town.add(connection, "posts", area=town.A, role="grid_worker", holder="李四")
    leader = town.add(connection, "posts", area=C1, role="community_leader", holder="张三")
    old = incident(connection, 0.5, MIDNIGHT - timedelta(days=9))
    total = sa.text("SELECT buildings, incidents FROM area_counts(:lo)")
    before = connection.execute(total, {"lo": "990101001"}).one()
    state, since = everything(connection), last(connection)

    told = redrawing.merge(connection, [C1, C2], DAY, "汀州社区", code="990101001601", apply=True)
    [new] = told.opened
    assert new == "990101001601"
    assert set(told.renamed) == {town.A, town.B, town.C, town.D, micro}
    a, m = told.renamed[town.A], told.renamed[micro]
    assert (a[:12], m[:15]) == (new, a)
    codes = connection.execute(sa.text("SELECT path, code FROM areas WHERE path = ANY (:p)"), {"p": [a, m]}).all()
    assert set(codes) == {(a, town.A), (m, f"{town.A}001")}
    assert stands(connection, "buildings", homes[0]) == (a, a)
    assert stands(connection, "incidents", old) == (town.A, a)
    assert connection.scalar(sa.text("SELECT micro_grid_of(:b, :u, NULL)"), {"b": homes[0], "u": unit}) == m
    areas = connection.execute(sa.text("SELECT id, area FROM posts")).all()
    assert set(areas) == {(worker, a), (leader, C1)}  # who leads the new community is for people to say
    assert connection.execute(total, {"lo": "990101001"}).one() == before
    assert connection.execute(total, {"lo": new}).one() == before
    assert connection.scalar(sa.text("SELECT scope FROM units WHERE id = :u"), {"u": unit}) == m
    assert settled(connection)
    assert {noun for noun, _ in touched(connection, since)} == {"buildings", "units", "incidents", "posts"}

    assert told.batch is not None
    ends.undo(connection, told.batch)
    again = everything(connection)
    assert {name: rows for name, rows in again.items() if name != "areas"} == {n: r for n, r in state.items() if n != "areas"}
    assert again["areas"] == state["areas"]
    assert settled(connection)


def test_a_split_community_shares_out_its_grids(connection: sa.Connection) -> None:
    told = redrawing.split(connection, C1, [Piece("澜东社区", drawn(1, 2)), Piece("澜西社区", drawn(0, 1))], DAY, apply=True)
    east, west = told.opened
    assert (told.renamed[town.A][:12], told.renamed[town.B][:12]) == (west, east)


def test_withdrawn_ground_goes_back_to_the_area_above(connection: sa.Connection) -> None:
    home, old = house(connection, 0.5), incident(connection, 0.5, MIDNIGHT - timedelta(days=9))
    told = redrawing.withdraw(connection, town.A, DAY, apply=True)
    assert told.moved == (Moved("buildings", town.A, None, 1, 0), Moved("incidents", town.A, None, 1, 1))
    assert len(told.gaps) == 1
    assert stands(connection, "buildings", home) == (None, C1)
    assert stands(connection, "incidents", old) == (town.A, C1)
    reason = connection.scalar(sa.text("SELECT placing_reason FROM buildings WHERE id = :id"), {"id": home})
    assert reason == "outside"
    assert settled(connection)


def test_undoing_brings_back_what_was(connection: sa.Connection) -> None:
    house(connection, 0.8)
    incident(connection, 0.8, MIDNIGHT - timedelta(days=1))
    incident(connection, 0.8, MIDNIGHT + timedelta(days=1))
    before = everything(connection)
    first = redrawing.redraw(connection, town.A, drawn(0, 0.7), DAY, also={town.B: drawn(0.7, 2)}, apply=True)
    second = redrawing.redraw(connection, town.A, drawn(0, 0.6), DAY + timedelta(days=9), apply=True)
    assert first.batch is not None
    assert second.batch is not None
    with pytest.raises(Invalid), db.translated(), connection.begin_nested():
        ends.undo(connection, first.batch)  # the second stands on it
    ends.undo(connection, second.batch)
    ends.undo(connection, first.batch)
    assert everything(connection) == before
    assert settled(connection)
    # And it may be decided again.
    assert redrawing.redraw(connection, town.A, drawn(0, 0.5), DAY, apply=True).applied


REFUSED: Mapping[str, Any] = {
    "unknown": lambda c: redrawing.redraw(c, "990101001009", drawn(0, 1), DAY),
    "not yet there": lambda c: redrawing.redraw(c, town.A, drawn(0, 1), date(1899, 1, 1)),
    "no midnight": lambda c: redrawing.redraw(c, town.A, drawn(0, 1), MIDNIGHT + timedelta(hours=8)),
    "crossing itself": lambda c: redrawing.redraw(
        c, town.A, bytes(shapely.to_wkb(shapely.Polygon([town.at(0, 0), town.at(1, 1), town.at(1, 0), town.at(0, 1)]))), DAY
    ),
    "two levels": lambda c: redrawing.redraw(c, town.A, drawn(0, 1), DAY, also={C1: drawn(0, 2)}),
    "one piece": lambda c: redrawing.split(c, town.A, [Piece("x", drawn(0, 1))], DAY),
    "one area": lambda c: redrawing.merge(c, [town.A, town.A], DAY, "x"),
    "two parents": lambda c: redrawing.merge(c, [town.B, town.C], DAY, "x"),
    "the root": lambda c: redrawing.withdraw(c, "990101001", DAY),
    "grids below": lambda c: redrawing.withdraw(c, C1, DAY),
    "a retired code": lambda c: redrawing.merge(c, [town.A, town.B], DAY, "x", code=town.A),
    "twice a day": lambda c: [redrawing.redraw(c, town.A, drawn(0, 0.9), DAY, apply=True) for _ in range(2)],
    "decided already": lambda c: [
        redrawing.withdraw(c, town.A, date(2027, 1, 1), apply=True), redrawing.merge(c, [town.A, town.B], DAY, "x")
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(connection: sa.Connection, what: str) -> None:
    before = everything(connection)
    with pytest.raises((Invalid, NotFound)), db.translated(), connection.begin_nested():
        REFUSED[what](connection)
    assert everything(connection) == before


def test_nobody_redraws_beyond_their_own(connection: sa.Connection, web: Within) -> None:
    theirs = Caller("主任", "jingwei_leader", (C2,))
    with db.transaction(web, theirs) as mine:  # type: ignore[arg-type]
        assert redrawing.redraw(mine, town.D, drawn(3, 4), DAY, apply=True).applied
    with pytest.raises(Forbidden), db.transaction(web, theirs) as mine:  # type: ignore[arg-type]
        mine.execute(sa.text("SELECT areas_redrawn(ARRAY[:a], '[]', :at)"), {"a": town.A, "at": MIDNIGHT})
    with pytest.raises(NotFound), db.transaction(web, theirs) as mine:  # type: ignore[arg-type]
        redrawing.redraw(mine, town.A, drawn(0, 1), DAY)


@settings(max_examples=8)
@given(st.lists(st.tuples(st.floats(0.2, 1.8), st.integers(-400, 60)), min_size=1, max_size=3, unique_by=lambda step: step[1]))
def test_whatever_is_decided_in_whatever_order_placing_agrees(connection: sa.Connection, steps: list[tuple[float, int]]) -> None:
    with connection.begin_nested() as trial:
        xs = [0.05 + 0.1 * n for n in range(20)]
        for n, x in enumerate(xs):
            incident(connection, x, MIDNIGHT + timedelta(days=40 * n - 400))
            house(connection, round(x + 0.01, 4))
        border = {MIDNIGHT - timedelta(days=40000): 1.0}
        for east, day in sorted(steps, key=lambda step: step[1]):
            at = MIDNIGHT + timedelta(days=day)
            redrawing.redraw(connection, town.A, drawn(0, east), at, also={town.B: drawn(east, 2)}, apply=True)
            border[at] = east
        assert settled(connection)
        rows = connection.execute(sa.text(
            "SELECT ST_X(n.geom), n.occurred_at, g.path, n.scope FROM incidents AS n JOIN placements AS p ON p.id = n.placement"
            " JOIN areas AS g ON g.id = p.grid")).all()  # fmt: skip
        now = datetime.now(MIDNIGHT.tzinfo)
        for x, moment, path, scope in rows:
            for asked, answer in ((moment, path), (max(moment, now), scope)):
                east = border[max(at for at in border if at <= asked)]
                # A point on the border is of the smaller path (decision 0004).
                assert answer == (town.A if x <= town.at(east, 0)[0] else town.B)
        trial.rollback()


def test_the_first_areas_of_a_level_are_asked_of_everything(connection: sa.Connection) -> None:
    connection.exec_driver_sql("DELETE FROM areas WHERE level = 'grid'")
    near, far = house(connection, 0.5), house(connection, 3.5)
    reason = sa.text("SELECT placing_reason FROM buildings WHERE id = :id")
    assert [connection.scalar(reason, {"id": id}) for id in (near, far)] == [None, None]
    # Two at once: neither is the first to be seen.
    connection.execute(
        sa.text(
            "INSERT INTO areas (level, code, name, geom) SELECT 'grid', code, code, ST_Multi(ST_MakeEnvelope(w, :s, w + 0.005, :n, 4326))"
            " FROM (VALUES ('g1', 122.6), ('g2', 122.605)) AS g (code, w)"
        ),
        {"s": town.SOUTH, "n": town.SOUTH + 0.02},
    )
    assert [connection.scalar(reason, {"id": id}) for id in (near, far)] == [None, "outside"]
    connection.exec_driver_sql("UPDATE areas SET retired_at = now() WHERE level = 'grid'")
    assert [connection.scalar(reason, {"id": id}) for id in (near, far)] == [None, None]
    assert settled(connection)


def test_what_only_states_its_area_follows_that_area(connection: sa.Connection) -> None:
    rough = incident(connection, 0.3, MIDNIGHT, precision="region", stated_area="第一网格")
    answers = sa.text("SELECT scope FROM incidents WHERE id = :id")
    assert connection.scalar(answers, {"id": rough}) == town.A
    connection.execute(sa.text("UPDATE areas SET retired_at = now() WHERE path = :a"), {"a": town.A})
    assert connection.scalar(answers, {"id": rough}) == town.PREFIX
    connection.execute(sa.text("UPDATE areas SET retired_at = NULL WHERE path = :a"), {"a": town.A})
    assert connection.scalar(answers, {"id": rough}) == town.A
    connection.execute(sa.text("UPDATE areas SET name = '头一网格' WHERE path = :a"), {"a": town.A})
    assert connection.scalar(answers, {"id": rough}) == town.PREFIX
    assert settled(connection)
