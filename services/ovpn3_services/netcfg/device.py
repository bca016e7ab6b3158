"""The D-Bus object of one device: settings are collected, Establish applies them."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, replace
from typing import Any

from ovpn3.constants import DOMAIN_NETCFG, NETCFG_INTERFACE, NetworkChange, TunOffload
from ovpn3.dbus.access import administrator, same_uid
from ovpn3.dbus.dispatch import Call, DBusObject, method, prop
from ovpn3.errors import ConfigurationRefused, NetworkError
from ovpn3.net import cgroup, nftables
from ovpn3.net.cgroup import Cgroup
from ovpn3.net.device import Device
from ovpn3.net.guard import OUTSIDE_DNS, Barrier, Exit, Guard
from ovpn3.net.namespace import Home
from ovpn3.net.plan import (
    COMMON,
    EVERYTHING_IPV4,
    EVERYTHING_IPV6,
    MAIN_TABLE,
    Place,
    Wanted,
    excluded,
    guarded,
    unreachable,
)
from ovpn3.net.route import local_networks
from ovpn3.net.rule import Selector, rules
from ovpn3.net.tun import Tun, open_tun
from ovpn3_services.common.privileges import Cap, raised
from ovpn3_services.netcfg import checked, notify
from ovpn3_services.netcfg.callers import Caller
from ovpn3_services.netcfg.dns import DnsSettings, TunnelDns
from ovpn3_services.netcfg.journal import pack_steps, pack_wanted, unpack_steps, unpack_wanted
from ovpn3_services.netcfg.settings import RedirectMethod, is_table
from ovpn3_services.netcfg.tools import Tools

# Bounds of what a caller can make us keep.
MAX_ADDRESSES = 64
MAX_ROUTES = 65_536
MAX_RULES = 64  # and as many cgroups

MIN_MTU = 68  # RFC 791
TAP = 2
LAYERS = (0, TAP, 3)  # 0 is unset, 3 is TUN

_SWITCHES = ("_kill_switch", "_block_ipv4", "_block_ipv6", "_block_local", "_block_outside_dns")


def open_privileged(name: str, *, offloads: int) -> Tun:
    """Where /dev/net/tun is root's alone, opening it takes the capability kept for this moment."""
    with raised(Cap.DAC_OVERRIDE):
        return open_tun(name, offloads=offloads)


