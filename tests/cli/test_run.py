"""`openvpn3 run`: a tunnel without anything installed, and nothing of it left in the end."""

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ovpn3.cli import privatebus
from ovpn3.cli.privatebus import PREFIX, RUNTIME
from tests.support import schema
from tests.support.account import ALICE
from tests.support.bus import BIN
from tests.support.machine import comm
from tests.support.netns import Namespace, NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer, password_script
from tests.support.totp import SECRET, credentials, totp_script

pytestmark = [pytest.mark.netns, pytest.mark.interop]

CONNECTED = "[STATUS] Connection, Client connected"
StartServer = Callable[..., OpenVpnServer]


@contextmanager
def running(pair: NamespacePair, *arguments: str | Path) -> "Iterator[subprocess.Popen[str]]":
    command = [BIN / "openvpn3", "run", *arguments]
    with pair.client.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()  # a test that fails is not to wait for it


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
    for word in ("right", "wrong"):
        (tmp_path / word).write_text(f"ann\n{word}\n")
        (tmp_path / word).chmod(0o600)
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


def test_in_a_namespace(pair: NamespacePair, profile: Path) -> None:
    """What root asks for is allowed by that, without any settings."""
    login = ("--auth-user-pass", profile.parent / "right")
    with Namespace(f"{pair.client.name}-in") as inner:
        before, before_inside = pair.client.state(), inner.state()
        with running(pair, profile, *login, "--netns", inner.name) as process:
            read_until(process, CONNECTED)
            inner.run(["ping", "-c", "1", "-W", "5", OpenVpnServer.TUNNEL_V4])
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert (pair.client.state(), inner.state()) == (before, before_inside)


def test_for_one_user(pair: NamespacePair, profile: Path) -> None:
    before = pair.client.state()
    login = ("--auth-user-pass", profile.parent / "right")
    with running(pair, profile, *login, "--route-table", "7", "--route-uids", "33") as process:
        read_until(process, CONNECTED)
        for uid, by in (("33", "tun0"), ("34", "eth0")):
            assert f"dev {by} " in pair.client.run(["ip", "route", "get", OpenVpnServer.TUNNEL_V4, "uid", uid]).stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert pair.client.state() == before


def test_for_a_cgroup_where_there_are_none(pair: NamespacePair, profile: Path) -> None:
    """`ip netns exec` shows none of the machine's."""
    login = ("--auth-user-pass", profile.parent / "right")
    with running(pair, profile, *login, "--route-table", "7", "--route-cgroups", "vpn.slice") as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 8
        assert "there are no cgroups here: no file system of the kind cgroup2 is mounted" in errors


def test_with_the_mark_of_the_profile(pair: NamespacePair, profile: Path) -> None:
    profile.write_text(f"mark 32\n{profile.read_text()}")
    with running(pair, profile, "--auth-user-pass", profile.parent / "right") as process:
        read_until(process, CONNECTED)
        assert "fwmark:0x20" in pair.client.run(["ss", "-Hune"]).stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_json(pair: NamespacePair, profile: Path) -> None:
    with running(pair, "--json", profile, "--auth-user-pass", profile.parent / "right") as process:
        assert process.stdout
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            schema.check(events[-1], "openvpn3 run")
            if events[-1].get("text") == "Connection, Client connected":
                process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert {event["event"] for event in events} == {"status", "log", "end"}
    assert {event["profile"] for event in events} == {str(profile)}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert events[-1]["reason"] == "stopped"
    assert "right" not in json.dumps(events)


def test_wrong_password(pair: NamespacePair, profile: Path) -> None:
    before = pair.client.state()
    with running(pair, profile, "--auth-user-pass", profile.parent / "wrong") as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 77
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
    left = {folder for folder in folders() if f"-{process.pid}-" in str(folder)}
    assert left
    with running(pair, profile, "--auth-user-pass", profile.parent / "wrong") as process:
        process.communicate(timeout=20)
    assert not left & folders()


