"""Sixty-four callers on four connections, with errors, cancellations and rollbacks among them: nobody is taken for another."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID, uuid5

import pytest
import sqlalchemy as sa

from geo import db
from geo.db import Caller
from geo.errors import Forbidden, GeoError, Invalid, Unavailable
from tests.access import rows
from tests.access.actors import cast
from tests.access.conftest import World
from tests.access.oracle import Oracle
from tests.access.regimes import connected

THREADS, CONNECTIONS = 64, 4
SETTINGS = """
SELECT current_user::text AS role, current_setting('transaction_read_only') AS read_only, acting() AS acting,
    current_setting('jingwei.actor') AS actor, current_setting('jingwei.acting_as') AS acting_as,
    current_setting('jingwei.account') AS account, current_setting('jingwei.lo') AS lo, current_setting('jingwei.hi') AS hi,
    current_setting('jingwei.scopes') AS scopes, current_setting('jingwei.categories') AS categories
"""
LEFT = "SELECT current_user = session_user, coalesce(current_setting('jingwei.actor', true), '') || coalesce(current_setting('jingwei.hi', true), '')"


class Undone(Exception):
    """What a transaction is left by that is not to be kept."""


@dataclass
class Crowd:
    """The callers, the connections they share, and what went wrong."""

    engine: sa.Engine
    oracle: Oracle
    until: float
    done: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)
    served: set[int] = field(default_factory=set)

    def caller(self, number: int) -> Caller:
        """One of many, no two alike."""
        able = [actor for actor in cast() if not actor.refused]
        actor = able[number % len(able)]
        return Caller(
            f"{actor.name}-{number}", f"jingwei_{actor.right}", actor.areas if actor.standing == "holds" else (), actor.audience,
            f"{actor.role}@{number}", uuid5(rows.SPACE, str(number)), None, tuple(sorted(actor.matters)),
        )

    def come(self, number: int) -> None:
        """Ask and ask again, each time something else, until the time is up."""
        chance, who = random.Random(number), self.caller(number)
        deeds = [self.reads] * 4 + [self.fails, self.trespasses, self.lingers, self.takes_back, self.writes, self.looks_behind]
        while time.monotonic() < self.until:
            deed = chance.choice(deeds)
            try:
                deed(number, who)
                self.done[deed.__name__] += 1
                self.served.add(number)
            except Unavailable:
                self.done["cancelled"] += 1
            # Whoever gives a connection back would have it again before any who waits wakes up.
            time.sleep(chance.uniform(0.001, 0.02))

    def judge(self, number: int, who: Caller, connection: sa.Connection, read_only: bool) -> None:
        """What the database takes this caller for is what they are, and it shows them what is theirs."""
        told = connection.execute(sa.text(SETTINGS)).one()
        lo, hi = who.hull
        due = (
            who.bound_role, "on" if read_only else "off", who.actor, who.actor, who.acting_as, str(who.account), lo, hi,
            ",".join(who.scope), ",".join(who.categories),
        )
        if tuple(told) != due:
            self.mixed.append(f"{due} was taken for {tuple(told)}")
        seen = set(connection.scalars(sa.text("SELECT id FROM incidents WHERE retired_at IS NULL")))
        if seen != self.theirs(number):
            self.mixed.append(f"{who.actor} saw {len(seen)} incidents, and not {len(self.theirs(number))}")

    def theirs(self, number: int) -> set[UUID]:
        """The incidents of a caller. An owner is an account, and these are of nobody's."""
        able = [actor for actor in cast() if not actor.refused]
        actor = able[number % len(able)]
        return {row.id for row in self.oracle.seen(actor, "incidents") if actor.right != "own"}

    def reads(self, number: int, who: Caller) -> None:
        with db.transaction(self.engine, who, read_only=True) as connection:
            self.judge(number, who, connection, read_only=True)

    def fails(self, number: int, who: Caller) -> None:
        with pytest.raises(Invalid), db.transaction(self.engine, who, read_only=True) as connection:
            connection.execute(sa.text("SELECT 1 / 0"))

    def trespasses(self, number: int, who: Caller) -> None:
        with pytest.raises(Forbidden), db.transaction(self.engine, who) as connection:
            connection.execute(sa.text("SELECT password_hash FROM accounts"))

    def lingers(self, number: int, who: Caller) -> None:
        with db.transaction(self.engine, who, read_only=True) as connection:
            connection.execute(sa.text("SELECT pg_sleep(0.02)"))
            self.judge(number, who, connection, read_only=True)

    def takes_back(self, number: int, who: Caller) -> None:
        try:
            with db.transaction(self.engine, who) as connection:
                self.judge(number, who, connection, read_only=False)
                raise Undone
        except Undone:
            pass

    def writes(self, number: int, who: Caller) -> None:
        """Says in the row who writes it: the journal has to say the same."""
        try:
            with db.transaction(self.engine, who) as connection:
                mine = "UPDATE parts SET remark = :name WHERE id = (SELECT id FROM parts ORDER BY id OFFSET :n LIMIT 1 FOR UPDATE SKIP LOCKED)"
                connection.execute(sa.text(mine), {"name": who.actor, "n": number % 3})
        except Forbidden:
            self.done["refused"] += 1
        else:
            self.done["written"] += 1

    def looks_behind(self, number: int, who: Caller) -> None:
        """Between two callers a connection is nobody's, and sees nothing."""
        with db.translated(), self.engine.begin() as connection:
            nobody, left = connection.execute(sa.text(LEFT)).one()
            if not nobody or left:
                self.mixed.append(f"a connection came back as {left}")
            try:
                connection.execute(sa.text("SELECT count(*) FROM parts"))
                self.mixed.append("a connection came back with rights")
            except sa.exc.DBAPIError as error:
                if not isinstance(db.meaning(error.orig), Forbidden):
                    raise


