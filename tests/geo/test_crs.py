"""Datums, projections, and what a file without a CRS may be."""

import numpy as np
import pyproj
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import crs
from geo.crs import Datum

CHINA = st.tuples(st.floats(74, 134), st.floats(3, 53))


def metres(one: tuple[float, float], other: tuple[float, float]) -> float:
    return float(pyproj.Geod(ellps="GRS80").inv(*one, *other)[2])


@pytest.mark.parametrize(
    ("lon", "lat", "shift"),
    # domain.md §2.6: GCJ-02 minus WGS 84 as measured in five cities.
    [(113.264, 23.129, 621), (121.55, 29.87, 493), (121.473, 31.230, 482), (116.397, 39.909, 556), (117.0, 36.65, 550)],
)
def test_the_shift_is_as_large_as_measured(lon, lat, shift):
    x, y = crs.wgs_to_gcj(np.array([lon]), np.array([lat]))
    assert metres((lon, lat), (x[0], y[0])) == pytest.approx(shift, abs=30)


@given(CHINA)
@pytest.mark.parametrize("datum", [Datum.GCJ02, Datum.BD09])
def test_there_and_back_within_a_tenth_of_a_millimetre(datum, place):
    lon, lat = np.array([place[0]]), np.array([place[1]])
    x, y = crs.wgs_to_gcj(lon, lat)
    if datum is Datum.BD09:
        x, y = crs.gcj_to_bd(x, y)
    back = crs.points_to_storage(x, y, datum)
    assert metres(place, (back[0][0], back[1][0])) < 1e-4


def test_nothing_is_shifted_abroad_or_without_need():
    assert crs.point_to_storage(2.35, 48.85, Datum.GCJ02) == (2.35, 48.85)
    assert crs.point_to_storage(121.5, 31.2, Datum.WGS84) == (121.5, 31.2)
    x, _ = crs.points_to_storage(np.array([np.nan, 121.5]), np.array([31.0, np.nan]), Datum.GCJ02)
    assert np.isnan(x[0])


def test_gauss_krueger_reaches_storage_with_its_axes_right():
    # domain.md §2.6: the check point in Ningbo, with and without the zone in front.
    for code, easting in ((4549, 649817.28), (4528, 40649817.28)):
        point = np.array([shapely.Point(easting, 3302276.91)], dtype=object)
        found = crs.to_storage(point, pyproj.CRS(code), Datum.CGCS2000)[0]
        assert (found.x, found.y) == pytest.approx((121.55, 29.84), abs=0.06)
    degrees = np.array([shapely.Point(121.5, 29.8, 12.0)], dtype=object)
    assert shapely.equals_exact(crs.to_storage(degrees, pyproj.CRS(4490), Datum.CGCS2000)[0], shapely.Point(121.5, 29.8))


@pytest.mark.parametrize(
    ("bounds", "codes"),
    [
        ((121.0, 29.0, 122.0, 30.0), ["EPSG:4326"]),
        ((40_640_000.0, 3_300_000.0, 40_650_000.0, 3_310_000.0), ["EPSG:4528"]),
        ((20_640_000.0, 3_300_000.0, 20_650_000.0, 3_310_000.0), ["EPSG:4498"]),
        ((640_000.0, 3_300_000.0, 650_000.0, 3_310_000.0), ["EPSG:4547", "EPSG:4548", "EPSG:4549", "EPSG:4550"]),
        ((-5e7, 0.0, 5e7, 1.0), []),
    ],
)
def test_what_a_file_without_a_crs_may_be(bounds, codes):
    assert [code for code, _ in crs.guessed(bounds)] == codes


@given(st.floats(-179.9, 179.9), st.floats(-79, 79))
def test_metres_are_measured_alike_in_python_and_sql(connection, lon, lat):
    asked = sa.text("SELECT metric_srid(ST_SetSRID(ST_Point(:lon, :lat), 4326))")
    found = connection.scalar(asked, {"lon": lon, "lat": lat})
    assert found == crs.metric_srid(lon, lat)
