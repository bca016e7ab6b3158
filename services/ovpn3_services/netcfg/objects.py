"""The root object of netcfg."""

from collections.abc import Collection
from ipaddress import ip_network
from typing import Any

from ovpn3.constants import API_VERSION, DOMAIN_NETCFG, MAX_LOG_LEVEL, NETCFG_INTERFACE, NETCFG_PATH
from ovpn3.dbus.access import administrator, refusal, root, same_uid
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.dbus.peers import Peer
from ovpn3.errors import ConfigurationRefused, NetworkError
from ovpn3.net.plan import Network
from ovpn3.net.route import best_hop, table_for
from ovpn3_services.netcfg import checked, notify
from ovpn3_services.netcfg.callers import Caller, Callers
from ovpn3_services.netcfg.device import NetDevice
from ovpn3_services.netcfg.dns import Scope, TunnelDns
from ovpn3_services.netcfg.protect import protect_socket
from ovpn3_services.netcfg.settings import RedirectMethod, config_file, is_table
from ovpn3_services.netcfg.tools import Tools

MAX_DEVICES = 1024


class NetCfg(DBusObject):
    """The root object. It knows all devices, and whose they are."""

    interface = NETCFG_INTERFACE
    domain = DOMAIN_NETCFG
    signals = (Signal("Log", "group:u level:u message:s"), notify.SIGNAL)

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._devices: dict[str, NetDevice] = {}
        self._protecting: set[Caller] = set()
        self.callers = Callers(tools.dispatcher.bus, tools.dispatcher.peers, self._on_caller_left)
        tools.resolver.tunnels = self._dns_of_tunnels

    def busy(self) -> bool:
        """Whether somebody relies on us."""
        return bool(self._devices or self._protecting or self._tools.subscribers.list())

    # -- methods ----------------------------------------------------------------------------------
    @method("CreateVirtualInterface", "device_name:s", "device_path:o", rule=same_uid)
    async def create_virtual_interface(self, call: Call, name: str) -> str:
        """Make an object for a device of the caller's. The device itself is made by Establish."""
        name = checked.device_name(name)
        caller = await self.callers.of(call)
        async with caller.working():
            if len(self._devices) >= MAX_DEVICES:
                raise ConfigurationRefused(f"there are {MAX_DEVICES} devices already")
            path = f"{NETCFG_PATH}/{caller.peer.pid}_{name}"
            self._add(NetDevice(self._tools, caller, path, name, destroyed=self._forget))
        self._tools.log.debug(f"device {name} created for process {caller.peer.pid}", path=path)
        return path

    @method("FetchInterfaceList", "", "device_paths:ao", rule=root)
    async def fetch_interface_list(self, call: Call) -> list[str]:
        """All devices' objects, whosever they are."""
        return list(self._devices)

    @method("ProtectSocket", "remote:s ipv6:b device_path:o", "succeeded:b", rule=same_uid, fd="in")
    async def protect_socket(self, call: Call, remote: str, ipv6: bool, device_path: str) -> bool:
        """Keep packets to the server out of the tunnels, in the way netcfg was told. The socket comes along."""
        await self._protect(call, ip_network(checked.host(remote, ipv6)), device_path, self._tools.options.set_somark)
        return True

    @method("ProtectMarkedSocket", "remote:s ipv6:b device_path:o mark:u", "led_by_rules:b", rule=same_uid, fd="in")
    async def protect_marked_socket(self, call: Call, remote: str, ipv6: bool, device_path: str, mark: int) -> bool:
        """As ProtectSocket, with this mark, which root must allow. True if rules lead packets with the mark to the
        server by a table of their own: nothing else has to keep them out of the tunnels."""
        server = ip_network(checked.host(remote, ipv6))
        allowed: tuple[range, ...] = self._tools.options.marks_allowed
        if not any(mark in marks for marks in allowed):
            how = 'openvpn3-admin netcfg-service --config-set marks-allowed "NUMBER,..."'
            raise ConfigurationRefused(f"the mark {mark} is not open to profiles; root: {how}")
        led = is_table(table_for(self._tools.netlink, server, mark))
        await self._protect(call, server, device_path, mark, led=led)
        return led

    async def _protect(self, call: Call, server: Network, device_path: str, mark: int, *, led: bool = False) -> None:
        """`led`: the socket's packets are out of the tunnels already."""
        caller = await self.callers.of(call)
        async with caller.working():
            # A caller that doesn't know its device any more still must not be sent through it.
            avoid = {d.index for d in self._devices.values() if d.caller is caller or d.path == device_path}
            if device_path != "/" and device_path not in self._devices:
                raise ConfigurationRefused(f"there is no device {device_path}")
            method: RedirectMethod = RedirectMethod.NONE if led else self._tools.options.redirect_method
            bind_to = 0
            if method is RedirectMethod.BIND_DEVICE:
                hop = await best_hop(self._tools.netlink, server, avoid=avoid)
                bind_to = hop.index if hop else 0
            protect_socket(call.fds[0] if call.fds else None, mark, bind_to)
            if method is RedirectMethod.HOST_ROUTE:
                await self._route_around(caller, server, avoid)
            elif led:  # perhaps only now
                await self._tools.bypasses.release(caller.peer.name)
            for device in self._devices.values():
                if device.caller is caller:
                    await device.follow()

    @method("DcoAvailable", "", "available:b", rule=same_uid)
    async def dco_available(self, call: Call) -> bool:
        """Whether the kernel has a data channel. False."""
        return False

    @method("Cleanup", rule=same_uid)
    async def cleanup(self, call: Call) -> None:
        """Remove everything that the caller's process has had made."""
        peer = await call.peer()
        for caller in self.callers.known():
            if caller.peer == peer or caller.peer.pid == peer.pid != 0:
                async with caller.clearing():
                    await self._clear(caller)

    @method("ReleaseGuards", "session:s", rule=administrator)
    async def release_guards(self, call: Call, session: str) -> None:
        """End the kill switch of a session, and those of sessions that have no device any more; empty: all of them."""
        alive = {device.session for device in self._devices.values()}
        for holder in list(self._tools.guards.held):
            if not holder.startswith("/") and (holder == session or not session or holder not in alive):
                await self._tools.guards.release(holder)
                self._tools.log.info(f"kill switch of {holder} released")

    @method("NotificationSubscribe", "filter:u", rule=administrator)
    async def notification_subscribe(self, call: Call, mask: int) -> None:
        """Send the caller NetworkChange signals of the types in the mask, 1 to 65535, which replaces an earlier one."""
        caller = await self.callers.of(call)
        async with caller.working():
            self._tools.subscribers.add(call.sender, mask)

    @method("NotificationUnsubscribe", "subscriber:s", rule=administrator)
    async def notification_unsubscribe(self, call: Call, subscriber: str) -> None:
        """End the caller's subscription; root names whose."""
        if await call.uid() == 0:
            if not subscriber:
                raise ConfigurationRefused("root has to name the subscriber")
            self._tools.subscribers.remove(subscriber)
        elif subscriber in ("", call.sender):
            self._tools.subscribers.remove(call.sender)
        else:
            raise refusal(call, "only root may end somebody else's subscription")

    @method("NotificationSubscriberList", "", "subscriptions:a(su)", rule=root)
    async def notification_subscriber_list(self, call: Call) -> list[list[object]]:
        """Unique bus names and masks."""
        return [[name, mask] for name, mask in self._tools.subscribers.list()]

    # -- properties -------------------------------------------------------------------------------
    @prop("global_dns_servers", "as", read=anyone)
    def global_dns_servers(self, call: Call) -> list[str]:
        """Name servers of devices with global scope."""
        return [server for dns in self._dns_of_tunnels() if _is_global(dns) for server in dns.servers]

    @prop("global_dns_search", "as", read=anyone)
    def global_dns_search(self, call: Call) -> list[str]:
        """Search domains of devices with global scope."""
        return [domain for dns in self._dns_of_tunnels() if _is_global(dns) for domain in dns.domains]

    @prop("log_level", "u", read=anyone, write=administrator)
    def log_level(self, call: Call) -> int:
        """How much it logs: 0 to 6."""
        return self._tools.log.level

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        if value > MAX_LOG_LEVEL:
            raise ConfigurationRefused(f"a log level is 0 to {MAX_LOG_LEVEL}, not {value}")
        self._tools.log.level = value

    @prop("config_file", "s", read=anyone)
    def config_file(self, call: Call) -> str:
        """The settings file; empty without a state directory."""
        return config_file(self._tools.options)

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        """What these services are compatible with, as v<number>, and whose they are."""
        return API_VERSION

    # -- a predecessor's things: see `ovpn3_services.netcfg.succession` -----------------------------
    async def take_over_device(self, path: str, owner: Peer, packed: dict[str, Any]) -> None:
        caller = self.callers.behind(owner)
        async with caller.working():
            device = NetDevice(self._tools, caller, path, "", destroyed=self._forget)
            device.take_over(packed)
            self._add(device)

    async def take_over_protection(self, owner: Peer) -> None:
        """There is a route that leads around the owner's tunnel, held by its name."""
        caller = self.callers.behind(owner)
        async with caller.working():
            self._protecting.add(caller)

    async def take_over_subscription(self, subscriber: Peer, mask: int) -> None:
        caller = self.callers.behind(subscriber)
        async with caller.working():
            self._tools.subscribers.add(subscriber.name, mask)

    def has_device(self, path: str) -> bool:
        return path in self._devices

    # -- the caller's things ----------------------------------------------------------------------
    async def _route_around(self, caller: Caller, server: Network, avoid: Collection[int]) -> None:
        """Lead packets to the server around the caller's devices; its earlier server's route goes."""
        hop = await self._tools.bypasses.hold(caller.peer.name, server, avoid)
        self._protecting.add(caller)
        await self._tools.bypasses.release(caller.peer.name, keep=[server])
        way = f"by {hop.gateway or 'link'}" if hop else "on this machine"
        self._tools.log.verb1(f"server {server.network_address} is reached around the tunnel, {way}")

    def _dns_of_tunnels(self) -> list[TunnelDns]:
        """Of those that are up, in the order in which they were asked for; none without a resolver."""
        if not self._tools.resolver.available:
            return []
        return [dns for device in self._devices.values() if (dns := device.tunnel_dns)]

    def _add(self, device: NetDevice) -> None:
        self._tools.dispatcher.export(device.path, device)
        self._devices[device.path] = device

    def _forget(self, device: NetDevice) -> None:
        del self._devices[device.path]
        self._tools.dispatcher.unexport(device.path)

    async def _clear(self, caller: Caller) -> None:
        for device in [device for device in self._devices.values() if device.caller is caller]:
            await device.destroy()
        self._protecting.discard(caller)
        try:
            await self._tools.bypasses.release(caller.peer.name)
        except NetworkError as e:
            self._tools.log.error(f"process {caller.peer.pid}: {e}")

    async def _on_caller_left(self, caller: Caller) -> None:
        self._tools.subscribers.forget(caller.peer.name)
        await self._clear(caller)


def _is_global(dns: TunnelDns) -> bool:
    return dns.scope is Scope.GLOBAL and not dns.netns
