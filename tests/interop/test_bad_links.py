"""Links that lose, repeat, reorder, delay and damage what they carry: handshake, renegotiation and data of a tunnel."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.netns import Namespace, end
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
PORT = 1200
StartServer = Callable[..., OpenVpnServer]
StartLink = Callable[..., "BadLink"]
HARMS = {
    "lossy": "--loss 0.2",
    "repeating": "--duplicate 0.3",
    "reordering": "--reorder 0.3",
    "slow": "--delay 0.15",
    "damaging": "--corrupt 0.1",
    "cutting": "--truncate 0.1",
    "all": "--loss 0.1 --duplicate 0.1 --reorder 0.1 --delay 0.05 --corrupt 0.05 --truncate 0.05",
}
EACH = [
    pytest.param(harm, seed, marks=[] if seed == 1 and harm in ("lossy", "all") else [pytest.mark.full])
    for harm in HARMS
    for seed in range(1, 11)
]


class BadLink:
    """Before a server: the client talks to `PORT`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def become(self, harm: str = "") -> None:
        """Other options, as of the command line; none is a clean link."""
        assert self._process.stdin
        self._process.stdin.write(f"{harm or '--delay 0'}\n")
        self._process.stdin.flush()


@pytest.fixture
def start_link(machine: Machine) -> Iterator[StartLink]:
    with ExitStack() as stack:

        def start(harm: str, *, proto: str = "udp", seed: int = 1) -> BadLink:
            to = f"{machine.pair.SERVER_V4}:1194"
            command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.impair", "--to", to]
            command += ["--listen", str(PORT), "--seed", str(seed), *harm.split()]
            command += ["--stream"] if proto == "tcp" else []
            process = machine.pair.server.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(end, process)
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            return BadLink(process)

        yield start


def profile(server: OpenVpnServer, *lines: str) -> str:
    return server.profile(*lines).replace(" 1194 ", f" {PORT} ")


def damaged(net: Namespace) -> list[str]:
    """Counters of packets with wrong headers or checksums that aren't zero."""
    counters = [
        "IpInHdrErrors",
        "IpExtInCsumErrors",
        "IcmpInErrors",
        "IcmpInCsumErrors",
        "UdpInCsumErrors",
        "TcpInCsumErrors",
    ]
    lines = net.run(["nstat", "-asz", *counters]).stdout.splitlines()[1:]
    assert len(lines) == len(counters)
    return [line for line in lines if line.split()[1] != "0"]


@pytest.mark.parametrize(("harm", "seed"), EACH)
def test_handshake_and_renegotiation(
    machine: Machine, start_server: StartServer, start_link: StartLink, harm: str, seed: int
) -> None:
    # Without a digest of their own, control packets lean on UDP's checksum, which these links make anew.
    plain = seed % 2 == 0 and not re.search("corrupt|truncate", HARMS[harm])
    server = start_server(reneg_sec=4, wrap="none" if plain else "tls-crypt")
    start_link(HARMS[harm], seed=seed)
    machine.connect(profile(server, "server-poll-timeout 60"))
    sent = answered = 0
    while server.log().count("VERIFY OK: depth=0") < 2:  # of the handshake, and of new keys
        assert sent < 400, "no new keys within 40 s"
        command = ["ping", "-i", "0.1", "-c", "20", "-W", "2", server.TUNNEL_V4]
        answered += machine.pair.client.run(command, check=False).stdout.count(" time=")
        sent += 20
    assert answered >= sent / 3
    assert "N_RECONNECT" not in machine.openvpn3("session-stats", "--config", "vpn").stdout
    assert damaged(machine.pair.client) == []


def test_a_stream_in_pieces_with_a_long_way(machine: Machine, start_server: StartServer, start_link: StartLink) -> None:
    server = start_server(proto="tcp", reneg_sec=4)
    start_link("--delay 0.15", proto="tcp")
    machine.connect(profile(server))
    pings = machine.pair.client.run(["ping", "-i", "0.1", "-c", "70", "-W", "5", server.TUNNEL_V4]).stdout
    assert pings.count(" time=") == 70
    assert server.log().count("VERIFY OK: depth=0") >= 2
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, 1_000_000)


def test_what_is_damaged_never_reaches_the_tun(
    machine: Machine, start_server: StartServer, start_link: StartLink
) -> None:
    """A transfer compares the hashes of both ends."""
    server = start_server()
    link = start_link("")
    machine.connect(profile(server))
    link.become("--corrupt 0.02 --truncate 0.01 --duplicate 0.02 --reorder 0.02")
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, 1_000_000)
    transfer(machine.pair.server, machine.pair.client, "10.8.0.2", 1_000_000)
    assert damaged(machine.pair.client) == []
    statistics_ = machine.openvpn3("session-stats", "--config", "vpn").stdout
    assert "DECRYPT_ERROR" in statistics_
    assert "REPLAY_ERROR" in statistics_


@pytest.mark.full
def test_how_long_it_takes_with_some_loss(machine: Machine, start_server: StartServer, start_link: StartLink) -> None:
    """On a way of 100 ms there and back: at most three times as long if one packet of twenty is lost."""
    server = start_server()
    link = start_link("")
    machine.bring_in(profile(server), "vpn")
    took: dict[str, list[float]] = {}
    for harm in ("--delay 0.05", "--delay 0.05 --loss 0.05"):
        link.become(harm)
        for _ in range(21):
            begin = time.monotonic()
            machine.openvpn3("session-start", "--config", "vpn")
            took.setdefault(harm, []).append(time.monotonic() - begin)
            machine.disconnect()
    clean, lossy = (statistics.median(times) for times in took.values())
    print(f"clean {clean:.2f} s, with loss {lossy:.2f} s, {lossy / clean:.2f} times")
    assert lossy <= 3 * clean


@pytest.mark.option("replay-window")
@pytest.mark.parametrize(("line", "refused"), [("", False), ("replay-window 0", True), ("replay-window 256 5", False)])
def test_how_much_disorder_is_taken(
    machine: Machine, start_server: StartServer, start_link: StartLink, line: str, refused: bool
) -> None:
    link = start_link("")
    machine.connect(profile(start_server(), line))
    link.become("--reorder 0.3")
    machine.pair.server.run(["ping", "-f", "-q", "-c", "200", "10.8.0.2"], check=False)
    assert ("REPLAY_ERROR" in machine.openvpn3("session-stats", "--config", "vpn").stdout) == refused


def datagrams(net: Namespace) -> int:
    """How many have been read inside until now."""
    return int(net.run(["nstat", "-asz", "UdpInDatagrams"]).stdout.splitlines()[1].split()[1])


@pytest.mark.option("explicit-exit-notify")
@pytest.mark.parametrize(("line", "least", "most"), [("", 1, 2), ("explicit-exit-notify 1", 3, 20)])
def test_how_often_good_bye_is_said(
    machine: Machine, start_server: StartServer, start_link: StartLink, line: str, least: int, most: int
) -> None:
    """Nobody hears it; the bad link, which does, is at the server's end."""
    link = start_link("")
    machine.connect(profile(start_server(), line))
    link.become("--loss 1")
    before = datagrams(machine.pair.server)
    machine.disconnect()
    assert least <= datagrams(machine.pair.server) - before <= most
