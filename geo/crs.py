"""Coordinate systems: what is stored, what comes in, and how one becomes the other.

**Storage is SRID 4326, read as CGCS2000.** CGCS2000 (EPSG:4490) and today's WGS 84 differ by less than a metre and PROJ
knows no transformation between them (a "ballpark" null operation), so one number serves both. 4326 was chosen over 4490
because from SRID 4490 `ST_AsGeoJSON` adds a `crs` member that RFC 7946 forbids, because `geography` and tiles are best
trodden there, and because 4490 is lat, lon in the registry: every tool that honours that order would swap the axes.
Nothing else in the project decides this.

**GCJ-02 and BD-09** are no datums in the sense of geodesy but disturbances of WGS 84 degrees: 480–620 m and 1.1–1.4 km in
China, several grids away. They have no EPSG code, so they are named (`Datum`) and undone here.

**Accuracy.** Between CGCS2000 and WGS 84 nothing is done. Xi'an 1980 (EPSG:4610), Beijing 1954 (4214) and New Beijing (4555)
are joined to CGCS2000 by parameters that are not public: PROJ has a null operation for the first and coarse ones (15 m at
best) for parts of the second. What is read from them may be off by tens of metres, Beijing 1954 by more than a hundred,
`accuracy` says `None`, and the way out is to have the file converted by the surveying office.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    # At run time pyproj is imported where it is needed: it costs 70 ms and 13 MB, and most processes want only `SRID`.
    from pyproj import CRS

SRID = 4326

Degrees = NDArray[np.float64]
Bounds = tuple[float, float, float, float]


class Datum(StrEnum):
    """What the numbers of a position are, beside their CRS."""

    WGS84 = "wgs84"
    CGCS2000 = "cgcs2000"
    GCJ02 = "gcj02"
    BD09 = "bd09"

    @property
    def shifted(self) -> bool:
        """Whether positions are disturbed and have to be put back."""
        return self in (Datum.GCJ02, Datum.BD09)


# Where the disturbance is applied: (west, south, east, north). Outside it GCJ-02 is WGS 84.
DISTURBED: Bounds = (72.004, 0.8293, 137.8347, 55.8271)
# Krasovsky's ellipsoid, on which the published disturbance is computed.
A, EE = 6378245.0, 0.00669342162296594323

# Geodetic datums that are taken for the same thing (see above).
SAME = frozenset({"World Geodetic System 1984", "World Geodetic System 1984 ensemble", "China 2000"})
UNPUBLISHED = frozenset({"Xian 1980", "Beijing 1954", "New Beijing"})


def wgs_to_gcj(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """The disturbance, applied. Degrees; unchanged outside `DISTURBED` and where not finite."""
    inside = _inside(lon, lat)
    x, y = np.where(inside, lon - 105.0, 0.0), np.where(inside, lat - 35.0, 0.0)
    ripple = (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0
    root = np.sqrt(np.abs(x))
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + ripple
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + ripple
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    phi = np.radians(np.where(inside, lat, 0.0))
    magic = 1.0 - EE * np.sin(phi) ** 2
    d_lat = np.degrees(north / (A * (1.0 - EE) / (magic * np.sqrt(magic))))
    d_lon = np.degrees(east / (A / np.sqrt(magic) * np.cos(phi)))
    return np.where(inside, lon + d_lon, lon), np.where(inside, lat + d_lat, lat)


def gcj_to_bd(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """Baidu's second disturbance, on top of the first. Degrees; unchanged outside `DISTURBED`."""
    inside = _inside(lon, lat)
    x, y = np.where(inside, lon, 0.0), np.where(inside, lat, 0.0)
    turn = np.pi * 3000.0 / 180.0
    radius = np.hypot(x, y) + 0.00002 * np.sin(y * turn)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * turn)
    return (
        np.where(inside, radius * np.cos(angle) + 0.0065, lon),
        np.where(inside, radius * np.sin(angle) + 0.006, lat),
    )


