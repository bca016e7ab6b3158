"""The order in which remotes and their addresses are tried."""

import socket

import pytest

from ovpn3.client.reconnect import RETRY_DELAY_S, RemoteList, RetryDelay
from ovpn3.profile.model import Remote
from ovpn3.protocol.actions import Advance
from ovpn3.transport.resolve import Endpoint

A, B = Remote("a"), Remote("b")


def endpoints(*addresses: str) -> list[Endpoint]:
    return [Endpoint("a", address, 1194, socket.AF_INET, False) for address in addresses]


def address(remotes: RemoteList) -> str:
    return remotes.endpoint.address if remotes.endpoint else ""


def test_every_address_then_the_next_remote_then_a_new_round() -> None:
    remotes = RemoteList([A, B])
    remotes.resolved(endpoints("1.1.1.1", "2.2.2.2"))
    assert (remotes.remote, address(remotes)) == (A, "1.1.1.1")
    assert not remotes.attempt_failed()
    assert address(remotes) == "2.2.2.2"
    assert not remotes.attempt_failed()
    assert (remotes.remote, remotes.endpoint) == (B, None)
    assert remotes.attempt_failed(), "a name that can't be resolved ends the round as well"
    assert remotes.remote is A


def test_the_server_may_choose() -> None:
    remotes = RemoteList([A, B])
    remotes.resolved(endpoints("1.1.1.1", "2.2.2.2"))
    assert not remotes.attempt_failed(Advance.STAY)
    assert address(remotes) == "1.1.1.1"
    assert not remotes.attempt_failed(Advance.NEXT_ADDRESS)
    assert address(remotes) == "2.2.2.2"
    remotes.resolved(endpoints("1.1.1.1", "2.2.2.2"))
    remotes.attempt_failed(Advance.NEXT_REMOTE)
    assert (remotes.remote, remotes.endpoint) == (B, None)


def test_after_a_connection_the_same_remote_is_resolved_again() -> None:
    remotes = RemoteList([A, B])
    remotes.resolved(endpoints("1.1.1.1", "2.2.2.2"))
    remotes.connection_lost()
    assert (remotes.remote, remotes.endpoint) == (A, None)
    remotes.connection_lost(next_remote=True)
    assert remotes.remote is B


def test_shuffled_once() -> None:
    remotes = RemoteList([A, B], lambda order: order.reverse())
    assert remotes.remote is B


@pytest.mark.option("connect-retry")
def test_waits_grow_up_to_the_longest() -> None:
    delay = RetryDelay((3.0, 10.0))
    assert [delay.next() for _ in range(4)] == [3, 6, 10, 10]
    delay.connected()
    assert delay.next() == 3
    plain = RetryDelay()
    assert [plain.next() for _ in range(3)] == [RETRY_DELAY_S] * 3
