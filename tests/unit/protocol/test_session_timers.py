from ovpn3.protocol.timers import Alarm, Timers


def test_due_alarms_come_once_and_earliest_first():
    timers = Timers()
    timers.set(Alarm.RETIRE, 30.0, 2)
    timers.set(Alarm.POLL, 10.0)
    timers.set(Alarm.RETIRE, 20.0, 1)
    assert timers.next() == 10.0
    assert timers.take_due(9.9) is None
    assert timers.take_due(20.0) == (Alarm.POLL, 0)
    assert timers.take_due(20.0) == (Alarm.RETIRE, 1)
    assert timers.take_due(20.0) is None
    assert timers.next() == 30.0


def test_setting_moves_and_cancelling_forgets():
    timers = Timers()
    timers.set(Alarm.POLL, 10.0)
    timers.set(Alarm.POLL, 15.0)
    assert timers.take_due(12.0) is None
    assert timers.is_set(Alarm.POLL)
    timers.cancel(Alarm.POLL)
    timers.cancel(Alarm.POLL)
    assert not timers.is_set(Alarm.POLL)
    timers.set(Alarm.SILENCE, 1.0)
    timers.clear()
    assert timers.next() is None
    assert timers.take_due(99.0) is None