class NetDevice(DBusObject):
    """One device of `caller`. What touches the kernel happens inside `caller.working`."""

    interface = NETCFG_INTERFACE
    domain = DOMAIN_NETCFG

    def __init__(
        self, tools: Tools, caller: Caller, path: str, name: str, destroyed: "Callable[[NetDevice], None]"
    ) -> None:
        self.caller = caller
        self.path = path
        self._tools = tools
        self._name = name
        self._destroyed = destroyed
        self._layer = 0
        self._wanted = Wanted()
        self._dns = DnsSettings()
        self._dns_in_force: TunnelDns | None = None
        self._session = name  # whose kill switch it is
        self._kill_switch = self._block_ipv4 = self._block_ipv6 = False
        self._block_local = self._block_outside_dns = False
        self._selectors: list[Selector] = []
        self._cgroups: list[str] = []
        self._device = Device(tools.netlink, tools.bypasses, open_privileged, path, tools.namespaces)

    @property
    def session(self) -> str:
        """The name it was asked for by."""
        return self._session

    @property
    def tunnel_dns(self) -> TunnelDns | None:
        """What the resolver is to know; None while there is no kernel device. Of what was set by Establish's time."""
        return self._dns_in_force

    @property
    def index(self) -> int:
        """Of the kernel device, 0 while there is none in our network namespace."""
        return 0 if self._device.home.name else self._device.index

    # -- methods ----------------------------------------------------------------------------------
    @method("AddIPAddress", "ip_address:s prefix_size:u gateway:s ipv6:b", rule=same_uid)
    async def add_ip_address(self, call: Call, text: str, prefix_size: int, gateway: str, ipv6: bool) -> None:
        """Address of ours, with the size of its network; the gateway may be empty."""
        address = checked.tunnel_address(text, prefix_size, gateway, ipv6)
        if len(self._wanted.addresses) >= MAX_ADDRESSES:
            raise ConfigurationRefused(f"more than {MAX_ADDRESSES} addresses")
        self._wanted = replace(self._wanted, addresses=(*self._wanted.addresses, address))

    @method("SetRemoteAddress", "ip_address:s ipv6:b", rule=same_uid)
    async def set_remote_address(self, call: Call, text: str, ipv6: bool) -> None:
        """The server's, which is reached around the tunnel."""
        self._wanted = replace(self._wanted, remote=checked.host(text, ipv6))

    @method("AddNetworks", "networks:a(suibb)", rule=same_uid)
    async def add_networks(self, call: Call, networks: list[tuple[str, int, int, bool, bool]]) -> None:
        """Routes: address, prefix size, metric or -1, whether IPv6, whether around the tunnel instead of into it."""
        if len(self._wanted.routes) + len(networks) > MAX_ROUTES:
            raise ConfigurationRefused(f"more than {MAX_ROUTES} networks")
        routes = [checked.route(*network) for network in networks]
        self._wanted = replace(self._wanted, routes=(*self._wanted.routes, *routes))

    @method("AddRouteRule", "mark:u mask:u first_uid:u last_uid:u", rule=same_uid)
    async def add_route_rule(self, call: Call, mark: int, mask: int, first_uid: int, last_uid: int) -> None:
        """Packets that take the device's routing table: those with the mark under the mask, unless that is 0, and of
        users in the range; never those of the caller's user."""
        selector = checked.selector(mark, mask, first_uid, last_uid)
        if len(self._selectors) >= MAX_RULES:
            raise ConfigurationRefused(f"more than {MAX_RULES} rules")
        self._selectors.append(selector)

    @method("AddRouteCgroup", "cgroup:s", rule=same_uid)
    async def add_route_cgroup(self, call: Call, path: str) -> None:
        """Packets that take the device's routing table: those of sockets that were made in that cgroup or one below.
        It may come and go; the one above must be there."""
        path = checked.cgroup(path)
        if len(self._cgroups) >= MAX_RULES:
            raise ConfigurationRefused(f"more than {MAX_RULES} cgroups")
        if not cgroup.is_there(path):
            self._tools.log.warn(f"there is no cgroup {path} yet", path=self.path)
        self._cgroups.append(path)

    @method("AddDNS", "server_list:as", rule=same_uid)
    async def add_dns(self, call: Call, servers: list[str]) -> None:
        """Name servers. Those there already are left out."""
        self._dns.add_servers(servers)
        self._no_resolver(call)

    @method("AddDNSSearch", "domains:as", rule=same_uid)
    async def add_dns_search(self, call: Call, domains: list[str]) -> None:
        """Search domains. Those there already are left out."""
        self._dns.add_search_domains(domains)
        self._no_resolver(call)

    @method("SetDNSSEC", "mode:s", rule=same_uid)
    async def set_dnssec(self, call: Call, mode: str) -> None:
        """yes, no or optional."""
        self._dns.set_dnssec(mode)
        self._no_resolver(call)

    @method("SetDNSTransport", "mode:s", rule=same_uid)
    async def set_dns_transport(self, call: Call, mode: str) -> None:
        """plain, dot or doh."""
        self._dns.set_transport(mode)
        self._no_resolver(call)

    @method("EnableDCO", "dev_name:s", "dco_device_path:o", rule=same_uid)
    async def enable_dco(self, call: Call, name: str) -> str:
        """Refused: there is no data channel in the kernel."""
        raise ConfigurationRefused("data channel offload is not available")

    @method("Establish", rule=same_uid, fd="out")
    async def establish(self, call: Call) -> int:
        """Make the device with all that was set; its descriptor comes with the reply."""
        return (await self._establish()).fd

    @method("EstablishOffloads", "wanted:u", "granted:u", rule=same_uid, fd="out")
    async def establish_offloads(self, call: Call, wanted: int) -> tuple[int, int]:
        """As Establish, with those of the wanted offloads (bits of TunOffload) that the kernel grants."""
        tun = await self._establish(TunOffload(wanted))
        return tun.fd, int(tun.offloads)

    @method("Reset", rule=same_uid)
    async def reset(self, call: Call) -> None:
        """Forget all settings; an established device stays as it is until Reconfigure."""
        self._wanted, self._dns = Wanted(), DnsSettings()
        self._kill_switch = self._block_ipv4 = self._block_ipv6 = False
        self._block_local = self._block_outside_dns = False
        self._selectors, self._cgroups = [], []

    @method("Reconfigure", rule=same_uid)
    async def reconfigure(self, call: Call) -> None:
        """Bring the established device to what is set now. What stays the same isn't touched."""
        async with self._changing():
            if not self._device.index:
                raise ConfigurationRefused("the device is not established")
            await self._alter()

    @method("Disable", rule=same_uid)
    async def disable(self, call: Call) -> None:
        """Take device and DNS settings down; the object stays."""
        async with self.caller.working():
            self._dns = DnsSettings()
            await self._tear_down()

    @method("Destroy", rule=same_uid)
    async def on_destroy(self, call: Call) -> None:
        """Take everything down, the object too."""
        async with self.caller.working():
            if self._tools.dispatcher.get(self.path) is self:
                await self.destroy()

    # -- properties -------------------------------------------------------------------------------
    @prop("device_name", "s", read=administrator)
    def device_name(self, call: Call) -> str:
        """As asked for; once established, the kernel's."""
        return self._name

    @prop("mtu", "q", read=administrator, write=administrator)
    def mtu(self, call: Call) -> int:
        """68 to 65535 octets."""
        return self._wanted.mtu

    @mtu.setter
    def set_mtu(self, call: Call, value: int) -> None:
        if value < MIN_MTU:
            raise ConfigurationRefused(f"an MTU is {MIN_MTU} at least, not {value}")
        self._wanted = replace(self._wanted, mtu=value)

    @prop("layer", "u", read=administrator, write=administrator)
    def layer(self, call: Call) -> int:
        """3 is TUN, 2 is TAP, which Establish refuses, 0 is unset."""
        return self._layer

    @layer.setter
    def set_layer(self, call: Call, value: int) -> None:
        if value not in LAYERS:
            raise ConfigurationRefused(f"not a layer: {value}")
        self._layer = value

    @prop("txqueuelen", "q", read=administrator, write=administrator)
    def txqueuelen(self, call: Call) -> int:
        """Packets; 0 is the kernel's default."""
        return self._wanted.txqueuelen

    @txqueuelen.setter
    def set_txqueuelen(self, call: Call, value: int) -> None:
        self._wanted = replace(self._wanted, txqueuelen=value)

    @prop("reroute_ipv4", "b", read=administrator, write=administrator)
    def reroute_ipv4(self, call: Call) -> bool:
        """Whether all IPv4 traffic goes into the tunnel."""
        return self._wanted.reroute_ipv4

    @reroute_ipv4.setter
    def set_reroute_ipv4(self, call: Call, value: bool) -> None:
        self._wanted = replace(self._wanted, reroute_ipv4=value)

    @prop("reroute_ipv6", "b", read=administrator, write=administrator)
    def reroute_ipv6(self, call: Call) -> bool:
        """Whether all IPv6 traffic goes into the tunnel."""
        return self._wanted.reroute_ipv6

    @reroute_ipv6.setter
    def set_reroute_ipv6(self, call: Call, value: bool) -> None:
        self._wanted = replace(self._wanted, reroute_ipv6=value)

    @prop("kill_switch", "b", read=administrator, write=administrator)
    def kill_switch(self, call: Call) -> bool:
        """Whether what goes into the tunnel is unreachable without it, until the session's ReleaseGuards."""
        return self._kill_switch

    @kill_switch.setter
    def set_kill_switch(self, call: Call, value: bool) -> None:
        self._kill_switch = value

    @prop("block_ipv4", "b", read=administrator, write=administrator)
    def block_ipv4(self, call: Call) -> bool:
        """Whether IPv4 beyond the links of this machine is unreachable while the device is up."""
        return self._block_ipv4

    @block_ipv4.setter
    def set_block_ipv4(self, call: Call, value: bool) -> None:
        self._block_ipv4 = value

    @prop("block_ipv6", "b", read=administrator, write=administrator)
    def block_ipv6(self, call: Call) -> bool:
        """Whether IPv6 beyond the links of this machine is unreachable while the device is up."""
        return self._block_ipv6

    @block_ipv6.setter
    def set_block_ipv6(self, call: Call, value: bool) -> None:
        self._block_ipv6 = value

    @prop("block_local", "b", read=administrator, write=administrator)
    def block_local(self, call: Call) -> bool:
        """Whether the networks on the links that lead out go into the tunnel too, all but the routers there."""
        return self._block_local

    @block_local.setter
    def set_block_local(self, call: Call, value: bool) -> None:
        self._block_local = value

    @prop("block_outside_dns", "b", read=administrator, write=administrator)
    def block_outside_dns(self, call: Call) -> bool:
        """Whether names can be asked for through tunnels only while the device is up."""
        return self._block_outside_dns

    @block_outside_dns.setter
    def set_block_outside_dns(self, call: Call, value: bool) -> None:
        self._block_outside_dns = value

    @prop("interface_name", "s", read=administrator, write=administrator)
    def interface_name(self, call: Call) -> str:
        """What the kernel's device is to be called, something that begins with tun; empty is the next number, which it
        also gets if there is such a device."""
        return self._wanted.name

    @interface_name.setter
    def set_interface_name(self, call: Call, value: str) -> None:
        self._wanted = replace(self._wanted, name=checked.interface_name(value))

    @prop("network_namespace", "s", read=administrator, write=administrator)
    def network_namespace(self, call: Call) -> str:
        """Where the device is to be, by the name that it has with ip netns; empty is our own. One that root allows."""
        return self._wanted.place.netns

    @network_namespace.setter
    def set_network_namespace(self, call: Call, value: str) -> None:
        if value and value not in self._tools.options.netns_allowed:
            how = 'openvpn3-admin netcfg-service --config-set netns-allowed "NAME,..."'
            raise ConfigurationRefused(f"the network namespace {value[:64]!r} is not open to tunnels; root: {how}")
        self._put(replace(self._wanted.place, netns=value))

    @prop("route_table", "u", read=administrator, write=administrator)
    def route_table(self, call: Call) -> int:
        """Number of the routing table for the device's routes; 0 is the main one. One that root allows."""
        return 0 if self._wanted.place.table == MAIN_TABLE else self._wanted.place.table

    @route_table.setter
    def set_route_table(self, call: Call, value: int) -> None:
        allowed: tuple[range, ...] = self._tools.options.route_tables_allowed
        if value and not (is_table(value) and any(value in numbers for numbers in allowed)):
            how = 'openvpn3-admin netcfg-service --config-set route-tables-allowed "NUMBER,..."'
            raise ConfigurationRefused(f"the routing table {value} is not open to tunnels; root: {how}")
        self._put(replace(self._wanted.place, table=value or MAIN_TABLE))

    def _put(self, place: Place) -> None:
        if place.netns and place.table != MAIN_TABLE:
            raise ConfigurationRefused("a network namespace and a routing table exclude each other")
        self._wanted = replace(self._wanted, place=place)

    @prop("owner", "u", read=administrator)
    def owner(self, call: Call) -> int:
        """uid of whom it was made for."""
        return self.caller.peer.uid

    @prop("acl", "au", read=administrator)
    def acl(self, call: Call) -> list[int]:
        """Empty: nobody else can be let in."""
        return []

    @prop("dns_scope", "s", read=administrator, write=administrator)
    def dns_scope(self, call: Call) -> str:
        """global or tunnel; empty without a resolver back end, and then it can't be set."""
        return self._dns.scope if self._tools.resolver.available else ""

    @dns_scope.setter
    def set_dns_scope(self, call: Call, value: str) -> None:
        if not self._tools.resolver.available:
            raise ConfigurationRefused("there is no resolver back end")
        self._dns.set_scope(value)

    # These two are announced as one text by the original, and sent as a list.
    @prop("dns_name_servers", "s", wire="as", read=administrator)
    def dns_name_servers(self, call: Call) -> list[str]:
        """As added."""
        return self._dns.servers

    @prop("dns_search_domains", "s", wire="as", read=administrator)
    def dns_search_domains(self, call: Call) -> list[str]:
        """As added."""
        return self._dns.search_domains

    @prop("dnssec_mode", "s", read=administrator)
    def dnssec_mode(self, call: Call) -> str:
        """As set; unset before."""
        return self._dns.dnssec

    # -- the kernel device --------------------------------------------------------------------------
    async def destroy(self) -> None:
        """Remove device and object; call this inside `caller.working`. Failures are only logged."""
        self._destroyed(self)
        await self._tear_down()

    async def _establish(self, offloads: TunOffload = TunOffload.NONE) -> Tun:
        """Make the kernel device; the descriptor is the caller's."""
        if self._layer == TAP:
            raise ConfigurationRefused("TAP devices are not supported")
        async with self._changing():
            await self._tear_down()
            await self._look_around()
            await self._guard()
            wanted = replace(self._applicable(), offloads=offloads)
            tun = await self._device.establish(wanted, lambda: self.caller.may_go_on)
            self._name = tun.name
            self._tell([(NetworkChange.DEVICE_ADDED, {}), *notify.added(self._device.applied)])
            # Before the caller has the descriptor: until then the device goes with us, and needs no entry.
            await self._in_force()
        self._tools.log.verb1(f"{tun.name} is up", path=self.path)
        self._say_what_is_left_out()
        return tun

    async def follow(self) -> None:
        """The machine may have moved to other networks; call this inside `caller.working`."""
        if self._device.index and self._block_local:
            async with self._all_or_nothing():
                await self._alter()

    async def _alter(self) -> None:
        before = list(self._device.applied)
        await self._look_around()
        await self._guard()
        await self._device.alter(self._applicable(), lambda: self.caller.may_go_on)
        after = self._device.applied
        self._tell(notify.removed([step for step in before if step not in after]))
        self._tell(notify.added([step for step in after if step not in before]))
        await self._in_force()

    async def _look_around(self) -> None:
        around = self._block_local and self._wanted.place == COMMON
        networks, routers = await local_networks(self._tools.netlink) if around else ((), ())
        self._wanted = replace(self._wanted, local=networks, local_routers=routers)

    def _say_what_is_left_out(self) -> None:
        place = self._wanted.place
        if place.netns and any(route.exclude for route in self._wanted.routes):
            text = f"{self._name}: from a network namespace no way leads around the tunnel, networks are not excluded"
            self._tools.log.warn(text, path=self.path)
        if place.table != MAIN_TABLE and (self._dns.servers or self._block_outside_dns):
            text = f"{self._name}: DNS settings are left out, they would be for all programs of this machine"
            self._tools.log.info(text, path=self.path)

    async def _in_force(self) -> None:
        """What was set is what there is: for a successor, and for the resolver."""
        self._tools.journal.put("device", self.path, **self._packed())
        self._dns_in_force = self._tunnel_dns()
        await self._tools.resolver.update()

    def _tunnel_dns(self) -> TunnelDns | None:
        """None in a table of its own: the whole machine would ask servers that few of its programs can reach."""
        place = self._wanted.place
        return self._dns.of_tunnel(self.index, self._name, place.netns) if place.table == MAIN_TABLE else None

    async def _guard(self) -> None:
        """Before a route leads into the tunnel: what must not leave beside it, even once it is gone."""
        wanted, place = self._applicable(), self._wanted.place
        blocked = {
            *(EVERYTHING_IPV4 if self._block_ipv4 else ()),
            *(EVERYTHING_IPV6 if self._block_ipv6 else ()),
            *unreachable(wanted),
        }
        lasting: set[Guard] = {Barrier(network, place) for network in guarded(wanted)} if self._kill_switch else set()
        passing: set[Guard] = {Barrier(network, place) for network in blocked}
        passing.update(Exit(network, place.table) for network in excluded(wanted))
        if self._block_outside_dns and place == COMMON and self._can_block_dns():
            lasting.add(OUTSIDE_DNS)
            passing.add(OUTSIDE_DNS)
        if place.table != MAIN_TABLE:
            (lasting if self._kill_switch else passing).update(self._ways(place.table))
        if self._kill_switch:
            await self._tools.guards.hold(self._session, lasting)
        if passing:
            await self._tools.guards.hold(self.path, passing)
        else:
            await self._unblock()

    def _ways(self, table: int) -> Iterator[Guard]:
        """What leads the chosen packets to the table."""
        selectors = list(self._selectors)
        if self._cgroups:
            mark = cgroup.mark_for(table, self._tools.guards.cgroups)
            selectors.append(Selector(mark, nftables.MARK_BITS))
            yield from (Cgroup(path, table, mark) for path in self._cgroups)
        yield from rules(table, selectors, self.caller.peer.uid)

    def _can_block_dns(self) -> bool:
        try:
            nftables.check()
        except NetworkError as e:
            self._tools.log.warn(f"{self._name}: block-outside-dns has no effect: {e}", path=self.path)
            return False
        return True

    async def _unblock(self) -> None:
        try:
            await self._tools.guards.release(self.path)
        except NetworkError as e:
            self._tools.log.error(f"{self._name}: {e}", path=self.path)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Alone with the kernel device."""
        async with self.caller.working():
            if self._tools.dispatcher.get(self.path) is not self:
                raise ConfigurationRefused("the device was destroyed")
            async with self._all_or_nothing():
                yield

    @asynccontextmanager
    async def _all_or_nothing(self) -> AsyncIterator[None]:
        """Why the kernel device can't be had as wanted is logged."""
        try:
            yield
        except NetworkError as e:
            self._tools.log.error(f"device {self._name} can't be set up: {e}", path=self.path)
            await self._tear_down()
            raise
        for problem in self._device.problems:
            self._tools.log.warn(f"{self._name}: {problem}", path=self.path)

    async def _tear_down(self) -> None:
        applied = list(self._device.applied)
        try:
            await self._device.remove()
        except NetworkError as e:
            self._tools.log.error(f"{self._name}: {e}", path=self.path)
        self._tools.journal.drop("device", self.path)
        await self._unblock()
        if self._dns_in_force:
            self._dns_in_force = None
            await self._tools.resolver.update()
        if applied:
            self._tell([*notify.removed(applied), (NetworkChange.DEVICE_REMOVED, {})])

    # -- for a successor ----------------------------------------------------------------------------
    def _packed(self) -> dict[str, Any]:
        """What `take_over` needs of a device that is established."""
        return {
            "owner": [self.caller.peer.name, self.caller.peer.uid, self.caller.peer.pid],
            "name": self._name,
            "index": self._device.index,
            "home": list(astuple(self._device.home)),
            "layer": self._layer,
            "wanted": pack_wanted(self._wanted),
            "applied": pack_steps(self._device.applied),
            "dns": asdict(self._dns),
            "session": self._session,
            "switches": {name: getattr(self, name) for name in _SWITCHES},
            "selectors": [[s.mark, s.mask, *s.uids] for s in self._selectors],
            "cgroups": self._cgroups,
        }

    def take_over(self, packed: dict[str, Any]) -> None:
        """Be as a predecessor's device was; the kernel still has it."""
        self._name, self._layer = str(packed["name"]), int(packed["layer"])
        self._wanted = unpack_wanted(packed["wanted"])
        self._session = checked.device_name(str(packed["session"]))
        for name in _SWITCHES:
            setattr(self, name, bool(packed["switches"][name]))
        self._selectors = [checked.selector(*map(int, selector)) for selector in packed["selectors"]]
        self._cgroups = [checked.cgroup(str(path)) for path in packed["cgroups"]]
        dns = DnsSettings(**packed["dns"])
        self._dns.add_servers(dns.servers)
        self._dns.add_search_domains(dns.search_domains)
        self._dns.dnssec, self._dns.transport = str(dns.dnssec), str(dns.transport)
        self._dns.set_scope(dns.scope)
        home = Home(*map(str, packed["home"]))
        self._device.take_over(int(packed["index"]), self._name, home, unpack_steps(packed["applied"]))
        self._dns_in_force = self._tunnel_dns()

    def _applicable(self) -> Wanted:
        """What is wanted, as far as the redirect method has netcfg do it."""
        method: RedirectMethod = self._tools.options.redirect_method
        wanted = self._wanted
        if wanted.place != COMMON:
            return wanted
        if method is not RedirectMethod.HOST_ROUTE:
            wanted = replace(wanted, remote=None)
        if method is RedirectMethod.NONE:
            wanted = replace(wanted, reroute_ipv4=False, reroute_ipv6=False, local=(), local_routers=())
        return wanted

    def _tell(self, changes: Iterable[notify.Change]) -> None:
        for change, details in changes:
            self._tools.subscribers.tell(self.path, self._name, change, details)

    def _no_resolver(self, call: Call) -> None:
        if not self._tools.resolver.available:
            self._tools.log.error(f"{call.member} has no effect: there is no resolver back end", path=self.path)
