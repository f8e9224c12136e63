"""Every format that comes in, and what is said of those that do not."""

import json
import struct
import zipfile
import zlib

import geopandas
import libarchive
import pyogrio
import pytest
import shapely

from geo.errors import Invalid

BOXES = [shapely.box(120, 30, 120.01, 30.01), shapely.box(120.01, 30, 120.02, 30.01)]


@pytest.fixture
def squares():
    return geopandas.GeoDataFrame({"name": ["第一网格", "第二网格"], "code": ["001", "002"]}, geometry=BOXES, crs=4326)


@pytest.fixture
def drawn(read):
    """The shapes of a file, by where they lie."""
    def shapes(path, **how):
        described, batches = read(path, **how)
        return described, sorted((s for b in batches for s in b.geometry if s is not None), key=lambda s: s.bounds)

    return shapes


def same(shapes):
    return len(shapes) == 2 and all(shapely.hausdorff_distance(a, b) < 1e-6 for a, b in zip(shapes, BOXES, strict=True))


@pytest.mark.parametrize(
    ("ending", "driver"),
    [("gml", "GML"), ("geojsonl", "GeoJSONSeq"), ("ndjson", "GeoJSONSeq"), ("json", "GeoJSONSeq"), ("mif", "MapInfo File"), ("tab", "MapInfo File"),
     ("dxf", "DXF"), ("gdb", "OpenFileGDB")],
)
def test_layers_that_gdal_reads(tmp_path, squares, drawn, ending, driver):
    path = tmp_path / f"网格.{ending}"
    frame = squares[["geometry"]] if driver == "DXF" else squares
    more = {"FORMAT": "MIF"} if ending == "mif" else {}
    pyogrio.write_dataframe(frame.to_crs(4490) if ending == "tab" else frame, path, driver=driver, **more)
    described, shapes = drawn(path, **({"crs": "EPSG:4326"} if driver == "DXF" else {}))
    assert same(shapes)
    if driver != "DXF":
        assert described.columns["name"] == ["第一网格", "第二网格"]


def test_features_behind_record_separators(tmp_path, drawn):
    features = [{"type": "Feature", "properties": {"n": at}, "geometry": shapely.geometry.mapping(box)} for at, box in enumerate(BOXES)]
    path = tmp_path / "a.geojson"
    path.write_text("".join(f"\x1e{json.dumps(one)}\n" for one in features))
    assert same(drawn(path)[1])


def test_topologies_and_features_of_esri(tmp_path, drawn):
    arcs = [[list(point) for point in box.exterior.coords] for box in BOXES]
    polygons = [{"type": "Polygon", "arcs": [[at]], "properties": {"n": at}} for at in range(2)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "Topology", "arcs": arcs, "objects": {"grids": {"type": "GeometryCollection", "geometries": polygons}}}))
    assert same(drawn(path)[1])
    rings = [{"attributes": {"n": at}, "geometry": {"rings": [[list(p) for p in box.exterior.coords][::-1]]}} for at, box in enumerate(BOXES)]
    fields = [{"name": "n", "type": "esriFieldTypeInteger"}]
    path.write_text(json.dumps({"geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": 4326}, "fields": fields, "features": rings}))
    assert same(drawn(path)[1])


def test_tracks_of_a_receiver(tmp_path, drawn):
    path = tmp_path / "a.gpx"
    points = "".join(f'<trkpt lat="{30 + n / 100}" lon="120"/>' for n in range(3))
    path.write_text(f'<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1"><trk><name>巡查</name><trkseg>{points}</trkseg></trk></gpx>', "utf-8")
    described, [line] = drawn(path)
    assert described.columns["name"] == ["巡查"] and line.length == pytest.approx(0.02)


def test_a_kmz_is_its_document_and_pictures(tmp_path, squares, drawn):
    squares.to_file(tmp_path / "doc.kml", driver="KML")
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.write(tmp_path / "doc.kml", "doc.kml")
        archive.writestr("files/icon.png", b"\x89PNG")
    assert same(drawn(tmp_path / "a.kmz")[1])


def test_layers_are_listed_with_their_counts_and_chosen(tmp_path, squares, drawn, evidence):
    for name, frame in (("网格", squares), ("一格", squares[:1])):
        frame.to_file(tmp_path / "a.gpkg", layer=name)
    with pytest.raises(Invalid) as refusal:
        drawn(tmp_path / "a.gpkg")
    assert refusal.value.facts["choices"] == ["网格", "一格"] and refusal.value.facts["counts"] == [2, 1]
    described, shapes = drawn(tmp_path / "a.gpkg", layer="一格")
    assert len(shapes) == 1 and [(one.name, one.count) for one in described.layers] == [("网格", 2), ("一格", 1)]
    assert evidence(described, "layer")[0].choices == ("网格", "一格")


def test_a_geodatabase_in_an_archive(tmp_path, squares, drawn):
    pyogrio.write_dataframe(squares, tmp_path / "成果.gdb", driver="OpenFileGDB", layer="grids")
    with zipfile.ZipFile(tmp_path / "成果.gdb.zip", "w") as archive:
        for part in (tmp_path / "成果.gdb").iterdir():
            archive.write(part, f"交付/成果.gdb/{part.name}")
        archive.writestr("交付/说明.txt", "x")
    described, shapes = drawn(tmp_path / "成果.gdb.zip")
    assert same(shapes) and described.columns["code"] == ["001", "002"]


