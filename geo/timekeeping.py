"""The tables of time: which days and hours are worked, how long everything may take, and the clocks of cases.

Which days are worked is published late every year for the next (国务院办公厅), and a town has days of its own. So both are
rows, and what follows from them (`working_spans`) is laid anew when one changes.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.spine import NOW
from geo.tables import Moment, metadata

# Continuous: urgent_minute, urgent_hour, natural_day. Only while people work: work_hour, and work_day, eight of them.
KINDS = ("urgent_minute", "urgent_hour", "natural_day", "work_hour", "work_day")
KIND = f"kind IN ({', '.join(map(repr, KINDS))})"
AMOUNT = "amount > 0 AND amount <= 100000"

WORKING_DAYS = sa.Table(
    "working_days",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("working", sa.Boolean, nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("source", sa.Text, nullable=False),
    sa.CheckConstraint("source IN ('published', 'own')", name="source"),
    sa.CheckConstraint("length(note) <= 100", name="note"),
    comment="工作日历:国家公布的节假日和调休,以及本地另定的日子。没有写的日子,周一至周五上班。",
)

WORKING_HOURS = sa.Table(
    "working_hours",
    metadata,
    sa.Column("opens", sa.Time, primary_key=True),
    sa.Column("closes", sa.Time, nullable=False),
    sa.CheckConstraint("closes > opens AND extract(second FROM opens) = 0 AND extract(second FROM closes) = 0", name="closes"),
    pg.ExcludeConstraint(
        (sa.text("int4range(extract(epoch FROM opens)::integer, extract(epoch FROM closes)::integer)"), "&&"), name="working_hours_overlap_excl",
    ),
    comment="每个工作日的上班时段,当地时间。",
)

WORKING_SPANS = sa.Table(
    "working_spans",
    metadata,
    sa.Column("starts", Moment, primary_key=True),
    sa.Column("ends", Moment, nullable=False),
    # Both questions of a clock are one step down an index of this: how much until then, and when is so much.
    sa.Column("before", sa.Float, comment="seconds worked before it; none known at the end of the calendar"),
    sa.UniqueConstraint("before", "starts", name="working_spans_before_key"),
    comment="由工作日历推得的每个上班时段和之前累计的秒数;由 calendar_laid 写。",
)

STAGE_LIMITS = sa.Table(
    "stage_limits",
    metadata,
    sa.Column("state", sa.Text, sa.ForeignKey("incident_states.code", ondelete="CASCADE"), primary_key=True),
    sa.Column("urgent", sa.Boolean, primary_key=True),
    # States of one clock that follow one another are timed together: who is slow to take a case over loses their own time.
    sa.Column("clock", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("source", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.CheckConstraint("clock IN ('accept', 'verify', 'dispatch', 'handle', 'check', 'close', 'feedback')", name="clock"),
    sa.CheckConstraint(KIND, name="kind"),
    sa.CheckConstraint(AMOUNT, name="amount"),
    comment="各环节的时限。处置环节先看事项的时限,没有再看这里。",
)

MATTER_LIMITS = sa.Table(
    "matter_limits",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("matter", sa.Text, sa.ForeignKey("matters.code"), index=True, comment="none: of our list; it stands and applies to nothing"),
    sa.Column("code", sa.Text, nullable=False, server_default=sa.text("''"), comment="as the table has it"),
    sa.Column("title", sa.Text, nullable=False, server_default=sa.text("''"), comment="as the table has it"),
    sa.Column("condition", sa.Text, nullable=False, server_default=sa.text("''"), comment="when it is filed"),
    sa.Column("closing", sa.Text, nullable=False, server_default=sa.text("''"), comment="when it is closed"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("unit", sa.Text, nullable=False, server_default=sa.text("''"), comment="who handles it"),
    sa.Column("department", sa.Text, nullable=False, server_default=sa.text("''"), comment="who leads"),
    sa.Column("valid_from", Moment, nullable=False, server_default=NOW),
    sa.Column("valid_to", Moment),
    sa.Column("source", sa.Text, nullable=False, server_default=sa.text("''"), comment="the file and its row"),
    sa.CheckConstraint(KIND, name="kind"),
    sa.CheckConstraint(AMOUNT, name="amount"),
    sa.CheckConstraint("code <> '' OR title <> ''", name="named"),
    sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="validity"),
    comment="事项的立案条件、结案条件和处置时限。新表生效,旧表留着:当时的案件按当时的时限。",
)

ALARM_STEPS = sa.Table(
    "alarm_steps",
    metadata,
    sa.Column("alarm", sa.Text, primary_key=True),
    sa.Column("times", sa.Float, nullable=False, comment="of the limit"),
    sa.Column("level", sa.Text, nullable=False, comment="of the area above the case whose people are told"),
    sa.CheckConstraint("times > 0 AND times <= 100", name="times"),
    sa.CheckConstraint("level IN ('grid', 'community', 'street', 'district', 'city')", name="level"),
    sa.UniqueConstraint("times", name="alarm_steps_times_key"),
    comment="什么时候提醒哪一级:快到期,超时一倍、三倍。",
)

INCIDENT_CLOCKS = sa.Table(
    "incident_clocks",
    metadata,
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False, comment="in which it began"),
    sa.Column("clock", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("resumed_at", Moment, nullable=False, comment="since when it runs; what was spent before is in spent"),
    sa.Column("due_at", Moment, comment="none while it is paused"),
    sa.Column("alarm_at", Moment, comment="of the next alarm there is to give"),
    sa.Column("paused_at", Moment),
    sa.Column("spent", sa.Float, nullable=False, server_default=sa.text("0"), comment="in the unit of its kind; of one that has ended, all"),
    sa.Column("ended_at", Moment),
    sa.Column("extended", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("exempt", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("matter_limit", pg.UUID(), sa.ForeignKey("matter_limits.id"), index=True),
    sa.CheckConstraint("number >= 1", name="number"),
    sa.CheckConstraint(KIND, name="kind"),
    sa.CheckConstraint(AMOUNT, name="amount"),
    sa.CheckConstraint("spent >= 0", name="spent"),
    sa.CheckConstraint("extended BETWEEN 0 AND 2", name="extended"),
    sa.CheckConstraint("resumed_at >= started_at AND ended_at >= started_at AND paused_at >= resumed_at", name="order"),
    sa.Index("incident_clocks_running_key", "incident", unique=True, postgresql_where=sa.text("ended_at IS NULL")),
    sa.Index("incident_clocks_due_idx", "due_at"),
    sa.Index("incident_clocks_alarm_at_idx", "alarm_at", postgresql_where=sa.text("alarm_at IS NOT NULL")),
    comment="案件的每一只计时钟:从进入环节起,暂停、恢复、延期、结束。同时只走一只。",
)

CLOCK_ALARMS = sa.Table(
    "clock_alarms",
    metadata,
    sa.Column("incident", pg.UUID(), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # No key to the steps: a town may drop one, and what was told stays told.
    sa.Column("alarm", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("area", sa.Text(collation="C"), nullable=False, comment="the path of whose people are told"),
    sa.Column("times", sa.Float, nullable=False, comment="of its limit, when it was given"),
    sa.Column("level", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(["incident", "number"], ["incident_clocks.incident", "incident_clocks.number"]),
    sa.Index("clock_alarms_area_at_idx", "area", "at"),
    comment="已经发出的提醒:每只钟的每一种只发一次。",
)
