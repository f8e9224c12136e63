"""The worker's duties that never end: publish what changed, keep the sums, notice when a boundary comes into force."""

import sqlalchemy as sa


def step(engine: sa.Engine) -> list[str]:
    """Number the changes committed since the last step and move their layers' versions on. Returns those layers.

    Repeatable read, because the snapshot it keeps must be the one it read with.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        return list(connection.execute(sa.text("SELECT relayed()")).scalars())


def fold(engine: sa.Engine) -> int:
    """Take the differences since the last time into the sums of every area. Returns how many there were."""
    with engine.begin() as connection:
        return int(connection.scalar(sa.text("SELECT tallies_folded()")) or 0)


def strike(engine: sa.Engine) -> int:
    """Place anew what lies where a boundary has changed since the last stroke. Returns how many records moved."""
    with engine.begin() as connection:
        return int(connection.scalar(sa.text("SELECT clock_struck()")) or 0)
