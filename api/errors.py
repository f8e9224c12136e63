"""Domain errors as problem documents (RFC 9457). One table, one handler."""

import json
import logging
from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api import deps, pages, ways
from api.guard import dressed
from geo import errors
from geo.door import Presence
from geo.errors import GeoError
from geo.language import preferred, translated

log = logging.getLogger("jingwei")

STATUS: dict[type[GeoError], int] = {
    GeoError: 500,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.BadQuery: 400,
    errors.Invalid: 422,
    errors.Conflict: 409,
    errors.Stale: 412,
    errors.Unauthorised: 401,
    errors.TooMany: 429,
    errors.Forbidden: 403,
    errors.TooLarge: 413,
    errors.Unavailable: 503,
}

# What a browser is answered with a page; a strange question is for whoever wrote it.
PAGES = (401, 403, 404, 410, 413, 429, 503)

TITLES = {
    400: "请求有误。", 401: "请先登录。", 404: "没有这一项。", 405: "这里不能这样做。", 406: "没有这种格式。",
    413: "内容过大。", 415: "不认识这种内容类型。", 428: "请带上 If-Match。",
}


def install(app: FastAPI) -> None:
    """Answer every error, ours and the framework's, with a problem document."""

    @app.exception_handler(GeoError)
    def domain(request: Request, error: GeoError) -> Response:
        answer: Response
        status = STATUS[type(error)]
        if status >= 500 and not isinstance(error, errors.Unavailable):
            log.exception("%s %s", request.method, request.url.path, exc_info=error)
        headers = {"Retry-After": str(error.facts.get("retry_after", 1))} if status in (429, 503) else {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status in (401, 403):
            deps.refused(request, type(error).slug())
        if refusal := request.scope.get("refusal"):
            answer = refusal(request, error, status)
            answer.headers.update(headers)
            return answer
        if status in PAGES and pages.wants_html(request, None):
            # Whoever was told no more than that they are nobody comes in first; a sentence of its own is to be read.
            to_door = status == 401 and error.sentence == errors.Unauthorised.__doc__
            said = error.said(partial(translated, language=deps.language(request)))
            return ways.see(ways.sign_in(request)) if to_door else shown(request, status, said, headers)
        if status == 401 and request.headers.get("hx-request"):
            headers["HX-Redirect"] = ways.sign_in(request)
        said = error.said(partial(translated, language=preferred(request.headers.get("accept-language"))))
        answer = problem(request, status, type(error).slug(), type(error).__doc__ or "", said, error.facts, headers)
        deps.forgotten(request, answer)
        return answer

    @app.exception_handler(HTTPException)
    def protocol(request: Request, error: HTTPException) -> Response:
        title = TITLES.get(error.status_code, str(error.detail))
        if error.status_code in PAGES and pages.wants_html(request, None):
            return shown(request, error.status_code, translated(title, deps.language(request)), error.headers or {})
        return problem(request, error.status_code, f"http-{error.status_code}", title, title, {}, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        language = preferred(request.headers.get("accept-language"))
        told = [
            {
                "field": ".".join(map(str, e["loc"][1:])),
                # Pydantic's own words before the sentence of a validator of ours.
                "reason": translated(e["msg"].removeprefix("Value error, "), language),
                "rule": e["type"],
            }
            for e in error.errors()
        ]
        in_body = all(e["loc"] and e["loc"][0] == "body" for e in error.errors())
        kind: type[GeoError] = errors.Invalid if in_body else errors.BadQuery
        if any(e["loc"] and e["loc"][0] == "path" for e in error.errors()):
            kind = errors.NotFound
        if refusal := request.scope.get("refusal"):
            answer: Response = refusal(request, kind("" if kind is errors.NotFound else "参数 {field} 有误。", field=told[0]["field"]), STATUS[kind])
            return answer
        if STATUS[kind] in PAGES and pages.wants_html(request, None):
            return shown(request, STATUS[kind], translated(kind.__doc__ or "", deps.language(request)), {})
        facts = {"errors": told[:50], "field": told[0]["field"]}
        return problem(request, STATUS[kind], kind.slug(), kind.__doc__ or "", kind.__doc__ or "", facts)

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> Response:
        log.exception("%s %s", request.method, request.url.path, exc_info=error)
        answer = problem(request, 500, GeoError.slug(), GeoError.__doc__ or "", GeoError.__doc__ or "", {})
        # This handler stands outside of all that dresses an answer.
        dressed(answer.headers, request.scope, 500)
        return answer


def shown(request: Request, status: int, sentence: str, headers: Mapping[str, str]) -> Response:
    """A refusal to somebody with a browser: on to where it can be helped, or a page that says why."""
    here: Presence | None = request.scope.get("presence")
    if status == 403 and here and here.withheld:
        return ways.see("/account")
    answer = pages.refusal(request, status, sentence)
    answer.headers.update(headers)
    return answer


def problem(
    request: Request, status: int, slug: str, title: str, detail: str, facts: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document. Whatever was in the request is written as safe JSON: NaN and lone surrogates included."""
    language = preferred(request.headers.get("accept-language"))
    body = {
        "type": f"/problems/{slug}",
        "title": translated(title, language),
        "status": status,
        "detail": translated(detail, language),
        **{name: value for name, value in facts.items() if value is not None},
    }
    # NaN and the infinities become text; a lone surrogate, which UTF-8 cannot carry, the JSON escape it came in as.
    sound = json.loads(json.dumps(body, default=str), parse_constant=str)
    text = json.dumps(sound, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    return Response(text, status, {**(headers or {}), "Content-Language": language}, "application/problem+json")
