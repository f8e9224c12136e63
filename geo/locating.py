"""Where a point is: its areas at every level, who answers for them, the zones in force, or the nearest area."""

from typing import Any

import sqlalchemy as sa

from geo import crs, statements


def locate(connection: sa.Connection, lon: float, lat: float, datum: crs.Datum) -> dict[str, Any]:
    """The areas at a point, largest first, each with those responsible.

    `lon`, `lat` in degrees of `datum`; they are taken to the storage CRS first and told as taken. A point in no area of
    the deepest level has `nearest`, with the distance in metres.
    """
    x, y = crs.point_to_storage(lon, lat, datum)
    areas = list(statements.run(connection, "areas_here", lon=x, lat=y).scalars())
    deepest = connection.scalar(sa.text("SELECT placing_level(now())"))
    nearest = None
    if deepest and deepest not in {area["level"] for area in areas}:
        found = statements.run(connection, "nearest_area", lon=x, lat=y).mappings().one_or_none()
        nearest = dict(found) if found else None
    return {
        "lon": x,
        "lat": y,
        "areas": areas,
        "nearest": nearest,
        "zones": list(statements.run(connection, "zones_here", lon=x, lat=y).scalars()),
    }
