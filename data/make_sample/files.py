"""The formats that offices upload, written so that the same town gives the same files."""

import csv
import json
import math
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import geopandas
import numpy
import plan
import pyogrio
import pyproj
import shapely
import xlsxwriter
from shapely import Geometry, Point

Rows = Sequence[Mapping[str, object]]

STAMP = (2026, 1, 1, 0, 0, 0)


def degrees(geometry: Geometry) -> Geometry:
    """From metres to degrees, each corner alone, to a tenth of a millimetre: what was shared stays shared."""
    turned = shapely.transform(geometry, lambda corners: numpy.round(_degrees(corners), 9))
    return shapely.orient_polygons(turned)


def lonlat(point: Point) -> tuple[float, float]:
    """A point in degrees, to a centimetre."""
    lon, lat = _degrees(numpy.array([[point.x, point.y]]))[0]
    return round(float(lon), 7), round(float(lat), 7)


def projected(geometry: Geometry) -> Geometry:
    """From metres of the origin to metres of the projection, by way of the degrees that the others get."""
    back = _projection().transform
    turned = shapely.transform(
        degrees(geometry), lambda c: numpy.column_stack(back(c[:, 0], c[:, 1], direction="INVERSE"))
    )
    return shapely.orient_polygons(turned)


def metres_of(lon: float, lat: float) -> Point:
    """A point in degrees, in metres from the origin."""
    x, y = _projection().transform(lon, lat, direction="INVERSE")
    return Point(x - plan.ORIGIN[0], y - plan.ORIGIN[1])


def shifted(point: Point) -> tuple[float, float]:
    """A point in degrees as a phone's map gives it, in GCJ-02: about half a kilometre away."""
    lon, lat = lonlat(point)
    a, ee = 6378245.0, 0.00669342162296594323
    x, y, pi = lon - 105.0, lat - 35.0, math.pi
    waves = (20 * math.sin(6 * x * pi) + 20 * math.sin(2 * x * pi)) * 2 / 3
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x)) + waves
    north += (20 * math.sin(y * pi) + 40 * math.sin(y / 3 * pi)) * 2 / 3
    north += (160 * math.sin(y / 12 * pi) + 320 * math.sin(y * pi / 30)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x)) + waves
    east += (20 * math.sin(x * pi) + 40 * math.sin(x / 3 * pi)) * 2 / 3
    east += (150 * math.sin(x / 12 * pi) + 300 * math.sin(x / 30 * pi)) * 2 / 3
    flat = 1 - ee * math.sin(math.radians(lat)) ** 2
    dlat = north * 180 / (a * (1 - ee) / (flat * math.sqrt(flat)) * pi)
    dlon = east * 180 / (a / math.sqrt(flat) * math.cos(math.radians(lat)) * pi)
    return round(lon + dlon, 7), round(lat + dlat, 7)


@cache
def _projection() -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(plan.METRES, plan.DEGREES, always_xy=True)


def _degrees(corners: numpy.ndarray) -> numpy.ndarray:
    lon, lat = _projection().transform(corners[:, 0] + plan.ORIGIN[0], corners[:, 1] + plan.ORIGIN[1])
    return numpy.column_stack([lon, lat])


def geopackage(path: Path, layers: Mapping[str, tuple[Rows, Sequence[Geometry]]]) -> None:
    """A GeoPackage in degrees, a layer for each name; without index, it is small and is only read once."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    path.unlink(missing_ok=True)
    for name, (rows, geometries) in layers.items():
        frame = geopandas.GeoDataFrame(
            list(rows), geometry=[degrees(g) for g in geometries], crs=plan.DEGREES
        )
        kind = {"Polygon": "MultiPolygon", "LineString": "MultiLineString"}[
            geometries[0].geom_type.removeprefix("Multi")
        ]
        pyogrio.write_dataframe(
            frame, path, layer=name, driver="GPKG", append=path.exists(), geometry_type=kind,
            promote_to_multi=True,
            layer_options={"SPATIAL_INDEX": "NO"},
        )  # fmt: skip


def shapefile(path: Path, rows: Rows, geometries: Sequence[Geometry], *, bare: bool = False) -> None:
    """A zipped shapefile in GBK. `bare`: in metres, and nothing beside it says so nor names the encoding."""
    place = projected if bare else degrees
    crs = plan.METRES if bare else plan.DEGREES
    frame = geopandas.GeoDataFrame(list(rows), geometry=[place(g) for g in geometries], crs=crs)
    with tempfile.TemporaryDirectory() as folder:
        shape = Path(folder) / f"{path.stem}.shp"
        pyogrio.write_dataframe(
            frame, shape, encoding="GBK", layer_options={"DBF_DATE_LAST_UPDATE": "2026-01-01"}
        )
        if bare:
            _bared(shape)
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(Path(folder).iterdir()):
                entry = zipfile.ZipInfo(part.name, STAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, part.read_bytes(), compresslevel=9)


def _bared(shape: Path) -> None:
    shape.with_suffix(".prj").unlink()
    shape.with_suffix(".cpg").unlink(missing_ok=True)
    table = bytearray(shape.with_suffix(".dbf").read_bytes())
    table[29] = 0  # the language byte, through which GDAL would know better
    shape.with_suffix(".dbf").write_bytes(table)


def text(path: Path, rows: Rows, encoding: str = "utf-8-sig") -> None:
    """Comma-separated values, as spreadsheets of offices save them."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def workbook(path: Path, title: str, note: str, rows: Rows) -> None:
    """A sheet as offices make them: a title across, a line on who filled it in, then the heads."""
    book = xlsxwriter.Workbook(path, {"strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"created": datetime(*STAMP), "title": title})
    sheet = book.add_worksheet("Sheet1")
    heads = list(rows[0])
    centred = book.add_format({"bold": True, "align": "center", "font_size": 14})
    sheet.merge_range(0, 0, 0, len(heads) - 1, title, centred)
    sheet.write(1, 0, note)
    sheet.write_row(2, 0, heads, book.add_format({"bold": True, "bottom": 1}))
    for i, row in enumerate(rows, 3):
        sheet.write_row(i, 0, ["" if row[head] is None else row[head] for head in heads])
    sheet.set_column(0, len(heads) - 1, 16)
    book.close()


def geojson(path: Path, rows: Rows, points: Sequence[tuple[float, float]]) -> None:
    """Points with their properties, a feature a line."""
    lines = [
        json.dumps(
            {"type": "Feature", "properties": dict(row), "geometry": {"type": "Point", "coordinates": point}},
            ensure_ascii=False,
        )
        for row, point in zip(rows, points, strict=True)
    ]
    path.write_text(
        '{"type": "FeatureCollection", "features": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8"
    )
