"""Files that are built to hurt: each is refused or inert, whatever its name, and the reader stays within its bounds."""

import contextlib
import ctypes
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile

import geopandas
import numpy as np
import pytest
import shapely
import xlsxwriter

from geo.errors import Invalid
from geo.reading import layers, wall

LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1)


def refused(read, path, **how):
    with pytest.raises(Invalid) as refusal:
        read(path, **how)
    return f"{refusal.value}{refusal.value.facts}"


# What GDAL takes for an order to open something else, whatever the ending.
DISGUISES = {
    "vrt": '<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>',
    "pipeline": '{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read {secret} ! write"}}',
    "feature and pipeline": '{{"type": "FeatureCollection", "features": [], "x": {{"type": "gdal_streamed_alg", "command_line": "read {secret}"}}}}',
    "vsi": "/vsicurl/http://127.0.0.1:{port}/x.csv",
    "database": "PG:host=127.0.0.1 port={port} dbname=jingwei",
    "memory": "MEM:::DATAPOINTER=0,PIXELS=1,LINES=1",
    "remote": '<OGRWFSDataSource><URL>http://127.0.0.1:{port}/</URL></OGRWFSDataSource>',
    "tiles": '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:{port}/</ServerUrl></Service></GDAL_WMS>',
}
MARKS = {".kml": "<kml/>", ".gml": "<gml:FeatureCollection/>", ".gpx": "<gpx/>", ".dxf": "0\nSECTION\n", ".mif": "Version 300\n", ".tab": "!table\n"}


@pytest.mark.parametrize("ending", [".gml", ".gpx", ".dxf", ".mif", ".tab", ".topojson"])
def test_a_disguise_reads_nothing(tmp_path, canary, read, ending):
    port, calls = canary
    path, secret = tmp_path / f"disguised{ending}", tmp_path / "secret.csv"
    secret.write_text("id,word\n1,CANARY-WORD\n")
    path.write_text(MARKS.get(ending, "") + DISGUISES["vrt"].format(secret=secret, port=port))
    assert "CANARY" not in refused(read, path)
    assert not calls


@pytest.mark.long
@pytest.mark.parametrize("ending", sorted({*layers.DRIVERS} - {".gdb", ".dbf"}))
def test_no_disguise_reads_anything_under_any_ending(tmp_path, canary, read, ending):
    port, calls = canary
    secret = tmp_path / "secret.csv"
    secret.write_text("id,word\n1,CANARY-WORD\n")
    path = tmp_path / f"disguised{ending}"
    for body in DISGUISES.values():
        for head in ("", MARKS.get(ending, "")):
            path.write_text(head + body.format(secret=secret, port=port))
            assert "CANARY" not in refused(read, path)
    assert not calls


def test_a_seamless_table_names_no_other_file(tmp_path, read):
    (tmp_path / "secret.dbf").write_bytes(b"x")
    for more in ('Open Table "/etc/secret" Hide\nCreate View x As Select * From secret', 'begin_metadata\n"\\IsSeamless" = "TRUE"\nend_metadata'):
        path = tmp_path / "a.tab"
        path.write_text(f'!table\n!version 300\nDefinition Table\n  Type NATIVE Charset "WindowsSimpChinese"\n  Fields 1\n    a Char (10);\n{more}\n')
        assert "扩展名" in refused(read, path)


@pytest.mark.parametrize("ending", [".kml", ".gml", ".gpx"])
def test_entities_and_links_of_xml_stay_closed(tmp_path, canary, read, ending):
    port, calls = canary
    secret = tmp_path / "secret.txt"
    secret.write_text("CANARY-WORD")
    path = tmp_path / f"a{ending}"
    root = {".kml": "kml", ".gml": "gml:FeatureCollection", ".gpx": "gpx"}[ending]
    for declared in (f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}">]>', f'<!DOCTYPE x SYSTEM "http://127.0.0.1:{port}/x.dtd">'):
        path.write_text(f'<?xml version="1.0"?>{declared}<{root} xmlns:gml="http://www.opengis.net/gml"><name>&a;</name></{root}>')
        assert "CANARY" not in refused(read, path)
    # A billion laughs, late in the file.
    path.write_text(f'<{root} xmlns:gml="http://www.opengis.net/gml">{" " * 1_100_000}<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]></{root}>')
    refused(read, path)
    assert not calls


