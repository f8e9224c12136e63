"""The thematic sheets of the map, each declared once: what it is for, who sees it, which layers are on.

A sheet comes with its nouns. Beside the nouns there are overlays, which say of areas how they stand: they are no tiles but a small list,
so that they are drawn anew without fetching ground again. An address names a sheet and, where somebody chose otherwise, the layers.
"""

from dataclasses import dataclass
from typing import Any

from geo.resource import Audience

# Darker from grade to grade, and told apart by who cannot tell red from green; the word always stands beside it.
GRADE_COLORS = ("#FFFFFF", "#FFD56B", "#F08A2C", "#C23B22", "#5B0F1E")


@dataclass(frozen=True)
class Overlay:
    """What is drawn of areas beside their outline. `pattern` is a form, so that it is seen in a grey print."""

    code: str
    title: str
    about: str
    audience: Audience
    color: str = ""
    pattern: str = ""  # cross, dots


OVERLAYS: dict[str, Overlay] = {
    overlay.code: overlay
    for overlay in (
        Overlay("attention", "关注等级", "由事实和阈值得出，每一级都说明理由", Audience.WORKER),
        Overlay("counts", "在办件数", "圆的都在时限内，方的有超时", Audience.PUBLIC),
        Overlay("unowned", "真空地带", "没有登记责任人的区域", Audience.WORKER, "#46525F", "cross"),
        Overlay("far", "服务盲区", "离最近的设施超过应有的距离", Audience.WORKER, "#6A3D9A", "dots"),
    )
}


@dataclass(frozen=True)
class Sheet:
    """One sheet: the least audience it is for, the nouns and the overlays that are on."""

    code: str
    title: str
    about: str
    audience: Audience
    layers: tuple[str, ...]
    overlays: tuple[str, ...]


SHEETS: dict[str, Sheet] = {
    sheet.code: sheet
    for sheet in (
        Sheet(
            "leader", "总览", "哪里要关注，为什么", Audience.WORKER,
            ("areas", "zones", "buildings", "roads", "land_parcels", "incidents"), ("attention", "counts"),
        ),
        Sheet(
            "command", "指挥", "管控区域、卡口、事件和设施", Audience.WORKER,
            ("areas", "zones", "checkpoints", "facilities", "buildings", "roads", "land_parcels", "compounds", "incidents"), ("counts",),
        ),
        Sheet(
            "coverage", "覆盖", "哪里没有人负责，哪里离设施太远", Audience.WORKER,
            ("areas", "facilities", "buildings", "roads", "land_parcels"), ("unowned", "far"),
        ),
        Sheet(
            "public", "公众", "对外公开的内容", Audience.PUBLIC,
            ("areas", "zones", "checkpoints", "facilities", "buildings", "roads", "land_parcels", "compounds", "incidents"), ("counts",),
        ),
    )
}


def offered(audience: Audience) -> tuple[Sheet, ...]:
    """The sheets for an audience, the one that it opens with first."""
    return tuple(sheet for sheet in SHEETS.values() if sheet.audience <= audience)


def overlays(audience: Audience) -> tuple[Overlay, ...]:
    """The overlays that an audience may be drawn."""
    return tuple(overlay for overlay in OVERLAYS.values() if overlay.audience <= audience)


def looks() -> dict[str, Any]:
    """How the overlays are drawn, as the map is told."""
    return {
        "grades": [None, *({"fill": color, "opacity": opacity} for color, opacity in zip(GRADE_COLORS[1:], (0.3, 0.4, 0.48, 0.56), strict=True))],
        **{code: {"pattern": overlay.pattern, "color": overlay.color} for code, overlay in OVERLAYS.items() if overlay.pattern},
    }
