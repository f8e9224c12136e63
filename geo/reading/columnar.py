"""GeoParquet and GeoArrow: shapes as WKB, as text, or as nested coordinates."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from geo.reading.source import DISGUISED, ROWS, Refused, Source, distinct
from geo.reading.understanding import reference

BROKEN = "Parquet 文件已损坏。"
# How deep the lists of coordinates of each kind are nested.
NESTED = {
    "point": (shapely.GeometryType.POINT, 0), "multipoint": (shapely.GeometryType.MULTIPOINT, 1),
    "linestring": (shapely.GeometryType.LINESTRING, 1), "multilinestring": (shapely.GeometryType.MULTILINESTRING, 2),
    "polygon": (shapely.GeometryType.POLYGON, 2), "multipolygon": (shapely.GeometryType.MULTIPOLYGON, 3),
}


def parquet(path: Path) -> Source:
    """A Parquet file, with or without the members that make it a GeoParquet."""
    with path.open("rb") as raw:
        if raw.read(4) != b"PAR1":
            raise Refused(DISGUISED)
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused(BROKEN) from error
    source = Source(_read(file), file.metadata.num_rows)
    source.names = {name: name.split("\x02")[0] for name in distinct(file.schema_arrow.names) if name not in ("__index_level_0__", "bbox")}
    try:
        geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
        if geo:
            _placed(source, geo)
        else:
            _extended(source, file.schema_arrow)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(BROKEN, reason=str(error)[:200]) from error
    return source


def _read(file: Any) -> Iterator[pa.RecordBatch]:
    try:
        for part in file.iter_batches(ROWS):
            # Text that is none, and offsets that lead nowhere.
            part.validate(full=True)
            yield part.rename_columns(distinct(part.schema.names)) if len({*part.schema.names}) < part.num_columns else part
    except (pa.ArrowException, OSError) as error:
        raise Refused(BROKEN, reason=str(error)[:200]) from error


def _placed(source: Source, geo: dict[str, Any]) -> None:
    primary = str(geo["primary_column"])
    column = geo["columns"][primary]
    encoding = str(column.get("encoding", "WKB"))
    if primary not in source.names:
        raise KeyError(primary)
    if encoding == "WKB":
        source.wkb = primary
    elif encoding.lower() in NESTED:
        _nested(source, primary, encoding.lower())
    else:
        raise Refused("GeoParquet 的几何编码 {encoding} 读不了,请改用 WKB。", encoding=encoding[:40])
    del source.names[primary]
    for name in geo["columns"]:
        source.names.pop(name, None)
    # Not said is WGS 84 by the specification; said to be nothing is unknown.
    source.crs = reference(column["crs"]) if column.get("crs") else None if "crs" in column else reference(4326)
    source.stated = bool(column.get("crs"))
    box = column.get("bbox") or ()
    source.bounds = (*map(float, box[:2]), *map(float, box[len(box) // 2 :][:2])) if len(box) in (4, 6) else None  # type: ignore[assignment]


def _extended(source: Source, schema: pa.Schema) -> None:
    """A column that Arrow's extension types mark as shapes."""
    for field in schema:
        kind = ((field.metadata or {}).get(b"ARROW:extension:name") or b"").decode("latin-1")
        if kind in ("geoarrow.wkb", "ogc.wkb"):
            source.wkb = field.name
        elif kind == "geoarrow.wkt":
            source.wkt = field.name
        elif kind.removeprefix("geoarrow.") in NESTED and kind.startswith("geoarrow."):
            _nested(source, field.name, kind.removeprefix("geoarrow."))
        else:
            continue
        if source.wkt is None:
            del source.names[field.name]
        said = json.loads((field.metadata or {}).get(b"ARROW:extension:metadata") or b"{}")
        source.crs = reference(said.get("crs"))
        source.stated = source.crs is not None
        return
    for field in schema:
        # Said by the name alone.
        if pa.types.is_binary(field.type) and field.name.lower() in ("geometry", "geom", "wkb", "shape", "wkb_geometry", "the_geom"):
            source.wkb = field.name
            del source.names[field.name]
            return


def _nested(source: Source, name: str, kind: str) -> None:
    shape, depth = NESTED[kind]
    source.shapes, source.points = name, kind == "point"
    source.drawn = lambda column: _drawn(column, shape, depth)


def _drawn(column: pa.Array, kind: shapely.GeometryType, depth: int) -> Any:
    """Shapes of nested coordinates; None where there is none."""
    there = column.is_valid().to_numpy(zero_copy_only=False)
    inner = column.filter(column.is_valid())
    offsets = []
    for _ in range(depth):
        lengths = pa.compute.list_value_length(inner).to_numpy(zero_copy_only=False)
        offsets.append(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        inner = inner.flatten()
    if pa.types.is_struct(inner.type):
        names = [inner.type.field(at).name for at in range(inner.type.num_fields)]
        flat = inner.flatten()
        xy = np.column_stack([np.asarray(flat[names.index(axis)].to_numpy(zero_copy_only=False), np.float64) for axis in "xy"])
    else:
        size = inner.type.list_size
        xy = np.asarray(inner.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(-1, size)[:, :2]
    out = np.full(len(column), None, object)
    out[there] = shapely.from_ragged_array(kind, np.ascontiguousarray(xy), tuple(reversed(offsets)) if offsets else None)
    return out
