"""The ground and what stands on it: areas of responsibility, compounds, buildings, homes, land, objects.  地 房 物"""

from datetime import datetime
from uuid import UUID

from geo.resource import Audience, Field, Place, Resource, Rule, Style, choices

LEVELS = choices(
    province="省", city="市", district="区县", street="街道", community="社区", grid="网格", micro_grid="微网格"
)
MANAGEMENT_MODES = choices(
    normal="正常", entrusted="托管", joint="交叉管理", demolition="待拆迁", unmanaged="三无小区", special="其他特殊建制"
)

AREAS = Resource(
    "areas",
    "区域",
    "行政区划、社区、网格、微网格。每一行是一个区域的一个版本,有效期从 valid_from 起到 valid_to 前。",
    fields=(
        Field("name", str, "名称", aliases=("MC", "网格名称", "社区名称", "街道名称", "WGMC", "SQMC", "JDMC", "NAME")),
        Field(
            "code", str, "编码", longest=40,
            aliases=("BM", "网格编码", "社区编码", "街道代码", "单元网格标识码", "WGBM", "SZDYWGBSM", "SZSQDM", "SZJDDM", "区划代码"),
        ),
        Field("level", str, "层级", required=True, choices=LEVELS, aliases=("CJ", "级别")),
        Field(
            "kind", str, "类型", default="base", aliases=("网格类型", "WGLX"),
            choices=choices(base="基础网格", special="专属网格", unit="单元网格", thematic="专业网格", village="村", residents="社区", division="区划"),
        ),
        Field("theme", str, "专题", default="governance", longest=40, pattern="[a-z][a-z0-9_]*"),
        Field("path", str, "路径", writable=False, longest=40),
        Field("parent", str, "上级", longest=200, aliases=("上级编码", "所属街道", "所属社区", "SJ", "parent_name")),
        Field("members", str, "成员楼栋", longest=2000, aliases=("楼栋范围", "包含楼栋", "CYLD")),
        Field("derived", bool, "由成员推得", default=False, writable=False),
        Field("management_mode", str, "管理方式", choices=MANAGEMENT_MODES, default="normal", aliases=("GLFS",)),
        Field("lead_body", str, "牵头单位", aliases=("QTDW", "责任单位")),
        Field("valid_from", datetime, "生效时间", aliases=("起始时间", "CSRQ", "初始日期")),
        Field("valid_to", datetime, "失效时间", aliases=("终止日期", "终止时间")),
    ),
    element="地",
    geometry="MULTIPOLYGON",
    geometry_required=False,
    written_by=Audience.LEADER,
    indexes=(("path",), ("code",), ("name",)),
    rules=(
        Rule("validity", "valid_to IS NULL OR valid_to > valid_from", "失效时间须晚于生效时间。"),
    ),
    style=Style(
        color="#46525F", by="level", fill=0.0, order=10, zooms=(6, 21), named=6,
        palette=(
            ("district", "#17202B"), ("street", "#17202B"), ("community", "#0B4F8A"), ("grid", "#46525F"), ("micro_grid", "#8A97A3"),
        ),
    ),
)

COMPOUNDS = Resource(
    "compounds",
    "小区",
    "住宅小区:有围墙或出入口的居住地块,可能有物业公司。小区不是社区,也不是网格。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("小区名称", "XQMC", "MC")),
        Field("code", str, "编码", longest=40, aliases=("小区编码", "XQBM")),
        Field("aliases", str, "别名", aliases=("曾用名", "俗称", "BM")),
        Field("address", str, "地址", aliases=("DZ", "详细地址")),
        Field("management_mode", str, "管理方式", choices=MANAGEMENT_MODES, default="normal", aliases=("GLFS",)),
        Field("property_company", str, "物业公司", aliases=("物业", "WYGS")),
        Field("owners_committee", bool, "有业委会", aliases=("业委会", "YWH")),
        Field("built_year", int, "建成年份", minimum=1800, maximum=2200, aliases=("JCNF", "建成时间")),
        Field("rental_share", float, "出租占比", minimum=0, maximum=1, aliases=("CZZB",)),
    ),
    element="地",
    geometry="MULTIPOLYGON",
    place=Place.POINT,
    key=("code",),
    style=Style(color="#7A6A3A", fill=0.08, zooms=(14, 21), order=15, named=15, least=1),
)

