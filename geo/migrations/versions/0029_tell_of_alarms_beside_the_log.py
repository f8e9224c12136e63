"""tell of alarms beside the log."""

import sqlalchemy as sa
from alembic import op

revision = '0029'
down_revision = '0021'

OPERATIONS = "operation IN ('add', 'change', 'retire', 'restore', 'destroy', 'batch', 'undo', 'place', 'tell')"


def upgrade() -> None:
    op.add_column('clock_alarms', sa.Column('times', sa.Float(), nullable=True, comment='of its limit, when it was given'))
    op.add_column('clock_alarms', sa.Column('level', sa.Text(), nullable=True))
    # What was told before is told of as the steps are now; of one that a town has dropped, as late.
    op.execute(
        "UPDATE clock_alarms AS a SET times = coalesce((SELECT s.times FROM alarm_steps AS s WHERE s.alarm = a.alarm), 1),"
        " level = coalesce((SELECT s.level FROM alarm_steps AS s WHERE s.alarm = a.alarm), 'street')"
    )
    op.alter_column('clock_alarms', 'times', nullable=False, existing_comment='of its limit, when it was given')
    op.alter_column('clock_alarms', 'level', nullable=False)
    op.drop_constraint(op.f('changes_operation_check'), 'changes', type_='check')
    op.create_check_constraint(op.f('changes_operation_check'), 'changes', OPERATIONS)
