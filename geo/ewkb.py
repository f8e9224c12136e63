"""Shapes as PostGIS keeps them (EWKB with their SRID), made of bytes alone: nothing is drawn that is only passed on."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SRID = (4326).to_bytes(4, "little")
# The number of the single shape and of the one of several, and the fewest bytes of a single one that is not empty.
KINDS = {"MULTIPOLYGON": (3, 6, 77), "MULTILINESTRING": (2, 5, 41)}


def kept_as(wanted: str, wkb: pa.Array) -> pa.Array | None:
    """Shapes as a noun keeps them, single ones as several; None when one of them is of another kind, or of a kind to be looked into."""
    one, several, least = KINDS[wanted]
    wkb = wkb.cast(pa.large_binary())
    if not len(wkb) or wkb.null_count == len(wkb):
        return wkb
    _, offsets, data = wkb.buffers()
    ends = np.frombuffer(offsets, np.int64, len(wkb) + 1, wkb.offset * 8)
    there = wkb.is_valid().to_numpy(zero_copy_only=False)
    start, size = ends[:-1][there], np.diff(ends)[there]
    if size.min() < least:
        return None
    heads = np.frombuffer(data, np.uint8)[start[:, None] + np.arange(5)]
    kinds = np.ascontiguousarray(heads[:, 1:]).view("<u4")[:, 0]
    if not ((heads[:, 0] == 1) & ((kinds == one) | (kinds == several) & (size >= least + 9))).all():
        return None
    single = np.zeros(len(wkb), bool)
    single[there] = kinds == one
    before = b"\1" + (0x20000000 | several).to_bytes(4, "little") + SRID
    told = pc.binary_replace_slice(wkb, 0, 5, before)
    if not single.any():
        return told
    alone = pc.binary_replace_slice(wkb, 0, 5, before + (1).to_bytes(4, "little") + b"\1" + one.to_bytes(4, "little"))
    return pc.if_else(pa.array(single), alone, told)


def points(x: NDArray[np.float64], y: NDArray[np.float64]) -> pa.Array:
    """Points; null where a coordinate is nan."""
    count = len(x)
    raw = np.empty((count, 25), np.uint8)
    raw[:, :9] = np.frombuffer(b"\1" + (0x20000001).to_bytes(4, "little") + SRID, np.uint8)
    raw[:, 9:17] = np.ascontiguousarray(x, "<f8").view(np.uint8).reshape(count, 8)
    raw[:, 17:25] = np.ascontiguousarray(y, "<f8").view(np.uint8).reshape(count, 8)
    told = pa.FixedSizeBinaryArray.from_buffers(pa.binary(25), count, [None, pa.py_buffer(raw)]).cast(pa.large_binary())
    lost = np.isnan(x) | np.isnan(y)
    return pc.if_else(pa.array(lost), pa.scalar(None, pa.large_binary()), told) if lost.any() else told
