"""`/rights-requests`: what persons may ask about their own data, and the steps by which it is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api import models
from api.collections import PROBLEM
from api.deps import Connection, Home, Key, LanguageNow, PublicConnection, able, noted, strict
from api.limits import guessed, limited
from api.models import Text
from geo import rights_requests
from geo.catalog import RESOURCES
from geo.errors import Invalid, NotFound
from geo.language import translated
from geo.rights_requests import Case

Ticket = Annotated[str, Path(pattern="^[0-9A-Z]{6,20}$")]
Code = Annotated[str, Field(min_length=6, max_length=20)]
PURPOSE = "rights_request"

routes = APIRouter(tags=["rights-requests"], responses=dict.fromkeys((400, 401, 403, 404, 409, 422, 429, 503), PROBLEM))


class Received(BaseModel):
    """What a person asks. The phone is the one that the record may hold; an appeal names the request it is against."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["access", "correct", "delete", "explain", "appeal"]
    about: Annotated[Text, Field(min_length=2, max_length=2000, description="in the person's own words")]
    name: Annotated[Text, Field(max_length=100)] = ""
    phone: Annotated[Text, Field(max_length=40)] = ""
    appeal_of: Annotated[Text, Field(max_length=20, description="the ticket of the request that was refused")] = ""
    code: Annotated[Text, Field(max_length=20, description="its code")] = ""


class Finding(BaseModel):
    """A record that is theirs."""

    model_config = ConfigDict(extra="forbid")

    noun: Literal[tuple(name for name, resource in RESOURCES.items() if resource.keeps_personal)]  # type: ignore[valid-type]
    id: UUID


class Verified(BaseModel):
    """How it was found that who asks is who they say, and which records are theirs; none is an answer too."""

    model_config = ConfigDict(extra="forbid")

    how: Literal["callback", "in_person"]
    findings: Annotated[list[Finding], Field(max_length=100)]


class Answered(BaseModel):
    """Words for the person; for a correction the record that was found to be theirs, and the fields to change."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[Text, Field(max_length=2000)] = ""
    finding: Finding | None = None
    values: Annotated[dict[Text, Any], Field(max_length=50)] = {}


class Refused(BaseModel):
    """Why not, on what ground, and where to turn."""

    model_config = ConfigDict(extra="forbid")

    grounds: Literal["identity", "statutory", "others", "unfounded", "infeasible"]
    note: Annotated[Text, Field(min_length=2, max_length=2000)]
    appeal_channel: Annotated[Text, Field(min_length=2, max_length=500)]


def looked(request: Request) -> None:
    """Written to the trail before the request's own transaction begins: that of a read may write nothing."""
    noted(request, "read", "rights_requests", request.path_params.get("ticket", ""), PURPOSE)


@routes.post("/rights-requests", status_code=201, summary="Ask about one's own data", dependencies=[limited("public_write"), strict()])
def receive(new: Received, response: Response, connection: PublicConnection, key: Key) -> dict[str, Any]:
    """Take a request in. The answer holds the code, which is told once and kept nowhere."""
    _private(response)
    slip = rights_requests.receive(connection, **new.model_dump(), key=key)
    return {"ticket": slip.ticket, "code": slip.code, "kind": new.kind, "due_at": slip.due_at}


@routes.get("/rights-requests/{ticket}", summary="Follow a request", dependencies=[guessed("slip"), strict("code")])
def follow(
    ticket: Ticket, code: Annotated[str, Query(min_length=6, max_length=20)], response: Response, connection: PublicConnection,
    key: Key, language: LanguageNow,
) -> dict[str, Any]:
    """How far a request has got and what was said. A wrong code is answered like a ticket that is not there."""
    _private(response)
    told = rights_requests.follow(connection, ticket, code, key)
    titles = {c.code: translated(c.title, language) for among in (rights_requests.STATES, rights_requests.GROUNDS) for c in among}
    steps = [
        step | {"state_title": titles[step["state"]], "grounds_title": titles.get(step["grounds"])} for step in told["steps"]
    ]
    return told | {"state": steps[-1]["state"], "state_title": steps[-1]["state_title"], "steps": steps}


