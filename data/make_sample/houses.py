"""What stands on the ground: slabs, towers, old lanes, a village, works, schools, each by its own habit."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import ground
import plan
import shapely
from shapely import LineString, MultiPolygon, Point, Polygon, affinity

Points = list[tuple[float, float]]


@dataclass
class House:
    """A footprint; `homes` is how many households fit, `stairs` how many stairwells serve them."""

    polygon: Polygon
    use: str
    floors: int
    homes: int = 0
    stairs: int = 0
    name: str = ""
    numbered: bool = False


@dataclass
class Site:
    """A block while it is being built on."""

    block: ground.Block
    rng: random.Random
    houses: list[House] = field(default_factory=list)
    lanes: list[LineString] = field(default_factory=list)
    parcels: list[tuple[str, str, Polygon]] = field(default_factory=list)

    @property
    def free(self) -> Polygon:
        return self.block.free

    def fits(self, polygon: Polygon, within: Polygon | MultiPolygon, gap: float) -> bool:
        """Whether a footprint keeps its distance from all others."""
        return within.contains(polygon) and all(
            house.polygon.distance(polygon) >= gap for house in self.houses
        )


def built(blocks: list[ground.Block], streets: list[ground.Street]) -> list[Site]:
    """Every block, built on. A block's chance is its own, so that changing one leaves the others alone."""
    lines = {street.name: street for street in streets}
    sites = []
    for i, block in enumerate(blocks):
        site = Site(block, random.Random(plan.SEED * 1000 + i))
        for name in block.plot.shops:
            _shopped(site, lines[name])
        FILLED[block.plot.use](site)
        sites.append(site)
    return sites


def _shopped(site: Site, street: ground.Street) -> None:
    """Shops along a street: low, long, with gaps."""
    depth = 9.0
    front = site.free.buffer(-1.5 - depth / 2).exterior
    near = front.intersection(street.line.buffer(ground.WIDTHS[street.kind] / 2 + depth + 4))
    for line in shapely.get_parts(shapely.line_merge(near)):
        at = 6.0
        while at + 16 < line.length:
            long = min(site.rng.uniform(16, 44), line.length - at - 4)
            a, b = line.interpolate(at), line.interpolate(at + long)
            angle = math.atan2(b.y - a.y, b.x - a.x)
            house = _set(_rectangle(a.distance(b), depth), (a.x + b.x) / 2, (a.y + b.y) / 2, angle)
            if long >= 14 and site.fits(house, site.free.buffer(-0.5), 1.5):
                site.houses.append(House(house, "commercial", site.rng.choice([1, 2, 2, 3])))
            at += long + site.rng.choice([2.0, 4.0, 9.0, 16.0])


def _rows(
    site: Site, depth: float, inner: Polygon | MultiPolygon
) -> Iterator[tuple[float, float, float, float, float]]:
    """Stretches where a row of houses has room: centre x, y, direction, length, and the row's offset."""
    plot, rng = site.block.plot, site.rng
    c, tilt = site.free.centroid, math.radians(plot.tilt)
    reach = math.hypot(*(b - a for a, b in zip(site.free.bounds[:2], site.free.bounds[2:], strict=True)))
    offset = -reach / 2 + rng.uniform(0, 12)
    drift = math.radians(rng.uniform(-5, 5))
    while offset < reach / 2:
        angle = tilt + drift * offset / reach
        u, v = (math.cos(angle), math.sin(angle)), (-math.sin(tilt), math.cos(tilt))
        x, y = c.x + v[0] * offset, c.y + v[1] * offset
        for low, high in _stretches(inner, x, y, u, depth, reach):
            middle = (low + high) / 2
            yield x + u[0] * middle, y + u[1] * middle, angle, high - low, offset
        offset += plot.pitch * rng.uniform(0.94, 1.08)


def _stretches(
    inner: Polygon | MultiPolygon, x: float, y: float, u: tuple[float, float], depth: float, reach: float
) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = [(-reach, reach)]
    for side in (-depth / 2, 0.0, depth / 2):
        sx, sy = x - u[1] * side, y + u[0] * side
        line = LineString([(sx - u[0] * reach, sy - u[1] * reach), (sx + u[0] * reach, sy + u[1] * reach)])
        parts = [
            p
            for p in shapely.get_parts(line.intersection(inner))
            if p.geom_type == "LineString" and p.length > 1
        ]
        spans = [
            sorted(((q[0] - sx) * u[0] + (q[1] - sy) * u[1]) for q in (p.coords[0], p.coords[-1]))
            for p in parts
        ]
        found = [(max(a, c), min(b, d)) for a, b in found for c, d in spans if min(b, d) > max(a, c)]
    return found