def test_what_another_run_uses_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in a container, which has other process ids and the same /run."""
    monkeypatch.setattr(privatebus, "RUNTIME", tmp_path)
    used, left = (tmp_path / f"{PREFIX}{2**22 + 1}-{name}" for name in ("used", "left"))
    used.mkdir()
    left.mkdir()
    lock = privatebus._lock(used)
    privatebus._remove_stale()
    assert used.exists()
    assert not left.exists()
    os.close(lock)
    privatebus._remove_stale()
    assert not used.exists()


def test_the_bus_ends(pair: NamespacePair, profile: Path) -> None:
    before = pair.client.state()
    with running(pair, profile, "--auth-user-pass", profile.parent / "right") as process:
        read_until(process, CONNECTED)
        (daemon,) = (pid for pid in pair.client.pids() if comm(pid) == "dbus-daemon")
        os.kill(daemon, signal.SIGKILL)
        assert process.wait(20) == 8
    assert pair.client.state() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "which profile?"),
        (["no-such-profile-anywhere"], "there is no file"),
        (["/etc/hostname"], "can't be used"),
        (["--auth-user-pass", "/nowhere", "/etc/hostname"], "can't read /nowhere"),
        (["--auth-user-pass", "/etc/hostname", "/etc/hostname"], "chmod 600"),
        (["/etc/hostname", "/etc/hostname"], "named twice"),
        (["--user", "root", "/etc/hostname"], "can't be used"),
    ],
)
def test_refused(pair: NamespacePair, arguments: list[str], text: str) -> None:
    done = pair.client.run([BIN / "openvpn3", "run", *arguments], check=False)
    assert done.returncode in (7, 8)
    assert text in done.stderr


def next_event(process: "subprocess.Popen[str]", text: str) -> dict[str, object]:
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        event: dict[str, object] = json.loads(line)
        if text in (event.get("text"), event.get("reason")):
            return event
    raise AssertionError(process.stderr.read())


def test_codes_without_a_person(pair: NamespacePair, start_server: StartServer, tmp_path: Path) -> None:
    """The server's token runs out: the password and a new code bring the tunnel back."""
    server = start_server(auth=totp_script(), reneg_sec=4, extra=["auth-gen-token 1", "hand-window 2"])
    profile = tmp_path / "client.ovpn"
    profile.write_text(server.profile('static-challenge "Code" 0'))
    folder = credentials(tmp_path / "secrets")
    with running(pair, "--json", profile, "--credentials", folder) as process:
        for _ in range(2):
            next_event(process, "Connection, Client connected")
        pids = pair.client.pids()
        exposed = [Path(f"/proc/{pid}/{what}").read_text() for pid in pids for what in ("cmdline", "environ")]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0
    logins = (server.directory / "logins").read_text().splitlines()
    codes = [line.split()[2] for line in logins]
    assert len(codes) >= 2
    assert len(set(codes)) == len(codes), "no code twice"
    for text in (out, err, *exposed):
        assert not any(secret in text for secret in (SECRET, "right", *codes))


def test_a_stored_password_is_tried_once(pair: NamespacePair, start_server: StartServer, tmp_path: Path) -> None:
    """A server that would go on asking is not given the same wrong answer again: accounts get locked by that."""
    server = start_server(auth=totp_script())
    profile = tmp_path / "client.ovpn"
    profile.write_text(server.profile('static-challenge "Code" 0', "auth-retry interact"))
    folder = credentials(tmp_path / "secrets", "wrong")
    with running(pair, profile, "--credentials", folder) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 77
    assert "standard input ended" in err
    assert len((server.directory / "logins").read_text().splitlines()) == 1


def test_several_as_process_1(pair: NamespacePair, pki: Pki, tmp_path: Path) -> None:
    """Events name their profile, --check and signals are about all, and orphans of others do not pile up."""
    # With a /run of its own: others may be running on this machine, which --check would see.
    unshare = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
    with ExitStack() as stack:
        first = stack.enter_context(OpenVpnServer(pair, pki))
        second = stack.enter_context(OpenVpnServer(pair, pki, port=1195, subnet=9))
        for name, server in (("one", first), ("two", second)):
            (tmp_path / name).write_text(server.profile())
        files = [str(tmp_path / name) for name in ("one", "two")]
        systemd = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        systemd.bind(f"{tmp_path}/notify")
        program = [BIN / "openvpn3", "run", "--json", *files]
        inside = ["sh", "-c", 'mount -t tmpfs tmpfs /run; exec "$@"', "sh"]
        environment = ["env", f"NOTIFY_SOCKET={tmp_path}/notify"]
        command = [*unshare, *inside, *environment, *program]
        process = stack.enter_context(pair.client.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        stack.callback(process.kill)
        connected = {next_event(process, "Connection, Client connected")["profile"] for _ in files}
        assert connected == set(files)
        told = ""
        while "READY=1" not in (text := systemd.recv(1000).decode()):
            told += text
        assert told.count("Client connected") == 1
        [pid] = [int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--"]
        healthy = pair.client.run([*enter, BIN / "openvpn3", "run", "--check"])
        assert healthy.stdout.splitlines() == [f"{name}: Connection, Client connected" for name in ("one", "two")]
        # An orphan of somebody else's, as a shell in a container leaves it.
        pair.client.run([*enter, "sh", "-c", "sh -c true & exit"])
        os.kill(pid, signal.SIGUSR1)
        connected = {next_event(process, "Connection, Client connected")["profile"] for _ in files}
        assert connected == set(files)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert not [c for c in children if "Z (zombie)" in Path(f"/proc/{c}/status").read_text()]
        os.kill(pid, signal.SIGTERM)
        ends = {next_event(process, "stopped")["profile"] for _ in files}
        assert ends == set(files)
        assert process.wait(20) == 0
    gone = pair.client.run(["unshare", "--mount", *inside, BIN / "openvpn3", "run", "--check", "one"], check=False)
    assert (gone.returncode, gone.stdout) == (1, "one: not running\n")
