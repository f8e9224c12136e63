"""Emergencies: what a plan is activated for, at which level, from when to when.  事

What is gathered about persons for an emergency may be used for it only and is destroyed after it
(突发事件应对法 2024 Art 84, 85). So whatever holds personal fields may belong to an activation (`resource.GATHERED`),
and ending that starts the clock of their destruction (`geo/retention.py`).
"""

from datetime import datetime

from geo.resource import Audience, Field, Resource, Rule, choices

ACTIVATIONS = Resource(
    "activations",
    "应急响应",
    "一次应急响应:为什么事、几级、从何时到何时、谁决定。终止之后,为它收集的个人信息经审查期后销毁。",
    fields=(
        Field("name", str, "名称", required=True, aliases=("MC", "响应名称")),
        Field("code", str, "编码", longest=40, aliases=("BM", "响应编号", "XYBM")),
        # The four kinds of Art 2.
        Field(
            "kind", str, "事件类别", required=True, aliases=("LB", "类别"),
            choices=choices(
                natural_disaster="自然灾害", accident="事故灾难", public_health="公共卫生事件", social_security="社会安全事件"
            ),
        ),
        Field("hazard", str, "灾种", longest=40, aliases=("ZZ",)),
        Field(
            "level", str, "响应级别", required=True, aliases=("JB", "级别"),
            choices=choices(i="Ⅰ级", ii="Ⅱ级", iii="Ⅲ级", iv="Ⅳ级"),
        ),
        Field("area", str, "响应区域", required=True, refers="area_paths", aliases=("区域编码", "XYQY")),
        Field("deciding_organ", str, "决定机关", required=True, aliases=("JDJG", "启动机关")),
        Field("document_number", str, "文号", longest=100, aliases=("WH",)),
        Field("opened_at", datetime, "启动时间", required=True, aliases=("QDSJ",)),
        Field("closed_at", datetime, "终止时间", aliases=("ZZSJ",)),
        Field("review_until", datetime, "审查期截止", writable=False),
        Field("closed_by", str, "终止经办", writable=False, audience=Audience.WORKER),
        Field("exercise", bool, "演练", default=False, aliases=("YL",)),
    ),
    element="事",
    key=("code",),
    written_by=Audience.LEADER,
    rules=(Rule("period", "closed_at IS NULL OR closed_at > opened_at", "终止时间须晚于启动时间。"),),
)
