"""Call arguments: the right ones become addresses and networks, all others ConfigurationRefused."""

from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import ConfigurationRefused
from ovpn3.net.plan import TunnelAddress, WantedRoute
from ovpn3_services.netcfg import checked
from ovpn3_services.netcfg.dns import MAX_ENTRIES, DnsSettings


def test_what_is_right() -> None:
    far = ip_address("10.8.0.1")
    assert checked.tunnel_address("10.8.0.2", 24, "10.8.0.1", False) == TunnelAddress(ip_interface("10.8.0.2/24"), far)
    assert checked.tunnel_address("fd08::2", 64, "", True) == TunnelAddress(ip_interface("fd08::2/64"))
    assert checked.route("10.1.2.3", 8, -1, False, True) == WantedRoute(ip_network("10.0.0.0/8"), None, True)
    assert checked.route("fd00::", 8, 0, True, False) == WantedRoute(ip_network("fd00::/8"), 0)
    assert checked.host("127.0.0.1", False) == ip_address("127.0.0.1")
    assert checked.device_name("a" * 32) == "a" * 32
    for name in ("corp.example", "_ldap._tcp.example", ".example", "example."):
        assert checked.domain(name) == name


@pytest.mark.parametrize("text", ["", "a b", "a\x7f", "a..b", "-" * 64, "a." * 128, "ä.example", "a;b"])
def test_domains_refused(text: str) -> None:
    with pytest.raises(ConfigurationRefused):
        checked.domain(text)


@pytest.mark.parametrize(
    "call",
    [
        lambda text: checked.address(text, False),
        lambda text: checked.address(text, True),
        lambda text: checked.route(text, 4, -1, False, False),
        lambda text: checked.tunnel_address(text, 4, text, True),
        checked.domain,
        checked.device_name,
    ],
)
@given(text=st.text() | st.ip_addresses().map(str))
def test_nothing_else_comes_out(call: Callable[[str], object], text: str) -> None:
    refusal = ""
    try:
        call(text)
    except ConfigurationRefused as e:
        refusal = str(e)
    assert refusal.isprintable()


def test_dns_entries_are_bounded() -> None:
    dns = DnsSettings()
    dns.add_servers(["192.0.2.1", "192.0.2.1"])
    with pytest.raises(ConfigurationRefused):
        dns.add_servers([f"10.0.{n // 256}.{n % 256}" for n in range(MAX_ENTRIES)])
    with pytest.raises(ConfigurationRefused):
        dns.add_servers(["192.0.2.2", "nonsense"])
    assert dns.servers == ["192.0.2.1"]


def test_control_characters_are_dropped() -> None:
    assert checked.device_name("tun\x1b0\n") == "tun0"
    assert str(checked.host("192.0.2.1\n", ipv6=False)) == "192.0.2.1"
    assert checked.domain("corp\t.example\n") == "corp.example"
