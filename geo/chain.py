"""A hash chain, looked at from outside: which row was changed, removed, put in, moved, and where an end was cut off.

Pure: it takes rows as they were read, from the database or from an exported file, and asks nobody else. A row's hash is
that of the hash before it followed by the row's text, a JSON array that begins with its number; numbers have no gap.
So a row proves its content, its place and what came before it. What a chain cannot prove is that its end is the end,
or that it was not written anew from some row on: for that there are heads, told outside while they were the end.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from geo.errors import Unavailable

Digest = Callable[[bytes], bytes]
Span = tuple[int, int]  # from the first to the last, both of them in it

FLOOR = 183 * 86400.0  # seconds that a row is kept, at the least
STEP = 1.0  # seconds by which a row may be older than the one before it: more is a clock put back

# How much is kept of a chain that is broken in many places: enough for the first fault of each kind.
ODD, SEARCHED, REACH = 200, 40, 1000


class Kind(StrEnum):
    """What may have been done to a chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    CUT = "cut"  # the end is gone
    REWRITTEN = "rewritten"  # written anew and chained properly: only a head shows it
    BACKDATED = "backdated"
    PRUNED = "pruned"  # gone from the beginning before it was old enough, or without a word


class Row(NamedTuple):
    """A row as it hangs in the chain. `text` is what is hashed after `previous`."""

    id: int
    previous: bytes
    hash: bytes
    text: bytes


@dataclass(frozen=True)
class Head:
    """The end of the chain as it was once: told outside the database."""

    id: int
    hash: bytes
    at: datetime | None = None


@dataclass(frozen=True)
class Cut:
    """The rows up to `until` were old enough and went; the next one hangs on `hash`."""

    until: int = 0
    hash: bytes = b""


@dataclass(frozen=True, order=True)
class Fault:
    """Something done to the rows from `id` to `until`. `found` is where the row now stands, or
    which head it contradicts."""

    id: int
    until: int
    kind: Kind
    found: int | None = None


@dataclass(frozen=True)
class Found:
    """What an examination found: how many rows, the end, and the first fault of each kind."""

    rows: int
    head: Head | None
    faults: tuple[Fault, ...]

    @property
    def whole(self) -> bool:
        """Nothing was done to the chain."""
        return not self.faults


@dataclass
class Run:
    """Rows that stand together where they do not belong. `shift` leads to their true numbers; None: nobody knows."""

    start: int
    end: int
    shift: int | None
    row: Row | None = None  # one that belongs nowhere


def digest(algorithm: str) -> Digest:
    """The hash by its name: `sha256` or `sm3` (GB/T 32905). Raises `Unavailable` where this machine has none such."""
    if algorithm == "sha256":
        return lambda content: hashlib.sha256(content).digest()
    try:
        hashes.Hash(hashes.SM3())
    except UnsupportedAlgorithm as error:
        raise Unavailable("这台机器的 OpenSSL 没有 SM3:请用 SHA-256,或换一台机器。") from error
    return _sm3


def _sm3(content: bytes) -> bytes:
    made = hashes.Hash(hashes.SM3())
    made.update(content)
    return made.finalize()


def examined(rows: Iterable[Row], made: Digest, cut: Cut | None = None, heads: Collection[Head] = ()) -> Found:
    """Look at a whole chain, in the order of its numbers. `cut` is what was pruned from it, `heads` what is known outside."""
    return _Examination(made, cut or Cut(), heads).found(rows)


