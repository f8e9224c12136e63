"""Pages of giving accounts: who may come in, as what, where and until when; slips to hand out; many at once from a sheet."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response, UploadFile
from fastapi import Form as Body
from pydantic import Field

from api import forms, pages
from api.deps import CallerNow, Connection, LanguageNow, able, noted, strict
from api.forms import Form, Text, Trouble, tried, trouble
from api.settings import settings
from api.ways import see
from geo import accounts, docket, enrolling
from geo.catalog import LEVELS
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.errors import GeoError, Invalid
from geo.language import Language, translated
from maps import pages as drawn

APPOINTING = ("appointed", "ended", "handed-over", "embodied")
AT_ONCE = 50  # accounts on a page
CHOICES = 60  # areas to tick; more are typed
SUGGESTED = 300
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

routes = APIRouter(include_in_schema=False, dependencies=[able("accounts", "appoint")])

Short = Annotated[Text, Field(max_length=64)]
Areas = Annotated[list[Annotated[Text, Field(max_length=500)]], Field(max_length=200)]
Categories = Annotated[list[Short], Field(max_length=100)]


class Appointing(Form):
    """A role in some areas for a time, as the form names them."""

    role: Short = ""
    area: Areas = Field(default_factory=list)
    category: Categories = Field(default_factory=list)
    since: Short = ""
    until: Short = ""


class Newcomer(Appointing):
    """A new account, with an appointment unless the role is left open."""

    login: Short = ""
    name: Annotated[Text, Field(max_length=60)] = ""
    kind: Literal["person", "system"] = "person"


class HandingOver(Form):
    """To whom all that somebody is appointed to goes, and from which day."""

    login: Short = ""
    at: Short = ""
    disable: bool = False


class NewToken(Form):
    """A token of a system's account."""

    title: Annotated[Text, Field(max_length=100)] = ""
    days: Annotated[int, Field(ge=1, le=366)] = 90
    appointment: UUID


class Ending(Form):
    """An appointment or token to end."""

    id: UUID


class Embodying(Form):
    """The body that an appointment stands for, by name or code; empty for none."""

    id: UUID
    body: Annotated[Text, Field(max_length=200)] = ""


class Chosen(Form):
    """Accounts that are to get a slip."""

    account: Annotated[list[UUID], Field(max_length=enrolling.MOST)] = Field(default_factory=list)


class Nothing(Form):
    """A form that is only a button."""


