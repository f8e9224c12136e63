"""What the worker does with files that were sent, as the loader: read, write, take back, clear away."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import addresses, db, ends, files, intake, layering, matching, seating, secrets, statements, vault
from geo.catalog import RESOURCES
from geo.errors import Conflict, GeoError, Invalid, NotFound
from geo.keys import FieldKey
from geo.layering import Edition, Wish
from geo.matching import Proposal
from geo.staging import Counts, Staging
from geo.uploading import State, file_of, headings
from geo.values import plain

# Days for which a batch can be taken back with its file still there; then the file is destroyed.
KEPT_DAYS = 7
# Editions of a layer before the one that is shown that stay, however old; of those before and of those taken back, for so long.
EDITIONS, EDITION_DAYS = 2, 30
SAMPLES = 5  # values of a column that its sender is shown


class Working:
    """The worker's verbs. Each may be called twice and does its work once."""

    def __init__(self, engine: sa.Engine, key: FieldKey, home: Path) -> None:
        self.engine, self.key, self.home = engine, key, home

    def read(self, id: UUID) -> None:
        """From the sealed file to the staging table. What cannot be read is refused with its sentence."""
        if not (upload := self._claimed(id, ("queued", "reading"), "reading")):
            return
        try:
            with tempfile.TemporaryDirectory(prefix="jingwei-") as folder:
                self._staged(upload, Path(folder))
        except GeoError as error:
            self._moved(id, "refused", refusal=_told(error))

    def _staged(self, upload: sa.RowMapping, folder: Path) -> None:
        id = upload["id"]
        file = folder / f"sent{Path(upload['name']).suffix.lower()}"
        vault.restored(file_of(self.home, id), self._file_key(upload), file)
        order = self._order(upload, _named(file, upload["name"]))
        found: dict[str, Any] = {}

        def told(_: str, done: int, expected: int | None) -> None:
            with self.engine.begin() as beside:
                statements.run(beside, "upload_progress", id=id, done=done, expected=expected)

        def seen(described: files.Described, proposal: Proposal) -> None:
            found.update(_seen(described, proposal))

        try:
            with db.translated(), self.engine.begin() as connection:
                self._as(connection, upload)
                if wish := upload["choices"].get("as_layer"):
                    edition, report = layering.staged(connection, order, Wish(**wish), told, id, upload["within"], seen)
                    counts, bounds = edition.counts(), edition.reach()
                    found |= {"layer": edition.told, "dropped": found["dropped"] | {name: vars(why) for name, why in edition.personal.items()}}
                    found |= {part: {n: v for n, v in found[part].items() if n not in edition.personal} for part in ("extras", "samples")}
                else:
                    staging, report = self._staged_rows(connection, order, upload, told, seen)
                    counts, bounds = staging.counts(), staging.reach() if "geom" in staging.given else None
                    found |= {"given": staging.given, "key_column": staging.key_column}
                told("", report.read, report.read)
        except GeoError as error:
            self._moved(id, "refused", told=found, refusal=_told(error))
            return
        found |= {
            "matched": report.matched, "unread": report.unread, "taken": list(report.taken), "placing": report.placing,
            "read": report.read, "bounds": bounds,
            "addressed": report.addressed, "cleared": report.refused, "activations": list(report.activations),
        }
        self._moved(id, "ready", noun=report.resource, told=found, counts=asdict(counts))

    def _staged_rows(
        self, connection: sa.Connection, order: intake.Order, upload: sa.RowMapping, told: intake.Told, seen: intake.Seen
    ) -> tuple[Staging, intake.Report]:
        before = partial(self._known, connection, upload["account"])
        return intake.staged(connection, order, self.key, self.home / "cache", told, upload["id"], upload["within"], seen, before)

    def _order(self, upload: sa.RowMapping, file: Path) -> intake.Order:
        """What the sender chose, as the intake is told."""
        choices = dict(upload["choices"])
        repair = choices.get("repair", True)
        names = ("columns", "values", "crs", "datum", "encoding", "layer", "axes", "header", "dates", "numbers", "blank")
        return intake.Order(
            file, choices.get("noun") or "", name=upload["name"], repair=repair if isinstance(repair, bool) else frozenset(repair),
            **{name: choices[name] for name in names if choices.get(name) is not None},
        )

    def apply(self, id: UUID) -> None:
        """From the staging table to the noun, as one batch."""
        if not (upload := self._claimed(id, ("applying",), "applying")):
            return
        try:
            with db.translated(), self.engine.begin() as connection:
                self._as(connection, upload)
                self._still_appointed(connection, upload)
                self._written(connection, upload)
        except GeoError as error:
            # Nothing was written. It is compared again, and looked at again.
            self._moved(id, "ready", refusal=_told(error))
            if isinstance(error, Conflict):
                self._compared_again(upload)

    def _written(self, connection: sa.Connection, upload: sa.RowMapping) -> None:
        choices, shown = upload["choices"], Counts(**upload["counts"])
        unsaid = [one["option"] for one in upload["told"].get("evidence", ()) if one["confirm"] and choices.get(one["option"]) is None]
        if unsaid:
            raise Invalid("有一处要先由您确认:{options}。", options=unsaid, option=unsaid[0])
        if not choices.get("valid_only", False) and shown.refused + shown.conflict:
            raise Invalid("还有 {count} 行有问题:改好再传,或选择“只入库没有问题的行”。", count=shown.refused + shown.conflict)
        report = intake.Report(upload["id"], upload["noun"], upload["name"], read=upload["told"].get("read", 0))
        staging: Edition | Staging
        if layer := upload["told"].get("layer"):
            staging = layering.again(connection, upload["id"], layer)
            layering.settled(connection, staging, Wish(**choices["as_layer"]), layer["version"], report)
        else:
            staging = self._staging(connection, upload)
            if staging.sealed_before(self.key.ring.current):
                raise Conflict("密钥在读取之后换过,请重新读取一次。", option="read")
            intake.settled(connection, staging, report, choices.get("missing", "keep"))
        staging.dropped()
        told = dict(upload["told"]) | {"notes": [*upload["told"].get("notes", []), *report.notes], "stored": report.stored}
        self._set(connection, upload["id"], "applied", told=told)
        if choices.get("remember", True) and not layer:
            self._remembered(connection, upload)

    def undo(self, id: UUID) -> None:
        """Take the batch back, or say why not."""
        with self.engine.begin() as connection:
            upload = statements.run(connection, "upload_claimed", id=id, states=["applied"], state="applied").mappings().one_or_none()
        if upload is None or not upload["undoing"]:
            return
        try:
            with db.translated(), self.engine.begin() as connection:
                self._as(connection, upload)
                self._still_appointed(connection, upload)
                ends.undo(connection, id)
                self._set(connection, id, "undone")
        except GeoError as error:
            self._moved(id, "applied", refusal=_told(error))

    def clear(self, id: UUID | None = None) -> int:
        """Destroy what is no longer needed: of `id`, and of every upload whose days are over. Returns how many files."""
        gone = 0
        with db.translated(), self.engine.begin() as connection:
            over = list(statements.run(connection, "uploads_over", id=id, days=KEPT_DAYS).scalars())
            for one in over:
                connection.execute(sa.text(f'DROP TABLE IF EXISTS staging."u_{one.hex}"'))
                file_of(self.home, one).unlink(missing_ok=True)
                gone += 1
            statements.run(connection, "uploads_forgotten", ids=over)
            # What could not be stored was gathered for it too, and is kept longer than a file.
            statements.run(connection, "emergencies_over")
            statements.run(connection, "editions_cleared", kept=EDITIONS, days=EDITION_DAYS)
            over += statements.run(connection, "partials_over").scalars().all() if id is None else []
            known = {str(found) for found in statements.run(connection, "uploads_kept").scalars()}
        # A file whose request did not end well belongs to nothing.
        for stray in (self.home / "uploads").glob("*"):
            if stray.name not in known and _old(stray):
                stray.unlink(missing_ok=True)
        return gone

    def failed(self, id: UUID) -> None:
        """Something went wrong that nobody foresaw: nothing was written, and its sender is told so."""
        before: State = "applied" if self._claimed(id, ("applied",), "applied") else "failed"
        self._moved(id, before, refusal=_told(GeoError()))

    def _claimed(self, id: UUID, states: Sequence[State], state: State) -> sa.RowMapping | None:
        with self.engine.begin() as connection:
            return statements.run(connection, "upload_claimed", id=id, states=list(states), state=state).mappings().one_or_none()

    def _moved(self, id: UUID, state: State, **what: Any) -> None:
        with db.translated(), self.engine.begin() as connection:
            self._set(connection, id, state, **what)

    def _set(self, connection: sa.Connection, id: UUID, state: State, **what: Any) -> None:
        known = dict.fromkeys(("noun", "told", "counts", "refusal")) | what
        statements.run(connection, "upload_set", id=id, state=state, **{
            name: value if value is None or isinstance(value, str) else statements.document(value)
            for name, value in known.items()
        })

    def _as(self, connection: sa.Connection, upload: sa.RowMapping) -> None:
        """Whatever is written now is written by who sent the file."""
        bound = {"jingwei.actor": upload["actor"], "jingwei.acting_as": upload["acting_as"]}
        connection.execute(db.BINDING, {"names": list(bound), "values": list(bound.values())})

    def _still_appointed(self, connection: sa.Connection, upload: sa.RowMapping) -> None:
        if not statements.run(connection, "upload_appointed", appointment=upload["appointment"]).scalar_one():
            raise Conflict("上传时的任职已经结束,不能再入库。")

    def _staging(self, connection: sa.Connection, upload: sa.RowMapping) -> Staging:
        return Staging(
            connection, upload["id"], RESOURCES[upload["noun"]], tuple(upload["within"]), upload["choices"].get("blank", "keep"),
            list(upload["told"]["given"]), upload["told"].get("key_column"),
        )

    def _compared_again(self, upload: sa.RowMapping) -> None:
        with db.translated(), self.engine.begin() as connection:
            layer = upload["told"].get("layer")
            staging = layering.again(connection, upload["id"], layer) if layer else self._staging(connection, upload)
            staging.compared(again=True)
            told = {"layer": staging.told} if isinstance(staging, Edition) else {}
            statements.run(
                connection, "upload_counted", id=upload["id"], counts=json.dumps(asdict(staging.counts())), told=statements.document(told),
            )

    def _known(self, connection: sa.Connection, account: UUID, columns: Sequence[str]) -> tuple[str, dict[str, str]] | None:
        """What this sender settled of the last file with these headings."""
        found = statements.run(connection, "mapping_known", account=account, headings=headings(columns)).one_or_none()
        return None if found is None else (found.noun, dict(found.columns))

    def _remembered(self, connection: sa.Connection, upload: sa.RowMapping) -> None:
        columns = upload["told"].get("matched", {})
        statements.run(
            connection, "mapping_remembered", account=upload["account"], headings=headings(upload["told"].get("headings", [])),
            noun=upload["noun"], columns=statements.document(columns),
        )

    def _file_key(self, upload: sa.RowMapping) -> bytes:
        if upload["file_key_cipher"] is None:
            raise NotFound("送来的文件已按期销毁,请重新上传。")
        return bytes.fromhex(self.key.open(bytes(upload["file_key_cipher"]), f"uploads|{upload['id']}|file_key"))


