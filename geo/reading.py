"""The reading process: one file in, an Arrow stream out. Started by `geo.files`, never imported by the server.

It gives up the network, then bounds its memory, processor time and file size, and only then opens anything. What it has
to say goes three ways: rows down the pipe, a refusal into the job's folder, complaints of libraries to nobody.
"""

import codecs
import contextlib
import csv
import ctypes
import errno
import gzip
import io
import itertools
import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import stat
import struct
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import shapely

from geo import crs
from geo.crs import Datum
from geo.files import LAT, LON, PROBLEM, REPAIRED, ROW, WKB

if TYPE_CHECKING:
    # Each process reads one file: what only some formats need is imported where they are read (pyproj 0.1 s).
    from pyproj import CRS

ROWS = 20_000
SAMPLE = 100  # values of each column that are told beforehand
MEMORY = 2 << 30
# Seconds of processor: some, and some for each megabyte sent. A small file that needs more is built to.
PROCESSOR, PROCESSOR_A_MEGABYTE = 10, 2
UNZIPPED, RATIO, ENTRIES = 2 << 30, 200, 2_000
VERTICES = 200_000
SIDECARS = (".shp", ".dbf", ".shx", ".prj", ".cpg")
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".xlsb", ".ods", ".et")
SPATIAL = (".shp", ".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".kml", ".parquet", ".geoparquet")
# Compared without case, spaces, underscores and the word for the datum.
LONS = "lon|lng|long|longitude|经度|东经|经|x|xcoord|coordx|pointx|jd|jingdu|bdlon|east|easting"
LATS = "lat|latitude|纬度|北纬|纬|y|ycoord|coordy|pointy|wd|weidu|north|northing"
WKTS = ("wkt", "ewkt", "geom", "geometry", "thegeom", "shape", "geojson", "几何", "图形")
PAIRS = "经纬|点|lonlat|lnglat|latlon|latlng|location|coord|coords|coordinate|coordinates|position"
# Which datum a title speaks of. A GPS receiver says WGS 84, a map on a phone does not.
TITLED = {
    Datum.GCJ02: re.compile("gcj-?_?(?:02)?|火星(?:坐标)?|高德|gaode|amap|腾讯|国测局|mars", re.I),
    Datum.BD09: re.compile("bd-?_?09(?:ll|mc)?|百度|baidu|^bd_?(?=lon|lng|lat|x$|y$)|(?<=[a-z])_bd$", re.I),
    Datum.WGS84: re.compile("wgs-?_?(?:19)?(?:84)?|gps", re.I),
    Datum.CGCS2000: re.compile("cgcs-?_?(?:2000)?|国家2000|大地2000|天地图|tianditu", re.I),
}
# What a placemark always has, whether anybody filled it or not.
KML = {"timestamp", "begin", "end", "altitudeMode", "tessellate", "extrude", "visibility", "drawOrder", "icon", "snippet"}
TOTALS = ("合计", "总计", "小计", "共计")
FIRST = {"gpkg": b"SQLite format 3\0", "fgb": b"fgb\x03fgb", "parquet": b"PAR1"}
SAID = {"936": "gb18030", "cp936": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-8": "utf-8",
        "utf8": "utf-8", "65001": "utf-8", "ansi 936": "gb18030", "big5": "big5", "950": "big5", "iso-8859-1": "utf-8"}


class Frugal:
    """Keeps out what pyogrio and pyarrow look for in passing: two seconds and 150 MB that a reader of Arrow has no use for."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in ("geopandas", "pandas"):
            raise ModuleNotFoundError(name)


class Refused(Exception):
    """The file cannot be taken; the sentence says why and what to do."""

    def __init__(self, sentence: str, **facts: object) -> None:
        super().__init__(sentence)
        self.facts = facts


def main() -> None:
    """Read the file that the first argument orders and write it to the standard output."""
    sys.meta_path.insert(0, Frugal())
    order = json.loads(sys.argv[1])
    job = Path(order["job"])
    try:
        _walled(Path(order["path"]).stat().st_size)
        _written(order, sys.stdout.buffer)
    except Refused as refusal:
        (job / "refusal").write_text(json.dumps({"sentence": str(refusal), **refusal.facts}, ensure_ascii=False, default=str))
        sys.exit(3)


def _walled(size: int) -> None:
    """Give up the network, and all that this work does not need. Refuses to go on where that is not granted."""
    libc = ctypes.CDLL(None, use_errno=True)
    # CLONE_NEWNET, and CLONE_NEWUSER where we are not root: a namespace without interfaces reaches nothing.
    alone = libc.unshare(0x40000000) == 0 or libc.unshare(0x50000000) == 0
    if not _filtered(libc) and not alone:
        raise Refused(
            "读上传的文件时断不开网络:请允许普通用户建名字空间(sysctl kernel.unprivileged_userns_clone=1),或放进没有出口的容器网络。",
            unavailable=True,
        )
    seconds = PROCESSOR + PROCESSOR_A_MEGABYTE * size // 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNZIPPED, UNZIPPED))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# By machine: AUDIT_ARCH, and the numbers of socket, connect, bind, execve, execveat, ptrace, process_vm_writev, kill,
# io_uring_setup. A container that forbids namespaces still grants a filter.
FILTERED = {
    "x86_64": (0xC000003E, (41, 42, 49, 59, 322, 101, 311, 62, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 221, 281, 117, 271, 129, 425)),
}


def _filtered(libc: ctypes.CDLL) -> bool:
    """Whether the kernel now answers EPERM to opening a socket, starting a program or touching another process."""
    if platform.machine() not in FILTERED:
        return False
    architecture, numbers = FILTERED[platform.machine()]
    allow, deny = 0x7FFF0000, 0x00050000 | errno.EPERM
    # Classic BPF, (code, jump if true, jump if false, value): another architecture's numbers (and x32's) are all denied.
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, deny), (0x20, 0, 0, 0), (0x35, len(numbers) + 1, 0, 0x40000000)]
    steps += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    steps += [(0x06, 0, 0, allow), (0x06, 0, 0, deny)]
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    header = struct.pack("@HP", len(steps), ctypes.addressof(held := ctypes.create_string_buffer(program)))
    # PR_SET_NO_NEW_PRIVS, without which only root may filter; PR_SET_SECCOMP, SECCOMP_MODE_FILTER.
    granted: bool = libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0
    del held
    return granted


class Source:
    """A table on its way: Arrow batches with a geometry or position, and how they were understood."""

    def __init__(self, parts: Iterator[pa.RecordBatch], count: int | None) -> None:
        self.parts, self.count = parts, count
        self.wkb: str | None = None  # name of the column of WKB
        self.wkt: str | None = None
        self.lon: str | None = None
        self.lat: str | None = None
        self.pair: str | None = None  # both in one cell
        self.points = False  # the shapes are single points, and go out as positions
        self.crs: CRS | None = None
        self.bounds: tuple[float, float, float, float] | None = None
        self.warnings: list[str] = []
        self.decode: Callable[[pa.Array], pa.Array] = lambda column: column
        self.swapped = False  # the file writes north first
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
        _located(source, first, datum)
    _understood(source, first, order, datum)
    repair, number, writer = order.get("repair", True), 1, None
    for part in _chained(first, source.parts):
        told = _converted(source, part, number, datum or Datum.CGCS2000, repair)
        if writer is None:
            described = {
                "columns": {
                    name: [_plain(v) for v in told.column(name).slice(0, SAMPLE).to_pylist()]
                    for name in told.schema.names if not name.startswith("\x01")
                },
                "count": source.count, "warnings": source.warnings,
                "position_columns": [source.names[n] for n in (source.lon, source.lat, source.wkt, source.pair) if n],
            }
            schema = told.schema.with_metadata({b"described": json.dumps(described, ensure_ascii=False).encode()})
            writer = pa.ipc.new_stream(out, schema)
        writer.write_batch(pa.record_batch([_fitted(c, f.type) for c, f in zip(told.columns, schema, strict=True)], schema=schema))
        number += part.num_rows
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
        return _sheet(_sound(path), order.get("layer"))
    if name.endswith((".parquet", ".geoparquet")):
        return _parquet(path)
    if name.endswith(".shp"):
        return _shapefile(_gathered(path, job), order)
    if name.endswith((".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".fgb", ".kml")):
        _sniffed(path)
        path = _told_in_utf8(path, job) if name.endswith(("json", "jsonl", "jsons")) else path
        return _layer(path, order.get("layer"), None, order["drivers"])
    if name.endswith((".dwg", ".mdb", ".wp", ".wt", ".wl")):
        raise Refused("不能读取这种文件,请在原软件中另存为 Shapefile 或 GeoPackage。")
    raise Refused("不认识扩展名 {suffix},请另存为 Shapefile、GeoPackage、GeoJSON、CSV 或 XLSX。", suffix=path.suffix)


def _unzipped(path: Path, job: Path, layer: str | None) -> Path:
    """The members of an archive under names of our own, after a look at what they claim to be."""
    kept: list[tuple[Path, zipfile.ZipInfo]] = []
    with _archive(path) as archive:
        for member in archive.infolist():
            shown = Path(_member_name(member).replace("\\", "/"))
            if shown.is_absolute() or ".." in shown.parts or ":" in shown.parts[0] or stat.S_ISLNK(member.external_attr >> 16):
                raise Refused("压缩包里有指向包外的路径或链接,不能解开。")
            if member.is_dir() or "__MACOSX" in shown.parts or shown.name.startswith("._"):
                continue
            if shown.suffix.lower() in (".zip", ".rar", ".7z"):
                raise Refused("压缩包里还有压缩包,请解开一层再传。")
            kept.append((shown, member))
        found = list(_extracted(archive, kept, job / "unzipped"))
    if not found:
        raise Refused("压缩包里没有可以读取的文件。", files=[str(shown) for shown, _ in kept][:20])
    if layer:
        found = [(shown, target) for shown, target in found if layer in (shown.stem, str(shown.with_suffix("")))]
    if len(found) != 1:
        names = sorted(shown.stem for shown, _ in found)
        if len(set(names)) < len(names):
            names = sorted(str(shown.with_suffix("")) for shown, _ in found)
        raise Refused("压缩包里有多个图层,请用 --layer 指明一个:{choices}", option="--layer", choices=names)
    return found[0][1]


def _archive(path: Path) -> zipfile.ZipFile:
    """A ZIP whose table of contents promises nothing excessive."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Refused("压缩包已损坏或不是 ZIP。") from error
    members = archive.infolist()
    if len(members) > ENTRIES:
        raise Refused("压缩包里有 {count} 个文件,太多了。", count=len(members))
    if any(member.flag_bits & 1 for member in members):
        raise Refused("压缩包有密码,请去掉密码再传。")
    # A DBF is mostly blanks, and honest ones shrink a hundredfold.
    swollen = any(
        member.file_size > 10_000_000 and member.file_size > RATIO * max(1, member.compress_size)
        for member in members if not member.filename.lower().endswith(".dbf")
    )
    if swollen or sum(member.file_size for member in members) > UNZIPPED:
        raise Refused("压缩包解开后过大。")
    return archive


def _extracted(
    archive: zipfile.ZipFile, kept: Sequence[tuple[Path, zipfile.ZipInfo]], out: Path
) -> Iterator[tuple[Path, Path]]:
    # Parts of one shapefile share a stem, whatever the case; ours is a number, whatever theirs was.
    out.mkdir()
    stems: dict[str, int] = {}
    for shown, member in kept:
        number = stems.setdefault(str(shown.with_suffix("")).casefold(), len(stems))
        target = out / f"m{number}{shown.suffix.lower()}"
        if not target.suffix.isascii() or target.exists():
            continue
        with archive.open(member) as inside, target.open("wb") as to:
            left = member.file_size
            while chunk := inside.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise Refused("压缩包里的文件比它声明的大。")
                to.write(chunk)
        if target.suffix in (*SPATIAL, *TABLES):
            yield shown, target


def _sound(path: Path) -> Path:
    """A workbook, which is an archive too (an older one is not)."""
    if zipfile.is_zipfile(path):
        _archive(path).close()
    return path


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


def _told_in_utf8(path: Path, job: Path) -> Path:
    """The file, or a copy of it in UTF-8 when it was written in GB18030 or UTF-16."""
    encoding = _text_encoding(path)
    if encoding in ("utf-8", "utf-8-sig"):
        return path
    copy = job / f"utf8{path.suffix.lower()}"
    with path.open(encoding=encoding, errors="replace") as said, copy.open("w", encoding="utf-8") as to:
        shutil.copyfileobj(said, to)
    return copy


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
    _whole(out)
    if struct.unpack(">i", (out / "layer.shp").open("rb").read(4).ljust(4, b"\0"))[0] != 9994:
        raise Refused("这不是 Shapefile,或文件已损坏。")
    return out / "layer.shp"


def _whole(out: Path) -> None:
    """Refuse parts that are shorter than their headers say: an upload or a copy that broke off."""
    for ending, stated in ((".shp", lambda head: 2 * struct.unpack(">i", head[24:28])[0]), (".dbf", _dbf_length)):
        part = out / f"layer{ending}"
        head = part.open("rb").read(32) if part.exists() else b""
        # The last byte of a DBF, an end mark, is often not written.
        if len(head) == 32 and part.stat().st_size < stated(head) - 1:
            told = f"{ending}: {part.stat().st_size} < {stated(head)}"
            raise Refused("文件读到一半出错,可能被截断。", reason=told)


def _dbf_length(head: bytes) -> int:
    records, header, record = struct.unpack("<IHH", head[4:12])
    return int(header + records * record)


def _shapefile(path: Path, order: dict[str, Any]) -> Source:
    source = _layer(path, None, "ISO-8859-1", order["drivers"])
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


def _decodes(text: bytes, encoding: str) -> bool:
    """Whether bytes are text, if need be without a last character that the width of the column has cut."""
    for cut in range(min(4, len(text))):
        with contextlib.suppress(UnicodeDecodeError):
            text[: len(text) - cut].decode(encoding)
            return True
    return False


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
    names = [raw[at : at + 11].split(b"\0")[0] for at in range(32, length - 1, 32)]
    texts = [part for part in (*names, *re.split(rb"[\0 ]+", raw[length:])) if any(byte > 127 for byte in part)][:5000]

    def broken(encoding: str) -> int:
        return sum(not _decodes(text, encoding) for text in texts)

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


# What may read a format, by its ending. Only that is there when GDAL starts: not a sniff by GDAL decides, but ours.
DRIVERS = {
    ".shp": {"ESRI Shapefile"}, ".gpkg": {"GPKG"}, ".fgb": {"FlatGeobuf"}, ".kml": {"LIBKML"}, ".geojson": {"GeoJSON"},
    ".json": {"GeoJSON"}, ".geojsonl": {"GeoJSONSeq"}, ".geojsons": {"GeoJSONSeq"}, ".ndjson": {"GeoJSONSeq"},
}


def _gdal(path: Path, known: Sequence[str]) -> Any:
    """pyogrio, started with one driver, no network and no look at what lies beside the file."""
    os.environ |= {
        "OGR_SKIP": ",".join(sorted({*known} - DRIVERS[path.suffix.lower()])), "GDAL_SKIP": "VRT", "SHAPE_RESTORE_SHX": "YES",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "GDAL_HTTP_MAX_RETRY": "0",
        "OGR_GEOJSON_MAX_OBJ_SIZE": "200", "OGR_SQLITE_LOAD_EXTENSIONS": "NO", "GDAL_NUM_THREADS": "1",
    }
    import pyogrio

    if set(pyogrio.list_drivers()) - DRIVERS[path.suffix.lower()]:
        raise Refused("文件读不出来,可能已损坏,或内容与扩展名不符。", reason="GDAL has other drivers than asked for")
    return pyogrio


def _layer(path: Path, layer: str | None, encoding: str | None, known: Sequence[str]) -> Source:
    pyogrio = _gdal(path, known)
    try:
        if path.suffix.lower() == ".gpkg":
            layer = _base_table(path, layer)
        else:
            names = [name for name, kind in pyogrio.list_layers(path)]
            if layer is None and len(names) > 1:
                raise Refused("文件里有多个图层,请用 --layer 指明一个:{choices}", option="--layer", choices=names)
        # A GeoPackage in write-ahead mode would be written to for being read.
        how = {"IMMUTABLE": "YES"} if path.suffix.lower() == ".gpkg" else {}
        info = pyogrio.read_info(path, layer=layer, encoding=encoding, force_total_bounds=True, **how)
        opened = pyogrio.open_arrow(path, layer=layer, encoding=encoding, batch_size=ROWS, use_pyarrow=True, **how)
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
    source.points = info["geometry_type"] in ("Point", "Point Z", "Point M", "Point ZM", "2.5D Point")
    source.names = {name: name for name in meta["fields"] if path.suffix != ".kml" or name not in KML}
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


def _crs(told: object) -> "CRS | None":
    import pyproj

    if not told:
        return None
    try:
        return pyproj.CRS.from_user_input(told)
    except pyproj.exceptions.CRSError:
        return None


def _parquet(path: Path) -> Source:
    if path.open("rb").read(4) != b"PAR1":
        raise Refused("文件内容与扩展名不符。")
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused("Parquet 文件已损坏。") from error
    source = Source(file.iter_batches(ROWS), file.metadata.num_rows)
    geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
    if geo:
        source.wkb = geo["primary_column"]
        column = geo["columns"][source.wkb]
        if column.get("encoding", "WKB") != "WKB":
            raise Refused("GeoParquet 的几何须用 WKB 编码。")
        # Not said is WGS 84 by the specification; said to be nothing is unknown.
        source.crs = _crs(column["crs"]) if column.get("crs") else None if "crs" in column else _crs(4326)
        source.bounds = tuple(column["bbox"][:2] + column["bbox"][-2:]) if len(column.get("bbox", ())) == 4 else None
    source.names = {name: name for name in file.schema_arrow.names if name not in (source.wkb, "__index_level_0__", "bbox")}
    return source


def _csv(path: Path, encoding: str | None) -> Source:
    """A delimited text, read block by block: rows of another length than the header's are kept apart, not dropped."""
    used = encoding or _text_encoding(path)
    count = _counted(path, used.removesuffix("-sig"))
    with _text(path, used) as text:
        head = text.read(1 << 16)
    if not head.strip():
        raise Refused("文件是空的,一行也没有。")
    delimiter = max("\t,;|", key=head.split("\n", 1)[0].count)
    # A broken last record must not decide where the header is.
    rows = [row for row, _ in zip(csv.reader(io.StringIO(head), delimiter=delimiter), range(50), strict=False)]
    at = _header(rows)
    heads = [cell.strip() for cell in rows[at]]
    if len({*filter(None, heads)}) < len([*filter(None, heads)]):
        raise Refused("有两列同名,请改名后再传。", columns=heads)
    names = [f"c{number}" for number in range(len(heads))]
    bent: list[tuple[int, str]] = []

    def kept_apart(row: Any) -> str:
        bent.append((row.number, row.text))
        return "skip"

    reader = pyarrow.csv.open_csv(
        _bytes(path) if used.startswith("utf-8") else _Recoded(_bytes(path), used),
        # Without threads, because only so a row that is kept apart has its number.
        pyarrow.csv.ReadOptions(block_size=4 << 20, skip_rows=at, column_names=names, skip_rows_after_names=1, use_threads=False),
        pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=count.quoted, invalid_row_handler=kept_apart, ignore_empty_lines=False
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True
        ),
    )
    source = Source(_straightened(reader, bent, names, at + 1, delimiter), max(0, count.lines - at - 1))
    source.names = {name: title or f"列{number + 1}" for number, (name, title) in enumerate(zip(names, heads, strict=True))}
    if not used.startswith("utf-8"):
        source.warnings.append(f"文字编码 {used.upper()}")
    if at:
        source.warnings.append(f"表头在第 {at + 1} 行,上面的标题行没有收")
    return source


