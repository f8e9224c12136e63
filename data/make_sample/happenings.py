"""What happened: four hundred incidents with their clocks, five zones, their checkpoints.

Times are distances from the moment of loading, written as ISO 8601 durations, or a month later all would be
overdue.
"""

import random
from dataclasses import dataclass, field

import ground
import plan
import shapely
from files import metres_of, shifted
from people import Names, Row
from register import Town
from shapely import Point, Polygon

CHANNELS = {"patrol": 188, "public": 121, "enforcement": 53, "sensor": 38}
HOTLINE, SHIFTED = 74, 14
STATES = {"closed": 331, "accepted": 9, "dispatched": 14, "handling": 38, "feedback": 8}
OVERDUE = 7
HOUR, DAY = 60, 1440


@dataclass(frozen=True)
class Kind:
    """A thing that happens: its matter, where, how it is said, who sees to it, within how many hours."""

    matter: str
    where: str  # street, compound, bank, works, village, shop
    said: tuple[str, ...]
    handler: str
    hours: int
    channels: str  # initials of the channels: p(atrol), u (public), e(nforcement), s(ensor)
    weight: int = 3


CITY, GRID, PROPERTY, MARKET = "云汀街道综合执法队", "社区网格", "物业公司", "云汀市场监管所"
WORKS, WATER, GAS, POLICE = "望汀区住建局云汀管理站", "望汀供水公司云汀站", "望汀燃气公司云汀站", "云汀派出所"
KINDS = (
    Kind("06010", "street", ("暴露垃圾", "路边堆放垃圾", "垃圾未及时清运"), GRID, 24, "pue", 9),
    Kind("06011", "street", ("积存建筑垃圾", "装修渣土堆放多日"), CITY, 120, "pue", 5),
    Kind("06012", "street", ("路面不洁", "洒落泥土"), GRID, 12, "pe", 4),
    Kind("06042", "compound", ("垃圾箱满溢", "垃圾站满溢"), PROPERTY, 12, "pu", 6),
    Kind("06045", "compound", ("绿地被占种菜", "绿化带被毁"), CITY, 120, "pue", 4),
    Kind("07003", "street", ("违规设置户外广告", "灯箱广告未经批准"), CITY, 72, "pe", 4),
    Kind("09005", "shop", ("店外经营", "商铺占道摆放货物"), CITY, 6, "pue", 7),
    Kind("09006", "street", ("流动摊贩占道经营", "占道摆摊"), CITY, 6, "pue", 7),
    Kind("09012", "compound", ("消防通道被占用", "车辆堵住消防通道"), CITY, 4, "pue", 7),
    Kind("10002", "street", ("架空线缆脱落", "线缆低垂"), WORKS, 24, "pu", 3),
    Kind("20001", "compound", ("邻里因漏水起争执", "邻里因晾晒起争执"), GRID, 120, "pu", 4),
    Kind("20002", "compound", ("业主与物业因收费起争执", "物业服务纠纷"), GRID, 168, "pu", 3),
    Kind("20003", "compound", ("停车位之争", "车辆堵住出入口"), PROPERTY, 48, "pu", 5),
    Kind("20004", "compound", ("装修噪声扰民", "夜间噪声"), CITY, 24, "ue", 4),
    Kind("21002", "compound", ("请求代购代办", "请求上门维修"), GRID, 24, "pu", 3),
    Kind("21004", "compound", ("停水求助", "停电求助"), WATER, 12, "u", 3),
    Kind("22001", "compound", ("反映出入口封闭不合理", "反映查验手续重复"), GRID, 48, "u", 2),
    Kind("22005", "compound", ("反映夜间侧门不开", "老人出入不便"), PROPERTY, 72, "pu", 2),
    Kind("23001", "compound", ("房屋隔断出租", "群租"), POLICE, 168, "pue", 3),
    Kind("23002", "village", ("私搭雨棚", "违规加建"), CITY, 240, "pe", 4),
    Kind("23004", "compound", ("外墙面砖松动", "外墙脱落风险"), WORKS, 240, "pu", 3),
    Kind("24001", "compound", ("电梯停运", "电梯异响"), PROPERTY, 24, "pu", 2),
    Kind("24002", "compound", ("灭火器过期", "消火栓无水"), PROPERTY, 72, "pe", 4),
    Kind("24005", "compound", ("楼道灯不亮", "单元门禁损坏"), PROPERTY, 48, "pu", 5),
    Kind("25001", "compound", ("电动车飞线充电", "电动车进楼道充电"), GRID, 12, "pue", 7),
    Kind("25002", "compound", ("楼道堆物", "消防前室堆放杂物"), GRID, 48, "pu", 6),
    Kind("25003", "works", ("仓库堆垛过高", "车间安全出口锁闭"), CITY, 72, "pe", 5),
    Kind("26001", "compound", ("闻到燃气异味",), GAS, 2, "pu", 2),
    Kind("26003", "street", ("自来水管爆裂", "路面冒水"), WATER, 6, "pu", 3),
    Kind("27001", "street", ("路面积水", "雨水口堵塞积水"), WORKS, 12, "pu", 4),
    Kind("27003", "street", ("行道树倾斜", "树枝折断"), WORKS, 24, "pu", 3),
    Kind("28001", "street", ("井盖缺失", "井盖松动"), WORKS, 2, "pu", 4),
    Kind("28002", "street", ("路灯不亮", "整段路灯熄灭"), WORKS, 24, "pu", 5),
    Kind("28004", "street", ("路面坑洞", "人行道砖松动"), WORKS, 72, "pu", 5),
    Kind("28005", "bank", ("护栏损坏", "亲水台阶破损"), WORKS, 72, "pu", 3),
    Kind("28007", "compound", ("健身器材损坏",), PROPERTY, 72, "pu", 2),
    Kind("29001", "compound", ("烟感告警",), GRID, 1, "s", 10),
    Kind("29002", "street", ("井盖位移告警",), WORKS, 2, "s", 7),
    Kind("29003", "bank", ("水位超警戒告警",), WORKS, 2, "s", 8),
    Kind("29004", "shop", ("可燃气体浓度告警",), GAS, 1, "s", 6),
    Kind("29005", "works", ("消防门长时间未关告警",), GRID, 4, "s", 5),
    Kind("30001", "shop", ("无证照经营",), MARKET, 120, "eu", 4),
    Kind("30002", "shop", ("食品过期投诉", "短斤少两投诉"), MARKET, 72, "u", 3),
    Kind("31002", "street", ("建议增设路口照明", "建议增设垃圾投放点", "建议调整停车位"), GRID, 120, "u", 3),
)