def cancel(engine: sa.Engine, crowd: Crowd) -> int:
    """Cancel whatever any of them is about, again and again."""
    busy = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'jingwei_web' AND state = 'active'"
    done = 0
    while time.monotonic() < crowd.until:
        with engine.begin() as connection:
            done += connection.scalar(sa.text(busy)) or 0
        time.sleep(0.05)
    return done


@pytest.fixture
def administrator(own_world: World) -> Iterator[sa.Engine]:
    """Who cancels, and reads the journal."""
    engine = db.engine(own_world.address.url(), pool=2)
    yield engine
    engine.dispose()


@pytest.fixture
def shared(own_world: World) -> Iterator[sa.Engine]:
    """The four connections."""
    engine = connected(own_world.address, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=60, pool_pre_ping=True)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.long)])
def test_nobody_is_taken_for_another(own_world: World, shared: sa.Engine, administrator: sa.Engine, seconds: int) -> None:
    crowd = Crowd(shared, own_world.oracle, time.monotonic() + seconds)
    cancelled: list[int] = []
    canceller = threading.Thread(target=lambda: cancelled.append(cancel(administrator, crowd)))
    canceller.start()
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(crowd.come, number) for number in range(THREADS)]:
            done.result()
    canceller.join()
    with administrator.begin() as connection:
        journalled = connection.execute(sa.text(
            "SELECT actor, acting_as, patch ->> 'remark' AS before, feature FROM changes WHERE noun = 'parts' AND operation = 'change' ORDER BY id"
        )).all()
        now = {row.id: row.remark for row in connection.execute(sa.text("SELECT id, remark FROM parts"))}
    print(f"\n{sum(crowd.done.values()):,} transactions of {THREADS} callers on {CONNECTIONS} connections, {dict(crowd.done)}, {cancelled} cancelled")
    # What each row said before a change is what the writer before it has put there.
    wrote: dict[UUID, str] = {}
    for change in journalled:
        if change.feature in wrote and wrote[change.feature] != change.before:
            crowd.mixed.append(f"{wrote[change.feature]} wrote, and {change.before} stood there")
        if change.actor.rpartition("-")[2] != change.acting_as.rpartition("@")[2]:
            crowd.mixed.append(f"{change.actor} acted as {change.acting_as}")
        wrote[change.feature] = change.actor
    crowd.mixed += [f"{name} wrote, and {now[id]} stands there" for id, name in wrote.items() if now[id] != name]
    assert crowd.mixed == []
    assert crowd.served == set(range(THREADS))
    assert all(crowd.done[deed] for deed in ("reads", "fails", "trespasses", "lingers", "takes_back", "written", "refused", "looks_behind", "cancelled"))


def test_a_cancelled_statement_is_told_as_such(own_world: World, shared: sa.Engine) -> None:
    # Otherwise the sixty-four would count as served what was not.
    with pytest.raises(GeoError) as told, db.transaction(shared, Caller()) as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 10; SELECT pg_sleep(1)"))
    assert isinstance(told.value, Unavailable)
