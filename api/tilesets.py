"""What tiles there are, as programs ask for them: OGC API Tiles, TileJSON, MapLibre styles."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request

from api.collections import PROBLEM
from api.deps import Connection, LanguageNow, anyone, link, own_url, strict
from api.tiles import MVT, Drawn, chosen, matrix_set, named
from geo import cards, tiles
from geo.crs import Bounds
from geo.db import Caller
from geo.errors import BadQuery, NotFound
from geo.language import Language, translated
from geo.layers import Layer
from geo.matrices import DEEPEST, MATRIX_SETS, WEB_MERCATOR, MatrixSet
from geo.resource import Resource
from maps.layer import Drawing, drawing, own
from maps.styles import style

# What of the standards is claimed; each is asked for in tests/api/test_tilesets.py.
CONFORMANCE = (
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
    *(f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "geojson")),
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    *(f"http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/{name}" for name in (
        "queryables", "queryables-query-parameters", "filter", "features-filter")),
    *(f"http://www.opengis.net/spec/ogcapi-features-4/1.0/conf/{name}" for name in ("create-replace-delete", "update", "optimistic-locking-etags")),
    *(f"http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/{name}" for name in ("schemas", "core-roles-features", "queryables", "sortables")),
    *(f"http://www.opengis.net/spec/cql2/1.0/conf/{name}" for name in (
        "cql2-text", "cql2-json", "basic-cql2", "advanced-comparison-operators", "case-insensitive-comparison", "accent-insensitive-comparison",
        "basic-spatial-functions", "basic-spatial-functions-plus", "spatial-functions", "temporal-functions", "array-functions",
        "property-property", "arithmetic")),
    *(f"http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/{name}" for name in (
        "core", "tileset", "tilesets-list", "dataset-tilesets", "geodata-tilesets", "collections-selection", "mvt")),
    "http://www.opengis.net/spec/tms/2.0/conf/tilematrixset",
    "http://www.opengis.net/spec/tms/2.0/conf/json-tilematrixset",
)
REL = "http://www.opengis.net/def/rel/ogc/1.0/{}"
VECTOR, SCHEME, SCHEMES = REL.format("tilesets-vector"), REL.format("tiling-scheme"), REL.format("tiling-schemes")

routes = APIRouter(tags=["tiles"], responses=dict.fromkeys((400, 404, 503), PROBLEM))

Collections = Annotated[str | None, Query(max_length=2000, description="with commas between; without, every noun that is drawn")]


@routes.get("/conformance", summary="What of the standards is kept", dependencies=[Depends(anyone), strict()])
def conformance() -> dict[str, Any]:
    """The requirement classes that a test shows."""
    return {"conformsTo": list(CONFORMANCE)}


@routes.get("/tileMatrixSets", summary="How the world is cut into tiles", dependencies=[Depends(anyone), strict()])
def matrix_sets(request: Request, language: LanguageNow) -> dict[str, Any]:
    """Web Mercator as everywhere, and degrees of CGCS2000 as 天地图 has them."""
    return {
        "links": [link(request, "/tileMatrixSets", "self")],
        "tileMatrixSets": [
            {"id": one.id, "title": translated(one.title, language), "crs": one.crs, "links": [link(request, f"/tileMatrixSets/{one.id}", "self")]}
            | ({"uri": one.known} if one.known else {})
            for one in MATRIX_SETS.values()
        ],
    }


@routes.get("/tileMatrixSets/{matrices}", summary="One way of cutting", dependencies=[Depends(anyone), strict()])
def one_matrix_set(matrices: str, language: LanguageNow) -> dict[str, Any]:
    """With its scales, its origin and the size of every zoom (OGC 17-083r4)."""
    found = matrix_set(matrices)
    return found.document(translated(found.title, language))


@routes.get("/tiles", summary="Tiles of several layers at once", dependencies=[strict()])
def dataset(request: Request, connection: Connection, who: Drawn, language: LanguageNow) -> dict[str, Any]:
    """One set of tiles for each way of cutting, of every noun that is drawn, or of those in `collections`."""
    nouns = nouns_of(None, who, connection)
    return listed(request, "/tiles", request.app.state.instance.name) | {
        "collections": [{"id": called(noun), "title": titled(noun, language)} for noun in nouns]
    }


@routes.get("/tiles/{matrices}", summary="One of these", dependencies=[strict("collections")])
def dataset_tiles(
    matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow, collections: Collections = None
) -> dict[str, Any]:
    """Its layers, their zooms, and the template of its addresses."""
    nouns = nouns_of(collections, who, connection)
    return described(request, "/tiles", request.app.state.instance.name, matrix_set(matrices), nouns, connection, language, asked=collections)


@routes.get("/tiles/{matrices}/tilejson.json", summary="The same as TileJSON", dependencies=[strict("collections")])
def dataset_tilejson(
    matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow, collections: Collections = None
) -> dict[str, Any]:
    """TileJSON 3.0, of Web Mercator alone as it says."""
    template = f"{own_url(request)}/tiles/{only_mercator(matrices).id}/{{z}}/{{y}}/{{x}}{query(collections)}"
    return tilejson(request.app.state.instance.name, template, nouns_of(collections, who, connection), connection, language)


@routes.get("/tiles/{matrices}/style.json", summary="How they are drawn", dependencies=[strict("collections")])
def dataset_style(
    matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow, collections: Collections = None
) -> dict[str, Any]:
    """A MapLibre style, from the declared looks. Names lie in the tiles as layers `…_labels`, and are not in the style."""
    source = f"{own_url(request)}/tiles/{only_mercator(matrices).id}/tilejson.json{query(collections)}"
    drawn = [drawn_as(noun, connection, language) for noun in nouns_of(collections, who, connection)]
    return style(request.app.state.instance.name, source, drawn)


@routes.get("/collections/{name}/tiles", summary="Tiles of a collection", dependencies=[strict()])
def collection(name: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow) -> dict[str, Any]:
    """One set for each way of cutting."""
    return listed(request, f"/collections/{name}/tiles", titled(named(name, who, connection), language))


@routes.get("/collections/{name}/tiles/{matrices}", summary="One of these", dependencies=[strict()])
def collection_tiles(
    name: str, matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow
) -> dict[str, Any]:
    """Its zooms, what is in it, and the template of its addresses."""
    noun = named(name, who, connection)
    return described(request, f"/collections/{name}/tiles", titled(noun, language), matrix_set(matrices), [noun], connection, language)


@routes.get("/collections/{name}/tiles/{matrices}/tilejson.json", summary="The same as TileJSON", dependencies=[strict()])
def collection_tilejson(
    name: str, matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow
) -> dict[str, Any]:
    """TileJSON 3.0. Where the caller sees no more than everybody, its addresses are everybody's, which any cache may keep."""
    noun, cut = named(name, who, connection), only_mercator(matrices)
    own_tiles = isinstance(noun, Layer) or tiles.differs(noun, who)
    at = f"/collections/{name}/tiles/{cut.id}/{{z}}/{{y}}/{{x}}" if own_tiles else f"/tiles/public/{name}/{{z}}/{{x}}/{{y}}.pbf"
    return tilejson(titled(noun, language), own_url(request) + at, [noun], connection, language)


