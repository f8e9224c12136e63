"""What a route may ask for."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import anyio
import sqlalchemy as sa
from fastapi import Depends, Header, Request, Response

from api.credentials import cookie_name, take_back
from api.guard import asked_who
from api.limits import Limits
from api.settings import settings
from geo import db, door, query, references, trail
from geo.catalog.purposes import PURPOSES
from geo.catalog.roles import Ability
from geo.db import Caller
from geo.door import Presence
from geo.errors import BadQuery, Forbidden, GeoError, NotFound, TooMany, Unauthorised, Unavailable
from geo.keys import FieldKey
from geo.language import Language, preferred
from geo.references import CRS84, Reference
from geo.resource import Audience, Resource
from geo.trail import Entry

READS = ("GET", "HEAD")
ALWAYS = {"f", "lang"}
PURPOSE_CODES = tuple(purpose.code for purpose in PURPOSES)

AT_ONCE = 10  # requests holding a connection: as many as the pool of `db.engine` gives
# A refused sign-in is held back for as long as the floor says: a flood of them must not hold the turns of everybody else.
ENTERING = 4
QUEUE_SECONDS = 5.0
# Questions that look at thousands of rows: one a core of a small machine, and the rest of the turns for everybody else.
HEAVY, HEAVY_SECONDS, LIGHT = 2, 0.5, 1_000


@dataclass(frozen=True)
class Engines:
    """The logins of a web process: one that asks and writes, one that lets in, one that only appends to the trail."""

    web: sa.Engine
    door: sa.Engine
    trail: sa.Engine


@dataclass(frozen=True)
class Instance:
    """Who this server is."""

    id: UUID
    name: str
    prefix: str
    demo: bool
    k: int


ANYBODY = Presence(Caller())


@asynccontextmanager
async def taken(turns: anyio.Semaphore, seconds: float | None = None, refusal: type[GeoError] = Unavailable) -> AsyncIterator[None]:
    """One of the turns of a queue. The `refusal` when it does not move."""
    try:
        with anyio.fail_after(QUEUE_SECONDS if seconds is None else seconds):
            await turns.acquire()
    except TimeoutError as error:
        raise refusal(retry_after=1) from error
    try:
        yield
    finally:
        turns.release()


async def turn(request: Request) -> AsyncIterator[None]:
    """One of the `AT_ONCE` requests that may hold a connection. Each needs a thread for every step, and threads must
    not be waiting for a connection meanwhile."""
    async with taken(request.app.state.turns):
        yield


@asynccontextmanager
async def meanwhile(request: Request) -> AsyncIterator[None]:
    """Give the turn to somebody else while this request only listens: a file that comes slowly must hold up nobody."""
    turns: anyio.Semaphore = request.app.state.turns
    turns.release()
    try:
        yield
    finally:
        # The turn is given back by `turn`, whatever happens here, so it is taken again before anything is answered.
        with anyio.CancelScope(shield=True):
            await turns.acquire()


async def weighed(request: Request) -> AsyncIterator[None]:
    """One of the `HEAVY` questions that may be at work, before it takes a turn: 32 at once who asked for all that may be asked for
    held every turn there is, and others waited 2.6 s for an answer of 6 ms. `TooMany` for whoever does not come to it soon."""
    async with taken(request.app.state.heavy, HEAVY_SECONDS, TooMany):
        yield


async def weighed_by_limit(request: Request) -> AsyncIterator[None]:
    """The same for a list of more than `LIGHT`."""
    asked = request.query_params.get("limit", "")
    if not asked.isdecimal() or (len(asked) < 10 and int(asked) <= LIGHT):
        yield
        return
    async with taken(request.app.state.heavy, HEAVY_SECONDS, TooMany):
        yield


HEAVILY = Depends(weighed, scope="function")
HEAVILY_BY_LIMIT = Depends(weighed_by_limit, scope="function")


async def entering(request: Request) -> AsyncIterator[None]:
    """One of the `ENTERING` requests that may be proving themselves, in place of a `turn`."""
    async with taken(request.app.state.entering):
        yield


def presence(request: Request, _: Annotated[None, Depends(turn, scope="function")]) -> Presence:
    """Who has come in, by token or by session; nobody in particular without either.

    Raises `Unauthorised` for a credential that does not hold. A write by cookie must come from a page of ours.
    """
    known: Presence | None = request.scope.get("presence")
    if known is None:
        asked_who(request)
        known = request.scope["presence"] = _presence(request)
    return known


def _presence(request: Request) -> Presence:
    engines: Engines = request.app.state.engines
    said = request.headers.get("authorization")
    if said is not None:
        kind, _, token = said.partition(" ")
        if kind.lower() != "bearer" or not token.isascii():
            raise Unauthorised()
        return _recognised(request, door.by_token(engines.door, token.strip()))
    token = request.cookies.get(cookie_name(request), "")
    if not token:
        return ANYBODY
    if request.method not in READS:
        from_own_page(request)
    try:
        return _recognised(request, door.by_session(engines.door, token))
    except Unauthorised:
        request.scope["session_over"] = True
        raise


def _recognised(request: Request, here: Presence) -> Presence:
    if here.caller.account is not None:
        limits: Limits = request.app.state.limits
        limits.recognised(request, here.caller.account)
    return here


def forgotten(request: Request, answer: Response) -> None:
    """Take the cookie of a session that is over from the browser: the next page it asks for is anybody's, not an error."""
    if request.scope.get("session_over"):
        take_back(request, answer, cookie_name(request))


