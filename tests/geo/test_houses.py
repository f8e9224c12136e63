"""What lies in a house answers to the micro-grid that names it: in whatever order and by whichever way it was written."""

import json
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from geo import db, ends, intake, members, placing, redrawing
from geo.catalog import RESOURCES
from geo.cluster import Address
from geo.db import Caller
from geo.errors import Forbidden
from geo.intake import Order
from geo.keys import FieldKey
from geo.redrawing import Piece
from geo.resource import Audience, Place
from tests import town
from tests.conftest import Within
from tests.geo.test_redrawing import drawn

C1, C2 = "990101001001", "990101001002"
NOUNS = ("buildings", *(name for name, noun in RESOURCES.items() if noun.place is Place.INHERITS))
# Hundredths of a degree → the path that the ground there gives: three grids, and ground of a community in no grid.
GROUND = {0.5: town.A, 1.5: town.B, 3.5: town.D, 3.9: C2}


def run(connection: sa.Connection, query: str, **values: object) -> Any:
    return connection.execute(sa.text(query), values)


def micro_grid(connection: sa.Connection, parent: str, **values: object) -> str:
    columns = {"level": "micro_grid", "name": "微网格", "parent": parent, **values}
    made = run(
        connection,
        f"INSERT INTO areas ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)}) RETURNING path", **columns,
    )  # fmt: skip
    return str(made.scalar_one())


def named(connection: sa.Connection, area: str, building: UUID, unit: UUID | None = None, low: int | None = None, high: int | None = None) -> UUID:
    made = run(
        connection, "INSERT INTO area_members (area, building, unit, floor_from, floor_to) VALUES (:a, :b, :u, :low, :high) RETURNING id",
        a=area, b=building, u=unit, low=low, high=high,
    ).scalar_one()  # fmt: skip
    assert isinstance(made, UUID)
    return made


def house(connection: sa.Connection, x: float, y: float = 0.5) -> UUID:
    return town.add(connection, "buildings", town.box(x - 0.01, y, x + 0.01, y + 0.01))


def scopes(connection: sa.Connection) -> dict[str, dict[UUID, str]]:
    return {noun: dict(run(connection, f"SELECT id, scope FROM {noun}").all()) for noun in NOUNS}


def due(connection: sa.Connection) -> dict[str, dict[UUID, str]]:
    """The same by the words of the rule, from what people wrote: geometry, members, dates, references."""
    areas = run(
        connection,
        "SELECT path FROM areas WHERE level = 'micro_grid' AND theme = 'governance' AND kind NOT IN ('unit', 'thematic')"
        " AND retired_at IS NULL AND valid_from <= now() AND coalesce(valid_to, 'infinity') > now()",
    )
    standing = set(areas.scalars())
    lists = [row for row in run(connection, "SELECT * FROM area_members") if row.area in standing]

    def answering(ground: str, building: UUID, unit: UUID | None = None, floor: int | None = None) -> str:
        near = []
        for row in lists:
            floors = row.floor_from is not None or row.floor_to is not None
            low, high = -99 if row.floor_from is None else row.floor_from, 999 if row.floor_to is None else row.floor_to
            if (
                row.building == building and row.unit in (None, unit) and row.area.startswith(ground[:15])
                and (not floors or (floor is not None and low <= floor <= high))
            ):  # fmt: skip
                near.append((row.unit is None, not floors, row.area))
        return min(near, default=(True, True, ground))[2]

    told: dict[str, dict[UUID, str]] = {noun: {} for noun in NOUNS}
    for row in run(connection, "SELECT id, round((ST_X(ST_PointOnSurface(geom)) - :west)::numeric * 100, 2)::float8 AS x FROM buildings", west=town.WEST):
        told["buildings"][row.id] = answering(GROUND[row.x], row.id)
    for row in run(connection, "SELECT * FROM units"):
        told["units"][row.id] = answering(told["buildings"][row.building], row.building, row.id)
    homes = {row.id: row for row in run(connection, "SELECT * FROM dwellings")}
    for row in homes.values():
        told["dwellings"][row.id] = answering(told["buildings"][row.building], row.building, row.unit, row.floor)
    families = {row.id: row for row in run(connection, "SELECT * FROM households")}
    for row in families.values():
        home = homes.get(row.dwelling)
        same = home is not None and home.building == row.building
        told["households"][row.id] = told["dwellings"][row.dwelling] if same else told["buildings"][row.building]
    for row in run(connection, "SELECT * FROM residents"):
        family = families.get(row.household)
        same = family is not None and family.building == row.building
        told["residents"][row.id] = told["households"][row.household] if same else told["buildings"][row.building]
    return told


