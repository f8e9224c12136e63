"""The tables of what was shown in clear and what left the server: who asked, what for, and the second person.

Nobody reads or writes them directly: all goes through functions that look at who asks (`geo/sql/rules/73_unmasking.sql`,
`74_exports.sql`). A step of an export is a row of its log, and what may follow what is a foreign key: of two who decide
at once one wins, and no code asks first.
"""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.catalog.purposes import PURPOSES
from geo.spine import NOW
from geo.tables import Code, Moment, metadata

# A week is as long as a street office remembers why somebody was called.
REVIEWED_WITHIN = timedelta(days=7)
ROWS = 5_000  # of one file with persons in it: a community, not a town
FORMATS = ("csv", "xlsx", "geojson", "geojsons", "gpkg", "fgb", "shp", "kml", "parquet")
# What a person writes of a reason may name no number: it is read by others than those who saw the record.
NOTE = "length(btrim(note)) BETWEEN 2 AND 200 AND note !~ '[0-9]{7}'"
PERSONS = "the account, and whoever lent it the appointment: one person, where a second is asked for"


def _among(column: str, codes: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(map(repr, codes))})"


PURPOSE = _among("purpose", tuple(purpose.code for purpose in PURPOSES))

UNMASKINGS = sa.Table(
    "unmaskings",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("persons", pg.ARRAY(pg.UUID()), nullable=False, comment=PERSONS),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("feature", pg.UUID(), nullable=False),
    sa.Column("fields", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("scope", Code, nullable=False),
    sa.Column("entry", sa.BigInteger, nullable=False, comment="the row of the trail that was written before: one answer each"),
    sa.Column("reviewed_at", Moment),
    sa.Column("reviewers", pg.ARRAY(pg.UUID())),
    sa.Column("reviewed_by", sa.Text),
    sa.Column("verdict", sa.Text),
    sa.Column("opinion", sa.Text),
    sa.UniqueConstraint("entry", name="unmaskings_entry_key"),
    sa.CheckConstraint(PURPOSE, name="purpose"),
    sa.CheckConstraint(NOTE, name="note"),
    sa.CheckConstraint("fields <> '{}'", name="fields"),
    sa.CheckConstraint("num_nulls(reviewed_at, reviewers, reviewed_by, verdict, opinion) IN (0, 5)", name="review"),
    sa.CheckConstraint("verdict IN ('proper', 'improper')", name="verdict"),
    sa.CheckConstraint("length(btrim(opinion)) BETWEEN 2 AND 500", name="opinion"),
    sa.CheckConstraint("NOT persons && reviewers", name="second_person"),
    sa.Index("unmaskings_account_at_idx", "account", "at"),
    sa.Index("unmaskings_noun_feature_idx", "noun", "feature"),
    sa.Index("unmaskings_waiting_idx", "at", postgresql_where=sa.text("reviewed_at IS NULL")),
    comment="查看明文:谁为什么看了哪条记录的哪几项,谁复核过。",
)

EXPORTS = sa.Table(
    "exports",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id"), nullable=False),
    sa.Column("persons", pg.ARRAY(pg.UUID()), nullable=False, comment=PERSONS),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("fields", pg.ARRAY(sa.Text), comment="NULL: all that the requester may see"),
    sa.Column("clear", sa.Boolean, nullable=False),
    sa.Column("filter", pg.JSONB, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("scope", pg.ARRAY(Code), nullable=False),
    sa.Column("expected", sa.Integer, nullable=False, comment="rows, when it was asked for"),
    sa.Column("most", sa.Integer, nullable=False, server_default=sa.text(str(ROWS))),
    sa.UniqueConstraint("number", name="exports_number_key"),
    # For the log to point at, so that a row of it cannot name another requester.
    sa.UniqueConstraint("id", "persons", name="exports_id_persons_key"),
    sa.CheckConstraint(_among("format", FORMATS), name="format"),
    sa.CheckConstraint(PURPOSE, name="purpose"),
    sa.CheckConstraint(NOTE, name="note"),
    sa.CheckConstraint("scope <> '{}'", name="scope"),
    sa.CheckConstraint(f"most BETWEEN 1 AND {ROWS} AND expected <= most", name="most"),
    comment="带个人信息的导出申请:要另一个人批准,有行数上限和水印,只能取一次。",
)

EXPORT_MOVES = sa.Table(
    "export_moves",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    comment="导出申请允许的步骤。",
)

EXPORT_LOG = sa.Table(
    "export_log",
    metadata,
    sa.Column("export", pg.UUID(), primary_key=True),
    sa.Column("source", sa.Text),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("persons", pg.ARRAY(pg.UUID()), nullable=False, comment=PERSONS),
    sa.Column("asked_by", pg.ARRAY(pg.UUID()), nullable=False, comment="the persons of the request"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False),
    sa.Column("opinion", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("rows", sa.Integer),
    # A state is left once, by one move that there is, and only after it was reached.
    sa.UniqueConstraint("export", "source", name="export_log_export_source_key"),
    sa.ForeignKeyConstraint(("export", "source"), ("export_log.export", "export_log.target"), name="export_log_export_source_fkey"),
    sa.ForeignKeyConstraint(("source", "target"), ("export_moves.source", "export_moves.target"), name="export_log_source_target_fkey"),
    sa.ForeignKeyConstraint(("export", "asked_by"), ("exports.id", "exports.persons"), name="export_log_export_asked_by_fkey"),
    sa.CheckConstraint("source IS NOT NULL OR target = 'requested'", name="begun"),
    sa.CheckConstraint("target NOT IN ('approved', 'refused') OR NOT persons && asked_by", name="second_person"),
    sa.CheckConstraint("target NOT IN ('approved', 'refused') OR length(btrim(opinion)) BETWEEN 2 AND 500", name="opinion"),
    sa.CheckConstraint(f"(target = 'taken') = (rows IS NOT NULL) AND rows BETWEEN 0 AND {ROWS}", name="rows"),
    comment="导出申请走过的步骤。",
)
