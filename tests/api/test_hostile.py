"""Input that crashed plain servers: refused by name, nothing written, never a 500, and the database goes on.

Every route is asked, as the API describes itself: a new route is probed without being named here.
"""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from api import leader, pages
from geo import db
from geo.catalog import RESOURCES
from geo.resource import Audience, Field
from tests import town

PUBLIC = {name: noun for name, noun in RESOURCES.items() if noun.audience is Audience.PUBLIC}
WRITTEN = (*RESOURCES, "changes", "batches", "idempotency", "area_paths", "area_shares", "placements", "instance")
# A refusal is written down, and changes nothing else.
COUNTED = sa.text(" UNION ALL ".join(
    f"SELECT '{table}', count(*) FROM {table}" + (" WHERE action <> 'refused'" if table == "trail" else "") for table in WRITTEN
))


@pytest.fixture(autouse=True)
def unharmed(connection: sa.Connection) -> Iterator[None]:
    """The database is still the one that was started before."""
    started = sa.text("SELECT pg_postmaster_start_time()")
    before = connection.scalar(started)
    yield
    assert connection.scalar(started) == before


@pytest.fixture
def unwritten(connection: sa.Connection) -> Iterator[None]:
    """Not a row more or less than before."""
    before = connection.execute(COUNTED).all()
    yield
    assert connection.execute(COUNTED).all() == before


def refused(answer: Any, *statuses: int) -> dict[str, Any]:
    """The problem document of a refusal that says nothing of what is inside."""
    assert answer.status_code in (statuses or (400, 404, 405, 413, 415, 422)), (answer.status_code, answer.text[:500])
    assert not re.search(r"Traceback|psycopg|sqlalchemy|SELECT |INSERT |\.py\b|site-packages", answer.text)
    if answer.headers["content-type"].startswith("text/xml"):
        # Open311 has a form of its own.
        assert answer.request.url.path.startswith("/open311/") and "<description>" in answer.text
        return {}
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = json.loads(answer.content)
    assert {"type", "title", "status", "detail"} <= set(told)
    return told


# Addresses and parameters

TEXTS = [
    "a%00b", "%00", "%ED%A0%80", "%FF%FE", "%EF%BF%BD", "NaN", "Infinity", "-Infinity", "1e999", "-1", "0", str(2**31), str(2**63), "9" * 400,
    "1" + "0" * 4000, "", "%20", "null", "true", "[]", "{}", quote("' OR 1=1 --"), quote("'; DROP TABLE parts; --"), quote("x' UNION SELECT hash FROM trail --"),
    quote("pg_sleep(9)"), quote("${7*7}{{7*7}}"), quote("../../etc/passwd"), quote("\\"), "%25s", "%25(name)s", quote("𠮷" * 50), "infinity",
    "294277-01-01T00:00:00Z", quote("4714-11-24 BC"), "0000-00-00", "9999-12-31T23:59:59-14:00", quote("(" * 4000), "x" * 10_000,
]  # fmt: skip


def described(client: TestClient) -> dict[str, Any]:
    """Every route, as the API tells of itself, and the pages, of which it does not."""
    paths: dict[str, Any] = client.get("/api").json()["paths"]
    for route in (*pages.routes.routes, *leader.routes.routes):
        assert isinstance(route, APIRoute)
        known = [{"in": "query", "name": p.alias} for p in route.dependant.query_params]
        known += [{"in": "path", "name": p.alias} for p in route.dependant.path_params]
        if "GET" in route.methods:
            paths.setdefault(route.path.replace(":path", ""), {})["get"] = {"parameters": known}
    return paths


def filled(path: str, value: str = "parts") -> str:
    """An address with something in every place."""
    known = {"z": "14", "x": "1", "y": "1", "id": "01912f0e-0000-7000-8000-000000000000"}
    return re.sub(r"\{(\w+)\}", lambda place: known.get(place[1], value), path)


