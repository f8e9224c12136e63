"""What is kept of persons, until when, and its destruction: of rows, of fields, and of every trace beside them.

What is due follows from the declarations (`Keeping`) and from the ends of emergencies. It is destroyed a stretch at a time,
each a transaction of its own, so that nobody's writing waits; a list of ids outside the database is on the disk before each
commits, and destroys again what a restored backup brings back. Certificates tell how many, when and why.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from geo import db, destroyed, statements
from geo.catalog import RESOURCES
from geo.catalog.incidents import CALLED_BACK
from geo.errors import NotFound
from geo.language import translated
from geo.resource import RETIRED_DAYS, Keeping, Resource
from geo.tables import columns

# Rows a transaction: a tenth of a second, and the locks it holds are on rows that nobody needs any more.
STRETCH = 500

# What the list outside the database says of one.
STRETCH_TOLD = frozenset(("id", "at", "cause", "activation", "request", "noun", "field", "columns", "ids"))

CAUSES = {
    "period": "保存期限已满",
    "retired": "已注销,不再需要",
    "emergency": "应急响应终止,审查期已过",
    "request": "本人请求删除",
    "hand": "指定销毁",
    "replay": "从备份恢复后重新销毁",
}


@dataclass(frozen=True)
class Beside:
    """A personal field of a table that is no noun."""

    table: str
    field: str
    title: str
    columns: tuple[str, ...]
    keeping: Keeping
    seen_by: str
    stored: str


BESIDE = (
    Beside(
        "rights_requests", "subject", "请求人的话和电话", ("subject_cipher", "phone_masked", "phone_cipher", "phone_hash"),
        # Three years: as long as a claim can be brought (民法典 Art 188). A request to delete forgets at once.
        Keeping("处理本人的请求", "duty", 1095, since="finished_at"), "who handles requests", "cipher; phone as mask, cipher and keyed hash",
    ),
    Beside(
        "load_problems", "record", "导入时没能入库的行", ("record", "reason", "value", "suggestion"),
        Keeping("补正没能入库的行", "duty", 90, since="at"), "worker", "as it came, without names and phones",
    ),
    Beside(
        "whistle_calls", "point", "报到的位置", ("point",),
        Keeping("核对吹哨后是否到场", "duty", 30, since="arrived_at"), "nobody: it is measured and not shown", "one point, as it is",
    ),
    # What a photo shows besides is anybody's who went by. Thirty days are twice the time in which a reporter may object.
    Beside(
        "incident_photos", "unreleased", "没有公开的照片", ("digest", "file", "file_key_cipher"),
        Keeping("办理和核查这件事", "duty", 30, since="unreleased_over_at"), "who works with the case", "sealed file, its key as cipher",
    ),
    Beside(
        "incident_photos", "picture", "照片", ("digest", "file", "file_key_cipher"),
        Keeping("办理和核查这件事", "duty", CALLED_BACK.days, since="over_at"), "who works with the case; released: everybody", "sealed file, its key as cipher",
    ),
)


@dataclass(frozen=True)
class Trace:
    """A table beside the nouns that keeps something of what their rows say, and the SQL that destroys it there.

    `struck` knows `of_noun`, the ids that are `gone`, and `of_columns` (NULL: all of the row). `first` is run before the rows
    themselves go, where a foreign key asks for it.
    """

    table: str
    struck: str = ""
    first: str = ""


# The one list of places that destruction reaches. Whatever keeps a copy of what rows say (staging, outbox, webhooks,
# exports, uploads) is put in here; a test fails for a table with text in it that is neither here nor below.
TRACES = (
    Trace(
        "changes",
        "UPDATE changes SET patch = CASE WHEN of_columns IS NOT NULL THEN patch - of_columns END,"
        " scope_before = CASE WHEN of_columns IS NOT NULL THEN scope_before END,"
        " scope_after = CASE WHEN of_columns IS NOT NULL THEN scope_after END"
        " WHERE noun = of_noun AND feature = ANY (gone) AND (of_columns IS NULL OR patch ?| of_columns)",
    ),
    # The hash of a request's body confirms a guess at what was in it.
    Trace("idempotency", "DELETE FROM idempotency WHERE noun = of_noun AND feature = ANY (gone)"),
    Trace("area_shares", "DELETE FROM area_shares WHERE of_columns IS NULL AND noun = of_noun AND feature = ANY (gone)"),
    # That somebody looked is told on; what they wrote of why may speak of the person.
    Trace(
        "unmaskings",
        "UPDATE unmaskings SET note = '已到期销毁', opinion = CASE WHEN opinion IS NOT NULL THEN '已到期销毁' END"
        " WHERE of_columns IS NULL AND noun = of_noun AND feature = ANY (gone)",
    ),
    Trace("clock_alarms", first="DELETE FROM clock_alarms WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("incident_clocks", first="DELETE FROM incident_clocks WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("hotline_tickets", first="DELETE FROM hotline_tickets WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("foreign_requests", first="DELETE FROM foreign_requests WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("observation_rules", first="UPDATE observation_rules SET incident = NULL WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("webhook_deliveries", first="DELETE FROM webhook_deliveries WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("receipts", first="DELETE FROM receipts WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace("duty_calls", first="DELETE FROM duty_calls WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    Trace(
        "whistle_calls",
        first="DELETE FROM whistle_calls WHERE of_noun = 'incidents' AND whistle IN (SELECT id FROM whistles WHERE incident = ANY (gone))",
    ),
    Trace("whistles", first="DELETE FROM whistles WHERE of_noun = 'incidents' AND incident = ANY (gone)"),
    # A photo goes with how to reach whoever sent it. Without its key the file is noise, and the next sweep takes it away.
    Trace(
        "incident_photos",
        "UPDATE incident_photos SET digest = NULL, file = NULL, file_key_cipher = NULL"
        " WHERE of_noun = 'incidents' AND incident = ANY (gone) AND of_columns && ARRAY['reporter_phone_cipher'] AND file IS NOT NULL",
        first="DELETE FROM incident_photos WHERE of_noun = 'incidents' AND incident = ANY (gone)",
    ),
    Trace(
        "area_members",
        first="DELETE FROM area_members WHERE (of_noun = 'buildings' AND building = ANY (gone)) OR (of_noun = 'units' AND unit = ANY (gone))",
    ),
    # Files are destroyed days after they came, with what was staged of them, and at once when the review of an emergency is over for
    # which a row of theirs was gathered (`geo.receiving`); what is told of one quotes no row.
    Trace("uploads"),
    # By batch, not by row: `problems_struck`.
    Trace("load_problems"),
    Trace("batches"),
    # By a rule of its own (`BESIDE`).
    Trace("rights_requests"),
    Trace("rights_log", "UPDATE rights_log SET note = '已到期销毁' WHERE of_noun = 'rights_requests' AND note <> '' AND request = ANY (gone)"),
)

# Tables with text in them that say nothing of a row, each with the reason.
UNTOUCHED = {
    "code_schemes": "patterns of codes",
    "instance": "the name of the instance",
    "area_paths": "paths of areas",
    "successions": "paths of areas",
    "placements": "paths of areas",
    "address_aliases": "what houses are called by those who work here; the name of a person is refused",
    "direct_logins": "logins and paths",
    "incident_states": "states",
    "incident_moves": "steps",
    "attention_steps": "thresholds",
    "siting_rules": "distances",
    "incident_grades": "steps",
    "duty_waits": "paths of areas",
    "incident_log": "what officials did; numbers and names of states are taken out of an opinion before it is stored",
    "appointment_bodies": "ids",
    "mappings": "headings of sheets",
    "partial_uploads": "names of files",
    "layers": "titles, and headings of sheets",
    "layer_features": "of things: a column that looks personal is left out before anything is staged; old editions are cleared away",
    "tallies": "counts",
    "tally_changes": "counts",
    "layer_versions": "names of layers",
    "roles": "the declarations",
    "accounts": "those who work here or did: by login and name the journal and the trail say who it was",
    "appointments": "what they are appointed to",
    "appointment_areas": "paths of areas",
    "sessions": "hashes, and where somebody signed in from",
    "tokens": "hashes and titles",
    "slips": "hashes",
    "trail": "who looked at which id, kept 183 days at least by law; it holds no content",
    "trail_cuts": "hashes of rows of the trail that went",
    "retention_rules": "the declarations",
    "destructions": "ids, which is what it is for",
    "certificates": "counts",
    "assessments": "the words of an assessor about an emergency",
    "gathered_counts": "counts",
    "rights_moves": "the steps that there are",
    "rights_findings": "ids",
    "exports": "what was asked for, by whom and why: fields and conditions, of which none may be a name or a number",
    "export_log": "who decided, and their opinion",
    "export_moves": "the steps that there are",
    "working_days": "names of holidays",
    "stage_limits": "how long a stage may take",
    "matter_limits": "how long a matter may take, and which offices answer for it",
    "alarm_steps": "when whom to tell",
    "things": "devices and where they are; a title that looks personal is refused",
    "datastreams": "what devices measure, and the last number",
    "webhooks": "systems that are told of cases, and a sealed secret of each",
}


@dataclass(frozen=True)
class Due:
    """Rows of one rule that are over for one cause, and since when the first of them. `field` empty: all of the row."""

    noun: str
    field: str
    cause: str
    activation: UUID | None
    count: int
    since: datetime


@dataclass(frozen=True)
class Certificate:
    """What was destroyed, why and how much: counts are of rows, or of rows whose field was destroyed."""

    id: UUID
    number: int
    issued_at: datetime
    issued_by: str
    approved_by: str
    cause: str
    activation: UUID | None
    request: UUID | None
    begun_at: datetime
    ended_at: datetime
    counts: tuple[tuple[str, str, int], ...]  # noun, field or "", how many
    total: int
    salt: bytes
    hash: bytes


def rules() -> list[dict[str, object]]:
    """The declarations as the rows of `retention_rules`: what refers comes before what it refers to."""
    found: list[dict[str, object]] = []
    for resource in reversed(RESOURCES.values()):
        own = [field for field in resource.fields if field.stored and field.keeping]
        # Whose account reported something is known as long as how to reach them, and no longer.
        whose = ["owner"] if resource.owned else []
        found += [_rule(resource.name, f.name, [*(c.name for c in columns(f)), *whose], f.keeping) for f in own if f.keeping]
        if resource.keeping:
            rest = [c.name for field in resource.fields if field.stored and not field.keeping for c in columns(field)]
            found.append(_rule(resource.name, "", rest, resource.keeping))
    found += [_rule(b.table, b.field, b.columns, b.keeping) for b in BESIDE]
    return [rule | {"position": position} for position, rule in enumerate(found)]


def _rule(noun: str, field: str, names: Sequence[str], keeping: Keeping) -> dict[str, object]:
    return {
        "noun": noun, "field": field, "columns": list(names), "purpose": keeping.purpose, "basis": keeping.basis,
        "since": keeping.since, "days": keeping.days, "retired_days": min(keeping.days, RETIRED_DAYS), "whole": keeping.whole,
    }


def functions() -> str:
    """The functions that follow from the lists: what is struck beside the rows, and which rows carry a number."""
    candidates = "\n        UNION ALL ".join(_candidates())
    first = ";\n    ".join(trace.first for trace in TRACES if trace.first)
    struck = ";\n    ".join(trace.struck for trace in TRACES if trace.struck)
    return f"""
