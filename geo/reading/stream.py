"""From a file to rows in storage coordinates on a pipe."""

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geo import crs
from geo.crs import Datum
from geo.files import LAT, LON, PROBLEM, REPAIRED, ROW, WKB
from geo.reading.kinds import opened
from geo.reading.places import drawn, located, positions
from geo.reading.shapes import judged
from geo.reading.source import EMPTY, HEADED, Refused, Source
from geo.reading.understanding import understood
from geo.reading.values import plain

SAMPLE = 100  # values of each column that are told beforehand
SHAPES, VERTICES = 1000, 60_000  # shapes that are told beforehand, and their vertices


def written(order: Mapping[str, Any], job: Path, out: Any) -> None:
    """Read the file of the order and write it to `out`: a description, then batch after batch."""
    source = opened(Path(order["path"]), job, order)
    datum = Datum(order["datum"]) if order.get("datum") in set(Datum) else None
    if order.get("datum") and datum is None:
        raise Refused("不认识坐标系 {named}。", named=order["datum"], option="--datum", choices=list(Datum))
    first = next(source.parts, None)
    if first is None:
        raise Refused(HEADED if source.names else EMPTY)
    if source.wkb is None and source.shapes is None and source.wkt is None:
        located(source, first, datum)
    understood(source, first, order, datum)
    number, writer = 1, None
    for part in _chained(first, source.parts):
        told = _converted(source, part, number, datum or Datum.CGCS2000, order.get("repair", True))
        if writer is None:
            schema = told.schema.with_metadata({b"described": json.dumps(_described(source, told), ensure_ascii=False).encode()})
            writer = pa.ipc.new_stream(out, schema)
        writer.write_batch(pa.record_batch([_fitted(c, f.type) for c, f in zip(told.columns, schema, strict=True)], schema=schema))
        number += part.num_rows
    if writer is not None:
        writer.close()


def _described(source: Source, told: pa.RecordBatch) -> dict[str, Any]:
    sample = _sample(told)
    bounds = shapely.total_bounds(sample) if len(sample) else [np.nan]
    return {
        "columns": {
            name: [plain(v) for v in told.column(name).slice(0, SAMPLE).to_pylist()]
            for name in told.schema.names if not name.startswith("\x01")
        },
        "count": source.count, "position_columns": source.positioned,
        "evidence": [asdict(one) for one in source.evidence], "layers": [asdict(one) for one in source.layers],
        "bounds": [float(v) for v in bounds] if np.isfinite(bounds).all() else None,
        "sample": [wkb.hex() for wkb in shapely.to_wkb(sample).tolist()],
    }


def _sample(told: pa.RecordBatch) -> Any:
    """Some shapes from all over the first batch, as they go out."""
    at = np.unique(np.linspace(0, told.num_rows - 1, min(SHAPES, told.num_rows)).astype(int)) if told.num_rows else np.empty(0, int)
    if LON in told.schema.names:
        x, y = (told.column(name).to_numpy(zero_copy_only=False)[at] for name in (LON, LAT))
        there = np.isfinite(x) & np.isfinite(y) & (np.abs(x) <= 180) & (np.abs(y) <= 90)
        return shapely.points(x[there], y[there])
    if WKB not in told.schema.names:
        return np.empty(0, object)
    shapes = shapely.from_wkb(np.array(told.column(WKB).take(pa.array(at)).to_pylist(), object))
    shapes = shapes[~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)]
    return shapes[np.cumsum(shapely.get_num_coordinates(shapes)) <= VERTICES]


def _fitted(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    return column if column.type == wanted else column.cast(wanted)


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _converted(source: Source, part: pa.RecordBatch, number: int, datum: Datum, repair: bool | list[int]) -> pa.RecordBatch:
    """A batch as it goes out: decoded columns, storage coordinates, and the reason of each row that cannot be drawn."""
    count = part.num_rows
    out: dict[str, pa.Array] = {}
    for name, shown in source.names.items():
        if name in (source.lon, source.lat, source.wkt, source.pair):
            continue
        column = source.decode(part.column(name))
        if not (pa.types.is_string(column.type) or pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            column = pa.array([_text(v) for v in column.to_pylist()], pa.string())
        while shown in out or not shown:
            shown = f"{shown or '列'}_{len(out)}"
        out[shown] = column
    numbered = ROW in part.schema.names
    out[ROW] = part.column(ROW) if numbered else pa.array(np.arange(number, number + count, dtype=np.int64))
    reasons: list[str | None] = part.column(PROBLEM).to_pylist() if PROBLEM in part.schema.names else [None] * count
    x = y = None
    if source.lon or source.pair:
        x, y = positions(source, part)
    elif source.wkb or source.wkt or source.shapes:
        shapes = drawn(source, part, reasons)
        if source.points:
            shapes[shapely.is_empty(shapes) | (shapely.get_type_id(shapes) != 0)] = None
            x, y = shapely.get_x(shapes), shapely.get_y(shapes)
        else:
            if source.swapped:
                shapes = shapely.transform(shapes, lambda xy: xy[:, ::-1])
            closed = sorted(source.closed)
            spared = np.full(count, not repair) if isinstance(repair, bool) else np.isin(out[ROW].to_numpy(), repair)
            mirrored = source.outward is True and not source.swapped
            stored = crs.to_storage(shapes, source.crs, datum)
            as_read = part.column(source.wkb) if source.exported and source.wkb and stored is shapes and not source.swapped else None
            before = stored.copy()
            out[REPAIRED] = pa.array(judged(stored, reasons, spared, closed, mirrored), pa.string())
            out[WKB] = _written_out(stored, before, as_read, closed)
    if x is not None and y is not None:
        if source.swapped:
            x, y = y, x
        with np.errstate(invalid="ignore"):
            x, y = (np.array(v, np.float64) for v in crs.positions_to_storage(x, y, source.crs, datum))
        lost = ~(np.isfinite(x) & np.isfinite(y))
        x[lost], y[lost] = np.nan, np.nan
        out[LON], out[LAT] = pa.array(x), pa.array(y)
    out[PROBLEM] = pa.array(reasons, pa.string())
    return pa.record_batch(list(out.values()), names=list(out))


def _written_out(shapes: Any, before: Any, as_read: pa.Array | None, closed: Sequence[int]) -> pa.Array:
    """Shapes as WKB: those that still are what they were `before`, in the bytes that they were read from."""
    if as_read is None or as_read.type != pa.binary():
        return pa.array(shapely.to_wkb(shapes, output_dimension=2, byte_order=1), pa.binary())
    other = np.fromiter(map(operator.is_not, shapes, before), np.bool_, len(shapes))
    other[list(closed)] = True
    # GDAL numbers what has heights or measures otherwise.
    other |= shapely.is_missing(shapes) | shapely.has_z(shapes) | shapely.has_m(shapes)
    if not other.any():
        return as_read
    fresh = shapely.to_wkb(shapes[other], output_dimension=2, byte_order=1)
    return pc.replace_with_mask(as_read, pa.array(other), pa.array(fresh, pa.binary()))


def _text(value: object) -> str | None:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return plain(value)
