"""Reference systems in which places are asked for and told (OGC API – Features, Part 2).

By the axes of the registry, as the standard asks: degrees of EPSG:4326 and 4490 and metres of the CGCS2000 zones are written
north first; only `CRS84` and Web Mercator are written east first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa

from geo.crs import SRID, Bounds
from geo.errors import BadQuery

EPSG = "http://www.opengis.net/def/crs/EPSG/0/{}"
WORLD: Bounds = (-180, -90, 180, 90)


@dataclass(frozen=True)
class Reference:
    """A reference system: its address, its code in the database, and where on the globe its numbers mean something."""

    uri: str
    srid: int
    north_first: bool
    degrees: bool
    bounds: Bounds = WORLD

    def to_storage(self, shape: Any) -> Any:
        """A shape of this system in degrees of the storage, east first. What has no place there comes out infinite."""
        return shape if self.srid == SRID and not self.north_first else shapely.transform(shape, self._turned)

    def _turned(self, xy: Any) -> Any:
        east_first = xy[:, ::-1] if self.north_first else xy
        if self.degrees:
            return east_first
        return np.column_stack(_transformer(self.srid).transform(*east_first.T, errcheck=False))

    def told(self, geometry: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A stored geometry in this system; without one where it would have no sound numbers."""
        if not self.degrees:
            inside = geometry.op("@")(sa.func.ST_MakeEnvelope(*self.bounds, SRID))
            geometry = sa.case((inside, sa.func.ST_Transform(geometry, self.srid)))
        return sa.func.ST_FlipCoordinates(geometry) if self.north_first else geometry

    @property
    def decimals(self) -> int:
        """How many digits after the point are 0.1 mm."""
        return 9 if self.degrees else 4


CRS84 = Reference("http://www.opengis.net/def/crs/OGC/1.3/CRS84", SRID, north_first=False, degrees=True)


def _zone(code: int) -> Reference:
    # A zone is 3 degrees wide; ten on either side of its meridian are told in it, to hold a city that lies in two.
    meridian = (code - 4513) * 3 + 75 if code <= 4533 else (code - 4534) * 3 + 75
    return Reference(EPSG.format(code), code, north_first=True, degrees=False, bounds=(meridian - 10, -80, meridian + 10, 84))


REFERENCES: dict[str, Reference] = {
    one.uri: one for one in (
        CRS84,
        Reference(EPSG.format(4326), SRID, north_first=True, degrees=True),
        Reference(EPSG.format(4490), SRID, north_first=True, degrees=True),
        Reference(EPSG.format(3857), 3857, north_first=False, degrees=False, bounds=(-180, -85.06, 180, 85.06)),
        *(_zone(code) for code in range(4513, 4555)),
    )
}
SAFE = {f"[EPSG:{uri.rsplit('/', 1)[1]}]": uri for uri in REFERENCES if "EPSG" in uri} | {"[OGC:CRS84]": CRS84.uri}


def named(uri: str, parameter: str) -> Reference:
    """The system at an address, or its safe CURIE. Raises `BadQuery` for any that is not offered."""
    found = REFERENCES.get(SAFE.get(uri, uri))
    if found is None:
        raise BadQuery("不支持这个坐标系:可以用的写在 /collections 的 crs 里。", parameter=parameter)
    return found


def corners(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """The four numbers of a box; of six the heights are left out. Raises `ValueError` for any other count."""
    x1, y1, x2, y2 = (*numbers[:2], *numbers[3:5]) if len(numbers) == 6 else numbers
    return x1, y1, x2, y2


def boxed(numbers: Sequence[float], reference: Reference) -> Bounds:
    """A box of a system as one of the storage that holds it; one whose west is east of its east goes round the back of the globe.
    Raises `ValueError` for what is no box, and for one without a place on the globe."""
    x1, y1, x2, y2 = corners(numbers)
    if reference.degrees:
        west, south, east, north = (y1, x1, y2, x2) if reference.north_first else (x1, y1, x2, y2)
    else:
        if not (x1 <= x2 and y1 <= y2):
            raise ValueError
        # Its edges are no meridians: they bulge.
        edge = shapely.segmentize(shapely.box(x1, y1, x2, y2), max(x2 - x1, y2 - y1, 1.0) / 16)
        west, south, east, north = (float(n) for n in shapely.bounds(reference.to_storage(edge)))
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError
    return west, south, east, north


@cache
def _transformer(srid: int) -> Any:
    # pyproj is imported where it is needed: it costs 70 ms and 13 MB.
    from pyproj import Transformer

    # China's own metres become China's own degrees, which are stored as they are: to 4326, PROJ would add its ballpark step.
    return Transformer.from_crs(srid, SRID if srid == 3857 else 4490, always_xy=True)