class Town:
    """Houses of three grids and of none, and people who write one thing after another."""

    def __init__(self, connection: sa.Connection, seed: int) -> None:
        self.connection, self.rng = connection, np.random.default_rng(seed)
        self.run = partial(run, connection)
        self.houses = [house(connection, x, 0.2 * n) for n, x in enumerate((*GROUND, 0.5, 1.5), 1)]
        self.lists = [micro_grid(connection, parent) for parent in (town.A, town.A, town.B, town.D, town.D, town.A)]
        self.ids: dict[str, list[UUID]] = {noun: [] for noun in NOUNS} | {"area_members": []}

    def chosen(self, among: Any, missing: float = 0) -> Any:
        return None if not len(among) or self.rng.random() < missing else among[self.rng.integers(len(among))]

    def floor(self, missing: float = 0.3) -> int | None:
        return self.chosen(range(-1, 5), missing)  # type: ignore[no-any-return]

    def steps(self) -> dict[str, Any]:
        """What may be written, each with how often."""
        c, chosen, ids = self.connection, self.chosen, self.ids

        def of(noun: str, building: UUID, missing: float = 0.2) -> Any:
            """Mostly what lies in the house, now and then what does not."""
            own = self.run(f"SELECT id FROM {noun} WHERE building = :b ORDER BY id", b=building).scalars().all()
            return chosen(ids[noun] if self.rng.random() < 0.1 else own, missing)

        def added(noun: str, refers: str | None = None, field: str = "", **values: object) -> None:
            building = chosen(self.houses)
            if refers:
                values[field] = of(refers, building)
            ids[noun].append(town.add(c, noun, building=building, **values))

        def member() -> None:
            building = chosen(self.houses)
            low, high = self.floor(0.6), self.floor(0.6)
            if low is not None and high is not None and low > high:
                low, high = high, low
            ids["area_members"].append(named(c, chosen(self.lists), building, of("units", building, 0.4), low, high))

        def changed(table: str, what: str, **values: object) -> None:
            if (id := chosen(ids.get(table, self.lists))) is not None:
                key = "path" if table == "areas" else "id"
                self.run(f"UPDATE {table} SET {what} WHERE {key} = :id", id=id, **values)

        return {
            "unit": (4, lambda: added("units")),
            "dwelling": (8, lambda: added("dwellings", "units", "unit", floor=self.floor())),
            "household": (8, lambda: added("households", "dwellings", "dwelling")),
            "resident": (8, lambda: added("residents", "households", "household")),
            "member": (8, member),
            "no member": (2, lambda: self.run("DELETE FROM area_members WHERE id = :id", id=chosen(ids["area_members"]))),
            "other member": (2, lambda: changed("area_members", "area = :to, floor_to = NULL", to=chosen(self.lists))),
            "other house named": (2, lambda: changed("area_members", "building = :to, unit = NULL", to=chosen(self.houses))),
            "retired": (1, lambda: changed("areas", "retired_at = now()")),
            "restored": (1, lambda: changed("areas", "retired_at = NULL")),
            "ended": (1, lambda: changed("areas", "valid_from = '2020-01-01', valid_to = now()")),
            "begins later": (1, lambda: changed("areas", "valid_from = now() + interval '1 day', valid_to = NULL")),
            "in force": (2, lambda: changed("areas", "valid_from = '2020-01-01', valid_to = NULL, kind = 'base'")),
            "thematic": (1, lambda: changed("areas", "kind = 'thematic'")),
            "other floor": (2, lambda: changed("dwellings", "floor = :floor", floor=self.floor())),
            "other stairwell": (2, lambda: changed("dwellings", "unit = :unit", unit=chosen(ids["units"], 0.2))),
            "other house": (1, lambda: changed(str(chosen(NOUNS[1:])), "building = :to", to=chosen(self.houses))),
            "other dwelling": (2, lambda: changed("households", "dwelling = :to", to=chosen(ids["dwellings"], 0.2))),
            "other household": (2, lambda: changed("residents", "household = :to", to=chosen(ids["households"], 0.2))),
            "moved": (1, lambda: self.run(
                "UPDATE buildings SET geom = ST_Translate(geom, :x - ST_X(ST_PointOnSurface(geom)), 0) WHERE id = :id",
                id=chosen(self.houses), x=town.WEST + chosen(list(GROUND)) / 100)),
        }  # fmt: skip


SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=12)
@given(SEEDS)
def test_the_scope_is_that_of_the_rule_whatever_is_written_when(connection: sa.Connection, seed: int) -> None:
    with connection.begin_nested() as stage:
        made = Town(connection, seed)
        steps = made.steps()
        names, weights = list(steps), np.array([weight for weight, _ in steps.values()], float)
        for n, name in enumerate(made.rng.choice(names, 60, p=weights / weights.sum())):
            steps[name][1]()
            if n % 15 == 14:
                assert scopes(connection) == due(connection), (seed, n, name)
        assert not any(placing.replace(connection).values())
        versions = run(connection, "SELECT count(*), sum(version) FROM dwellings").one()
        told = run(connection, "SELECT count(*) FROM changes WHERE noun = 'dwellings'").scalar_one()
        assert told == (versions.sum or 0)
        stage.rollback()


@settings(max_examples=6)
@given(SEEDS)
def test_placing_in_bulk_puts_right_whatever_is_wrong(connection: sa.Connection, seed: int) -> None:
    with connection.begin_nested() as stage:
        made = Town(connection, seed)
        steps = made.steps()
        for name in ["unit"] * 8 + ["dwelling", "member", "household", "resident"] * 8:
            steps[name][1]()
        wanted = due(connection)
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for noun in NOUNS:
            connection.exec_driver_sql(f"UPDATE {noun} SET scope = '990101001', placement = NULL")
        connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
        placing.replace(connection)
        assert scopes(connection) == wanted
        assert run(connection, "SELECT count(*) FROM residents AS r JOIN buildings AS b ON b.id = r.building"
                               " WHERE r.placement IS DISTINCT FROM b.placement").scalar_one() == 0  # fmt: skip
        stage.rollback()


class Tower:
    """A house of two stairwells, each with a dwelling, household and resident a floor, and a dwelling of no stairwell."""

    def __init__(self, connection: sa.Connection, x: float = 0.5) -> None:
        self.building = house(connection, x)
        self.stairs = [town.add(connection, "units", building=self.building, name=f"{n}单元") for n in (1, 2)]
        self.rows: dict[str, list[list[UUID]]] = {"dwellings": [[], []], "households": [[], []], "residents": [[], []]}
        for n, unit in enumerate(self.stairs):
            for floor in (1, 2, 3):
                home = town.add(connection, "dwellings", building=self.building, unit=unit, floor=floor)
                family = town.add(connection, "households", building=self.building, dwelling=home)
                person = town.add(connection, "residents", building=self.building, household=family)
                for noun, id in zip(self.rows, (home, family, person), strict=True):
                    self.rows[noun][n].append(id)
        self.shed = town.add(connection, "dwellings", building=self.building)


def test_the_list_that_names_it_most_closely_counts(connection: sa.Connection) -> None:
    tower = Tower(connection)
    stair, other = tower.stairs
    whole, floors, stairwell, part, twin = (micro_grid(connection, town.A) for _ in range(5))
    for area, unit, low, high in (
        (whole, None, None, None), (floors, None, 2, None), (stairwell, stair, None, None), (part, stair, None, 1), (twin, stair, None, None),
    ):  # fmt: skip
        named(connection, area, tower.building, unit, low, high)
    dwelling = partial(town.add, connection, "dwellings", building=tower.building)
    wanted = {
        (stair, 1): part, (stair, 2): stairwell, (stair, None): stairwell, (other, 1): whole, (other, 2): floors, (other, None): whole,
        (None, 3): floors, (None, None): whole,
    }  # fmt: skip
    asked = partial(run, connection, "SELECT scope FROM dwellings WHERE id = :id")
    assert {seat: asked(id=dwelling(unit=seat[0], floor=seat[1])).scalar_one() for seat in wanted} == wanted
    assert run(connection, "SELECT scope FROM units ORDER BY name").scalars().all() == [stairwell, whole]


