"""The sample town adds up, is wrong only where it says so, and names nobody and no real place."""

import csv
import gzip
import json
import math
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from datetime import timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import geopandas
import pytest
import shapely
from python_calamine import CalamineWorkbook

from geo import matching
from geo.catalog import CODE_LISTS, RESOURCES

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"
NAMES = ROOT.parent / "shared" / "data" / "cn_division_codes"
METRES = "EPSG:4550"
# code: name, residents, households, grids
TABLE = {
    "001": ("澜溪社区", 7_012, 2_480, 6), "002": ("柳汀社区", 6_900, 2_600, 6), "003": ("枫汀社区", 5_200,
    1_900, 5),
    "004": ("新纺社区", 4_300, 1_720, 5), "005": ("石埠头社区", 3_900, 1_610, 5), "006": ("望潮社区", 4_600,
    1_700, 4),
    "007": ("砚桥社区", 2_400, 960, 4), "201": ("渔灯村", 2_100, 720, 3), "008": ("锦汀社区", 3_600, 1_390,
    4),
}  # fmt: skip
DURATION = re.compile(r"(-?)PT(?:(\d+)H)?(?:(\d+)M)?")
Frame: TypeAlias = Any  # geopandas says nothing of its types
Row = dict[str, Any]


@cache
def shapes(name: str, layer: str | None = None, folder: Path = SAMPLE) -> Frame:
    """A layer in metres, whatever it came in."""
    bare = name == "grids_yudeng.zip"
    frame = geopandas.read_file(folder / name, **({"layer": layer} if layer else {}),
    **({"encoding": "GB18030"} if bare else {}))
    return frame.set_crs(METRES) if bare else frame.to_crs(METRES)


