"""How a case goes from being reported to being answered: its states, and who may move it from where to where.

Data, seeded into `incident_states` and `incident_moves`; the log's foreign keys hold them. Two vocabularies side by side:
the stages are the five words of the source (受理、分流、处置、结案、反馈), the states those of the cities' own systems
(`GB/T` 案卷: 立案、派遣、核查 …), each in one stage.
"""

from dataclasses import dataclass
from typing import Literal

from geo.resource import choices

STAGES = choices(accept="受理", dispatch="分流", handle="处置", close="结案", feedback="反馈")
Stage = Literal["accept", "dispatch", "handle", "close", "feedback"]

# Beside the roles: who the case was given to, who reported it, and what nobody in person does (a load, a clock).
# And a body that was called to the place of it (吹哨).
LEAD, REPORTER, SYSTEM, CALLED = "lead", "reporter", "system", "called"


@dataclass(frozen=True)
class State:
    """Where a case stands. `stage` is None for what left the loop; `over`: nobody has anything left to do."""

    code: str
    title: str
    stage: Stage | None
    over: bool = False

    @property
    def settled(self) -> bool:
        """Whether nobody has to handle it any more, be it that whoever reported it still waits for an answer."""
        return self.over or self.code == "closed"


STATES: dict[str, State] = {
    state.code: state
    for state in (
        State("reported", "上报", "accept"),
        State("verifying", "核实中", "accept"),
        State("accepted", "受理", "accept"),
        State("filed", "立案", "accept"),
        State("dispatched", "分流", "dispatch"),
        State("returned", "退回", "dispatch"),
        State("disputed", "待裁定", "dispatch"),
        State("handling", "处置", "handle"),
        State("suspended", "挂账", "handle"),
        State("rework", "返工", "handle"),
        State("handled", "处置完毕", "handle"),
        State("checking", "核查中", "close"),
        State("checked", "待结案", "close"),
        State("closed", "结案", "close"),
        State("feedback", "反馈", "feedback", over=True),
        State("rejected", "不予受理", None, over=True),
        State("cancelled", "作废", None, over=True),
        State("merged", "并入", None, over=True),
    )
}
OPEN_STATES = [state.code for state in STATES.values() if not state.settled]


@dataclass(frozen=True)
class Move:
    """One step: what it is called, from which states, to which (None: it stays), and in which capacity somebody may take it.

    `reasoned`: an opinion has to be given.
    """

    action: str
    title: str
    sources: tuple[str, ...]
    target: str | None
    by: tuple[str, ...]
    reasoned: bool = False

    def __post_init__(self) -> None:
        if unknown := {*self.sources, *([self.target] if self.target else [])} - {"", *STATES}:
            raise ValueError(f"{self.action}: unknown states {unknown}")


DESK = ("acceptor", "community_leader", "street", "district")
HUB = ("dispatcher", "community_leader", "street", "district")
FIELD = ("checker", "grid_worker", "grid_leader", "community_leader")
STREET = ("street", "district")
# Between being filed and being checked: the case is somebody's.
UNDER_WAY = ("filed", "dispatched", "returned", "disputed", "handling", "suspended", "rework", "handled", "checking", "checked")
NEW = ("reported", "verifying", "accepted")
OPEN = (*NEW, *UNDER_WAY)
WORKED = ("dispatched", "returned", "disputed", "handling", "rework")
# Who is told at once of what is urgent, level by level; each may say that it was heard.
CHAIN = {
    "grid": ("grid_worker", "grid_leader"), "community": ("community_leader",), "street": ("street",), "district": ("district",),
}
# What a grade asks for before which steps (长河街道, 2020): of what is larger the street calls a meeting before it is given to anybody
# or settled; what is major is begun with at once, and not settled before the district was told.
GRADED = (
    ("larger", "convene", "dispatch"), ("larger", "convene", "handle"), ("major", "report_up", "handle"),
)
# The same steps of a task from above, in its own words: 布置→签收→分解→落实→反馈.
TASK_WORDS = {"assign": "布置", "start": "签收", "split": "分解", "handle": "落实", "answer": "反馈"}

