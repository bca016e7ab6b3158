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
ENDLESS = {"events", "log", "--listen"}  # until they are told to end


@pytest.mark.system
@pytest.mark.interop
def test_the_commands(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    page = PAGE.read_text()
    for setting in re.findall(
        r"^openvpn3-admin (log-service --config-set (?:log-file|timestamp).*)$", page, re.MULTILINE
    ):
        machine.sandbox.run(["openvpn3-admin", *setting.split()])
    pid = machine.service("log")
    machine.sandbox.run(["sh", "-c", f"kill {pid}; while kill -0 {pid} 2>/dev/null; do :; done"])
    commands = [line.split() for line in re.findall(r"^    ((?:sudo )?openvpn3.*)$", page, re.MULTILINE)]
    assert len(commands) > 7
    machine.connect(start_server().profile(), "office")
    machine.sandbox.run(["mkdir", "-p", "/var/lib/prometheus/node-exporter"])
    machine.sandbox.run(["rm", "-f", "/etc/resolv.conf"])  # may name a resolver that isn't here
    machine.sandbox.write("/etc/resolv.conf", f"nameserver {machine.pair.SERVER_V4}\n")
    started = []
    for words in commands:
        account, argv = (ROOT, words[1:]) if words[0] == "sudo" else (ALICE, words)
        pipe = subprocess.PIPE
        started.append(machine.sandbox.popen(argv, account=account, stdout=pipe, stderr=pipe))
    for words, process in zip(commands, started, strict=True):
        assert process.stdout
        first = process.stdout.readline()
        if ENDLESS & set(words) and "--no-follow" not in words:
            process.terminate()
        _, err = process.communicate()
        assert (words, process.returncode, err) == (words, 0, "")
        assert first or "--textfile" in words
