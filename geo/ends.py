"""The ends of what was written: retire is in `geo.write`, destroy in `geo.retention`; here a batch is taken back."""

from uuid import UUID

import sqlalchemy as sa


def undo(connection: sa.Connection, batch: UUID) -> int:
    """Take a whole batch back: its rows are retired. Returns how many.

    Raises `NotFound` for an unknown batch, `Invalid` (rule `batches_undo_check`) when somebody changed a row since.
    """
    return int(connection.scalar(sa.select(sa.func.batch_undone(batch))) or 0)
