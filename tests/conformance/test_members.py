"""Every member of the D-Bus API: is it there, whom does it answer, and with what.

Real services on a real system bus, called by owner, granted user, unrelated user, root and service account. Twice:
with the shipped policy, where the bus is a first gate, and with one that lets everything pass, where the objects
alone refuse. An entry of api.toml without an expectation fails.
"""

import os
import re
import socket
from typing import Any

import pytest
from dbus_fast import Message, MessageType, Variant

from ovpn3.constants import DOMAIN_DEFAULT
from tests.bus.members import Facts, check_document
from tests.conformance import expected as exp
from tests.conformance.expected import Who
from tests.conformance.scene import DBUS, DBUS_PATH, PROPERTIES, Monitor, Scene
from tests.support import api
from tests.support.api import Method, Property
from tests.support.machine import Machine

pytestmark = pytest.mark.system

KINDS = api.ours()
THERE = [id_ for id_ in KINDS if id_ not in exp.NONE]
ERRORS = "org.freedesktop.DBus.Error."
BY_BUS, BY_OBJECT, ANSWERED = "refused by the bus", "refused by the object", "answered"


def quark(domain: str) -> str:
    """The error name that GDBus makes of a domain."""
    return f"org.gtk.GDBus.UnmappedGError.Quark._{re.sub('[^0-9A-Za-z]', lambda c: f'_{ord(c[0]):02x}', domain)}.Code36"