# What a question must be asked with, for its other parameters to be looked at at all.
BESIDE = {"lon": "122.6", "lat": "29.8", "layer": "facilities", "metres": "50", "level": "grid"}
NEEDED = {
    "/locate": ("lon", "lat"), "/identify": ("lon", "lat"), "/nearest": ("layer", "lon", "lat"), "/within": ("layer", "lon", "lat", "metres"),
    "/aggregate": ("layer", "level"),
}


@pytest.mark.parametrize("n", range(len(TEXTS)))
@pytest.mark.usefixtures("unwritten")
def test_every_read_with_every_text(client: TestClient, n: int) -> None:
    text, asked = TEXTS[n], 0
    for path, methods in described(client).items():
        parameters = [p for p in methods.get("get", {}).get("parameters", []) if p["in"] in ("query", "path")]
        # Two of them a text, turn by turn: forty texts come to every one.
        for parameter in {p["name"]: p for p in parameters[n % max(1, len(parameters)) :][:1] + parameters[-n % max(1, len(parameters)) :][:1]}.values():
            if parameter["in"] == "query":
                others = {name: value for name, value in BESIDE.items() if name in NEEDED.get(path, ())}
                query = "&".join(f"{name}={value}" for name, value in (others | {parameter["name"]: text}).items())
                answer = client.get(f"{filled(path)}?{query}")
            else:
                answer = client.get(re.sub(rf"{{{parameter['name']}}}", lambda _: text or "%20", filled_but(path, parameter["name"])))
            asked += 1
            if answer.status_code >= 400:
                refused(answer, 400, 401, 404, 405)
    assert asked > 30


def filled_but(path: str, name: str) -> str:
    """An address with something in every place but one."""
    return re.sub(r"\{(\w+)\}", lambda place: place[0] if place[1] == name else filled(place[0]), path)


@pytest.mark.usefixtures("unwritten")
def test_every_filter_is_bound_and_not_spliced(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "parts", name="甲")
    before = connection.scalar(sa.text("SELECT count(*) FROM parts"))
    for text in ("' OR ''='", "甲' --", "x') OR true --", "%", "_", "甲%"):
        assert client.get("/collections/parts/items", params={"name": text}).json()["features"] == []
    assert connection.scalar(sa.text("SELECT count(*) FROM parts")) == before
    connection.execute(sa.text("DELETE FROM changes WHERE noun = 'parts'"))
    connection.execute(sa.text("DELETE FROM placements WHERE id IN (SELECT placement FROM parts)"))
    connection.execute(sa.text("ALTER TABLE parts DISABLE TRIGGER z_changed; DELETE FROM parts"))


@pytest.mark.usefixtures("unwritten")
def test_methods_that_are_none(client: TestClient) -> None:
    for path, methods in described(client).items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            if method.lower() not in methods:
                # Where the last word of a path is the number of another's, that one is refused.
                refused(client.request(method, filled(path)), 403, 404, 405)


HEADERS = [
    ("If-Match", value) for value in ('"v99999999999999999999"', "*,*", "v", "W/W/", "\t", '"v-1"', '"v1", "v2"', "9" * 5000, "²")
] + [("Accept-Language", "x" * 10_000), ("Accept", "\\" * 100), ("If-None-Match", '"'), ("Idempotency-Key", "k" * 201), ("Content-Length", "-1"), ("Content-Length", "x")]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), HEADERS, ids=range(len(HEADERS)))
def test_headers(client: TestClient, connection: sa.Connection, name: str, value: str) -> None:
    one = f"/collections/parts/items/{town.add(connection, 'parts')}"
    for method, body in (("GET", None), ("PATCH", {"properties": {"name": "改"}}), ("DELETE", None)):
        answer = client.request(method, one, json=body, headers={name: value.encode("latin-1")})
        if answer.status_code >= 400:
            refused(answer, 400, 404, 410, 412, 413, 422)
    if name == "Idempotency-Key":
        refused(client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]), headers={name: value}), 400)


# Bodies

