"""CQL2: what a filter finds, against plain Python over the same rows; what is refused; what a filter may cost."""

import fnmatch
import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import cql, references
from geo.catalog import RESOURCES
from geo.errors import BadQuery
from geo.resource import Audience
from geo.tables import TABLES
from tests import town
from tests.conftest import Client

HOUSES = RESOURCES["buildings"]
ITEMS = "/collections/buildings/items"

Row = dict[str, Any]
# name, code, floors, built_year, use, address, and the square it stands on
ROWS: tuple[Row, ...] = (
    {"name": "1幢", "code": "LX-1", "floors": 6, "built_year": 1998, "use": "residential", "address": "澜溪苑1幢", "west": 0.1},
    {"name": "2幢", "code": "LX-2", "floors": 11, "built_year": 2004, "use": "residential", "address": "澜溪苑2幢", "west": 0.3},
    {"name": "Café Zoé", "code": "c%_1", "floors": 1, "built_year": None, "use": "commercial", "address": None, "west": 1.1},
    {"name": "CAFE ZOE", "code": "c%x1", "floors": 2, "built_year": 2004, "use": "mixed", "address": "o'clock 路", "west": 1.3},
    {"name": "厂房", "code": None, "floors": None, "built_year": 1962, "use": "industrial", "address": "溪边路9号", "west": 2.5},
    {"name": "厂房", "code": "F\\2", "floors": 1, "built_year": 1962, "use": "industrial", "address": "溪边路11号", "west": 3.3},
)
FIELDS = ("name", "code", "floors", "built_year", "use", "address")


@pytest.fixture
def houses(connection: sa.Connection) -> sa.Connection:
    """The rows, each a square of two thousandths of a degree."""
    for row in ROWS:
        west = row["west"]
        town.add(connection, "buildings", town.box(west, 0.1, west + 0.2, 0.3), **{name: row[name] for name in FIELDS})
    return connection


def found(client: Client, text: str, **more: str) -> set[float]:
    """The squares that a filter finds, by their western edge."""
    answer = client.get(ITEMS, params={"filter": text, **more})
    assert answer.status_code == 200, answer.text
    return {round((f["geometry"]["coordinates"][0][0][0][0] - town.WEST) * 100, 1) for f in answer.json()["features"]}


def all_but(*edges: float) -> set[float]:
    return {row["west"] for row in ROWS} - set(edges)


