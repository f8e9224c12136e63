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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geo.errors import Invalid, Unavailable

BYTES = 2 << 30  # of the file as sent
# Seconds of silence after which the reader is taken for lost: some, and some for each megabyte sent. A whole GeoJSON is
# read before its first row comes, at 30 MB/s on a quiet machine and a tenth of that on a busy one.
SILENCE, SILENCE_A_MEGABYTE = 15.0, 0.5
# Columns of the stream that are ours, not the file's.
ROW, LON, LAT, WKB, PROBLEM, REPAIRED = "\x01row", "\x01lon", "\x01lat", "\x01wkb", "\x01problem", "\x01repaired"


@dataclass(frozen=True)
class Described:
    """What a file holds: its columns with samples, how many rows if known, and how it was understood."""

    columns: Mapping[str, list[object]]
    count: int | None
    position_columns: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class Batch:
    """Some rows: the file's columns, and either points (`lon`, `lat`, degrees) or shapes, in the storage CRS, 2-D."""

    columns: Mapping[str, pa.Array]
    rows: NDArray[np.int64]  # 1-based, as the file counts its records
    lon: NDArray[np.float64] | None = None
    lat: NDArray[np.float64] | None = None
    geometry: NDArray[np.object_] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)  # position → why the row cannot be drawn
    repaired: Mapping[int, str] = field(default_factory=dict)  # position → what was wrong with its shape


@contextmanager
def opened(path: Path, **how: object) -> Iterator[tuple[Described, Iterator[Batch]]]:
    """A file being read: what it holds, and its rows in batches. `how`: encoding, crs, datum, layer, repair; `drivers`, none
    of which a sheet needs, spares asking GDAL which there are.

    Raises `Invalid` with one sentence when it cannot be understood, or names the option that would settle it.
    """
    if not path.is_file():
        raise Invalid("没有文件 {file}。", file=path.name)
    if path.stat().st_size > BYTES:
        raise Invalid("文件超过 2 GB。", file=path.name)
    with tempfile.TemporaryDirectory(prefix="jingwei-") as job, _Reader(path, Path(job), how) as reader:
        yield reader.described(), reader.batches()


class _Reader:
    """The reading process, and what it tells through its pipe, its refusal and its end."""

    def __init__(self, path: Path, job: Path, how: Mapping[str, object]) -> None:
        self.path, self.job = path, job
        self.silence = SILENCE + SILENCE_A_MEGABYTE * path.stat().st_size / 1e6
        order = {"path": str(path.resolve()), "job": str(job), **how}
        if "drivers" not in order:
            order["drivers"] = sorted(_known())
        # Nothing of our own environment goes along: it may hold the database's address.
        environment = {
            "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1]),
            "TMPDIR": str(job), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        # Complaints go to a file, which is bounded: a pipe that nobody empties would stop the process for ever.
        with (job / "complaints").open("wb") as complaints:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "geo.reading", json.dumps(order)], cwd=job, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True,
            )

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: a shape under repair is a process of its own.
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        assert self.child.stdout
        self.child.stdout.close()

    def described(self) -> Described:
        self.stream = self._heard(lambda: pa.ipc.open_stream(self.child.stdout))
        told: dict[str, Any] = json.loads((self.stream.schema.metadata or {})[b"described"])
        return Described(told["columns"], told["count"], told["position_columns"], told["warnings"])

    def batches(self) -> Iterator[Batch]:
        import shapely

        ours = {ROW, LON, LAT, WKB, PROBLEM, REPAIRED}
        while (part := self._heard(self._next)) is not None:
            names = part.schema.names
            shapes = shapely.from_wkb(np.array(part.column(WKB).to_pylist(), object)) if WKB in names else None
            yield Batch(
                {name: part.column(name) for name in names if name not in ours},
                part.column(ROW).to_numpy(),
                part.column(LON).to_numpy(zero_copy_only=False).copy() if LON in names else None,
                part.column(LAT).to_numpy(zero_copy_only=False).copy() if LAT in names else None,
                None if shapes is None else np.atleast_1d(np.asarray(shapes, object)),
                _said(part, PROBLEM),
                _said(part, REPAIRED),
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


@cache
def _known() -> frozenset[str]:
    """Every vector driver of the GDAL at hand, asked in a process that opens nothing."""
    # pyogrio looks for geopandas, which costs two seconds and is not needed.
    code = "import json, sys; sys.modules['geopandas'] = None; import pyogrio; print(json.dumps(list(pyogrio.list_drivers())))"
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(json.loads(told.stdout))