SURROGATE = "\ud800"
BY_TYPE: dict[type, list[object]] = {
    str: ["\0", "a\0b", SURROGATE, f"a{SURROGATE}", "x" * 5000, 5, 1.5, True, [], {}, [[]], math.nan],
    int: [math.nan, math.inf, -math.inf, 1e300, 2**31, -(2**31) - 1, 2**63, 10**400, "x", "", "\0", 1.5, True, [], {}],
    float: [math.nan, math.inf, -math.inf, 10**400, "x", "", "\0", "nan", "inf", [], {}],
    bool: ["x", "\0", 2, 1, 0, "true", [], {}, math.nan],
    datetime: [
        "infinity", "-infinity", "now", "epoch", "", "\0", SURROGATE, "x", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
        "1799-12-31T00:00:00Z", "294277-01-01T00:00:00Z", "4714-11-24T00:00:00 BC", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z", "2026-01-01T00:00:00+99:00", math.nan, math.inf, 1e300, 10**400, -(10**20), [], {}, True,
    ],
    UUID: ["", "x", "\0", SURROGATE, "' OR 1=1 --", "0" * 31, 5, 10**400, True, [], {}, math.nan],
}  # fmt: skip


def sent(client: TestClient, method: str, path: str, body: object) -> Any:
    """A request with a body that json.dumps writes and no standard allows."""
    return client.request(method, path, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def probes(field: Field) -> Iterator[object]:
    """What a field of this type must not hold."""
    if field.required:
        yield None
    if field.choices:
        yield from ("nonsense", "", "\0", SURROGATE, 5, True, [], {}, math.nan)
    else:
        yield from BY_TYPE[field.type]
        if field.type is str:
            yield "长" * (field.longest + 1)


@pytest.mark.parametrize("noun", PUBLIC)
@pytest.mark.usefixtures("unwritten")
def test_every_value_of_every_field(client: TestClient, connection: sa.Connection, noun: str) -> None:
    resource = RESOURCES[noun]
    with connection.begin_nested() as stage:
        needs = town.needs(connection, resource)
        one = f"/collections/{noun}/items/{town.add(connection, noun, **needs)}"
        given = town.example(resource, **needs)
        known: set[type] = set()
        for field in resource.writable:
            # All of them for the first field of a type; a few for each that follows.
            values = list(probes(field))[:: 4 if field.type in known else 1]
            known.add(field.type)
            for value in values:
                if field.type is str and isinstance(value, str) and len(value) <= field.longest and value.isprintable() and value.isascii() and not field.choices:
                    continue
                hostile = {"properties": given["properties"] | {field.name: value}}
                for method, path, body in (
                    ("POST", f"/collections/{noun}/items", given | hostile),
                    ("PATCH", one, {"properties": {field.name: value}}),
                    *([("POST", "/zones", given | hostile)] if noun == "zones" else []),
                ):
                    told = refused(sent(client, method, path, body), 422)
                    assert told["field"].split(".")[-1] == field.name, (field.name, value, told)
        stage.rollback()


NOT_EVEN_A_FEATURE = [
    b"", b" ", b"{", b"null", b"[]", b"5", b'"x"', b"NaN", b"true", b"{}", b'{"type":"Feature"}', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a":1}garbage',
    b"[" * 100_000, b'{"a":' * 20_000, b"[" * 900 + b"]" * 900, b'{"type":"Feature","properties":' + b'{"x":' * 500 + b"1" + b"}" * 501,
    b'{"type":"\\ud800"}', b'{"\\u0000":1}', b'{"type":"Feature","properties":null,"geometry":null}', b'{"type":"Feature","properties":[],"geometry":[]}',
    b'{"type":"FeatureCollection","features":[]}', b'{"type":"Feature","properties":{"name":"x"},"geometry":{"type":"Point","coordinates":[1' + b"0" * 5000 + b",1]}}",
    "{\u201ctype\u201d: 1}".encode(), '{"type":"Feature"}'.encode("utf-16"), b"<xml/>", b"type=Feature&properties=x", b"\x00" * 100, b"9" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_EVEN_A_FEATURE, ids=range(len(NOT_EVEN_A_FEATURE)))
@pytest.mark.usefixtures("unwritten")
def test_bodies_that_are_no_feature(client: TestClient, body: bytes) -> None:
    asked = 0
    for path, methods in described(client).items():
        for method in {"post", "put", "patch"} & set(methods):
            answer = client.request(method, filled(path), content=body, headers={"Content-Type": "application/json"})
            # What is not there is not there, whatever is said of it; and an empty patch is a patch. Webhooks and the like are for others.
            refused(answer, 400, 403, 404, 422)
            asked += 1
    assert asked > 40


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/octet-stream", "x", ""])
@pytest.mark.usefixtures("unwritten")
def test_bodies_of_another_kind(client: TestClient, kind: str) -> None:
    body = json.dumps(town.example(RESOURCES["parts"])).encode()
    refused(client.post("/collections/parts/items", content=body, headers={"Content-Type": kind}), 415, 422)


@pytest.mark.parametrize("kind", ["application/geo+json", "application/json", "application/json; charset=utf-8", "application/merge-patch+json"])
def test_bodies_of_our_kind(client: TestClient, kind: str) -> None:
    body = json.dumps(town.example(RESOURCES["parts"])).encode()
    assert client.post("/collections/parts/items", content=body, headers={"Content-Type": kind}).status_code == 201


@pytest.mark.usefixtures("unwritten")
def test_bodies_without_end(client: TestClient) -> None:
    def flood() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    # With its length and without.
    for content in (b" " * 1_000_001, flood()):
        told = refused(client.post("/collections/parts/items", content=content, headers={"Content-Type": "application/json"}), 413)
        assert told["limit"] == 1_000_000


# Geometries


def star(n: int, radius: float = 0.5) -> list[list[float]]:
    """A ring that crosses itself n times n: 251 corners of it, repaired under a time limit, end the whole PostgreSQL server."""
    step = n // 2
    turns = [2 * math.pi * (i * step % n) / n for i in range(n)]
    ring = [town.at(1 + radius * math.cos(t), 1 + radius * math.sin(t)) for t in turns]
    return [*ring, ring[0]]


def comb(teeth: int) -> list[list[float]]:
    """A valid ring of many long thin teeth."""
    ring = [town.at(0, 0)]
    for i in range(teeth):
        ring += [town.at(i / teeth, 1), town.at((i + 0.5) / teeth, 0.001)]
    return [*ring, town.at(1, 0), town.at(0, 0)]


NUMBERS: list[object] = [math.nan, math.inf, -math.inf, 1e308, 10**400, "1", None, True, [], {}, 180.0001, -1e9]
SQUARE = town.box(0, 0, 1, 1)["coordinates"][0]
POINTS: list[object] = [
    *([value, 29.8] for value in NUMBERS), *([122.6, value] for value in (*NUMBERS, 122.6)), [], [1], [1, 2, 3, 4], [[1, 2]], "122.6,29.8", None, {}, 5,
    [29.8, 122.6],  # the axes swapped
]  # fmt: skip
RINGS: list[object] = [
    [], [[]], [[[]]], [SQUARE[:-1]], [SQUARE[:2]], [SQUARE[:3]], [[SQUARE[0]] * 5], [[SQUARE[0], SQUARE[1], SQUARE[0], SQUARE[0]]],
    [[SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3], SQUARE[0]]],  # a bow-tie
    [SQUARE, town.box(2, 2, 3, 3)["coordinates"][0]],  # a hole outside
    [SQUARE, SQUARE], [SQUARE, town.box(0.5, 0.5, 1.5, 1.5)["coordinates"][0]],
    [[town.at(0, 0), town.at(1, 0), town.at(2, 0), town.at(0, 0)]],  # no area
    [star(5)], [star(61)], [star(251)], [star(2001)], SQUARE, [[*SQUARE[:2], [math.nan, 29.8], *SQUARE[2:]]], [[*SQUARE[:2], ["1", "2"], *SQUARE[2:]]],
    [[[lat, lon] for lon, lat in SQUARE]], "x", None, {}, [None], [[None]], [[[None]]], [[[[1, 2]]]],
    [[[190, 0], [191, 0], [191, 1], [190, 0]]],
]  # fmt: skip


