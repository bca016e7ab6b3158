"""To a real server through a proxy, which resolves the server's name: "localhost" is another at the client's end."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.interop.test_roaming import MOVED, move
from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.netns import end
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
PORT = 3128
LOGIN = "<http-proxy-user-pass>\nme\nsecret\n</http-proxy-user-pass>"
StartServer = Callable[..., OpenVpnServer]
StartProxy = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_proxy(machine: Machine) -> Iterator[StartProxy]:
    """A proxy in the server's namespace; the lines it writes tell what it was asked."""
    stack = ExitStack()

    def start(*words: str) -> subprocess.Popen[str]:
        command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.proxy", *words]
        process = machine.pair.server.popen([*command, "--port", str(PORT)], stdout=subprocess.PIPE)
        stack.enter_context(process)
        stack.callback(end, process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    with stack:
        yield start


def check(machine: Machine, server: OpenVpnServer) -> None:
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, 1_000_000)
    machine.disconnect()


def proxy_line(machine: Machine, *words: str) -> str:
    return " ".join(["http-proxy", machine.pair.FAR_V4, str(PORT), *words])


@pytest.mark.option("http-proxy", "http-proxy-option")
def test_http(machine: Machine, start_server: StartServer, start_proxy: StartProxy) -> None:
    """The proxy's address, not the server's, is kept out of the tunnel."""
    server, proxy = start_server(proto="tcp", push=["redirect-gateway def1"]), start_proxy("http")
    before = machine.pair.client.state()
    options = ("http-proxy-option AGENT Browser/1", "http-proxy-option CUSTOM-HEADER X-Site Basel")
    machine.bring_in(server.profile(proxy_line(machine), *options, remote="localhost"), "vpn")
    assert "(localhost)" in machine.openvpn3("session-start", "--config", "vpn").stdout
    assert proxy.stdout
    assert proxy.stdout.readline() == "CONNECT localhost:1194 HTTP/1.0 Browser/1 Basel\n"
    assert "dev tun" not in machine.pair.client.run(["ip", "route", "get", machine.pair.FAR_V4]).stdout
    assert "dev tun" in machine.pair.client.run(["ip", "route", "get", "192.0.2.1"]).stdout
    assert f"Connected to: tcp:{machine.pair.FAR_V4}:{PORT}\n" in machine.sessions()
    check(machine, server)
    assert machine.pair.client.state() == before


@pytest.mark.option("http-proxy-user-pass")
@pytest.mark.parametrize(
    ("methods", "word"),
    [
        ("basic", "basic"),
        ("basic", "auto"),
        ("digest", "digest"),
        ("digest-MD5-sess", "auto-nct"),
        ("basic,digest-SHA-256", "auto"),
    ],
)
def test_credentials_of_the_profile(
    machine: Machine, start_server: StartServer, start_proxy: StartProxy, methods: str, word: str
) -> None:
    server = start_server(proto="tcp")
    start_proxy("http", "--auth", methods, "--login", "me:secret")
    machine.connect(server.profile(proxy_line(machine, word), LOGIN, remote="localhost"))
    check(machine, server)


def test_a_stale_nonce(machine: Machine, start_server: StartServer, start_proxy: StartProxy) -> None:
    server = start_server(proto="tcp")
    start_proxy("http", "--auth", "digest", "--login", "me:secret", "--stale")
    machine.connect(server.profile(proxy_line(machine), LOGIN, remote="localhost"))
    check(machine, server)


def test_credentials_that_are_asked_for(machine: Machine, start_server: StartServer, start_proxy: StartProxy) -> None:
    """Of the user, when the proxy asks; and again when it doesn't take them."""
    server = start_server(proto="tcp")
    start_proxy("http", "--auth", "digest-SHA-256", "--login", "me:secret")
    machine.bring_in(server.profile(proxy_line(machine), remote="localhost"), "vpn")
    answers = "me\nwrong\nme\nsecret\n"
    done = machine.openvpn3("session-start", "--config", "vpn", input=answers)
    assert done.stdout.count("HTTP proxy username") + done.stderr.count("HTTP proxy username") == 2
    assert "wrong" not in done.stdout + done.stderr
    check(machine, server)


