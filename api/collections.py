"""The routes every resource has, in the shape of OGC API Features."""

import hashlib
import json
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response

from api import models
from api.deps import CallerNow, Connection, Expected, Key, LanguageNow, able, own_url, shown, strict, wanted
from geo import query, write
from geo.catalog import RESOURCES
from geo.errors import BadQuery, Invalid
from geo.language import translated
from geo.query import Filter
from geo.resource import Audience, Resource

GEOJSON = "application/geo+json"
PROBLEM = {"content": {"application/problem+json": {}}, "description": "Problem document (RFC 9457)"}
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

IdempotencyKey = Annotated[str | None, Header(max_length=200)]

catalogue = APIRouter(tags=["collections"])


@catalogue.get("/collections", summary="Every collection", dependencies=[strict()])
def collections(request: Request, who: CallerNow, language: LanguageNow) -> dict[str, Any]:
    """The collections that the caller may know of."""
    listed = [described(request, r, language) for r in RESOURCES.values() if who.knows(r)]
    return {"links": [link(request, "/collections", "self")], "collections": listed}


@catalogue.get("/collections/{name}", summary="One collection", dependencies=[strict()], responses={404: PROBLEM})
def collection(name: str, request: Request, who: CallerNow, language: LanguageNow) -> dict[str, Any]:
    """What a collection holds, and where."""
    if name not in RESOURCES:
        from geo.errors import NotFound

        raise NotFound()
    shown(RESOURCES[name], who)
    return described(request, RESOURCES[name], language)


def described(request: Request, resource: Resource, language: str) -> dict[str, Any]:
    """A collection as OGC API Features describes it."""
    at = f"/collections/{resource.name}"
    return {
        "id": resource.name,
        "title": translated(resource.title, language),
        "description": translated(resource.about, language),
        "itemType": "feature",
        "crs": [CRS84],
        "links": [link(request, at, "self"), link(request, f"{at}/items", "items", GEOJSON)],
    }


def link(request: Request, path: str, rel: str, kind: str = "application/json") -> dict[str, str]:
    """A link within this server."""
    return {"href": f"{own_url(request)}{path}", "rel": rel, "type": kind}


