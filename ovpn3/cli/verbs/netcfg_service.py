"""`netcfg-service`: who listens to network changes, and the service's settings."""

import sys

from ovpn3.cli import servicefile
from ovpn3.cli.command import JSON, Command, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.servicefile import ServiceFile
from ovpn3.cli.text import one_line, to_json
from ovpn3.cli.verbs.install import check_root
from ovpn3.constants import NetworkChange
from ovpn3.errors import RemoteError
from ovpn3.proxies.netcfg import NetworkConfiguration

FILE = ServiceFile(
    {
        "log-level": "log_level",
        "log-file": "log_file",
        "idle-exit": "idle_exit",
        "resolv-conf": "resolv_conf_file",
        "systemd-resolved": "systemd_resolved",
        "redirect-method": "redirect_method",
        "set-somark": "set_somark",
        "netns-allowed": "netns_allowed",
        "route-tables-allowed": "route_tables_allowed",
        "marks-allowed": "marks_allowed",
    },
    ("systemd_resolved",),
    ("resolv_conf_file", "systemd_resolved"),
    ("netns_allowed", "route_tables_allowed", "marks_allowed"),
    {
        "idle_exit": "Idle-Exit timer",
        "resolv_conf_file": "resolv-conf file",
        "systemd_resolved": "Systemd-resolved in use",
        "redirect_method": "Server route redirection mode",
        "set_somark": "Netfilter SO_MARK",
    },
)
OPTIONS = (
    Option("list-subscribers", help="List who listens to network changes"),
    Option("unsubscribe", "", "BUSNAME", "End somebody's subscription", values="subscribers"),
    Option("release", help="End the kill switches of all sessions"),
    JSON,
    *FILE.options(),
)
UNREACHABLE = 3  # exit code
CHANGES = {
    NetworkChange.DEVICE_ADDED: "Device Added",
    NetworkChange.DEVICE_REMOVED: "Device Removed",
    NetworkChange.IPADDR_ADDED: "IP Address Added",
    NetworkChange.IPADDR_REMOVED: "IP Address Removed",
    NetworkChange.ROUTE_ADDED: "Route Added",
    NetworkChange.ROUTE_REMOVED: "Route Removed",
    NetworkChange.ROUTE_EXCLUDED: "Route Excluded",
    NetworkChange.DNS_SERVER_ADDED: "DNS Server Added",
    NetworkChange.DNS_SERVER_REMOVED: "DNS Server Removed",
    NetworkChange.DNS_SEARCH_ADDED: "DNS Search domain Added",
    NetworkChange.DNS_SEARCH_REMOVED: "DNS Search domain Removed",
}


async def run(options: Options) -> int:
    check_root()
    mode = options.exclusive("list-subscribers", "unsubscribe", "release", *servicefile.MODES)
    if mode in servicefile.MODES and options.has("config-file-override"):
        return FILE.edit("", options)
    async with system_bus() as bus:
        netcfg = NetworkConfiguration(bus)
        try:
            file = str(await netcfg.get("config_file"))
        except RemoteError as e:
            print(f"the network service can't be reached: {one_line(e)}", file=sys.stderr)
            return UNREACHABLE
        match mode:
            case "list-subscribers":
                await _list(netcfg, options.has("json"))
            case "unsubscribe":
                await netcfg.unsubscribe(options.get(mode))
                print(f"{one_line(options.get(mode))} is not told of network changes any more")
            case "release":
                await netcfg.release_guards()
                print("All kill switches are released")
            case "":
                pass
            case _:
                return FILE.edit(file, options)
    return 0


async def _list(netcfg: NetworkConfiguration, as_json: bool) -> None:
    found = await netcfg.subscribers()
    if as_json:
        fields = ("bus_name", "pid", "mask", "changes")
        rows = [(name, await netcfg.bus.pid_of(name), mask, _changes(mask)) for name, mask in found]
        return print(to_json([dict(zip(fields, row, strict=True)) for row in rows]))
    if not found:
        print("Nobody listens to network changes")
    for name, mask in found:
        print(f"- {one_line(name)} (PID {await netcfg.bus.pid_of(name) or 'unknown'})")
        for text in _changes(mask):
            print(f"    {text}")


def _changes(mask: int) -> list[str]:
    return [text for change, text in CHANGES.items() if mask & change]


ABOUT = """\
Shows who is told of changes to the network, or shows and edits the settings file of the service: `netcfg.json` in the
state directory, which it reads when it starts the next time. `--release` makes reachable again what kill switches have
closed. The exit code is 3 if the service can't be reached. Only root can do this.

    openvpn3-admin netcfg-service --config-set systemd-resolved true
"""
COMMAND = Command(run, OPTIONS, "[VALUE]", about=ABOUT)
