import pytest

from ovpn3.protocol.packet import Opcode
from ovpn3.protocol.reliable import RECEIVE_WINDOW, SEND_WINDOW, Reliable


def make(*, stream=False, messages=0):
    reliable = Reliable(2.0, stream=stream)
    for n in range(messages):
        reliable.queue(Opcode.CONTROL, bytes((n,)))
    return reliable


def ids(due):
    return [message_id for message_id, _, _ in due]


def test_retransmissions_back_off():
    reliable = make(messages=1)
    assert ids(reliable.due(0.0)) == [0]
    assert reliable.next_timer() == 2.0
    assert ids(reliable.due(1.9)) == []
    assert ids(reliable.due(2.0)) == [0]
    assert reliable.next_timer() == 6.0
    assert ids(reliable.due(6.0)) == [0]
    assert reliable.next_timer() == 14.0


def waits(reliable, now):
    """How long the next message would wait for its acknowledgement."""
    reliable.queue(Opcode.CONTROL, b"")
    reliable.due(now)
    return reliable.next_timer() - now


@pytest.mark.parametrize(("took", "least", "most"), [(0.001, 0.2, 0.21), (0.3, 0.5, 0.6), (1.9, 2.0, 2.0)])
def test_a_quick_peer_is_asked_again_soon(took, least, most):
    reliable = make()
    for message_id in range(20):
        assert waits(reliable, 10.0 * message_id) <= 2.0
        reliable.acknowledged([message_id], 10.0 * message_id + took)
    assert least <= round(waits(reliable, 1000.0), 3) <= most


def test_an_acknowledgement_of_what_was_repeated_measures_nothing():
    reliable = make(messages=1)
    reliable.due(0.0)
    reliable.due(2.0)
    reliable.acknowledged([0], 2.01)
    assert waits(reliable, 3.0) == 2.0


def test_nothing_is_sent_twice_over_a_stream():
    reliable = make(messages=1, stream=True)
    assert ids(reliable.due(0.0)) == [0]
    assert reliable.next_timer() is None
    assert ids(reliable.due(1e9)) == []


def test_six_messages_outstanding():
    reliable = make(messages=SEND_WINDOW + 3)
    assert ids(reliable.due(0.0)) == list(range(SEND_WINDOW))
    reliable.acknowledged([1, 2], 0.1)
    assert ids(reliable.due(0.1)) == []  # 0 is the bottom of the window
    reliable.acknowledged([0], 0.2)
    assert ids(reliable.due(0.2)) == [6, 7, 8]
    assert not reliable.settled
    reliable.acknowledged(range(9), 0.2)
    assert reliable.settled


def test_three_later_acknowledgements_make_a_fast_retransmission():
    reliable = make(messages=5)
    reliable.due(0.0)
    reliable.acknowledged([1, 2], 0.1)
    assert ids(reliable.due(0.1)) == []
    reliable.acknowledged([3], 0.1)
    assert ids(reliable.due(0.1)) == [0]
    assert ids(reliable.due(0.2)) == []


def test_foreign_and_repeated_acknowledgements_mean_nothing():
    reliable = make(messages=2)
    reliable.due(0.0)
    reliable.acknowledged([7, 2**32 - 1, 1, 1, 1, 1], 0.1)
    assert ids(reliable.due(0.1)) == []
    assert ids(reliable.due(2.0)) == [0]


def test_delivery_is_in_order_and_once():
    reliable = make()
    reliable.receive(1, b"b")
    assert list(reliable.deliver()) == []
    reliable.receive(0, b"a")
    reliable.receive(0, b"other")
    assert list(reliable.deliver()) == [(0, b"a"), (1, b"b")]
    reliable.receive(1, b"again")
    assert list(reliable.deliver()) == []


def test_duplicates_are_acknowledged_again_and_the_far_future_is_not():
    reliable = make()
    reliable.receive(0, b"a")
    list(reliable.deliver())
    assert reliable.take_acks(4) == (0,)
    reliable.receive(0, b"a")
    assert reliable.must_ack
    assert reliable.take_acks(4) == (0,)
    reliable.receive(1 + RECEIVE_WINDOW, b"x")
    assert not reliable.must_ack
    reliable.receive(RECEIVE_WINDOW, b"x")
    assert reliable.must_ack


def test_free_slots_repeat_the_latest_acknowledgements():
    reliable = make()
    for n in range(6):
        reliable.receive(n, b"")
    assert reliable.take_acks(4) == (0, 1, 2, 3)
    assert reliable.take_acks(4) == (4, 5, 0, 1)
    assert not reliable.must_ack
    assert reliable.take_acks(8) == (4, 5, 0, 1, 2, 3)


def test_next_id_counts_what_waits():
    reliable = make(messages=8)
    assert reliable.next_id == 8
    reliable.due(0.0)
    assert reliable.next_id == 8
