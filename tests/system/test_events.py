"""`events` as the owner of a session, another user and root see it, at a real server that goes away and comes back."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ovpn3.cli.watchall import Causes
from ovpn3.constants import StatusMajor, StatusMinor
from ovpn3.proxies.session import Status
from ovpn3.proxies.watch import Ended
from tests.support import schema
from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

PATIENCE_S = 30.0


class Reader:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seen: list[str] = []

    def until(self, wanted: Callable[[str], bool]) -> str:
        assert self.process.stdout
        limit = threading.Timer(PATIENCE_S, self.process.kill)
        limit.start()
        try:
            for line in self.process.stdout:
                self.seen.append(line.rstrip("\n"))
                if wanted(self.seen[-1]):
                    return self.seen[-1]
        finally:
            limit.cancel()
        raise AssertionError("\n".join(self.seen))

    def event(self, **wanted: Any) -> dict[str, Any]:
        line = self.until(lambda line: wanted.items() <= json.loads(line).items())
        content: dict[str, Any] = json.loads(line)
        schema.check(content, "openvpn3 events")
        return content


@contextmanager
def events(machine: Machine, account: Account, *arguments: str) -> Iterator[Reader]:
    command = ["openvpn3", "events", *arguments]
    process = machine.sandbox.popen(command, account=account, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process:
        try:
            yield Reader(process)
        finally:
            process.terminate()
            assert process.wait(10) == 0


@pytest.mark.system
@pytest.mark.interop
def test_each_with_its_cause(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    server = start_server(extra=["keepalive 1 3"])
    connected, reconnecting = int(StatusMinor.CONN_CONNECTED), int(StatusMinor.CONN_RECONNECTING)
    machine.connect(server.profile(), "office")
    with events(machine, ALICE, "--json") as mine, events(machine, ROOT, "--json") as roots:
        for reader in (mine, roots):
            first = reader.event(event="present")
            assert (first["config_name"], first["owner"], first["device"]) == ("office", "alice", "tun0")
            assert first["minor"] == connected
        with events(machine, ALICE) as text:
            text.until(lambda line: line.endswith(" office tun0: Connection, Client connected"))
            server.command("signal SIGTERM")
            server.process.wait(10)
            assert mine.event(minor=reconnecting)["cause"] == "the server has gone silent (ping-restart)"
            assert roots.event(minor=reconnecting)["cause"] != ""
            text.until(lambda line: " office tun0: Connection, Client reconnect: " in line)
            start_server()
            assert mine.event(minor=connected)["cause"] != ""
            roots.event(minor=connected)
            machine.disconnect("office")
            end = mine.event(event="end")
            assert (end["session"], end["cause"]) == (first["session"], "asked to disconnect")
            roots.event(event="end")
            assert text.until(lambda line: "has ended" in line).endswith("The session has ended (asked to disconnect)")
        # One that comes later, and one of another user, whom only root sees.
        with events(machine, BOB, "--json") as bobs:
            machine.connect(server.profile(), "later")
            assert mine.event(config_name="later", minor=connected)["cause"] == "asked to connect"
            roots.event(config_name="later", minor=connected)
            machine.connect(server.profile(), "bobs", BOB)
            bobs.event(config_name="bobs", minor=connected)
            roots.event(config_name="bobs", minor=connected)
            assert {json.loads(line)["config_name"] for line in bobs.seen} == {"bobs"}
        machine.disconnect("later")
        mine.event(config_name="later", event="end")
        assert "bobs" not in {json.loads(line)["config_name"] for line in mine.seen}


def test_what_has_no_cause_of_its_own_has_that_of_the_status_before() -> None:
    causes = Causes()

    def of(minor: StatusMinor, text: str = "", major: StatusMajor = StatusMajor.CONNECTION) -> str:
        return causes.of(Status(major, minor, text))

    assert of(StatusMinor.CFG_OK, "config_path=/x") == ""
    assert of(StatusMinor.CONN_CONNECTING) == "asked to connect"
    assert of(StatusMinor.CONN_CONNECTED) == "asked to connect"
    assert of(StatusMinor.CONN_RECONNECTING, "nobody answers") == "nobody answers"
    assert of(StatusMinor.CONN_CONNECTED) == "nobody answers"
    assert of(StatusMinor.CONN_RESUMING) == of(StatusMinor.CONN_RECONNECTING) == "asked to resume"
    assert of(StatusMinor.CONN_CONNECTED) == "asked to resume"
    assert of(StatusMinor.CONN_RECONNECTING) == "asked to restart"
    assert of(StatusMinor.CONN_DONE, "no traffic") == "no traffic"
    assert of(StatusMinor.PROC_STOPPED, "session closed", StatusMajor.SESSION) == "no traffic"
    assert causes.of(Ended("the session has ended")) == "no traffic"


def test_a_session_that_began_while_it_was_watched_is_up_because_somebody_asked() -> None:
    """The order itself may have come before we listened to the session."""
    ready = Status(StatusMajor.CONNECTION, StatusMinor.CFG_OK, "")
    up = Status(StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED, "")
    new = Causes(new=True)
    assert [new.of(ready), new.of(up)] == ["", "asked to connect"]
    old = Causes()
    assert [old.of(ready), old.of(up)] == ["", ""]