def _opened(site: Site) -> Polygon | MultiPolygon:
    """The inner ground of a compound: without its shops, its spine lane and its garden."""
    plot, rng, free = site.block.plot, site.rng, site.free
    c, tilt = free.centroid, math.radians(plot.tilt)
    u, v = (math.cos(tilt), math.sin(tilt)), (-math.sin(tilt), math.cos(tilt))
    wide = math.sqrt(free.area)
    aside, bend = rng.uniform(-0.14, 0.14) * wide, rng.uniform(-9, 9)
    lean = rng.uniform(-0.1, 0.1)
    control = [
        (
            c.x + u[0] * (aside + lean * t + (bend if t == 0 else 0)) + v[0] * t,
            c.y + u[1] * (aside + lean * t + (bend if t == 0 else 0)) + v[1] * t,
        )
        for t in (-wide, 0.0, wide)
    ]
    spine = max(
        shapely.get_parts(ground.curved(control, 20).intersection(free.buffer(3))),
        key=lambda part: part.length,
    )
    site.lanes.append(spine)
    shops = shapely.union_all([house.polygon.buffer(5) for house in site.houses])
    inner = free.buffer(-3.5).difference(shops).difference(spine.buffer(4))
    if free.area > 21_000 and not plot.count:
        garden = affinity.rotate(
            affinity.scale(Point(0, 0).buffer(1, 8), rng.uniform(20, 28), rng.uniform(12, 16)), plot.tilt
        )
        garden = affinity.translate(
            garden, c.x + u[0] * (aside + 34), c.y + u[1] * (aside + 34) + rng.uniform(-20, 20)
        )
        if free.buffer(-8).contains(garden) and garden.distance(spine) > 4:
            site.parcels.append((f"{plot.name}中心花园", "green", garden))
            inner = inner.difference(garden.buffer(3))
    return inner


def _slabs(site: Site) -> None:
    plot, rng = site.block.plot, site.rng
    inner = _opened(site)
    depth, wide = (rng.uniform(11.2, 12.8), rng.uniform(14.5, 16.5)) if plot.floors < 8 else (15.0, 20.0)
    manner = rng.choice(["plain", "stairs", "stairs", "stepped"])
    for x, y, angle, length, _ in _rows(site, depth + 1, inner):
        for middle, stairs in _portioned(length, wide, rng):
            x0, y0 = x + math.cos(angle) * middle, y + math.sin(angle) * middle
            shift, turn = rng.uniform(-1.5, 1.5), math.radians(rng.uniform(-1.5, 1.5))
            tries = [
                (stairs, shift, turn),
                (stairs, 0.0, 0.0),
                *((fewer, 0.0, 0.0) for fewer in range(stairs - 1, 0, -1)),
            ]
            for fewer, aside, askew in tries:
                shape = _slab(fewer, wide, depth, manner)
                house = _set(shape, x0 - math.sin(angle) * aside, y0 + math.cos(angle) * aside, angle + askew)
                if site.fits(house, inner, 6.5):
                    floors = plot.floors + rng.choice([0, 0, 0, -1] if plot.floors < 8 else [0, 0, 2])
                    site.houses.append(
                        House(house, "residential", floors, fewer * floors * plot.doors, fewer, numbered=True)
                    )
                    break
    _sheds(site, inner)


def _portioned(length: float, wide: float, rng: random.Random) -> list[tuple[float, int]]:
    """A stretch cut into houses: the middle of each, from the middle of the stretch, and its stairwells."""
    counts: list[int] = []
    gaps: list[float] = []
    left = length
    while left >= wide * 1.1:
        stairs = min(rng.choice([2, 3, 3, 4, 4, 5]), int(left / wide))
        if stairs < 1:
            break
        counts.append(stairs)
        gaps.append(rng.uniform(7, 11))
        left -= stairs * wide + gaps[-1]
    spare = max(0.0, length - sum(counts) * wide - sum(gaps[:-1])) / (len(counts) or 1)
    out, at = [], -length / 2 + spare * rng.uniform(0.2, 0.5)
    for stairs, gap in zip(counts, gaps, strict=True):
        out.append((at + stairs * wide / 2, stairs))
        at += stairs * wide + gap + spare * rng.uniform(0.4, 0.6)
    return out


