"""Columns into tables: whatever the way, the same is there afterwards."""

import re
import struct
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import copying, ewkb, files, intake
from geo.catalog import RESOURCES
from geo.errors import Invalid
from geo.values import PLAINLY_ODD, Reader

TYPES = {
    "t": "text", "n": "int4", "x": "float8", "b": "bool", "u": "uuid", "j": "jsonb", "w": "timestamptz", "d": "date",
    "g": "geometry", "c": "bytea",
}


def rows():
    shapes = shapely.to_wkb(shapely.set_srid(np.array([shapely.Point(1, 2), shapely.box(0, 0, 1, 1), None], object), 4326), include_srid=True)
    return {
        "t": pa.array(["网格,\"x\"\n", "", None]), "n": pa.array(["-2147483648", "7", None]), "x": pa.array(["0.1", "-1e300", None]),
        "b": pa.array(["true", "false", None]), "u": pa.array([str(uuid.UUID(int=2**127 + 9)), str(uuid.UUID(int=1)).upper(), None]),
        "j": pa.array(['{"a": "中"}', "{}", None]), "w": pa.array(["2026-05-04T03:02:01.000009+08:00", "1969-12-31T23:59:59Z", None]),
        "d": pa.array(["1800-01-01", "2026-02-28", None]), "g": pa.array(shapes, pa.large_binary()), "c": pa.array([b"\0\xff", b"", None], pa.binary()),
    }


def kept(connection, table, data):
    """What is in a table after `data`, in the text that PostgreSQL gives."""
    connection.execute(sa.text(f"CREATE TEMP TABLE {table} (at serial, {', '.join(f'{n} {TYPES[n]}' for n in data)})"))
    copying.Copy(connection, table).written(pa.table(data))
    return connection.execute(sa.text(f"SELECT {', '.join(f'{n}::text' for n in data)} FROM {table} ORDER BY at")).all()


def test_in_binary_and_as_text_the_same_is_stored(connection, monkeypatch):
    data = rows()
    assert copying.binary(pa.record_batch(data), TYPES) is not None
    in_binary = kept(connection, "one", data)
    monkeypatch.setattr(copying, "binary", lambda *_: None)
    assert kept(connection, "other", data) == in_binary and in_binary[2] == (None,) * len(data)
    assert in_binary[0][:2] == ("网格,\"x\"\n", "-2147483648") and in_binary[1][-1] == "\\x"


@pytest.mark.parametrize(("name", "value"), [("w", "1890-01-01T00:00:00+08:05:43"), ("n", "1.0"), ("u", "none"), ("x", "1,5")])
def test_what_has_no_binary_form_here_is_left_to_postgres(name, value):
    assert copying.binary(pa.record_batch({name: pa.array([value])}), TYPES) is None


def test_what_went_wrong_is_told_to_who_uses_the_connection_next(connection):
    connection.execute(sa.text("CREATE TEMP TABLE few (n integer CHECK (n < 5))"))
    copy = copying.Copy(connection, "few")
    with pytest.raises(sa.exc.IntegrityError, match="few_n_check"), connection.begin_nested():
        copy.begun(pa.table({"n": pa.array([1, 9])}))
        connection.execute(sa.text("SELECT 1"))
    copy.begun(pa.table({"n": pa.array([1, 2])}))
    assert connection.execute(sa.text("SELECT count(*) FROM few")).scalar_one() == 2


def test_numbers_of_records_ascend_from_batch_to_batch():
    now = datetime(2026, 5, 4, tzinfo=UTC)
    told = [uuid.UUID(bytes=raw) for batch in (0, 1, 4095, 4096) for raw in intake.uuids(50, now, batch).to_pylist()]
    assert told == sorted(set(told)) and {(one.version, one.variant) for one in told} == {(7, uuid.RFC_4122)}
    assert told[0].int >> 80 == int(now.timestamp() * 1000)


SQUARE, HOLED = shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (2, 1), (2, 2)]])


def test_shapes_as_bytes_are_those_that_geos_makes():
    shapes = np.array([SQUARE, None, shapely.MultiPolygon([SQUARE, shapely.box(2, 2, 3, 3)]), HOLED], object)
    told = ewkb.kept_as("MULTIPOLYGON", pa.array(shapely.to_wkb(shapes), pa.binary()))
    wanted = shapely.to_wkb(shapely.set_srid(intake.drawn_as("MULTIPOLYGON", shapes), 4326), include_srid=True)
    assert told.to_pylist() == wanted.tolist()
    many = shapely.MultiLineString([[(0, 0), (1, 1)]])
    told = ewkb.kept_as("MULTILINESTRING", pa.array(shapely.to_wkb([many, many.geoms[0]]), pa.binary()))
    assert told.to_pylist() == [shapely.to_wkb(shapely.set_srid(many, 4326), include_srid=True)] * 2


@pytest.mark.parametrize(
    "odd", [shapely.to_wkb(shapely.Point(1, 1)), shapely.to_wkb(shapely.Polygon()), shapely.to_wkb(SQUARE, byte_order=0), shapely.to_wkb(shapely.force_3d(SQUARE)), struct.pack("<BI", 1, 6), b""],
)
def test_shapes_of_another_kind_are_looked_into(odd):
    assert ewkb.kept_as("MULTIPOLYGON", pa.array([shapely.to_wkb(SQUARE), odd], pa.binary())) is None


@given(st.text(st.characters(codec="utf-8"), max_size=45) | st.from_regex(r"\A[-+]?\d(\.\d+)?[eE]\+?\d{1,3}\Z") | st.sampled_from(["'-1", " a", "1E5", "０1"]))
def test_a_code_that_is_passed_on_as_it_stands_is_what_it_would_be_read_as(text):
    reader = Reader(RESOURCES["buildings"]["code"], "buildings")
    assert reader.verbatim
    column = pa.array([text])
    if intake._plainly(reader.field, column):
        assert reader.read([text]).values == [text] and not re.search(PLAINLY_ODD, text)


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=9), max_size=9))
def test_what_was_seen_is_met_again(batches):
    seen, known = intake.Met(), []
    for texts in batches:
        wanted = []
        for text in texts:
            wanted.append(text in known)
            known.append(text)
        assert seen.again(texts).tolist() == wanted


def walls(child):
    """Whether a process has given up new privileges, and system calls."""
    told = Path(f"/proc/{child.pid}/status").read_text()
    return re.findall(r"^(?:NoNewPrivs|Seccomp):\t(\d)", told, re.M)


def test_a_reading_process_that_waited_reads_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_waiting", None)
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"名称,经度,纬度\n{name},120,30\n", "utf-8")
    files.prepared()
    [first] = files._waiting
    assert walls(first) == ["0", "0"]
    try:
        for name, child in (("a", first), ("b", None)):
            with files.opened(tmp_path / f"{name}.csv") as (described, batches):
                # Ended or not, it is still there to be looked at.
                assert child is None or walls(child)[0] == "1"
                assert [b.columns["名称"].to_pylist() for b in batches] == [[name]] and described.count in (None, 1)
            if child is not None:
                assert child.poll() == 0
        # A refusal, too, comes from it; and what died waiting is replaced.
        files._waiting[0].kill()
        files._waiting[0].wait()
        (tmp_path / "c.zip").write_bytes(b"PK\3\4none")
        with pytest.raises(Invalid), files.opened(tmp_path / "c.zip"):
            pass
    finally:
        last = files._waiting.pop()
        last.stdin.close()
        assert last.wait(20) == 0  # nobody is left to tell it of a file
        last.stdout.close()
