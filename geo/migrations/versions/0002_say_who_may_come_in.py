"""say who may come in: roles, accounts, appointments, sessions, tokens, slips, receipts; whose a report is; where shares lie."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    op.create_table('roles',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('right', sa.Text(), nullable=False),
    sa.Column('audience', sa.Integer(), nullable=False),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.Column('administrator', sa.Boolean(), nullable=False),
    sa.Column('may', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.CheckConstraint('"right" IN (\'public\', \'own\', \'partner\', \'area\', \'leader\', \'organisation\')', name=op.f('roles_right_check')),
    sa.PrimaryKeyConstraint('code', name=op.f('roles_pkey')),
    sa.UniqueConstraint('code', 'administrator', name='roles_code_administrator_key'),
    comment='角色:看到什么、能做什么。由声明写入。'
    )
    op.create_table('accounts',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('login', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), server_default=sa.text("''"), nullable=False, comment='purpose: 工作账号; until the account is destroyed'),
    sa.Column('kind', sa.Text(), server_default=sa.text("'person'"), nullable=False),
    sa.Column('password_hash', sa.Text(), nullable=True),
    sa.Column('password_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('totp_cipher', sa.LargeBinary(), nullable=True),
    sa.Column('totp_at', sa.DateTime(timezone=True), nullable=True, comment='when the first code was given: until then it is not asked for'),
    sa.Column('totp_step', sa.BigInteger(), server_default=sa.text('0'), nullable=False, comment='of the last code used: none is used twice'),
    sa.Column('subject', sa.Text(), nullable=True, comment="issuer and subject at the place's own identity provider"),
    sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('locked_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("kind IN ('person', 'system')", name=op.f('accounts_kind_check')),
    sa.CheckConstraint("login ~ '^[a-z0-9][a-z0-9._@-]{1,63}$'", name=op.f('accounts_login_check')),
    sa.CheckConstraint("password_hash IS NULL OR password_hash ^@ '$argon2id$'", name=op.f('accounts_password_check')),
    sa.CheckConstraint('length(name) <= 60', name=op.f('accounts_name_check')),
    sa.PrimaryKeyConstraint('id', name=op.f('accounts_pkey')),
    sa.UniqueConstraint('login', name='accounts_login_key'),
    sa.UniqueConstraint('subject', name='accounts_subject_key'),
    comment='账号:一个人或一个系统。'
    )
    op.create_table('appointments',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('administrator', sa.Boolean(), nullable=False),
    sa.Column('categories', postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    sa.Column('valid_from', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('valid_to', sa.DateTime(timezone=True), nullable=True),
    sa.Column('stands_in_for', sa.UUID(), nullable=True),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    postgresql.ExcludeConstraint((sa.column('account'), '='), (sa.text('tstzrange(valid_from, valid_to)'), '&&'), where=sa.text('administrator'), using='gist', name='appointments_administrators_excl'),
    sa.CheckConstraint('stands_in_for IS NULL OR valid_to IS NOT NULL', name=op.f('appointments_stand_in_check')),
    sa.CheckConstraint('valid_to IS NULL OR valid_to >= valid_from', name=op.f('appointments_validity_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('appointments_account_fkey')),
    sa.ForeignKeyConstraint(['role', 'administrator'], ['roles.code', 'roles.administrator'], name='appointments_role_fkey', onupdate='CASCADE'),
    sa.ForeignKeyConstraint(['stands_in_for'], ['appointments.id'], name=op.f('appointments_stands_in_for_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('appointments_pkey')),
    comment='任职:谁在什么时期以什么角色管哪些区域。'
    )
    op.create_index(op.f('appointments_account_idx'), 'appointments', ['account'], unique=False)
    op.create_index(op.f('appointments_stands_in_for_idx'), 'appointments', ['stands_in_for'], unique=False)
    op.create_table('appointment_areas',
    sa.Column('appointment', sa.UUID(), nullable=False),
    sa.Column('path', sa.Text(collation='C'), nullable=False),
    sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('appointment_areas_appointment_fkey')),
    sa.ForeignKeyConstraint(['path'], ['area_paths.path'], name=op.f('appointment_areas_path_fkey')),
    sa.PrimaryKeyConstraint('appointment', 'path', name=op.f('appointment_areas_pkey')),
    comment='任职的区域:各自的下级,别无其他。'
    )
    op.create_table('sessions',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('appointment', sa.UUID(), nullable=True),
    sa.Column('opened_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('idle', sa.Interval(), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('origin', sa.Text(), server_default=sa.text("''"), nullable=False),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('sessions_account_fkey')),
    sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('sessions_appointment_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('sessions_pkey')),
    sa.UniqueConstraint('hash', name='sessions_hash_key'),
    comment='登录会话,只存令牌的散列。'
    )
    op.create_index(op.f('sessions_account_idx'), 'sessions', ['account'], unique=False)
    op.create_table('tokens',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('appointment', sa.UUID(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint('length(title) BETWEEN 1 AND 100', name=op.f('tokens_title_check')),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('tokens_account_fkey')),
    sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('tokens_appointment_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('tokens_pkey')),
    sa.UniqueConstraint('hash', name='tokens_hash_key'),
    comment='接口令牌:只显示一次,到期失效。'
    )
    op.create_index(op.f('tokens_account_idx'), 'tokens', ['account'], unique=False)
    op.create_table('slips',
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('account', sa.UUID(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('made_by', sa.Text(), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('slips_account_fkey')),
    sa.PrimaryKeyConstraint('hash', name=op.f('slips_pkey')),
    comment='一次性凭条:凭它设一次口令。'
    )
    op.create_index(op.f('slips_account_idx'), 'slips', ['account'], unique=False)
    op.create_table('receipts',
    sa.Column('ticket', sa.Text(), nullable=False),
    sa.Column('code_hash', sa.LargeBinary(), nullable=False),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('made_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('receipts_incident_fkey')),
    sa.PrimaryKeyConstraint('ticket', name=op.f('receipts_pkey')),
    comment='上报回执:凭回执号和查询码跟踪自己的上报。'
    )
    op.create_index(op.f('receipts_incident_idx'), 'receipts', ['incident'], unique=False)
    op.add_column('incidents', sa.Column('owner', sa.UUID(), nullable=True))
    op.create_index(op.f('incidents_owner_idx'), 'incidents', ['owner'], unique=False)
    op.create_foreign_key(op.f('incidents_owner_fkey'), 'incidents', 'accounts', ['owner'], ['id'])
    op.add_column('area_shares', sa.Column('path', sa.Text(collation='C'), nullable=True))
    # The owner itself is bound by the policies, and would see no area; the rules bind it again.
    op.execute("ALTER TABLE areas NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE area_shares SET path = areas.path FROM areas WHERE areas.id = area_shares.area")
    op.alter_column('area_shares', 'path', nullable=False)
    op.create_index('area_shares_noun_path_feature_idx', 'area_shares', ['noun', 'path', 'feature'], unique=False)
