"""Writes the sample town: `python data/make_sample [--into data/sample]`.

The same seed gives the same town; nothing in it exists.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from shutil import copyfile

import files
import ground
import happenings
import houses
import people
import plan
import register
import things
from people import Row
from register import BY_MEMBERS, Town, code_of, grid_code
from shapely import Geometry, Point

NUMBERS = "零一二三四五六七八九十"
SINCE = "2020-01-01"
MEMBERS = "1—8幢、10幢"
BARE = "201"  # the community whose grids come without projection and encoding
# kind, management mode and lead body of grids that are not plain
SPECIAL = {
    ("004", 4): ("新纺宿舍专属网格", "专属网格", "待拆迁", ""),
    ("006", 2): ("望潮商务园专属网格", "专属网格", "正常", "望潮商务园管理办公室"),
    ("004", 2): ("", "基础网格", "交叉管理", "新纺社区居民委员会"),
    ("005", 2): ("", "基础网格", "托管", "石埠头社区居民委员会"),
}
USES = {
    "residential": "住宅", "mixed": "商住", "office": "办公", "commercial": "商业", "industrial": "工业",
    "public": "公共服务",
    "dormitory": "宿舍", "other": "其他",
}  # fmt: skip
LAND = {
    "water": "水域",
    "green": "绿地",
    "vacant": "空地",
    "construction": "工地",
    "farm": "农地",
    "public": "公共用地",
}
ROADS = {"trunk": "主干道", "street": "街道", "lane": "巷道", "railway": "铁路"}
MODES = {"demolition": "待拆迁", "unmanaged": "三无小区", "entrusted": "托管", "joint": "交叉管理"}
STATES = {"accepted": "受理", "dispatched": "分流", "handling": "处置", "closed": "结案", "feedback": "反馈"}
GATES = {"pedestrian": "人行", "vehicle": "车行", "both": "人车", "emergency": "消防应急"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the sample town.")
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[1] / "sample")
    written(parser.parse_args().into)


def written(folder: Path) -> None:
    """The whole town, into the folder: data files, the order of loading them, and what is wrong with them."""
    folder.mkdir(parents=True, exist_ok=True)
    survey = ground.surveyed()
    town = register.registered(survey, houses.built(survey.blocks, survey.streets))
    people.settled(town)
    happened = happenings.incidents(town)
    _write_areas(town, folder)
    _write_places(town, folder)
    _write_people(town, folder)
    _write_duties(folder)
    _write_happenings(town, happened, folder)
    copyfile(Path(__file__).with_name("load.toml"), folder / "load.toml")
    faults = json.dumps(_faults(town, happened), ensure_ascii=False, indent=2)
    (folder / "faults.json").write_text(faults + "\n", encoding="utf-8")


def _write_areas(town: Town, folder: Path) -> None:
    street: list[Row] = [{"街道名称": plan.STREET_NAME, "街道代码": plan.STREET_CODE, "生效时间": SINCE}]
    communities: list[Row] = [
        {
            "社区名称": c.name, "社区编码": code_of(c), "上级编码": plan.STREET_CODE,
            "类型": "村" if c.kind == "village" else "社区",
            "生效时间": SINCE,
        }
        for c in plan.COMMUNITIES
    ]  # fmt: skip
    files.geopackage(folder / "areas.gpkg", {
        "street": (street, [town.ground.outline]),
        "communities": (communities, [town.ground.communities[c.code] for c in plan.COMMUNITIES]),
    })  # fmt: skip
    grids = {key: grid for key, grid in town.ground.grids.items() if key != BY_MEMBERS}
    most = {key: grid for key, grid in grids.items() if key[0] != BARE}
    files.shapefile(folder / "grids.zip", [_grid(key) for key in most], list(most.values()))
    rest = {key: grid for key, grid in grids.items() if key[0] == BARE}
    bare: list[Row] = [
        {"BH": row["SZDYWGBSM"], "MC": row["WGMC"], "SQBH": row["SJ"], "CSRQ": SINCE}
        for row in map(_grid, rest)
    ]
    files.shapefile(folder / "grids_yudeng.zip", bare, list(rest.values()), bare=True)
    row = _grid(BY_MEMBERS)
    files.text(folder / "grid_by_members.csv", [{
        "网格名称": row["WGMC"], "网格编码": row["SZDYWGBSM"], "上级编码": row["SJ"], "楼栋范围": MEMBERS,
        "起始时间": SINCE,
    }])  # fmt: skip
    micro: list[Row] = [
        {
            "名称": cell.name,
            "编码": cell.code,
            "上级编码": cell.grid,
            "成员楼栋": cell.members,
            "起始时间": SINCE,
        }
        for cell in people.micro_grids(town)
    ]
    files.text(folder / "micro_grids.csv", micro)


def _grid(key: tuple[str, int]) -> Row:
    code, number = key
    community = next(c for c in plan.COMMUNITIES if c.code == code)
    name, kind, mode, lead = SPECIAL.get(key, ("", "基础网格", "正常", ""))
    return {
        "SZDYWGBSM": grid_code(community, number), "WGMC": name or f"{community.name}第{NUMBERS[number]}网格",
        "SJ": code_of(community), "WGLX": kind, "GLFS": mode, "QTDW": lead, "CSRQ": SINCE,
    }  # fmt: skip


def _write_places(town: Town, folder: Path) -> None:
    compounds: list[Row] = [
        {
            "小区名称": c.name, "小区编码": c.code, "详细地址": _addresses(town, c),
            "管理方式": MODES.get(register.MODES.get(c.name, ""), "正常"),
            "物业公司": c.company, "业委会": c.committee, "建成年份": c.built_year,
            "出租占比": c.rental_share,
        }
        for c in town.compounds
    ]  # fmt: skip
    files.geopackage(
        folder / "compounds.gpkg", {"compounds": (compounds, [c.polygon for c in town.compounds])}
    )
    gates: list[tuple[Row, Point]] = [
        (
            {
                "出入口名称": g.name,
                "编码": g.code,
                "小区编码": c.code,
                "类型": GATES[g.kind],
                "是否值守": "是" if g.staffed else "否",
            },
            g.point,
        )
        for c in town.compounds
        for g in c.gates
    ]
    files.text(folder / "entrances.csv", _located(gates))
    years = {c.code: c.built_year for c in town.compounds}
    buildings: list[Row] = [
        {
            "LDMC": b.name, "LDBM": b.code, "XQBM": b.compound, "DZ": b.address, "YT": USES[b.house.use],
            "CS": b.house.floors,
            "JCNF": years.get(b.compound, 1955 + int(b.code[-5:]) * 7 % 60), "HS": len(b.sizes),
            "RKS": sum(b.sizes),
            "LDRKS": sum(size for size, away in zip(b.sizes, b.non_local, strict=True) if away),
        }
        for b in town.buildings
    ]  # fmt: skip
    files.shapefile(folder / "buildings.zip", buildings, [b.house.polygon for b in town.buildings])
    files.text(folder / "units.csv", people.units(town))
    files.geopackage(folder / "base_map.gpkg", {"land_parcels": _parcels(town), "roads": _roads(town)})
    files.text(folder / "facilities.csv", _located(things.facilities(town)))
    files.text(folder / "parts.csv", _located(things.parts(town)))


def _addresses(town: Town, compound: register.Compound) -> str:
    return next(b.address for b in town.buildings if b.compound == compound.code)


def _parcels(town: Town) -> tuple[list[Row], list[Geometry]]:
    drawn = [
        ("云汀河", "water", town.ground.river),
        ("澜溪", "water", town.ground.stream),
        ("云汀洲", "green", town.ground.island),
    ]
    drawn += [parcel for site in town.sites for parcel in site.parcels]
    rows: list[Row] = [
        {"名称": name, "地块编码": f"{plan.STREET_CODE}D{i:04d}", "用地类别": LAND[use]}
        for i, (name, use, _) in enumerate(drawn, 1)
    ]
    return rows, [polygon.simplify(0.2) for _, _, polygon in drawn]


def _roads(town: Town) -> tuple[list[Row], list[Geometry]]:
    drawn = [(street.name, street.kind, street.line) for street in town.ground.streets]
    drawn += [("", "lane", lane) for site in town.sites for lane in site.lanes]
    rows: list[Row] = [
        {"路名": name, "DLBM": f"{plan.STREET_CODE}R{i:04d}", "类型": ROADS[kind]}
        for i, (name, kind, _) in enumerate(drawn, 1)
    ]
    return rows, [line.simplify(0.2) for _, _, line in drawn]


def _write_people(town: Town, folder: Path) -> None:
    homes = people.homes(town)
    files.text(folder / "dwellings_lanxi.csv", people.dwellings(homes))
    files.text(folder / "residents_lanxi.csv", people.residents(homes))
    by = "填报单位:{}居民委员会    填报人:社区工作者    单位:户"
    for name, title, community, rows in (
        ("lanxi", "澜溪社区住户登记表", "澜溪社区", people.households(homes)),
        ("xinfang", "新纺社区住户登记表", "新纺社区", people.workbook(town)),
    ):
        files.workbook(folder / f"households_{name}.xlsx", title, by.format(community), rows)
    bodies = people.organisations(town)
    files.workbook(
        folder / "organisations.xlsx", "云汀街道组织名录", "填报单位:云汀街道党建办", _located(bodies)
    )
    posts = people.posts(town, people.micro_grids(town), [row for row, _ in bodies])
    files.workbook(
        folder / "posts.xlsx",
        "云汀街道网格责任人一览表",
        "填报单位:云汀街道网格办    电话仅供工作联系",
        posts,
    )


def _write_duties(folder: Path) -> None:
    files.workbook(folder / "duty_items.xlsx", "云汀街道责任清单", "填报单位:云汀街道综合信息指挥室", happenings.duties())


def _write_happenings(town: Town, happened: list[happenings.Incident], folder: Path) -> None:
    patrol = [_case(i) | {"网格编码": i.stated} for i in happened if i.channel == "patrol"]
    files.text(folder / "incidents_patrol.csv", patrol)
    hotline = [_ticket(i) for i in happened if i.sub_source == "12345"]
    files.text(folder / "incidents_12345.csv", hotline, "gb18030")
    public = [i for i in happened if i.channel == "public" and i.sub_source != "12345"]
    phone = [_case(i) | {"来源细类": i.sub_source, "所属社区": i.stated, "联系电话": i.phone} for i in public]
    files.text(
        folder / "incidents_phone.csv", [row for row, i in zip(phone, public, strict=True) if i.shifted]
    )
    files.text(
        folder / "incidents_public.csv", [row for row, i in zip(phone, public, strict=True) if not i.shifted]
    )
    enforced = [_case(i) for i in happened if i.channel == "enforcement"]
    files.workbook(
        folder / "incidents_enforcement.xlsx",
        "云汀街道综合执法案件登记表",
        "填报单位:云汀街道综合执法队",
        enforced,
    )
    sensed = [i for i in happened if i.channel == "sensor"]
    files.geojson(
        folder / "incidents_sensor.geojson",
        [_signal(i) for i in sensed],
        [files.lonlat(i.point) for i in sensed],
    )
    files.text(folder / "activations.csv", happenings.activations())
    zones = happenings.zones(town)
    files.geopackage(
        folder / "zones.gpkg", {"zones": ([zone.row for zone in zones], [zone.polygon for zone in zones])}
    )
    files.text(folder / "checkpoints.csv", _located(happenings.checkpoints(town)))


def _times(incident: happenings.Incident) -> tuple[str, str, str, str]:
    """Occurred, reported, due, closed."""
    closed = happenings.duration(-incident.closed) if incident.state == "closed" else ""
    return (
        happenings.duration(-incident.reported - 12), happenings.duration(-incident.reported),
        happenings.duration(incident.due), closed,
    )  # fmt: skip


def _case(incident: happenings.Incident) -> Row:
    occurred, reported, due, closed = _times(incident)
    lon, lat = files.shifted(incident.point) if incident.shifted else files.lonlat(incident.point)
    return {
        "案卷号": incident.number, "事件标题": incident.title, "事项代码": incident.kind.matter,
        "案卷状态": STATES[incident.state],
        "等级": "较大" if incident.grade == "larger" else "一般", "地址": incident.place,
        "说明": incident.description,
        "发生时间": occurred, "上报时间": reported, "应结时间": due, "结案时间": closed,
        "处置单位": incident.handler,
        "退回次数": incident.returns, "经度": lon, "纬度": lat,
    }  # fmt: skip


def _ticket(incident: happenings.Incident) -> Row:
    occurred, reported, due, closed = _times(incident)
    lon, lat = files.lonlat(incident.point)
    return {
        "工单编号": incident.number, "内容": incident.title,
        "问题描述": incident.description or f"来电人反映{incident.title}。",
        "事件类型": incident.kind.matter, "案卷状态": STATES[incident.state], "所属社区": incident.stated,
        "地址": incident.place,
        "发生时间": occurred, "受理时间": reported, "截止时间": due, "结案时间": closed,
        "承办单位": incident.handler,
        "退回次数": incident.returns, "来电号码": incident.phone, "经度": lon, "纬度": lat,
    }  # fmt: skip


def _signal(incident: happenings.Incident) -> Row:
    occurred, reported, due, closed = _times(incident)
    return {
        "number": incident.number, "title": incident.title, "matter": incident.kind.matter,
        "state": incident.state,
        "grade": incident.grade, "occurred_at": occurred, "reported_at": reported, "due_at": due,
        "closed_at": closed or None,
        "handler": incident.handler,
    }  # fmt: skip


def _located(rows: Iterable[tuple[Row, Point]]) -> list[Row]:
    return [{**row, "经度": files.lonlat(point)[0], "纬度": files.lonlat(point)[1]} for row, point in rows]


def _faults(town: Town, happened: list[happenings.Incident]) -> list[dict[str, object]]:
    """What is wrong on purpose, and what a reader should find."""
    strip = [b for b in town.buildings if not b.grid]
    members = [b for b in town.buildings if (b.community.code, b.grid) == BY_MEMBERS]
    over = [b.code for b in town.buildings if town.ground.overlap.contains(b.point)]
    compounds = {c.code: c.name for c in town.compounds}
    nobody = [
        code
        for b in town.buildings
        for code, name in b.stairwells
        if (compounds.get(b.compound, ""), b.name, int(name.removesuffix("单元"))) in people.UNPOSTED
    ]
    numbered = {i.number: i for i in happened}
    manhole = [
        n
        for n, i in numbered.items()
        if i.kind.matter == "28001" and "石埠街" in i.title and i.state in ("handling", "accepted")
    ]
    strayed = [n for n, i in numbered.items() if i.shifted]
    return [
        {
            "kind": "gap",
            "where": f"{code_of(strip[0].community)} 石埠头社区临水弄:滨江北路以南、云汀河北岸",
            "area_m2": round(town.ground.strip.area, 1),
            "buildings": len(strip), "households": sum(len(b.sizes) for b in strip),
            "residents": sum(sum(b.sizes) for b in strip),
            "community": code_of(strip[0].community), "codes": [b.code for b in strip],
        },
        {
            "kind": "overlap", "where": "柳浪路北侧", "area_m2": round(town.ground.overlap.area, 1),
            "grids": [f"{plan.STREET_CODE}002004", f"{plan.STREET_CODE}002005"], "codes": over,
        },
        {
            "kind": "no_lead_body", "where": "新纺宿舍", "grid": f"{plan.STREET_CODE}004004",
            "management_mode": "demolition",
            "compound": next(c.code for c in town.compounds if c.name == "新纺宿舍"),
        },
        {"kind": "no_steward", "where": "三个单元没有楼道长", "units": nobody},
        {
            "kind": "datum", "where": "incidents_phone.csv", "datum": "gcj02", "count": len(strayed),
            "incidents": strayed,
        },
        {"kind": "no_prj", "where": "grids_yudeng.zip", "crs": plan.METRES, "encoding": "GBK", "grids": 3},
        {
            "kind": "unmatched", "where": "households_xinfang.xlsx", "rows": 1_720,
            "unmatched": people.UNMATCHED,
        },
        {
            "kind": "duplicate", "where": "石埠街一个井盖,巡查和 12345 各报一次", "incidents": manhole,
            "metres": 8, "hours": 24,
        },
        {
            "kind": "returned", "where": "澜庭府绿化带占绿停车,物业公司与综合执法队之间", "returns": 3,
            "incidents": [n for n, i in numbered.items() if i.returns == 3],
        },
        {"kind": "overdue_review", "where": "望潮路桥临时交通管制", "zone": "YTZ004"},
        {
            "kind": "derived_grid", "where": "grid_by_members.csv",
            "grid": _grid(BY_MEMBERS)["SZDYWGBSM"],
            "members": [b.code for b in members],
            "residents": sum(sum(b.sizes) for b in members),
            "ground_m2": round(town.ground.grids[BY_MEMBERS].area, 1),
        },
    ]  # fmt: skip


if __name__ == "__main__":
    main()
