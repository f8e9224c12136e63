"""Lists of houses are read as people write them; boundaries follow from footprints and share out the ground."""

import json
import math
from uuid import UUID

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import members
from geo.members import Member
from tests import town

C1 = "990101001001"


def brief(member: Member) -> str:
    floors = "{}-{}层".format(*member.floors) if member.floors else ""
    unit = f"{member.unit}单元" if member.unit else ""
    kind = {"house": "幢", "door": "号", "any": ""}[member.kind] if member.number else ""
    return f"{member.where}|{member.number or ''}{kind}{unit}{floors}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("第三网格:1—8幢、10幢", [*(f"|{n}幢" for n in range(1, 9)), "|10幢"]),
        ("1-8号楼,10栋", [*(f"|{n}幢" for n in range(1, 9)), "|10幢"]),
        ("1—8、10幢", [*(f"|{n}幢" for n in range(1, 9)), "|10幢"]),
        ("1幢~3幢、10", ["|1幢", "|2幢", "|3幢", "|10幢"]),
        ("3幢2单元", ["|3幢2单元"]),
        ("3幢1-6层", ["|3幢1-6层"]),
        ("3幢2单元7—11层", ["|3幢2单元7-11层"]),
        ("3幢1、3、5单元", ["|3幢1单元", "|3幢3单元", "|3幢5单元"]),
        ("3幢1—2单元、4单元", ["|3幢1单元", "|3幢2单元", "|3幢4单元"]),
        ("1、2幢3单元", ["|1幢", "|2幢3单元"]),
        ("澜溪苑1幢、3幢,柳荫里3号", ["澜溪苑|1幢", "澜溪苑|3幢", "柳荫里|3号"]),
        ("澜溪苑:1至3号楼和5号楼", ["澜溪苑|1幢", "澜溪苑|2幢", "澜溪苑|3幢", "澜溪苑|5幢"]),
        ("锦和苑2幢", ["锦和苑|2幢"]),
        ("潮音新村14—15幢", ["潮音新村|14幢", "潮音新村|15幢"]),
        ("八一小区3栋", ["八一小区|3幢"]),
        ("三里屯1幢", ["三里屯|1幢"]),
        ("第三幢、十二栋、二十一幢", ["|3幢", "|12幢", "|21幢"]),
        ("A—C座", ["|A幢", "|B幢", "|C幢"]),
        ("12a幢、07幢", ["|12A幢", "|7幢"]),
        ("3#、5#楼", ["|3幢", "|5幢"]),
        ("枫林路1—7号(单号)", [f"枫林路|{n}号" for n in (1, 3, 5, 7)]),
        ("枫林路2-6双号", [f"枫林路|{n}" for n in (2, 4, 6)]),
        ("8-6幢", ["|6幢", "|7幢", "|8幢"]),
        ("1幢 2幢 3幢", ["|1幢", "|2幢", "|3幢"]),
        ("澜溪苑全部;溪月花苑车棚", ["澜溪苑|", "溪月花苑车棚|"]),
        ("石埠老街西段1号", ["石埠老街西段|1号"]),
        ("5楼", ["|5幢"]),
    ],
)  # fmt: skip
def test_lists_are_read(text: str, wanted: list[str]) -> None:
    read, refused = members.parsed(text)
    assert [brief(member) for member in read] == wanted
    assert refused == []


@pytest.mark.parametrize(("text", "refused"), [("1—9000幢", ["1-9000幢"]), ("2单元", ["2单元"]), ("3幢501", ["3幢501"]), ("A-9幢、1幢", ["A-9幢"])])
def test_what_cannot_be_read_is_told(text: str, refused: list[str]) -> None:
    assert members.parsed(text)[1] == refused


