"""From a file to the database: read, matched, parsed, placed, stored, reported. Nothing is dropped unnamed.

A row that cannot be stored stays as work to do (`load_problems`) with the sentence that says why; a column that no field
claims stays with its record (`extras`), except where it looks personal: then it is left out and named.
One load is one batch and one transaction.
"""

import dataclasses
import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from geo import addresses, copying, db, ewkb, files, matching, members, seating, secrets, sheets, statements
from geo.addresses import Found, Hint, Matcher
from geo.catalog import RESOURCES
from geo.crs import Datum
from geo.errors import Invalid, NotFound
from geo.keys import FieldKey
from geo.language import Said, translated
from geo.matching import BARE, Proposal
from geo.placing import Placer, Places, replace
from geo.resource import PRECISIONS, REASONS, SEAT, Field, Place, Resource
from geo.staging import Blank, Missing, Staging, Straight, bare
from geo.terminal import said, spoken
from geo.values import PLAINLY_ODD, UNQUOTED, Reader, Understood, plain
from geo.write import sealed

Told = Callable[[str, int, int | None], None]

# From this many rows on, an empty table is filled first and indexed after.
LARGE = 20_000


@dataclass(frozen=True)
class Order:
    """What to load, and what the file does not say of itself."""

    file: Path
    into: str  # the noun; '' where the file is to say
    columns: Mapping[str, str] = field(default_factory=dict)  # field → column
    values: Mapping[str, str] = field(default_factory=dict)  # field → value, for every row
    crs: str | None = None
    datum: str | None = None
    encoding: str | None = None
    layer: str | None = None
    repair: bool | frozenset[int] = True
    axes: str | None = None
    header: str | None = None
    dates: str | None = None
    numbers: str | None = None
    name: str = ""  # as its sender calls the file, where that is not what it is called here
    blank: Blank = "keep"
    missing: Missing = "keep"

    @property
    def reading(self) -> dict[str, object]:
        """What the reading process is told."""
        names = ("encoding", "crs", "datum", "layer", "axes", "header", "dates", "numbers", "repair")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass
class Report:
    """What became of every row and every column."""

    batch: uuid.UUID
    resource: str
    source: str
    read: int = 0
    stored: int = 0
    changed: int = 0
    unchanged: int = 0
    unstored: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    placing: Counter[str] = field(default_factory=Counter)
    matched: dict[str, str] = field(default_factory=dict)
    extras: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    examples: int = 0  # rows of a template that only show how
    refused: Counter[str] = field(default_factory=Counter)  # cells of a column that told what is taken in from nobody
    addressed: Counter[str] = field(default_factory=Counter)  # by precision, '' for no match
    activations: dict[str, None] = field(default_factory=dict)  # the emergencies for which any row was gathered
    taken: dict[str, None] = field(default_factory=dict)  # what was taken for granted of values, in its order
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        # Reasons and notes are kept with the load as they are: those with a name or number in them stay Chinese.
        say = partial(translated, language=spoken())
        title = RESOURCES[self.resource].title if self.resource in RESOURCES else "自有图层"
        head = "{source} → {noun}:读入 {read} 行,入库 {stored} 行,待办 {unstored} 行。批次 {batch}"
        lines = [said(head, **vars(self) | {"noun": say(title)})]
        if self.changed or self.unchanged:
            lines.append(said("其中 {changed} 行改动已有记录;另有 {unchanged} 行与已有记录相同", changed=self.changed, unchanged=self.unchanged))
        if self.matched:
            told = "、".join(f"{column} → {say(RESOURCES[self.resource][name].title)}" for name, column in self.matched.items())
            lines.append(said("列:{columns}", columns=told))
        if self.extras:
            lines.append(said("随记录保存的其他列:{columns}", columns="、".join(self.extras)))
        unread = "列 {column} 有 {count} 行的值不能识别,没有收" if self.resource in BARE else "列 {column} 有 {count} 行的值不能识别,原样随记录保存"
        lines += [said(unread, column=column, count=count) for column, count in self.unread.items()]
        cleared = "列 {column} 有 {count} 格写着不收的情况,这些格没有收"
        lines += [said(cleared, column=column, count=count) for column, count in self.refused.items()]
        lines += [said("未收的列 {column}:{why}", column=column, why=say(why)) for column, why in self.dropped.items()]
        if self.addressed:
            precisions = {choice.code: choice.title for choice in PRECISIONS}
            precisions[""] = "对不上"
            told = "、".join(f"{say(precisions[code])} {count}" for code, count in self.addressed.most_common())
            lines.append(said("按地址查找:{counts}", counts=told))
        if self.placing:
            reasons = {choice.code: choice.title for choice in REASONS}
            told = "、".join(f"{say(reasons.get(reason, '正常'))} {count}" for reason, count in self.placing.most_common())
            lines.append(said("落格:{counts}", counts=told))
        lines += [said("待办 {count} 行:{why}", count=count, why=say(why)) for why, count in self.problems.most_common(20)]
        return "\n  ".join(lines + [say(note) for note in self.notes])


@dataclass
class Rows:
    """Rows on their way in: arrays of equal length, and which of them are still good."""

    number: NDArray[np.int64]
    columns: dict[str, pa.Array]
    good: NDArray[np.bool_]
    lon: NDArray[np.float64] | None = None
    lat: NDArray[np.float64] | None = None
    wkb: pa.Array | None = None  # the shapes as they came, until somebody looks at them
    problems: list["Problem"] = field(default_factory=list)
    raw: dict[str, pa.Array] = field(default_factory=dict)  # what was not understood of a column, as it came
    examples: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))  # rows that only show how
    ids: list[str | None] = field(default_factory=list)  # of the record that a row is known to be
    versions: pa.Array | None = None  # of that record, as the file was made
    near: dict[str, str] = field(default_factory=dict)  # the code that a text is a slip of the pen away from
    texts: dict[str, seating.Texts] = field(default_factory=dict)  # what stands in place of a code, by field: the words for a house
    drawn: pa.Array | None = None  # the shapes as the noun keeps them, in EWKB
    _shapes: NDArray[np.object_] | None = None

    @property
    def shapes(self) -> NDArray[np.object_] | None:
        """The shapes, to be looked at and changed. Those of most files are only passed on: making them takes as long as reading."""
        if self.wkb is not None:
            self.shapes = shapely.from_wkb(np.array(self.wkb.to_pylist(), object))
        return self._shapes

    @shapes.setter
    def shapes(self, shapes: NDArray[np.object_] | None) -> None:
        self._shapes = None if shapes is None else np.atleast_1d(np.asarray(shapes, object))
        self.wkb = None

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def of(cls, batch: "files.Batch") -> "Rows":
        """The rows of a file, those that cannot be drawn refused, and what was repaired told."""
        rows = cls(np.asarray(batch.rows), {}, np.ones(len(batch.rows), bool), batch.lon, batch.lat, batch.wkb)
        for at, reason in batch.problems.items():
            rows.refuse(_only(at, len(rows)), "geometry", Said(reason))
        rows.problems += [
            Problem(at, "geometry", Said(REPAIRED, {"what": files.FAULTS.get(done.what, done.what), "before": _area(done.before), "after": _area(done.after)}),
                    repaired=True, place=(done.lon, done.lat))
            for at, done in batch.repaired.items()
        ]
        return rows

    def refuse(self, bad: NDArray[np.bool_], name: str, reason: Said) -> None:
        """Take rows out, each for the same reason."""
        self.problems += [Problem(int(at), name, reason) for at in np.flatnonzero(bad & self.good)]
        self.good &= ~bad