def test_a_kml_of_network_links_is_not_followed(tmp_path, canary, read):
    port, calls = canary
    link = f"<NetworkLink><Link><href>http://127.0.0.1:{port}/more.kml</href></Link></NetworkLink>"
    mark = "<Placemark><name>井</name><Point><coordinates>120,30</coordinates></Point></Placemark>"
    path = tmp_path / "a.kml"
    path.write_text(f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{link}</Document></kml>', "utf-8")
    assert "网络链接" in refused(read, path)
    path.write_text(f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{link}{mark}</Document></kml>', "utf-8")
    assert sum(len(b.rows) for b in read(path)[1]) == 1
    assert not calls


def test_a_gml_fetches_no_schema(tmp_path, canary, read):
    port, calls = canary
    path = tmp_path / "a.gml"
    geopandas.GeoDataFrame({"n": ["x"]}, geometry=[shapely.Point(120, 30)], crs=4326).to_file(path, driver="GML")
    text = path.read_text().replace("<ogr:FeatureCollection", f'<ogr:FeatureCollection xsi:noNamespaceSchemaLocation="http://127.0.0.1:{port}/x.xsd"')
    path.write_text(text.replace("xsi:schemaLocation=\"", f"xsi:schemaLocation=\"http://x http://127.0.0.1:{port}/y.xsd "))
    path.with_suffix(".xsd").unlink()
    assert sum(len(b.rows) for b in read(path)[1]) == 1
    assert not calls


def test_nesting(tmp_path, read):
    deep = "[" * 10_000 + "]" * 10_000
    for name, text in {
        "coordinates.geojson": f'{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{}},"geometry":{{"type":"Polygon","coordinates":{deep}}}}}]}}',
        "properties.geojson": f'{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{"a":{deep}}},"geometry":null}}]}}',
        "topology.json": f'{{"type":"Topology","arcs":{deep},"objects":{{}}}}',
        "esri.json": f'{{"geometryType":"esriGeometryPolygon","features":{deep}}}',
        "records.json": f'[{{"a":{deep}}}]',
    }.items():
        (tmp_path / name).write_text(text)
        assert "嵌套" in refused(read, tmp_path / name)
    collection = "GEOMETRYCOLLECTION (" * 5000 + "POINT (1 1)" + ")" * 5000
    (tmp_path / "a.csv").write_text(f'n,wkt\n1,"{collection}"\n2,"POINT (120 30)"\n')
    with contextlib.suppress(Invalid):
        read(tmp_path / "a.csv")


def dbf(records, width, name=b"a"):
    head = struct.pack("<BBBBIHH20x", 3, 126, 1, 1, records, 65, width + 1)
    return head + name.ljust(11, b"\0") + b"C" + bytes(4) + bytes([width]) + bytes(15) + b"\r"


def test_a_dbf_that_declares_two_gigabytes(tmp_path, read):
    geopandas.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(120, 30)], crs=4326).to_file(tmp_path / "a.shp")
    (tmp_path / "a.dbf").write_bytes(dbf(8_000_000, 254))
    assert "截断" in refused(read, tmp_path / "a.shp")
    (tmp_path / "b.dbf").write_bytes(dbf(8_000_000, 254))
    assert "截断" in refused(read, tmp_path / "b.dbf")
    # Sparse, all of it there: 2 GB that cost the sender nothing. Sent as such it is too much, and packed it shrinks too well.
    with (tmp_path / "c.dbf").open("wb") as sparse:
        sparse.write(dbf(8_500_000, 254))
        sparse.truncate(2_150_000_000)
    assert "2 GB" in refused(read, tmp_path / "c.dbf")


def test_an_archive_may_hold_many_blanks_and_no_more(tmp_path, read):
    def archive(name, members):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as to:
            for member, size in members:
                with to.open(member, "w", force_zip64=True) as out:
                    for _ in range(size // (1 << 20)):
                        out.write(bytes(1 << 20))
        return tmp_path / name

    assert "过大" in refused(read, archive("bomb.zip", [("a.csv", 64 << 20)]))
    assert "过大" in refused(read, archive("book.xlsx", [("xl/worksheets/sheet1.xml", 64 << 20)]))
    inner = archive("inner.zip", [("a.csv", 4 << 20)])
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as to:
        to.write(inner, "深/inner.zip")
    assert "还有压缩包" in refused(read, tmp_path / "nested.zip")


def test_an_archive_that_lies_about_sizes(tmp_path, read):
    path = tmp_path / "lies.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to:
        to.writestr("a.csv", b"a,b\n" + b"1,2\n" * 200_000)
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = raw.index(mark)
        raw[start + at : start + at + 4] = struct.pack("<I", 100)
    path.write_bytes(raw)
    refused(read, path)


def test_a_cell_in_the_last_corner_of_a_sheet(tmp_path, read):
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "名称")
        sheet.write(1, 0, "甲")
        sheet.write(1_048_575, 16_383, "乙")
    try:
        read(path)
    except Invalid as refusal:
        assert "超出" in str(refusal)


