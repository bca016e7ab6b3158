"""The whole product in a minute: a user's tunnel to a real server, on machines made of namespaces.

usage: python -m tests.demo, as root. Nothing outside the namespaces is changed.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.account import ALICE
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

_NAME = "demo"
_SIZE = 20_000_000


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce what is done next and say how long it took."""
    print(f"* {what} ... ", end="", flush=True)
    started = time.monotonic()
    yield
    print(f"{(time.monotonic() - started) * 1e3:.0f} ms")


def alice(machine: SystemBusSandbox, *arguments: str) -> str:
    """Run `openvpn3` as an ordinary user."""
    return machine.run(["openvpn3", *arguments], account=ALICE).stdout


def show(title: str, text: str) -> None:
    print(f"\n$ {title}\n{text.rstrip()}\n")


def use(machine: SystemBusSandbox, pair: NamespacePair, server: OpenVpnServer) -> None:
    """What a user does, from the profile to its removal."""
    profile = f"{ALICE.home}/client.ovpn"
    machine.write(profile, server.profile(), account=ALICE)
    with step("alice imports a profile"):
        alice(machine, "config-import", "--config", profile, "--name", _NAME)
    with step("alice starts a session"):
        alice(machine, "session-start", "--config", _NAME)
    for address in (server.TUNNEL_V4, server.TUNNEL_V6):
        with step(f"ping {address}"):
            pair.client.run(["ping", "-c", "1", "-W", "5", address])
    client_v4 = "10.8.0.2"
    for source, sink, address in (
        (pair.client, pair.server, server.TUNNEL_V4),
        (pair.server, pair.client, client_v4),
    ):
        way = "up" if source is pair.client else "down"
        with step(f"{_SIZE / 1e6:.0f} MB {way}, hashes compared"):
            seconds = transfer(source, sink, address, _SIZE)
            print(f"{_SIZE * 8 / seconds / 1e6:.0f} Mbit/s, ", end="")
    show("openvpn3 sessions-list", alice(machine, "sessions-list"))
    show(f"openvpn3 session-stats --config {_NAME}", alice(machine, "session-stats", "--config", _NAME))
    with step("alice disconnects"):
        alice(machine, "session-manage", "--config", _NAME, "--disconnect")
    with step("alice removes the profile"):
        alice(machine, "config-remove", "--config", _NAME, "--force")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        NamespacePair() as pair,
        OpenVpnServer(pair, Pki(Path(directory))) as server,
    ):
        before = pair.client.state()
        with SystemBusSandbox(pair.client, setup=[[BIN / "openvpn3-admin", "install"]]) as machine:
            use(machine, pair, server)
            if pair.client.state() != before:
                raise SystemExit("links, addresses, routes or rules are not what they were before")
            print("* links, addresses, routes and rules are as they were before")


if __name__ == "__main__":
    main()
