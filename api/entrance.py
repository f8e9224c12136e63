"""Pages of coming in and of one's own account. They work without scripts: each form posts, and a page follows.

What they do is done by `geo.door` and `geo.accounts`; programs ask for the same through `api/door.py`.
"""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Form as Body
from pydantic import Field

from api import door as sessions
from api import forms, menu, pages
from api.credentials import cookie_name
from api.deps import (
    ANYBODY,
    CallerNow,
    Connection,
    Engines,
    Key,
    LanguageNow,
    PresenceNow,
    anyone,
    from_own_page,
    noted,
    origin,
    presence,
    strict,
    turn,
)
from api.deps import entering as proving
from api.forms import Form, Text, Trouble, tried, trouble
from api.limits import Limits
from api.settings import settings
from api.ways import came_from, own_path, see
from geo import accounts, door, enrolling
from geo.catalog.roles import ROLES
from geo.door import Presence
from geo.errors import Forbidden, GeoError, Invalid, NotFound, Unauthorised
from geo.keys import FieldKey
from geo.language import Language
from maps import pages as drawn

PROOF_SECONDS = 300
TOKEN_DAYS = (30, 90, 180, 365)

routes = APIRouter(include_in_schema=False)
entering = [Depends(anyone), Depends(turn, scope="function")]
# There is no cookie yet, and still the form must be ours: else somebody could be made to work in a stranger's account.
# A password is hashed and a refusal held back on places of their own.
ours = [Depends(from_own_page), Depends(anyone), Depends(proving, scope="function")]

Short = Annotated[Text, Field(max_length=64)]
Secret = Annotated[Text, Field(max_length=1000)]
Code = Annotated[Text, Field(max_length=40)]


class SignIn(Form):
    """What somebody proves themself by; `proof` stands for the password of the step before."""

    login: Short = ""
    password: Secret = ""
    code: Code = ""
    proof: Annotated[Text, Field(max_length=4000)] = ""
    next: Annotated[Text, Field(max_length=2000)] = ""


class Slip(Form):
    """A slip's code, and the password it is used for."""

    code: Code = ""
    password: Secret = ""
    again: Secret = ""


class NewPassword(Form):
    """The old password and the new one, with a code where there is a second factor."""

    old: Secret = ""
    password: Secret = ""
    again: Secret = ""
    code: Code = ""


class Proof(Form):
    """What somebody proves themself by once more."""

    password: Secret = ""
    code: Code = ""


class FirstCode(Form):
    """The first code of a new second factor."""

    code: Code = ""


class Acting(Form):
    """One of one's own appointments."""

    appointment: UUID


class Ending(Form):
    """A token or appointment to end."""

    id: UUID


class EndingSessions(Form):
    """A session to end; without one, all but this."""

    id: UUID | None = None


class NewToken(Form):
    """A token for a system that asks as one of one's appointments."""

    title: Annotated[Text, Field(max_length=100)] = ""
    days: Annotated[int, Field(ge=1, le=366)] = 90
    appointment: UUID


class Lending(Form):
    """An appointment lent to a colleague until a day."""

    appointment: UUID
    login: Short = ""
    since: Short = ""
    until: Short = ""


@routes.get("/sign-in", dependencies=[*entering, strict("next")])
def sign_in_page(request: Request, language: LanguageNow, next: str = "") -> Response:
    """The way in. Who is in already goes on; a session that has ended is forgotten."""
    here = _here(request)
    wanted = own_path(next or came_from(request))
    if here and here.caller.account:
        return see(wanted)
    answer = _sign_in(request, language, SignIn(next=wanted))
    if here is None:
        answer.delete_cookie(cookie_name(request), path="/", secure=settings().secure, httponly=True, samesite="lax")
    return answer


