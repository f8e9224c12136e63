"""The tables of the case machine: what may follow what, and what has.

A move is a row of the log, and the log is held together by keys: its move is one that there is, for the capacity in which
it was taken; it begins where the one before it ended; and where the case stands is where the log ends. Of several who move
a case at once, one finds the place of the next row free.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from geo.crs import SRID
from geo.spine import NOW
from geo.tables import TABLES, Code, Moment, metadata

INCIDENT_STATES = sa.Table(
    "incident_states",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("over", sa.Boolean, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    comment="事件的状态,各属一个环节:受理、分流、处置、结案、反馈。由声明写入。",
)

INCIDENT_MOVES = sa.Table(
    "incident_moves",
    metadata,
    sa.Column("action", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True, comment="a role, or lead, reporter, system"),
    sa.Column("reasoned", sa.Boolean, nullable=False, comment="an opinion has to be given"),
    sa.UniqueConstraint("action", "source", "target", "role", "reasoned", name="incident_moves_reasoned_key"),
    comment="事件允许的步骤,和谁可以走:数据而非程序。由声明写入。",
)

INCIDENT_LOG = sa.Table(
    "incident_log",
    metadata,
    # Only destruction deletes a case, and what was done with it goes along.
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("previous", sa.Integer, sa.Computed("nullif(number - 1, 0)", persisted=True)),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("reasoned", sa.Boolean, nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("scope", Code, nullable=False, comment="who answered for the place then"),
    sa.Column("opinion", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("facts", pg.JSONB, nullable=False, server_default=sa.text("'{}'"), comment="to whom, until when, into what, why by the list"),
    sa.Column("key", sa.Text, comment="Idempotency-Key of whoever moved it"),
    sa.UniqueConstraint("incident", "number", "target", name="incident_log_incident_number_target_key"),
    sa.UniqueConstraint("actor", "key", name="incident_log_actor_key_key"),
    sa.ForeignKeyConstraint(
        ("action", "source", "target", "role", "reasoned"),
        [f"incident_moves.{c}" for c in ("action", "source", "target", "role", "reasoned")], name="incident_log_move_fkey",
    ),
    sa.ForeignKeyConstraint(
        ("incident", "previous", "source"), [f"incident_log.{c}" for c in ("incident", "number", "target")], name="incident_log_previous_fkey",
    ),
    sa.CheckConstraint("number >= 1 AND (number = 1) = (source = '')", name="number"),
    sa.CheckConstraint("NOT reasoned OR length(btrim(opinion)) BETWEEN 2 AND 2000", name="opinion"),
    sa.CheckConstraint("length(opinion) <= 2000", name="opinion_length"),
    sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name="key"),
    sa.CheckConstraint("jsonb_typeof(facts) = 'object'", name="facts"),
    sa.Index("incident_log_at_idx", "at"),
    sa.Index("incident_log_action_idx", "action", "at", postgresql_include=["incident"]),
    comment="事件走过的每一步:只能追加。哪一步允许、谁可以走,由外键定。",
)  # fmt: skip

# Of what was loaded and has not moved since there is no log, and nothing to hold it to.
_INCIDENTS = TABLES["incidents"]
_INCIDENTS.append_column(sa.Column("steps", sa.Integer, comment="the number of the last row of its log"))
_INCIDENTS.append_constraint(
    sa.ForeignKeyConstraint(
        ("id", "steps", "state"), [f"incident_log.{c}" for c in ("incident", "number", "target")],
        name="incidents_steps_fkey", use_alter=True,
    )
)  # fmt: skip

# What somebody still has to do with, of the many that are over.
sa.Index(
    "incidents_open_idx", _INCIDENTS.c.scope, _INCIDENTS.c.due_at,
    postgresql_where=sa.text("retired_at IS NULL AND state NOT IN ('feedback', 'rejected', 'cancelled', 'merged') AND NOT (state = 'closed' AND steps IS NULL)"),
)  # fmt: skip

# Of what was loaded as it stood elsewhere, when it was due: no clock says so.
sa.Index("incidents_due_loaded_idx", _INCIDENTS.c.due_at, postgresql_where=sa.text("steps IS NULL AND due_at IS NOT NULL"))

# Never two who lead: on somebody's premises one, and one for everywhere else.
TABLES["duty_items"].append_constraint(
    pg.ExcludeConstraint(
        ("matter", "="), ("area", "="), (sa.text("((by = 'owner')::integer)"), "="), (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
        name="duty_items_one_lead_excl", where=sa.text("retired_at IS NULL AND part = 'lead'"),
    )
)  # fmt: skip

APPOINTMENT_BODIES = sa.Table(
    "appointment_bodies",
    metadata,
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id"), primary_key=True),
    sa.Column("organisation", pg.UUID(), sa.ForeignKey("organisations.id"), nullable=False, index=True),
    comment="任职所代表的单位:派给这个单位的事件由它办理。",
)

INCIDENT_GRADES = sa.Table(
    "incident_grades",
    metadata,
    sa.Column("grade", sa.Text, primary_key=True),
    sa.Column("action", sa.Text, primary_key=True, comment="what has to be on the log"),
    sa.Column("waits", sa.Text, primary_key=True, comment="before this step"),
    comment="分级处置:哪一级的事件,先要做什么才能走哪一步。由声明写入。",
)

# Who is called is on the log of the case; here stands how far each has got. Nobody leaves whom the street has not let go: the key of
# a call that was left refers to a whistle that is over.
WHISTLES = sa.Table(
    "whistles",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("place", Geometry("POINT", srid=SRID, spatial_index=False), nullable=False),
    sa.Column("address", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("blown_at", Moment, nullable=False),
    sa.Column("released_at", Moment),
    sa.Column("released", sa.Boolean, sa.Computed("released_at IS NOT NULL", persisted=True)),
    sa.UniqueConstraint("id", "released", name="whistles_released_key"),
    sa.CheckConstraint("length(address) <= 256", name="address"),
    sa.CheckConstraint("released_at >= blown_at", name="order"),
    sa.Index("whistles_standing_key", "incident", unique=True, postgresql_where=sa.text("released_at IS NULL")),
    comment="吹哨:街道为一件事把部门叫到一个地点。一件事同时只有一次。",
)

WHISTLE_CALLS = sa.Table(
    "whistle_calls",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("whistle", pg.UUID(), sa.ForeignKey("whistles.id"), nullable=False),
    sa.Column("organisation", pg.UUID(), sa.ForeignKey("organisations.id"), nullable=False, index=True),
    sa.Column("called_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("metres", sa.Integer, nullable=False, comment="how near is there"),
    sa.Column("answered_at", Moment),
    sa.Column("arrived_at", Moment),
    sa.Column("away_m", sa.Integer, comment="from the place, when it reported in"),
    # One point, not a track: it shows for a month that somebody was there.
    sa.Column("point", Geometry("POINT", srid=SRID, spatial_index=False)),
    sa.Column("left_at", Moment),
    sa.Column("freed", sa.Boolean, sa.Computed("CASE WHEN left_at IS NOT NULL THEN true ELSE NULL::boolean END", persisted=True)),
    sa.Column("late_told_at", Moment),
    sa.UniqueConstraint("whistle", "organisation", name="whistle_calls_whistle_organisation_key"),
    sa.ForeignKeyConstraint(("whistle", "freed"), ("whistles.id", "whistles.released"), name="whistle_calls_freed_fkey"),
    sa.CheckConstraint("metres BETWEEN 20 AND 2000", name="metres"),
    sa.CheckConstraint("due_at > called_at AND due_at <= called_at + interval '24 hours'", name="due"),
    sa.CheckConstraint("num_nonnulls(arrived_at, away_m) IN (0, 2) AND (point IS NULL OR arrived_at IS NOT NULL)", name="arrived"),
    sa.CheckConstraint("away_m <= metres", name="near"),
    sa.CheckConstraint("left_at IS NULL OR arrived_at IS NOT NULL", name="left"),
    sa.CheckConstraint("answered_at >= called_at AND arrived_at >= answered_at AND left_at >= arrived_at", name="order"),
    sa.Index("whistle_calls_due_at_idx", "due_at", postgresql_where=sa.text("arrived_at IS NULL AND late_told_at IS NULL")),
    comment="被叫到的每个单位:何时应哨、报到、离场。报到的点保存三十天。",
)

DUTY_CALLS = sa.Table(
    "duty_calls",
    metadata,
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("level", sa.Text, primary_key=True),
    sa.Column("area", Code, nullable=False),
    sa.Column("told_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("gap", sa.Boolean, nullable=False, comment="nobody is responsible there"),
    sa.Column("acknowledged_at", Moment),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("raised_at", Moment, comment="since when the next level has it, or there is none"),
    sa.CheckConstraint("level IN ('grid', 'community', 'street', 'district')", name="level"),
    sa.CheckConstraint("num_nonnulls(acknowledged_at, acknowledged_by) IN (0, 2)", name="acknowledged"),
    sa.CheckConstraint("due_at >= told_at", name="order"),
    sa.Index("duty_calls_due_at_idx", "due_at", postgresql_where=sa.text("acknowledged_at IS NULL AND raised_at IS NULL")),
    sa.Index("duty_calls_area_idx", "area", postgresql_where=sa.text("acknowledged_at IS NULL")),
    comment="紧急事件逐级告知责任人:每级一次,知悉为止。",
)

DUTY_WAITS = sa.Table(
    "duty_waits",
    metadata,
    sa.Column("area", Code, primary_key=True, comment="'' everywhere else"),
    sa.Column("minutes", sa.Integer, nullable=False),
    sa.CheckConstraint("minutes BETWEEN 1 AND 1440", name="minutes"),
    comment="紧急事件多少分钟没有人知悉就告知上一级,分区域定。",
)

# The picture itself is a sealed file beside the database (`geo.photos`), named by the hash of what is on the disk; without the
# key it is noise, so that who destroys the key destroys every copy.
INCIDENT_PHOTOS = sa.Table(
    "incident_photos",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, comment="the step of the log that it belongs to"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, comment="SHA-256 of the picture"),
    sa.Column("file", sa.Text, comment="SHA-256 of the sealed file, which is its name"),
    sa.Column("file_key_cipher", sa.LargeBinary),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("actor", sa.Text, nullable=False, comment="'' for who reported it"),
    sa.Column("released_at", Moment),
    sa.Column("released_by", sa.Text),
    sa.Column("retired_at", Moment),
    sa.Column("over_at", Moment, comment="since when nobody has to do with the case"),
    sa.Column("unreleased_over_at", Moment, sa.Computed("CASE WHEN released_at IS NULL THEN over_at ELSE NULL::timestamp with time zone END", persisted=True)),
    sa.ForeignKeyConstraint(
        ("incident", "number"), ["incident_log.incident", "incident_log.number"], name="incident_photos_step_fkey",
    ),
    sa.CheckConstraint("kind IN ('near', 'far', 'before', 'after')", name="kind"),
    sa.CheckConstraint("num_nonnulls(digest, file, file_key_cipher) IN (0, 3)", name="whole"),
    sa.CheckConstraint("octet_length(digest) = 32 AND file ~ '^[0-9a-f]{64}$'", name="digest"),
    sa.CheckConstraint("size BETWEEN 1 AND 10000000 AND width BETWEEN 1 AND 1600 AND height BETWEEN 1 AND 1600", name="measures"),
    sa.CheckConstraint("num_nonnulls(released_at, released_by) IN (0, 2)", name="released"),
    # The same photo sent again is the same photo.
    sa.Index("incident_photos_digest_idx", "incident", "digest", unique=True, postgresql_where=sa.text("retired_at IS NULL")),
    sa.Index("incident_photos_file_idx", "file", postgresql_where=sa.text("file IS NOT NULL")),
    comment="事件的照片:图像封存在库外,由人逐张公开之前只给办理的人看。",
)  # fmt: skip
