"""openvpn2 on a machine with the services, against a real server that asks for a password."""

import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovpn3.cli.command import CommandError
from ovpn3.cli.openvpn2args import OWN, understand
from ovpn3.profile.options import Status, table
from tests.support.account import ALICE
from tests.support.bus import SystemBusSandbox
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.system, pytest.mark.interop]
FILE = f"{ALICE.home}/office.ovpn"


@pytest.fixture(scope="module")
def server(network: NamespacePair, pki: Pki) -> Iterator[OpenVpnServer]:
    with OpenVpnServer(network, pki, auth=password_script("ann", "right")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def profile(machine: SystemBusSandbox, server: OpenVpnServer) -> None:
    machine.write(FILE, server.profile(), account=ALICE)


def openvpn2(
    machine: SystemBusSandbox, *arguments: str, input: str = "", debug: str = ""
) -> "subprocess.CompletedProcess[str]":
    command = ["env", f"OPENVPN3_DEBUG={debug}", "openvpn2", *arguments]
    return machine.run(command, account=ALICE, check=False, input=input)


def sessions(machine: SystemBusSandbox) -> str:
    return machine.run(["openvpn3", "sessions-list"], account=ALICE).stdout


def test_in_the_background(machine: SystemBusSandbox, network: NamespacePair, server: OpenVpnServer) -> None:
    done = openvpn2(machine, "--config", FILE, "--daemon", "--mssfix", "1300", "--enable-dco", input="ann\nright\n")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "--enable-dco is left out" in done.stderr
    path = re.search(r"^Connected\nSession path: (\S+)", done.stdout, re.MULTILINE)
    assert path
    network.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert "Client connected" in sessions(machine)
    machine.run(["openvpn3", "session-manage", "--path", path[1], "--disconnect"], account=ALICE)
    assert FILE not in machine.run(["openvpn3", "configs-list"], account=ALICE).stdout


def test_in_the_foreground_until_a_signal(machine: SystemBusSandbox, server: OpenVpnServer) -> None:
    command = ["openvpn2", "--config", FILE, "--verb", "4"]
    process = machine.popen(command, account=ALICE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("ann\nright\n")
        process.stdin.flush()
        lines: list[str] = []
        while not lines or (lines[-1] and "CONN_CONNECTED" not in lines[-1]):
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        code = process.wait(10)
    assert re.fullmatch(r"\S+ \S+ \[STATUS\] \(StatusMajor\.CONNECTION, StatusMinor\.CONN_CONNECTED\)\n", lines[-1])
    assert any("[LOG] " in line for line in lines)
    assert code == 0
    assert "BYTES_IN" in rest
    assert "No sessions available" in sessions(machine)


def test_a_refusal(machine: SystemBusSandbox) -> None:
    done = openvpn2(machine, "--config", FILE, "--daemon", input="ann\nwrong\n")
    assert done.returncode == 3
    assert "authentication failed" in done.stderr
    assert openvpn2(machine, FILE, input="ann\nwrong\n").returncode == 0  # whatever ended it
    assert "No sessions available" in sessions(machine)


def test_what_is_made_of_options(machine: SystemBusSandbox) -> None:
    words = (
        "--client",
        "--dev",
        "tun",
        "--remote",
        "vpn.example",
        "1194",
        "udp",
        "--auth-user-pass",
        "--ca",
        "/etc/passwd",
    )
    done = openvpn2(machine, *words, debug="DUMP_PARSE")
    lines = done.stdout.splitlines()
    assert lines[:4] == ["client", "dev tun", "remote vpn.example 1194 udp", "auth-user-pass"]
    assert "<ca>" in lines
    done = openvpn2(machine, "--config", FILE, "--profile-override", "persist-tun", "yes", debug="IMPORT_ONLY")
    path = done.stdout.removeprefix("Configuration path: ").strip()
    shown = machine.run(["openvpn3", "config-manage", "--path", path, "--show"], account=ALICE).stdout
    assert "persist-tun: true" in shown.lower()
    machine.run(["openvpn3", "config-remove", "--path", path, "--force"], account=ALICE)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--config", "/nowhere"], "can't read /nowhere"),
        (["--client", "--fragment", "1400"], "fragment"),
        (["--config", FILE, "--nonsense"], "nonsense"),
        (["--verb", "9"], "from 1 to 6"),
        (["--profile-override", "nonsense", "1"], "nonsense"),
        (["--profile-override", "persist-tun", "perhaps"], "yes or no"),
        (["--config"], "wrong number"),
        (["--client", "--ca", "/nowhere.crt"], "nowhere.crt"),
    ],
)
def test_errors(machine: SystemBusSandbox, words: list[str], reason: str) -> None:
    done = openvpn2(machine, *words)
    assert done.returncode == 2
    assert reason in done.stderr


def test_help(machine: SystemBusSandbox) -> None:
    assert openvpn2(machine, "--help").stdout.startswith("Usage: openvpn2")
    assert openvpn2(machine).returncode == 2


def test_words() -> None:
    wish = understand(["--remote", "a b", "1194", "--verb=5", "--daemon", "--profile-override", "dns-scope", "tunnel"])
    assert (wish.lines, wish.daemon) == (['remote "a b" 1194', "verb 5"], True)
    assert wish.overrides == wish.all_overrides() == {"dns-scope": "tunnel"}
    wish = understand(
        ["--persist-tun", "--enable-dco", "--disable-dco", "--profile-override", "dns-sync-lookup", "YES"]
    )
    assert (wish.lines, wish.dco) == (["persist-tun"], False)
    assert wish.all_overrides() == {"persist-tun": True, "dns-sync-lookup": True}
    assert understand(["--persist-tun", "--profile-override", "persist-tun", "no"]).all_overrides() == {
        "persist-tun": False
    }
    assert understand(["--remote-random-h"]).lines == ["remote-random-hostname"]
    with pytest.raises(CommandError, match="begin with --"):
        understand(["client", "--daemon"])


def test_every_option_of_the_original_is_known() -> None:
    rows = tomllib.loads((Path(__file__).parents[1] / "data/cli/options.toml").read_text())["openvpn2"]
    usable = {*OWN, *(name for name, row in table().items() if row.status is not Status.REFUSED)}
    assert set(rows["accepted"].split()) <= usable
    refused = set(rows["refused"].split())
    assert refused <= table().keys()
    assert not refused & usable
