"""find what stands for a whole transaction."""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'


def upgrade() -> None:
    op.drop_index('changes_whole_idx', 'changes')
    op.create_index('changes_whole_idx', 'changes', ['xid'], unique=False, postgresql_where=sa.text('feature IS NULL'))
