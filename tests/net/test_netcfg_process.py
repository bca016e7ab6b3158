"""The netcfg program: started as root, what it keeps, and how it ends."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovpn3.constants import LOG_NAME, LOG_PATH, NETCFG_NAME, NetworkChange
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus, Match
from ovpn3.dbus.dispatch import Call, DBusObject, Dispatcher, anyone, method
from ovpn3.proxies.netcfg import Device, NetworkConfiguration
from ovpn3_services.netcfg.journal import FILE_NAME, circumstances
from ovpn3_services.netcfg.protect import BUFFER_BYTES
from tests.support import privatebus
from tests.support.account import Account
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns

ACCOUNT = Account("nobody", 65534)
ROOT = Path(__file__).parents[2]
SERVER = "203.0.113.1"


class LogService(DBusObject):
    interface = LOG_NAME

    @method("Attach", "interface:s", rule=anyone)
    async def attach(self, call: Call, interface: str) -> None:
        pass


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the account may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="nc-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def bus_for_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bus that takes every user. `DBUS_SYSTEM_BUS_ADDRESS` names it."""
    monkeypatch.setattr(privatebus, "CONFIG", privatebus.CONFIG.replace("<allow own", '<allow user="*"/><allow own'))
    with privatebus.private_bus(folder) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address


async def log_service(address: str) -> Bus:
    """On a connection of the account's, which is whom netcfg works for."""
    with ACCOUNT.assumed():
        bus = await Bus.connect(address)
    Dispatcher(bus, failed=lambda where, error: None, active=lambda: None).export(LOG_PATH, LogService())
    await bus.request_name(LOG_NAME)
    return bus


@pytest.fixture
async def bus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    """A connection with a log service on it."""
    with bus_for_all(folder, monkeypatch) as address:
        bus = await log_service(address)
        yield bus
        bus.close()
        await bus.lost()


def start(*options: str, account: str = ACCOUNT.name) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ovpn3_services.netcfg", "--user", account, *options],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'services'}"},
        stderr=subprocess.PIPE,
        text=True,
    )


async def started(bus: Bus, *options: str) -> subprocess.Popen[str]:
    named = asyncio.Event()
    await bus.watch_name(NETCFG_NAME, lambda owner: named.set() if owner else None)
    await bus.owner(NETCFG_NAME)
    process = start(*options)
    await asyncio.wait_for(named.wait(), 10)
    return process


