"""The clients compared, each brought up in a client namespace against the same server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.netns import NamespacePair
from tests.support.server import OpenVpnProcess, OpenVpnServer


@dataclass(frozen=True)
class Lab:
    """Where a client runs and what it connects to."""

    pair: NamespacePair
    server: OpenVpnServer


@contextmanager
def openvpn(lab: Lab) -> Iterator[int]:
    """The distribution's client without a kernel data path; yields the id of its process when connected."""
    with OpenVpnProcess(lab.pair.client, [lab.server.profile("disable-dco")]) as process:
        process.wait_connected()
        yield process.pid


CLIENTS: dict[str, Callable[[Lab], AbstractContextManager[int]]] = {"openvpn": openvpn}


def cpu_seconds(pid: int) -> float:
    """CPU time of all live threads of a process, to the nanosecond where /proc/PID/stat has 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