@pytest.mark.parametrize("coordinates", POINTS, ids=range(len(POINTS)))
@pytest.mark.usefixtures("unwritten")
def test_points_that_are_none(client: TestClient, coordinates: object) -> None:
    for noun, resource in PUBLIC.items():
        if resource.geometry == "POINT":
            body = town.example(resource) | {"geometry": {"type": "Point", "coordinates": coordinates}}
            told = refused(sent(client, "POST", f"/collections/{noun}/items", body), 422)
            assert told["field"].startswith("geometry"), told


@pytest.mark.parametrize("coordinates", RINGS, ids=range(len(RINGS)))
@pytest.mark.usefixtures("unwritten")
def test_polygons_that_are_none(client: TestClient, coordinates: object) -> None:
    for noun, resource in PUBLIC.items():
        if resource.geometry == "MULTIPOLYGON":
            for kind, value in (("Polygon", coordinates), ("MultiPolygon", [coordinates])):
                body = town.example(resource) | {"geometry": {"type": kind, "coordinates": value}}
                told = refused(sent(client, "POST", f"/collections/{noun}/items", body), 422)
                assert told["field"].startswith("geometry"), told


@pytest.mark.parametrize("coordinates", [[], [[]], [town.at(0, 0)], [town.at(0, 0)] * 2, [[math.nan, 1], town.at(0, 0)], "x", None, [None], [5]], ids=range(9))
@pytest.mark.usefixtures("unwritten")
def test_lines_that_are_none(client: TestClient, coordinates: object) -> None:
    for kind, value in (("LineString", coordinates), ("MultiLineString", [coordinates])):
        body = town.example(RESOURCES["roads"]) | {"geometry": {"type": kind, "coordinates": value}}
        assert refused(sent(client, "POST", "/collections/roads/items", body), 422)["field"].startswith("geometry")


