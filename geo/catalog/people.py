"""People, as few as will serve, and those who answer for them.  人 组织

Counts on buildings are enough for almost everything. A person's row exists only to help or to reach that person;
what is refused altogether (faces, control lists, scores) has no field here.
"""

from datetime import datetime
from uuid import UUID

from geo.resource import Audience, Field, Keeping, Place, Resource, Rule, Style, choices

VERIFIED = Field("verified_at", datetime, "核实时间", audience=Audience.WORKER, aliases=("核实日期", "核查时间", "HSSJ"))
HOME = Keeping("入户服务和户数统计", "duty", 730, since="verified_at", whole=True)
SERVICE = Keeping("上门服务和紧急联系", "duty", 730, since="verified_at", whole=True)
CONTACT = Keeping("工作联系", "duty", 730, since="verified_at")
# Who answered for an area is told to everybody while it lasts, and is a matter of record for two years more.
OFFICE = Keeping("公示责任人", "duty", 730, since="ends_at", whole=True)
DEPUTY = Keeping("公示责任人", "duty", 730, since="ends_at")
REACHED = Keeping("工作联系", "duty", 730, since="ends_at")

HOUSEHOLDS = Resource(
    "households",
    "住户",
    "一个时期住在一套房里的一户。位置随楼栋。",
    fields=(
        Field("name", str, "户号", required=True, aliases=("HH", "户名编号")),
        Field("code", str, "编码", longest=40, aliases=("户编码", "HBM")),
        Field("building", UUID, "楼栋", required=True, refers="buildings", aliases=("楼栋编码", "LDBM")),
        Field("dwelling", UUID, "房屋", refers="dwellings", aliases=("房屋编码", "FWBM")),
        Field("size", int, "人数", minimum=0, maximum=100, aliases=("RS", "户人数")),
        Field(
            "residence_type", str, "居住类型", default="registered", aliases=("JZLX",),
            choices=choices(registered="户籍", non_local="流动", away="外出"),
        ),
        Field("starts_at", datetime, "入住时间", aliases=("RZSJ",)),
        Field("ends_at", datetime, "迁出时间", aliases=("QCSJ",)),
        VERIFIED,
    ),
    element="人",
    keeping=HOME,
    audience=Audience.WORKER,
    place=Place.INHERITS,
    key=("code",),
)

RESIDENTS = Resource(
    "residents",
    "居民",
    "为服务和联系而登记的居民,从少登记,到期删除。",
    fields=(
        Field(
            "name", str, "姓名", required=True, name_of_person=True, aliases=("XM", "居民姓名"),
        ),
        Field("code", str, "登记号", longest=40, aliases=("DJH",)),
        Field("building", UUID, "楼栋", required=True, refers="buildings", aliases=("楼栋编码", "LDBM")),
        Field("household", UUID, "住户", refers="households", aliases=("户编码", "HBM")),
        Field(
            "phone", str, "联系电话", secret=True, audience=Audience.WORKER, aliases=("电话", "手机", "LXDH"),
        ),
        Field(
            "residence_type", str, "居住类型", default="registered", aliases=("JZLX",),
            choices=choices(registered="户籍", non_local="流动", away="外出"),
        ),
        Field(
            "age_band", str, "年龄段", aliases=("NLD",),
            choices=choices(under_14="14岁以下", from_14="14至59岁", from_60="60至79岁", from_80="80岁以上"),
        ),
        Field("no_smartphone", bool, "不用智能手机", default=False, aliases=("WZNSJ",)),
        VERIFIED,
    ),
    element="人",
    keeping=SERVICE,
    audience=Audience.WORKER,
    place=Place.INHERITS,
    key=("code",),
)

ORGANISATIONS = Resource(
    "organisations",
    "组织",
    "单位、商铺、物业公司、社会组织、队伍。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("DWMC", "单位名称", "MC")),
        Field("code", str, "统一社会信用代码", longest=40, aliases=("TYSHXYDM", "编码")),
        Field(
            "kind", str, "类型", required=True, aliases=("LX", "单位类型"),
            choices=choices(
                department="职能部门", property_company="物业公司", owners_committee="业主委员会", shop="商铺", enterprise="企业",
                school="学校", medical="医疗机构", party_branch="党组织", volunteer_team="志愿者队伍", association="社会组织",
                committee="居村委会", other="其他",
            ),
        ),
        Field("address", str, "地址", aliases=("DZ",)),
        Field("members", int, "人数", minimum=0, aliases=("RS", "成员数")),
        Field(
            "contact", str, "联系人", name_of_person=True, clear=Audience.WORKER, audience=Audience.WORKER, keeping=CONTACT, aliases=("LXR",),
        ),
        Field(
            "contact_phone", str, "联系人电话", secret=True, audience=Audience.WORKER, keeping=CONTACT,
            aliases=("LXRDH", "联系人手机"),
        ),
        VERIFIED,
    ),
    element="组织",
    geometry="POINT",
    geometry_required=False,
    place=Place.POINT,
    key=("code",),
    style=Style(color="#8A5A00", zooms=(16, 21), order=43, shown=False, named=17),
)

POSTS = Resource(
    "posts",
    "责任岗位",
    "谁在什么时期以什么身份对哪个区域负责。责任人可以没有账号,楼道长就没有。",
    fields=(
        Field(
            "role", str, "岗位", required=True, aliases=("GW", "职务"),
            choices=choices(
                street_leader="街道包片领导", community_leader="社区负责人", grid_leader="网格长", grid_worker="网格员",
                steward="楼道长", police="社区民警", health="公共卫生联络员", cadre="联社干部", property_manager="物业负责人",
                department="部门责任人",
            ),
        ),
        Field("area", str, "责任区域", required=True, refers="area_paths", aliases=("区域编码", "网格编码", "WGBM", "责任网格")),
        Field("unit", UUID, "责任单元", refers="units", aliases=("单元编码", "DYBM")),
        Field(
            "holder", str, "责任人", name_of_person=True, clear=Audience.WORKER, keeping=OFFICE, aliases=("姓名", "XM", "ZRR"),
        ),
        Field("organisation", UUID, "责任单位", refers="organisations", aliases=("单位代码", "单位名称")),
        Field("deputy", str, "副岗", name_of_person=True, clear=Audience.WORKER, keeping=DEPUTY, aliases=("B岗", "代理人")),
        Field(
            "phone", str, "电话", secret=True, audience=Audience.WORKER, keeping=REACHED, aliases=("联系电话", "手机", "LXDH"),
        ),
        Field("starts_at", datetime, "起始时间", aliases=("RZSJ", "任职时间")),
        Field("ends_at", datetime, "截止时间", aliases=("LRSJ", "离任时间")),
    ),
    element="组织",
    label="role",
    rules=(
        Rule("someone", "holder IS NOT NULL OR organisation IS NOT NULL", "岗位须有责任人或责任单位。"),
        Rule("validity", "ends_at IS NULL OR starts_at IS NULL OR ends_at > starts_at", "截止时间须晚于起始时间。"),
    ),
)