class Walk:
    """Through all that one object has."""

    def __init__(self, scene: Scene, monitor: Monitor, *, open_gates: bool) -> None:
        self.scene, self.monitor, self.kind, self.open = scene, monitor, scene.kind, open_gates

    # -- who is answered --------------------------------------------------------------------------
    def passes(self, who: Who, policy: str) -> bool:
        return self.open or who in exp.POLICIES[policy]

    def fate(self, who: Who, policy: str, rule: str) -> str:
        """What becomes of a call."""
        if not self.passes(who, policy):
            return BY_BUS
        answered = exp.POLICIES[policy] if rule == "any" else self.scene.state.rules[rule]
        return ANSWERED if who in answered else BY_OBJECT

    def seen(self, reply: Message, who: Who, target: str) -> str:
        """What became of a call; a refusal must be in the right words."""
        if reply.message_type is not MessageType.ERROR:
            return ANSWERED
        name, text = reply.error_name, str(reply.body[0])
        if text.startswith("Rejected send message"):
            assert name == f"{ERRORS}AccessDenied"
            return BY_BUS
        refusal = f"Access denied: {self.scene.buses[who].unique_name} may not use {target} on {self.scene.path}"
        if "may not use" not in text:
            return ANSWERED
        if "(" in target:
            assert (name, text[: len(refusal)]) == (f"{ERRORS}AccessDenied", refusal)
        else:
            wanted = f"GDBus.Error:{DOMAIN_DEFAULT}: {refusal}"
            assert (name, text[: len(wanted)]) == (quark(DOMAIN_DEFAULT), wanted)
        if "unsealed" in self.rule and who in exp.RULES[self.rule] and who not in self.scene.state.rules[self.rule]:
            assert "sealed" in text
        return BY_OBJECT

    rule = ""  # of the member in hand

    # -- methods ----------------------------------------------------------------------------------
    async def method(self, method: Method) -> None:
        answer = exp.CALLS[self.kind.id][method.name]
        self.rule = method.rule
        for who in self.scene.callers:
            fate = self.fate(who, method.policy, method.rule)
            reply = await self.call(who, method, answer)
            where = f"{method.name} by {who.value}: {reply.error_name} {reply.body}"
            assert self.seen(reply, who, method.name) == fate, where
            if fate == ANSWERED:
                self.check_answer(reply, who, method, answer)
                if answer.undo:
                    what = (self.scene.service, reply.body[0], self.kind.interface, answer.undo)
                    await self.scene.must(who, *what)
                if answer.once:
                    await self.scene.make()
        await self.wrong_arguments(method)

    async def call(self, who: Who, method: Method, answer: exp.Answer) -> Message:
        args = [arg(self.scene) if callable(arg) else arg for arg in answer.args]
        what = (self.scene.service, self.scene.path, self.kind.interface, method.name, api.signature(method.takes))
        if not answer.with_fd:
            return await self.scene.call(who, *what, *args)
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            return await self.scene.call(who, *what, *args, fds=[s.fileno()])

    def check_answer(self, reply: Message, who: Who, method: Method, answer: exp.Answer) -> None:
        error = answer.error if isinstance(answer.error, str) else answer.error.get(who, "")
        where = f"{method.name} by {who.value}: {reply.error_name} {reply.body}"
        if error:
            domain = error.partition(":")[0]
            assert reply.error_name == quark(domain), where
            assert reply.body[0].startswith(f"GDBus.Error:{error}"), where
            return
        assert reply.message_type is MessageType.METHOD_RETURN, where
        assert reply.signature == api.signature(method.gives), where
        assert len(reply.unix_fds) == (method.fd == "out"), where
        for fd in reply.unix_fds:
            os.close(fd)
        wanted = answer.gives(self.scene) if callable(answer.gives) else answer.gives
        if method.filter and who not in self.scene.state.rules[method.filter]:
            wanted = []
        if wanted is not exp.ANYTHING and method.gives:
            assert reply.body[0] == wanted, where

    async def wrong_arguments(self, method: Method) -> None:
        who = next((who for who in self.scene.callers if self.passes(who, method.policy)), None)
        if who:
            what = (self.scene.service, self.scene.path, self.kind.interface, method.name)
            reply = await self.scene.call(who, *what, "d", 0.5)
            assert reply.error_name == f"{ERRORS}InvalidArgs"
            assert "does not match expected type" in reply.body[0]

    async def absent_methods(self) -> None:
        for method in self.kind.absent_methods.values():
            for who in self.scene.callers:
                values = [{"o": "/", "u": 0}[type_] for type_ in api.signature(method.takes)]
                what = (self.scene.service, self.scene.path, self.kind.interface, method.name)
                reply = await self.scene.call(who, *what, api.signature(method.takes), *values)
                passes = self.passes(who, method.policy)
                assert reply.error_name == ERRORS + ("UnknownMethod" if passes else "AccessDenied")
                assert not passes or reply.body[0].startswith("No such method")

    # -- properties -------------------------------------------------------------------------------
    async def get(self, who: Who, name: str) -> Message:
        what = ("Get", "ss", self.kind.interface, name)
        return await self.scene.call(who, self.scene.service, self.scene.path, PROPERTIES, *what)

    async def set(self, who: Who, name: str, type_: str, value: Any) -> Message:
        what = ("Set", "ssv", self.kind.interface, name, Variant(type_, value))
        return await self.scene.call(who, self.scene.service, self.scene.path, PROPERTIES, *what)

    async def reads(self) -> None:
        readers: dict[Who, dict[str, Variant]] = {who: {} for who in self.scene.callers}
        for p in self.kind.properties.values():
            self.rule = p.read
            for who in self.scene.callers:
                reply = await self.get(who, p.name)
                fate = self.fate_of_property(who, "Get", p.read)
                assert self.seen(reply, who, f"Get({p.name})") == fate, f"{p.name} by {who.value}: {reply.body}"
                if fate == ANSWERED:
                    assert (reply.signature, reply.body[0].signature) == ("v", p.wire), p.name
                    readers[who][p.name] = reply.body[0]
        for who in self.scene.callers:
            what = ("GetAll", "s", self.kind.interface)
            reply = await self.scene.call(who, self.scene.service, self.scene.path, PROPERTIES, *what)
            if not self.passes(who, self.kind.standard["GetAll"]):
                assert self.seen(reply, who, "GetAll") == BY_BUS
            elif self.passes(who, self.kind.standard["Get"]):
                assert reply.signature == "a{sv}"
                assert reply.body[0] == readers[who], who

    def fate_of_property(self, who: Who, member: str, rule: str) -> str:
        return self.fate(who, self.kind.standard[member], rule)

    async def writes(self) -> None:
        for p in self.kind.properties.values():
            self.rule = p.write
            for who in self.scene.callers:
                if not self.passes(who, self.kind.standard["Set"]):
                    assert self.seen(await self.set(who, p.name, "d", 0.5), who, "Set") == BY_BUS
                    continue
                # Before anybody is asked who he is.
                reply = await self.set(who, p.name, "d", 0.5)
                assert reply.error_name == f"{ERRORS}InvalidArgs"
                assert (f"Expected type “{p.type}” but got “d”" if p.write else "is not writable") in reply.body[0]
                if p.write:
                    await self.write(who, p)

    async def write(self, who: Who, p: Property) -> None:
        fate = self.fate_of_property(who, "Set", p.write)
        if fate != ANSWERED:
            value: Any = exp.NEW_VALUES.get(p.name, {"b": False, "s": "x"}.get(p.type))
            reply = await self.set(who, p.name, p.type, value)
            assert self.seen(reply, who, f"Set({p.name})") == fate, f"{p.name} by {who.value}: {reply.body}"
            return
        if fixed := exp.FIXED.get((self.kind.id, p.name)):
            await self.fails(who, p, *fixed)
            return
        if p.name in exp.WRONG_VALUES:
            await self.fails(who, p, exp.WRONG_VALUES[p.name])
        before = (await self.get(who, p.name)).body[0].value
        for value in ((not before) if p.type == "b" else exp.NEW_VALUES[p.name], before):
            await self.monitor.settled(self.scene)
            reply = await self.set(who, p.name, p.type, value)
            assert (reply.message_type, reply.signature) == (MessageType.METHOD_RETURN, ""), f"{p.name}: {reply.body}"
            assert (await self.get(who, p.name)).body[0].value == value
            heard = [m for m in await self.monitor.settled(self.scene) if m.member == "PropertiesChanged"]
            # One for everybody; a client process tells its manager of itself besides.
            (change,) = [m for m in heard if m.path == self.scene.path and m.destination is None]
            assert change.body == [self.kind.interface, {p.name: Variant(p.wire, value)}, []]

    async def fails(self, who: Who, p: Property, value: Any, text: str = "") -> None:
        reply = await self.set(who, p.name, p.type, value)
        assert reply.error_name == f"{ERRORS}Failed", f"{p.name}: {reply.body}"
        assert reply.body[0].startswith(text)
        assert "GDBus.Error" not in reply.body[0]

    async def absent_properties(self) -> None:
        for name in (*self.kind.absent_properties, "no_such"):
            for who in self.scene.callers:
                for member, reply in (
                    ("Get", await self.get(who, name)),
                    ("Set", await self.set(who, name, "b", True)),
                ):
                    passes = self.passes(who, self.kind.standard[member])
                    assert reply.error_name == ERRORS + ("InvalidArgs" if passes else "AccessDenied")

    # -- standard interfaces ----------------------------------------------------------------------
    async def standard(self) -> None:
        for interface, member in (("Introspectable", "Introspect"), ("Peer", "Ping")):
            for who in self.scene.callers:
                reply = await self.scene.call(who, self.scene.service, self.scene.path, f"{DBUS}.{interface}", member)
                fate = ANSWERED if self.passes(who, self.kind.standard[member]) else BY_BUS
                assert self.seen(reply, who, member) == fate
                if (member, fate) == ("Introspect", ANSWERED):
                    check_document(reply.body[0], self.kind.interface, Facts(self.kind.id))


