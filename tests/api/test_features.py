"""OGC API – Features, Parts 1, 2, 4 and 5, as their abstract tests ask; what each shows is listed in `docs/standards.md`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from api import sending
from api.collections import GEOJSON
from geo import query
from geo.catalog import RESOURCES
from geo.query import Filter, Sort
from geo.references import CRS84, REFERENCES
from geo.resource import Audience
from tests import town
from tests.conftest import Client

ITEMS = "/collections/buildings/items"
PUBLIC = [name for name, resource in RESOURCES.items() if resource.audience is Audience.PUBLIC]
FLOORS = [3, 1, None, 2, 3, None, 1, 7, 3, 2]


@pytest.fixture
def houses(connection: sa.Connection) -> list[str]:
    """Ten buildings, whose floors repeat and are missing here and there. Their ids in the order of their making."""
    return [str(town.add(connection, "buildings", name=f"{n}幢", code=f"h{n}", floors=floors)) for n, floors in enumerate(FLOORS)]


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [f["id"] for f in answer.json()["features"]]


def beside(answer: Any, rel: str) -> str | None:
    return next((link["href"].removeprefix("http://testserver") for link in answer.json()["links"] if link["rel"] == rel), None)


def test_the_way_from_the_landing_page_to_a_feature(client: Client, houses: list[str]) -> None:
    landing = client.get("/", headers={"Accept": "application/json"}).json()
    rels = {link["rel"]: link["href"].removeprefix("http://testserver") for link in landing["links"]}
    assert {"self", "service-desc", "service-doc", "conformance", "data"} <= rels.keys()
    assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core" in client.get(rels["conformance"]).json()["conformsTo"]
    listed = client.get(rels["data"]).json()
    one = next(c for c in listed["collections"] if c["id"] == "buildings")
    assert one == client.get("/collections/buildings").json()
    items = next(link for link in one["links"] if link["rel"] == "items" and link["type"] == GEOJSON)
    page = client.get(items["href"].removeprefix("http://testserver"))
    assert page.headers["content-type"] == GEOJSON
    assert abs(datetime.fromisoformat(page.json()["timeStamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    feature = client.get(f"{ITEMS}/{ids(page)[0]}")
    assert feature.json() == page.json()["features"][0]


def test_how_many_there_are_is_said_where_it_is_known(client: Client, houses: list[str]) -> None:
    assert client.get(ITEMS).json()["numberMatched"] == len(houses)
    assert client.get(f"{ITEMS}?filter=floors=3").json()["numberMatched"] == 3
    assert "numberMatched" not in client.get(f"{ITEMS}?limit=3").json()


@pytest.mark.parametrize("sortby", ["", "floors", "-floors", "floors,-name", "-floors,code", "use,floors"])
def test_pages_are_turned_on_and_back(client: Client, houses: list[str], sortby: str) -> None:
    whole = ids(client.get(ITEMS, params={"sortby": sortby} if sortby else {}))
    assert sorted(whole) == sorted(houses)
    pages, at = [], f"{ITEMS}?limit=3&sortby={sortby}"
    while at:
        answer = client.get(at)
        pages.append(ids(answer))
        last, at = at, beside(answer, "next") or ""
    assert [len(p) for p in pages] == [3, 3, 3, 1]
    assert [id for page in pages for id in page] == whole
    turned, at = [], last
    while at:
        answer = client.get(at)
        turned.append(ids(answer))
        at = beside(answer, "prev") or ""
    assert list(reversed(turned)) == pages


def test_what_has_no_value_comes_last(client: Client, houses: list[str]) -> None:
    for sortby, expected in (("floors", sorted(n for n in FLOORS if n)), ("-floors", sorted((n for n in FLOORS if n), reverse=True))):
        told = [f["properties"]["floors"] for f in client.get(ITEMS, params={"sortby": sortby}).json()["features"]]
        assert told == [*expected, None, None]


SORTS = st.lists(st.sampled_from(["floors", "name", "built_year", "use"]), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*[st.builds(Sort, st.just(name), st.booleans()) for name in names])
)


@given(sort=SORTS, limit=st.integers(1, 4))
def test_nothing_is_missed_or_told_twice(connection: sa.Connection, houses: list[str], sort: tuple[Sort, ...], limit: int) -> None:
    resource = RESOURCES["buildings"]
    found: list[str] = []
    place: tuple[object, ...] | None = None
    while True:
        page = query.page(connection, resource, Filter(limit=limit, sort=sort, place=place), Audience.PUBLIC)
        found += [f["id"] for f in json.loads(page.features)]
        if page.next is None:
            break
        *values, last = page.next
        place = (*[None if v is None else query.parsed(resource[s.field], v) for s, v in zip(sort, values, strict=True)], last)
    assert sorted(found) == sorted(houses)


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("value", ["", "x", "W10", "WyJhIl0", "bnVsbA", "eyJhIjoxfQ", "W1tdLFtdXQ", "/" * 50])
@pytest.mark.parametrize("sortby", ["", "floors"])
def test_places_in_a_list_that_are_none(client: Client, name: str, value: str, sortby: str) -> None:
    refused = client.get(ITEMS, params={name: value} | ({"sortby": sortby} if sortby else {}))
    assert (refused.status_code, refused.json()["parameter"]) == (400, name)


@pytest.mark.parametrize("uri", REFERENCES)
def test_the_place_is_told_in_the_system_that_is_asked_for(client: Client, connection: sa.Connection, uri: str) -> None:
    one = town.add(connection, "parts")
    reference = REFERENCES[uri]
    west, _, east, _ = reference.bounds
    for answer in (client.get("/collections/parts/items", params={"crs": uri}), client.get(f"/collections/parts/items/{one}", params={"crs": uri})):
        assert answer.headers["content-crs"] == f"<{uri}>"
        feature = answer.json().get("features", [answer.json()])[0]
        if not west < 122.605 < east:
            assert feature["geometry"] is None
            continue
        told = feature["geometry"]["coordinates"]
        expected = connection.execute(sa.text("SELECT ST_X(g), ST_Y(g) FROM ST_Transform(ST_SetSRID(ST_MakePoint(122.605, 29.805), 4326), CAST(:srid AS integer)) g"), {"srid": reference.srid}).one()
        assert told == pytest.approx(expected[::-1] if reference.north_first else expected, abs=1e-4)


@pytest.mark.parametrize("name", ["crs", "bbox-crs", "filter-crs"])
@pytest.mark.parametrize("uri", ["", "4326", "EPSG:4326", "http://www.opengis.net/def/crs/EPSG/0/27700", "x" * 199])
def test_systems_that_are_not_offered(client: Client, name: str, uri: str) -> None:
    answer = client.get(ITEMS, params={name: uri, "bbox": "1,1,2,2"})
    assert answer.status_code == (200 if not uri else 400), answer.text


@pytest.mark.parametrize("bbox", ["", "1", "1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7", "a,b,c,d", "nan,0,1,1", "2,0,1,1"])
@pytest.mark.parametrize("code", [4490, 4549])
def test_boxes_of_a_system_that_are_none(client: Client, bbox: str, code: int) -> None:
    refused = client.get(ITEMS, params={"bbox": bbox, "bbox-crs": f"http://www.opengis.net/def/crs/EPSG/0/{code}"})
    assert (refused.status_code, refused.json()["parameter"]) == (400, "bbox")


def test_a_collection_tells_its_systems(client: Client) -> None:
    listed = client.get("/collections").json()
    assert listed["crs"][0] == CRS84.uri
    assert len(listed["crs"]) == 46
    assert all(c["storageCrs"] == CRS84.uri for c in listed["collections"])


@pytest.mark.parametrize("noun", PUBLIC)
def test_what_is_told_is_what_the_schema_says(client: Client, connection: sa.Connection, noun: str) -> None:
    town.add(connection, noun)
    schema = client.get(f"/collections/{noun}/schema")
    assert schema.headers["content-type"] == "application/schema+json"
    said = schema.json()["properties"]
    feature = client.get(f"/collections/{noun}/items?limit=1").json()["features"][0]
    assert set(feature["properties"]) == set(said) - {"id", "geom"}
    for name, value in feature["properties"].items():
        if value is None:
            continue
        kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
        assert isinstance(value, kinds[said[name]["type"]]), name
        assert "oneOf" not in said[name] or value in [one["const"] for one in said[name]["oneOf"]], name
    assert [one["x-ogc-role"] for one in said.values() if one.get("x-ogc-role") == "id"] == ["id"]


@pytest.mark.parametrize("noun", PUBLIC)
def test_every_queryable_filters_and_every_sortable_sorts(client: Client, connection: sa.Connection, noun: str) -> None:
    town.add(connection, noun)
    asked = client.get(f"/collections/{noun}/queryables").json()["properties"]
    for name, about in asked.items():
        for text in (f"{name} IS NULL OR {name} IS NOT NULL",):
            answer = client.get(f"/collections/{noun}/items", params={"filter": text})
            assert len(ids(answer)) >= 1, (name, about)
    for name in client.get(f"/collections/{noun}/sortables").json()["properties"]:
        assert len(ids(client.get(f"/collections/{noun}/items", params={"sortby": f"-{name}"}))) >= 1


def test_a_browser_is_shown_a_page(client: Client, houses: list[str]) -> None:
    for path, words in (("/collections", "楼栋"), (f"{ITEMS}?limit=3", "0幢"), (f"{ITEMS}/{houses[0]}", "住宅")):
        page = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
        assert page.headers["content-type"].startswith("text/html"), path
        assert words in page.text
        assert client.get(path, headers={"Accept": "text/html"}, params={"f": "json"} | ({"limit": "3"} if "?" in path else {})).headers["content-type"].startswith("application/")
    first = client.get(f"{ITEMS}?limit=3&f=html").text
    assert 'rel="next"' in first and 'rel="prev"' not in first


def test_who_prefers_less_is_answered_with_less(client: Client) -> None:
    less = {"Prefer": "return=minimal"}
    made = client.post(ITEMS, json=town.example(RESOURCES["buildings"]), headers=less)
    assert (made.status_code, made.content, made.headers["preference-applied"]) == (201, b"", "return=minimal")
    one = made.headers["location"]
    assert client.get(one).headers["etag"] == made.headers["etag"]
    changed = client.patch(one, json={"properties": {"floors": 9}}, headers=less | {"If-Match": made.headers["etag"]})
    assert (changed.status_code, changed.content) == (204, b"")
    assert client.get(one).json()["properties"]["floors"] == 9
    assert client.patch(one, json={"properties": {"floors": 8}}, headers={"If-Match": made.headers["etag"]}).status_code == 412
    assert client.put(one, json=town.example(RESOURCES["buildings"]), headers={"Prefer": "return=representation"}).json()["id"]


@pytest.mark.parametrize("kind", ["csv", "geojsons", "fgb", "gpkg", "parquet", "shp", "kml", "xlsx"])
def test_a_list_is_taken_along_in_any_format(client: Client, houses: list[str], kind: str) -> None:
    answer = client.get(ITEMS, params={"f": kind, "filter": "floors = 3"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == sending.KINDS[kind]
    starts = {"csv": b"\xef\xbb\xbf", "geojsons": b"\x1e{", "fgb": b"fgb", "gpkg": b"SQLite", "parquet": b"PAR1", "shp": b"PK", "kml": b"<?xml", "xlsx": b"PK"}
    assert answer.content.startswith(starts[kind])
    if kind == "csv":
        assert len(answer.text.splitlines()) == 4
    if kind == "geojsons":
        told = [json.loads(text)["id"] for text in answer.text.split("\x1e")[1:]]
        assert told == ids(client.get(ITEMS, params={"filter": "floors = 3"}))
        assert client.get(ITEMS, headers={"Accept": "application/geo+json-seq"}, params={"limit": 2}).text.count("\x1e") == 2


@pytest.mark.parametrize(
    ("noun", "asked"),
    [("buildings", {"f": "zip"}), ("buildings", {"f": "csv", "sortby": "floors"}), ("buildings", {"f": "kml", "crs": "http://www.opengis.net/def/crs/EPSG/0/4549"}),
     ("buildings", {"f": "fgb", "crs": "http://www.opengis.net/def/crs/EPSG/0/3857"}), ("units", {"f": "shp"})],
)
def test_files_that_are_not_made(client: Client, noun: str, asked: dict[str, str]) -> None:
    refused = client.get(f"/collections/{noun}/items", params=asked)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")


def test_what_can_be_read_can_be_asked_after(client: Client, houses: list[str]) -> None:
    for path in ("/", "/collections", ITEMS, f"{ITEMS}/{houses[0]}", "/conformance"):
        whole, bare = client.get(path), client.head(path)
        assert (bare.status_code, bare.content) == (200, b"")
        assert bare.headers["content-type"] == whole.headers["content-type"]
        assert bare.headers.get("etag") == whole.headers.get("etag")
    assert client.head(f"{ITEMS}/{houses[0][:-1]}z").status_code == 404


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip", "identity"])
def test_a_list_is_sent_small(client: Client, houses: list[str], coding: str) -> None:
    answer = client.get(ITEMS, headers={"Accept-Encoding": coding})
    assert answer.headers.get("content-encoding", "identity") == coding
    # The client here knows no zstd, and hands it on as it came.
    text = zstandard.ZstdDecompressor().decompressobj().decompress(answer.content) if coding == "zstd" else answer.content
    assert json.loads(text)["numberReturned"] == len(houses)
