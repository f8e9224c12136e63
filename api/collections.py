"""The routes every resource has, in the shape of OGC API Features."""

import hashlib
import json
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Spec

from api import feature_pages, models, sending
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
    link,
    numbered,
    shown,
    strict,
    witnessed,
    writing,
)
from api.listing import reference, token, wanted
from api.pages import wants_html
from geo import asking, db, layers, query, secrets, write
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import BadQuery, Forbidden, Invalid
from geo.exporting import UNDRAWN, Order
from geo.keys import FieldKey
from geo.language import translated
from geo.layers import Layer
from geo.query import Filter
from geo.references import CRS84, REFERENCES, Reference
from geo.resource import Audience, Resource

GEOJSON = "application/geo+json"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PROBLEM = {"content": {"application/problem+json": {}}, "description": "Problem document (RFC 9457)"}
TILES = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"
REL = "http://www.opengis.net/def/rel/ogc/1.0/{}"
HTML, SCHEMA = "text/html", "application/schema+json"

Format = Annotated[
    Literal["json", "html", *sending.KINDS] | None,  # type: ignore[valid-type]
    Query(description="GeoJSON or a page for people, whatever `Accept` says; or a file: all that is asked for, at most 200,000"),
]
Shown = Annotated[Literal["json", "html"] | None, Query(description="a page for people, or JSON whatever `Accept` says")]

Prefer = Annotated[str | None, Header(max_length=200, description="`return=minimal`: without the feature in the answer (RFC 7240)")]
IdempotencyKey = Annotated[str | None, Header(max_length=200)]
SHORTEST_NUMBER = 5  # digits: the shortest line that people are called on

catalogue = APIRouter(tags=["collections"])


@catalogue.get(
    "/collections", summary="Every collection", dependencies=[strict("f")], responses={200: {"content": {HTML: {}}}, 400: PROBLEM, 503: PROBLEM},
)
def collections(request: Request, who: CallerNow, language: LanguageNow, connection: Connection, f: Shown = None) -> Any:
    """The collections that the caller may know of, layers of people's own after the nouns. To a browser a page."""
    nouns = [r for r in RESOURCES.values() if who.knows(r)]
    if wants_html(request, f):
        # What is about persons is read one by one and for a purpose, not by following links.
        return feature_pages.catalogue(request, language, [described(request, r, language) for r in nouns if not r.personal])
    listed = [described(request, r, language) for r in nouns]
    listed += [own_described(request, layer) for layer in layers.listed(connection)]
    links = [link(request, "/collections", "self"), link(request, "/collections?f=html", "alternate", HTML)]
    return {"links": links, "crs": list(REFERENCES), "collections": listed}


@catalogue.get("/collections/{name}", summary="One collection", dependencies=[strict("f")], responses={404: PROBLEM, 503: PROBLEM})
def collection(
    name: str, request: Request, who: CallerNow, language: LanguageNow, connection: Connection,
    f: Annotated[Literal["json"] | None, Query()] = None,
) -> dict[str, Any]:
    """What a collection holds, and where."""
    if name not in RESOURCES:
        return own_described(request, layers.told(connection, numbered(name)))
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
        "crs": ["#/crs"],
        "storageCrs": CRS84.uri,
        "links": [
            link(request, at, "self"), link(request, f"{at}/items", "items", GEOJSON), link(request, f"{at}/items?f=html", "items", HTML),
            link(request, f"{at}/schema", REL.format("schema"), SCHEMA), link(request, f"{at}/queryables", REL.format("queryables"), SCHEMA),
            link(request, f"{at}/sortables", REL.format("sortables"), SCHEMA),
            link(request, f"/templates/{resource.name}.xlsx", "template", XLSX),
            *([link(request, f"{at}/tiles", TILES)] if resource.geometry and not resource.personal else []),
        ],
    }


