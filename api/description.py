"""The OpenAPI document at `/api`: what FastAPI knows of the routes, put right where our answers are others than its own."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.collections import PROBLEM

FRAMEWORKS = ("HTTPValidationError", "ValidationError")  # what it would answer, and never does here

# A parameter that is none; who comes with what is a credential no more; who may not; too often; too much at once.
ANYWHERE = ("400", "401", "403", "429", "503")


def install(app: FastAPI) -> None:
    """Have `app` describe itself so."""

    def described() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = corrected(get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version=app.openapi_version))
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def corrected(told: dict[str, Any]) -> dict[str, Any]:
    """With a wrong parameter answered by 400 and a problem document, as `api/errors.py` does, and with what any route may answer."""
    for path in told["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422", "")):
                del answers["422"]
            for status in ANYWHERE:
                answers.setdefault(status, PROBLEM)
    for name in FRAMEWORKS:
        told.get("components", {}).get("schemas", {}).pop(name, None)
    return told
