"""Files that people send, read in a process of their own: no network, bounded memory, time and drivers.

What GDAL opens may not be what its name says: a `.geojson` that is a virtual dataset reads any file or address the
process can reach (10 of 10 tries). So the drivers are an allow-list set before GDAL starts, contents are looked at before
GDAL is, and the reading process (`geo.reading`) can reach nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geo.errors import Invalid

DRIVERS = {"ESRI Shapefile", "GeoJSON", "GeoJSONSeq", "GPKG", "FlatGeobuf", "KML", "LIBKML", "CSV"}
SECONDS = 600.0
BYTES = 2 << 30  # of the file as sent
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
    """A file being read: what it holds, and its rows in batches. `how`: encoding, crs, datum, layer, repair.

    Raises `Invalid` with one sentence when it cannot be understood, or names the option that would settle it.
    """
    if not path.is_file():
        raise Invalid("没有文件 {file}。", file=path.name)
    if path.stat().st_size > BYTES:
        raise Invalid("文件超过 2 GB。", file=path.name)
    with tempfile.TemporaryDirectory(prefix="jingwei-") as job:
        order = {"path": str(path.resolve()), "job": job, **how}
        environment = {
            "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1]),
            "OGR_SKIP": ",".join(sorted(_known() - DRIVERS)), "GDAL_SKIP": "VRT", "SHAPE_RESTORE_SHX": "YES",
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "TMPDIR": job,
            "OGR_GEOJSON_MAX_OBJ_SIZE": "200", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        }
        child = subprocess.Popen(
            [sys.executable, "-m", "geo.reading", json.dumps(order)], cwd=job, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )
        try:
            yield _received(child, path)
        finally:
            child.kill()
            child.wait()
            assert child.stdout and child.stderr
            child.stdout.close()
            child.stderr.close()


def _received(child: "subprocess.Popen[bytes]", path: Path) -> tuple[Described, Iterator[Batch]]:
    try:
        stream = pa.ipc.open_stream(child.stdout)
    except pa.ArrowInvalid as error:
        raise _refusal(child, path) from error
    told: dict[str, Any] = json.loads((stream.schema.metadata or {})[b"described"])
    described = Described(told["columns"], told["count"], told["position_columns"], told["warnings"])
    return described, _batches(child, stream, path)


def _batches(child: "subprocess.Popen[bytes]", stream: Any, path: Path) -> Iterator[Batch]:
    import shapely

    ours = {ROW, LON, LAT, WKB, PROBLEM, REPAIRED}
    while True:
        try:
            part = stream.read_next_batch()
        except StopIteration:
            break
        except pa.ArrowInvalid as error:
            raise _refusal(child, path) from error
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
    if child.wait(SECONDS):
        raise _refusal(child, path)


def _said(part: pa.RecordBatch, name: str) -> dict[int, str]:
    if name not in part.schema.names or part.column(name).null_count == part.num_rows:
        return {}
    return {at: text for at, text in enumerate(part.column(name).to_pylist()) if text}


def _refusal(child: "subprocess.Popen[bytes]", path: Path) -> Invalid:
    """Why the reading process gave up: its own sentence, or what its end means."""
    assert child.stderr
    try:
        code = child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    last = child.stderr.read()[-20_000:].decode("utf-8", "replace").strip().splitlines()
    if last and last[-1].startswith("{"):
        told = json.loads(last[-1])
        return Invalid(told.pop("sentence"), file=path.name, **told)
    if code < 0 or any("MemoryError" in line for line in last):
        return Invalid("文件太大或太复杂,读取时超出了内存或时间限制。", file=path.name)
    return Invalid("文件读不出来,可能已损坏,或内容与扩展名不符。", file=path.name)


@cache
def _known() -> frozenset[str]:
    """Every vector driver of the GDAL at hand, asked in a process that opens nothing."""
    code = "import json, pyogrio; print(json.dumps(list(pyogrio.list_drivers())))"
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(json.loads(told.stdout))