@routes.get("/accounts", dependencies=[strict("q", "role", "area", "state", "page")])
def listed(
    request: Request, who: CallerNow, connection: Connection, language: LanguageNow,
    q: Annotated[str, Query(max_length=64)] = "", role: Annotated[str, Query(max_length=64)] = "",
    area: Annotated[str, Query(max_length=64)] = "", state: Annotated[str, Query(max_length=20)] = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    """The accounts that the caller decides over, as they are asked for."""
    told = None
    found: list[dict[str, Any]] = []
    try:
        within = accounts.called(connection, [area]) if area.strip() else [""]
        found = accounts.told(connection, None, None, q, role, within[0], state, AT_ONCE, AT_ONCE * (page - 1))
    except GeoError as error:
        told = trouble(request, language, "search", error)
    facts = {
        "accounts": [_account(account, language) for account in found], "total": found[0]["total"] if found else 0, "page": page,
        "pages": -(-found[0]["total"] // AT_ONCE) if found else 1, "q": q, "role": role, "area": area, "state": state,
        "roles": {code: declared.title for code, declared in ROLES.items() if code != "public"}, "states": accounts.STANDINGS,
        "suggested": _areas(connection, language), "trouble": told, "may_appoint": "appoint" in who.may,
    }
    return _shown(request, language, drawn.accounts(pages.reader(request, language), facts), told)


@routes.get("/accounts/new", dependencies=[strict()])
def newcomer(request: Request, who: CallerNow, connection: Connection, language: LanguageNow) -> Response:
    """The form of a new account."""
    return _newcomer(request, who, connection, language, Newcomer())


@routes.post("/accounts/new", dependencies=[strict()])
def make(
    given: Annotated[Newcomer, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Make an account with its appointment, and show the slip for its holder. All of it or nothing."""
    try:
        with tried(connection):
            account = accounts.make(connection, given.login, given.name, given.kind)
            # Before the appointment: over an administrator the one who makes them has no hand.
            slips = [_slip(connection, accounts.one(connection, account))] if given.kind == "person" else []
            if given.role:
                _appointed(connection, account, given)
    except GeoError as error:
        return _newcomer(request, who, connection, language, given, trouble(request, language, "newcomer", error))
    noted(request, "account", "accounts", str(account), "make")
    return _slips(request, language, slips) if slips else see(f"/accounts/{account}")


@routes.get("/accounts/import", dependencies=[strict()])
def enrolment(request: Request, language: LanguageNow) -> Response:
    """The form that takes a sheet of people."""
    return _enrolment(request, language)


@routes.get("/accounts/template.xlsx", dependencies=[strict()])
def template(language: LanguageNow) -> Response:
    """The sheet to fill in."""
    return Response(
        enrolling.template(language), media_type=XLSX, headers={"Content-Disposition": 'attachment; filename="accounts.xlsx"', "Cache-Control": "no-cache"}
    )


@routes.post("/accounts/import", dependencies=[strict()])
def enrol(
    request: Request, connection: Connection, language: LanguageNow, file: UploadFile, partly: Annotated[bool, Body()] = False
) -> Response:
    """Make and appoint whom a sheet names, and say of every row what became of it."""
    try:
        rows = enrolling.read(file.file.read(), file.filename or "")
    except GeoError as error:
        return _enrolment(request, language, told=trouble(request, language, "import", error))
    outcomes = enrolling.enrol(connection, rows, partly)
    done = [outcome for outcome in outcomes if outcome.done in ("made", "appointed")]
    noted(request, "account", "accounts", purpose=f"import {len(done)}/{len(rows)}")
    return _enrolment(request, language, outcomes)


@routes.post("/accounts/slips", dependencies=[strict()])
def slips(
    given: Annotated[Chosen, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """New slips for several accounts, to print. Earlier ones are void."""
    if not given.account:
        return see("/accounts")
    made = [_slip(connection, accounts.one(connection, account)) for account in dict.fromkeys(given.account)]
    noted(request, "account", "accounts", purpose=f"slips {len(made)}")
    return _slips(request, language, made)


@routes.get("/accounts/{account}", dependencies=[strict("done")])
def person(
    account: UUID, request: Request, who: CallerNow, connection: Connection, language: LanguageNow, done: str = ""
) -> Response:
    """One account, and what may be done with it."""
    return _person(request, who, connection, language, account, done=done)


@routes.get("/accounts/{account}/{part}", dependencies=[strict()])
def person_again(account: UUID, part: str) -> Response:
    """The address of a form, read again: the page it stands on."""
    return see(f"/accounts/{account}")


@routes.post("/accounts/{account}/appoint", dependencies=[strict()])
def appoint(
    account: UUID, given: Annotated[Appointing, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Appoint somebody to a role in some areas for a time."""
    try:
        with tried(connection):
            _appointed(connection, account, given)
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "appoint", error), given=given)
    return _done(request, account, "appointed")


@routes.post("/accounts/{account}/dismiss", dependencies=[strict()])
def dismiss(
    account: UUID, given: Annotated[Ending, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """End an appointment now."""
    try:
        with tried(connection):
            accounts.dismiss(connection, given.id)
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "appointments", error))
    return _done(request, account, "ended")


@routes.post("/accounts/{account}/body", dependencies=[strict()])
def embody(
    account: UUID, given: Annotated[Embodying, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Say which body an appointment of a department stands for."""
    try:
        with tried(connection):
            accounts.embody(connection, given.id, docket.body(connection, given.body) if given.body.strip() else None)
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "appointments", error))
    return _done(request, account, "embodied")


@routes.post("/accounts/{account}/hand-over", dependencies=[strict()])
def hand_over(
    account: UUID, given: Annotated[HandingOver, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Give all that somebody is appointed to to somebody else, and close the account if told to."""
    try:
        with tried(connection):
            at = enrolling.day(given.at)
            if not accounts.hand_over(connection, account, accounts.colleague(connection, given.login), at):
                raise Invalid("没有可以移交的任职。")
            if given.disable:
                if at and at > datetime.now(at.tzinfo):
                    raise Invalid("移交还没到日子,现在停用会让事情没有人管:请到时再停用。", field="disable")
                accounts.disable(connection, account)
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "hand-over", error))
    return _done(request, account, "handed-over")


@routes.post("/accounts/{account}/disable", dependencies=[strict()])
def disable(
    account: UUID, given: Annotated[Nothing, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Close an account, with every session and token it has open."""
    return _over(request, who, connection, language, account, "disabled", lambda: accounts.disable(connection, account))


@routes.post("/accounts/{account}/enable", dependencies=[strict()])
def enable(
    account: UUID, given: Annotated[Nothing, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Open a closed account again."""
    return _over(request, who, connection, language, account, "enabled", lambda: accounts.disable(connection, account, False))


@routes.post("/accounts/{account}/sessions", dependencies=[strict()])
def end_sessions(
    account: UUID, given: Annotated[Nothing, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """Close all sessions of somebody."""
    return _over(request, who, connection, language, account, "sessions", lambda: accounts.end_sessions(connection, account))


@routes.post("/accounts/{account}/slip", dependencies=[strict()])
def new_slip(
    account: UUID, given: Annotated[Nothing, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """A slip by which the holder sets a new password."""
    try:
        with tried(connection):
            made = _slip(connection, accounts.one(connection, account))
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "account", error))
    noted(request, "account", "accounts", str(account), "slip")
    return _slips(request, language, [made])


@routes.post("/accounts/{account}/tokens", dependencies=[strict()])
def new_token(
    account: UUID, given: Annotated[NewToken, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """A token of a system's account, shown on this answer and never again."""
    try:
        if not given.title.strip():
            raise Invalid("请写明令牌的用途。", field="title")
        with tried(connection):
            token = accounts.token(connection, given.appointment, given.title.strip(), timedelta(days=given.days))
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "token", error))
    noted(request, "account", "accounts", str(account), "token")
    return _person(request, who, connection, language, account, token=token)


@routes.post("/accounts/{account}/token-end", dependencies=[strict()])
def end_token(
    account: UUID, given: Annotated[Ending, Body()], request: Request, who: CallerNow, connection: Connection
) -> Response:
    """Revoke a token of an account in hand."""
    accounts.end_token(connection, given.id)
    return _done(request, account, "token-ended")


def _appointed(connection: sa.Connection, account: UUID, given: Appointing) -> None:
    enrolling.offers(given.role, accounts.offered(connection))
    areas = accounts.called(connection, given.area)
    if ROLES[given.role].scoped and not areas:
        raise Invalid("这个角色要写区域。", field="area")
    since, until = enrolling.day(given.since), enrolling.day(given.until, last=True)
    accounts.appoint(connection, account, given.role, areas, given.category, since, until)


def _slip(connection: sa.Connection, account: Mapping[str, Any]) -> dict[str, Any]:
    code, ends = accounts.slip(connection, account["id"])
    return {"login": account["login"], "name": account["name"], "code": code, "ends": ends, "link": f"{settings().own_url}/slip?code={code}"}


def _done(request: Request, account: UUID, done: str) -> Response:
    noted(request, "appoint" if done in APPOINTING else "account", "accounts", str(account), done)
    return see(f"/accounts/{account}", done=done)


def _over(
    request: Request, who: Caller, connection: sa.Connection, language: Language, account: UUID, done: str, verb: Callable[[], object]
) -> Response:
    try:
        with tried(connection):
            verb()
    except GeoError as error:
        return _person(request, who, connection, language, account, trouble(request, language, "account", error))
    return _done(request, account, done)


def _slips(request: Request, language: Language, made: Sequence[Mapping[str, Any]]) -> Response:
    english = partial(translated, language="en")
    text = drawn.slips(pages.reader(request, language), made, request.app.state.instance.name, english)
    return _shown(request, language, text, None)


def _newcomer(
    request: Request, who: Caller, connection: sa.Connection, language: Language, given: Newcomer, told: Trouble | None = None
) -> Response:
    facts = _offered(connection, who, language) | {"given": given.model_dump(), "trouble": told, "may_keep": "accounts" in who.may}
    return _shown(request, language, drawn.newcomer(pages.reader(request, language), facts), told)


def _enrolment(
    request: Request, language: Language, outcomes: Sequence[enrolling.Outcome] = (), told: Trouble | None = None
) -> Response:
    say = partial(translated, language=language)
    rows = [
        {
            "number": outcome.row.number, "login": outcome.row.login, "name": outcome.row.name, "role": outcome.row.role,
            "area": outcome.row.area, "done": outcome.done, "title": enrolling.OUTCOMES[outcome.done],
            "why": outcome.why.said(say) if outcome.why else "",
        }
        for outcome in sorted(outcomes, key=lambda outcome: outcome.why is None)
    ]
    facts = {
        "rows": rows, "counts": [(title, sum(row["done"] == done for row in rows)) for done, title in enrolling.OUTCOMES.items()],
        "fresh": list(dict.fromkeys(outcome.account for outcome in outcomes if outcome.done == "made")),
        "written": not any(row["done"] == "held" for row in rows) and any(row["done"] in ("made", "appointed") for row in rows),
        "most": enrolling.MOST, "trouble": told,
    }
    return _shown(request, language, drawn.enrolment(pages.reader(request, language), facts), told)


def _person(
    request: Request, who: Caller, connection: sa.Connection, language: Language, account: UUID, told: Trouble | None = None,
    given: Appointing | None = None, token: str | None = None, done: str = "",
) -> Response:
    found = accounts.one(connection, account)
    tokens = [
        row | {"role_title": ROLES[row["role"]].title} for row in accounts.tokens(connection) if row["login"] == found["login"]
    ] if found["kind"] == "system" else []
    facts = _offered(connection, who, language) | {
        "account": _account(found, language), "given": (given or Appointing()).model_dump(), "trouble": told,
        "sessions": accounts.sessions(connection, account) if found["in_hand"] else [], "tokens": tokens, "token": token,
        "bodies": docket.bodies(connection) if any(ROLES[a["role"]].right == "organisation" for a in found["appointments"] if a["role"] in ROLES) else [],
        "own": account == who.account, "done": forms.DONE.get(done, ""),
    }
    return _shown(request, language, drawn.person(pages.reader(request, language), facts), told)


def _offered(connection: sa.Connection, who: Caller, language: Language) -> dict[str, Any]:
    """What a form of appointing offers: the roles the caller may give, areas to tick or to have suggested, classes of matters."""
    areas = _areas(connection, language)
    # Of stairwells there are ten to a grid: they are typed, with suggestions.
    wide = [area for area in areas if area["level"] != "micro_grid"]
    return {
        "roles": [(code, ROLES[code].title) for code in accounts.offered(connection) if code in ROLES],
        "ticked": wide if who.scope and len(wide) <= CHOICES else [], "suggested": areas,
        "matters": [(m["code"], m["title"] if language == "zh" else m["title_en"]) for m in accounts.matters(connection)],
    }


def _areas(connection: sa.Connection, language: Language) -> list[dict[str, str]]:
    titles = {level.code: translated(level.title, language) for level in LEVELS}
    return [
        {"path": area["path"], "level": area["level"], "title": f"{area['name'] or area['path']} · {titles.get(area['level'], '')}"}
        for area in accounts.areas(connection, SUGGESTED)
    ]


def _account(account: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """An account as a page tells it."""
    now = datetime.now(tz=enrolling.LOCAL)
    held = []
    for appointment in account["appointments"]:
        until = appointment["to"] and datetime.fromisoformat(appointment["to"])
        held.append(appointment | {
            "since": datetime.fromisoformat(appointment["from"]), "until": until, "places": pages.places(appointment["names"], language),
            "over": bool(until and until <= now), "stands": appointment["role"] in ROLES and ROLES[appointment["role"]].right == "organisation",
        })
    state = next(
        (state for state, there in (
            ("disabled", account["disabled"]), ("locked", account["locked"]),
            ("waiting", not account["password"] and account["kind"] == "person"), ("idle", not any(not a["over"] for a in held)),
        ) if there), "open",
    )
    return dict(account) | {"appointments": held, "state": state, "state_title": accounts.STANDINGS[state]}


def _shown(request: Request, language: Language, text: str, told: Trouble | None) -> Response:
    answer = pages.private(pages.page(request, language, text))
    answer.status_code = told.status if told else 200
    return answer