def router(resource: Resource) -> APIRouter:
    """The routes of one noun."""
    items = f"/collections/{resource.name}/items"

    def known(who: CallerNow) -> None:
        shown(resource, who)

    # Before parameters and body are looked at: what is wrong with them tells that the noun is there.
    routes = APIRouter(
        prefix=items, tags=[resource.name], dependencies=[Depends(known)],
        responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 503), PROBLEM),
    )
    New: Any = models.feature(resource)
    Patch: Any = models.feature(resource, partial=True)
    Wanted = Annotated[Filter, Depends(wanted(resource))]

    @routes.get(
        "", summary=f"List {resource.name}", description=resource.about,
        openapi_extra={"parameters": _parameters(resource)}, response_class=Response, responses={200: {"content": {GEOJSON: {}}}},
    )
    def find(request: Request, connection: Connection, want: Wanted, who: CallerNow) -> Response:
        page = query.page(connection, resource, want, who.sees(resource))
        links = [link(request, f"{items}?{request.url.query}".rstrip("?"), "self", GEOJSON)]
        if page.next:
            asked = [(k, v) for k, v in request.query_params.multi_items() if k != "after"] + [("after", str(page.next))]
            links.append(link(request, f"{items}?{urlencode(asked)}", "next", GEOJSON))
        body = (
            f'{{"type":"FeatureCollection","numberReturned":{page.count},"links":{json.dumps(links)},"features":{page.features}}}'
        )
        return Response(body, media_type=GEOJSON)

    @routes.get(
        "/{id}", summary=f"Read one of {resource.name}", dependencies=[strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 304: {"description": "Not modified"}, 410: PROBLEM},
    )
    def read(
        id: UUID, connection: Connection, who: CallerNow, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        text, version = query.one(connection, resource, id, who)
        if if_none_match in ("*", etag(version)):
            return Response(status_code=304, headers={"ETag": etag(version)})
        return Response(text, media_type=GEOJSON, headers={"ETag": etag(version)})

    @routes.post(
        "", status_code=201, summary=f"Add to {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={201: {"content": {GEOJSON: {}}}, 413: PROBLEM},
    )
    def add(
        new: New, request: Request, connection: Connection, who: CallerNow, key: Key,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        id, replayed = added(connection, resource, new, who, key, items, idempotency_key)
        return answered(connection, resource, id, who, 201, replayed)

    @routes.put(
        "/{id}", summary=f"Replace one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
    )
    def replace(id: UUID, new: New, connection: Connection, who: CallerNow, key: Key, version: Expected) -> Response:
        write.change(
            connection, resource, id, new.properties.model_dump(), geometry(resource, new), key, version
        )
        return answered(connection, resource, id, who, 200)

    @routes.patch(
        "/{id}", summary=f"Change one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
        openapi_extra={"requestBody": {"description": "A merge patch (RFC 7396)."}},
    )
    def patch(id: UUID, new: Patch, connection: Connection, who: CallerNow, key: Key, version: Expected) -> Response:
        values = new.properties.model_dump(exclude_unset=True) if new.properties else {}
        write.change(connection, resource, id, values, geometry(resource, new), key, version)
        return answered(connection, resource, id, who, 200)

    @routes.delete(
        "/{id}", status_code=204, summary=f"Retire one of {resource.name}", dependencies=[able("write"), strict()],
        responses={410: PROBLEM, 412: PROBLEM},
    )
    def retire(id: UUID, connection: Connection, who: CallerNow, version: Expected) -> Response:
        write.retire(connection, resource, id, version)
        return Response(status_code=204)

    return routes


def added(
    connection: Connection, resource: Resource, new: Any, who: CallerNow, key: Key, route: str, idempotency_key: str | None
) -> tuple[UUID, dict[str, str]]:
    """The id of what a request adds, or has added when it was sent before; in that case with the header that says so."""
    said = hashlib.sha256(new.model_dump_json().encode()).digest()
    if idempotency_key and (known := write.remembered(connection, who, idempotency_key, route, said)):
        return known, {"Idempotency-Replayed": "true"}
    id = write.add(connection, resource, new.properties.model_dump(), geometry(resource, new), key, new.id)
    if idempotency_key:
        write.remember(connection, who, idempotency_key, route, said, resource, id)
    return id, {}


def answered(
    connection: Connection, resource: Resource, id: UUID, who: CallerNow, status: int, headers: dict[str, str] | None = None
) -> Response:
    """A feature as it now stands, with its version and its address."""
    text, version = query.one(connection, resource, id, who)
    said = {"ETag": etag(version), "Location": f"/collections/{resource.name}/items/{id}"} if status == 201 else {"ETag": etag(version)}
    return Response(text, status, {**said, **(headers or {})}, GEOJSON)


def etag(version: int) -> str:
    """The entity tag of a row's version."""
    return f'"v{version}"'


def geometry(resource: Resource, feature: Any) -> bytes | None:
    """The geometry a request gave, as WKB; `Invalid` says what is wrong with it and where."""
    drawn = getattr(feature, "geometry", None)
    if drawn is None:
        return None
    try:
        return models.wkb(resource, drawn)
    except Invalid as error:
        error.facts |= {"field": "geometry", "rule": f"{resource.name}_geom_check"}
        raise


def _parameters(resource: Resource) -> list[dict[str, Any]]:
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    found = []
    for field in resource.seen_by(Audience.PUBLIC):
        try:
            query.filterable(resource, field.name, Audience.PUBLIC)
        except BadQuery:
            continue
        schema: dict[str, Any] = {"type": names.get(field.type, "string")}
        if field.choices:
            schema["enum"] = list(field.codes)
        found.append({"name": field.name, "in": "query", "required": False, "description": field.title, "schema": schema})
    return found
