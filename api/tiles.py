"""`GET /tiles/…`: the layers of the map as vector tiles.

Two addresses of the same layer: everybody's, one answer for all that any cache may keep and share, and the caller's own. The
map takes the second only where it shows more (`geo.tiles.differs`), so that whoever is signed in sees the town around the
areas they answer for, and most of it comes from a cache. The addresses of OGC API Tiles are the caller's own too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from api.collections import PROBLEM
from api.deps import (
    ANYBODY,
    CallerNow,
    Engines,
    PublicConnection,
    anyone,
    numbered,
    origin,
    shown,
    strict,
    turn,
)
from api.guard import FOR_EVER
from api.shelf import Shelf, Tile
from geo import db, layers, tiles
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import BadQuery, NotFound
from geo.layers import Layer
from geo.matrices import MATRIX_SETS, WEB_MERCATOR, MatrixSet
from geo.resource import Resource

MVT = "application/vnd.mapbox-vector-tile"
ANSWERS: dict[int | str, dict[str, object]] = {
    200: {"content": {MVT: {}}}, 204: {"description": "Nothing there"}, 304: {"description": "Not modified"},
}
# Nothing in a tile runs or is shown by itself.
INERT = "default-src 'none'; frame-ancestors 'none'"
TOGETHER = len(RESOURCES)  # layers in one tile, each once

routes = APIRouter(tags=["tiles"], responses=dict.fromkeys((400, 404, 503), PROBLEM))

Version = Annotated[int | None, Query(ge=0, lt=2**63, description="the layer's version, from `GET /tiles/versions`")]
Scope = Annotated[str, Query(pattern="^[0-9a-f]{0,12}$", description="whose tile it is, from the map")]
Zoom = Annotated[int, Path(description="the tile matrix, a zoom")]
Row = Annotated[int, Path(description="counted from the north")]
Column = Annotated[int, Path(description="counted from the west")]


async def drawn_as(who: CallerNow) -> Caller:
    """The caller; whoever has a right to their own rows only is drawn what everybody is."""
    return ANYBODY.caller if who.role == "jingwei_own" else who


Drawn = Annotated[Caller, Depends(drawn_as)]
Anybody = Annotated[Caller, Depends(anyone)]
Turn = Annotated[None, Depends(turn, scope="function")]


@routes.get(
    "/tiles/public/{layer}/{z}/{x}/{y}.pbf", summary="One vector tile, as everybody is drawn it", dependencies=[strict("v")],
    response_class=Response, responses=ANSWERS,
)
def public_tile(layer: str, z: int, x: int, y: int, request: Request, who: Anybody, _: Turn, v: Version = None) -> Response:
    """A layer's features and labels in one tile. With its version `v` in the address it may be kept for ever; without, it must
    be asked for again."""
    _drawn(layer, who)
    tile = standing(request, [layer], WEB_MERCATOR, z, x, y, who)
    lasting = _reached(v, tile)
    if v is None or lasting:
        request.scope["on_shelf"] = ((layer,), tile.versions)
    return answered(request, tile, f"public, {FOR_EVER if lasting else 'no-cache'}")


@routes.get(
    "/tiles/{layer}/{z}/{x}/{y}.pbf", summary="One vector tile, as the caller is drawn it", dependencies=[strict("v", "s")],
    response_class=Response, responses=ANSWERS,
)
def own_tile(layer: str, z: int, x: int, y: int, request: Request, who: Drawn, _: Turn, v: Version = None, s: Scope = "") -> Response:
    """The same with what the caller sees more. A browser keeps it for as long as its address names the version and the scope."""
    _drawn(layer, who)
    tile = standing(request, [layer], WEB_MERCATOR, z, x, y, who)
    return answered(request, tile, kept(who, _reached(v, tile), s))


@routes.get("/tiles/versions", summary="The version of every layer", dependencies=[strict()])
def versions(connection: PublicConnection) -> dict[str, int]:
    """What `v` in a tile's address should be now."""
    return tiles.versions(connection)


@routes.get(
    "/collections/{name}/tiles/{matrices}/{z}/{row}/{column}", summary="A tile of a collection", dependencies=[strict("v", "s")],
    response_class=Response, responses=ANSWERS,
)
def collection_tile(
    name: str, matrices: str, z: Zoom, row: Row, column: Column, request: Request, who: Drawn, _: Turn, v: Version = None, s: Scope = "",
) -> Response:
    """Of a noun, or of a layer of somebody's own, as the caller is shown it."""
    tile = standing(request, [name], matrix_set(matrices), z, column, row, who)
    if who == ANYBODY.caller and name in RESOURCES and v is None:
        request.scope["on_shelf"] = ((name,), tile.versions)
    return answered(request, tile, kept(who, _reached(v, tile), s))