@pytest.fixture
def loose(tmp_path, squares):
    folder = tmp_path / "交付" / "里层"
    folder.mkdir(parents=True)
    squares.to_file(folder / "网格.shp", encoding="GBK")
    (folder / "网格.dbf").rename(folder / "网格.DBF")
    (folder / "网格.shx").unlink()
    (folder / "说明.docx").write_bytes(b"PK")
    (folder / "字段说明.csv").write_text("字段,含义\na,b\n", "utf-8")
    return tmp_path / "交付"


def test_loose_parts_are_a_folder(loose, drawn, evidence):
    described, shapes = drawn(loose)
    assert same(shapes) and described.columns["code"] == ["001", "002"]
    assert any(one.value == "shx" for one in evidence(described, "geometry"))
    assert [one.name for one in described.layers] == ["字段说明", "网格"]
    (loose / "link.csv").symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="链接"):
        drawn(loose)


def packed_7z(path, members):
    with libarchive.file_writer(str(path), "7zip") as archive:
        for name, content in members:
            archive.add_file_from_memory(name, len(content), content)
    return path


def packed_rar(path, members, mode=0o100644):
    """A RAR 4 whose members are stored as they are."""
    def block(kind, flags, body, more=b""):
        head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head + more

    out = b"Rar!\x1a\x07\0" + block(0x73, 0, bytes(6))
    for name, content in members:
        raw = name.encode()
        body = struct.pack("<IIBIIBBHI", len(content), len(content), 3, zlib.crc32(content), 0, 20, 0x30, len(raw), mode) + raw
        out += block(0x74, 0x8000, body, content)
    path.write_bytes(out + block(0x7B, 0x4000, b""))
    return path


@pytest.mark.parametrize("packed", [packed_7z, packed_rar], ids=["7z", "rar"])
def test_other_archives(tmp_path, squares, drawn, packed):
    (tmp_path / "in").mkdir()
    squares.to_file(tmp_path / "in" / "a.shp")
    path = packed(tmp_path / f"a.{'7z' if packed is packed_7z else 'rar'}", [(f"in/{p.name}", p.read_bytes()) for p in (tmp_path / "in").iterdir()])
    assert same(drawn(path)[1])
    # Named .zip by somebody who thinks that all archives are.
    assert same(drawn(path.rename(tmp_path / "b.zip"))[1])


@pytest.mark.parametrize("packed", [packed_7z, packed_rar], ids=["7z", "rar"])
def test_other_archives_that_attack(tmp_path, read, packed):
    ending = "7z" if packed is packed_7z else "rar"
    for at, members in enumerate((
        [("../evil.csv", b"a\n1\n")], [("/tmp/evil.csv", b"a\n1\n")], [("in.zip", b"PK")], [(f"{n}.txt", b"x") for n in range(2_100)],
    )):
        with pytest.raises(Invalid):
            read(packed(tmp_path / f"{at}.{ending}", members))
    if packed is packed_rar:
        with pytest.raises(Invalid, match="链接"):
            read(packed_rar(tmp_path / "link.rar", [("a.csv", b"/etc/passwd")], 0o120777))
    whole = packed(tmp_path / f"whole.{ending}", [("a.csv", b"a,b\n" + b"1,2\n" * 5000)]).read_bytes()
    (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Invalid):
        read(tmp_path / f"cut.{ending}")
    assert not (tmp_path.parent / "evil.csv").exists()


def test_a_bomb_in_another_archive(tmp_path, read):
    with pytest.raises(Invalid, match="过大"):
        read(packed_7z(tmp_path / "bomb.7z", [("a.csv", bytes(60_000_000))]))


def test_a_machine_without_libarchive_says_so(tmp_path, monkeypatch):
    from geo.reading import archives
    from geo.reading.source import Refused

    monkeypatch.setattr(archives, "library", lambda: None)
    path = packed_7z(tmp_path / "a.7z", [("a.csv", b"a\n1\n")])
    with pytest.raises(Refused, match="另存为 ZIP"), archives._members(path):
        pass


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.dwg", "DXF"), ("a.mdb", "Access"), ("a.wp", "MapGIS"), ("a.wt", "MapGIS"), ("a.wl", "MapGIS"), ("a.ovkml", "奥维"), ("a.pdf", "XLSX"),
     ("a.jpg", "图片"), ("a.doc", "XLSX"), ("a.shx", "ZIP"), ("a.tar.gz", "ZIP"), ("a.mid", "ZIP"), ("a", "不认识")],
)
def test_what_is_not_read_says_what_to_save_as(tmp_path, read, name, says):
    (tmp_path / name).write_bytes(b"\0" * 100)
    with pytest.raises(Invalid, match=says):
        read(tmp_path / name)


def test_a_dbf_alone_is_a_table(tmp_path, squares, rows):
    squares.to_file(tmp_path / "a.shp", encoding="GBK")
    for ending in ("shp", "shx", "prj"):
        (tmp_path / f"a.{ending}").unlink()
    assert [row["name"] for row in rows(tmp_path / "a.dbf")[1]] == ["第一网格", "第二网格"]


def test_arcs_are_named_and_the_rest_is_read(tmp_path, read):
    path = tmp_path / "a.csv"
    path.write_text('id,wkt\n1,"CIRCULARSTRING (120 30, 121 31, 122 30)"\n2,"LINESTRING (120 30, 121 31)"\n')
    _, [batch] = read(path)
    assert "圆弧" in batch.problems[0] and batch.geometry[1].length > 1


def test_a_heading_alone_and_a_layer_without_rows(tmp_path, squares, read):
    squares[:0].to_file(tmp_path / "a.gpkg")
    with pytest.raises(Invalid, match="只有表头"):
        read(tmp_path / "a.gpkg")