X, Y = town.at(0.0, 0.0)
HERE = f"BBOX({X},{Y},{X + 0.01},{Y + 0.01})"
GRID = f"POLYGON(({X} {Y},{X + 0.01} {Y},{X + 0.01} {Y + 0.02},{X} {Y + 0.02},{X} {Y}))"
SQUARE = f"POLYGON(({X + 0.001} {Y + 0.001},{X + 0.003} {Y + 0.001},{X + 0.003} {Y + 0.003},{X + 0.001} {Y + 0.003},{X + 0.001} {Y + 0.001}))"


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("floors = 1", {1.1, 3.3}),
        ("floors <> 1", {0.1, 0.3, 1.3}),
        ("floors > 1.5 AND floors <= 6", {0.1, 1.3}),
        ("floors = 1.5", set()),
        ("2 < floors", {0.1, 0.3}),
        ("floors BETWEEN 1 AND 2", {1.1, 1.3, 3.3}),
        ("floors NOT BETWEEN 1 AND 2", {0.1, 0.3}),
        ("floors IN (6, 11)", {0.1, 0.3}),
        ("floors NOT IN (6, 11)", {1.1, 1.3, 3.3}),
        ("floors IS NULL", {2.5}),
        ("floors IS NOT NULL", all_but(2.5)),
        ("NOT (floors = 1)", {0.1, 0.3, 1.3}),
        ("use = 'industrial' OR floors = 6", {0.1, 2.5, 3.3}),
        ("name LIKE '%幢'", {0.1, 0.3}),
        (r"code LIKE 'c\%\_1'", {1.1}),
        ("code LIKE 'c%_1'", {1.1, 1.3}),
        ("name NOT LIKE '_幢'", all_but(0.1, 0.3)),
        ("CASEI(name) LIKE CASEI('cafe%')", {1.3}),
        ("ACCENTI(CASEI(name)) LIKE ACCENTI(CASEI('CAFÉ%'))", {1.1, 1.3}),
        ("CASEI(code) = CASEI('lx-1')", {0.1}),
        ("ACCENTI(name) = 'Cafe Zoe'", {1.1}),
        ("address = 'o''clock 路'", {1.3}),
        (r"code = 'F\2'", {3.3}),
        ("name = code", set()),
        ("floors * 1000 > built_year", {0.1, 0.3}),
        ("built_year - floors = 1961", {3.3}),
        ("floors + 2 * 3 = 7", {1.1, 3.3}),
        ("built_year / 2 = 1002", {0.3, 1.3}),
        ("built_year div 100 = 19", {0.1, 2.5, 3.3}),
        ("built_year % 100 = 4", {0.3, 1.3}),
        ("floors ^ 2 = 121", {0.3}),
        ("floors / 0 = 1 OR floors = 6", {0.1}),
        ("A_CONTAINEDBY((use), ('industrial','mixed'))", {1.3, 2.5, 3.3}),
        ("A_CONTAINS((use, name), ('厂房'))", {2.5, 3.3}),
        ("A_OVERLAPS((floors), (1, 2))", {1.1, 1.3, 3.3}),
        ("A_EQUALS((use), ('mixed'))", {1.3}),
        (f"S_INTERSECTS(geom, {HERE})", {0.1, 0.3}),
        (f"S_WITHIN(geom, {GRID})", {0.1, 0.3}),
        (f"S_CONTAINS({GRID}, geom)", {0.1, 0.3}),
        (f"S_DISJOINT(geom, {GRID})", all_but(0.1, 0.3)),
        (f"S_EQUALS(geom, {SQUARE})", {0.1}),
        (f"S_TOUCHES(geom, {SQUARE})", {0.3}),
        (f"S_OVERLAPS(geom, POLYGON(({X} {Y},{X + 0.002} {Y},{X + 0.002} {Y + 0.01},{X} {Y + 0.01},{X} {Y})))", {0.1}),
        (f"S_CROSSES(geom, LINESTRING({X} {Y + 0.002},{X + 0.004} {Y + 0.002}))", {0.1, 0.3}),
        (f"S_CONTAINS(geom, POINT({X + 0.002} {Y + 0.002}))", {0.1}),
        ("S_INTERSECTS(geom, BBOX(170,-90,122.6025,90))", {0.1}),  # across the 180th meridian
        ("id IS NOT NULL", all_but()),
        ("true", all_but()),
        ("false", set()),
    ],
)
def test_what_is_found(client: Client, houses: sa.Connection, text: str, there: set[float]) -> None:
    assert found(client, text) == there
    # The same as JSON, and with everything else that a list may be asked.
    tree = json.dumps(cql.parsed(text, "cql2-text"))
    assert found(client, tree, **{"filter-lang": "cql2-json"}) == there
    assert found(client, text, use="industrial", bbox="122,29,123,30") == there & {2.5, 3.3}


Cases = tuple[tuple[str, set[str]], ...]
PERIODS = {"early": ("2020-02-01T00:00:00+08:00", "2020-03-01T00:00:00+08:00"), "late": ("2020-03-01T00:00:00+08:00", "2020-04-01T00:00:00+08:00")}
WHEN = "INTERVAL(starts_at, planned_end)"
FEBRUARY = "INTERVAL('2020-02-01T00:00:00+08:00', '2020-03-01T00:00:00+08:00')"
TIMES: Cases = (
    ("starts_at = TIMESTAMP('2020-02-01T00:00:00+08:00')", {"early"}),
    ("starts_at = TIMESTAMP('2020-01-31T16:00:00Z')", {"early"}),
    ("starts_at < DATE('2020-02-15')", {"early"}),
    ("starts_at >= '2020-02-15'", {"late"}),
    (f"T_EQUALS({WHEN}, {FEBRUARY})", {"early"}),
    (f"T_METBY({WHEN}, {FEBRUARY})", {"late"}),
    (f"T_MEETS({WHEN}, INTERVAL('2020-04-01T00:00:00+08:00', '..'))", {"late"}),
    (f"T_DURING({WHEN}, INTERVAL('2020-01-01', '2020-03-20'))", {"early"}),
    (f"T_CONTAINS({WHEN}, TIMESTAMP('2020-02-15T12:00:00+08:00'))", {"early"}),
    (f"T_INTERSECTS({WHEN}, DATE('2020-03-31'))", {"late"}),
    (f"T_DISJOINT({WHEN}, INTERVAL('..', '2020-02-20'))", {"late"}),
    (f"T_OVERLAPS({WHEN}, INTERVAL('2020-02-15', '2020-03-15'))", {"early"}),
    (f"T_OVERLAPPEDBY({WHEN}, INTERVAL('2020-02-15', '2020-03-15'))", {"late"}),
    (f"T_STARTS({WHEN}, INTERVAL('2020-02-01', '2020-03-15'))", {"early"}),
    (f"T_STARTEDBY({WHEN}, INTERVAL('2020-03-01T00:00:00+08:00', '2020-03-15'))", {"late"}),
    (f"T_FINISHES({WHEN}, INTERVAL('2020-01-15', '2020-03-01T00:00:00+08:00'))", {"early"}),
    (f"T_FINISHEDBY({WHEN}, INTERVAL('2020-02-15', '2020-03-01T00:00:00+08:00'))", {"early"}),
    ("T_AFTER(starts_at, DATE('2020-02-10'))", {"late"}),
    ("T_BEFORE(planned_end, TIMESTAMP('2020-03-01T00:00:00.000001+08:00'))", {"early"}),
    ("NOT exercise = true AND starts_at > TIMESTAMP('2020-02-15T00:00:00Z')", {"late"}),
)


