"""What a route may ask for."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import anyio
import sqlalchemy as sa
from fastapi import Depends, Header, Query, Request

from geo import db, query
from geo.db import Caller
from geo.errors import BadQuery, Forbidden, NotFound, Unavailable
from geo.keys import FieldKey
from geo.language import Language, preferred
from geo.resource import Resource

READS = ("GET", "HEAD")
ALWAYS = {"f", "lang"}

AT_ONCE = 10  # requests holding a connection: as many as the pool of `db.engine` gives
QUEUE_SECONDS = 5.0


@dataclass(frozen=True)
class Engines:
    """The two logins of a web process: one that asks and writes, one that only appends to the trail."""

    web: sa.Engine
    trail: sa.Engine


@dataclass(frozen=True)
class Instance:
    """Who this server is."""

    name: str
    prefix: str
    demo: bool
    k: int


def caller(request: Request) -> Caller:
    """Who asks. Until there are accounts every request is public, and only a demonstration may be written to.

    A refusal is written to the trail before it is told.
    """
    instance: Instance = request.app.state.instance
    if request.method in READS:
        return Caller(path=instance.prefix)
    if not instance.demo:
        refused(request, Caller())
        raise Forbidden("这个实例还没有账号,只能看,不能改。")
    return Caller("demo", "jingwei_area", instance.prefix)


def refused(request: Request, who: Caller) -> None:
    """Append a refusal to the trail, on its own login and committed before the answer."""
    engines: Engines = request.app.state.engines
    with db.translated(), engines.trail.begin() as connection:
        connection.execute(
            sa.text("SELECT trail_appended(:actor, :acting_as, :action, '', '', :scope, '', 'refused')"),
            {"actor": who.actor, "acting_as": who.acting_as, "action": f"{request.method} {request.url.path}"[:500], "scope": who.path},
        )


async def turn(request: Request) -> AsyncIterator[None]:
    """One of the `AT_ONCE` requests that may hold a connection. Each needs a thread for every step, and threads must
    not be waiting for a connection meanwhile. `Unavailable` when the queue does not move."""
    turns: anyio.Semaphore = request.app.state.turns
    try:
        with anyio.fail_after(QUEUE_SECONDS):
            await turns.acquire()
    except TimeoutError as error:
        raise Unavailable(retry_after=1) from error
    try:
        yield
    finally:
        turns.release()


def connection(
    request: Request, who: Annotated[Caller, Depends(caller)], _: Annotated[None, Depends(turn, scope="function")]
) -> Iterator[sa.Connection]:
    """The one transaction of a request, read-only for reads, committed before the answer leaves."""
    engines: Engines = request.app.state.engines
    with db.transaction(engines.web, who, read_only=request.method in READS) as open_connection:
        yield open_connection


def language(request: Request) -> Language:
    """The language of the answer: `?lang=`, else the cookie, else what the browser asks for."""
    for said in (request.query_params.get("lang"), request.cookies.get("lang")):
        if said in ("zh", "en"):
            return said  # type: ignore[return-value]
    return preferred(request.headers.get("accept-language"))


def field_key(request: Request) -> FieldKey:
    """The key of secret fields."""
    key: FieldKey = request.app.state.field_key
    return key


def strict(*allowed: str) -> Any:
    """Refuse query parameters that a route does not know, and any given twice: a mistyped filter must not widen a list."""

    def known(request: Request) -> None:
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


def box(text: str | None) -> query.Bbox | None:
    """`west,south,east,north` in degrees; six numbers are taken without their heights."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadQuery(parameter="bbox") from error
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4:
        raise BadQuery(parameter="bbox")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise BadQuery(parameter="bbox")
    return west, south, east, north


def wanted(resource: Resource) -> Callable[..., query.Filter]:
    """The filter of a list of `resource`, from its query parameters."""

    def read(
        request: Request,
        who: CallerNow,
        bbox: Annotated[str | None, Query(description="west,south,east,north")] = None,
        limit: Annotated[int, Query(ge=1, description="at most 10,000; more is taken as 10,000")] = 100,
        after: Annotated[UUID | None, Query(description="the id after which the page begins")] = None,
    ) -> query.Filter:
        names = {field.name for field in resource.seen_by(who.audience)}
        check_known(request, names | {"bbox", "limit", "after"})
        equals = {
            name: query.parsed(query.filterable(resource, name, who.audience), value)
            for name, value in request.query_params.items()
            if name in names
        }
        return query.Filter(box(bbox), equals, min(limit, 10_000), after)

    return read


def expected(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The version that a writer has seen, from `If-Match`."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"').removeprefix("v")
    # A tag we never gave out matches nothing.
    return int(text) if text.isdecimal() and len(text) < 9 else -1


def shown(resource: Resource, who: Caller) -> None:
    """404 for a noun that this caller may not know of."""
    if resource.audience > who.audience:
        raise NotFound()


Connection = Annotated[sa.Connection, Depends(connection, scope="function")]
CallerNow = Annotated[Caller, Depends(caller)]
LanguageNow = Annotated[Language, Depends(language)]
Key = Annotated[FieldKey, Depends(field_key)]
Expected = Annotated[int | None, Depends(expected)]
