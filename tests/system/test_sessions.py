"""The life of a session on a real system bus with the shipped policy, as several users."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    LOG_NAME,
    SESSIONS_INTERFACE,
    SessionEvent,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.proxies.session import SessionManager
from tests.support.account import ALICE, BOB, ROOT
from tests.support.machine import Machine, comm
from tests.support.netns import CommandFailed
from tests.support.server import OpenVpnServer, password_script
from tests.support.stall import stalled

pytestmark = [pytest.mark.system, pytest.mark.interop]

StartServer = Callable[..., OpenVpnServer]


def status_field(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{field}:"))


def test_from_profile_to_removal(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    machine.connect(server.profile(), "office")
    listed = machine.sessions()
    for text in ("Path: /net/openvpn/v3/sessions/", "Owner: alice", "Config name: office", "Client connected"):
        assert text in listed
    assert f"Connected to: udp:{machine.pair.SERVER_V4}:1194" in listed
    machine.pair.client.run(["ping", "-c", "3", "-i", "0.1", "-W", "5", server.TUNNEL_V4])
    statistics = machine.openvpn3("session-stats", "--config", "office").stdout
    assert "TUN_PACKETS_OUT" in statistics
    assert "DECRYPT_ERROR" not in statistics
    machine.disconnect("office")
    assert machine.sessions().strip() == "No sessions available"
    machine.openvpn3("config-remove", "--config", "office", "--force")
    assert machine.clients() == []
    assert machine.pair.client.state() == before


def test_pause_resume_restart(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.connect(server.profile())
    machine.openvpn3("session-manage", "--config", "vpn", "--pause")
    assert "Client connection paused" in machine.sessions()
    assert "tun" not in machine.pair.client.run(["ip", "link"]).stdout
    for order in ("--resume", "--restart", "--pause", "--restart"):
        # By the interface, which a paused session had: how front-ends know it.
        machine.openvpn3("session-manage", "--interface", "tun0", order, "--timeout", "10")
        if order == "--pause":
            assert "Client connection paused" in machine.sessions()
            continue
        machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
        assert "Client connected" in machine.sessions()


def test_a_paused_session_s_interface_may_become_another_s(machine: Machine, start_server: StartServer) -> None:
    machine.connect(start_server().profile(), "first")
    machine.openvpn3("session-manage", "--config", "first", "--pause")
    machine.connect(start_server(port=1195, subnet=9).profile(), "second")
    machine.openvpn3("session-manage", "--interface", "tun0", "--disconnect")
    assert "Config name: first" in machine.sessions()
    assert "Config name: second" not in machine.sessions()


def test_other_users_see_nothing_until_they_are_let_in(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.connect(server.profile())
    path = next(line.split("Path: ")[1] for line in machine.sessions().splitlines() if "Path: " in line)
    assert machine.sessions(BOB).strip() == "No sessions available"
    assert "vpn" not in machine.openvpn3("configs-list", account=BOB).stdout
    for attempt in (
        ["config-dump", "--config", "vpn"],
        ["session-stats", "--path", path],
        ["session-manage", "--path", path, "--disconnect"],
        ["session-manage", "--path", path, "--pause"],
        ["session-start", "--config", "vpn"],
    ):
        assert machine.openvpn3(*attempt, account=BOB, check=False).returncode != 0, attempt
    assert "Client connected" in machine.sessions()
    send = ["dbus-send", "--system", "--print-reply", "--dest=net.openvpn.v3.sessions"]
    grant = [*send, path, "net.openvpn.v3.sessions.AccessGrant"]
    with pytest.raises(CommandFailed, match=r"Access denied: .* may not use AccessGrant"):
        machine.sandbox.run([*grant, f"uint32:{BOB.uid}"], account=BOB)
    machine.sandbox.run([*grant, f"uint32:{BOB.uid}"], account=ALICE)
    assert "Client connected" in machine.sessions(BOB)
    machine.openvpn3("session-manage", "--path", path, "--disconnect", account=BOB)
    assert machine.sessions().strip() == "No sessions available"


def test_granted_profiles(machine: Machine) -> None:
    machine.bring_in(
        "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\npeer-fingerprint " + "00:" * 31 + "00\n", "shared"
    )
    assert "shared" not in machine.openvpn3("configs-list", account=BOB).stdout
    machine.openvpn3("config-acl", "--config", "shared", "--grant", "bob")
    assert "192.0.2.1" in machine.openvpn3("config-dump", "--config", "shared", account=BOB).stdout
    machine.openvpn3("config-acl", "--config", "shared", "--lock-down", "true")
    assert machine.openvpn3("config-dump", "--config", "shared", account=BOB, check=False).returncode == 8
    assert machine.openvpn3("config-remove", "--config", "shared", "--force", account=BOB, check=False).returncode != 0


@pytest.mark.parametrize("account", [ALICE, ROOT])
@pytest.mark.parametrize("name", ["log", "configuration", "sessions", "netcfg", "backends", "backends.be1"])
def test_our_names_are_the_accounts_alone(machine: Machine, name: str, account: object) -> None:
    own = [
        *("dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"),
        *("org.freedesktop.DBus.RequestName", f"string:net.openvpn.v3.{name}", "uint32:4"),
    ]
    assert isinstance(account, type(ALICE))
    with pytest.raises(CommandFailed, match="not allowed to own"):
        machine.sandbox.run(own, account=account)


def test_only_root_installs(machine: Machine) -> None:
    done = machine.sandbox.run(["openvpn3-admin", "install"], account=ALICE, check=False)
    assert done.returncode == 8


def test_nobody_has_more_than_is_needed(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.connect(server.profile())
    account = machine.sandbox.run(["id", "-u", "openvpn"]).stdout.strip()
    (client,) = machine.clients()
    services = ["log", "configmgr", "sessionmgr", "netcfg", "backendstart"]
    for pid in (client, *map(machine.service, services)):
        assert set(status_field(pid, "Uid").split()) == {account}, comm(pid)
        assert status_field(pid, "NoNewPrivs") == "1", comm(pid)
        capabilities = {int(status_field(pid, field), 16) for field in ("CapEff", "CapPrm")}
        if pid == machine.service("netcfg"):
            assert int(status_field(pid, "CapEff"), 16) == 1 << 12, "CAP_NET_ADMIN"
        else:
            assert capabilities == {0}, comm(pid)


async def test_a_killed_client_is_noticed_at_once(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    machine.connect(server.profile())
    with ALICE.assumed():
        bus = await Bus.connect(machine.sandbox.address)
    (session,) = await SessionManager(bus).available()
    statuses: list[tuple[int, int]] = []
    ended: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
    status_change = Match(BACKENDS_INTERFACE, "StatusChange", LOG_NAME, session.path)
    await bus.subscribe(status_change, lambda m: statuses.append((m.body[0], m.body[1])))
    await bus.subscribe(Match(SESSIONS_INTERFACE, "SessionManagerEvent"), lambda m: ended.set_result(m.body))
    await session.log_forward(True)
    os.kill(machine.clients()[0], signal.SIGKILL)
    assert await asyncio.wait_for(ended, 1) == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    assert statuses == [(StatusMajor.SESSION, StatusMinor.PROC_KILLED)]
    bus.close()
    await bus.lost()
    assert machine.sessions().strip() == "No sessions available"
    assert machine.pair.client.state() == before


def test_traffic_goes_on_while_the_control_thread_hangs(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.connect(server.profile())
    (client,) = machine.clients()
    with stalled(client):
        pings = machine.pair.client.run(["ping", "-i", "0.1", "-c", "50", "-W", "1", server.TUNNEL_V4], timeout=20)
    assert "50 received" in pings.stdout
    assert "Client connected" in machine.sessions()


def test_a_password_is_asked_for_and_checked(machine: Machine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("alice", "right"))
    machine.bring_in(server.profile(), "vpn")
    wrong = machine.openvpn3("session-start", "--config", "vpn", input="alice\nwrong\n", check=False)
    assert wrong.returncode == 8
    assert "authentication failed" in (wrong.stdout + wrong.stderr).lower()
    assert machine.sessions().strip() == "No sessions available"
    machine.openvpn3("session-start", "--config", "vpn", input="alice\nright\n")
    assert "Client connected" in machine.sessions()