def own_described(request: Request, layer: Layer) -> dict[str, Any]:
    """A layer of somebody's own as OGC API Features describes a collection. Its titles are the sender's, in one language."""
    at = f"/collections/{layer.id}"
    return {
        "id": str(layer.id), "title": layer.title, "description": layer.about, "itemType": "feature", "crs": [CRS84.uri], "storageCrs": CRS84.uri,
        "links": [link(request, at, "self"), link(request, f"{at}/items", "items", GEOJSON), link(request, f"{at}/schema", REL.format("schema"), SCHEMA), link(request, f"{at}/tiles", TILES)],
    }


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
    In = Annotated[Reference, Depends(reference)]

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
        openapi_extra={"parameters": _parameters(resource)}, response_class=Response,
        responses={200: {"content": {kind: {} for kind in (GEOJSON, HTML, *offered(resource).values())}}, 413: PROBLEM},
    )
    def find(
        request: Request, connection: Connection, want: Wanted, who: CallerNow, written_in: In, language: LanguageNow, f: Format = None
    ) -> Response:
        if kind := filed(request, f):
            return sending.taken(connection, who, order(request, resource, want, who, kind, written_in))
        with asking.patient(connection) if want.costly else nullcontext():
            page = query.page(connection, resource, want, who.sees(resource), written_in)
        links = [
            link(request, f"{items}?{request.url.query}".rstrip("?"), "self", GEOJSON), link(request, at, "collection"),
            *beside(request, items, page),
            *[link(request, f"{items}?{urlencode([*asked(request), ('f', kind)])}", "alternate", media) for kind, media in offered(resource).items()],
        ]
        if wants_html(request, f):
            return feature_pages.shown(request, language, resource, resource.seen_by(who.sees(resource)), page.features, links)
        matched = f'"numberMatched":{page.count},' if page.whole else ""
        body = (
            f'{{"type":"FeatureCollection","timeStamp":"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",{matched}"numberReturned":{page.count},'
            f'"links":{json.dumps(links)},"features":{page.features}}}'
        )
        return Response(body, media_type=GEOJSON, headers={"Content-Crs": f"<{written_in.uri}>"})

    @routes.get(
        "/items/{id}", summary=f"Read one of {resource.name}", dependencies=[strict("crs", "f"), *looked_at], response_class=Response,
        responses={200: {"content": {GEOJSON: {}, HTML: {}}}, 304: {"description": "Not modified"}, 410: PROBLEM},
    )
    def read(
        id: UUID, request: Request, connection: Connection, who: CallerNow, written_in: In, language: LanguageNow,
        if_none_match: Annotated[str | None, Header()] = None,
        crs: Annotated[str | None, Query(max_length=200, description="of the answer: one of those that the collection tells")] = None,
        f: Shown = None,
    ) -> Response:
        text, version = query.one(connection, resource, id, who, written_in)
        if wants_html(request, f):
            return feature_pages.shown(request, language, resource, resource.seen_by(who.sees(resource)), f"[{text}]", [], one=True)
        # The same version has other numbers in another system.
        tag = etag(version) if written_in is CRS84 else f'"v{version}-{written_in.uri.rsplit("/", 1)[1]}"'
        if if_none_match in ("*", tag):
            return Response(status_code=304, headers={"ETag": tag})
        return Response(text, media_type=GEOJSON, headers={"ETag": tag, "Content-Crs": f"<{written_in.uri}>"})

    @routes.post(
        "/items", status_code=201, summary=f"Add to {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={201: {"content": {GEOJSON: {}}}, 413: PROBLEM},
    )
    def add(
        new: New, request: Request, who: CallerNow, key: Key, idempotency_key: IdempotencyKey = None, prefer: Prefer = None,
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
            return answered(connection, resource, id, who, 201, prefer, replayed)

    @routes.put(
        "/items/{id}", summary=f"Replace one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
    )
    def replace(id: UUID, new: New, connection: Connection, who: CallerNow, key: Key, version: Expected, prefer: Prefer = None) -> Response:
        write.change(
            connection, resource, id, new.properties.model_dump(), geometry(resource, new), key, version
        )
        return answered(connection, resource, id, who, 200, prefer)

    @routes.patch(
        "/items/{id}", summary=f"Change one of {resource.name}", dependencies=[able("write"), strict()], response_class=Response,
        responses={200: {"content": {GEOJSON: {}}}, 410: PROBLEM, 412: PROBLEM},
        openapi_extra={"requestBody": {"description": "A merge patch (RFC 7396)."}},
    )
    def patch(id: UUID, new: Patch, connection: Connection, who: CallerNow, key: Key, version: Expected, prefer: Prefer = None) -> Response:
        values = new.properties.model_dump(exclude_unset=True) if new.properties else {}
        write.change(connection, resource, id, values, geometry(resource, new), key, version)
        return answered(connection, resource, id, who, 200, prefer)

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
                f'{{"type":"FeatureCollection","numberReturned":{page.count},"next":{json.dumps(page.next and token(page.next))},'
                f'"features":{page.features}}}'
            )
            return Response(body, media_type=GEOJSON, headers={"Cache-Control": "no-store"})

    return routes


