"""`openvpn3 run`: a tunnel without anything installed, and nothing of it left in the end."""

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovpn3.cli.privatebus import PREFIX, RUNTIME
from tests.support.account import ALICE
from tests.support.bus import BIN
from tests.support.netns import NamespacePair
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.netns, pytest.mark.interop]

CONNECTED = "[STATUS] Connection, Client connected"
StartServer = Callable[..., OpenVpnServer]


@contextmanager
def running(pair: NamespacePair, *arguments: str | Path) -> "Iterator[subprocess.Popen[str]]":
    command = [BIN / "openvpn3", "run", *arguments]
    with pair.client.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(process.stderr.read())


def may_connect(socket: str, uid: int) -> bool:
    """Whether a user is let onto the bus."""
    call = ["dbus-send", f"--bus=unix:path={socket}", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
    command = ["setpriv", f"--reuid={uid}", "--clear-groups", *call, "org.freedesktop.DBus.ListNames"]
    return subprocess.run(command, capture_output=True).returncode == 0


def await_end(pids: list[int]) -> None:
    """Return when these processes are gone."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([handle], [], [], 10.0)[0], Path(f"/proc/{pid}/cmdline").read_text()
        os.close(handle)


def folders() -> set[Path]:
    return set(RUNTIME.glob(f"{PREFIX}*"))


@pytest.fixture
def profile(tmp_path: Path, start_server: StartServer) -> Path:
    file = tmp_path / "client.ovpn"
    file.write_text(start_server(auth=password_script("ann", "right")).profile())
    (tmp_path / "right").write_text("ann\nright\n")
    (tmp_path / "wrong").write_text("ann\nwrong\n")
    return file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_until_told_to_stop(pair: NamespacePair, profile: Path, number: signal.Signals) -> None:
    before, others = pair.client.state(), set(pair.client.pids())
    with running(pair, profile, "--auth-user-pass", profile.parent / "right") as process:
        read_until(process, CONNECTED)
        pair.client.run(["ping", "-c", "1", "-W", "5", OpenVpnServer.TUNNEL_V4])
        mine = [folder for folder in folders() if f"-{process.pid}-" in str(folder)]
        assert len(mine) == 1
        assert mine[0].stat().st_mode & 0o777 == 0o755
        assert not may_connect(f"{mine[0]}/bus", ALICE.uid)
        assert may_connect(f"{mine[0]}/bus", 0)
        process.send_signal(number)
        assert process.wait(20) == 0
        assert not mine[0].exists()
    assert set(pair.client.pids()) <= others
    assert pair.client.state() == before


def test_json(pair: NamespacePair, profile: Path) -> None:
    with running(pair, "--json", profile, "--auth-user-pass", profile.parent / "right") as process:
        assert process.stdout
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1].get("text") == "Connection, Client connected":
                process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert {event["event"] for event in events} == {"status", "log", "end"}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert events[-1]["reason"] == "stopped"
    assert "right" not in json.dumps(events)


def test_wrong_password(pair: NamespacePair, profile: Path) -> None:
    before = pair.client.state()
    with running(pair, profile, "--auth-user-pass", profile.parent / "wrong") as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert "Client authentication failed" in out
    assert "** ERROR ** the session failed: Connection, Client authentication failed" in err
    assert "Traceback" not in err
    assert pair.client.state() == before


def test_killed(pair: NamespacePair, profile: Path) -> None:
    """Nothing survives but the directory, and that is removed at the next start."""
    before = pair.client.state()
    with running(pair, profile, "--auth-user-pass", profile.parent / "right") as process:
        read_until(process, CONNECTED)
        pids = pair.client.pids()
        process.kill()
        process.wait()
        await_end(pids)
    assert pair.client.state() == before
    left = folders()
    assert any(f"-{process.pid}-" in str(folder) for folder in left)
    with running(pair, profile, "--auth-user-pass", profile.parent / "wrong") as process:
        process.communicate(timeout=20)
    assert not left & folders()


def test_the_bus_ends(pair: NamespacePair, profile: Path) -> None:
    before = pair.client.state()
    with running(pair, profile, "--auth-user-pass", profile.parent / "right") as process:
        read_until(process, CONNECTED)
        for pid in pair.client.pids():
            if Path(f"/proc/{pid}/comm").read_text() == "dbus-daemon\n":
                os.kill(pid, signal.SIGKILL)
        assert process.wait(20) == 8
    assert pair.client.state() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "which profile?"),
        (["no-such-profile-anywhere"], "there is no file"),
        (["/etc/hostname"], "can't be used"),
        (["--auth-user-pass", "/nowhere", "/etc/hostname"], "can't read /nowhere"),
        (["--user", "root", "/etc/hostname"], "can't be used"),
    ],
)
def test_refused(pair: NamespacePair, arguments: list[str], text: str) -> None:
    done = pair.client.run([BIN / "openvpn3", "run", *arguments], check=False)
    assert done.returncode in (7, 8)
    assert text in done.stderr
