"""What is logged of a connection that is up: front-ends for the original read addresses from it."""

import socket

import pytest

from ovpn3.client.settings import Address, TunSettings
from ovpn3.client.tunbuilder import connection_text
from ovpn3.transport.resolve import Endpoint

V4 = Address("10.8.0.2", 24, "10.8.0.1", False)
V6 = Address("fd00::2", 64, "fd00::1", True)


@pytest.mark.parametrize(
    ("server", "addresses", "text"),
    [
        (
            Endpoint("vpn.example.org", "192.0.2.1", 1194, socket.AF_INET, False),
            (V4, V6),
            "vpn.example.org:1194 (192.0.2.1) via /UDP on tun0/10.8.0.2/fd00::2 gw=[10.8.0.1/fd00::1] mtu=1400",
        ),
        (
            Endpoint("2001:db8::1", "2001:db8::1", 443, socket.AF_INET6, True),
            (V4,),
            "[2001:db8::1]:443 (2001:db8::1) via /TCP on tun0/10.8.0.2/ gw=[10.8.0.1/] mtu=1400",
        ),
        (
            Endpoint("proxy.example.org", "192.0.2.8", 3128, socket.AF_INET, True, ("vpn.example.org", 443)),
            (V6,),
            "vpn.example.org:443 (192.0.2.8) via /TCP on tun0//fd00::2 gw=[/fd00::1] mtu=1400",
        ),
    ],
)
def test_the_text_of_a_connection(server: Endpoint, addresses: tuple[Address, ...], text: str) -> None:
    assert connection_text(server, "tun0", TunSettings(addresses, 1400)) == text
