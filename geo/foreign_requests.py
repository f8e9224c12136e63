"""Requests of another Open311 server: each becomes a case here once, by the number that it has there, and that server is told how it goes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import crs, secrets
from geo.catalog.workflow import STATES
from geo.reporting import placed
from geo.statements import run


@dataclass(frozen=True)
class Request:
    """One request as the other server tells of it; a place in degrees of WGS 84, or an address."""

    number: str
    service: str = ""
    service_title: str = ""
    words: str = ""
    address: str = ""
    lon: float | None = None
    lat: float | None = None
    at: datetime | None = None


def take(connection: sa.Connection, endpoint: str, request: Request) -> tuple[UUID, bool]:
    """The case of a request, and whether it was made now."""
    words, _ = secrets.redacted("\n".join(filter(None, (request.service_title, request.words))))
    address, _ = secrets.redacted(request.address)
    place, precision = placed(connection, request.lon, request.lat, crs.Datum.WGS84, address)
    made = run(
        connection, "foreign_request_take", endpoint=endpoint, number=request.number, matter=request.service, words=words[:4000] or None,
        address=address[:256] or None, place=place, precision=precision, moment=request.at,
    ).one()
    return made.incident, made.made


def untold(connection: sa.Connection, endpoint: str, most: int = 500) -> list[dict[str, Any]]:
    """What has moved on since the other server was told: `number`, `steps`, `state`, `title` of the state, `closed`, `at`."""
    rows = run(connection, "foreign_requests_untold", endpoint=endpoint, most=most).mappings()
    return [dict(row) | {"title": STATES[row["state"]].title, "closed": STATES[row["state"]].settled} for row in rows]


def told(connection: sa.Connection, endpoint: str, number: str, steps: int, refusal: str = "") -> None:
    """Note that the other server knows of a step, or why it does not."""
    run(connection, "foreign_request_told", endpoint=endpoint, number=number, steps=steps, refusal=refusal[:200])
