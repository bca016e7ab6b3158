"""What is done with a tunnel that is up, and the figures that come of it, named by their unit."""

import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.netns import Namespace, end

SMALL = 64  # octets of payload in a small packet
PINGS, PING_GAP_S = 1000, 0.002
RAMP_S = 0.5  # from a load's start until it counts
PORT = "7007"

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Ends:
    """Where the programs are that use a tunnel."""

    client: Namespace
    server: Namespace


@dataclass(frozen=True)
class Tunnel:
    """One that is up, and how it is to be loaded. `client` is the id of the process whose CPU time counts."""

    pair: Ends
    client: int
    device: str  # the client's end
    client_address: str
    server_address: str
    udpload: Path
    seconds: float
    streams: int


def bulk(tunnel: Tunnel, *, reverse: bool) -> Figures:
    """TCP as fast as it goes."""
    before = cpu_seconds(tunnel.client)
    with iperf(tunnel, tunnel.seconds, reverse=reverse) as load:
        output, _ = load.communicate(timeout=tunnel.seconds + 30)
    cpu = cpu_seconds(tunnel.client) - before
    received = json.loads(output)["end"]["sum_received"]
    gigabytes = received["bytes"] / 1e9
    return {"Gbit/s": gigabytes * 8 / received["seconds"], "CPU s/GB": cpu / gigabytes}


def packets(tunnel: Tunnel, *, reverse: bool) -> Figures:
    """Small UDP packets, more than the tunnel can take.

    The rate is that of arrival. CPU time is per packet that the client has handled: upwards a slower server loses
    some of them.
    """
    source, sink, address = tunnel.pair.client, tunnel.pair.server, tunnel.server_address
    if reverse:
        source, sink, address = sink, source, tunnel.client_address
    with started(sink, [tunnel.udpload, "receive", address, PORT], "ready") as receiver:
        before, taken = cpu_seconds(tunnel.client), packets_taken(tunnel)
        source.run([tunnel.udpload, "send", address, PORT, str(SMALL), str(tunnel.seconds)])
        output, _ = receiver.communicate(timeout=30)
        cpu, taken = cpu_seconds(tunnel.client) - before, packets_taken(tunnel) - taken
    count, seconds = map(float, output.split())
    return {"kpps": count / seconds / 1e3, "CPU ns/packet": cpu * 1e9 / (count if reverse else taken)}


def latency(tunnel: Tunnel) -> Figures:
    """Round trips through a tunnel that does nothing else."""
    return round_trips(tunnel, PINGS)


def latency_under_load(tunnel: Tunnel) -> Figures:
    """Round trips beside TCP upwards as fast as it goes."""
    with iperf(tunnel, tunnel.seconds + 2 * RAMP_S, reverse=False):
        time.sleep(RAMP_S)
        return round_trips(tunnel, int(tunnel.seconds / PING_GAP_S))


def memory(tunnel: Tunnel) -> Figures:
    """The client's process, its share of what it shares included."""
    rollup = Path(f"/proc/{tunnel.client}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    assert found
    return {"MiB": int(found[1]) / 1024}


# In this order: what a client holds after all of it is what counts.
LOADS: dict[str, Callable[[Tunnel], Figures]] = {
    "up": partial(bulk, reverse=False),
    "down": partial(bulk, reverse=True),
    "packets-up": partial(packets, reverse=False),
    "packets-down": partial(packets, reverse=True),
    "ping": latency,
    "ping-loaded": latency_under_load,
    "memory": memory,
}


def cpu_seconds(pid: int) -> float:
    """CPU time of all live threads of a process, to the nanosecond where /proc/PID/stat has 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def packets_taken(tunnel: Tunnel) -> int:
    """Packets of its users that the client has read from the device."""
    (link,) = json.loads(tunnel.pair.client.run(["ip", "-j", "-s", "link", "show", "dev", tunnel.device]).stdout)
    return int(link["stats64"]["tx"]["packets"])


def way(source: Namespace, address: str) -> tuple[str, str]:
    """The device by which an address is reached, and the address it is reached from."""
    (route,) = json.loads(source.run(["ip", "-j", "route", "get", address]).stdout)
    return route["dev"], route["prefsrc"]


@contextmanager
def started(where: Namespace, command: list[str | Path], sign: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that has printed a line with `sign` in it, if that is given; ended at the end of the block."""
    with where.popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout
            while sign and sign not in (line := process.stdout.readline()):
                if not line:
                    raise SystemExit(f"{command[0]} ended before it was ready")
            yield process
        finally:
            end(process)


@contextmanager
def iperf(tunnel: Tunnel, seconds: float, *, reverse: bool) -> Iterator[subprocess.Popen[str]]:
    """A load that has just been started. The congestion control is named: machines differ in their default."""
    address = tunnel.server_address
    load: list[str | Path] = ["iperf3", "--client", address, "--json", "--time", f"{seconds:.0f}"]
    load += ["--congestion", "cubic", "--parallel", str(tunnel.streams), *(["--reverse"] if reverse else [])]
    server: list[str | Path] = ["iperf3", "--server", "--one-off", "--forceflush", "--bind", address]
    with started(tunnel.pair.server, server, "listening"), started(tunnel.pair.client, load) as process:
        yield process


def round_trips(tunnel: Tunnel, count: int) -> Figures:
    seconds = count * PING_GAP_S
    command = ["ping", "-n", "-i", str(PING_GAP_S), "-c", str(count), "-w", f"{seconds + 1:.0f}"]
    output = tunnel.pair.client.run([*command, tunnel.server_address], check=False, timeout=seconds + 30).stdout
    times = [float(ms) * 1e3 for ms in re.findall(r"time=([\d.]+) ms", output)]
    return {"RTT µs median": statistics.median(times), "RTT µs p99": statistics.quantiles(times, n=100)[98]}
