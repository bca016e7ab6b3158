"""What the objects of netcfg work with."""

from dataclasses import dataclass

from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.net.bypass import Bypasses
from ovpn3.net.guard import Guards
from ovpn3.net.namespace import Namespaces
from ovpn3.net.netlink import Netlink
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.log import Log
from ovpn3_services.netcfg.journal import Journal
from ovpn3_services.netcfg.notify import Subscribers
from ovpn3_services.netcfg.resolver import Resolver


@dataclass(frozen=True)
class Tools:
    """What all devices share."""

    netlink: Netlink
    namespaces: Namespaces
    bypasses: Bypasses
    guards: Guards
    dispatcher: Dispatcher
    subscribers: Subscribers
    journal: Journal
    resolver: Resolver
    log: Log
    options: Options
