"""`GET /templates`: an empty table for every noun, to be filled in and sent back. Nothing of the data is in it."""

from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.collections import PROBLEM
from api.deps import CallerNow, Connection, LanguageNow, link, strict
from api.pages import page, reader, wants_html
from api.sending import KINDS, PRIVATE
from geo import exporting, templates
from geo.catalog import RESOURCES
from geo.errors import NotFound
from geo.language import translated
from maps import pages

routes = APIRouter(tags=["templates"], responses=dict.fromkeys((400, 401, 404, 503), PROBLEM))


@routes.get("/templates", summary="Tables to fill in", dependencies=[strict()], responses={200: {"content": {"text/html": {}}}, 400: PROBLEM})
def listed(request: Request, who: CallerNow, language: LanguageNow, f: Literal["html", "json"] | None = None) -> Any:
    """One for every noun that the caller may know of."""
    known = [resource for resource in RESOURCES.values() if who.knows(resource)]
    if wants_html(request, f):
        nouns = [(resource.title, resource.about, f"/templates/{resource.name}.xlsx") for resource in known]
        return page(request, language, pages.templates(reader(request, language), nouns))
    return JSONResponse({"templates": [
        {"noun": resource.name, "title": translated(resource.title, language)}
        | link(request, f"/templates/{resource.name}.xlsx", "template", KINDS["xlsx"])
        for resource in known
    ]}, headers=PRIVATE)


@routes.get(
    "/templates/{name}.xlsx", summary="The table of one noun", dependencies=[strict()], response_class=Response,
    responses={200: {"content": {KINDS["xlsx"]: {}}}},
)
def one(name: str, connection: Connection, who: CallerNow, language: LanguageNow) -> Response:
    """Headings, drop-downs, an example that is left out when it is sent back, and a sheet that says what each column means."""
    resource = RESOURCES.get(name)
    if resource is None or not who.knows(resource):
        raise NotFound()
    lists = {field.listed: exporting.listed(connection, field.listed) for field in resource.writable if field.listed}
    book = templates.template(resource, lists, who.sees(resource), partial(translated, language=language))
    headers = PRIVATE | {"Content-Disposition": f'attachment; filename="{name}-template.xlsx"'}
    return Response(book, headers=headers, media_type=KINDS["xlsx"])
