import numpy as np
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from geo import crs
from geo.crs import Datum, candidates, contradiction, metric_srid, points_to_storage, to_storage

METRES = Geod(ellps="WGS84")
XIHU = (120.04489, 30.25025, 120.09290, 30.30379)
longitudes = st.floats(72.1, 137.7)
latitudes = st.floats(0.93, 55.7)


def disturbed(lon: float, lat: float, datum: Datum) -> tuple[float, float]:
    x, y = np.array([lon]), np.array([lat])
    if datum.shifted:
        x, y = crs.wgs_to_gcj(x, y)
    if datum is Datum.BD09:
        x, y = crs.gcj_to_bd(x, y)
    return float(x[0]), float(y[0])


@given(longitudes, latitudes, st.sampled_from(Datum))
def test_a_disturbance_is_undone_to_a_tenth_of_a_millimetre(lon: float, lat: float, datum: Datum) -> None:
    assert crs.point_to_storage(*disturbed(lon, lat, datum), datum) == pytest.approx((lon, lat), abs=1e-9)


@pytest.mark.parametrize(
    ("place", "lon", "lat", "gcj02", "bd09"),
    [
        ("广州", 113.26, 23.13, 621, 1267),
        ("宁波", 121.55, 29.87, 493, 1102),
        ("上海", 121.47, 31.23, 482, 1144),
        ("北京", 116.4, 39.9, 556, 1380),
    ],
)
def test_the_disturbance_is_as_large_as_is_known(
    place: str, lon: float, lat: float, gcj02: float, bd09: float
) -> None:
    for datum, metres in ((Datum.GCJ02, gcj02), (Datum.BD09, bd09)):
        assert METRES.inv(lon, lat, *disturbed(lon, lat, datum))[2] == pytest.approx(metres, abs=1)


def test_the_disturbance_is_the_published_one() -> None:
    # The worked example that the implementations in circulation share (天安门).
    assert disturbed(116.404, 39.915, Datum.GCJ02) == pytest.approx(
        (116.41024449916938, 39.91640428150164), abs=1e-12
    )
    bd09 = crs.gcj_to_bd(np.array([116.404]), np.array([39.915]))
    assert (bd09[0][0], bd09[1][0]) == pytest.approx((116.41036949371029, 39.92133699351021), abs=1e-12)


@given(st.floats(-180, 71.9) | st.floats(138, 180), st.floats(-90, 90), st.sampled_from(Datum))
def test_outside_china_nothing_is_disturbed(lon: float, lat: float, datum: Datum) -> None:
    assert crs.point_to_storage(lon, lat, datum) == (lon, lat)


def test_what_is_not_finite_stays_so() -> None:
    lon, _ = points_to_storage(np.array([np.nan, np.inf, 120.0]), np.array([30.0, 30.0, 30.0]), Datum.BD09)
    assert np.isnan(lon[0])
    assert np.isinf(lon[1])
    assert lon[2] == pytest.approx(119.99, abs=0.02)
    assert points_to_storage(np.empty(0), np.empty(0), Datum.GCJ02)[0].size == 0


@pytest.mark.parametrize(("epsg", "easting"), [(4549, 649817.28), (4528, 40649817.28)])
def test_gauss_kruger_with_and_without_its_zone(epsg: int, easting: float) -> None:
    made = to_storage(np.array([shapely.Point(easting, 3302276.91, 7.0), None]), CRS(epsg), Datum.CGCS2000)
    assert (made[0].x, made[0].y) == pytest.approx((121.55, 29.83), abs=1e-7)
    assert not made[0].has_z
    assert made[1] is None


@pytest.mark.parametrize("epsg", [4490, 4326, None])
def test_degrees_are_read_east_first_whatever_the_registry_says(epsg: int | None) -> None:
    made = to_storage(np.array([shapely.Point(120, 30)]), CRS(epsg) if epsg else None, Datum.CGCS2000)
    assert (made[0].x, made[0].y) == (120, 30)


def test_a_disturbed_web_map_is_unprojected_and_then_undone() -> None:
    x, y = disturbed(120.0, 30.0, Datum.GCJ02)
    mercator = shapely.Point(6378137 * np.radians(x), 6378137 * np.log(np.tan(np.pi / 4 + np.radians(y) / 2)))
    made = to_storage(np.array([mercator]), CRS(3857), Datum.GCJ02)
    assert (made[0].x, made[0].y) == pytest.approx((120, 30), abs=1e-8)