GEOMETRIES: list[object] = [
    {"type": "GeometryCollection", "geometries": []}, {"type": "MultiPoint", "coordinates": [town.at(0, 0)]}, {"type": "Circle", "coordinates": town.at(0, 0)},
    {"type": "Point"}, {"coordinates": town.at(0, 0)}, {}, [], "POINT(122.6 29.8)", "SRID=4490;POINT(1 1)", "0101000020E6100000", 5,
    {"type": "Point", "coordinates": town.at(0, 0), "crs": {"type": "name", "properties": {"name": "EPSG:4490"}}},
    {"type": "point", "coordinates": town.at(0, 0)}, {"type": "Point", "coordinates": town.at(0, 0), "zzz": 1},
]  # fmt: skip


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=range(len(GEOMETRIES)))
@pytest.mark.usefixtures("unwritten")
def test_geometries_that_are_none(client: TestClient, geometry: object) -> None:
    for noun in ("parts", "zones", "incidents"):
        told = refused(sent(client, "POST", f"/collections/{noun}/items", town.example(RESOURCES[noun]) | {"geometry": geometry}), 422)
        assert told["field"].startswith("geometry")


@pytest.mark.usefixtures("unwritten")
def test_a_million_vertices(client: TestClient) -> None:
    content = b'{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[' + b"[1,1]," * 1_000_000 + b"[1,1]]]}}"
    refused(client.post("/zones", content=content, headers={"Content-Type": "application/json"}), 413)


def test_a_reason_names_the_place(client: TestClient) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[town.at(0, 0), town.at(1, 1), town.at(1, 0), town.at(0, 1), town.at(0, 0)]]}
    told = refused(client.post("/zones", json=town.example(RESOURCES["zones"]) | {"geometry": bow_tie}), 422)
    assert "122.605 29.805" in told["detail"]
    swapped = {"type": "Point", "coordinates": [29.8, 122.6]}
    assert "写反" in refused(client.post("/collections/parts/items", json=town.example(RESOURCES["parts"]) | {"geometry": swapped}), 422)["detail"]


