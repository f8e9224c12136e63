"""Tiles that were made, kept ready to go out again: in this process, within so many bytes, and never one that is over.

A tile is known by its layers, what it is cut from, and the fingerprint of everything its maker was bound to, and it stands under
the versions that its layers had *before* it was made: it holds all that these versions number, and perhaps more. Of a layer only
the newest version is kept, so that what was destroyed is gone from here with the next write.

What anybody may have is answered before anything else looks at the request (`Ready`), for as long as a watch that asks for the
versions ten times a second has seen none move.
"""

import gzip
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from geo import db, tiles
from geo.db import Caller
from geo.errors import GeoError

MOST = 64_000_000  # bytes of one process
OWN = 400  # bytes that one costs beside its content: measured, with its key
SMALL = 400  # bytes below which packing gains nothing
LEVEL = 1  # of gzip: 9 took twice as long for 2 % less, for most of a tile are ids
WATCH = 0.1  # seconds: with the 0.15 of the relay, a write is seen within half of one
BELIEVED = 0.3  # seconds for which what the watch saw last is taken for true
IDLE = 5.0  # seconds without a question, after which it rests

Key = tuple[tuple[str, ...], str, int, int, int, str]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile as it goes out: packed if that makes it smaller."""

    content: bytes
    packed: bool
    tag: str
    versions: tuple[int, ...]

    @property
    def plain(self) -> bytes:
        """For who cannot unpack."""
        return gzip.decompress(self.content) if self.packed else self.content

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) + OWN


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer that anybody may have, with the tags that a request may name instead."""

    layers: tuple[str, ...]
    versions: tuple[int, ...]
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    tag: bytes


