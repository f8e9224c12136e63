"""Resource declarations as Pydantic models: what a request may say.

Every kind of input that crashed a plain server (NUL, lone surrogates, NaN, numbers without bound, deep nesting,
odd timestamps, open rings) is refused here, by type, with the field's name.
"""

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import shapely
from pydantic import AfterValidator, BaseModel, ConfigDict, create_model
from pydantic import Field as Spec

from geo.db import TIME_ZONE
from geo.errors import Invalid
from geo.resource import Field, Resource

CROSSINGS, SAMPLE = 2_000, 200
VERTICES = 10_000  # of one geometry drawn by hand; files go through the intake
LOCAL = ZoneInfo(TIME_ZONE)
SHAPES = {
    "POINT": ("Point",),
    "MULTILINESTRING": ("LineString", "MultiLineString"),
    "MULTIPOLYGON": ("Polygon", "MultiPolygon"),
}


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("不能含有空字符")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("含有残缺的字符")
    return text


def _timely(moment: datetime) -> datetime:
    if not 1800 <= moment.year <= 2300:
        raise ValueError("年份须在 1800 到 2300 之间")
    return moment if moment.tzinfo else moment.replace(tzinfo=LOCAL)


Text = Annotated[str, AfterValidator(_plain)]
Moment = Annotated[datetime, AfterValidator(_timely)]
TYPES: dict[type, Any] = {
    str: Text,
    int: Annotated[int, Spec(strict=True, ge=-(2**31), lt=2**31)],
    float: Annotated[float, Spec(allow_inf_nan=False)],
    bool: Annotated[bool, Spec(strict=True)],
    datetime: Moment,
    date: date,
    UUID: UUID,
}


class Geometry(BaseModel):
    """A GeoJSON geometry in longitude and latitude (RFC 7946), checked as a whole."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["Point", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]
    coordinates: list[Any]
    bbox: list[float] | None = None


def wkb(resource: Resource, geometry: Geometry) -> bytes:
    """The WKB of a geometry that fits `resource`. Raises `Invalid` with the sentence that says what is wrong.

    Validity is judged here so that the answer can name the place; the database judges again.
    """
    if geometry.type not in SHAPES[str(resource.geometry)]:
        raise Invalid("这里要 {shapes}。", shapes=SHAPES[str(resource.geometry)])
    shape = drawn(geometry, VERTICES)
    if crossings(shape) > CROSSINGS:
        raise Invalid("线与自己相交太多次,请分成几条来画。")
    return bytes(shapely.to_wkb(shape))


def crossings(shape: Any) -> float:
    """About how often lines cross each other and themselves, from a sample of their pieces. What they cross an area in is found
    by their crossings: of a scribble of 500 positions in more than ten seconds."""
    if shape.geom_type not in ("LineString", "MultiLineString"):
        return 0
    pieces = []
    for part in shapely.get_parts(shape):
        positions = shapely.get_coordinates(part)
        pieces.append(shapely.linestrings(np.stack((positions[:-1], positions[1:]), axis=1)))
    every = np.concatenate(pieces)
    some = every[:: max(1, len(every) // SAMPLE)]
    # Each meets itself and its two neighbours.
    met = len(shapely.STRtree(every).query(some, predicate="intersects")[0]) - 3 * len(some)
    return met / len(some) * len(every) / 2


def drawn(geometry: Geometry, most: int) -> Any:
    """A geometry as Shapely has it. Raises `Invalid` with the sentence that says what is wrong; what is too much is not made at all."""
    depth = {"Point": 0, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}[geometry.type]
    if _positions(geometry.coordinates, depth) > most:
        sentence = "顶点超过 {most} 个,请作为文件导入。" if most == VERTICES else "顶点超过 {most} 个:请用简单些的形状来问。"
        raise Invalid(sentence, most=most)
    try:
        shape = shapely.geometry.shape(_shaped(geometry))
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise Invalid("几何无效:{reason}", reason=str(error)[:200]) from error
    if shape.is_empty:
        raise Invalid("几何是空的。")
    if not shape.is_valid:
        raise Invalid("几何无效:{reason}", reason=shapely.is_valid_reason(shape))
    return shape


def _shaped(geometry: Geometry) -> dict[str, Any]:
    rings = {"Polygon": [geometry.coordinates], "MultiPolygon": geometry.coordinates}.get(geometry.type, [])
    for polygon in rings:
        for ring in polygon:
            if len(ring) < 4 or ring[0] != ring[-1]:
                raise Invalid("环没有闭合,首尾两点须相同。")
    return {"type": geometry.type, "coordinates": geometry.coordinates}


def _positions(coordinates: Any, depth: int) -> int:
    """How many positions there are; raises when the nesting or a number is not what the type asks for."""
    if not isinstance(coordinates, list):
        raise Invalid("坐标结构不对。")
    if depth:
        if not coordinates:
            raise Invalid("几何是空的。")
        return sum(_positions(part, depth - 1) for part in coordinates)
    if len(coordinates) not in (2, 3):
        raise Invalid("每个点须有经度和纬度。")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in coordinates):
        raise Invalid("坐标须是数字。")
    lon, lat = coordinates[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        swapped = -90 <= lon <= 90 and -180 <= lat <= 180
        sentence = "坐标 {position} 不在经纬度范围内,可能写反了。" if swapped else "坐标 {position} 不在经纬度范围内。"
        raise Invalid(sentence, position=f"({lon}, {lat})")
    del coordinates[2:]
    return 1


def annotation(field: Field) -> Any:
    """The type of a field's value."""
    return Literal[field.codes] if field.choices else TYPES[field.type]


def spec(field: Field, required: bool) -> tuple[Any, Any]:
    """A field as Pydantic wants it."""
    rules: dict[str, Any] = {"title": field.title}
    if field.type is str and not field.choices:
        rules |= {"max_length": field.longest, "min_length": 1 if field.required else None}
        rules["pattern"] = f"^{field.pattern}$" if field.pattern else None
    if field.type in (int, float):
        rules |= {"ge": field.minimum, "le": field.maximum}
    rules = {name: rule for name, rule in rules.items() if rule is not None}
    if required:
        return annotation(field), Spec(**rules)
    # A patch may leave a required field out, but not take it away.
    return annotation(field) if field.required else annotation(field) | None, Spec(field.default, **rules)


@cache
def feature(resource: Resource, partial: bool = False) -> type[BaseModel]:
    """A GeoJSON feature to add or replace; `partial` for a merge patch, where every member may be left out."""
    fields: dict[str, Any] = {f.name: spec(f, f.required and not partial) for f in resource.edited}
    properties = create_model(
        f"{'Patch' if partial else 'New'}{resource.name.title().replace('_', '')}Properties",
        __config__=ConfigDict(extra="forbid"),
        **fields,
    )
    members: dict[str, Any] = {
        "type": (Literal["Feature"], "Feature") if partial else (Literal["Feature"], ...),
        "id": (UUID | None, None),
        "properties": (properties | None, None) if partial else (properties, ...),
    }
    if resource.geometry and resource.geometry_required and not partial:
        members["geometry"] = (Geometry, ...)
    elif resource.geometry:
        members["geometry"] = (Geometry | None, None)
    else:
        members["geometry"] = (None, None)
    return create_model(
        f"{'Patch' if partial else 'New'}{resource.name.title().replace('_', '')}",
        __config__=ConfigDict(extra="forbid"),
        **members,
    )