@dataclass(frozen=True)
class Problem:
    """What is wrong with a cell, or was and has been repaired."""

    at: int
    field: str
    reason: Said
    value: str = ""
    suggestion: str = ""
    repaired: bool = False
    place: tuple[float, float] | None = None  # lon, lat


Seen = Callable[["files.Described", Proposal], None]
# What was settled of a file with these headings before: its noun, and the column of each field.
Before = Callable[[Sequence[str]], tuple[str, Mapping[str, str]] | None]


def load(engine: sa.Engine, order: Order, key: FieldKey, cache: Path | None = None, told: Told = lambda *_: None) -> Report:
    """Load a file through `engine` (the loader's login). Returns what became of every row and column.

    Raises `NotFound` for an unknown resource, `Invalid` when the file cannot be understood or a needed column is missing;
    then nothing is stored.
    """

    with db.translated(), engine.begin() as connection:
        try:
            with connection.begin_nested():
                staging, report = staged(connection, order, key, cache, told, seen=sure(order), straight=True)
        except Unsuited:
            staging, report = staged(connection, order, key, cache, told, seen=sure(order))
        settled(connection, staging, report, order.missing, aside=True)
        staging.dropped()
    return report


def sure(order: Order) -> Seen:
    """That positions are shifted is concluded: who loads at the terminal says so, or says what they are."""

    def seen(described: "files.Described", _: Proposal) -> None:
        shifted = next((one for one in described.evidence if one.confirm and one.aspect == "datum" and Datum(one.value).shifted), None)
        if shifted is not None and order.datum is None:
            raise Invalid("坐标像是偏移过的({why}),请用 --datum 确认。", why=str(shifted), option="--datum", choices=list(shifted.choices))

    return seen


class Unsuited(Exception):
    """A row breaks a rule of its noun, and all that was written straight into it is to be taken back."""


def staged(
    connection: sa.Connection, order: Order, key: FieldKey, cache: Path | None = None, told: Told = lambda *_: None,
    batch: uuid.UUID | None = None, within: Sequence[str] = ("",), seen: Seen | None = None,
    before: Before = lambda _: None, straight: bool = False,
) -> tuple[Staging, Report]:
    """Read a file into a staging table: matched, parsed, placed, checked, compared. Nothing that is there is touched.

    With `straight` the rows of a noun without any go where they belong at once, which spares a second copy of each; `Unsuited` when one
    of them breaks a rule. `within` are the areas its sender answers for. `seen` is told what the file is taken for, before that can fail.
    Raises as `load`.
    """
    # While the reading process starts and unpacks.
    warming = threading.Thread(target=matching.prepared)
    warming.start()
    with files.opened(order.file, **how(connection, order)) as (described, batches):
        warming.join()
        proposal = recognised(described, order, before(list(described.columns)))
        if seen is not None:
            seen(described, proposal)
        words = _worded(proposal, described)
        resource, match, values = matched(proposal, described, order, words[0])
        report = opened(connection, resource.name, order, batch)
        _named(report, proposal, match, described)
        straight = straight and resource.name != "areas" and bare(connection, resource)
        way = Straight if straight else Staging
        staging = way(connection, report.batch, resource, tuple(within), order.blank, key_column=match.get(resource.known_by or ""))
        staging.made()
        desk = Desk(connection, resource, match, values, order, report, key, staging, words)
        placer = Placer.ready(connection, cache) if resource.place is Place.POINT else None
        with _suited(straight), filled(connection, resource, described.count if straight else None):
            for part in batches:
                report.read += len(part.rows)
                rows = desk.parsed(part if proposal.counted else cleared(part, report))
                desk.stored(rows, desk.placed(rows, placer))
                told("", report.read, described.count)
            staging.copy.over()
    staging.checked()
    staging.compared()
    return staging, report


@contextmanager
def _suited(straight: bool) -> Iterator[None]:
    try:
        yield
    except (psycopg.IntegrityError, sa.exc.IntegrityError) as error:
        if straight:
            raise Unsuited from error
        raise


def prepared() -> None:
    """Be ready for the first file, which then takes a second less: for a process that waits for files."""
    matching.prepared()
    files.prepared()


def how(connection: sa.Connection, order: Order) -> dict[str, object]:
    """How a file is to be read: as ordered, and knowing what is where."""
    near = statements.run(connection, "areas_near").one_or_none()
    return order.reading | ({"near": tuple(near)} if near else {}) | {"known": partial(_shapes_known, connection)}


def settled(
    connection: sa.Connection, staging: Staging, report: Report, missing: Missing = "keep", aside: bool = False
) -> None:
    """Write what is staged, as one batch. With `aside` nobody else needs to read the noun meanwhile, and its indexes may wait.

    Raises `Conflict` when what is there is no longer what it was compared with.
    """
    resource = staging.resource
    counts = staging.counts()
    reach = staging.reach() if resource.name == "areas" else None
    with filled(connection, resource, counts.new if aside else None):
        report.stored = staging.settled(missing == "retire")
    report.changed, report.unchanged, report.unstored = counts.changed, counts.unchanged, staging.refused()
    found = statements.run(connection, "problems_by_reason", batch=report.batch).all()
    report.problems = Counter({_told(resource, row.field, Said(row.reason, row.facts)): row.count for row in found})
    closed(connection, resource, report, reach)


def opened(connection: sa.Connection, noun: str, order: Order, batch: uuid.UUID | None = None) -> Report:
    """A batch, open in this transaction; one that was read before begins anew."""
    source = order.name or order.file.name
    given = statements.run(connection, "batch_opened", batch=batch, noun=noun, source=source).scalar_one()
    connection.execute(sa.text("DELETE FROM load_problems WHERE batch = :batch"), {"batch": given})
    return Report(given, noun, source)


def closed(
    connection: sa.Connection, resource: Resource, report: Report, reach: tuple[float, float, float, float] | None = None
) -> None:
    """Journal the batch as one change, keep its report, and settle what new areas have moved."""
    journalled(connection, report)
    if resource.name == "areas":
        _settled(connection, report, reach)
    if resource.name in ("areas", "buildings", "units"):
        _derived(connection, report)


def journalled(connection: sa.Connection, report: Report) -> None:
    """One change for the whole batch, and what became of its rows."""
    connection.execute(
        sa.text("SELECT batch_journalled(:noun, :batch, :rows)"),
        {"noun": report.resource, "batch": report.batch, "rows": report.stored},
    )
    connection.execute(
        sa.text("UPDATE batches SET report = CAST(:report AS jsonb) WHERE id = :batch"),
        {"batch": report.batch, "report": statements.document(vars(report))},
    )


