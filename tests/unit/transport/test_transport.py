"""Names to resolve, and sockets before they are connected."""

import re
import socket

import pytest

from ovpn3.transport.connect import open_socket, set_buffers
from ovpn3.transport.resolve import Endpoint, with_random_label


def test_a_name_is_another_each_time() -> None:
    names = {with_random_label("vpn.example") for _ in range(10)}
    assert len(names) == 10
    assert all(re.fullmatch(r"[0-9a-f]{12}\.vpn\.example", name) for name in names)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_stays(address: str) -> None:
    assert with_random_label(address) == address


def test_buffers_of_the_profile() -> None:
    with open_socket(Endpoint("a", "192.0.2.1", 1194, socket.AF_INET, False)) as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        set_buffers(sock, 50_000, None)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000  # the kernel counts twice
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before
