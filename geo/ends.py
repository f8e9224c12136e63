"""The three ends of what was written: retire is in `geo.write`; here a batch is taken back and a row destroyed."""

from uuid import UUID

import sqlalchemy as sa

from geo.errors import NotFound
from geo.resource import Resource


def undo(connection: sa.Connection, batch: UUID) -> int:
    """Take a whole batch back: its rows are retired. Returns how many.

    Raises `NotFound` for an unknown batch, `Invalid` (rule `batches_undo_check`) when somebody changed a row since.
    """
    return int(connection.scalar(sa.select(sa.func.batch_undone(batch))) or 0)


def destroy(connection: sa.Connection, resource: Resource, id: UUID) -> None:
    """Destroy a row for privacy's sake, with its past versions and the replies kept for it. Not to be taken back."""
    if not connection.scalar(sa.select(sa.func.feature_destroyed(resource.name, id))):
        raise NotFound(id=str(id))