@routes.post("/sign-in", dependencies=[*ours, strict()])
def sign_in(given: Annotated[SignIn, Body()], request: Request, language: LanguageNow, key: Key) -> Response:
    """Come in, in one step or two: the code of a second factor is asked for when the password was right."""
    wanted = own_path(given.next)
    answer = see(wanted)
    try:
        login, password = _proof(given.proof, key) if given.proof else (given.login, given.password)
    except Unauthorised as error:
        return _sign_in(request, language, given, trouble(request, language, "sign-in", error))
    try:
        sessions.enter(request, answer, login, password, given.code, key)
    except GeoError as error:
        if error.facts.get("needs") != "code":
            return _sign_in(request, language, given, trouble(request, language, "sign-in", error))
        told = trouble(request, language, "sign-in", error) if given.code else None
        proof = key.seal(f"{int(time.time())}\n{login}\n{password}", "proof").hex()
        return _sign_in(request, language, given, told, proof)
    here: Presence = request.scope["presence"]
    if here.withheld or not menu.open_to(wanted, here.caller.may):
        answer.headers["Location"] = "/account" if here.withheld else "/"
    return answer


@routes.post("/sign-out", dependencies=[strict()])
def sign_out(request: Request, here: PresenceNow, who: CallerNow) -> Response:
    """Close the session of this browser."""
    answer = see("/sign-in")
    sessions.leave(request, answer, here)
    return answer


@routes.post("/acting", dependencies=[strict()])
def act(given: Annotated[Acting, Body()], request: Request, here: PresenceNow, who: CallerNow) -> Response:
    """From now on act as another of one's appointments, on the same page where that one may see it."""
    if here.session is None:
        raise Unauthorised()
    engines: Engines = request.app.state.engines
    token = request.cookies[cookie_name(request)]
    noted(request, "account", purpose=str(given.appointment), result="asked")
    door.act(engines.door, token, given.appointment)
    back = came_from(request)
    return see(back if menu.open_to(back, door.by_session(engines.door, token).caller.may) else "/")


@routes.get("/slip", dependencies=[*entering, strict("code")])
def slip_page(request: Request, language: LanguageNow, code: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Where the holder of a slip sets a password: led here by its link, or typing its code from paper."""
    try:
        holder = _holder(request, code) if code else None
    except GeoError as error:
        return _slip(request, language, code, None, trouble(request, language, "slip", error))
    return _slip(request, language, code, holder)


@routes.post("/slip", dependencies=[*ours, strict()])
def use_slip(given: Annotated[Slip, Body()], request: Request, language: LanguageNow) -> Response:
    """Set the password of the slip's holder, once, and come in."""
    holder: Mapping[str, Any] | None = None
    try:
        holder = _holder(request, given.code)
        _alike(given.password, given.again)
        account = door.use_slip(_door(request), given.code, given.password)
    except GeoError as error:
        return _slip(request, language, given.code, holder, trouble(request, language, "slip", error))
    answer = see("/")
    sessions.admit(request, answer, door.opened(_door(request), account, origin(request)))
    here: Presence = request.scope["presence"]
    if here.withheld:
        answer.headers["Location"] = "/account"
    return answer


@routes.get("/account", dependencies=[strict("done")])
def account_page(
    request: Request, here: PresenceNow, who: CallerNow, connection: Connection, language: LanguageNow, key: Key, done: str = ""
) -> Response:
    """One's own account."""
    return _account(request, here, connection, language, key, done=done)


@routes.get("/account/{part}", dependencies=[strict()])
def account_again(part: str, who: CallerNow) -> Response:
    """The address of a form, read again: the page it stands on."""
    return see("/account")


@routes.post("/account/password", dependencies=[strict()])
def change_password(
    given: Annotated[NewPassword, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection,
    language: LanguageNow, key: Key,
) -> Response:
    """Give oneself a new password for the old one. All sessions end; this browser gets a new one."""
    _person(here)
    try:
        _alike(given.password, given.again)
        account = door.change_password(_door(request), who.actor, here.name, given.old, given.password, key, given.code)
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "password", error))
    noted(request, "account", "accounts", str(account), "password")
    answer = see("/account", done="password")
    sessions.admit(request, answer, door.opened(_door(request), account, origin(request)))
    return answer