def asked(request: Request) -> list[tuple[str, str]]:
    """What a list was asked, but where it begins and how it is written."""
    return [(name, value) for name, value in request.query_params.multi_items() if name not in ("after", "before", "f")]


def offered(resource: Resource) -> dict[str, str]:
    """The formats in which a list may be taken along, with their media types. What is about persons leaves by `/exports` alone."""
    if resource.personal:
        return {}
    return {kind: media for kind, media in sending.KINDS.items() if kind != "geojson" and (resource.geometry or kind in UNDRAWN)}


def filed(request: Request, f: str | None) -> str | None:
    """The format of a file that is asked for, by `f` or by what `Accept` names first; None for a page of GeoJSON or HTML."""
    if f is not None:
        return f if f in sending.KINDS and f != "geojson" else None
    first = request.headers.get("accept", "").split(",")[0].split(";")[0].strip()
    return next((kind for kind, media in sending.KINDS.items() if media.split(";")[0] == first and kind not in ("geojson", "shp")), None)


def order(request: Request, resource: Resource, want: Filter, who: Caller, kind: str, written_in: Reference) -> Order:
    """The file of a list: all of it, unless `limit` says how many. Raises `BadQuery` for what a file cannot be asked."""
    if kind not in offered(resource):
        raise BadQuery(parameter="f", choices=list(offered(resource)))
    for name in ("sortby", "after", "before"):
        if name in request.query_params:
            raise BadQuery("文件是整份的,不能分页或排序。", parameter=name)
    zone = None if written_in.degrees and not written_in.north_first else written_in.uri.rsplit("/", 1)[1]
    first = want.limit if "limit" in request.query_params else None
    try:
        return Order(resource, kind, who.sees(resource), want=want, crs=f"EPSG:{zone}" if zone else None, first=first)
    except Invalid as error:
        raise BadQuery(error.sentence, **error.facts | {"parameter": "crs"}) from error


def beside(request: Request, items: str, page: query.Page) -> list[dict[str, str]]:
    """The links to the pages after and before this one."""
    asked = [(k, v) for k, v in request.query_params.multi_items() if k not in ("after", "before")]
    ways = (("next", "after", page.next), ("prev", "before", page.prev))
    return [link(request, f"{items}?{urlencode([*asked, (name, token(place))])}", rel, GEOJSON) for rel, name, place in ways if place]


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
    return Filter(None, equals, asked_for.limit, lookups, place=(asked_for.after,) if asked_for.after else None)


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
    connection: Connection, resource: Resource, id: UUID, who: CallerNow, status: int, prefer: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A feature as it now stands, with its version and its address; without itself for who prefers that (RFC 7240)."""
    text, version = query.one(connection, resource, id, who)
    said = {"ETag": etag(version)} | ({"Location": f"/collections/{resource.name}/items/{id}"} if status == 201 else {}) | (headers or {})
    if prefer and "return=minimal" in prefer.replace(" ", "").lower().split(","):
        return Response(None, 201 if status == 201 else 204, said | {"Preference-Applied": "return=minimal"})
    return Response(text, status, said, GEOJSON)


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
    for field in query.filterables(resource, Audience.PUBLIC):
        schema: dict[str, Any] = {"type": names.get(field.type, "string")}
        if field.choices:
            schema["enum"] = list(field.codes)
        found.append({"name": field.name, "in": "query", "required": False, "description": field.title, "schema": schema})
    return found