@routes.get("/collections/{name}/tiles/{matrices}/style.json", summary="How it is drawn", dependencies=[strict()])
def collection_style(
    name: str, matrices: str, request: Request, connection: Connection, who: Drawn, language: LanguageNow
) -> dict[str, Any]:
    """A MapLibre style, from the declared look."""
    noun = named(name, who, connection)
    source = f"{own_url(request)}/collections/{name}/tiles/{only_mercator(matrices).id}/tilejson.json"
    return style(titled(noun, language), source, [drawn_as(noun, connection, language)])


def nouns_of(collections: str | None, who: Caller, connection: sa.Connection) -> list[Resource | Layer]:
    """The layers that are asked for. Raises `BadQuery` for one that is none to the caller."""
    try:
        return [named(name, who, connection) for name in chosen(collections, who)]
    except NotFound as error:
        raise BadQuery(parameter="collections") from error


def only_mercator(matrices: str) -> MatrixSet:
    """TileJSON and MapLibre know no other: `NotFound` for one."""
    if matrix_set(matrices) is not WEB_MERCATOR:
        raise NotFound()
    return WEB_MERCATOR


def query(collections: str | None) -> str:
    """The choice of layers as an address carries it on."""
    return f"?{urlencode({'collections': collections}, safe=',')}" if collections else ""


def listed(request: Request, at: str, title: str) -> dict[str, Any]:
    """The sets of tiles below an address."""
    return {
        "links": [link(request, at, "self"), link(request, "/tileMatrixSets", SCHEMES)],
        "tilesets": [brief(request, at, title, cut) for cut in MATRIX_SETS.values()],
    }


def brief(request: Request, at: str, title: str, cut: MatrixSet) -> dict[str, Any]:
    """A set of tiles as a list shows it."""
    links = [link(request, f"{at}/{cut.id}", "self"), link(request, f"/tileMatrixSets/{cut.id}", SCHEME)]
    return {"title": title, "dataType": "vector", "crs": cut.crs, "links": links} | ({"tileMatrixSetURI": cut.known} if cut.known else {})


