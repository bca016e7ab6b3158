"""Our units under a real systemd: ready at connected, logged in without a person, ended and started again in order."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.accessserver import access_server
from tests.support.booted import PACKAGES, SYSTEMD, BootedMachine, drop_in
from tests.support.bus import BIN
from tests.support.capture import capturing
from tests.support.mirror import mirror
from tests.support.netns import NamespacePair
from tests.support.packages import fetched
from tests.support.pages import blocks, command
from tests.support.server import OpenVpnServer, password_script
from tests.support.totp import ADDRESS, SECRET, totp_script, wait_for_another_code

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

HOME = "/run/home"
UNIT = "openvpn3-session@office.service"
CONNECTED = "Connection, Client connected"
QUICKLY = "RestartSec=100ms"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where it isn't installed."""
    if SYSTEMD.exists():
        return None
    return fetched(PACKAGES, tmp_path_factory.mktemp("systemd")) / "usr"


@pytest.fixture
def machine(pair: NamespacePair, packages: Path | None) -> Iterator[BootedMachine]:
    with BootedMachine(pair.client, packages) as machine:
        yield machine
        print(machine.run(["journalctl", "--no-pager"], check=False).stdout)
        print(machine.console())


def bring_in(machine: BootedMachine, profile: str, settings: str = "") -> None:
    """The profile `office`, and a drop-in for its unit."""
    machine.write("/etc/office.ovpn", profile)
    machine.run(["openvpn3", "config-import", "--config", "/etc/office.ovpn", "--name", "office", "--persistent"])
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", drop_in(settings), "644")
    machine.systemctl("daemon-reload")


@contextmanager
def following(machine: BootedMachine, unit: str = UNIT) -> Iterator[Callable[[str], None]]:
    """A function that waits for a line of the unit's journal, after the last one that was waited for."""
    with machine.journal(unit) as journal:
        assert journal.stdout
        lines = journal.stdout

        def wait_for(text: str) -> None:
            assert any(text in line for line in lines), f"the journal ended without {text!r}"

        try:
            yield wait_for
        finally:
            journal.kill()


def sessions(machine: BootedMachine) -> int:
    return machine.run(["openvpn3", "sessions-list"]).stdout.count("Config name: office")


def test_password_and_codes(machine: BootedMachine, pair: NamespacePair, start_server: StartServer) -> None:
    """As docs/unattended.md has it. The server's token runs out: the tunnel comes back with another code."""
    server = start_server(auth=totp_script(), reneg_sec=4, extra=["auth-gen-token 1", "hand-window 2"])
    machine.write(f"{HOME}/office.ovpn", server.profile('static-challenge "Code" 0'))
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", drop_in(""), "644")
    make_files = command("docs/unattended.md", "install -d -m 700 secrets")
    start = command("docs/unattended.md", "openvpn3 session-start --config office.ovpn --credentials secrets")
    run = command("docs/unattended.md", "openvpn3 run --credentials secrets office.ovpn")
    enable = command("docs/unattended.md", "openvpn3 config-import --config office.ovpn --name office --persistent")
    control = command("docs/unattended.md", "systemctl status openvpn3-session@office.service")
    before = pair.client.state()
    assert SECRET in make_files
    machine.shell(make_files.replace(SECRET, f"'{ADDRESS}'"), HOME)  # of codes that change while a test can wait for it
    machine.shell(start, HOME)
    wait_for_another_code()
    with machine.popen(["sh", "-c", f"cd {HOME}; exec {run}"]) as process:
        assert process.stdout
        assert any(CONNECTED in line for line in process.stdout)
        machine.run(["pkill", "--full", "openvpn3 run"])
        assert process.wait(20) == 0
    wait_for_another_code()
    with following(machine) as wait_for:
        machine.shell(enable, HOME)
        state, text = machine.show(UNIT, "ActiveState", "StatusText")
        assert (state, text.startswith(CONNECTED)) == ("active", True)
        for _ in range(2):
            wait_for(CONNECTED)
        assert CONNECTED in machine.shell(control, HOME)
        wait_for(CONNECTED)
    assert machine.show(UNIT, "ActiveState", "Result") == ("inactive", "success")
    assert (sessions(machine), pair.client.state()) == (0, before)
    codes = [line.split()[-1] for line in (server.directory / "logins").read_text().splitlines()]
    journal = machine.run(["journalctl", "--all"]).stdout
    assert len(set(codes)) == len(codes) >= 4
    assert not [secret for secret in ("right", SECRET, *codes) if secret in journal]


