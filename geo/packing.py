"""The writing process: rows in, one file of GDAL's or Arrow's out. Started by `geo.exporting`, never imported by the server.

A web process that drew on GDAL would be 188 MB larger; and what a library keeps of a broken write ends with its process.
All comes through the standard input, a line of JSON each: the order, then the rows, with their shapes in front. The last line
says that it was the last, so that no short file passes for a whole one.
"""

import csv
import itertools
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyproj import CRS

ROWS = 5_000
END = b"end\n"
# A DBF keeps so many bytes of a text.
WIDEST = 254
DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile", "kml": "KML"}
TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
STORED = "EPSG:4490"


class Frugal:
    """Keeps out what pyogrio and pyarrow look for in passing: two seconds and 150 MB that nothing here has a use for."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in ("geopandas", "pandas"):
            raise ModuleNotFoundError(name)


class Refused(Exception):
    """What was asked for cannot be written so; the sentence says what can."""

    def __init__(self, sentence: str, **facts: object) -> None:
        super().__init__(sentence)
        self.facts = facts


class Pack:
    """One file being written: its columns, and what became of the rows on their way into it."""

    def __init__(self, order: dict[str, Any]) -> None:
        import pyproj

        self.order, self.kind, self.target = order, order["kind"], Path(order["target"])
        self.shape: str | None = order["shape"]
        # Chinese that GBK lacks would become question marks.
        self.charset = "gbk" if order["encoding"] == "gbk" else "utf-8"
        types = [TYPES.get(kind, pa.string()) for kind in order["types"]]
        fields = list(zip(order["names"], types, strict=True))
        self.schema = pa.schema([*fields, ("geometry", pa.binary())] if self.shape else fields)
        self.crs: CRS = pyproj.CRS(order["crs"])
        self.turned = pyproj.Transformer.from_crs(STORED, self.crs, always_xy=True) if self.crs.is_projected else None
        self.cut = [0] * len(fields)
        self.failed: BaseException | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches. What goes wrong is kept: the library that asks for them tells only that something did."""
        try:
            lines = iter(sys.stdin.buffer.readline, END)
            while part := [json.loads(line) for line in itertools.islice(lines, ROWS)]:
                shapes, *columns = zip(*part, strict=True)
                arrays = [pa.array(self._fitted(at, column), self.schema.types[at]) for at, column in enumerate(columns)]
                if self.shape:
                    arrays.append(pa.array(self._placed(shapes), pa.binary()))
                yield pa.record_batch(arrays, schema=self.schema)
        except BaseException as error:
            self.failed = error
            raise

    def _fitted(self, at: int, column: Sequence[Any]) -> Sequence[Any]:
        if self.kind != "shp" or self.schema.types[at] != pa.string():
            return column
        return [None if text is None else self._shortened(at, text) for text in column]

    def _shortened(self, at: int, text: str) -> str:
        try:
            raw = text.encode(self.charset)
        except UnicodeEncodeError as error:
            character = text[error.start]
            raise Refused("GBK 里没有“{character}”这个字,请改用 UTF-8。", field="encoding", character=character) from error
        if len(raw) <= WIDEST:
            return text
        self.cut[at] += 1
        return raw[:WIDEST].decode(self.charset, "ignore")

    def _placed(self, shapes: Sequence[str | None]) -> list[bytes | None]:
        plain = [None if shape is None else bytes.fromhex(shape) for shape in shapes]
        if self.turned is None:
            return plain
        import numpy as np
        import shapely

        turned = shapely.transform(shapely.from_wkb(np.array(plain, object)), self._turned)
        return list(shapely.to_wkb(turned))

    def _turned(self, xy: Any) -> Any:
        import numpy as np

        assert self.turned is not None
        return np.column_stack(self.turned.transform(xy[:, 0], xy[:, 1]))


def main() -> None:
    """Write what the first line orders."""
    sys.meta_path.insert(0, Frugal())
    pack = Pack(json.loads(sys.stdin.buffer.readline()))
    try:
        _written(pack)
    except Refused as refusal:
        (pack.target.parent / "refusal").write_text(json.dumps({"sentence": str(refusal), **refusal.facts}, ensure_ascii=False))
        sys.exit(3)


def _written(pack: Pack) -> None:
    writers: dict[str, Callable[[Pack], None]] = {"parquet": _parquet, "shp": _shapefile}
    try:
        writers.get(pack.kind, _layer)(pack)
    except Exception:
        if pack.failed is not None:
            raise pack.failed from None
        raise


def _layer(pack: Pack) -> None:
    os.environ |= {"GDAL_NUM_THREADS": "1", "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    from pyogrio.raw import write_arrow

    shapefile = pack.kind == "shp"
    how: dict[str, Any] = {"encoding": {"gbk": "CP936"}.get(pack.charset, "UTF-8")} if shapefile else {}
    if pack.kind == "gpkg":
        how["layer_options"] = {"IDENTIFIER": pack.order["title"]}
    reader = pa.RecordBatchReader.from_batches(pack.schema, pack.batches())
    target = pack.target.with_name(f"{pack.order['layer']}.shp") if shapefile else pack.target
    write_arrow(
        reader, target, driver=DRIVERS[pack.kind], layer=pack.order["layer"], geometry_name="geometry",
        geometry_type=pack.shape, crs=pack.crs.to_wkt(), **how,
    )


def _shapefile(pack: Pack) -> None:
    """The parts, and what the short names mean, in one archive."""
    _layer(pack)
    folder, layer, gbk = pack.target.parent, pack.order["layer"], pack.charset == "gbk"
    if gbk:
        # Two places say so: some programs look at the one, some at the other.
        (folder / f"{layer}.cpg").write_text("GBK")
        with (folder / f"{layer}.dbf").open("r+b") as dbf:
            dbf.seek(29)
            dbf.write(b"\x4d")
    said = folder / "dictionary.csv"
    with said.open("w", encoding="gb18030" if gbk else "utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(pack.order["dictionary"][0])
        writer.writerows([*line, cut or ""] for line, cut in zip(pack.order["dictionary"][1:], pack.cut, strict=True))
    with zipfile.ZipFile(pack.target, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as archive:
        for part in sorted(folder.glob(f"{layer}.*")):
            if part != pack.target:
                archive.write(part, part.name)
        archive.write(said, f"{pack.order['dictionary_name']}.csv")


def _parquet(pack: Pack) -> None:
    from pyarrow import parquet

    schema = pack.schema
    if pack.shape:
        column = {"encoding": "WKB", "geometry_types": [pack.shape], "crs": pack.crs.to_json_dict()}
        about = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        schema = schema.with_metadata({"geo": json.dumps(about)})
    with parquet.ParquetWriter(pack.target, schema, compression="zstd") as out:
        for batch in pack.batches():
            out.write_batch(batch.replace_schema_metadata(schema.metadata))


if __name__ == "__main__":
    main()
