"""The routes every resource has, in the shape of OGC API Features."""

import hashlib
import json
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import models
from api.deps import (
    HEAVILY_BY_LIMIT,
    CallerNow,
    Connection,
    Expected,
    Key,
    LanguageNow,
    Purpose,
    ReadConnection,
    able,
    own_url,
    shown,
    strict,
    wanted,
    witnessed,
    writing,
)
from geo import db, layers, query, secrets, write
from geo.catalog import RESOURCES
from geo.errors import BadQuery, Forbidden, Invalid, NotFound
from geo.keys import FieldKey
from geo.language import translated
from geo.layers import Layer
from geo.query import Filter
from geo.resource import Audience, Resource

GEOJSON = "application/geo+json"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PROBLEM = {"content": {"application/problem+json": {}}, "description": "Problem document (RFC 9457)"}
TILES = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"

IdempotencyKey = Annotated[str | None, Header(max_length=200)]
SHORTEST_NUMBER = 5  # digits: the shortest line that people are called on

catalogue = APIRouter(tags=["collections"])


@catalogue.get("/collections", summary="Every collection", dependencies=[strict()])
def collections(request: Request, who: CallerNow, language: LanguageNow, connection: Connection) -> dict[str, Any]:
    """The collections that the caller may know of, layers of people's own after the nouns."""
    listed = [described(request, r, language) for r in RESOURCES.values() if who.knows(r)]
    listed += [own_described(request, layer) for layer in layers.listed(connection)]
    return {"links": [link(request, "/collections", "self")], "collections": listed}


@catalogue.get("/collections/{name}", summary="One collection", dependencies=[strict()], responses={404: PROBLEM})
def collection(name: str, request: Request, who: CallerNow, language: LanguageNow, connection: Connection) -> dict[str, Any]:
    """What a collection holds, and where."""
    if name not in RESOURCES:
        try:
            id = UUID(name)
        except ValueError as error:
            raise NotFound() from error
        return own_described(request, layers.told(connection, id))
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
        "links": [
            link(request, at, "self"), link(request, f"{at}/items", "items", GEOJSON),
            link(request, f"/templates/{resource.name}.xlsx", "template", XLSX),
            *([link(request, f"{at}/tiles", TILES)] if resource.geometry and not resource.personal else []),
        ],
    }


def own_described(request: Request, layer: Layer) -> dict[str, Any]:
    """A layer of somebody's own as OGC API Features describes a collection. Its titles are the sender's, in one language."""
    at = f"/layers/{layer.id}"
    return {
        "id": str(layer.id), "title": layer.title, "description": layer.about, "itemType": "feature", "crs": [CRS84],
        "links": [link(request, f"/collections/{layer.id}", "self"), link(request, f"{at}/items", "items", GEOJSON), link(request, f"/collections/{layer.id}/tiles", TILES)],
    }


def link(request: Request, path: str, rel: str, kind: str = "application/json") -> dict[str, str]:
    """A link within this server."""
    return {"href": f"{own_url(request)}{path}", "rel": rel, "type": kind}