def gcj_to_wgs(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """The disturbance undone, to 1e-10 degrees (0.01 mm)."""
    return _undone(wgs_to_gcj, lon, lat)


def bd_to_gcj(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """Baidu's disturbance undone, to 1e-10 degrees. The closed formula in circulation leaves up to a metre."""
    return _undone(gcj_to_bd, lon, lat)


def points_to_storage(lon: Degrees, lat: Degrees, datum: Datum) -> tuple[Degrees, Degrees]:
    """Longitudes and latitudes of `datum` as they are stored."""
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    if datum is Datum.BD09:
        lon, lat = bd_to_gcj(lon, lat)
    return gcj_to_wgs(lon, lat) if datum.shifted else (lon, lat)


def point_to_storage(lon: float, lat: float, datum: Datum) -> tuple[float, float]:
    """One position of `datum`, in degrees, as it is stored."""
    x, y = points_to_storage(np.array([lon]), np.array([lat]), datum)
    return float(x[0]), float(y[0])


def ewkt(lon: float, lat: float) -> str:
    """A stored position as PostGIS reads it from text."""
    return f"SRID={SRID};POINT({lon!r} {lat!r})"


def to_storage(geometries: NDArray[Any], crs: "CRS | None", datum: Datum) -> NDArray[Any]:
    """Geometries (an array of shapely, None allowed) of `crs` and `datum` in the storage CRS, two-dimensional.

    Without a `crs` the numbers are taken for longitude and latitude in degrees: who calls has made sure of that. Coordinates
    that cannot be transformed come out infinite; nothing is raised.
    """
    turned = _turning(crs, datum)
    if turned is None:
        flat: NDArray[Any] = shapely.force_2d(geometries) if shapely.has_z(geometries).any() else geometries
        return flat
    moved: NDArray[Any] = shapely.transform(
        geometries, lambda xy: np.column_stack(turned(xy[:, 0], xy[:, 1]))
    )
    return moved


def positions_to_storage(x: Degrees, y: Degrees, crs: "CRS | None", datum: Datum) -> tuple[Degrees, Degrees]:
    """`to_storage` for points that are two arrays; x is east, y is north, whatever the registry says of the axes."""
    turned = _turning(crs, datum)
    return (x, y) if turned is None else turned(x, y)


def is_storage(crs: "CRS") -> bool:
    """Whether a CRS's numbers are stored as they are: longitude and latitude in degrees of WGS 84 or CGCS2000.

    The registry's order of axes (lat, lon for 4490 and 4326) is deliberately not looked at: GIS files are written x, y.
    """
    return (
        crs.is_geographic
        and crs.datum is not None
        and crs.datum.name in SAME
        and crs.prime_meridian is not None
        and crs.prime_meridian.longitude == 0
        and all(abs(axis.unit_conversion_factor - np.pi / 180) < 1e-12 for axis in crs.axis_info[:2])
    )


def accuracy(crs: "CRS") -> float | None:
    """Metres by which a position may be off after `to_storage`; None where nobody has published it."""
    from pyproj.transformer import TransformerGroup

    if crs.geodetic_crs is None or crs.geodetic_crs.datum is None:
        return None
    name = crs.geodetic_crs.datum.name
    if name in SAME:
        return 0.0
    if name in UNPUBLISHED:
        return None
    stated = max(
        (step.accuracy for step in TransformerGroup(crs, SRID, always_xy=True).transformers[:1]), default=-1.0
    )
    return stated if stated >= 0 else None


def metric_srid(lon: float, lat: float) -> int:
    """The EPSG code in which lengths and areas near a place are true: CGCS2000 3° Gauss-Krüger, outside China UTM.

    The same rule as the database's function of this name. Codes 4534–4554, by central meridian 75°E–135°E: scale 1 on the
    meridian and 1.00034 at the zone's edge at the equator, so an area is wrong by at most 0.07 %.
    """
    if 73.5 <= lon <= 136.5 and 0 <= lat <= 60:
        return 4534 + round((lon - 75) / 3)
    zone = min(59, int((lon + 180) // 6))
    return (32601 if lat >= 0 else 32701) + zone


@dataclass(frozen=True)
class Evidence:
    """Why something was read as it was: a gettext sentence and what fills its `{places}`."""

    sentence: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence.format(**self.facts)


@dataclass(frozen=True)
class Candidate:
    """One way to read coordinates whose CRS nobody declared, or whose declaration cannot be true."""

    crs: str  # "EPSG:4549"
    evidence: Evidence
    middle: tuple[float, float]  # where the file's middle would lie, lon and lat in storage
    swapped: bool = False  # the file writes north first
    certain: bool = False  # the only reading there is: it may be used without asking, its evidence shown


# Generous bounds of China's land and seas, for telling a sensible place from a wrong reading.
CHINA: Bounds = (73.0, 3.0, 136.0, 54.0)
NORTHINGS = (3.0e5, 6.1e6)  # metres north of the equator, 3°–55°


def candidates(bounds: Bounds, near: Bounds | None = None) -> tuple[Candidate, ...]:
    """The CRS that coordinates with these bounds (x and y as the file writes them) can be in, likeliest first.

    `near` are the bounds of what is known already (lon, lat): readings that lie elsewhere are left out unless none is left.
    Never one silent guess: an easting without its zone has a reading a zone, and a zone number does not tell CGCS2000 from
    Xi'an 1980, so metres are never `certain`. The caller decides, or asks.
    """
    if not all(map(np.isfinite, bounds)):
        return ()
    found = [*_degrees(bounds), *_metres(bounds, swapped=False), *_metres(_flipped(bounds), swapped=True)]
    if near is not None:
        return tuple(one for one in found if _within(one.middle, near, 0.5)) or tuple(found)
    return tuple(found)


def guessed(bounds: Bounds, near: Bounds | None = None) -> list[tuple[str, str]]:
    """`candidates` that write east first, as EPSG code and evidence."""
    return [(one.crs, str(one.evidence)) for one in candidates(bounds, near) if not one.swapped]


def contradiction(bounds: Bounds, crs: "CRS") -> Evidence | None:
    """Why `bounds`, in the file's own numbers, cannot be in the `crs` that the file declares; None when they can."""
    west, south, east, north = bounds
    if not all(map(np.isfinite, bounds)):
        return None
    if crs.is_geographic:
        if max(abs(west), abs(east)) > 360 or max(abs(south), abs(north)) > 90:
            return Evidence("文件声明的是经纬度,坐标却是 {x:.6g}, {y:.6g}。", {"x": west, "y": south})
        if _within((west, south), _flipped(CHINA)) and _within((east, north), _flipped(CHINA)):
            return Evidence("坐标 {x:.6g}, {y:.6g} 像是把纬度写在了经度前面。", {"x": west, "y": south})
    elif (
        max(abs(west), abs(east)) <= 180
        and max(abs(south), abs(north)) <= 90
        and _within((west, south), CHINA)
    ):
        return Evidence("文件声明的是平面坐标,坐标却像经纬度:{x:.6g}, {y:.6g}。", {"x": west, "y": south})
    return None


def _inside(lon: Degrees, lat: Degrees) -> NDArray[np.bool_]:
    west, south, east, north = DISTURBED
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


def _undone(
    disturbed: Callable[[Degrees, Degrees], tuple[Degrees, Degrees]], lon: Degrees, lat: Degrees
) -> tuple[Degrees, Degrees]:
    # By pieces that stay in the cache, 1.6 times as fast as whole arrays of a million.
    lon, lat = np.atleast_1d(lon), np.atleast_1d(lat)
    back_x, back_y = np.empty_like(lon), np.empty_like(lat)
    for start in range(0, len(lon), 16_384):
        piece = slice(start, start + 16_384)
        back_x[piece], back_y[piece] = _approached(disturbed, lon[piece], lat[piece])
    return back_x, back_y


def _approached(
    disturbed: Callable[[Degrees, Degrees], tuple[Degrees, Degrees]], lon: Degrees, lat: Degrees
) -> tuple[Degrees, Degrees]:
    # The disturbance changes by less than 0.01 of the way, so every step gains two digits: after one below 1e-8 degrees
    # (it takes four) less than 1e-10 is left.
    inside = _inside(lon, lat)
    goal_x, goal_y = np.where(inside, lon, 105.0), np.where(inside, lat, 35.0)
    x, y = goal_x, goal_y
    for _ in range(12):
        there_x, there_y = disturbed(x, y)
        step_x, step_y = there_x - goal_x, there_y - goal_y
        x, y = x - step_x, y - step_y
        if max(np.abs(step_x).max(initial=0), np.abs(step_y).max(initial=0)) < 1e-8:
            break
    return np.where(inside, x, lon), np.where(inside, y, lat)


def _turning(crs: "CRS | None", datum: Datum) -> Callable[[Degrees, Degrees], tuple[Degrees, Degrees]] | None:
    # What takes the file's numbers to storage; None when nothing has to be done.
    projected = None if crs is None or is_storage(crs) else _unprojecting(crs)
    if projected is None:
        return (lambda x, y: points_to_storage(x, y, datum)) if datum.shifted else None
    return lambda x, y: points_to_storage(*projected(x, y), datum)


def _unprojecting(crs: "CRS") -> Callable[[Degrees, Degrees], tuple[Degrees, Degrees]]:
    from pyproj import CRS, Transformer

    # CGCS2000 is unprojected to its own degrees: to 4326, PROJ would add its ballpark step and its warning.
    own = crs.geodetic_crs
    target = own.to_2d() if own is not None and is_storage(own) else CRS.from_epsg(SRID)
    transformer = Transformer.from_crs(crs, target, always_xy=True)

    def turned(x: Degrees, y: Degrees) -> tuple[Degrees, Degrees]:
        lon, lat = transformer.transform(x, y, errcheck=False)
        return np.asarray(lon, np.float64), np.asarray(lat, np.float64)

    return turned


def _degrees(bounds: Bounds) -> Iterator[Candidate]:
    west, south, east, north = bounds
    x, y = _middle(bounds)
    straight = max(abs(west), abs(east)) <= 180 and max(abs(south), abs(north)) <= 90
    crossed = max(abs(west), abs(east)) <= 90 and max(abs(south), abs(north)) <= 180
    here, there = _holds(CHINA, bounds), _holds(CHINA, _flipped(bounds))
    if straight and (here or not there):
        sentence = "坐标在 {x:.4f}, {y:.4f} 附近,是{place}的经纬度。"
        place = "中国境内" if here else "中国以外"
        yield Candidate(
            "EPSG:4490",
            Evidence(sentence, {"x": x, "y": y, "place": place}),
            (x, y),
            certain=here and not (crossed and there),
        )
    if crossed and there:
        sentence = "坐标在 {x:.4f}, {y:.4f} 附近:对调以后才落在中国境内,纬度写在了前面。"
        # A latitude beyond 90° does not exist: then the order is proved, not guessed.
        yield Candidate(
            "EPSG:4490", Evidence(sentence, {"x": x, "y": y}), (y, x), swapped=True, certain=not straight
        )


def _metres(bounds: Bounds, swapped: bool) -> Iterator[Candidate]:
    west, _, east, _ = bounds
    x, y = _middle(bounds)
    # A real zone is 670 km wide at most and needs no more room than that on either side of its false easting.
    if not NORTHINGS[0] <= y <= NORTHINGS[1] or east - west > 3.5e6 or max(abs(west), abs(east)) <= 180:
        return
    zone = int(x // 1e6)
    within = abs(x - zone * 1e6 - 5e5) < 4e5
    if within and 25 <= zone <= 45:
        sentence = "东坐标 {x:.0f} 带有带号 {zone}:三度带第 {zone} 带(中央经线 {meridian}°E)。带号分不出 CGCS2000 与西安 80,请确认。"
        yield from _placed(4513 + zone - 25, x, y, swapped, sentence, zone=zone, meridian=zone * 3)
    if within and 13 <= zone <= 23:
        sentence = "东坐标 {x:.0f} 带有带号 {zone}:六度带第 {zone} 带(中央经线 {meridian}°E)。带号分不出 CGCS2000 与西安 80,请确认。"
        yield from _placed(4491 + zone - 13, x, y, swapped, sentence, zone=zone, meridian=zone * 6 - 3)
    if 8.1e6 <= x <= 1.52e7 and not swapped:
        yield from _placed(3857, x, y, swapped, "坐标 {x:.0f}, {y:.0f} 可能是网络墨卡托(EPSG:3857)。")
    if zone == 0 and within:
        # 6° zones have the same central meridians among these, and the same numbers.
        sentence = "东坐标 {x:.0f} 没有带号:中央经线可能是 {meridian}°E。"
        for meridian in range(75, 136, 3):
            yield from _placed(4534 + (meridian - 75) // 3, x, y, swapped, sentence, meridian=meridian)
        for utm in range(43, 54):
            yield from _placed(32600 + utm, x, y, swapped, "东坐标 {x:.0f} 也可能是 UTM {utm} 带。", utm=utm)


def _placed(
    epsg: int, x: float, y: float, swapped: bool, sentence: str, **facts: object
) -> Iterator[Candidate]:
    from pyproj import CRS

    turned = _turning(CRS.from_epsg(epsg), Datum.CGCS2000)
    lon, lat = (x, y) if turned is None else (float(v[0]) for v in turned(np.array([x]), np.array([y])))
    if _within((lon, lat), CHINA, 1.0):
        yield Candidate(f"EPSG:{epsg}", Evidence(sentence, {"x": x, "y": y, **facts}), (lon, lat), swapped)


def _middle(bounds: Bounds) -> tuple[float, float]:
    return (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2


def _flipped(bounds: Bounds) -> Bounds:
    return bounds[1], bounds[0], bounds[3], bounds[2]


def _within(place: Sequence[float], bounds: Bounds, margin: float = 0.0) -> bool:
    west, south, east, north = bounds
    return west - margin <= place[0] <= east + margin and south - margin <= place[1] <= north + margin


def _holds(bounds: Bounds, inner: Bounds) -> bool:
    return _within(inner[:2], bounds) and _within(inner[2:], bounds)
