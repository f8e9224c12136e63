"""`GET /tiles/…`: the layers of the map as vector tiles."""

from fastapi import APIRouter, Response

from api.collections import PROBLEM
from api.deps import CallerNow, Connection, PublicConnection, shown, strict
from geo import tiles
from geo.catalog import RESOURCES
from geo.errors import NotFound

MVT = "application/vnd.mapbox-vector-tile"

routes = APIRouter(tags=["tiles"], responses=dict.fromkeys((400, 404, 503), PROBLEM))


@routes.get(
    "/tiles/{layer}/{z}/{x}/{y}.pbf", summary="One vector tile", dependencies=[strict("v")], response_class=Response,
    responses={200: {"content": {MVT: {}}}, 204: {"description": "Nothing there"}},
)
def tile(layer: str, z: int, x: int, y: int, connection: Connection, who: CallerNow, v: int | None = None) -> Response:
    """A layer's features and labels in one tile. With its version `v` in the address a tile may be kept for ever;
    without, it must be asked for again."""
    resource = RESOURCES.get(layer)
    # Whoever reads of a person is written down, and a map asks for a tile a second.
    if resource is None or not resource.geometry or resource.personal:
        raise NotFound()
    shown(resource, who)
    found = tiles.tile(connection, resource, z, x, y, who.sees(resource))
    keep = "public, max-age=31536000, immutable" if v is not None else "no-cache"
    return Response(found or None, 200 if found else 204, {"Cache-Control": keep}, MVT)


@routes.get("/tiles", summary="The version of every layer", dependencies=[strict()])
def versions(connection: PublicConnection) -> dict[str, int]:
    """What `v` in a tile's address should be now."""
    return tiles.versions(connection)
