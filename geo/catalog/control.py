"""Areas under measures, and the posts at their edges.

A zone is hazard-neutral: its kind is a row of `data/codes/zone_kinds.csv`. It says who decided, on what ground,
until when, and where to turn, or it stays a draft (突发事件应对法 2024 Art 64, 72; 传染病防治法 2025 Art 67).
"""

from datetime import datetime
from uuid import UUID

from geo.resource import Audience, Field, Place, Resource, Rule, Style, choices

ZONES = Resource(
    "zones",
    "管控区域",
    "采取措施的区域。没有依据、机关、文号、措施、起止时间、求助电话和申诉渠道的,只能是草稿。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("QYMC", "MC")),
        Field("code", str, "编码", longest=40, aliases=("QYBM",)),
        Field("kind", str, "类别", required=True, listed="zone_kinds", aliases=("LB", "类型", "QYLX")),
        Field(
            "state", str, "状态", default="draft", aliases=("ZT",),
            choices=choices(draft="草稿", active="生效", lifted="解除"),
        ),
        Field("legal_basis", str, "法定依据", longest=500, aliases=("YJ", "依据")),
        Field("deciding_organ", str, "决定机关", aliases=("JDJG", "发布机关")),
        Field("document_number", str, "文号", longest=100, aliases=("WH",)),
        Field("measures", str, "措施", longest=2000, aliases=("CS", "管控措施")),
        Field("starts_at", datetime, "开始时间", aliases=("KSSJ",)),
        Field("planned_end", datetime, "计划结束时间", aliases=("JHJSSJ", "截止时间")),
        Field("help_phone", str, "求助电话", longest=40, aliases=("QZDH",)),
        Field("appeal_channel", str, "申诉渠道", longest=500, aliases=("SSQD",)),
        Field("reason", str, "事由", longest=500, aliases=("SY",)),
        Field("alternative", str, "已考虑的较轻措施", longest=500, audience=Audience.WORKER),
        Field("boundary", str, "四至", longest=500, aliases=("SZ", "范围描述")),
        Field("lifted_at", datetime, "解除时间", aliases=("JCSJ",)),
        Field("exercise", bool, "演练", default=False, aliases=("YL",)),
        Field(
            "standing", str, "现况",
            derived="CASE WHEN state <> 'active' THEN state WHEN planned_end < now() THEN 'overdue_review'"
            " WHEN starts_at > now() THEN 'upcoming' ELSE 'active' END",
            choices=choices(draft="草稿", upcoming="未到时间", active="生效", overdue_review="逾期待审", lifted="解除"),
        ),
    ),
    element="事",
    geometry="MULTIPOLYGON",
    place=Place.SHARES,
    key=("code",),
    written_by=Audience.LEADER,
    public_rows="state <> 'draft'",
    drawn_rows="state = 'active'",
    rules=(
        Rule(
            "authority",
            "state = 'draft' OR num_nulls(legal_basis, deciding_organ, document_number, measures, starts_at, planned_end,"
            " help_phone, appeal_channel) = 0",
            "缺少法定依据、决定机关、文号、措施、起止时间、求助电话或申诉渠道,不能启用,只能存为草稿。",
        ),
        Rule("period", "planned_end IS NULL OR starts_at IS NULL OR planned_end > starts_at", "计划结束时间须晚于开始时间。"),
        Rule("lifted", "state <> 'lifted' OR lifted_at IS NOT NULL", "解除须写明解除时间。"),
    ),
    style=Style(
        color="#5B0F1E", by="kind", fill=0.12, zooms=(11, 21), order=50, named=12,
        shapes=(
            ("sealed", "hatch"), ("controlled", "outline"), ("precaution", "dash"), ("gas_alert", "hatch"),
            ("flood_transfer", "outline"), ("road_closure", "dash"), ("site", "hatch"), ("fire_evacuation", "outline"), ("hazmat", "hatch"), ("subsidence", "outline"),
            ("sea_wall_alert", "dash"), ("high", "hatch"), ("medium", "outline"), ("low", "dash"),
        ),
    ),
    indexes=(("state", "planned_end"),),
)

CHECKPOINTS = Resource(
    "checkpoints",
    "卡口",
    "有人值守、查验进出的地点。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("KKMC", "卡口名称", "MC")),
        Field("code", str, "编码", longest=40, aliases=("KKBM",)),
        Field("zone", UUID, "所属管控区域", refers="zones", aliases=("QYBM", "区域编码")),
        Field("entrance", UUID, "所在出入口", refers="entrances", aliases=("CRKBM",)),
        Field(
            "shift", str, "班次", default="day", aliases=("BC",),
            choices=choices(day="白班", night="夜班", always="全天"),
        ),
        Field("staff", int, "值守人数", minimum=0, maximum=1000, aliases=("ZSRS",)),
    ),
    element="物",
    geometry="POINT",
    place=Place.POINT,
    key=("code",),
    style=Style(color="#5B0F1E", zooms=(14, 21), order=55, named=16),
)
