"""The tunnel's device: made by the network service from TunSettings, kept over reconnects if that is wanted."""

import asyncio
import os
from collections.abc import Awaitable

from ovpn3.client.settings import Dns, TunSettings
from ovpn3.constants import TunOffload
from ovpn3.errors import Ovpn3Error, RemoteError
from ovpn3.net.tun import name_of
from ovpn3.proxies.netcfg import Device, NetworkConfiguration
from ovpn3.transport.resolve import Endpoint

LAYER_TUN = 3
# Properties of a device that are named as in TunSettings.
SWITCHES = (
    *("reroute_ipv4", "reroute_ipv6", "kill_switch"),
    *("block_ipv4", "block_ipv6", "block_local", "block_outside_dns"),
)


class TunDevice:
    """At most one device at a time. `fd` is its descriptor, -1 while there is none.

    `offloads` are asked for; the attribute is which of them the device has.
    """

    def __init__(self, network: NetworkConfiguration, name: str, offloads: int = 0) -> None:
        self._network, self._wanted_name, self._wanted_offloads = network, name, offloads
        self._device: Device | None = None
        self._state: tuple[TunSettings, str] | None = None  # with the server's address
        self.fd = -1
        self.offloads = TunOffload.NONE
        self.name = ""  # the kernel's
        self.path = "/"

    @property
    def follows_links(self) -> bool:
        """Whether it has routes to the networks on this machine's links."""
        return self._state is not None and self._state[0].block_local

    def connection_text(self, server: Endpoint) -> str:
        return connection_text(server, self.name, self._state[0]) if self._state else str(server)

    async def build(self, settings: TunSettings, server: Endpoint, *, configure_dns: bool = True) -> str:
        """Have a device with these settings; what became of the present one: kept, changed or replaced, or made."""
        if self._device is not None:
            if (settings, server.address) == self._state:
                return "kept"
            if await self._change(self._device, settings, server, configure_dns):
                return "changed"
        outcome = "made" if self._device is None else "replaced"
        await self.remove()
        device = self._device = await self._network.create_interface(self._wanted_name)
        try:
            await self._configure(device, settings, server, configure_dns)
            self.fd, self.offloads = await device.establish(self._wanted_offloads)
            self.name = name_of(self.fd)
        except Ovpn3Error:
            await self.remove()
            raise
        self.path, self._state = device.path, (settings, server.address)
        return outcome

    async def _change(self, device: Device, settings: TunSettings, server: Endpoint, configure_dns: bool) -> bool:
        """Whether the device could be changed in place; if not, a new one is due, and will tell why it can't be had."""
        try:
            await device.reset()
            await self._configure(device, settings, server, configure_dns)
            await device.reconfigure()
        except Ovpn3Error:
            return False
        self._state = settings, server.address
        return True

    async def _configure(self, device: Device, settings: TunSettings, server: Endpoint, configure_dns: bool) -> None:
        """All that is set at once: the answers are waited for together."""
        calls: list[Awaitable[None]] = [device.set("layer", "u", LAYER_TUN), device.set("mtu", "q", settings.mtu)]
        if settings.bypass_server:
            calls.append(device.set_remote_address(server.address, ipv6=server.ipv6))
        calls += [device.add_address(a.address, a.prefix, a.gateway, ipv6=a.ipv6) for a in settings.addresses]
        if settings.networks:
            calls.append(device.add_networks(list(settings.networks)))
        # A network service that can't do that is better refused than trusted.
        calls += [device.set(name, "b", True) for name in SWITCHES if getattr(settings, name)]
        if settings.netns:
            calls.append(device.set("network_namespace", "s", settings.netns))
        if settings.route_table:
            calls.append(device.set("route_table", "u", settings.route_table))
        calls += [device.add_route_rule(rule) for rule in settings.route_rules]
        calls += [device.add_route_cgroup(cgroup) for cgroup in settings.route_cgroups]
        if settings.interface:
            calls.append(self._wish_for(device, settings.interface))
        if configure_dns:
            calls.append(self._configure_dns(device, settings.dns))
        await asyncio.gather(*calls)

    async def _wish_for(self, device: Device, interface: str) -> None:
        try:
            await device.set("interface_name", "s", interface)
        except RemoteError:  # it doesn't know how, or won't: the kernel's name will do
            return

    async def _configure_dns(self, device: Device, dns: Dns) -> None:
        if dns.scope and (dns.servers or dns.domains):
            try:
                await device.set("dns_scope", "s", dns.scope)
            except RemoteError:  # there is no resolver it could go to
                return
        if dns.dnssec:
            await device.set_dnssec(dns.dnssec)
        if dns.transport:
            await device.set_dns_transport(dns.transport)
        if dns.domains:
            await device.add_dns_search(list(dns.domains))
        if dns.servers:
            await device.add_dns(list(dns.servers))

    async def taken_back(self) -> bool:
        """Whether the successor of a lost network service, which is there, knows our device."""
        if self._device is None:
            return False
        try:
            await self._device.get("device_name")
        except RemoteError:
            return False
        return True

    @property
    def orphaned(self) -> bool:
        """Whether there is a device that the network service knows nothing of."""
        return self.fd >= 0 and self._device is None

    def orphan(self) -> bool:
        """The network service doesn't know our device; whether we have one, which can't be kept then."""
        self._device = self._state = None
        self.path = "/"
        return self.orphaned

    async def remove(self) -> None:
        """Give the device up. What the network service refuses is its to log: it cleans up when we are gone."""
        device, self._device, self._state = self._device, None, None
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.offloads, self.name, self.path = -1, TunOffload.NONE, "", "/"
        if device is not None:
            try:
                await device.destroy()
            except RemoteError:
                return


def connection_text(server: Endpoint, device: str, settings: TunSettings) -> str:
    """From where to where, in the original's form: front-ends take addresses from the line in the log."""
    host, port = server.server or (server.host, server.port)
    named = f"[{host}]" if ":" in host else host
    own = {a.ipv6: a for a in reversed(settings.addresses)}
    addresses = [own[ipv6].address if ipv6 in own else "" for ipv6 in (False, True)]
    gateways = [own[ipv6].gateway if ipv6 in own else "" for ipv6 in (False, True)]
    return (
        f"{named}:{port} ({server.address}) via /{server.protocol.upper()}"
        f" on {'/'.join((device, *addresses))} gw=[{'/'.join(gateways)}] mtu={settings.mtu}"
    )
