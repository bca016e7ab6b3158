"""User input: questions, answers, and what front-ends of the original look for in refusals."""

import pytest

from ovpn3.constants import AttentionGroup, AttentionType
from ovpn3.errors import ServiceError
from ovpn3_services.backend.queue import InputQueue

CREDENTIALS, USER = AttentionType.CREDENTIALS, AttentionGroup.USER_PASSWORD


@pytest.fixture
def queue() -> InputQueue:
    queue = InputQueue()
    queue.add(USER, "username", "Auth User name", hidden=False)
    queue.add(USER, "password", "Auth Password", hidden=True)
    queue.add(AttentionGroup.PK_PASSPHRASE, "pk_passphrase", "Private key passphrase", hidden=True)
    return queue


def test_questions_come_in_order_and_once(queue: InputQueue) -> None:
    queue.add(USER, "username", "again", hidden=False)
    assert queue.groups() == [(1, 1), (1, 3)]
    assert queue.check(CREDENTIALS, USER) == [0, 1]
    slot = queue.fetch(CREDENTIALS, USER, 1)
    assert (slot.name, slot.label, slot.hidden) == ("password", "Auth Password", True)


def test_answers_end_the_waiting(queue: InputQueue) -> None:
    for group, number in ((USER, 0), (USER, 1), (AttentionGroup.PK_PASSPHRASE, 0)):
        assert queue.waiting()
        queue.provide(CREDENTIALS, group, number, "answer\n\x07")
    assert not queue.waiting()
    value = queue.value(USER, "password")
    assert value is not None
    assert value.text() == "answer"
    assert "answer" not in repr(queue.__dict__)


@pytest.mark.parametrize(
    ("group", "number", "value", "text"),
    [
        (USER, 0, "x", "net.openvpn.v3.error.input-already-provided: "),
        (USER, 7, "x", "net.openvpn.v3.invalid-input: "),
        (USER, 1, "", "net.openvpn.v3.error.invalid-input: No value provided for password"),
        (AttentionGroup.HTTP_PROXY_CREDS, 0, "x", "User input not required"),
    ],
)
def test_refused_answers(queue: InputQueue, group: int, number: int, value: str, text: str) -> None:
    queue.provide(CREDENTIALS, USER, 0, "alice")
    with pytest.raises(ServiceError) as e:
        queue.provide(CREDENTIALS, group, number, value)
    assert str(e.value).startswith(text)


def test_refused_questions(queue: InputQueue) -> None:
    queue.provide(CREDENTIALS, USER, 0, "alice")
    with pytest.raises(ServiceError, match=r"net\.openvpn\.v3\.already-provided: "):
        queue.fetch(CREDENTIALS, USER, 0)
    with pytest.raises(ServiceError, match=r"net\.openvpn\.v3\.element-not-found: "):
        queue.fetch(CREDENTIALS, USER, 9)


def test_forgotten_answers_are_wiped(queue: InputQueue) -> None:
    queue.provide(CREDENTIALS, USER, 1, "secret")
    kept = queue.value(USER, "password")
    queue.forget(USER)
    assert kept is not None
    assert kept.reveal() == bytes(6)
    assert queue.groups() == [(1, 3)]