@given(st.text(alphabet="0123456789一二十A—-~、,,幢栋号楼座单元层至和::#( )澜溪苑网格第", max_size=40))
def test_no_list_breaks_the_reader(text: str) -> None:
    read, refused = members.parsed(text)
    assert len(read) < 40 * members.LONGEST
    assert all(isinstance(part, str) for part in refused)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12, unique=True), st.sampled_from(["幢", "栋", "号楼", "座"]), st.sampled_from("、,,"))
def test_numbers_come_back(numbers: list[int], suffix: str, comma: str) -> None:
    read, _ = members.parsed(comma.join(map(str, numbers)) + suffix)
    assert [member.number for member in read] == [str(n) for n in numbers]


METRE = 1 / 111_320


def footprint(x: float, y: float, width: float, depth: float, turn: float = 0) -> shapely.Polygon:
    """A house, metres from the corner of the ground."""
    squeeze = math.cos(math.radians(town.SOUTH))
    flat = shapely.affinity.rotate(shapely.box(x, y, x + width, y + depth), turn)
    return shapely.transform(flat, lambda xy: xy * (METRE / squeeze, METRE) + (town.WEST, town.SOUTH))


GROUND = footprint(0, 0, 200, 150)


@st.composite
def compounds(draw: st.DrawFn) -> tuple[dict[str, list[shapely.Polygon]], list[shapely.Polygon]]:
    """Houses on a raster of plots, some wall to wall, some across the border of the ground, given to three lists or none."""
    owned: dict[str, list[shapely.Polygon]] = {"a": [], "b": [], "c": []}
    others = []
    for column in range(4):
        for row in range(3):
            width = draw(st.sampled_from([20, 40, 50]))
            house = footprint(column * 50, row * 50, width, draw(st.sampled_from([12, 30])), draw(st.sampled_from([0, 0, 17])))
            owner = draw(st.sampled_from(["a", "b", "c", "", "-"]))
            if owner == "-":
                others.append(house)
            elif owner:
                owned[owner].append(house)
    return {key: houses for key, houses in owned.items() if houses}, others


@given(compounds())
def test_ground_is_shared_out(drawn: tuple[dict[str, list[shapely.Polygon]], list[shapely.Polygon]]) -> None:
    owned, others = drawn
    shares = members.partitioned(GROUND, owned, others)
    tiny = 1e-14  # square degrees: 0.1 mm²
    assert set(shares) == set(owned)
    for key, share in shares.items():
        assert share.is_valid
        assert shapely.difference(share, GROUND).area < tiny
        for other, houses in owned.items():
            common = shapely.intersection(share, shapely.union_all(houses)).area
            standing = shapely.intersection(GROUND, shapely.union_all(houses)).area
            if other == key:
                # Turned houses may overlap their neighbours'; then the first has the common ground.
                overlap = sum(shapely.intersection(h, o).area for h in houses for k, ohs in owned.items() if k != key for o in ohs)
                assert common >= standing - overlap - sum(shapely.intersection(h, o).area for h in houses for o in others) - tiny
        for other, rival in shares.items():
            assert other == key or shapely.intersection(share, rival).area < tiny
    if owned and not others:
        # Nobody else: the ground is shared out to the last, but for what is cut off from every house.
        left = shapely.difference(GROUND, shapely.union_all([*shares.values()]))
        assert left.area < 0.02 * GROUND.area


def test_a_shared_wall_is_the_border() -> None:
    shares = members.partitioned(GROUND, {"a": [footprint(50, 50, 40, 30)], "b": [footprint(90, 50, 40, 30)]})
    assert shares["a"].area == pytest.approx(shares["b"].area, rel=0.35)
    wall = shapely.intersection(shares["a"].boundary, shares["b"].boundary)
    assert shapely.distance(wall, shapely.Point(shapely.centroid(footprint(90, 50, 0.001, 30)))) < METRE


def house(connection: sa.Connection, name: str, x: float, y: float, **values: object) -> UUID:
    """A house of 0.05 by 0.02 hundredths of a degree."""
    return town.add(connection, "buildings", town.box(x, y, x + 0.05, y + 0.02), name=name, code=f"{name}{x}{y}", **values)


