"""What GDAL reads. It is started with the drivers of that one format and no other, after a look at what the content is."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from geo.files import Layer
from geo.reading.source import CUT, DISGUISED, ROWS, UNREADABLE, Refused, Source, chosen, distinct
from geo.reading.texts import text_encoding
from geo.reading.understanding import reference

# What may read a format, by its ending. Only that is there when GDAL starts: not a sniff by GDAL decides, but ours.
DRIVERS = {
    ".shp": {"ESRI Shapefile"}, ".dbf": {"ESRI Shapefile"}, ".gpkg": {"GPKG"}, ".fgb": {"FlatGeobuf"}, ".kml": {"LIBKML"},
    ".geojson": {"GeoJSON"}, ".json": {"GeoJSON"}, ".geojsonl": {"GeoJSONSeq"}, ".geojsons": {"GeoJSONSeq"},
    ".ndjson": {"GeoJSONSeq"}, ".topojson": {"TopoJSON"}, ".esrijson": {"ESRIJSON"}, ".gml": {"GML"}, ".gpx": {"GPX"},
    ".dxf": {"DXF"}, ".tab": {"MapInfo File"}, ".mif": {"MapInfo File"}, ".gdb": {"OpenFileGDB"},
}
FIRST = {".gpkg": b"SQLite format 3\0", ".fgb": b"fgb\x03fgb"}
DEEP = "GeoJSON 嵌套太深,不是正常的数据。"
MANY = "文件里有多个图层,请用 --layer 指明一个:{choices}"
# What a placemark always has, whether anybody filled it or not.
KML = {"timestamp", "begin", "end", "altitudeMode", "tessellate", "extrude", "visibility", "drawOrder", "icon", "snippet"}
POINTS = ("Point", "Point Z", "Point M", "Point ZM", "2.5D Point")
# Formats whose CRS the format fixes, whatever was written into them.
FIXED = (".geojson", ".json", ".geojsonl", ".geojsons", ".ndjson", ".kml", ".topojson", ".gpx")


def layer(path: Path, job: Path, order: Mapping[str, Any]) -> Source:
    """A layer of a file that is what its ending says."""
    path = _sniffed(path, job)
    if path.suffix in FIXED[:7] and path.suffix != ".kml":
        path = _told_in_utf8(path, job)
    return opened(path, order)


def opened(path: Path, order: Mapping[str, Any], encoding: str | None = None) -> Source:
    """A layer by GDAL, as it is."""
    kind = path.suffix.lower()
    # Only where there is none: what restores an index goes through every shape, and stumbles over what a good one passes by.
    os.environ["SHAPE_RESTORE_SHX"] = "NO" if path.with_suffix(".shx").exists() else "YES"
    pyogrio = gdal(DRIVERS[kind], order["drivers"])
    # A GeoPackage in write-ahead mode would be written to for being read; a schema would be fetched.
    how: dict[str, Any] = {".gpkg": {"IMMUTABLE": "YES"}, ".gml": {"DOWNLOAD_SCHEMA": "NO", "WRITE_GFS": "NO"}}.get(kind, {})
    try:
        layers = _tables(path, pyogrio) if kind == ".gpkg" else _listed(path, pyogrio, how)
        if not layers:
            raise Refused("文件里没有图层。")
        name = chosen(layers, order.get("layer") if len(layers) > 1 or kind in (".gpkg", ".gdb") else None, MANY).name
        bounds = kind not in (".dxf", ".gml")
        info = pyogrio.read_info(path, layer=name, encoding=encoding, force_total_bounds=bounds, **how)
        handle = pyogrio.open_arrow(path, layer=name, encoding=encoding, batch_size=ROWS, use_pyarrow=True, **how)
        meta, reader = handle.__enter__()
    except Refused:
        raise
    except Exception as error:
        raise Refused(UNREADABLE, reason=str(error)[:300]) from error
    source = Source(_alive(reader, handle), info["features"] if info["features"] >= 0 else None, decode=_legible)
    # Without a shape GDAL names none.
    source.wkb = (meta["geometry_name"] or "wkb_geometry") if info["geometry_type"] is not None else None
    source.exported = True
    source.crs = reference(meta["crs"])
    source.stated = source.crs is not None and (kind not in FIXED or _declares(path))
    total = info.get("total_bounds")
    if total is not None and np.isfinite(total).all():
        source.bounds = tuple(float(b) for b in total)  # type: ignore[assignment]
    source.points = info["geometry_type"] in POINTS
    fields = [str(name) for name in meta["fields"]]
    source.names = {name: name.split("\x02")[0] for name in distinct(fields) if kind != ".kml" or name not in KML}
    source.layers = layers
    if len(layers) > 1:
        source.tell("layer", name, "读的是图层 {layer}", {"layer": name}, tuple(one.name for one in layers), "layer", doubtful=False)
    return source


def gdal(drivers: set[str], known: Sequence[str]) -> Any:
    """pyogrio, started with these drivers, no network and no look at what lies beside the file."""
    os.environ |= {
        "OGR_SKIP": ",".join(sorted({*known} - drivers)), "GDAL_SKIP": "VRT",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none", "GDAL_HTTP_MAX_RETRY": "0",
        "OGR_GEOJSON_MAX_OBJ_SIZE": "200", "OGR_SQLITE_LOAD_EXTENSIONS": "NO", "GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": "32",
        "GML_SKIP_RESOLVE_ELEMS": "ALL", "DXF_CLOSED_LINE_AS_POLYGON": "YES", "DXF_MAX_BSPLINE_CONTROL_POINTS": "2000",
    }
    import pyogrio

    if set(pyogrio.list_drivers()) - drivers:
        raise Refused(UNREADABLE, reason="GDAL has other drivers than asked for")
    return pyogrio


def _sniffed(path: Path, job: Path) -> Path:
    """The file under the ending of what it is. Refuses content that is not what the name says, before GDAL decides."""
    kind = path.suffix.lower()
    if path.is_dir():
        return path
    with path.open("rb") as file:
        head = file.read(4096)
    if kind in FIRST:
        if not head.startswith(FIRST[kind]):
            raise Refused(DISGUISED)
        return path
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")
    if kind in (".kml", ".gml", ".gpx"):
        return _tagged(path, job, kind)
    if kind == ".dxf":
        if not re.match(rb"\s*(?:999\s*\n.*\n\s*)*0\s*\r?\n\s*SECTION", head):
            raise Refused("这个 DXF 读不了,请在 CAD 中另存为 ASCII 格式的 DXF,或导出为 Shapefile。")
        return path
    if kind == ".mif":
        if not text.lower().startswith(b"version"):
            raise Refused(DISGUISED)
        return _beside(path, job, (".mid",))
    if kind == ".tab":
        return _table(path, job)
    return _notation(path, job, kind, text)


def _tagged(path: Path, job: Path, kind: str) -> Path:
    """XML that names nothing outside itself. A copy without the address of its schema, which is not to be looked for."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:64]:
            raise Refused("请把 XML 文件存为 UTF-8 编码再传。")
        before, parser = b"", expat.ParserCreate()
        file.seek(0)
        while chunk := file.read(1 << 20):
            if b"<!ENTITY" in before + chunk or b"<!DOCTYPE" in before + chunk:
                raise Refused(DISGUISED, reason="DOCTYPE")
            before = chunk[-16:]
            _well_formed(parser, chunk, final=False)
        _well_formed(parser, b"", final=True)
    marks = {".kml": rb"<(?:\w+:)?kml\b", ".gml": rb"opengis\.net/gml|<(?:\w+:)?FeatureCollection\b", ".gpx": rb"<gpx\b"}
    if not re.search(marks[kind], head, re.I):
        raise Refused(DISGUISED)
    if kind == ".kml":
        if b"<NetworkLink" in head and not re.search(rb"<(?:\w+:)?Placemark", path.read_bytes()):
            raise Refused("这个 KML 里只有网络链接,没有图形;服务器不会去下载。请把链接打开后另存为 KML 再传。")
        return path
    copy = job / f"tagged{kind}"
    with path.open("rb") as file, copy.open("wb") as out:
        head = re.sub(rb"\s[\w:]*[sS]chemaLocation\s*=\s*(\"[^\"]*\"|'[^']*')", b"", file.read(1 << 16))
        out.write(head)
        shutil.copyfileobj(file, out, 1 << 20)
    return copy


