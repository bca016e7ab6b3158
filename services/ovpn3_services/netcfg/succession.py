"""Going on where a killed predecessor ended: its journal says what there was, bus and kernel what there still is.

A device stays if its owner is on the bus and the kernel has it, a route around the tunnels if one of its holders
stays, a subscription if the subscriber does. What has lost its owner is removed.
"""

import re
from ipaddress import ip_address, ip_network

from ovpn3.constants import NETCFG_PATH
from ovpn3.dbus.peers import Peer
from ovpn3.errors import AccessDenied, NetworkError, Ovpn3Error
from ovpn3.net.link import remove_link, tun_indexes, tun_name
from ovpn3.net.namespace import OURS, Home, is_name
from ovpn3.net.plan import Network
from ovpn3.net.route import Hop, our_routes, remove_route
from ovpn3_services.netcfg.journal import Entry, unpack_guards
from ovpn3_services.netcfg.objects import NetCfg
from ovpn3_services.netcfg.tools import Tools

# How an entry that we haven't written shows.
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, Ovpn3Error)

_DEVICE_PATH = re.compile(rf"{NETCFG_PATH}/\d+_\w+", re.ASCII)


class Succession:
    def __init__(self, root: NetCfg, tools: Tools) -> None:
        self._root, self._tools = root, tools

    async def begin(self) -> None:
        """Take over all that is alive, and remove the rest."""
        for kind, take_over in (
            ("device", self._device),
            ("bypass", self._bypass),
            ("subscriber", self._subscriber),
            ("guard", self._guard),
        ):
            for entry in self._tools.journal.entries(kind):
                try:
                    await take_over(entry)
                except DAMAGED as e:
                    self._tools.journal.drop(kind, entry.key)
                    self._tools.log.debug(f"{kind} {entry.key} of an earlier run is not taken over: {e}")
        await self._release_guards()

    async def _device(self, entry: Entry) -> None:
        values = entry.values
        owner, uid, pid = values["owner"]
        index, home = int(values["index"]), Home(*map(str, values["home"]))
        if not _DEVICE_PATH.fullmatch(entry.key) or not (home == OURS or is_name(home.name)):
            raise NetworkError("no device of ours")
        async with self._tools.namespaces.inside(home) as netlink:
            if tun_name(netlink, index) != values["name"]:
                raise NetworkError("there is no such device any more")
        try:
            peer = await self._tools.dispatcher.peers.peer(owner)
            if peer != Peer(owner, uid, pid):
                raise AccessDenied(f"{owner} is another process")
            await self._root.take_over_device(entry.key, peer, values)
        except DAMAGED:
            async with self._tools.namespaces.inside(home) as netlink:
                await remove_link(netlink, index)
            raise
        self._tools.log.info(f"{values['name']} taken over from an earlier run", path=entry.key)

    async def _bypass(self, entry: Entry) -> None:
        network = ip_network(entry.key)
        hop = await self._hop(network, entry)
        holders = {h: frozenset(avoid) for h, avoid in entry.values["holders"].items() if await self._holds(h)}
        if holders:
            self._tools.bypasses.take_over(network, hop, holders)
        else:
            await remove_route(self._tools.netlink, network, hop)
            raise AccessDenied("nobody needs it any more")

    async def _hop(self, network: Network, entry: Entry) -> Hop:
        """Where our route leads: as noted, unless we were killed before we had moved it there."""
        index, gateway = entry.values["hop"]
        noted = Hop(index, ip_address(gateway) if gateway else None)
        there = [hop for found, hop in await our_routes(self._tools.netlink) if found == network]
        if noted in there:
            return noted
        tunnels = await tun_indexes(self._tools.netlink)
        for hop in there:
            if hop.index not in tunnels:
                return hop
        raise NetworkError("there is no such route any more")

    async def _holds(self, holder: str) -> bool:
        """Whether a holder, the path of a device or the unique name of a process, is alive."""
        if holder.startswith("/"):
            return self._root.has_device(holder)
        try:
            await self._root.take_over_protection(await self._tools.dispatcher.peers.peer(holder))
        except AccessDenied:
            return False
        return True

    async def _guard(self, entry: Entry) -> None:
        self._tools.guards.take_over(entry.key, unpack_guards(entry.values["guards"]))

    async def _release_guards(self) -> None:
        """A kill switch outlives its session unless that ended in order; what a device blocked goes with it. Only now:
        others may hold the same."""
        for holder in list(self._tools.guards.held):
            if holder.startswith("/") and not self._root.has_device(holder):
                try:
                    await self._tools.guards.release(holder)
                except NetworkError as e:
                    self._tools.log.error(f"{holder} of an earlier run: {e}")
        try:
            self._tools.guards.resume()
        except NetworkError as e:
            self._tools.log.error(str(e))

    async def _subscriber(self, entry: Entry) -> None:
        peer = await self._tools.dispatcher.peers.peer(entry.key)
        await self._root.take_over_subscription(peer, entry.values["mask"])
