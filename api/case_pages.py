"""The pages of cases: what waits for me, the list, the board, one case with its next step as a form. They work without scripts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Form as Body
from fastapi.responses import JSONResponse
from pydantic import Field

from api import desk, pages, sending
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.errors import STATUS
from api.forms import Form, Text, Trouble, tried, trouble
from api.limits import limited
from api.ways import own_path, see
from geo import accounts, clocks, docket, enrolling, hub, incidents, live, query
from geo.catalog import LEVELS, RESOURCES, workflow
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.errors import BadQuery, Conflict, GeoError, Invalid
from geo.exporting import checked
from geo.incidents import Given, Step
from geo.language import Language, translated
from maps import pages as drawn

NOUN = RESOURCES["incidents"]
CHANNELS = {choice.code: choice.title for choice in NOUN["channel"].choices}
GRADES = {choice.code: choice.title for choice in NOUN["grade"].choices}
STAGES = {stage.code: stage.title for stage in workflow.STAGES}
CAPACITIES = {"lead": "主办", "reporter": "上报人", "system": "系统", "called": "应哨单位"}
MOVES = {move.action: move for move in workflow.MOVES}
# Which step is what one comes for, before those that turn it away or only say something of it.
LEADING = ("accept", "verify", "file", "dispatch", "rule", "start", "resume", "handle", "ask_check", "pass", "close", "answer")
# What one is called for and told apart in the inbox, before what leads on.
CALLED = ("acknowledge", "respond", "report_in", "leave", "report_up", "convene")
WHISTLED = ("whistle", "respond", "report_in", "leave", "release")
ASKS = {
    "split": "to", "assist": "to", "whistle": "bodies", "report_in": "place", "dispatch": "to", "rule": "to", "suspend": "until", "merge": "into", "grade": "grade",
}
NEEDS = {"force": "ask_force", "exempt": "appeal"}
# In many cases at once only what is the same for all of them.
NOT_AT_ONCE = {*CALLED, *WHISTLED, "split", "assist", "rule", "force", "exempt", "suspend", "merge", "unmerge", "grade", "rate", "object"}
CLOCKS = {
    "accept": "受理", "verify": "核实", "dispatch": "分流", "handle": "处置", "check": "核查", "close": "结案", "feedback": "反馈",
}
UNITS = {
    "urgent_minute": "{count} 分钟", "urgent_hour": "{count} 小时", "natural_day": "{count} 天", "work_hour": "{count} 个工作小时",
    "work_day": "{count} 个工作日",
}
AROUND = "areas,compounds,buildings,roads,incidents"
AT_ONCE = 50
WAITING = 200
BADGE = 99
FILTERS = ("stage", "state", "matter", "channel", "within", "late", "supervised", "mine", "all")

routes = APIRouter(include_in_schema=False, dependencies=[able("write")])
# What is counted is counted before it is asked who is there.
files = APIRouter(include_in_schema=False)

Short = Annotated[Text, Field(max_length=64)]
Code = Annotated[str, Query(max_length=40, pattern="^[0-9A-Za-z_]*$")]
Tick = Annotated[Literal["", "1"], Query()]


@dataclass(frozen=True)
class Chosen:
    """The filter of a list as its address says it; what is not chosen is empty."""

    stage: str = ""
    state: str = ""
    matter: str = ""
    channel: str = ""
    within: str = ""
    late: str = ""
    supervised: str = ""
    mine: str = ""
    all: str = ""

    @property
    def query(self) -> str:
        """The same as an address says it."""
        return urlencode({name: value for name, value in vars(self).items() if value})

    def where(self, who: Caller, body: UUID | None) -> dict[str, Any]:
        """The same as a list and a file are asked for. `mine`: led by the body that one stands for, or by one's own area."""
        equals = {name: getattr(self, name) for name in ("stage", "state", "matter", "channel") if getattr(self, name)}
        equals |= {"overdue": "true"} if self.late else {}
        equals |= {"supervised": "true"} if self.supervised else {}
        if self.mine:
            equals |= {"lead": str(body)} if body else {"lead_area": who.scope[0] if who.scope else ""}
        if not self.all and not self.state and self.stage not in ("close", "feedback"):
            equals |= {"open": "true"}
        return {"equals": equals} | ({"within": self.within} if self.within else {})


