"""Files that people send, read in a process of their own: no network, bounded memory, time and drivers.

What GDAL opens may not be what its name says: a `.geojson` that is a virtual dataset reads any file or address the
process can reach (10 of 10 tries). So contents are looked at before GDAL is, GDAL starts with the drivers of that one
format and no other, and the reading process (`geo.reading`) can reach nothing.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geo import crs, shifts
from geo.errors import Invalid, Unavailable

BYTES = 2 << 30  # of the file as sent
# Seconds of silence after which the reader is taken for lost: some, and some for each megabyte sent. A whole GeoJSON is
# read before its first row comes, at 30 MB/s on a quiet machine and a tenth of that on a busy one.
SILENCE, SILENCE_A_MEGABYTE = 15.0, 0.5
# Columns of the stream that are ours, not the file's.
ROW, LON, LAT, WKB, PROBLEM, REPAIRED = "\x01row", "\x01lon", "\x01lat", "\x01wkb", "\x01problem", "\x01repaired"


@dataclass(frozen=True)
class Evidence:
    """Why a file was taken as it was: `because` is a gettext sentence, `facts` fill it.

    `choices` are the values that `option`, a keyword of `opened`, takes to overrule it. What is `doubtful` was concluded, or
    loses something, and a person should look at it; what must be confirmed (`confirm`) is too dear to get wrong: nothing of
    the file is to be stored before somebody has said it. What a file states of itself is neither.
    """

    aspect: str  # encoding, layer, header, totals, dates, numbers, names, crs, axes, datum, geometry
    value: str
    because: str
    facts: Mapping[str, object] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    option: str | None = None
    doubtful: bool = True
    confirm: bool = False

    def __str__(self) -> str:
        return self.said(str)

    def said(self, translated: Callable[[str], str]) -> str:
        """The sentence, filled."""
        return Invalid(self.because, **self.facts).said(translated)


@dataclass(frozen=True)
class Layer:
    """One of the layers or sheets of a file; `count` of its rows, where that is told without reading them."""

    name: str
    count: int | None = None


@dataclass(frozen=True)
class Described:
    """What a file holds: its columns with samples, how many rows if known, and how it was understood.

    `sample` are some of its shapes, in degrees of the datum it was read by, and `bounds` (west, south, east, north) are
    theirs: enough to compare with what is known at that place.
    """

    columns: Mapping[str, list[object]]
    count: int | None
    position_columns: list[str]
    evidence: tuple[Evidence, ...] = ()
    layers: tuple[Layer, ...] = ()
    bounds: tuple[float, float, float, float] | None = None
    sample: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, object))

    @property
    def warnings(self) -> list[str]:
        """What a person should look at, as sentences."""
        return [str(one) for one in self.evidence if one.doubtful]

    @property
    def confirm(self) -> tuple[Evidence, ...]:
        """What somebody has to say before anything is stored."""
        return tuple(one for one in self.evidence if one.confirm)


# What GEOS says is wrong with a shape, in words.
FAULTS = {
    "Self-intersection": "边界自己相交", "Ring Self-intersection": "边界在一点上碰到自己", "Hole lies outside shell": "洞在外圈以外",
    "Holes are nested": "洞里有洞", "Nested holes": "洞里有洞", "Interior is disconnected": "内部被断成几块", "Nested shells": "面里套着面",
    "Duplicate Rings": "同一圈画了两次", "Too few points in geometry component": "点太少,围不成面", "Ring order": "外圈的方向反了",
    "Repeated point": "有重复的点", "Ring not closed": "边界没有闭合",
}


@dataclass(frozen=True)
class Repair:
    """What was done to a shape: what was wrong and where (degrees), and its area before and after, in square metres.

    `what` is a key of `FAULTS`, or what GEOS says where that has no word of ours.
    """

    what: str
    lon: float
    lat: float
    before: float
    after: float

    def __str__(self) -> str:
        return self.said(str)

    def said(self, translated: Callable[[str], str]) -> str:
        """In one sentence."""
        what, sentence = translated(FAULTS.get(self.what, self.what)), translated("{what},面积由 {before} 变为 {after} 平方米")
        if self.before == self.after:
            return what
        return sentence.format(what=what, before=f"{self.before:.4g}", after=f"{self.after:.4g}")


@dataclass(frozen=True)
class Batch:
    """Some rows: the file's columns, and either points (`lon`, `lat`, degrees) or shapes, in the storage CRS, 2-D."""

    columns: Mapping[str, pa.Array]
    rows: NDArray[np.int64]  # 1-based, as the file counts its records
    lon: NDArray[np.float64] | None = None
    lat: NDArray[np.float64] | None = None
    wkb: pa.Array | None = None  # each shape, little-endian and 2-D; null for none
    problems: Mapping[int, str] = field(default_factory=dict)  # position → why the row cannot be drawn
    repaired: Mapping[int, Repair] = field(default_factory=dict)  # position → what was done to its shape

    @cached_property
    def geometry(self) -> NDArray[np.object_] | None:
        """The shapes themselves. Whoever only passes them on spares making them, which takes as long as reading them did."""
        if self.wkb is None:
            return None
        import shapely

        return np.atleast_1d(np.asarray(shapely.from_wkb(np.array(self.wkb.to_pylist(), object)), object))


