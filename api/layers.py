"""`/layers`: layers of people's own, listed, read and drawn as the nouns are. A file becomes one by `POST /uploads`."""

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api import models
from api.collections import GEOJSON, PROBLEM, etag
from api.deps import HEAVILY_BY_LIMIT, Connection, Expected, able, box, link, own_url, strict
from api.tiles import ANSWERS, Drawn, Scope, Turn, Version, answered, kept, made, opened
from geo import layers, tiles
from geo.layers import Layer, Seer
from geo.matrices import WEB_MERCATOR

routes = APIRouter(tags=["layers"], responses=dict.fromkeys((400, 401, 403, 404, 412, 422, 503), PROBLEM))


class Look(BaseModel):
    """What of a layer may be changed. What is not given stays."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[models.Text, Field(min_length=1, max_length=80)] | None = None
    about: Annotated[models.Text, Field(max_length=2000)] | None = None
    audience: Seer | None = None
    color: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    opacity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


@routes.get("/layers", summary="Layers of people's own", dependencies=[strict()])
def listed(request: Request, connection: Connection) -> dict[str, Any]:
    """Those that the caller is shown: for everybody; for workers or leaders of the area for which it was made, of its parts and
    of what it lies in."""
    return {"links": [link(request, "/layers", "self")], "layers": [told_of(request, layer) for layer in layers.listed(connection)]}


@routes.get("/layers/{id}", summary="One of them", dependencies=[strict()])
def one(id: UUID, request: Request, connection: Connection) -> Response:
    """Title, style, audience, and its columns with their types."""
    layer = layers.told(connection, id)
    return JSONResponse(told_of(request, layer), headers={"ETag": etag(layer.version)})


@routes.patch("/layers/{id}", summary="Change its title, style or audience", dependencies=[able("load"), strict()])
def change(id: UUID, look: Look, request: Request, connection: Connection, version: Expected) -> Response:
    """By whoever loads files for its area."""
    layers.changed(connection, id, {name: value for name, value in look.model_dump(exclude_unset=True).items() if value is not None}, version)
    # Who keeps the system sees no more of the town than anybody: of some layers not even what was changed.
    seen = next((layer for layer in layers.listed(connection) if layer.id == id), None)
    if seen is None:
        return Response(status_code=204)
    return JSONResponse(told_of(request, seen), headers={"ETag": etag(seen.version)})


@routes.delete("/layers/{id}", summary="End it", status_code=204, dependencies=[able("load"), strict()])
def retire(id: UUID, connection: Connection, version: Expected) -> Response:
    """It leaves map and lists; what is on it stays with it."""
    layers.changed(connection, id, {"retired": True}, version)
    return Response(status_code=204)


# As a collection it has the address that the standard gives to items.
@routes.get(
    "/collections/{id}/items", summary="What is on a layer of somebody's own", dependencies=[HEAVILY_BY_LIMIT, strict("bbox", "limit", "after")],
    response_class=Response, responses={200: {"content": {GEOJSON: {}, "text/csv": {}}}}, operation_id="items_of_a_layer",
)
@routes.get(
    "/layers/{id}/items", summary="What is on it", dependencies=[HEAVILY_BY_LIMIT, strict("bbox", "limit", "after")], response_class=Response,
    responses={200: {"content": {GEOJSON: {}, "text/csv": {}}}},
)
def items(
    id: UUID, request: Request, connection: Connection, bbox: Annotated[str | None, Query(description="west,south,east,north")] = None,
    limit: Annotated[int, Query(ge=1, description="at most 10,000; more is taken as 10,000")] = 100,
    after: Annotated[UUID | None, Query(description="the id after which the page begins")] = None,
    f: Literal["json", "csv"] = "json",
) -> Response:
    """In the order of its file, page by page. The next page is in `links`, and of CSV in the header `Link`."""
    layer = layers.told(connection, id)
    page = layers.page(connection, layer, box(bbox), after, min(limit, 10_000))
    at = request.url.path
    asked = [(k, v) for k, v in request.query_params.multi_items() if k != "after"]
    following = f"{at}?{urlencode([*asked, ('after', str(page.next))])}" if page.next else None
    if f == "csv":
        headers = {"Link": f'<{own_url(request)}{following}>; rel="next"'} if following else {}
        return Response("\ufeff" + layers.sheet(layer, page.features), headers=headers, media_type="text/csv; charset=utf-8")
    links = [link(request, f"{at}?{request.url.query}".rstrip("?"), "self", GEOJSON)]
    links += [link(request, following, "next", GEOJSON)] if following else []
    features = ",".join(feature.text for feature in page.features)
    body = f'{{"type":"FeatureCollection","numberReturned":{len(page.features)},"links":{json.dumps(links)},"features":[{features}]}}'
    return Response(body, media_type=GEOJSON)


@routes.get(
    "/collections/{id}/items/{feature}", summary="One thing on a layer of somebody's own", dependencies=[strict()], response_class=Response,
    responses={200: {"content": {GEOJSON: {}}}}, operation_id="item_of_a_layer",
)
@routes.get(
    "/layers/{id}/items/{feature}", summary="One thing on it", dependencies=[strict()], response_class=Response,
    responses={200: {"content": {GEOJSON: {}}}},
)
def item(id: UUID, feature: UUID, connection: Connection) -> Response:
    """As GeoJSON."""
    return Response(layers.one(connection, layers.told(connection, id), feature).text, media_type=GEOJSON)


@routes.get(
    "/layers/{id}/tiles/{z}/{x}/{y}.mvt", summary="A tile of it", dependencies=[strict("v", "s")], response_class=Response, responses=ANSWERS,
)
def own_tile(
    id: UUID, z: int, x: int, y: int, request: Request, who: Drawn, _: Turn, v: Version = None, s: Scope = "",
) -> Response:
    """With the version of the layer as `v` it may be kept for ever: by any cache where it is everybody's and nobody in
    particular asks, else by the browser."""
    with opened(request, who) as connection:
        layer = layers.told(connection, id)
        tile = made(request, connection, [str(id)], WEB_MERCATOR, z, x, y, who)
    return answered(request, tile, kept(who, v == layer.version, tiles.fingerprint(who) if layer.audience == "public" else s))


def told_of(request: Request, layer: Layer) -> dict[str, Any]:
    """A layer as a program reads it."""
    at = f"/layers/{layer.id}"
    return {
        "id": str(layer.id), "title": layer.title, "about": layer.about, "kind": layer.kind, "audience": layer.audience, "color": layer.color,
        "opacity": layer.opacity, "columns": layer.columns, "rows": layer.rows, "scope": layer.scope, "at": layer.at.isoformat(),
        "version": layer.version, "links": [link(request, at, "self"), link(request, f"{at}/items", "items", GEOJSON)],
    }
