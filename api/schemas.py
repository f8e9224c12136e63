"""What a collection holds, by what it can be filtered and sorted: OGC API – Features, Parts 3 and 5, from the declaration."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.collections import PROBLEM
from api.deps import CallerNow, Connection, LanguageNow, numbered, own_url, shown, strict
from geo import layers, query
from geo.catalog import RESOURCES
from geo.errors import NotFound
from geo.language import translated
from geo.layers import Layer
from geo.resource import Audience, Field, Resource
from geo.tables import CODES

SCHEMA = "application/schema+json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES: dict[type, dict[str, str]] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"}, date: {"type": "string", "format": "date"}, UUID: {"type": "string", "format": "uuid"},
}
SHAPES = {"POINT": "geometry-point", "MULTILINESTRING": "geometry-multilinestring", "MULTIPOLYGON": "geometry-multipolygon"}
OWN_SHAPES = {"point": "geometry-point-or-multipoint", "line": "geometry-linestring-or-multilinestring", "polygon": "geometry-polygon-or-multipolygon"}
OWN_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean"}
ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {SCHEMA: {}}}, 404: PROBLEM}

routes = APIRouter(tags=["collections"], default_response_class=JSONResponse)


@routes.get("/collections/{name}/schema", summary="What a collection holds", dependencies=[strict()], responses=ANSWER)
def schema(name: str, request: Request, who: CallerNow, language: LanguageNow, connection: Connection) -> JSONResponse:
    """Every property that the caller is told: its type, unit, code list, and what part it plays."""
    if name not in RESOURCES:
        return told(request, own(layers.told(connection, numbered(name))), f"/collections/{name}/schema")
    resource = noun(name, who)
    audience = who.sees(resource)
    fields = [f for f in resource.seen_by(audience) if f.name in query.names(resource, audience)]
    lists = listed(connection, fields, language)
    roles = parts(resource, audience)
    properties: dict[str, Any] = {"id": {"type": "string", "format": "uuid", "x-ogc-role": "id", "readOnly": True, "x-ogc-propertySeq": 0}}
    if resource.geometry:
        properties["geom"] = shape(resource)
    for n, field in enumerate(fields, 1):
        role = {"x-ogc-role": roles[field.name]} if field.name in roles else {}
        properties[field.name] = of_field(field, audience, lists, language) | role | {"x-ogc-propertySeq": n}
    spine = {
        "version": {"title": translated("版本", language), "type": "integer", "minimum": 1, "readOnly": True},
        "scope": {"title": translated("所在区域", language), "type": "string", "readOnly": True},
        "extras": {"title": translated("其他列", language), "type": "object", "readOnly": True},
    }
    properties |= {key: about for key, about in spine.items() if key in query.names(resource, audience)}
    required = [f.name for f in fields if f.required]
    return told(request, described(resource, language, properties) | ({"required": required} if required else {}), f"/collections/{name}/schema")


@routes.get("/collections/{name}/queryables", summary="By what it can be filtered", dependencies=[strict()], responses=ANSWER)
def queryables(name: str, request: Request, who: CallerNow, language: LanguageNow, connection: Connection) -> JSONResponse:
    """What may stand in `filter`, and as a parameter of its own: only what the caller may see."""
    resource = noun(name, who)
    audience = who.sees(resource)
    fields = query.filterables(resource, audience)
    lists = listed(connection, fields, language)
    properties = {"id": TYPES[UUID] | {"x-ogc-role": "id"}} | ({"geom": shape(resource)} if resource.geometry else {})
    properties |= {f.name: of_field(f, audience, lists, language) for f in fields}
    return told(request, described(resource, language, properties) | {"additionalProperties": False}, f"/collections/{name}/queryables")


@routes.get("/collections/{name}/sortables", summary="By what it can be sorted", dependencies=[strict()], responses=ANSWER)
def sortables(name: str, request: Request, who: CallerNow, language: LanguageNow) -> JSONResponse:
    """What may stand in `sortby`."""
    resource = noun(name, who)
    fields = {f.name: {"title": translated(f.title, language)} | TYPES[f.type] for f in query.filterables(resource, who.sees(resource))}
    return told(request, described(resource, language, fields) | {"additionalProperties": False}, f"/collections/{name}/sortables")


def noun(name: str, who: CallerNow) -> Resource:
    """The noun of a collection that the caller may know of."""
    if name not in RESOURCES:
        raise NotFound()
    shown(RESOURCES[name], who)
    return RESOURCES[name]


def told(request: Request, schema: dict[str, Any], path: str) -> JSONResponse:
    """A schema at its address."""
    return JSONResponse({"$schema": DRAFT, "$id": f"{own_url(request)}{path}"} | schema, media_type=SCHEMA)


def described(resource: Resource, language: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of a noun around its properties."""
    return {"type": "object", "title": translated(resource.title, language), "description": translated(resource.about, language), "properties": properties}


def shape(resource: Resource) -> dict[str, Any]:
    """The geometry, as Part 5 names it."""
    return {"format": SHAPES[str(resource.geometry)], "x-ogc-role": "primary-geometry"}


def parts(resource: Resource, audience: Audience) -> dict[str, str]:
    """What part some fields play: the times, and what the map tells kinds apart by."""
    begun, ended = query.lasting(resource, audience)
    found = {resource.style.by: "type"} if resource.style.by else {}
    if begun is not None and ended is not None:
        found |= {begun.name: "primary-interval-start", ended.name: "primary-interval-end"}
    elif begun is not None:
        found[begun.name] = "primary-instant"
    return found


def of_field(field: Field, audience: Audience, lists: dict[str, list[dict[str, str]]], language: str) -> dict[str, Any]:
    """One property."""
    about: dict[str, Any] = {"title": translated(field.title, language)} | TYPES[field.type]
    if field.type is str and not field.choices and not field.listed:
        about["maxLength"] = field.longest
    if field.pattern and not field.masked_to(audience):
        about["pattern"] = f"^{field.pattern}$"
    about |= {name: bound for name, bound in (("minimum", field.minimum), ("maximum", field.maximum)) if bound is not None}
    if field.unit:
        about["x-ogc-unit"] = field.unit
    if field.choices:
        about["oneOf"] = [{"const": one.code, "title": translated(one.title, language)} for one in field.choices]
    elif field.listed:
        about["oneOf"] = lists[field.listed]
    if not field.writable or not field.stored or field.moved:
        about["readOnly"] = True
    return about


def listed(connection: sa.Connection, fields: list[Field], language: str) -> dict[str, list[dict[str, str]]]:
    """The code lists of some fields: a town edits them, so they are asked for."""
    found = {}
    for name in {f.listed for f in fields if f.listed}:
        t = CODES[name].c
        title = t.title_en if language == "en" else t.title
        rows = connection.execute(sa.select(t.code, title).where(t.retired_at.is_(None)).order_by(t.code))
        found[name] = [{"const": code, "title": called} for code, called in rows]
    return found


def own(layer: Layer) -> dict[str, Any]:
    """The schema of a layer of somebody's own: its columns."""
    columns = {c["name"]: {"type": OWN_TYPES.get(c["type"], "string"), "x-ogc-propertySeq": n} for n, c in enumerate(layer.columns, 1)}
    return {"type": "object", "title": layer.title, "description": layer.about, "properties": {
        "id": TYPES[UUID] | {"x-ogc-role": "id", "readOnly": True},
        "geom": {"format": OWN_SHAPES[layer.kind], "x-ogc-role": "primary-geometry"}} | columns}