def _slab(stairs: int, wide: float, depth: float, manner: str) -> Points:
    """A row of stairwells, each wide and deep; the stairs stand out to the north, or each one steps back."""
    start = -stairs * wide / 2
    if manner == "plain" or stairs == 1:
        return _rectangle(stairs * wide, depth)
    if manner == "stepped":
        south: Points = []
        north: Points = []
        for i in range(stairs):
            back = (i % 2) * 1.8
            south += [(start + i * wide, -depth / 2 + back), (start + (i + 1) * wide, -depth / 2 + back)]
            north += [
                (start + i * wide, depth / 2 + back - 0.9),
                (start + (i + 1) * wide, depth / 2 + back - 0.9),
            ]
        return south + north[::-1]
    points: Points = [(start, -depth / 2), (-start, -depth / 2), (-start, depth / 2)]
    for i in reversed(range(stairs)):
        middle = start + (i + 0.5) * wide
        points += [
            (middle + 1.7, depth / 2),
            (middle + 1.7, depth / 2 + 1.3),
            (middle - 1.7, depth / 2 + 1.3),
            (middle - 1.7, depth / 2),
        ]
    return [*points, (start, depth / 2)]


def _sheds(site: Site, inner: Polygon | MultiPolygon) -> None:
    """Bicycle shed, guard house, transformer: what every compound has beside its houses."""
    for wide, deep, name in ((16.0, 4.5, "车棚"), (9.0, 6.0, "值班室")):
        _packed(site, [(_rectangle(wide, deep), "other", 1, f"{site.block.plot.name}{name}")], inner, 4)


def _towers(site: Site) -> None:
    plot, rng = site.block.plot, site.rng
    inner = _opened(site)
    shapes = (_butterfly(27, 19), _cross(25, 22), _butterfly(31, 18))
    spots = []
    for k, (x, y, angle, length, _) in enumerate(_rows(site, 18, inner)):
        several = max(1, int((length + 12) / 42)) if length > 28 else 0
        for i in range(several):
            middle = (i + 0.5) * length / several - length / 2 + (4 if k % 2 else -4) * (several > 1)
            spots.append((x + math.cos(angle) * middle, y + math.sin(angle) * middle, angle))
    rng.shuffle(spots)
    for x, y, angle in spots:
        house = _set(rng.choice(shapes), x, y, angle + math.radians(rng.uniform(-3, 3)))
        towers = sum(house.numbered for house in site.houses)
        if towers < plot.count and site.fits(house, inner, 11):
            floors = plot.floors + rng.choice([-7, -4, 0, 0, 3])
            site.houses.append(
                House(house, "residential", floors, floors * 4, 1 if floors < 16 else 2, numbered=True)
            )
    west, south, east, north = inner.bounds
    for _ in range(900):
        house = _set(
            rng.choice(shapes),
            rng.uniform(west, east),
            rng.uniform(south, north),
            math.radians(plot.tilt + rng.uniform(-4, 4)),
        )
        if sum(house.numbered for house in site.houses) < plot.count and site.fits(house, inner, 10):
            floors = plot.floors + rng.choice([-7, -4, 0, 0, 3])
            site.houses.append(
                House(house, "residential", floors, floors * 4, 1 if floors < 16 else 2, numbered=True)
            )


def _dormitories(site: Site) -> None:
    """Gallery houses of a mill of the 1960s: long, low, a room a household."""
    inner = _opened(site)
    for x, y, angle, length, _ in _rows(site, 13, inner):
        house = _set(_slab(max(2, int(length / 16)), 15.5, 10.5, "stairs"), x, y, angle)
        if length > 30 and site.fits(house, inner, 6):
            site.houses.append(House(house, "dormitory", 3, int(length / 3.6) * 3, 2, numbered=True))
    _sheds(site, inner)


