"""What the forms of pages share: what they may send, how a refusal is shown in place, and what is said when it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from fastapi import Request
from pydantic import BaseModel, ConfigDict

from api import deps, errors, models
from geo import db
from geo.errors import GeoError
from geo.language import Language, translated

# What a page says after a form has done its work, by the word in its address.
DONE = {
    "password": "口令已改。其他地方的登录都已退出。",
    "code": "手机验证码已启用,下次登录时要输入。",
    "sessions": "登录已结束。",
    "token-ended": "令牌已作废。",
    "lent": "已借出,到期自动收回。",
    "ended": "任职已结束。",
    "appointed": "已任命。",
    "handed-over": "任职已移交。",
    "embodied": "已写明代表哪个单位，派给它的事件由这个人办。",
    "disabled": "账号已停用,它的登录和令牌都已失效。",
    "enabled": "账号已启用。",
}


Text = models.Text


class Form(BaseModel):
    """Fields of a form. One that the page does not have is refused, as in every other body."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Trouble:
    """Why a form of a page could not be done: which form, the sentence, the field it is about, the status of the answer."""

    form: str
    sentence: str
    field: str | None
    status: int
    retry_after: int | None = None  # seconds


def trouble(request: Request, language: Language, form: str, error: GeoError) -> Trouble:
    """A refusal as the page shows it. Like any other, one for lack of right is in the trail."""
    status = errors.STATUS[type(error)]
    if status == 403:
        deps.refused(request, type(error).slug())
    if status >= 500 and status != 503:
        raise error
    field, again = error.facts.get("field"), error.facts.get("retry_after")
    said = error.said(partial(translated, language=language))
    return Trouble(form, said, str(field) if field else None, status, again if isinstance(again, int) else None)


@contextmanager
def tried(connection: sa.Connection) -> Iterator[None]:
    """Writes that leave nothing when they fail, and the transaction usable for the page that says so."""
    with db.translated(), connection.begin_nested():
        yield