@dataclass
class Incident:
    kind: Kind
    channel: str
    state: str
    place: str
    point: Point
    community: plan.Community
    title: str = ""
    sub_source: str = ""
    reported: int = 0  # minutes before loading
    due: int = 0  # minutes from loading; negative is past
    closed: int = 0  # minutes before loading
    handler: str = ""
    returns: int = 0
    description: str = ""
    grade: str = "general"
    shifted: bool = False
    stated: str = ""
    phone: str = ""
    number: str = ""


@dataclass
class Places:
    """Where things can happen, each spot with the words for it, well inside one grid."""

    town: Town
    spots: dict[str, list[tuple[str, Point, plan.Community]]] = field(default_factory=dict)


def duration(minutes: int) -> str:
    """Minutes from the moment of loading as an ISO 8601 duration: -75·60-30 is `-PT75H30M`."""
    sign, minutes = "-" if minutes < 0 else "", abs(minutes)
    hours, rest = divmod(minutes, 60)
    return f"{sign}PT" + (f"{hours}H" if hours else "") + (f"{rest}M" if rest or not hours else "")


def incidents(town: Town) -> list[Incident]:
    """Four hundred, in the splits of the town's record, with two planted stories among them."""
    rng = random.Random(plan.SEED + 30)
    places = _placed(town)
    channels = [channel for channel, count in CHANNELS.items() for _ in range(count)]
    states = [state for state, count in STATES.items() for _ in range(count)]
    rng.shuffle(states)
    out = [_happened(channel, state, places, rng) for channel, state in zip(channels, states, strict=True)]
    for incident in out:
        _timed(incident, rng)
    _sourced(out, town, rng)
    _told(out, places, rng)
    _overdue(out, rng)
    for i, incident in enumerate(sorted(out, key=lambda one: -one.reported), 1):
        incident.number = f"YT{i:06d}"
    return out