def test_what_is_found_by_time(client: Client, connection: sa.Connection) -> None:
    for code, (starts_at, planned_end) in PERIODS.items():
        town.add(connection, "zones", **{**town.BEYOND["zones"], "code": code, "starts_at": starts_at, "planned_end": planned_end})
    for text, there in TIMES:
        answer = client.get("/collections/zones/items", params={"filter": text})
        assert answer.status_code == 200, (text, answer.text)
        assert {f["properties"]["code"] for f in answer.json()["features"]} == there, text


@pytest.mark.parametrize(
    ("period", "there"),
    [
        ("2020-02-15T00:00:00Z", {"early"}), ("2020-02-15", {"early"}), ("2020-02-10/2020-02-20", {"early"}), ("../2020-02-20", {"early"}),
        ("2020-03-02/..", {"late"}), ("/2020-01-31", set()), ("2020-02-29/2020-03-02", {"early", "late"}),
    ],
)
def test_a_feature_has_a_time_of_its_own(client: Client, connection: sa.Connection, period: str, there: set[str]) -> None:
    for code, (starts_at, planned_end) in PERIODS.items():
        town.add(connection, "zones", **{**town.BEYOND["zones"], "code": code, "starts_at": starts_at, "planned_end": planned_end})
    answer = client.get("/collections/zones/items", params={"datetime": period})
    assert {f["properties"]["code"] for f in answer.json()["features"]} == there


@pytest.mark.parametrize("period", ["", "..", "../..", "/", "x", "2020-02-30", "2020-03-01/2020-02-01", "0000-01-01", "infinity", "2020-01-01/2020-01-02/2020-01-03"])
def test_times_that_are_none(client: Client, period: str) -> None:
    refused = client.get("/collections/zones/items", params={"datetime": period})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "datetime")


DEEP = 4_000
REFUSED = {
    "nothing": "", "no condition": "floors", "no field": "zzz = 1", "another's secret": "residents > 3", "no function": "pg_sleep(10) = 1",
    "a function of files": "lo_import('/etc/passwd') = 1", "a function of settings": "current_setting('jingwei.lo') = ''",
    "a query": "query_to_xml('select 1', true, true, '') = ''", "a second statement": "floors = 1; DROP TABLE buildings",
    "a comment": "floors = 1 --", "kinds mixed": "floors = 'six'", "kinds mixed in a list": "floors IN (1, 'x')", "a text that is calculated": "name + 1 = 2",
    "no time": "name > DATE('2020-02-30')", "a geometry that is compared": "geom = 'x'", "a text where a shape belongs": "S_INTERSECTS(geom, 'POINT(1 1)')",
    "a shape across itself": "S_INTERSECTS(geom, POLYGON((0 0,1 1,1 0,0 1,0 0)))", "a shape off the globe": "S_INTERSECTS(geom, POINT(181 1))",
    "an open ring": "S_INTERSECTS(geom, POLYGON((0 0,1 0,1 1)))", "a box turned round": "S_INTERSECTS(geom, BBOX(0,1,1,0))",
    "too large a number": "floors > 1e400", "a number beyond": "floors = 99999999999999999999999", "a NUL": "name = 'a\0b'", "half a character": "name = '\ud800'",
    "LIKE without an end": "name LIKE 'a\\'", "LIKE of a field": "name LIKE code", "and of one": '{"op":"and","args":[true]}',
    "brackets": "(" * DEEP + "floors=1" + ")" * DEEP, "NOTs": "NOT " * DEEP + "floors=1", "signs": "floors=" + "-" * DEEP + "1",
    "functions in functions": "casei(" * 1000 + "name" + ")" * 1000, "arrays in arrays": "a_contains(use," + "(" * 1000 + "1" + ")" * 1000 + ")",
    "a thousand terms": " OR ".join(["floors=1"] * 1000), "three thousand terms": " OR ".join(["floors=1"] * 3000),
    "a list of thousands": f"floors IN ({','.join(map(str, range(3000)))})",
    "a shape of thousands": f"S_INTERSECTS(geom,LINESTRING({','.join(f'{n / 1000} {n / 1000}' for n in range(1500))}))",
    "an interval of one": '{"op":"t_after","args":[{"interval":["2020-01-01"]},{"date":"2020-01-01"}]}', "nothing known": '{"zzz":1}',
    "no arguments": '{"op":"="}', "an operator that is none": '{"op":["="],"args":[1,1]}', "null": "null", "text of JSON": '"x"', "NaN": '{"op":"=","args":[NaN,1]}',
    "JSON that is deep": '{"op":"not","args":[' * 1000 + "true" + "]}" * 1000, "a shape that is deep": '{"op":"s_intersects","args":[{"property":"geom"},{"type":"Point","coordinates":' + "[" * 900 + "]" * 900 + "}]}",
    "coordinates that are words": '{"op":"s_intersects","args":[{"property":"geom"},{"type":"Point","coordinates":["a","b"]}]}',
    "a box of three": '{"op":"s_intersects","args":[{"property":"geom"},{"bbox":[1,2,3]}]}', "a property that is a list": '{"op":"isNull","args":[{"property":["name"]}]}',
    "collections in collections": '{"op":"s_intersects","args":[{"property":"geom"},' + '{"type":"GeometryCollection","geometries":[' * 400 + "]}" * 400 + "]}",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in REFUSED.items()])