def listed(connection: sa.Connection, code: str, text: str, level: str = "grid", parent: str = C1) -> str:
    made = connection.scalar(
        sa.text("INSERT INTO areas (level, code, name, members, parent) VALUES (:level, :code, :code, :text, :parent) RETURNING path"),
        {"level": level, "code": code, "text": text, "parent": parent},
    )
    return str(made)


@pytest.fixture
def compound(connection: sa.Connection) -> sa.Connection:
    """One community whose two grids are lists, and two compounds of six and four houses."""
    connection.execute(sa.text("DELETE FROM areas WHERE path LIKE :c AND level = 'grid'"), {"c": f"{C1}%"})
    for compound, count, south in (("澜溪苑", 6, 0.5), ("柳荫里", 4, 1.5)):
        home = town.add(connection, "compounds", name=compound, code=compound, aliases="柳荫小区" if count == 4 else None)
        for n in range(1, count + 1):
            house(connection, f"{n}幢", 0.2 * n, south, compound=home)
    house(connection, "石埠街3号", 1.7, 0.9)
    return connection


def names(connection: sa.Connection, path: str) -> list[str]:
    told = sa.text(
        "SELECT concat(c.name, b.name) FROM area_members AS m JOIN buildings AS b ON b.id = m.building"
        " LEFT JOIN compounds AS c ON c.id = b.compound WHERE m.area = :path ORDER BY 1"
    )
    return list(connection.scalars(told, {"path": path}))


def test_a_list_becomes_members_and_a_boundary(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "第一网格:澜溪苑1—4幢、石埠街3号")
    two = listed(compound, f"{C1}002", "澜溪苑5—6幢,柳荫小区1-4号楼,9幢")
    told = members.derive(compound)
    assert names(compound, one) == ["澜溪苑1幢", "澜溪苑2幢", "澜溪苑3幢", "澜溪苑4幢", "石埠街3号"]
    assert len(names(compound, two)) == 6
    assert [(u.text, u.reason) for u in told.unresolved] == [("9幢", "没有这栋楼")]
    assert (told.areas, told.members, told.boundaries) == (2, 11, [one, two])
    row = compound.execute(sa.text(
        "SELECT bool_and(derived) AS derived, ST_Area(ST_Union(geom)) / 4e-4 AS share,"
        " (SELECT count(*) FROM buildings AS b WHERE left(b.scope, 15) IN (:one, :two)) AS placed,"
        " (SELECT count(*) FROM area_members AS m JOIN buildings AS b ON b.id = m.building WHERE b.scope <> m.area) AS strays"
        " FROM areas WHERE path IN (:one, :two)"), {"one": one, "two": two}).one()  # fmt: skip
    assert (row.derived, row.placed, row.strays) == (True, 11, 0)
    assert row.share == pytest.approx(1, abs=1e-6)
    # Once more: nothing is written.
    again = members.derive(compound)
    assert (again.members, again.boundaries) == (0, [])


def test_houses_that_come_later_complete_the_list(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "澜溪苑1幢、7幢")
    told = members.derive(compound)
    assert [u.text for u in told.unresolved] == ["7幢"]
    home = compound.scalar(sa.text("SELECT id FROM compounds WHERE name = '澜溪苑'"))
    house(compound, "7幢", 1.5, 0.7, compound=home)
    assert members.derive(compound, ["990101001002001"]).areas == 0
    told = members.derive(compound, [f"{C1}001"])
    assert (told.members, told.boundaries, told.unresolved) == (1, [one], [])


