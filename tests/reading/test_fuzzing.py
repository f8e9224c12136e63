"""Files that chance has broken: always rows or a refusal in words, no crash of who asked, nothing written where it should not."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import geopandas
import libarchive
import pyogrio
import pytest
import shapely
import xlsxwriter

ROOT = Path(__file__).parents[2]
KINDS = ("shp.zip", "gpkg", "geojson", "xlsx", "csv", "kml", "parquet", "fgb", "7z", "dxf", "gml", "txt")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small sound files of every kind, and a canary beside them."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("seeds", "case", "jobs", "beside"):
        (folder / name).mkdir()
    (folder / "beside" / "secret.csv").write_text("id,word\n1,CANARY-WORD\n")
    out = folder / "seeds"
    rings = [shapely.box(120 + n / 100, 30, 120.01 + n / 100, 30.01) for n in range(3)]
    rings.append(shapely.Polygon(rings[0].exterior.coords, [shapely.box(120.002, 30.002, 120.004, 30.004).exterior.coords]))
    frame = geopandas.GeoDataFrame({"网格": ["第一网格", "第二网格", None, "四"], "n": [1, 2, 3, 4], "f": [0.5, None, 1, 2]}, geometry=rings, crs=4490)
    for encoding in ("GBK", "UTF-8"):
        made = folder / "beside" / encoding
        made.mkdir()
        frame.to_file(made / "a.shp", encoding=encoding)
        with zipfile.ZipFile(out / f"{encoding}.shp.zip", "w") as archive:
            for part in made.iterdir():
                archive.write(part, part.name)
    for ending, driver in (("gpkg", "GPKG"), ("geojson", "GeoJSON"), ("kml", "KML"), ("fgb", "FlatGeobuf"), ("gml", "GML"), ("dxf", "DXF")):
        pyogrio.write_dataframe(frame[["geometry"]] if ending == "dxf" else frame.to_crs(4326), out / f"a.{ending}", driver=driver)
    (out / "a.xsd").unlink(missing_ok=True)
    frame.to_parquet(out / "a.parquet")
    frame.to_parquet(out / "b.parquet", geometry_encoding="geoarrow")
    table = frame.assign(wkt=frame.geometry.to_wkt()).drop(columns="geometry")
    (out / "a.csv").write_bytes(table.to_csv(index=False).encode("gb18030"))
    (out / "b.csv").write_text("编号,经度,纬度\n1,120.5,30.2\n合计,,\n3月2日,120°30′,30\n", "utf-8")
    (out / "a.txt").write_text("#接龙\n1. 张三 3-2-501 2人\n2. 李四 3-2-502 1人\n3. 王五 3-2-503\n", "utf-8")
    with xlsxwriter.Workbook(out / "a.xlsx") as book:
        sheet = book.add_worksheet("表")
        for at, row in enumerate([["登记表"], ["小区", "房屋", ""], ["", "幢", "室"], ["澜溪苑", 3, "101"], ["", 3, "102"], ["合计", 6, ""]]):
            sheet.write_row(at, 0, row)
        sheet.merge_range("B2:C2", "房屋")
        sheet.merge_range("A4:A5", "澜溪苑")
    with libarchive.file_writer(str(out / "a.7z"), "7zip") as archive:
        archive.add_file_from_memory("a.csv", 12, b"a,b\n1,2\n3,4\n")
    return folder


def tree(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def survived(seeds, kind, cases, seed):
    before = tree(seeds)
    told = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("fuzzing.py"), seeds, kind, str(cases), str(seed)],
        capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    outcomes = json.loads(told.stdout)
    assert sum(outcomes.values()) == cases
    # Some of both, or the mutations are no test; what carries checksums and what must be well-formed is hardly ever read.
    assert kind in ("7z", "gml", "kml", "parquet") or (outcomes.get("rows") and set(outcomes) - {"rows"})
    assert tree(seeds) == before
    assert not any((seeds / "jobs").iterdir())
    return outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_what_chance_breaks_is_read_or_refused(seeds, kind):
    survived(seeds, kind, 30, 1)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_thousand_that_chance_breaks(seeds, kind):
    print(kind, survived(seeds, kind, 1_700, 2))
