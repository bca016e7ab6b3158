"""Every signal of the D-Bus API: one life of everything, watched by a monitor."""

import asyncio
import os
import re
from collections import defaultdict

import pytest
from dbus_fast import Message

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_PATH,
    CONFIG_INTERFACE,
    CONFIG_NAME,
    NETCFG_INTERFACE,
    NETCFG_NAME,
    NETCFG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
)
from tests.conformance.expected import ACCOUNT, ADMIN, NEVER_SENT, OWNER
from tests.conformance.scene import DBUS, DBUS_PATH, Monitor, Scene
from tests.support import api
from tests.support.account import Account
from tests.support.machine import Machine

pytestmark = pytest.mark.system

KINDS = api.ours()
PREFIX = "net.openvpn.v3."
ACTIVATION = "/usr/share/dbus-1/system-services/net.openvpn.v3.*.service"


def make_talkative(machine: Machine, account: Account) -> None:
    """Everything is logged, and there is something for the configuration manager to say from its root object."""
    machine.sandbox.run(["sh", "-c", f"sed -i '/^Exec=/s/$/ --log-level 6/' {ACTIVATION}"])
    machine.sandbox.run(["install", "-d", "-o", account.name, "-m", "750", "/var/lib/openvpn3/configs"])
    machine.sandbox.write(f"/var/lib/openvpn3/configs/{'0' * 36}.json", "damaged", account=account)


async def live(scene: Scene) -> None:
    """Make everybody say everything."""
    await scene.make()  # which asks for a password
    await scene.must(OWNER, SESSIONS_NAME, scene.session, SESSIONS_INTERFACE, "LogForward", "b", True)
    await scene.must(OWNER, SESSIONS_NAME, scene.session, SESSIONS_INTERFACE, "AccessGrant", "u", 4_000_000)
    for number, text in enumerate(("alice", "secret")):
        what = ("UserInputProvide", "uuus", 1, 1, number, text)
        await scene.must(OWNER, SESSIONS_NAME, scene.session, SESSIONS_INTERFACE, *what)
    told = asyncio.Event()
    scene.buses[OWNER].add_message_handler(lambda m: told.set() if m.member == "Log" else None)
    await scene.must(OWNER, SESSIONS_NAME, scene.session, SESSIONS_INTERFACE, "Connect")
    await asyncio.wait_for(told.wait(), 10)
    await scene.must(OWNER, SESSIONS_NAME, scene.session, SESSIONS_INTERFACE, "Disconnect")
    await scene.must(OWNER, CONFIG_NAME, scene.profile, CONFIG_INTERFACE, "Remove")
    # A registration that nobody waits for is refused aloud.
    manager = await scene.must(ADMIN, DBUS, DBUS_PATH, DBUS, "GetNameOwner", "s", SESSIONS_NAME)
    forged = Message.new_signal(CLIENT_PATH, BACKENDS_INTERFACE, "RegistrationRequest", "ssi", ["x.y", "token", 1])
    forged.destination = manager
    await scene.buses[ACCOUNT].send(forged)
    await scene.must(ACCOUNT, SESSIONS_NAME, "/", f"{DBUS}.Peer", "Ping")
    netcfg = (NETCFG_NAME, NETCFG_PATH, NETCFG_INTERFACE)
    await scene.must(ACCOUNT, *netcfg, "NotificationSubscribe", "u", 2047)
    await scene.must(ACCOUNT, *netcfg, "ProtectSocket", "sbo", scene.machine.pair.SERVER_V4, False, "/")
    device = await scene.must(ACCOUNT, *netcfg, "CreateVirtualInterface", "s", "conf")
    reply = await scene.call(ACCOUNT, NETCFG_NAME, device, NETCFG_INTERFACE, "Establish")
    assert reply.unix_fds, reply.body
    await scene.must(ACCOUNT, NETCFG_NAME, device, NETCFG_INTERFACE, "Destroy")
    for fd in reply.unix_fds:
        os.close(fd)


class Heard:
    """Signals of our interfaces, told apart by the objects they come from."""

    def __init__(self, scene: Scene, messages: list[Message]) -> None:
        self.unknown: list[str] = []
        self.found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)  # signature and receiver
        self._names = {scene.buses[OWNER].unique_name: "receiver", scene.buses[ACCOUNT].unique_name: "subscriber"}
        self._names[None] = "broadcast"
        for m in messages:
            if m.member == "NameOwnerChanged" and m.body[0].startswith(PREFIX) and m.body[2]:
                self._names[m.body[2]] = m.body[0].removeprefix(PREFIX)
        # A service speaks before it has its name; what ACCOUNT says is forged.
        for m in messages:
            if (m.interface or "").startswith(PREFIX) and m.sender != scene.buses[ACCOUNT].unique_name:
                self._sort_in(m)

    def _sort_in(self, m: Message) -> None:
        sender, to = self._names[m.sender], self._names.get(m.destination, "?")
        origin = [
            kind.id
            for kind in KINDS.values()
            if fits(kind.service, PREFIX + sender) and fits(kind.path, m.path) and m.interface == kind.interface
        ]
        if len(origin) == 1:
            self.found[origin[0], m.member or ""].add((m.signature, to))
        else:
            self.unknown.append(f"{sender} {m.path} {m.interface} {m.member}")


def fits(spelt: str, text: str | None) -> bool:
    """Whether a name or path is one of those that api.toml spells with {variable parts}."""
    return bool(re.fullmatch(re.sub(r"\\{.*?\\}", "[0-9a-zA-Z_]+", re.escape(spelt)), text or ""))


async def test_signals(machine: Machine) -> None:
    scene = Scene(machine, KINDS["sessions.session"])
    make_talkative(machine, scene.people[ACCOUNT])
    async with scene.connected(), Monitor.listening(scene) as monitor:
        await live(scene)
        heard = Heard(scene, await monitor.settled(scene))
    assert heard.unknown == []
    announced = {(id_, signal.name): signal for id_, kind in KINDS.items() for signal in kind.signals.values()}
    expected = {
        key: {(api.signature(signal.args), to) for to in signal.to.split()}
        for key, signal in announced.items()
        if key not in NEVER_SENT
    }
    assert heard.found == expected
