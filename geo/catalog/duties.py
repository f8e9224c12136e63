"""Who leads and who assists, by matter and place: the responsibility list (责任清单).

One line leads for a matter in an area at a time, and one more for what lies on somebody's premises; an exclusion
constraint holds it (`geo.casework`). A case is routed by the line in force when it was reported, so that an old case
routes the same way again. A line of admission (准入网格) says that a matter may be given to the grids of an area, on what basis and for
how long: where there is any, there is nothing else that may (网格事项准入).
"""

from datetime import datetime
from uuid import UUID

from geo.resource import Audience, Field, Resource, Rule, choices

DUTY_ITEMS = Resource(
    "duty_items",
    "责任清单",
    "一个事项在一个区域由谁主办、由谁协办,能不能派给网格,依据什么,从何时到何时。",
    fields=(
        Field("matter", str, "事项", required=True, listed="matters", aliases=("事项代码", "SXDM")),
        Field("area", str, "适用区域", required=True, refers="area_paths", aliases=("区域编码", "QYBM")),
        Field("part", str, "责任", default="lead", choices=choices(lead="主办", assist="协办", admit="准入网格"), aliases=("主办协办", "ZR")),
        Field(
            "by", str, "责任主体", required=True, aliases=("主体", "ZT"),
            choices=choices(
                owner="所在单位(物业)", organisation="指定单位", district="区县", street="街道", community="社区", grid="网格",
            ),
        ),
        Field("organisation", UUID, "单位", refers="organisations", aliases=("单位代码", "单位名称", "责任单位")),
        Field("duties", str, "职责", longest=1000, aliases=("具体职责", "ZZ")),
        Field("legal_basis", str, "依据", longest=500, aliases=("法定依据", "YJ")),
        Field("starts_at", datetime, "起始时间", required=True, aliases=("生效时间", "QSSJ")),
        Field("ends_at", datetime, "截止时间", aliases=("失效时间", "JZSJ")),
    ),
    element="组织",
    label="duties",
    written_by=Audience.LEADER,
    rules=(
        Rule("body", "by <> 'organisation' OR organisation IS NOT NULL", "责任主体是指定单位的,要写明单位。"),
        Rule("admission", "part <> 'admit' OR by = 'grid'", "准入的一条说的是网格:责任主体须是网格。"),
        Rule("period", "ends_at IS NULL OR ends_at > starts_at", "截止时间须晚于起始时间。"),
    ),
    indexes=(("matter",),),
)
