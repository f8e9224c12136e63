"""Who comes in: passwords, one-time codes, sessions and tokens, asked of the database on a login of its own.

Nothing that opens a door is kept: of tokens and slips the SHA-256 (they are random, and long), of passwords argon2id.
A wrong password, an unknown name and a locked account are one answer, after one time.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import pyotp
import sqlalchemy as sa
from pwdlib import PasswordHash
from zxcvbn import zxcvbn

from geo import db
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.errors import Forbidden, Invalid, NotFound, Unauthorised, Unavailable
from geo.keys import FieldKey

IDLE = timedelta(hours=2)
LASTING = timedelta(hours=12)
LONGEST = 128  # characters of a password; argon2 would hash a megabyte as readily
STRONG = 3  # of zxcvbn's 0 to 4: not guessed by ten thousand million tries
# A refusal comes after a whole number of these: what the database does for a known name takes a few milliseconds that an
# unknown one spares, and on a busy machine a floor alone would let them show above it.
FLOOR_SECONDS = 0.4
STEP_SECONDS = 30

WRONG = "登录名或口令不对;连续 5 次失败后锁定 30 分钟。"

# Each holds 64 MiB for a tenth of a second: a flood of sign-ins must not take the machine.
_hashing = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Presence:
    """Somebody who has come in: the caller of this request, and what a page shows of them."""

    caller: Caller
    name: str = ""
    role: str = "public"
    session: UUID | None = None
    totp: bool = False
    others: tuple[Mapping[str, Any], ...] = ()

    @property
    def withheld(self) -> bool:
        """Whether an administrator has no second factor yet, and so may nothing but get one."""
        return ROLES[self.role].administrator and not self.totp


def sign_in(door: sa.Engine, login: str, password: str, code: str, origin: str, key: FieldKey) -> str:
    """The token of a new session. Raises `Unauthorised`: with `code` missing where one is asked for, it says so."""
    began = time.monotonic()
    try:
        account = _proved(door, login, password, code, key)
    except Unauthorised:
        time.sleep(held_back(time.monotonic() - began))
        raise
    return opened(door, account, origin)


def held_back(spent: float) -> float:
    """For how long a refusal waits that took so many seconds."""
    return FLOOR_SECONDS - spent % FLOOR_SECONDS


def opened(door: sa.Engine, account: UUID, origin: str) -> str:
    """The token of a new session of an account that has proved itself."""
    token = secrets.token_urlsafe(32)
    _told(door, sa.select(sa.func.session_opened(account, digest(token), IDLE, LASTING, origin[:60])))
    return token


def by_session(door: sa.Engine, token: str) -> Presence:
    """Who holds a session. Raises `Unauthorised` when it has ended, or never was."""
    row = _row(door, "SELECT * FROM caller_of_session(:hash)", hash=digest(token))
    return bound(row, row["session"])


def by_token(door: sa.Engine, token: str) -> Presence:
    """Who holds an API token. Raises `Unauthorised` for one that is wrong, expired, revoked or another server's."""
    return bound(_row(door, "SELECT * FROM caller_of_token(:hash)", hash=digest(token)), None)


def close(door: sa.Engine, token: str) -> None:
    """End a session."""
    _told(door, sa.select(sa.func.session_closed(digest(token))))


def act(door: sa.Engine, token: str, appointment: UUID | None) -> None:
    """From now on this session acts as another appointment of its holder, or as nobody in particular. `Forbidden` for none of theirs."""
    if not _told(door, sa.select(sa.func.acting_chosen(digest(token), appointment))):
        raise Forbidden()


def known(door: sa.Engine, login: str) -> str:
    """A login as its account has it; `?` where there is none, for people type passwords there, and what they typed is kept nowhere."""
    return login.lower() if _maybe(door, "SELECT id FROM account_asked(:login)", login=login[:LONGEST].replace("\0", "")) else "?"


def slip_holder(door: sa.Engine, code: str) -> Mapping[str, Any]:
    """Whose slip it is: account, login, name. Raises `NotFound` for one that is used, run out or was never given."""
    found = _maybe(door, "SELECT * FROM slip_asked(:hash)", hash=digest(spelled(code)))
    if found is None:
        raise NotFound("凭条无效:已用过、已过期,或输入有误。请向管理员要一张新的。")
    return found


