"""The reading process: one file in, an Arrow stream out. Started by `geo.files`, never imported by the server.

It gives up the network, then bounds its memory, processor time and file size, and only then opens anything.
"""

import ctypes
import io
import json
import re
import resource
import shutil
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pyproj
import shapely

from geo import crs
from geo.crs import Datum
from geo.files import LAT, LON, PROBLEM, REPAIRED, ROW, WKB

ROWS = 20_000
MEMORY = 4 << 30
PROCESSOR = 300
UNZIPPED, RATIO, ENTRIES = 2 << 30, 200, 2_000
VERTICES = 200_000
SIDECARS = (".shp", ".dbf", ".shx", ".prj", ".cpg")
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".xlsb", ".ods", ".et")
SPATIAL = (".shp", ".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".kml", ".parquet", ".geoparquet")
# In the order of preference; compared without case, spaces and underscores.
LONS = ("lon", "lng", "longitude", "经度", "lonwgs84", "lngwgs84", "wgs84lon", "lnggcj02", "longcj02", "lngbd09", "x", "jd", "pointx")
LATS = ("lat", "latitude", "纬度", "latwgs84", "wgs84lat", "latgcj02", "latbd09", "y", "wd", "pointy")
WKTS = ("wkt", "ewkt", "geom", "geometry", "thegeom", "geojson", "几何")
TOTALS = ("合计", "总计", "小计", "共计")
FIRST = {"gpkg": b"SQLite format 3\0", "fgb": b"fgb\x03fgb", "parquet": b"PAR1"}
SAID = {"936": "gb18030", "cp936": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-8": "utf-8",
        "utf8": "utf-8", "65001": "utf-8", "ansi 936": "gb18030", "big5": "big5", "950": "big5", "iso-8859-1": "utf-8"}


class Refused(Exception):
    """The file cannot be taken; the sentence says why and what to do."""

    def __init__(self, sentence: str, **facts: object) -> None:
        super().__init__(sentence)
        self.facts = facts


def main() -> None:
    """Read the file that the first argument orders and write it to the standard output."""
    order = json.loads(sys.argv[1])
    _walled()
    try:
        _written(order, sys.stdout.buffer)
    except Refused as refusal:
        print(json.dumps({"sentence": str(refusal), **refusal.facts}, ensure_ascii=False), file=sys.stderr)
        sys.exit(3)


def _walled() -> None:
    # CLONE_NEWUSER first where we are not root: a namespace without interfaces reaches nothing.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        libc.unshare(0x10000000 | 0x40000000)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNZIPPED, UNZIPPED))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Source:
    """A table on its way: Arrow batches with a geometry or position, and how they were understood."""

    def __init__(self, parts: Iterator[pa.RecordBatch], count: int | None) -> None:
        self.parts, self.count = parts, count
        self.wkb: str | None = None  # name of the column of WKB
        self.wkt: str | None = None
        self.lon: str | None = None
        self.lat: str | None = None
        self.crs: pyproj.CRS | None = None
        self.bounds: tuple[float, float, float, float] | None = None
        self.warnings: list[str] = []
        self.decode: Callable[[pa.Array], pa.Array] = lambda column: column
        self.names: dict[str, str] = {}  # column as read → as people wrote it


def _written(order: dict[str, Any], out: Any) -> None:
    source = _opened(Path(order["path"]), Path(order["job"]), order)
    datum = Datum(order["datum"]) if order.get("datum") in set(Datum) else None
    if order.get("datum") and datum is None:
        raise Refused("不认识坐标系 {named}。", named=order["datum"], option="--datum", choices=list(Datum))
    first = next(source.parts, None)
    if first is None:
        raise Refused("文件是空的,一行也没有。")
    if source.wkb is None:
        _located(source, first)
    _understood(source, first, order, datum)
    repair, number, writer = order.get("repair", True), 1, None
    for part in _chained(first, source.parts):
        told = _converted(source, part, number, datum or Datum.CGCS2000, repair)
        if writer is None:
            described = {
                "columns": {
                    name: [_plain(v) for v in told.column(name).slice(0, 20).to_pylist()]
                    for name in told.schema.names if not name.startswith("\x01")
                },
                "count": source.count, "warnings": source.warnings,
                "position_columns": [n for n in (source.lon, source.lat, source.wkt) if n],
            }
            schema = told.schema.with_metadata({b"described": json.dumps(described, ensure_ascii=False).encode()})
            writer = pa.ipc.new_stream(out, schema)
        writer.write_batch(pa.record_batch([_fitted(c, f.type) for c, f in zip(told.columns, schema, strict=True)], schema=schema))
        number += told.num_rows
    if writer is not None:
        writer.close()


def _fitted(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    return column if column.type == wanted else column.cast(wanted)


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _opened(path: Path, job: Path, order: dict[str, Any]) -> Source:
    name = path.name.lower()
    if name.endswith((".zip", ".kmz")):
        path = _unzipped(path, job, order.get("layer"))
        name = path.name.lower()
    if name.endswith((".csv.gz", ".tsv.gz", ".txt.gz", ".csv", ".tsv", ".txt")):
        return _csv(path, order.get("encoding"))
    if name.endswith((".xlsx", ".xls", ".xlsb", ".ods", ".et")):
        return _sheet(path, order.get("layer"))
    if name.endswith((".parquet", ".geoparquet")):
        return _parquet(path)
    if name.endswith(".shp"):
        return _shapefile(_gathered(path, job), order)
    if name.endswith((".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".kml")):
        _sniffed(path)
        return _layer(path, order.get("layer"), None)
    if name.endswith((".dwg", ".mdb", ".wp", ".wt", ".wl")):
        raise Refused("不能读取这种文件,请在原软件中另存为 Shapefile 或 GeoPackage。")
    raise Refused("不认识扩展名 {suffix},请另存为 Shapefile、GeoPackage、GeoJSON、CSV 或 XLSX。", suffix=path.suffix)


def _unzipped(path: Path, job: Path, layer: str | None) -> Path:
    """The members of an archive under names of our own, after a look at what they claim to be."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Refused("压缩包已损坏或不是 ZIP。") from error
    members = [m for m in archive.infolist() if not m.is_dir()]
    if len(members) > ENTRIES:
        raise Refused("压缩包里有 {count} 个文件,太多了。", count=len(members))
    kept: list[tuple[Path, zipfile.ZipInfo]] = []
    total = 0
    for member in members:
        shown = Path(_member_name(member).replace("\\", "/"))
        if shown.is_absolute() or ".." in shown.parts or stat.S_ISLNK(member.external_attr >> 16):
            raise Refused("压缩包里有指向包外的路径或链接,不能解开。")
        if member.flag_bits & 1:
            raise Refused("压缩包有密码,请去掉密码再传。")
        total += member.file_size
        if total > UNZIPPED or (member.file_size > 10_000_000 and member.file_size > RATIO * max(1, member.compress_size)):
            raise Refused("压缩包解开后过大。")
        if "__MACOSX" in shown.parts or shown.name.startswith("._"):
            continue
        if shown.suffix.lower() == ".zip":
            raise Refused("压缩包里还有压缩包,请解开一层再传。")
        kept.append((shown, member))
    out = job / "unzipped"
    out.mkdir()
    found = []
    for shown, member in kept:
        target = out / f"{_key(shown)}{shown.suffix.lower()}"
        with archive.open(member) as inside, target.open("wb") as to:
            left = member.file_size + 1
            while chunk := inside.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise Refused("压缩包里的文件比它声明的大。")
                to.write(chunk)
        if target.suffix in (*SPATIAL, *TABLES):
            found.append((shown, target))
    if not found:
        raise Refused("压缩包里没有可以读取的文件。", files=[str(shown) for shown, _ in kept][:20])
    if layer:
        found = [(shown, target) for shown, target in found if shown.stem == layer]
    if len(found) != 1:
        names = sorted(shown.stem for shown, _ in found)
        raise Refused("压缩包里有多个图层,请用 --layer 指明一个:{choices}", option="--layer", choices=names)
    return found[0][1]


def _key(shown: Path) -> str:
    # Parts of one shapefile share a stem; ours is ASCII, whatever theirs was.
    return "m" + str(shown.with_suffix("")).encode("utf-8", "surrogateescape").hex()[-100:]


def _member_name(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 0x800:
        return member.filename
    raw = member.filename.encode("cp437", "surrogateescape")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return member.filename


def _sniffed(path: Path) -> None:
    """Refuse content that is not what the name says, before GDAL decides for itself."""
    head = path.open("rb").read(4096)
    kind = path.suffix.lower().lstrip(".")
    if kind in FIRST:
        if not head.startswith(FIRST[kind][:16]):
            raise Refused("文件内容与扩展名不符。")
        return
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")
    if kind == "kml":
        whole = path.read_bytes() if path.stat().st_size < 50_000_000 else head
        if b"<kml" not in head.lower() or b"<!ENTITY" in whole or b"<!DOCTYPE" in whole:
            raise Refused("文件内容与扩展名不符。")
        return
    if not text.startswith(b"{"):
        raise Refused("文件内容与扩展名不符。")
    kinds = re.findall(rb'"type"\s*:\s*"([^"]*)"', head)
    if any(k.startswith((b"gdal", b"vrt")) for k in kinds):
        raise Refused("文件内容与扩展名不符。")
    if kind in ("geojson", "json"):
        _shallow(path)


def _shallow(path: Path) -> None:
    depth = deepest = 0
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            raw = np.frombuffer(chunk, np.uint8)
            step = ((raw == 0x5B) | (raw == 0x7B)).astype(np.int32) - ((raw == 0x5D) | (raw == 0x7D)).astype(np.int32)
            depths = depth + np.cumsum(step)
            deepest = max(deepest, int(depths.max(initial=0)))
            depth = int(depths[-1]) if len(depths) else depth
            if deepest > 500:
                raise Refused("GeoJSON 嵌套太深,不是正常的数据。")


def _gathered(path: Path, job: Path) -> Path:
    """A shapefile's parts side by side under ASCII names, whatever the case of their endings."""
    out = job / "layer"
    out.mkdir()
    for sibling in path.parent.iterdir():
        ending = sibling.suffix.lower()
        if sibling.stem == path.stem and ending in SIDECARS:
            # Copied, not linked: GDAL mends a missing .shx beside the .shp.
            shutil.copyfile(sibling, out / f"layer{ending}")
    if struct.unpack(">i", (out / "layer.shp").open("rb").read(4).ljust(4, b"\0"))[0] != 9994:
        raise Refused("这不是 Shapefile,或文件已损坏。")
    return out / "layer.shp"


def _shapefile(path: Path, order: dict[str, Any]) -> Source:
    source = _layer(path, None, "ISO-8859-1")
    dbf = path.with_suffix(".dbf")
    if not dbf.exists():
        source.warnings.append("没有 .dbf,只有图形没有属性")
        return source
    encoding, evidence = _encoding(path, dbf, order.get("encoding"))
    source.warnings.append(f"文字编码 {encoding.upper()}({evidence})")

    def decode(column: pa.Array) -> pa.Array:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return column
        encoded = column.dictionary_encode()
        texts = [None if t is None else _redecoded(t, encoding) for t in encoded.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(encoded.indices)

    source.decode = decode
    source.names = {name: _redecoded(name, encoding) for name in source.names}
    return source


def _redecoded(text: str, encoding: str) -> str:
    # GDAL was told ISO-8859-1, so each character is one byte of the file. A name cut inside a character loses only that.
    return text.encode("latin-1", "ignore").decode(encoding, "ignore").strip("\0 ")


def _encoding(path: Path, dbf: Path, wanted: str | None) -> tuple[str, str]:
    raw = dbf.open("rb").read(4 << 20)
    if wanted:
        try:
            "".encode(wanted)
        except LookupError as error:
            raise Refused("不认识编码 {encoding}。", encoding=wanted, option="--encoding") from error
        return wanted, "由 --encoding 指定"
    cpg = path.with_suffix(".cpg")
    said = SAID.get(cpg.read_text("latin-1").strip().lower()[:40]) if cpg.exists() else None
    length = struct.unpack("<H", raw[8:10].ljust(2, b"\0"))[0]
    texts = [part for part in re.split(rb"[\0 ]+", raw[length:]) if any(byte > 127 for byte in part)][:5000]

    def broken(encoding: str) -> int:
        return sum(1 for text in texts if "\ufffd" in text.decode(encoding, "replace").rstrip("\ufffd"))

    if said and broken(said) * 20 <= len(texts):
        return said, ".cpg 说明"
    if not texts:
        return said or "utf-8", "内容全是 ASCII"
    if not said and raw[29] in (0x4D, 0x7A) and broken("gb18030") * 20 <= len(texts):
        return "gb18030", "语言标志字节为 936"
    if broken("utf-8") * 20 <= len(texts):
        return "utf-8", f"按 UTF-8 试读 {len(texts)} 处无误"
    why = ".cpg 说明与内容不符," if said else "没有 .cpg,"
    return "gb18030", f"{why}按 GB18030 试读,{len(texts) - broken('gb18030')}/{len(texts)} 处无误"


def _layer(path: Path, layer: str | None, encoding: str | None) -> Source:
    import pyogrio

    try:
        if path.suffix.lower() == ".gpkg":
            layer = _base_table(path, layer)
        else:
            names = [name for name, kind in pyogrio.list_layers(path)]
            if layer is None and len(names) > 1:
                raise Refused("文件里有多个图层,请用 --layer 指明一个:{choices}", option="--layer", choices=names)
        info = pyogrio.read_info(path, layer=layer, encoding=encoding, force_feature_count=False, force_total_bounds=True)
        opened = pyogrio.open_arrow(path, layer=layer, encoding=encoding, batch_size=ROWS, use_pyarrow=True)
        meta, reader = opened.__enter__()
    except Refused:
        raise
    except Exception as error:
        raise Refused("文件读不出来,可能已损坏,或内容与扩展名不符。", reason=str(error)[:300]) from error
    source = Source(_alive(reader, opened), info["features"] if info["features"] >= 0 else None)
    source.wkb = meta["geometry_name"] or "wkb_geometry"
    source.crs = _crs(meta["crs"])
    bounds = info.get("total_bounds")
    source.bounds = None if bounds is None or not np.isfinite(bounds).all() else tuple(float(b) for b in bounds)  # type: ignore[assignment]
    source.names = {name: name for name in meta["fields"]}
    return source


def _alive(reader: Any, opened: Any) -> Iterator[pa.RecordBatch]:
    # The dataset must stay open as long as its batches are read.
    try:
        yield from reader
    except Exception as error:
        raise Refused("文件读到一半出错,可能被截断。", reason=str(error)[:300]) from error
    finally:
        opened.__exit__(None, None, None)


def _base_table(path: Path, layer: str | None) -> str:
    """Only base tables of a GeoPackage: a view may be an endless query."""
    import sqlite3

    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as book:
        book.execute("PRAGMA trusted_schema = OFF")
        try:
            names = [name for (name,) in book.execute(
                "SELECT c.table_name FROM gpkg_contents AS c JOIN sqlite_master AS m ON m.name = c.table_name"
                " WHERE c.data_type IN ('features', 'attributes') AND m.type = 'table'"
            )]
        except sqlite3.DatabaseError as error:
            raise Refused("GeoPackage 已损坏。") from error
    if layer is not None and layer in names:
        return layer
    if layer is not None or len(names) != 1:
        raise Refused("请用 --layer 指明一个图层:{choices}", option="--layer", choices=names)
    return str(names[0])


def _crs(told: object) -> pyproj.CRS | None:
    if not told:
        return None
    try:
        return pyproj.CRS.from_user_input(told)
    except pyproj.exceptions.CRSError:
        return None


def _parquet(path: Path) -> Source:
    if path.open("rb").read(4) != b"PAR1":
        raise Refused("文件内容与扩展名不符。")
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused("Parquet 文件已损坏。") from error
    source = Source(file.iter_batches(ROWS), file.metadata.num_rows)
    geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
    if geo:
        source.wkb = geo["primary_column"]
        column = geo["columns"][source.wkb]
        if column.get("encoding", "WKB") != "WKB":
            raise Refused("GeoParquet 的几何须用 WKB 编码。")
        source.crs = _crs(column["crs"]) if column.get("crs") else pyproj.CRS(4326)
        source.bounds = tuple(column["bbox"][:2] + column["bbox"][-2:]) if len(column.get("bbox", ())) == 4 else None
    source.names = {name: name for name in file.schema_arrow.names if name != source.wkb}
    return source


def _csv(path: Path, encoding: str | None) -> Source:
    import gzip

    if path.suffix.lower() == ".gz":
        with gzip.open(path) as packed:
            raw = packed.read(UNZIPPED + 1)
        if len(raw) > UNZIPPED:
            raise Refused("压缩包解开后过大。")
    else:
        raw = path.read_bytes()
    used = encoding or ("utf-8-sig" if raw.startswith(b"\xef\xbb\xbf") else _text_encoding(raw))
    try:
        text = raw if used in ("utf-8", "utf-8-sig") else raw.decode(used).encode()
        text = text.removeprefix(b"\xef\xbb\xbf")
        if used.startswith("utf-8"):
            text.decode("utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise Refused("按 {encoding} 读不通,请用 --encoding 指明编码。", encoding=used, option="--encoding") from error
    if not text.strip():
        raise Refused("文件是空的,一行也没有。")
    head = text.split(b"\n", 1)[0]
    delimiter = max((b"\t", b",", b";", b"|"), key=head.count).decode()
    read = pyarrow.csv.ReadOptions(block_size=8 << 20)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in text, invalid_row_handler=lambda row: "skip")
    names = pyarrow.csv.open_csv(io.BytesIO(text), read, parse).schema.names
    if len(set(names)) != len(names):
        raise Refused("有两列同名,请改名后再传。", columns=names)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True
    )
    table = pyarrow.csv.read_csv(io.BytesIO(text), read, parse, convert)
    source = Source(iter(table.combine_chunks().to_batches(ROWS)), table.num_rows)
    source.names = {name: name.strip() for name in names}
    if used.removesuffix("-sig") != "utf-8":
        source.warnings.append(f"文字编码 {used.upper()}")
    return source


def _text_encoding(raw: bytes) -> str:
    try:
        raw.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "gb18030"


def _sheet(path: Path, layer: str | None) -> Source:
    from python_calamine import CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if layer is not None and layer not in names:
            raise Refused("没有这个工作表。", option="--layer", choices=names)
        wanted = [layer] if layer else names
        sheets = [(name, book.get_sheet_by_name(name).to_python(skip_empty_area=True)) for name in wanted]
    except Refused:
        raise
    except Exception as error:
        raise Refused("表格读不出来,可能已损坏或有密码。", reason=str(error)[:200]) from error
    filled = [(name, rows) for name, rows in sheets if any(any(str(c).strip() for c in row) for row in rows)]
    if not filled:
        raise Refused("文件是空的,一行也没有。")
    if len(filled) > 1:
        choices = [name for name, _ in filled]
        raise Refused("有多个工作表,请用 --layer 指明一个:{choices}", option="--layer", choices=choices)
    rows = filled[0][1]
    at = _header(rows)
    heads = [str(cell).strip() for cell in rows[at]]
    body = [row for row in rows[at + 1 :] if any(str(c).strip() for c in row) and not _total(row)]
    columns = {}
    for number, head in enumerate(heads):
        if head and head not in columns:
            columns[head] = pa.array([_plain(row[number]) if number < len(row) else None for row in body], pa.string())
    if not columns:
        raise Refused("找不到表头。")
    table = pa.table(columns)
    source = Source(iter(table.to_batches(ROWS)), table.num_rows)
    source.names = {name: name for name in columns}
    if at:
        source.warnings.append(f"表头在第 {at + 1} 行,上面的标题行没有收")
    return source


def _header(rows: Sequence[Sequence[object]]) -> int:
    """The first row that is about as full as rows get and holds words only."""
    widths = [sum(bool(str(cell).strip()) for cell in row) for row in rows[:50]]
    full = max(widths)
    for at, row in enumerate(rows[:20]):
        told = [cell for cell in row if str(cell).strip()]
        if len(told) * 10 >= full * 6 and all(isinstance(cell, str) for cell in told):
            return at
    return 0


def _total(row: Sequence[object]) -> bool:
    first = next((str(cell).strip() for cell in row if str(cell).strip()), "")
    return first.startswith(TOTALS)


def _plain(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()[:200]
    return str(value)


def _located(source: Source, first: pa.RecordBatch) -> None:
    """Which columns of a table say where."""
    heads = {re.sub(r"[\s_\-]", "", name).lower(): name for name in reversed(source.names)}
    source.wkt = next((heads[name] for name in WKTS if name in heads), None)
    if source.wkt:
        return
    source.lon = next((heads[name] for name in LONS if name in heads), None)
    source.lat = next((heads[name] for name in LATS if name in heads), None)
    if not (source.lon and source.lat):
        source.lon = source.lat = None


def _understood(source: Source, first: pa.RecordBatch, order: dict[str, Any], datum: Datum | None) -> None:
    """Settle the CRS and the datum, or say which option would."""
    shifted = next((n for n in source.names if re.search(r"gcj|bd-?09|火星|百度坐标|高德", n, re.I)), None)
    if shifted and datum is None and (source.lon or source.wkt):
        kind = "bd09" if re.search(r"bd|百度", shifted, re.I) else "gcj02"
        raise Refused("列名 {evidence} 说明坐标是偏移过的,请用 --datum {datum} 确认。", option="--datum", datum=kind, evidence=shifted)
    if wanted := order.get("crs"):
        source.crs = _crs(wanted)
        if source.crs is None:
            raise Refused("不认识坐标系 {named}。", named=wanted, option="--crs")
        return
    bounds = source.bounds or (_table_bounds(source, first) if source.lon else None)
    if bounds is None:
        return
    degrees = source.crs is None or source.crs.is_geographic
    west, south, east, north = bounds
    if not degrees or (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        if source.crs is None and source.wkb:
            source.warnings.append("没有坐标系说明,坐标在经纬度范围内,按 CGCS2000 经纬度读取")
        return
    if -90 <= west <= east <= 90 and 70 <= south <= north <= 140:
        source.crs = None
        source.warnings.append("经纬度写反了(纬度不会超过 90°),已对调")
        source.names["\x01swapped"] = ""
        return
    guesses = crs.guessed(bounds)
    if source.crs is not None:
        source.warnings.append("坐标系说明写的是经纬度,坐标却不是")
    if len(guesses) == 1:
        source.crs = pyproj.CRS(guesses[0][0])
        source.warnings.append(f"按 {guesses[0][0]} 读取:{guesses[0][1]}")
        return
    told = ";".join(f"{code}({why})" for code, why in guesses) or "没有候选"
    raise Refused("没有坐标系说明,需要用 --crs 指明。可能是:{guesses}", guesses=told, option="--crs", choices=[code for code, _ in guesses])


def _table_bounds(source: Source, first: pa.RecordBatch) -> tuple[float, float, float, float] | None:
    x, y = _numbers(first.column(source.lon)), _numbers(first.column(source.lat))
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        return None
    # The middle of the values: a few wild ones must not decide what all are.
    return (*(float(np.quantile(v[good], 0.02)) for v in (x, y)), *(float(np.quantile(v[good], 0.98)) for v in (x, y)))  # type: ignore[return-value]


def _numbers(column: pa.Array) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    try:
        return pc.cast(pc.utf8_trim_whitespace(column), pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        out = np.full(len(column), np.nan)
        for at, text in enumerate(column.to_pylist()):
            try:
                out[at] = float(text)
            except (TypeError, ValueError):
                continue
        return out


def _converted(source: Source, part: pa.RecordBatch, number: int, datum: Datum, repair: bool) -> pa.RecordBatch:
    """A batch as it goes out: decoded columns, storage coordinates, and the reason of each row that cannot be drawn."""
    count = part.num_rows
    out: dict[str, pa.Array] = {}
    for name, shown in source.names.items():
        if name.startswith("\x01") or name in (source.lon, source.lat, source.wkt):
            continue
        column = source.decode(part.column(name))
        if not (pa.types.is_string(column.type) or pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            column = pa.array([_plain(v.isoformat() if hasattr(v, "isoformat") else v) for v in column.to_pylist()], pa.string())
        while shown in out or not shown:
            shown = f"{shown or '列'}_{len(out)}"
        out[shown] = column
    out[ROW] = pa.array(np.arange(number, number + count, dtype=np.int64))
    reasons: list[str | None] = [None] * count
    swapped = "\x01swapped" in source.names
    if source.lon and source.lat:
        x, y = _numbers(part.column(source.lon)), _numbers(part.column(source.lat))
        if swapped:
            x, y = y, x
        if source.crs is not None and not crs.is_storage(source.crs):
            x, y = pyproj.Transformer.from_crs(source.crs, crs.SRID, always_xy=True).transform(x, y)
        with np.errstate(invalid="ignore"):
            x, y = (np.array(v, np.float64) for v in crs.points_to_storage(x, y, datum))
        lost = ~(np.isfinite(x) & np.isfinite(y))
        x[lost], y[lost] = np.nan, np.nan
        out[LON], out[LAT] = pa.array(x), pa.array(y)
    elif source.wkb or source.wkt:
        shapes = _shapes(source, part, reasons)
        if swapped:
            shapes = shapely.transform(shapes, lambda xy: xy[:, ::-1])
        shapes = crs.to_storage(shapes, source.crs, datum)
        out[REPAIRED] = pa.array(_judged(shapes, reasons, repair))
        out[WKB] = pa.array([None if s is None else shapely.to_wkb(s) for s in shapes], pa.binary())
    out[PROBLEM] = pa.array(reasons, pa.string())
    return pa.record_batch(list(out.values()), names=list(out))


def _shapes(source: Source, part: pa.RecordBatch, reasons: list[str | None]) -> Any:
    if source.wkb:
        raw = np.array(part.column(source.wkb).to_pylist(), object)
        shapes = shapely.from_wkb(raw, on_invalid="ignore")
        for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([r is not None for r in raw])):
            reasons[at] = "几何损坏"
        return shapes
    texts = [None if t is None else re.sub(r"^SRID=\d+;", "", str(t).strip(), flags=re.I) for t in part.column(source.wkt).to_pylist()]
    shapes = shapely.from_wkt(np.array(texts, object), on_invalid="ignore")
    for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([t is not None for t in texts])):
        reasons[at] = "WKT 读不懂"
    return shapes


def _judged(shapes: Any, reasons: list[str | None], repair: bool) -> list[str | None]:
    """Invalid shapes repaired (told with what was wrong), or named with what is wrong and where. Repair by structure: the other way takes minutes
    on 250 vertices."""
    fixed: list[str | None] = [None] * len(shapes)
    xy = shapely.get_coordinates(shapes)
    if not np.isfinite(xy).all():
        for at, shape in enumerate(shapes):
            if shape is not None and not np.isfinite(shapely.get_coordinates(shape)).all():
                reasons[at], shapes[at] = "坐标不是有限的数", None
    for at in np.flatnonzero(shapely.get_num_coordinates(shapes) > VERTICES).tolist():
        reasons[at], shapes[at] = f"顶点超过 {VERTICES} 个", None
    for at in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)).tolist():
        why = shapely.is_valid_reason(shapes[at])
        if not repair or shapely.get_num_coordinates(shapes[at]) > 2_000:
            reasons[at], shapes[at] = f"几何无效:{why}", None
            continue
        mended = shapely.make_valid(shapes[at], method="structure", keep_collapsed=False)
        if shapely.is_empty(mended) or shapely.get_dimensions(mended) != shapely.get_dimensions(shapes[at]):
            reasons[at], shapes[at] = f"几何无效且修不好:{why}", None
        else:
            fixed[at] = f"{why},面积变化 {shapely.area(mended) - shapely.area(shapes[at]):+.3g} 平方度"
            shapes[at] = mended
    return fixed


if __name__ == "__main__":
    main()
