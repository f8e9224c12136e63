"""`GET /tiles/…`: the layers of the map as vector tiles.

Two addresses of the same layer: everybody's, one answer for all that any cache may keep and share, and the caller's own. The
map takes the second only where it shows more (`geo.tiles.differs`), so that whoever is signed in sees the town around the
areas they answer for, and most of it comes from a cache.
"""

from collections.abc import Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response

from api.collections import PROBLEM
from api.deps import ANYBODY, CallerNow, PublicConnection, bound, shown, strict, turn
from api.guard import FOR_EVER, shared
from geo import tiles
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import NotFound
from geo.resource import Resource

MVT = "application/vnd.mapbox-vector-tile"
ANSWERS: dict[int | str, dict[str, object]] = {200: {"content": {MVT: {}}}, 204: {"description": "Nothing there"}}

routes = APIRouter(tags=["tiles"], responses=dict.fromkeys((400, 404, 503), PROBLEM))

Version = Annotated[int | None, Query(ge=0, lt=2**63, description="the layer's version, from `GET /tiles`")]


def drawn_as(who: CallerNow) -> Caller:
    """The caller; whoever has a right to their own rows only is drawn what everybody is."""
    return ANYBODY.caller if who.role == "jingwei_own" else who


Drawn = Annotated[Caller, Depends(drawn_as)]


def drawn_connection(request: Request, who: Drawn, _: Annotated[None, Depends(turn, scope="function")]) -> Iterator[sa.Connection]:
    """The transaction of a tile."""
    yield from bound(request, who)


@routes.get(
    "/tiles/public/{layer}/{z}/{x}/{y}.pbf", summary="One vector tile, as everybody is drawn it", dependencies=[strict("v")],
    response_class=Response, responses=ANSWERS | {304: {"description": "Not modified"}},
)
def public_tile(layer: str, z: int, x: int, y: int, request: Request, connection: PublicConnection, v: Version = None) -> Response:
    """A layer's features and labels in one tile. With its version `v` in the address it may be kept for ever; without, it must
    be asked for again."""
    noun = _drawn(layer, ANYBODY.caller)
    lasting = _current(connection, noun, v)
    return shared(request, tiles.tile(connection, noun, z, x, y, ANYBODY.caller.audience), MVT, lasting)


@routes.get(
    "/tiles/{layer}/{z}/{x}/{y}.pbf", summary="One vector tile, as the caller is drawn it", dependencies=[strict("v", "s")],
    response_class=Response, responses=ANSWERS,
)
def tile(
    layer: str, z: int, x: int, y: int, connection: Annotated[sa.Connection, Depends(drawn_connection, scope="function")], who: Drawn,
    v: Version = None, s: Annotated[str, Query(pattern="^[0-9a-f]{0,12}$", description="whose tile it is, from the map")] = "",
) -> Response:
    """The same with what the caller sees more. A browser keeps it for as long as its address names the version and the scope."""
    noun = _drawn(layer, who)
    lasting = _current(connection, noun, v)
    found = tiles.tile(connection, noun, z, x, y, who.sees(noun))
    answer = Response(found or None, 200 if found else 204, media_type=MVT)
    if who == ANYBODY.caller:
        answer.headers["Cache-Control"] = f"public, {FOR_EVER}" if lasting else "no-cache"
    elif lasting and s == tiles.fingerprint(who):
        answer.headers["Cache-Control"] = f"private, {FOR_EVER}"
    return answer


@routes.get("/tiles", summary="The version of every layer", dependencies=[strict()])
def versions(connection: PublicConnection) -> dict[str, int]:
    """What `v` in a tile's address should be now."""
    return tiles.versions(connection)


def _drawn(layer: str, who: Caller) -> Resource:
    noun = RESOURCES.get(layer)
    # Whoever reads of a person is written down, and a map asks for a tile a second.
    if noun is None or not noun.geometry or noun.personal:
        raise NotFound()
    shown(noun, who)
    return noun


def _current(connection: sa.Connection, noun: Resource, v: int | None) -> bool:
    # What is kept for ever under a version that is still to come would be shown when it has come.
    return v is not None and v <= tiles.version(connection, noun)
