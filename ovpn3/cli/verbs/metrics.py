"""`metrics`: sessions and services for Prometheus, once, in a file or at an address."""

import ipaddress
import sys
from functools import partial
from pathlib import Path

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.connect import Interrupted, interruptible
from ovpn3.cli.httpserver import address, serving
from ovpn3.cli.metrics import CONTENT_TYPE, metrics
from ovpn3.cli.selection import system_bus
from ovpn3.cli.verbs.install import check_root
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError
from ovpn3.files import write_atomically

PATH = "/metrics"
MODE = 0o644  # the exporter that reads the file is no relative of ours
OPTIONS = (
    Option("listen", "", "[ADDR:]PORT", "Serve them by HTTP, without ADDR to this machine alone"),
    Option("textfile", "", "FILE", "Write them to FILE, for node_exporter", values="files"),
)


async def run(options: Options) -> int:
    check_root()
    mode = options.exclusive("listen", "textfile")
    where = address(options.get("listen")) if mode == "listen" else ("", 0)
    async with system_bus() as bus:
        match mode:
            case "listen":
                await _serve(bus, where)
            case "textfile":
                write_atomically(Path(options.get("textfile")), await metrics(bus), mode=MODE, sync=False)
            case _:
                print(await metrics(bus), end="")
    return 0


async def _serve(bus: Bus, where: tuple[str, int]) -> None:
    try:
        with interruptible():
            async with serving(where, PATH, CONTENT_TYPE, partial(metrics, bus)) as addresses:
                for text in addresses:
                    print(f"Serving http://{text}{PATH}", flush=True)
                    if not ipaddress.ip_address(text.rpartition(":")[0].strip("[]").partition("%")[0]).is_loopback:
                        print("Whoever reaches that address can read it: who uses which server.", file=sys.stderr)
                await bus.lost()
                raise NetworkError("the message bus is gone")
    except Interrupted:
        pass


ABOUT = """\
Shows the sessions of all users and the services in the form that Prometheus reads: once, in a file, or by HTTP until
it is interrupted. Whoever reaches the address can read who uses which server. Only root can do this.

    openvpn3-admin metrics --listen 9176
    openvpn3-admin metrics --textfile /var/lib/node_exporter/openvpn3.prom
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
