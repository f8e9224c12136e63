"""Columns of Arrow into a table of PostgreSQL by COPY.

In binary, where every column has a type that is known here, so that neither side writes or reads numbers and shapes as text: a third
of the time of CSV for outlines of buildings. The bytes of a batch are put together by Arrow, column beside column, in C++.
"""

import struct
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa
from numpy.typing import NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format

Bytes = NDArray[np.uint8]

SIGNATURE, END, NULL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff", b"\xff\xff\xff\xff"
# PostgreSQL counts microseconds and days from here.
MICROSECONDS, DAYS = 946_684_800_000_000, 10_957
ROWS = 50_000
BINARY = pa.large_binary()


class Copy:
    """A table to be copied into. Shapes are given as EWKB, numbers of records as 16 bytes or as text, all else as text or numbers.

    What is given is written by a thread of its own, while the next rows are made: each takes as long as the other. Whoever uses the
    connection meanwhile waits, by an event of it, and is told there what went wrong.
    """

    def __init__(self, connection: sa.Connection, table: str) -> None:
        self.connection, self.table = connection, table
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "copy")
        # A copy that nobody keeps any more is no longer told of the connection it used.
        mine = weakref.ref(self)

        def waited(_: object, cursor: object = None, statement: str = "", *rest: object) -> None:
            if (copy := mine()) is not None:
                copy.over(undone=statement.startswith("ROLLBACK"))

        def undone(_: object) -> None:
            waited(None, None, "ROLLBACK")

        for event, told in (("before_cursor_execute", waited), ("commit", waited), ("rollback", undone)):
            sa.event.listen(connection, event, told)

    def begun(self, rows: pa.Table) -> None:
        """Begin to write `rows` into the columns that have their names. Raises what was wrong with those before."""
        self.over()
        self.types  # noqa: B018 asked for while the connection is free
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        self._writing = self._thread.submit(self._written, driver, rows)

    def over(self, undone: bool = False) -> None:
        """Wait until all is written. Raises what was wrong with it, unless all is being undone anyhow."""
        writing, self._writing = self._writing, None
        if writing is not None and not (undone and writing.exception()):
            writing.result()

    @cached_property
    def types(self) -> dict[str, str]:
        """The type of each column, by PostgreSQL's own name."""
        told = self.connection.execute(
            sa.text(
                "SELECT a.attname, t.typname FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
                " WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped"
            ),
            {"name": self.table},
        )
        return {row[0]: row[1] for row in told}

    def written(self, rows: pa.Table) -> None:
        """Write them, and be done."""
        self.begun(rows)
        self.over()

    def _written(self, driver: "psycopg.Connection[Any]", rows: pa.Table) -> None:
        names = ", ".join(f'"{name}"' for name in rows.column_names)
        for part in rows.combine_chunks().to_batches(max_chunksize=ROWS):
            body = binary(part, self.types)
            how, told = ("binary", body) if body is not None else ("csv", as_csv(part, self.types))
            with driver.cursor().copy(f"COPY {self.table} ({names}) FROM STDIN WITH (FORMAT {how})") as copy:
                if body is not None:
                    copy.write(SIGNATURE)
                copy.write(told)
                if body is not None:
                    copy.write(END)


def binary(part: pa.RecordBatch, types: Mapping[str, str]) -> memoryview | None:
    """The rows in PostgreSQL's binary format; None where a column has a type, or a value, that is left to be read from text."""
    fields = []
    for name, column in zip(part.schema.names, part.columns, strict=True):
        encoded = ENCODED.get(types.get(name, ""))
        if encoded is None:
            return None
        try:
            fields += encoded(column)
        except pa.ArrowInvalid:
            return None
    count = pa.scalar(part.num_columns.to_bytes(2), BINARY)
    told = pc.binary_join_element_wise(
        count, *(field.cast(BINARY) for field in fields), pa.scalar(b"", BINARY), null_handling="replace", null_replacement=NULL,
    )
    return _body(told)


