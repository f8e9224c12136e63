"""Why a file was taken as it was, what would overrule it, and what somebody has to confirm."""

import json

import geopandas
import numpy as np
import pyproj
import pytest
import shapely

from geo import crs, shifts
from geo.crs import Datum
from geo.errors import Invalid
from geo.language import translated


def grid(count=6, lon=120.5, lat=30.25, size=0.003, gap=0.0012):
    """Buildings in rows: 190 m by 330 m would be grids, so a third of the ground is built on."""
    steps = np.arange(count) * size
    return [shapely.box(lon + x, lat + y, lon + x + size - gap, lat + y + size - gap) for x in steps for y in steps]


def shifted(shapes, datum):
    def moved(xy):
        x, y = crs.wgs_to_gcj(xy[:, 0], xy[:, 1])
        return np.column_stack(crs.gcj_to_bd(x, y) if datum is Datum.BD09 else (x, y)) if datum.shifted else xy

    return shapely.transform(np.array(shapes, object), moved)


@pytest.mark.parametrize("datum", [Datum.CGCS2000, Datum.GCJ02, Datum.BD09])
@pytest.mark.parametrize("kind", ["points", "polygons"])
def test_the_datum_is_told_by_what_coincides(datum, kind):
    buildings = grid()
    mine = [b.centroid for b in buildings[::2]] if kind == "points" else buildings[::2]
    verdict = shifts.compared(shifted(mine, datum), shapely.to_wkb(buildings).tolist())
    assert verdict.best is datum and verdict.shares[datum] > 0.95 > 0.7 > verdict.shares[verdict.second]


def test_chance_is_no_evidence():
    scattered = np.random.default_rng(7).uniform((120.5, 30.25), (120.518, 30.268), (300, 2))
    assert shifts.compared(shapely.points(scattered), shapely.to_wkb(grid()).tolist()) is None
    assert shifts.compared(shapely.points(scattered), []) is None
    assert shifts.compared(shapely.points(scattered[:3]), shapely.to_wkb(grid()).tolist()) is None
    assert shifts.compared(shapely.points(scattered), [b"no shape"]) is None


@pytest.fixture
def points(tmp_path):
    """Points inside buildings, as a file gives them in a datum that it does not name."""
    def written(datum, name="p.csv"):
        path = tmp_path / name
        spots = shifted([b.centroid for b in grid()], datum)
        lines = [f"{at},{p.x:.7f},{p.y:.7f}" for at, p in enumerate(spots)]
        path.write_text("编号,经度,纬度\n" + "\n".join(lines) + "\n", "utf-8")
        return path

    return written


@pytest.mark.parametrize("datum", [Datum.GCJ02, Datum.BD09])
def test_shifted_points_are_read_by_what_fits_and_confirmed(points, read, evidence, datum):
    asked = []

    def known(bounds):
        asked.append(bounds)
        return shapely.to_wkb(grid()).tolist()

    described, [batch] = read(points(datum), known=known)
    [told] = evidence(described, "datum")
    assert told.value == datum and told.confirm and set(told.choices) == set(Datum)
    assert shapely.distance(shapely.points(batch.lon, batch.lat), [b.centroid for b in grid()]).max() < 1e-6
    assert len(asked) == 1 and asked[0][0] < 120.5 < asked[0][2]
    assert "重合" in str(told) and "%" in told.said(lambda text: translated(text, "en"))
    # Said is not asked again.
    described, [batch] = read(points(datum), known=known, datum="cgcs2000")
    assert len(asked) == 1 and not described.confirm


def test_a_shift_is_seen_whatever_the_file_states(tmp_path, read, evidence):
    frame = geopandas.GeoDataFrame({"n": range(36)}, geometry=list(shifted(grid(), Datum.GCJ02)), crs=4326).to_crs(4549)
    frame.to_file(tmp_path / "a.shp")
    described, [batch] = read(tmp_path / "a.shp", known=lambda _: shapely.to_wkb(grid()).tolist())
    [told] = evidence(described, "datum")
    assert told.value == Datum.GCJ02 and told.confirm
    assert shapely.hausdorff_distance(batch.geometry[0], grid()[0]) < 1e-6
    assert evidence(read(tmp_path / "a.shp")[0], "datum")[0].value == Datum.CGCS2000


def test_points_that_coincide_as_they_are_need_no_confirming(points, read):
    described, _ = read(points(Datum.CGCS2000), known=lambda _: shapely.to_wkb(grid()).tolist())
    assert not described.confirm


