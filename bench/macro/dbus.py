"""What a front-end waits for: reads of a session and of a profile, imports, the whole of session-start.

The caller is the distribution's python3-dbus, one call at a time, beside what the bus alone takes.

usage: python -m bench.macro.dbus [--calls N]
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.macro.report import columns, machine, number
from tests.support.account import ALICE
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

IMPORTS = 200

# Runs as the user, with the profile on its input; seconds as JSON: of each call by name, of all imports together.
CALLER = """
import dbus, json, sys, time
calls, imports = int(sys.argv[1]), int(sys.argv[2])
profile = sys.stdin.read()
bus = dbus.SystemBus()
P = "org.freedesktop.DBus.Properties"
def root(name):
    name = "net.openvpn.v3." + name
    return name, dbus.Interface(bus.get_object(name, "/" + name.replace(".", "/"), introspect=False), name)
sessions, manager = root("sessions")
configs, library = root("configuration")
session = bus.get_object(sessions, manager.FetchAvailableSessions()[0], introspect=False)
config = bus.get_object(configs, library.FetchAvailableConfigs()[0], introspect=False)
daemon = bus.get_object("org.freedesktop.DBus", "/org/freedesktop/DBus", introspect=False)
def timed(call):
    call()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times
reads = {
    "the bus itself": lambda: daemon.GetId(dbus_interface="org.freedesktop.DBus"),
    "Peer.Ping of a service": lambda: session.Ping(dbus_interface="org.freedesktop.DBus.Peer"),
    "session status": lambda: session.Get(sessions, "status", dbus_interface=P),
    "session GetAll": lambda: session.GetAll(sessions, dbus_interface=P),
    "profile name": lambda: config.Get(configs, "name", dbus_interface=P),
    "profile GetAll": lambda: config.GetAll(configs, dbus_interface=P),
}
found = {name: timed(call) for name, call in reads.items()}
began = time.perf_counter()
paths = [library.Import("one of %d" % n, profile, False, False) for n in range(imports)]
found["imports"] = [time.perf_counter() - began]
for path in paths:
    dbus.Interface(bus.get_object(configs, path, introspect=False), configs).Remove()
print(json.dumps(found))
"""


def measure(here: Machine, profile: str, calls: int) -> list[list[str]]:
    """Rows of the table: figure, median, 99th percentile."""
    here.connect(profile)
    argv = ["/usr/bin/python3", "-c", CALLER, str(calls), str(IMPORTS)]
    found: dict[str, list[float]] = json.loads(here.sandbox.run(argv, account=ALICE, input=profile, timeout=300).stdout)
    (imports,) = found.pop("imports")
    here.disconnect()
    starts, bare = [], []
    for _ in range(10):
        began = time.perf_counter()
        here.openvpn3("session-start", "--config", "vpn")
        starts.append(time.perf_counter() - began)
        here.disconnect()
        began = time.perf_counter()
        here.openvpn3("version")
        bare.append(time.perf_counter() - began)
    rows = [[f"{name}, ms", *_spread(times)] for name, times in found.items()]
    rows.append([f"{IMPORTS} imports, s", number(imports), ""])
    rows.append(["openvpn3 session-start, ms", *_spread(starts)])
    rows.append(["openvpn3 version, ms", *_spread(bare)])
    return rows


def _spread(seconds: list[float]) -> tuple[str, str]:
    return number(statistics.median(seconds) * 1e3), number(statistics.quantiles(seconds, n=100)[98] * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="of each kind")
    arguments = parser.parse_args()
    setup: list[list[str | Path]] = [[BIN / "openvpn3-admin", "install"]]
    with (
        TemporaryDirectory() as directory,
        NamespacePair() as pair,
        SystemBusSandbox(pair.client, setup=setup) as sandbox,
        OpenVpnServer(pair, Pki(Path(directory))) as server,
    ):
        rows = measure(Machine(sandbox, pair), server.profile(), arguments.calls)
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    print(columns([["figure", "median", "p99"], *rows]))


if __name__ == "__main__":
    main()
