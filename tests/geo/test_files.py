"""Files as bureaus send them, and files that are not what they say."""

import errno
import gzip
import json
import os
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
import xlsxwriter

from geo import files
from geo.errors import Invalid

SHARED = next((p / "shared" / "data" for p in Path(__file__).parents if (p / "shared" / "data").exists()), Path("nowhere"))
SENT = SHARED / "derived_cn_uploads"
# What each of the 25 packages must come to: how many rows and shapes, or what the refusal must name.
OUTCOMES = {
    "10_prj_says_wgs84_coords_are_metres.zip": "--crs",
    "12_two_layers.zip": "--layer",
    "13_truncated_shp.zip": "截断",
    "16_bowtie_null_duplicate.zip": (26, 25),
    "18_zip_slip_path.zip": "包外",
}


def read(path, **how):
    with files.opened(path, **how) as (described, batches):
        return described, list(batches)


def shapes(batches):
    return [s for b in batches if b.geometry is not None for s in b.geometry if s is not None]


@pytest.fixture
def squares():
    return geopandas.GeoDataFrame(
        {"网格名称": ["第一网格", "第二网格"], "编码": ["001", "002"]},
        geometry=[shapely.box(120, 30, 120.01, 30.01), shapely.box(120.01, 30, 120.02, 30.01)],
        crs=4326,
    )


def shapefile(folder, frame, encoding="GBK", cpg=True, prj=True, name="layer"):
    frame.to_file(folder / f"{name}.shp", encoding=encoding)
    if not cpg:
        (folder / f"{name}.cpg").unlink()
    if not prj:
        (folder / f"{name}.prj").unlink()
    return folder / f"{name}.shp"


def packed(folder, target, rename=lambda name: name):
    with zipfile.ZipFile(target, "w") as archive:
        for part in sorted(folder.iterdir()):
            archive.write(part, rename(part.name))
    return target


# GDAL warns of the cut name in bytes that are no text.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cpg", [True, False])
@pytest.mark.parametrize("encoding", ["GBK", "UTF-8"])
def test_chinese_dbf(tmp_path, squares, encoding, cpg):
    path = shapefile(tmp_path, squares, encoding, cpg)
    described, batches = read(path)
    titles = list(described.columns)
    assert described.columns["编码"] == ["001", "002"]
    # Ten bytes hold four Chinese characters in GBK and three in UTF-8.
    assert titles[0] == ("网格名称" if encoding == "GBK" else "网格名")
    assert described.columns[titles[0]] == ["第一网格", "第二网格"]
    assert len(shapes(batches)) == 2
    assert next(one for one in described.evidence if one.aspect == "encoding").value == ("utf-8" if encoding == "UTF-8" else "gb18030")


def test_metres_without_prj_are_asked_about_and_taken_when_told(tmp_path, squares):
    path = shapefile(tmp_path, squares.to_crs(4549), prj=False)
    with pytest.raises(Invalid) as refusal:
        read(path)
    assert refusal.value.facts["option"] == "--crs"
    assert "EPSG:4549" in refusal.value.facts["choices"]
    _, batches = read(path, crs="EPSG:4549")
    assert shapely.hausdorff_distance(shapes(batches)[0], squares.geometry[0]) < 1e-8


def test_zone_in_front_of_the_easting_settles_it(tmp_path, squares):
    path = shapefile(tmp_path, squares.to_crs(4528), prj=False)
    described, batches = read(path)
    assert shapely.hausdorff_distance(shapes(batches)[0], squares.geometry[0]) < 1e-8
    assert any("4528" in said for said in described.warnings)


def test_upper_case_nested_macosx_without_shx_or_dbf(tmp_path, squares):
    (tmp_path / "in").mkdir()
    shapefile(tmp_path / "in", squares)
    (tmp_path / "in" / "layer.shx").unlink()
    target = packed(tmp_path / "in", tmp_path / "up.zip", lambda n: f"里层/{n.upper()}")
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("__MACOSX/里层/._LAYER.SHP", b"junk")
    assert len(shapes(read(target)[1])) == 2
    (tmp_path / "in" / "layer.dbf").unlink()
    described, batches = read(packed(tmp_path / "in", tmp_path / "bare.zip"))
    assert len(shapes(batches)) == 2
    assert any(".dbf" in said for said in described.warnings)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "parquet", "kml", "csv"])
