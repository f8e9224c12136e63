"""Tiles as programs read them that nobody here wrote: GDAL of the distribution, and the newer one inside of pyogrio."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from geo.matrices import CGCS2000, WEB_MERCATOR
from tests import town
from tests.api.test_tilesets import here, layers
from tests.conftest import Client

Z = 17


@pytest.fixture
def tile(client: Client, connection: sa.Connection, tmp_path: Path) -> Path:
    """A tile of three layers as a file, at the place of its address."""
    for name in ("parts", "buildings", "roads"):
        town.add(connection, name, **({} if name == "roads" else {"name": f"{name} 甲"}))
    row, column = here(WEB_MERCATOR, Z)
    answer = client.get(f"/tiles/WebMercatorQuad/{Z}/{row}/{column}?collections=areas,parts,buildings,roads")
    at = tmp_path / str(Z) / str(column) / f"{row}.pbf"
    at.parent.mkdir(parents=True)
    at.write_bytes(answer.content)
    return at


def test_ogrinfo_reads_a_tile_of_several_layers(tile: Path) -> None:
    if shutil.which("ogrinfo") is None:
        pytest.fail("no ogrinfo: `make test` installs it")
    told = subprocess.run(["ogrinfo", "-ro", "-al", "-so", f"MVT:{tile}"], capture_output=True, text=True, check=True, timeout=60)
    found = {line.split()[-1] for line in told.stdout.splitlines() if line.startswith("Layer name")}
    assert {"areas", "parts", "parts_labels", "buildings", "buildings_labels"} <= found, told.stdout
    assert "ERROR" not in told.stderr


def test_the_newer_gdal_finds_every_shape_where_it_is(tile: Path) -> None:
    # In a process of its own: ours has shut out every driver that takes no uploads.
    script = (
        "import json, sys, pyogrio\n"
        "found = {}\n"
        "for name, _ in pyogrio.list_layers(sys.argv[1]):\n"
        "    frame = pyogrio.read_dataframe(sys.argv[1], layer=name).to_crs(4326)\n"
        "    found[name] = [len(frame), list(frame.total_bounds), sorted(frame.columns), bool(frame.is_valid.all())]\n"
        "print(json.dumps(found))"
    )
    told = subprocess.run([sys.executable, "-c", script, str(tile)], capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(told.stdout.splitlines()[-1])
    lon, lat = town.at(0.5, 0.5)
    number, bounds, columns, _ = found["parts"]
    assert number == 1 and {"id", "state"} <= set(columns)
    assert bounds[:2] == pytest.approx([lon, lat], abs=1e-6)
    number, bounds, _, valid = found["buildings"]
    # Cut at the margin of the tile, within the house.
    west, south = town.at(0.4, 0.4)
    east, north = town.at(0.6, 0.6)
    assert number == 1 and valid
    assert west - 1e-6 <= bounds[0] and south - 1e-6 <= bounds[1] and bounds[2] <= east + 1e-6 and bounds[3] <= north + 1e-6
    assert {"id", "label"} <= set(found["parts_labels"][2])


def test_degrees_are_read_by_the_corner_and_the_size_that_the_set_says(client: Client, connection: sa.Connection) -> None:
    town.add(connection, "parts", town.point(0.5, 0.5))
    row, column = here(CGCS2000, Z)
    [part] = layers(client.get(f"/collections/parts/tiles/CGCS2000Quad/{Z}/{row}/{column}").content)["parts"]
    matrix = next(one for one in client.get("/tileMatrixSets/CGCS2000Quad").json()["tileMatrices"] if one["id"] == str(Z))
    side = matrix["cellSize"] * matrix["tileWidth"]
    north, west = matrix["pointOfOrigin"]
    [(x, y)] = part.positions
    found = west + (column + x) * side, north - (row + y) * side
    assert math.dist(found, town.at(0.5, 0.5)) < side / 4000
