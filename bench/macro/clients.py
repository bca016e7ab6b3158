"""The clients compared, each brought up in a client namespace against the same server."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnProcess, OpenVpnServer

_PROFILE = "bench"


@dataclass(frozen=True)
class Lab:
    """Where a client runs and what it connects to. Our services are installed there and warm."""

    machine: Machine
    server: OpenVpnServer

    @property
    def pair(self) -> NamespacePair:
        return self.machine.pair


@contextmanager
def lab(*, cipher: str = "AES-256-GCM", prepare: Callable[[NamespacePair], None] = lambda pair: None) -> Iterator[Lab]:
    """Two namespaces, a real server in one, a machine for the clients in the other."""
    with tempfile.TemporaryDirectory() as directory, NamespacePair() as pair:
        prepare(pair)
        with (
            OpenVpnServer(pair, Pki(Path(directory)), cipher=cipher) as server,
            SystemBusSandbox(pair.client, setup=[[BIN / "openvpn3-admin", "install"]]) as sandbox,
        ):
            machine = Machine(sandbox, pair)
            machine.bring_in(server.profile(), _PROFILE)
            made = Lab(machine, server)
            with ours(made):
                pass
            yield made


@contextmanager
def openvpn(lab: Lab) -> Iterator[int]:
    """The distribution's client without a kernel data path; yields the id of its process when connected."""
    with OpenVpnProcess(lab.pair.client, [lab.server.profile("disable-dco")]) as process:
        process.wait_connected()
        yield process.pid


@contextmanager
def ours(lab: Lab) -> Iterator[int]:
    """Our client, through all services, as a user starts it from a shell."""
    lab.machine.openvpn3("session-start", "--config", _PROFILE)
    try:
        (pid,) = lab.machine.clients()
        yield pid
    finally:
        lab.machine.disconnect(_PROFILE)


CLIENTS: dict[str, Callable[[Lab], AbstractContextManager[int]]] = {"openvpn": openvpn, "ovpn3": ours}


def cpu_seconds(pid: int) -> float:
    """CPU time of all live threads of a process, to the nanosecond where /proc/PID/stat has 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
