"""Facilities with a service, and small parts of the street with a code."""

import random

import ground
import plan
from people import Row, shops
from register import Building, Town
from shapely import Point

PARTS = 300

# What a building is called by -> facility kind, places, opening hours.
SERVICES = (
    ("卫生服务站", "clinic", 12, "08:00-17:00"), ("门诊楼", "hospital", 0, "00:00-24:00"), ("住院楼",
    "hospital", 320, "00:00-24:00"),
    ("发热门诊", "fever_clinic", 18, "00:00-24:00"), ("教学楼", "school", 900, ""), ("体育馆", "shelter", 400,
    ""),
    ("农贸市场", "market", 0, "05:30-18:30"), ("服务大厅", "service_centre", 60, "08:30-17:30"), ("鱼市",
    "market", 0, "03:00-14:00"),
    ("站房", "station", 800, "05:00-23:00"), ("驿站", "venue", 20, "06:00-21:00"), ("仓库", "supply_point", 0,
    "08:00-18:00"),
    ("宾馆", "venue", 160, ""), ("管理站", "supply_point", 0, "08:00-18:00"),
)  # fmt: skip
# Kinds that no building is named after: one in each of these communities, in a public or shop house.
FURTHER = (
    ("eldercare", "日间照料中心", ("001", "002", "003", "005", "008"), 40, "08:00-20:00"),
    ("clinic", "社区卫生服务站", ("001", "002", "004", "006", "007", "201"), 10, "08:00-17:00"),
    ("police", "警务室", ("001", "004", "005", "201"), 0, "00:00-24:00"),
    ("shelter", "避灾安置点", ("002", "005", "201", "008"), 150, ""),
    ("pharmacy", "便民药房", ("002", "003", "006"), 0, "08:00-21:00"),
    ("venue", "文化活动室", ("001", "003", "007", "201"), 60, "09:00-21:00"),
)
# Code, name, department, its invented code, share, class digits of the part code.
KINDS = (
    ("manhole", "雨水井盖", "望汀区住建局云汀管理站", 80, "01901"), ("manhole", "通信井盖",
    "望汀区通信管线站", 25, "01902"),
    ("lamp", "路灯", "望汀区路灯所", 90, "01903"), ("hydrant", "消火栓", "望汀区消防救援大队", 30, "01904"),
    ("signal", "交通信号灯", "望汀区公安分局交警大队", 12, "02901"), ("bus_stop", "公交站亭", "望汀公交公司",
    10, "02902"),
    ("litter_bin", "果皮箱", "云汀街道环卫所", 28, "03901"), ("toilet", "公共厕所", "云汀街道环卫所", 4,
    "03902"),
    ("tree", "行道树", "望汀区园林所", 14, "04901"), ("level_gauge", "水位计", "望汀区水利站", 7, "05901"),
)  # fmt: skip
KERB = {"signal": 1.0, "lamp": 0.5, "manhole": -2.5}


def facilities(town: Town) -> list[tuple[Row, Point]]:
    """Every place with a service, at its building."""
    rng = random.Random(plan.SEED + 20)
    found: list[tuple[str, str, Building, int, str]] = []
    for building in town.buildings:
        for word, kind, capacity, hours in SERVICES:
            if building.name.endswith(word) and town.clear(building.point):
                name = building.name.removesuffix("教学楼")
                found.append(
                    (name + ("应急避灾点" if kind == "shelter" else ""), kind, building, capacity, hours)
                )
    for kind, word, codes, capacity, hours in FURTHER:
        for community in plan.COMMUNITIES:
            if community.code in codes:
                mine = [
                    b
                    for b in town.buildings
                    if b.community is community and b.house.use in ("commercial", "mixed", "public")
                ]
                mine = [
                    b for b in mine if town.clear(b.point) and b.code not in {f[2].code for f in found}
                ] or mine
                found.append(
                    (f"{community.name.removesuffix('社区')}{word}", kind, rng.choice(mine), capacity, hours)
                )
    found += [(name, "shop", building, 0, "07:00-20:00") for name, building in shops(town)]
    return [
        (
            {
                "名称": name, "设施编码": f"SS{plan.STREET_CODE}{i:04d}", "类别": kind,
                "地址": building.address,
                "容量": capacity or "", "状态": "备用" if kind in ("shelter", "supply_point") else "开放",
                "开放时间": hours,
            },
            building.point,
        )
        for i, (name, kind, building, capacity, hours) in enumerate(found, 1)
    ]  # fmt: skip


def parts(town: Town) -> list[tuple[Row, Point]]:
    """Manholes, lamps and the like along the streets, under the national standard's field abbreviations."""
    rng = random.Random(plan.SEED + 21)
    streets = [street for street in town.ground.streets if street.kind != "railway"]
    weights = [street.line.length for street in streets]
    rows: list[tuple[Row, Point]] = []
    for kind, name, department, count, digits in KINDS:
        spots: list[Point] = []
        while len(spots) < count:
            street = rng.choices(streets, weights)[0]
            point = _by(street, rng, KERB.get(kind, 1.5)) if kind != "level_gauge" else _on_bank(town, rng)
            if town.clear(point, 2.5) and all(point.distance(spot) > 18 for spot in spots):
                spots.append(point)
        for point in spots:
            state = rng.choices(("完好", "破损", "丢失", "废弃"), (94, 4, 1, 1))[0]
            rows.append((
                {
                    "GLBJBSM": f"990101{digits}{len(rows) + 1:06d}", "GLBJMC": name, "BJLB": kind,
                    "ZGBMDM": f"YT9901010000{digits}0", "ZGBMMC": department, "QSDWMC": department,
                    "YHDWMC": "云汀城服物业",
                    "SZDYWGBSM": town.grid_at(point), "GLBJZT": state,
                    "CSRQ": f"20{rng.randrange(10, 25)}0{rng.randrange(1, 10)}15",
                    "SJLY": rng.choice(["实测", "实测", "地形图"]),
                },
                point,
            ))  # fmt: skip
    return rows


def _by(street: ground.Street, rng: random.Random, kerb: float) -> Point:
    at = rng.uniform(0, street.line.length)
    a, b = street.line.interpolate(max(0.0, at - 1)), street.line.interpolate(at + 1)
    length = a.distance(b) or 1.0
    out = (ground.WIDTHS[street.kind] / 2 + kerb) * rng.choice([-1, 1])
    return Point(a.x - (b.y - a.y) / length * out, a.y + (b.x - a.x) / length * out)


def _on_bank(town: Town, rng: random.Random) -> Point:
    banks = [site.free for site in town.sites if site.block.plot.use in ("bank", "quay")]
    west, south, east, north = (bank := rng.choice(banks)).bounds
    point = Point(rng.uniform(west, east), rng.uniform(south, north))
    return point if bank.contains(point) else bank.representative_point()