@pytest.mark.parametrize(
    ("epsg", "metres"), [(4549, 0), (4490, 0), (3857, 0), (4610, None), (4214, None), (2385, None)]
)
def test_accuracy_is_told_or_told_to_be_unknown(epsg: int, metres: float | None) -> None:
    assert crs.accuracy(CRS(epsg)) == metres


def test_an_esri_prj_is_known_by_what_it_says() -> None:
    assert CRS.from_wkt(CRS(4549).to_wkt("WKT1_ESRI")).to_epsg(min_confidence=20) == 4549


@pytest.mark.parametrize(
    ("lon", "lat", "srid"),
    [
        (120.2, 30, 4549),
        (122.6, 29.8, 4550),
        (73.5, 40, 4534),
        (136.5, 48, 4554),
        (37.6, 55.7, 32637),
        (-70, -33, 32719),
        (180, 1, 32660),
    ],
)
def test_metres_are_measured_where_they_are_true(lon: float, lat: float, srid: int) -> None:
    assert metric_srid(lon, lat) == srid


@given(st.floats(-179.9, 179.9), st.floats(-79, 79))
def test_metres_are_measured_alike_in_python_and_sql(
    connection: sa.Connection, lon: float, lat: float
) -> None:
    asked = sa.text("SELECT metric_srid(ST_SetSRID(ST_Point(:lon, :lat), 4326))")
    assert connection.scalar(asked, {"lon": lon, "lat": lat}) == metric_srid(lon, lat)


GK = (504318.0, 3347856.0, 508940.0, 3353791.0)


def zoned(zone: int) -> crs.Bounds:
    return (GK[0] + zone * 1e6, GK[1], GK[2] + zone * 1e6, GK[3])


def turned(bounds: crs.Bounds) -> crs.Bounds:
    return (bounds[1], bounds[0], bounds[3], bounds[2])


@pytest.mark.parametrize(
    ("bounds", "known", "found", "swapped", "certain"),
    [
        (XIHU, None, ["EPSG:4490"], False, True),
        (turned(XIHU), None, ["EPSG:4490"], True, True),  # a latitude of 120° does not exist
        ((43.0, 80.0, 44.0, 81.0), None, ["EPSG:4490"], True, False),  # 43 E, 80 N does
        ((-74, 40, -73, 41), None, ["EPSG:4490"], False, False),
        (zoned(40), None, ["EPSG:4528"], False, False),
        (zoned(20), None, ["EPSG:4498"], False, False),
        (turned(zoned(40)), None, ["EPSG:4528"], True, False),
        (zoned(13), None, ["EPSG:4491", "EPSG:3857"], False, False),
        (GK, XIHU, ["EPSG:4549"], False, False),
        (turned(GK), XIHU, ["EPSG:4549"], True, False),
    ],
)
def test_undeclared_coordinates_are_read_with_evidence(
    bounds: crs.Bounds, known: crs.Bounds | None, found: list[str], swapped: bool, certain: bool
) -> None:
    told = candidates(bounds, known)
    assert [one.crs for one in told] == found
    assert {one.swapped for one in told} == {swapped}
    assert any(one.certain for one in told) == certain
    assert all(str(one.evidence) and "{" not in str(one.evidence) for one in told)


def test_an_easting_without_its_zone_has_a_reading_a_zone() -> None:
    told = candidates(GK)
    assert len(told) == 32
    assert not any(one.certain for one in told)


def test_guesses_name_their_code_and_write_east_first() -> None:
    assert [code for code, _ in crs.guessed(zoned(40))] == ["EPSG:4528"]
    assert {"EPSG:4547", "EPSG:4548", "EPSG:4549", "EPSG:4550"} <= {code for code, _ in crs.guessed(GK)}
    assert crs.guessed(turned(zoned(40))) == crs.guessed((-5e7, 0.0, 5e7, 1.0)) == []


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4))
def test_no_bounds_break_the_guessing(bounds: crs.Bounds) -> None:
    candidates(bounds)
    for epsg in (4490, 4549):
        contradiction(bounds, CRS(epsg))


@pytest.mark.parametrize(
    ("bounds", "epsg", "wrong"),
    [
        (XIHU, 4490, False),
        (GK, 4326, True),
        (turned(XIHU), 4326, True),
        (XIHU, 4549, True),
        (GK, 4549, False),
        ((-180, -90, 180, 83.6), 4326, False),
    ],
)
def test_a_declaration_that_cannot_be_true_is_told(bounds: crs.Bounds, epsg: int, wrong: bool) -> None:
    assert (contradiction(bounds, CRS(epsg)) is not None) == wrong