def _straightened(
    reader: Any, bent: list[tuple[int, str]], names: Sequence[str], above: int, delimiter: str
) -> Iterator[pa.RecordBatch]:
    """The rows with their numbers in the file, counted from below the header; bent ones with what is wrong with them."""
    number = 1
    while True:
        try:
            block = reader.read_next_batch()
        except StopIteration:
            break
        except (pa.ArrowInvalid, UnicodeError, OSError, EOFError) as error:
            raise Refused("文件读到一半出错,可能被截断。", reason=str(error)[:300]) from error
        taken, bent[:] = list(bent), []
        rows = np.arange(number, number + block.num_rows + len(taken))
        number += len(rows)
        if taken:
            rows = np.setdiff1d(rows, [at - above for at, _ in taken])[: block.num_rows]
        block = block.append_column(ROW, pa.array(rows)).append_column(PROBLEM, pa.nulls(block.num_rows, pa.string()))
        filled = ~np.logical_and.reduce([column.is_null().to_numpy(False) for column in block.columns[: len(names)]])
        yield from pa.table(block.filter(pa.array(filled)) if not filled.all() else block).to_batches(ROWS)
        if taken:
            yield _bent(taken, names, above, delimiter, block.schema)


def _bent(
    taken: Sequence[tuple[int, str]], names: Sequence[str], above: int, delimiter: str, schema: pa.Schema
) -> pa.RecordBatch:
    cells = [next(csv.reader([text.replace("\0", "")], delimiter=delimiter), []) for _, text in taken]
    columns = [[row[at] if at < len(row) else None for row in cells] for at in range(len(names))]
    why = [f"这一行有 {len(row)} 格,表头有 {len(names)} 格" for row in cells]
    return pa.record_batch([*columns, [at - above for at, _ in taken], why], schema=schema)


