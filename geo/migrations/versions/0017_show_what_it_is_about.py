"""show what it is about."""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0013'


def upgrade() -> None:
    op.add_column('receipts', sa.Column('follows', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.create_table('incident_photos',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
    sa.Column('incident', sa.UUID(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=True, comment='the step of the log that it belongs to'),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=True, comment='SHA-256 of the picture'),
    sa.Column('file', sa.Text(), nullable=True, comment='SHA-256 of the sealed file, which is its name'),
    sa.Column('file_key_cipher', sa.LargeBinary(), nullable=True),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=False),
    sa.Column('height', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False, comment="'' for who reported it"),
    sa.Column('released_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('released_by', sa.Text(), nullable=True),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('over_at', sa.DateTime(timezone=True), nullable=True, comment='since when nobody has to do with the case'),
    sa.Column('unreleased_over_at', sa.DateTime(timezone=True), sa.Computed('CASE WHEN released_at IS NULL THEN over_at ELSE NULL::timestamp with time zone END', persisted=True), nullable=True),
    sa.CheckConstraint("kind IN ('near', 'far', 'before', 'after')", name=op.f('incident_photos_kind_check')),
    sa.CheckConstraint("octet_length(digest) = 32 AND file ~ '^[0-9a-f]{64}$'", name=op.f('incident_photos_digest_check')),
    sa.CheckConstraint('num_nonnulls(digest, file, file_key_cipher) IN (0, 3)', name=op.f('incident_photos_whole_check')),
    sa.CheckConstraint('num_nonnulls(released_at, released_by) IN (0, 2)', name=op.f('incident_photos_released_check')),
    sa.CheckConstraint('size BETWEEN 1 AND 10000000 AND width BETWEEN 1 AND 1600 AND height BETWEEN 1 AND 1600', name=op.f('incident_photos_measures_check')),
    sa.ForeignKeyConstraint(['incident', 'number'], ['incident_log.incident', 'incident_log.number'], name='incident_photos_step_fkey'),
    sa.ForeignKeyConstraint(['incident'], ['incidents.id'], name=op.f('incident_photos_incident_fkey')),
    sa.PrimaryKeyConstraint('id', name=op.f('incident_photos_pkey')),
    comment='事件的照片:图像封存在库外,由人逐张公开之前只给办理的人看。'
    )
    op.create_index('incident_photos_digest_idx', 'incident_photos', ['incident', 'digest'], unique=True, postgresql_where=sa.text('retired_at IS NULL'))
    op.create_index('incident_photos_file_idx', 'incident_photos', ['file'], unique=False, postgresql_where=sa.text('file IS NOT NULL'))
    op.create_index(op.f('incident_photos_incident_idx'), 'incident_photos', ['incident'], unique=False)
