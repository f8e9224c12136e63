"""Requests of the persons concerned: to see and copy, correct, delete, have explained, and to appeal (个人信息保护法 Art 44-50).

The person has a ticket and a code, which is kept as keyed hash only; what they wrote and their phone are sealed. Which step may
follow which is data (`MOVES`), held by a foreign key of the log: of two people at one request the later one is told so.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from geo import retention, statements, write
from geo.catalog import RESOURCES
from geo.errors import Invalid, NotFound
from geo.keys import FieldKey
from geo.language import translated
from geo.resource import BASES, Field, choices
from geo.retention import Certificate
from geo.secrets import mask, normalised

Kind = Literal["access", "correct", "delete", "explain", "appeal"]
KINDS = choices(access="查阅复制", correct="更正补充", delete="删除", explain="解释说明", appeal="申诉")
STATES = choices(received="已收到", verified="身份已核实", answered="已答复", refused="已拒绝")
# By calling the number that the record holds, not the one that the request gives; or face to face, keeping no copy.
CHECKS = choices(callback="回拨登记电话", in_person="当面核验,不留存证件")
GROUNDS = choices(
    identity="身份不能核实", statutory="法定保存期限未届满", others="涉及他人的信息或公共利益", unfounded="明显没有依据或重复提出",
    infeasible="技术上难以实现,除存储外停止处理",
)

# What does not touch a person's data asks for no proof of who asks.
MOVES: Mapping[str, Sequence[tuple[str, str]]] = {
    **dict.fromkeys(
        ("access", "correct", "delete"),
        (("", "received"), ("received", "verified"), ("received", "refused"), ("verified", "answered"), ("verified", "refused")),
    ),
    **dict.fromkeys(("explain", "appeal"), (("", "received"), ("received", "answered"), ("received", "refused"))),
}

# No letter or digit that can be taken for another when it is written down or read out over the phone.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


@dataclass(frozen=True)
class Slip:
    """What the person takes away: without the code nobody is told anything."""

    ticket: str
    code: str
    due_at: datetime


@dataclass(frozen=True)
class Case:
    """A request as those see it who handle it. `about` is what the person wrote; `name` who they say they are."""

    ticket: str
    kind: str
    state: str
    received_at: datetime
    due_at: datetime
    finished_at: datetime | None
    overdue: bool
    name: str
    about: str
    phone_masked: str
    verified_how: str | None
    appeal_of: str | None
    handled_by: str


def moves() -> list[dict[str, object]]:
    """The allowed steps as the rows of `rights_moves`."""
    return [{"kind": kind, "source": source, "target": target} for kind, steps in MOVES.items() for source, target in steps]


def receive(
    connection: sa.Connection, kind: Kind, about: str, key: FieldKey, *, name: str = "", phone: str = "", appeal_of: str = "",
    code: str = "", moment: datetime | None = None,
) -> Slip:
    """Take a request in, from anybody. An appeal brings the ticket and code of what it is against.

    Raises `Invalid` without a phone where one is needed to find the records, `NotFound` for an appeal by who has no code.
    """
    if kind in ("access", "correct", "delete") and len(normalised(phone)) < 7:
        raise Invalid("请留下登记时用的电话:要凭它找到您的记录,并回拨核实身份。", field="phone")
    if kind == "appeal" and not (appeal_of and code):
        raise Invalid("申诉请写明原请求的编号和查询码。", field="appeal_of")
    id = statements.run(connection, "new_id").scalar_one()
    slip = Slip(f"QQ{_drawn(8)}", _drawn(10), datetime.max)
    sealed = (mask(phone), key.seal(phone, f"rights_requests|{id}|phone"), key.lookup(phone))
    words = json.dumps({"name": name, "about": about}, ensure_ascii=False)
    due = statements.run(
        connection, "rights_received", id=id, ticket=slip.ticket, kind=kind, moment=moment,
        codes=_kept(code if kind == "appeal" else slip.code, key), against=appeal_of or None,
        subject=key.seal(words, f"rights_requests|{id}|subject"),
        masked=sealed[0] if phone else None, cipher=sealed[1] if phone else None, hash=sealed[2] if phone else None,
    ).scalar_one()
    return Slip(slip.ticket, code if kind == "appeal" else slip.code, due)


def follow(connection: sa.Connection, ticket: str, code: str, key: FieldKey) -> dict[str, Any]:
    """How far a request has got and what was said to the person. `NotFound` for a wrong code as for an unknown ticket."""
    told: dict[str, Any] | None = statements.run(connection, "rights_followed", ticket=ticket, codes=_kept(code, key)).scalar()
    if told is None:
        raise NotFound()
    return told


def listed(
    connection: sa.Connection, key: FieldKey, *, ticket: str | None = None, state: str | None = None, overdue: bool = False,
    moment: datetime | None = None, most: int = 200,
) -> list[Case]:
    """The requests that this caller answers for, those still open and soonest due first; `overdue`: only what is late."""
    cases = []
    for row in statements.run(connection, "rights_listed", ticket=ticket, state=state, late=overdue, moment=moment, most=most):
        words = {"name": "", "about": ""}
        if row.subject_cipher is not None:
            words |= json.loads(key.open(bytes(row.subject_cipher), f"rights_requests|{row.id}|subject"))
        cases.append(Case(
            row.ticket, row.kind, row.state, row.received_at, row.due_at, row.finished_at, row.overdue, words["name"], words["about"],
            row.phone_masked or "", row.verified_how, row.appeal_of, row.handled_by,
        ))
    return cases


def candidates(connection: sa.Connection, ticket: str, key: FieldKey) -> list[dict[str, Any]]:
    """Records of any noun that carry the phone number of a request: {noun, id, title, scope}. Names are masked.

    A number may be a family's or an office's: whose records they are, a person says when verifying.
    """
    asked = statements.run(connection, "rights_phone", ticket=ticket).one_or_none()
    if asked is None:
        return []
    # Not hash by hash: while keys are changed, the request may be under another than the record.
    hashes = key.lookups(key.open(bytes(asked.phone_cipher), f"rights_requests|{asked.id}|phone"))
    return [dict(row) for row in statements.run(connection, "rights_candidates", ticket=ticket, hashes=hashes).mappings()]


def found(connection: sa.Connection, ticket: str) -> list[tuple[str, UUID]]:
    """The records that were found to be theirs: noun and id."""
    return [(noun, id) for _, noun, id in statements.run(connection, "rights_found", ticket=ticket)]


def verify(
    connection: sa.Connection, ticket: str, how: str, findings: Sequence[tuple[str, UUID]], moment: datetime | None = None
) -> None:
    """Who asks is who they say, and these records are theirs. Raises `Conflict` when somebody was quicker."""
    theirs = json.dumps([{"noun": noun, "id": str(id)} for noun, id in findings])
    statements.run(connection, "rights_verified", ticket=ticket, how=how, findings=theirs, moment=moment)


def answer(connection: sa.Connection, ticket: str, note: str = "", moment: datetime | None = None) -> None:
    """Answer in words, which are told to the person: an explanation, an appeal, a correction made already.

    To see or delete takes `copy` or `delete`; `NotFound` for a request of those kinds.
    """
    _answered(connection, ticket, ("explain", "appeal", "correct"), note, moment)


def refuse(
    connection: sa.Connection, ticket: str, grounds: str, note: str, appeal_channel: str, moment: datetime | None = None
) -> None:
    """Refuse a request, on one of `GROUNDS`, with the reasons and where to turn (Art 50)."""
    statements.run(
        connection, "rights_moved", ticket=ticket, kinds=None, target="refused", note=note, grounds=grounds, channel=appeal_channel,
        moment=moment,
    )


def copy(
    connection: sa.Connection, ticket: str, key: FieldKey, language: str = "zh", moment: datetime | None = None
) -> list[dict[str, Any]]:
    """Answer a request to see: everything held of the person, in clear, with why and how long it is kept, who wrote it, and who
    looked. To be handed over and not kept. Written to the trail by whoever calls this, before."""
    _answered(connection, ticket, ("access",), "", moment)
    return [_copied(row, key, language) for row in statements.run(connection, "rights_copied", ticket=ticket)]


def correct(
    connection: sa.Connection, ticket: str, noun: str, id: UUID, values: Mapping[str, object], key: FieldKey,
    moment: datetime | None = None,
) -> None:
    """Answer a request to correct by changing a record that was found to be theirs. Raises `NotFound` for any other."""
    if (noun, id) not in found(connection, ticket):
        raise NotFound(id=str(id))
    write.change(connection, RESOURCES[noun], id, values, None, key)
    _answered(connection, ticket, ("correct",), "", moment)


def delete(
    connection: sa.Connection, home: Path, ticket: str, moment: datetime | None = None
) -> list[Certificate]:
    """Answer a request to delete: what was found to be theirs is destroyed, with a certificate, and so are the words of the
    request. Raises `Unavailable` when the list outside the database cannot be written."""
    _answered(connection, ticket, ("delete",), "", moment)
    done = statements.run(connection, "rights_deleted", ticket=ticket).mappings().all()
    retention.listed(connection, home, done)
    return retention.certified(connection, home, done[0]["request"])


def printed(copies: Sequence[Mapping[str, Any]], language: str = "zh") -> str:
    """A copy as text, to be printed and handed over."""

    def say(sentence: str, **facts: object) -> str:
        return translated(sentence, language).format(**facts)

    lines = [say("个人信息查阅复制件"), ""]
    if not copies:
        lines.append(say("没有找到关于您的记录。"))
    for held in copies:
        lines += [f"{held['title']}({held['id']})", *(f"  {f['title']}:{f['value']}" for f in held["fields"])]
        lines.append(say("  用途:{purpose};依据:{basis};期限:{days} 天", **held["keeping"]))
        lines += [say("  写入:{at},{by}", **one) for one in held["written"]]
        lines += [say("  查看:{at},{by},{purpose}", **one) for one in held["looked"]]
        lines.append("")
    return "\n".join(lines)


def _answered(connection: sa.Connection, ticket: str, kinds: Sequence[str], note: str, moment: datetime | None) -> None:
    statements.run(
        connection, "rights_moved", ticket=ticket, kinds=list(kinds), target="answered", note=note, grounds=None, channel=None,
        moment=moment,
    )


def _copied(row: Any, key: FieldKey, language: str) -> dict[str, Any]:
    resource = RESOURCES[row.noun]
    values = {field: _value(row, field, key) for field in resource.all_fields if field.stored and not field.hashed}
    kept = next(keeping for field in resource.fields if (keeping := resource.kept(field)))
    basis = next(base.title for base in BASES if base.code == kept.basis)
    titles = {(field, choice.code): translated(choice.title, language) for field in values for choice in field.choices}
    return {
        "noun": row.noun, "title": translated(resource.title, language), "id": str(row.feature),
        "fields": [
            {"name": field.name, "title": translated(field.title, language), "value": titles.get((field, value), value)}
            for field, value in values.items()
            if value is not None
        ],
        "source": row.held["source"],
        "keeping": {"purpose": translated(kept.purpose, language), "basis": translated(basis, language), "days": kept.days},
        "written": row.written, "looked": row.looked,
    }


def _value(row: Any, field: Field, key: FieldKey) -> Any:
    if not field.secret:
        return row.held[field.name]
    cipher = row.held[f"{field.name}_cipher"]
    return cipher and key.open(bytes.fromhex(cipher[2:]), f"{row.noun}|{row.feature}|{field.name}")


def _kept(code: str, key: FieldKey) -> list[bytes]:
    """A code as it may be stored, first as it is now: nothing without the key, not to be tried out against a stolen table."""
    return key.fingerprints(f"rights {code}")


def _drawn(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
