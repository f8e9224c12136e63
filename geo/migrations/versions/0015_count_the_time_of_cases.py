"""count the time that a case takes, by the clock of its kind and the days that are worked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0015'
down_revision = '0012'


def upgrade() -> None:
    op.create_table(
        'working_days',
        sa.Column('day', sa.Date(), nullable=False),
        sa.Column('working', sa.Boolean(), nullable=False),
        sa.Column('note', sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column('source', sa.Text(), nullable=False),
        sa.CheckConstraint("source IN ('published', 'own')", name=op.f('working_days_source_check')),
        sa.CheckConstraint('length(note) <= 100', name=op.f('working_days_note_check')),
        sa.PrimaryKeyConstraint('day', name=op.f('working_days_pkey')),
        comment='工作日历:国家公布的节假日和调休,以及本地另定的日子。没有写的日子,周一至周五上班。',
    )
    op.create_table(
        'working_hours',
        sa.Column('opens', sa.Time(), nullable=False),
        sa.Column('closes', sa.Time(), nullable=False),
        postgresql.ExcludeConstraint((sa.text('int4range(extract(epoch FROM opens)::integer, extract(epoch FROM closes)::integer)'), '&&'), using='gist', name='working_hours_overlap_excl'),
        sa.CheckConstraint('closes > opens AND extract(second FROM opens) = 0 AND extract(second FROM closes) = 0', name=op.f('working_hours_closes_check')),
        sa.PrimaryKeyConstraint('opens', name=op.f('working_hours_pkey')),
        comment='每个工作日的上班时段,当地时间。',
    )
    op.create_table(
        'working_spans',
        sa.Column('starts', sa.DateTime(timezone=True), nullable=False),
        sa.Column('ends', sa.DateTime(timezone=True), nullable=False),
        sa.Column('before', sa.Float(), nullable=True, comment='seconds worked before it; none known at the end of the calendar'),
        sa.PrimaryKeyConstraint('starts', name=op.f('working_spans_pkey')),
        sa.UniqueConstraint('before', 'starts', name='working_spans_before_key'),
        comment='由工作日历推得的每个上班时段和之前累计的秒数;由 calendar_laid 写。',
    )
    op.create_table(
        'stage_limits',
        sa.Column('state', sa.Text(), nullable=False),
        sa.Column('urgent', sa.Boolean(), nullable=False),
        sa.Column('clock', sa.Text(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('amount', sa.Float(), nullable=False),
        sa.Column('source', sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.CheckConstraint("clock IN ('accept', 'verify', 'dispatch', 'handle', 'check', 'close', 'feedback')", name=op.f('stage_limits_clock_check')),
        sa.CheckConstraint("kind IN ('urgent_minute', 'urgent_hour', 'natural_day', 'work_hour', 'work_day')", name=op.f('stage_limits_kind_check')),
        sa.CheckConstraint('amount > 0 AND amount <= 100000', name=op.f('stage_limits_amount_check')),
        sa.ForeignKeyConstraint(['state'], ['incident_states.code'], name=op.f('stage_limits_state_fkey'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('state', 'urgent', name=op.f('stage_limits_pkey')),
        comment='各环节的时限。处置环节先看事项的时限,没有再看这里。',
    )
    op.create_table(
        'matter_limits',
        sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
        sa.Column('matter', sa.Text(), nullable=True, comment='none: of our list; it stands and applies to nothing'),
        sa.Column('code', sa.Text(), server_default=sa.text("''"), nullable=False, comment='as the table has it'),
        sa.Column('title', sa.Text(), server_default=sa.text("''"), nullable=False, comment='as the table has it'),
        sa.Column('condition', sa.Text(), server_default=sa.text("''"), nullable=False, comment='when it is filed'),
        sa.Column('closing', sa.Text(), server_default=sa.text("''"), nullable=False, comment='when it is closed'),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('amount', sa.Float(), nullable=False),
        sa.Column('unit', sa.Text(), server_default=sa.text("''"), nullable=False, comment='who handles it'),
        sa.Column('department', sa.Text(), server_default=sa.text("''"), nullable=False, comment='who leads'),
        sa.Column('valid_from', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('valid_to', sa.DateTime(timezone=True), nullable=True),
        sa.Column('source', sa.Text(), server_default=sa.text("''"), nullable=False, comment='the file and its row'),
        sa.CheckConstraint("code <> '' OR title <> ''", name=op.f('matter_limits_named_check')),
        sa.CheckConstraint("kind IN ('urgent_minute', 'urgent_hour', 'natural_day', 'work_hour', 'work_day')", name=op.f('matter_limits_kind_check')),
        sa.CheckConstraint('amount > 0 AND amount <= 100000', name=op.f('matter_limits_amount_check')),
        sa.CheckConstraint('valid_to IS NULL OR valid_to >= valid_from', name=op.f('matter_limits_validity_check')),
        sa.ForeignKeyConstraint(['matter'], ['matters.code'], name=op.f('matter_limits_matter_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('matter_limits_pkey')),
        comment='事项的立案条件、结案条件和处置时限。新表生效,旧表留着:当时的案件按当时的时限。',
    )
    op.create_index(op.f('matter_limits_matter_idx'), 'matter_limits', ['matter'], unique=False)
    op.create_table(
        'alarm_steps',
        sa.Column('alarm', sa.Text(), nullable=False),
        sa.Column('times', sa.Float(), nullable=False, comment='of the limit'),
        sa.Column('level', sa.Text(), nullable=False, comment='of the area above the case whose people are told'),
        sa.CheckConstraint("level IN ('grid', 'community', 'street', 'district', 'city')", name=op.f('alarm_steps_level_check')),
        sa.CheckConstraint('times > 0 AND times <= 100', name=op.f('alarm_steps_times_check')),
        sa.PrimaryKeyConstraint('alarm', name=op.f('alarm_steps_pkey')),
        sa.UniqueConstraint('times', name='alarm_steps_times_key'),
        comment='什么时候提醒哪一级:快到期,超时一倍、三倍。',
    )
    op.create_table(
        'incident_clocks',
        sa.Column('incident', sa.UUID(), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('state', sa.Text(), nullable=False, comment='in which it began'),
        sa.Column('clock', sa.Text(), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('amount', sa.Float(), nullable=False),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('resumed_at', sa.DateTime(timezone=True), nullable=False, comment='since when it runs; what was spent before is in spent'),
        sa.Column('due_at', sa.DateTime(timezone=True), nullable=True, comment='none while it is paused'),
        sa.Column('alarm_at', sa.DateTime(timezone=True), nullable=True, comment='of the next alarm there is to give'),
        sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('spent', sa.Float(), server_default=sa.text('0'), nullable=False, comment='in the unit of its kind; of one that has ended, all'),
        sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('extended', sa.Integer(), server_default=sa.text('0'), nullable=False),
        sa.Column('exempt', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('matter_limit', sa.UUID(), nullable=True),
        sa.CheckConstraint("kind IN ('urgent_minute', 'urgent_hour', 'natural_day', 'work_hour', 'work_day')", name=op.f('incident_clocks_kind_check')),
        sa.CheckConstraint('amount > 0 AND amount <= 100000', name=op.f('incident_clocks_amount_check')),
        sa.CheckConstraint('extended BETWEEN 0 AND 2', name=op.f('incident_clocks_extended_check')),
        sa.CheckConstraint('number >= 1', name=op.f('incident_clocks_number_check')),
        sa.CheckConstraint('resumed_at >= started_at AND ended_at >= started_at AND paused_at >= resumed_at', name=op.f('incident_clocks_order_check')),
        sa.CheckConstraint('spent >= 0', name=op.f('incident_clocks_spent_check')),
        sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('incident_clocks_incident_fkey'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['matter_limit'], ['matter_limits.id'], name=op.f('incident_clocks_matter_limit_fkey')),
        sa.PrimaryKeyConstraint('incident', 'number', name=op.f('incident_clocks_pkey')),
        comment='案件的每一只计时钟:从进入环节起,暂停、恢复、延期、结束。同时只走一只。',
    )
    op.create_index('incident_clocks_alarm_at_idx', 'incident_clocks', ['alarm_at'], unique=False, postgresql_where=sa.text('alarm_at IS NOT NULL'))
    op.create_index(op.f('incident_clocks_matter_limit_idx'), 'incident_clocks', ['matter_limit'], unique=False)
    op.create_index('incident_clocks_running_key', 'incident_clocks', ['incident'], unique=True, postgresql_where=sa.text('ended_at IS NULL'))
    op.create_table(
        'clock_alarms',
        sa.Column('incident', sa.UUID(), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('alarm', sa.Text(), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('area', sa.Text(collation='C'), nullable=False, comment='the path of whose people are told'),
        sa.ForeignKeyConstraint(['incident', 'number'], ['incident_clocks.incident', 'incident_clocks.number'], name=op.f('clock_alarms_incident_number_fkey')),
        sa.PrimaryKeyConstraint('incident', 'number', 'alarm', name=op.f('clock_alarms_pkey')),
        comment='已经发出的提醒:每只钟的每一种只发一次。',
    )
    op.create_index('clock_alarms_area_at_idx', 'clock_alarms', ['area', 'at'], unique=False)
