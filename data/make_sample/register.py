"""What everything is called: codes, names, addresses, compounds and their gates."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field

import ground
import houses
import plan
import shapely
from shapely import MultiPolygon, Point

BUILDINGS = 1_260
ENTRANCES = 74
NUMBERED = {"澜庭府": "号楼", "听潮花苑": "号楼", "枫谷苑": "栋", "锦园": "栋", "砚池公馆": "座"}
# Delivered as "1—8幢、10幢": the houses west of the lane through the compound.
BY_MEMBERS = ("007", 3)
MODES = {"新纺宿舍": "demolition", "盐仓公寓": "unmanaged", "站前新村": "entrusted", "柳南小区": "joint"}
COMPANIES = ("云汀城服物业", "澜岸物业服务", "枫禾物业管理", "柳信物业", "潮居物业服务", "锦邻物业")
SIDES = ("东", "北", "西", "南")


@dataclass
class Building:
    """A house with its name and, household by household, how many live in it."""

    code: str
    name: str
    community: plan.Community
    grid: int
    house: houses.House
    site: houses.Site
    compound: str = ""
    address: str = ""
    sizes: list[int] = field(default_factory=list)
    non_local: list[bool] = field(default_factory=list)

    @property
    def point(self) -> Point:
        return self.house.polygon.representative_point()

    @property
    def stairwells(self) -> list[tuple[str, str]]:
        """Code and name of each."""
        return [(f"{self.code}{i:02d}", f"{i}单元") for i in range(1, self.house.stairs + 1)]


@dataclass
class Gate:
    code: str
    name: str
    kind: str
    staffed: bool
    point: Point


@dataclass
class Compound:
    code: str
    name: str
    community: plan.Community
    polygon: MultiPolygon
    built_year: int
    company: str
    committee: bool
    rental_share: float
    gates: list[Gate] = field(default_factory=list)


@dataclass
class Town:
    """The town on paper."""

    ground: ground.Ground
    sites: list[houses.Site]
    compounds: list[Compound]
    buildings: list[Building]

    def grid_at(self, point: Point) -> str:
        """The code of the grid the point was meant for, or "" for the strip and beyond."""
        for block in self.ground.blocks:
            if block.face.contains(point) and block.plot.grid:
                return grid_code(block.community, block.plot.grid)
        return ""

    def clear(self, point: Point, least: float = 3.0) -> bool:
        """Whether a point is so far from borders and planted faults that its grid is beyond doubt."""
        own, wrong = self.grid_at(point), shapely.union_all([self.ground.strip, self.ground.overlap])
        by_members = f"{plan.STREET_CODE}{BY_MEMBERS[0]}{BY_MEMBERS[1]:03d}"
        return (
            bool(own) and own != by_members and point.distance(wrong) > least
            and all(point.distance(grid.exterior) > least for grid in self.ground.grids.values())
        )  # fmt: skip


def code_of(community: plan.Community) -> str:
    """Twelve digits."""
    return plan.STREET_CODE + community.code


def grid_code(community: plan.Community, grid: int) -> str:
    """Fifteen digits."""
    return f"{code_of(community)}{grid:03d}"


def registered(survey: ground.Ground, sites: list[houses.Site]) -> Town:
    """Every house numbered or named, every compound with its gates."""
    _thinned(sites)
    compounds = _compounds(sites)
    town = Town(survey, sites, compounds, _buildings(sites, compounds, survey))
    _gated(town)
    return town


def _thinned(sites: list[houses.Site]) -> None:
    """The town has a round number of buildings: the surplus are sheds."""
    surplus = sum(len(site.houses) for site in sites) - BUILDINGS
    for site in reversed(sites):
        for house in [house for house in site.houses if house.name.endswith("车棚")]:
            if surplus > 0:
                site.houses.remove(house)
                surplus -= 1


def _compounds(sites: list[houses.Site]) -> list[Compound]:
    found: dict[str, Compound] = {}
    numbers: Counter[str] = Counter()
    rng = random.Random(plan.SEED + 1)
    for site in sites:
        plot, community = site.block.plot, site.block.community
        if plot.use not in ("slabs", "towers", "dormitories"):
            continue
        polygon = site.free.buffer(-1).simplify(0.3)
        if plot.name in found:
            parts = [*found[plot.name].polygon.geoms, polygon]
            found[plot.name].polygon = MultiPolygon(parts)
            continue
        numbers[community.code] += 1
        year = {"dormitories": 1962, "towers": 2016}.get(plot.use, 1986 + 2 * rng.randrange(14))
        company = "" if plot.name in ("新纺宿舍", "盐仓公寓") else rng.choice(COMPANIES)
        found[plot.name] = Compound(
            f"{code_of(community)}X{numbers[community.code]:02d}", plot.name, community,
            MultiPolygon([polygon]), year,
            company, bool(company) and (plot.floors > 8 or rng.random() < 0.45), round(rng.uniform(0.05,
            0.42), 2),
        )  # fmt: skip
    return list(found.values())


def _buildings(sites: list[houses.Site], compounds: list[Compound], survey: ground.Ground) -> list[Building]:
    codes = {compound.name: compound.code for compound in compounds}
    numbers: Counter[str] = Counter()
    out: list[Building] = []
    for site in sites:
        plot, community = site.block.plot, site.block.community
        grown = plot.use in ("old", "village", "strip")
        for number, house in enumerate(
            sorted(site.houses, key=lambda h: _reading(h, plot.tilt, plot.pitch)), 1
        ):
            numbers[community.code] += 1
            code = f"{code_of(community)}{numbers[community.code]:05d}"
            name = f"{plot.name}{number}号" if grown else house.name
            inside = house.numbered or (house.name.startswith(plot.name) and plot.name in codes)
            out.append(
                Building(
                    code, name, community, plot.grid, house, site, codes.get(plot.name, "") if inside else ""
                )
            )
    for compound in compounds:
        _numbered(compound, [b for b in out if b.house.numbered and b.compound == compound.code])
    _addressed(out, survey)
    return out


def _reading(house: houses.House, tilt: float, pitch: float) -> tuple[float, float]:
    """The order of reading, along rows that may be askew: north to south, west to east."""
    c, turn = house.polygon.centroid, math.radians(tilt)
    east, north = c.x * math.cos(turn) + c.y * math.sin(turn), -c.x * math.sin(turn) + c.y * math.cos(turn)
    return -round(north / pitch), east


def _numbered(compound: Compound, mine: list[Building]) -> None:
    suffix = NUMBERED.get(compound.name, "幢")
    names: list[str] = ["ABCDEFGH"[i] if suffix == "座" else str(i + 1) for i in range(len(mine))]
    west = [b for b in mine if (b.community.code, b.grid) == BY_MEMBERS]
    if west:
        names[len(west) - 1 : len(west) + 1] = reversed(names[len(west) - 1 : len(west) + 1])
    for building, name in zip(mine, names, strict=True):
        building.name = name + suffix


def _addressed(buildings: list[Building], survey: ground.Ground) -> None:
    """House numbers along the nearest street, odd to the left, even to the right."""
    streets = [street for street in survey.streets if street.kind != "railway"]
    fronts: dict[str, list[tuple[float, bool, Building]]] = {}
    for building in buildings:
        street = min(streets, key=lambda s: s.line.distance(building.point))
        at = street.line.project(building.point)
        a, b = street.line.interpolate(max(0, at - 1)), street.line.interpolate(at + 1)
        left = (b.x - a.x) * (building.point.y - a.y) - (b.y - a.y) * (building.point.x - a.x) > 0
        fronts.setdefault(street.name, []).append((at, left, building))
    for name, houses_there in fronts.items():
        counts = {True: -1, False: 0}
        for _, left, building in sorted(houses_there, key=lambda front: front[0]):
            counts[left] += 2
            building.address = f"{name}{counts[left]}号"
            building.name = building.name or building.address


def _gated(town: Town) -> None:
    """Two gates to a compound, a third to the largest, until there are as many as there should be."""
    spare = ENTRANCES - 2 * len(town.compounds)
    third = sorted(town.compounds, key=lambda c: -c.polygon.area)[:spare]
    rng = random.Random(plan.SEED + 2)
    for compound in town.compounds:
        mine = [site for site in town.sites if site.block.plot.name == compound.name]
        ends = [
            Point(end)
            for site in mine[-1:]
            for lane in site.lanes[:1]
            for end in (lane.coords[0], lane.coords[-1])
        ]
        wanted = 3 if compound in third else 2
        tries = 0
        while len(ends) < wanted or any(not town.clear(end, 1.0) for end in ends):
            ends = [end for end in ends if town.clear(end, 1.0)]
            point = mine[-1].free.exterior.interpolate(rng.random(), normalized=True)
            if (
                town.clear(point, 1.0)
                and all(point.distance(end) > 60 for end in ends)
                and len(ends) < wanted
            ):
                ends.append(point)
            tries += 1
            if tries > 4000:
                raise ValueError(f"{compound.name}: no room for a gate")
        c = compound.polygon.centroid
        names: Counter[str] = Counter()
        for i, end in enumerate(ends, 1):
            side = SIDES[round(math.atan2(end.y - c.y, end.x - c.x) / (math.pi / 2)) % 4]
            names[side] += 1
            name = f"{compound.name}{side}门{names[side] if names[side] > 1 else ''}"
            kind = "both" if i == 1 else rng.choice(["pedestrian", "pedestrian", "vehicle", "emergency"])
            staffed = i == 1 or (bool(compound.company) and kind != "emergency" and rng.random() < 0.6)
            compound.gates.append(
                Gate(f"{compound.code}E{i}", name, kind, staffed and bool(compound.company), end)
            )
