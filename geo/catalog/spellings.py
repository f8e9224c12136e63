"""How people write what the declarations say: headings, file names and values of files that follow nobody's template.

Data only, beside the titles and aliases of the declarations. What is wrong here proposes wrongly and refuses nothing.
"""

# What a file or a layer is called that holds this noun. Longer words are looked for first and used up.
CALLED: dict[str, tuple[str, ...]] = {
    "areas": (
        "微网格", "网格", "社区边界", "社区", "街道边界", "街道", "镇街", "街办", "行政区", "区划", "区县", "片区", "责任区", "村界", "grid", "grids",
        "community", "communities", "street", "streets", "district", "districts", "areas", "area", "boundary", "boundaries", "wangge", "shequ",
        "jiedao",
    ),
    "compounds": ("小区", "住宅区", "楼盘", "院落", "compound", "compounds", "xiaoqu", "estate", "estates"),
    "entrances": ("出入口", "大门", "门岗", "entrance", "entrances", "gates"),
    "buildings": (
        "楼栋", "楼宇", "建筑物", "建筑", "房屋轮廓", "危房", "幢", "楼房", "building", "buildings", "footprint", "footprints", "loudong", "houses",
    ),
    "units": ("单元", "楼道", "units", "stairwells"),
    "dwellings": ("房屋", "户室", "房间", "房产", "门牌", "dwelling", "dwellings", "flats", "rooms"),
    "activations": ("应急响应", "响应", "activation", "activations"),
    "households": ("住户", "家庭", "户籍", "户表", "household", "households"),
    "residents": ("居民", "人口", "人员", "花名册", "名册", "resident", "residents", "people", "population"),
    "land_parcels": ("地块", "宗地", "用地", "绿地", "水系", "水面", "土地", "land", "parcel", "parcels", "landuse", "water"),
    "roads": ("道路", "路网", "街巷", "铁路", "road", "roads", "streets", "highway", "highways", "railway", "railways"),
    "facilities": (
        "设施", "场所", "卫生服务", "避灾点", "避难", "学校", "医院", "商店", "活动室", "兴趣点", "facility", "facilities", "pois", "poi", "school",
        "schools", "hospital", "hospitals", "shelter", "shelters", "amenities",
    ),
    "parts": ("部件", "井盖", "路灯", "消火栓", "消防栓", "果皮箱", "垃圾桶", "行道树", "标志牌", "护栏", "parts", "manhole", "manholes", "lamps", "hydrants"),
    "organisations": ("组织", "单位", "企业", "商铺", "商户", "法人", "门店", "organisation", "organisations", "organizations", "shops", "companies"),
    "posts": ("责任岗位", "岗位", "责任人", "网格员", "网格长", "值班表", "分工", "posts", "duty"),
    "incidents": (
        "事件", "案件", "案卷", "工单", "诉求", "投诉", "上报", "巡查", "12345", "问题", "incident", "incidents", "tickets", "requests", "cases", "311",
        "issues",
    ),
    "zones": ("管控区域", "管控区", "封控区", "防范区", "风险区", "封控", "管控", "zone", "zones", "risk"),
    "checkpoints": ("卡口", "检查点", "查验点", "checkpoint", "checkpoints"),
}

# The noun as it stands in front of a heading: 楼栋 + 编码. Also how another table refers to it.
NOUNS: dict[str, tuple[str, ...]] = {
    "areas": ("网格", "社区", "街道", "区域", "微网格", "村", "镇街", "街办", "行政区", "area", "grid", "community", "street"),
    "compounds": ("小区", "院落", "楼盘", "compound"),
    "entrances": ("出入口", "大门", "entrance"),
    "buildings": ("楼栋", "楼", "楼宇", "建筑", "建筑物", "幢", "building", "bldg"),
    "units": ("单元", "楼道", "unit"),
    "dwellings": ("房屋", "房间", "户室", "房产", "dwelling", "room"),
    "activations": ("响应", "应急响应", "activation"),
    "households": ("住户", "户", "家庭", "household"),
    "residents": ("居民", "人员", "resident"),
    "land_parcels": ("地块", "宗地", "parcel"),
    "roads": ("道路", "road"),
    "facilities": ("设施", "场所", "机构", "facility", "poi"),
    "parts": ("部件", "管理部件", "part"),
    "organisations": ("组织", "单位", "企业", "商铺", "机构", "organisation", "organization", "company"),
    "posts": ("岗位", "post"),
    "duty_items": ("责任清单", "清单", "事项清单", "duty", "duty_item"),
    "incidents": ("事件", "案件", "案卷", "工单", "问题", "诉求", "incident", "case"),
    "zones": ("区域", "管控区域", "管控区", "zone"),
    "checkpoints": ("卡口", "检查点", "checkpoint"),
}