class _Recoded(io.RawIOBase):
    """Text of another encoding, as UTF-8."""

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.raw, self.left = raw, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self.left) < size and (chunk := self.raw.read(1 << 20)):
            self.left += self.decoder.decode(chunk).encode()
        told, self.left = self.left[:size], self.left[size:]
        return told


def _bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _text(path: Path, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(cast(Any, _bytes(path)), "utf-8-sig" if encoding == "utf-8" else encoding, "replace", newline="")


class _Count(NamedTuple):
    lines: int
    quoted: bool


@cache
def _counted(path: Path, encoding: str) -> _Count:
    """How many lines there are, when all of the file can be read in this encoding; refuses when not."""
    lines, quoted, size, last = 0, False, 0, b"\n"
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        with _bytes(path) as raw:
            while chunk := raw.read(1 << 20):
                size += len(chunk)
                if size > UNZIPPED:
                    raise Refused("压缩包解开后过大。")
                decoder.decode(chunk)
                lines, quoted, last = lines + chunk.count(b"\n"), quoted or b'"' in chunk, chunk
            decoder.decode(b"", final=True)
    except (UnicodeError, LookupError) as error:
        raise Refused("按 {encoding} 读不通,请用 --encoding 指明编码。", encoding=encoding, option="--encoding") from error
    except (OSError, EOFError, zlib.error) as error:
        raise Refused("文件读到一半出错,可能被截断。", reason=str(error)[:300]) from error
    return _Count(lines + (last[-1:] != b"\n"), quoted)


def _text_encoding(path: Path) -> str:
    """UTF-8 where all of it is, else what its mark says, else GB18030, which holds GBK and GB 2312."""
    try:
        with _bytes(path) as raw:
            mark = raw.read(4)
        if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        _counted(path, "utf-8")
        return "utf-8-sig" if mark.startswith(codecs.BOM_UTF8) else "utf-8"
    except OSError as error:
        raise Refused("文件读到一半出错,可能被截断。", reason=str(error)[:300]) from error
    except Refused as refusal:
        if not isinstance(refusal.__cause__, UnicodeError):
            raise
        return "gb18030"


def _sheet(path: Path, layer: str | None) -> Source:
    from python_calamine import CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if layer is not None and layer not in names:
            raise Refused("没有这个工作表。", option="--layer", choices=names)
        sheets = {name: book.get_sheet_by_name(name) for name in ([layer] if layer else names)}
        filled = {name: sheet for name, sheet in sheets.items() if any(any(map(_full, row)) for row in sheet.iter_rows())}
    except Refused:
        raise
    except Exception as error:
        raise Refused("表格读不出来,可能已损坏或有密码。", reason=str(error)[:200]) from error
    if not filled:
        raise Refused("文件是空的,一行也没有。")
    if len(filled) > 1:
        raise Refused("有多个工作表,请用 --layer 指明一个:{choices}", option="--layer", choices=list(filled))
    [sheet] = filled.values()
    at = _header(list(itertools.islice(sheet.iter_rows(), 50)))
    heads = [str(cell).strip() for cell in next(itertools.islice(sheet.iter_rows(), at, None))]
    columns = {head: number for number, head in reversed([*enumerate(heads)]) if head}
    if not columns:
        raise Refused("找不到表头。")
    source = Source(_rows(sheet, at + 1, dict(reversed(columns.items()))), sheet.height - at - 1)
    source.names = {name: name for name in reversed(columns)}
    if at:
        source.warnings.append(f"表头在第 {at + 1} 行,上面的标题行没有收")
    return source


def _rows(sheet: Any, skipped: int, columns: Mapping[str, int]) -> Iterator[pa.RecordBatch]:
    """The rows below the header with their numbers, without blank lines and sums."""
    body = enumerate(itertools.islice(sheet.iter_rows(), skipped, None), 1)
    wanted = ((number, row) for number, row in body if any(map(_full, row)) and not _total(row))
    while part := list(itertools.islice(wanted, ROWS)):
        arrays = [pa.array([_plain(row[at]) for _, row in part], pa.string()) for at in columns.values()]
        yield pa.record_batch([*arrays, pa.array([number for number, _ in part], pa.int64())], names=[*columns, ROW])


def _full(cell: object) -> bool:
    return bool(str(cell).strip())


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
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()[:200]
    return str(value)


def _located(source: Source, first: pa.RecordBatch, datum: Datum | None) -> None:
    """Which columns of a table say where. Of several pairs the one of the datum that was named, else one nobody has shifted."""
    heads = {re.sub(r"[\s_\-]", "", title).lower(): name for name, title in reversed(source.names.items())}
    source.wkt = next((heads[name] for name in WKTS if name in heads and _is_wkt(first.column(heads[name]))), None)
    if source.wkt:
        return
    pairs: dict[Datum | None, dict[str, str]] = {}
    for name, title in reversed(source.names.items()):
        said = _titled(title)
        base = unicodedata.normalize("NFKC", TITLED[said].sub("", title) if said else title).lower()
        base = re.sub(r"[\s_\-.·度°()]|坐标|中心点?|(?<=.)值$|poi|center|centroid", "", base)
        for axis, words in (("lon", LONS), ("lat", LATS)):
            if re.fullmatch(words, base):
                pairs.setdefault(said, {})[axis] = name
        if re.fullmatch(PAIRS, base or "coord") and _is_pair(first.column(name)):
            pairs.setdefault(said, {}).setdefault("pair", name)
    for wanted in (datum, Datum.CGCS2000, Datum.WGS84, None, Datum.GCJ02, Datum.BD09):
        pair = pairs.get(wanted, {})
        if {"lon", "lat"} <= pair.keys():
            source.lon, source.lat = pair["lon"], pair["lat"]
            return
        if "pair" in pair:
            source.pair = pair["pair"]
            return


def _titled(title: str) -> Datum | None:
    """The datum that a title speaks of."""
    return next((datum for datum, words in TITLED.items() if words.search(title)), None)


WKT = re.compile(r"\s*(?:SRID=\d+;)?\s*(?:MULTI)?(?:POINT|LINESTRING|POLYGON|GEOMETRYCOLLECTION)|\s*0[01][0-9A-Fa-f]{16,}\s*$", re.I)
PAIR = r"^\s*[\[(\"(]?\s*(?P<x>-?\d{1,9}(?:\.\d+)?)\s*[,,;; ]\s*(?P<y>-?\d{1,9}(?:\.\d+)?)\s*[\])\")]?\s*$"


def _is_wkt(column: pa.Array) -> bool:
    told = [text for text in column.slice(0, 1000).to_pylist() if text]
    return bool(told) and sum(bool(WKT.match(text)) for text in told) * 2 >= len(told)


def _is_pair(column: pa.Array) -> bool:
    told = [text for text in column.slice(0, 1000).to_pylist() if text]
    return bool(told) and sum(bool(re.match(PAIR, text)) for text in told) * 2 >= len(told)


def _positions(source: Source, part: pa.RecordBatch) -> tuple[Any, Any]:
    """x and y of a table's rows as the file writes them; NaN where there is none."""
    if source.pair:
        found = pc.extract_regex(part.column(source.pair), PAIR)
        return tuple(pc.struct_field(found, axis).cast(pa.float64()).to_numpy(zero_copy_only=False).copy() for axis in "xy")
    return _numbers(part.column(source.lon)), _numbers(part.column(source.lat))


def _understood(source: Source, first: pa.RecordBatch, order: dict[str, Any], datum: Datum | None) -> None:
    """Settle the CRS and the datum, or say which option would."""
    _confirmed(source, datum)
    if wanted := order.get("crs"):
        source.crs = _crs(wanted)
        if source.crs is None:
            raise Refused("不认识坐标系 {named}。", named=wanted, option="--crs")
        _cautioned(source)
        return
    if source.wkt:
        _stated_by_wkt(source, first)
    bounds = source.bounds or _bounds(source, first)
    if bounds is None:
        return
    wrong = source.crs is not None and crs.contradiction(bounds, source.crs) is not None
    if source.crs is not None and not wrong:
        _cautioned(source)
        return
    found = crs.candidates(bounds, order.get("near"))
    if len(found) == 1 and found[0].certain and found[0].swapped:
        source.crs = None
        source.warnings.append("经纬度写反了(纬度不会超过 90°),已对调")
        source.swapped = True
        return
    if wrong:
        source.warnings.append("坐标系说明写的是经纬度,坐标却不是")
    straight = [one for one in found if not one.swapped]
    if straight and straight[0].crs == "EPSG:4490":
        source.crs = None
        if source.wkb:
            source.warnings.append("没有坐标系说明,坐标在经纬度范围内,按 CGCS2000 经纬度读取")
        return
    if len(straight) == 1 and len(found) == 1:
        source.crs = _crs(straight[0].crs)
        source.warnings.append(f"按 {straight[0].crs} 读取:{straight[0].evidence}")
        return
    choices = [one.crs for one in straight]
    told = f"{'、'.join(_runs(choices))}({straight[0].evidence})" if straight else "没有候选"
    raise Refused("没有坐标系说明,需要用 --crs 指明。可能是:{guesses}", guesses=told, option="--crs", choices=choices)


def _confirmed(source: Source, datum: Datum | None) -> None:
    shifted = [
        source.names[name] for name in (source.lon, source.lat, source.pair, source.wkt)
        if name and (said := _titled(source.names[name])) and said.shifted
    ]
    if shifted and datum is None:
        kind = _titled(shifted[0])
        raise Refused("列名 {evidence} 说明坐标是偏移过的,请用 --datum {datum} 确认。", option="--datum", datum=kind, evidence=shifted[0])
    if shifted and datum is not _titled(shifted[0]):
        source.warnings.append(f"列名 {shifted[0]} 像是偏移过的坐标,按您说的 {datum} 读取")


def _cautioned(source: Source) -> None:
    """Say how far off positions may be that reach storage by no exact path."""
    assert source.crs is not None
    off = crs.accuracy(source.crs)
    if off is None:
        source.warnings.append(f"{source.crs.name} 到 CGCS2000 没有公开的转换参数,位置可能差几十到一百多米;请测绘部门转换后再传更准")
    elif off > 1:
        source.warnings.append(f"{source.crs.name} 到 CGCS2000 的转换可能差 {off:g} 米")


def _stated_by_wkt(source: Source, first: pa.RecordBatch) -> None:
    """The SRID of EWKT or EWKB, which all rows must share."""
    stated = {int(srid) for srid in shapely.get_srid(_shapes(source, first, [None] * first.num_rows)) if srid > 0}
    if len(stated) == 1:
        source.crs = _crs(stated.pop())


def _runs(codes: Sequence[str]) -> Iterator[str]:
    """`EPSG:4534–4554` for codes that follow each other."""
    numbers = [int(code.split(":")[1]) for code in codes]
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        told = [number for _, number in run]
        yield f"EPSG:{told[0]}" if len(told) == 1 else f"EPSG:{told[0]}–{told[-1]}"


def _bounds(source: Source, first: pa.RecordBatch) -> tuple[float, float, float, float] | None:
    if source.lon or source.pair:
        x, y = _positions(source, first)
    elif source.wkt or source.wkb:
        x, y = shapely.get_coordinates(_shapes(source, first, [None] * first.num_rows)).T
    else:
        return None
    # (0, 0) is what devices write that know no position.
    good = np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
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
        return np.array([_degrees(text) for text in column.to_pylist()], np.float64)


DEGREES = re.compile(r"[^\d.-]*(-?\d+(?:\.\d+)?)[°度d](?:(\d+(?:\.\d+)?)['′分m])?(?:(\d+(?:\.\d+)?)(?:\"|″|''|′′|秒|s))?[^\d]*", re.I)


def _degrees(text: str | None) -> float:
    """A number, or degrees with minutes and seconds; NaN for anything else."""
    said = unicodedata.normalize("NFKC", text or "").strip()
    try:
        return float(said)
    except ValueError:
        pass
    if not (found := DEGREES.fullmatch(re.sub(r"\s", "", said))):
        return math.nan
    whole, minutes, seconds = (float(part or 0) for part in found.groups())
    return math.copysign(abs(whole) + minutes / 60 + seconds / 3600, whole) * (-1 if re.search("[SW南西]", said) else 1)


def _converted(source: Source, part: pa.RecordBatch, number: int, datum: Datum, repair: bool) -> pa.RecordBatch:
    """A batch as it goes out: decoded columns, storage coordinates, and the reason of each row that cannot be drawn."""
    count = part.num_rows
    out: dict[str, pa.Array] = {}
    for name, shown in source.names.items():
        if name in (source.lon, source.lat, source.wkt, source.pair):
            continue
        column = source.decode(part.column(name))
        if not (pa.types.is_string(column.type) or pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            column = pa.array([_plain(v.isoformat() if hasattr(v, "isoformat") else v) for v in column.to_pylist()], pa.string())
        while shown in out or not shown:
            shown = f"{shown or '列'}_{len(out)}"
        out[shown] = column
    numbered = ROW in part.schema.names
    out[ROW] = part.column(ROW) if numbered else pa.array(np.arange(number, number + count, dtype=np.int64))
    reasons: list[str | None] = part.column(PROBLEM).to_pylist() if PROBLEM in part.schema.names else [None] * count
    x = y = None
    if source.lon or source.pair:
        x, y = _positions(source, part)
    elif source.wkb or source.wkt:
        shapes = _shapes(source, part, reasons)
        if source.points:
            x, y = shapely.get_x(shapes), shapely.get_y(shapes)
        else:
            if source.swapped:
                shapes = shapely.transform(shapes, lambda xy: xy[:, ::-1])
            shapes = crs.to_storage(shapes, source.crs, datum)
            out[REPAIRED] = pa.array(_judged(shapes, reasons, repair), pa.string())
            out[WKB] = pa.array(shapely.to_wkb(shapes, output_dimension=2, byte_order=1), pa.binary())
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


def _shapes(source: Source, part: pa.RecordBatch, reasons: list[str | None]) -> Any:
    if source.wkb:
        raw = np.array(part.column(source.wkb).to_pylist(), object)
        shapes = shapely.from_wkb(raw, on_invalid="ignore")
        for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([r is not None for r in raw])):
            reasons[at] = "几何损坏"
        return shapes
    texts = [None if t is None else str(t).strip() for t in part.column(source.wkt).to_pylist()]
    binary = np.array([t is not None and t[:2] in ("00", "01") for t in texts], bool)
    srids = [re.match(r"SRID=(\d{1,6});", t, re.I) if t else None for t in texts]
    bare = [t[found.end() :] if t and found else t for t, found in zip(texts, srids, strict=True)]
    shapes = shapely.from_wkt(np.array([None if b else t for t, b in zip(bare, binary, strict=True)], object), on_invalid="ignore")
    if binary.any():
        shapes[binary] = shapely.from_wkb(np.array(bare, object)[binary], on_invalid="ignore")
    stated = np.array([int(found[1]) if found else 0 for found in srids], np.int32)
    shapes = shapely.set_srid(shapes, np.where(stated > 0, stated, np.maximum(0, shapely.get_srid(shapes))))
    expected = None if source.crs is None else source.crs.to_epsg()
    for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([t is not None for t in texts])):
        reasons[at] = "WKT 读不懂"
    told = shapely.get_srid(shapes)
    for other in np.flatnonzero((told > 0) & (told != (told if expected is None else expected))):
        reasons[other], shapes[other] = f"SRID {told[other]} 与前面的行不同({expected})", None
    return shapes


