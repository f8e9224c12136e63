"""let a layer be loaded at the terminal."""

from alembic import op

revision = '0013'
down_revision = '0015'


def upgrade() -> None:
    # Who loads at the terminal has no account; the batch tells who it was.
    op.alter_column('layers', 'account', nullable=True, comment='none of one loaded at the terminal')
