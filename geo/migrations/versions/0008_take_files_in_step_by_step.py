"""take files in step by step."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0008'
down_revision = '0007'


def upgrade() -> None:
    op.drop_constraint('load_problems_pkey', 'load_problems')
    op.create_primary_key('load_problems_pkey', 'load_problems', ['batch', 'row', 'field'])
    op.add_column('load_problems', sa.Column('facts', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False, comment='of the reason, which is a gettext id'))
    op.add_column('load_problems', sa.Column('value', sa.Text(), server_default=sa.text("''"), nullable=False, comment='the cell, where it is no person\'s'))
    op.add_column('load_problems', sa.Column('suggestion', sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column('load_problems', sa.Column('repaired', sa.Boolean(), server_default=sa.text('false'), nullable=False, comment='mended, and stored as mended'))
    op.add_column('load_problems', sa.Column('lon', sa.Float(), nullable=True))
    op.add_column('load_problems', sa.Column('lat', sa.Float(), nullable=True))
    op.create_table(
        'uploads',
        sa.Column('id', postgresql.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
        sa.Column('account', postgresql.UUID(), nullable=False),
        sa.Column('appointment', postgresql.UUID(), nullable=False),
        sa.Column('actor', sa.Text(), nullable=False),
        sa.Column('acting_as', sa.Text(), nullable=False),
        sa.Column('within', postgresql.ARRAY(sa.Text()), nullable=False, comment="the areas that its sender answers for; '' is everywhere"),
        sa.Column('key', sa.Text(), nullable=True, comment='Idempotency-Key'),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('size', sa.BigInteger(), nullable=False),
        sa.Column('digest', sa.LargeBinary(), nullable=False, comment='SHA-256'),
        sa.Column('file_key_cipher', sa.LargeBinary(), nullable=True, comment='opens the file as it was sent; gone with it'),
        sa.Column('state', sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('moved_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('undoing', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('choices', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False, comment='what its sender chose'),
        sa.Column('noun', sa.Text(), nullable=True),
        sa.Column('done', sa.Integer(), server_default=sa.text('0'), nullable=False),
        sa.Column('expected', sa.Integer(), nullable=True),
        sa.Column('told', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False, comment='what was found in it'),
        sa.Column('counts', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('refusal', postgresql.JSONB(), nullable=True, comment='a sentence and its facts'),
        sa.CheckConstraint(
            "state IN ('queued', 'reading', 'ready', 'refused', 'applying', 'applied', 'undone', 'failed')", name=op.f('uploads_state_check')
        ),
        sa.CheckConstraint('length(name) BETWEEN 1 AND 200', name=op.f('uploads_name_check')),
        sa.CheckConstraint('size > 0', name=op.f('uploads_size_check')),
        sa.CheckConstraint('length(key) BETWEEN 1 AND 200', name=op.f('uploads_key_check')),
        sa.CheckConstraint('octet_length(digest) = 32', name=op.f('uploads_digest_check')),
        sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('uploads_account_fkey')),
        sa.ForeignKeyConstraint(['appointment'], ['appointments.id'], name=op.f('uploads_appointment_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('uploads_pkey')),
        sa.UniqueConstraint('account', 'key', name='uploads_key'),
        comment='送来的文件,和它走到哪一步。',
    )
    op.create_index(op.f('uploads_account_idx'), 'uploads', ['account'], unique=False)
    op.create_table(
        'mappings',
        sa.Column('account', postgresql.UUID(), nullable=False),
        sa.Column('headings', sa.LargeBinary(), nullable=False, comment='SHA-256 of the headings in order of name'),
        sa.Column('noun', sa.Text(), nullable=False),
        sa.Column('columns', postgresql.JSONB(), nullable=False, comment='field → heading'),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('octet_length(headings) = 32', name=op.f('mappings_headings_check')),
        sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('mappings_account_fkey')),
        sa.PrimaryKeyConstraint('account', 'headings', name=op.f('mappings_pkey')),
        comment='同一个人再送同样表头的文件时,沿用上次的对应。',
    )
    op.create_table(
        'partial_uploads',
        sa.Column('id', postgresql.UUID(), nullable=False),
        sa.Column('account', postgresql.UUID(), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('size', sa.BigInteger(), nullable=False),
        sa.Column('taken', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
        sa.Column('file_key_cipher', sa.LargeBinary(), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint('length(name) BETWEEN 1 AND 200', name=op.f('partial_uploads_name_check')),
        sa.CheckConstraint('size > 0 AND taken BETWEEN 0 AND size', name=op.f('partial_uploads_size_check')),
        sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('partial_uploads_account_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('partial_uploads_pkey')),
        comment='一段一段送来、还没有送完的文件。',
    )
    op.create_index(op.f('partial_uploads_account_idx'), 'partial_uploads', ['account'], unique=False)
