"""Profiles from an Access Server: whom it trusts, what it asks, whose they are, what it refuses."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.accessserver import CODE, access_server
from tests.support.account import ALICE, ROOT, Account
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
As = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def openvpn3_as(machine: Machine, start_server: Callable[..., OpenVpnServer], tmp_path: Path) -> Iterator[As]:
    """Run it, on a machine that trusts the authority of the server at the other end."""
    profile = start_server().profile("auth-user-pass")
    with access_server(machine.pair, tmp_path, profile) as (url, authority):
        machine.sandbox.write("/etc/web-ca.crt", authority)
        machine.sandbox.run(["chmod", "644", "/etc/web-ca.crt"])

        def run(
            *arguments: str, input: str = "", trust: bool = True, account: Account = ALICE, path: str = ""
        ) -> "subprocess.CompletedProcess[str]":
            trusted = ["env", "SSL_CERT_FILE=/etc/web-ca.crt"] if trust else []
            command = [*trusted, "openvpn3-as", *arguments, url + path]
            return machine.sandbox.run(command, account=account, check=False, input=input)

        yield run


def profiles(machine: Machine, account: Account = ALICE) -> dict[str, dict[str, object]]:
    listed = json.loads(machine.openvpn3("configs-list", "--json", account=account).stdout)
    return {profile["name"]: profile for profile in listed.values()}


def test_password_and_challenge(machine: Machine, openvpn3_as: As) -> None:
    done = openvpn3_as(input=f"ann\nright\n{CODE}\n")
    assert (done.returncode, done.stderr) == (0, "")
    asked = "OpenVPN Access Server Username: \nOpenVPN Access Server Password: \nCode & more : \n"
    assert done.stdout.startswith(f"{asked}Profile 'AS:198.51.100.1:8443' imported.")
    profile = profiles(machine)["AS:198.51.100.1:8443"]
    assert profile["tags"] == ["system:openvpn3-as"]
    assert profile["acl"]["locked_down"] is True  # type: ignore[index]
    again = openvpn3_as(input=f"ann\nright\n{CODE}\n")
    assert (again.returncode, "--name" in again.stderr) == (2, True)


def test_autologin_for_another_user(machine: Machine, openvpn3_as: As) -> None:
    machine.sandbox.write("/root/login", "ann\nright\n")
    arguments = ["--autologin", "--auth-user-pass", "/root/login", "--name", "office", "--owner", "alice"]
    done = openvpn3_as(*arguments, account=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert profiles(machine)["office"]["acl"]["owner"] == "alice"  # type: ignore[index]
    assert "office" not in profiles(machine, ROOT)
    machine.openvpn3("session-start", "--config", "office")
    for option in ("--owner=bob", "--systemd-start"):
        done = openvpn3_as(option)
        assert (done.returncode, "only root" in done.stderr) == (1, True)


def test_refused(machine: Machine, openvpn3_as: As) -> None:
    login = ("--username", "ann")
    for arguments, options, code, text in (
        (login, {"input": "wrong\n"}, 3, "gives no profile: Authentication failed [31m"),
        (login, {"input": f"right\nx{CODE}\n"}, 3, "gives no profile: Authentication failed"),
        (login, {"input": "right\n"}, 2, "standard input ended"),
        (login, {"input": "right\n", "trust": False}, 3, "is not trusted"),
        (login, {"input": "right\n", "path": "/gone"}, 3, "HTTP status 302"),
        (("--username", "eve"), {"input": "x\n"}, 2, "it names a file, and comes from elsewhere"),
        (("--username", "long"), {"input": "x\n"}, 3, "longer than a profile may be"),
        (("--username", "page"), {"input": "x\n"}, 2, "not an option name"),
        (("--owner", "nobody-here"), {"account": ROOT}, 2, "no account"),
    ):
        done = openvpn3_as(*arguments, **options)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
        assert not [word for word in ("\x1b", "right", "Traceback") if word in done.stderr]
    done = machine.sandbox.run(["openvpn3-as", "http://vpn.example"], check=False)
    assert (done.returncode, "https://HOST" in done.stderr) == (2, True)
    done = openvpn3_as("--username", "ann", "--insecure-certs", input=f"right\n{CODE}\n", trust=False)
    assert done.returncode == 0
