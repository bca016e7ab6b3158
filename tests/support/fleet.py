"""Many tunnels of one user at once, started over D-Bus by one process that pays for no front-end's start."""

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ovpn3.cli.connect import bring_up, connect
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.attention import Slot
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager
from tests.support.machine import CLIENT, SERVICES, Machine, comm, command, read

ACCOUNT = "openvpn"


@dataclass(frozen=True)
class Started:
    """A tunnel that is up, and how long that took from NewTunnel on."""

    session: Session
    device: str
    seconds: float


async def bring_in(bus: Bus, profile: str, count: int) -> list[Configuration]:
    """That many profiles with the same text: a user can have one session of each."""
    manager = ConfigurationManager(bus)
    return [await manager.import_profile(f"fleet-{number}", profile) for number in range(count)]


async def start(profile: Configuration, timeout_s: float = 30.0) -> Started:
    began = time.monotonic()
    session = await SessionManager(profile.bus).new_tunnel(profile.path)
    await bring_up(session, lambda: connect(session, no_answer), no_answer, timeout_s)
    seconds = time.monotonic() - began
    return Started(session, await session.get("device_name"), seconds)


async def end(tunnels: Iterable[Started]) -> None:
    await asyncio.gather(*(tunnel.session.disconnect() for tunnel in tunnels))


async def ping(machine: Machine, tunnels: Iterable[Started], address: str) -> list[str]:
    """Devices through which `address` doesn't answer."""

    async def answers(device: str) -> bool:
        argv = [
            "ip",
            "netns",
            "exec",
            machine.pair.client.name,
            "ping",
            "-n",
            "-c",
            "1",
            "-W",
            "5",
            "-I",
            device,
            address,
        ]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
        return await process.wait() == 0

    devices = [tunnel.device for tunnel in tunnels]
    answered = await asyncio.gather(*map(answers, devices))
    return [device for device, good in zip(devices, answered, strict=True) if not good]


async def no_answer(slot: Slot) -> str:
    raise AssertionError(f"the profile asks for {slot.name}")


def processes(machine: Machine) -> dict[int, str]:
    """All processes of the services' account by id, and what each is."""
    uid = machine.sandbox.run(["id", "-u", ACCOUNT]).stdout.strip()
    found = {}
    for pid in machine.pair.client.pids():
        if re.search(rf"^Uid:\s+{uid}\s", read(pid, "status"), re.MULTILINE):
            service = re.search(f"{SERVICES}(\\w+)", " ".join(command(pid)))
            found[pid] = comm(pid) if comm(pid) == CLIENT or service is None else SERVICES + service[1]
    return found


def pss_mib(pid: int) -> float:
    """Proportional set size: private memory, and the process's share of what it shares."""
    return _memory_mib(pid, "Pss")


def anonymous_mib(pid: int) -> float:
    """Memory that no file stands behind. A leak shows in it, and what other processes share of libraries doesn't."""
    return _memory_mib(pid, "Anonymous")


def _memory_mib(pid: int, key: str) -> float:
    found = re.search(rf"^{key}: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@dataclass(frozen=True)
class Size:
    anonymous_mib: float
    descriptors: int


def sizes(machine: Machine, *, client: bool = False) -> dict[str, Size]:
    """Of each service, by name; with `client` of the one client too."""
    found = {name: pid for pid, name in processes(machine).items() if client or name != "openvpn3-client"}
    return {name: Size(anonymous_mib(pid), descriptors(pid)) for name, pid in found.items()}


async def use(bus: Bus, profile: str, *, imports: int, sessions: int) -> None:
    """Import and remove a profile so many times; start and end a session so many times."""
    for _ in range(imports):
        await (await bring_in(bus, profile, 1))[0].remove()
    (kept,) = await bring_in(bus, profile, 1)
    for _ in range(sessions):
        await end([await start(kept)])
    await kept.remove()