def _well_formed(parser: "expat.XMLParserType", chunk: bytes, final: bool) -> None:
    """Refuse broken XML, of which GDAL would give the rows before the break, or none, without a word."""
    try:
        parser.Parse(chunk, final)
    except (expat.ExpatError, LookupError, ValueError) as error:
        line = parser.CurrentLineNumber
        raise Refused("XML 在第 {line} 行断了或写错了,请重新导出后再传。", line=line, reason=str(error)[:200]) from error


def _beside(path: Path, job: Path, others: Sequence[str], head: bytes | None = None) -> Path:
    """The parts of a layer side by side under ASCII names, whatever the case of their endings, and nothing else."""
    out = job / "layer"
    out.mkdir()
    for part in path.parent.iterdir():
        ending = part.suffix.lower()
        if part.stem.casefold() == path.stem.casefold() and ending in (path.suffix.lower(), *others) and part.is_file():
            shutil.copyfile(part, out / f"layer{ending}")
    return out / f"layer{path.suffix.lower()}"


def _table(path: Path, job: Path) -> Path:
    """A MapInfo table that has its data beside it: views and seamless tables name files of anybody's choice."""
    with path.open("rb") as file:
        said = file.read(1 << 20).lower()
    if b"!table" not in said[:200] or not re.search(rb"\btype\s+native\b", said):
        raise Refused("只能读 MapInfo 原生格式的 TAB(连同 .dat .map .id),请在 MapInfo 中另存后再传。")
    if re.search(rb"open\s+table|create\s+view|isseamless|\\|/", said):
        raise Refused(DISGUISED, reason="other tables")
    return _beside(path, job, (".dat", ".map", ".id", ".ind"))