def _placed(town: Town) -> Places:
    spots: dict[str, list[tuple[str, Point, plan.Community]]] = {}
    blocks = town.ground.blocks

    def add(kind: str, words: str, point: Point) -> None:
        here = next((block for block in blocks if block.face.contains(point)), None)
        if here is not None and town.clear(point):
            spots.setdefault(kind, []).append((words, point, here.community))

    named = [
        (block.plot.name, block.face) for block in blocks if block.plot.use not in ("bank", "strip", "old")
    ]
    for street in town.ground.streets:
        for k in range(1, int(street.line.length / 26)) if street.kind != "railway" else ():
            a, b = street.line.interpolate(k * 26 - 1), street.line.interpolate(k * 26 + 1)
            for side in (-1, 1):
                out = side * (ground.WIDTHS[street.kind] / 2 - 1) / a.distance(b)
                point = Point(a.x - (b.y - a.y) * out, a.y + (b.x - a.x) * out)
                near = min(named, key=lambda one: one[1].distance(point))[0]
                add("street", f"{street.name}{near}附近", point)
    compounds = {compound.code: compound.name for compound in town.compounds}
    for building in town.buildings:
        corner = Point(building.house.polygon.exterior.coords[0])
        outside = Point(corner.x + 2, corner.y - 2)
        if building.house.numbered:
            add("compound", f"{compounds[building.compound]}{building.name}", outside)
        elif building.house.use in ("commercial", "mixed"):
            add("shop", building.address, building.point)
        elif building.house.use == "industrial":
            add("works", building.name, building.point)
        elif building.sizes:
            add("village", building.name, building.point)
    for site in town.sites:
        if site.block.plot.use in ("bank", "quay", "park"):
            for _ in range(6):
                add("bank", site.block.plot.name, site.free.exterior.interpolate(len(spots) * 37.7).centroid)
                add("bank", site.block.plot.name, site.free.representative_point())
    return Places(town, spots)


def _happened(channel: str, state: str, places: Places, rng: random.Random) -> Incident:
    initial = {"patrol": "p", "public": "u", "enforcement": "e", "sensor": "s"}[channel]
    kinds = [kind for kind in KINDS if initial in kind.channels]
    kind = rng.choices(kinds, [kind.weight for kind in kinds])[0]
    spots = places.spots[kind.where]
    words, point, community = rng.choices(spots, [spot[2].residents for spot in spots])[0]
    incident = Incident(kind, channel, state, words, point, community, f"{words}{rng.choice(kind.said)}")
    incident.handler = f"{community.name}网格" if kind.handler == GRID else kind.handler
    if kind.handler == PROPERTY:
        named = [c.company for c in places.town.compounds if words.startswith(c.name) and c.company]
        incident.handler = named[0] if named else f"{community.name}网格"
    incident.grade = "larger" if kind.hours <= 4 and rng.random() < 0.35 else "general"
    return incident


def _timed(incident: Incident, rng: random.Random) -> None:
    limit = incident.kind.hours * HOUR
    if incident.state == "closed":
        incident.reported = round(rng.uniform(2.2, 45) * DAY)
        spent = min(round(limit * rng.uniform(0.15, 0.95)), incident.reported - 40)
        if rng.random() < 0.06:
            spent = min(round(limit * rng.uniform(1.1, 2.0)), incident.reported - 30)
        incident.closed = incident.reported - spent
        incident.due = limit - incident.reported
        incident.returns = rng.choices([0, 1, 2], [92, 7, 1])[0]
        return
    spans = {"accepted": (0.1, 3), "dispatched": (0.8, 18), "handling": (3, 160), "feedback": (20, 120)}
    incident.reported = round(rng.uniform(*spans[incident.state]) * HOUR)
    # Open and in time stays so for a day after loading, whatever the limit of its matter.
    incident.due = max(limit - incident.reported, round(rng.uniform(26, 150) * HOUR))