@routes.post("/account/second-factor", dependencies=[strict()])
def new_secret(
    given: Annotated[Proof, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection, language: LanguageNow,
    key: Key,
) -> Response:
    """Begin a second factor, or begin anew with another phone. Its code is asked for once it has been given here."""
    _person(here)
    try:
        account = door.proved(_door(request), who.actor, given.password, given.code, key)
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "second-factor", error))
    noted(request, "account", "accounts", str(account), "second factor")
    door.new_secret(_door(request), account, who.actor, _issuer(request), key)
    return see("/account")


@routes.post("/account/code", dependencies=[strict()])
def confirm(
    given: Annotated[FirstCode, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection,
    language: LanguageNow, key: Key,
) -> Response:
    """Give the first code of a new second factor."""
    _person(here)
    try:
        door.confirm(_door(request), who.actor, given.code, key)
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "code", error))
    noted(request, "account", "accounts", str(who.account), "second factor")
    return see("/account", done="code")


@routes.post("/account/sessions", dependencies=[strict()])
def end_sessions(
    given: Annotated[EndingSessions, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection
) -> Response:
    """End a session of one's own, or all but this one."""
    _person(here)
    ending = [given.id] if given.id else [s["id"] for s in accounts.sessions(connection, who.account) if s["id"] != here.session]
    for session in ending:
        accounts.end_session(connection, session)
    noted(request, "account", "accounts", str(who.account), "sessions")
    return see("/account", done="sessions")


@routes.post("/account/tokens", dependencies=[strict()])
def new_token(
    given: Annotated[NewToken, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection,
    language: LanguageNow, key: Key,
) -> Response:
    """A token, shown on this answer and never again."""
    _unwithheld(here)
    try:
        if not given.title.strip():
            raise Invalid("请写明令牌的用途。", field="title")
        with tried(connection):
            token = accounts.token(connection, given.appointment, given.title.strip(), timedelta(days=given.days))
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "token", error))
    noted(request, "account", "accounts", str(who.account), "token")
    return _account(request, here, connection, language, key, token=token)


@routes.post("/account/token-end", dependencies=[strict()])
def end_token(given: Annotated[Ending, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection) -> Response:
    """Revoke a token of one's own."""
    _person(here)
    accounts.end_token(connection, given.id)
    noted(request, "account", "accounts", str(who.account), "token")
    return see("/account", done="token-ended")


@routes.post("/account/lend", dependencies=[strict()])
def lend(
    given: Annotated[Lending, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection, language: LanguageNow,
    key: Key,
) -> Response:
    """Lend an appointment of one's own to a colleague for a time."""
    _unwithheld(here)
    try:
        with tried(connection):
            held = next((a for a in accounts.own(connection) if a["id"] == given.appointment and a["mine"]), None)
            until = enrolling.day(given.until, last=True)
            if held is None:
                raise NotFound()
            if until is None:
                raise Invalid("请写明借到哪一天。", field="until")
            accounts.appoint(
                connection, accounts.colleague(connection, given.login), held["role"], held["areas"], held["categories"],
                enrolling.day(given.since), until, held["id"],
            )
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "lend", error))
    noted(request, "appoint", "appointments", str(given.appointment), "lend")
    return see("/account", done="lent")


@routes.post("/account/end", dependencies=[strict()])
def end_appointment(
    given: Annotated[Ending, Body()], request: Request, here: PresenceNow, who: CallerNow, connection: Connection, language: LanguageNow,
    key: Key,
) -> Response:
    """End what one has lent, or an appointment of one's own."""
    _person(here)
    try:
        with tried(connection):
            accounts.dismiss(connection, given.id)
    except GeoError as error:
        return _account(request, here, connection, language, key, trouble(request, language, "appointments", error))
    noted(request, "appoint", "appointments", str(given.id), "end")
    return see("/account", done="ended")


