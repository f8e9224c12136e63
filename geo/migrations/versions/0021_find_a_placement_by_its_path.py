"""find a placement by its path."""

from alembic import op

revision = '0021'
down_revision = '0022'


def upgrade() -> None:
    op.create_index('placements_path_idx', 'placements', ['path'], unique=False)