def test_points_of_an_unknown_datum_have_to_be_confirmed(points, read, evidence, tmp_path):
    described, _ = read(points(Datum.CGCS2000))
    [told] = described.confirm
    assert (told.aspect, told.option) == ("datum", "datum") and not read(points(Datum.CGCS2000), datum="wgs84")[0].confirm
    frame = geopandas.GeoDataFrame({"n": range(9)}, geometry=[b.centroid for b in grid()][:9], crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    assert not read(tmp_path / "a.gpkg")[0].confirm  # it names its CRS
    frame.to_file(tmp_path / "a.geojson")
    assert read(tmp_path / "a.geojson")[0].confirm  # its format does, and nobody keeps to that
    abroad = tmp_path / "b.csv"
    abroad.write_text("n,lon,lat\n1,2.35,48.85\n")
    assert not read(abroad)[0].confirm


def test_metres_are_placed_by_where_they_should_lie(tmp_path, read, evidence):
    frame = geopandas.GeoDataFrame({"n": range(36)}, geometry=grid(), crs=4326).to_crs(4549)
    frame.to_file(tmp_path / "a.shp")
    (tmp_path / "a.prj").unlink()
    described, [batch] = read(tmp_path / "a.shp", near=(120.3, 30.1, 120.7, 30.4))
    [told] = evidence(described, "crs")
    assert told.value == "EPSG:4549" and told.option == "crs"
    assert shapely.hausdorff_distance(batch.geometry[0], grid()[0]) < 1e-7
    with pytest.raises(Invalid) as refusal:
        read(tmp_path / "a.shp")
    assert "EPSG:4549" in refusal.value.facts["choices"]


def test_what_a_file_states_and_what_was_concluded(tmp_path, read, evidence):
    frame = geopandas.GeoDataFrame({"n": range(36)}, geometry=grid(), crs=4490)
    frame.to_file(tmp_path / "a.shp")
    described, _ = read(tmp_path / "a.shp")
    assert not evidence(described, "crs")[0].doubtful and described.warnings == []
    (tmp_path / "a.prj").write_text(pyproj.CRS(4549).to_wkt("WKT1_ESRI"))
    described, _ = read(tmp_path / "a.shp")
    assert any("不符" in one for one in described.warnings)


def test_axes_the_wrong_way_round_are_told_and_can_be_said(tmp_path, read, evidence):
    path = tmp_path / "a.csv"
    path.write_text("编号,x,y\n1,30.25,120.5\n2,30.26,120.6\n", "utf-8")
    described, [batch] = read(path)
    assert evidence(described, "axes")[0].value == "yx" and batch.lon[0] == 120.5
    path.write_text("编号,x,y\n1,30.25,20.5\n", "utf-8")
    assert read(path, axes="yx")[1][0].lon[0] == 20.5


def test_an_encoding_shows_what_it_makes_of_the_text(tmp_path, read, evidence):
    frame = geopandas.GeoDataFrame({"网格名": ["澜溪苑", "望汀里"]}, geometry=grid()[:2], crs=4326)
    frame.to_file(tmp_path / "a.shp", encoding="GBK")
    (tmp_path / "a.cpg").unlink()
    dbf = tmp_path / "a.dbf"
    dbf.write_bytes(dbf.read_bytes()[:29] + b"\0" + dbf.read_bytes()[30:])
    [told] = evidence(read(tmp_path / "a.shp")[0], "encoding")
    assert told.value == "gb18030" and "澜溪苑" in told.facts["shown"] and told.doubtful and told.option == "encoding"
    assert told.facts["readings"]["utf-8"]["broken"] > 0
    assert read(tmp_path / "a.shp", encoding="big5")[0].columns.keys() != {"网格名"}


def test_a_name_cut_inside_a_character_is_told(tmp_path, read, evidence):
    frame = geopandas.GeoDataFrame({"网格名": ["澜溪苑"]}, geometry=grid()[:1], crs=4326)
    frame.to_file(tmp_path / "a.shp", encoding="UTF-8")
    dbf = tmp_path / "a.dbf"
    dbf.write_bytes(dbf.read_bytes().replace("网格名".encode() + b"\0\0", "网格名称".encode()[:10] + b"\0"))
    described, _ = read(tmp_path / "a.shp")
    assert list(described.columns) == ["网格名"] and "网格名" in evidence(described, "names")[0].value


def test_repairs_are_told_one_by_one_and_can_be_refused(tmp_path, read):
    rings = {
        "bow": [[120, 30], [121, 31], [121, 30], [120, 31], [120, 30]],
        "twice": [[120, 30], [121, 30], [121, 30], [121, 31], [120, 30]],
        "open": [[120, 30], [121, 30], [121, 31], [120, 31]],
        "good": [[120, 30], [121, 30], [121, 31], [120, 30]],
    }
    features = [{"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Polygon", "coordinates": [ring]}} for n, ring in rings.items()]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    _, [batch] = read(path)
    assert {at: one.what for at, one in batch.repaired.items()} == {0: "Self-intersection", 1: "Repeated point", 2: "Ring not closed"}
    bow = batch.repaired[0]
    assert (bow.lon, bow.lat) == (120.5, 30.5) and bow.before == 0 < bow.after and "边界自己相交" in str(bow)
    assert shapely.is_valid(batch.geometry).all()
    _, [batch] = read(path, repair={1, 3})
    assert set(batch.problems) == {0, 2} and set(batch.repaired) == {1}


def test_rings_that_run_the_wrong_way(tmp_path, read):
    box = shapely.box(120, 30, 120.01, 30.01)
    frame = geopandas.GeoDataFrame({"n": [1]}, geometry=[box], crs=4326)
    frame.to_file(tmp_path / "a.shp")
    path = tmp_path / "a.shp"
    raw = bytearray(path.read_bytes())
    corners = [raw[at : at + 16] for at in range(len(raw) - 80, len(raw), 16)]
    raw[len(raw) - 80 :] = b"".join(reversed(corners))
    path.write_bytes(raw)
    _, [batch] = read(path)
    assert batch.repaired[0].what == "Ring order" and batch.geometry[0].equals(box)
    assert 0 in read(path, repair=False)[1][0].problems
