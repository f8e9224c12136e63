"""Rows on their way in, in a table of their own: checked, compared with what is there, and only then written.

One table an upload, in the schema `staging`: columns of the noun without its rules, and a few of ours. It goes with the
upload, and nobody but the loader and our definer functions reads it. `within` are the areas that the sender answers for; '' is
everywhere. All statements are sets: half a million rows are one statement as one row is.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg.errors import CheckViolation

from geo.catalog import WIDTHS
from geo.copying import Copy
from geo.errors import Conflict, Forbidden
from geo.resource import Place, Resource
from geo.tables import TABLES

# What becomes of a row: it is new, it changes one that is there, it says what is there already, or somebody changed that since
# the file was made. A record that is there and the file does not name is staged too, to be looked at before it ends.
Fate = Literal["new", "changed", "unchanged", "conflict", "missing"]
# Where rows of that last fate are numbered from; the file's own come before.
BEYOND = 1_000_000_000
Blank = Literal["keep", "clear"]
Missing = Literal["keep", "retire"]

# What follows from where a row lies; it goes along with the place, and is no difference by itself.
PLACED = ("placement", "scope", "placing_reason", "nearest_area", "nearest_m", "geom_coarse")
INSIDE = ("unit", "dwelling", "household")
SPINE = ("id", "source", "batch", "extras")
# Shapes of fewer points are compared point by point where a format has rounded them.
FINE = 2000
# Degrees: 2 cm, less than the seventh decimal that GeoJSON is written with loses.
SAME = 2e-7


@dataclass
class Counts:
    """How many rows have which fate, how many are refused, and how many that are there the file does not name."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    conflict: int = 0
    refused: int = 0
    missing: int = 0


@dataclass
class Table:
    """The staged rows of one upload, whatever they are of."""

    connection: sa.Connection
    batch: UUID

    @property
    def table(self) -> str:
        """Its qualified name, made of the upload's number alone."""
        return f'staging."u_{self.batch.hex}"'

    def dropped(self) -> None:
        """Nothing is left of it."""
        self._run(f"DROP TABLE IF EXISTS {self.table}")

    def counts(self) -> Counts:
        """How many rows have which fate."""
        told = Counts(refused=self.refused())
        for fate, count in self._run(f"SELECT fate, count(*) FROM {self.table} GROUP BY fate"):
            setattr(told, fate, count)
        return told

    def refused(self) -> int:
        """How many rows are kept as work."""
        return int(self._run("SELECT count(DISTINCT row) FROM load_problems WHERE batch = :batch AND NOT repaired", batch=self.batch).scalar_one())

    @contextmanager
    def journalled(self) -> Iterator[None]:
        """Whatever is changed meanwhile is told as a change of this batch: taken back, all is as it was."""
        told = "SELECT set_config('jingwei.batch', :batch, true)"
        self._run(told, batch=str(self.batch))
        yield
        self._run(told, batch="")

    def _kept_aside(self, condition: str, record: str, name: str, reason: str, **values: Any) -> None:
        """Take rows out of the table `s`, each kept as work with its `record` and the sentence that says why."""
        self._run(
            f"WITH bad AS (DELETE FROM {self.table} AS s WHERE {condition} RETURNING file_row, {record} AS record)"
            " INSERT INTO load_problems (batch, row, field, reason, record) SELECT :batch, file_row, :field, :reason, record FROM bad"
            " ON CONFLICT DO NOTHING", batch=self.batch, field=name, reason=reason, **values,
        )

    def _run(self, statement: str, **values: Any) -> "sa.CursorResult[*tuple[Any, ...]]":
        return self.connection.execute(sa.text(statement), values)