def from_own_page(request: Request) -> None:
    """`Forbidden` for a write that a page of another origin makes the browser send. A browser says where it comes from;
    what does not say so has no business with a cookie."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    parts = urlsplit(own_url(request))
    ours = f"{parts.scheme}://{parts.netloc}"
    if (site, origin) == (None, None) or site not in (None, "same-origin", "none") or origin not in (None, ours):
        raise Forbidden("这个请求不是从本站的页面发出的,已拒绝。", rule="csrf")


def numbered(text: str) -> UUID:
    """The number in a path that may hold a name too. Raises `NotFound` for neither."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound() from error


def own_url(request: Request) -> str:
    """Where people find this server: as the settings say, and only without them as the request does."""
    return settings().base_url.rstrip("/") or str(request.base_url).rstrip("/")


def link(request: Request, path: str, rel: str, kind: str = "application/json") -> dict[str, str]:
    """A link within this server."""
    return {"href": f"{own_url(request)}{path}", "rel": rel, "type": kind}


# What only looks at what is there already is asked on the event loop: each turn of a thread costs a request 0.2 ms and more.
async def asked(here: Annotated[Presence, Depends(presence)]) -> Caller:
    """The policy of most routes: bound as the caller, who sees and writes what their one appointment allows."""
    return here.caller


async def anyone() -> Caller:
    """The policy of what is public: bound as the public, whoever asks, so that one answer serves all."""
    return ANYBODY.caller


def able(*abilities: Ability) -> Any:
    """What a verb asks for beside its policy: a caller who has the ability, or one of several."""

    async def allowed(who: Annotated[Caller, Depends(asked)]) -> None:
        if who.account is None:
            raise Unauthorised()
        if not who.may.intersection(abilities):
            raise Forbidden()

    return Depends(allowed)


def noted(
    request: Request, action: str, noun: str = "", feature: str = "", purpose: str = "", result: str = "done", actor: str = ""
) -> int:
    """Append to the trail who does what, on its own login and committed before anything is answered. The row's number."""
    engines: Engines = request.app.state.engines
    here: Presence = request.scope.get("presence") or ANYBODY
    who = here.caller
    entry = Entry(action, actor or who.actor, who.acting_as, noun, feature, ",".join(who.scope), purpose, result, origin(request))
    return trail.append(engines.trail, entry)


def witnessed(request: Request, action: str, noun: str, feature: str, purpose: str) -> int:
    """Append to the trail what is asked for of a person, before any of it is read. `feature` is the record, or `?` and the
    names of the fields that were filtered by. Raises `Unavailable` when it cannot be written: then nothing is read."""
    return noted(request, action, noun, feature, purpose, "asked")


def purposed(purpose: Annotated[str | None, Header(max_length=40, description="what for: " + ", ".join(PURPOSE_CODES))] = None) -> str:
    """What a person's record is looked at for, from the header `Purpose`. Raises `BadQuery` without one that is known."""
    if purpose not in PURPOSE_CODES:
        raise BadQuery("查看个人信息须说明用途:请在请求头 Purpose 里写 {choices} 之一。", parameter="Purpose", choices=list(PURPOSE_CODES))
    return purpose


def refused(request: Request, slug: str) -> None:
    """Append a refusal to the trail: what was asked for, and why it was not given. Of the address the template only:
    anything may be typed into a path."""
    route = getattr(request.scope.get("route"), "path", "")
    noted(request, "refused", purpose=f"{request.method} {route}", result=slug)


def origin(request: Request) -> str:
    """The address that asks."""
    return request.client.host if request.client else ""


