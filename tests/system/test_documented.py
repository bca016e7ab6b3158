"""What README.md and docs/ tell a reader to type, and their examples of programs, do what they say."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.accessserver import CODE, access_server
from tests.support.account import ALICE, ROOT
from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.pages import blocks, command
from tests.support.server import OpenVpnServer, password_script
from tests.support.totp import ADDRESS, SECRET, totp_script

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

CONNECTED = "Connection, Client connected"
LOGIN = ["alice", "right"]


def programs(page: str) -> list[str]:
    return [text for language, text in blocks(page) if language == "python"]


@pytest.mark.parametrize(
    ("text", "interpreter", "arguments", "typed"),
    [
        pytest.param(programs("docs/dbus.md")[0], sys.executable, [], "alice\nright\n", id="dbus-python"),
        pytest.param(command("docs/dbus.md", "#!/bin/sh"), "sh", LOGIN, "", id="dbus-sh"),
        pytest.param(programs("docs/api.md")[0], sys.executable, LOGIN, "", id="api"),
        pytest.param(programs("docs/api.md")[1], sys.executable, [], "", id="api-blocking"),
    ],
)
def test_the_life_of_a_session(
    machine: Machine, start_server: StartServer, text: str, interpreter: str, arguments: list[str], typed: str
) -> None:
    if "busctl" in text and not shutil.which("busctl"):
        pytest.skip("no busctl")
    server = start_server(auth=password_script(*LOGIN)) if arguments or typed else start_server()
    before = machine.pair.client.state()
    script, profile = machine.write("example", text), machine.write("office.ovpn", server.profile())
    done = machine.sandbox.run([interpreter, script, profile, *arguments], account=ALICE, input=typed)
    assert machine.pair.SERVER_V4 in done.stdout
    assert "BYTES_IN" in done.stdout
    assert machine.sessions().strip() == "No sessions available"
    assert machine.openvpn3("configs-list", "--count").stdout.strip().endswith(" 0")
    assert machine.pair.client.state() == before


# -- README.md -------------------------------------------------------------------------------------
def test_a_tunnel_in_the_foreground(machine: Machine, start_server: StartServer) -> None:
    before = machine.pair.client.state()
    file = machine.write("client.ovpn", start_server().profile())
    machine.type(command("README.md", "sudo openvpn3 run client.ovpn"), until=CONNECTED)
    from_the_tree = command("README.md", "sudo make run PROFILE=client.ovpn")
    machine.type(from_the_tree, {"client.ovpn": file}, until=CONNECTED, folder=str(PROJECT))
    assert machine.pair.client.state() == before


def test_tunnels_in_the_background(machine: Machine, start_server: StartServer) -> None:
    before = machine.pair.client.state()
    machine.write("client.ovpn", start_server().profile())
    shown = machine.type(command("README.md", "openvpn3 config-import"))
    for text in ("Configuration path", CONNECTED, "BYTES_IN", "tls_1_3", "Attach", "office tun0", "tun0    connected"):
        assert text in shown
    assert machine.sessions().strip() == "No sessions available"
    assert machine.pair.client.state() == before
    # As docs/install.md does it in another environment.
    machine.openvpn3("session-start", "--config", "office")
    machine.type(command("docs/install.md", "sudo openvpn3-admin stop --services"))
    assert CONNECTED in machine.sessions()
    shown = machine.sandbox.run(command("docs/install.md", "openvpn3-admin install --dry-run").split()).stdout
    assert shown == "Everything is installed already.\n"


def test_the_demonstration() -> None:
    typed = command("README.md", "sudo make demo").removeprefix("sudo ")
    done = subprocess.run(["sh", "-ec", typed], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "links, addresses, routes and rules are as they were before" in done.stdout


# -- docs/ -----------------------------------------------------------------------------------------
def test_data_path(machine: Machine, start_server: StartServer) -> None:
    machine.bring_in(start_server().profile(), "office")
    machine.type(command("docs/data-path.md", "openvpn3 config-manage --config office --offloads"))
    machine.type(command("docs/data-path.md", "openvpn3 config-manage --config office --allow-compression"))
    machine.openvpn3("session-start", "--config", "office")
    found = machine.openvpn3("session-stats", "--config", "office").stdout
    assert ("OFFLOAD_GRO" in found, "OFFLOAD_USO" in found) == (True, False)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (
            command("docs/dns.md", "sudo openvpn3-admin netcfg-service --config-set systemd-resolved"),
            "resolved in use: Yes",
        ),
        (command("docs/dns.md", "sudo openvpn3-admin netcfg-service --config-set resolv-conf"), "/etc/resolv.conf"),
    ],
)
def test_dns(machine: Machine, start_server: StartServer, typed: str, shown: str) -> None:
    machine.type(typed)
    machine.type(command("docs/dns.md", "sudo openvpn3-admin stop --services"))
    assert shown in machine.sandbox.run(["openvpn3-admin", "netcfg-service", "--config-show"]).stdout
    machine.bring_in(start_server(push=["dhcp-option DNS 10.8.0.1"]).profile(), "work")
    machine.openvpn3("session-start", "--config", "work")
    read = machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    assert ("nameserver 10.8.0.1" in read) == ("resolv.conf" in shown)
    machine.type(command("docs/dns.md", "openvpn3 config-manage --config work --dns-scope tunnel"))


def test_network(machine: Machine, start_server: StartServer) -> None:
    before = machine.pair.client.state()
    machine.type(command("docs/network.md", "sudo openvpn3-admin netcfg-service --config-set marks-allowed"))
    machine.type(command("docs/isolation.md", "sudo openvpn3-admin stop --services"))
    machine.bring_in(start_server(push=["redirect-gateway def1"]).profile("mark 32"), "work")
    machine.type(command("docs/network.md", "openvpn3 config-manage --config work --kill-switch true"))
    machine.openvpn3("session-start", "--config", "work")
    assert "fwmark:0x20" in machine.pair.client.run(["ss", "-Hune"]).stdout
    machine.sandbox.run(["kill", "-9", *map(str, machine.clients())])
    assert machine.pair.client.state() != before
    machine.type(command("docs/network.md", "sudo openvpn3-admin netcfg-service --release"))
    assert machine.pair.client.state() == before


def test_isolation(machine: Machine, start_server: StartServer) -> None:
    server = start_server(extra=["duplicate-cn"])
    machine.sandbox.run(["useradd", "crawler"])
    machine.type(command("docs/isolation.md", "sudo openvpn3-admin netcfg-service --config-set netns-allowed"))
    machine.type(command("docs/isolation.md", "sudo openvpn3-admin stop --services"))
    machine.bring_in(server.profile(), "work")
    machine.type(command("docs/isolation.md", "sudo ip netns add vpn"), {"intranet.example": server.TUNNEL_V4})
    assert "Place: network namespace vpn" in machine.sessions()
    machine.disconnect("work")
    machine.type(command("docs/isolation.md", "sudo openvpn3 run --netns vpn work.ovpn"), until=CONNECTED)

    machine.openvpn3("config-manage", "--config", "work", "--unset-override", "netns")
    machine.type(command("docs/isolation.md", "openvpn3 config-manage --config work --route-table 100 --route-uids"))
    machine.openvpn3("session-start", "--config", "work")
    rules = machine.pair.client.run(["ip", "rule", "show", "priority", "1194"]).stdout
    assert "uidrange 2000-2999 lookup 100" in rules
    assert "fwmark 0x20/0xff" in rules
    machine.type(command("docs/isolation.md", "openvpn3 config-manage --config work --route-table 100 --route-cgroups"))
    shown = machine.openvpn3("config-manage", "--config", "work", "--show").stdout
    assert "vpn.slice,system.slice/backup.service" in shown


def test_a_container_s_namespace(machine: Machine) -> None:
    """By the process of the container, which `docker inspect` would tell."""
    with ExitStack() as stack:
        web = stack.enter_context(machine.sandbox.popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE))
        stack.callback(web.kill)
        asked = {"$(docker inspect -f '{{.State.Pid}}' web)": str(web.pid)}
        machine.type(command("docs/isolation.md", "sudo ip netns attach web"), asked)
        assert "web" in machine.sandbox.run(["ip", "netns", "list"]).stdout


def test_access_server(machine: Machine, start_server: StartServer, tmp_path: Path) -> None:
    with access_server(machine.pair, tmp_path, start_server().profile("auth-user-pass")) as (url, authority):
        machine.write("web-ca.crt", authority)
        typed = command("docs/unattended.md", "openvpn3-as --username ann https://vpn.example.com")
        typed = f"export SSL_CERT_FILE=web-ca.crt; {typed.replace('https://vpn.example.com', url)}"
        argv = ["env", f"--chdir={ALICE.home}", "sh", "-c", typed]
        done = machine.sandbox.run(argv, account=ALICE, input=f"right\n{CODE}\n")
    assert "Profile 'AS:198.51.100.1:8443' imported." in done.stdout


def test_monitoring(machine: Machine, start_server: StartServer) -> None:
    machine.type(command("docs/monitoring.md", "sudo openvpn3-admin log-service --config-set journald true"))
    machine.sandbox.run(["openvpn3-admin", "log-service", "--config-unset", "journald"])  # there is none here
    machine.type(command("docs/monitoring.md", "sudo openvpn3-admin log-service --config-set log-file"))
    machine.type(command("docs/monitoring.md", "sudo openvpn3-admin stop --services"))
    machine.connect(start_server().profile(), "office")
    machine.sandbox.run(["mkdir", "-p", "/var/lib/prometheus/node-exporter"])
    machine.sandbox.run(["rm", "-f", "/etc/resolv.conf"])  # may name a resolver that isn't here
    machine.sandbox.write("/etc/resolv.conf", f"nameserver {machine.pair.SERVER_V4}\n")
    for typed, shown in (
        (command("docs/monitoring.md", "sudo openvpn3-admin doctor"), "Kernel"),
        (command("docs/monitoring.md", "openvpn3 top"), "office"),
        (command("docs/monitoring.md", "openvpn3 events"), CONNECTED),
        (command("docs/monitoring.md", "openvpn3 log --config office\n"), "Attach"),
        (command("docs/monitoring.md", "openvpn3 log --config office --history"), CONNECTED),
        (command("docs/monitoring.md", "sudo openvpn3 log --config office --history --no-follow"), "tun0 made"),
        (command("docs/monitoring.md", "sudo openvpn3-admin metrics --listen"), "Serving"),
        (command("docs/monitoring.md", "sudo openvpn3-admin metrics --textfile"), ""),
        (command("docs/monitoring.md", "sudo openvpn3-admin metrics\n"), "# HELP openvpn3_"),
        (command("docs/monitoring.md", "openvpn3 session-acl --allow-log-access") + " true --config office", ""),
        (command("docs/api.md", "openvpn3 config-dump --json") + " --config office", '"profile"'),
    ):
        assert shown in machine.type(typed, until=shown)


def test_autoload(machine: Machine, start_server: StartServer) -> None:
    [settings] = [text for language, text in blocks("docs/unattended.md") if language == "json"]
    server = start_server(auth=totp_script())
    machine.sandbox.run(["mkdir", "/run/DIR"])
    machine.sandbox.write("/run/DIR/office.conf", server.profile('static-challenge "Code" 0'))
    machine.sandbox.write("/run/DIR/office.autoload", settings.replace(SECRET, ADDRESS))
    typed = command("docs/unattended.md", "openvpn3-autoload --directory DIR")
    machine.type(f"sudo {typed}", {"DIR": "/run/DIR"})
    assert CONNECTED in machine.sessions(ROOT)