class Shelf:
    """What one process has made. A shelf of no bytes keeps nothing."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Any, Tile | Answer] = OrderedDict()
        self._of: dict[str, set[Any]] = {}
        self._newest: dict[str, int] = {}
        self._making: dict[Key, threading.Lock] = {}
        self._watched = (0.0, 0.0)  # when it was last asked, and when what is newest was last seen

    def tile(self, key: Key, versions: Sequence[int], make: Callable[[], bytes]) -> Tile:
        """The tile of a key under the versions that its layers have now, made if it is not here: once, however many ask."""
        found = self._found(key, tuple(versions))
        if found is not None:
            return found
        if not self.most:
            return packed(make(), key, versions)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                found = self._found(key, tuple(versions))
                if found is None:
                    found = packed(make(), key, versions)
                    self._keep(key, key[0], found.versions, found, found.size)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return found

    def ready(self, key: Key) -> Tile | None:
        """The tile of a key, where the watch has just seen that it is the newest."""
        now = time.monotonic()
        self._watched = (now, self._watched[1])
        if now - self._watched[1] > BELIEVED:
            return None
        with self._lock:
            found = self._tiles.get(key)
            if not isinstance(found, Tile) or any(self._newest.get(name) != seen for name, seen in zip(key[0], found.versions, strict=True)):
                return None
            self._tiles.move_to_end(key)
            return found

    def answer(self, asked: tuple[bytes, bytes, bool]) -> Answer | None:
        """What was answered to everybody under an address, if no layer of it has moved since."""
        now = time.monotonic()
        seen = self._watched[1]
        self._watched = (now, seen)
        if now - seen > BELIEVED:
            return None
        with self._lock:
            found = self._tiles.get(asked)
            if not isinstance(found, Answer):
                return None
            self._tiles.move_to_end(asked)
        newest = self._newest
        for layer, version in zip(found.layers, found.versions, strict=True):
            if newest.get(layer) != version:
                return None
        return found

    def keep(self, asked: tuple[bytes, bytes, bool], answer: Answer) -> None:
        """What goes out to everybody under an address."""
        self._keep(asked, answer.layers, answer.versions, answer, len(answer.body) + 2 * OWN + len(asked[0]) + len(asked[1]))

    def told(self, versions: Mapping[str, int]) -> None:
        """The versions that there are now: what stands under others leaves."""
        with self._lock:
            for layer, version in versions.items():
                self._moved(layer, version)
            self._watched = (self._watched[0], time.monotonic())

    @property
    def idle(self) -> bool:
        """Whether nobody has asked for a while."""
        return time.monotonic() - self._watched[0] > IDLE

    def _found(self, key: Key, versions: tuple[int, ...]) -> Tile | None:
        with self._lock:
            found = self._tiles.get(key)
            if isinstance(found, Tile) and found.versions == versions:
                self._tiles.move_to_end(key)
                return found
        return None

    def _keep(self, key: Any, layers: tuple[str, ...], versions: tuple[int, ...], kept: Tile | Answer, size: int) -> None:
        with self._lock:
            for layer, version in zip(layers, versions, strict=True):
                self._moved(layer, version)
            # Somebody has seen a newer one meanwhile: then this is over before it came.
            if any(self._newest[layer] != version for layer, version in zip(layers, versions, strict=True)) or size > self.most // 8:
                return
            self._drop(key)
            self._tiles[key] = kept
            self.held += size
            for layer in layers:
                self._of.setdefault(layer, set()).add(key)
            while self.held > self.most:
                self._drop(next(iter(self._tiles)))

    def _moved(self, layer: str, version: int) -> None:
        if version > self._newest.get(layer, -1):
            self._newest[layer] = version
            for key in list(self._of.get(layer, ())):
                self._drop(key)

    def _drop(self, key: Any) -> None:
        gone = self._tiles.pop(key, None)
        if gone is None:
            return
        layers = gone.layers if isinstance(gone, Answer) else key[0]
        self.held -= gone.size if isinstance(gone, Tile) else len(gone.body) + 2 * OWN + len(key[0]) + len(key[1])
        for layer in layers:
            self._of[layer].discard(key)


def packed(content: bytes, key: Key, versions: Sequence[int]) -> Tile:
    """A tile for the shelf. Its tag tells apart what different people see, even where it is the same."""
    tag = f'W/"{hashlib.sha256(key[5].encode() + content).hexdigest()[:16]}"'
    small = gzip.compress(content, LEVEL, mtime=0) if len(content) > SMALL else content
    return Tile(small, small is not content, tag, tuple(versions))


def watch(shelf: Shelf, web: sa.Engine, over: threading.Event) -> None:
    """Ask for the versions, for as long as tiles are asked for."""
    while not over.wait(WATCH):
        if shelf.idle:
            continue
        try:
            with db.transaction(web, Caller(), read_only=True) as connection:
                shelf.told(tiles.versions(connection))
        except GeoError:
            # Without the database nothing is believed, and the request itself is told what is wrong.
            over.wait(1)


class Ready:
    """The outermost of all for what is ready: whoever asks as nobody in particular is answered from the shelf, with the very
    answer that all the rest has made before."""

    def __init__(self, app: Any, state: Any) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or b"/tiles/" not in (path := scope.get("raw_path") or b""):
            await self.app(scope, receive, send)
            return
        known = b""
        unpacks = False
        everybodys = path.startswith(b"/tiles/public/")
        for name, value in scope["headers"]:
            if not everybodys and (name == b"cookie" or name == b"authorization"):
                await self.app(scope, receive, send)
                return
            if name == b"accept-encoding":
                unpacks = b"gzip" in value
            elif name == b"if-none-match":
                known = value
        shelf: Shelf = self.state.shelf
        asked = (path, scope["query_string"], unpacks)
        answer = shelf.answer(asked)
        if answer is None:
            await self.app(scope, receive, self._noting(scope, send, shelf, asked))
        elif known and answer.tag and answer.tag in known:
            headers = [header for header in answer.headers if header[0] not in (b"content-length", b"content-type", b"content-encoding")]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})

    def _noting(self, scope: Any, send: Any, shelf: Shelf, asked: tuple[bytes, bytes, bool]) -> Any:
        """Send on, and keep what the route has said may be kept (`scope["on_shelf"]`: its layers and their versions)."""
        start: dict[str, Any] = {}

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif scope.get("on_shelf") and start.get("status") in (200, 204) and not message.get("more_body"):
                headers = [(bytes(name), bytes(value)) for name, value in start["headers"]]
                layers, versions = scope["on_shelf"]
                tag = next((value for name, value in headers if name == b"etag"), b"")
                shelf.keep(asked, Answer(layers, versions, start["status"], headers, message.get("body", b""), tag))
            await send(message)

        return noted