def _seen(described: files.Described, proposal: Proposal) -> dict[str, Any]:
    """What a file was taken for and why, as it is kept and told."""
    hidden = {*proposal.dropped, *proposal.refused}
    personal = {f.name for noun in [proposal.resource] if noun for f in RESOURCES[noun].writable if f.secret or f.name_of_person}
    hidden |= {found.column for name, found in proposal.columns.items() if name in personal}
    # Of people a name may stand behind the address that stands in place of a code.
    housed = {found.column for name, found in proposal.columns.items() if proposal.resource in matching.BARE and name in seating.HEADINGS}
    return {
        "layers": [{"name": layer.name, "count": layer.count} for layer in described.layers],
        "evidence": [{**vars(one), "facts": dict(one.facts)} for one in described.evidence],
        "headings": list(described.columns),
        "samples": {name: [_sampled(v, name in housed) for v in values[:SAMPLES]] for name, values in described.columns.items() if name not in hidden},
        "position": list(described.position_columns),
        "resources": [{"name": fit.name, "score": round(fit.score, 3), "because": vars(fit.because)} for fit in proposal.resources[:5]],
        "columns": {n: {"column": p.column, "because": vars(p.because), "sure": p.sure} for n, p in proposal.columns.items()},
        "values": {n: {"value": g.value, "because": vars(g.because), "sure": g.sure} for n, g in proposal.values.items()},
        **{part: {n: vars(why) for n, why in getattr(proposal, part).items()} for part in ("extras", "dropped", "refused")},
        "missing": list(proposal.missing), "resource": proposal.resource,
    }


def _sampled(value: object, housed: bool) -> str | None:
    if secrets.refused(str(value)):
        return None
    text = plain(value)
    return addresses.parsed(text).text if text and housed else text


def _named(file: Path, name: str) -> Path:
    # The reading process goes by endings, of which some are double.
    for ending in (".csv.gz", ".tsv.gz", ".txt.gz", ".gdb.zip"):
        if name.lower().endswith(ending):
            return file.rename(file.with_name(f"sent{ending}"))
    return file


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > 86_400


def _told(error: GeoError) -> dict[str, Any]:
    """An error as it is kept: whole, so that it can be said in the reader's language."""
    facts: dict[str, Any] = json.loads(json.dumps(dict(error.facts), ensure_ascii=False, default=str))
    return {"sentence": error.sentence, "type": error.slug(), "facts": facts}
