"""People as counts everywhere; as rows in one community only, which proves that rows are not needed.

Names are put together from syllables, phones lie in a range that no network has given out.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import plan
import register
import shapely
from register import Building, Town, code_of, grid_code

Row = dict[str, object]

FOUNDING = "001"  # the only community with rows about persons
WORKBOOK = "004"  # its households come as a workbook, 23 rows of which match no building
UNMATCHED = 23
NON_LOCAL = 1_412
STRIP_HOUSEHOLDS = 63
MICRO_GRIDS = 408
BY_STAIRWELL = ("澜溪苑", "澜庭府", "砚桥新城")
# Two stairwells and a third, in three communities, for which nobody answers.
UNPOSTED = (("柳荫苑", "5幢", 1), ("听潮花苑", "4号楼", 1), ("锦川家园", "7幢", 3))
NO_LEADER = ("004", 4)

SURNAMES = "林苏汪沈顾叶江程梁傅简易祝柏岑阮卞庄舒蓝"
FIRST = "汀澜砚秋渔望石柳枫锦云舟帆岸泊沐清雨晴川"
SECOND = "舟然溪禾岚宁安遥知白苇青言渡月声野桐远和朗"


@dataclass
class Names:
    """A well of invented names and of phone numbers that ring nowhere."""

    rng: random.Random
    given: int = 0

    def person(self) -> str:
        return "".join(
            [self.rng.choice(SURNAMES), self.rng.choice(FIRST), self.rng.choice(["", *SECOND, *SECOND])]
        )

    def phone(self) -> str:
        """Eleven digits beginning with 1004: no mobile, no service number."""
        self.given += 1
        return f"1004{self.given * 7919 % 10_000_000:07d}"


def settled(town: Town) -> None:
    """Households put into the buildings, so that every community adds up to its totals."""
    rng = random.Random(plan.SEED + 3)
    for community in plan.COMMUNITIES:
        mine = [b for b in town.buildings if b.community is community and b.house.homes]
        counts = _shared(community.households, mine)
        sizes = _sized(community, rng)
        flags = _flagged(community, sizes, rng)
        at = 0
        for building, count in zip(mine, counts, strict=True):
            building.sizes, building.non_local = sizes[at : at + count], flags[at : at + count]
            at += count


def _shared(total: int, buildings: list[Building]) -> list[int]:
    """Households over buildings by room, largest remainder first; the strip has a number of its own."""
    fixed = {b.code: 0 for b in buildings if not b.grid}
    for i in range(STRIP_HOUSEHOLDS if fixed else 0):
        fixed[list(fixed)[i % len(fixed)]] += 1
    rest = [b for b in buildings if b.grid]
    left, room = total - sum(fixed.values()), sum(b.house.homes for b in rest)
    exact = [b.house.homes * left / room for b in rest]
    counts = {b.code: int(share) for b, share in zip(rest, exact, strict=True)}
    by_remainder = sorted(range(len(rest)), key=lambda i: (int(exact[i]) - exact[i], i))
    for i in by_remainder[: left - sum(counts.values())]:
        counts[rest[i].code] += 1
    return [(fixed | counts)[b.code] for b in buildings]


def _sized(community: plan.Community, rng: random.Random) -> list[int]:
    sizes = rng.choices([1, 2, 3, 4, 5, 6], [18, 28, 26, 16, 9, 3], k=community.households)
    while (wrong := sum(sizes) - community.residents) != 0:
        i = rng.randrange(len(sizes))
        if wrong > 0 and sizes[i] > 1:
            sizes[i] -= 1
        elif wrong < 0 and sizes[i] < 6:
            sizes[i] += 1
    return sizes


def _flagged(community: plan.Community, sizes: list[int], rng: random.Random) -> list[bool]:
    """Which households are not local, up to the community's share of residents."""
    wanted = NON_LOCAL if community.code == FOUNDING else round(community.residents * community.non_local)
    flags = [False] * len(sizes)
    for i in rng.sample(range(len(sizes)), len(sizes)):
        if sizes[i] <= wanted:
            flags[i] = True
            wanted -= sizes[i]
    return flags