@routes.get(
    "/rights-requests", summary="The requests to be answered", dependencies=[able("retention"), strict("ticket", "state", "overdue"), Depends(looked)]
)
def listed(
    response: Response, connection: Connection, key: Key,
    ticket: Annotated[str | None, Query(pattern="^[0-9A-Z]{6,20}$")] = None,
    state: Literal["received", "verified", "answered", "refused"] | None = None,
    overdue: Annotated[bool, Query(description="only those that are late")] = False,
) -> dict[str, Any]:
    """Those that the caller answers for, the soonest due first, with what the person wrote."""
    _private(response)
    found = rights_requests.listed(connection, key, ticket=ticket, state=state, overdue=overdue)
    return {"requests": [asdict(case) for case in found]}


@routes.post("/rights-requests/{ticket}/search", summary="Records that may be theirs", dependencies=[able("retention"), strict(), Depends(looked)])
def search(ticket: Ticket, response: Response, connection: Connection, key: Key) -> dict[str, Any]:
    """Records that carry the phone number of the request, by its keyed hash; names are masked."""
    _private(response)
    return {"candidates": rights_requests.candidates(connection, ticket, key)}


@routes.post("/rights-requests/{ticket}/verify", summary="Who asks is who they say", dependencies=[able("retention"), strict()])
def verify(ticket: Ticket, new: Verified, connection: Connection, key: Key) -> dict[str, Any]:
    """Keep how the person was made sure of, and which records are theirs."""
    rights_requests.verify(connection, ticket, new.how, [(found.noun, found.id) for found in new.findings])
    return asdict(_case(connection, key, ticket))


@routes.post("/rights-requests/{ticket}/answer", summary="Answer a request", dependencies=[able("retention"), strict()])
def answer(
    ticket: Ticket, new: Answered, request: Request, response: Response, connection: Connection, key: Key, home: Home, language: LanguageNow,
) -> dict[str, Any]:
    """Do what was asked: hand out the copy (to be printed, kept nowhere), change the record, or destroy what was found to be
    theirs; what needs words only is answered in words."""
    _private(response)
    kind = _case(connection, key, ticket).kind
    told: dict[str, Any] = {"ticket": ticket, "kind": kind}
    if kind == "access":
        for noun, id in rights_requests.found(connection, ticket):
            noted(request, "read", noun, str(id), PURPOSE)
        copies = rights_requests.copy(connection, ticket, key, language)
        return told | {"copies": copies, "text": rights_requests.printed(copies, language)}
    if kind == "delete":
        issued = rights_requests.delete(connection, home, ticket)
        return told | {"certificates": [str(certificate.id) for certificate in issued]}
    if kind == "correct" and new.finding:
        values = _values(new.finding.noun, new.values)
        rights_requests.correct(connection, ticket, new.finding.noun, new.finding.id, values, key)
        return told
    if not new.note.strip():
        raise Invalid("请写明答复。", field="note")
    rights_requests.answer(connection, ticket, new.note)
    return told


@routes.post("/rights-requests/{ticket}/refuse", summary="Refuse a request", dependencies=[able("retention"), strict()])
def refuse(ticket: Ticket, new: Refused, connection: Connection, key: Key) -> dict[str, Any]:
    """Say why not, on what ground, and where to turn."""
    rights_requests.refuse(connection, ticket, new.grounds, new.note, new.appeal_channel)
    return asdict(_case(connection, key, ticket))


def _case(connection: Connection, key: Key, ticket: str) -> Case:
    for case in rights_requests.listed(connection, key, ticket=ticket):
        return case
    raise NotFound()


def _values(noun: str, values: dict[str, Any]) -> dict[str, Any]:
    with _in_body("values"):
        checked = models.feature(RESOURCES[noun], partial=True).model_validate({"properties": values})
        return checked.properties.model_dump(exclude_unset=True)  # type: ignore[attr-defined,no-any-return]


@contextmanager
def _in_body(member: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise RequestValidationError([e | {"loc": ("body", member, *e["loc"][1:])} for e in error.errors()]) from error


def _private(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"
