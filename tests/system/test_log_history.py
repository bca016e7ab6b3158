"""What sessions said before, found again in the log file and in the journal of a real journald."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovpn3.cli.history import Logged, of_file, sessions
from ovpn3.constants import LogCategory, LogGroup
from ovpn3.proxies.log import SessionLine
from tests.support.account import ALICE, BOB, ROOT
from tests.support.machine import Machine
from tests.support.netns import end
from tests.support.server import OpenVpnServer

JOURNALD = "/usr/lib/systemd/systemd-journald"
FILE = "/var/lib/openvpn3/openvpn.log"
MADE = "Client INFO: tunnel device tun0 made"


def log(machine: Machine, *arguments: str, code: int = 0) -> str:
    done = machine.sandbox.run(["openvpn3", "log", *arguments], check=False)
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def write_to(machine: Machine, key: str, value: str) -> None:
    """Have a log service that writes there, and nowhere else."""
    for settings in (
        ("--config-unset", "log-file"),
        ("--config-set", key, value),
        ("--config-set", "timestamp", "true"),
    ):
        machine.sandbox.run(["openvpn3-admin", "log-service", *settings])
    pid = machine.service("log")
    machine.sandbox.run(["sh", "-c", f"kill {pid}; while kill -0 {pid} 2>/dev/null; do :; done"])


@pytest.fixture
def journald(machine: Machine) -> Iterator[None]:
    if not Path(JOURNALD).exists():
        pytest.skip(f"there is no {JOURNALD}")
    script = """
    mkdir -p /run/log/journal /run/systemd/journal
    mount -t tmpfs none /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
    """
    if machine.sandbox.run(["sh", "-c", script], check=False).returncode:
        pytest.skip("journald needs a cgroup file system")
    with machine.sandbox.popen([JOURNALD], stderr=subprocess.DEVNULL) as process:
        machine.sandbox.run(["timeout", "10", "sh", "-c", "until [ -S /run/systemd/journal/socket ]; do :; done"])
        yield
        end(process)


@pytest.mark.system
@pytest.mark.interop
def test_a_file_and_a_journal(machine: Machine, start_server: Callable[..., OpenVpnServer], journald: None) -> None:
    server = start_server(extra=["duplicate-cn"])
    nowhere = machine.sandbox.run(["openvpn3", "log", "--config", "office", "--history"], check=False)
    assert (nowhere.returncode, "writes to standard output" in nowhere.stderr) == (8, True)
    write_to(machine, "log-file", FILE)
    machine.connect(server.profile(), "office")
    machine.connect(server.profile(), "office", BOB)
    machine.disconnect("office", BOB)
    machine.disconnect("office")
    machine.openvpn3("session-start", "--config", "office")
    text = log(machine, "--config", "office", "--history", "--no-follow")
    headings = [line for line in text.splitlines() if line.startswith("Session ")]
    assert [line.split(" of ")[1] for line in headings] == [
        f"{who}, profile office" for who in ("alice", "bob", "alice")
    ]
    assert text.count(" Client INFO: connecting to ") == 3
    path = headings[2].split()[1]
    one = log(machine, "--session-path", path, "--history", "--no-follow")
    assert one.splitlines() == text.splitlines()[text.splitlines().index(headings[2]) :]
    remembered = machine.openvpn3("log", "--config", "office", "--history", "--no-follow").stdout.splitlines()
    assert remembered[0] == f"Session {path}, as far as the session manager remembers"
    assert [line[20:] for line in remembered if "[STATUS]" not in line][1:] == [
        line[20:] for line in one.splitlines()[1:]
    ]
    assert remembered[-1].endswith("[STATUS] Connection, Client connected")
    lines = machine.openvpn3("log", "--config", "office", "--history", "--no-follow", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert {event["session"] for event in events} == {path}
    assert events[-1]["text"] == "Connection, Client connected"
    assert time.time() - 60 < events[-1]["time"] <= time.time()
    as_root = log(machine, "--session-path", path, "--history", "--no-follow", "--json").splitlines()
    assert [json.loads(line)["message"] for line in as_root] == [
        event["message"] for event in events if event["event"] == "log"
    ]
    stranger = machine.openvpn3("log", "--session-path", path, "--history", account=BOB, check=False)
    assert (stranger.returncode, "is for root to read" in stranger.stderr) == (8, True)

    write_to(machine, "journald", "true")
    machine.disconnect("office")
    assert log(machine, "--config", "office", "--history") == ""  # the journal has nothing yet
    machine.connect(server.profile(), "roots", ROOT)
    ended = log(machine, "--config", "roots", "--history", "--no-follow").splitlines()
    assert ended[0].endswith(" of root, profile roots")
    assert ended[-2].endswith(MADE)
    assert " Client INFO: Connected: " in ended[-1]
    assert f" ({machine.pair.SERVER_V4}) via /UDP on tun0/10.8.0." in ended[-1]
    journal = machine.sandbox.run(["openvpn3-admin", "journal", "--path", ended[0].split()[1]]).stdout
    assert MADE in journal
    assert "Session Manager INFO: session " in journal
    refused = machine.openvpn3("log", "--config", "office", "--history", check=False, account=ALICE)
    assert (refused.returncode, "the journal can't be read" in refused.stderr) == (8, True)

    command = ["openvpn3", "log", "--config", "roots", "--history"]
    with machine.sandbox.popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert [process.stdout.readline().rstrip() for _ in ended] == ended
        assert process.stdout.readline().startswith("Attached to session ")
        machine.disconnect("roots", ROOT)
        assert process.stdout.read().splitlines()[-1].endswith("The session has ended")
        assert process.wait() == 0
    assert log(machine, "--config", "roots", "--history").splitlines()[: len(ended)] == ended
    assert machine.openvpn3("log", "--config", "office", "--no-follow", check=False).returncode == 8


def test_whose_lines_are_whose(tmp_path: Path) -> None:
    first, second = SessionLine("/a/s1", 11, 1000, "x"), SessionLine("/a/s2", 22, 1000, "x' profile y")
    forged = SessionLine("/a/s3", 11, 0, "z").text()
    lines = [
        "2026-01-02 03:04:05 {tag:11} Client WARNING: early",
        f"2026-01-02 03:04:05 {{tag:7}} Session Manager INFO: {first.text()}",
        f"\x1b[32m2026-01-02 03:04:06 {{tag:11}} Client INFO: {forged}\x1b[0m",
        "2026-01-02 03:04:06 {tag:22} sender=:1.5, path=/a/s2",
        f" {{tag:7}} Session Manager INFO: {second.text()}",
        " {tag:22} Client -- ERROR --: late",
        "2026-01-02 03:04:07 {tag:33} Client INFO: of nobody",
        "rubbish \x00",
    ]
    file = tmp_path / "log"
    file.write_text("\n".join(lines))
    one, two = sessions(of_file(file))
    assert (one.path, one.owner, one.profile) == ("/a/s1", 1000, "x")
    assert [line.text for line in one.lines] == ["early", forged]
    assert two.profile == "x' profile y"
    assert two.lines == [Logged(None, 22, LogGroup.CLIENT, LogCategory.ERROR, "late")]