def _notation(path: Path, job: Path, kind: str, text: bytes) -> Path:
    """JSON under the ending of its kind: of features, in lines, of a topology or of ESRI's."""
    if not text.startswith(b"{"):
        raise Refused(DISGUISED)
    kinds = re.findall(rb'"type"\s*:\s*"([^"]*)"', text)
    if any(k.lower().startswith((b"gdal", b"vrt")) for k in kinds) or b'"command_line"' in text:
        raise Refused(DISGUISED)
    with path.open("rb") as file:
        separated = file.read(8).lstrip(b"\xef\xbb\xbf").startswith(b"\x1e")
    if kind in (".geojson", ".json"):
        first = text.split(b"\n", 1)
        if separated or (len(first) > 1 and _closed(first[0]) and first[1].lstrip().startswith(b"{")):
            kind = ".geojsonl"
        elif b'"Topology"' in kinds or b"Topology" in kinds:
            kind = ".topojson"
        elif re.search(rb'"geometryType"\s*:\s*"esriGeometry', text):
            kind = ".esrijson"
    if kind in (".geojson", ".json", ".topojson", ".esrijson"):
        shallow(path)
    if kind == path.suffix.lower():
        return path
    copy = job / f"notation{kind}"
    shutil.copyfile(path, copy)
    return copy


def _closed(line: bytes) -> bool:
    return line.rstrip().endswith(b"}") and line.count(b"{") == line.count(b"}")


def shallow(path: Path) -> None:
    """Refuse what is nested deeper than a parser's stack."""
    depth = deepest = 0
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            raw = np.frombuffer(chunk, np.uint8)
            step = ((raw == 0x5B) | (raw == 0x7B)).astype(np.int32) - ((raw == 0x5D) | (raw == 0x7D)).astype(np.int32)
            depths = depth + np.cumsum(step)
            deepest = max(deepest, int(depths.max(initial=0)))
            depth = int(depths[-1]) if len(depths) else depth
            if deepest > 500:
                raise Refused(DEEP)


def _told_in_utf8(path: Path, job: Path) -> Path:
    """The file, or a copy of it in UTF-8 when it was written in GB18030 or UTF-16."""
    encoding = text_encoding(path)
    if encoding in ("utf-8", "utf-8-sig"):
        return path
    copy = job / f"utf8{path.suffix.lower()}"
    with path.open(encoding=encoding, errors="replace") as said, copy.open("w", encoding="utf-8") as to:
        shutil.copyfileobj(said, to)
    return copy


def _declares(path: Path) -> bool:
    """Whether a GeoJSON names a CRS other than the one that programs write into all of them."""
    if path.suffix in (".kml", ".gpx"):
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return b'"crs"' in head and b"CRS84" not in head


def _listed(path: Path, pyogrio: Any, how: Mapping[str, Any]) -> list[Layer]:
    """The layers of a file with their counts; empty ones only where all are."""
    names = [str(name) for name, _ in pyogrio.list_layers(path)]
    if len(names) == 1:
        return [Layer(names[0])]
    if path.suffix == ".gpx":
        # The points of a track are its line once more.
        names = [name for name in names if not name.endswith("_points")]
    layers = []
    for name in names:
        count = pyogrio.read_info(path, layer=name, force_feature_count=True, **how)["features"]
        layers.append(Layer(name, count if count >= 0 else None))
    return [one for one in layers if one.count != 0] or layers[:1]


def _tables(path: Path, pyogrio: Any) -> list[Layer]:
    """Only base tables of a GeoPackage: a view may be an endless query."""
    with sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro&immutable=1", uri=True) as book:
        book.execute("PRAGMA trusted_schema = OFF")
        try:
            names = [str(name) for (name,) in book.execute(
                "SELECT c.table_name FROM gpkg_contents AS c JOIN sqlite_master AS m ON m.name = c.table_name"
                " WHERE c.data_type IN ('features', 'attributes') AND m.type = 'table' AND m.sql NOT LIKE 'CREATE VIRTUAL%'"
            )]
            quoted = {name: name.replace('"', '""') for name in names}
            return [Layer(name, book.execute(f'SELECT count(*) FROM "{quoted[name]}"').fetchone()[0]) for name in names]
        except sqlite3.DatabaseError as error:
            raise Refused("GeoPackage 已损坏。") from error


def _alive(reader: Any, handle: Any) -> Iterator[pa.RecordBatch]:
    # The dataset must stay open as long as its batches are read.
    try:
        for part in reader:
            yield part.rename_columns(distinct(part.schema.names)) if len({*part.schema.names}) < part.num_columns else part
    except Exception as error:
        raise Refused(CUT, reason=str(error)[:300]) from error
    finally:
        handle.__exit__(None, None, None)


def _legible(column: pa.Array) -> pa.Array:
    """Text that GDAL took for UTF-8 and is none, as a drawing without its code page has it, as GB18030."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([None if raw is None else _told(raw) for raw in column.cast(pa.large_binary()).to_pylist()], pa.string())
    return column


def _told(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")