def _sourced(out: list[Incident], town: Town, rng: random.Random) -> None:
    """Where the public's word came from; and the fourteen of a phone whose map is not ours."""
    names = Names(random.Random(plan.SEED + 31), given=700_000)
    public = [incident for incident in out if incident.channel == "public"]
    rng.shuffle(public)
    for incident in public[:HOTLINE]:
        incident.sub_source, incident.phone, incident.stated = "12345", names.phone(), incident.community.name
    others = public[HOTLINE:]
    shifted = [incident for incident in others if _strays(town, incident)]
    for incident in others:
        if incident in shifted[:SHIFTED]:
            incident.shifted, incident.sub_source, incident.stated = True, "随手拍", incident.community.name
        else:
            incident.sub_source = rng.choice(["社区来访", "微信小程序", "楼道长转报"])
        incident.phone = names.phone() if rng.random() < 0.6 else ""
    if len(shifted) < SHIFTED:
        raise ValueError(f"only {len(shifted)} points stray into another community")
    for incident in out:
        if incident.channel == "patrol":
            incident.stated = town.grid_at(incident.point)


def _strays(town: Town, incident: Incident) -> bool:
    """Whether the point, read in the wrong datum, lies well inside another community."""
    raw = shifted_metres(incident.point)
    codes = [code for code, area in town.ground.communities.items() if area.buffer(-5).contains(raw)]
    return bool(codes) and codes[0] != incident.community.code and town.clear(raw)


def _told(out: list[Incident], places: Places, rng: random.Random) -> None:
    """One manhole told twice, and one case nobody wants."""
    patrol = next(i for i in out if i.channel == "patrol" and i.state == "handling")
    hotline = next(i for i in out if i.sub_source == "12345" and i.state == "accepted")
    kind = next(kind for kind in KINDS if kind.matter == "28001")
    words, point, community = next(
        spot for spot in places.spots["street"] if spot[0].startswith("石埠街") and places.town.clear(spot[1],
        4)
        and places.town.clear(Point(spot[1].x + 6.5, spot[1].y - 2.5), 3)
    )  # fmt: skip
    for incident, there in ((patrol, point), (hotline, Point(point.x + 6.5, point.y - 2.5))):
        incident.kind, incident.point, incident.community, incident.handler = kind, there, community, WORKS
        incident.grade = "larger"
    patrol.place, patrol.title, patrol.stated = words, f"{words}井盖缺失", places.town.grid_at(point)
    patrol.description = "巡查发现雨水井盖缺失,已设警示锥。"
    patrol.reported, patrol.due = 5 * HOUR + 20, 26 * HOUR
    hotline.place, hotline.title, hotline.stated = words, "石埠街路上少了一个井盖,晚上看不见", community.name
    hotline.description = "来电人称路边一个井盖不见了,怕行人踩空。"
    hotline.reported, hotline.due = 2 * HOUR + 5, 27 * HOUR
    returned = next(i for i in out if i.channel == "public" and i.state == "dispatched" and not i.shifted)
    green = next(kind for kind in KINDS if kind.matter == "06045")
    spots = [spot for spot in places.spots["compound"] if spot[0].startswith("澜庭府")]
    returned.kind, (returned.place, returned.point, returned.community) = green, rng.choice(spots)
    returned.title, returned.handler, returned.returns = f"{returned.place}绿化带被硬化停车", CITY, 3
    returned.description = (
        "物业公司称属违法占绿,应由综合执法队查处;综合执法队称属小区内部管理,应由物业公司恢复。已三次退回。"
    )
    returned.stated = returned.community.name if returned.sub_source == "12345" else ""
    returned.reported = 96 * HOUR


def _overdue(out: list[Incident], rng: random.Random) -> None:
    returned = next(i for i in out if i.returns == 3)
    handling = [i for i in out if i.state == "handling" and not i.shifted and i.kind.matter != "28001"]
    for incident in [returned, *rng.sample(handling, OVERDUE - 1)]:
        incident.due = -round(rng.uniform(3, 70) * HOUR)
        incident.reported = max(incident.reported, incident.kind.hours * HOUR - incident.due)


