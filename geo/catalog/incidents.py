"""What was reported, and how far it has got.  事"""

from datetime import datetime
from uuid import UUID

from geo.catalog.workflow import STAGES, STATES
from geo.resource import Audience, Choice, Field, Keeping, Place, Resource, Rule, Style, choices

CALLED_BACK = Keeping("回访", "consent", 180, since="closed_at")

# What is told of a state: the stage that it is part of, and whether anybody still has to do with it.
STAGE = "CASE " + " ".join(
    f"WHEN state IN ({', '.join(repr(s.code) for s in STATES.values() if s.stage == stage.code)}) THEN '{stage.code}'" for stage in STAGES
) + " END"
OPEN = f"state NOT IN ('closed', {', '.join(repr(s.code) for s in STATES.values() if s.over)})"

INCIDENTS = Resource(
    "incidents",
    "事件",
    "一件上报的事:从四个渠道之一来,受理、分流、处置、结案、反馈。",
    fields=(
        Field("title", str, "标题", required=True, aliases=("事件标题", "事件名称", "BT", "内容")),
        Field("number", str, "编号", longest=40, aliases=("案卷号", "工单编号", "事件编号", "ticket", "BH")),
        Field("matter", str, "事项", listed="matters", aliases=("事件类型", "事项代码", "SXDM", "matter_code")),
        Field(
            "channel", str, "来源", required=True, aliases=("渠道", "LY", "事件来源"),
            choices=choices(enforcement="综合执法", patrol="网格巡查", public="群众举报", superior="上级布置", sensor="智能感知"),
        ),
        Field("sub_source", str, "来源细分", longest=40, aliases=("来源细类", "LYXL")),
        Field(
            "state", str, "状态", moved=True, choices=tuple(Choice(s.code, s.title) for s in STATES.values()), default="reported",
            aliases=("ZT", "案卷状态"),
        ),
        Field("stage", str, "环节", derived=STAGE, choices=STAGES),
        Field(
            "grade", str, "分级", moved=True, default="general", aliases=("DJ", "等级"),
            choices=choices(general="一般", larger="较大", major="重大"),
        ),
        Field("address", str, "位置描述", longest=256, audience=Audience.WORKER, aliases=("SFWZ", "地址", "事发位置", "address_text")),
        Field("description", str, "说明", longest=4000, audience=Audience.WORKER, aliases=("SM", "问题描述")),
        Field("occurred_at", datetime, "发生时间", aliases=("FSSJ", "date", "日期")),
        Field("reported_at", datetime, "上报时间", aliases=("SBSJ", "受理时间")),
        Field("due_at", datetime, "应结时间", moved=True, aliases=("YJSJ", "截止时间")),
        # By whoever sent it here, such as the hotline; the clocks of the stages know nothing of it, and leave it alone.
        Field("promised_at", datetime, "答复期限", moved=True, aliases=("办理时限", "要求办结时间", "热线时限", "DFQX")),
        Field("closed_at", datetime, "结案时间", moved=True, aliases=("JASJ",)),
        Field("returns", int, "退回次数", moved=True, minimum=0, default=0, aliases=("THCS",)),
        Field("handler", str, "处置单位", moved=True, aliases=("CZDW", "承办单位")),
        Field("lead", UUID, "主办单位", moved=True, refers="organisations", aliases=("ZBDW",)),
        Field("lead_area", str, "主办区域", moved=True, refers="area_paths", aliases=("ZBQY",)),
        Field("against", UUID, "被反映单位", refers="organisations", audience=Audience.WORKER),
        Field("duplicate_of", UUID, "并入", moved=True, refers="incidents"),
        Field("parent", UUID, "拆自", moved=True, refers="incidents"),
        Field("urgent", bool, "紧急", default=False, aliases=("JJ",)),
        Field("supervised", bool, "督办", moved=True, default=False),
        Field("forced", bool, "强制结案", moved=True, default=False),
        Field("suspended_until", datetime, "挂账至", moved=True),
        Field("rating", int, "满意度", moved=True, minimum=1, maximum=5, audience=Audience.WORKER),
        Field(
            "reporter_phone", str, "上报人电话", secret=True, audience=Audience.WORKER, keeping=CALLED_BACK,
            aliases=("联系电话", "SBRDH", "来电号码"),
        ),
        Field("exercise", bool, "演练", default=False, aliases=("YL",)),
        Field("open", bool, "在办", derived=OPEN),
        Field("overdue", bool, "超时", derived=f"least(due_at, promised_at) < now() AND {OPEN}"),
    ),
    element="事",
    label="title",
    geometry="POINT",
    geometry_required=False,
    place=Place.POINT,
    moment="occurred_at",
    coarse="grid",
    tallied=(
        ("open", f"({OPEN})::integer"),
        ("open_located", f"({OPEN} AND precision <> 'region')::integer"),
    ),
    drawn_rows="state NOT IN ('rejected', 'cancelled', 'merged')",
    category="matter",
    led="lead",
    owned=True,
    key=("number",),
    rules=(
        Rule("order", "closed_at IS NULL OR reported_at IS NULL OR closed_at >= reported_at", "结案时间不能早于上报时间。"),
        Rule("impartial", "lead IS NULL OR against IS NULL OR lead <> against", "反映一个单位的事件,不能由这个单位主办。"),
        Rule("one_lead", "num_nonnulls(lead, lead_area) <= 1", "主办单位和主办区域只能有一个。"),
    ),
    style=Style(
        by="stage", zooms=(12, 21), order=60,
        palette=(("accept", "#0B5FA5"), ("dispatch", "#0B5FA5"), ("handle", "#8A5A00"), ("close", "#1B6E53"), ("feedback", "#6A3D9A")),
        shapes=(("accept", "circle"), ("dispatch", "diamond"), ("handle", "triangle"), ("close", "square"), ("feedback", "cross")),
    ),
    indexes=(("state",), ("reported_at",), ("closed_at",)),
)