def test_spatial_formats(tmp_path, squares, ending):
    path = tmp_path / f"grids.{ending}"
    if ending == "parquet":
        squares.to_parquet(path)
    elif ending == "csv":
        squares.assign(WKT=squares.geometry.to_wkt()).drop(columns="geometry").to_csv(path, index=False, encoding="gb18030")
    else:
        squares.to_file(path, driver={"gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf", "kml": "KML"}[ending])
    found = sorted(shapes(read(path)[1]), key=lambda s: s.bounds)
    assert shapely.hausdorff_distance(found[0], squares.geometry[0]) < 1e-9


def test_tables_say_where_in_many_spellings(tmp_path):
    for lon, lat in (("经度", "纬度"), ("lng", "lat"), ("LONGITUDE", "LATITUDE"), ("X", "Y")):
        path = tmp_path / "points.csv"
        path.write_text(f"编号,{lon},{lat}\n007,120.5,30.25\n008,,\n009,abc,30\n", "utf-8-sig")
        described, [batch] = read(path)
        assert described.columns["编号"] == ["007", "008", "009"]
        assert batch.lon[0] == 120.5 and batch.lat[0] == 30.25
        assert np.isnan(batch.lon[1:]).all()


def test_shifted_coordinates_are_confirmed_never_assumed(tmp_path):
    path = tmp_path / "points.csv.gz"
    path.write_bytes(gzip.compress(b"id,lng_gcj02,lat_gcj02\n1,121.554158,29.867417\n"))
    with pytest.raises(Invalid) as refusal:
        read(path)
    assert refusal.value.facts["option"] == "--datum"
    _, [batch] = read(path, datum="gcj02")
    assert (batch.lon[0], batch.lat[0]) == pytest.approx((121.55, 29.87), abs=1e-6)


def test_a_sheet_with_title_rows_and_totals(tmp_path):
    path = tmp_path / "住户.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("登记表")
        for at, row in enumerate([["某社区住户登记表"], [], ["户号", "楼栋编码", "人数"], ["1", "0012", 3], ["2", "0012", 2], ["合计", "", 5]]):
            sheet.write_row(at, 0, row)
        book.add_worksheet("空表")
    described, [batch] = read(path)
    assert list(described.columns) == ["户号", "楼栋编码", "人数"]
    assert described.columns["楼栋编码"] == ["0012", "0012"]
    assert len(batch.rows) == 2


def test_broken_shapes_are_mended_by_structure_or_named(tmp_path):
    path = tmp_path / "broken.geojson"
    rings = {"bow": [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]], "flat": [[0, 0], [1, 1], [0, 0], [0, 0]]}
    features = [{"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Polygon", "coordinates": [r]}} for n, r in rings.items()]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    _, [batch] = read(path)
    assert shapely.is_valid(batch.geometry[0]) and 0 in batch.repaired
    assert batch.geometry[1] is None and 1 in batch.problems
    _, [batch] = read(path, repair=False)
    assert "相交" in batch.problems[0]


def table(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("heads", "cells", "datum"),
    [
        ("东经,北纬", "120.5,30.25", None),
        ("lng_wgs84,lat_wgs84", "120.5,30.25", None),
        ("POI_LON,POI_LAT", "120.5,30.25", None),
        ("坐标X,坐标Y", "120.5,30.25", None),
        ("经度(度),纬度(度)", "120°30′0″,北纬30°15′", None),
        ("经纬度", '"120.5,30.25"', None),
        ("location", '"[120.5, 30.25]"', None),
        ("lat,lon", "30.25,120.5", None),
        ("lng_gcj02,lat_gcj02,lng_wgs84,lat_wgs84", "1,1,120.5,30.25", None),
        ("lng,lat,bd_lng,bd_lat", "120.5,30.25,1,1", None),
        ("wkt", "POINT (120.5 30.25)", None),
        ("geom", "SRID=4549;POINT (548122.063 3347932.816)", None),
        ("geom", "0101000020E61000000000000000205E400000000000403E40", None),
        ("x,y", "40548122.063,3347932.816", None),
        ("百度经度,百度纬度", "120.51081133,30.25365601", "bd09"),
        ("火星坐标", '"120.5043304,30.24754839"', "gcj02"),
    ],
)
def test_a_position_is_found_under_its_many_titles(tmp_path, heads, cells, datum):
    path = table(tmp_path / "p.csv", f"编号,{heads}\n1,{cells}\n")
    _, [batch] = read(path, datum=datum)
    x, y = (batch.lon[0], batch.lat[0]) if batch.lon is not None else (batch.geometry[0].x, batch.geometry[0].y)
    assert (x, y) == pytest.approx((120.5, 30.25), abs=5e-6)
    if datum:
        with pytest.raises(Invalid) as refusal:
            read(path)
        assert refusal.value.facts["datum"] == datum