def caps(process: subprocess.Popen[str]) -> dict[str, int]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {line[3:6]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def finish(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    process.communicate(timeout=10)
    return process.returncode


async def tunnel(bus: Bus) -> int:
    netcfg = NetworkConfiguration(bus)
    await netcfg.call("ProtectSocket", "sbo", SERVER, False, "/")
    device = await netcfg.create_interface("token")
    await device.set_remote_address(SERVER, ipv6=False)
    await device.set("reroute_ipv4", "b", True)
    await device.add_address("10.8.0.2", 24, "10.8.0.1", ipv6=False)
    fd, _ = await device.establish()
    return fd


async def test_a_tunnel_without_root(net: Namespace, bus: Bus) -> None:
    before = net.state()
    process = await started(bus)
    tun_is_open = os.stat("/dev/net/tun").st_mode & 0o006 == 0o006
    admin = 1 << 12
    assert caps(process) == {"Inh": 0, "Prm": admin | (0 if tun_is_open else 2), "Eff": admin, "Bnd": 0, "Amb": 0}
    fd = await tunnel(bus)
    assert caps(process)["Eff"] == admin
    assert f"{SERVER} via 192.0.2.1 dev wan" in net.run(["ip", "route"]).stdout
    assert finish(process) == 0
    assert net.state() == before
    os.close(fd)


async def test_binding_needs_one_more(net: Namespace, bus: Bus) -> None:
    process = await started(bus, "--redirect-method", "bind-device", "--set-somark", "0x51")
    assert caps(process)["Eff"] == 1 << 12 | 1 << 13
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        for _ in range(2):  # a socket bound already can only be bound again with that capability
            await NetworkConfiguration(bus).protect_socket(s.fileno(), SERVER, ipv6=False)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x51
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * BUFFER_BYTES
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"wan"
    assert finish(process) == 0


async def test_a_successor_removes_what_a_killed_one_left(net: Namespace, bus: Bus) -> None:
    before = net.state()
    process = await started(bus)
    fd = await tunnel(bus)
    finish(process, signal.SIGKILL)
    second = await started(bus)
    assert "10.8.0.2" in net.run(["ip", "address"]).stdout  # the client is alive: nothing was touched
    assert SERVER in net.run(["ip", "route"]).stdout
    assert finish(second) == 0
    os.close(fd)
    third = await started(bus)
    assert net.state() == before
    assert finish(third) == 0


async def interfaces() -> list[str]:
    """Paths of all devices, as root is told."""
    bus = await Bus.connect()
    (paths,) = await NetworkConfiguration(bus).call("FetchInterfaceList")
    bus.close()
    await bus.lost()
    return list(paths)


@pytest.fixture
def state(folder: Path) -> Path:
    """A state directory: the account may write there."""
    path = folder / "state"
    path.mkdir()
    shutil.chown(path, ACCOUNT.name)
    return path


async def test_a_successor_goes_on_where_a_killed_one_ended(net: Namespace, bus: Bus, state: Path) -> None:
    before = net.state()
    process = await started(bus, "--state-dir", str(state))
    netcfg = NetworkConfiguration(bus)
    fd = await tunnel(bus)
    await netcfg.call("NotificationSubscribe", "u", 0xFFFF)
    (path,) = await interfaces()
    device = Device(bus, path)
    while "tentative" in net.run(["ip", "-6", "address"]).stdout:  # until the kernel has looked for a double
        pass
    told, up = await device.get_all(), net.state()
    finish(process, signal.SIGKILL)
    assert (state / FILE_NAME).stat().st_mode & 0o777 == 0o600

    heard: asyncio.Queue[int] = asyncio.Queue()
    await bus.subscribe(Match(NETCFG_NAME, "NetworkChange"), lambda m: heard.put_nowait(m.body[0]))
    second = await started(bus, "--state-dir", str(state))
    assert net.state() == up
    assert await interfaces() == [path]
    assert await device.get_all() == told
    await device.destroy()
    removed = [await asyncio.wait_for(heard.get(), 5) for _ in range(4)]
    assert removed[-1] == NetworkChange.DEVICE_REMOVED
    assert SERVER in net.run(["ip", "route"]).stdout  # held by the process itself, too
    await netcfg.cleanup()
    await netcfg.call("NotificationUnsubscribe", "s", bus.unique_name)
    assert net.state() == before
    assert os.listdir(state) == []
    assert finish(second) == 0
    os.close(fd)


async def test_a_successor_removes_what_has_no_owner(net: Namespace, bus: Bus, state: Path) -> None:
    """Although somebody has the descriptor still."""
    before = net.state()
    process = await started(bus, "--state-dir", str(state))
    with ACCOUNT.assumed():
        caller = await Bus.connect()
    fd = await tunnel(caller)
    finish(process, signal.SIGKILL)
    caller.close()
    await caller.lost()
    second = await started(bus, "--state-dir", str(state))
    assert net.state() == before
    assert os.listdir(state) == []
    assert finish(second) == 0
    os.close(fd)


async def test_a_successor_knows_what_to_hold(net: Namespace, bus: Bus, state: Path) -> None:
    """When another session ends, and when the machine moves."""
    process = await started(bus, "--state-dir", str(state))
    netcfg = NetworkConfiguration(bus)
    await netcfg.call("ProtectSocket", "sbo", SERVER, False, "/")
    device = await netcfg.create_interface("token")
    await device.add_address("10.8.0.2", 24, "", ipv6=False)
    for name in ("reroute_ipv4", "kill_switch", "block_ipv6", "block_local", "block_outside_dns"):
        await device.set(name, "b", True)
    fd, _ = await device.establish()
    up = net.state()
    finish(process, signal.SIGKILL)
    second = await started(bus, "--state-dir", str(state))
    await netcfg.call("ReleaseGuards", "s", "another")
    assert net.state() == up
    await netcfg.call("ProtectSocket", "sbo", SERVER, False, device.path)
    assert net.state() == up
    await device.destroy()
    await netcfg.call("ReleaseGuards", "s", "token")
    assert finish(second) == 0
    os.close(fd)


async def test_what_others_hold_too_stays(net: Namespace, bus: Bus, state: Path) -> None:
    """Although who had it first has no owner any more."""
    process = await started(bus, "--state-dir", str(state))
    with ACCOUNT.assumed():
        caller = await Bus.connect()
    descriptors = []
    for number, connection in enumerate((caller, bus)):
        device = await NetworkConfiguration(connection).create_interface(f"token{number}")
        await device.add_address(f"10.{number}.0.2", 24, "", ipv6=False)
        await device.set("block_outside_dns", "b", True)
        descriptors.append((await device.establish())[0])
    blocked = net.state()["nftables"]
    finish(process, signal.SIGKILL)
    caller.close()
    await caller.lost()
    second = await started(bus, "--state-dir", str(state))
    assert len(await interfaces()) == 1
    assert net.state()["nftables"] == blocked
    assert finish(second) == 0
    assert net.state()["nftables"] == []
    for fd in descriptors:
        os.close(fd)


STRANGE = """
[]
["device"]
["device", "/x", {}]
["device", 1, {}]
["device", "/net/openvpn/v3/netcfg/1_x", {"owner": [":1.0", 0, 1], "index": 1, "name": "lo"}]
["device", "/net/openvpn/v3/netcfg/2_x", {"owner": [":1.0", 0, 1], "index": %d, "name": "wan"}]
["device", "/net/openvpn/v3/netcfg/3_x", {"owner": [], "index": "2", "name": null}]
["bypass", "0.0.0.0/0", {"hop": [%d, "192.0.2.1"], "holders": {}}]
["bypass", "192.0.2.0/24", {"hop": [%d, ""], "holders": {}}]
["bypass", "everywhere", {"hop": [], "holders": {}}]
["subscriber", ":1.0", {"mask": "all"}]
["subscriber", "x", {}]
\0
"""


@pytest.mark.parametrize("where", [{}, {"bus": "another"}])
async def test_a_journal_that_nobody_wrote(net: Namespace, bus: Bus, state: Path, where: dict[str, str]) -> None:
    """It can't make us touch what isn't ours; one of other circumstances isn't read."""
    before = net.state()
    wan = socket.if_nametoindex("wan")
    (guid,) = await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetId")
    (state / FILE_NAME).write_text(json.dumps(circumstances(guid) | where) + STRANGE % (wan, wan, wan))
    shutil.chown(state / FILE_NAME, ACCOUNT.name)
    process = await started(bus, "--state-dir", str(state))
    assert net.state() == before
    assert await interfaces() == []
    assert finish(process) == 0
    assert net.state() == before


async def test_without_a_bus_nothing_stays(net: Namespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = net.state()
    with bus_for_all(folder, monkeypatch) as address:
        bus = await log_service(address)
        process = await started(bus)
        fd = await tunnel(bus)
    assert await asyncio.to_thread(process.wait, 10) == 2
    process.communicate()
    assert net.state() == before
    await bus.lost()
    os.close(fd)


async def test_the_settings_file(bus: Bus, net: Namespace, folder: Path) -> None:
    (folder / "netcfg.json").write_text('{\n  // how\n  "redirect_method": "bind-device", "log_level": "6"\n}\n')
    process = await started(bus, "--state-dir", str(folder), "--log-level", "2")
    netcfg = NetworkConfiguration(bus)
    assert caps(process)["Eff"] == 1 << 12 | 1 << 13
    assert await netcfg.get("log_level") == 6
    assert await netcfg.get("config_file") == str(folder / "netcfg.json")
    assert finish(process) == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--redirect-method", "magic"], 2, "--redirect-method can't be 'magic'"),
        (["--set-somark", "-2"], 2, "a mark is"),
        (["--systemd-resolved", "--resolv-conf", "/etc/resolv.conf"], 2, "exclude each other"),
        (["--user", "no-such-account"], 3, "there is no account"),
    ],
)
def test_refusals(options: list[str], code: int, text: str) -> None:
    process = start(*options)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert text in errors


def test_root_only() -> None:
    process = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "ovpn3_services.netcfg"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'services'}"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 3
    assert process.stderr == "openvpn3-service-netcfg: must be started as root\n"