def chosen(
    stage: Code = "", state: Code = "", matter: Code = "", channel: Code = "", late: Tick = "", supervised: Tick = "", mine: Tick = "",
    within: Annotated[str, Query(pattern="^([0-9A-Z]{2,18})?$")] = "", all: Tick = "",
) -> Chosen:
    """The filter that an address says."""
    return Chosen(stage, state, matter, channel, within, late, supervised, mine, all)


Filters = Annotated[Chosen, Depends(chosen)]


class Taking(Form):
    """A step as its form says it. `seen` is the number of the last step that was on the page."""

    action: Short
    opinion: Annotated[Text, Field(max_length=2000)] = ""
    to: Short = ""
    until: Short = ""
    into: Short = ""
    grade: Short = ""
    bodies: Annotated[list[Short], Field(max_length=50)] = Field(default_factory=list)
    minutes: Short = ""
    metres: Short = ""
    lon: Short = ""
    lat: Short = ""
    listed: Literal["", "1"] = ""
    seen: Annotated[int, Field(ge=1)] | None = None
    back: Annotated[Text, Field(max_length=500)] = ""


class Many(Form):
    """One step of many cases: of each its id, and the number of the last step that was on the page."""

    action: Short = ""
    opinion: Annotated[Text, Field(max_length=2000)] = ""
    case: Annotated[list[Short], Field(max_length=AT_ONCE)] = Field(default_factory=list)
    back: Annotated[Text, Field(max_length=500)] = ""


class Taken(Form):
    """In which form a list is taken along."""

    format: Short = "xlsx"


