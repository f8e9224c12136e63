"""`GET /docs`: the API to read and try, from our own files."""

from fastapi import APIRouter, Depends, Request, Response

from api.deps import LanguageNow, anyone, strict
from api.pages import nonce, page
from maps.links import link

routes = APIRouter(include_in_schema=False)

# Only the nonce and addresses of ours go in.
PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>经纬 API</title>
<link rel="icon" href="{mark}">
<link rel="stylesheet" href="{style}">
</head>
<body>
<main id="docs"><h1>经纬 API</h1><p><a href="/api">OpenAPI (JSON)</a></p></main>
<script nonce="{nonce}" src="{script}"></script>
<script nonce="{nonce}">
SwaggerUIBundle({{url: "/api", dom_id: "#docs", deepLinking: true, validatorUrl: null, docExpansion: "none"}});
</script>
</body>
</html>
"""


@routes.get("/docs", dependencies=[Depends(anyone), strict()])
def docs(request: Request, language: LanguageNow) -> Response:
    """A page made of the OpenAPI document at `/api`."""
    text = PAGE.format(
        language="zh-CN" if language == "zh" else "en",
        nonce=nonce(request),
        mark=link("app/mark.svg"),
        style=link("vendor/swagger/swagger-ui.css"),
        script=link("vendor/swagger/swagger-ui-bundle.js"),
    )
    return page(request, language, text)
