"""count only the cases of a period."""

import sqlalchemy as sa
from alembic import op

revision = '0030'
down_revision = '0029'


def upgrade() -> None:
    op.create_index('incidents_due_loaded_idx', 'incidents', ['due_at'], unique=False, postgresql_where=sa.text('steps IS NULL AND due_at IS NOT NULL'))
    op.create_index('incident_clocks_due_idx', 'incident_clocks', ['due_at'], unique=False)
    op.drop_index('incident_log_action_idx', table_name='incident_log')
    op.create_index('incident_log_action_idx', 'incident_log', ['action', 'at'], unique=False, postgresql_include=['incident'])
