"""walk a case from step to step."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0012'
down_revision = '0011'


def upgrade() -> None:
    op.create_table('incident_moves',
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False, comment='a role, or lead, reporter, system'),
    sa.Column('reasoned', sa.Boolean(), nullable=False, comment='an opinion has to be given'),
    sa.PrimaryKeyConstraint('action', 'source', 'target', 'role', name=op.f('incident_moves_pkey')),
    sa.UniqueConstraint('action', 'source', 'target', 'role', 'reasoned', name='incident_moves_reasoned_key'),
    comment='事件允许的步骤,和谁可以走:数据而非程序。由声明写入。'
    )
    op.create_table('incident_states',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('stage', sa.Text(), nullable=True),
    sa.Column('over', sa.Boolean(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('incident_states_pkey')),
    comment='事件的状态,各属一个环节:受理、分流、处置、结案、反馈。由声明写入。'
    )
    op.create_table('appointment_bodies',
    sa.Column('appointment', sa.UUID(), nullable=False),
    sa.Column('organisation', sa.UUID(), nullable=False),
    sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('appointment_bodies_appointment_fkey')),
    sa.ForeignKeyConstraint(['organisation'], ['organisations.id'], name=op.f('appointment_bodies_organisation_fkey')),
    sa.PrimaryKeyConstraint('appointment', name=op.f('appointment_bodies_pkey')),
    comment='任职所代表的单位:派给这个单位的事件由它办理。'
    )
    op.create_index(op.f('appointment_bodies_organisation_idx'), 'appointment_bodies', ['organisation'], unique=False)
    op.create_table('duty_items',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('version', sa.Integer(), server_default=sa.text('1'), nullable=False),
    sa.Column('scope', sa.Text(collation='C'), nullable=False),
    sa.Column('source', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('batch', sa.UUID(), nullable=True),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('extras', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('matter', sa.Text(), nullable=False),
    sa.Column('area', sa.Text(collation='C'), nullable=False),
    sa.Column('part', sa.Text(), server_default=sa.text("'lead'"), nullable=False),
    sa.Column('by', sa.Text(), nullable=False),
    sa.Column('organisation', sa.UUID(), nullable=True),
    sa.Column('duties', sa.Text(), nullable=True),
    sa.Column('legal_basis', sa.Text(), nullable=True),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True),
    postgresql.ExcludeConstraint((sa.column('matter'), '='), (sa.column('area'), '='), (sa.text("((by = 'owner')::integer)"), '='), (sa.text('tstzrange(starts_at, ends_at)'), '&&'), where=sa.text("retired_at IS NULL AND part = 'lead'"), using='gist', name='duty_items_one_lead_excl'),
    sa.CheckConstraint("by <> 'organisation' OR organisation IS NOT NULL", name=op.f('duty_items_body_check')),
    sa.CheckConstraint("by IN ('owner', 'organisation', 'district', 'street', 'community', 'grid')", name=op.f('duty_items_by_check')),
    sa.CheckConstraint("part IN ('lead', 'assist')", name=op.f('duty_items_part_check')),
    sa.CheckConstraint('ends_at IS NULL OR ends_at > starts_at', name=op.f('duty_items_period_check')),
    sa.CheckConstraint('length(area) BETWEEN 1 AND 200', name=op.f('duty_items_area_check')),
    sa.CheckConstraint('length(duties) BETWEEN 0 AND 1000', name=op.f('duty_items_duties_check')),
    sa.CheckConstraint('length(legal_basis) BETWEEN 0 AND 500', name=op.f('duty_items_legal_basis_check')),
    sa.CheckConstraint('version >= 1', name=op.f('duty_items_version_check')),
    sa.ForeignKeyConstraint(['area'], ['area_paths.path'], name=op.f('duty_items_area_fkey')),
    sa.ForeignKeyConstraint(['matter'], ['matters.code'], name=op.f('duty_items_matter_fkey'), deferrable=True),
    sa.ForeignKeyConstraint(['organisation'], ['organisations.id'], name=op.f('duty_items_organisation_fkey'), deferrable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('duty_items_pkey')),
    comment='责任清单。一个事项在一个区域由谁主办、由谁协办,依据什么,从何时到何时。'
    )
    op.create_index(op.f('duty_items_area_idx'), 'duty_items', ['area'], unique=False)
    op.create_index(op.f('duty_items_batch_idx'), 'duty_items', ['batch'], unique=False)
    op.create_index('duty_items_matter_idx', 'duty_items', ['matter'], unique=False)
    op.create_index(op.f('duty_items_organisation_idx'), 'duty_items', ['organisation'], unique=False)
    op.create_index('duty_items_scope_id_idx', 'duty_items', ['scope', 'id'], unique=False)
    op.create_table('incident_log',
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('previous', sa.Integer(), sa.Computed('nullif(number - 1, 0)', persisted=True), nullable=True),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('reasoned', sa.Boolean(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('acting_as', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('scope', sa.Text(collation='C'), nullable=False, comment='who answered for the place then'),
    sa.Column('opinion', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('facts', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False, comment='to whom, until when, into what, why by the list'),
    sa.Column('key', sa.Text(), nullable=True, comment='Idempotency-Key of whoever moved it'),
    sa.CheckConstraint("jsonb_typeof(facts) = 'object'", name=op.f('incident_log_facts_check')),
    sa.CheckConstraint("number >= 1 AND (number = 1) = (source = '')", name=op.f('incident_log_number_check')),
    sa.CheckConstraint('NOT reasoned OR length(btrim(opinion)) BETWEEN 2 AND 2000', name=op.f('incident_log_opinion_check')),
    sa.CheckConstraint('length(key) BETWEEN 1 AND 200', name=op.f('incident_log_key_check')),
    sa.CheckConstraint('length(opinion) <= 2000', name=op.f('incident_log_opinion_length_check')),
    sa.ForeignKeyConstraint(['action', 'source', 'target', 'role', 'reasoned'], ['incident_moves.action', 'incident_moves.source', 'incident_moves.target', 'incident_moves.role', 'incident_moves.reasoned'], name='incident_log_move_fkey'),
    sa.ForeignKeyConstraint(['incident', 'previous', 'source'], ['incident_log.incident', 'incident_log.number', 'incident_log.target'], name='incident_log_previous_fkey'),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('incident_log_incident_fkey'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('incident', 'number', name=op.f('incident_log_pkey')),
    sa.UniqueConstraint('actor', 'key', name='incident_log_actor_key_key'),
    sa.UniqueConstraint('incident', 'number', 'target', name='incident_log_incident_number_target_key'),
    comment='事件走过的每一步:只能追加。哪一步允许、谁可以走,由外键定。'
    )
    op.create_index('incident_log_action_idx', 'incident_log', ['action', 'at'], unique=False)
    op.create_index('incident_log_at_idx', 'incident_log', ['at'], unique=False)
    op.add_column('incidents', sa.Column('lead', sa.UUID(), nullable=True))
    op.add_column('incidents', sa.Column('lead_area', sa.Text(collation='C'), nullable=True))
    op.add_column('incidents', sa.Column('against', sa.UUID(), nullable=True))
    op.add_column('incidents', sa.Column('parent', sa.UUID(), nullable=True))
    op.add_column('incidents', sa.Column('urgent', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('incidents', sa.Column('supervised', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('incidents', sa.Column('forced', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('incidents', sa.Column('suspended_until', sa.DateTime(timezone=True), nullable=True))
    op.add_column('incidents', sa.Column('rating', sa.Integer(), nullable=True))
    op.add_column('incidents', sa.Column('steps', sa.Integer(), nullable=True, comment='the number of the last row of its log'))
    op.alter_column('incidents', 'state',
               existing_type=sa.TEXT(),
               server_default=sa.text("'reported'"),
               existing_nullable=False)
    op.create_index(op.f('incidents_against_idx'), 'incidents', ['against'], unique=False)
    op.create_index(op.f('incidents_lead_area_idx'), 'incidents', ['lead_area'], unique=False)
    op.create_index(op.f('incidents_lead_idx'), 'incidents', ['lead'], unique=False)
    op.create_index(op.f('incidents_parent_idx'), 'incidents', ['parent'], unique=False)
    op.create_foreign_key(op.f('incidents_lead_area_fkey'), 'incidents', 'area_paths', ['lead_area'], ['path'])
    op.create_foreign_key(op.f('incidents_lead_fkey'), 'incidents', 'organisations', ['lead'], ['id'], deferrable=True)
    op.create_foreign_key(op.f('incidents_parent_fkey'), 'incidents', 'incidents', ['parent'], ['id'], deferrable=True)
    op.create_foreign_key(op.f('incidents_against_fkey'), 'incidents', 'organisations', ['against'], ['id'], deferrable=True)
    op.create_foreign_key('incidents_steps_fkey', 'incidents', 'incident_log', ['id', 'steps', 'state'], ['incident', 'number', 'target'])
    op.create_index(
        'incidents_open_idx', 'incidents', ['scope', 'due_at'], unique=False,
        postgresql_where=sa.text(
            "retired_at IS NULL AND state NOT IN ('feedback', 'rejected', 'cancelled', 'merged') AND NOT (state = 'closed' AND steps IS NULL)"
        ),
    )
    op.create_index('changes_number_idx', 'changes', ['number'], unique=False, postgresql_where=sa.text('number IS NOT NULL'))
    op.drop_constraint('incidents_state_check', 'incidents')
    for name, rule in {
        'state': "state IN ('reported', 'verifying', 'accepted', 'filed', 'dispatched', 'returned', 'handling', 'suspended', 'rework', 'handled',"
                 " 'checking', 'checked', 'closed', 'feedback', 'rejected', 'cancelled', 'merged')",
        'lead_area': 'length(lead_area) BETWEEN 0 AND 200',
        'rating': 'rating >= 1 AND rating <= 5',
        'impartial': 'lead IS NULL OR against IS NULL OR lead <> against',
        'one_lead': 'num_nonnulls(lead, lead_area) <= 1',
    }.items():
        op.create_check_constraint(op.f(f'incidents_{name}_check'), 'incidents', rule)