def _old(site: Site) -> None:
    """Grown quarters: plots split again and again, a house on nearly every one, a yard here and there."""
    rng = site.rng
    for plot in _split(site.free.buffer(-1.2), rng, 290):
        house = plot.buffer(-rng.uniform(0.35, 0.8), join_style="mitre")
        if house.geom_type != "Polygon" or house.area < 50 or rng.random() < 0.07:
            continue
        if house.area > 190 and rng.random() < 0.55:
            house = _notched(house, rng)
        house = house.simplify(0.6)
        floors = rng.choice([1, 2, 2, 2, 3, 3, 4])
        use = rng.choices(["residential", "mixed", "commercial"], [70, 22, 8])[0]
        homes = 0 if use == "commercial" else max(1, round(house.area * floors / 125))
        site.houses.append(House(house, use, floors, homes))


def _split(ground_left: Polygon, rng: random.Random, least: float) -> list[Polygon]:
    if ground_left.is_empty or ground_left.geom_type != "Polygon":
        return [piece for part in shapely.get_parts(ground_left) for piece in _split(part, rng, least)]
    if ground_left.area < least * rng.uniform(1.1, 2.2):
        return [ground_left]
    angle, along, across = _laid(ground_left)
    if along < across * 1.25 and rng.random() < 0.3:
        angle, along = angle + math.pi / 2, across
    c = ground_left.centroid
    t = rng.uniform(-0.14, 0.14) * along
    turn = angle + math.pi / 2 + math.radians(rng.gauss(0, 5))
    x, y = c.x + math.cos(angle) * t, c.y + math.sin(angle) * t
    line = LineString(
        [
            (x - math.cos(turn) * 900, y - math.sin(turn) * 900),
            (x + math.cos(turn) * 900, y + math.sin(turn) * 900),
        ]
    )
    alley = 3.2 if ground_left.area > 5_000 else 2.2 if ground_left.area > 1_400 else 0.01
    return [
        p
        for part in shapely.get_parts(ground_left.difference(line.buffer(alley / 2)))
        for p in _split(part, rng, least)
    ]


def _laid(polygon: Polygon) -> tuple[float, float, float]:
    """The direction of the longer side of the smallest rectangle around, its length, and the other side's."""
    a, b, c, *_ = shapely.minimum_rotated_rectangle(polygon).exterior.coords
    first, second = math.dist(a, b), math.dist(b, c)
    (p, q), along, across = ((a, b), first, second) if first >= second else ((b, c), second, first)
    return math.atan2(q[1] - p[1], q[0] - p[0]), along, across


def _notched(house: Polygon, rng: random.Random) -> Polygon:
    """A house around the corner of its yard."""
    angle, along, across = _laid(house)
    corner = rng.choice(list(house.exterior.coords)[:-1])
    yard = _set(_rectangle(along * 0.9, across * 0.9), corner[0], corner[1], angle)
    left = house.difference(yard)
    return left if left.geom_type == "Polygon" and left.area > 70 else house


def _village(site: Site) -> None:
    """Houses along winding paths, each turned as its path turns, then where there is room."""
    rng, free = site.rng, site.free
    angle, along, _ = _laid(free)
    c = free.centroid
    for k in range(max(1, round(free.area / 8_000))):
        turn = angle + (math.pi / 2 if k % 2 else 0) + rng.uniform(-0.4, 0.4)
        side = rng.uniform(-0.2, 0.2) * along
        points = []
        for t in (-0.7, -0.25, 0.2, 0.7):
            sway = side + rng.uniform(-14, 14)
            points.append(
                (
                    c.x + math.cos(turn) * along * t - math.sin(turn) * sway,
                    c.y + math.sin(turn) * along * t + math.cos(turn) * sway,
                )
            )
        path = ground.curved(points, 10).intersection(free.buffer(3))
        site.lanes += [part for part in shapely.get_parts(path) if part.length > 25]
    paths = shapely.union_all([*site.lanes, free.exterior])
    inner = free.buffer(-2).difference(shapely.union_all(site.lanes).buffer(2.6))
    for _ in range(int(free.area / 7)):
        x, y = rng.uniform(free.bounds[0], free.bounds[2]), rng.uniform(free.bounds[1], free.bounds[3])
        here = Point(x, y)
        if here.distance(paths) > 34 and rng.random() < 0.6:
            continue
        facing = _facing(paths, here) + rng.gauss(0, 0.09) + rng.choice([0, 0, 0, math.pi / 2])
        house = _set(_farmhouse(rng), x, y, facing)
        if site.fits(house, inner, rng.uniform(1.2, 3.5)):
            floors = rng.choice([1, 2, 2, 3, 3])
            site.houses.append(House(house, "residential", floors, rng.choice([2, 3, 4, 4])))