def test_a_stairwell_is_seen_and_nothing_of_the_next(connection: sa.Connection, web: Within) -> None:
    tower, other = Tower(connection), Tower(connection)
    paths = [micro_grid(connection, town.A) for _ in tower.stairs]
    for path, unit in zip(paths, tower.stairs, strict=True):
        named(connection, path, tower.building, unit)

    def seen(path: str, role: str = "jingwei_area") -> dict[str, set[UUID]]:
        with db.transaction(web, Caller("王五", role, (path,), Audience.WORKER), read_only=True) as bound:  # type: ignore[arg-type]
            readable = [noun for noun in NOUNS if role == "jingwei_area" or RESOURCES[noun].audience <= Audience.PARTNER]
            return {noun: set(run(bound, f"SELECT id FROM {noun}").scalars()) for noun in readable}

    for path, n in zip(paths, (0, 1), strict=True):
        own = {"buildings": set(), "units": {tower.stairs[n]}, **{noun: set(rows[n]) for noun, rows in tower.rows.items()}}
        assert seen(path) == own
        steward = seen(path, "jingwei_partner")
        assert steward == {noun: own[noun] for noun in steward}
        assert "units" in steward and "residents" not in steward
        assert run(connection, "SELECT buildings, dwellings FROM area_counts(:path)", path=path).one() == (0, 3)
    # Whoever holds the grid sees all of it, in a micro-grid or not.
    everything = {tower.shed, other.shed, *(id for one in (tower, other) for rows in one.rows["dwellings"] for id in rows)}
    assert seen(town.A)["dwellings"] == everything
    # Nothing can be written into the next stairwell, nor be taken there.
    holder = Caller("王五", "jingwei_area", (paths[0],), Audience.WORKER)
    adding = "INSERT INTO dwellings (building, unit, name, source) VALUES (:b, :u, '104', '')"
    for query in (adding, "UPDATE dwellings SET unit = :u WHERE id = :id"):
        with pytest.raises(Forbidden), db.transaction(web, holder) as bound:  # type: ignore[arg-type]
            run(bound, query, b=tower.building, u=tower.stairs[1], id=tower.rows["dwellings"][0][0])
    with db.transaction(web, holder) as bound:  # type: ignore[arg-type]
        run(bound, adding, b=tower.building, u=tower.stairs[0])


def test_a_change_of_a_list_is_journalled_once_for_what_moved(connection: sa.Connection) -> None:
    tower = Tower(connection)
    first, low = (micro_grid(connection, town.A) for _ in range(2))
    since = "SELECT noun, feature, operation, scope_before, scope_after FROM changes WHERE id > :since ORDER BY id"

    def told(what: Any) -> list[tuple[Any, ...]]:
        last = run(connection, "SELECT max(id) FROM changes").scalar_one()
        what()
        return [tuple(row) for row in run(connection, since, since=last)]

    # Members, one statement: a stairwell, and three floors of it.
    wanted = [
        {"area": first, "building": str(tower.building), "unit": str(tower.stairs[0]), "floor_from": None, "floor_to": None},
        {"area": low, "building": str(tower.building), "unit": str(tower.stairs[0]), "floor_from": 1, "floor_to": 1},
    ]
    written = partial(run, connection, "SELECT members_written(:areas, CAST(:wanted AS jsonb))", areas=[first, low], wanted=json.dumps(wanted))
    moved = told(written)
    paths = [low, first, first]
    assert set(moved) == {
        ("units", tower.stairs[0], "place", town.A, first),
        *((noun, id, "place", town.A, path) for noun, rows in tower.rows.items() for id, path in zip(rows[0], paths, strict=True)),
    }
    assert len(moved) == 10
    assert told(written) == []
    # The floors' list ends: they go back to their stairwell's.
    ended = told(lambda: run(connection, "UPDATE areas SET valid_to = now() WHERE path = :low", low=low))
    assert [line for line in ended if line[0] != "areas"] == [
        (noun, rows[0][0], "place", low, first) for noun, rows in tower.rows.items()
    ]
    # A dwelling that was put on the wrong stairwell takes its household along.
    right = told(lambda: run(connection, "UPDATE dwellings SET unit = :u WHERE id = :id", u=tower.stairs[1], id=tower.rows["dwellings"][0][0]))
    assert [line[:3] for line in right] == [
        (noun, rows[0][0], operation)
        for (noun, rows), operation in zip(tower.rows.items(), ("change", "place", "place"), strict=True)
    ]