@dataclass
class Staging(Table):
    """The staged rows of a noun, and how they are to be taken."""

    resource: Resource
    within: Sequence[str] = ("",)
    blank: Blank = "keep"
    given: list[str] = field(default_factory=list)  # the columns of the noun that the file fills
    key_column: str | None = None  # the file's heading of the key

    def made(self) -> None:
        """An empty table; one that was there before is gone."""
        self.dropped()
        self._run(f"CREATE UNLOGGED TABLE {self.table} AS SELECT * FROM {self.resource.name} WITH NO DATA")
        self._run(
            f"ALTER TABLE {self.table} ADD file_row integer NOT NULL, ADD fate text NOT NULL DEFAULT 'new',"
            # The version that the file was made from, where it says so, and the one that it was compared with.
            " ADD file_version integer, ADD seen_version integer, ALTER retired_at DROP DEFAULT"
        )

    def filled(self, rows: pa.Table) -> None:
        """Take rows in, by COPY, which goes on until the connection is used for anything else."""
        self.given[:] = [name for name in rows.column_names if name not in ("file_row", "file_version")]
        self.copy.begun(rows)

    @cached_property
    def copy(self) -> Copy:
        """The way in."""
        return Copy(self.connection, self.table)

    def checked(self, shapes: bool = False) -> None:
        """Refuse the rows that break a rule of the noun: one statement a rule, with its sentence.

        `shapes` were judged by the reading process, whose GEOS is another than the database's: the two agree but in odd cases, and
        asking again takes as long as all other rules together (6 of 9 s of half a million). So they are asked when writing fails.
        """
        name = self.resource.name
        self._run(f"ANALYZE {self.table} (id, fate)")
        checks = self._run(
            "SELECT conname, pg_get_expr(conbin, conrelid) AS rule FROM pg_constraint WHERE contype = 'c' AND conrelid = to_regclass(:noun)"
            " ORDER BY conname", noun=name,
        ).all()
        # What the file does not fill keeps its default, which keeps every rule.
        asked = [
            (rule.removeprefix(f"{name}_").removesuffix("_check"), rule, expression) for rule, expression in checks
            if (shapes or rule != f"{name}_geom_check") and set(re.findall(r"\w+", expression)) & set(self.given)
        ]
        if not asked:
            return
        # All rules in one look at the rows, and each that is broken once more.
        broken = self._run(f"SELECT {', '.join(f'bool_or(NOT ({expression}))' for *_, expression in asked)} FROM {self.table}").one()
        for (inner, rule, expression), found in zip(asked, broken, strict=True):
            if not found:
                continue
            meaning = next((r.message for r in self.resource.rules if r.name == inner), "")
            told = next((f.title for f in self.resource.all_fields if f.name == inner), "")
            self._refuse(f"NOT ({expression})", inner, meaning or (f"{told}不合规则" if told else f"违反规则 {rule}"))

    def compared(self, again: bool = False) -> None:
        """Give every row its fate, or `again` another. Rows of others are refused: who sends a file changes nothing outside their areas."""
        noun, key = self.resource.name, self.key
        joined = f"FROM {noun} AS t WHERE t.id = s.id"
        if again:
            self._run(f"DELETE FROM {self.table} WHERE fate = 'missing'")
        if self.within != ("",):
            self._refuse(f"EXISTS (SELECT {joined} AND NOT ({_held('t.scope')}))", key or "id", "这条记录在您负责的区域以外", within=list(self.within))
            if self.resource.place in (Place.POINT, Place.INHERITS):
                anchor = "geom" if self.resource.place is Place.POINT else "building"
                self._refuse(f"NOT ({_held('s.scope')}) AND NOT EXISTS (SELECT {joined} AND s.{anchor} IS NULL)", "geometry", "位置不在您负责的区域内", within=list(self.within))
            elif self.resource.of_area:
                self._refuse(f"NOT ({_held('s.area')})", "area", "不在您负责的区域内", within=list(self.within))
        if bare(self.connection, self.resource) and not again:
            return  # all is new
        same = " AND ".join(self._same(column) for column in self.compared_columns) or "true"
        self._run(
            f"UPDATE {self.table} AS s SET seen_version = t.version, fate = CASE WHEN {same} THEN 'unchanged'"
            f" WHEN s.file_version <> t.version THEN 'conflict' ELSE 'changed' END {joined}"
        )
        self._recognised()
        self._missing()

    def _missing(self) -> None:
        """Stage the records that the file does not name and would, had they still been there: of the communities that it speaks of,
        inside the sender's areas. None of a noun without a key."""
        if self.key is None or self.key not in self.given:
            return
        width = WIDTHS["community"]
        told = [c for c in self.given if c not in (*SPINE, *PLACED) and not c.endswith(("_masked", "_cipher", "_hash"))]
        columns, values = ", ".join(f'"{c}"' for c in told), ", ".join(f't."{c}"' for c in told)
        self._run(
            f"INSERT INTO {self.table} (file_row, fate, id, seen_version, {columns})"
            f" SELECT {BEYOND} + row_number() OVER (ORDER BY t.{self.key}), 'missing', t.id, t.version, {values}"
            f" FROM {self.resource.name} AS t WHERE t.retired_at IS NULL AND t.{self.key} IS NOT NULL"
            f" AND left(t.scope, {width}) IN (SELECT DISTINCT left(scope, {width}) FROM {self.table} WHERE length(scope) >= {width})"
            f" AND ({_held('t.scope')}) AND NOT EXISTS (SELECT FROM {self.table} AS s WHERE s.id = t.id)"
            # A row that was refused still names its record.
            f" AND NOT EXISTS (SELECT FROM load_problems AS p WHERE p.batch = :batch AND NOT p.repaired AND p.record ->> :title = t.{self.key})",
            within=list(self.within), batch=self.batch, title=self.key_column or "",
        )

    def sealed_before(self, number: int) -> bool:
        """Whether secrets were staged under another key than that of this number: written now, they would be left behind."""
        ciphers = [c for c in self.given if c.endswith("_cipher")]
        if not ciphers:
            return False
        # A cipher begins with its suite, then two bytes of the key's number (geo.secrets).
        older = " OR ".join(f'substr("{c}", 2, 2) <> :number' for c in ciphers)
        return bool(self._run(f"SELECT EXISTS (SELECT FROM {self.table} WHERE {older})", number=number.to_bytes(2)).scalar_one())

    def reach(self) -> tuple[float, float, float, float] | None:
        """The box around all staged shapes and those that they take the place of."""
        box = self._run(
            "SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM (SELECT ST_Extent(ST_Collect(s.geom, t.geom)) AS e"
            f" FROM {self.table} AS s LEFT JOIN {self.resource.name} AS t ON t.id = s.id WHERE s.fate IN ('new', 'changed')) AS q WHERE e IS NOT NULL"
        ).one_or_none()
        return None if box is None else (box[0], box[1], box[2], box[3])

    def settled(self, retire: bool = False) -> int:
        """Write it: what is new, what changes, and with `retire` the end of what the file no longer names. Returns how many rows.

        Raises `Conflict` when what is there has changed since it was compared with: then nothing is written.
        """
        noun, counts = self.resource.name, self.counts()
        if counts.conflict:
            self._refuse("s.fate = 'conflict'", self.key or "id", "文件导出之后,这条记录被人改过")
        if not bare(self.connection, self.resource):
            moved = self._run(
                f"SELECT count(*) FROM {self.table} AS s JOIN {noun} AS t ON t.id = s.id"
                " WHERE t.version IS DISTINCT FROM s.seen_version AND (s.fate <> 'missing' OR :retire)", retire=retire,
            ).scalar_one()
            if moved:
                raise Conflict("核对之后,有 {count} 条记录被别人改过:请再看一遍差异。", count=moved)
        if not self.given:
            return 0  # no row was good
        with self.journalled():
            written = self._written(counts)
            if retire:
                gone = f"UPDATE {noun} SET retired_at = now() WHERE id IN (SELECT id FROM {self.table} WHERE fate = 'missing')"
                written += self._run(gone).rowcount
        if self.within != ("",):
            self._kept_within()
        return written

    def _written(self, counts: Counts) -> int:
        noun = self.resource.name
        columns, values = ", ".join(f'"{c}"' for c in self.given), ", ".join(self._fresh(c) for c in self.given)
        fresh = ", ".join(f'"{c}" = {self._value(c)}' for c in [*self.given, *self._left] if c not in ("id", "batch"))
        statements = [f"INSERT INTO {noun} ({columns}) SELECT {values} FROM {self.table} AS s WHERE fate = 'new'"]
        if counts.changed:
            statements.append(f"UPDATE {noun} AS t SET {fresh} FROM {self.table} AS s WHERE s.id = t.id AND s.fate = 'changed'")
        try:
            with self.connection.begin_nested():
                return sum(self._run(statement).rowcount for statement in statements)
        except sa.exc.IntegrityError as error:
            if not isinstance(error.orig, CheckViolation) or error.orig.diag.constraint_name != f"{noun}_geom_check":
                raise
        self.checked(shapes=True)
        return sum(self._run(statement).rowcount for statement in statements)

    @property
    def key(self) -> str | None:
        """The field by which a row is known again."""
        return self.resource.known_by

    @property
    def compared_columns(self) -> list[str]:
        """The columns in which a row may differ from what is there: of a secret, its hash."""
        told = [c for c in self.given if c not in (*SPINE, *PLACED) and not c.endswith(("_masked", "_cipher"))]
        return [*told, *(["extras"] if "extras" in self.given else [])]

    def _same(self, column: str) -> str:
        if column == "geom":
            return (
                "(s.geom IS NULL OR s.geom = t.geom OR (ST_NPoints(s.geom) = ST_NPoints(t.geom) AND ST_NPoints(s.geom) < "
                f"{FINE} AND ST_HausdorffDistance(s.geom, t.geom) < {SAME}))"
            )
        if column == "extras":
            return "(s.extras IS NULL OR s.extras <@ t.extras)"
        equal = f's."{column}" IS NOT DISTINCT FROM t."{column}"'
        return equal if self._clears(column) else f'(s."{column}" IS NULL OR {equal})'

    def _fresh(self, column: str) -> str:
        """What a new record gets: what the row says, else what the noun has for who says nothing."""
        text = self._default(column)
        return f's."{column}"' if text is None else f'coalesce(s."{column}", {text})'

    def _default(self, column: str) -> str | None:
        """What the noun has for who says nothing, in SQL."""
        given = getattr(TABLES[self.resource.name].c[column].server_default, "arg", None)
        return None if given is None or column == "id" else str(given)

    def _value(self, column: str) -> str:
        if column == "extras":
            return "t.extras || coalesce(s.extras, '{}')"
        if column in PLACED:
            # What was said of the old place is not true of a new one, and goes on to be where the row says nothing of it.
            anchor = {Place.POINT: "geom", Place.INHERITS: "building"}.get(self.resource.place)
            if anchor not in self.given:
                return f't."{column}"'
            return f'CASE WHEN s."{anchor}" IS NULL THEN t."{column}" ELSE s."{column}" END'
        stays = f's."{column}"' if self._clears(column) else f'coalesce(s."{column}", t."{column}")'
        if column in INSIDE and self.resource.place is Place.INHERITS and "building" in self.given:
            # Who moves to another house leaves the dwelling in that which was theirs.
            stays = f't."{column}"' if column not in self.given else stays
            return f'CASE WHEN s.building <> t.building THEN s."{column}" ELSE {stays} END'
        return stays

    @property
    def _left(self) -> list[str]:
        """What the file does not say of the inside of a house, and a record may have said of another."""
        if self.resource.place is not Place.INHERITS or "building" not in self.given:
            return []
        return [c for c in INSIDE if c in TABLES[self.resource.name].c and c not in self.given]

    def _clears(self, column: str) -> bool:
        """Whether a blank cell empties the field. Of what is masked a sheet never shows all, so it never does there."""
        if self.blank == "keep" or column in (*SPINE, "scope", "geom") or column.endswith(("_masked", "_cipher", "_hash")):
            return False
        declared = next((f for f in self.resource.all_fields if f.name == column), None)
        return declared is not None and not (declared.required or declared.name_of_person)

    def _recognised(self) -> None:
        """A row without a key that says exactly what one there says is that one: the same sheet sent twice is no second entry."""
        # Of an area a later version has the same code.
        keyless = f" AND s.{self.key} IS NULL" if self.resource.key and self.key in self.given else ""
        told = [c for c in self.compared_columns if c != "extras"]
        if not told or not self._run(f"SELECT EXISTS (SELECT FROM {self.table} AS s WHERE fate = 'new'{keyless})").scalar_one():
            return
        s, t = (", ".join(f'{"ST_AsBinary" if c == "geom" else ""}({side}."{c}")' for c in told) for side in "st")
        self._run(
            f"UPDATE {self.table} AS s SET fate = 'unchanged', id = t.id, seen_version = t.version FROM {self.resource.name} AS t"
            f" WHERE s.fate = 'new'{keyless} AND t.retired_at IS NULL AND md5(ROW({s})::text) = md5(ROW({t})::text)"
        )

    def _refuse(self, condition: str, name: str, reason: str, **values: Any) -> None:
        """Take rows out, each kept as work with the sentence that says why, and without what is secret of it."""
        shown = ", ".join(f"'{f.title}', s.{f.name}" for f in self.resource.writable if f.name in self.given and not (f.secret or f.name_of_person))
        self._kept_aside(condition, f"jsonb_strip_nulls(jsonb_build_object({shown}))", name, reason, **values)

    def _kept_within(self) -> None:
        """Look once more at what triggers have placed, where it now is. Raises `Forbidden` for a row beyond the sender's areas."""
        beyond = self._run(
            f"SELECT count(*) FROM {self.resource.name} AS t JOIN {self.table} AS s ON s.id = t.id"
            f" WHERE s.fate IN ('new', 'changed') AND NOT ({_held('t.scope')})", within=list(self.within),
        ).scalar_one()
        if beyond:
            raise Forbidden("有 {count} 行不在您负责的区域内,这一批没有入库。", count=beyond)