def use_slip(door: sa.Engine, code: str, password: str) -> UUID:
    """Set the password of the slip's holder; whatever was open before is closed. Returns the account."""
    holder = slip_holder(door, code)
    hashed = strong(password, holder["login"], holder["name"])
    account = _told(door, sa.select(sa.func.slip_used(digest(spelled(code)), hashed)))
    if account is None:
        raise NotFound("凭条无效:已用过、已过期,或输入有误。请向管理员要一张新的。")
    return UUID(str(account))


def change_password(door: sa.Engine, login: str, name: str, old: str, new: str, key: FieldKey, code: str = "") -> UUID:
    """Give a new password for the old one. All sessions end. Raises `Unauthorised` as signing in does."""
    if new == old:
        raise Invalid("新口令和原来的一样。", field="password")
    # Before the old one is asked for, which uses up a code: the next is half a minute away.
    hashed = strong(new, login, name)
    account = _proved(door, login, old, code, key)
    _told(door, sa.select(sa.func.password_changed(account, hashed)))
    return account


def proved(door: sa.Engine, login: str, password: str, code: str, key: FieldKey) -> UUID:
    """Somebody who is in proves themself once more, before what lets them in is changed: a session left open on a desk
    must not be enough. Raises `Unauthorised` as signing in does."""
    return _proved(door, login, password, code, key)


def strong(password: str, *known: str) -> str:
    """The hash to keep. Raises `Invalid` for a password that is short or guessable, or says what `known` says."""
    if not 10 <= len(password) <= LONGEST:
        raise Invalid("口令须为 10 至 128 个字符。", field="password")
    found = zxcvbn(password, user_inputs=["jingwei", *filter(None, known)], max_length=LONGEST)
    if found["score"] < STRONG:
        raise Invalid("这个口令太容易被猜到,请换一个更长、更少见的:几个不相干的词连起来就很好。", field="password")
    with _hashing:
        return _hasher().hash(password)


def new_secret(door: sa.Engine, account: UUID, login: str, issuer: str, key: FieldKey) -> str:
    """A new second factor, not asked for until its first code is given: the otpauth address of its QR code."""
    secret = pyotp.random_base32()
    _told(door, sa.select(sa.func.totp_set(account, key.seal(secret, _about(account)))))
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def awaited(door: sa.Engine, login: str, issuer: str, key: FieldKey) -> str | None:
    """The otpauth address of a new second factor whose first code has not been given yet; None when there is none."""
    found = _maybe(door, "SELECT * FROM account_asked(:login)", login=login)
    if found is None or found["totp_cipher"] is None or found["totp_at"] is not None:
        return None
    secret = key.open(bytes(found["totp_cipher"]), _about(found["id"]))
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def confirm(door: sa.Engine, login: str, code: str, key: FieldKey) -> None:
    """The first code of a new second factor: from now on it is asked for. Raises `Invalid` for a wrong one."""
    found = _maybe(door, "SELECT * FROM account_asked(:login)", login=login)
    if found is None or found["totp_cipher"] is None or not _code_holds(door, found, code, key):
        raise Invalid("验证码不对,请看手机上的新码。", field="code")


def account_of(door: sa.Engine, subject: str, twice: bool) -> UUID:
    """The account that an identity provider's subject (`issuer|sub`) is bound to; `twice` says whether the provider asked for
    a second factor. Raises `Unauthorised` for none, and where the account has a second factor and the provider asked for none."""
    found = _maybe(door, "SELECT * FROM account_of_subject(:subject)", subject=subject)
    if found is None:
        raise Unauthorised("这个身份还没有对应的账号,请让管理员绑定。", subject=subject)
    if found["second_factor"] and not twice:
        raise Unauthorised("这个账号设有第二重验证,请用口令和验证码登录。")
    return UUID(str(found["id"]))


def link(door: sa.Engine, token: str, subject: str) -> None:
    """Bind a subject to the account of a session that was opened a moment ago. Raises `Forbidden` for an older one and for an
    account that is bound already, `Conflict` for a subject that is another's."""
    if not _told(door, sa.select(sa.func.subject_linked(digest(token), subject))):
        raise Forbidden("绑定前请重新登录;已绑定过的账号请让管理员改绑。")