def test_a_house_of_one_micro_grid_goes_back_to_where_it_stands(connection: sa.Connection) -> None:
    inside, outside, drawn_in = house(connection, 0.5), house(connection, 3.9), house(connection, 1.5)
    ground = town.area(connection, "micro_grid", None, "画的", 1.4, 0.4, 1.6, 0.6, parent=town.B)
    answers = partial(run, connection, "SELECT scope FROM buildings WHERE id = :id")
    polygon = run(connection, "SELECT path FROM areas WHERE id = :id", id=ground).scalar_one()
    assert answers(id=drawn_in).scalar_one() == polygon
    lists = [micro_grid(connection, parent) for parent in (town.A, town.D, town.B)]
    members_of = [named(connection, path, id) for path, id in zip(lists, (inside, outside, drawn_in), strict=True)]
    foreign = [named(connection, lists[0], id) for id in (outside, drawn_in)]
    # By name rather than by ground, but never that of another grid.
    assert [answers(id=id).scalar_one() for id in (inside, outside, drawn_in)] == lists
    assert not any(placing.replace(connection).values())
    run(connection, "UPDATE area_members SET building = :other WHERE id = :id", other=drawn_in, id=members_of[1])
    assert [answers(id=id).scalar_one() for id in (inside, outside, drawn_in)] == [lists[0], C2, lists[2]]
    run(connection, "DELETE FROM area_members WHERE id = ANY (:ids)", ids=members_of)
    assert [answers(id=id).scalar_one() for id in (inside, outside, drawn_in)] == [town.A, C2, polygon]
    run(connection, "DELETE FROM area_members WHERE id = ANY (:ids)", ids=foreign)
    assert not any(placing.replace(connection).values())


def test_a_point_in_a_drawn_micro_grid_answers_there_as_before(connection: sa.Connection) -> None:
    path = run(connection, "SELECT path FROM areas WHERE id = :id", id=town.area(connection, "micro_grid", None, "画的", 0, 0, 1, 1, parent=town.A)).scalar_one()
    first = town.add(connection, "incidents", town.point(0.5, 0.5))
    tower = Tower(connection)
    listed = micro_grid(connection, town.A)
    named(connection, listed, tower.building)
    second = town.add(connection, "incidents", town.point(0.5, 0.505))
    asked = run(connection, "SELECT scope FROM incidents WHERE id = ANY (:ids)", ids=[first, second])
    assert set(asked.scalars()) == {path}
    assert set(run(connection, "SELECT scope FROM residents").scalars()) == {listed}


def test_lists_are_redrawn_with_their_grid_in_one_step(connection: sa.Connection) -> None:
    tower, whole = Tower(connection), house(connection, 0.3)
    first, second = (micro_grid(connection, town.A, code=f"{town.A}00{n}") for n in (1, 2))
    named(connection, first, tower.building, tower.stairs[0])
    named(connection, second, whole)
    before = scopes(connection)
    last = run(connection, "SELECT max(id) FROM changes").scalar_one()
    told = redrawing.split(connection, town.A, [Piece("西", drawn(0, 0.4)), Piece("东", drawn(0.4, 1))], date(2026, 3, 1), apply=True)
    west, east = told.opened
    assert (told.renamed[first][:15], told.renamed[second][:15]) == (east, west)
    assert run(connection, "SELECT scope FROM buildings WHERE id = :id", id=whole).scalar_one() == told.renamed[second]
    after = scopes(connection)
    assert {after["residents"][id] for id in tower.rows["residents"][0]} == {told.renamed[first]}
    assert {after["residents"][id] for id in tower.rows["residents"][1]} == {east}
    twice = "SELECT noun, feature, count(*) FROM changes WHERE id > :last AND noun <> 'areas' AND feature IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
    assert run(connection, twice, last=last).all() == []
    assert not any(placing.replace(connection).values())
    assert told.batch is not None
    ends.undo(connection, told.batch)
    assert scopes(connection) == before


