"""`/retention`: what is over, the certificates of what was destroyed, and the assessments that put it off."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from api.collections import PROBLEM
from api.deps import Connection, LanguageNow, able, strict
from api.models import Moment, Text
from geo import retention
from geo.language import translated
from geo.retention import Certificate

routes = APIRouter(tags=["retention"], responses=dict.fromkeys((400, 401, 403, 404, 422, 503), PROBLEM))


class Assessed(BaseModel):
    """Who found that what was gathered for an emergency has to be kept, why, and until when (a year at most)."""

    model_config = ConfigDict(extra="forbid")

    until: Moment
    assessed_by: Annotated[Text, Field(min_length=2, max_length=200)]
    reason: Annotated[Text, Field(min_length=10, max_length=4000)]
    document_number: Annotated[Text, Field(max_length=100)] = ""


@routes.get("/retention/due", summary="What is over", dependencies=[able("retention"), strict()])
def due(connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """What is destroyed the next night: how many rows of which rule, for what cause, since when."""
    lines = [
        asdict(line) | {
            "title": retention.named(line.noun, line.field, language), "why": translated(retention.CAUSES[line.cause], language)
        }
        for line in retention.over(connection)
    ]
    return {"due": lines}


@routes.get("/certificates", summary="Certificates of destruction", dependencies=[able("retention"), strict()])
def certificates(connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """Every certificate, the latest first."""
    return {"certificates": [_told(certificate, language) for certificate in retention.certificates(connection)]}


@routes.get("/certificates/{id}", summary="One certificate", dependencies=[able("retention"), strict()])
def certificate(id: UUID, connection: Connection, language: LanguageNow) -> dict[str, Any]:
    """A certificate, and whether its hash agrees with the list of what was destroyed."""
    found, holds = retention.certificate(connection, id)
    return _told(found, language) | {"holds": holds}


@routes.get("/certificates/{id}/page", summary="One certificate to be printed", dependencies=[able("retention"), strict()], response_class=PlainTextResponse)
def page(id: UUID, connection: Connection, language: LanguageNow) -> str:
    """The same as a page of text."""
    return retention.printed(*retention.certificate(connection, id), language)


@routes.post("/activations/{id}/assessments", status_code=201, summary="Put off the destruction", dependencies=[able("retention"), strict()])
def assess(id: UUID, new: Assessed, connection: Connection) -> dict[str, datetime]:
    """Keep what was gathered for an emergency that is over a while longer, with an assessment that says why."""
    return {"review_until": retention.assess(connection, id, **new.model_dump())}


def _told(found: Certificate, language: str) -> dict[str, Any]:
    counts = [
        {"noun": noun, "field": field, "count": count, "title": retention.named(noun, field, language)}
        for noun, field, count in found.counts
    ]
    return asdict(found) | {
        "counts": counts, "salt": found.salt.hex(), "hash": found.hash.hex(), "why": translated(retention.CAUSES[found.cause], language)
    }