@dataclass(frozen=True)
class Home:
    """A dwelling of the founding community, and how many live in it (0: vacant)."""

    code: str
    building: str
    unit: str
    room: str
    floor: int
    area: int
    size: int
    non_local: bool


def homes(town: Town) -> list[Home]:
    """Every dwelling of the founding community, lived in or not."""
    rng = random.Random(plan.SEED + 4)
    out = []
    for building in town.buildings:
        if building.community.code != FOUNDING or not building.sizes:
            continue
        rooms = list(_rooms(building))
        lived = sorted(rng.sample(range(len(rooms)), len(building.sizes)))
        homes_of = dict(zip(lived, zip(building.sizes, building.non_local, strict=True), strict=True))
        area = rng.choice([48, 56, 64, 72, 86, 98])
        for i, (unit, room, floor) in enumerate(rooms):
            size, non_local = homes_of.get(i, (0, False))
            code = f"{unit}{floor:02d}{room[-2:]}"
            out.append(Home(code, building.code, unit, room, floor, area + i % 2 * 6, size, non_local))
    return out


def _rooms(building: Building) -> Iterator[tuple[str, str, int]]:
    """Stairwell, room and floor of every dwelling."""
    doors = building.house.homes // (building.house.stairs * building.house.floors)
    for unit, _ in building.stairwells:
        for floor in range(1, building.house.floors + 1):
            for door in range(1, doors + 1):
                yield unit, f"{floor}{door:02d}", floor


def dwellings(dwelt: list[Home]) -> list[Row]:
    """The dwellings as places."""
    return [
        {
            "室号": home.room, "房屋编码": home.code, "楼栋编码": home.building, "单元编码": home.unit,
            "所在层": home.floor,
            "居住情况": "空置" if not home.size else "出租" if home.non_local else "自住",
            "建筑面积": home.area,
        }
        for home in dwelt
    ]  # fmt: skip


def households(dwelt: list[Home]) -> list[Row]:
    """The households of the founding community, each in its dwelling."""
    rng = random.Random(plan.SEED + 5)
    return [
        {
            "户号": f"LX{i:04d}", "户编码": f"{home.code}H1", "楼栋编码": home.building,
            "房屋编码": home.code,
            "户人数": home.size, "居住类型": "流动" if home.non_local else "户籍",
            "入住时间": f"{rng.randrange(1996, 2026)}-{rng.randrange(1, 13):02d}-01",
        }
        for i, home in enumerate((home for home in dwelt if home.size), 1)
    ]  # fmt: skip


def residents(dwelt: list[Home]) -> list[Row]:
    """One row a person, in the founding community only: no number of any document, no health, no origin."""
    names = Names(random.Random(plan.SEED + 7))
    rng = names.rng
    ages = ("14至59岁", "60至79岁", "80岁以上", "14岁以下")
    rows: list[Row] = []
    for home in dwelt:
        for member in range(home.size):
            age = rng.choices(ages, (62, 26, 6, 6) if member < 2 else (42, 8, 2, 48))[0]
            old = age == "80岁以上" or (age == "60至79岁" and rng.random() < 0.3)
            away = not home.non_local and rng.random() < 0.04
            rows.append({
                "姓名": names.person(), "登记号": f"LXR{len(rows) + 1:05d}", "楼栋编码": home.building,
                "户编码": f"{home.code}H1",
                "手机": names.phone() if age != "14岁以下" and rng.random() < 0.8 else "",
                "居住类型": "流动" if home.non_local else "外出" if away else "户籍", "年龄段": age,
                "不用智能手机": "是" if old else "否",
            })  # fmt: skip
    return rows