def test_what_is_valid_and_large_is_taken(client: TestClient) -> None:
    for ring in (comb(4000), [*[town.at(1 + math.cos(i / 700), 1 + math.sin(i / 700)) for i in range(4398)], town.at(2, 1)]):
        body = town.example(RESOURCES["zones"]) | {"geometry": {"type": "Polygon", "coordinates": [ring]}}
        assert client.post("/zones", json=body).status_code == 201


def test_a_building_smaller_than_any_number_breaks_no_zone(client: TestClient) -> None:
    speck = [[[0, 0], [1e-170, 0], [0, 1e-170], [0, 0]]]
    made = client.post("/collections/buildings/items", json=town.example(RESOURCES["buildings"]) | {"geometry": {"type": "Polygon", "coordinates": speck}})
    assert made.status_code in (201, 422)
    around = {"type": "Polygon", "coordinates": [[[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]]}
    assert client.post("/zones", json=town.example(RESOURCES["zones"]) | {"geometry": around}).status_code == 201


# The same by SQL: people who come with QGIS are refused by the database

SHAPED = [name for name, noun in RESOURCES.items() if noun.geometry == "MULTIPOLYGON"]
BOMBS = {"star of 61": star(61), "star of 251": star(251), "star of 1001": star(1001), "bow-tie": RINGS[8][0]}  # type: ignore[index]


@pytest.mark.parametrize("noun", SHAPED)
@pytest.mark.parametrize("ring", BOMBS.values(), ids=BOMBS)
def test_geometry_bombs_by_sql(connection: sa.Connection, noun: str, ring: list[list[float]]) -> None:
    connection.exec_driver_sql("SET LOCAL statement_timeout = '5s'")
    with pytest.raises(db.GeoError) as told, db.translated(), connection.begin_nested():
        town.add(connection, noun, {"type": "Polygon", "coordinates": [ring]})
    assert (type(told.value).__name__, told.value.facts.get("rule")) == ("Invalid", f"{noun}_geom_check")


@pytest.mark.parametrize(("x", "y"), [("NaN", "NaN"), ("NaN", "0"), ("Infinity", "0"), ("0", "-Infinity"), ("181", "0"), ("0", "91"), ("1e308", "0")])
@pytest.mark.parametrize("noun", ["parts", "incidents"])
def test_points_by_sql(connection: sa.Connection, noun: str, x: str, y: str) -> None:
    id = town.add(connection, noun)
    with pytest.raises(db.GeoError) as told, db.translated(), connection.begin_nested():
        drawn = "ST_SetSRID(ST_Point(CAST(CAST(:x AS text) AS float8), CAST(CAST(:y AS text) AS float8)), 4326)"
        connection.execute(sa.text(f"UPDATE {noun} SET geom = {drawn} WHERE id = :id"), {"x": x, "y": y, "id": id})
    assert (type(told.value).__name__, told.value.facts.get("rule")) == ("Invalid", f"{noun}_geom_check")


@pytest.mark.parametrize("text", ["MULTIPOLYGON EMPTY", "MULTIPOLYGON(((0 0, NaN 1, 1 1, 0 0)))", "MULTIPOLYGON(((0 0, 190 0, 190 1, 0 0)))"])
@pytest.mark.parametrize("noun", SHAPED)
def test_polygons_by_sql(connection: sa.Connection, noun: str, text: str) -> None:
    id = town.add(connection, noun)
    with pytest.raises(db.GeoError) as told, db.translated(), connection.begin_nested():
        connection.execute(sa.text(f"UPDATE {noun} SET geom = ST_GeomFromText(:t, 4326) WHERE id = :id"), {"t": text, "id": id})
    assert type(told.value).__name__ == "Invalid"
