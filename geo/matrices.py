"""How the world is cut into tiles: the tile matrix sets (OGC 17-083r4) that tiles are made in."""

from dataclasses import dataclass
from math import asinh, atan, degrees, pi, radians, sinh, tan
from typing import Any

from geo.crs import SRID, Bounds

DEEPEST = 22
PIXEL = 0.00028  # metres of a pixel on the standard's screen, by which scales are told
SIDE = 256  # pixels of a tile
EQUATOR = 6378137.0  # metres: the radius of the ellipsoids of WGS 84 and CGCS2000
HALF = pi * EQUATOR  # metres of Web Mercator from its middle to its edge


@dataclass(frozen=True)
class MatrixSet:
    """At zoom z the `square` is cut into 2^z by 2^z tiles; of the rows `half` are there, where the square is twice as high as the
    world. `srid` is that of the database in which the tiles are drawn, `crs` the name by which the world knows it."""

    id: str
    title: str
    crs: str
    axes: tuple[str, str]
    origin: tuple[float, float]  # of the north-west corner, in the order of the axes
    square: Bounds
    srid: int
    unit: float  # metres of one, at the equator
    first: int = 0
    half: bool = False
    known: str | None = None  # the address under which the standard registers it

    def rows(self, z: int) -> int:
        """Rows of tiles at a zoom."""
        return 1 << (z - 1 if self.half else z)

    def holds(self, z: int, x: int, y: int) -> bool:
        """Whether there is such a tile."""
        return self.first <= z <= DEEPEST and 0 <= x < 2**z and 0 <= y < self.rows(z)

    def box(self, z: int, x: int, y: int, margin: float = 0) -> Bounds:
        """A tile in units of the CRS, east before north, with a margin in parts of its side."""
        west, _, east, north = self.square
        side = (east - west) / 2**z
        return (
            west + (x - margin) * side, north - (y + 1 + margin) * side, west + (x + 1 + margin) * side, north - (y - margin) * side,
        )

    def degrees(self, z: int, x: int, y: int, margin: float = 0) -> Bounds:
        """The same in degrees."""
        box = self.box(z, x, y, margin)
        if self.srid == SRID:
            return box
        west, south, east, north = (n / EQUATOR for n in box)
        return degrees(west), degrees(atan(sinh(south))), degrees(east), degrees(atan(sinh(north)))

    def cell(self, z: int) -> float:
        """Units of the CRS in a pixel."""
        return (self.square[2] - self.square[0]) / (1 << z) / SIDE

    def limits(self, z: int, bounds: Bounds) -> tuple[int, int, int, int]:
        """The first and last row, and the first and last column, of what lies within some degrees."""
        west, south, east, north = bounds
        xs = sorted(self._at(lon, 0)[0] for lon in (west, east))
        ys = sorted(self._at(0, lat)[1] for lat in (south, north))
        side = (self.square[2] - self.square[0]) / 2**z
        columns = [min(2**z - 1, max(0, int((x - self.square[0]) / side))) for x in xs]
        rows = [min(self.rows(z) - 1, max(0, int((self.square[3] - y) / side))) for y in ys]
        return min(rows), max(rows), columns[0], columns[1]

    def _at(self, lon: float, lat: float) -> tuple[float, float]:
        if self.srid == SRID:
            return lon, lat
        return radians(lon) * EQUATOR, asinh(tan(radians(min(85.0, max(-85.0, lat))))) * EQUATOR

    def document(self, title: str) -> dict[str, Any]:
        """As the standard writes it, with its title in the reader's language."""
        told = {"id": self.id, "title": title, "crs": self.crs, "orderedAxes": list(self.axes)}
        return told | ({"uri": self.known} if self.known else {}) | {
            "tileMatrices": [
                {
                    "id": str(z), "scaleDenominator": self.cell(z) * self.unit / PIXEL, "cellSize": self.cell(z), "cornerOfOrigin": "topLeft",
                    "pointOfOrigin": list(self.origin), "tileWidth": SIDE, "tileHeight": SIDE, "matrixWidth": 2**z, "matrixHeight": self.rows(z),
                }
                for z in range(self.first, DEEPEST + 1)
            ]
        }


WEB_MERCATOR = MatrixSet(
    "WebMercatorQuad", "Web 墨卡托", "http://www.opengis.net/def/crs/EPSG/0/3857", ("X", "Y"), (-HALF, HALF),
    (-HALF, -HALF, HALF, HALF), 3857, 1.0, known="http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad",
)
# As 天地图 serves its `c` tiles: two tiles at level 1, no level 0. EPSG:4490 is latitude before longitude, and so is its origin;
# columns and rows are counted as everywhere. Storage is 4326 read as CGCS2000 (geo/crs.py): nothing is transformed.
CGCS2000 = MatrixSet(
    "CGCS2000Quad", "CGCS2000 经纬度(天地图 c)", "http://www.opengis.net/def/crs/EPSG/0/4490", ("Lat", "Lon"), (90.0, -180.0),
    (-180.0, -270.0, 180.0, 90.0), SRID, pi * EQUATOR / 180, first=1, half=True,
)
MATRIX_SETS = {one.id: one for one in (WEB_MERCATOR, CGCS2000)}
