"""Which columns of a table say where, and what their cells say."""

import contextlib
import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from geo.crs import Datum
from geo.reading.source import Source

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


def located(source: Source, first: pa.RecordBatch, datum: Datum | None) -> None:
    """Which columns of a table say where. Of several pairs the one of the datum that was named, else one nobody has shifted."""
    heads = {re.sub(r"[\s_\-]", "", title).lower(): name for name, title in reversed(source.names.items())}
    spelled = [name for name in (*WKTS, *heads) if name in heads and (name in WKTS or "wkt" in name)]
    source.wkt = next((heads[name] for name in spelled if _is_wkt(first.column(heads[name]))), None)
    if source.wkt:
        return
    pairs: dict[Datum | None, dict[str, str]] = {}
    for name, title in reversed(source.names.items()):
        said = titled(title)
        base = unicodedata.normalize("NFKC", TITLED[said].sub("", title) if said else title).lower()
        base = re.sub(r"[\s_\-.·度°()]|坐标|中心点?|(?<=.)值$|poi|geom|center|centroid", "", base)
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


def titled(title: str) -> Datum | None:
    """The datum that a title speaks of."""
    return next((datum for datum, words in TITLED.items() if words.search(title)), None)


WKT = re.compile(r"\s*(?:SRID=\d+;)?\s*(?:MULTI)?(?:POINT|LINESTRING|POLYGON|GEOMETRYCOLLECTION)|\s*0[01][0-9A-Fa-f]{16,}\s*$", re.I)
SRID = re.compile(r"SRID=(\d{1,6});", re.I)
# Characters, not escapes: this is read by RE2 too.
COMMA, SEMICOLON, OPENED, CLOSED = "\N{FULLWIDTH COMMA}", "\N{FULLWIDTH SEMICOLON}", "\N{FULLWIDTH LEFT PARENTHESIS}", "\N{FULLWIDTH RIGHT PARENTHESIS}"
NUMBER = r"-?\d{1,9}(?:\.\d+)?"
PAIR = rf'^\s*[\[("{OPENED}]?\s*(?P<x>{NUMBER})\s*[,; {COMMA}{SEMICOLON}]\s*(?P<y>{NUMBER})\s*[\])"{CLOSED}]?\s*$'


def _is_wkt(column: pa.Array) -> bool:
    told = [text for text in column.slice(0, 1000).to_pylist() if text and isinstance(text, str)]
    return bool(told) and sum(bool(WKT.match(text)) for text in told) * 2 >= len(told)


def _is_pair(column: pa.Array) -> bool:
    told = [text for text in column.slice(0, 1000).to_pylist() if text and isinstance(text, str)]
    return bool(told) and sum(bool(re.match(PAIR, text)) for text in told) * 2 >= len(told)


def positions(source: Source, part: pa.RecordBatch) -> tuple[Any, Any]:
    """x and y of a table's rows as the file writes them; NaN where there is none."""
    if source.pair:
        found = pc.extract_regex(part.column(source.pair), PAIR)
        return tuple(pc.struct_field(found, axis).cast(pa.float64()).to_numpy(zero_copy_only=False).copy() for axis in "xy")
    return _numbers(part.column(source.lon)), _numbers(part.column(source.lat))


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


SPACED = re.compile(r"([NSEW]?)\s*(-?\d{1,3})\s+(\d{1,2})\s+(\d{1,2}(?:\.\d+)?)\s*([NSEW]?)", re.I)


def _degrees(text: str | None) -> float:
    """A number, or degrees with minutes and seconds; NaN for anything else."""
    said = unicodedata.normalize("NFKC", text or "").strip()
    try:
        return float(said)
    except ValueError:
        pass
    if spaced := SPACED.fullmatch(said):
        said = f"{spaced[1]}{spaced[2]}°{spaced[3]}'{spaced[4]}″{spaced[5]}"
    if not (found := DEGREES.fullmatch(re.sub(r"\s", "", said))):
        return math.nan
    whole, minutes, seconds = (float(part or 0) for part in found.groups())
    return math.copysign(abs(whole) + minutes / 60 + seconds / 3600, whole) * (-1 if re.search("[SW南西]", said) else 1)


def _parsed(parse: Callable[..., Any], told: Any, reasons: list[str | None]) -> Any:
    """Shapes of WKB or WKT; None where it says none."""
    try:
        return parse(told, on_invalid="ignore")
    except NotImplementedError:
        # Arcs, for which GEOS has a type and shapely none: one of them would stop all.
        out = np.full(len(told), None, object)
        for at, one in enumerate(told):
            try:
                out[at] = parse(one, on_invalid="ignore")
            except NotImplementedError:
                reasons[at] = "是圆弧或曲线,请在原软件中转成折线再传"
        return out


def drawn(source: Source, part: pa.RecordBatch, reasons: list[str | None]) -> Any:
    """The shapes of a batch; of what is none, `reasons` tells why."""
    if source.shapes and source.drawn:
        return source.drawn(part.column(source.shapes))
    if source.wkb:
        raw = np.array(part.column(source.wkb).to_pylist(), object)
        shapes = _parsed(shapely.from_wkb, raw, reasons)
        source.closed = set()
        for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([r is not None for r in raw])).tolist():
            # What can be helped by closing a ring; anything else is no shape.
            with contextlib.suppress(shapely.errors.GEOSException, NotImplementedError):
                shapes[at] = shapely.from_wkb(raw[at], on_invalid="fix")
            if shapes[at] is None:
                reasons[at] = reasons[at] or "几何损坏"
            else:
                source.closed.add(at)
        return shapes
    texts = [None if t is None else str(t).strip() for t in part.column(source.wkt).to_pylist()]
    binary = np.array([t is not None and t[:2] in ("00", "01") for t in texts], bool)
    srids = [SRID.match(t) if t and t[0] in "Ss" else None for t in texts]
    bare = [t[found.end() :] if t and found else t for t, found in zip(texts, srids, strict=True)]
    shapes = _parsed(shapely.from_wkt, np.array([None if b else t for t, b in zip(bare, binary, strict=True)], object), reasons)
    if binary.any():
        shapes[binary] = _parsed(shapely.from_wkb, np.array(bare, object)[binary], [None] * int(binary.sum()))
    stated = np.array([int(found[1]) if found else 0 for found in srids], np.int32)
    shapes = shapely.set_srid(shapes, np.where(stated > 0, stated, np.maximum(0, shapely.get_srid(shapes))))
    expected = None if source.crs is None else source.crs.to_epsg()
    for at in np.flatnonzero(shapely.is_missing(shapes) & np.array([t is not None for t in texts])).tolist():
        reasons[at] = reasons[at] or "WKT 读不懂"
    told = shapely.get_srid(shapes)
    for other in np.flatnonzero((told > 0) & (told != (told if expected is None else expected))):
        reasons[other], shapes[other] = f"SRID {told[other]} 与前面的行不同({expected})", None
    return shapes


