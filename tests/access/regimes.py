"""How the server is asked: straight through ASGI, on connections of one kind or another, and each answer held against the model."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import sqlalchemy as sa
from fastapi import FastAPI

from api.deps import Engines
from geo import db
from geo.cluster import Address
from tests.access.actors import Actor, Casting
from tests.access.answers import Answer
from tests.access.offices import knows_name
from tests.access.operations import Operation, exactly
from tests.access.oracle import Oracle

Pair = tuple[Actor, Operation]
Around = AbstractContextManager[Any]


@dataclass
class Tally:
    """What was asked, and what was wrong with the answers."""

    checked: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    by_actor: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, actor: Actor, operation: Operation, answer: Answer, found: Iterable[str]) -> None:
        self.checked += 1
        self.by_route[operation.route] += 1
        self.by_actor[actor.name] += 1
        self.by_status[answer.status] += 1
        self.wrong += [f"{actor} {operation}: {said}" for said in found]


@dataclass
class Matrix:
    """The server with the model beside it."""

    app: FastAPI
    oracle: Oracle
    casting: Casting

    def run(self, pairs: Sequence[Pair], at_once: int = 1, around: Callable[[], Around] = nullcontext) -> Tally:
        """Ask everything, so many at a time, each within `around`, and hold each answer against the model."""
        tally = Tally()

        async def asking(waiting: "asyncio.Queue[Pair]") -> None:
            while not waiting.empty():
                actor, operation = waiting.get_nowait()
                with around():
                    answer = await asked(self.app, operation, self.casting.headers.get(actor.name, {}))
                tally.add(actor, operation, answer, self.judged(actor, operation, answer))

        async def all_of_them() -> None:
            waiting: asyncio.Queue[Pair] = asyncio.Queue()
            for pair in pairs:
                waiting.put_nowait(pair)
            await asyncio.gather(*(asking(waiting) for _ in range(at_once)))

        # In a thread of its own: a browser's driver leaves a loop running in this one.
        with ThreadPoolExecutor(1) as apart:
            apart.submit(asyncio.run, all_of_them()).result()
        return tally

    def judged(self, actor: Actor, operation: Operation, answer: Answer) -> list[str]:
        """What is wrong with an answer."""
        somebody = Actor("anonymous") if operation.policy == "anyone" else actor
        if actor.refused and operation.policy == "asked":
            found = list(exactly(401)(self.oracle, actor, answer))
        else:
            found = list(operation.expect(self.oracle, somebody, answer))
        if operation.policy == "asked" and actor.name != "anonymous" and "public" in answer.headers.get("cache-control", ""):
            found.append(f"anybody may keep it: {answer.headers['cache-control']}")
        return found + self.foreign(somebody, operation, answer)

    def foreign(self, actor: Actor, operation: Operation, answer: Answer) -> list[str]:
        """The values and ids in an answer that are not this actor's to know and that they did not bring themselves."""
        brought = (unquote(operation.target) + operation.body.decode()).lower()
        found = [
            f"{said}, the {canary}" for said, canary in answer.canaries(self.oracle.town)
            if not self.oracle.may(actor, canary) and said.lower() not in brought and not operation.opens(self.oracle, actor, canary)
        ]
        found += [
            f"the id of {self.oracle.town.rows[UUID(id)]}" for id in (answer.ids() & self.oracle.ids) - self.oracle.known(actor) if id not in brought
        ]
        return found + [
            f"the name of the account {name}" for name, word in self.casting.names.items()
            if word.encode() in answer.bytes and not knows_name(actor, name, tuple(self.oracle.town.papers.values()))
        ]


async def asked(app: FastAPI, operation: Operation, headers: Any) -> Answer:
    """The answer of the server to one request."""
    path, _, query = operation.target.partition("?")
    told = {"host": "testserver", "accept-encoding": "gzip", "accept-language": "zh", **operation.headers, **headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": operation.method, "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "state": {},
        "headers": [(name.lower().encode(), value.encode()) for name, value in told.items()],
        "client": ("203.0.113.7", 1), "server": ("testserver", 80),
    }
    sent = iter([{"type": "http.request", "body": operation.body, "more_body": False}])
    start: dict[str, Any] = {}
    body: list[bytes] = []
    gone = asyncio.Event()

    async def receive() -> Any:
        message = next(sent, None)
        if message is None:
            await gone.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.append(message.get("body", b""))

    try:
        await app(scope, receive, send)
    except Exception:
        # What is unforeseen is answered and raised again, for whoever keeps the log.
        if start.get("status") != 500:
            raise
    told_back = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], told_back, b"".join(body))


def chosen(pairs: Sequence[Pair], most: int, seed: int = 0) -> list[Pair]:
    """So many of the pairs, every route and every actor among them; in an order that mixes the actors."""
    mixed = list(pairs)
    random.Random(seed).shuffle(mixed)
    first: dict[object, Pair] = {}
    for actor, operation in mixed:
        first.setdefault(operation.route, (actor, operation))
        first.setdefault(actor.name, (actor, operation))
    kept = set(map(id, first.values()))
    left = [pair for pair in mixed if id(pair) not in kept]
    found = [*first.values(), *left[: max(0, most - len(first))]]
    random.Random(seed).shuffle(found)
    return found


def harmless(actor: Actor, operation: Operation) -> bool:
    """Whether a request changes nothing, because it cannot or because this actor may not."""
    return not operation.changes or (operation.policy == "asked" and actor.refused) or bool(operation.able and not operation.able & actor.may)


@contextmanager
def on(matrix: Matrix, engines: Engines) -> Iterator[Matrix]:
    """The server on other connections."""
    before, matrix.app.state.engines = matrix.app.state.engines, engines
    try:
        yield matrix
    finally:
        matrix.app.state.engines = before
        for engine in (engines.web, engines.door, engines.trail):
            engine.dispose()


def connected(address: Address, **options: Any) -> sa.Engine:
    """The engine of the web's login, as the server has it but for `options`."""
    options = {"connect_args": {"options": f"-csearch_path={db.SEARCH_PATH} -ctimezone={db.TIME_ZONE}", "prepare_threshold": None}} | options
    return sa.create_engine(address.url("jingwei_web"), **options)
