"""keep what people have said that an address means, and tell a place found by its dwelling."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0009'
down_revision = '0008'

PLACED = (
    'compounds', 'land_parcels', 'organisations', 'roads', 'buildings', 'entrances', 'facilities', 'incidents', 'parts', 'zones',
    'checkpoints',
)


def upgrade() -> None:
    op.create_table(
        'address_aliases',
        sa.Column('id', postgresql.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
        sa.Column('text', sa.Text(), nullable=False, comment='of an address, in one spelling, and nothing of who lives there'),
        sa.Column('compound', postgresql.UUID(), nullable=True),
        sa.Column('building', postgresql.UUID(), nullable=True),
        sa.Column('unit', postgresql.UUID(), nullable=True),
        sa.Column('dwelling', postgresql.UUID(), nullable=True),
        sa.Column('source', sa.Text(), server_default=sa.text("''"), nullable=False, comment='the file in which it was written so'),
        sa.Column('actor', sa.Text(), nullable=False),
        sa.Column('acting_as', sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(text) BETWEEN 2 AND 60 AND text !~ '[0-9]{7}'", name=op.f('address_aliases_text_check')),
        sa.CheckConstraint('length(source) <= 200', name=op.f('address_aliases_source_check')),
        sa.CheckConstraint('num_nonnulls(compound, building, unit, dwelling) = 1', name=op.f('address_aliases_target_check')),
        sa.ForeignKeyConstraint(['compound'], ['compounds.id'], name=op.f('address_aliases_compound_fkey')),
        sa.ForeignKeyConstraint(['building'], ['buildings.id'], name=op.f('address_aliases_building_fkey')),
        sa.ForeignKeyConstraint(['unit'], ['units.id'], name=op.f('address_aliases_unit_fkey')),
        sa.ForeignKeyConstraint(['dwelling'], ['dwellings.id'], name=op.f('address_aliases_dwelling_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('address_aliases_pkey')),
        comment='有人说明过的地址写法:这样写的就是这个小区、这栋楼、这个单元、这套房。',
    )
    op.create_index('address_aliases_text_idx', 'address_aliases', ['text'], unique=False, postgresql_where=sa.text('retired_at IS NULL'))
    # A wider check, and so one that no row breaks: it is not held against a million rows again.
    for noun in PLACED:
        op.drop_constraint(op.f(f'{noun}_precision_check'), noun)
        op.execute(
            f"ALTER TABLE {noun} ADD CONSTRAINT {noun}_precision_check"
            " CHECK (precision IN ('exact', 'dwelling', 'building', 'compound', 'street', 'region'))"
        )