def workbook(town: Town) -> list[Row]:
    """The household workbook of 新纺: 1,720 rows, 23 of them under house codes that were given up."""
    rng = random.Random(plan.SEED + 6)
    rows: list[Row] = []
    for building in town.buildings:
        if building.community.code != WORKBOOK:
            continue
        for size, non_local in zip(building.sizes, building.non_local, strict=True):
            rows.append({
                "序号": len(rows) + 1, "户号": f"XF{len(rows) + 1:04d}",
                "户编码": f"{building.code}H{len(rows) + 1:04d}",
                "楼栋编码": building.code, "户人数": size, "居住类型": "流动" if non_local else "户籍",
            })  # fmt: skip
    for i, row in enumerate(sorted(rng.sample(rows, UNMATCHED), key=lambda row: int(str(row["序号"])))):
        row["楼栋编码"] = f"{code_of(plan.COMMUNITIES[3])}9{i % 4:04d}"
    return rows


def units(town: Town) -> list[Row]:
    """Every stairwell of the town."""
    return [
        {
            "单元": name,
            "单元编码": code,
            "楼栋编码": b.code,
            "层数": b.house.floors,
            "户室数": b.house.homes // b.house.stairs,
        }
        for b in town.buildings
        for code, name in b.stairwells
    ]


@dataclass(frozen=True)
class MicroGrid:
    code: str
    name: str
    grid: str
    members: str
    stairwells: tuple[str, ...]


def micro_grids(town: Town) -> list[MicroGrid]:
    """One to a house; to a stairwell where houses are long; to a cluster where they are small: 408 in all."""
    names = {c.code: c.name for c in town.compounds}
    drafts: list[tuple[str, str, str, tuple[str, ...]]] = []
    for compound in town.compounds:
        mine = [b for b in town.buildings if b.compound == compound.code and b.house.stairs]
        for building in mine if compound.name in BY_STAIRWELL else ():
            full = names[building.compound] + building.name
            drafts += [
                (_grid(building), full + unit, full + unit, (code,)) for code, unit in building.stairwells
            ]
    drafts += [
        (grid, name, "、".join(b.name for b in members), ()) for grid, name, members in _clustered(town)
    ]
    for group in _paired(town, MICRO_GRIDS - len(drafts)):
        first, last = group[0], group[-1]
        span = first.name if first is last else f"{first.name.removesuffix(_tail(first))}—{last.name}"
        stairwells = tuple(code for b in group for code, _ in b.stairwells)
        drafts.append((_grid(first), names[first.compound] + span, names[first.compound] + span, stairwells))
    counts: Counter[str] = Counter()
    out = []
    for grid, name, members, stairwells in sorted(drafts, key=lambda draft: draft[0]):
        counts[grid] += 1
        out.append(MicroGrid(f"{grid}{counts[grid]:03d}", name, grid, members, stairwells))
    return out


def _grid(building: Building) -> str:
    return grid_code(building.community, building.grid)


def _paired(town: Town, wanted: int) -> list[list[Building]]:
    """Houses alone or, the smallest neighbours first, in pairs, until there are as many groups as wanted."""
    groups = [
        [building]
        for compound in town.compounds
        for building in town.buildings
        if building.compound == compound.code and building.house.stairs and compound.name not in BY_STAIRWELL
    ]
    while len(groups) > wanted:
        pairs = [
            (sum(len(b.sizes) for b in [*one, *two]), i)
            for i, (one, two) in enumerate(pairwise(groups))
            if len(one) == len(two) == 1 and _adjoining(one[0], two[0])
        ]
        _, i = min(pairs)
        groups[i : i + 2] = [groups[i] + groups[i + 1]]
    return groups


def _adjoining(one: Building, two: Building) -> bool:
    """Whether two houses of a compound have numbers that follow each other, in one grid."""
    if one.grid != two.grid or one.compound != two.compound or not one.name[0].isdigit():
        return False
    return int(two.name.removesuffix(_tail(two))) == int(one.name.removesuffix(_tail(one))) + 1


def _tail(building: Building) -> str:
    return building.name.lstrip("0123456789")