def test_overrides(machine: Machine, start_server: StartServer, start_proxy: StartProxy) -> None:
    server = start_server(proto="tcp")
    start_proxy("http", "--auth", "basic", "--login", "me:secret")
    machine.bring_in(server.profile(remote="localhost"), "vpn")
    overrides = {
        "proxy-host": machine.pair.SERVER_V4,
        "proxy-port": str(PORT),
        "proxy-username": "me",
        "proxy-password": "secret",
    }
    for name, value in overrides.items():
        machine.openvpn3("config-manage", "--config", "vpn", f"--{name}", value)
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert "clear text" in done.stderr
    machine.openvpn3("config-manage", "--config", "vpn", "--proxy-auth-cleartext", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    check(machine, server)


@pytest.mark.option("socks-proxy", "socks-proxy-user-pass")
@pytest.mark.parametrize("login", ["", "me:secret"])
def test_socks(machine: Machine, start_server: StartServer, start_proxy: StartProxy, login: str) -> None:
    server = start_server(proto="tcp")
    start_proxy("socks", *(["--login", login] if login else []))
    line = f"socks-proxy {machine.pair.SERVER_V4} {PORT}"
    block = "<socks-proxy-user-pass>\nme\nsecret\n</socks-proxy-user-pass>"
    machine.connect(server.profile(line, *([block] if login else []), remote="localhost"))
    check(machine, server)


@pytest.mark.parametrize(("proto", "floating"), [("udp", ""), ("udp6", ""), ("udp", "float")])
def test_socks_over_udp(
    machine: Machine, start_server: StartServer, start_proxy: StartProxy, proto: str, floating: str
) -> None:
    """The server's name is looked up here: its address is in each datagram."""
    server, proxy = start_server(proto=proto, push=["redirect-gateway def1"]), start_proxy("socks")
    before = machine.pair.client.state()
    machine.connect(server.profile(f"socks-proxy {machine.pair.FAR_V4} {PORT}", floating))
    assert proxy.stdout
    assert proxy.stdout.readline() == f"datagrams with a header 0000000{4 if proto == 'udp6' else 1}\n"
    assert "dev tun" not in machine.pair.client.run(["ip", "route", "get", machine.pair.FAR_V4]).stdout
    transfer(machine.pair.server, machine.pair.client, "10.8.0.2", 300_000)
    check(machine, server)
    assert machine.pair.client.state() == before


@pytest.mark.parametrize(
    ("moves", "reason"),
    [
        (False, "the proxy closed the connection that its relay depends on"),
        (True, f"the way to the server has changed: it leads from {MOVED} now"),
    ],
    ids=["closed", "moved"],
)
def test_the_end_of_a_relay(
    machine: Machine, start_server: StartServer, start_proxy: StartProxy, moves: bool, reason: str
) -> None:
    """A new session, with a new relay."""
    server, proxy = start_server(), start_proxy("socks")
    machine.connect(server.profile(f"socks-proxy {machine.pair.FAR_V4} {PORT}"))
    assert proxy.stdout
    proxy.stdout.readline()
    if moves:
        move(machine)
    else:
        proxy.send_signal(signal.SIGUSR1)
    assert proxy.stdout.readline().startswith("datagrams with a header")
    assert reason in machine.sandbox.log()
    machine.pair.client.run(["ping", "-c", "1", "-W", "10", server.TUNNEL_V4])


@pytest.mark.parametrize(
    ("kind", "lines", "reason"),
    [
        (["http"], [], "the proxy refuses: 502 Bad Gateway"),
        (["http", "--auth", "ntlm,negotiate"], [], "it offers negotiate, ntlm"),
        (["socks"], [], "the proxy closed the connection"),
        (["silent"], ["server-poll-timeout 1"], "no answer from the proxy within 1 s"),
        ([], [], "Connection refused"),
    ],
)
def test_a_proxy_that_does_not_lead_to_the_server(
    machine: Machine, start_proxy: StartProxy, start_server: StartServer, kind: list[str], lines: list[str], reason: str
) -> None:
    server = start_server(proto="tcp")
    if kind:
        start_proxy(*kind)
    profile = server.profile(proxy_line(machine), *lines, remote="localhost").replace("localhost 1194", "localhost 9")
    machine.bring_in(profile, "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode
    assert reason in done.stderr
    assert f"proxy {machine.pair.FAR_V4}:{PORT} for localhost:9 (tcp)" in done.stderr


def test_a_proxy_without_an_address(machine: Machine, start_server: StartServer) -> None:
    server = start_server(proto="tcp")
    machine.bring_in(server.profile("http-proxy a..b 3128", remote="localhost"), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode
    assert "can't resolve the proxy a..b: not a host name" in done.stderr


def test_a_server_whose_name_is_none(machine: Machine, start_server: StartServer, start_proxy: StartProxy) -> None:
    server, _ = start_server(proto="tcp"), start_proxy("socks")
    profile = server.profile(f"socks-proxy {machine.pair.FAR_V4} {PORT}", remote="localhost")
    machine.bring_in(profile.replace("localhost 1194", "a..b 1194"), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode
    assert "a..b is not a host name" in done.stderr