def test_rows_of_another_length_are_kept_apart_with_their_numbers(tmp_path):
    lines = [f"{n},{n % 7},备注" for n in range(1, 30_001)]
    lines[4], lines[9], lines[19_999], lines[25_000] = "5", "10,1,a,b", "", '25001,2,"跨\n行"'
    path = table(tmp_path / "p.csv", "编号,数,备注\n" + "\n".join(lines) + "\n")
    _, batches = read(path)
    numbered = {int(at): (b.columns["编号"][i].as_py(), b.problems.get(i)) for b in batches for i, at in enumerate(b.rows)}
    assert numbered.keys() == {*range(1, 30_001)} - {20_000}  # the blank line
    assert all(int(told) == at for at, (told, _) in numbered.items())
    assert {at: why for at, (_, why) in numbered.items() if why} == {5: "这一行有 1 格,表头有 3 格", 10: "这一行有 4 格,表头有 3 格"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
def test_text_in_every_usual_encoding(tmp_path, encoding, ending):
    comma = "\t" if ending == "tsv" else ","
    text = f"某街道登记表{comma}{comma}\n名称{comma}经度{comma}纬度\n澜溪㐂社区{comma}120.5{comma}30.25\n"
    raw = text.encode(encoding)
    path = tmp_path / f"p.{ending}"
    path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    described, [batch] = read(path)
    assert described.columns == {"名称": ["澜溪㐂社区"]}
    assert described.position_columns == ["经度", "纬度"]
    assert batch.lon[0] == 120.5


def test_text_in_no_encoding_names_the_option(tmp_path):
    with pytest.raises(Invalid) as refusal:
        read(table(tmp_path / "p.csv", "a,b\n\xff\xfe\xfd,2\n", "latin-1"))
    assert refusal.value.facts["option"] == "--encoding"


def test_names_in_gbk_over_values_in_ascii(tmp_path):
    frame = geopandas.GeoDataFrame({"网格编码": ["001"]}, geometry=[shapely.box(120, 30, 120.01, 30.01)], crs=4326)
    described, _ = read(shapefile(tmp_path, frame, "GBK", cpg=False))
    assert described.columns == {"网格编码": ["001"]}


def test_a_shapefile_without_ending_or_case_in_common(tmp_path, squares):
    (tmp_path / "in").mkdir()
    shapefile(tmp_path / "in", squares)
    parts = {"layer.shp": "网格.SHP", "layer.dbf": "网格.dbf", "layer.shx": "网格.Shx", "layer.cpg": "网格.cpg", "layer.prj": "网格.PRJ"}
    described, batches = read(packed(tmp_path / "in", tmp_path / "up.zip", lambda name: parts[name].encode("gb18030").decode("cp437")))
    assert described.columns["编码"] == ["001", "002"]
    assert len(shapes(batches)) == 2


def test_layers_with_long_names_in_two_folders_are_not_mixed_up(tmp_path, squares):
    (tmp_path / "in").mkdir()
    shapefile(tmp_path / "in", squares)
    long = "澄汀市望汀区云汀街道社区网格划分成果数据终稿"
    path = tmp_path / "up.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for year in ("2023", "2024"):
            for part in (tmp_path / "in").iterdir():
                archive.write(part, f"{year}/{long}{part.suffix}")
    with pytest.raises(Invalid) as refusal:
        read(path)
    assert refusal.value.facts["choices"] == [f"2023/{long}", f"2024/{long}"]
    assert len(shapes(read(path, layer=f"2024/{long}")[1])) == 2


@pytest.mark.parametrize(("part", "kept"), [("shp", 0.6), ("dbf", 0.9)])
def test_a_part_that_broke_off_is_refused(tmp_path, squares, part, kept):
    path = shapefile(tmp_path, squares)
    broken = path.with_suffix(f".{part}")
    broken.write_bytes(broken.read_bytes()[: int(broken.stat().st_size * kept)])
    with pytest.raises(Invalid, match="截断"):
        read(path)


def test_degrees_under_a_projection_and_a_datum_of_old(tmp_path, squares):
    degrees = shapefile(tmp_path, squares)
    for code in (4549, 2385):
        (tmp_path / "layer.prj").write_text(pyproj.CRS(code).to_wkt("WKT1_ESRI"))
        _, batches = read(degrees)  # what the .prj says cannot be
        assert shapely.hausdorff_distance(shapes(batches)[0], squares.geometry[0]) < 1e-9
    (tmp_path / "old").mkdir()
    described, _ = read(shapefile(tmp_path / "old", squares.to_crs(2385)))
    assert any("没有公开的转换参数" in said for said in described.warnings)


def test_points_come_as_two_arrays(tmp_path):
    frame = geopandas.GeoDataFrame({"n": [1, 2]}, geometry=[shapely.Point(120, 30, 5), None], crs=4326)
    frame.to_file(tmp_path / "p.gpkg")
    _, [batch] = read(tmp_path / "p.gpkg")
    assert batch.geometry is None
    assert (batch.lon[0], batch.lat[0]) == (120, 30)
    assert np.isnan(batch.lon[1])


def star(corners):
    """A closed line in which nearly every side crosses every other: 250 corners brought a database down."""
    turn = np.arange(corners) * (corners // 2) * 2 * np.pi / corners
    line = [[120 + float(np.cos(t)) / 100, 30 + float(np.sin(t)) / 100] for t in turn]
    return [*line, line[0]]


def test_a_polygon_bomb_costs_two_seconds_and_is_named(tmp_path):
    path = tmp_path / "bomb.geojson"
    rings = [star(51), star(1501), [[120, 30], [120, 1e308], [121, 31], [120, 30]]]
    features = [{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    started = time.monotonic()
    _, [batch] = read(path, crs="EPSG:4326")
    assert time.monotonic() - started < 10
    assert shapely.is_valid(batch.geometry[0])
    assert "平方米" in str(batch.repaired[0])
    assert "修不好" in batch.problems[1]
    assert "不在地球上" in batch.problems[2]


def test_the_reader_has_no_network_no_programs_and_one_driver():
    # The same wall as of every reading, with the questions put from inside.
    code = """
import json, socket, subprocess, sys
from pathlib import Path
from geo import files
from geo.reading import layers, wall
wall.walled(0)
told = {}
for name, tried in {
    "socket": lambda: socket.create_connection(("127.0.0.1", 1)), "program": lambda: subprocess.run(["true"]),
}.items():
    try:
        tried()
    except OSError as error:
        told[name] = error.errno
told["drivers"] = list(layers.gdal(layers.DRIVERS[".geojson"], json.loads(sys.argv[1])).list_drivers())
print(json.dumps(told))
"""
    known = sorted(files._known())
    told = subprocess.run([sys.executable, "-c", code, json.dumps(known)], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout) == {"socket": errno.EPERM, "program": errno.EPERM, "drivers": ["GeoJSON"]}
    assert len(known) > 40


def test_a_reader_that_falls_silent_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SILENCE", 0.01)
    path = table(tmp_path / "p.csv", "a,b\n1,2\n")
    started = time.monotonic()
    with pytest.raises(Invalid, match="时间限制"):
        read(path)
    assert time.monotonic() - started < 10


def test_leaving_early_leaves_no_process_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "jobs"))
    (tmp_path / "jobs").mkdir()
    path = table(tmp_path / "p.csv", "a,b\n" + "1,2\n" * 200_000)
    with files.opened(path) as (_, batches):
        next(batches)
        [job] = (tmp_path / "jobs").iterdir()
    assert not job.exists()
    assert subprocess.run(["pgrep", "-f", str(job)], capture_output=True).returncode == 1


@pytest.mark.skipif(not SENT.exists(), reason="the real packages are not beside this checkout")
def test_every_real_package_is_read_right_or_refused_with_a_reason():
    wrong = {}
    for path in sorted(p for p in SENT.iterdir() if p.suffix != ".txt"):
        outcome = OUTCOMES.get(path.name, (26, 26))
        try:
            _, batches = read(path)
            drawn = sum(int(np.isfinite(b.lon).sum()) if b.lon is not None else sum(s is not None for s in b.geometry) for b in batches)
            found = (sum(len(b.rows) for b in batches), drawn)
        except Invalid as refusal:
            found = next((o for o in [outcome] if isinstance(o, str) and o in f"{refusal}{refusal.facts}"), f"{refusal}{refusal.facts}")
        if found != outcome:
            wrong[path.name] = found
    assert not wrong


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "kml", "shp", "geojsonl"])
@pytest.mark.parametrize("disguise", ["vrt", "vrt-url", "gdalg"])
def test_a_disguised_dataset_reads_nothing(tmp_path, canary, ending, disguise):
    port, calls = canary
    secret = tmp_path / "secret.csv"
    secret.write_text("id,word\n1,CANARY-WORD\n")
    source = f"http://127.0.0.1:{port}/x.csv" if disguise == "vrt-url" else str(secret)
    body = f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{source}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'
    if disguise == "gdalg":
        body = json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {secret} ! write"})
    path = tmp_path / f"disguised.{ending}"
    path.write_text(body)
    with pytest.raises(Invalid) as refusal:
        read(path)
    assert "CANARY" not in f"{refusal.value}{refusal.value.facts}"
    assert not calls


