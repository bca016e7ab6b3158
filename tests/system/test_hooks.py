"""`openvpn3-admin hooks`: root's programs see tunnels come and go, and nobody else's are run."""

import asyncio
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovpn3.cli import hooks
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

SHOW = """#!/bin/sh
echo "$script_type ${script_context:-none} $dev $tun_mtu $ifconfig_local $ifconfig_netmask $ifconfig_ipv6_local"
echo "$route_network_1/$route_netmask_1 $route_vpn_gateway $trusted_ip:$trusted_port $config $OPENVPN3_OWNER"
echo "$foreign_option_1, $foreign_option_2"
echo "$(id -u) $PATH $#"
exit 3
"""
PUSHED = ["route 172.20.0.0 255.255.0.0", "dhcp-option DNS 10.8.0.1", "dhcp-option DOMAIN corp.example"]


class Running:
    """The command, and what it prints."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._unread = ""

    def lines(self, count: int) -> list[str]:
        """As many of its lines, or those that have come within a bounded time."""
        assert self.process.stdout
        deadline = time.monotonic() + 20
        while self._unread.count("\n") < count:
            if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            if not (data := os.read(self.process.stdout.fileno(), 65536).decode()):
                break
            self._unread += data
        *found, self._unread = self._unread.split("\n", count)
        return found


@pytest.fixture
def running(machine: Machine) -> Iterator[Running]:
    put(machine, "10-show", SHOW)
    with machine.sandbox.popen(["openvpn3-admin", "hooks"], stdout=subprocess.PIPE) as process:
        found = Running(process)
        try:
            assert found.lines(1) == [f"Running what is in {hooks.FOLDER}"]
            yield found
        finally:
            process.kill()


def put(machine: Machine, name: str, text: str, mode: str = "755") -> None:
    machine.sandbox.run(["mkdir", "-p", str(hooks.FOLDER)])
    machine.sandbox.write(f"{hooks.FOLDER}/{name}", text)
    machine.sandbox.run(["chmod", mode, f"{hooks.FOLDER}/{name}"])


def test_a_tunnel_s_life(machine: Machine, start_server: StartServer, running: Running) -> None:
    put(machine, "20-open", SHOW, "757")
    server = start_server(push=PUSHED)
    machine.connect(server.profile())

    def told(script: str, context: str) -> list[str]:
        return [
            f"vpn tun0 {script}",
            f"{hooks.FOLDER}/20-open is left out: {hooks.FOLDER}/20-open can be written by others than root",
            f"10-show: {script} {context} tun0 1500 10.8.0.2 255.255.255.0 fd08::1000",
            f"10-show: 172.20.0.0/255.255.0.0 10.8.0.1 {machine.pair.SERVER_V4}:1194 vpn 29001",
            "10-show: dhcp-option DNS 10.8.0.1, dhcp-option DOMAIN corp.example",
            "10-show: 0 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin 6",
            "10-show ended with 3",
        ]

    assert running.lines(7) == told("up", "init")
    machine.openvpn3("session-manage", "--config", "vpn", "--restart")
    assert running.lines(14) == told("down", "none") + told("up", "restart")
    for pid in (machine.service("netcfg"), *machine.clients()):
        os.kill(pid, signal.SIGKILL)
    machine.openvpn3("session-start", "--config", "vpn")  # starts another network service
    assert running.lines(14) == told("down", "none") + told("up", "init")
    machine.disconnect()
    assert running.lines(7) == told("down", "none")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo one; echo two >&2", ["hook: one", "hook: two"]),
        ("kill -9 $$", ["hook was ended by signal 9"]),
        ("sleep 60 & echo started; wait", ["hook took more than 0.5 s and was killed"]),
        ("printf 'a\\033[2Jb\\n'", ["hook: a [2Jb"]),
        ("exec nonsense", ["hook: /hook: 2: exec: nonsense: not found", "hook ended with 127"]),
    ],
)
def test_programs(tmp_path: Path, body: str, told: list[str]) -> None:
    said: list[str] = []
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\n{body}\n")
    hook.chmod(0o755)
    asyncio.run(hooks._run(hook, [], {"PATH": "/usr/bin:/bin"}, said.append, 0.5))
    assert [line.replace(str(tmp_path), "") for line in said] == told


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where nobody but root can write; others can in all of /tmp."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda hook: hook.chmod(0o775), "can be written by others than root"),
        (lambda hook: os.chown(hook, 1, 0), "can be written by others than root"),
        (lambda hook: hook.parent.chmod(0o777), "can be written by others than root"),
        (lambda hook: hook.rename(hook.with_suffix(".bak")), "a name is of letters"),
        (lambda hook: hook.with_name("link").symlink_to("/bin/sh"), "is of another kind, or a link"),
        (lambda hook: hook.with_name("folder").mkdir(), "is of another kind, or a link"),
    ],
)
def test_what_is_left_out(folder: Path, spoil: Callable[[Path], object], told: str) -> None:
    said: list[str] = []
    hook = folder / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    (folder / "not-executable").touch()
    assert (hooks.programs(folder, said.append), said) == ([hook], [])
    spoil(hook)
    found = hooks.programs(folder, said.append)
    assert found == ([hook] if (folder / "link").is_symlink() or (folder / "folder").is_dir() else [])
    assert len(said) == 1
    assert told in said[0]


def test_no_folder() -> None:
    said: list[str] = []
    assert hooks.programs(Path("/run/no-such-folder"), said.append) == []
    assert said == []
