"""How cases went: each indicator with numerator and denominator, the definition it follows, and the moment up to which it was counted.

Formulas as cities publish them (`docs/reference/indicators.md` says which). A denominator of nothing gives nothing, neither 0 % nor
100 %; one below `FEW` is marked. Areas, bodies, matters and channels are compared, never persons.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from geo.errors import Invalid
from geo.statements import run

VERSION = 2  # of the definitions: a number made under another is not compared with one of this
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
        Indicator("verifying_in_time", "按时核实率", "verify_in_time", ("verify_due",), "期内到期的核实中按时核实数 ÷ 期内到期的核实数"),
        Indicator("checking_in_time", "按时核查率", "check_in_time", ("check_due",), "期内到期的核查中按时核查数 ÷ 期内到期的核查数"),
        Indicator("duplicates", "重复案件率", "duplicates", ("reported",), "并入别的事件的数 ÷ 期内上报数"),
        Indicator("satisfaction", "满意率", "satisfied", ("rated",), "评价 4 分及以上数 ÷ 评价数"),
        Indicator("forcing", "强制结案率", "forced", ("ended",), "强制结案数 ÷ 期内办结数"),
    )
}


class Share:
    """A part of what was counted."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; None where the denominator is nothing."""
        return self.numerator / self.denominator if self.denominator else None

    @property
    def few(self) -> bool:
        """Whether so little was counted that one case more would change it much."""
        return 0 < self.denominator < FEW


@dataclass(frozen=True)
class Rate(Share):
    """A counted indicator."""

    indicator: Indicator
    numerator: int
    denominator: int


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


# Whose clock it is: of each stage the post that is to see it through, and under which counts. Of posts only, whoever holds one.
POSTS: tuple[tuple[str, str, str], ...] = (
    ("受理员:受理", "accept_in_time", "accept_due"), ("网格员:核实", "verify_in_time", "verify_due"), ("派遣员:派遣", "dispatch_in_time", "dispatch_due"),
    ("主办:处置", "closed_in_time", "should_close"), ("核查员:核查", "check_in_time", "check_due"), ("受理员:结案", "close_in_time", "close_due"),
    ("受理员:反馈", "feedback_in_time", "feedback_due"),
)


@dataclass(frozen=True)
class Post(Share):
    """A post: of the clocks of its stage that were due in a period those that ended in time."""

    title: str
    numerator: int
    denominator: int


def posts(row: Row) -> list[Post]:
    """How the posts kept their time, in the order of the stages."""
    return [Post(title, row.counts[in_time], row.counts[due]) for title, in_time, due in POSTS]


def summed(rows: Sequence[Row]) -> Row | None:
    """All rows of an axis as one: every case is counted in one of them. None of none."""
    if not rows:
        return None
    return _row({"key": "", "name": ""} | {name: sum(row.counts[name] for row in rows) for name in rows[0].counts if name != "undisputed"})


@dataclass(frozen=True)
class Load:
    """What stands beside the rates of an area: people who live there, workers in its grids, cases open now."""

    residents: int
    workers: int
    open: int

    @property
    def each(self) -> float | None:
        """Open cases for each worker; None where nobody works."""
        return self.open / self.workers if self.workers else None


def load(connection: sa.Connection, paths: Sequence[str]) -> dict[str, Load]:
    """Of areas that the caller answers for what stands beside their rates, by path."""
    rows = run(connection, "indicator_load", paths=list(paths))
    return {row.path: Load(row.residents, row.workers, row.open) for row in rows}


HEADS = ("对象", "指标", "分子", "分母", "数值", "分母过小", "定义", "常住人口", "网格员", "人均在办")


def table(rows: Sequence[Row], beside: Mapping[str, Load], say: Callable[[str], str]) -> Iterator[list[object]]:
    """The rates as lines of a sheet, their heads first: a line for each area (body, matter, channel) and indicator; then the stock."""
    yield [say(head) for head in HEADS]
    for row in rows:
        own = beside.get(row.key)
        told: list[object] = [own.residents, own.workers, None if own.each is None else round(own.each, 1)] if own else [None, None, None]
        name = row.name or say("未归到任何一个")
        for rate in row.rates:
            value = None if rate.value is None else round(rate.value, 4)
            yield [name, say(rate.indicator.title), rate.numerator, rate.denominator, value, say("是") if rate.few else "", say(rate.indicator.about), *told]
        for code, title in STOCK.items():
            yield [name, say(title), row.stock[code], None, None, "", "", *told]


STOCK = {"stock": "存量", "increment": "增量", "flow": "流量", "change": "变量"}


def _row(row: Mapping[str, Any]) -> Row:
    counts = {name: int(value) for name, value in row.items() if name not in ("key", "name")}
    counts["undisputed"] = max(0, counts["dispatches"] - counts["returns"])
    rates = tuple(Rate(i, counts[i.count], sum(counts[name] for name in i.of)) for i in INDICATORS.values())
    return Row(row["key"], row["name"] or "", rates, counts)