def _body(column: pa.Array) -> memoryview:
    """All bytes of a column, one value after the other."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
    return memoryview(data or b"")[ends[0] : ends[-1]]


def as_csv(part: pa.RecordBatch, types: Mapping[str, str]) -> memoryview:
    """The rows as text."""
    told = dict(zip(part.schema.names, part.columns, strict=True))
    for name, column in told.items():
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
            text = hexadecimal(column)
            told[name] = text if types.get(name) != "bytea" else pc.binary_join_element_wise(pa.scalar("\\x", text.type), text, pa.scalar("", text.type))
    text = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.record_batch(told), text, pyarrow.csv.WriteOptions(include_header=False))
    return memoryview(text.getvalue())


HEX = np.array([f"{byte:02X}" for byte in range(256)], dtype="S2")


def hexadecimal(raw: pa.Array) -> pa.Array:
    """Bytes as hexadecimal text, null for null; three times as fast as a text each."""
    raw = raw.cast(pa.binary()).cast(BINARY)
    _, offsets, data = raw.buffers()
    ends = np.frombuffer(offsets, np.int64, len(raw) + 1, raw.offset * 8)
    text = HEX[np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]].tobytes()
    told = pa.Array.from_buffers(pa.large_string(), len(raw), [None, pa.py_buffer(2 * (ends - ends[0])), pa.py_buffer(text)])
    return pc.if_else(raw.is_null(), pa.scalar(None, pa.large_string()), told) if raw.null_count else told


def fixed(raw: Bytes, nulls: NDArray[np.bool_] | None = None) -> pa.Array:
    """Bytes of equal length for each row, from an array of rows × length."""
    count, width = raw.shape
    offsets = np.arange(0, width * count + 1, width, dtype=np.int64)
    mask = None if nulls is None or not nulls.any() else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(BINARY, count, [mask, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(raw))])


def _numbers(kind: str, wanted: pa.DataType) -> Callable[[pa.Array], list[pa.Array]]:
    def encoded(column: pa.Array) -> list[pa.Array]:
        column = column.cast(wanted)
        return [_counted(column, pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(kind))]

    return encoded


def _counted(column: pa.Array, values: NDArray[Any]) -> pa.Array:
    """Values of equal size behind their size."""
    width = values.dtype.itemsize
    raw = np.empty((len(values), 4 + width), np.uint8)
    raw[:, :4] = np.frombuffer(width.to_bytes(4), np.uint8)
    raw[:, 4:] = values.view(np.uint8).reshape(len(values), width)
    return fixed(raw, column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None)


def _sized(column: pa.Array, before: bytes = b"") -> list[pa.Array]:
    """Bytes of any length behind their length, with something `before` them."""
    column = column.cast(BINARY)
    sizes = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False) + len(before)
    if len(column) and sizes.max() >= 1 << 30:
        raise pa.ArrowInvalid("larger than a value may be")
    heads = np.empty((len(column), 4 + len(before)), np.uint8)
    heads[:, :4] = sizes.astype(">i4").view(np.uint8).reshape(len(column), 4)
    heads[:, 4:] = np.frombuffer(before, np.uint8)
    nulls = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    # What is null has no bytes, and a size that says so.
    return [fixed(heads, nulls), column if nulls is None else pc.fill_null(column, b"")]


def _uuids(column: pa.Array) -> list[pa.Array]:
    if not pa.types.is_fixed_size_binary(column.type):
        dense = pc.replace_substring(column.cast(pa.string()), "-", "")
        told = pc.fill_null(dense, "0" * 32)
        if not pc.all(pc.match_substring_regex(told, "^[0-9a-fA-F]{32}$")).as_py():
            raise pa.ArrowInvalid("not a number of a record")
        digits = np.frombuffer("".join(told.to_pylist()).encode(), np.uint8)
        half = DIGIT[digits].reshape(len(column), 16, 2)
        return [_counted(column, (half[:, :, 0] << 4 | half[:, :, 1]).view("V16").reshape(len(column)))]
    raw = np.frombuffer(column.buffers()[1], "V16", len(column), column.offset * 16)
    return [_counted(column, raw)]


DIGIT = np.zeros(256, np.uint8)
DIGIT[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]


def _moments(column: pa.Array) -> list[pa.Array]:
    # A text without a zone, or with one to the second as Shanghai had before 1901, is left to PostgreSQL.
    column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return [_counted(column, (pc.fill_null(column, MICROSECONDS).to_numpy(zero_copy_only=False) - MICROSECONDS).astype(">i8"))]


def _days(column: pa.Array) -> list[pa.Array]:
    column = column.cast(pa.date32()).cast(pa.int32())
    return [_counted(column, (pc.fill_null(column, DAYS).to_numpy(zero_copy_only=False) - DAYS).astype(">i4"))]


def _truths(column: pa.Array) -> list[pa.Array]:
    column = column.cast(pa.bool_())
    return [_counted(column, pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(np.uint8))]


def _shapes(column: pa.Array) -> list[pa.Array]:
    if pa.types.is_string(column.type):
        raise pa.ArrowInvalid("a shape in text")
    return _sized(column)


ENCODED: dict[str, Callable[[pa.Array], list[pa.Array]]] = {
    "text": lambda column: _sized(column.cast(pa.string())), "jsonb": lambda column: _sized(column.cast(pa.string()), b"\1"),
    "int2": _numbers(">i2", pa.int16()), "int4": _numbers(">i4", pa.int32()), "int8": _numbers(">i8", pa.int64()),
    "float8": _numbers(">f8", pa.float64()), "bool": _truths, "uuid": _uuids, "timestamptz": _moments, "date": _days,
    "geometry": _shapes, "bytea": lambda column: _sized(column) if not pa.types.is_string(column.type) else _unsaid(),
}


def _unsaid() -> list[pa.Array]:
    raise pa.ArrowInvalid("bytes in text")


@dataclass(frozen=True)
class Listed:
    """Bytes as an array of `bytea` for a statement, as it goes over the wire."""

    raw: bytes

    @classmethod
    def of(cls, column: pa.Array) -> "Listed":
        """The array of a column without nulls."""
        body = pc.binary_join_element_wise(*_sized(column), pa.scalar(b"", BINARY))
        # One dimension, no nulls, the type of its elements, how many, numbered from 1.
        return cls(struct.pack(">iiIii", 1, 0, 17, len(column), 1) + bytes(_body(body)))


class ListedDumper(Dumper):
    """How psycopg is told of one; an element at a time, it took half a second for half a million outlines."""

    format, oid = Format.BINARY, 1001

    def dump(self, obj: Listed) -> bytes:
        """The bytes themselves."""
        return obj.raw
