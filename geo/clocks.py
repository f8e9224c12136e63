"""How long everything may take where nobody has said otherwise, and the alarms of clocks that run down."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from geo import statements

Kind = Literal["urgent_minute", "urgent_hour", "natural_day", "work_hour", "work_day"]

# Accept, verify, dispatch, check: as deployed systems have them; a day for feedback; seven working days for handling what no
# table of limits names (海宁). Who is given a case has it from that moment, taken over or not. Urgent: 太原, ten minutes for
# filing and dispatch together.
STAGES: tuple[tuple[str, bool, str, Kind, float], ...] = (
    ("reported", False, "accept", "urgent_minute", 15),
    ("verifying", False, "verify", "urgent_minute", 30),
    ("accepted", False, "accept", "urgent_minute", 15),
    ("accepted", True, "accept", "urgent_minute", 5),
    ("filed", False, "dispatch", "urgent_minute", 15),
    ("filed", True, "dispatch", "urgent_minute", 5),
    ("returned", False, "dispatch", "urgent_minute", 15),
    ("returned", True, "dispatch", "urgent_minute", 5),
    # The street hears both sides.
    ("disputed", False, "dispatch", "urgent_hour", 24),
    ("disputed", True, "dispatch", "urgent_minute", 15),
    ("dispatched", False, "handle", "work_day", 7),
    ("handling", False, "handle", "work_day", 7),
    ("rework", False, "handle", "work_day", 7),
    ("handled", False, "check", "urgent_minute", 30),
    ("checking", False, "check", "urgent_minute", 30),
    ("checked", False, "close", "urgent_minute", 15),
    ("closed", False, "feedback", "urgent_hour", 24),
)
ALARMS = (("near", 0.8, "community"), ("late", 1.0, "street"), ("late3", 3.0, "district"))

# Clocks of one pass: half a second, as a step of one of them waits for it, and what people write meanwhile is published after it.
MOST = 5_000
RESUMED = 200  # a step each, with all that a step brings


@dataclass(frozen=True)
class Swept:
    """What a pass has done: alarms told, and suspended cases that go on. `behind`: there is more."""

    told: int
    resumed: int
    behind: bool


def founded(connection: sa.Connection) -> None:
    """The limits of stages and the steps of alarms that are not there yet: what a town has changed stays changed."""
    stages = [dict(zip(("state", "urgent", "clock", "kind", "amount"), row, strict=True)) for row in STAGES]
    statements.run(connection, "stages_founded", stages=statements.document(stages))
    alarms = [dict(zip(("alarm", "times", "level"), row, strict=True)) for row in ALARMS]
    statements.run(connection, "alarms_founded", alarms=statements.document(alarms))


def stages(connection: sa.Connection) -> list[dict[str, Any]]:
    """How long every stage may take, those of urgent cases beside the others."""
    return [dict(row) for row in statements.run(connection, "stage_limits_told").mappings()]


def of(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """The clocks of a case in the order in which they began, for whoever works with it; empty for anybody else."""
    return [dict(row) for row in statements.run(connection, "clocks_told", incident=incident).mappings()]


def sweep(engine: sa.Engine, moment: datetime | None = None, most: int = MOST) -> Swept:
    """One pass: tell what is near its limit or late, each once for ever, and go on with what was suspended until now.

    All of it or nothing: what is not committed was not told, and is told by the next pass, whichever process makes it.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT set_config('jingwei.actor', 'clock', true)")
        done = statements.run(connection, "incidents_swept", moment=moment, most=most).one()
    return Swept(done.told, done.resumed, done.told >= most or done.resumed >= min(most, RESUMED))