def connection(
    request: Request, who: Annotated[Caller, Depends(asked)], _: Annotated[None, Depends(turn, scope="function")]
) -> Iterator[sa.Connection]:
    """The one transaction of a request, read-only for reads, committed before the answer leaves."""
    yield from bound(request, who)


def read_connection(
    request: Request, who: Annotated[Caller, Depends(asked)], _: Annotated[None, Depends(turn, scope="function")]
) -> Iterator[sa.Connection]:
    """The same, read-only whatever the method: for a question that is asked in a body."""
    yield from bound(request, who, read_only=True)


def public_connection(
    request: Request, who: Annotated[Caller, Depends(anyone)], _: Annotated[None, Depends(turn, scope="function")]
) -> Iterator[sa.Connection]:
    """The same, bound as the public."""
    yield from bound(request, who)


@contextmanager
def writing(request: Request, who: Caller) -> Iterator[sa.Connection]:
    """The same for a route that opens it itself: opened, asked and committed in one turn of a thread and not in three. Whoever uses it
    waits for a `turn` first, which asking who is there does."""
    yield from bound(request, who)


def bound(request: Request, who: Caller, read_only: bool | None = None) -> Iterator[sa.Connection]:
    """A transaction bound to a caller, for as long as the request takes; without more, a read of a reading request only reads."""
    engines: Engines = request.app.state.engines
    reads = request.method in READS if read_only is None else read_only
    with db.transaction(engines.web, who, reads, origin(request)) as open_connection:
        yield open_connection


def language(request: Request) -> Language:
    """The language of the answer: `?lang=`, else the cookie, else what the browser asks for."""
    for said in (request.query_params.get("lang"), request.cookies.get("lang")):
        if said in ("zh", "en"):
            return said  # type: ignore[return-value]
    return preferred(request.headers.get("accept-language"))


async def language_now(request: Request) -> Language:
    """The same, as a route asks for it."""
    return language(request)


async def field_key(request: Request) -> FieldKey:
    """The key of secret fields."""
    key: FieldKey = request.app.state.field_key
    return key


async def home(request: Request) -> Path:
    """The folder of what this server keeps outside the database."""
    kept: Path = request.app.state.home
    return kept


def strict(*allowed: str) -> Any:
    """Refuse query parameters that a route does not know, and any given twice: a mistyped filter must not widen a list."""

    async def known(request: Request) -> None:
        check_known(request, set(allowed))

    return Depends(known)


def check_known(request: Request, allowed: set[str]) -> None:
    """`BadQuery` for an unknown, repeated or unprintable query parameter."""
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in allowed | ALWAYS or name in seen:
            raise BadQuery(parameter=name)
        if "\0" in value or "\ufffd" in value:
            raise BadQuery(parameter=name)
        seen.add(name)


def box(text: str | None, crs: Reference = CRS84) -> query.Bbox | None:
    """A box in degrees of the storage, from the numbers of one in a reference system; of six the heights are left out."""
    if text is None:
        return None
    try:
        return references.boxed([float(part) for part in text.split(",")], crs)
    except ValueError as error:
        raise BadQuery(parameter="bbox") from error


def equal_to(request: Request, resource: Resource, audience: Audience, others: set[str]) -> dict[str, object]:
    """What fields of a noun are asked to be, from the query parameters that are none of the `others`."""
    names = {field.name for field in resource.seen_by(audience)} - others
    check_known(request, names | others)
    return {
        name: query.parsed(query.filterable(resource, name, audience), value)
        for name, value in request.query_params.items() if name in names
    }


async def expected(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The version that a writer has seen, from `If-Match`."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"').removeprefix("v")
    # A tag we never gave out matches nothing.
    return int(text) if text.isdecimal() and len(text) < 9 else -1


def shown(resource: Resource, who: Caller) -> None:
    """404 for a noun that this caller may not know of."""
    if not who.knows(resource):
        raise NotFound()


Connection = Annotated[sa.Connection, Depends(connection, scope="function")]
ReadConnection = Annotated[sa.Connection, Depends(read_connection, scope="function")]
PublicConnection = Annotated[sa.Connection, Depends(public_connection, scope="function")]
CallerNow = Annotated[Caller, Depends(asked)]
PresenceNow = Annotated[Presence, Depends(presence)]
LanguageNow = Annotated[Language, Depends(language_now)]
Key = Annotated[FieldKey, Depends(field_key)]
Home = Annotated[Path, Depends(home)]
Expected = Annotated[int | None, Depends(expected)]
Purpose = Annotated[str, Depends(purposed)]