MOVES: tuple[Move, ...] = (
    Move("report", "上报", ("",), "reported", (REPORTER, SYSTEM)),
    *(Move("load", "载入", ("",), state, (SYSTEM,)) for state in STATES),
    # Before it is filed: is it so?
    Move("ask_verification", "交核实", ("reported", "accepted"), "verifying", DESK),
    Move("verify", "核实属实", ("verifying",), "accepted", FIELD, reasoned=True),
    Move("refute", "核实不属实", ("verifying",), "reported", FIELD, reasoned=True),
    Move("accept", "受理", ("reported",), "accepted", DESK),
    Move("file", "立案", ("accepted",), "filed", ("acceptor", "community_leader")),
    Move("reject", "不予受理", ("reported", "accepted"), "rejected", DESK, reasoned=True),
    Move("cancel", "作废", ("reported",), "cancelled", (REPORTER, *DESK), reasoned=True),
    # Whose it is.
    Move("dispatch", "派遣", ("filed", "returned"), "dispatched", HUB),
    Move("rule", "裁定", ("returned", "disputed"), "dispatched", STREET, reasoned=True),
    Move("return", "退回", ("dispatched", "handling", "rework"), "returned", (LEAD,), reasoned=True),
    # "Not ours": no dead end, and not for whoever gave it out to give it out again.
    Move("dispute", "提请裁定", ("dispatched", "handling", "rework"), "disputed", (LEAD,), reasoned=True),
    Move("start", "接办", ("dispatched",), "handling", (LEAD,)),
    Move("handle", "处置完毕", ("handling", "rework"), "handled", (LEAD,), reasoned=True),
    Move("ask_extension", "申请延期", ("handling", "rework"), None, (LEAD,), reasoned=True),
    Move("extend", "同意延期", ("handling", "rework"), None, HUB, reasoned=True),
    Move("ask_suspension", "申请挂账", ("handling", "rework"), None, (LEAD,), reasoned=True),
    Move("suspend", "挂账", ("handling", "rework"), "suspended", HUB, reasoned=True),
    Move("resume", "恢复", ("suspended",), "handling", (SYSTEM, LEAD, *HUB)),
    Move("appeal", "申诉", UNDER_WAY, None, (LEAD,), reasoned=True),
    Move("exempt", "同意申诉", UNDER_WAY, None, STREET, reasoned=True),
    # Before it is closed: is it done? Not by whoever did it.
    Move("ask_check", "交核查", ("handled",), "checking", ("acceptor", *HUB)),
    Move("pass", "核查通过", ("handled", "checking"), "checked", FIELD, reasoned=True),
    Move("fail", "核查不通过", ("handled", "checking"), "rework", FIELD, reasoned=True),
    Move("close", "结案", ("checked",), "closed", ("acceptor",)),
    # The exception, told as such: asked for by one, decided by another.
    Move("ask_force", "申请强制结案", UNDER_WAY, None, (LEAD, "acceptor", "community_leader"), reasoned=True),
    Move("force", "强制结案", UNDER_WAY, "closed", STREET, reasoned=True),
    Move("answer", "反馈", ("closed",), "feedback", ("acceptor", "community_leader"), reasoned=True),
    Move("rate", "评价", ("feedback",), None, (REPORTER,)),
    Move("object", "异议", ("closed", "feedback"), "dispatched", (REPORTER,), reasoned=True),
    Move("reopen", "重开", ("closed", "feedback"), "dispatched", DESK, reasoned=True),
    # The same fact told twice is one case.
    Move("merge", "并案", (*NEW, *UNDER_WAY), "merged", ("acceptor", *HUB), reasoned=True),
    *(Move("unmerge", "撤销并案", ("merged",), state, ("acceptor", *HUB), reasoned=True) for state in OPEN),
    # In parts, each a case of its own with a lead of its own: the whole waits for all of them.
    Move("assign", "拆出", ("",), "dispatched", (SYSTEM,)),
    Move("split", "拆分", ("filed", *WORKED), None, HUB, reasoned=True),
    Move("assist", "请协办", ("filed", *WORKED), None, (LEAD, *HUB), reasoned=True),
    # 吹哨报到: those called come to the place, and stay until it is done or the street lets them go.
    Move("whistle", "吹哨", OPEN, None, STREET, reasoned=True),
    Move("respond", "应哨", OPEN, None, (CALLED,)),
    Move("report_in", "报到", OPEN, None, (CALLED,)),
    Move("leave", "离场", tuple(STATES), None, (CALLED,)),
    Move("release", "准予离场", OPEN, None, STREET),
    # Said of it, and nothing moves.
    Move("acknowledge", "已知悉", (*OPEN, "closed"), None, tuple(role for roles in CHAIN.values() for role in roles)),
    Move("convene", "联席会商", OPEN, None, STREET, reasoned=True),
    Move("report_up", "上报区县", OPEN, None, ("street",), reasoned=True),
    Move("grade", "定级", OPEN, None, ("acceptor", *HUB)),
    Move("supervise", "督办", OPEN, None, STREET, reasoned=True),
    Move("escalate", "超时升级", (*OPEN, "closed"), None, (SYSTEM,)),
    Move("remind", "临期提醒", (*OPEN, "closed"), None, (SYSTEM,)),
    Move("note", "备注", (*OPEN, "closed"), None, (LEAD, "acceptor", *FIELD, "dispatcher", *STREET), reasoned=True),
)  # fmt: skip

ACTIONS = {move.action: move.title for move in MOVES}


def titled(action: str, channel: str) -> str:
    """What a step is called in a case from a channel: a task from above has words of its own."""
    return TASK_WORDS.get(action, ACTIONS[action]) if channel == "superior" else ACTIONS[action]


def grades() -> list[dict[str, object]]:
    """The rows of `incident_grades`."""
    return [{"grade": grade, "action": action, "waits": waits} for grade, action, waits in GRADED]


def states() -> list[dict[str, object]]:
    """The rows of `incident_states`."""
    return [{"code": s.code, "title": s.title, "stage": s.stage, "over": s.over, "position": n} for n, s in enumerate(STATES.values())]


def moves() -> list[dict[str, object]]:
    """The rows of `incident_moves`."""
    return [
        {"action": move.action, "source": source, "target": source if move.target is None else move.target, "role": role, "reasoned": move.reasoned}
        for move in MOVES for source in move.sources for role in dict.fromkeys(move.by)
    ]  # fmt: skip