def test_what_is_no_filter(client: Client, text: str) -> None:
    languages = ["cql2-json"] if text.startswith(("{", "null", '"')) else ["cql2-text", "cql2-json"]
    for language in languages:
        refused = client.get(ITEMS, params={"filter": text.encode("utf-8", "surrogatepass"), "filter-lang": language})
        assert (refused.status_code, refused.json()["parameter"]) == (400, "filter"), refused.text
        assert refused.json()["detail"] != BadQuery.__doc__ or "\0" in text or "\ud800" in text


@pytest.mark.parametrize(
    "text", [" OR ".join(["floors=1"] * 10_000), f"S_INTERSECTS(geom,LINESTRING({','.join(['1 1'] * 1_000_000)}))", "(" * 1_000_000], ids=["terms", "vertices", "brackets"]
)
def test_what_no_address_can_hold(text: str) -> None:
    with pytest.raises(BadQuery, match="条件太长"):
        cql.parsed(text, "cql2-text")


@pytest.mark.parametrize(
    ("name", "value"), [("filter-lang", "cql"), ("filter-crs", "http://www.opengis.net/def/crs/EPSG/0/1"), ("sortby", "zzz"), ("sortby", "-residents"), ("zzz", "1")]
)
def test_parameters_that_are_not_known(client: Client, name: str, value: str) -> None:
    refused = client.get(ITEMS, params={"filter": "floors=1", name: value})
    assert refused.status_code == 400


@pytest.mark.parametrize("uri", [uri for uri, one in references.REFERENCES.items() if one.bounds[0] < X < one.bounds[2]])
def test_a_shape_may_be_written_in_any_system_that_is_offered(client: Client, houses: sa.Connection, uri: str) -> None:
    told = client.get(ITEMS, params={"crs": uri, "filter": "floors = 6"})
    assert told.headers["content-crs"] == f"<{uri}>"
    ring = told.json()["features"][0]["geometry"]["coordinates"][0][0]
    middle = [sum(axis) / 4 for axis in zip(*ring[:4], strict=True)]
    assert found(client, f"S_CONTAINS(geom, POINT({middle[0]!r} {middle[1]!r}))", **{"filter-crs": uri}) == {0.1}
    corner = [min(axis) for axis in zip(*ring, strict=True)] + [max(axis) for axis in zip(*ring, strict=True)]
    inward = (corner[2] - corner[0]) / 10
    box = ",".join(repr(n) for n in (corner[0] + inward, corner[1] + inward, corner[2] - inward, corner[3] - inward))
    assert found(client, "true", bbox=box, **{"bbox-crs": uri}) == {0.1}


# By chance, against plain Python

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
Truth = bool | None  # None is unknown
Test = tuple[Any, Callable[[Row], Truth]]