def test_a_person_answers(machine: BootedMachine, start_server: StartServer) -> None:
    """By any agent of systemd's; this is how its own for the console is built."""
    server = start_server(auth=password_script("ann", "right"))
    bring_in(machine, server.profile(), "SetCredential=username:ann")
    agent = r"""
    for question in /run/systemd/ask-password/ask.*; do
        cp "$question" /run/question
        printf right | /usr/lib/systemd/systemd-reply-password 1 "$(sed -n s/^Socket=//p "$question")"
    done
    """
    machine.write("/run/agent", agent)
    machine.write("/etc/systemd/system/agent.path", "[Path]\nDirectoryNotEmpty=/run/systemd/ask-password\n", "644")
    machine.write("/etc/systemd/system/agent.service", "[Service]\nExecStart=/bin/sh /run/agent\n", "644")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "agent.path")
    machine.systemctl("start", UNIT)
    assert machine.show(UNIT, "ActiveState") == ("active",)
    question = machine.run(["cat", "/run/question"]).stdout
    assert "Message=Auth Password:" in question
    assert "Echo=0" in question
    machine.run(["openvpn3-admin", "uninstall"])
    assert machine.show(UNIT, "LoadState", "ActiveState", "Result") == ("not-found", "inactive", "success")


def test_what_trying_again_does_not_help(machine: BootedMachine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("ann", "right"))
    bring_in(machine, server.profile(), f"{QUICKLY}\nSetCredential=username:ann\nSetCredential=password:wrong")
    machine.write("/etc/systemd/system/openvpn3-session@.service.d/test.conf", drop_in(QUICKLY), "644")
    machine.systemctl("daemon-reload")
    for unit, code in ((UNIT, "77"), (UNIT.replace("office", "none"), "78")):
        assert "failed" in machine.systemctl("start", unit, check=False)
        found = machine.show(unit, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
        assert found == ("failed", "exit-code", code, "0")
    [text, number] = machine.show(UNIT, "StatusText", "StatusErrno")
    assert (text, number) == ("Connection, Client authentication failed: Authentication failed", "13")
    assert sessions(machine) == 0


def test_started_again(machine: BootedMachine, start_server: StartServer) -> None:
    """Its main process is killed; the client hangs, which only the watchdog can see; but not what a user ends."""
    bring_in(machine, start_server().profile(), f"{QUICKLY}\nWatchdogSec=3")
    client = ["pkill", "--exact", "openvpn3-client", "--signal"]
    with following(machine) as wait_for:
        machine.systemctl("start", UNIT)
        wait_for(CONNECTED)
        machine.systemctl("kill", "--kill-who=main", "--signal=KILL", UNIT)
        wait_for(CONNECTED)
        assert sessions(machine) == 1
        machine.run([*client, "STOP"])
        wait_for("does not answer")
        wait_for("Watchdog timeout")
        machine.run([*client, "CONT"])
        wait_for(CONNECTED)
        assert sessions(machine) == 1
        assert machine.show(UNIT, "NRestarts") == ("2",)
        machine.run(["openvpn3", "session-manage", "--config", "office", "--disconnect"])
        wait_for("Deactivated successfully")
    assert machine.show(UNIT, "ActiveState", "Result") == ("inactive", "success")


def test_from_an_access_server(
    machine: BootedMachine, pair: NamespacePair, start_server: StartServer, tmp_path: Path
) -> None:
    """Downloaded, imported and started in one go, as the session of another user."""
    machine.run(["useradd", "--create-home", "ann"])
    machine.write("/etc/systemd/system/openvpn3-session@.service.d/test.conf", drop_in(""), "644")
    with access_server(pair, tmp_path, start_server().profile()) as (url, authority):
        machine.write("/etc/web-ca.crt", authority)
        login = ["env", "SSL_CERT_FILE=/etc/web-ca.crt", "OPENVPN3_USERNAME=ann", "OPENVPN3_PASSWORD=right"]
        how = ["--autologin", "--owner", "ann", "--name", "a b", "--systemd-start", url]
        done = machine.run([*login, "openvpn3-as", *how])
    assert r"Started as openvpn3-session@a\x20b.service" in done.stdout
    assert machine.show(r"openvpn3-session@a\x20b.service", "ActiveState", "User") == ("active", "ann")
    assert "Owner: ann" in machine.run(["runuser", "-u", "ann", "openvpn3", "sessions-list"]).stdout


def test_by_hand(machine: BootedMachine, start_server: StartServer) -> None:
    """Without systemd's environment; and systemd has nothing to say about the units."""
    bring_in(machine, start_server(auth=password_script("ann", "right")).profile())
    verified = machine.run(["systemd-analyze", "verify", "--man=no", UNIT, "openvpn3-autoload.service"])
    assert (verified.stdout, verified.stderr) == ("", "")
    done = machine.run(["env", f"PATH={BIN}", "openvpn3-systemd", "--start", "office"], check=False)
    assert done.returncode == 77
    assert "the session asks for username (Auth User name), and none is stored" in done.stderr
    for arguments, code, text in (
        ([], 1, "what is to be done?"),
        (["--start"], 1, "what is to be done?"),
        (["--start", "--stop", "office"], 78, "exclude each other"),
        (["--restart", "office"], 78, "no sessions of the profile 'office'"),
        (["--nonsense"], 78, "not recognized"),
        (["--stop", "office"], 0, ""),
    ):
        done = machine.run(["openvpn3-systemd", *arguments], check=False)
        assert (done.returncode, text in done.stderr) == (code, True)


def test_metrics(machine: BootedMachine, start_server: StartServer) -> None:
    """The unit may do all that it has to, and the port is this machine's own."""
    unit = "openvpn3-metrics.service"
    machine.write(f"/etc/systemd/system/{unit}.d/test.conf", drop_in(""), "644")
    bring_in(machine, start_server().profile())
    machine.systemctl("start", UNIT)
    with following(machine, unit) as wait_for:
        machine.as_root(command("docs/monitoring.md", "sudo systemctl enable --now openvpn3-metrics"))
        wait_for("Serving http://127.0.0.1:9176/metrics")
        script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9176/metrics').read().decode())"
        text = machine.run([BIN / "python", "-c", script]).stdout
        assert re.search('^openvpn3_session_connected{.*config="office",owner="root"} 1$', text, re.MULTILINE)
        assert re.search(r"^openvpn3_session_memory_bytes{.*} \d{7}", text, re.MULTILINE)
        assert re.search(r'^openvpn3_service_memory_bytes{service="netcfg"} \d{7}', text, re.MULTILINE)
    machine.systemctl("stop", unit)
    assert machine.show(unit, "ActiveState", "Result") == ("inactive", "success")


def test_hooks(machine: BootedMachine, start_server: StartServer) -> None:
    unit = "openvpn3-hooks.service"
    machine.write(f"/etc/systemd/system/{unit}.d/test.conf", drop_in(""), "644")
    bring_in(machine, start_server().profile())
    machine.write(f"{HOME}/my-firewall", "#!/bin/sh\necho $script_type $dev\n")
    with following(machine, unit) as wait_for:
        machine.as_root(command("docs/hooks.md", "sudo install -d /etc/openvpn3/hooks.d"), HOME)
        wait_for("Running what is in /etc/openvpn3/hooks.d")
        machine.systemctl("start", UNIT)
        wait_for("up tun0")
        machine.systemctl("stop", UNIT)
        wait_for("down tun0")


def test_a_service_by_its_cgroup(machine: BootedMachine, pair: NamespacePair, start_server: StartServer) -> None:
    """It takes the tunnel, whenever it is started; in a slice that is there already, with its very first packet. The
    tunnel's own packets come from one of the cgroups too, and stay outside."""
    allow = ["openvpn3-admin", "netcfg-service", "--config-file-override", "/var/lib/openvpn3/netcfg.json"]
    machine.run([*allow, "--config-set", "route-tables-allowed", "105"])
    server = start_server(push=["redirect-gateway def1"], extra=["multihome"])
    bring_in(machine, server.profile(remote=pair.FAR_V4))
    chosen = "/lab_vpn.slice,system.slice/lab-probe.service,system.slice/dbus.service"
    machine.run(["openvpn3", "config-manage", "--config", "office", "--route-table", "105", "--route-cgroups", chosen])
    before = pair.client.state()
    with mirror(pair.server) as port, capturing(pair.client) as capture:
        for unit, text in {
            # What most services do before they send anything takes as long.
            "probe": f"""ExecStartPre=python3 -c 'import asyncio'
                ExecStart=bash -c 'exec 3<>/dev/tcp/{server.TUNNEL_V4}/{port}; head -n 1 <&3'""",
            "ping": f"""Slice=lab_vpn.slice
                ExecStart=ping -c 1 -W 5 {server.TUNNEL_V4}""",
        }.items():
            service = f"[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=20\n{text}\n"
            machine.write(f"/etc/systemd/system/lab-{unit}.service", service, "644")
        machine.systemctl("daemon-reload")
        machine.systemctl("start", UNIT, "lab_vpn.slice")
        for _ in range(3):
            machine.systemctl("restart", "lab-ping.service")
        with following(machine, "lab-probe.service") as wait_for:
            for _ in range(3):
                machine.systemctl("restart", "lab-probe.service")
                wait_for("10.8.0.")
        assert server.TUNNEL_V4 not in capture.destinations()
    machine.systemctl("stop", UNIT, "lab_vpn.slice")
    assert pair.client.state() == before


def test_a_service_with_a_tunnel_of_its_own(machine: BootedMachine, start_server: StartServer) -> None:
    """As docs/isolation.md has it."""
    server = start_server(push=["dhcp-option DNS 10.8.0.1"])
    units = [text for _, text in blocks("docs/isolation.md") if "netns-vpn.service" in text]
    assert len(units) == 2
    for text in units:
        machine.write(text.splitlines()[0].removeprefix("# "), text, "644")
    look = f"ping -c 1 -W 5 {server.TUNNEL_V4} && cat /etc/resolv.conf /etc/nsswitch.conf"
    machine.write(
        "/etc/systemd/system/crawler.service", f"[Service]\nType=oneshot\nExecStart=/bin/sh -c '{look}'\n", "644"
    )
    machine.write("/etc/netns/vpn/resolv.conf", "", "644")
    machine.write("/etc/netns/vpn/nsswitch.conf", "hosts: files dns\n", "644")
    machine.as_root(command("docs/isolation.md", "sudo openvpn3-admin netcfg-service --config-set netns-allowed"))
    machine.as_root(command("docs/isolation.md", "sudo openvpn3-admin stop --services"))
    bring_in(machine, server.profile())
    machine.systemctl("start", "netns-vpn.service")
    machine.run(["openvpn3", "config-manage", "--config", "office", "--netns", "vpn"])
    machine.run(["openvpn3", "session-start", "--config", "office"])
    machine.systemctl("start", "crawler.service")
    said = machine.run(["journalctl", "--unit=crawler.service", "--output=cat"]).stdout
    assert "nameserver 10.8.0.1" in said
    assert "hosts: files dns" in said
    machine.systemctl("stop", "netns-vpn.service")
    assert "vpn" not in machine.run(["ip", "netns", "list"]).stdout
