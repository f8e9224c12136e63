"""What a browser is given, and on what terms."""

import gzip
import re

import pytest
from starlette.testclient import TestClient

from geo.catalog import RESOURCES
from maps.links import link
from tests import town

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
LON, LAT = town.at(0.5, 1.0)


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        (HTML["Accept"], "", "text/html"), ("application/json", "", "application/json"), ("*/*", "", "application/json"),
        ("application/json, text/html", "", "application/json"), (HTML["Accept"], "?f=json", "application/json"),
        ("*/*", "?f=html", "text/html"),
    ],
)  # fmt: skip
def test_the_front_door_asks_who_comes(client: TestClient, accept: str, query: str, kind: str) -> None:
    answer = client.get("/" + query, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    if kind == "application/json":
        assert {line["rel"] for line in answer.json()["links"]} >= {
            "self",
            "service-desc",
            "service-doc",
            "data",
        }


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/?z=99", "z"), ("/?lat=nan", "lat"), ("/?lng=181", "lng"), ("/?view=wall", "view"), ("/?layers=households", "layers"),
        ("/?layers=x", "layers"), ("/?bogus=1", "bogus"), ("/?z=1&z=2", "z"), ("/identify?lon=1", "lat"),
        ("/identify?lon=1e999&lat=0", "lon"), ("/identify?lon=x&lat=0", "lon"), ("/review?reason=x", "reason"),
        ("/boundaries?level=x", "level"),
    ],
)  # fmt: skip
def test_a_strange_question_is_refused_by_name(client: TestClient, path: str, field: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 400
    told = answer.json()
    assert field in (told.get("parameter"), told.get("field"))


@pytest.mark.parametrize(
    "path", ["/", "/?view=list", f"/identify?lon={LON}&lat={LAT}", "/identify?lon=0&lat=0", "/review", "/boundaries",
             "/boundaries?level=street", "/?z=15.5&lat=29.8&lng=122.6&layers=areas,zones&card=122.6,29.8"],
)  # fmt: skip
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_page_is_a_document_with_a_policy(client: TestClient, path: str, language: str) -> None:
    answer = client.get(path, headers=HTML | {"Accept-Language": language})
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")
    assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in answer.text
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"script-src 'self' 'nonce-([\w-]{20,})'", policy)
    assert nonce
    assert "frame-ancestors 'self'" in policy
    assert set(re.findall(r'<script nonce="([^"]+)"', answer.text)) <= {nonce[1]}
    assert "<script>" not in answer.text


def test_the_card_is_a_fragment_for_the_map_only(client: TestClient) -> None:
    path = f"/identify?lon={LON}&lat={LAT}"
    fragment = client.get(path, headers=HTML | {"HX-Request": "true"})
    assert fragment.text.lstrip().startswith("<article")
    assert "第一网格" in fragment.text
    assert "HX-Request" in fragment.headers["vary"]
    assert "第一网格" in client.get(path, headers=HTML).text


def test_the_language_asked_for_is_remembered(client: TestClient) -> None:
    assert "lang=en" in client.get("/?lang=en", headers=HTML).headers["set-cookie"]
    assert '<html lang="en">' in client.get("/review", headers=HTML | {"Accept-Language": "zh"}).text
    assert "set-cookie" not in client.get("/", headers=HTML).headers


def test_a_file_with_its_fingerprint_is_kept_for_ever(client: TestClient) -> None:
    address = link("app/map.js")
    kept = client.get(address)
    assert "immutable" in kept.headers["cache-control"]
    assert client.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert client.get(address.partition("?")[0] + "?v=0").headers["cache-control"] == "no-cache"
    again = client.get(address, headers={"If-None-Match": kept.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_file_comes_packed_to_who_can_unpack(client: TestClient) -> None:
    with client.stream(
        "GET", link("vendor/leaflet/leaflet.js"), headers={"Accept-Encoding": "gzip"}
    ) as answer:
        packed = b"".join(answer.iter_raw())
    plain = client.get(link("vendor/leaflet/leaflet.js"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content


@pytest.mark.parametrize(
    "path", ["x.js", "../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "app", "app/", "//etc/passwd"]
)
def test_no_other_file_is_given_away(client: TestClient, path: str) -> None:
    answer = client.get(f"/static/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_the_map_asks_for_the_versions_there_are(client: TestClient) -> None:
    versions = client.get("/tiles/versions").json()
    page = client.get("/", headers=HTML).text
    told = dict(re.findall(r'"name": "(\w+)".*?"version": "(\d+)"', page))
    assert told == {name: str(version) for name, version in versions.items()}


def test_what_awaits_review_is_counted_once_and_listed(client: TestClient) -> None:
    feature = town.example(RESOURCES["facilities"], name="孤岛") | {"geometry": town.point(3.9, 1.0)}
    assert client.post("/collections/facilities/items", json=feature).status_code == 201
    page = client.get("/review", headers=HTML).text
    assert "孤岛" in page
    assert "第四网格" in page
    assert 'href="/review?reason=outside"' in page
    assert '<a href="/review">待落格复核 1</a>' in client.get("/", headers=HTML).text
    assert "孤岛" not in client.get("/review?reason=overlap", headers=HTML).text
    told = client.get("/review?reason=outside").json()
    assert told["numberWaiting"] == {"outside": 1}
    assert [(row["title"], row["nearest_name"]) for row in told["records"]] == [("孤岛", "第四网格")]


def test_the_boundary_report_measures_the_overlap(client: TestClient) -> None:
    page = client.get("/boundaries", headers=HTML).text
    assert "第三网格" in page
    assert "重叠" in page
    assert "card=122.6" in page
