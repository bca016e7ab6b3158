"""What options of a profile do, seen at a real server or at the client's kernel, one test each."""

import re
import signal
import socket
from collections.abc import Callable

import pytest

from tests.support.machine import Machine
from tests.support.netns import Namespace
from tests.support.server import OpenVpnServer, password_script
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]

MACHINE_ID = "0123456789abcdef0123456789abcdef"
PUSHED = ["route 172.16.0.0 255.240.0.0", "route-ipv6 fd16::/32", "dhcp-option DNS 10.8.0.1"]


def routes(net: Namespace) -> dict[str, str]:
    """Of the tunnel: destination and the rest."""
    lines = [
        line for f in ("-4", "-6") for line in net.run(["ip", f, "route", "show", "dev", "tun0"]).stdout.splitlines()
    ]
    return {line.split()[0]: line for line in lines}


def mtu(net: Namespace) -> int:
    return int(net.run(["cat", "/sys/class/net/tun0/mtu"]).stdout)


def segment_size(machine: Machine, address: str) -> int:
    """Of a TCP connection through the tunnel, as the server sees it."""
    with machine.pair.server.entered():
        listener = socket.create_server((address, 0))
    with machine.pair.client.entered():
        near = socket.socket()
    with listener, near:
        near.settimeout(10)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with far:
            return far.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


@pytest.mark.option(
    "route", "route-ipv6", "route-metric", "route-nopull", "pull-filter", "redirect-gateway", "redirect-private"
)
@pytest.mark.parametrize(
    ("lines", "present", "absent"),
    [
        ([], {"172.16.0.0/12": "via 10.8.0.1", "fd16::/32": "via fd08::1"}, []),
        (["route-nopull", "route 172.30.0.0 255.255.0.0"], {"172.30.0.0/16": "via"}, ["172.16.0.0/12", "fd16::/32"]),
        (
            ["route-metric 77", "route 172.30.0.0 255.255.0.0 vpn_gateway 5"],
            {"172.16.0.0/12": "metric 77", "172.30.0.0/16": "metric 5"},
            [],
        ),
        (["route-ipv6 fd30::/16"], {"fd30::/16": "via fd08::1"}, []),
        (['pull-filter ignore "route 172."'], {"fd16::/32": "via"}, ["172.16.0.0/12"]),
        (['pull-filter accept "route-ipv6"', "route-nopull"], {"fd16::/32": "via"}, ["172.16.0.0/12"]),
        (["redirect-gateway def1 ipv6"], {"0.0.0.0/1": "via", "8000::/1": "via"}, []),
        (["redirect-gateway def1 ipv6 !ipv4"], {"::/1": "via"}, ["0.0.0.0/1"]),
        (["redirect-private def1"], {}, ["0.0.0.0/1", "default"]),
    ],
)
def test_routes(
    machine: Machine, start_server: StartServer, lines: list[str], present: dict[str, str], absent: list[str]
) -> None:
    machine.connect(start_server(push=PUSHED).profile(*lines))
    found = routes(machine.pair.client)
    assert {to for to, how in present.items() if how not in found.get(to, "")} == set(), found
    assert not set(absent) & set(found)


@pytest.mark.option("tun-mtu", "tun-mtu-max", "pull-filter")
@pytest.mark.parametrize(
    ("server_lines", "lines", "expected"),
    [
        (["tun-mtu 1400"], [], 1400),
        (["tun-mtu 1700"], ["tun-mtu-max 1700"], 1700),
        (["tun-mtu 1700"], [], 1600),
        ([], ['pull-filter ignore "tun-mtu"', "tun-mtu 1320"], 1320),
    ],
)
def test_mtu(
    machine: Machine, start_server: StartServer, server_lines: list[str], lines: list[str], expected: int
) -> None:
    machine.connect(start_server(extra=server_lines).profile(*lines))
    assert mtu(machine.pair.client) == expected


@pytest.mark.option("mssfix")
# 1500 and 1492 with the headers of IP, UDP, the data channel (4 + 4 + 16), IP and TCP within.
@pytest.mark.parametrize(
    ("line", "least", "most"),
    [
        ("", 1388, 1400),
        ("mssfix 0", 1400, 1448),
        ("mssfix 1000", 924, 936),
        ("mssfix 1000 mtu", 896, 908),
        ("mssfix 1000 fixed", 988, 1000),
    ],
)
def test_mssfix(machine: Machine, start_server: StartServer, line: str, least: int, most: int) -> None:
    """Twelve octets of it are TCP's own for timestamps."""
    server = start_server(extra=["mssfix 0"])
    machine.connect(server.profile(line))
    assert least <= segment_size(machine, server.TUNNEL_V4) <= most


