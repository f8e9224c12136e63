"""How cases went: each indicator with numerator and denominator, the definition it follows, and the moment up to which it was counted.

Formulas as cities publish them (`docs/reference/indicators.md` says which). A denominator of nothing gives nothing, neither 0 % nor
100 %; one below `FEW` is marked. Areas, bodies, matters and channels are compared, never persons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from geo.errors import Invalid
from geo.statements import run

VERSION = 1  # of the definitions: a number made under another is not compared with one of this
FEW = 20
Axis = Literal["all", "street", "community", "grid", "body", "matter", "channel"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Indicator:
    """A rate: two counts and what they mean. `of` names the counts that the denominator is the sum of."""

    code: str
    title: str
    count: str
    of: tuple[str, ...]
    about: str


INDICATORS: dict[str, Indicator] = {
    indicator.code: indicator
    for indicator in (
        Indicator("filing", "立案率", "filed", ("reported",), "期内立案数 ÷ 期内上报数"),
        Indicator("closing", "结案率", "closed", ("should_close",), "应结案中已结案数 ÷ 期内应结案数(作废、不予受理、并入的不算)"),
        Indicator("closing_in_time", "按期结案率", "closed_in_time", ("should_close",), "应结案中按期结案数 ÷ 期内应结案数;申诉获准的超时算按期"),
        Indicator("urgent_closing", "紧急结案率", "urgent_closed", ("urgent_should_close",), "结案率,只算紧急的"),
        Indicator("urgent_closing_in_time", "紧急按期结案率", "urgent_closed_in_time", ("urgent_should_close",), "按期结案率,只算紧急的"),
        Indicator("right_dispatch", "准确派遣率", "undisputed", ("dispatches",), "未被退回的派遣数 ÷ 派遣数"),
        Indicator("rework", "返工率", "reworked", ("handled",), "核查不通过数 ÷ 处置完毕数"),
        Indicator("passing", "核查通过率", "passed", ("checked",), "核查通过数 ÷ 核查数"),
        Indicator("duplicates", "重复案件率", "duplicates", ("reported",), "并入别的事件的数 ÷ 期内上报数"),
        Indicator("satisfaction", "满意率", "satisfied", ("rated",), "评价 4 分及以上数 ÷ 评价数"),
        Indicator("forcing", "强制结案率", "forced", ("ended",), "强制结案数 ÷ 期内办结数"),
    )
}


@dataclass(frozen=True)
class Rate:
    """A counted indicator. `value` is None where the denominator is nothing."""

    indicator: Indicator
    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1."""
        return self.numerator / self.denominator if self.denominator else None

    @property
    def few(self) -> bool:
        """Whether so little was counted that one case more would change it much."""
        return 0 < self.denominator < FEW


@dataclass(frozen=True)
class Row:
    """One area, body, matter or channel: its rates; and stock before, new, ended, stock after, which add up."""

    key: str
    name: str
    rates: tuple[Rate, ...]
    counts: Mapping[str, int]

    @property
    def stock(self) -> dict[str, int]:
        """存量、增量、流量、变量: what was open at the end, what came, what was ended, and by how much the stock changed."""
        return {
            "stock": self.counts["open_after"], "increment": self.counts["reported"], "flow": self.counts["ended"],
            "change": self.counts["open_after"] - self.counts["opened_before"],
        }


def counted(connection: sa.Connection, path: str, since: datetime, until: datetime, axis: Axis = "all") -> list[Row]:
    """The indicators of an area for a period, half-open, by an axis. Raises `Invalid` for a period that is none; of an area that is not
    the caller's nothing is told."""
    if not since < until:
        raise Invalid("结束时间须晚于开始时间。", field="until")
    rows = run(connection, "indicator_counts", path=path, since=since, until=until, axis=axis).mappings()
    return [_row(dict(row)) for row in rows]


def _row(row: Mapping[str, Any]) -> Row:
    counts = {name: int(value) for name, value in row.items() if name not in ("key", "name")}
    counts["undisputed"] = max(0, counts["dispatches"] - counts["returns"])
    rates = tuple(Rate(i, counts[i.count], sum(counts[name] for name in i.of)) for i in INDICATORS.values())
    return Row(row["key"], row["name"] or "", rates, counts)