def test_the_clock_brings_lists_into_force_and_ends_them(connection: sa.Connection) -> None:
    tower = Tower(connection)
    tomorrow = datetime.now().astimezone() + timedelta(days=1)
    ending, coming = micro_grid(connection, town.A, valid_to=tomorrow), micro_grid(connection, town.A, valid_from=tomorrow)
    named(connection, ending, tower.building, tower.stairs[0])
    named(connection, coming, tower.building)
    asked = partial(run, connection, "SELECT scope FROM units WHERE id = ANY (:ids) ORDER BY name", ids=tower.stairs)
    assert asked().scalars().all() == [ending, town.A]
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    for column in ("valid_from", "valid_to"):
        connection.exec_driver_sql(f"UPDATE areas SET {column} = {column} - interval '2 days' WHERE {column} > now()")
    connection.exec_driver_sql("UPDATE relay SET struck_at = now() - interval '2 days'")
    connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
    run(connection, "SELECT clock_struck()")
    assert asked().scalars().all() == [coming, coming]
    assert scopes(connection) == due(connection)


# Loads, and two at once


@pytest.fixture
def load(live: Address, key: FieldKey, tmp_path: Path) -> Iterator[Any]:
    engine = db.engine(live.url("jingwei_loader"), pool=1)

    def loaded(into: str, rows: list[dict[str, object]], **how: Any) -> intake.Report:
        file = tmp_path / f"{into}.csv"
        heads = list(rows[0])
        lines = [",".join(heads), *(",".join("" if row[head] is None else str(row[head]) for head in heads) for row in rows)]
        file.write_text("\n".join(lines), "utf-8")
        return intake.load(engine, Order(file, into), key, tmp_path / "cache", **how)

    yield loaded
    engine.dispose()


def test_a_load_places_as_the_trigger_does(load: Any, live_engine: sa.Engine) -> None:
    rng = np.random.default_rng(11)
    with live_engine.begin() as connection:
        houses = [house(connection, x, 0.2 * n) for n, x in enumerate((*GROUND, 0.5), 1)]
        for n, id in enumerate(houses):
            run(connection, "UPDATE buildings SET code = :code WHERE id = :id", code=f"B{n}", id=id)
        lists = [micro_grid(connection, parent) for parent in (town.A, town.A, town.B, town.D)]
    load("units", [{"name": f"{n}单元", "code": f"U{b}{n}", "building": f"B{b}"} for b in range(len(houses)) for n in (1, 2)])
    with live_engine.begin() as connection:
        stairs = run(connection, "SELECT id, building FROM units ORDER BY code").all()
        for path in lists:
            for n in rng.choice(len(stairs), 4, replace=False):
                low = None if rng.random() < 0.5 else int(rng.integers(1, 4))
                named(connection, path, stairs[n].building, stairs[n].id if rng.random() < 0.7 else None, low, None if low is None else low + 1)
    floors = [(b, n, f) for b in range(len(houses)) for n in (1, 2, None) for f in (1, 2, 3, None)]
    load("dwellings", [
        {"name": "室", "code": f"D{i}", "building": f"B{b}", "unit": n and f"U{b}{n}", "floor": f} for i, (b, n, f) in enumerate(floors)
    ])
    # Some of another house, some of none.
    homes = [None if rng.random() < 0.1 else int(rng.integers(len(floors))) if rng.random() < 0.1 else i for i in range(len(floors))]
    load("households", [
        {"name": "户", "code": f"H{i}", "building": f"B{floors[i][0]}", "dwelling": None if d is None else f"D{d}"} for i, d in enumerate(homes)
    ])
    load("residents", [{"name": "某", "code": f"R{i}", "building": f"B{floors[i][0]}", "household": f"H{i}"} for i in range(len(floors))])
    with live_engine.begin() as connection:
        bulk = scopes(connection)
        assert bulk == due(connection)
        assert len({scope for scope in bulk["residents"].values() if len(scope) == 18}) == len(lists)
        last = run(connection, "SELECT max(id) FROM changes").scalar_one()
        for noun, columns in (("units", ["building"]), ("dwellings", ["floor"]), ("households", ["dwelling"]), ("residents", ["household"])):
            connection.exec_driver_sql(f"UPDATE {noun} SET {columns[0]} = {columns[0]}")
        # The trigger finds nothing to change, and what a load brought is one line in the journal.
        assert run(connection, "SELECT count(*) FROM changes WHERE id > :last", last=last).scalar_one() == 0
        assert run(connection, "SELECT count(*) FROM changes WHERE noun IN ('dwellings', 'households', 'residents') AND operation <> 'batch'").scalar_one() == 0


