"""Which reader a file goes to, by its ending and, where offices mix those up, by its first bytes."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geo.reading import archives, layers
from geo.reading.columnar import parquet
from geo.reading.shapefile import shapefile
from geo.reading.sheets import workbook
from geo.reading.source import Refused, Source
from geo.reading.texts import delimited, records

TEXTS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SHEETS = (".xlsx", ".xls", ".xlsb", ".xlsm", ".ods", ".et")
COLUMNAR = (".parquet", ".geoparquet")
SPATIAL = tuple(layers.DRIVERS)
ARCHIVES = (".zip", ".kmz", ".rar", ".7z")
# What to save as instead, by ending.
ELSEWHERE = {
    "不能读取 {suffix} 文件:请在 CAD 中另存为 DXF,或导出为 Shapefile 再传。": (".dwg", ".dgn", ".dwt"),
    "不能读取 {suffix} 文件:请在 Access 或 ArcGIS 中导出为 Shapefile、GeoPackage 或 XLSX 再传。": (".mdb", ".accdb"),
    "不能读取 {suffix} 文件:请在 MapGIS 中转换为 Shapefile 再传。": (".wp", ".wt", ".wl", ".hdf", ".mpj"),
    "不能读取 {suffix} 文件:请在奥维地图中导出为 KML 或 Shapefile 再传。": (".ovkml", ".ovjsn", ".ovobj", ".ovkmz"),
    "不能读取 {suffix} 文件:里面是页面而不是数据,请把表格另存为 XLSX 再传。": (".pdf", ".doc", ".docx", ".wps", ".ppt", ".pptx", ".html", ".htm"),
    "不能读取 {suffix} 文件:图片里的内容读不出来,请把表格填成 XLSX、把图形存成 Shapefile 再传。": (
        ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".heic",
    ),
    "不能读取 {suffix} 文件:里面是样式或工程,不是数据,请把图层导出为 Shapefile 或 GeoPackage 再传。": (".mxd", ".qgz", ".qgs", ".aprx", ".sld", ".lyr", ".qlr"),
    "不能读取 {suffix} 文件:请解开以后,另压成 ZIP 再传。": (".tar", ".gz", ".tgz", ".bz2", ".xz", ".cab", ".arj"),
    "不能读取 {suffix} 文件:这只是 Shapefile 的一部分,请连同 .shp、.shx、.dbf、.prj 一起压成 ZIP 再传。": (".shx", ".prj", ".cpg", ".sbn", ".sbx", ".qpj"),
    "不能读取 {suffix} 文件:这只是图层的一部分,请连同 .tab 或 .mif 一起压成 ZIP 再传。": (".mid", ".dat", ".map", ".id", ".ind"),
}


def opened(path: Path, job: Path, order: Mapping[str, Any]) -> Source:
    """A file, an archive or a folder as a source."""
    name = path.name.lower()
    if path.is_dir() and path.suffix.lower() != ".gdb":
        return _inside(path, job, order)
    if name.endswith(ARCHIVES):
        return _inside(path, job, order)
    return _read(path, job, order, sent=True)


def _inside(path: Path, job: Path, order: Mapping[str, Any]) -> Source:
    """What an archive or folder holds. A KMZ is one KML and its pictures."""
    readable = (".kml",) if path.suffix.lower() == ".kmz" else (*SPATIAL, *TEXTS[:3], *SHEETS, *COLUMNAR)
    wanted = order.get("layer")
    found, told = archives.unpacked(path, job, wanted, readable)
    names = [one.name for one in told]
    within = {**order, "layer": None} if len(told) > 1 or wanted in names else order
    source = _read(found.path, job, within, sent=False)
    if len(told) > 1:
        source.layers = [replace(one, count=source.count) if one.name == found.shown.stem else one for one in told]
        facts = {"layer": found.shown.name, "others": [one for one in names if one != found.shown.stem][:20]}
        source.tell("layer", found.shown.stem, "读的是 {layer},压缩包里还有:{others}", facts, tuple(names), "layer", doubtful=wanted is None)
    elif not source.layers:
        source.layers = [replace(told[0], count=source.count)]
    return source


def _read(path: Path, job: Path, order: Mapping[str, Any], sent: bool) -> Source:
    name, kind = path.name.lower(), path.suffix.lower()
    if kind in (".shp", ".dbf"):
        return shapefile(path, job, order)
    looks = "" if path.is_dir() else _looks(path)
    if name.endswith((*TEXTS, *SHEETS)) and looks:
        return _table(path, job, order, looks)
    if kind in COLUMNAR:
        return parquet(path)
    if kind in (".json", ".geojson") and looks == "records":
        layers.shallow(path)
        return records(path, order)
    if kind in layers.DRIVERS:
        # By a name of ours: what GDAL makes of a stranger's is not looked into. A MapInfo layer's parts are found by theirs.
        if sent and kind not in (".tab", ".mif"):
            os.symlink(path, job / f"sent{kind}")
            path = job / f"sent{kind}"
        return layers.layer(path, job, order)
    for sentence, endings in ELSEWHERE.items():
        if kind in endings:
            raise Refused(sentence, suffix=kind)
    raise Refused("不认识扩展名 {suffix},请另存为 Shapefile、GeoPackage、GeoJSON、CSV 或 XLSX。", suffix=path.suffix)


def _looks(path: Path) -> str:
    """What a table is by its first bytes: a workbook, a page of the web, or text."""
    with path.open("rb") as file:
        head = file.read(2048)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "workbook"
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|table|\?xml|meta|style)", head, re.I):
        return "page"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")
    if text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]"):
        return "records"
    return "notation" if text.startswith(b"{") else "text"


def _table(path: Path, job: Path, order: Mapping[str, Any], looks: str) -> Source:
    """A table by what it is: systems write web pages and text under .xls, and people rename workbooks to .csv."""
    sheet = path.name.lower().endswith(SHEETS)
    if looks == "page":
        raise Refused("这个文件其实是网页,不是表格:请用 Excel 打开后另存为 XLSX 再传。")
    if looks in ("records", "notation"):
        # Pasted, as text.
        os.symlink(path, job / "pasted.json")
        return _read(job / "pasted.json", job, order, sent=False)
    if looks == "workbook":
        return workbook(path, order)
    if sheet:
        with path.open("rb") as file:
            head = file.read(4096)
        if b"\0" in head.replace(b"\xff\xfe", b"") and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Refused("表格读不出来,可能已损坏或有密码。")
        os.symlink(path, job / "sheet.csv")
        path = job / "sheet.csv"
    return delimited(path, order)