def digest(token: str) -> bytes:
    """What is kept of a random token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def spelled(code: str) -> str:
    """A slip's code as it was given out, however somebody types it from paper."""
    plain = "".join(c for c in code.upper() if c.isalnum())
    return plain.translate(str.maketrans("0189", "OIBG"))


def new_code() -> str:
    """Sixteen letters and digits that are not mistaken for each other: 80 bits."""
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))


def _proved(door: sa.Engine, login: str, password: str, code: str, key: FieldKey) -> UUID:
    found = _maybe(door, "SELECT * FROM account_asked(:login)", login=login[:LONGEST].replace("\0", ""))
    kept = found["password_hash"] if found and found["password_hash"] else _nobodys()
    if not _hashing.acquire(timeout=5):
        raise Unavailable(retry_after=5)
    try:
        right = len(password) <= LONGEST and _hasher().verify(password, kept)
    finally:
        _hashing.release()
    if found is None:
        raise Unauthorised(WRONG)
    if found["locked"] or not found["password_hash"]:
        raise Unauthorised(WRONG)
    if not right:
        _told(door, sa.select(sa.func.sign_in_failed(found["id"])))
        raise Unauthorised(WRONG)
    if found["totp_at"] is not None:
        if not code:
            raise Unauthorised("请再输入手机上的 6 位验证码。", needs="code")
        if not _code_holds(door, found, code, key):
            _told(door, sa.select(sa.func.sign_in_failed(found["id"])))
            raise Unauthorised("验证码不对,或已用过:请等下一个。", needs="code")
    account: UUID = found["id"]
    return account


def _code_holds(door: sa.Engine, found: Mapping[str, Any], code: str, key: FieldKey) -> bool:
    once = pyotp.TOTP(key.open(found["totp_cipher"], _about(found["id"])))
    now = int(time.time()) // STEP_SECONDS
    digits = "".join(code.split())
    # A phone's clock may be half a minute off; the database takes each step once.
    for step in (now, now - 1, now + 1):
        if secrets.compare_digest(once.generate_otp(step).encode(), digits.encode()):
            return bool(_told(door, sa.select(sa.func.totp_used(found["id"], step))))
    return False


def _about(account: UUID) -> str:
    return f"accounts|{account}|totp"


@cache
def _hasher() -> PasswordHash:
    return PasswordHash.recommended()


@cache
def _nobodys() -> str:
    # So that an unknown name takes as long as a known one.
    return _hasher().hash(secrets.token_urlsafe(16))


def bound(row: Mapping[str, Any], session: UUID | None = None) -> Presence:
    """Who a row of `caller_of` is, as a request of theirs is bound."""
    role = ROLES.get(row["role"] or "public", ROLES["public"])
    withheld = role.administrator and not row["totp"]
    scope = tuple(_outermost(row["scope"]))
    # Without their second factor an administrator acts as nothing, in the database too: it looks at the appointment.
    caller = Caller(
        actor=row["login"],
        role=f"jingwei_{role.right}",
        scope=scope,
        audience=role.audience,
        acting_as=f"{role.code}@{'+'.join(scope)}"[:200] if row["appointment"] else "",
        account=row["account"],
        appointment=None if withheld else row["appointment"],
        categories=tuple(row["categories"]),
        may=frozenset() if withheld else frozenset(role.may),
    )
    return Presence(caller, row["name"], role.code, session, row["totp"], tuple(row["others"]))


def _outermost(paths: list[str]) -> list[str]:
    return [path for path in paths if not any(path != other and path.startswith(other) for other in paths)]


def _told(door: sa.Engine, statement: sa.Select[Any]) -> Any:
    with db.translated(), door.begin() as connection:
        return connection.scalar(statement)


def _maybe(door: sa.Engine, statement: str, **values: object) -> Mapping[str, Any] | None:
    with db.translated(), door.begin() as connection:
        found = connection.execute(sa.text(statement), values).mappings().one_or_none()
    return None if found is None else dict(found)


def _row(door: sa.Engine, statement: str, **values: object) -> Mapping[str, Any]:
    found = _maybe(door, statement, **values)
    if found is None:
        raise Unauthorised()
    return found
