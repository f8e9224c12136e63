"""Coordinates: what is stored, what comes in, and how metres are measured.

Stored is SRID 4326, read as CGCS2000. PROJ knows no transformation between the two (a ballpark null operation; the
difference is below a metre), every library and browser speaks 4326, and PostGIS writes no `crs` member for it.

GCJ-02 and BD-09, the shifted systems of Chinese phone and web maps, have no EPSG code and are off by 480–620 m and
1.1–1.4 km: a unit grid is 100 m wide. So the datum of points is asked for, never assumed.
"""

import math
from collections.abc import Callable
from enum import StrEnum

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SRID = 4326

# Krasovsky ellipsoid, as the shift of GCJ-02 is published.
AXIS, SQUARE = 6378245.0, 0.00669342162296594323
# Where the shift applies.
WEST, EAST, SOUTH, NORTH = 72.004, 137.8347, 0.8293, 55.8271
# Degrees of longitude in BD-09's own wobble.
TURN = math.pi * 3000.0 / 180.0


class Datum(StrEnum):
    """What the numbers of a longitude and latitude mean."""

    WGS84 = "wgs84"
    CGCS2000 = "cgcs2000"
    GCJ02 = "gcj02"
    BD09 = "bd09"


def wgs_to_gcj(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """WGS 84 to GCJ-02, degrees; unchanged outside the stretch where the shift applies."""
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    x, y = lon - 105.0, lat - 35.0
    common = (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0
    root = np.sqrt(np.abs(x))
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + common
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + common
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    radians = np.radians(lat)
    bend = 1.0 - SQUARE * np.sin(radians) ** 2
    east = np.degrees(east * np.sqrt(bend) / (AXIS * np.cos(radians)))
    north = np.degrees(north * bend * np.sqrt(bend) / (AXIS * (1.0 - SQUARE)))
    inside = (WEST <= lon) & (lon <= EAST) & (SOUTH <= lat) & (lat <= NORTH)
    return np.where(inside, lon + east, lon), np.where(inside, lat + north, lat)


def gcj_to_bd(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """GCJ-02 to BD-09, degrees."""
    reach = np.hypot(lon, lat) + 0.00002 * np.sin(lat * TURN)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * TURN)
    return reach * np.cos(angle) + 0.0065, reach * np.sin(angle) + 0.006


def _wgs_to_bd(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    return gcj_to_bd(*wgs_to_gcj(lon, lat))


def _inverted(
    forth: Callable[[Floats, Floats], tuple[Floats, Floats]], lon: Floats, lat: Floats
) -> tuple[Floats, Floats]:
    """Where `forth` came from, by fixed-point steps: the shift changes slowly, so each step gains two to three digits."""
    x, y = np.array(lon, np.float64), np.array(lat, np.float64)
    for _ in range(12):
        there_x, there_y = forth(x, y)
        off_x, off_y = lon - there_x, lat - there_y
        x, y = x + off_x, y + off_y
        if not off_x.size or max(np.nanmax(np.abs(off_x), initial=0), np.nanmax(np.abs(off_y), initial=0)) < 1e-11:
            break
    return x, y


def points_to_storage(lon: Floats, lat: Floats, datum: Datum) -> tuple[Floats, Floats]:
    """Longitudes and latitudes of `datum` as those of the storage CRS, to 1e-9 degrees (0.1 mm)."""
    x, y = np.atleast_1d(np.asarray(lon, np.float64)), np.atleast_1d(np.asarray(lat, np.float64))
    if datum is Datum.GCJ02:
        return _inverted(wgs_to_gcj, x, y)
    if datum is Datum.BD09:
        return _inverted(_wgs_to_bd, x, y)
    return x, y


def point_to_storage(lon: float, lat: float, datum: Datum) -> tuple[float, float]:
    """One point; see `points_to_storage`."""
    x, y = points_to_storage(np.array([lon]), np.array([lat]), datum)
    return float(x[0]), float(y[0])


def to_storage(shapes: NDArray[np.object_], crs: pyproj.CRS | None, datum: Datum) -> NDArray[np.object_]:
    """Geometries in `crs` (None: degrees of `datum`) as 2-D geometries of the storage CRS.

    Axes are taken as x, y whatever the registry says of EPSG:4490. Xi'an 80 and Beijing 54 reach it by PROJ's
    ballpark path only, which may be off by 50 to 100 m.
    """
    flat = shapely.force_2d(shapes)
    if crs is not None and not is_storage(crs):
        change = pyproj.Transformer.from_crs(crs, SRID, always_xy=True)
        flat = shapely.transform(flat, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1])))
    if datum in (Datum.GCJ02, Datum.BD09):
        flat = shapely.transform(flat, lambda xy: np.column_stack(points_to_storage(xy[:, 0], xy[:, 1], datum)))
    return np.asarray(flat, dtype=object)


def is_storage(crs: pyproj.CRS) -> bool:
    """Whether a CRS's degrees are ours as they are: WGS 84 or CGCS2000, geographic."""
    if not crs.is_geographic:
        return False
    name = (crs.datum.name if crs.datum else crs.name).lower()
    return any(known in name for known in ("wgs 84", "wgs_1984", "world geodetic system 1984", "china 2000", "china_2000"))


def guessed(bounds: tuple[float, float, float, float]) -> list[tuple[str, str]]:
    """What a file without a CRS may be in, from its bounds: EPSG code and evidence, likeliest first.

    One candidate is an answer; several, or none, are a question for whoever sent the file.
    """
    west, south, east, north = bounds
    if -180 <= west <= east <= 180 and -90 <= south <= north <= 90:
        return [("EPSG:4326", f"坐标在经纬度范围内({west:.3f}–{east:.3f}, {south:.3f}–{north:.3f})")]
    zone = int(west // 1e6)
    if 25 <= zone <= 45 and zone == int(east // 1e6) and 0 < south <= north < 6.5e6:
        return [(f"EPSG:{4513 + zone - 25}", f"横坐标带 {zone} 带号,为 CGCS2000 3 度带")]
    if 13 <= zone <= 23 and zone == int(east // 1e6) and 0 < south <= north < 6.5e6:
        return [(f"EPSG:{4491 + zone - 13}", f"横坐标带 {zone} 带号,为 CGCS2000 6 度带")]
    if 0 < west <= east < 1e6 and 1e6 < south <= north < 6.5e6:
        meridians = ((4547, 114), (4548, 117), (4549, 120), (4550, 123))
        return [(f"EPSG:{code}", f"像高斯-克吕格米制坐标,中央经线可能是 {lon}°") for code, lon in meridians]
    return []


def metric_srid(lon: float, lat: float) -> int:
    """The projection in which metres are measured at a place; the SQL function of the same name agrees with it."""
    if 73.5 <= lon <= 136.5 and 0 <= lat <= 60:
        return 4534 + round((lon - 75) / 3)
    zone = min(59, int((lon + 180) // 6))
    return (32601 if lat >= 0 else 32701) + zone
