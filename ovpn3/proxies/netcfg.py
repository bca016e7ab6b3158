"""Client of net.openvpn.v3.netcfg: virtual interfaces and protected sockets."""

from collections.abc import Callable
from dataclasses import dataclass

from ovpn3.constants import NETCFG_INTERFACE, NETCFG_NAME, NETCFG_PATH, TunOffload
from ovpn3.dbus.bus import Bus, Subscription
from ovpn3.dbus.connection import close_all
from ovpn3.dbus.errors import DENIED, UNKNOWN_METHOD
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.proxy import Proxy

NO_DEVICE = "/"
NO_METRIC = -1


@dataclass(frozen=True)
class Network:
    """A route into the tunnel, or with `exclude` around it."""

    address: str
    prefix: int
    ipv6: bool
    exclude: bool = False
    metric: int = NO_METRIC


@dataclass(frozen=True)
class RouteRule:
    """Packets with that mark under a mask, or with a mask of 0 those of users from the first id to the last."""

    mark: int
    mask: int
    first_uid: int = 0
    last_uid: int = 2**32 - 2


class Device(Proxy):
    """One virtual interface. Setters only collect; `establish` makes it real."""

    service, interface = NETCFG_NAME, NETCFG_INTERFACE

    async def add_address(self, address: str, prefix: int, gateway: str, *, ipv6: bool) -> None:
        await self.call("AddIPAddress", "susb", address, prefix, gateway, ipv6)

    async def set_remote_address(self, address: str, *, ipv6: bool) -> None:
        await self.call("SetRemoteAddress", "sb", address, ipv6)

    async def add_networks(self, networks: list[Network]) -> None:
        rows = [[n.address, n.prefix, n.metric, n.ipv6, n.exclude] for n in networks]
        await self.call("AddNetworks", "a(suibb)", rows)

    async def add_route_rule(self, rule: RouteRule) -> None:
        await self.call("AddRouteRule", "uuuu", rule.mark, rule.mask, rule.first_uid, rule.last_uid)

    async def add_route_cgroup(self, cgroup: str) -> None:
        await self.call("AddRouteCgroup", "s", cgroup)

    async def add_dns(self, servers: list[str]) -> None:
        await self.call("AddDNS", "as", servers)

    async def add_dns_search(self, domains: list[str]) -> None:
        await self.call("AddDNSSearch", "as", domains)

    async def set_dnssec(self, mode: str) -> None:
        await self.call("SetDNSSEC", "s", mode)

    async def set_dns_transport(self, mode: str) -> None:
        await self.call("SetDNSTransport", "s", mode)

    async def establish(self, offloads: int = 0) -> tuple[int, TunOffload]:
        """Descriptor of the tun device, ours to close, and which of the offloads it has: see `ovpn3.net.tun.Tun`.

        NetworkError if it couldn't be set up.
        """
        what = ("EstablishOffloads", "u", int(offloads)) if offloads else ("Establish",)
        try:
            reply = await self.bus.request(self.service, self.path, self.interface, *what)
        except RemoteError as e:
            # The original's service doesn't know that method, and its bus policy none that isn't listed.
            if offloads and e.name in (UNKNOWN_METHOD, DENIED):
                return await self.establish()
            raise
        if not reply.unix_fds:
            raise NetworkError("the tun device could not be set up; the network service's log has the reason")
        fd, *others = reply.unix_fds
        close_all(others)
        return fd, TunOffload(reply.body[0] if reply.body else 0)

    async def reset(self) -> None:
        """Forget what was collected; the device is as it was until `reconfigure`."""
        await self.call("Reset")

    async def reconfigure(self) -> None:
        """Bring the established device to what was collected since `reset`."""
        await self.call("Reconfigure")

    async def destroy(self) -> None:
        await self.call("Destroy")


class NetworkConfiguration(Proxy):
    service, interface = NETCFG_NAME, NETCFG_INTERFACE
    is_root = True

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, NETCFG_PATH)

    async def create_interface(self, name: str) -> Device:
        return Device(self.bus, (await self.call("CreateVirtualInterface", "s", name))[0])

    async def protect_socket(
        self, fd: int, remote: str, *, ipv6: bool, device_path: str = NO_DEVICE, mark: int = 0
    ) -> bool:
        """Keep the way to `remote` outside the tunnel, for the socket `fd`, and give it that mark unless 0.

        True if the mark does it, by the machine's rules of routing, and no route to `remote` is needed.
        """
        if mark:
            call = await self.call("ProtectMarkedSocket", "sbou", remote, ipv6, device_path, mark, fds=[fd])
            return bool(call[0])
        body = await self.call("ProtectSocket", "sbo", remote, ipv6, device_path, fds=[fd])
        if not body[0]:
            raise NetworkError(f"the way to {remote} could not be kept outside the tunnel")
        return False

    async def on_loss(self, lost: Callable[[], None]) -> Subscription:
        """Call `lost` whenever the service ends."""
        return await self.bus.watch_name(self.service, lambda owner: None if owner else lost())

    async def bring_back(self, within_s: float) -> bool:
        """Have the service started again; False if it isn't there `within_s` seconds later."""
        return await self.bus.bring_back(self.service, within_s)

    async def release_guards(self, session: str = "") -> None:
        """End the kill switch of a session, by the name of its device's object; without a name all of them."""
        await self.call("ReleaseGuards", "s", session)

    async def subscribe(self, mask: int) -> None:
        """Be sent NetworkChange signals of these kinds, bits of that enumeration."""
        await self.call("NotificationSubscribe", "u", int(mask))

    async def interfaces(self) -> list[str]:
        """Paths of the devices' objects."""
        return list((await self.call("FetchInterfaceList"))[0])

    async def subscribers(self) -> list[tuple[str, int]]:
        """Unique bus names, and masks of NetworkChange."""
        return [(name, mask) for name, mask in (await self.call("NotificationSubscriberList"))[0]]

    async def unsubscribe(self, name: str) -> None:
        await self.call("NotificationUnsubscribe", "s", name)

    async def cleanup(self) -> None:
        """Remove all that this process has set up."""
        await self.call("Cleanup")