def test_archives_that_attack(tmp_path):
    def archive(name, members):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as to:
            for member, content in members:
                to.writestr(member, content)
        return tmp_path / name

    link = zipfile.ZipInfo("a.shp")
    link.external_attr = 0o120777 << 16
    for path in (
        archive("slip.zip", [("../evil.shp", b"x")]),
        archive("absolute.zip", [("/etc/evil.shp", b"x")]),
        archive("link.zip", [(link, b"/etc/passwd")]),
        archive("nested.zip", [("in.zip", b"PK")]),
        archive("bomb.zip", [("a.csv", bytes(50_000_000))]),
        archive("many.zip", [(f"{n}.txt", b"") for n in range(2_100)]),
        archive("empty.zip", []),
    ):
        with pytest.raises(Invalid):
            read(path)
    assert not (tmp_path.parent / "evil.shp").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("empty.geojson", b""),
        ("deep.geojson", b'{"type":"FeatureCollection","features":[' + b"[" * 10_000),
        ("nan.geojson", b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[NaN,1]}}]}'),
        ("entity.kml", b'<?xml version="1.0"?><!DOCTYPE k [<!ENTITY a SYSTEM "file:///etc/passwd">]><kml><Placemark><name>&a;</name></Placemark></kml>'),
        ("short.shp", struct.pack(">i", 9994)),
        ("lying.dbf.zip", b"PK\x05\x06" + bytes(18)),
        ("drawing.dwg", b"AC1015"),
        ("strange.xyz", b"x"),
        ("book.xlsx", b"PK\x03\x04 not a book"),
        ("twice.csv", b"a,a\n1,2\n"),
        ("binary.csv", os.urandom(2000)),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        _, batches = read(path)
    except Invalid as refusal:
        assert str(refusal).endswith(("。", "?")) or "可能是" in str(refusal) or "指明" in str(refusal)
    else:
        # Read without falling over, and nothing located that has no place.
        assert all(np.isnan(b.lon).all() for b in batches if b.lon is not None)


def test_an_endless_view_of_a_geopackage_is_not_opened(tmp_path, squares):
    import sqlite3

    path = tmp_path / "view.gpkg"
    squares.to_file(path, layer="grids")
    with sqlite3.connect(path) as book:
        book.execute("CREATE VIEW endless AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS fid FROM r")
        book.execute("INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('endless', 'attributes', 'endless')")
    described, _ = read(path)
    assert "编码" in described.columns
    with pytest.raises(Invalid):
        read(path, layer="endless")
