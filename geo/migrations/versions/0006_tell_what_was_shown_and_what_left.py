"""tell what was shown in clear, and what left the server with whose leave; until when a login of one's own holds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0006'
down_revision = '0005'


def upgrade() -> None:
    op.create_table('unmaskings',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('persons', postgresql.ARRAY(sa.UUID()), nullable=False, comment='the account, and whoever lent it the appointment: one person, where a second is asked for'),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('acting_as', sa.Text(), nullable=False),
    sa.Column('noun', sa.Text(), nullable=False),
    sa.Column('feature', sa.UUID(), nullable=False),
    sa.Column('fields', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(collation='C'), nullable=False),
    sa.Column('entry', sa.BigInteger(), nullable=False, comment='the row of the trail that was written before: one answer each'),
    sa.Column('reviewed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('reviewers', postgresql.ARRAY(sa.UUID()), nullable=True),
    sa.Column('reviewed_by', sa.Text(), nullable=True),
    sa.Column('verdict', sa.Text(), nullable=True),
    sa.Column('opinion', sa.Text(), nullable=True),
    sa.CheckConstraint("fields <> '{}'", name=op.f('unmaskings_fields_check')),
    sa.CheckConstraint("length(btrim(note)) BETWEEN 2 AND 200 AND note !~ '[0-9]{7}'", name=op.f('unmaskings_note_check')),
    sa.CheckConstraint("purpose IN ('visit', 'service', 'zone_supply', 'emergency_contact', 'rights_request', 'audit')", name=op.f('unmaskings_purpose_check')),
    sa.CheckConstraint("verdict IN ('proper', 'improper')", name=op.f('unmaskings_verdict_check')),
    sa.CheckConstraint('NOT persons && reviewers', name=op.f('unmaskings_second_person_check')),
    sa.CheckConstraint('length(btrim(opinion)) BETWEEN 2 AND 500', name=op.f('unmaskings_opinion_check')),
    sa.CheckConstraint('num_nulls(reviewed_at, reviewers, reviewed_by, verdict, opinion) IN (0, 5)', name=op.f('unmaskings_review_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('unmaskings_account_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('unmaskings_pkey')),
    sa.UniqueConstraint('entry', name='unmaskings_entry_key'),
    comment='查看明文:谁为什么看了哪条记录的哪几项,谁复核过。'
    )
    op.create_index('unmaskings_account_at_idx', 'unmaskings', ['account', 'at'], unique=False)
    op.create_index('unmaskings_noun_feature_idx', 'unmaskings', ['noun', 'feature'], unique=False)
    op.create_index('unmaskings_waiting_idx', 'unmaskings', ['at'], unique=False, postgresql_where=sa.text('reviewed_at IS NULL'))
    op.create_table('exports',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('number', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('appointment', sa.UUID(), nullable=False),
    sa.Column('persons', postgresql.ARRAY(sa.UUID()), nullable=False, comment='the account, and whoever lent it the appointment: one person, where a second is asked for'),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('acting_as', sa.Text(), nullable=False),
    sa.Column('noun', sa.Text(), nullable=False),
    sa.Column('format', sa.Text(), nullable=False),
    sa.Column('fields', postgresql.ARRAY(sa.Text()), nullable=True, comment='NULL: all that the requester may see'),
    sa.Column('clear', sa.Boolean(), nullable=False),
    sa.Column('filter', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('scope', postgresql.ARRAY(sa.Text(collation='C')), nullable=False),
    sa.Column('expected', sa.Integer(), nullable=False, comment='rows, when it was asked for'),
    sa.Column('most', sa.Integer(), server_default=sa.text('5000'), nullable=False),
    sa.CheckConstraint("format IN ('csv', 'xlsx', 'geojson', 'parquet', 'gpkg', 'fgb', 'shp')", name=op.f('exports_format_check')),
    sa.CheckConstraint("length(btrim(note)) BETWEEN 2 AND 200 AND note !~ '[0-9]{7}'", name=op.f('exports_note_check')),
    sa.CheckConstraint("purpose IN ('visit', 'service', 'zone_supply', 'emergency_contact', 'rights_request', 'audit')", name=op.f('exports_purpose_check')),
    sa.CheckConstraint("scope <> '{}'", name=op.f('exports_scope_check')),
    sa.CheckConstraint('most BETWEEN 1 AND 5000 AND expected <= most', name=op.f('exports_most_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('exports_account_fkey')),
    sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('exports_appointment_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('exports_pkey')),
    sa.UniqueConstraint('id', 'persons', name='exports_id_persons_key'),
    sa.UniqueConstraint('number', name='exports_number_key'),
    comment='带个人信息的导出申请:要另一个人批准,有行数上限和水印,只能取一次。'
    )
    op.create_index(op.f('exports_account_idx'), 'exports', ['account'], unique=False)
    op.create_table('export_moves',
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('target', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('source', 'target', name=op.f('export_moves_pkey')),
    comment='导出申请允许的步骤。'
    )
    op.create_table('export_log',
    sa.Column('export', sa.UUID(), nullable=False),
    sa.Column('source', sa.Text(), nullable=True),
    sa.Column('target', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('persons', postgresql.ARRAY(sa.UUID()), nullable=False, comment='the account, and whoever lent it the appointment: one person, where a second is asked for'),
    sa.Column('asked_by', postgresql.ARRAY(sa.UUID()), nullable=False, comment='the persons of the request'),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('acting_as', sa.Text(), nullable=False),
    sa.Column('opinion', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=True),
    sa.CheckConstraint("(target = 'taken') = (rows IS NOT NULL) AND rows BETWEEN 0 AND 5000", name=op.f('export_log_rows_check')),
    sa.CheckConstraint("source IS NOT NULL OR target = 'requested'", name=op.f('export_log_begun_check')),
    sa.CheckConstraint("target NOT IN ('approved', 'refused') OR NOT persons && asked_by", name=op.f('export_log_second_person_check')),
    sa.CheckConstraint("target NOT IN ('approved', 'refused') OR length(btrim(opinion)) BETWEEN 2 AND 500", name=op.f('export_log_opinion_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('export_log_account_fkey')),
    sa.ForeignKeyConstraint(['export', 'asked_by'], ['exports.id', 'exports.persons'], name='export_log_export_asked_by_fkey'),
    sa.ForeignKeyConstraint(['export', 'source'], ['export_log.export', 'export_log.target'], name='export_log_export_source_fkey'),
    sa.ForeignKeyConstraint(['source', 'target'], ['export_moves.source', 'export_moves.target'], name='export_log_source_target_fkey'),
    sa.PrimaryKeyConstraint('export', 'target', name=op.f('export_log_pkey')),
    sa.UniqueConstraint('export', 'source', name='export_log_export_source_key'),
    comment='导出申请走过的步骤。'
    )
    op.add_column('direct_logins', sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False))
    op.add_column('direct_logins', sa.Column('made_by', sa.Text(), server_default=sa.text('SESSION_USER'), nullable=False))
    op.add_column('direct_logins', sa.Column('ends_at', sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f('direct_logins_login_check'), 'direct_logins', "login ~ '^[a-z][a-z0-9_]{1,39}$' AND login !~ '^(pg|jingwei)_'")
    op.create_foreign_key(op.f('direct_logins_path_fkey'), 'direct_logins', 'area_paths', ['path'], ['path'])
    op.create_table_comment('direct_logins', '用自己的数据库账号进来的人(QGIS、psql)管到哪条路径,到什么时候。')
