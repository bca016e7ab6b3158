"""Arguments of calls, checked: text in, addresses and networks out, or ConfigurationRefused."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_interface

from ovpn3.errors import ConfigurationRefused
from ovpn3.names import is_cgroup
from ovpn3.net.plan import Address, Interface, TunnelAddress, WantedRoute
from ovpn3.net.rule import LAST_UID, Selector
from ovpn3_services.common.text import stripped

# It becomes part of an object path; session tokens are letters and digits.
_DEVICE_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_DOMAIN = re.compile(r"(?=.{1,254}\Z)\.?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")

_INTERFACE_NAME = re.compile(r"tun[A-Za-z0-9_.-]{1,12}", re.ASCII)

MAX_METRIC = 2**31 - 1


def device_name(text: str) -> str:
    text = stripped(text)
    if not _DEVICE_NAME.fullmatch(text):
        raise ConfigurationRefused(f"not a usable device name: {text[:40]!r}")
    return text


def address(text: str, ipv6: bool) -> Address:
    text = stripped(text)
    try:
        found = IPv6Address(text) if ipv6 else IPv4Address(text)
    except ValueError:
        found = None
    if found is None or "%" in text:
        raise ConfigurationRefused(f"not an IPv{6 if ipv6 else 4} address: {text[:60]!r}")
    return found


def host(text: str, ipv6: bool) -> Address:
    """The address of one machine."""
    found = address(text, ipv6)
    if found.is_multicast or found.is_unspecified:
        raise ConfigurationRefused(f"not the address of a host: {found}")
    return found


def tunnel_address(text: str, prefix_size: int, gateway: str, ipv6: bool) -> TunnelAddress:
    """Ours in the tunnel; an empty gateway is none."""
    ours = host(text, ipv6)
    if ours.is_loopback:
        raise ConfigurationRefused(f"not an address for a tunnel: {ours}")
    return TunnelAddress(_interface(ours, prefix_size), host(gateway, ipv6) if gateway else None)


def route(text: str, prefix_size: int, metric: int, ipv6: bool, exclude: bool) -> WantedRoute:
    """One of AddNetworks; bits beyond the prefix are dropped, metric -1 is the kernel's default."""
    if not -1 <= metric <= MAX_METRIC:
        raise ConfigurationRefused(f"not a route metric: {metric}")
    network = _interface(address(text, ipv6), prefix_size).network
    return WantedRoute(network, None if metric < 0 else metric, exclude)


def interface_name(text: str) -> str:
    """A name for the kernel's device, or empty. Firewalls trust some names, so a profile can't have just any."""
    if text and not _INTERFACE_NAME.fullmatch(text):
        raise ConfigurationRefused(f"a device's name begins with tun and has 15 characters at most, not {text[:40]!r}")
    return text


def selector(mark: int, mask: int, first_uid: int, last_uid: int) -> Selector:
    """One of AddRouteRule; a mask of 0 is any mark."""
    if mark & ~mask:
        raise ConfigurationRefused(f"the mark {mark:#x} has bits that its mask {mask:#x} hasn't")
    if not first_uid <= last_uid <= LAST_UID:
        raise ConfigurationRefused(f"not a range of user ids: {first_uid}-{last_uid}")
    return Selector(mark, mask, (first_uid, last_uid))


def cgroup(text: str) -> str:
    """A path in the tree of cgroups."""
    text = stripped(text)
    if not is_cgroup(text):
        raise ConfigurationRefused(f"not the path of a cgroup: {text[:60]!r}")
    return text


def domain(text: str) -> str:
    text = stripped(text)
    if not _DOMAIN.fullmatch(text):
        raise ConfigurationRefused(f"not a domain name: {text[:60]!r}")
    return text


def _interface(found: Address, prefix_size: int) -> Interface:
    if prefix_size > found.max_prefixlen:
        raise ConfigurationRefused(f"not a prefix size for {found}: {prefix_size}")
    return ip_interface((found, prefix_size))
