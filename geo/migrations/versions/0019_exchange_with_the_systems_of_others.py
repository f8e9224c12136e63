"""exchange with the systems of others."""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = '0019'
down_revision = '0017'


def upgrade() -> None:
    op.create_table('webhooks',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('secret_cipher', sa.LargeBinary(), nullable=False),
    sa.Column('scope', sa.Text(collation='C'), nullable=False, comment='cases of this area'),
    sa.Column('events', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('reached', sa.BigInteger(), nullable=False, comment='the number of the last change that was looked at'),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("events <@ ARRAY['reported', 'moved', 'closed', 'changed'] AND cardinality(events) >= 1", name=op.f('webhooks_events_check')),
    sa.CheckConstraint('length(title) BETWEEN 1 AND 100 AND length(url) <= 500', name=op.f('webhooks_title_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('webhooks_pkey')),
    comment='推送:哪个区域的哪些事推到哪个系统,口令封存。'
    )
    op.create_table('things',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('geom', Geometry(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeomFromEWKT', name='geometry', nullable=False), nullable=False),
    sa.Column('account', sa.UUID(), nullable=True, comment='who may send what it measures'),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("code ~ '^[0-9A-Za-z_.-]{1,40}$'", name=op.f('things_code_check')),
    sa.CheckConstraint('length(title) BETWEEN 1 AND 100', name=op.f('things_title_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('things_account_fkey')),
    sa.PrimaryKeyConstraint('code', name=op.f('things_pkey')),
    comment='感知设备:在哪里。量的是水位、烟雾、井盖,不是人。'
    )
    op.create_index(op.f('things_account_idx'), 'things', ['account'], unique=False)
    op.create_table('webhook_deliveries',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False, comment='by which the receiver knows what came twice'),
    sa.Column('webhook', sa.UUID(), nullable=False),
    sa.Column('change', sa.BigInteger(), nullable=False, comment='its number in the change log'),
    sa.Column('event', sa.Text(), nullable=False),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('tries', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=True, comment='none: delivered, or given up'),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('dead_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('answer', sa.Text(), server_default=sa.text("''"), nullable=False, comment='a status, or a word for what went wrong'),
    sa.CheckConstraint("event IN ('reported', 'moved', 'closed', 'changed')", name=op.f('webhook_deliveries_event_check')),
    sa.CheckConstraint('length(answer) <= 40', name=op.f('webhook_deliveries_answer_check')),
    sa.CheckConstraint('num_nonnulls(next_at, delivered_at, dead_at) = 1', name=op.f('webhook_deliveries_one_end_check')),
    sa.ForeignKeyConstraint(['webhook'], ['webhooks.id'], name=op.f('webhook_deliveries_webhook_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('webhook_deliveries_pkey')),
    sa.UniqueConstraint('webhook', 'change', name='webhook_deliveries_webhook_change_key'),
    comment='推送的发件箱:每个变化对每个推送一行,送到为止,或试够次数作废。'
    )
    op.create_index('webhook_deliveries_next_at_idx', 'webhook_deliveries', ['next_at'], unique=False, postgresql_where=sa.text('next_at IS NOT NULL'))
    op.create_table('datastreams',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('thing', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False, comment='what is measured'),
    sa.Column('unit', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=True, comment='of the last observation; an earlier one is not taken'),
    sa.Column('last', sa.Float(), nullable=True),
    sa.Column('observations', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("code ~ '^[0-9A-Za-z_.-]{1,40}$'", name=op.f('datastreams_code_check')),
    sa.CheckConstraint('length(title) BETWEEN 1 AND 100 AND length(unit) <= 20', name=op.f('datastreams_title_check')),
    sa.ForeignKeyConstraint(['thing'], ['things.code'], name=op.f('datastreams_thing_fkey')),
    sa.PrimaryKeyConstraint('code', name=op.f('datastreams_pkey')),
    comment='感知设备的一路数据。不存每次的值,只存最近一次。'
    )
    op.create_index(op.f('datastreams_thing_idx'), 'datastreams', ['thing'], unique=False)
    op.create_table('foreign_requests',
    sa.Column('endpoint', sa.Text(), nullable=False),
    sa.Column('number', sa.Text(), nullable=False, comment='as the other server has it'),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('came_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('told_steps', sa.Integer(), server_default=sa.text('1'), nullable=False, comment='the last step that the other server was told of'),
    sa.Column('tries', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('refusal', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.CheckConstraint('length(number) BETWEEN 1 AND 200 AND length(endpoint) <= 300 AND length(refusal) <= 200', name=op.f('foreign_requests_number_check')),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('foreign_requests_incident_fkey')),
    sa.PrimaryKeyConstraint('endpoint', 'number', name=op.f('foreign_requests_pkey')),
    comment='从另一台 Open311 服务器取来的请求:成了哪一件事,对方知道到哪一步。'
    )
    op.create_index(op.f('foreign_requests_incident_idx'), 'foreign_requests', ['incident'], unique=False)
    op.create_table('hotline_tickets',
    sa.Column('number', sa.Text(), nullable=False, comment='as the hotline has it'),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True, comment="of the hotline's own, whatever our clocks say"),
    sa.Column('repeats', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='how often it was sent again as something new'),
    sa.Column('linked', sa.Boolean(), nullable=False, comment='whether the case was there before it'),
    sa.Column('account', sa.UUID(), nullable=True, comment='of whoever brought it'),
    sa.Column('came_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('again_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('said_hash', sa.LargeBinary(), nullable=False, comment='what it said, as a keyed hash'),
    sa.CheckConstraint("kind IN ('consult', 'help', 'complaint', 'suggestion', 'tip', 'thanks', 'other')", name=op.f('hotline_tickets_kind_check')),
    sa.CheckConstraint("number ~ '^[0-9A-Za-z][0-9A-Za-z_./-]{0,39}$'", name=op.f('hotline_tickets_number_check')),
    sa.CheckConstraint('repeats >= 0', name=op.f('hotline_tickets_repeats_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('hotline_tickets_account_fkey')),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('hotline_tickets_incident_fkey')),
    sa.PrimaryKeyConstraint('number', name=op.f('hotline_tickets_pkey')),
    comment='热线工单:哪张工单是哪一件事,分类、热线的期限、重复次数。'
    )
    op.create_index(op.f('hotline_tickets_account_idx'), 'hotline_tickets', ['account'], unique=False)
    op.create_index(op.f('hotline_tickets_incident_idx'), 'hotline_tickets', ['incident'], unique=False)
    op.create_table('observation_rules',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('datastream', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False, comment='of the case that it makes'),
    sa.Column('matter', sa.Text(), nullable=False),
    sa.Column('above', sa.Float(), nullable=True),
    sa.Column('below', sa.Float(), nullable=True),
    sa.Column('back', sa.Float(), server_default=sa.text('0'), nullable=False, comment='how far it has to come back to be over'),
    sa.Column('lasting', sa.Interval(), server_default=sa.text("'0'"), nullable=False, comment='how long it has to be so'),
    sa.Column('once_in', sa.Interval(), server_default=sa.text("'1 day'"), nullable=False, comment='no second case within it'),
    sa.Column('urgent', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=True, comment='since when it is so'),
    sa.Column('incident', sa.UUID(), nullable=True, comment='the last that it made'),
    sa.Column('raised_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attached', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='observations that came to that case'),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("lasting BETWEEN '0' AND '7 days' AND once_in BETWEEN '1 minute' AND '90 days'", name=op.f('observation_rules_times_check')),
    sa.CheckConstraint('back >= 0', name=op.f('observation_rules_back_check')),
    sa.CheckConstraint('length(title) BETWEEN 1 AND 100', name=op.f('observation_rules_title_check')),
    sa.CheckConstraint('num_nonnulls(above, below) >= 1 AND (above IS NULL OR below IS NULL OR below < above)', name=op.f('observation_rules_threshold_check')),
    sa.ForeignKeyConstraint(['datastream'], ['datastreams.code'], name=op.f('observation_rules_datastream_fkey')),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('observation_rules_incident_fkey')),
    sa.ForeignKeyConstraint(['matter'], ['matters.code'], name=op.f('observation_rules_matter_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('observation_rules_pkey')),
    comment='感知规则:什么值、持续多久成为哪个事项的一件事,多久之内只成一件。'
    )
    op.create_index(op.f('observation_rules_datastream_idx'), 'observation_rules', ['datastream'], unique=False)
    op.create_index(op.f('observation_rules_incident_idx'), 'observation_rules', ['incident'], unique=False)
    op.add_column('incidents', sa.Column('promised_at', sa.DateTime(timezone=True), nullable=True))