def test_lists_that_are_loaded_after_the_people_move_them(load: Any, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        tower = Tower(connection)
        run(connection, "UPDATE buildings SET name = '1幢' WHERE id = :id", id=tower.building)
    load("areas", [{"name": "一单元", "level": "micro_grid", "parent": town.A, "members": "1幢1单元"}])
    with live_engine.begin() as connection:
        [path] = run(connection, "SELECT path FROM areas WHERE level = 'micro_grid'").scalars()
        assert scopes(connection)["residents"] == {
            id: path if n == 0 else town.A for n in (0, 1) for id in tower.rows["residents"][n]
        }
        assert members.derive(connection).members == 0


def waiting(connection: sa.Connection, thread: threading.Thread) -> bool:
    """Whether another session waits for a lock, once it does or the thread has ended."""
    while thread.is_alive():
        if run(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one():
            return True
    return False


@pytest.mark.parametrize("first", ["dwelling", "list"])
def test_two_who_write_at_once_wait_for_each_other(live_engine: sa.Engine, first: str) -> None:
    with live_engine.begin() as connection:
        tower, path = Tower(connection), micro_grid(connection, town.A)
    writes = {
        "dwelling": lambda c: town.add(c, "dwellings", building=tower.building, unit=tower.stairs[0], code="late"),
        "list": lambda c: named(c, path, tower.building, tower.stairs[0]),
    }
    second = "list" if first == "dwelling" else "dwelling"

    def other() -> None:
        with live_engine.begin() as connection:
            writes[second](connection)

    with live_engine.connect() as watching, live_engine.begin() as connection:
        writes[first](connection)
        thread = threading.Thread(target=other)
        thread.start()
        waited = waiting(watching, thread)
    thread.join()
    assert waited
    with live_engine.begin() as connection:
        assert run(connection, "SELECT scope FROM dwellings WHERE code = 'late'").scalar_one() == path
        assert scopes(connection) == due(connection)


def test_a_list_that_changes_while_a_file_is_read_waits_for_it(load: Any, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        tower, path = Tower(connection), micro_grid(connection, town.A)
        run(connection, "UPDATE buildings SET code = 'B' WHERE id = :id", id=tower.building)
        run(connection, "UPDATE units SET code = 'U' WHERE id = :id", id=tower.stairs[0])

    def other() -> None:
        with live_engine.begin() as connection:
            named(connection, path, tower.building, tower.stairs[0])

    thread, waited = threading.Thread(target=other), []

    def meanwhile(*_: object) -> None:
        thread.start()
        with live_engine.connect() as watching:
            waited.append(waiting(watching, thread))

    load("dwellings", [{"name": "401", "code": "new", "building": "B", "unit": "U"}], told=meanwhile)
    thread.join()
    assert waited == [True]
    with live_engine.begin() as connection:
        assert run(connection, "SELECT scope FROM dwellings WHERE code = 'new'").scalar_one() == path