Known = Callable[[tuple[float, float, float, float]], Sequence[bytes]]


@contextmanager
def opened(path: Path, **how: object) -> Iterator[tuple[Described, Iterator[Batch]]]:
    """A file, or a folder of loose parts, being read: what it holds, and its rows in batches.

    `how` overrules what would be concluded: encoding, crs, datum, axes (`xy`, `yx`), layer, header (`2`, `2-3`: which rows are
    the heading, `0`: none), dates and numbers (see their evidence), repair (False, or the rows whose shapes are to be left
    alone and so become problems); `near` (west, south, east, north) is where it should lie; `drivers`, none of which a sheet
    needs, spares asking GDAL which there are.

    `known`, a `Known`, gives for bounds in degrees the shapes known there (WKB of polygons: buildings, else areas; a few thousand do).
    With it a file whose datum nobody told is compared under each (`shifts.compared`), and read by what fits.

    Raises `Invalid` with one sentence when it cannot be understood, or names the option that would settle it.
    """
    known = cast("Known | None", how.pop("known", None))
    if not path.exists():
        raise Invalid("没有文件 {file}。", file=path.name)
    if _bytes_of(path) > BYTES:
        raise Invalid("文件超过 2 GB。", file=path.name)
    with tempfile.TemporaryDirectory(prefix="jingwei-") as job, _Reader(path, Path(job), how) as reader:
        described = reader.described()
        # Also where the file states a datum: programs write one into every file, over whatever its numbers are.
        found = _compared(described, known) if known and not how.get("datum") else None
        if found is None or found.value == _asked(described).value:
            yield replace(described, evidence=_instead(described.evidence, found)), reader.batches()
            return
    # Once more, under the datum that fits.
    with opened(path, **{**how, "datum": found.value}) as (described, batches):
        yield replace(described, evidence=_instead(described.evidence, found)), batches


def _asked(described: Described) -> Evidence:
    return next(one for one in described.evidence if one.aspect == "datum")


def _compared(described: Described, known: Known) -> Evidence | None:
    """What the place of a file says of its datum, where it says anything."""
    if described.bounds is None or not any(one.aspect == "datum" for one in described.evidence):
        return None
    verdict = shifts.compared(described.sample, known(shifts.around(described.bounds)))
    if verdict is None:
        return None
    sentence = "与已有的{count}个图形相比:按 {best} 读取有 {share} 重合,其次 {second} {rest}"
    facts = {
        "count": verdict.count, "best": verdict.best, "share": f"{verdict.shares[verdict.best]:.0%}",
        "second": verdict.second, "rest": f"{verdict.shares[verdict.second]:.0%}",
    }
    # A shift is a conclusion to be confirmed; that there is none, when so much coincides, is not.
    return Evidence("datum", verdict.best, sentence, facts, tuple(crs.Datum), "datum", confirm=verdict.best.shifted)


def _instead(evidence: tuple[Evidence, ...], found: Evidence | None) -> tuple[Evidence, ...]:
    return evidence if found is None else (*(one for one in evidence if one.aspect != "datum"), found)


def _bytes_of(path: Path) -> int:
    if path.is_dir():
        return sum(part.lstat().st_size for part in path.rglob("*"))
    return path.stat().st_size