def _judged(shapes: Any, reasons: list[str | None], repair: bool) -> list[str | None]:
    """Invalid shapes repaired (told with what was wrong), or named with what is wrong and where."""
    fixed: list[str | None] = [None] * len(shapes)
    for lost, why in _unearthly(shapes):
        reasons[lost], shapes[lost] = why, None
    for at in np.flatnonzero(shapely.get_num_coordinates(shapes) > VERTICES).tolist():
        reasons[at], shapes[at] = f"顶点超过 {VERTICES} 个", None
    for at in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)).tolist():
        why = shapely.is_valid_reason(shapes[at])
        if not repair:
            reasons[at], shapes[at] = f"几何无效:{why}", None
            continue
        mended = _mended(shapes[at])
        if mended is None or shapely.is_empty(mended) or shapely.get_dimensions(mended) != shapely.get_dimensions(shapes[at]):
            reasons[at], shapes[at] = f"几何无效且修不好:{why}", None
        else:
            before, after = shapely.area(shapes[at]), shapely.area(mended)
            fixed[at] = f"{why},面积由 {_square_metres(shapes[at], before):.4g} 变为 {_square_metres(shapes[at], after):.4g} 平方米"
            shapes[at] = mended
    return fixed


def _unearthly(shapes: Any) -> Iterator[tuple[int, str]]:
    """Shapes with coordinates that are no longitude and latitude."""
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    # Written so that NaN is bad too.
    bad = ~((np.abs(xy[:, 0]) <= 180) & (np.abs(xy[:, 1]) <= 90))
    for at, place in dict(zip(owner[bad][::-1].tolist(), xy[bad][::-1].tolist(), strict=True)).items():
        finite = np.isfinite(place).all()
        yield at, f"坐标 {place[0]:.6g}, {place[1]:.6g} 不在地球上" if finite else "坐标不是有限的数"


def _square_metres(shape: Any, degrees: float) -> float:
    # Near enough to see what a repair did: a degree is 111.2 km, and east of itself less by the latitude.
    return float(degrees * 111_195**2 * math.cos(math.radians((shape.bounds[1] + shape.bounds[3]) / 2)))


SIMPLE, PATIENCE = 60, 2.0


def _mended(shape: Any) -> Any:
    """The shape made valid, or None when that takes longer than `PATIENCE` seconds.

    By structure: the other method takes minutes on 250 vertices, and this one seconds on 500 that all cross each other.
    Nothing can interrupt it, so what has more than `SIMPLE` vertices is mended by a process that can be ended.
    """
    if shapely.get_num_coordinates(shape) <= SIMPLE:
        return shapely.make_valid(shape, method="structure", keep_collapsed=False)
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        # Its default answer to the alarm is to end, which no library can hold up.
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        with open(there, "wb") as out:
            out.write(shapely.to_wkb(shapely.make_valid(shape, method="structure", keep_collapsed=False)))
        os._exit(0)
    os.close(there)
    with open(here, "rb") as told:
        wkb = told.read()
    _, status = os.waitpid(child, 0)
    return shapely.from_wkb(wkb) if status == 0 else None


if __name__ == "__main__":
    main()
