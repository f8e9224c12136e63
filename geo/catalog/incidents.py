"""What was reported, and how far it has got.  事"""

from datetime import datetime
from uuid import UUID

from geo.resource import Audience, Field, Keeping, Place, Resource, Rule, Style, choices

CALLED_BACK = Keeping("回访", "consent", 180, since="closed_at")

STATES = choices(accepted="受理", dispatched="分流", handling="处置", closed="结案", feedback="反馈")

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
            choices=choices(enforcement="综合执法", patrol="网格巡查", public="群众举报", sensor="智能感知"),
        ),
        Field("sub_source", str, "来源细分", longest=40, aliases=("来源细类", "LYXL")),
        Field("state", str, "状态", choices=STATES, default="accepted", aliases=("ZT", "案卷状态")),
        Field(
            "grade", str, "分级", default="general", aliases=("DJ", "等级"),
            choices=choices(general="一般", larger="较大", major="重大"),
        ),
        Field("address", str, "位置描述", longest=256, audience=Audience.WORKER, aliases=("SFWZ", "地址", "事发位置", "address_text")),
        Field("description", str, "说明", longest=4000, audience=Audience.WORKER, aliases=("SM", "问题描述")),
        Field("occurred_at", datetime, "发生时间", aliases=("FSSJ", "date", "日期")),
        Field("reported_at", datetime, "上报时间", aliases=("SBSJ", "受理时间")),
        Field("due_at", datetime, "应结时间", aliases=("YJSJ", "截止时间")),
        Field("closed_at", datetime, "结案时间", aliases=("JASJ",)),
        Field("returns", int, "退回次数", minimum=0, default=0, aliases=("THCS",)),
        Field("handler", str, "处置单位", aliases=("CZDW", "承办单位")),
        Field("duplicate_of", UUID, "并入", refers="incidents"),
        Field(
            "reporter_phone", str, "上报人电话", secret=True, audience=Audience.WORKER, keeping=CALLED_BACK,
            aliases=("联系电话", "SBRDH", "来电号码"),
        ),
        Field("exercise", bool, "演练", default=False, aliases=("YL",)),
        Field("overdue", bool, "超时", derived="due_at < now() AND state NOT IN ('closed', 'feedback')"),
    ),
    element="事",
    label="title",
    geometry="POINT",
    geometry_required=False,
    place=Place.POINT,
    moment="occurred_at",
    coarse="grid",
    tallied=(
        ("open", "(state <> 'closed')::integer"),
        ("open_located", "(state <> 'closed' AND precision <> 'region')::integer"),
    ),
    category="matter",
    owned=True,
    key=("number",),
    rules=(Rule("order", "closed_at IS NULL OR reported_at IS NULL OR closed_at >= reported_at", "结案时间不能早于上报时间。"),),
    style=Style(
        by="state", zooms=(12, 21), order=60,
        palette=(
            ("accepted", "#0B5FA5"), ("dispatched", "#0B5FA5"), ("handling", "#8A5A00"), ("closed", "#1B6E53"), ("feedback", "#6A3D9A"),
        ),
        shapes=(
            ("accepted", "circle"), ("dispatched", "diamond"), ("handling", "triangle"), ("closed", "square"), ("feedback", "cross"),
        ),
    ),
    indexes=(("state",), ("reported_at",)),
)