class _Reader:
    """The reading process, and what it tells through its pipe, its refusal and its end."""

    def __init__(self, path: Path, job: Path, how: Mapping[str, object]) -> None:
        self.path, self.job = path, job
        size = _bytes_of(path)
        self.silence = SILENCE + SILENCE_A_MEGABYTE * size / 1e6
        order = {"path": str(path.resolve()), "job": str(job), "size": size, **how}
        if isinstance(order.get("repair"), Set):
            order["repair"] = sorted(cast(Set[int], order["repair"]))
        if "drivers" not in order:
            order["drivers"] = sorted(_known())
        # In a file, because rows that are not to be mended may be more than an argument holds.
        (job / "order.json").write_text(json.dumps(order, ensure_ascii=False), "utf-8")
        self.child = _spare(job) or _started(job)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: a shape under repair is a process of its own.
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        assert self.child.stdout
        self.child.stdout.close()
        if _waiting is not None:
            prepared()

    def described(self) -> Described:
        self.stream = self._heard(lambda: pa.ipc.open_stream(self.child.stdout))
        told: dict[str, Any] = json.loads((self.stream.schema.metadata or {})[b"described"])
        import shapely

        return Described(
            told["columns"], told["count"], told["position_columns"],
            tuple(Evidence(**{**one, "choices": tuple(one["choices"])}) for one in told["evidence"]),
            tuple(Layer(**one) for one in told["layers"]),
            None if told["bounds"] is None else tuple(told["bounds"]),
            shapely.from_wkb(np.array([bytes.fromhex(wkb) for wkb in told["sample"]], object)),
        )

    def batches(self) -> Iterator[Batch]:
        ours = {ROW, LON, LAT, WKB, PROBLEM, REPAIRED}
        while (part := self._heard(self._next)) is not None:
            names = part.schema.names
            yield Batch(
                {name: part.column(name) for name in names if name not in ours},
                part.column(ROW).to_numpy(),
                part.column(LON).to_numpy(zero_copy_only=False).copy() if LON in names else None,
                part.column(LAT).to_numpy(zero_copy_only=False).copy() if LAT in names else None,
                part.column(WKB) if WKB in names else None,
                _said(part, PROBLEM),
                {at: Repair(**json.loads(text)) for at, text in _said(part, REPAIRED).items()},
            )
        if self.child.wait(self.silence):
            raise self._refusal()

    def _next(self) -> pa.RecordBatch | None:
        try:
            part = self.stream.read_next_batch()
        except StopIteration:
            return None
        # Offsets and text are checked before anything follows them: the sender has read a stranger's file.
        part.validate(full=True)
        return part

    def _heard(self, said: Callable[[], Any]) -> Any:
        """What the reader says next. Raises its refusal, or ends it when it says nothing for too long."""
        lost = threading.Timer(self.silence, self.child.kill)
        lost.start()
        try:
            return said()
        except (pa.ArrowInvalid, OSError) as error:
            raise self._refusal() from error
        finally:
            lost.cancel()

    def _refusal(self) -> Invalid | Unavailable:
        """Why the reading process gave up: its own sentence, or what its end means."""
        try:
            code = self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        refusal = self.job / "refusal"
        if refusal.exists():
            told = json.loads(refusal.read_bytes())
            kind = Unavailable if told.pop("unavailable", False) else Invalid
            return kind(told.pop("sentence"), **{"file": self.path.name, **told})
        if code < 0 or b"MemoryError" in (self.job / "complaints").read_bytes()[-20_000:]:
            return Invalid("文件太大或太复杂,读取时超出了内存或时间限制。", file=self.path.name)
        return Invalid("文件读不出来,可能已损坏,或内容与扩展名不符。", file=self.path.name)


def _said(part: pa.RecordBatch, name: str) -> dict[int, str]:
    if name not in part.schema.names or part.column(name).null_count == part.num_rows:
        return {}
    return {at: text for at, text in enumerate(part.column(name).to_pylist()) if text}


# A reading process that has imported all it needs and waits for its file, in a process that waits for files itself.
_waiting: "list[subprocess.Popen[bytes]] | None" = None


def prepared() -> None:
    """Be ready for the next file: a reading process then waits for it. It has read no other, and reads none after."""
    global _waiting
    _known()
    if not _waiting:
        _waiting = [_started()]


def _spare(job: Path) -> "subprocess.Popen[bytes] | None":
    """The reading process that waits, told its folder."""
    (job / "complaints").touch()
    while _waiting:
        child = _waiting.pop()
        assert child.stdin and child.stdout
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(os.fsencode(job))
        if child.poll() is None:
            return child
        child.stdout.close()
    return None


def _started(job: Path | None = None) -> "subprocess.Popen[bytes]":
    """A reading process for the folder, or one that waits to be told of one."""
    # Nothing of our own environment goes along: it may hold the database's address.
    environment = {
        "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1]),
        "TMPDIR": str(job or "/"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
    # Complaints go to a file, which is bounded: a pipe that nobody empties would stop the process for ever.
    with open(job / "complaints" if job else os.devnull, "wb") as complaints:
        return subprocess.Popen(
            [sys.executable, "-m", "geo.reading", *([str(job)] if job else [])], cwd=job or "/", env=environment,
            stdin=subprocess.DEVNULL if job else subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True,
        )


@cache
def _known() -> frozenset[str]:
    """Every vector driver of the GDAL at hand, asked in a process that opens nothing."""
    # pyogrio looks for geopandas, which costs two seconds and is not needed.
    code = "import json, sys; sys.modules['geopandas'] = None; import pyogrio; print(json.dumps(list(pyogrio.list_drivers())))"
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(json.loads(told.stdout))
