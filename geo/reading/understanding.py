"""In which CRS, order of axes and datum the numbers of a file are: what it states, what they can be, or which option would say."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely

from geo import crs
from geo.crs import Candidate, Datum
from geo.reading.places import drawn, positions, titled
from geo.reading.source import Refused, Source

if TYPE_CHECKING:
    from pyproj import CRS


def reference(told: object) -> "CRS | None":
    """A CRS of PROJ, or nothing where PROJ knows none."""
    import pyproj

    if not told:
        return None
    try:
        return pyproj.CRS.from_user_input(told)
    except pyproj.exceptions.CRSError:
        return None


def understood(source: Source, first: pa.RecordBatch, order: Mapping[str, Any], datum: Datum | None) -> None:
    """Settle the CRS, the axes and the datum of a source whose first rows are these, and tell why."""
    _confirmed(source, datum)
    if source.wkt:
        _stated_by_wkt(source, first)
    bounds = source.bounds or _bounds(source, first)
    if bounds is None:
        return
    _referenced(source, bounds, order)
    if order.get("axes") in ("xy", "yx"):
        source.swapped = order["axes"] == "yx"
        source.tell("axes", order["axes"], "按您说的次序读取坐标", choices=("xy", "yx"), option="axes", doubtful=False)
    _dated(source, first, bounds, datum)


def _referenced(source: Source, bounds: crs.Bounds, order: Mapping[str, Any]) -> None:
    if wanted := order.get("crs"):
        source.crs, source.stated = reference(wanted), True
        if source.crs is None:
            raise Refused("不认识坐标系 {named}。", named=wanted, option="--crs")
        source.tell("crs", wanted, "按您说的坐标系读取", option="crs", doubtful=False)
        _cautioned(source)
        return
    wrong = None if source.crs is None else crs.contradiction(bounds, source.crs)
    found = crs.candidates(bounds, order.get("near"))
    choices = tuple(dict.fromkeys(one.crs for one in found if not one.swapped))
    if source.crs is not None and wrong is None:
        name, code = source.crs.name, source.crs.to_epsg()
        value = f"EPSG:{code}" if code else name
        if source.stated:
            source.tell("crs", value, "文件声明的坐标系是 {name}", {"name": name}, choices, "crs", doubtful=False)
        else:
            source.tell("crs", value, "这种格式规定用 {name}", {"name": name}, choices, "crs", doubtful=False)
        _cautioned(source)
        return
    source.stated = False
    if wrong is not None:
        source.tell("crs", "", "坐标系说明与坐标不符:{why}", {"why": str(wrong)}, choices, "crs")
    _concluded(source, bounds, found, choices)


def _concluded(source: Source, bounds: crs.Bounds, found: Sequence[Candidate], choices: tuple[str, ...]) -> None:
    """Take the reading that is proved or the only one left; refuse to guess among several."""
    if len(found) == 1 and found[0].certain and found[0].swapped:
        source.crs, source.swapped = None, True
        source.tell("axes", "yx", "经纬度写反了(纬度不会超过 90°),已对调", choices=("yx", "xy"), option="axes")
        return
    straight = [one for one in found if not one.swapped]
    if straight and straight[0].crs == "EPSG:4490":
        source.crs = None
        if source.lon is None and source.pair is None:
            source.tell("crs", "EPSG:4490", "没有坐标系说明,坐标在经纬度范围内,按 CGCS2000 经纬度读取", {}, choices, "crs")
        return
    # Where known areas leave one Gauss-Krüger zone, UTM beside it is a possibility that bureaus do not use: to be confirmed.
    likely = [one for one in straight if 4491 <= int(one.crs.split(":")[1]) <= 4554]
    if len(likely) == 1 and len(found) <= 2:
        source.crs = reference(likely[0].crs)
        facts = {"crs": likely[0].crs, "evidence": str(likely[0].evidence)}
        source.tell("crs", likely[0].crs, "按 {crs} 读取:{evidence}", facts, choices, "crs", confirm=len(found) > 1)
        return
    if len(straight) == 1 and len(found) == 1:
        source.crs = reference(straight[0].crs)
        facts = {"crs": straight[0].crs, "evidence": str(straight[0].evidence)}
        source.tell("crs", straight[0].crs, "按 {crs} 读取:{evidence}", facts, choices, "crs")
        return
    if not straight:
        x, y = f"{bounds[0]:.6g}", f"{bounds[1]:.6g}"
        raise Refused("坐标 {x}, {y} 不像经纬度,也不像中国的平面坐标,请用 --crs 指明坐标系。", x=x, y=y, option="--crs", choices=[])
    told = f"{'、'.join(_runs(choices))}({straight[0].evidence})"
    raise Refused("没有坐标系说明,需要用 --crs 指明。可能是:{guesses}", guesses=told, option="--crs", choices=list(choices))


def _confirmed(source: Source, datum: Datum | None) -> None:
    """Refuse titles that speak of a shift until somebody confirms it."""
    shifted = [name for name in source.positioned if (said := titled(name)) and said.shifted]
    if shifted and datum is None:
        kind = titled(shifted[0])
        raise Refused("列名 {evidence} 说明坐标是偏移过的,请用 --datum {datum} 确认。", option="--datum", datum=kind, evidence=shifted[0])
    if shifted and datum is not titled(shifted[0]):
        facts = {"column": shifted[0], "datum": datum}
        source.tell("datum", datum, "列名 {column} 像是偏移过的坐标,按您说的 {datum} 读取", facts, tuple(Datum), "datum")


def _dated(source: Source, first: pa.RecordBatch, bounds: crs.Bounds, datum: Datum | None) -> None:
    """Say which datum was taken, and whether somebody has to confirm it."""
    if any(one.aspect == "datum" for one in source.evidence):
        return
    choices = tuple(Datum)
    if datum is not None:
        source.tell("datum", datum, "按您说的 {datum} 读取", {"datum": datum}, choices, "datum", doubtful=False)
        return
    told = next((said for name in source.positioned if (said := titled(name))), None)
    if told is not None:
        facts = {"column": next(name for name in source.positioned if titled(name)), "datum": told}
        source.tell("datum", told, "列名 {column} 说明坐标是 {datum}", facts, choices, "datum", doubtful=False)
    elif source.stated and source.crs is not None:
        source.tell("datum", Datum.CGCS2000, "文件声明了坐标系,坐标没有偏移", {}, choices, "datum", doubtful=False)
    elif source.crs is not None and not source.crs.is_geographic:
        source.tell("datum", Datum.CGCS2000, "平面坐标,没有偏移", {}, choices, "datum", doubtful=False)
    elif not _disturbed(bounds, source.swapped):
        source.tell("datum", Datum.CGCS2000, "在中国以外,坐标没有偏移", {}, choices, "datum", doubtful=False)
    elif _pointed(source, first):
        source.tell(
            "datum", Datum.CGCS2000,
            "看不出坐标有没有偏移:GPS 和天地图的坐标没有,高德、腾讯地图的(GCJ-02)偏约 500 米,百度地图的(BD-09)偏约 1200 米。请确认",
            {}, choices, "datum", confirm=True,
        )
    else:
        source.tell("datum", Datum.CGCS2000, "没有说明坐标有没有偏移,按没有偏移读取", {}, choices, "datum")


def _disturbed(bounds: crs.Bounds, swapped: bool) -> bool:
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    west, south, east, north = crs.DISTURBED
    return west <= (y if swapped else x) <= east and south <= (x if swapped else y) <= north


def _pointed(source: Source, first: pa.RecordBatch) -> bool:
    """Whether the file holds single points."""
    if source.points or source.lon or source.pair:
        return True
    shapes = drawn(source, first, [None] * first.num_rows)
    there = shapes[~shapely.is_missing(shapes)]
    return bool(len(there)) and bool(np.mean(shapely.get_dimensions(there) == 0) > 0.5)


def _cautioned(source: Source) -> None:
    """Say how far off positions may be that reach storage by no exact path."""
    import pyproj

    assert source.crs is not None
    try:
        crs.positions_to_storage(np.zeros(1), np.zeros(1), source.crs, Datum.CGCS2000)
    except pyproj.exceptions.ProjError as error:
        raise Refused("坐标系 {name} 换算不到经纬度,请用 --crs 指明。", name=source.crs.name, option="--crs") from error
    off, name = crs.accuracy(source.crs), source.crs.name
    if off is None:
        sentence = "{name} 到 CGCS2000 没有公开的转换参数,位置可能差几十到一百多米;请测绘部门转换后再传更准"
        source.tell("crs", name, sentence, {"name": name})
    elif off > 1:
        source.tell("crs", name, "{name} 到 CGCS2000 的转换可能差 {metres} 米", {"name": name, "metres": f"{off:g}"})


def _stated_by_wkt(source: Source, first: pa.RecordBatch) -> None:
    """The SRID of EWKT or EWKB, which all rows must share."""
    stated = {int(srid) for srid in shapely.get_srid(drawn(source, first, [None] * first.num_rows)) if srid > 0}
    if len(stated) == 1:
        source.crs, source.stated = reference(stated.pop()), True


def _runs(codes: Sequence[str]) -> Iterator[str]:
    """`EPSG:4534–4554` for codes that follow each other."""
    numbers = [int(code.split(":")[1]) for code in codes]
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        told = [number for _, number in run]
        yield f"EPSG:{told[0]}" if len(told) == 1 else f"EPSG:{told[0]}–{told[-1]}"


def _bounds(source: Source, first: pa.RecordBatch) -> crs.Bounds | None:
    if source.lon or source.pair:
        x, y = positions(source, first)
    elif source.wkt or source.wkb or source.shapes:
        x, y = shapely.get_coordinates(drawn(source, first, [None] * first.num_rows)).T
    else:
        return None
    # (0, 0) is what devices write that know no position.
    good = np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
    if not good.any():
        return None
    # The middle of the values: a few wild ones must not decide what all are.
    return (*(float(np.quantile(v[good], 0.02)) for v in (x, y)), *(float(np.quantile(v[good], 0.98)) for v in (x, y)))  # type: ignore[return-value]