CREATE OR REPLACE FUNCTION traces_first(of_noun text, gone uuid[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    {first}
$$;
CREATE OR REPLACE FUNCTION traces_struck(of_noun text, gone uuid[], of_columns text[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    {struck}
$$;
CREATE OR REPLACE FUNCTION rights_candidates(of_ticket text, hashes bytea[]) RETURNS TABLE (noun text, id uuid, title text, scope text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT found.* FROM rights_requests AS r CROSS JOIN LATERAL (
        {candidates}
    ) AS found
    WHERE r.ticket = of_ticket AND retention_held(r.scope) AND r.phone_hash = ANY (hashes) ORDER BY found.noun, found.id LIMIT 200
$$;
"""


def _candidates() -> Iterator[str]:
    for resource in RESOURCES.values():
        label = resource[resource.label]
        title = f"n.{label.name}{'_masked' if label.name_of_person else ''}"
        for field in resource.fields:
            if field.secret and not field.hashed:
                yield (
                    f"SELECT '{resource.name}'::text AS noun, n.id, coalesce({title}, '') AS title, n.scope"
                    f" FROM {resource.name} AS n WHERE n.{field.name}_hash = ANY (hashes)"
                )


def unsampled() -> Iterator[str]:
    """No statistics of what persons said: the planner's samples would keep what has been destroyed, and dumps carry them."""
    quiet = {"changes": ["patch"], "load_problems": ["record", "reason", "facts", "value", "suggestion"], "batches": ["report"]}
    for resource in RESOURCES.values():
        told = [c.name for f in resource.fields if f.secret or f.name_of_person for c in columns(f)]
        if told:
            quiet[resource.name] = told
    for table, names in quiet.items():
        yield f"ALTER TABLE {table} " + ", ".join(f"ALTER {name} SET STATISTICS 0" for name in names)


def due(connection: sa.Connection, moment: datetime | None = None) -> list[Due]:
    """What is over at a moment (now), a line a rule and cause."""
    return [Due(*row) for row in statements.run(connection, "retention_due", moment=moment)]


def over(connection: sa.Connection) -> list[Due]:
    """What is over now, for whoever answers for the data of persons; for others nothing."""
    return [Due(*row) for row in statements.run(connection, "retention_told", moment=None)]


def carried_out(
    connection: sa.Connection, home: Path, line: Due, moment: datetime | None = None, most: int = STRETCH
) -> int:
    """Destroy up to so many rows of a line, in this transaction. Returns how many; 0 when nothing is left that is not held.

    Raises `Unavailable` when the list outside the database cannot be written: roll back then.
    """
    done = statements.run(
        connection, "retention_stretch", noun=line.noun, field=line.field, cause=line.cause, activation=line.activation,
        moment=moment, most=most,
    ).mappings().all()
    return listed(connection, home, done)


def listed(connection: sa.Connection, home: Path, stretches: Iterable[sa.RowMapping]) -> int:
    """Put what this transaction destroyed on the list outside the database. Returns how many rows it was."""
    count = 0
    for stretch in stretches:
        told = {name: stretch[name] for name in sorted(STRETCH_TOLD)} | {"ids": list(map(str, stretch["ids"]))}
        destroyed.append(home, {"instance": _instance(connection), **told})
        count += stretch["number"]
    return count


def run(engine: sa.Engine, home: Path, moment: datetime | None = None, most: int = STRETCH) -> Iterator[Due]:
    """Destroy all that is over, a stretch at each step of the iterator; the last issues the certificates.

    Safe to break off anywhere and to run twice at once: each row is destroyed and counted once.
    """
    with _acting(engine) as connection:
        lines = due(connection, moment)
    for line in lines:
        while True:
            with _acting(engine) as connection:
                done = carried_out(connection, home, line, moment, most)
            if not done:
                break
            yield Due(line.noun, line.field, line.cause, line.activation, done, line.since)
    with _acting(engine) as connection:
        certified(connection, home)


def certified(connection: sa.Connection, home: Path, request: UUID | None = None) -> list[Certificate]:
    """Issue the certificates of what was destroyed and has none yet, or of one request."""
    issued = statements.run(connection, "certificates_issued", request=request).mappings().all()
    for row in issued:
        destroyed.append(home, {"instance": _instance(connection), "certificate": row["certificate"]})
    return [_certificate(row["certificate"]) for row in issued]


def destroy(connection: sa.Connection, home: Path, resource: Resource, ids: Sequence[UUID]) -> Certificate:
    """Destroy rows by hand, for privacy's sake, with all that is kept of them. Raises `NotFound` when one is not there."""
    done = statements.run(
        connection, "struck", stretch=None, at=None, cause="hand", activation=None, request=None, noun=resource.name, field="",
        columns=None, ids=list(ids), again=False,
    ).mappings().all()
    # Asked before it is listed: what is on the list is destroyed at the next start, whatever becomes of this transaction.
    if sum(stretch["number"] for stretch in done) < len(set(ids)):
        raise NotFound(id=str(ids[0]))
    listed(connection, home, done)
    return next(issued for issued in certified(connection, home) if issued.cause == "hand")


def replay(engine: sa.Engine, home: Path) -> list[Certificate]:
    """Destroy again what the list says was destroyed and this database does not know of: it is older than the list.

    The administrator's engine. Returns the certificates of what was there to be destroyed again.
    """
    with _acting(engine) as connection:
        instance = _instance(connection)
        told = [entry for entry in destroyed.entries(home) if entry.get("instance") == instance]
        stretches = [entry for entry in told if entry.keys() >= STRETCH_TOLD]
        known = {
            str(id) for id in statements.run(connection, "known_destructions", ids=[entry["id"] for entry in stretches]).scalars()
        }
        statements.run(connection, "restore_certificates", told=json.dumps([e["certificate"] for e in told if "certificate" in e]))
    missing = [entry for entry in stretches if entry["id"] not in known]
    for entry in missing:
        with _acting(engine) as connection:
            statements.run(
                connection, "struck", stretch=entry["id"], at=entry["at"], cause=entry["cause"], activation=entry["activation"],
                request=entry["request"], noun=entry["noun"], field=entry["field"], columns=entry["columns"], ids=entry["ids"],
                again=True,
            )
    if not missing:
        return []
    with _acting(engine) as connection:
        return certified(connection, home)


def certificates(connection: sa.Connection) -> list[Certificate]:
    """Every certificate, the latest first."""
    return [_certificate(told) for told in statements.run(connection, "certificates").scalars()]


def certificate(connection: sa.Connection, id: UUID) -> tuple[Certificate, bool]:
    """One certificate, and whether its hash is that of the list of what was destroyed. Raises `NotFound`."""
    row = statements.run(connection, "one_certificate", id=id).one_or_none()
    if row is None:
        raise NotFound(id=str(id))
    return _certificate(row.certificate), row.holds


def assess(
    connection: sa.Connection, activation: UUID, until: datetime, assessed_by: str, reason: str, document_number: str = ""
) -> datetime:
    """Put off the destruction after an emergency, with an assessment that names who found it needed and why.

    Returns the end of the review. Raises `NotFound`, or `Invalid` when it is not under review or `until` is too far.
    """
    told: datetime = statements.run(
        connection, "activation_assessed", activation=activation, until=until, by=assessed_by, reason=reason, document=document_number
    ).scalar_one()
    return told


def gathered(connection: sa.Connection, activation: UUID) -> dict[tuple[str, str], int]:
    """How many rows were gathered for an emergency, by noun and community: the same before and after their destruction."""
    return {(noun, path): count for noun, path, count in statements.run(connection, "activation_counts", activation=activation)}


def awaited(engine: sa.Engine, moment: datetime | None = None) -> bool:
    """Whether the night's run is to be done: once a day while people sleep, or at once where a night was missed."""
    with _acting(engine) as connection:
        return bool(statements.run(connection, "retention_awaited", moment=moment).scalar())


def rested(engine: sa.Engine, moment: datetime | None = None) -> None:
    """The run of this day is done."""
    with _acting(engine) as connection:
        statements.run(connection, "retention_rested", moment=moment)


def printed(told: Certificate, holds: bool, language: str = "zh", zone: str = db.TIME_ZONE) -> str:
    """A certificate as a page of text, to be printed and signed."""

    def say(sentence: str, **facts: object) -> str:
        return translated(sentence, language).format(**facts)

    def moment(at: datetime) -> str:
        return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"

    lines = [say("个人信息销毁证明 第 {number} 号", number=told.number), ""]
    lines.append(say("缘由:{cause}", cause=translated(CAUSES[told.cause], language)))
    if told.activation:
        lines.append(say("应急响应:{id}", id=told.activation))
    if told.request:
        lines.append(say("本人请求:{id}", id=told.request))
    lines.append(say("销毁时间:{begun} 至 {ended}", begun=moment(told.begun_at), ended=moment(told.ended_at)))
    lines += ["", say("销毁内容:")]
    lines += ["  " + say("{what}:{count} 条", what=named(noun, field, language), count=count) for noun, field, count in told.counts]
    lines.append("  " + say("共 {count} 条", count=told.total))
    lines += ["", say("连同改动记录、历史版本、重发记录、导入待办中的内容一并销毁。统计数保留。"), ""]
    lines.append(say("核准:{who}", who=told.approved_by or say("按已声明的保存期限")))
    lines.append(say("出具:{who},{at}", who=told.issued_by, at=moment(told.issued_at)))
    lines.append(say("清单摘要(SHA-256):{hash}", hash=told.hash.hex()))
    lines.append(say("盐:{salt}", salt=told.salt.hex()))
    lines.append(say("与销毁清单相符。") if holds else say("与销毁清单不符!请查明谁改动过。"))
    lines += ["", say("编号:{id}", id=told.id), "", say("签章:________________    日期:____________")]
    return "\n".join(lines)


def named(noun: str, field: str, language: str = "zh") -> str:
    """What people call a rule's rows or field."""
    if noun in RESOURCES:
        resource = RESOURCES[noun]
        title = translated(resource[field].title, language) if field else translated("整行", language)
        return f"{translated(resource.title, language)} · {title}"
    beside = next((b.title for b in BESIDE if (b.table, b.field) == (noun, field)), noun)
    return translated(beside, language)


def _certificate(told: dict[str, Any]) -> Certificate:
    """From the JSON in which PostgreSQL writes the row, in the database and on the list alike."""

    def id_of(name: str) -> UUID | None:
        return UUID(told[name]) if told[name] else None

    return Certificate(
        UUID(told["id"]), told["number"], datetime.fromisoformat(told["issued_at"]), told["issued_by"], told["approved_by"],
        told["cause"], id_of("activation"), id_of("request"), datetime.fromisoformat(told["begun_at"]),
        datetime.fromisoformat(told["ended_at"]), tuple((c["noun"], c["field"], c["count"]) for c in told["counts"]), told["total"],
        bytes.fromhex(told["salt"][2:]), bytes.fromhex(told["hash"][2:]),
    )


@contextmanager
def _acting(engine: sa.Engine) -> Iterator[sa.Connection]:
    with db.translated(), engine.begin() as connection:
        connection.execute(sa.text("SELECT set_config('jingwei.actor', 'retention', true)"))
        yield connection


def _instance(connection: sa.Connection) -> str:
    return str(statements.run(connection, "instance_id").scalar_one())
