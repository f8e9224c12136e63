"""From a file to a layer of its own: for what is none of our nouns.

The same steps as a noun's file has (`geo.intake`): read, looked at in a staging table, compared with what it takes the place
of, written as one batch, taken back. Columns are not matched but kept as they are called, save those that look personal or
are of a refused category; of these nothing is staged.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
import sqlalchemy as sa

from geo import copying, db, files, intake, matching, statements
from geo.errors import Conflict, Forbidden, Invalid, NotFound
from geo.intake import Order, Report, Rows, Seen, Told
from geo.language import Said
from geo.layers import AUDIENCES, COLOR, FILLED, Kind, Seer
from geo.staging import Counts, Table
from geo.values import plain

NOUN = "layers"
SHAPES: dict[Kind, str] = {"point": "POINT", "line": "MULTILINESTRING", "polygon": "MULTIPOLYGON"}
KINDS: dict[int, Kind] = {0: "point", 4: "point", 1: "line", 2: "line", 5: "line", 3: "polygon", 6: "polygon"}  # of `shapely.get_type_id`
COLUMNS, LONGEST = 200, 4000
# What is written as a number is one, but for codes: those begin with zeros, or have more digits than a number keeps.
NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,12})?")
# Values of a column that are looked at in every batch: the sample by which it was judged at first is only the file's head.
LOOKED_AT = 2_000


@dataclass(frozen=True)
class Wish:
    """What a sender wants of a layer: a new one, or the next edition of the one called `id`."""

    id: str | None = None
    title: str = ""
    about: str = ""
    audience: Seer = "workers"
    color: str | None = None
    opacity: float | None = None
    kind: Kind | None = None
    scope: str | None = None


@dataclass
class Edition(Table):
    """The staged rows of one file, and the layer whose next edition they are; None for a new one."""

    scope: str
    held: sa.RowMapping | None = None
    kind: Kind | None = None
    columns: list[dict[str, str]] = field(default_factory=list)
    personal: dict[str, Said] = field(default_factory=dict)  # columns of which only later rows have told what they are

    @property
    def told(self) -> dict[str, Any]:
        """What must be known of it when it is written; as JSON."""
        return {
            "id": str(self.held["id"] if self.held else self.batch), "version": self.held["version"] if self.held else None,
            "scope": self.scope, "kind": self.kind, "columns": self.columns,
        }

    def made(self) -> None:
        """An empty table; one that was there before is gone."""
        self.dropped()
        self._run(
            f"CREATE UNLOGGED TABLE {self.table} (file_row integer NOT NULL, fate text NOT NULL DEFAULT 'new', id uuid NOT NULL,"
            " geom geometry(Geometry, 4326) NOT NULL, properties jsonb NOT NULL)"
        )

    def checked(self) -> None:
        """Refuse what the table of features would: as PostGIS sees it, whose GEOS is not that of the reading process."""
        rule = self._run("SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = 'layer_features_geom_check'").scalar_one()
        self._kept_aside(f"NOT ({rule})", "properties", "geometry", "图形无效")

    def without(self, names: Sequence[str]) -> None:
        """Nothing is left of some columns, neither in what is staged nor beside what is wrong."""
        self._run(f"UPDATE {self.table} SET properties = properties - CAST(:names AS text[])", names=list(names))
        self._run("UPDATE load_problems SET record = record - CAST(:names AS text[]) WHERE batch = :batch", names=list(names), batch=self.batch)

    def typed(self) -> None:
        """Numbers are numbers in columns of nothing else."""
        names = [column["name"] for column in self.columns if column["type"] == "number"]
        if names:
            self._run(
                f"UPDATE {self.table} SET properties = properties || (SELECT coalesce(jsonb_object_agg(key, value::numeric), '{{}}')"
                " FROM jsonb_each_text(properties) WHERE key = ANY (:names))", names=names,
            )

    def compared(self, again: bool = False) -> None:
        """Which rows the edition that is shown has too, word for word."""
        if self.held is not None:
            same = "md5(ROW({0}.properties, ST_AsBinary({0}.geom))::text)"
            self._run(
                f"UPDATE {self.table} AS s SET fate = CASE WHEN {same.format('s')} IN (SELECT {same.format('f')} FROM layer_features AS f"
                " WHERE f.edition = :edition) THEN 'unchanged' ELSE 'new' END", edition=self.held["edition"],
            )

    def counts(self) -> Counts:
        """How many rows are new, as before, refused, and how many of before are not in the file."""
        told = super().counts()
        told.missing = max(0, self.held["rows"] - told.unchanged) if self.held else 0
        return told

    def reach(self) -> tuple[float, float, float, float] | None:
        """The box around all that is staged."""
        box = self._run(
            f"SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM (SELECT ST_Extent(geom) AS e FROM {self.table}) AS q WHERE e IS NOT NULL"
        ).one_or_none()
        return None if box is None else (box[0], box[1], box[2], box[3])


def load(engine: sa.Engine, order: Order, wish: Wish, told: Told = lambda *_: None) -> Report:
    """Load a file as a layer through `engine` (the loader's login), as `intake.load` does into a noun. The layer has the id of the batch."""
    with db.translated(), engine.begin() as connection:
        edition, report = staged(connection, order, wish, told, uuid4(), ("",), intake.sure(order))
        settled(connection, edition, wish, edition.told["version"], report)
        report.unchanged, report.unstored = edition.counts().unchanged, edition.refused()
        edition.dropped()
    return report


def staged(
    connection: sa.Connection, order: Order, wish: Wish, told: Told, batch: UUID, within: Sequence[str], seen: Seen
) -> tuple[Edition, Report]:
    """Read a file into a staging table, as `intake.staged` does.

    Raises `Invalid` when it cannot be understood, has no places or several kinds of them, or nobody says whose area it is for;
    `NotFound` or `Forbidden` when the layer whose next edition it is to be is not there, or not the sender's to fill.
    """
    held = _held(connection, wish, within)
    with files.opened(order.file, **intake.how(connection, order)) as (described, batches):
        proposal = matching.alone(described)
        seen(described, proposal)
        report = intake.opened(connection, NOUN, order, batch)
        report.extras = list(proposal.extras)
        report.dropped = {column: str(why) for column, why in {**proposal.dropped, **proposal.refused}.items()}
        report.notes += described.warnings
        if len(report.extras) > COLUMNS:
            raise Invalid("列太多:一个图层最多 {most} 列。", most=COLUMNS)
        scope = held["scope"] if held else _scope(connection, wish, within)
        edition = Edition(connection, report.batch, scope, held, held["kind"] if held else wish.kind)
        edition.made()
        desk = Desk(edition, report, proposal.counted)
        for part in batches:
            report.read += len(part.rows)
            desk.stored(desk.parsed(part if proposal.counted else intake.cleared(part, report)))
            told("", report.read, described.count)
    if edition.kind is None:
        raise Invalid("文件里没有坐标。", way_out="请提供经纬度列、WKT 列或空间格式的文件。")
    desk.judged()
    edition.checked()
    edition.compared()
    return edition, report


def settled(connection: sa.Connection, edition: Edition, wish: Wish, version: int | None, report: Report) -> None:
    """Write what is staged as one batch: a new layer, or the next edition of one that is still what it was compared with.

    Raises `Conflict` when it is not, `Invalid` without a single good row or without a title.
    """
    rows = connection.execute(
        sa.text(f"INSERT INTO layer_features (id, edition, geom, properties) SELECT id, :batch, geom, properties FROM {edition.table}"),
        {"batch": edition.batch},
    ).rowcount
    if not rows:
        raise Invalid("没有一行可以入库。")
    told = {"batch": edition.batch, "columns": json.dumps(edition.columns, ensure_ascii=False), "rows": rows}
    if edition.held is None:
        if not wish.title.strip() or edition.kind is None:
            raise Invalid("请给图层起个名字。", option="as_layer")
        opacity = (FILLED if edition.kind == "polygon" else 1.0) if wish.opacity is None else wish.opacity
        statements.run(
            connection, "layer_made", **told, scope=edition.scope, title=wish.title.strip(), about=wish.about, kind=edition.kind,
            audience=AUDIENCES[wish.audience], color=(wish.color or COLOR).upper(), opacity=opacity,
        )
    else:
        with edition.journalled():
            moved = statements.run(connection, "layer_moved", **told, id=edition.held["id"], version=version).rowcount
        if not moved:
            raise Conflict("核对之后,这个图层被别人改过:请再看一遍差异。")
    report.stored = rows
    intake.journalled(connection, report)


def again(connection: sa.Connection, batch: UUID, told: Mapping[str, Any]) -> Edition:
    """What was staged before, as `Edition.told` tells of it. Raises `NotFound` when its layer is no longer there."""
    held = None
    if told["version"] is not None:
        held = statements.run(connection, "layer_held", id=told["id"]).mappings().one_or_none()
        if held is None:
            raise NotFound("这个图层已经注销。")
    return Edition(connection, batch, told["scope"], held, told["kind"], list(told["columns"]))


def _held(connection: sa.Connection, wish: Wish, within: Sequence[str]) -> sa.RowMapping | None:
    if wish.id is None:
        return None
    found = statements.run(connection, "layer_held", id=wish.id).mappings().one_or_none()
    if found is None:
        raise NotFound("没有这个图层。", option="as_layer")
    if not any(found["scope"].startswith(path) for path in within):
        raise Forbidden("这个图层不在您负责的区域内。", option="as_layer")
    return found


def _scope(connection: sa.Connection, wish: Wish, within: Sequence[str]) -> str:
    """For which area a layer is made: one of the sender's, or a part of it."""
    if wish.scope is None and len(within) > 1:
        raise Invalid("您负责几个区域,请选择图层归哪一个。", option="as_layer", choices=list(within))
    asked = wish.scope if wish.scope is not None else within[0] or None
    found: str | None = statements.run(connection, "layer_area", wished=asked).scalar_one()
    if not found or not any(found.startswith(path) for path in within):
        # Of who loads for every area, none is the one that nothing is said of: a new instance lies nowhere yet.
        choices = [path for path in within if path] or statements.run(connection, "areas_outermost").scalars().all()
        raise Invalid("请选择图层归哪个区域,须在您负责的范围内。", option="as_layer", choices=list(choices))
    return found


class Desk:
    """Where rows are worked on: all that is found out on the way."""

    def __init__(self, edition: Edition, report: Report, counted: bool) -> None:
        self.edition, self.report, self.counted = edition, report, counted
        self.copy = copying.Copy(edition.connection, edition.table)
        self.numeric = dict.fromkeys(report.extras, True)
        self.told: set[str] = set()  # columns that say anything at all

    def parsed(self, batch: "files.Batch") -> Rows:
        """A batch as shapes of one kind and properties. What cannot be one takes its row out, with the reason."""
        rows = Rows.of(batch)
        self._drawn(rows)
        columns = {name: batch.columns[name] for name in self.report.extras if name not in self.edition.personal}
        for name, column in list(columns.items()):
            distinct = [text for value in column.unique().to_pylist() if (text := plain(value)) is not None]
            self.numeric[name] = self.numeric[name] and all(map(NUMBER.fullmatch, distinct))
            self.told |= {name} if distinct else set()
            if why := matching.left_out(name, distinct[:LOOKED_AT], self.counted):
                self.edition.personal[name] = why
                del columns[name]
            elif any(len(text) > LONGEST for text in distinct):
                long = pc.fill_null(pc.greater(pc.utf8_length(column.cast(pa.string())), LONGEST), False)
                rows.refuse(long.to_numpy(zero_copy_only=False), name, Said("超过 {most} 字", {"most": LONGEST}))
        intake.problems_kept(self.edition.connection, self.report.batch, rows, columns)
        rows.columns["properties"] = intake.as_json(columns) if columns else pa.array(["{}"] * len(rows))
        return rows

    def stored(self, rows: Rows) -> None:
        """COPY the good rows into the staging table."""
        good = np.flatnonzero(rows.good)
        if not len(good):
            return
        assert rows.shapes is not None
        shapes = shapely.to_wkb(shapely.set_srid(rows.shapes[good], 4326), include_srid=True)
        self.copy.begun(pa.table({
            "file_row": pa.array(rows.number[good]), "id": intake.uuids(len(good), datetime.now(UTC)),
            "geom": pa.array(shapes, pa.large_binary()), "properties": rows.columns["properties"].take(pa.array(good)),
        }))

    def judged(self) -> None:
        """What the columns have turned out to be."""
        if personal := self.edition.personal:
            self.edition.without(list(personal))
            self.report.dropped |= {name: str(why) for name, why in personal.items()}
        self.edition.columns = [
            {"name": name, "type": "number" if self.numeric[name] else "text"} for name in self.report.extras
            if name in self.told and name not in personal
        ]
        self.edition.typed()

    def _drawn(self, rows: Rows) -> None:
        """Only shapes of the layer's kind go on; a file of several kinds is asked which."""
        if rows.shapes is None:
            rows.shapes = np.full(len(rows), None, object)
            if rows.lon is not None and rows.lat is not None:
                here = np.isfinite(rows.lon) & np.isfinite(rows.lat)
                rows.shapes[here] = shapely.points(rows.lon[here], rows.lat[here])
        missing = shapely.is_missing(rows.shapes) | shapely.is_empty(rows.shapes)
        rows.shapes[missing] = None
        rows.refuse(missing, "geometry", Said("没有坐标"))
        kinds = sorted({KINDS[kind] for kind in shapely.get_type_id(rows.shapes[rows.good]).tolist() if kind in KINDS})
        if self.edition.kind is None and len(kinds) == 1:
            self.edition.kind = kinds[0]
        elif self.edition.kind is None and kinds:
            raise Invalid("文件里既有点,也有线或面:一个图层只放一种,请选择要哪一种,其余的列为待办。", option="as_layer", choices=kinds)
        if self.edition.kind is not None:
            drawn = intake.drawn_as(SHAPES[self.edition.kind], rows.shapes)
            rows.refuse(~missing & shapely.is_missing(drawn), "geometry", Said("几何类型不对"))
            rows.shapes = drawn