ENTRANCES = Resource(
    "entrances",
    "出入口",
    "小区的出入口。没人值守的出入口也是一个地方。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("出入口名称", "CRKMC", "MC")),
        Field("code", str, "编码", longest=40, aliases=("CRKBM",)),
        Field("compound", UUID, "所属小区", refers="compounds", aliases=("小区编码", "小区", "XQBM")),
        Field(
            "kind", str, "类型", default="both", aliases=("LX",),
            choices=choices(pedestrian="人行", vehicle="车行", both="人车", emergency="消防应急"),
        ),
        Field("staffed", bool, "有人值守", default=False, aliases=("是否值守", "SFZS")),
    ),
    element="物",
    geometry="POINT",
    place=Place.POINT,
    key=("code",),
    style=Style(color="#7A6A3A", zooms=(16, 21), order=42, shown=False, named=17),
)

BUILDINGS = Resource(
    "buildings",
    "楼栋",
    "一栋楼的占地轮廓和人口、户数(只有数,没有人)。",
    fields=(
        Field("name", str, "楼栋号", required=True, aliases=("名称", "栋号", "LDMC", "楼栋名称", "幢号", "MC")),
        Field("code", str, "编码", longest=40, aliases=("楼栋编码", "LDBM", "建筑编码")),
        Field("compound", UUID, "所属小区", refers="compounds", aliases=("小区编码", "小区", "XQBM")),
        Field("address", str, "地址", aliases=("DZ", "门牌地址", "详细地址")),
        Field(
            "use", str, "用途", default="residential", aliases=("YT", "房屋用途", "建筑用途"),
            choices=choices(
                residential="住宅", mixed="商住", office="办公", commercial="商业", industrial="工业",
                public="公共服务", dormitory="宿舍", other="其他",
            ),
        ),
        Field("floors", int, "层数", minimum=0, maximum=200, aliases=("CS", "楼层数", "地上层数")),
        Field("built_year", int, "建成年份", minimum=1800, maximum=2200, aliases=("JCNF",)),
        Field("households", int, "户数", minimum=0, audience=Audience.WORKER, aliases=("HS", "总户数")),
        Field("residents", int, "人数", minimum=0, audience=Audience.WORKER, aliases=("RKS", "居民数", "人口数")),
        Field("non_local", int, "流动人口数", minimum=0, audience=Audience.WORKER, aliases=("LDRKS", "非户籍人数")),
    ),
    element="房",
    geometry="MULTIPOLYGON",
    place=Place.POINT,
    # A record located only to a region is no location: nobody is counted there.
    tallied=tuple(
        (name, f"CASE WHEN precision <> 'region' THEN {name} END") for name in ("households", "residents", "non_local")
    ),
    key=("code",),
    style=Style(color="#8A97A3", fill=0.75, zooms=(15, 21), order=20, named=18, least=1),
)

UNITS = Resource(
    "units",
    "单元",
    "楼栋里的一个楼道。位置随楼栋。",
    fields=(
        Field("name", str, "单元号", required=True, aliases=("单元", "DYH", "楼道")),
        Field("code", str, "编码", longest=40, aliases=("单元编码", "DYBM")),
        Field("building", UUID, "楼栋", required=True, refers="buildings", aliases=("楼栋编码", "LDBM")),
        Field("floors", int, "层数", minimum=0, maximum=200, aliases=("CS",)),
        Field("dwellings", int, "户室数", minimum=0, aliases=("HSS",)),
    ),
    element="房",
    place=Place.INHERITS,
    key=("code",),
)

DWELLINGS = Resource(
    "dwellings",
    "房屋",
    "一套房:一个地方,不是住在里面的人。位置随楼栋。",
    fields=(
        Field("name", str, "室号", required=True, aliases=("房号", "户室", "FH")),
        Field("code", str, "编码", longest=40, aliases=("房屋编码", "FWBM")),
        Field("building", UUID, "楼栋", required=True, refers="buildings", aliases=("楼栋编码", "LDBM")),
        Field("unit", UUID, "单元", refers="units", aliases=("单元编码", "DYBM")),
        Field("floor", int, "楼层", minimum=-10, maximum=200, aliases=("LC", "所在层")),
        Field(
            "use", str, "居住情况", default="owned", aliases=("JZQK", "房屋状态"),
            choices=choices(owned="自住", rented="出租", vacant="空置", other="其他"),
        ),
        Field("area_m2", float, "面积", minimum=0, maximum=100000, unit="m²", aliases=("MJ", "建筑面积")),
    ),
    element="房",
    audience=Audience.PARTNER,
    place=Place.INHERITS,
    key=("code",),
)