def _derived(connection: sa.Connection, report: Report) -> None:
    """Look up again what areas given as lists of houses are made of. New boundaries settle what lies there by trigger."""
    told = members.derive(connection)
    if told.members or told.boundaries:
        report.notes.append(f"按楼栋清单对上 {told.members} 处成员,推得 {len(told.boundaries)} 个网格的边界")
    if report.resource == "areas":
        report.notes += [f"{found.name} 的成员“{found.text}”没有对上:{found.reason}" for found in told.unresolved[:50]]


def _settled(connection: sa.Connection, report: Report, reach: tuple[float, float, float, float] | None) -> None:
    """Place anew what lies where areas came or were: all of it when theirs is a level that nothing was found on before."""
    if reach is None:
        return
    new_level = statements.run(connection, "level_of_batch", batch=report.batch).scalar_one()
    moved = sum(replace(connection, box=None if new_level else reach).values())
    if moved:
        report.notes.append(f"{moved} 条已有记录重新落格")


@contextmanager
def filled(connection: sa.Connection, resource: Resource, count: int | None) -> Iterator[None]:
    """Fill an empty table before indexing it: indexes made afterwards took half the time of indexes kept up. Whoever reads the table
    waits until the load is over, so this is for who fills it from the command line, not for what is sent to a running server."""
    if not bare(connection, resource) or (count or 0) < LARGE:
        yield
        return
    indexes = connection.execute(sa.text("SELECT indexes_set_aside(:noun)"), {"noun": resource.name}).scalars().all()
    yield
    for statement in indexes:
        connection.execute(sa.text("SELECT index_restored(:noun, :statement)"), {"noun": resource.name, "statement": statement})


def _told(resource: Resource, name: str, reason: Said) -> str:
    """A reason with the field that it is about."""
    about = next((f.title for f in resource.all_fields if f.name == name), "")
    return f"{about}:{reason}" if about and about not in str(reason) else str(reason)


def _shapes_known(connection: sa.Connection, bounds: tuple[float, float, float, float]) -> list[bytes]:
    west, south, east, north = bounds
    found = statements.run(connection, "shapes_known", west=west, south=south, east=east, north=north)
    return [bytes(shape) for (shape,) in found]


def recognised(described: "files.Described", order: Order, before: tuple[str, Mapping[str, str]] | None = None) -> Proposal:
    """What a file is taken for: as ordered, as its sender's last one like it, else as it looks.

    Raises `NotFound` for an unknown noun.
    """
    if order.into and order.into not in RESOURCES:
        raise NotFound("没有名为 {resource} 的资源。", resource=order.into, resources=list(RESOURCES))
    wanted = {name: column for name, column in order.columns.items() if column}
    without = [*order.values, *(name for name, column in order.columns.items() if not column)]
    if sheets.ID in described.columns:
        # An export come back: where each record lies was told by us, and is no field.
        told = {sheets.ID, sheets.VERSION, *sheets.PLACES.values()}
        described = dataclasses.replace(described, columns={name: values for name, values in described.columns.items() if name not in told})
    noun, known = before or ("", {})
    if order.into and order.into != noun:
        noun, known = order.into, {}
    called = f"{order.name or order.file.name} {order.layer or ''}"
    proposal = matching.proposed(described, noun or None, known, called, ordered=wanted, given=without)
    told = _housed(RESOURCES[proposal.resource], proposal.columns, _worded(proposal, described)[0]) if proposal.resource else set()
    return dataclasses.replace(proposal, missing=tuple(name for name in proposal.missing if name not in told))


def _housed(resource: Resource, columns: Collection[str], words: str | None) -> set[str]:
    """What a file need not say: of what lies in a house its building, where a dwelling or an address tells it."""
    told = words or any(name in columns for name in seating.HEADINGS)
    return {"building"} if told and resource.place is Place.INHERITS else set()


def _worded(proposal: Proposal, described: "files.Described") -> tuple[str | None, str | None]:
    """The columns that say in words where a row is and in which compound: of people too, whose address is looked up and not kept."""
    return addresses.headed(column for column in described.columns if column not in proposal.refused)


def matched(
    proposal: Proposal, described: "files.Described", order: Order, words: str | None = None
) -> tuple[Resource, dict[str, str], dict[str, str]]:
    """The noun of a file, which column each field is read from, and what is given for every row. With a column of `words` for
    where a row is, it need not say its building.

    Raises `Invalid` when no noun fits, an ordered column is not there, or a required field has neither column, value nor default.
    """
    columns = list(described.columns)
    if proposal.resource is None:
        raise Invalid("看不出这是什么数据,请选择它是哪一类。", option="noun", choices=[fit.name for fit in proposal.resources], columns=columns)
    resource = RESOURCES[proposal.resource]
    known = {f.name for f in resource.writable}
    for name, column in order.columns.items():
        if name not in known:
            raise Invalid("{noun} 没有字段 {field}。", noun=resource.title, field=name)
        if column and column not in columns:
            raise Invalid("文件里没有列 {column}。", column=column, field=name, columns=columns)
        if column in proposal.refused or column in proposal.dropped:
            raise Invalid("列 {column} 里是不收或不能明文保存的个人情况,不能用作“{title}”。", column=column, title=resource[name].title, field=name)
    for name in order.values:
        if name not in known:
            raise Invalid("{noun} 没有字段 {field}。", noun=resource.title, field=name)
    match = {name: found.column for name, found in proposal.columns.items()} | dict(order.columns)
    match = {name: column for name, column in match.items() if column and name not in order.values}
    values = {name: given.value for name, given in proposal.values.items() if name not in match} | dict(order.values)
    housed = _housed(resource, match, words)
    for declared in resource.writable:
        if declared.required and declared.default is None and declared.name not in {*match, *values, *housed}:
            raise Invalid(
                "文件里没有“{title}”列。请用 --map {field}=列名 指明,或用 --set {field}=值 给出。",
                title=declared.title, field=declared.name, columns=columns, spellings=list(declared.spellings), option="columns",
            )
    return resource, match, values


def _named(report: Report, proposal: Proposal, match: Mapping[str, str], described: "files.Described") -> None:
    """Say what becomes of every column."""
    report.matched = dict(match)
    taken = set(match.values())
    aside = sheets.set_aside(RESOURCES[report.resource])
    report.extras = [column for column in proposal.extras if column not in taken and column not in aside]
    if report.resource not in BARE:
        # A column that was a field's until it was ordered otherwise stays with the record, like any that nobody claims.
        claimed = {found.column for found in proposal.columns.values()} - taken
        report.extras += [column for column in described.columns if column in claimed and column not in aside]
    left_out = {**proposal.dropped, **proposal.refused}
    report.dropped = {column: str(why) for column, why in left_out.items() if column not in taken}
    report.notes += described.warnings


