"""The tables of what comes from the systems of others and goes to them: tickets of the hotline, what sensors measure, requests of another
Open311 server, and webhooks.

What comes is known by the number that it has where it comes from, so that whatever is sent twice is there once. Nobody reads or
writes these tables directly: functions look at who asks.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from geo.crs import SRID
from geo.spine import NOW
from geo.tables import Code, Moment, metadata

TICKET_KINDS = {
    "consult": "咨询", "help": "求助", "complaint": "投诉", "suggestion": "建议", "tip": "举报", "thanks": "感谢", "other": "其他",
}  # fmt: skip
EVENTS = {"reported": "上报", "moved": "办理", "closed": "结案", "changed": "改动"}


def _one_of(column: str, codes: dict[str, str]) -> str:
    return f"{column} IN ({', '.join(map(repr, codes))})"


HOTLINE_TICKETS = sa.Table(
    "hotline_tickets",
    metadata,
    sa.Column("number", sa.Text, primary_key=True, comment="as the hotline has it"),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("due_at", Moment, comment="of the hotline's own, whatever our clocks say"),
    sa.Column("repeats", sa.Integer, nullable=False, server_default=sa.text("0"), comment="how often it was sent again as something new"),
    sa.Column("linked", sa.Boolean, nullable=False, comment="whether the case was there before it"),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), index=True, comment="of whoever brought it"),
    sa.Column("came_at", Moment, nullable=False, server_default=NOW),
    sa.Column("again_at", Moment),
    sa.Column("said_hash", sa.LargeBinary, nullable=False, info={"fingerprint": True}, comment="what it said, as a keyed hash"),
    sa.CheckConstraint("number ~ '^[0-9A-Za-z][0-9A-Za-z_./-]{0,39}$'", name="number"),
    sa.CheckConstraint(_one_of("kind", TICKET_KINDS), name="kind"),
    sa.CheckConstraint("repeats >= 0", name="repeats"),
    comment="热线工单:哪张工单是哪一件事,分类、热线的期限、重复次数。",
)

THINGS = sa.Table(
    "things",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("geom", Geometry("POINT", srid=SRID, spatial_index=False), nullable=False),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), index=True, comment="who may send what it measures"),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("retired_at", Moment),
    sa.CheckConstraint("code ~ '^[0-9A-Za-z_.-]{1,40}$'", name="code"),
    sa.CheckConstraint("length(title) BETWEEN 1 AND 100", name="title"),
    comment="感知设备:在哪里。量的是水位、烟雾、井盖,不是人。",
)

DATASTREAMS = sa.Table(
    "datastreams",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("thing", sa.Text, sa.ForeignKey("things.code"), nullable=False, index=True),
    sa.Column("title", sa.Text, nullable=False, comment="what is measured"),
    sa.Column("unit", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("last_at", Moment, comment="of the last observation; an earlier one is not taken"),
    sa.Column("last", sa.Float),
    sa.Column("observations", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("retired_at", Moment),
    sa.CheckConstraint("code ~ '^[0-9A-Za-z_.-]{1,40}$'", name="code"),
    sa.CheckConstraint("length(title) BETWEEN 1 AND 100 AND length(unit) <= 20", name="title"),
    comment="感知设备的一路数据。不存每次的值,只存最近一次。",
)

OBSERVATION_RULES = sa.Table(
    "observation_rules",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("datastream", sa.Text, sa.ForeignKey("datastreams.code"), nullable=False, index=True),
    sa.Column("title", sa.Text, nullable=False, comment="of the case that it makes"),
    sa.Column("matter", sa.Text, sa.ForeignKey("matters.code"), nullable=False),
    sa.Column("above", sa.Float),
    sa.Column("below", sa.Float),
    sa.Column("back", sa.Float, nullable=False, server_default=sa.text("0"), comment="how far it has to come back to be over"),
    sa.Column("lasting", sa.Interval, nullable=False, server_default=sa.text("'0'"), comment="how long it has to be so"),
    sa.Column("once_in", sa.Interval, nullable=False, server_default=sa.text("'1 day'"), comment="no second case within it"),
    sa.Column("urgent", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("since", Moment, comment="since when it is so"),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), index=True, comment="the last that it made"),
    sa.Column("raised_at", Moment),
    sa.Column("attached", sa.Integer, nullable=False, server_default=sa.text("0"), comment="observations that came to that case"),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("retired_at", Moment),
    sa.CheckConstraint("num_nonnulls(above, below) >= 1 AND (above IS NULL OR below IS NULL OR below < above)", name="threshold"),
    sa.CheckConstraint("back >= 0", name="back"),
    sa.CheckConstraint("lasting BETWEEN '0' AND '7 days' AND once_in BETWEEN '1 minute' AND '90 days'", name="times"),
    sa.CheckConstraint("length(title) BETWEEN 1 AND 100", name="title"),
    comment="感知规则:什么值、持续多久成为哪个事项的一件事,多久之内只成一件。",
)

FOREIGN_REQUESTS = sa.Table(
    "foreign_requests",
    metadata,
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, primary_key=True, comment="as the other server has it"),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("came_at", Moment, nullable=False, server_default=NOW),
    sa.Column("told_steps", sa.Integer, nullable=False, server_default=sa.text("1"), comment="the last step that the other server was told of"),
    sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("refusal", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.CheckConstraint("length(number) BETWEEN 1 AND 200 AND length(endpoint) <= 300 AND length(refusal) <= 200", name="number"),
    comment="从另一台 Open311 服务器取来的请求:成了哪一件事,对方知道到哪一步。",
)

WEBHOOKS = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret_cipher", sa.LargeBinary, nullable=False),
    sa.Column("scope", Code, nullable=False, comment="cases of this area"),
    sa.Column("events", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("reached", sa.BigInteger, nullable=False, comment="the number of the last change that was looked at"),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("ended_at", Moment),
    sa.CheckConstraint("length(title) BETWEEN 1 AND 100 AND length(url) <= 500", name="title"),
    sa.CheckConstraint(f"events <@ ARRAY[{', '.join(map(repr, EVENTS))}] AND cardinality(events) >= 1", name="events"),
    comment="推送:哪个区域的哪些事推到哪个系统,口令封存。",
)

WEBHOOK_DELIVERIES = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()"), comment="by which the receiver knows what came twice"),
    sa.Column("webhook", pg.UUID(), sa.ForeignKey("webhooks.id"), nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False, comment="its number in the change log"),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("incident", pg.UUID(), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("next_at", Moment, comment="none: delivered, or given up"),
    sa.Column("delivered_at", Moment),
    sa.Column("dead_at", Moment),
    sa.Column("answer", sa.Text, nullable=False, server_default=sa.text("''"), comment="a status, or a word for what went wrong"),
    sa.UniqueConstraint("webhook", "change", name="webhook_deliveries_webhook_change_key"),
    sa.CheckConstraint("num_nonnulls(next_at, delivered_at, dead_at) = 1", name="one_end"),
    sa.CheckConstraint(_one_of("event", EVENTS), name="event"),
    sa.CheckConstraint("length(answer) <= 40", name="answer"),
    sa.Index("webhook_deliveries_next_at_idx", "next_at", postgresql_where=sa.text("next_at IS NOT NULL")),
    comment="推送的发件箱:每个变化对每个推送一行,送到为止,或试够次数作废。",
)
