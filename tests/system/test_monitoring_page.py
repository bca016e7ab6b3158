"""The commands of docs/monitoring.md, all at once, while there is a session."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.support.account import ALICE, ROOT
from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

PAGE = PROJECT / "docs/monitoring.md"
LONG_ENOUGH = "5"  # seconds; what runs until it is ended is asked to end then


@pytest.mark.system
@pytest.mark.interop
def test_the_commands(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    commands = re.findall(r"^    ((?:sudo )?openvpn3.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) > 3
    machine.connect(start_server().profile(), "office")
    machine.sandbox.run(["mkdir", "-p", "/var/lib/prometheus/node-exporter"])
    started = []
    for command in commands:
        words = command.split()
        account = ROOT if words[0] == "sudo" else ALICE
        limited = ["timeout", "--preserve-status", LONG_ENOUGH, *words[words[0] == "sudo" :]]
        pipe = subprocess.PIPE
        started.append(machine.sandbox.popen(limited, account=account, stdout=pipe, stderr=pipe))
    for command, process in zip(commands, started, strict=True):
        out, err = process.communicate()
        assert (command, process.returncode, err) == (command, 0, "")
        assert out or "--textfile" in command
