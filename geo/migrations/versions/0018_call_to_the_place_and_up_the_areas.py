"""call to the place and up the areas."""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry

revision = '0018'
down_revision = '0030'


def upgrade() -> None:
    op.create_table('duty_waits',
    sa.Column('area', sa.Text(collation='C'), nullable=False, comment="'' everywhere else"),
    sa.Column('minutes', sa.Integer(), nullable=False),
    sa.CheckConstraint('minutes BETWEEN 1 AND 1440', name=op.f('duty_waits_minutes_check')),
    sa.PrimaryKeyConstraint('area', name=op.f('duty_waits_pkey')),
    comment='紧急事件多少分钟没有人知悉就告知上一级,分区域定。'
    )
    op.create_table('incident_grades',
    sa.Column('grade', sa.Text(), nullable=False),
    sa.Column('action', sa.Text(), nullable=False, comment='what has to be on the log'),
    sa.Column('waits', sa.Text(), nullable=False, comment='before this step'),
    sa.PrimaryKeyConstraint('grade', 'action', 'waits', name=op.f('incident_grades_pkey')),
    comment='分级处置:哪一级的事件,先要做什么才能走哪一步。由声明写入。'
    )
    op.create_table('duty_calls',
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('level', sa.Text(), nullable=False),
    sa.Column('area', sa.Text(collation='C'), nullable=False),
    sa.Column('told_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('gap', sa.Boolean(), nullable=False, comment='nobody is responsible there'),
    sa.Column('acknowledged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_by', sa.Text(), nullable=True),
    sa.Column('raised_at', sa.DateTime(timezone=True), nullable=True, comment='since when the next level has it, or there is none'),
    sa.CheckConstraint("level IN ('grid', 'community', 'street', 'district')", name=op.f('duty_calls_level_check')),
    sa.CheckConstraint('due_at >= told_at', name=op.f('duty_calls_order_check')),
    sa.CheckConstraint('num_nonnulls(acknowledged_at, acknowledged_by) IN (0, 2)', name=op.f('duty_calls_acknowledged_check')),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('duty_calls_incident_fkey')),
    sa.PrimaryKeyConstraint('incident', 'level', name=op.f('duty_calls_pkey')),
    comment='紧急事件逐级告知责任人:每级一次,知悉为止。'
    )
    op.create_index('duty_calls_area_idx', 'duty_calls', ['area'], unique=False, postgresql_where=sa.text('acknowledged_at IS NULL'))
    op.create_index('duty_calls_due_at_idx', 'duty_calls', ['due_at'], unique=False, postgresql_where=sa.text('acknowledged_at IS NULL AND raised_at IS NULL'))
    op.create_table('whistles',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('place', Geometry(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeomFromEWKT', name='geometry', nullable=False), nullable=False),
    sa.Column('address', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('blown_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('released_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('released', sa.Boolean(), sa.Computed('released_at IS NOT NULL', persisted=True), nullable=True),
    sa.CheckConstraint('length(address) <= 256', name=op.f('whistles_address_check')),
    sa.CheckConstraint('released_at >= blown_at', name=op.f('whistles_order_check')),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('whistles_incident_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('whistles_pkey')),
    sa.UniqueConstraint('id', 'released', name='whistles_released_key'),
    comment='吹哨:街道为一件事把部门叫到一个地点。一件事同时只有一次。'
    )
    op.create_index(op.f('whistles_incident_idx'), 'whistles', ['incident'], unique=False)
    op.create_index('whistles_standing_key', 'whistles', ['incident'], unique=True, postgresql_where=sa.text('released_at IS NULL'))
    op.create_table('whistle_calls',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('whistle', sa.UUID(), nullable=False),
    sa.Column('organisation', sa.UUID(), nullable=False),
    sa.Column('called_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('metres', sa.Integer(), nullable=False, comment='how near is there'),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('arrived_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('away_m', sa.Integer(), nullable=True, comment='from the place, when it reported in'),
    sa.Column('point', Geometry(geometry_type='POINT', srid=4326, dimension=2, spatial_index=False, from_text='ST_GeomFromEWKT', name='geometry'), nullable=True),
    sa.Column('left_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('freed', sa.Boolean(), sa.Computed('CASE WHEN left_at IS NOT NULL THEN true ELSE NULL::boolean END', persisted=True), nullable=True),
    sa.Column('late_told_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("due_at > called_at AND due_at <= called_at + interval '24 hours'", name=op.f('whistle_calls_due_check')),
    sa.CheckConstraint('answered_at >= called_at AND arrived_at >= answered_at AND left_at >= arrived_at', name=op.f('whistle_calls_order_check')),
    sa.CheckConstraint('away_m <= metres', name=op.f('whistle_calls_near_check')),
    sa.CheckConstraint('left_at IS NULL OR arrived_at IS NOT NULL', name=op.f('whistle_calls_left_check')),
    sa.CheckConstraint('metres BETWEEN 20 AND 2000', name=op.f('whistle_calls_metres_check')),
    sa.CheckConstraint('num_nonnulls(arrived_at, away_m) IN (0, 2) AND (point IS NULL OR arrived_at IS NOT NULL)', name=op.f('whistle_calls_arrived_check')),
    sa.ForeignKeyConstraint(['organisation'], ['organisations.id'], name=op.f('whistle_calls_organisation_fkey')),
    sa.ForeignKeyConstraint(['whistle', 'freed'], ['whistles.id', 'whistles.released'], name='whistle_calls_freed_fkey'),
    sa.ForeignKeyConstraint(['whistle'], ['whistles.id'], name=op.f('whistle_calls_whistle_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('whistle_calls_pkey')),
    sa.UniqueConstraint('whistle', 'organisation', name='whistle_calls_whistle_organisation_key'),
    comment='被叫到的每个单位:何时应哨、报到、离场。报到的点保存三十天。'
    )
    op.create_index('whistle_calls_due_at_idx', 'whistle_calls', ['due_at'], unique=False, postgresql_where=sa.text('arrived_at IS NULL AND late_told_at IS NULL'))
    op.create_index(op.f('whistle_calls_organisation_idx'), 'whistle_calls', ['organisation'], unique=False)
    op.create_table_comment(
        'duty_items',
        '责任清单。一个事项在一个区域由谁主办、由谁协办,能不能派给网格,依据什么,从何时到何时。',
        existing_comment='责任清单。一个事项在一个区域由谁主办、由谁协办,依据什么,从何时到何时。',
        schema=None
    )
    for table, name, rule in (
        ('incidents', 'state', "state IN ('reported', 'verifying', 'accepted', 'filed', 'dispatched', 'returned', 'disputed', 'handling', 'suspended',"
                               " 'rework', 'handled', 'checking', 'checked', 'closed', 'feedback', 'rejected', 'cancelled', 'merged')"),
        ('incidents', 'channel', "channel IN ('enforcement', 'patrol', 'public', 'superior', 'sensor')"),
        ('duty_items', 'part', "part IN ('lead', 'assist', 'admit')"),
    ):
        op.drop_constraint(f'{table}_{name}_check', table)
        op.create_check_constraint(op.f(f'{table}_{name}_check'), table, rule)
    op.create_check_constraint(op.f('duty_items_admission_check'), 'duty_items', "part <> 'admit' OR by = 'grid'")
