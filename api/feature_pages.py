"""Collections and their features as pages: what a browser is shown at the addresses where a program reads GeoJSON."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from api.pages import page, reader
from geo.language import Language, translated
from geo.resource import Field, Resource
from maps import pages


def catalogue(request: Request, language: Language, listed: list[dict[str, Any]]) -> Response:
    """The list of collections."""
    return page(request, language, pages.collections(reader(request, language), listed))


def shown(
    request: Request, language: Language, resource: Resource, fields: tuple[Field, ...], features: str, links: list[dict[str, str]], one: bool = False
) -> Response:
    """Features, as the JSON that PostGIS wrote of them, in a table; `one` alone as a list."""
    found = json.loads(features)
    # What a thing is called comes first: it is what leads on. Numbers that only programs follow are left to them.
    ordered = sorted((field for field in fields if field.type is not UUID), key=lambda field: field.name != resource.label)
    columns = [(field.name, translated(field.title, language)) for field in ordered if one or any(f["properties"].get(field.name) is not None for f in found)]
    titles = {field.name: {choice.code: translated(choice.title, language) for choice in field.choices} for field in fields}
    rows = [
        {"id": f["id"], "cells": {name: titles[name].get(f["properties"].get(name), f["properties"].get(name)) for name, _ in columns}}
        for f in found
    ]
    beside = {link["rel"]: link["href"] for link in links if link["rel"] in ("next", "prev")}
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "f"]
    return page(request, language, pages.features(reader(request, language), {
        "id": resource.name, "title": translated(resource.title, language), "about": translated(resource.about, language), "columns": columns,
        "rows": rows, "one": one, "next": beside.get("next"), "prev": beside.get("prev"), "asked": asked,
        "json": f"{request.url.path}?{urlencode([*asked, ('f', 'json')])}",
    }))