def _facing(paths: shapely.Geometry, here: Point) -> float:
    line = min(shapely.get_parts(paths), key=here.distance)
    at = line.project(here)
    a, b = line.interpolate(max(0, at - 6)), line.interpolate(at + 6)
    return math.atan2(b.y - a.y, b.x - a.x)


def _farmhouse(rng: random.Random) -> Points:
    wide, deep = rng.uniform(8.5, 13.5), rng.uniform(8, 11)
    if rng.random() < 0.45:
        return _rectangle(wide, deep)
    wing, out = wide * rng.uniform(0.3, 0.45), rng.uniform(2.5, 5)
    return [
        (-wide / 2, -deep / 2), (-wide / 2 + wing, -deep / 2), (-wide / 2 + wing, -deep / 2 + out), (wide / 2,
        -deep / 2 + out),
        (wide / 2, deep / 2), (-wide / 2, deep / 2),
    ]  # fmt: skip


def _packed(
    site: Site,
    pieces: list[tuple[Points, str, int, str]],
    within: Polygon | MultiPolygon,
    gap: float,
    tries: int = 160,
) -> None:
    """Each piece where it first fits, turned as the plot lies; a piece that fits nowhere is left out."""
    rng = site.rng
    west, south, east, north = within.bounds
    angle = math.radians(site.block.plot.tilt) if site.block.plot.tilt else _laid(site.free)[0]
    for points, use, floors, name in pieces:
        for _ in range(tries):
            turn = angle + rng.choice([0, 0, math.pi / 2]) + rng.gauss(0, 0.02)
            house = _set(points, rng.uniform(west, east), rng.uniform(south, north), turn)
            if site.fits(house, within, gap):
                site.houses.append(House(house, use, floors, name=name))
                break


def _school(site: Site) -> None:
    name = site.block.plot.name
    angle = _laid(site.free)[0]
    site.parcels.append((f"{name}校园", "public", site.free))
    track = next((t for s in (1.0, 0.8, 0.62, 0.5) if (t := _track(site, angle, s)) is not None), None)
    inner = site.free.buffer(-6).difference(track.buffer(5) if track else Polygon())
    if track:
        site.parcels.append((f"{name}操场", "green", track))
    _packed(site, [
        (_comb(64, 40, 3), "public", 4, f"{name}教学楼"), (_rectangle(52, 13), "public", 4, f"{name}实验楼"),
        (_rectangle(36, 25), "public", 2, f"{name}体育馆"), (_rectangle(30, 15), "public", 2, f"{name}食堂"),
        (_ell(34, 22, 11), "public", 4, f"{name}行政楼"), (_rectangle(8, 5), "other", 1, f"{name}门卫室"),
    ], inner, 8, 400)  # fmt: skip


def _track(site: Site, angle: float, scale: float) -> Polygon | None:
    """A running track, an eighth of a degree of luck from the corner of the plot."""
    half, radius = 42 * scale, 36 * scale
    for _ in range(150):
        west, south, east, north = site.free.bounds
        x, y = site.rng.uniform(west, east), site.rng.uniform(south, north)
        line = LineString(
            [
                (x - math.cos(angle) * half, y - math.sin(angle) * half),
                (x + math.cos(angle) * half, y + math.sin(angle) * half),
            ]
        )
        oval = line.buffer(radius, 6)
        if site.free.buffer(-4).contains(oval) and oval.distance(site.free.centroid) > 0.12 * half:
            return oval
    return None


def _hospital(site: Site) -> None:
    name = site.block.plot.name
    site.parcels.append((f"{name}院区", "public", site.free))
    _packed(site, [
        (_comb(70, 44, 2), "public", 14, f"{name}住院楼"), (_ell(58, 36, 18), "public", 5, f"{name}门诊楼"),
        (_rectangle(34, 18), "public", 3, f"{name}发热门诊"), (_rectangle(46, 14), "public", 6,
        f"{name}行政楼"),
        (_rectangle(24, 12), "other", 1, f"{name}后勤楼"),
    ], site.free.buffer(-8), 10, 500)  # fmt: skip