@routes.get("/cases", dependencies=[strict(*FILTERS, "after", "done")])
def listed(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow, asked: Filters, after: UUID | None = None,
    done: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """The cases of a filter, the last reported first."""
    return _list(request, connection, who, language, asked, after, done=done)


@routes.get("/cases/board", dependencies=[strict(*FILTERS, "more", "done")])
def board(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow, asked: Filters,
    more: Annotated[str, Query(pattern="^(accept|dispatch|handle|close|feedback)?$")] = "",
    done: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """The same by stage, the most pressing first; one column with `more` of them."""
    began = live.reached(connection)
    now = datetime.now(enrolling.LOCAL)
    # What is over has columns of its own.
    want = _filter(replace(asked, all="1"), who, connection)
    columns = docket.board(connection, want, who.sees(NOUN), {more: WAITING} if more else {})
    facts = _frame(connection, who, language, asked) | {
        "columns": [
            {"stage": column.stage, "title": STAGES[column.stage], "count": column.count, "cases": [shown(case, language, now) for case in column.cases],
             "fresh": docket.FRESH_DAYS if column.stage in ("close", "feedback") else None}
            for column in columns
        ],
        "more": more, "after": began, "done": _done(done, language),
        "back": "/cases/board" + (f"?{asked.query}" if asked.query else ""),
    }
    return _shown(request, language, drawn.board(pages.reader(request, language), facts))


@routes.post("/cases/moves", dependencies=[strict()])
def take_each(
    given: Annotated[Many, Body()], request: Request, connection: Connection, who: CallerNow, language: LanguageNow
) -> Response:
    """One step of each case that is ticked, and what became of each."""
    asked = _of_address(given.back)
    if given.action not in workflow.ACTIONS or given.action in NOT_AT_ONCE:
        return _list(request, connection, who, language, asked, told=_wrong(language, "many", "请选要办的步骤。", "action"))
    if not given.case:
        return _list(request, connection, who, language, asked, told=_wrong(language, "many", "请先勾选要办的事件。", "case"))
    steps = []
    for one in dict.fromkeys(given.case):
        id, _, seen = one.partition(":")
        try:
            steps.append(Step(UUID(id), given.action, Given(given.opinion), int(seen) if seen else None))
        except ValueError as error:
            raise BadQuery(parameter="case") from error
    made = list(incidents.move_each(connection, steps))
    known = {case["id"]: case for case in docket.told_of(connection, [step.incident for step in steps], moves=False)}
    say = partial(translated, language=language)
    results = [
        {
            "id": step.incident, "title": known[step.incident]["title"] if step.incident in known else str(step.incident),
            "number": known[step.incident]["number"] if step.incident in known else "", "well": not isinstance(one, GeoError),
            "said": one.said(say) if isinstance(one, GeoError) else say(workflow.STATES[one.state].title),
        }
        for step, one in zip(steps, made, strict=True)
    ]
    return _list(request, connection, who, language, asked, results=results)


@files.post("/cases/file", dependencies=[limited("export"), able("export"), strict(*FILTERS)])
def taken(
    given: Annotated[Taken, Body()], request: Request, connection: Connection, who: CallerNow, asked: Filters
) -> Response:
    """The list of a filter as a file."""
    where = asked.where(who, docket.own_body(connection))
    made = sending.asked(request, connection, who, "incidents", checked(given.format), None, where, False, "service", "")
    assert isinstance(made, Response)
    return made


@routes.get("/cases/moves", dependencies=[strict()])
@routes.get("/cases/file", dependencies=[strict(*FILTERS)])
def listed_again() -> Response:
    """The address of a form, read again: the page it stands on."""
    return see("/cases")


@routes.get("/cases/{id}", dependencies=[strict("done")])
def case(
    id: UUID, request: Request, connection: Connection, who: CallerNow, language: LanguageNow, done: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """One case: how it stands, what may be done, what was done, where it is."""
    return _case(request, connection, who, language, id, done=done)


@routes.get("/cases/{id}/moves", dependencies=[strict()])
def case_again(id: UUID) -> Response:
    """The address of the form, read again: the page it stands on."""
    return see(f"/cases/{id}")


@routes.post("/cases/{id}/moves", dependencies=[strict()])
def take(
    id: UUID, given: Annotated[Taking, Body()], request: Request, connection: Connection, who: CallerNow, language: LanguageNow
) -> Response:
    """Take a step, and back to where its form stood."""
    try:
        if given.action not in workflow.ACTIONS:
            raise Invalid("没有这一步。", field="action")
        with tried(connection):
            incidents.move(connection, Step(id, given.action, _given(connection, given), given.seen))
    except GeoError as error:
        told = trouble(request, language, given.action, error)
        if isinstance(error, Conflict):
            told = _overtaken(connection, id, language, given, told)
        return _case(request, connection, who, language, id, told, given)
    back = own_path(given.back) if given.back else f"/cases/{id}"
    return see(back + ("&" if "?" in back else "?") + urlencode({"done": given.action}))


@routes.get("/inbox/count", dependencies=[strict()])
def count(connection: Connection) -> Response:
    """How many cases wait for the caller; `BADGE + 1` for more than a badge tells."""
    return JSONResponse(len(incidents.inbox(connection, BADGE + 1)), headers={"Cache-Control": "no-store"})


def inbox_page(request: Request, connection: sa.Connection, language: Language) -> Response:
    """What waits for the caller, the most pressing first."""
    began = live.reached(connection)
    now = datetime.now(enrolling.LOCAL)
    waiting = incidents.inbox(connection, WAITING)
    wanted = {row["id"]: row["actions"] for row in waiting}
    cases = [shown(case, language, now, wanted[case["id"]]) for case in docket.told_of(connection, list(wanted))]
    done = _done(request.query_params.get("done", ""), language)
    facts = {"cases": cases, "most": WAITING, "after": began, "done": done, "back": "/inbox"}
    return _shown(request, language, drawn.inbox(pages.reader(request, language), facts))


def shown(case: Mapping[str, Any], language: Language, now: datetime, waits: Sequence[str] = ()) -> dict[str, Any]:
    """A case with the titles that people read, how long there is, and the step that leads on: that which `waits`, if one is known to."""
    state = workflow.STATES[case["state"]]
    late = bool(case["due_at"] and case["due_at"] < now and not state.settled)
    moves = sorted(case["moves"], key=_order)
    leading = next((move for move in moves if move["action"] in (waits or LEADING)), None)
    return dict(case) | {
        "state_title": state.title, "stage": state.stage or "", "stage_title": STAGES[state.stage] if state.stage else "",
        "channel_title": CHANNELS[case["channel"]], "grade_title": GRADES[case["grade"]],
        "matter_title": (case["matter_en"] if language == "en" else case["matter_zh"]) or "",
        "late": late, "left": "" if state.settled or state.code == "suspended" else left(case["due_at"], now, language), "moves": moves,
        "leading": leading and leading | {
            "title": workflow.titled(leading["action"], case["channel"]),
            # A step that asks for nothing is a button; dispatching leaves it to the list, which may have no line.
            "at_once": not leading["reasoned"] and leading["action"] not in ASKS,
            "field": ASKS.get(leading["action"], "opinion"),
        },
    }


def left(due: datetime | None, now: datetime, language: Language) -> str:
    """How long there is until a moment, or since, in words."""
    if due is None:
        return ""
    say = partial(translated, language=language)
    return (say("超时 {long}") if due < now else say("还剩 {long}")).format(long=lasting(abs((due - now).total_seconds()), language))


def lasting(seconds: float, language: Language) -> str:
    """A time in the unit that one says it in."""
    say = partial(translated, language=language)
    if seconds < 3600:
        return say("{count} 分钟").format(count=max(1, int(seconds // 60)))
    if seconds < 48 * 3600:
        return say("{count} 小时").format(count=int(seconds // 3600))
    return say("{count} 天").format(count=int(seconds // 86_400))


def _order(move: Mapping[str, Any]) -> tuple[bool, int, int]:
    """What leads on, then what moves it elsewhere, then what is only said of it; each as the workflow declares it."""
    action = move["action"]
    declared = list(MOVES)
    first = (*CALLED, *LEADING)
    if action in first:
        return False, first.index(action), 0
    return True, int(MOVES[action].target is None), declared.index(action)


def _list(
    request: Request, connection: sa.Connection, who: Caller, language: Language, asked: Chosen, after: UUID | None = None,
    told: Trouble | None = None, results: Sequence[Mapping[str, Any]] = (), done: str = "",
) -> Response:
    began = live.reached(connection)
    now = datetime.now(enrolling.LOCAL)
    found = docket.page(connection, _filter(asked, who, connection), who.sees(NOUN), after, AT_ONCE)
    cases = [shown(case, language, now) for case in found.cases]
    offered = {move["action"] for case in cases for move in case["moves"]} - NOT_AT_ONCE
    facts = _frame(connection, who, language, asked) | {
        "cases": cases, "total": found.total, "counted": docket.COUNTED, "next": found.next, "first": after is None, "after": began,
        "actions": [(action, workflow.ACTIONS[action], MOVES[action].reasoned) for action in (*LEADING, *(a for a in MOVES if a not in LEADING)) if action in offered],
        "trouble": told, "results": results, "done": _done(done, language),
        "back": "/cases" + (f"?{asked.query}" if asked.query else ""), "may_export": "export" in who.may,
    }
    return _shown(request, language, drawn.cases(pages.reader(request, language), facts), told)


def _frame(connection: sa.Connection, who: Caller, language: Language, asked: Chosen) -> dict[str, Any]:
    """What list and board share: the filter, and what may be chosen in it."""
    states = {s.code: s.title for s in workflow.STATES.values()}
    return {
        "asked": asked, "query": asked.query, "stages": STAGES, "states": states, "channels": CHANNELS,
        "matters": [(m["code"], m["title_en"] if language == "en" else m["title"]) for m in accounts.matters(connection, parents=False)],
        "areas": desk.areas_offered(connection, language),
    }


def _filter(asked: Chosen, who: Caller, connection: sa.Connection) -> query.Filter:
    return docket.wanted(asked.where(who, docket.own_body(connection) if asked.mine else None), who.sees(NOUN))


def _of_address(address: str) -> Chosen:
    """The filter that the page of a form had in its address."""
    told = Request({"type": "http", "query_string": address.partition("?")[2].encode(), "headers": []}).query_params
    return Chosen(**{name: str(told[name])[:40] for name in FILTERS if name in told})


def _case(
    request: Request, connection: sa.Connection, who: Caller, language: Language, id: UUID, told: Trouble | None = None,
    given: Taking | None = None, done: str = "",
) -> Response:
    began = live.reached(connection)
    now = datetime.now(enrolling.LOCAL)
    found = docket.one(connection, id, who)
    log = incidents.log(connection, id)
    calls, told_up = hub.whistle(connection, id), hub.told(connection, id)
    open_to = _offered(found["grade"], log, calls, told_up)
    offered = sorted((move for move in incidents.moves(connection, id) if _asked(move["action"], log) and open_to(move["action"])), key=_order)
    moves = [move for move in offered if move["action"] not in WHISTLED]
    facts = shown(found | {"moves": moves}, language, now) | {
        "posts": [post | {"title": ROLE_TITLES[post["role"]]} for post in found["posts"]],
        "like": [shown(other, language, now) for other in found["like"]],
    }
    lines = incidents.routes(connection, id) if any(move["action"] in ("dispatch", "rule") for move in moves) else []
    giving = any(ASKS.get(move["action"]) in ("to", "bodies") for move in offered)
    page = drawn.case(pages.reader(request, language), {
        "case": facts, "moves": [_form(move, found) for move in moves],
        "whistle": _whistled(calls, language, now), "calls": dict.fromkeys(WHISTLED) | {move["action"]: _form(move, found) for move in offered if move["action"] in WHISTLED},
        "told_up": [row | {"level": level_title(row["level"])} for row in told_up],
        "parts": [part | {"state_title": workflow.STATES[part["state"]].title, "stage": workflow.STATES[part["state"]].stage or ""} for part in hub.parts(connection, id)],
        "delays": [row | {"level": level_title(row["level"])} for row in hub.delays(connection, id)] if found["channel"] == "superior" else [],
        "log": _told(connection, id, log, language), "clocks": [_timed(clock, language) for clock in clocks.of(connection, id)],
        "route": next((line for line in lines if line["part"] == "lead"), None),
        "assist": [line for line in lines if line["part"] != "lead"], "places": places(connection, found["scope"], language) if lines or moves else [],
        "bodies": docket.bodies(connection) if giving else [],
        "grades": GRADES, "trouble": told, "given": given or Taking(action=""), "done": _done(done, language), "after": began,
        "latest": f"{(now + timedelta(days=365)):%Y-%m-%d}", "tomorrow": f"{(now + timedelta(days=1)):%Y-%m-%d}",
        "awaits": _awaits(facts, language) if facts["leading"] is None else None,
        "lost": given is not None and told is not None and all(move["action"] != given.action for move in moves),
    }, _chart(request, connection, who, language, found["place"]))
    return _shown(request, language, page, told)


ROLE_TITLES = {choice.code: choice.title for choice in RESOURCES["posts"]["role"].choices}


def _awaits(case: Mapping[str, Any], language: Language) -> dict[str, str] | None:
    """Whose turn it is, and for which step, when it is not the reader's."""
    step = next((MOVES[action] for action in LEADING if case["state"] in MOVES[action].sources), None)
    if step is None:
        return None
    say = partial(translated, language=language)
    role = next(role for role in step.by if role != "system")
    who = case["lead_name"] or say(CAPACITIES["lead"]) if role == "lead" else say(ROLES[role].title)
    return {"who": who, "step": say(step.title)}


LEVEL_TITLES = {"city": "市", "district": "区县", "street": "街道", "community": "社区", "grid": "网格", "body": "单位"}


def level_title(level: str) -> str:
    """What a level is called, a body being one of its own."""
    return LEVEL_TITLES[level]


def _form(move: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    """A step with what its form says and asks."""
    action = move["action"]
    return dict(move) | {
        "title": workflow.titled(action, case["channel"]), "asks": ASKS.get(action, ""), "leads": action in LEADING or action in CALLED,
        "target_title": _onto(action, case["state"], move["target"]),
        # Why a grade was given is always told.
        "reasoned": move["reasoned"] or action == "grade",
    }


def _offered(
    grade: str, log: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]], told_up: Sequence[Mapping[str, Any]]
) -> Callable[[str], bool]:
    """Whether there is anything to answer, acknowledge, release, or to be asked for by its grade."""
    standing = [call for call in calls if call["released_at"] is None]
    mine = [call for call in calls if call["mine"]]
    done = {row["action"] for row in log}
    known: dict[str, bool] = {
        "respond": any(call["answered_at"] is None and call["released_at"] is None for call in mine),
        "report_in": any(call["arrived_at"] is None and call["released_at"] is None for call in mine),
        "leave": any(call["arrived_at"] and not call["left_at"] and call["released_at"] for call in mine),
        "release": bool(standing), "acknowledge": any(row["acknowledged_at"] is None for row in told_up),
    } | {asked: grade == of and asked not in done for of, asked, _ in workflow.GRADED}
    return lambda action: known.get(action, True)


def _whistled(calls: Sequence[Mapping[str, Any]], language: Language, now: datetime) -> list[dict[str, Any]]:
    """Those of the last whistle, each with how far they have got and how long there is."""
    last = [call for call in calls if call["whistle"] == calls[0]["whistle"]]
    return [
        dict(call) | {
            "left": "" if call["arrived_at"] or call["released_at"] else left(call["due_at"], now, language),
            "late": (call["arrived_at"] or (call["released_at"] or now)) > call["due_at"],
            "took": math.ceil((call["arrived_at"] - call["called_at"]).total_seconds() / 60) if call["arrived_at"] else None,
        }
        for call in last
    ]


def _chart(
    request: Request, connection: sa.Connection, who: Caller, language: Language, place: Sequence[float] | None
) -> drawn.Spot | None:
    """The map around a case."""
    if place is None:
        return None
    names = [name for name in AROUND.split(",") if who.knows(RESOURCES[name])]
    drawings = pages.drawings(connection, who, language, ",".join(names), {level.code for level in LEVELS})
    return drawn.Spot(float(place[0]), float(place[1]), [drawing for drawing in drawings if drawing.name in names])


def places(connection: sa.Connection, scope: str, language: Language) -> list[tuple[str, str]]:
    """The areas that a case can be given to: those that its place lies in, the smallest first; without a grid, those below too."""
    titles = {level.code: translated(level.title, language) for level in LEVELS}
    known = docket.areas_around(connection, scope)
    return [(area["path"], f"{area['name']} · {titles.get(area['level'], '')}") for area in known]


def _asked(action: str, log: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a step is worth offering: what has to be asked for first was, since the case was last given to somebody."""
    if action not in NEEDS:
        return True
    since = max((at for at, row in enumerate(log) if row["action"] in ("dispatch", "rule", "reopen", "object")), default=-1)
    return any(row["action"] == NEEDS[action] for row in log[since + 1 :])


def _told(connection: sa.Connection, id: UUID, rows: Sequence[Mapping[str, Any]], language: Language) -> list[dict[str, Any]]:
    """Every step as people read it: what, who in which capacity, when, with which opinion, to whom and why."""
    areas = {path for row in rows for path in (row["facts"].get("lead_area"), *row["acting_as"].partition("@")[2].split(",")) if path}
    titles = docket.titles(connection, sorted(areas), sorted({
        body for row in rows for body in (row["facts"].get("lead"), row["facts"].get("body"), *row["facts"].get("bodies", ())) if body}))
    items = docket.duties(connection, sorted({row["facts"]["item"] for row in rows if row["facts"].get("item")}))
    names = docket.actors(connection, id)
    into = sorted({UUID(row["facts"][name]) for row in rows for name in ("into", "part") if row["facts"].get(name)})
    others = {str(case["id"]): case for case in docket.told_of(connection, into, moves=False)}
    channel = next(iter(docket.told_of(connection, [id], moves=False)), {"channel": ""})["channel"]
    return [_line(row, language, titles, items, names, others, channel) for row in rows]


def _line(
    row: Mapping[str, Any], language: Language, titles: Mapping[str, str], items: Mapping[str, Mapping[str, Any]], names: Mapping[str, str],
    others: Mapping[str, Mapping[str, Any]], channel: str,
) -> dict[str, Any]:
    say = partial(translated, language=language)
    facts = row["facts"]
    role, _, paths = row["acting_as"].partition("@")
    capacity = [say(CAPACITIES[row["role"]])] if row["role"] in CAPACITIES else []
    if role in ROLES:
        capacity.append(" ".join([say(ROLES[role].title), *(titles.get(path, path) for path in paths.split(",") if path)]))
    lead = facts.get("lead") or facts.get("lead_area")
    item = items.get(facts.get("item") or "")
    until = facts.get("until")
    return {
        "number": row["number"], "title": workflow.titled(row["action"], channel), "at": row["at"], "opinion": row["opinion"],
        "target_title": _onto(row["action"], row["source"], row["target"]),
        "who": "" if row["role"] in ("reporter", "system") else names.get(row["actor"]) or row["actor"], "capacity": " · ".join(dict.fromkeys(capacity)),
        "stage": workflow.STATES[row["target"]].stage or "",
        "to": titles.get(lead, lead) if lead and row["action"] != "return" else "", "why": item, "listed": bool(facts.get("item")),
        "until": datetime.fromisoformat(until) if until else None, "grade": GRADES.get(facts.get("grade", ""), ""),
        "rating": facts.get("rating"), "into": others.get(facts.get("into") or ""),
        "part": others.get(facts.get("part") or ""), "bodies": [titles.get(body, body) for body in (*facts.get("bodies", ()), facts.get("body")) if body],
        "minutes": facts.get("minutes") if row["action"] == "report_in" else None, "in_time": facts.get("in_time"),
        "levels": [say(LEVEL_TITLES[level]) for level in facts.get("told", ())], "gaps": [say(LEVEL_TITLES[level]) for level in facts.get("gaps", ())],
        "ruled": row["action"] == "rule" and bool(facts.get("listed")),
    }


def _onto(action: str, source: str, target: str) -> str:
    """The state that a step leads to, where its own name does not say so already."""
    title = workflow.STATES[target].title
    return title if target != source and title != workflow.ACTIONS[action] else ""


def _timed(clock: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """A clock of a case in the words of its kind: which, how long it may take, how long it took."""
    unit = translated(UNITS[clock["kind"]], language)
    return {
        "title": CLOCKS.get(clock["clock"], clock["clock"]), "late": clock["late"] and not clock["exempt"],
        "limit": unit.format(count=f"{clock['amount']:g}"), "spent": unit.format(count=f"{clock['spent']:.1f}".removesuffix(".0")),
        "paused": bool(clock["paused_at"]) and not clock["ended_at"], "ended": bool(clock["ended_at"]), "exempt": clock["exempt"],
    }


def _given(connection: sa.Connection, given: Taking) -> Given:
    """What the form brings. Raises `Invalid`, `NotFound`."""
    kind, _, whom = given.to.partition(":")
    asks = ASKS.get(given.action)
    lead, area, until = None, None, None
    if asks == "to" and kind == "body":
        lead = _id(whom)
    elif asks == "to" and kind == "area":
        area = whom
    if asks == "until":
        until = enrolling.day(given.until, last=True)
        if until is None:
            raise Invalid("请写明挂账到哪一天。", field="until")
    if asks == "into" and not given.into.strip():
        raise Invalid("请写明并入哪一件。", field="into")
    if asks == "place" and not (given.lon.strip() and given.lat.strip()):
        raise Invalid("请给出您现在的位置。", field="lon")
    if asks == "bodies" and not given.bodies:
        raise Invalid("请选要叫到现场的单位。", field="bodies")
    if asks == "grade" and given.grade not in GRADES:
        raise Invalid("请选一个分级。", field="grade")
    return Given(
        given.opinion, lead, area, until, docket.numbered(connection, given.into) if asks == "into" else None, given.grade if asks == "grade" else None,
        bodies=tuple(_id(body) for body in given.bodies) if asks == "bodies" else (),
        minutes=_whole(given.minutes, "minutes") if asks == "bodies" else None, metres=_whole(given.metres, "metres") if asks == "bodies" else None,
        place=(_degrees(given.lon, "lon", 180), _degrees(given.lat, "lat", 90)) if asks in ("place", "bodies") and given.lon.strip() and given.lat.strip() else None,
        listed=given.action == "rule" and bool(given.listed),
    )


def _whole(text: str, field: str) -> int | None:
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError as error:
        raise Invalid("请写一个整数。", field=field) from error


def _degrees(text: str, field: str, most: int) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise Invalid("请写经纬度的度数。", field=field) from error
    if not abs(number) <= most:
        raise Invalid("请写经纬度的度数。", field=field)
    return number


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Invalid("没有这个单位。", field="to") from error


def _overtaken(connection: sa.Connection, id: UUID, language: Language, given: Taking, told: Trouble) -> Trouble:
    """Of two who act the second is told who was first and what came of it."""
    say = partial(translated, language=language)
    rows = _told(connection, id, incidents.log(connection, id), language)
    if not rows or (given.seen is not None and rows[-1]["number"] <= given.seen):
        return told
    last = rows[-1]
    sentence = say("{name}已在 {at} 办了“{step}”，您的这一步没有办。请看过再办。").format(
        name=last["who"] or last["capacity"], at=f"{last['at']:%m-%d %H:%M}", step=say(last["title"]))
    return Trouble(told.form, sentence, None, told.status)


def _wrong(language: Language, form: str, sentence: str, field: str) -> Trouble:
    return Trouble(form, translated(sentence, language), field, STATUS[Invalid])


def _done(action: str, language: Language) -> str:
    """What is said after a step, by the word in the address."""
    if action not in workflow.ACTIONS:
        return ""
    return translated("已办：{step}。", language).format(step=translated(workflow.ACTIONS[action], language))


def _shown(request: Request, language: Language, text: str, told: Trouble | None = None) -> Response:
    answer = pages.private(pages.page(request, language, text))
    answer.status_code = told.status if told else 200
    return answer