def shifted_metres(point: Point) -> Point:
    """Where a point given in GCJ-02 appears when it is read as WGS 84, in our metres."""
    return metres_of(*shifted(point))


@dataclass(frozen=True)
class Zone:
    row: Row
    polygon: Polygon


LAW_EMERGENCY, LAW_EPIDEMIC = "《中华人民共和国突发事件应对法》", "《中华人民共和国传染病防治法》"
APPEAL = "向望汀区人民政府申请行政复议,或拨打 12345 提出异议"


def zones(town: Town) -> list[Zone]:
    """One of each kind of hazard. The epidemic one is a drill; the road's planned end is past."""
    names = Names(random.Random(plan.SEED + 32), given=800_000)
    outline = town.ground.outline
    compounds = {compound.name: compound for compound in town.compounds}
    drill = [b for b in town.buildings if b.compound == compounds["澜溪苑"].code and b.house.stairs][2:6]
    bridge = next(street.line for street in town.ground.streets if street.name == "望潮路").intersection(
        town.ground.river.buffer(40)
    )
    low = next(site.free for site in town.sites if site.block.plot.name == "晒网场").union(
        next(site.free for site in town.sites if site.block.plot.name == "井台")
    )
    fire = max(
        (b for b in town.buildings if b.site.block.plot.name == "云汀工业园"),
        key=lambda b: b.house.polygon.area,
    )
    gas = next(b for b in town.buildings if b.name.startswith("箍桶弄") and b.sizes)
    drawn = (
        ("演练:澜溪苑部分楼栋封控区", "sealed", shapely.union_all([b.house.polygon.buffer(14,
        3) for b in drill]).buffer(-2, 2),
         f"{LAW_EPIDEMIC}第六十三条、第六十七条", "望汀区人民政府", "望政通(演练)第1号", -6 * HOUR, 42 * HOUR,
         "区域封闭、足不出户、服务上门;物资由志愿者按户配送;就医走绿色通道。(演练,不实际执行)",
         "疫情处置全流程演练", True,
         "只测通知和服务流程,不限制真实出入", "东至小区中路,南至溪口路,西至澜溪,北至澜北路"),
        ("箍桶弄燃气警戒区", "gas_alert", gas.point.buffer(85, 8),
         f"{LAW_EMERGENCY}第七十二条、第七十三条", "望汀区应急管理局", "望应急令第7号", -3 * HOUR, 9 * HOUR,
         "警戒区内停用明火和电器开关;人员撤至滨江北路绿地;燃气公司关阀检测。", "管道燃气异味,疑似接头渗漏",
         False,
         "只关闭支管阀门,检测浓度后认为范围不足", "以箍桶弄漏气点为中心,半径 85 米"),
        ("渔灯村低洼地转移区", "flood_transfer", shapely.convex_hull(low).buffer(8, 4),
         f"{LAW_EMERGENCY}第七十三条", "望汀区防汛防台抗旱指挥部", "望防指令第12号", -10 * HOUR, 26 * HOUR,
         "低洼房屋人员转移至望潮学校避灾点;渔船回港;断电前逐户确认。", "天文大潮叠加强降雨,内河水位预计超警",
         False,
         "只发预警不转移,水位预报后认为风险过高", "东至船坞弄,南至晒网弄,西至渔灯路,北至汀南路"),
        ("望潮路桥临时交通管制", "road_closure", bridge.buffer(16, 4, cap_style="flat"),
         f"{LAW_EMERGENCY}第七十三条", "望汀区公安分局交警大队", "望公交告第31号", -6 * DAY, -18 * HOUR,
         "桥面禁止机动车通行,行人和非机动车走东侧;公交绕行云汀大道。", "桥面伸缩缝抢修", False,
         "半幅施工,因缝宽超限不能保证安全", "北至滨江北路,南至滨江南路,全桥"),
        ("云汀工业园火灾疏散区", "fire_evacuation", fire.house.polygon.buffer(70, 6),
         f"{LAW_EMERGENCY}第七十二条、第七十三条", "望汀区消防救援大队", "望消通第5号", -5 * HOUR, 7 * HOUR,
         "疏散区内人员撤离;锦绣路东段禁行;居民关闭门窗。", "厂房起火,已控制,正在清理余火", False,
         "只疏散本厂,因烟气方向扩大一圈", "以起火厂房为中心,外扩 70 米"),
    )  # fmt: skip
    return [
        Zone(
            {
                "名称": name, "QYBM": f"YTZ{i:03d}", "类别": kind, "状态": "生效", "法定依据": basis,
                "决定机关": organ, "文号": number,
                "措施": measures, "开始时间": duration(start), "计划结束时间": duration(end),
                "求助电话": names.phone(), "申诉渠道": APPEAL,
                "事由": reason, "已考虑的较轻措施": lighter, "四至": bounds,
                "演练": "是" if exercise else "否",
            },
            polygon.intersection(outline),
        )
        for i, (name, kind, polygon, basis, organ, number, start, end, measures, reason, exercise, lighter,
        bounds) in enumerate(drawn, 1)
    ]  # fmt: skip