def _clustered(town: Town) -> list[tuple[str, str, list[Building]]]:
    """Old and village houses by the two dozen, as they stand along their lanes."""
    out = []
    for site in town.sites:
        mine = [b for b in town.buildings if b.site is site and b.sizes and not b.house.stairs and b.grid]
        pieces = max(1, round(len(mine) / 22)) if mine else 0
        for k in range(pieces):
            some = mine[k * len(mine) // pieces : (k + 1) * len(mine) // pieces]
            name = f"{some[0].name.removesuffix('号')}—{some[-1].name.removeprefix(site.block.plot.name)}"
            out.append((grid_code(site.block.community, site.block.plot.grid), name, some))
    return out


# Bodies of the whole street: name, kind, members, in an office of which community.
BODIES = (
    ("云汀街道办事处", "职能部门", 86, "003"), ("云汀街道综合执法队", "职能部门", 24, "003"),
    ("云汀派出所", "职能部门", 31, "007"), ("云汀市场监管所", "职能部门", 14, "005"),
    ("云汀社区卫生服务中心", "医疗机构", 58, "003"), ("望汀区住建局云汀管理站", "职能部门", 9, "006"),
    ("望汀燃气公司云汀站", "企业", 16, "008"), ("望汀供水公司云汀站", "企业", 12, "002"),
)  # fmt: skip


def organisations(town: Town) -> list[tuple[Row, shapely.Point]]:
    """Bodies, with the founding community's 12 shops, 30 volunteers and 33 members as counts."""
    names = Names(random.Random(plan.SEED + 8), given=500_000)
    rng = names.rng
    drafts: list[tuple[str, str, int, Building]] = []
    for name, kind, members, code in BODIES:
        drafts.append((name, kind, members, rng.choice(_offices(town, code))))
    for i, company in enumerate(register.COMPANIES):
        code = plan.COMMUNITIES[i].code
        drafts.append((company, "物业公司", rng.randrange(18, 64), rng.choice(_offices(town, code))))
    for community in plan.COMMUNITIES:
        founding, hall = community.code == FOUNDING, _hall(town, community.code)
        body = "村民委员会" if community.kind == "village" else "居民委员会"
        drafts += [
            (f"{community.name}{body}", "居村委会", 7 if founding else rng.randrange(5, 10), hall),
            (f"{community.name}党支部", "党组织", 33 if founding else rng.randrange(18, 60), hall),
            (f"{community.name}志愿者队", "志愿者队伍", 30 if founding else rng.randrange(12, 48), hall),
        ]
    for compound in town.compounds:
        mine = [b for b in town.buildings if b.compound == compound.code and town.clear(b.point)]
        if compound.committee:
            drafts.append((f"{compound.name}业主委员会", "业主委员会", rng.choice([5, 7, 9]), mine[0]))
    for building in town.buildings:
        if building.name.endswith("教学楼"):
            drafts.append((building.name.removesuffix("教学楼"), "学校", rng.randrange(30, 120), building))
    drafts += [(name, "商铺", rng.randrange(2, 9), building) for name, building in shops(town)]
    return [
        (
            {
                "单位名称": name, "统一社会信用代码": f"YT{plan.STREET_CODE}{i:07d}", "单位类型": kind,
                "人数": members,
                "地址": building.address, "联系人": names.person(), "联系人电话": names.phone(),
            },
            building.point,
        )
        for i, (name, kind, members, building) in enumerate(drafts, 1)
    ]  # fmt: skip


def _offices(town: Town, code: str) -> list[Building]:
    """Where a body of a community may sit: public houses and offices, or else houses that are no homes."""
    mine = [b for b in town.buildings if b.community.code == code and town.clear(b.point)]
    offices = [b for b in mine if b.house.use in ("public", "office") and "公园" not in b.name]
    return offices or [b for b in mine if b.house.use in ("commercial", "industrial")] or mine


def _hall(town: Town, code: str) -> Building:
    """Where the committee of a community sits: the service centre, or the first public house there is."""
    mine = _offices(town, code)
    return next((b for b in mine if b.name.endswith("服务大厅")), mine[0])


SHOPS = (
    "便民超市", "早点铺", "五金店", "理发店", "药店", "水果店", "粮油店", "文具店", "修鞋铺", "家电维修",
    "裁缝铺", "菜店", "面馆", "杂货店",
)  # fmt: skip
SHOP_WORDS = "汀上溪畔柳下枫里石埠潮来砚边锦邻云间渔家月湾芦岸"


def shops(town: Town) -> list[tuple[str, Building]]:
    """Twelve shops in the founding community, four in each other one that has shop houses."""
    rng = random.Random(plan.SEED + 9)
    out = []
    for community in plan.COMMUNITIES:
        houses = [
            b for b in town.buildings if b.community is community and b.house.use in ("commercial", "mixed")
        ]
        houses = [b for b in houses if b.name == b.address or b.house.use == "mixed"]
        houses = [b for b in houses if town.clear(b.point)]
        for i, building in enumerate(
            rng.sample(houses, min(len(houses), 12 if community.code == FOUNDING else 4))
        ):
            k = 2 * rng.randrange(len(SHOP_WORDS) // 2)
            out.append((f"{SHOP_WORDS[k : k + 2]}{SHOPS[i % len(SHOPS)]}", building))
    return out


def posts(town: Town, micro: list[MicroGrid], bodies: list[Row]) -> list[Row]:
    """Who answers for what: seven in the founding community, nobody for one grid and three stairwells."""
    names = Names(random.Random(plan.SEED + 10), given=600_000)
    codes = {str(row["单位名称"]): str(row["统一社会信用代码"]) for row in bodies}
    rows: list[Row] = []

    def add(role: str, area: str, holder: str, deputy: str = "", unit: str = "", body: str = "") -> None:
        rows.append({
            "岗位": role, "区域编码": area, "单元编码": unit, "姓名": holder, "B岗": deputy,
            "联系电话": names.phone(), "单位代码": body,
            "任职时间": f"202{names.rng.randrange(1, 6)}-0{names.rng.randrange(1, 10)}-01",
        })  # fmt: skip

    for community in plan.COMMUNITIES:
        area = code_of(community)
        staff = [names.person() for _ in range(7)]
        street, police, health, cadre = (names.person() for _ in range(4))
        add("街道包片领导", area, street)
        add(
            "社区负责人",
            area,
            staff[0],
            staff[1],
            body=codes[next(n for n in codes if n.startswith(community.name) and n.endswith("委员会"))],
        )
        add("社区民警", area, police, body=codes["云汀派出所"])
        add("公共卫生联络员", area, health, body=codes["云汀社区卫生服务中心"])
        add("联社干部", area, cadre, body=codes["云汀街道办事处"])
        grids = sorted({p.grid for p in community.plots if p.grid})
        for k, grid in enumerate(grids):
            code = grid_code(community, grid)
            worker = staff[1 + (k + 1) % 6] if community.code == FOUNDING else names.person()
            if (community.code, grid) != NO_LEADER:
                add("网格长", code, staff[1 + k], worker)
            add("网格员", code, worker, staff[1 + k])
    for compound in town.compounds:
        if compound.company:
            plot = next(site.block.plot for site in town.sites if site.block.plot.name == compound.name)
            add(
                "物业负责人",
                grid_code(compound.community, plot.grid),
                names.person(),
                body=codes[compound.company],
            )
    nobody = {
        code
        for b in town.buildings
        for code, unit in b.stairwells
        for c in town.compounds
        if c.code == b.compound and (c.name, b.name, int(unit.removesuffix("单元"))) in UNPOSTED
    }
    for cell in micro:
        for unit in cell.stairwells or ("",):
            if unit not in nobody:
                add("楼道长", cell.code, names.person(), unit=unit)
    return rows