# What follows the noun, by the field of ours that it then is.
TAILS: dict[str, tuple[str, ...]] = {
    "name": ("名称", "名", "name", "title"),
    "title": ("名称", "标题", "名", "title", "name"),
    "code": ("编码", "代码", "编号", "标识码", "code", "id", "no", "number"),
    "number": ("编号", "编码", "号", "id", "no", "number"),
    "kind": ("类型", "类别", "种类", "分类", "type", "kind", "category"),
    "state": ("状态", "state", "status"),
    "status": ("状态", "state", "status"),
    "address": ("地址", "位置", "address"),
    "level": ("层级", "级别", "level"),
    "use": ("用途", "use", "usage"),
}
# What follows the noun that a row refers to, and what may go before it.
REFERRING = ("", "编码", "代码", "编号", "名称", "号", "id", "code", "name")
BELONGING = ("所属", "所在", "隶属", "归属")
# What may stand before any heading and says nothing of its own.
BEFORE = ("是否", "是否为", "有无", "所在", "所属", "本", "现")

# Further headings of a field: of one resource, or whatever resource has it.
HEADS: dict[str, tuple[str, ...]] = {
    "areas.code": ("行政区划代码", "行政区划编码", "xzqhdm", "xzqhbm", "admincode", "adcode", "adm_code", "geocode"),
    "areas.name": ("行政区划名称", "辖区名称", "xzqhmc"),
    "incidents.title": ("事件", "诉求", "问题", "descriptor", "complaint"),
    "incidents.number": ("unique_key", "service_request_id", "case_id", "受理编号", "流水号"),
    "incidents.matter": ("complaint_type", "诉求类型", "问题类型", "案件类型", "大类", "小类", "service_name"),
    "facilities.kind": ("tag", "typecode", "poi类型"),
    "name": ("名字", "全称", "name_zh", "name_cn", "cname", "label"),
    "title": ("主题", "诉求标题", "subject"),
    "code": ("代码", "编号", "唯一编码", "标识码"),
    "address": ("标准地址", "详细地址", "具体地址", "所在地址", "坐落", "位置", "addr", "location"),
    "floors": ("楼层数", "总层数", "地上层数", "storeys", "levels", "num_floors", "building_levels"),
    "floor": ("所在楼层", "层"),
    "built_year": ("建成年代", "建造年份", "建设年代", "建成年", "竣工年份", "year_built", "yearbuilt", "construction_year"),
    "households": ("居民户数", "住户数", "户口数", "num_households"),
    "residents": ("居民人数", "常住人口", "总人口", "人口", "population"),
    "non_local": ("流动人口", "外来人口", "非户籍人口"),
    "kind": ("种类", "分类", "category", "type", "class"),
    "state": ("当前状态", "处理状态", "status"),
    "status": ("当前状态", "运行状态", "state"),
    "area_m2": ("建筑面积", "房屋面积", "套内面积"),
    "capacity": ("容纳人数", "规模"),
    "hours": ("服务时间", "开放时段", "opening_hours"),
    "property_company": ("物业公司名称", "物业服务企业", "物业单位"),
    "owners_committee": ("业主委员会", "有无业委会", "是否有业委会", "是否成立业委会"),
    "rental_share": ("出租率", "出租比例", "租赁占比"),
    "phone": ("手机号", "手机号码", "电话号码", "联系方式", "mobile", "tel", "telephone"),
    "contact": ("联络人",),
    "contact_phone": ("联系电话", "联系方式", "联系人手机号", "手机号"),
    "help_phone": ("求助热线", "咨询电话"),
    "holder": ("责任人姓名", "负责人"),
    "members": ("组成楼栋", "所含楼栋", "楼栋清单", "覆盖楼栋"),
    "parent": ("上级名称", "上级区域", "上级网格", "所属街道名称", "所属社区名称", "所属社区编码", "所属街道编码", "parent_code", "parent_id"),
    "stated_area": ("所属网格编码", "所属网格名称", "所在网格", "所属社区名称", "所属社区编码", "所在社区"),
    "valid_from": ("启用日期", "启用时间", "生效日期"),
    "valid_to": ("停用日期", "停用时间", "失效日期"),
    "verified_at": ("核实日期", "最近核实时间"),
    "occurred_at": ("发生日期", "事发时间", "案发时间", "created_at", "created_date", "requested_datetime"),
    "reported_at": ("上报日期", "受理日期", "登记时间", "反映时间", "来电时间"),
    "closed_at": ("办结时间", "结案日期", "办结日期", "closed_date"),
    "due_at": ("办结时限", "处置时限"),
    "description": ("事件描述", "详细描述", "诉求内容", "具体内容", "content", "details"),
    "handler": ("处置部门", "承办部门", "责任部门", "办理单位"),
    "reporter_phone": ("上报人手机", "来电人电话"),
    "measures": ("防控措施", "具体措施"),
    "legal_basis": ("法律依据",),
    "starts_at": ("起始日期", "开始日期", "start_time", "start_date"),
    "ends_at": ("截止日期", "结束日期", "结束时间", "end_time", "end_date"),
    "planned_end": ("计划解除时间", "预计解除时间", "结束时间"),
    "remark": ("说明", "note", "remarks"),
    "staff": ("值守人员数", "人员数"),
    "size": ("家庭人数", "人口数"),
    "age_band": ("年龄段分组",),
    "owner": ("权属", "权利人单位"),
    "department": ("主管单位",),
    "maintainer": ("维护单位", "管养单位"),
    "data_source": ("来源", "source"),
    "precision": ("定位精度等级", "位置精度"),
}

