"""The API of features as programs read it that nobody here wrote: GDAL of the distribution and OWSLib, against a real server."""

import json
import shutil
import subprocess
import urllib.request

import pytest
from owslib.ogcapi.features import Features

from tests.conftest import Server


def counted(server: Server, noun: str) -> int:
    """How many there are, by following every page."""
    at, found = f"{server}/collections/{noun}/items?limit=500", 0
    while at:
        with urllib.request.urlopen(at, timeout=30) as answer:
            page = json.load(answer)
        found += page["numberReturned"]
        at = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    return found


def ogrinfo(server: Server, *arguments: str) -> str:
    if shutil.which("ogrinfo") is None:
        pytest.fail("no ogrinfo: `make test` installs it")
    told = subprocess.run(["ogrinfo", "-ro", f"OAPIF:{server}", *arguments], capture_output=True, text=True, check=True, timeout=120)
    assert "ERROR" not in told.stderr, told.stderr
    return told.stdout


def test_gdal_reads_every_page(server: Server) -> None:
    assert "buildings" in ogrinfo(server)
    told = ogrinfo(server, "-so", "buildings", "-oo", "PAGE_SIZE=300")
    assert f"Feature Count: {counted(server, 'buildings')}" in told
    assert "Geometry: Multi Polygon" in told or "Geometry: Polygon" in told


def test_gdal_asks_for_a_box_and_for_a_value(server: Server) -> None:
    with urllib.request.urlopen(f"{server}/collections/buildings/items?limit=1", timeout=30) as answer:
        house = json.load(answer)["features"][0]
    west, south = house["geometry"]["coordinates"][0][0][0]
    told = ogrinfo(server, "buildings", "-al", "-spat", *map(str, (west, south, west + 1e-9, south + 1e-9)), "-fields=YES", "-geom=NO")
    assert house["properties"]["name"] in told
    assert 1 <= told.count("OGRFeature(buildings)") < 10


def test_owslib_finds_filters_and_sorts(server: Server) -> None:
    there = Features(str(server))
    assert "buildings" in there.feature_collections()
    assert any("ogcapi-features-1/1.0/conf/core" in one for one in there.conformance()["conformsTo"])
    assert there.collection("buildings")["id"] == "buildings"
    assert "floors" in there.collection_queryables("buildings")["properties"]
    assert there.collection_schema("buildings")["type"] == "object"
    tall = there.collection_items("buildings", filter="floors >= 6", sortby=("floors", "desc"), limit=20)["features"]
    floors = [f["properties"]["floors"] for f in tall]
    assert floors and floors == sorted(floors, reverse=True) and min(floors) >= 6
    assert there.collection_item("buildings", tall[0]["id"])["id"] == tall[0]["id"]
