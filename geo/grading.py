"""How much attention an area asks for, as data: the facts that count, the thresholds, and how far is too far.

A grade is the highest that any one fact reaches: no sum, no weight, so that the fact and its threshold are the whole of the reason.
A fact is of the place and of the work: nothing of anybody's origin, tenancy, residence, age or health is among them, and a test
holds the statement that counts them to that. Too far is as GB 50180-2018 walks it: fifteen minutes 1,000 m, ten 500 m, five 300 m.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.resource import Choice
from geo.tables import metadata

VERSION = 1  # of the thresholds: a grade made by others is not compared with one by these
GRADES = tuple(Choice(str(at), title) for at, title in enumerate(("无", "低", "一般", "较大", "重大")))
GRADED = ("street", "community", "grid")

Thresholds = tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True)
class Factor:
    """A fact that counts: what it is called, what exactly is counted, and from how many on an area has grade 1, 2, 3, 4."""

    code: str
    title: str
    about: str
    grid: Thresholds
    community: Thresholds
    street: Thresholds


FACTORS: dict[str, Factor] = {
    factor.code: factor
    for factor in (
        Factor("late", "超时事件", "超过应结时间还没有结案的事件,件", (1, 2, 3, 5), (1, 4, 8, 15), (3, 12, 24, 48)),
        Factor("pressing", "紧急重大事件", "在办的紧急、重大或督办事件,件", (None, 1, 2, 3), (None, 1, 3, 6), (None, 3, 6, 12)),
        Factor("waiting", "上报未受理", "上报两小时以上还没有受理的事件,件", (1, 2, 4, 8), (1, 4, 8, 16), (2, 8, 16, 32)),
        Factor("repeated", "同类反复", "30 天内同一事项上报最多的那一项,件", (4, 6, 9, None), (12, 20, 30, None), (60, 100, None, None)),
        Factor("zones", "生效管控区域", "生效的管控区域,演练不算,个", (None, 1, 2, None), (None, 2, 4, None), (None, 4, 8, None)),
        Factor("zones_due", "管控到期未审", "过了计划结束时间还没有解除或延长的管控区域,个", (None, None, 1, 2), (None, None, 1, 2), (None, None, 1, 4)),
        Factor("unowned", "无人负责", "网格没有网格长也没有网格员、或楼栋不在任何网格的住户,户", (1, 20, 80, 200), (1, 20, 100, 300), (10, 60, 300, 1000)),
        Factor("silent", "没有上报", "近 24 小时没有巡查上报也没有办理记录的网格,个", (1, None, None, None), (3, 6, None, None), (12, 30, None, None)),
    )
}


@dataclass(frozen=True)
class Service:
    """What should be within reach: kinds of facilities, and how many metres as the crow flies from the middle of a grid."""

    code: str
    title: str
    kinds: tuple[str, ...]
    metres: int


SERVICES: dict[str, Service] = {
    service.code: service
    for service in (
        Service("medical", "看病", ("clinic", "hospital", "fever_clinic"), 1000),
        Service("shelter", "避灾", ("shelter", "assembly_point"), 1000),
        Service("market", "买菜", ("market",), 1000),
        Service("daily", "日常用品", ("shop", "market", "supply_point"), 300),
    )
}

ATTENTION_STEPS = sa.Table(
    "attention_steps",
    metadata,
    sa.Column("factor", sa.Text, primary_key=True),
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("grade", sa.SmallInteger, primary_key=True),
    sa.Column("at_least", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.CheckConstraint("grade BETWEEN 1 AND 4 AND at_least > 0", name="grade"),
    comment="关注等级的阈值:哪一项事实到多少是哪一级。由声明写入。",
)

SITING_RULES = sa.Table(
    "siting_rules",
    metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("kinds", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("metres", sa.Integer, nullable=False),
    sa.CheckConstraint("metres > 0 AND cardinality(kinds) > 0", name="reach"),
    comment="服务设施应当在多远以内。由声明写入。",
)


def steps() -> list[dict[str, Any]]:
    """The thresholds as rows."""
    return list(_steps())


def siting() -> list[dict[str, Any]]:
    """The services as rows."""
    return [{"service": s.code, "kinds": list(s.kinds), "metres": s.metres} for s in SERVICES.values()]


def _steps() -> Iterator[dict[str, Any]]:
    for factor in FACTORS.values():
        for level in GRADED:
            for grade, at_least in enumerate(getattr(factor, level), 1):
                if at_least is not None:
                    yield {"factor": factor.code, "level": level, "grade": grade, "at_least": at_least, "version": VERSION}