def _offices(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    towers = [(_cross(34, 30), "office", 18 + 3 * i, f"{name}{'ABCDE'[i]}座") for i in range(4)]
    low = [
        (
            _rectangle(rng.uniform(28, 52), rng.uniform(14, 20)),
            "office",
            rng.choice([4, 5, 6]),
            f"{name}{i + 1}号楼",
        )
        for i in range(6)
    ]
    mall = [(_ell(74, 52, 30), "commercial", 5, f"{name}商场")] if site.free.area > 25_000 else []
    _packed(site, [*mall, *towers, *low], site.free.buffer(-7), 14, 300)
    _gardened(site)


def _centre(site: Site) -> None:
    """Market hall, shops and services around a square."""
    name, rng = site.block.plot.name, site.rng
    pieces: list[tuple[Points, str, int, str]] = [
        (_rectangle(56, 34), "commercial", 2, f"{name}农贸市场"), (_ell(48, 30, 14), "public", 4,
        f"{name}服务大厅"),
        (_rectangle(36, 16), "public", 3, f"{name}卫生服务站"), (_comb(58, 34, 2), "commercial", 4,
        f"{name}主楼"),
    ]  # fmt: skip
    pieces += [
        (_rectangle(rng.uniform(16, 38), rng.uniform(9, 13)), "commercial", rng.choice([1, 2, 3]), "")
        for _ in range(18)
    ]
    _packed(site, pieces, site.free.buffer(-5), 5, 260)
    _gardened(site)


def _works(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    sizes = [(rng.uniform(50, 84), rng.uniform(24, 40)) for _ in range(int(site.free.area / 8_000))]
    sizes += [(rng.uniform(20, 44), rng.uniform(12, 20)) for _ in range(int(site.free.area / 4_500))]
    pieces = [
        (_rectangle(w, d), "industrial", rng.choice([1, 1, 2, 3]), f"{name}{i + 1}号厂房")
        for i, (w, d) in enumerate(sizes)
    ]
    _packed(site, pieces, site.free.buffer(-6), 8, 120)


def _mill(site: Site) -> None:
    """The old cotton mill: saw-tooth halls, a boiler house, half of it a yard to let."""
    name = site.block.plot.name
    _packed(site, [
        (_teeth(88, 52, 7), "industrial", 1, f"{name}细纱车间"), (_teeth(64, 44, 5), "industrial", 1,
        f"{name}织布车间"),
        (_rectangle(60, 18), "industrial", 3, f"{name}仓库"), (_ell(40, 26, 12), "office", 4,
        f"{name}办公楼"),
        (_rectangle(22, 16), "industrial", 2, f"{name}锅炉房"), (_rectangle(46, 14), "other", 2,
        f"{name}旧食堂"),
        (_rectangle(30, 12), "other", 1, f"{name}机修间"), (_rectangle(12, 6), "other", 1, f"{name}门房"),
    ], site.free.buffer(-6), 8, 500)  # fmt: skip


def _station(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    site.parcels.append((f"{name}广场", "public", site.free))
    pieces = [
        (_rectangle(78, 17), "public", 2, f"{name}站房"), (_rectangle(30, 12), "public", 2, f"{name}售票厅"),
        (_rectangle(34, 14), "commercial", 6, f"{name}旅社"),
    ]  # fmt: skip
    pieces += [(_rectangle(rng.uniform(14, 26), 9), "commercial", 2, "") for _ in range(5)]
    _packed(site, pieces, site.free.buffer(-4), 6, 600)


def _harbour(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    pieces = [
        (_rectangle(70, 26), "commercial", 1, f"{name}鱼市"), (_rectangle(40, 20), "industrial", 2,
        f"{name}冰厂"),
        (_ell(36, 24, 11), "public", 3, f"{name}管理站"), (_rectangle(52, 22), "industrial", 1,
        f"{name}修船棚"),
    ]  # fmt: skip
    pieces += [(_rectangle(rng.uniform(12, 30), rng.uniform(8, 14)), "industrial", 1, "") for _ in range(16)]
    _packed(site, pieces, site.free.buffer(-5), 5, 200)


def _building_site(site: Site) -> None:
    name = site.block.plot.name
    site.parcels.append((name, "construction", site.free))
    _packed(
        site,
        [(_rectangle(26, 7), "other", 2, f"{name}工棚{i + 1}号") for i in range(4)],
        site.free.buffer(-5),
        4,
    )


def _fields(site: Site) -> None:
    """Strips of land, a barn or two."""
    name, rng = site.block.plot.name, site.rng
    for i, strip in enumerate(_split(site.free.buffer(-2), rng, 2_600)):
        strip = strip.buffer(-0.8)
        if strip.geom_type == "Polygon" and strip.area > 300:
            site.parcels.append((f"{name}{i + 1}号", "farm", strip))
    _packed(
        site,
        [(_rectangle(rng.uniform(9, 22), rng.uniform(7, 10)), "other", 1, f"{name}农具房") for _ in range(3)],
        site.free.buffer(-4),
        20,
    )


def _ponds(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    west, south, east, north = site.free.bounds
    ponds: list[Polygon] = []
    for _ in range(260):
        angle = _laid(site.free)[0] + rng.choice([0, math.pi / 2])
        shape = _set(
            _rectangle(rng.uniform(40, 74), rng.uniform(26, 44)),
            rng.uniform(west, east),
            rng.uniform(south, north),
            angle,
        )
        if (
            len(ponds) < 9
            and site.free.buffer(-8).contains(shape)
            and all(pond.distance(shape) > 6 for pond in ponds)
        ):
            ponds.append(shape)
            site.parcels.append((f"{name}{len(ponds)}号塘", "water", shape.buffer(-5).buffer(5, 4)))
    left = site.free.buffer(-2).difference(shapely.union_all(ponds).buffer(4))
    for i, strip in enumerate(_split(left, rng, 3_800)):
        strip = strip.buffer(-0.8)
        if strip.geom_type == "Polygon" and strip.area > 500:
            site.parcels.append((f"{name}{i + 1}号地", "farm", strip))
    sheds: list[tuple[Points, str, int, str]] = [
        (_rectangle(11, 6), "other", 1, f"{name}塘屋") for _ in range(5)
    ]
    _packed(site, sheds, site.free.buffer(-3).difference(shapely.union_all(ponds).buffer(2)), 12)


def _park(site: Site) -> None:
    name, rng = site.block.plot.name, site.rng
    site.parcels.append((name, "green", site.free))
    _packed(
        site,
        [(_rectangle(18, 9), "public", 1, f"{name}管理房"), (_cross(11, 11), "public", 1, f"{name}亭")],
        site.free.buffer(-5),
        10,
    )
    if site.free.area > 15_000:
        c = site.free.representative_point()
        ring = [
            Point(c.x + math.cos(k) * rng.uniform(16, 38), c.y + math.sin(k) * rng.uniform(12, 26))
            for k in range(7)
        ]
        pond = shapely.convex_hull(shapely.union_all(ring)).buffer(6, 6)
        if site.free.buffer(-4).contains(pond) and all(
            house.polygon.distance(pond) > 3 for house in site.houses
        ):
            site.parcels.append((f"{name}湖", "water", pond))


def _shore(site: Site) -> None:
    """The coast beyond the last street: a park, a hotel, ground not yet built on."""
    near, far = (part for part in _halved(site.free))
    site.parcels.append((site.block.plot.name, "green", far.buffer(-1)))
    site.parcels.append(("听潮东地块", "vacant", near.buffer(-1)))
    _packed(site, [
        (_ell(62, 40, 16), "commercial", 9, "听潮宾馆"), (_rectangle(30, 12), "commercial", 2,
        "听潮宾馆餐厅"),
        (_rectangle(18, 9), "public", 1, "听潮公园管理房"), (_rectangle(24, 10), "other", 2, "海塘养护站"),
    ], site.free.buffer(-8), 14, 200)  # fmt: skip


def _halved(polygon: Polygon) -> list[Polygon]:
    angle, _, _ = _laid(polygon)
    c, turn = polygon.centroid, angle + math.pi / 2 + 0.3
    line = LineString(
        [
            (c.x - math.cos(turn) * 900, c.y - math.sin(turn) * 900),
            (c.x + math.cos(turn) * 900, c.y + math.sin(turn) * 900),
        ]
    )
    parts = sorted(shapely.get_parts(polygon.difference(line.buffer(0.01))), key=lambda part: -part.area)[:2]
    return list(parts)


def _bank(site: Site) -> None:
    if site.free.area > 200:
        site.parcels.append((site.block.plot.name, "green", site.free))
    if site.free.area > 5_000:
        _packed(
            site, [(_rectangle(12, 6), "public", 1, f"{site.block.plot.name}驿站")], site.free.buffer(-3), 5
        )


def _quay(site: Site) -> None:
    site.parcels.append((site.block.plot.name, "public", site.free))


def _strip(site: Site) -> None:
    """Eleven houses between the street and the river that no grid was drawn around."""
    angle, along, _ = _laid(site.free)
    c = site.free.centroid
    for i in range(11):
        t = (i - 5) / 11 * along * 0.94
        x = c.x + math.cos(angle) * t
        column = LineString([(x, c.y - 200), (x, c.y + 200)]).intersection(site.free)
        middle = column.interpolate(0.5, normalized=True)
        house = _set(
            _farmhouse(site.rng),
            middle.x,
            middle.y + site.rng.uniform(-2, 2),
            angle + site.rng.gauss(0, 0.06),
        )
        site.houses.append(House(house, "residential", 3, 6))


def _gardened(site: Site) -> None:
    for part in shapely.get_parts(
        site.free.buffer(-4).difference(shapely.union_all([h.polygon.buffer(9) for h in site.houses]))
    ):
        green = part.buffer(-4).buffer(3)
        if green.geom_type == "Polygon" and 400 < green.area < 6_000:
            site.parcels.append((f"{site.block.plot.name}绿地", "green", green))


FILLED: dict[str, Callable[[Site], None]] = {
    "slabs": _slabs, "towers": _towers, "dormitories": _dormitories, "old": _old, "village": _village,
    "school": _school,
    "hospital": _hospital, "offices": _offices, "centre": _centre, "works": _works, "mill": _mill,
    "station": _station,
    "harbour": _harbour, "site": _building_site, "fields": _fields, "ponds": _ponds, "park": _park,
    "shore": _shore,
    "bank": _bank, "quay": _quay, "strip": _strip,
}  # fmt: skip


def _set(points: Points, x: float, y: float, angle: float) -> Polygon:
    cos, sin = math.cos(angle), math.sin(angle)
    return Polygon([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in points])


def _rectangle(wide: float, deep: float) -> Points:
    return [(-wide / 2, -deep / 2), (wide / 2, -deep / 2), (wide / 2, deep / 2), (-wide / 2, deep / 2)]


def _ell(wide: float, deep: float, thick: float) -> Points:
    w, d = wide / 2, deep / 2
    return [(-w, -d), (w, -d), (w, -d + thick), (-w + thick, -d + thick), (-w + thick, d), (-w, d)]


def _cross(wide: float, deep: float) -> Points:
    w, d, a, b = wide / 2, deep / 2, wide / 5, deep / 5
    return [
        (-a, -d),
        (a, -d),
        (a, -b),
        (w, -b),
        (w, b),
        (a, b),
        (a, d),
        (-a, d),
        (-a, b),
        (-w, b),
        (-w, -b),
        (-a, -b),
    ]


def _butterfly(wide: float, deep: float) -> Points:
    w, d, n = wide / 2, deep / 2, wide * 0.12
    return [(-w, -d + 4), (-w + 5, -d), (-n, -d + 3), (n, -d + 3), (w - 5, -d), (w, -d + 4), (w - 2, d - 5),
    (n, d - 5), (n, d), (-n, d), (-n, d - 5), (-w + 2, d - 5)]  # fmt: skip


def _comb(wide: float, deep: float, teeth: int) -> Points:
    """A wing with `teeth` others standing on it: the plan of schools and hospitals."""
    w, d, thick = wide / 2, deep / 2, 11.0
    points: Points = [(w, -d), (w, d)]
    step = (wide - thick) / (teeth - 1)
    for k in reversed(range(teeth)):
        left = -w + k * step
        points += [] if k == teeth - 1 else [(left + thick, d)]
        points += (
            [(left, d)] if k == 0 else [(left, d), (left, -d + thick), (left - step + thick, -d + thick)]
        )
    return [*points, (-w, -d)]


def _teeth(wide: float, deep: float, teeth: int) -> Points:
    """The eaves of a saw-tooth roof, seen from above as small steps."""
    w, d = wide / 2, deep / 2
    points: Points = [(-w, -d)]
    for k in range(teeth):
        x0, x1 = -w + k * wide / teeth, -w + (k + 1) * wide / teeth
        points += [(x0, -d - (k % 2) * 1.5), (x1, -d - (k % 2) * 1.5)]
    return [*points[1:], (w, d), (-w, d)]