def _sign_in(
    request: Request, language: Language, given: SignIn, told: Trouble | None = None, proof: str | None = None
) -> Response:
    facts = {
        "next": own_path(given.next), "login": given.login, "proof": proof, "trouble": told,
        "oidc": request.app.state.oidc,
    }
    return _shown(request, language, drawn.sign_in(pages.reader(request, language), facts), told)


def _slip(
    request: Request, language: Language, code: str, holder: Mapping[str, Any] | None, told: Trouble | None = None
) -> Response:
    facts = {"code": code, "holder": holder, "trouble": told}
    answer = _shown(request, language, drawn.slip(pages.reader(request, language), facts), told)
    # The address holds the code. Not `no-referrer`: a form of such a page posts with `Origin: null`, as a stranger's would.
    answer.headers["Referrer-Policy"] = "strict-origin"
    return answer


def _account(
    request: Request, here: Presence, connection: sa.Connection, language: Language, key: FieldKey, told: Trouble | None = None,
    token: str | None = None, done: str = "",
) -> Response:
    _person(here)
    who = here.caller
    own = [
        row | {"title": ROLES[row["role"]].title, "places": pages.places(row["names"], language)} for row in accounts.own(connection)
        if row["role"] in ROLES
    ]
    otpauth = door.awaited(_door(request), who.actor, _issuer(request), key)
    facts = {
        "called": here.name, "login": who.actor, "totp": here.totp, "otpauth": otpauth,
        "secret": parse_qs(urlsplit(otpauth).query)["secret"][0] if otpauth else "",
        "sessions": [row | {"here": row["id"] == here.session} for row in accounts.sessions(connection, who.account)],
        "tokens": [
            row | {"role_title": ROLES[row["role"]].title} for row in accounts.tokens(connection) if row["login"] == who.actor
        ],
        "held": [row for row in own if row["mine"]], "lent": [row for row in own if not row["mine"]],
        "oidc": request.app.state.oidc, "days": TOKEN_DAYS, "token": token, "trouble": told, "done": forms.DONE.get(done, ""), "withheld": here.withheld,
    }
    return _shown(request, language, drawn.account(pages.reader(request, language), facts), told)


def _shown(request: Request, language: Language, text: str, told: Trouble | None) -> Response:
    answer = pages.private(pages.page(request, language, text))
    answer.status_code = told.status if told else 200
    if answer.status_code == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if told and told.retry_after:
        answer.headers["Retry-After"] = str(told.retry_after)
    return answer


def _here(request: Request) -> Presence | None:
    """Who has come in, nobody in particular, or None for a session that has ended."""
    try:
        return presence(request, None)
    except Unauthorised:
        request.scope["presence"] = ANYBODY
        return None


def _person(here: Presence) -> None:
    """A token opens what its appointment does, and not the account of its holder."""
    if here.session is None:
        raise Unauthorised()


def _unwithheld(here: Presence) -> None:
    _person(here)
    if here.withheld:
        raise Forbidden()


def _holder(request: Request, code: str) -> Mapping[str, Any]:
    limits: Limits = request.app.state.limits
    with limits.tried("slip", request):
        return door.slip_holder(_door(request), code)


def _alike(password: str, again: str) -> None:
    if password != again:
        raise Invalid("两遍输入的口令不一样。", field="again")


def _proof(text: str, key: FieldKey) -> tuple[str, str]:
    """Login and password of the step before, as this server sealed them into the page: the page tells neither."""
    try:
        at, login, password = key.open(bytes.fromhex(text), "proof").split("\n", 2)
    except (GeoError, ValueError) as error:
        raise Unauthorised() from error
    if not 0 <= time.time() - int(at) <= PROOF_SECONDS:
        raise Unauthorised("等得太久了,请重新输入口令。")
    return login, password


def _door(request: Request) -> sa.Engine:
    engines: Engines = request.app.state.engines
    return engines.door


def _issuer(request: Request) -> str:
    return request.app.state.instance.name or "Jingwei"