LAND_PARCELS = Resource(
    "land_parcels",
    "地块",
    "土地:绿地、水面、空地、工地、农地。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("DKMC", "MC")),
        Field("code", str, "编码", longest=40, aliases=("地块编码", "DKBM", "宗地号")),
        Field(
            "use", str, "用地类别", default="other", aliases=("YDLB", "地类"),
            choices=choices(
                water="水域", green="绿地", vacant="空地", construction="工地", farm="农地", public="公共用地", other="其他"
            ),
        ),
        Field("owner", str, "权属单位", aliases=("QSDW", "QSDWMC")),
    ),
    element="地",
    geometry="MULTIPOLYGON",
    place=Place.SHARES,
    key=("code",),
    style=Style(
        color="#B7C4A8", by="use", fill=0.6, zooms=(11, 21), order=2, named=17, least=1,
        palette=(("water", "#A9CBE3"), ("green", "#C9DDB8"), ("construction", "#D9C9A8"), ("farm", "#DDE3B8"), ("public", "#D9D4E3")),
    ),
)

ROADS = Resource(
    "roads",
    "道路",
    "道路和铁路的中心线,作底图用。",
    fields=(
        Field("name", str, "名称", aliases=("DLMC", "MC", "路名")),
        Field("code", str, "编码", longest=40, aliases=("DLBM",)),
        Field(
            "kind", str, "类型", default="street", aliases=("DLLX", "等级"),
            choices=choices(trunk="主干道", street="街道", lane="巷道", railway="铁路"),
        ),
    ),
    element="地",
    geometry="MULTILINESTRING",
    place=Place.SHARES,
    key=("code",),
    style=Style(
        color="#D9D2C3", by="kind", zooms=(11, 21), order=4, fill=0, named=15, coming=(("street", 12), ("lane", 14)),
        palette=(("trunk", "#E5C98F"), ("street", "#DDD8CC"), ("lane", "#E9E5DB"), ("railway", "#8A8F98")),
        shapes=(("railway", "dash"),),
    ),
)

FACILITIES = Resource(
    "facilities",
    "设施",
    "提供服务的场所:卫生服务、避灾点、商店、学校、活动室。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("SSMC", "MC", "name_cn")),
        Field("code", str, "编码", longest=40, aliases=("SSBM",)),
        Field("kind", str, "类别", required=True, listed="facility_kinds", aliases=("LB", "类型", "SSLX", "大类")),
        Field("address", str, "地址", aliases=("DZ", "详细地址")),
        Field("capacity", int, "容量", minimum=0, aliases=("RL", "床位数", "可容纳人数")),
        Field(
            "status", str, "状态", default="open", aliases=("ZT",),
            choices=choices(open="开放", closed="关闭", standby="备用", converting="改造中"),
        ),
        Field("hours", str, "开放时间", aliases=("营业时间", "KFSJ")),
    ),
    element="物",
    geometry="POINT",
    place=Place.POINT,
    key=("code",),
    style=Style(color="#1B6E53", zooms=(14, 21), order=40, named=16),
)

PARTS = Resource(
    "parts",
    "部件",
    "有编码的市政部件:井盖、路灯、消火栓。字段缩写取自 GB/T 47678.5。",
    fields=(
        Field("name", str, "部件名称", required=True, aliases=("GLBJMC", "管理部件名称", "名称")),
        Field("code", str, "部件标识码", longest=40, aliases=("GLBJBSM", "管理部件标识码")),
        Field("kind", str, "部件类别", listed="part_kinds", aliases=("BJLB",)),
        Field("department", str, "主管部门", aliases=("ZGBMMC", "主管部门名称")),
        Field("department_code", str, "主管部门代码", longest=18, aliases=("ZGBMDM",)),
        Field("owner", str, "权属单位", aliases=("QSDWMC", "权属单位名称")),
        Field("maintainer", str, "养护单位", aliases=("YHDWMC", "养护单位名称")),
        Field("stated_grid", str, "所在单元网格标识码", longest=40, aliases=("SZDYWGBSM",)),
        Field(
            "state", str, "部件状态", default="intact", aliases=("GLBJZT", "管理部件状态"),
            choices=choices(intact="完好", damaged="破损", lost="丢失", abandoned="废弃", removed="移除"),
        ),
        Field("data_source", str, "数据来源", aliases=("SJLY",)),
        Field("remark", str, "备注", longest=1000, audience=Audience.WORKER, aliases=("BZ",)),
    ),
    element="物",
    geometry="POINT",
    place=Place.POINT,
    key=("code",),
    style=Style(
        color="#6A3D9A", by="state", zooms=(17, 21), order=41, shown=False, named=18,
        palette=(("intact", "#6A3D9A"), ("damaged", "#B3261E"), ("lost", "#B3261E"), ("abandoned", "#46525F"), ("removed", "#46525F")),
        shapes=(("damaged", "triangle"), ("lost", "triangle")),
    ),
)