@routes.get(
    "/tiles/{matrices}/{z}/{row}/{column}", summary="A tile of several layers at once", dependencies=[strict("collections")],
    response_class=Response, responses=ANSWERS,
)
def several(
    matrices: str, z: Zoom, row: Row, column: Column, request: Request, who: Drawn, _: Turn,
    collections: Annotated[str | None, Query(max_length=2000, description="with commas between; without, every noun that is drawn")] = None,
) -> Response:
    """Every layer under its own name. Each is asked for once."""
    cut, names = matrix_set(matrices), chosen(collections, who)
    try:
        tile = standing(request, names, cut, z, column, row, who)
    except NotFound as error:
        raise BadQuery(parameter="collections") from error
    if who == ANYBODY.caller and all(name in RESOURCES for name in names):
        request.scope["on_shelf"] = (tuple(names), tile.versions)
    return answered(request, tile, kept(who, False, ""))


def matrix_set(name: str) -> MatrixSet:
    """`NotFound` for one that tiles are not made in."""
    if name not in MATRIX_SETS:
        raise NotFound()
    return MATRIX_SETS[name]


def named(name: str, who: Caller, connection: sa.Connection) -> Resource | Layer:
    """What is drawn under a name: a noun, or a layer of somebody's own by its number."""
    if name in RESOURCES:
        return _drawn(name, who)
    return layers.told(connection, numbered(name))


def chosen(collections: str | None, who: Caller) -> list[str]:
    """The layers of a tile of several. `BadQuery` for none, one named twice or too many: each is work."""
    if collections is None:
        return [noun.name for noun in tiles.drawn(who)]
    names = collections.split(",")
    if len(set(names)) != len(names) or len(names) > TOGETHER:
        raise BadQuery(parameter="collections")
    return names


def standing(request: Request, names: Sequence[str], cut: MatrixSet, z: int, x: int, y: int, who: Caller) -> Tile:
    """A tile of some layers from the shelf, or made and put there. Raises `NotFound` for a layer that is none to the caller.

    What the versions are is asked first, so that what is made after holds all that they number; the database is not asked at all
    where the watch has just seen them and the tile is there.
    """
    if not cut.holds(z, x, y):
        raise BadQuery(parameter="z/x/y")
    shelf: Shelf = request.app.state.shelf
    key = (tuple(names), cut.id, z, x, y, tiles.fingerprint(who))
    if tiles.kept(who) and all(name in RESOURCES and _drawn(name, who) for name in names) and (ready := shelf.ready(key)):
        return ready
    with opened(request, who) as connection:
        return made(request, connection, names, cut, z, x, y, who)


@contextmanager
def opened(request: Request, who: Caller) -> Iterator[sa.Connection]:
    """The transaction of a tile, in the thread that needs it: as dependencies of a route its two ends are two threads more."""
    engines: Engines = request.app.state.engines
    with db.transaction(engines.web, who, True, origin(request)) as connection:
        yield connection


def made(request: Request, connection: sa.Connection, names: Sequence[str], cut: MatrixSet, z: int, x: int, y: int, who: Caller) -> Tile:
    """The same within a transaction."""
    shelf: Shelf = request.app.state.shelf if tiles.kept(who) else Shelf(0)
    nouns = [named(name, who, connection) for name in names]
    now = tiles.versions(connection)
    seen = tuple(now[noun.name] if isinstance(noun, Resource) else noun.version for noun in nouns)
    below = (cut.id, z, x, y, tiles.fingerprint(who))

    def each(noun: Resource | Layer, name: str, version: int) -> Tile:
        def make() -> bytes:
            if isinstance(noun, Layer):
                return layers.tile(connection, noun, z, x, y, cut)
            return tiles.tile(connection, noun, z, x, y, who.sees(noun), cut)

        return shelf.tile(((name,), *below), (version,), make)

    if len(names) == 1:
        return each(nouns[0], names[0], seen[0])
    # A vector tile of several layers is theirs one after the other.
    return shelf.tile((tuple(names), *below), seen, lambda: b"".join(each(*one).plain for one in zip(nouns, names, seen, strict=True)))


def answered(request: Request, made: Tile, cache: str) -> Response:
    """A tile, packed for who can unpack it; not sent again to who has it."""
    headers = {"Vary": "Accept-Encoding", "Content-Security-Policy": INERT} | ({"Cache-Control": cache} if cache else {})
    if not made.content:
        return Response(status_code=204, headers=headers)
    headers["ETag"] = made.tag
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if made.tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    unpacks = "gzip" in request.headers.get("accept-encoding", "")
    if made.packed and unpacks:
        headers["Content-Encoding"] = "gzip"
    return Response(made.content if unpacks else made.plain, headers=headers, media_type=MVT)


def kept(who: Caller, lasting: bool, scope: str) -> str:
    """How long a tile of the caller's may be kept: by anybody where nobody in particular asks, else by the browser, under an
    address that names version and scope. Nothing said: not at all."""
    if who == ANYBODY.caller:
        return f"public, {FOR_EVER}" if lasting else "no-cache"
    return f"private, {FOR_EVER}" if lasting and scope == tiles.fingerprint(who) and tiles.kept(who) else ""


def _drawn(layer: str, who: Caller) -> Resource:
    noun = RESOURCES.get(layer)
    # Whoever reads of a person is written down, and a map asks for a tile a second.
    if noun is None or not noun.geometry or noun.personal:
        raise NotFound()
    shown(noun, who)
    return noun


def _reached(v: int | None, made: Tile) -> bool:
    # What is kept for ever under a version that is still to come would be shown when it has come.
    return v is not None and v <= made.versions[0]
