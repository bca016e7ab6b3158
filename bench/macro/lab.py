"""Where a tunnel is measured: two machines made of namespaces, a link, the servers and the clients that meet there."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine, command
from tests.support.netns import Namespace, NamespacePair, run
from tests.support.original import Original
from tests.support.ownserver import OwnServer
from tests.support.pki import Pki
from tests.support.server import OpenVpnProcess, OpenVpnServer, Proto

Server = OpenVpnServer | OwnServer
_PROFILE = "bench"
_INNER = "bench-netns"  # the profile, and what the client's machine calls the namespace
_SETTINGS = "/var/lib/openvpn3/netcfg.json"


@dataclass(frozen=True)
class Setting:
    """What all tunnels of a run have in common. Offloads and threads are values of the overrides of our client."""

    cipher: str = "AES-256-GCM"
    proto: Proto = "udp"
    offloads: str = "auto"
    threads: int = 1
    server_offloads: str = "auto"  # of our own server
    server_threads: int = 1
    link_offloads: bool = True  # veth hands large buffers over uncut
    original: Path | None = None  # a tree that has the client whose place ours takes


@dataclass(frozen=True)
class Lab:
    """Our services are installed on the client's machine and warm; `udpload` is the program of that name, built.

    `inner` is a network namespace on that machine, for tunnels that are put into one. `original` is there if the
    setting names its tree.
    """

    machine: Machine
    inner: Namespace
    pki: Pki
    setting: Setting
    udpload: Path
    original: Original | None = None

    @property
    def pair(self) -> NamespacePair:
        return self.machine.pair


@contextmanager
def lab(setting: Setting) -> Iterator[Lab]:
    with (
        tempfile.TemporaryDirectory() as directory,
        NamespacePair() as pair,
        Namespace(f"{pair.client.name}-in") as inner,
    ):
        pki, udpload = Pki(Path(directory)), Path(directory) / "udpload"
        run(["gcc", "-O2", "-o", udpload, Path(__file__).with_name("udpload.c")])
        if not setting.link_offloads:
            cut_and_join(pair)
        admin = BIN / "openvpn3-admin"
        settings: list[str | Path] = [admin, "netcfg-service", "--config-file-override", _SETTINGS]
        allow = [*settings, "--config-set", "netns-allowed", _INNER]
        # The machine has names of its own for namespaces; one that it hasn't made it knows by a process in it.
        resident = inner.popen(["sleep", "infinity"])
        attach: list[str | Path] = ["ip", "netns", "attach", _INNER, str(resident.pid)]
        setup: list[list[str | Path]] = [[admin, "install"], allow, attach]
        with SystemBusSandbox(pair.client, setup=setup) as sandbox, ExitStack() as stack:
            here = Lab(Machine(sandbox, pair), inner, pki, setting, udpload)
            with own_server(here) as server:
                overrides = ["--offloads", setting.offloads, "--data-threads", str(setting.threads)]
                for name, place in ((_PROFILE, []), (_INNER, ["--netns", _INNER])):
                    here.machine.bring_in(server.profile(), name)  # the other server's is the same
                    here.machine.openvpn3("config-manage", "--config", name, *overrides, *place)
                    with ours(here, server, name):
                        pass
                if setting.original:
                    original = Original(sandbox, setting.original)
                    stack.enter_context(original.own_bus())
                    original.write("/tmp/profile", server.profile())
                    original.run("openvpn3", "config-import", "--config", "/tmp/profile", "--name", _PROFILE)
                    here = replace(here, original=original)
                    with theirs(here, server):
                        pass
            yield here


def cut_and_join(pair: NamespacePair) -> None:
    """Make the kernel cut large buffers before the link and join them after it, as with a real card."""
    for side in (pair.client, pair.server):
        features = ["tx", "off", "tso", "off", "tx-udp-segmentation", "off", "gro", "on"]
        side.run(["ethtool", "-K", "eth0", *features])


def openvpn_server(here: Lab) -> OpenVpnServer:
    return OpenVpnServer(here.pair, here.pki, cipher=here.setting.cipher, proto=here.setting.proto)


def own_server(here: Lab) -> OwnServer:
    setting = here.setting
    return OwnServer(
        here.pair,
        here.pki,
        cipher=setting.cipher,
        proto=setting.proto,
        offloads=setting.server_offloads,
        threads=setting.server_threads,
    )


@contextmanager
def openvpn(here: Lab, server: Server) -> Iterator[int]:
    """The distribution's client without a kernel data path; yields the id of its process when connected."""
    with OpenVpnProcess(here.pair.client, [server.profile("disable-dco")]) as process:
        process.wait_connected()
        yield process.pid


@contextmanager
def ours(here: Lab, server: Server, profile: str = _PROFILE) -> Iterator[int]:
    """Our client, through all services, as a user starts it from a shell."""
    here.machine.openvpn3("session-start", "--config", profile)
    try:
        (pid,) = here.machine.clients()
        yield pid
    finally:
        here.machine.disconnect(profile)


@contextmanager
def theirs(here: Lab, server: Server) -> Iterator[int]:
    """OpenVPN 3 Linux, through all of its services, as a user starts it from a shell."""
    assert here.original, "no tree was given"
    here.original.run("openvpn3", "session-start", "--config", _PROFILE)
    try:
        (pid,) = (pid for pid in here.pair.client.pids() if command(pid)[0].endswith("/openvpn3-service-client"))
        yield pid
    finally:
        here.original.run("openvpn3", "session-manage", "--config", _PROFILE, "--disconnect")


@dataclass(frozen=True)
class Arm:
    """One of the tunnels compared. Its server starts before it is timed, and only while it is its turn."""

    client: Callable[[Lab, Server], AbstractContextManager[int]]
    server: Callable[[Lab], Server]
    users: Callable[[Lab], Namespace] = lambda here: here.pair.client


# Named client-server; the first one of a run is what the others are compared to.
ARMS = {
    "openvpn-openvpn": Arm(openvpn, openvpn_server),
    "ovpn3-openvpn": Arm(ours, openvpn_server),
    "ovpn3-ovpn3": Arm(ours, own_server),
    "openvpn-ovpn3": Arm(openvpn, own_server),
    "original-openvpn": Arm(theirs, openvpn_server),
    "original-ovpn3": Arm(theirs, own_server),
    "netns-ovpn3": Arm(partial(ours, profile=_INNER), own_server, lambda here: here.inner),
}
