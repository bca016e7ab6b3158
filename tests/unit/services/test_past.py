"""What the session manager remembers of a session has an end."""

from ovpn3_services.sessionmgr.past import MAX_CHARS, MAX_LINES, Past


def test_limits() -> None:
    past = Past()
    for number in range(MAX_LINES + 5):
        past.note(False, 7, 4, str(number))
    assert [line[1:] for line in past.lines()][:1] == [(False, 7, 4, "5")]
    assert len(past.lines()) == MAX_LINES
    past.note(True, 2, 7, "x" * (MAX_CHARS - 10))
    assert sum(len(line[4]) for line in past.lines()) <= MAX_CHARS
    past.note(False, 7, 4, "y" * (MAX_CHARS + 1))
    assert len(past.lines()) == 1
    past.note(False, 7, 4, "z")
    assert [line[4] for line in past.lines()] == ["z"]