def test_what_is_drawn_by_hand_stays(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "澜溪苑1—6幢")
    two = listed(compound, f"{C1}002", "柳荫里1—4幢")
    members.derive(compound)
    compound.execute(
        sa.text("UPDATE areas SET geom = ST_Multi(ST_SetSRID(ST_GeomFromGeoJSON(:shape), 4326)) WHERE path = :one"),
        {"shape": json.dumps(town.box(0, 0, 2, 0.9)), "one": one},
    )
    assert compound.scalar(sa.text("SELECT derived FROM areas WHERE path = :one"), {"one": one}) is False
    assert members.derive(compound).boundaries == [two]
    kept = "SELECT ST_Area(geom) / (ST_XMax(geom) - ST_XMin(geom)) / (ST_YMax(geom) - ST_YMin(geom)) FROM areas WHERE path = :path"
    assert compound.scalar(sa.text(kept), {"path": one}) == pytest.approx(1)
    overlap = "SELECT ST_Area(ST_Intersection(a.geom, b.geom)) FROM areas AS a, areas AS b WHERE a.path = :a AND b.path = :b"
    assert compound.scalar(sa.text(overlap), {"a": one, "b": two}) < 1e-14


def test_a_list_without_names_means_the_compound_that_fits(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "1—3幢、6幢")
    two = listed(compound, f"{C1}002", "4幢")
    told = members.derive(compound)
    assert names(compound, one) == ["澜溪苑1幢", "澜溪苑2幢", "澜溪苑3幢", "澜溪苑6幢"]
    assert names(compound, two) == []
    assert [(u.path, u.text, u.reason) for u in told.unresolved] == [(two, "4幢", "有 2 栋楼都叫这个名字")]


def test_two_lists_cannot_have_one_house(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "澜溪苑1—3幢")
    two = listed(compound, f"{C1}002", "澜溪苑3—6幢")
    [dispute] = members.derive(compound).unresolved
    assert (dispute.path, dispute.text, dispute.reason) == (two, "3幢", f"也列在 {one} 名下")


def test_micro_grids_of_stairwells_and_floors(compound: sa.Connection) -> None:
    grid = listed(compound, f"{C1}001", "澜溪苑全部、柳荫里全部、石埠街3号")
    members.derive(compound)
    tower = compound.scalar(sa.text("SELECT b.id FROM buildings AS b JOIN compounds AS c ON c.id = b.compound WHERE c.name = '柳荫里' AND b.name = '3幢'"))
    added = sa.text("INSERT INTO units (building, name) VALUES (:tower, :name) RETURNING id")
    stairs = [compound.scalar(added, {"tower": tower, "name": f"{n}单元"}) for n in (1, 2)]
    whole = listed(compound, f"{grid}001", "柳荫里3幢", "micro_grid", grid)
    first = listed(compound, f"{grid}002", "柳荫里3幢一单元", "micro_grid", grid)
    low = listed(compound, f"{grid}003", "柳荫里3幢2单元1—6层", "micro_grid", grid)
    told = members.derive(compound)
    assert (told.unresolved, told.boundaries) == ([], [])

    def micro_grid(unit: UUID | None, floor: int | None) -> str | None:
        return compound.scalar(sa.select(sa.func.micro_grid_of(tower, unit, floor)))

    assert micro_grid(stairs[0], 3) == first
    assert micro_grid(stairs[1], 6) == low
    assert micro_grid(stairs[1], 7) == whole
    assert micro_grid(stairs[1], None) == whole
    assert micro_grid(None, None) == whole
    listed(compound, f"{grid}004", "柳荫里3幢9单元", "micro_grid", grid)
    [unknown] = members.derive(compound).unresolved
    assert unknown.reason == "这栋楼没有登记这个单元"


def test_the_loader_may_derive(compound: sa.Connection) -> None:
    one = listed(compound, f"{C1}001", "澜溪苑1—6幢")
    compound.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION jingwei_loader")
    told = members.derive(compound)
    compound.exec_driver_sql("RESET SESSION AUTHORIZATION")
    assert (told.members, told.boundaries) == (6, [one])
    placed = compound.scalar(sa.text("SELECT count(*) FROM buildings WHERE scope = :one"), {"one": one})
    assert placed == 6
