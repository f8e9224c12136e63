"""What a leader is told of a place and of the whole: people, homes, ground, matters and things, in numbers.

Names and counts are as the database tells them to the caller: to who works in the area in full, to anybody else names
masked, and people and households in multiples of k or None, which says "too few to tell" and never zero.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import attention
from geo.catalog import LEVELS, RESOURCES, WIDTHS
from geo.catalog.workflow import OPEN_STATES
from geo.resource import Choice, Field, Resource
from geo.statements import run
from geo.tables import CODES, TABLES

# All of China: what an instance without areas shows.
EVERYWHERE = (73.5, 18.0, 135.1, 53.6)
INCIDENTS_SHOWN = 5
Extent = tuple[float, float, float, float]  # west, south, east, north in degrees
# A zoom at which the map shows the level, and so the card is of it.
ZOOMS = {"street": 10, "community": 13, "grid": 16}


def card(
    connection: sa.Connection, lon: float, lat: float, language: str, zoom: float = 16
) -> dict[str, Any]:
    """The area at a place (degrees, CGCS2000) of the level that the map shows at `zoom`, and what is in it.

    Where no area of that level covers the place, `area` is None and `nearest` tells the nearest and how
    many metres it is away; where the caller does not answer for the one that does, `elsewhere` is its name. Counts as above; `square_metres` is geodesic.
    """
    found = _rows(connection, "card_areas", lon=lon, lat=lat)
    deepest = connection.scalar(sa.select(sa.func.placing_level(sa.func.now())))
    wanted = _level_at(zoom, deepest)
    area = next((row for row in found if row["level"] == wanted), None)
    elsewhere = area["name"] if area and area["id"] is None else None
    area = None if elsewhere else area
    here = {"lon": lon, "lat": lat}
    [instance] = _rows(connection, "headline_instance")
    told: dict[str, Any] = {
        "longitude": lon, "latitude": lat, "k": instance["k"], "area": None, "nearest": None, "elsewhere": elsewhere, "unowned": None,
        "path": [{"name": row["name"], "level": row["level"], "path": row["path"]} for row in found],
        "zones": [
            _zone(row, instance, language)
            for row in _rows(connection, "card_zones", area=area and area["id"], **here)
        ],
        "findings": [],
    }  # fmt: skip
    if elsewhere:
        return told
    if area is None:
        for nearest in _rows(connection, "card_nearest", level=deepest, **here):
            told["nearest"] = {"name": nearest["name"], "metres": round(nearest["metres"])}
        # In no grid, but in a community: somebody there can say whose it is to be.
        around = [row["path"] for row in found if row["level"] in ("street", "community")]
        return told | {
            "responsible": list(_posts(connection, around)) if around else [],
            "unowned": attention.unowned(connection, around[-1]) if around else None,
        }
    modes = RESOURCES["areas"]["management_mode"].choices
    above = [row["path"] for row in found if len(row["path"]) <= len(area["path"])]
    return told | {
        "path": told["path"][: len(above)],
        "area": area | {
            "level_title": _title(LEVELS, area["level"]),
            "management_title": _title(modes, area["management_mode"]),
        },
        "attention": attention.of_area(connection, area["level"], area["path"]),
        "far": attention.far(connection, area["level"], area["path"]),
        "counts": _counted(_rows(connection, "card_counts", path=area["path"], states=OPEN_STATES)[0]),
        "responsible": list(_posts(connection, above)),
        "incidents": list(_incidents(connection, area["path"], instance)),
        "findings": list(_findings(connection, area)),
    }  # fmt: skip


def headlines(connection: sa.Connection) -> dict[str, Any]:
    """The numbers of the whole instance, and a row for every community (another level if there are none)."""
    [instance] = _rows(connection, "headline_instance")
    levels = {row.level: row.count for row in run(connection, "headline_levels")}
    level = next(
        (name for name in ("community", "street", "grid", "district") if levels.get(name)), "community"
    )
    return {
        "name": instance["name"],
        "k": instance["k"],
        "extent": tuple(instance["extent"] or EVERYWHERE),
        "as_of": _local(instance["as_of"], instance),
        "levels": [
            {"code": choice.code, "title": choice.title, "count": levels[choice.code]}
            for choice in LEVELS
            if levels.get(choice.code)
        ],
        **_rows(connection, "headline_counts", states=OPEN_STATES)[0],
        "level": level,
        "level_title": _title(LEVELS, level),
        "communities": _rows(connection, "headline_areas", level=level, within="", states=OPEN_STATES),
    }


def changes(connection: sa.Connection) -> dict[str, int]:
    """The headlines as they were a day ago: `open`, `overdue`, `zones`; `closed` in the day since, `closed_before` in the day before."""
    row = run(connection, "headline_before", states=OPEN_STATES).mappings().first()
    return {name: int(value) for name, value in row.items()} if row else {"open": 0, "overdue": 0, "closed": 0, "closed_before": 0, "zones": 0}


def zones_now(connection: sa.Connection, language: str) -> list[dict[str, Any]]:
    """The first zones in force: name, kind, until when, where."""
    [instance] = _rows(connection, "headline_instance")
    return [
        row | {"kind_title": row["kind_title_en" if language == "en" else "kind_title"], "planned_end": _local(row["planned_end"], instance)}
        for row in _rows(connection, "zones_now")
    ]


def outlines(connection: sa.Connection, level: str, extent: Extent, wide: int) -> dict[str, Any]:
    """The areas of a level and the zones in force as paths of a drawing `wide` steps wide: `height`, `areas` (id → path), `zones` (kind, path),
    and `place`, which tells where in it a longitude and a latitude are."""
    west, south, east, north = extent
    squeeze = math.cos(math.radians((south + north) / 2))
    scale = wide / max((east - west) * squeeze, 1e-9)
    asked = {"scale": scale, "squeeze": squeeze, "west": west, "south": south, "east": east, "north": north}
    return {
        "wide": wide, "height": max(1, math.ceil((north - south) * scale)),
        "areas": {row["id"]: row["outline"] for row in _rows(connection, "area_outlines", level=level, most=attention.MAPPED, **asked)},
        "zones": [(row["kind"], row["outline"]) for row in _rows(connection, "zone_outlines", **asked)],
        "place": lambda longitude, latitude: (round((longitude - west) * scale * squeeze, 1), round((north - latitude) * scale, 1)),
    }


def listing(connection: sa.Connection, language: str, within: str = "") -> dict[str, Any]:
    """The headlines with everything that stands in the list: people, homes, zones with their authority.

    `within` is the path of an area whose parts are listed instead; `inside` names it and those above it, and `deeper`
    says whether the rows have parts in turn. `zoom` is that at which the card of a row is asked for.
    """
    told = headlines(connection)
    [instance] = _rows(connection, "headline_instance")
    drawn = [level["code"] for level in told["levels"] if level["code"] != "micro_grid"]
    rows, level = told["communities"], told["level"]
    if within:
        level = next((code for code in drawn if WIDTHS[code] > len(within)), "")
        rows = _rows(connection, "headline_areas", level=level, within=within, states=OPEN_STATES)
    counted = {
        row["path"]: _counted(row)
        for row in _rows(connection, "listed_areas", areas=[row["id"] for row in rows])
    }
    return told | {
        "level": level,
        "level_title": _title(LEVELS, level),
        "zoom": ZOOMS.get(level, 10),
        "communities": [row | counted[row["path"]] for row in rows],
        "inside": _rows(connection, "listed_within", within=within) if within else [],
        "deeper": any(WIDTHS[code] > WIDTHS.get(level, 99) for code in drawn),
        "zone_list": [_zone(row, instance, language) for row in _rows(connection, "listed_zones")],
    }


def titles(connection: sa.Connection, noun: Resource, field: Field, language: str, used: bool = True) -> dict[str, str]:
    """What the values of a field are called, in order: its choices, or those of its code list, `used` for such as are in use."""
    if not field.listed:
        return {choice.code: choice.title for choice in field.choices}
    codes = CODES[field.listed]
    title = codes.c.title_en if language == "en" else codes.c.title
    own = TABLES[noun.name]
    there = sa.select(own.c[field.name]).where(own.c.retired_at.is_(None))
    listed = sa.select(codes.c.code, title).where(codes.c.code.in_(there) if used else sa.true()).order_by(codes.c.code)
    return {row.code: row[1] for row in connection.execute(listed)}


def _level_at(zoom: float, deepest: str | None) -> str | None:
    shown = "street" if zoom < 12 else "community" if zoom < 14 else "grid"
    order = [choice.code for choice in LEVELS]
    return deepest if deepest is None or order.index(shown) > order.index(deepest) else shown


def _rows(connection: sa.Connection, statement: str, **values: object) -> list[dict[str, Any]]:
    return [dict(row) for row in run(connection, statement, **values).mappings()]


def _counted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "residents"} | {"people": row["residents"]}


def _posts(connection: sa.Connection, paths: list[str]) -> Iterator[dict[str, Any]]:
    roles = RESOURCES["posts"]["role"]
    rows = _rows(connection, "card_posts", paths=paths, roles=list(roles.codes))
    phones = {row.id: row.phone for row in run(connection, "card_phones", ids=[row["id"] for row in rows])}
    for row in rows:
        yield row | {"phone": phones.get(row["id"]), "role_title": _title(roles.choices, row["role"]), "here": row["area"] == paths[-1]}


def _incidents(connection: sa.Connection, path: str, instance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    states = RESOURCES["incidents"]["state"].choices
    for row in _rows(connection, "card_incidents", path=path, most=INCIDENTS_SHOWN, states=OPEN_STATES):
        yield row | {
            "state_title": _title(states, row["state"]),
            "reported_at": _local(row["reported_at"], instance), "due_at": _local(row["due_at"], instance),
        }


def _zone(row: Mapping[str, Any], instance: Mapping[str, Any], language: str) -> dict[str, Any]:
    return dict(row) | {
        "kind_title": row["kind_title_en"] if language == "en" else row["kind_title"],
        "standing_title": _title(RESOURCES["zones"]["standing"].choices, row["standing"]),
        "starts_at": _local(row["starts_at"], instance),
        "planned_end": _local(row["planned_end"], instance),
    }


def _findings(connection: sa.Connection, area: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in _rows(connection, "card_overlaps", area=area["id"]):
        yield {"title": "与相邻区域重叠", "names": [row["name"]], "square_metres": row["square_metres"]}
    if not area["code"]:
        yield {"title": "没有编码", "names": [area["name"]], "square_metres": None}
    elif run(connection, "card_same_code", **{key: area[key] for key in ("code", "id", "level")}).scalar():
        yield {"title": "编码与另一区域相同", "names": [area["code"]], "square_metres": None}


def _title(among: tuple[Choice, ...], code: str | None) -> str:
    return next((choice.title for choice in among if choice.code == code), code or "")


def _local(moment: datetime | None, instance: Mapping[str, Any]) -> datetime | None:
    return moment and moment.astimezone(ZoneInfo(instance["time_zone"]))