def duties() -> list[Row]:
    """The responsibility list of the street: who leads for each matter that happens here, and who assists."""

    def line(kind: Kind, part: str, by: str, body: str = "") -> Row:
        return {
            "事项代码": kind.matter, "适用区域": plan.STREET_CODE, "责任": part, "责任主体": by, "单位名称": body,
            "具体职责": f"{kind.hours} 小时内办结" if part == "主办" else "到场配合,核对结果", "依据": "云汀街道责任清单(2026 年版)", "生效时间": "2026-01-01",
        }

    told: list[Row] = []
    for kind in KINDS:
        if kind.handler == GRID:
            told.append(line(kind, "主办", "网格"))
        elif kind.handler == PROPERTY:
            # Where there is no property company, the community sees to it.
            told += [line(kind, "主办", "所在单位(物业)"), line(kind, "主办", "社区"), line(kind, "协办", "网格")]
        else:
            told += [line(kind, "主办", "指定单位", kind.handler), line(kind, "协办", "社区")]
    return told


def activations() -> list[Row]:
    """Two emergencies: one that goes on, and a drill that is over and under review."""
    return [
        {
            "名称": name, "编码": code, "事件类别": "自然灾害", "灾种": "台风", "响应级别": level, "响应区域": plan.STREET_CODE,
            "决定机关": "望汀区防汛防台抗旱指挥部", "文号": number, "启动时间": duration(start),
            "终止时间": duration(end) if end else "", "演练": "是" if exercise else "否",
        }
        for name, code, level, number, start, end, exercise in (
            ("防台风应急响应", "YTX001", "Ⅳ级", "望防指令第11号", -12 * HOUR, 0, False),
            ("演练:防台风应急响应", "YTX002", "Ⅲ级", "望防指(演练)第2号", -20 * DAY, -18 * DAY, True),
        )
    ]  # fmt: skip


def checkpoints(town: Town) -> list[tuple[Row, Point]]:
    """Staffed points of two zones, at gates and at both ends of the bridge."""
    compound = next(compound for compound in town.compounds if compound.name == "澜溪苑")
    rows: list[tuple[Row, Point]] = [
        (
            {
                "卡口名称": f"{gate.name}卡口", "KKBM": f"YTK{i:03d}", "区域编码": "YTZ001",
                "CRKBM": gate.code,
                "班次": "全天", "值守人数": 3 if gate.staffed else 2,
            },
            gate.point,
        )
        for i, gate in enumerate(compound.gates, 1)
    ]  # fmt: skip
    bridge = next(street.line for street in town.ground.streets if street.name == "望潮路")
    over = bridge.intersection(town.ground.river.buffer(48))
    for i, (end, name) in enumerate(((over.coords[0], "北"), (over.coords[-1], "南")), len(rows) + 1):
        point = Point(end[0] + 6, end[1])
        rows.append(({
            "卡口名称": f"望潮路桥{name}卡口", "KKBM": f"YTK{i:03d}", "区域编码": "YTZ004", "CRKBM": "",
            "班次": "白班", "值守人数": 2,
        }, point))  # fmt: skip
    return rows