@pytest.mark.parametrize("gates", ["shipped", "open"])
@pytest.mark.parametrize("id_", THERE)
async def test_members(machine: Machine, id_: str, gates: str) -> None:
    scene = Scene(machine, KINDS[id_])
    async with scene.connected(), Monitor.listening(scene) as monitor:
        await scene.make()
        if gates == "open":
            await scene.open_gates()
        walk = Walk(scene, monitor, open_gates=gates == "open")
        await walk.standard()
        await walk.reads()
        await walk.writes()
        await walk.absent_properties()
        await walk.absent_methods()
        for method in scene.kind.methods.values():
            await walk.method(method)


@pytest.mark.parametrize(("id_", "name"), [(id_, name) for id_, names in exp.STATES.items() for name in names])
async def test_states_that_change_the_rules(machine: Machine, id_: str, name: str) -> None:
    scene = Scene(machine, KINDS[id_], exp.STATES[id_][name])
    async with scene.connected(), Monitor.listening(scene) as monitor:
        await scene.make()
        walk = Walk(scene, monitor, open_gates=False)
        await walk.reads()
        await walk.writes()
        for method in scene.kind.methods.values():
            await walk.method(method)


def test_nothing_is_without_an_expectation() -> None:
    assert set(exp.CALLS) | set(exp.NONE) == set(KINDS)
    assert not set(exp.CALLS) & set(exp.NONE)
    for id_ in THERE:
        assert set(exp.CALLS[id_]) == set(KINDS[id_].methods), id_
    words = {w for kind in KINDS.values() for m in kind.methods.values() for w in (m.rule, m.filter)}
    words |= {w for kind in KINDS.values() for p in kind.properties.values() for w in (p.read, p.write)}
    assert words - {"", "any"} <= set(exp.RULES)


async def test_objects_there_are_none_of(machine: Machine) -> None:
    scene = Scene(machine, KINDS["netcfg.device"])
    async with scene.connected():
        await scene.make()
        dco = KINDS["netcfg.dco"]
        for method in dco.methods.values():
            reply = await scene.call(exp.ACCOUNT, dco.service, f"{scene.path}/dco", dco.interface, method.name)
            assert reply.error_name == f"{ERRORS}UnknownMethod"
            assert "does not exist at path" in reply.body[0]
        for member in ("ListNames", "ListActivatableNames"):
            names = await scene.must(exp.ADMIN, DBUS, DBUS_PATH, DBUS, member)
            assert KINDS["devposture.root"].service not in names