class Desk:
    """Where rows are worked on: all that stays the same from batch to batch."""

    def __init__(
        self, connection: sa.Connection, resource: Resource, match: Mapping[str, str], values: Mapping[str, str], order: Order,
        report: Report, key: FieldKey, staging: Staging, words: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self.connection, self.resource, self.match, self.report, self.key = connection, resource, match, report, key
        self.staging = staging
        self.values = values
        self.words, self.around = words
        self.matcher: Matcher | None = None
        # A column that was only guessed to be an optional field may hold other things too: what is not understood stays
        # with the record. How precise a place is, is not guessed.
        self.soft = {
            f.name for f in resource.writable
            if f.name in match and f.name not in order.columns and not f.required and f.name != "precision"
        }
        self.now: datetime = connection.execute(sa.text("SELECT now()")).scalar_one()
        self.readers = {
            f.name: Reader(f, resource.name, self._known(f), self.now, match.get(f.name, ""))
            for f in resource.writable if f.name in match or f.name in values
        }
        if resource.place is Place.INHERITS:
            # Whoever changes a list waits until this load is over: it would not see what is being loaded, nor that the list. New
            # stairwells change lists themselves in the end, so their load is alone from the beginning.
            lock = "pg_advisory_xact_lock" + ("" if resource.name == "units" else "_shared")
            connection.execute(sa.text(f"SELECT {lock}(hashtext('houses'))"))
        self.seen = Met()
        self.met = Met()  # the records that rows before were
        self.first = bare(connection, resource)
        self.batches = 0

    def _recognised(self, rows: Rows, batch: "files.Batch") -> None:
        """Which records rows are: by the number that an export gave them, else by the key. What is secret in a row is sealed for that
        record alone, so this is asked before anything is stored; of a batch, as a table may hold a million records."""
        rows.ids = [None] * len(rows)
        if self.first:
            return
        key = self.resource.known_by
        if key in rows.columns:
            named = rows.columns[key].to_pylist()
            if "valid_from" in rows.columns and self.resource.name == "areas":
                # From when on it is said: another version, not a change of the one that is there.
                since = rows.columns["valid_from"].is_valid().to_pylist()
                named = [None if said else name for name, said in zip(named, since, strict=True)]
            in_force = " AND (valid_to IS NULL OR valid_to > now())" if self.resource.name == "areas" else ""
            known = self._living(f"{key} = ANY (:told){in_force}", key, [name for name in named if name is not None])
            rows.ids = [known.get(name) for name in named]
        numbered = next((name for name in (sheets.ID, "id") if name in batch.columns), None)
        if numbered is None:
            return
        told = [str(value).strip().lower() for value in batch.columns[numbered].to_pylist()]
        living = self._living("id = ANY (CAST(:told AS uuid[]))", "id::text", [one for one in told if UUID.fullmatch(one)])
        rows.ids = [living.get(one, id) for one, id in zip(told, rows.ids, strict=True)]
        versioned = next((name for name in (sheets.VERSION, "version") if name in batch.columns), None)
        if versioned is not None:
            seen = [plain(value) for value in batch.columns[versioned].to_pylist()]
            rows.versions = pa.array([int(v) if v and v.isdecimal() and len(v) < 9 and one in living else None for v, one in zip(seen, told, strict=True)], pa.int32())

    def _living(self, condition: str, named: str, told: Sequence[str]) -> dict[str, str]:
        """The ids of living records, by how they are `named`."""
        query = f"SELECT {named}, id::text FROM {self.resource.name} WHERE retired_at IS NULL AND {condition}"
        return {row[0]: row[1] for row in self.connection.execute(sa.text(query), {"told": list(set(told))})} if told else {}

    def parsed(self, batch: "files.Batch") -> Rows:
        """The batch's columns as the values of fields. What cannot be one takes its row out, with the reason."""
        rows = Rows.of(batch)
        rows.examples = self._examples(batch)
        rows.good &= ~rows.examples
        for declared in self.resource.writable:
            if declared.name in self.match:
                rows.columns[declared.name] = self._column(rows, declared, batch.columns[self.match[declared.name]])
            elif declared.name in self.values:
                given = pa.array([self.values[declared.name]] * min(1, len(rows)))
                one = self._column(Rows(np.zeros(len(given), np.int64), {}, np.ones(len(given), bool)), declared, given)
                if len(one) and one[0].as_py() is None:
                    raise Invalid("--set {field} 的值不能用。", field=declared.name, value=self.values[declared.name])
                rows.columns[declared.name] = _repeated(one, len(rows))
        if "activation" in rows.columns:
            self.report.activations |= dict.fromkeys(rows.columns["activation"].drop_null().unique().to_pylist())
        self._recognised(rows, batch)
        there = np.array([id is not None for id in rows.ids], bool)
        for declared in self.resource.writable:
            if declared.name == "building" and self.resource.place is Place.INHERITS:
                continue  # a dwelling may tell it
            if declared.required and declared.default is None and declared.name in rows.columns:
                # A record that is there keeps what a blank cell, or a mask, does not say.
                without = rows.columns[declared.name].is_null().to_numpy(False) & ~there
                rows.refuse(without, declared.name, Said("缺少{title}", {"title": declared.title}))
        self._worded(rows, batch)
        self._seated(rows, batch)
        kept = {name: batch.columns[name] for name in self.report.extras}
        if self.resource.name not in BARE:
            kept |= rows.raw
        if kept:
            rows.columns["extras"] = as_json(kept)
        self._unique(rows)
        self._drawn(rows)
        hidden = {self.match[f.name] for f in self.resource.writable if (f.secret or f.name_of_person) and f.name in self.match}
        if self.resource.name in BARE:
            # Nor are words in place of a code: a name may stand behind an address.
            hidden |= {self.match[name] for name in rows.texts if name in self.match}
        problems_kept(self.connection, self.report.batch, rows, {n: c for n, c in batch.columns.items() if n not in hidden and n not in self.report.dropped})
        return rows

    def _examples(self, batch: "files.Batch") -> NDArray[np.bool_]:
        """Rows of a table to fill in that only show how."""
        shown = np.zeros(len(batch.rows), bool)
        texts = [column for column in batch.columns.values() if pa.types.is_string(column.type)]
        hinted = [pc.fill_null(pc.starts_with(column, sheets.EXAMPLE), False).to_numpy(zero_copy_only=False) for column in texts]
        for at in np.flatnonzero(np.logical_or.reduce(hinted)) if hinted else ():
            shown[at] = sheets.is_example([column[at].as_py() for column in batch.columns.values()])
        self.report.examples += int(shown.sum())
        return shown

    def _worded(self, rows: Rows, batch: "files.Batch") -> None:
        """What has no place of its own in the file is looked up by its address: a point in the building or compound."""
        if self.words is None or self.resource.place is not Place.POINT or self.resource.geometry != "POINT":
            return
        texts = [plain(value) for value in batch.columns[self.words].to_pylist()]
        at = np.flatnonzero(rows.good & np.array([bool(text) for text in texts], bool) & self._nowhere(rows))
        around = batch.columns[self.around].to_pylist() if self.around else [None] * len(rows)
        hints = [Hint(where=plain(around[row]) or "") for row in at]
        told = self._ready().matched([texts[row] for row in at], hints) if len(at) else []
        found = dict(zip(at.tolist(), told, strict=True))
        self.report.addressed.update(one.precision or "" for one in told)
        self._pointed(rows, found, texts)

    def _ready(self) -> Matcher:
        self.matcher = self.matcher or Matcher.ready(self.connection, self.staging.within)
        return self.matcher

    def _nowhere(self, rows: Rows) -> NDArray[np.bool_]:
        """Rows without coordinates. That of a record which is there already stays where it is: it may have been measured."""
        if rows.shapes is not None:
            without = shapely.is_missing(rows.shapes) | shapely.is_empty(rows.shapes)
        elif rows.lon is not None and rows.lat is not None:
            without = np.isnan(rows.lon) | np.isnan(rows.lat)
        else:
            without = np.ones(len(rows), bool)
        nowhere: NDArray[np.bool_] = without & np.array([id is None for id in rows.ids], bool)
        return nowhere

    def _pointed(self, rows: Rows, found: Mapping[int, Found], texts: Sequence[str | None]) -> None:
        if rows.shapes is None and (rows.lon is None or rows.lat is None):
            rows.lon, rows.lat = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        points = addresses.points(self.connection, found.values())
        said = rows.columns["precision"].to_pylist() if "precision" in rows.columns else [None] * len(rows)
        for at, one in found.items():
            lies = one.building or one.compound
            if one.precision and lies in points:
                said[at] = one.precision
                if rows.shapes is not None:
                    rows.shapes[at] = shapely.Point(points[lies])
                elif rows.lon is not None and rows.lat is not None:
                    rows.lon[at], rows.lat[at] = points[lies]
            elif self.resource.geometry_required:
                self._unfound(rows, at, "geometry", one, texts[at])
        if found:
            rows.columns["precision"] = pa.array(said, pa.string())

    def _seated(self, rows: Rows, batch: "files.Batch") -> None:
        """The house of each row, and what it says of its inside: by code, or by the words that stand in its place."""
        referring = [f.name for f in self.resource.writable if f.name in seating.HEADINGS and f.refers]
        housed = self.resource.place is Place.INHERITS
        if not (housed or rows.texts):
            return
        if "dwelling" in referring and "unit" not in referring and (stairs := addresses.staired(batch.columns)):
            rows.texts["unit"] = [plain(value) for value in batch.columns[stairs].to_pylist()]
        known = {name: rows.columns[name].to_pylist() for name in referring if name in rows.columns}
        words, around = (None if name is None else [plain(v) for v in batch.columns[name].to_pylist()] for name in (self.words, self.around))
        says = seating.Sayings(known, rows.texts, rows.near, words if housed else None, around, frozenset(referring), frozenset(self.soft))
        without = np.array([id is None for id in known.get("building") or [None] * len(rows)], bool) & housed
        told = np.array([any(texts) for texts in zip(*rows.texts.values(), strict=True)] if rows.texts else [False] * len(rows), bool)
        done = seating.seated(self.connection, self._ready, says, np.flatnonzero(rows.good & (without | told)).tolist(), len(rows))
        self.report.addressed.update(done.precisions)
        for name, count in done.unread.items():
            self.report.unread[self.match[name]] += count
        for fault in done.faults:
            # Of people no words are kept: a name may stand behind the address.
            shown = "" if self.resource.name in BARE else fault.text[:80]
            rows.problems.append(Problem(fault.at, fault.field, fault.reason, shown, fault.suggestion))
            rows.good[fault.at] = False
        for part in seating.PARTS:
            if part in referring and (part in rows.columns or any(done.ids[part])):
                rows.columns[part] = pa.array(done.ids[part], pa.string())
        if housed:
            rows.columns.setdefault("building", pa.nulls(len(rows), pa.string()))
            there = np.array([id is not None for id in rows.ids], bool)
            title = self.resource["building"].title
            rows.refuse(rows.columns["building"].is_null().to_numpy(False) & ~there, "building", Said("缺少{title}", {"title": title}))

    def _unfound(self, rows: Rows, at: int, name: str, one: Found, text: str | None) -> None:
        """A row whose address leads nowhere is work for a person, who is told why and what it may be."""
        likely = "、".join(candidate.title for candidate in one.candidates[:3])
        rows.problems.append(Problem(at, name, one.because[0], (text or "")[:80], likely))
        rows.good[at] = False

    def placed(self, rows: Rows, placer: Placer | None) -> Places | None:
        """Where each good row is; nothing for nouns that the database places as it stores them."""
        if placer is None:
            return None
        lon, lat = self._points(rows)
        here = rows.good & ~np.isnan(lon)
        count = len(rows)
        found = Places(
            np.zeros(count, np.int32), np.full(count, placer.root, object), np.full(count, "imprecise", object),
            np.full(count, None, object), np.full(count, np.nan), np.full((count, 2), np.nan),
        )
        stated = rows.columns.get("stated_area")
        precision = rows.columns.get("precision")
        told = None if stated is None else np.array(stated.to_pylist(), object)
        if here.any():
            at = np.flatnonzero(here)
            answer = placer.place(
                lon[at], lat[at], self._moments(rows, at),
                None if precision is None else np.array([p == "region" for p in precision.take(pa.array(at)).to_pylist()], bool),
                None if told is None else told[at],
            )
            for name in ("placement", "scope", "reason", "nearest", "nearest_m", "label"):
                getattr(found, name)[at] = getattr(answer, name)
        if told is not None:
            nowhere = np.flatnonzero(rows.good & ~here)
            for row in nowhere:
                found.scope[row] = placer.stated(told[row])
        for one in pc.value_counts(pa.array(found.reason[rows.good], pa.string())).to_pylist():
            self.report.placing[one["values"] or "clean"] += one["counts"]
        return found

    def stored(self, rows: Rows, places: Places | None) -> None:
        """COPY the good rows into the staging table."""
        good = np.flatnonzero(rows.good)
        if not len(good):
            return
        table = self._table(rows, places, good)
        self.staging.filled(table)

    def _table(self, rows: Rows, places: Places | None, good: NDArray[np.intp]) -> pa.Table:
        """The good rows as the columns of the noun's table."""
        take = pa.array(good)
        ids = self._ids(rows, good)
        out: dict[str, pa.Array] = {"file_row": pa.array(rows.number[good]), "id": ids}
        if rows.versions is not None:
            out["file_version"] = rows.versions.take(take)
        for declared in self.resource.writable:
            if declared.name not in rows.columns:
                continue
            column = rows.columns[declared.name].take(take)
            if declared.secret:
                out |= self._sealed(declared, column, ids)
            else:
                out[declared.name] = column
        count = len(good)
        out["source"] = _repeated(pa.array([self.report.source]), count)
        out["batch"] = _repeated(pa.array([str(self.report.batch)]), count)
        if "extras" in rows.columns:
            out["extras"] = rows.columns["extras"].take(take)
        if self.resource.geometry:
            out["geom"] = self._shapes(rows, good)
        if places is not None:
            out |= self._places(rows, places, good)
        if self.resource.place is Place.INHERITS:
            out |= self._housed(rows, take)
        return pa.table(out)

    def _ids(self, rows: Rows, good: NDArray[np.intp]) -> pa.Array:
        """The id of each good row: that of the record it is known to be, or a new one."""
        fresh = uuids(len(good), self.now, self.batches)
        self.batches += 1
        if not any(rows.ids):
            return fresh
        known = [rows.ids[at] for at in good.tolist()]
        return pa.array([new if id is None else uuid.UUID(id).bytes for id, new in zip(known, fresh.to_pylist(), strict=True)], fresh.type)

    def _housed(self, rows: Rows, take: pa.Array) -> dict[str, pa.Array]:
        """Where rows are that lie in houses: asked of the database, once for each place in a house."""
        told = {
            name: rows.columns[column].take(take).to_pylist()
            for name, column in zip(("building", *SEAT), ("building", *self.resource.seat), strict=True) if column in rows.columns
        }
        seats = list(zip(*told.values(), strict=True))
        asked = list(dict.fromkeys(seats))
        values: dict[str, Sequence[object]] = {column: [] for column in SEAT} | dict(zip(told, map(list, zip(*asked, strict=True)), strict=True))
        found = dict(zip(asked, statements.run(self.connection, "places_in_houses", **values).all(), strict=True))
        scopes, placements = zip(*(found[seat] for seat in seats), strict=True)
        return {"scope": pa.array(scopes), "placement": pa.array(placements, pa.int32())}

    def _places(self, rows: Rows, places: Places, good: NDArray[np.intp]) -> dict[str, pa.Array]:
        placement = places.placement[good]
        out = {
            "placement": pa.array(placement, mask=placement == 0),
            "scope": pa.array(places.scope[good], pa.string()),
            "placing_reason": pa.array(places.reason[good], pa.string()),
            "nearest_area": pa.array(places.nearest[good], pa.string()),
            "nearest_m": pa.array(places.nearest_m[good], from_pandas=True),
        }
        if self.resource.coarse:
            x, y = places.label[good, 0].copy(), places.label[good, 1].copy()
            lon, lat = self._points(rows)
            lost = np.isnan(x)
            x[lost], y[lost] = np.round(lon[good][lost] / 0.05) * 0.05, np.round(lat[good][lost] / 0.05) * 0.05
            out["geom_coarse"] = ewkb.points(x, y)
        return out

    def _shapes(self, rows: Rows, good: NDArray[np.intp]) -> pa.Array:
        if rows.lon is not None and rows.lat is not None and self.resource.geometry == "POINT":
            return ewkb.points(rows.lon[good], rows.lat[good])
        return self._kept(rows, good)

    @staticmethod
    def _kept(rows: Rows, at: NDArray[np.intp]) -> pa.Array:
        """Shapes in EWKB."""
        if rows.drawn is not None:
            return rows.drawn if len(at) == len(rows) else rows.drawn.take(pa.array(at))
        assert rows.shapes is not None
        return pa.array(shapely.to_wkb(shapely.set_srid(rows.shapes[at], 4326), include_srid=True), pa.large_binary())

    def _points(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The representative point of each row; of polygons the one that PostGIS gives, which is not always that of
        another GEOS."""
        if rows.lon is None or rows.lat is None:
            rows.lon, rows.lat = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
            there = self._there(rows)
            at = np.flatnonzero(rows.good & there)
            if self.resource.geometry == "POINT":
                assert rows.shapes is not None
                rows.lon[at], rows.lat[at] = shapely.get_x(rows.shapes[at]), shapely.get_y(rows.shapes[at])
            elif len(at):
                xy = np.frombuffer(self._asked(self._kept(rows, at)), ">f8").reshape(-1, 2)
                rows.lon[at], rows.lat[at] = xy[:, 0], xy[:, 1]
        return rows.lon, rows.lat

    def _asked(self, shapes: pa.Array) -> bytes:
        """What PostGIS says of shapes, by a connection beside: on this one the rows before them may still be being written."""
        with self.connection.engine.connect() as beside:
            driver = beside.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with driver.cursor(binary=True) as cursor:
                cursor.adapters.register_dumper(copying.Listed, copying.ListedDumper)
                [told] = cursor.execute(REPRESENTATIVE, [copying.Listed.of(shapes)]).fetchone() or (b"",)
            driver.rollback()
            return bytes(told)

    @staticmethod
    def _there(rows: Rows) -> NDArray[np.bool_]:
        there: NDArray[np.bool_] = (
            ~shapely.is_missing(rows.shapes) if rows.drawn is None else rows.drawn.is_valid().to_numpy(zero_copy_only=False)
        )
        return there

    def _moments(self, rows: Rows, at: NDArray[np.intp]) -> NDArray[np.float64] | None:
        name = self.resource.moment
        if name is None or name not in rows.columns:
            return None
        stamps = rows.columns[name].take(pa.array(at)).dictionary_encode()
        seconds = np.array(
            [datetime.fromisoformat(text).timestamp() for text in stamps.dictionary.to_pylist()] + [np.nan], np.float64
        )
        moments: NDArray[np.float64] = seconds[pc.fill_null(stamps.indices, len(seconds) - 1).to_numpy(zero_copy_only=False)]
        return moments

    def _column(self, rows: Rows, declared: Field, column: pa.Array) -> pa.Array:
        """A column as a field's values in text. Values are understood once each, however often they occur."""
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        reader = self.readers[declared.name]
        if sheets.may_be_masked(declared) and pa.types.is_string(column.type):
            # What people are shown in place of a name or number never takes its place.
            masks = [bool(text) and sheets.is_mask(text) for text in column.to_pylist()]
            column = pc.if_else(pa.array(masks), pa.scalar(None, column.type), column)
        if pa.types.is_string(column.type) and (reader.free or (reader.verbatim and _plainly(declared, column))):
            text = pc.utf8_trim_whitespace(column)
            text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
            text = pc.replace_substring_regex(text, UNQUOTED, r"\1")
            long = pc.fill_null(pc.greater(pc.utf8_length(text), declared.longest), False).to_numpy(zero_copy_only=False)
            rows.refuse(long, declared.name, Said("超过 {most} 字", {"most": declared.longest}))
            null = pc.fill_null(pc.match_substring(text, "\0"), False).to_numpy(zero_copy_only=False)
            rows.refuse(null, declared.name, Said("含有空字符"))
            return text
        encoded = column.dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        understood = reader.read(distinct)
        self.report.taken |= {str(why): None for why in understood.because}
        indices = encoded.indices
        if declared.refers == "compounds" and understood.wrong:
            self._compounds(distinct, understood)
        if understood.wrong and self._worth_words(declared):
            texts = [(plain(value) or "").replace("\0", "") if at in understood.wrong else None for at, value in enumerate(distinct)]
            rows.texts[declared.name] = pa.array(texts, pa.string()).take(indices).to_pylist()
            rows.near |= {texts[at] or "": near for at, near in understood.suggestions.items()}
            self.report.taken[str(Said("“{title}”一列写的不是编码的,按地址查找", {"title": declared.title}))] = None
        elif understood.wrong and declared.name in self.soft:
            odd = pc.is_in(indices, pa.array(list(understood.wrong), indices.type))
            name = self.match[declared.name]
            rows.raw[name] = pc.if_else(odd, pc.cast(column, pa.string()), pa.scalar(None, pa.string()))
            self.report.unread[name] += int(pc.sum(odd).as_py() or 0)
        elif understood.wrong:
            at = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False)
            private = declared.secret or declared.name_of_person
            for row in np.flatnonzero(np.isin(at, list(understood.wrong))).tolist():
                reason, value = understood.wrong[at[row]], "" if private else str(distinct[at[row]])[:80]
                rows.problems.append(Problem(row, declared.name, reason, value, "" if private else understood.suggestions.get(at[row], "")))
                rows.good[row] = False
        if not understood.values:
            return pa.nulls(len(column), pa.string())
        return pa.array(understood.values, pa.string()).take(indices)

    def _compounds(self, distinct: Sequence[object], understood: Understood) -> None:
        """What is neither code nor name of a compound may be its alias, or an address in it."""
        asked = [*understood.wrong]
        for at, one in zip(asked, self._ready().matched([plain(distinct[at]) for at in asked]), strict=True):
            if one.precision and one.compound:
                understood.values[at] = str(one.compound)
                del understood.wrong[at]
            elif one.candidates:
                understood.suggestions.setdefault(at, "、".join(candidate.title for candidate in one.candidates[:3]))

    def _worth_words(self, declared: Field) -> bool:
        """Whether what is no code under this heading may be the words for a house."""
        return declared.name in seating.PARTS or (declared.name == "household" and declared.name in self.soft)

    def _known(self, declared: Field) -> dict[str, str | None] | None:
        """What may be written for a listed or referring field; None for any other."""
        if declared.listed:
            return dict(self._codes(declared))
        return self._targets(declared) if declared.refers else None

    def _codes(self, declared: Field) -> dict[str, str]:
        rows = self.connection.execute(sa.text(f"SELECT code, title, title_en FROM {declared.listed} WHERE retired_at IS NULL"))
        found: dict[str, str] = {}
        for code, title, title_en in rows:
            found |= {title: code, title_en.lower(): code, code: code}
        return found

    def _targets(self, declared: Field) -> dict[str, str | None]:
        """What may be written for a reference: a code, a path, or a name that only one carries (None: several do)."""
        if declared.refers == "area_paths":
            query = (
                "SELECT path, path AS a, code AS b, name AS c FROM areas WHERE retired_at IS NULL"
                " AND (valid_to IS NULL OR valid_to > now())"
            )
        else:
            label = RESOURCES[str(declared.refers)].label
            query = f"SELECT id::text, id::text AS a, code AS b, {label} AS c FROM {declared.refers} WHERE retired_at IS NULL"
            if declared.refers == "incidents":
                query = "SELECT id::text, id::text AS a, number AS b, NULL AS c FROM incidents WHERE retired_at IS NULL"
        names: dict[str, str | None] = {}
        sure: dict[str, str | None] = {}
        for target, own, code, name in self.connection.execute(sa.text(query)):
            sure[own] = target
            if code:
                sure[code] = target if sure.get(code, target) == target else None
            if name:
                names[name] = target if names.get(name, target) == target else None
        # A room or stairwell is one only in its house, and a house in the compound that another column names.
        return sure if declared.name in ("unit", "dwelling") or (declared.name == "building" and self.around) else names | sure

    def _unique(self, rows: Rows) -> None:
        """A key that a row before it has in the same file takes the later row out; and so does a record that both are."""
        key = self.resource.key[0] if self.resource.key else None
        if key is not None and key in rows.columns:
            self._once(rows, rows.columns[key], self.seen, key, self.resource[key].title)
        if any(rows.ids):
            self._once(rows, pa.array(rows.ids, pa.string()), self.met, sheets.ID, sheets.ID)

    @staticmethod
    def _once(rows: Rows, texts: pa.Array, met: "Met", name: str, title: str) -> None:
        at = np.flatnonzero(rows.good & texts.is_valid().to_numpy(False))
        twice = np.zeros(len(rows), bool)
        twice[at] = met.again(texts.take(pa.array(at)).to_pylist())
        rows.refuse(twice, name, Said("{title}在文件里不止一行", {"title": title}))

    def _drawn(self, rows: Rows) -> None:
        """Only a shape of the right kind, on the globe, goes on."""
        wanted = self.resource.geometry
        if wanted is None:
            return
        needed = self.resource.geometry_required
        if rows.wkb is not None and wanted != "POINT" and (drawn := ewkb.kept_as(wanted, rows.wkb)) is not None:
            rows.drawn = drawn
            if needed:
                rows.refuse(drawn.is_null().to_numpy(zero_copy_only=False) & np.array([id is None for id in rows.ids], bool), "geometry", Said("没有坐标"))
            return
        if rows.shapes is None and rows.lon is None:
            if needed and not any(rows.ids):
                raise Invalid("文件里没有坐标。", way_out="请提供经纬度列、WKT 列或空间格式的文件。")
            rows.shapes = np.full(len(rows), None, object)
        if rows.shapes is None:
            assert rows.lon is not None and rows.lat is not None
            if wanted != "POINT":
                raise Invalid("{noun}要面或线,文件里是点。", noun=self.resource.title, field="geometry")
            missing = np.isnan(rows.lon) | np.isnan(rows.lat)
            with np.errstate(invalid="ignore"):
                rows.refuse(~missing & ~((np.abs(rows.lon) <= 180) & (np.abs(rows.lat) <= 90)), "geometry", Said("坐标不在经纬度范围内"))
        else:
            missing = shapely.is_missing(rows.shapes) | shapely.is_empty(rows.shapes)
            rows.shapes[missing] = None
            rows.shapes = drawn_as(wanted, rows.shapes)
            wrong = ~missing & shapely.is_missing(rows.shapes)
            rows.refuse(wrong, "geometry", Said("几何类型不对"))
        if needed:
            # A record that is there stays where it is.
            rows.refuse(missing & np.array([id is None for id in rows.ids], bool), "geometry", Said("没有坐标"))

    def _sealed(self, declared: Field, column: pa.Array, ids: pa.Array) -> dict[str, pa.Array]:
        told = [
            sealed(self.resource, declared.name, text, self.key, uuid.UUID(bytes=id))
            for text, id in zip(column.to_pylist(), ids.to_pylist(), strict=True)
        ]
        return {name: pa.array([row[name] for row in told], pa.string() if name.endswith("_masked") else pa.binary()) for name in told[0]}


class Met:
    """Which texts there have been, by 8 bytes each: a set of them took a hundred, and a file may hold ten million.

    Two texts of one file are taken for the same by chance once in 37 million files of a million rows.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.int64]] = []

    def again(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which of them there have been before, each of itself in this list too; from now on all of them have been."""
        told = np.fromiter(map(hash, texts), np.int64, len(texts))
        fresh, first = np.unique(told, return_index=True)
        twice = np.ones(len(told), bool)
        twice[first] = False
        known = np.zeros(len(fresh), bool)
        for run in self._runs:
            known |= run[np.minimum(np.searchsorted(run, fresh), len(run) - 1)] == fresh
        if known.any():
            twice |= np.isin(told, fresh[known])
        if not known.all():
            self._runs.append(fresh[~known])
        # Runs at least double, so that there are few of them, and few times that one is merged.
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs.append(np.sort(np.concatenate((self._runs.pop(), self._runs.pop())), kind="stable"))
        return twice


def cleared(batch: "files.Batch", report: Report) -> "files.Batch":
    """The batch without the cells that tell what is taken in from nobody: not even the list of what is wrong has them."""
    columns = dict(batch.columns)
    for name, column in batch.columns.items():
        if name in report.dropped or not pa.types.is_string(column.type):
            continue
        hinted = pc.fill_null(pc.match_substring_regex(column, secrets.HINT), False)
        if not pc.any(hinted).as_py():
            continue
        told = np.array([bool(hint and secrets.refused(text)) for hint, text in zip(hinted.to_pylist(), column.to_pylist(), strict=True)])
        if told.any():
            columns[name] = pc.if_else(pa.array(told), pa.scalar(None, column.type), column)
            report.refused[name] += int(told.sum())
    return dataclasses.replace(batch, columns=columns)


def problems_kept(connection: sa.Connection, of_batch: uuid.UUID, rows: Rows, shown: Mapping[str, pa.Array]) -> None:
    """Keep what is wrong with rows, or was repaired, beside the columns that may be `shown`: nothing that looks personal."""
    told = []
    for problem in rows.problems:
        if len(rows.examples) and rows.examples[problem.at]:
            continue
        record = {} if problem.repaired else {name: _shown(column[problem.at].as_py()) for name, column in shown.items()}
        lon, lat = problem.place or _where(rows, problem.at)
        told.append({
            "row": int(rows.number[problem.at]), "field": problem.field, "reason": problem.reason.sentence, "facts": problem.reason.facts,
            "value": _shown(problem.value), "suggestion": problem.suggestion, "repaired": problem.repaired, "record": record, "lon": lon, "lat": lat,
        })
    if told:
        statements.run(connection, "keep_problems", batch=of_batch, problems=statements.document(told))


def _where(rows: Rows, at: int) -> tuple[float | None, float | None]:
    """Where a row lies, for the map to go there."""
    if rows.lon is not None and rows.lat is not None and np.isfinite(rows.lon[at]) and np.isfinite(rows.lat[at]):
        return float(rows.lon[at]), float(rows.lat[at])
    shape = shapely.from_wkb(rows.wkb[at].as_py()) if rows.wkb is not None else rows.shapes[at] if rows.shapes is not None else None
    if shape is not None and not shapely.is_empty(shape):
        west, south, east, north = shapely.bounds(shape)
        return (west + east) / 2, (south + north) / 2
    return None, None


# The point by which each polygon is placed, as the trigger sees it: all of them in one value, which nobody has to take apart.
REPRESENTATIVE = (
    "SELECT string_agg(float8send(coalesce(ST_X(p), 'NaN')) || float8send(coalesce(ST_Y(p), 'NaN')), '' ORDER BY n)"
    " FROM (SELECT ST_PointOnSurface(shape::geometry) AS p, n FROM unnest(%b::bytea[]) WITH ORDINALITY AS s (shape, n) OFFSET 0) AS q"
)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REPAIRED = "{what},面积由 {before} 变为 {after} 平方米"


def _area(square_metres: float) -> str:
    return f"{square_metres:,.0f}" if square_metres >= 1000 else f"{square_metres:.4g}"


def _shown(value: object) -> str | None:
    """A cell as it is kept beside what is wrong with it; a text with NUL is none that JSON in PostgreSQL holds."""
    text = plain(value)
    return text if text is None else text.replace("\0", "")


def _only(at: int, count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[at] = True
    return mask


def _plainly(declared: Field, column: pa.Array) -> bool:
    """Whether all texts of a column are values as they stand."""
    odd = pc.or_(pc.match_substring_regex(column, PLAINLY_ODD), pc.greater(pc.binary_length(column), declared.longest))
    return not pc.any(odd).as_py()


def _repeated(one: pa.Array, count: int) -> pa.Array:
    return one.take(pa.array(np.zeros(count, np.int32)))


def as_json(columns: Mapping[str, pa.Array]) -> pa.Array:
    """A JSON object of texts for each row, without what is blank."""
    parts = [[plain(value) for value in column.to_pylist()] for column in columns.values()]
    return pa.array([
        json.dumps({n: v.replace("\0", "") for n, v in zip(columns, row, strict=True) if v is not None}, ensure_ascii=False)
        for row in zip(*parts, strict=True)
    ])


def drawn_as(wanted: str, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes as the noun keeps them: parts as multi, points out of single multipoints; None for another kind."""
    out = np.full(len(shapes), None, object)
    kinds = shapely.get_type_id(shapes)
    if wanted == "POINT":
        out[kinds == 0] = shapes[kinds == 0]
        single = (kinds == 4) & (shapely.get_num_geometries(shapes) == 1)
        out[single] = shapely.get_geometry(shapes[single], 0)
        return out
    one, many, make = {"MULTIPOLYGON": (3, 6, shapely.multipolygons), "MULTILINESTRING": (1, 5, shapely.multilinestrings)}[wanted]
    out[kinds == many] = shapes[kinds == many]
    single = np.flatnonzero(kinds == one)
    out[single] = make(shapes[single], indices=np.arange(len(single)))
    return out


def uuids(count: int, now: datetime, batch: int = 0) -> pa.Array:
    """UUIDv7 for a batch of a load, 16 bytes each: the millisecond of the load, the number of the batch, then random in ascending
    order. As keyset paging likes, and the primary key, which then grows at its end: half a million in 0.3 s, at random in 1.2."""
    stamp = int(now.astimezone(UTC).timestamp() * 1000) + (batch >> 12)
    raw = np.empty((count, 16), np.uint8)
    raw[:, :6] = np.frombuffer(stamp.to_bytes(6), np.uint8)
    raw[:, 6:8] = np.frombuffer((0x7000 | batch & 0xFFF).to_bytes(2), np.uint8)
    random = np.sort(np.random.default_rng().integers(0, 1 << 62, count, dtype=np.uint64)) | np.uint64(1 << 63)
    raw[:, 8:] = random.astype(">u8").view(np.uint8).reshape(count, 8)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(raw)])