@pytest.mark.parametrize(("proto", "when"), [("udp", "before"), ("udp", "after"), ("udp6", "before"), ("tcp", "after")])
def test_a_link_with_smaller_packets(machine: Machine, start_server: StartServer, proto: str, when: str) -> None:
    """Smaller than mssfix allows for, before the tunnel is up or since: what is too large goes in fragments."""
    server = start_server(proto=proto)

    def shrink() -> None:
        for side in (machine.pair.client, machine.pair.server):
            side.ip("link", "set", "eth0", "mtu", "1300")

    if when == "before":
        shrink()
    machine.connect(server.profile())
    shrink()
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, 5_000_000)
    transfer(machine.pair.server, machine.pair.client, "10.8.0.2", 5_000_000)
    machine.pair.client.run(["ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "1472", server.TUNNEL_V4])


@pytest.mark.option("inactive")
def test_inactive_ends_the_session(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.connect(server.profile("inactive 1 100000"))
    for _ in range(10):
        if "No sessions available" in machine.sessions():
            return
        machine.pair.client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"], check=False)  # a second passes
    pytest.fail("still there")


@pytest.mark.option("push-peer-info", "setenv")
def test_push_peer_info(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    machine.sandbox.run(["sh", "-c", f"rm -f /etc/machine-id; echo {MACHINE_ID} > /etc/machine-id"])
    machine.connect(server.profile("push-peer-info", "setenv UV_SITE north", "setenv OTHER south"))
    log = server.log()
    assert "peer info: UV_SITE=north" in log
    [told] = re.findall(r"peer info: IV_HWADDR=([0-9a-f]{64})$", log, re.MULTILINE)
    shown = machine.sandbox.run(["openvpn3-admin", "variables", "--machine-id"]).stdout
    assert shown == f"Machine-ID (IV_HWADDR): {told}\nSource: System\n"
    assert MACHINE_ID not in log
    assert "south" not in log


@pytest.mark.option("persist-tun")
@pytest.mark.parametrize("persist", [False, True])
def test_persist_tun(machine: Machine, start_server: StartServer, persist: bool) -> None:
    machine.connect(start_server().profile(*(["persist-tun"] if persist else [])))
    index = machine.pair.client.run(["cat", "/sys/class/net/tun0/ifindex"]).stdout
    machine.openvpn3("session-manage", "--config", "vpn", "--pause")
    assert bool(machine.pair.client.run(["ip", "link", "show", "tun0"], check=False).returncode) != persist
    machine.openvpn3("session-manage", "--config", "vpn", "--resume")
    for _ in range(10):
        if "Client connected" in machine.sessions():
            break
        machine.pair.client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"], check=False)
    assert (machine.pair.client.run(["cat", "/sys/class/net/tun0/ifindex"]).stdout == index) == persist


REFUSES_ONCE = "test -e refused || { touch refused; exit 1; }; "


@pytest.mark.option("auth-retry")
@pytest.mark.parametrize("line", ["", "auth-retry none", "auth-retry nointeract"])
def test_auth_retry(machine: Machine, start_server: StartServer, line: str) -> None:
    server = start_server(auth=REFUSES_ONCE + password_script("alice", "right"))
    server.directory.chmod(0o777)
    machine.bring_in(server.profile(line), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", input="alice\nright\n", check=False)
    assert (done.returncode == 0) == ("nointeract" in line), done.stderr


@pytest.mark.option("remote-random", "remote")
def test_remote_random(machine: Machine, start_server: StartServer) -> None:
    """Twelve servers that nobody is behind are tried in another order than the profile's."""
    ports = [str(port) for port in range(1, 13)]
    profile = start_server(proto="tcp").profile(*(f"remote {machine.pair.SERVER_V4} {port} tcp" for port in ports))
    profile = profile.replace(f"remote {machine.pair.SERVER_V4} 1194 tcp\n", "remote-random\n", 1)
    machine.bring_in(profile, "vpn")
    machine.openvpn3("session-start", "--config", "vpn", check=False)
    tried = re.findall(r"connecting to \S+:(\d+) ", machine.sandbox.log())
    assert sorted(tried, key=int) == ports
    assert tried != ports


@pytest.mark.option("connection")
def test_connection_blocks(machine: Machine, start_server: StartServer) -> None:
    server = start_server(proto="tcp")
    blocks = [f"<connection>\nremote {machine.pair.SERVER_V4} {port} tcp\n</connection>" for port in (1, 1194)]
    profile = server.profile(*blocks).replace(f"remote {machine.pair.SERVER_V4} 1194 tcp\n", "", 1)
    machine.connect(profile)
    assert re.findall(r"connecting to \S+:(\d+) ", machine.sandbox.log()) == ["1", "1194"]


@pytest.mark.option("mssfix-ctrl")
def test_small_control_packets(machine: Machine, start_server: StartServer) -> None:
    """The largest that the client sends; the server's certificate takes many more of its own."""
    server = start_server(extra=["verb 7"], wrap="tls-crypt")
    machine.connect(server.profile("mssfix-ctrl 300"))
    sizes = [int(size) for size in re.findall(r"UDPv4 READ \[(\d+)\] from", server.log())]
    assert 250 < max(sizes) <= 300


@pytest.mark.option("ns-cert-type")
@pytest.mark.parametrize(("kind", "accepted"), [("server", True), ("client", False)])
def test_ns_cert_type(machine: Machine, start_server: StartServer, kind: str, accepted: bool) -> None:
    profile = start_server().profile(f"ns-cert-type {kind}").replace("remote-cert-tls server\n", "")
    machine.bring_in(profile, "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert (done.returncode == 0, "ns-cert-type" in done.stderr) == (accepted, not accepted)


@pytest.mark.option("tls-remote")
@pytest.mark.parametrize(("name", "accepted"), [("server", True), ("serv", True), ("client", False)])
def test_tls_remote(machine: Machine, start_server: StartServer, name: str, accepted: bool) -> None:
    machine.bring_in(start_server().profile(f"tls-remote {name}"), "vpn")
    assert (machine.openvpn3("session-start", "--config", "vpn", check=False).returncode == 0) == accepted


@pytest.mark.option("client", "tls-client", "pull", "dev-type", "key-method", "mode")
def test_a_client_spelled_out(machine: Machine, start_server: StartServer) -> None:
    """What `client` and the defaults stand for."""
    profile = start_server().profile("dev-type tun", "key-method 2", "mode p2p", "port 1194", "proto udp")
    machine.connect(profile.replace("client\n", "tls-client\npull\n", 1))
    assert mtu(machine.pair.client) == 1500


@pytest.mark.option("ignore-unknown-option", "setenv")
@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        (["future-thing 1"], False),
        (["ignore-unknown-option other future-thing", "future-thing 1"], True),
        (["setenv opt future-thing 1"], True),
        (["setenv opt tun-mtu 1400", 'pull-filter ignore "tun-mtu"'], True),
    ],
)
def test_options_of_later_versions(
    machine: Machine, start_server: StartServer, lines: list[str], accepted: bool
) -> None:
    path = machine.write("vpn.ovpn", start_server().profile(*lines))
    done = machine.openvpn3("config-import", "--config", path, "--name", "vpn", check=False)
    assert (done.returncode == 0, "unknown option" in done.stderr) == (accepted, not accepted)
    if accepted:
        machine.openvpn3("session-start", "--config", "vpn")
        assert mtu(machine.pair.client) == (1400 if "setenv opt tun-mtu 1400" in lines else 1500)


@pytest.mark.option("verb")
@pytest.mark.parametrize(("line", "told"), [("verb 3", False), ("verb 6", True)])
def test_verb(machine: Machine, start_server: StartServer, line: str, told: bool) -> None:
    machine.sandbox.run(["openvpn3-admin", "log-service", "--log-level", "6"])
    machine.connect(start_server().profile(line))
    assert ("session: connected" in machine.sandbox.log()) == told


@pytest.mark.option("keepalive")
def test_keepalive(machine: Machine, start_server: StartServer) -> None:
    """Nothing but its silence tells us that the server is gone."""
    server = start_server()
    machine.connect(server.profile('pull-filter ignore "ping"', "keepalive 1 2"))
    machine.pair.client.run(["ping", "-c", "4", "-W", "1", server.TUNNEL_V4])  # it answers: no reason to go
    assert "ping-restart" not in machine.sandbox.log()
    server.process.send_signal(signal.SIGKILL)
    for _ in range(10):
        if "gone silent (ping-restart)" in machine.sandbox.log():
            return
        machine.pair.client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"], check=False)  # a second passes
    pytest.fail("not noticed")