BOUNDED = """
import json, sys
from geo.reading import wall
wall.walled(0)
taken = []
try:
    while len(taken) < 100:
        taken.append(bytes(20_000_000))
except MemoryError:
    pass
print(len(taken) * 20)
"""


def test_the_reader_takes_600_megabytes_and_no_more():
    told = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, check=True, timeout=60, cwd="/", env={**os.environ, "PYTHONPATH": str(wall.__file__).split("/geo/")[0]})
    assert 200 < int(told.stdout) < 600
    # Not ours: the bound is the reader's own.
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


CONFINED = """
import ctypes, json, sys
from pathlib import Path
from geo.reading import wall
sent, job, other = map(Path, sys.argv[1:])
told = {}
wall.walled(0, sent, job)
def tried(name, act):
    try:
        act()
        told[name] = "done"
    except OSError as error:
        told[name] = type(error).__name__
tried("sent", sent.read_bytes)
tried("job", lambda: (job / "made").write_text("x"))
tried("other", other.read_bytes)
tried("passwd", Path("/etc/passwd").read_bytes)
tried("listed", lambda: list(other.parent.iterdir()))
tried("written", lambda: (other.parent / "made").write_text("x"))
tried("sent written", lambda: sent.write_text("x"))
tried("renamed", lambda: (job / "made").rename(other.parent / "made"))
tried("linked", lambda: (other.parent / "link").symlink_to(job))
import pyarrow.parquet, pyproj, python_calamine, pyogrio
print(json.dumps(told))
"""


@pytest.mark.skipif(LANDLOCK < 1, reason="this kernel has no Landlock")
def test_the_reader_reads_what_was_sent_and_writes_in_its_folder_alone(tmp_path):
    for name in ("sent", "job", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "sent" / "a.csv").write_text("a")
    (tmp_path / "other" / "secret").write_text("b")
    places = [tmp_path / "sent" / "a.csv", tmp_path / "job", tmp_path / "other" / "secret"]
    told = subprocess.run([sys.executable, "-c", CONFINED, *places], capture_output=True, text=True, timeout=60, cwd="/", env={"PYTHONPATH": str(wall.__file__).split("/geo/")[0]}, check=False)
    assert told.returncode == 0, told.stderr
    outcome = json.loads(told.stdout)
    assert outcome.pop("sent") == outcome.pop("job") == "done"
    assert set(outcome.values()) <= {"PermissionError", "OSError"}
    assert list((tmp_path / "other").iterdir()) == [places[2]] and places[0].read_text() == "a"


def test_markup_in_names_of_files_layers_and_columns_is_text(tmp_path, rows):
    name = "<img src=x onerror=alert(1)>"
    frame = geopandas.GeoDataFrame({name: [name, "=1+1"]}, geometry=[shapely.Point(120, 30)] * 2, crs=4326)
    path = tmp_path / f"{name}.geojson"
    path.write_text(json.dumps(json.loads(frame.to_json()) | {"name": name}))
    described, told = rows(path)
    assert described.layers[0].name == name and [row[name] for row in told] == [name, "=1+1"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as to:
        to.write(tmp_path / f"{name}.geojson", f"{name}.geojson")
    assert rows(tmp_path / "a.zip")[0].layers[0].name == name


@pytest.mark.parametrize("name", ["/vsizip", "a?b#c.gpkg", "MEM:::x.gpkg", "PG:x.geojson", "a b';.fgb", "http:a.kml", "{x}.csv", "-o.csv", "a\nb.csv"])
def test_names_are_no_orders(tmp_path, rows, name):
    frame = geopandas.GeoDataFrame({"n": ["x"]}, geometry=[shapely.Point(120, 30)], crs=4326)
    path = tmp_path / name.lstrip("/")
    ending = path.suffix
    if ending in (".csv", ""):
        path = path if ending else path.with_suffix(".csv")
        path.write_text("n\nx\n")
    else:
        frame.to_file(tmp_path / f"plain{ending}", driver={".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf", ".kml": "KML"}[ending])
        (tmp_path / f"plain{ending}").rename(path)
    assert rows(path)[1][0]["n"] == "x"


def test_shapes_that_are_no_numbers(tmp_path, read):
    points = [[np.nan, 30.0], [1e308, 30.0], [120.0, 30.0], [120.1, 91.0]]
    with np.errstate(invalid="ignore"):
        lines = shapely.linestrings([[p, [120.0, 30.5]] for p in points])
    frame = geopandas.GeoDataFrame({"n": range(4)}, geometry=lines, crs=4326)
    frame.to_file(tmp_path / "a.fgb", SPATIAL_INDEX="NO")
    described, batches = read(tmp_path / "a.fgb", crs="EPSG:4326")
    assert {at for b in batches for at in b.problems} == {0, 1, 3}
    json.dumps(described.bounds)
