"""Time as offices count it, held against a count of every second, and the clocks of cases over holidays, pauses and alarms."""

import json
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import clocks, db, incidents, workdays
from geo.errors import Invalid
from tests import town

ZONE = ZoneInfo("Asia/Shanghai")
SECONDS = {"urgent_minute": 60, "urgent_hour": 3600, "natural_day": 86400, "work_hour": 3600, "work_day": 28800}

# As published for 2026 (国办发明电〔2025〕7号): 中秋 25 to 27 September, 国庆 1 to 7 October, made up for on 20 September and
# 10 October. And a day that the town has of its own.
FIRST, DAYS = datetime(2026, 9, 14, tzinfo=ZONE), 40
HOLIDAYS = {*(date(2026, 9, day) for day in (25, 26, 27)), *(date(2026, 10, day) for day in range(1, 8)), date(2026, 10, 16)}
MADE_UP = {date(2026, 9, 20), date(2026, 10, 10)}


def at(text: str) -> datetime:
    """A moment in the town."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.fixture(scope="module")
def worked() -> np.ndarray:
    """For every second from `FIRST` on, how many of those before it were worked."""
    seconds = np.zeros(DAYS * 86400, bool)
    for number in range(DAYS):
        day = (FIRST + timedelta(days=number)).date()
        if day in MADE_UP or (day.weekday() < 5 and day not in HOLIDAYS):
            for second in range(86400):
                if 8 <= second // 3600 < 12 or 14 <= second // 3600 < 18:
                    seconds[number * 86400 + second] = True
    return np.concatenate([[0], np.cumsum(seconds)])


@pytest.fixture
def calendar(connection: sa.Connection) -> sa.Connection:
    """The calendar of the town, with a day of its own."""
    workdays.override(connection, [workdays.Day(date(2026, 10, 16), False, "运动会")])
    return connection


moments = st.one_of(
    st.integers(0, DAYS * 86400 - 1),
    # At and around the edges of days and hours.
    st.builds(
        lambda day, hour, off: min(max(day * 86400 + hour * 3600 + off, 0), DAYS * 86400 - 1),
        st.integers(0, DAYS - 1), st.sampled_from([0, 8, 12, 14, 18, 24]), st.integers(-1, 1),
    ),
)  # fmt: skip
KINDS = st.sampled_from(sorted(SECONDS))


def spent(connection: sa.Connection, kind: str, since: datetime, until: datetime) -> float:
    return connection.scalar(sa.text("SELECT time_spent(:kind, :since, :until)"), {"kind": kind, "since": since, "until": until})


def due(connection: sa.Connection, kind: str, amount: float, since: datetime) -> datetime | None:
    return connection.scalar(sa.text("SELECT due_after(:kind, :amount, :since)"), {"kind": kind, "amount": amount, "since": since})


@given(pairs=st.lists(st.tuples(KINDS, moments, moments), min_size=1, max_size=20))
def test_time_spent_is_every_second_counted(calendar, worked, pairs):
    for kind, one, other in pairs:
        a, b = sorted((one, other))
        counted = (worked[b] - worked[a]) if kind.startswith("work") else b - a
        told = spent(calendar, kind, FIRST + timedelta(seconds=a), FIRST + timedelta(seconds=b))
        assert told == pytest.approx(counted / SECONDS[kind], abs=1e-9)


@given(asked=st.lists(st.tuples(KINDS, moments, st.integers(1, 8 * 86400)), min_size=1, max_size=20))
def test_due_is_the_first_second_by_which_so_much_is_spent(calendar, worked, asked):
    for kind, a, seconds in asked:
        if kind.startswith("work"):
            end = int(np.searchsorted(worked, worked[a] + seconds))
            if end >= len(worked):
                continue
        else:
            end = a + seconds
        told = due(calendar, kind, seconds / SECONDS[kind], FIRST + timedelta(seconds=a))
        assert told == FIRST + timedelta(seconds=end), (kind, a, seconds)


@given(KINDS, moments, moments, st.floats(0, 60))
def test_one_undoes_the_other(calendar, kind, one, other, amount):
    a, b = (FIRST + timedelta(seconds=second) for second in sorted((one, other)))
    back = due(calendar, kind, spent(calendar, kind, a, b), a)
    # At what was not worked time stands still: the first moment of it is told.
    assert a <= back <= b + timedelta(microseconds=1)
    assert spent(calendar, kind, min(back, b), b) == pytest.approx(0, abs=1e-9)
    then = due(calendar, kind, amount, a)
    assert spent(calendar, kind, a, then) * SECONDS[kind] == pytest.approx(amount * SECONDS[kind], abs=1.1e-6)
    # In two halves it is as much, as far as moments go.
    halved = due(calendar, kind, amount / 2, due(calendar, kind, amount / 2, a))
    assert spent(calendar, kind, a, halved) * SECONDS[kind] == pytest.approx(amount * SECONDS[kind], abs=2.1e-6)


@pytest.mark.parametrize(("kind", "amount", "since", "until"), [
    ("work_hour", 4, "2026-09-30T14:00", "2026-09-30T18:00"),  # due with the evening, not after the holiday
    ("work_hour", 5, "2026-09-30T14:00", "2026-10-08T09:00"),
    ("work_day", 1, "2026-10-09T18:00", "2026-10-10T18:00"),  # the Saturday is made up
    ("work_day", 1, "2026-09-19T10:00", "2026-09-20T18:00"),
    ("work_day", 2, "2026-10-09T11:00", "2026-10-12T11:00"),  # Friday, the Saturday made up, Sunday off
    ("natural_day", 3, "2026-09-30T17:00", "2026-10-03T17:00"),
    ("urgent_hour", 2, "2026-09-30T23:30", "2026-10-01T01:30"),
    ("urgent_minute", 15, "2026-09-30T23:50", "2026-10-01T00:05"),
    ("work_hour", 1, "2026-10-15T12:30", "2026-10-15T15:00"),
])
def test_dates_by_hand(connection, kind, amount, since, until):
    assert due(connection, kind, amount, at(since)) == at(until)


def test_beyond_the_calendar_there_is_no_answer(connection):
    assert due(connection, "work_day", 100_000, at("2026-01-01T08:00")) is None
    assert due(connection, "work_day", 1, at("1999-01-01T08:00")) is None
    assert spent(connection, "work_hour", at("2059-12-30T08:00"), at("2060-02-01T08:00")) is None
    # And in the last year that is laid out there is.
    assert due(connection, "work_hour", 1, at("2059-12-30T08:00")) == at("2059-12-30T09:00")


def test_hours_are_data(connection):
    connection.execute(sa.text("UPDATE working_hours SET closes = '11:30' WHERE opens = '8:00'"))
    assert due(connection, "work_hour", 4, at("2026-10-12T08:00")) == at("2026-10-12T14:30")
    with pytest.raises(sa.exc.IntegrityError) as refused, connection.begin_nested():
        connection.execute(sa.text("INSERT INTO working_hours VALUES ('11:00', '12:00')"))
    assert isinstance(refused.value.orig, psycopg.errors.ExclusionViolation)
    # And where the instance lies.
    connection.execute(sa.text("UPDATE instance SET time_zone = 'Asia/Urumqi'"))
    assert due(connection, "work_hour", 1, at("2026-10-12T08:00")) == at("2026-10-12T11:00")


def test_a_town_has_days_of_its_own_and_migrating_leaves_them(connection):
    assert workdays.override(connection, [workdays.Day(date(2026, 10, 1), True, "值班"), workdays.Day(date(2030, 1, 2), False)]) == 2
    assert workdays.published(connection) == 0
    told = {day.day: day for day in workdays.calendar(connection, date(2026, 9, 28), date(2030, 12, 31))}
    assert told[date(2026, 10, 1)] == workdays.Day(date(2026, 10, 1), True, "值班")
    assert told[date(2026, 10, 10)] == workdays.Day(date(2026, 10, 10), True, "国庆节")
    assert told[date(2030, 1, 2)].working is False
    assert workdays.known(connection) == workdays.Known(date(2004, 1, 1), date(2026, 12, 31), 2)
    # Beyond the years known a weekday is worked.
    assert due(connection, "work_hour", 1, at("2030-01-01T08:00")) == at("2030-01-01T09:00")


def test_a_file_of_days(tmp_path):
    sheet = tmp_path / "日历.csv"
    sheet.write_text(
        "日期,上班/休息,说明\n2026-10-01,休息,国庆\n2026/10/10,上班,调休\n2026年10月16日,休,运动会\n20261017,不知道,\n"
        "2026-02-30,休息,\n2026-10-10,休息,\n1066-10-14,休息,黑斯廷斯\n,,\n2026-10-10,班,\n", "utf-8",
    )
    days, rejects = workdays.read(sheet)
    assert days == [
        workdays.Day(date(2026, 10, 1), False, "国庆"), workdays.Day(date(2026, 10, 10), True, "调休"), workdays.Day(date(2026, 10, 16), False, "运动会"),
    ]
    assert [(reject.row, reject.value) for reject in rejects] == [(4, "不知道"), (5, "2026-02-30"), (6, "2026-10-10"), (7, "1066-10-14")]
    sheet.write_text("甲,乙\n1,2\n", "utf-8")
    with pytest.raises(Invalid):
        workdays.read(sheet)


# Clocks.


def case(connection: sa.Connection, **values: object):
    """A case of the town that nobody has moved."""
    return town.add(connection, "incidents", reported_at=at("2026-09-29T09:00"), state="accepted", **{"closed_at": None, **values})


def call(connection: sa.Connection, function: str, incident, *values: object):
    """What a step does with the clock of a case, told in the case as a step does."""
    begins = function == "clock_begun"
    values = (*values, None) if begins and len(values) == 2 else values
    places = "".join(f", :v{n}" for n in range(len(values)))
    done = connection.scalar(
        sa.text(f"SELECT {function}({'i' if begins else 'i.id'}{places}) FROM incidents AS i WHERE id = :id"),
        {"id": incident} | {f"v{n}": value for n, value in enumerate(values)},
    )
    connection.execute(sa.text("UPDATE incidents SET due_at = :due WHERE id = :id"), {"due": done, "id": incident})
    return done


def swept(connection: sa.Connection, moment: datetime, most: int = 5000):
    """The alarms of a pass."""
    return connection.execute(sa.text("SELECT * FROM clocks_swept(:moment, :most)"), {"moment": moment, "most": most}).all()


def held(connection: sa.Connection, incident):
    """Its clocks in order, and when the case itself is due."""
    rows = connection.execute(sa.text("SELECT * FROM incident_clocks WHERE incident = :i ORDER BY number"), {"i": incident}).all()
    return rows, connection.scalar(sa.text("SELECT due_at FROM incidents WHERE id = :i"), {"i": incident})


def test_a_clock_for_every_stage(connection):
    incident = case(connection)
    steps = (
        ("reported", "2026-09-29T09:00", "2026-09-29T09:15"),
        ("verifying", "2026-09-29T09:10", "2026-09-29T09:40"),
        ("accepted", "2026-09-29T09:30", "2026-09-29T09:45"),
        ("filed", "2026-09-29T09:40", "2026-09-29T09:55"),
        ("dispatched", "2026-09-29T09:50", "2026-10-14T09:50"),
        ("handling", "2026-09-29T17:00", "2026-10-14T09:50"),  # who takes a case over late loses time of their own
        ("handled", "2026-10-08T10:00", "2026-10-08T10:30"),
        ("checking", "2026-10-08T10:10", "2026-10-08T10:30"),
        ("rework", "2026-10-08T10:20", "2026-10-18T10:20"),
        ("handled", "2026-10-09T10:00", "2026-10-09T10:30"),
        ("closed", "2026-10-09T10:10", "2026-10-10T10:10"),
    )
    for state, moment, until in steps:
        told = call(connection, "clock_begun", incident, state, at(moment))
        if state == "rework":
            until = told.astimezone(ZONE).strftime("%Y-%m-%dT%H:%M")
            assert told == due(connection, "work_day", 7, at(moment))
        assert told == at(until), state
        assert held(connection, incident)[1] == at(until)
    call(connection, "clock_begun", incident, "feedback", at("2026-10-09T11:00"))
    rows, until = held(connection, incident)
    assert until is None
    assert [row.clock for row in rows] == ["accept", "verify", "accept", "dispatch", "handle", "check", "handle", "check", "feedback"]
    assert all(row.ended_at and row.alarm_at is None for row in rows)
    # 29 September has 6 hours and 10 minutes left, the 30th 8 hours, 8 October 2 hours.
    assert rows[4].spent == pytest.approx((6 + 1 / 6 + 8 + 2) / 8)


def test_a_matter_has_its_limit_and_the_shortest_counts(connection):
    matter = "09012"
    insert = sa.text("INSERT INTO matter_limits (matter, code, kind, amount, condition, valid_from) VALUES (:m, 'x', :k, :a, :c, '2026-01-01') RETURNING id")
    days = connection.scalar(insert, {"m": matter, "k": "work_day", "a": 5, "c": "爆管引起"})
    connection.scalar(insert, {"m": matter, "k": "urgent_hour", "a": 2, "c": "其他"})
    connection.scalar(insert, {"m": "09", "k": "urgent_hour", "a": 1, "c": ""})
    begins = at("2026-09-30T17:00")
    assert call(connection, "clock_begun", case(connection, matter=matter), "dispatched", begins) == at("2026-09-30T19:00")
    chosen = case(connection, matter=matter)
    assert call(connection, "clock_begun", chosen, "dispatched", begins, days) == at("2026-10-13T17:00")
    assert held(connection, chosen)[0][0].matter_limit == days
    # Of its class where it has none of its own.
    assert call(connection, "clock_begun", case(connection, matter="09005"), "dispatched", begins) == at("2026-09-30T18:00")
    # What is over counts for cases of then.
    connection.execute(sa.text("UPDATE matter_limits SET valid_to = '2026-06-01'"))
    assert call(connection, "clock_begun", case(connection, matter=matter), "dispatched", begins) == due(connection, "work_day", 7, begins)
    before = at("2026-05-29T17:00")
    assert call(connection, "clock_begun", case(connection, matter=matter), "dispatched", before) == at("2026-05-29T19:00")


def test_what_is_urgent_has_less_time(connection):
    assert call(connection, "clock_begun", case(connection, urgent=True), "filed", at("2026-09-30T17:00")) == at("2026-09-30T17:05")


def test_a_pause_keeps_what_is_left(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "dispatched", at("2026-10-12T08:00"))
    assert call(connection, "clock_paused", incident, at("2026-10-13T12:00")) is None
    (row,), until = held(connection, incident)
    assert (row.spent, row.due_at, row.alarm_at, until) == (1.5, None, None, None)
    # The state it comes back to is of the same clock.
    assert call(connection, "clock_begun", incident, "handling", at("2026-11-02T14:00")) == at("2026-11-09T18:00")
    (row,), until = held(connection, incident)
    assert (row.resumed_at, row.paused_at, until) == (at("2026-11-02T14:00"), None, at("2026-11-09T18:00"))


def test_an_extension_adds_the_limit_twice_at_the_most_and_in_time(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "dispatched", at("2026-11-02T08:00"))
    assert call(connection, "clock_extended", incident, at("2026-11-03T08:00")) == due(connection, "work_day", 14, at("2026-11-02T08:00"))
    assert call(connection, "clock_extended", incident, at("2026-11-04T08:00")) == due(connection, "work_day", 21, at("2026-11-02T08:00"))
    with pytest.raises(Invalid, match="最多延期两次"), db.translated(), connection.begin_nested():
        call(connection, "clock_extended", incident, at("2026-11-05T08:00"))
    late = case(connection)
    call(connection, "clock_begun", late, "reported", at("2026-11-02T08:00"))
    with pytest.raises(Invalid, match="最多延期两次"), db.translated(), connection.begin_nested():
        call(connection, "clock_extended", late, at("2026-11-02T08:15"))
    with pytest.raises(Invalid), db.translated(), connection.begin_nested():
        call(connection, "clock_extended", case(connection), at("2026-11-02T08:15"))


def test_what_is_exempt_is_late_for_nobody(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "dispatched", at("2026-11-02T08:00"))
    assert call(connection, "clock_exempted", incident) is None
    (row,), until = held(connection, incident)
    assert (row.exempt, row.alarm_at, until) == (True, None, None)
    assert row.due_at == due(connection, "work_day", 7, at("2026-11-02T08:00"))
    assert swept(connection, at("2030-01-01T00:00")) == []
    # Also of one that is over.
    over = case(connection)
    call(connection, "clock_begun", over, "handling", at("2026-11-02T08:00"))
    call(connection, "clock_begun", over, "handled", at("2026-12-02T08:00"))
    call(connection, "clock_exempted", over)
    assert [row.exempt for row in held(connection, over)[0]] == [True, False]


def test_each_alarm_is_given_once_to_those_above(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "reported", at("2026-09-30T23:50"))
    told = []
    for minutes in range(60):
        told += [
            (minutes, alarm.alarm, alarm.area) for alarm in swept(connection, at("2026-09-30T23:50") + timedelta(minutes=minutes))
            if alarm.incident == incident
        ]
    # The street is all of this instance: nobody is above it.
    assert told == [(12, "near", town.PREFIX + "001"), (15, "late", town.PREFIX), (45, "late3", town.PREFIX)]
    assert held(connection, incident)[0][0].alarm_at is None
    # A server that slept gives what it owes at once, and no alarm of a clock that has ended.
    slept, ended = case(connection), case(connection)
    for one in (slept, ended):
        call(connection, "clock_begun", one, "verifying", at("2026-10-01T08:00"))
    call(connection, "clock_begun", ended, "feedback", at("2026-10-01T08:10"))
    assert [(a.incident, a.alarm) for a in swept(connection, at("2026-10-02T08:00"))] == [(slept, "near"), (slept, "late"), (slept, "late3")]
    assert swept(connection, at("2026-10-03T08:00")) == []


def test_no_more_than_asked_for_in_one_pass(connection):
    for _ in range(5):
        call(connection, "clock_begun", case(connection), "verifying", at("2026-10-01T08:00"))
    counts = [len(swept(connection, at("2026-10-01T08:29"), most=2)) for _ in range(4)]
    assert counts == [2, 2, 1, 0]


def test_an_extension_moves_the_alarms_to_come(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "dispatched", at("2026-11-02T08:00"))
    assert [a.alarm for a in swept(connection, due(connection, "work_day", 6, at("2026-11-02T08:00")))] == ["near"]
    call(connection, "clock_extended", incident, due(connection, "work_day", 6.5, at("2026-11-02T08:00")))
    assert swept(connection, due(connection, "work_day", 13, at("2026-11-02T08:00"))) == []
    assert [a.alarm for a in swept(connection, due(connection, "work_day", 14, at("2026-11-02T08:00")))] == ["late"]


def test_a_new_holiday_moves_what_is_due(connection):
    incident = case(connection)
    call(connection, "clock_begun", incident, "dispatched", at("2026-11-02T08:00"))
    was = held(connection, incident)[1]
    workdays.override(connection, [workdays.Day(date(2026, 11, 5), False)])
    (row,), until = held(connection, incident)
    assert until == row.due_at == was + timedelta(days=1) == due(connection, "work_day", 7, at("2026-11-02T08:00"))
    assert row.alarm_at == due(connection, "work_day", 5.6, at("2026-11-02T08:00"))


# The clocks of cases that are moved.

def step(connection: sa.Connection, incident, action: str, role: str, moment: datetime, **given_: object):
    """A step as somebody in that capacity takes it: the state it leads to, and when the case is due then."""
    taken = sa.text("SELECT s.target FROM incidents AS i, incident_stepped(i, :action, :given, NULL, NULL, ARRAY[:role], :moment) AS s WHERE i.id = :id")
    given_ = {"opinion": "看过了", **given_}
    told = connection.scalar(taken, {"id": incident, "action": action, "given": json.dumps(given_), "role": role, "moment": moment})
    return told, connection.scalar(sa.text("SELECT due_at FROM incidents WHERE id = :id"), {"id": incident})


def reported(connection: sa.Connection, moment: datetime, **values: object):
    return town.add(connection, "incidents", state="reported", reported_at=moment, closed_at=None, **values)


def passed(connection: sa.Connection, moment: datetime) -> tuple[int, int]:
    """A pass of the clock: alarms told, cases that go on."""
    return tuple(connection.execute(sa.text("SELECT told, resumed FROM incidents_swept(:moment, 100)"), {"moment": moment}).one())


def test_a_case_is_timed_by_its_steps(connection):
    incident = reported(connection, at("2026-09-29T09:00"))
    assert held(connection, incident)[1] == at("2026-09-29T09:15")
    for action, role, moment, state, until, more in (
        ("accept", "acceptor", "2026-09-29T09:05", "accepted", "2026-09-29T09:15", {}),
        ("file", "acceptor", "2026-09-29T09:10", "filed", "2026-09-29T09:25", {}),
        ("dispatch", "dispatcher", "2026-09-29T09:20", "dispatched", "2026-10-14T09:20", {"lead_area": town.A}),
        ("return", "lead", "2026-09-29T10:00", "returned", "2026-09-29T10:15", {}),
        ("dispatch", "dispatcher", "2026-09-29T10:00", "dispatched", "2026-10-14T10:00", {"lead_area": town.B}),
        ("start", "lead", "2026-09-30T14:00", "handling", "2026-10-14T10:00", {}),
        ("note", "lead", "2026-09-30T15:00", "handling", "2026-10-14T10:00", {}),
        ("extend", "dispatcher", "2026-09-30T16:00", "handling", "2026-10-23T10:00", {}),
        ("suspend", "dispatcher", "2026-10-08T10:00", "suspended", None, {"until": "2026-10-20T00:00+08:00"}),
    ):
        told = step(connection, incident, action, role, at(moment), **more)
        assert told == (state, until and at(until)), action
    assert passed(connection, at("2026-10-19T23:59")) == (0, 0)
    # By itself, on the day. Two days of fourteen are spent, so twelve are left.
    assert passed(connection, at("2026-10-20T00:00")) == (0, 1)
    until = at("2026-11-04T18:00")
    assert held(connection, incident)[1] == until == due(connection, "work_day", 12, at("2026-10-20T00:00"))
    assert step(connection, incident, "handle", "lead", at("2026-11-02T18:00")) == ("handled", at("2026-11-02T18:30"))
    assert step(connection, incident, "ask_check", "acceptor", at("2026-11-02T18:10")) == ("checking", at("2026-11-02T18:30"))
    assert [row.clock for row in held(connection, incident)[0]] == ["accept", "dispatch", "handle", "dispatch", "handle", "check"]


def test_of_several_limits_the_one_that_was_chosen(connection):
    limit = connection.scalar(sa.text(
        "INSERT INTO matter_limits (matter, code, kind, amount, condition, valid_from) VALUES ('sample', 'x', 'work_day', 2, '大', '2026-01-01') RETURNING id"))
    connection.execute(sa.text(
        "INSERT INTO matter_limits (matter, code, kind, amount, valid_from) VALUES ('sample', 'x', 'work_day', 1, '2026-01-01')"))
    for chosen, until in (({"limit": str(limit)}, "2026-11-05T09:10"), ({}, "2026-11-04T09:10")):
        incident = reported(connection, at("2026-11-03T09:00"), matter="sample")
        for action, role in (("accept", "acceptor"), ("file", "acceptor")):
            step(connection, incident, action, role, at("2026-11-03T09:05"))
        with pytest.raises(Invalid, match="所选的时限"), db.translated(), connection.begin_nested():
            step(connection, incident, "dispatch", "dispatcher", at("2026-11-03T09:10"), lead_area=town.A, limit=str(incident))
        told = step(connection, incident, "dispatch", "dispatcher", at("2026-11-03T09:10"), lead_area=town.A, **chosen)
        assert told == ("dispatched", at(until))


def test_what_is_told_stands_beside_the_log_and_moves_nothing(connection):
    incident = reported(connection, at("2026-09-29T09:00"))
    ended = reported(connection, at("2026-09-29T09:00"))
    step(connection, ended, "reject", "acceptor", at("2026-09-29T09:05"))
    assert [passed(connection, at(f"2026-09-29T{time}")) for time in ("09:11", "09:12", "09:14", "09:16", "09:44", "09:50", "10:00")] == [
        (0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0), (0, 0),
    ]
    told = incidents.log(connection, incident)
    assert [(row["number"], row["action"], row["role"], row["target"], row["facts"].get("alarm"), row["facts"].get("area")) for row in told[1:]] == [
        (1, "remind", "system", "reported", "near", town.A[:12]), (1, "escalate", "system", "reported", "late", town.PREFIX),
        (1, "escalate", "system", "reported", "late3", town.PREFIX),
    ]
    heard = "SELECT count(*) FROM changes WHERE noun = 'incidents' AND operation = 'tell' AND feature = :id"
    assert connection.scalar(sa.text(heard), {"id": incident}) == 3
    # Whoever had it open goes on from the step that they saw; and what slept is told at once.
    assert step(connection, incident, "accept", "acceptor", at("2026-09-29T10:00"))[0] == "accepted"
    slept = reported(connection, at("2026-09-29T10:00"))
    assert passed(connection, at("2026-09-30T10:00")) == (3, 0)
    assert connection.scalar(sa.text("SELECT steps FROM incidents WHERE id = :id"), {"id": slept}) == 1
    assert [(row["number"], row["action"]) for row in incidents.log(connection, incident)][-1] == (2, "accept")
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))


def test_a_pass_that_is_killed_has_told_nothing_and_two_tell_once(live, live_engine):
    with live_engine.begin() as connection:
        for _ in range(6):
            reported(connection, datetime.now(ZONE) - timedelta(minutes=20))
    web = db.engine(live.url("jingwei_web"), pool=2)
    with pytest.raises(sa.exc.OperationalError), web.begin() as lost:
        assert lost.scalar(sa.text("SELECT told FROM incidents_swept(NULL, 100)")) == 12
        with live_engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": lost.connection.driver_connection.info.backend_pid})
        lost.execute(sa.text("SELECT 1"))
    with web.begin() as one:
        # What one holds the other passes over, and nobody waits for anybody.
        first = one.scalar(sa.text("SELECT told FROM incidents_swept(NULL, 3)"))
        second = clocks.sweep(web, most=100)
        assert (first, second) == (6, clocks.Swept(6, 0, False))
    assert clocks.sweep(web) == clocks.Swept(0, 0, False)
    with live_engine.begin() as connection:
        told = connection.execute(sa.text("SELECT alarm, count(*) FROM clock_alarms GROUP BY alarm ORDER BY alarm")).all()
        assert [tuple(row) for row in told] == [("late", 6), ("near", 6)]
        assert set(connection.scalars(sa.text("SELECT actor FROM changes WHERE operation = 'tell'"))) <= {"clock", "jingwei_web"}
    web.dispose()


def test_whoever_works_with_a_case_is_told_its_clocks(connection, client):
    incident = reported(connection, datetime.now(ZONE) - timedelta(minutes=20), owner=None)
    passed(connection, datetime.now(ZONE))
    answer = client.get(f"/incidents/{incident}/clocks", headers=town.come(connection, "desk", "acceptor", town.A))
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["clocks"]
    assert (told["clock"], told["kind"], told["amount"], told["late"], told["alarms"]) == ("accept", "urgent_minute", 15, True, ["late", "near"])
    assert 20 <= told["spent"] < 21
    elsewhere = client.get(f"/incidents/{incident}/clocks", headers=town.come(connection, "far", "acceptor", town.C))
    assert elsewhere.status_code in (403, 404) or elsewhere.json()["clocks"] == []


# A case is begun, suspended, extended and swept at random, and every clock held against seconds counted one by one.

class Model:
    """The clock that runs, in seconds of the forty days."""

    def __init__(self, worked: np.ndarray) -> None:
        self.worked, self.limits = worked, {state: (clock, kind, amount) for state, urgent, clock, kind, amount in clocks.STAGES if not urgent}
        self.clock: str | None = None
        self.alarms: set[tuple[int, str]] = set()
        self.number = 0

    def counted(self, a: int, b: int) -> int:
        return int(self.worked[b] - self.worked[a]) if self.kind.startswith("work") else b - a

    def spent(self, now: int) -> int:
        return self.before + (0 if self.paused else self.counted(self.since, now))

    @property
    def total(self) -> float:
        return self.amount * SECONDS[self.kind] * (1 + self.extended)

    def due(self) -> int | None:
        """The first second by which all is spent; None while it stands still or beyond the forty days."""
        if self.clock is None or self.paused:
            return None
        left = self.total - self.before
        if left <= 0:
            return self.since
        if not self.kind.startswith("work"):
            return self.since + int(left)
        end = int(np.searchsorted(self.worked, self.worked[self.since] + left))
        return end if end < len(self.worked) else None

    def begin(self, state: str, now: int) -> None:
        clock, kind, amount = self.limits.get(state, (None, "", 0.0))
        if clock is None or clock != self.clock:
            self.clock, self.kind, self.amount, self.before, self.since, self.extended = clock, kind, amount, 0, now, 0
            self.paused, self.number = False, self.number + (clock is not None)
        elif self.paused:
            self.paused, self.since = False, now

    def swept(self, now: int) -> set[tuple[int, str]]:
        told = set()
        if self.clock and not self.paused:
            told = {(self.number, alarm) for alarm, times, _ in clocks.ALARMS if self.spent(now) >= times * self.total} - self.alarms
        self.alarms |= told
        return told


STEPS = st.lists(
    st.tuples(st.sampled_from([*(row[0] for row in clocks.STAGES), "feedback", "pause", "pause", "resume", "extend", "sweep", "sweep"]),
              st.one_of(st.integers(0, 4 * 3600), st.integers(0, 5 * 86400))),
    min_size=4, max_size=14,
)  # fmt: skip


@given(st.integers(0, 9 * 86400), STEPS)
def test_a_clock_is_what_seconds_say(calendar, worked, now, steps):
    with calendar.begin_nested() as walk:
        incident, model = case(calendar), Model(worked)
        for step, seconds in steps:
            now += seconds
            if now > (DAYS - 1) * 86400:
                break
            moment = FIRST + timedelta(seconds=now)
            if step == "sweep":
                assert {(alarm.number, alarm.alarm) for alarm in swept(calendar, moment)} == model.swept(now)
            elif step == "pause":
                call(calendar, "clock_paused", incident, moment)
                if model.clock and not model.paused:
                    model.before, model.paused = model.spent(now), True
            elif step == "resume":
                call(calendar, "clock_resumed", incident, moment)
                if model.clock and model.paused:
                    model.paused, model.since = False, now
            elif step == "extend":
                possible = model.clock and model.spent(now) < model.total and model.extended < 2
                try:
                    with db.translated(), calendar.begin_nested():
                        call(calendar, "clock_extended", incident, moment)
                    assert possible
                    model.extended += 1
                except Invalid:
                    assert not possible
            else:
                call(calendar, "clock_begun", incident, step, moment)
                model.begin(step, now)
            rows, told = held(calendar, incident)
            running = [row for row in rows if row.ended_at is None]
            assert [row.clock for row in running] == ([model.clock] if model.clock else [])
            due_at = model.due()
            if due_at is not None:
                assert told == running[0].due_at == FIRST + timedelta(seconds=due_at)
            elif model.clock is None or model.paused:
                assert told is None
        walk.rollback()
