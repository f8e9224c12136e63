"""`GET /changes`: what changed, as a list or as a stream of server-sent events that goes on where it broke off."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from api import deps
from api.collections import PROBLEM
from api.deps import CallerNow, Connection, able, strict
from geo import db, live
from geo.db import Caller
from geo.errors import GeoError, Unavailable

PACE = 0.1  # seconds between two looks at where the relay is: with its own 0.15 a write is on a page within half a second
STILL = 15.0  # seconds after which a line is sent that says nothing: proxies cut what is silent
AGAIN = 60.0  # seconds after which it is asked anew who this is: a session that has ended hears no more
STREAMS = 200  # of one process: each costs a look at the database whenever something changed
MOST = 500

routes = APIRouter(tags=["changes"], responses=dict.fromkeys((400, 401, 403, 503), PROBLEM))
Told = TypeVar("Told")


@routes.get(
    "/changes", summary="What changed", dependencies=[able("write"), strict("after", "limit")],
    responses={200: {"content": {"application/json": {}, "text/event-stream": {}}}}, response_class=Response,
)  # fmt: skip
def changes(
    request: Request, connection: Connection, who: CallerNow,
    after: Annotated[int | None, Query(ge=0, le=2**62, description="the number of the last change you know of; without it, from now on")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = MOST,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,18}$")] = None,
) -> Response:
    """Which records of your areas changed, and how; with `Accept: text/event-stream` as they do, resumed by `Last-Event-ID`."""
    begun = int(last_event_id) if last_event_id else after
    begun = live.reached(connection) if begun is None else begun
    if "text/event-stream" not in request.headers.get("accept", ""):
        told = live.since(connection, begun, limit)
        body = {"changes": told, "last": told[-1]["number"] if told else begun}
        return Response(json.dumps(body, default=str), headers={"Cache-Control": "no-store"}, media_type="application/json")
    if request.app.state.streams >= STREAMS:
        raise Unavailable(retry_after=5)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_followed(request, who, begun), headers=headers, media_type="text/event-stream")


async def _followed(request: Request, who: Caller, number: int) -> AsyncIterator[str]:
    """The stream of one page. Holds no connection and no turn while nothing happens."""
    request.app.state.streams += 1
    try:
        yield f"retry: 2000\nid: {number}\n\n"
        still, known = 0.0, 0.0
        while not await request.is_disconnected():
            if known >= AGAIN:
                known = 0.0
                if await anyio.to_thread.run_sync(_gone, request):
                    return
            try:
                told, number = await asked(request, who, number)
            except GeoError:
                # The database may be restarting; whoever listens stays, and is told when it is there again.
                told = []
                await anyio.sleep(1)
            for change in told:
                yield f"id: {change['number']}\nevent: change\ndata: {json.dumps(change, default=str)}\n\n"
                still = 0.0
            if still >= STILL:
                still = 0.0
                # Says where it is, so that what was not theirs is not looked through again.
                yield f": \nid: {number}\n\n"
            await anyio.sleep(PACE)
            still, known = still + PACE, known + PACE
    finally:
        request.app.state.streams -= 1


async def asked(request: Request, who: Caller, number: int) -> tuple[list[dict[str, Any]], int]:
    """What is new of the caller's business after a number, and up to which number that is all. One look at the relay a process and pace,
    whoever listens; the change log only when it has moved."""
    reached = await request.app.state.relayed(lambda: _bound(request, Caller(), live.reached))
    if reached <= number:
        return [], number
    told = await anyio.to_thread.run_sync(_bound, request, who, lambda connection: live.since(connection, number, MOST))
    last = told[-1]["number"] if told else number
    # A full answer may have left some behind; of any other, all up to where the relay was is told.
    return told, last if len(told) == MOST else max(reached, last)


def _bound(request: Request, who: Caller, asked: Callable[[Any], Told]) -> Told:
    with db.transaction(request.app.state.engines.web, who, read_only=True) as connection:
        return asked(connection)


def _gone(request: Request) -> bool:
    """Whether whoever listens would be let in no more."""
    request.scope.pop("presence", None)
    try:
        return deps.presence(request, None).caller.account is None
    except GeoError:
        return True


class Shared:
    """A look at the database that is shared by all who ask within one pace."""

    def __init__(self) -> None:
        self.at, self.told, self.lock = 0.0, 0, anyio.Lock()

    async def __call__(self, look: Callable[[], int]) -> int:
        """What the last look told, or a new one."""
        async with self.lock:
            if anyio.current_time() - self.at >= PACE:
                self.told = await anyio.to_thread.run_sync(look)
                self.at = anyio.current_time()
            return self.told