class _Examination:
    """One walk along a chain, which keeps what is odd, and the explanation of the oddities at its end."""

    def __init__(self, made: Digest, cut: Cut, heads: Collection[Head]) -> None:
        self.made, self.cut, self.heads = made, cut, heads
        self.faults: list[Fault] = []
        self.runs: list[Run] = []
        self.gaps: list[Span] = []
        self.loose: list[int] = []  # rows that hang on another than the one before them
        self.at_heads: dict[int, bytes] = {}
        self.prunings: dict[int, tuple[bytes, float]] = {}
        self.searches = 0
        self.horizon: int | None = None  # the place from which on nothing is kept any more

    def found(self, rows: Iterable[Row]) -> Found:
        """Walk along the chain, then say what the oddities mean together."""
        made, wanted = self.made, {head.id for head in self.heads}
        due, linked, since, sound, count = self.cut.until + 1, self.cut.hash, float("-inf"), True, 0
        for row in rows:
            id, previous, hash, text = row
            count += 1
            if id in wanted:
                self.at_heads[id] = hash
            if id != due:
                if id < due:
                    self._odd(row)  # numbers only grow: it stands before the beginning
                    continue
                self.gaps.append((due, id - 1))
                sound = False
            if made(previous + text) != hash:
                sound = False
                self._misplaced(row)
            else:
                if previous != linked and sound and len(self.loose) < ODD:
                    self.loose.append(id)
                sound = True
                at = float(text.split(b'"', 2)[1])
                if at < since - STEP and _action(text) != "clock":
                    self._add(Kind.BACKDATED, id)
                since = at
                if b'"prune"' in text:
                    self._told(text, at)
            due, linked = id + 1, hash
        self._explained(due - 1)
        self._pruned()
        head = Head(due - 1, linked, datetime.fromtimestamp(since, UTC) if 0 <= since < 1e11 else None) if count else None
        first: dict[Kind, Fault] = {}
        for fault in sorted(self.faults):
            first.setdefault(fault.kind, fault)
        return Found(count, head, tuple(sorted(first.values())))

    def _add(self, kind: Kind, id: int, until: int | None = None, found: int | None = None) -> None:
        self.faults.append(Fault(id, id if until is None else until, kind, found))

    def _told(self, text: bytes, at: float) -> None:
        """Keep what a row says of a pruning."""
        told = json.loads(text)
        if told[4] == "prune" and re.fullmatch("[0-9]{1,18}", told[6]) and re.fullmatch("(?:[0-9a-f]{2}){1,99}", told[9]):
            self.prunings[int(told[6])] = (bytes.fromhex(told[9]), at)

    def _misplaced(self, row: Row) -> None:
        """Keep a row that does not prove its place, with the way to its own where that is near."""
        last = self.runs[-1] if self.runs else None
        if last and last.shift and last.end == row.id - 1 and self._fits(row, row.id + last.shift):
            last.end = row.id
            return
        if self.searches < SEARCHED and len(self.runs) < ODD:
            self.searches += 1
            for step in range(1, REACH):
                for shift in (step, -step):
                    if self._fits(row, row.id + shift):
                        self.runs.append(Run(row.id, row.id, shift))
                        return
        self._odd(row)

    def _odd(self, row: Row) -> None:
        if len(self.runs) < ODD:
            self.runs.append(Run(row.id, row.id, None, row))
        elif self.horizon is None:
            self.horizon = row.id

    def _fits(self, row: Row, id: int) -> bool:
        """Whether this is the row of another number."""
        return self.made(row.previous + b"[%d" % id + row.text[row.text.find(b",") :]) == row.hash

    def _explained(self, end: int) -> None:
        """What the odd rows, the gaps and the loose links mean, taken together, and then what the heads show beyond."""
        self._found_again()
        start = self.cut.until + 1
        end = end if self.horizon is None else self.horizon - 1
        taken = [(run.start + run.shift, run.end + run.shift) for run in self.runs if run.shift is not None]
        nobodys = [(run.start, run.end) for run in self.runs if run.shift is None]
        standing = _without((start, end), [*((run.start, run.end) for run in self.runs), *self.gaps])
        top = max((last for _, last in (*standing, *taken, *nobodys)), default=self.cut.until)
        lost = _without((start, top if self.horizon is None else end), [*standing, *taken])
        twice = [(max(a, c), min(b, d)) for a, b in standing for c, d in taken if max(a, c) <= min(b, d)]
        for place, _ in nobodys:
            # A row that belongs nowhere, in a place whose own row is elsewhere, was put in; else it is that row, altered.
            self._add(Kind.CHANGED if _within(place, lost) else Kind.INSERTED, place)
        for first, last in twice:
            self._add(Kind.INSERTED, first, last)
        removed = [left for span in lost for left in _without(span, nobodys)]
        for first, last in removed:
            self._add(Kind.REMOVED, first, last)
        self._moved([left for span in removed for left in _without(span, self.gaps)])
        self._blamed(twice, end)
        self._against_heads(top, [*((run.start, run.end) for run in self.runs), *self.gaps, *twice])

    def _found_again(self) -> None:
        """The numbers of rows that were moved far: one that is missing, or whose place another row holds."""
        numbers = [run.start for run in self.runs]
        numbers += [id for first, last in self.gaps[:ODD] for id in range(first, min(last, first + ODD) + 1)][:ODD]
        for run in self.runs:
            if run.row is not None:
                id = next((id for id in numbers if id != run.start and self._fits(run.row, id)), None)
                if id is not None:
                    run.shift, run.row = id - run.start, None

    def _moved(self, closed: Sequence[Span]) -> None:
        """Rows that stand elsewhere for no other reason than that they were moved. `closed` are the places of removed rows
        that others have closed up to."""
        put_in = [(fault.id, fault.until) for fault in self.faults if fault.kind is Kind.INSERTED]
        for run in self.runs:
            if run.shift is not None:
                true = run.start + run.shift
                gone = sum(min(last, true - 1) - first + 1 for first, last in closed if first < true)
                come = sum(min(last, run.start - 1) - first + 1 for first, last in put_in if first < run.start)
                if run.shift != gone - come:
                    self._add(Kind.REORDERED, true, run.end + run.shift, run.start)

    def _blamed(self, twice: Sequence[Span], end: int) -> None:
        """A row that hangs on another than the one before it says that that one was another once. Where the next one is
        loose too, it is itself that was put in its place."""
        loose = [id for id in self.loose if not _within(id, twice) and not _within(id - 1, twice)]
        for id in loose:
            if id + 1 in loose:
                self._add(Kind.CHANGED, id)
            elif id - 1 not in loose:
                self._add(Kind.CHANGED, max(id - 1, self.cut.until + 1), id if id == end else max(id - 1, self.cut.until + 1))

    def _pruned(self) -> None:
        """Whether the rows that went from the beginning went as the chain itself says, and not before their time."""
        if not self.cut.until:
            return
        hash, at = self.prunings.get(self.cut.until, (b"", 0.0))
        if hash != self.cut.hash:
            self._add(Kind.PRUNED, 1, self.cut.until)
            return
        young = [head.id for head in self.heads if head.id <= self.cut.until and head.at and head.at.timestamp() > at - FLOOR]
        if young:
            self._add(Kind.PRUNED, min(young), self.cut.until)

    def _against_heads(self, top: int, odd: Sequence[Span]) -> None:
        good = self.cut.until
        for head in sorted(self.heads, key=lambda head: head.id):
            if head.id > top:
                self._add(Kind.CUT, top + 1, last := max(head.id for head in self.heads), last)
                return
            known = self.cut.hash if head.id == self.cut.until else self.at_heads.get(head.id)
            if known is None or _within(head.id, odd):
                continue  # it went with the beginning, or stands elsewhere
            if known == head.hash:
                good = head.id
            else:
                self._add(Kind.REWRITTEN, min(good + 1, head.id), head.id, head.id)
                return


def _action(text: bytes) -> str:
    return str(json.loads(text)[4])


def _within(id: int, spans: Iterable[Span]) -> bool:
    return any(first <= id <= last for first, last in spans)


def _without(whole: Span, taken: Iterable[Span]) -> list[Span]:
    """The stretches of `whole` that are in none of `taken`."""
    left, at = [], whole[0]
    for first, last in sorted(taken):
        left.append((at, min(first - 1, whole[1])))
        at = max(at, last + 1)
    left.append((at, whole[1]))
    return [(first, last) for first, last in left if first <= last]