@cache
def sheet(name: str, folder: Path = SAMPLE) -> list[Row]:
    path = folder / name
    if path.suffix == ".xlsx":
        _, _, heads, *cells = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
        return [dict(zip(map(str, heads), row, strict=True)) for row in cells]
    if path.suffix == ".geojson":
        return [feature["properties"] for feature in json.loads(path.read_text(encoding="utf-8"))["features"]]
    with path.open(encoding="gb18030" if "12345" in name else "utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@cache
def faults() -> dict[str, Row]:
    told = json.loads((SAMPLE / "faults.json").read_text(encoding="utf-8"))
    return {fault["kind"]: fault for fault in told}


@cache
def loads() -> list[Row]:
    return tomllib.loads((SAMPLE / "load.toml").read_text(encoding="utf-8"))["load"]  # type: ignore[no-any-return]


@cache
def grids() -> dict[str, shapely.Geometry]:
    """The polygons of the grids that came with one, by code."""
    most, bare = shapes("grids.zip"), shapes("grids_yudeng.zip")
    return dict(zip([*most.SZDYWGBSM, *bare.BH], [*most.geometry, *bare.geometry], strict=True))


@cache
def communities() -> dict[str, shapely.Geometry]:
    frame = shapes("areas.gpkg", "communities")
    return dict(zip(frame.社区编码, frame.geometry, strict=True))


@cache
def buildings() -> Frame:
    frame = shapes("buildings.zip").set_index("LDBM", drop=False)
    return frame.assign(point=frame.geometry.representative_point())


def matched(load: Row, heads: list[str]) -> dict[str, str]:
    """The column of each field, as intake finds it by the headings alone."""
    described = SimpleNamespace(columns={head: [] for head in heads}, position_columns=["经度", "纬度"], sample=[])
    proposal = matching.proposed(described, load["into"], ordered=load.get("map", {}), given=load.get("set", {}))
    return {name: one.column for name, one in proposal.columns.items()}


@cache
def incidents() -> list[Row]:
    """All incidents under the names of fields, as intake would have them."""
    out = []
    for load in loads():
        if load["into"] == "incidents":
            rows = sheet(load["file"])
            columns = matched(load, list(rows[0]))
            titles = {c.title: c.code for f in ("state", "grade") for c in RESOURCES["incidents"][f].choices}
            for row in rows:
                values = {field: titles.get(row[column], row[column]) for field, column in columns.items()}
                out.append(values | load.get("set", {}) | {"at": (row.get("经度"), row.get("纬度")),
                "file": load["file"]})
    return out


def after(text: str) -> timedelta:
    found = DURATION.fullmatch(text)
    assert found, text
    span = timedelta(hours=int(found[2] or 0), minutes=int(found[3] or 0))
    return -span if found[1] else span


def in_metres(points: list[tuple[float, float]]) -> list[shapely.Point]:
    return list(geopandas.GeoSeries([shapely.Point(*map(float, p)) for p in points], crs=4490).to_crs(METRES))


@pytest.mark.parametrize("code", TABLE)
def test_a_community_adds_up(code: str) -> None:
    name, residents, households, count = TABLE[code]
    mine = buildings()[buildings().LDBM.str.startswith(f"990101001{code}")]
    rows = [*grids(), *(row["网格编码"] for row in sheet("grid_by_members.csv"))]
    frame = shapes("areas.gpkg", "communities").set_index("社区编码")
    assert frame.社区名称[f"990101001{code}"] == name
    assert (mine.RKS.sum(), mine.HS.sum()) == (residents, households)
    assert sum(row.startswith(f"990101001{code}") for row in rows) == count
    assert mine.point.within(frame.geometry[f"990101001{code}"]).all()


def test_the_town_adds_up() -> None:
    assert (buildings().RKS.sum(), buildings().HS.sum(), len(buildings())) == (40_012, 15_080, 1_260)
    assert [len(sheet(f)) for f in ("micro_grids.csv", "entrances.csv", "parts.csv")] == [408, 74, 300]
    assert len(shapes("compounds.gpkg")) == 31
    for name, column in (
        ("buildings.zip", "LDBM"), ("micro_grids.csv", "编码"), ("entrances.csv", "编码"), ("units.csv",
        "单元编码"),
        ("dwellings_lanxi.csv", "房屋编码"), ("households_lanxi.xlsx", "户编码"), ("parts.csv", "GLBJBSM"),
    ):  # fmt: skip
        codes = list(shapes(name)[column]) if name.endswith("zip") else [row[column] for row in sheet(name)]
        assert len(set(codes)) == len(codes), name


def test_one_community_carries_the_founding_example() -> None:
    people, bodies = sheet("residents_lanxi.csv"), sheet("organisations.xlsx")
    homes = buildings()[buildings().LDBM.str.startswith("990101001001")]
    assert len(people) == 7_012
    assert Counter(row["居住类型"] for row in people)["流动"] == homes.LDRKS.sum() == 1_412
    assert Counter(row["楼栋编码"] for row in people) == Counter(dict(homes.RKS[homes.RKS > 0]))
    assert sum(row["户人数"] for row in sheet("households_lanxi.xlsx")) == 7_012
    counts = {row["单位名称"]: row["人数"] for row in bodies}
    assert (counts["澜溪社区党支部"], counts["澜溪社区志愿者队"], counts["澜溪社区居民委员会"]) == (33, 30, 7)
    staff = {
        row["姓名"]
        for row in sheet("posts.xlsx")
        if row["区域编码"].startswith("990101001001") and row["岗位"] in ("社区负责人", "网格长", "网格员")
    }
    assert len(staff) == 7
    places = [row for row in bodies if row["单位类型"] == "商铺"]
    shops = in_metres([(row["经度"], row["纬度"]) for row in places])
    assert sum(point.within(communities()["990101001001"]) for point in shops) == 12


def test_the_street_is_its_communities_to_the_last_corner() -> None:
    street = geopandas.read_file(SAMPLE / "areas.gpkg", layer="street").geometry[0]
    parts = geopandas.read_file(SAMPLE / "areas.gpkg", layer="communities").geometry
    assert shapely.coverage_is_valid(parts)
    assert set(map(tuple, shapely.get_coordinates(street))) <= set(map(tuple, shapely.get_coordinates(parts)))
    assert shapely.coverage_union_all(parts).symmetric_difference(street).area == 0


def test_grids_share_their_corners_with_their_community() -> None:
    own = geopandas.read_file(SAMPLE / "grids.zip").set_index("SZDYWGBSM").geometry
    whole = geopandas.read_file(SAMPLE / "areas.gpkg", layer="communities").set_index("社区编码").geometry
    for code in ("001", "003", "004", "006", "008"):
        mine = own[own.index.str.startswith(f"990101001{code}")]
        assert shapely.coverage_is_valid(mine), code
        outline = shapely.get_coordinates(whole[f"990101001{code}"])
        assert set(map(tuple, outline)) <= set(map(tuple, shapely.get_coordinates(mine))), code
        assert shapely.coverage_union_all(mine).symmetric_difference(whole[f"990101001{code}"]).area == 0


def test_the_ground_in_no_grid_is_the_planted_strip() -> None:
    strip, derived = faults()["gap"], faults()["derived_grid"]
    covered = shapely.union_all(list(grids().values()))
    gaps = [part for c in communities().values() for part in shapely.get_parts(c.difference(covered))]
    by_area = sorted((part for part in gaps if part.area > 0.5), key=lambda part: part.area)
    assert [round(part.area / 1e4, 1) for part in by_area] == [0.8, round(derived["ground_m2"] / 1e4, 1)]
    assert by_area[0].area == pytest.approx(8_000, abs=1)
    inside = buildings()[buildings().point.within(by_area[0])]
    assert sorted(inside.index) == sorted(strip["codes"])
    assert (len(inside), inside.HS.sum(), inside.RKS.sum()) == (11, 63, strip["residents"])
    assert by_area[0].within(communities()[strip["community"]].buffer(0.01))
    # What else lies in no grid belongs to the one that came without a polygon.
    beyond = buildings()[~buildings().point.within(covered) & ~buildings().index.isin(strip["codes"])]
    assert sorted(beyond.index) == sorted(derived["members"])
    assert beyond.point.within(by_area[1]).all()


def test_the_only_overlap_is_the_planted_one() -> None:
    over = {(a, b): p.intersection(q) for (a, p), (b, q) in combinations(grids().items(),
    2) if p.intersects(q)}
    over = {pair: shape for pair, shape in over.items() if shape.area > 0.5}
    fault = faults()["overlap"]
    assert list(over) == [tuple(fault["grids"])]
    shape = over[tuple(fault["grids"])]
    assert shape.area == pytest.approx(1_240, abs=1)
    assert sorted(buildings()[buildings().point.within(shape)].index) == sorted(fault["codes"])


def test_buildings_stand_clear_of_each_other_and_of_water_and_streets() -> None:
    frame = buildings()
    pairs = frame.sindex.query(frame.geometry, predicate="overlaps")
    assert pairs.size == 0
    parcels, roads = shapes("base_map.gpkg", "land_parcels"), shapes("base_map.gpkg", "roads")
    water = shapely.union_all(parcels.geometry[parcels.用地类别 == "水域"])
    lines = roads[roads.类型.isin(["主干道", "街道", "铁路"])]
    assert not frame.geometry.intersects(water).any()
    assert not frame.geometry.intersects(shapely.union_all(lines.geometry.buffer(6))).any()
    assert frame.geometry.is_valid.all()
    assert frame.geometry.within(shapes("areas.gpkg", "street").geometry[0]).all()


def test_not_a_chessboard() -> None:
    """Streets bend, houses stand in many directions and sizes."""
    boxes = [shapely.minimum_rotated_rectangle(g) for g in buildings().geometry]
    sides = [(box.exterior.coords[0], box.exterior.coords[1]) for box in boxes]
    turns = Counter(round(math.degrees(math.atan2(by - ay, bx - ax)) % 90 / 5) % 18 for (ax, ay), (bx,
    by) in sides)
    assert max(turns.values()) < len(boxes) / 4
    assert len({round(box.area / 10) for box in boxes}) > 100
    streets = shapes("base_map.gpkg", "roads")
    streets = streets[streets.类型.isin(["主干道", "街道"])].geometry
    ends = [math.dist(g.geoms[0].coords[0], g.geoms[-1].coords[-1]) for g in streets]
    assert sum(length > 1.01 * end for length, end in zip(streets.length, ends, strict=True)) > len(ends) / 2


def test_nobody_leads_the_dormitories() -> None:
    fault = faults()["no_lead_body"]
    rows = shapes("grids.zip").set_index("SZDYWGBSM")
    row = rows.loc[fault["grid"]]
    assert (row.WGLX, row.GLFS) == ("专属网格", "待拆迁")
    others = rows[rows.GLFS != "正常"].drop(fault["grid"])
    assert not isinstance(row.QTDW, str)
    assert len(others)
    assert others.QTDW.notna().all()
    compound = shapes("compounds.gpkg").set_index("小区编码").loc[fault["compound"]]
    assert (compound.小区名称, compound.管理方式) == ("新纺宿舍", "待拆迁")
    leaders = {row["区域编码"] for row in sheet("posts.xlsx") if row["岗位"] == "网格长"}
    everywhere = {*grids(), *(row["网格编码"] for row in sheet("grid_by_members.csv"))}
    assert everywhere - leaders == {fault["grid"]}


def test_three_stairwells_have_no_steward() -> None:
    units = {row["单元编码"] for row in sheet("units.csv")}
    posted = {row["单元编码"] for row in sheet("posts.xlsx") if row["单元编码"]}
    assert posted <= units
    assert units - posted == set(faults()["no_steward"]["units"])
    assert len(units - posted) == 3


def test_micro_grids_name_members_that_exist() -> None:
    compounds = dict(zip(shapes("compounds.gpkg").小区编码, shapes("compounds.gpkg").小区名称, strict=True))
    known = {compounds.get(str(b.XQBM), "") + b.LDMC for b in buildings().itertuples()}
    parents = {*grids(), *(row["网格编码"] for row in sheet("grid_by_members.csv"))}
    for row in sheet("micro_grids.csv"):
        assert row["上级编码"] in parents
        assert row["编码"].startswith(row["上级编码"])
        for member in row["成员楼栋"].split("、"):
            plain = re.sub(r"\d+单元$", "", member)
            first = re.sub(r"(\d+)—\d+", r"\1", plain)
            last = re.sub(r"\d+—(\d+)", r"\1", plain)
            assert {first, last} <= known, member


def test_the_grid_by_members_names_nine_towers() -> None:
    (row,) = sheet("grid_by_members.csv")
    fault = faults()["derived_grid"]
    assert row["楼栋范围"] == "1—8幢、10幢"
    assert sorted(buildings().LDMC[fault["members"]],
    key=lambda name: int(name[:-1])) == [f"{i}幢" for i in (*range(1, 9), 10)]
    mine = buildings()[buildings().LDBM.str.startswith(row["上级编码"])].LDMC
    assert mine[mine.str.endswith("幢")].is_unique, "a number alone finds its building inside the community"


def test_the_bare_shapefile_says_neither_projection_nor_encoding() -> None:
    with zipfile.ZipFile(SAMPLE / "grids_yudeng.zip") as archive:
        assert sorted(Path(name).suffix for name in archive.namelist()) == [".dbf", ".shp", ".shx"]
        table = archive.read("grids_yudeng.dbf")
    assert table[29] == 0
    assert "渔灯村第一网格".encode("gbk") in table
    assert not any("渔灯村" in name for name in geopandas.read_file(SAMPLE / "grids_yudeng.zip").MC)
    mine = [grid for code, grid in grids().items() if code.startswith("990101001201")]
    assert shapely.union_all(mine).symmetric_difference(communities()["990101001201"]).area < 1e-3


def test_the_workbook_has_rows_that_match_nothing() -> None:
    rows = sheet("households_xinfang.xlsx")
    known = set(buildings().index)
    assert len(rows) == 1_720
    assert sum(row["楼栋编码"] not in known for row in rows) == faults()["unmatched"]["unmatched"] == 23
    assert {row["楼栋编码"] for row in sheet("households_lanxi.xlsx")} <= known


def test_incidents_split_as_recorded() -> None:
    rows = incidents()
    assert Counter(row["channel"] for row in rows) == {"patrol": 188, "public": 121, "enforcement": 53,
    "sensor": 38}
    assert Counter(row["state"] for row in rows) == {"closed": 331, "accepted": 9, "dispatched": 14,
    "handling": 38, "feedback": 8}
    assert sum(row.get("sub_source") == "12345" for row in rows) == 74
    assert len({row["number"] for row in rows}) == 400
    late = [row for row in rows if after(row["due_at"]) < timedelta() and row["state"] not in ("closed",
    "feedback")]
    assert len(late) == 7
    soon = [row for row in rows if row["state"] != "closed" and after(row["due_at"]) < timedelta(hours=24)]
    assert soon == late, "what is in time stays so for a day after loading"
    for row in rows:
        assert after(row["occurred_at"]) <= after(row["reported_at"]) < timedelta()
        assert (row["state"] == "closed") == bool(row["closed_at"])
        assert not row["closed_at"] or after(row["reported_at"]) <= after(row["closed_at"]) < timedelta()


def test_no_title_tells_of_health() -> None:
    words = re.compile("病|疫|感染|阳性|确诊|发热|发烧|核酸|隔离|精神|残疾|孕|透析|死|伤")
    assert not [row["title"] for row in incidents() if words.search(row["title"])]


def test_points_lie_where_their_rows_say_but_for_fourteen() -> None:
    names = {f"990101001{code}": name for code, (name, *_) in TABLE.items()}
    sensors = json.loads((SAMPLE / "incidents_sensor.geojson").read_text(encoding="utf-8"))["features"]
    told = {f["properties"]["number"]: f["geometry"]["coordinates"] for f in sensors}
    rows = incidents()
    points = in_metres([told[row["number"]] if row["number"] in told else row["at"] for row in rows])
    contrary = []
    for row, point in zip(rows, points, strict=True):
        inside = [code for code, area in communities().items() if area.contains(point)]
        cells = [code for code, area in grids().items() if area.contains(point)]
        assert len(inside) == len(cells) == 1, row["number"]
        stated = row.get("stated_area")
        if stated and stated not in (names[inside[0]], cells[0]):
            contrary.append(row["number"])
    fault = faults()["datum"]
    assert sorted(contrary) == sorted(fault["incidents"])
    assert len(contrary) == len(sheet(fault["where"])) == 14


@pytest.mark.parametrize("name", ["entrances.csv", "facilities.csv", "parts.csv", "checkpoints.csv"])
def test_things_lie_in_one_grid(name: str) -> None:
    rows = sheet(name)
    for row, point in zip(rows, in_metres([(row["经度"], row["纬度"]) for row in rows]), strict=True):
        cells = [code for code, area in grids().items() if area.contains(point)]
        assert len(cells) == 1, row
        assert row.get("SZDYWGBSM", cells[0]) == cells[0]


def test_one_manhole_was_told_twice() -> None:
    one, two = (row for row in incidents() if row["number"] in faults()["duplicate"]["incidents"])
    near, far = in_metres([one["at"], two["at"]])
    assert 0 < near.distance(far) <= 8
    assert {one["channel"], two["channel"]} == {"patrol", "public"}
    assert {one.get("sub_source"), two.get("sub_source")} == {None, "12345"}
    assert one["matter"] == two["matter"] == "28001"
    assert abs(after(one["reported_at"]) - after(two["reported_at"])) < timedelta(hours=24)


def test_one_case_came_back_three_times() -> None:
    back = [row for row in incidents() if int(row.get("returns") or 0) >= 3]
    assert [row["number"] for row in back] == faults()["returned"]["incidents"]
    assert "物业公司" in back[0]["description"]
    assert "综合执法队" in back[0]["description"]


def test_zones_say_who_decided_and_one_is_past_its_end() -> None:
    frame = shapes("zones.gpkg").set_index("QYBM")
    needed = ["法定依据", "决定机关", "文号", "措施", "开始时间", "计划结束时间", "求助电话", "申诉渠道"]
    assert frame[needed].notna().all(axis=None)
    with (ROOT / "data/codes/zone_kinds.csv").open(encoding="utf-8", newline="") as file:
        hazards = {row["code"]: row["parent"] for row in csv.DictReader(file)}
    assert len(frame) == len({hazards[kind] for kind in frame.类别}) == 5
    drill = frame[frame.演练 == "是"]
    assert [hazards[kind] for kind in drill.类别] == ["epidemic"]
    assert drill.名称.str.contains("演练").all()
    past = [code for code, end in frame.计划结束时间.items() if after(end) < timedelta()]
    assert past == [faults()["overdue_review"]["zone"]]
    assert frame.geometry.is_valid.all()


def test_codes_in_the_files_are_in_the_lists() -> None:
    lists = {}
    for name in CODE_LISTS:
        with (ROOT / "data" / "codes" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        lists[name] = {row["code"] for row in rows}
        assert len(lists[name]) == len(rows)
        assert all(row["title"] and row["title_en"] for row in rows)
        assert {row["parent"] for row in rows} <= lists[name] | {""}
    assert {row["matter"] for row in incidents()} <= lists["matters"]
    assert {row["类别"] for row in sheet("facilities.csv")} <= lists["facility_kinds"]
    assert {row["BJLB"] for row in sheet("parts.csv")} <= lists["part_kinds"]
    assert set(shapes("zones.gpkg").类别) <= lists["zone_kinds"]


def test_phones_ring_nowhere_and_nobody_has_a_number() -> None:
    """1004… is given out to no network. Eighteen digits that begin like a province would be somebody's."""
    phones = []
    for path in sorted(SAMPLE.iterdir()):
        if path.suffix in (".csv", ".xlsx", ".geojson"):
            cells = [str(value) for row in sheet(path.name) for value in row.values()]
        elif path.suffix in (".gpkg", ".zip"):
            layers = geopandas.list_layers(path).name if path.suffix == ".gpkg" else [None]
            cells = [str(v) for n in layers for v in shapes(path.name,
            n).drop(columns="geometry").to_numpy().ravel()]
        else:
            cells = [path.read_text(encoding="utf-8")]
        for cell in cells:
            phones += re.findall(r"(?<!\d)1\d{10}(?!\d)", cell)
            assert not re.search(r"(?<!\d)[1-8]\d{16}[\dXx](?!\d)", cell), cell
    assert len(phones) > 4_000
    assert all(phone.startswith("1004") for phone in phones)


def test_no_real_community_has_these_names() -> None:
    if not NAMES.is_dir():
        pytest.skip("the list of real names is not here")
    with (NAMES / "villages_7_cities.csv").open(encoding="utf-8", newline="") as file:
        real = {row["name"] for row in csv.DictReader(file)}
    with gzip.open(NAMES / "streets_all_china.csv.gz", "rt", encoding="utf-8", newline="") as file:
        real |= {row["name"] for row in csv.DictReader(file)}
    tail = re.compile("(社区)?(居民委员会|居委会|村民委员会|村委会|社区|街道办事处|街道)$")
    real |= {tail.sub("", name) for name in real}
    ours = {name for name, *_ in TABLE.values()} | set(shapes("compounds.gpkg").小区名称) | {"云汀街道",
    "澄汀市", "望汀区"}
    assert not {name for name in ours if name in real or tail.sub("", name) in real}


@pytest.mark.parametrize("load", loads(), ids=lambda load: load["file"] + load.get("layer", ""))
def test_every_column_finds_its_field(load: Row) -> None:
    path = SAMPLE / load["file"]
    drawn = path.suffix in (".gpkg", ".zip")
    columns = list(shapes(load["file"],
    load.get("layer")).columns.drop("geometry")) if drawn else list(sheet(load["file"])[0])
    found = matched(load, columns)
    assert set(columns) - set(found.values()) <= {"经度", "纬度", "序号", "ZGBMDM", "CSRQ", "SJLY"}


def test_every_file_is_loaded_and_every_noun_has_rows() -> None:
    assert {load["into"] for load in loads()} == set(RESOURCES)
    kept = {path.name for path in SAMPLE.iterdir()}
    assert {load["file"] for load in loads()} | {"load.toml", "faults.json"} == kept
    sizes = [path.stat().st_size for path in SAMPLE.iterdir()]
    assert max(sizes) < 1_500_000
    assert sum(sizes) < 6_000_000


def test_the_seed_gives_the_same_town(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "data" / "make_sample", "--into", tmp_path], check=True,
    timeout=120)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SAMPLE.iterdir()}
    for path in sorted(SAMPLE.iterdir()):
        if path.suffix in (".gpkg", ".zip"):
            layers = geopandas.list_layers(path).name if path.suffix == ".gpkg" else [None]
            for layer in layers:
                old, new = shapes(path.name, layer), shapes(path.name, layer, tmp_path)
                assert old.drop(columns="geometry").equals(new.drop(columns="geometry")), path.name
                assert shapely.equals_exact(old.geometry, new.geometry, 0.001).all(), path.name
        elif path.suffix in (".csv", ".xlsx", ".geojson"):
            assert sheet(path.name) == sheet(path.name, tmp_path), path.name
        else:
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