def described(
    request: Request, at: str, title: str, cut: MatrixSet, nouns: Sequence[Resource | Layer], connection: sa.Connection, language: Language,
    asked: str | None = None,
) -> dict[str, Any]:
    """A set of tiles with all that a program needs to draw it."""
    template = f"{at}/{cut.id}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}{query(asked)}"
    told = brief(request, at, title, cut)
    told["links"] += [link(request, template, "item", MVT) | {"templated": True}]
    if cut is WEB_MERCATOR:
        told["links"] += [
            link(request, f"{at}/{cut.id}/tilejson.json{query(asked)}", "describedby"),
            link(request, f"{at}/{cut.id}/style.json{query(asked)}", "style", "application/vnd.mapbox.style+json"),
        ]
    told["layers"] = [layer for noun in nouns for layer in in_it(noun, language, cut)]
    bounds = tiles.extent(connection)
    if bounds:
        told["boundingBox"] = {"lowerLeft": list(bounds[:2]), "upperRight": list(bounds[2:]), "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
        first = max(cut.first, min((first_zoom(noun) for noun in nouns), default=0))
        told["tileMatrixSetLimits"] = [limit(cut, z, bounds) for z in range(first, DEEPEST + 1)]
    return told


def limit(cut: MatrixSet, z: int, bounds: Bounds) -> dict[str, Any]:
    """Which tiles of a zoom can have anything in them."""
    names = ("minTileRow", "maxTileRow", "minTileCol", "maxTileCol")
    return {"tileMatrix": str(z), **dict(zip(names, cut.limits(z, bounds), strict=True))}


def in_it(noun: Resource | Layer, language: Language, cut: MatrixSet) -> list[dict[str, Any]]:
    """The layers of a tile that a noun gives: itself, and its names."""
    dimension = {"POINT": 0, "point": 0, "MULTILINESTRING": 1, "line": 1}.get(str(noun.kind if isinstance(noun, Layer) else noun.geometry), 2)
    first = max(cut.first, first_zoom(noun))
    spread = {"minTileMatrix": str(first), "maxTileMatrix": str(DEEPEST), "dataType": "vector"}
    found = [{"id": called(noun), "title": titled(noun, language), "geometryDimension": dimension, **spread, "propertiesSchema": schema(fields(noun))}]
    if isinstance(noun, Resource) and noun.style.named is not None:
        names = {"id": "String", "label": "String"}
        found.append({"id": f"{noun.name}_labels", "geometryDimension": 0, **spread, "propertiesSchema": schema(names)})
    return found


def schema(told: dict[str, str]) -> dict[str, Any]:
    """The properties of what is in a layer."""
    return {"type": "object", "properties": {name: {"type": "integer" if kind == "Number" else "string"} for name, kind in told.items()}}


def fields(noun: Resource | Layer) -> dict[str, str]:
    """What is told of a thing in a tile, as TileJSON has it."""
    if isinstance(noun, Layer):
        return {"id": "String"}
    by = {noun.style.by: "String"} if noun.style.by else {}
    return {"id": "String"} | by | ({"count": "Number"} if noun.geometry == "POINT" else {})


def tilejson(title: str, template: str, nouns: Sequence[Resource | Layer], connection: sa.Connection, language: Language) -> dict[str, Any]:
    """TileJSON 3.0. Past the closest zoom a program enlarges what it has."""
    found: dict[str, Any] = {
        "tilejson": "3.0.0", "name": title, "tiles": [template], "scheme": "xyz", "minzoom": min((first_zoom(noun) for noun in nouns), default=0),
        "maxzoom": max((tiles.CLOSEST, *(first_zoom(noun) for noun in nouns))), "vector_layers": [],
    }
    for noun in nouns:
        first = first_zoom(noun)
        found["vector_layers"].append({"id": called(noun), "description": titled(noun, language), "minzoom": first, "fields": fields(noun)})
        if isinstance(noun, Resource) and noun.style.named is not None:
            found["vector_layers"].append({"id": f"{noun.name}_labels", "minzoom": first, "fields": {"id": "String", "label": "String"}})
    bounds = tiles.extent(connection)
    if bounds:
        west, south, east, north = bounds
        found |= {"bounds": list(bounds), "center": [(west + east) / 2, (south + north) / 2, max(found["minzoom"], 12)]}
    return found


def called(noun: Resource | Layer) -> str:
    """The name of a noun or of a layer of somebody's own in addresses and tiles."""
    return noun.name if isinstance(noun, Resource) else str(noun.id)


def titled(noun: Resource | Layer, language: Language) -> str:
    """Its title: a noun's in the reader's language, a layer's as whoever sent it named it."""
    return translated(noun.title, language) if isinstance(noun, Resource) else noun.title


def first_zoom(noun: Resource | Layer) -> int:
    """The zoom at which its tiles begin."""
    return noun.style.zooms[0] if isinstance(noun, Resource) else 0


def drawn_as(noun: Resource | Layer, connection: sa.Connection, language: Language) -> Drawing:
    """A noun, or a layer of somebody's own, as the map draws it."""
    if isinstance(noun, Layer):
        return own(str(noun.id), noun.title, noun.kind, noun.color, noun.opacity, address="", version="", scope="", shown=True)
    titles = cards.titles(connection, noun, noun[noun.style.by], language) if noun.style.by else {}
    return drawing(noun, titles)
