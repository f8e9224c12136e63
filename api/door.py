"""Coming in and going out: sessions for people, as programs ask for them. The pages of the same are `api/entrance.py`."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import models
from api.collections import PROBLEM
from api.credentials import cookie_name, give, take_back
from api.deps import (
    CallerNow,
    Connection,
    Engines,
    Key,
    PresenceNow,
    anyone,
    entering,
    from_own_page,
    noted,
    origin,
    strict,
)
from api.limits import Limits
from geo import accounts, door
from geo.catalog.roles import ROLES
from geo.door import Presence
from geo.errors import GeoError, TooMany, Unauthorised
from geo.language import translated

routes = APIRouter(tags=["door"], responses=dict.fromkeys((400, 401, 403, 422, 429, 503), PROBLEM))


class Credentials(BaseModel):
    """What a person proves themself by; `code` is that of the second factor, where there is one."""

    model_config = ConfigDict(extra="forbid")

    login: Annotated[models.Text, Field(max_length=64)]
    password: Annotated[models.Text, Field(max_length=1000)]
    code: Annotated[models.Text, Field(max_length=20)] = ""


class Acting(BaseModel):
    """One of one's own appointments, or none."""

    model_config = ConfigDict(extra="forbid")

    appointment: UUID | None


@routes.post("/sessions", status_code=201, summary="Sign in", dependencies=[strict(), Depends(anyone), Depends(entering, scope="function")])
def open_session(given: Credentials, request: Request, key: Key) -> Response:
    """Open a session. Its token is in the cookie of the answer and nowhere else."""
    from_own_page(request)
    answer = Response(status_code=201)
    enter(request, answer, given.login, given.password, given.code, key)
    return answer


@routes.delete("/sessions/current", status_code=204, summary="Sign out", dependencies=[strict()])
def close_session(request: Request, here: PresenceNow, who: CallerNow) -> Response:
    """Close the session of this request."""
    answer = Response(status_code=204)
    leave(request, answer, here)
    return answer


@routes.get("/me", summary="Who asks, and as what", dependencies=[strict()])
def me(here: PresenceNow, who: CallerNow, connection: Connection) -> dict[str, Any]:
    """The account and appointment that this request is bound to, and the others it might be."""
    return present(here) | {"sessions": accounts.sessions(connection, who.account) if who.account else []}


@routes.put("/me/acting", status_code=204, summary="Act as another of one's appointments", dependencies=[strict()])
def act(new: Acting, request: Request, here: PresenceNow, who: CallerNow) -> Response:
    """From the next request on this session acts as that appointment."""
    if here.session is None:
        raise Unauthorised()
    engines: Engines = request.app.state.engines
    noted(request, "account", purpose=str(new.appointment or ""), result="asked")
    door.act(engines.door, request.cookies[cookie_name(request)], new.appointment)
    return Response(status_code=204)


def present(here: Presence) -> dict[str, Any]:
    """A presence as a program reads it."""
    return {
        "login": here.caller.actor if here.caller.account else None,
        "name": here.name,
        "role": here.role,
        "scope": list(here.caller.scope),
        "categories": list(here.caller.categories),
        "may": sorted(here.caller.may),
        "acting_as": here.caller.acting_as,
        "needs_second_factor": here.withheld,
        "appointments": [dict(other) | {"title": translated(ROLES[other["role"]].title, "zh")} for other in here.others],
    }


def enter(request: Request, answer: Response, login: str, password: str, code: str, key: Any) -> None:
    """Sign in, with a row in the trail either way, and put the session's cookie on the answer.

    Raises `TooMany` before anything is looked at, for who has failed too often.
    """
    engines: Engines = request.app.state.engines
    limits: Limits = request.app.state.limits
    try:
        with limits.tried("sign_in", request):
            token = door.sign_in(engines.door, login, password, code, origin(request), key)
    except TooMany:
        raise
    except GeoError as error:
        # Being asked for the second factor is half of a sign-in, not a failure.
        if "needs" in error.facts and not code:
            limits.give_back("sign_in", request)
        else:
            noted(request, "sign_in", result="refused", actor=door.known(engines.door, login))
        raise
    admit(request, answer, token)


def admit(request: Request, answer: Response, token: str) -> None:
    """Put the cookie of an opened session on the answer. Whatever session there was before is another's, or nobody's: it ends."""
    engines: Engines = request.app.state.engines
    if before := request.cookies.get(cookie_name(request)):
        door.close(engines.door, before)
    here = door.by_session(engines.door, token)
    request.scope["presence"] = here
    noted(request, "sign_in")
    give(request, answer, cookie_name(request), token)


def leave(request: Request, answer: Response, here: Presence) -> None:
    """Close the session and take the cookie back, with all that the browser has kept of it."""
    engines: Engines = request.app.state.engines
    if here.session is not None:
        noted(request, "sign_out")
        door.close(engines.door, request.cookies[cookie_name(request)])
    take_back(request, answer, cookie_name(request))
    answer.headers["Clear-Site-Data"] = '"cache"'