def router(resource: Resource) -> APIRouter:
    """The routes of one noun."""
    at = f"/collections/{resource.name}"
    items = f"{at}/items"

    async def known(who: CallerNow) -> None:
        shown(resource, who)

    # Before parameters and body are looked at: what is wrong with them tells that the noun is there.
    routes = APIRouter(
        prefix=at, tags=[resource.name], dependencies=[Depends(known)],
        responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 429, 503), PROBLEM),
    )
    New: Any = models.feature(resource)
    Patch: Any = models.feature(resource, partial=True)
    Wanted = Annotated[Filter, Depends(wanted(resource))]

    def listing_told(request: Request, purpose: Purpose, want: Wanted) -> None:
        witnessed(request, "read", resource.name, f"?{want.told}", purpose)

    def reading_told(request: Request, purpose: Purpose, id: UUID) -> None:
        witnessed(request, "read", resource.name, str(id), purpose)

    # Of a person nothing is read before it is written down who asks, and what for. As dependencies of the route they come
    # before its connection, and a noun is covered by being declared.
    listed = [Depends(listing_told)] if resource.personal else []
    looked_at = [Depends(reading_told)] if resource.personal else []

    @routes.get(
        "/items", summary=f"List {resource.name}", description=resource.about, dependencies=[HEAVILY_BY_LIMIT, *listed],
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
        "/items/{id}", summary=f"Read one of {resource.name}", dependencies=[strict(), *looked_at], response_class=Response,
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
        "/items", status_code=201, summary=f"Add to {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={201: {"content": {GEOJSON: {}}}, 413: PROBLEM},
    )
    def add(
        new: New, request: Request, who: CallerNow, key: Key, idempotency_key: IdempotencyKey = None,
    ) -> Response:
        with writing(request, who) as connection:
            try:
                with db.translated():
                    id, replayed = added(connection, resource, new, who, key, items, idempotency_key)
            except Forbidden as error:
                if not resource.owned:
                    raise
                # Whoever may not read it back may tell of it all the same.
                raise Forbidden("这个位置不在您负责的区域内,不能直接登记。请改用 POST /reports 上报,会转给负责那里的人。", report="/reports") from error
            return answered(connection, resource, id, who, 201, replayed)

    @routes.put(
        "/items/{id}", summary=f"Replace one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
    )
    def replace(id: UUID, new: New, connection: Connection, who: CallerNow, key: Key, version: Expected) -> Response:
        write.change(
            connection, resource, id, new.properties.model_dump(), geometry(resource, new), key, version
        )
        return answered(connection, resource, id, who, 200)

    @routes.patch(
        "/items/{id}", summary=f"Change one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
        openapi_extra={"requestBody": {"description": "A merge patch (RFC 7396)."}},
    )
    def patch(id: UUID, new: Patch, connection: Connection, who: CallerNow, key: Key, version: Expected) -> Response:
        values = new.properties.model_dump(exclude_unset=True) if new.properties else {}
        write.change(connection, resource, id, values, geometry(resource, new), key, version)
        return answered(connection, resource, id, who, 200)

    @routes.delete(
        "/items/{id}", status_code=204, summary=f"Retire one of {resource.name}", dependencies=[able("write"), strict()],
        responses={410: PROBLEM, 412: PROBLEM},
    )
    def retire(id: UUID, connection: Connection, who: CallerNow, version: Expected) -> Response:
        write.retire(connection, resource, id, version)
        return Response(status_code=204)

    if any(field.secret for field in resource.all_fields):

        def sought(asked_for: Search, request: Request, purpose: Purpose, who: CallerNow, key: Key) -> Filter:
            want = looked_for(resource, asked_for, who.sees(resource), key)
            witnessed(request, "read", resource.name, f"?{want.told}", purpose)
            return want

        @routes.post(
            "/search", summary=f"Look for {resource.name} by a whole number", dependencies=[strict()], response_class=Response,
            responses={200: {"content": {GEOJSON: {}}}},
        )
        def search(want: Annotated[Filter, Depends(sought)], who: CallerNow, connection: ReadConnection) -> Response:
            """The records whose secret field (a phone) is just this number, shown masked as ever. In a body, because
            addresses end up in logs. It asks for a purpose, and leaves a row in the trail with the names of the fields."""
            page = query.page(connection, resource, want, who.sees(resource))
            body = (
                f'{{"type":"FeatureCollection","numberReturned":{page.count},"next":{json.dumps(page.next and str(page.next))},'
                f'"features":{page.features}}}'
            )
            return Response(body, media_type=GEOJSON, headers={"Cache-Control": "no-store"})

    return routes


class Search(BaseModel):
    """Field → value, all of which must fit. A secret field is found by its whole number only."""

    model_config = ConfigDict(extra="forbid")

    where: Annotated[dict[Annotated[models.Text, Spec(max_length=40)], Annotated[models.Text, Spec(max_length=200)]], Spec(min_length=1, max_length=20)]
    limit: Annotated[int, Spec(ge=1, le=10_000)] = 100
    after: UUID | None = None


def looked_for(resource: Resource, asked_for: Search, audience: Audience, key: FieldKey) -> Filter:
    """The filter of a search. Raises `BadQuery` for what this audience may not see, `Invalid` for a number that is none."""
    secret = {field.name for field in resource.all_fields if field.secret}
    equals, lookups = {}, {}
    for name, value in asked_for.where.items():
        if name in secret:
            field = query.lookable(resource, name, audience)
            if sum(c.isalnum() for c in value) < SHORTEST_NUMBER or (not field.hashed and len(secrets.normalised(value)) < SHORTEST_NUMBER):
                raise Invalid("请写完整的号码。", field=f"where.{name}")
            lookups[name] = key.fingerprints(value) if field.hashed else key.lookups(value)
        else:
            equals[name] = query.parsed(query.filterable(resource, name, audience), value)
    return Filter(None, equals, asked_for.limit, asked_for.after, lookups)


def added(
    connection: Connection, resource: Resource, new: Any, who: CallerNow, key: Key, route: str, idempotency_key: str | None
) -> tuple[UUID, dict[str, str]]:
    """The id of what a request adds, or has added when it was sent before; in that case with the header that says so."""
    id = new.id
    if idempotency_key:
        said = hashlib.sha256(new.model_dump_json().encode()).digest()
        id, replayed = write.remember(connection, who, idempotency_key, route, said, resource, id)
        if replayed:
            return id, {"Idempotency-Replayed": "true"}
    return write.add(connection, resource, new.properties.model_dump(), geometry(resource, new), key, id), {}


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