@dataclass
class Straight(Staging):
    """Rows of a noun that has no record yet, written where they belong as they come: there is nothing to compare them with, and the
    noun's own constraints judge them. The first that is broken ends it, and the file is read once more, by way of a staging table."""

    stored: int = 0

    @property
    def table(self) -> str:
        """The noun's own."""
        return self.resource.name

    def made(self) -> None:
        """It is there."""

    def dropped(self) -> None:
        """It stays."""

    def filled(self, rows: pa.Table) -> None:
        """Take rows in, by COPY; what is blank is what the noun has for who says nothing."""
        columns = {name: rows[name] for name in rows.column_names if name not in ("file_row", "file_version")}
        for name, column in columns.items():
            if column.null_count and (default := self._default(name)) is not None:
                columns[name] = pc.fill_null(column, pa.scalar(default.strip("'")).cast(column.type))
        self.given[:] = list(columns)
        self.copy.begun(pa.table(columns))
        self.stored += rows.num_rows

    def checked(self, shapes: bool = False) -> None:
        """That was done as they were written."""

    def compared(self, again: bool = False) -> None:
        """All is new."""

    def counts(self) -> Counts:
        """All is new."""
        return Counts(new=self.stored, refused=self.refused())

    def settled(self, retire: bool = False) -> int:
        """It was."""
        return self.stored


def bare(connection: sa.Connection, resource: Resource) -> bool:
    """Whether there is no record of the noun at all."""
    return not connection.scalar(sa.text(f"SELECT EXISTS (SELECT FROM {resource.name})"))


def _held(column: str) -> str:
    return (
        f'EXISTS (SELECT FROM unnest(CAST(:within AS text[])) AS held (lo) WHERE {column} COLLATE "C" >= held.lo'
        f' AND {column} COLLATE "C" < held.lo || \'~\')'
    )