def _number() -> st.SearchStrategy[Test]:
    leaf = st.one_of(
        st.sampled_from(["floors", "built_year"]).map(lambda name: ({"property": name}, lambda row: row[name])),
        st.sampled_from([0, 1, 2, 6, 11, 1962, 1998, 2004, 0.5, -3]).map(lambda n: (n, lambda row: n)),
    )
    counted: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}

    def both(drawn: tuple[str, Test, Test]) -> Test:
        op, (a, f), (b, g) = drawn
        return {"op": op, "args": [a, b]}, lambda row: None if f(row) is None or g(row) is None else counted[op](f(row), g(row))

    return st.recursive(leaf, lambda inner: st.tuples(st.sampled_from(list(counted)), inner, inner).map(both), max_leaves=4)


def _leaf() -> st.SearchStrategy[Test]:
    def compared(drawn: tuple[str, Test, Test]) -> Test:
        op, (a, f), (b, g) = drawn
        return {"op": op, "args": [a, b]}, lambda row: None if f(row) is None or g(row) is None else COMPARED[op](f(row), g(row))

    def liked(drawn: tuple[str, str]) -> Test:
        name, pattern = drawn
        globbed = pattern.replace("%", "*").replace("_", "?")
        return {"op": "like", "args": [{"property": name}, pattern]}, lambda row: None if row[name] is None else fnmatch.fnmatchcase(row[name], globbed)

    def among(drawn: tuple[str, list[int]]) -> Test:
        name, numbers = drawn
        return {"op": "in", "args": [{"property": name}, numbers]}, lambda row: None if row[name] is None else row[name] in numbers

    def missing(name: str) -> Test:
        return {"op": "isNull", "args": [{"property": name}]}, lambda row: row[name] is None

    return st.one_of(
        st.tuples(st.sampled_from(list(COMPARED)), _number(), _number()).map(compared),
        st.tuples(st.sampled_from(["name", "use", "address"]), st.text("%_幢溪路r厂", max_size=4)).map(liked),
        st.tuples(st.sampled_from(["floors", "built_year"]), st.lists(st.sampled_from([1, 2, 6, 1962, 2004]), min_size=1, max_size=3)).map(among),
        st.sampled_from(FIELDS).map(missing),
    )


def _tree() -> st.SearchStrategy[Test]:
    def turned(one: Test) -> Test:
        a, f = one
        return {"op": "not", "args": [a]}, lambda row: None if f(row) is None else not f(row)

    def joined(drawn: tuple[str, list[Test]]) -> Test:
        op, parts = drawn
        decisive = op == "or"

        def truth(row: Row) -> Truth:
            told = [f(row) for _, f in parts]
            return decisive if decisive in told else None if None in told else not decisive

        return {"op": op, "args": [a for a, _ in parts]}, truth

    return st.recursive(
        _leaf(),
        lambda inner: st.one_of(inner.map(turned), st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)).map(joined)),
        max_leaves=6,
    )


@given(test=_tree())
def test_a_filter_means_what_it_says(houses: sa.Connection, test: Test) -> None:
    tree, truth = test
    t = TABLES["buildings"]
    condition = cql.compiled(cql.parsed(json.dumps(tree), "cql2-json"), HOUSES, Audience.PUBLIC)
    rows = houses.execute(sa.select(*[t.c[name] for name in FIELDS]).where(condition)).mappings().all()
    expected = [{name: row[name] for name in FIELDS} for row in ROWS if truth(row) is True]
    assert sorted(map(str, map(dict, rows))) == sorted(map(str, expected))


def test_no_word_of_a_filter_gets_into_the_statement() -> None:
    words = "zqx'; DROP TABLE buildings; --"
    for tree in (
        {"op": "=", "args": [{"property": "name"}, words]}, {"op": "like", "args": [{"property": "name"}, words]},
        {"op": "in", "args": [{"property": "name"}, [words]]}, {"op": "casei", "args": [words]},
    ):
        compiler = tree if tree["op"] != "casei" else {"op": "=", "args": [{"property": "name"}, tree]}
        statement = sa.select(TABLES["buildings"].c.id).where(cql.compiled(compiler, HOUSES, Audience.PUBLIC))
        assert "zqx" not in str(statement.compile(dialect=sa.create_engine("postgresql+psycopg://").dialect))


def test_a_box_of_a_filter_is_found_by_its_index(houses: sa.Connection) -> None:
    houses.execute(sa.text("SET LOCAL enable_seqscan = off"))
    condition = cql.compiled(cql.parsed(f"S_INTERSECTS(geom, {HERE})", "cql2-text"), HOUSES, Audience.PUBLIC)
    rows = sa.select(TABLES["buildings"].c.id).where(condition)
    told = houses.execute(sa.text("EXPLAIN " + str(rows.compile(houses, compile_kwargs={"literal_binds": True})))).scalars()
    assert "buildings_geom_idx" in "\n".join(told)