# A heading that names a level: of areas their name where nothing else is, else the area that a row says it is in; the
# finest there is, so these are in that order.
LEVELLED = ("微网格", "网格", "社区", "村", "村社区", "街道", "镇街", "街办", "乡镇", "cunshe", "zhenjie")

# What a file or layer called so says of every row of it: by the field, a word and the value, which is a title or a code.
GIVEN: dict[str, tuple[tuple[str, str], ...]] = {
    "areas.level": (
        ("微网格", "micro_grid"), ("微格", "micro_grid"), ("网格", "grid"), ("grid", "grid"), ("社区", "community"), ("村界", "community"), ("communit", "community"),
        ("街道", "street"), ("镇街", "street"), ("街办", "street"), ("street", "street"), ("区县", "district"), ("district", "district"),
    ),
    "incidents.channel": (
        ("综合执法", "enforcement"), ("执法", "enforcement"), ("巡查", "patrol"), ("12345", "public"), ("热线", "public"), ("举报", "public"), ("投诉", "public"),
        ("感知", "sensor"), ("烟感", "sensor"), ("sensor", "sensor"),
    ),
    "facilities.kind": tuple((word, word) for word in ("医院", "卫生服务站", "学校", "避灾点", "活动室", "药店", "超市")),
    "parts.kind": tuple((word, word) for word in ("井盖", "路灯", "消火栓", "果皮箱", "公共厕所", "行道树", "花坛", "健身器材")),
}

