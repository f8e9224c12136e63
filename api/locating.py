"""`GET /locate`: the areas at a point, at every level, and who answers for them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.collections import PROBLEM
from api.deps import PublicConnection, strict
from geo import locating
from geo.crs import Datum

routes = APIRouter(tags=["locate"])


@routes.get(
    "/locate", summary="The areas at a point", dependencies=[strict("lon", "lat", "datum")], responses={400: PROBLEM}
)
def locate(
    connection: PublicConnection,
    lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
    lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
    datum: Datum = Datum.CGCS2000,
) -> dict[str, Any]:
    """Every level's area at the point, largest first, with those responsible; the zones in force; the nearest area when
    the point is in none. `datum` says what the numbers are: a phone's map in China gives `gcj02` or `bd09`."""
    return locating.locate(connection, lon, lat, datum)
