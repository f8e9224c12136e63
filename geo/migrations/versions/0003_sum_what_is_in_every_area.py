"""sum what is in every area."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'


def upgrade() -> None:
    op.create_table('tallies',
    sa.Column('path', sa.Text(collation='C'), nullable=False),
    sa.Column('noun', sa.Text(), nullable=False),
    sa.Column('quantity', sa.Text(), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('path', 'noun', 'quantity', name=op.f('tallies_pkey')),
    comment='每个区域各有多少:由改动累加,不必每次重数。'
    )
    op.create_table('tally_changes',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('scope', sa.Text(collation='C'), nullable=False),
    sa.Column('noun', sa.Text(), nullable=False),
    sa.Column('quantity', sa.Text(), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('tally_changes_pkey')),
    comment='还没有并入合计的增减。'
    )
    op.create_index(op.f('tally_changes_scope_idx'), 'tally_changes', ['scope'], unique=False)