# Values. What people tick, in the text that the database reads.
BOOLEANS = {
    **dict.fromkeys(
        ("是", "有", "true", "t", "1", "1.0", "y", "yes", "on", "√", "✓", "✔", "☑", "真", "对", "是的", "已值守", "有值守", "已成立", "成立"), "true"
    ),
    **dict.fromkeys(
        ("否", "无", "false", "f", "0", "0.0", "n", "no", "off", "×", "✗", "✘", "☐", "假", "错", "不是", "没有", "未值守", "无值守", "未成立"), "false"
    ),
}
# What geocoders, older lists and habit call our codes: field → spelling → code; a field of one resource alone goes first.
SYNONYMS: dict[str, dict[str, str]] = {
    "precision": {"ok": "exact", "poi": "exact", "district": "region", "city": "region", "门址": "building", "道路": "street"},
    "level": {
        "镇街": "street", "街办": "street", "镇": "street", "乡": "street", "乡镇": "street", "街镇": "street", "村": "community", "居委": "community",
        "居委会": "community", "村委会": "community", "行政村": "community", "区": "district", "县": "district", "市辖区": "district", "基础网格": "grid",
        "单元网格": "grid", "微格": "micro_grid",
    },
    "areas.kind": {"普通网格": "base", "专属": "special", "行政区划": "division", "行政区": "division", "行政村": "village", "居委会": "residents"},
    "buildings.use": {
        "居住": "residential", "住宅楼": "residential", "居民楼": "residential", "民房": "residential", "商住楼": "mixed", "商住两用": "mixed",
        "综合": "mixed", "写字楼": "office", "商铺": "commercial", "商场": "commercial", "厂房": "industrial", "仓库": "industrial",
        "公建": "public", "学校": "public", "集体宿舍": "dormitory",
    },
    "dwellings.use": {"自用": "owned", "自有": "owned", "自有自住": "owned", "租赁": "rented", "出租房": "rented", "租住": "rented", "空关": "vacant", "闲置": "vacant", "空房": "vacant"},
    "residence_type": {"本地": "registered", "常住": "registered", "户籍人口": "registered", "流动人口": "non_local", "外来": "non_local", "非户籍": "non_local", "人户分离": "away"},
    "incidents.state": {
        "已受理": "accepted", "待处理": "accepted", "已派遣": "dispatched", "派遣": "dispatched", "派单": "dispatched", "已派单": "dispatched",
        "处理中": "handling", "办理中": "handling", "处置中": "handling", "已办结": "closed", "办结": "closed", "已结案": "closed", "已完成": "closed",
        "完成": "closed", "已反馈": "feedback", "回访": "feedback", "open": "accepted", "resolved": "closed",
    },
    "channel": {
        "执法": "enforcement", "城管执法": "enforcement", "巡查": "patrol", "网格员上报": "patrol", "日常巡查": "patrol", "热线": "public",
        "12345": "public", "12345热线": "public", "居民上报": "public", "投诉举报": "public", "感知": "sensor", "设备": "sensor", "物联感知": "sensor",
    },
    "facilities.status": {"正常": "open", "营业": "open", "在用": "open", "启用": "open", "停用": "closed", "停业": "closed", "关停": "closed", "待用": "standby"},
    "parts.state": {"正常": "intact", "良好": "intact", "损坏": "damaged", "破损缺失": "damaged", "缺失": "lost", "遗失": "lost", "报废": "abandoned", "已移除": "removed", "拆除": "removed"},
    "zones.state": {"已生效": "active", "执行中": "active", "管控中": "active", "已解除": "lifted", "解封": "lifted"},
    "grade": {"普通": "general", "轻微": "general", "严重": "major"},
    "shift": {"白": "day", "日班": "day", "夜": "night", "24小时": "always", "全天候": "always"},
    "management_mode": {"常规": "normal", "托管小区": "entrusted", "三无": "unmanaged", "无物业": "unmanaged", "拆迁": "demolition"},
    "activations.level": {
        "1": "i", "2": "ii", "3": "iii", "4": "iv", "一级": "i", "二级": "ii", "三级": "iii", "四级": "iv", "i级": "i", "ii级": "ii", "iii级": "iii", "iv级": "iv",
    },
    "roads.kind": {"主路": "trunk", "干道": "trunk", "主干路": "trunk", "次干道": "street", "支路": "street", "小巷": "lane", "弄": "lane", "铁道": "railway"},
    "entrances.kind": {"人行门": "pedestrian", "步行": "pedestrian", "车行门": "vehicle", "机动车": "vehicle", "人车混行": "both", "消防": "emergency", "应急": "emergency"},
    "posts.role": {"网格员(兼职)": "grid_worker", "专职网格员": "grid_worker", "楼长": "steward", "楼栋长": "steward", "民警": "police", "片警": "police", "社区书记": "community_leader"},
}
# Ends that add nothing to a title: 住宅类 is 住宅, 在办的 is 在办.
ENDINGS = ("的", "类", "型", "类型", "状态", "用房", "用地", "楼", "级", "中", "性质", "情况")

# What may be glued to a number, by what the field counts.
COUNTING: dict[str, tuple[str, ...]] = {
    "floors": ("层", "楼", "层楼", "f", "层高"),
    "floor": ("层", "楼", "f"),
    "households": ("户", "家", "户人家"),
    "dwellings": ("户", "室", "套", "间", "户室"),
    "residents": ("人", "口", "名", "口人"),
    "non_local": ("人", "口", "名"),
    "size": ("人", "口", "口人"),
    "members": ("人", "名", "位"),
    "staff": ("人", "名", "位"),
    "capacity": ("人", "张", "张床", "张床位", "床", "个", "名", "位"),
    "returns": ("次", "回"),
    "built_year": ("年", "年建", "年建成", "年代"),
}
# How many of the field's own unit one of another makes; compatibility characters as NFKC writes them (㎡ is m2).
MEASURES: dict[str, dict[str, float]] = {
    "m²": {
        "m2": 1, "平方米": 1, "平米": 1, "平": 1, "平方": 1, "sqm": 1, "亩": 2000 / 3, "公顷": 10_000, "ha": 10_000,
        "km2": 1e6, "平方公里": 1e6,
    },
    "m": {"m": 1, "米": 1, "公尺": 1, "km": 1000, "千米": 1000, "公里": 1000, "cm": 0.01, "厘米": 0.01, "mm": 0.001, "毫米": 0.001},
}
# Words behind a heading that only say what is counted.
UNITS = (
    "m2", "平方米", "平米", "亩", "公顷", "米", "m", "km", "公里", "个", "户", "人", "层", "栋", "幢", "套", "间", "年", "元", "%", "岁", "次", "张", "名", "处", "条",
)
