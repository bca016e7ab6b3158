"""What old servers want of the data channel: CBC and its digests, no negotiation, framing and compression."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.machine import Machine
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]

SIZE = 2_000_000
CLIENT_V4 = "10.8.0.2"


def both_ways(machine: Machine, server: OpenVpnServer) -> None:
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, SIZE)
    transfer(machine.pair.server, machine.pair.client, CLIENT_V4, SIZE)
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", "-s", "1400", server.TUNNEL_V4])


@pytest.mark.option("auth", "data-ciphers")
@pytest.mark.parametrize(
    ("proto", "cipher", "auth"),
    [
        ("udp", "AES-256-CBC", "SHA256"),
        ("tcp", "AES-128-CBC", "SHA1"),
        ("udp", "AES-192-CBC", "SHA512"),
        ("udp", "AES-256-CBC", "none"),
    ],
)
def test_cbc(machine: Machine, start_server: StartServer, proto: str, cipher: str, auth: str) -> None:
    server = start_server(proto=proto, cipher=cipher, extra=[f"auth {auth}"])
    machine.connect(server.profile(f"auth {auth}"))
    both_ways(machine, server)
    assert f",cipher {cipher}," in server.log()  # of the push reply


@pytest.mark.option("ncp-ciphers")
def test_the_former_name_of_data_ciphers(machine: Machine, start_server: StartServer) -> None:
    server = start_server(cipher="AES-128-CBC")
    machine.connect(server.profile().replace("data-ciphers AES-128-CBC", "ncp-ciphers AES-256-GCM:AES-128-CBC"))
    assert ",cipher AES-128-CBC," in server.log()


@pytest.mark.option("data-ciphers-fallback")
def test_a_server_that_does_not_negotiate(machine: Machine, start_server: StartServer) -> None:
    """Its cipher is in no push, so the profile has to name it."""
    server = start_server(cipher="AES-256-CBC", extra=["data-ciphers-fallback AES-256-CBC", "auth SHA256"])
    profile = server.profile("pull-filter ignore cipher", "data-ciphers-fallback AES-256-CBC", "auth SHA256")
    machine.connect(profile)
    both_ways(machine, server)


def test_a_cipher_that_only_the_override_allows(machine: Machine, start_server: StartServer) -> None:
    server = start_server(cipher="AES-256-CBC", extra=["auth SHA256"])
    profile = server.profile("auth SHA256").replace("data-ciphers AES-256-CBC", "data-ciphers AES-256-GCM")
    machine.bring_in(profile, "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode == 8
    assert "no shared cipher" in done.stderr
    machine.openvpn3("config-manage", "--config", "vpn", "--enable-legacy-algorithms", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    both_ways(machine, server)


@pytest.mark.option("comp-lzo", "compress")
@pytest.mark.parametrize("cipher", ["AES-256-GCM", "AES-256-CBC"])
@pytest.mark.parametrize(
    ("of_server", "of_client"),
    [
        (["comp-lzo no", 'push "comp-lzo no"'], []),
        (["comp-lzo no"], ["comp-lzo no"]),
        (["comp-lzo no"], ["comp-lzo"]),
        (["compress stub", 'push "compress stub"'], []),
        (["compress stub-v2", 'push "compress stub-v2"'], []),
        (["compress stub"], ["compress"]),
        (["compress migrate"], ["comp-lzo no"]),
        (["compress migrate"], ["compress lz4"]),
    ],
    ids=lambda lines: "+".join(line.replace('"', "") for line in lines) or "-",
)
def test_framing(
    machine: Machine, start_server: StartServer, cipher: str, of_server: list[str], of_client: list[str]
) -> None:
    server = start_server(cipher=cipher, extra=of_server)
    machine.connect(server.profile(*of_client))
    both_ways(machine, server)


def test_a_server_that_compresses(machine: Machine, start_server: StartServer) -> None:
    server = start_server(extra=["allow-compression yes", "compress lz4-v2", 'push "compress lz4-v2"'])
    machine.bring_in(server.profile(), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode == 8
    assert "the server pushed compression (compress lz4-v2), which is refused" in done.stderr
    assert "set allow-compression to asym" in done.stderr


METHODS = [
    *("comp-lzo yes", "compress lzo", "compress lz4", "compress lz4-v2"),
    pytest.param("comp-lzo adaptive", marks=pytest.mark.full),
]


@pytest.mark.option("allow-compression")
@pytest.mark.parametrize("cipher", ["AES-256-GCM", pytest.param("AES-256-CBC", marks=pytest.mark.full)])
@pytest.mark.parametrize("proto", ["udp", pytest.param("tcp", marks=pytest.mark.full)])
@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_may_compress(
    machine: Machine, start_server: StartServer, cipher: str, proto: str, method: str
) -> None:
    """What it sends comes whole, and takes less on the wire; what we send is not compressed."""
    server = start_server(cipher=cipher, proto=proto, extra=["allow-compression yes", method, f'push "{method}"'])
    machine.connect(server.profile("allow-compression asym"))
    before = counters(machine)
    transfer(machine.pair.server, machine.pair.client, CLIENT_V4, SIZE, dull=True)
    received = counters(machine)
    assert received["TUN_BYTES_OUT"] - before["TUN_BYTES_OUT"] > SIZE
    assert received["BYTES_IN"] - before["BYTES_IN"] < SIZE / 2
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, SIZE, dull=True)
    assert counters(machine)["BYTES_OUT"] - received["BYTES_OUT"] > SIZE
    both_ways(machine, server)  # random octets, which the server leaves alone
    assert "COMPRESS_ERROR" not in counters(machine)


def counters(machine: Machine) -> Counter[str]:
    return Counter(json.loads(machine.openvpn3("session-stats", "--config", "vpn", "--json").stdout))


@pytest.mark.parametrize("method", ["comp-lzo yes", "compress lz4", "compress lz4-v2"])
def test_compression_that_nobody_pushes(machine: Machine, start_server: StartServer, method: str) -> None:
    """Both sides know of it from their configuration. Unless it is allowed, what is compressed is lost, and told."""
    server = start_server(extra=["allow-compression yes", method])
    machine.bring_in(server.profile(method), "vpn")
    machine.openvpn3("session-start", "--config", "vpn")
    ping = ["ping", "-c", "3", "-i", "0.2", "-W", "1", "-s", "1000", "-p", "00", CLIENT_V4]
    assert machine.pair.server.run(ping, check=False).returncode == 1
    assert counters(machine)["COMPRESS_ERROR"] >= 3
    told = "packets from the server are compressed and dropped: set allow-compression to asym"
    assert machine.sandbox.log().count(told) == 1
    machine.disconnect()
    machine.openvpn3("config-manage", "--config", "vpn", "--allow-compression", "yes")
    machine.openvpn3("session-start", "--config", "vpn")
    machine.pair.server.run(ping)
    transfer(machine.pair.server, machine.pair.client, CLIENT_V4, SIZE, dull=True)
    assert counters(machine)["BYTES_IN"] < SIZE / 2


@pytest.mark.option("reneg-bytes", "reneg-pkts")
@pytest.mark.parametrize("limit", ["reneg-bytes 100000", "reneg-pkts 100"])
def test_a_key_that_has_done_enough_is_replaced(machine: Machine, start_server: StartServer, limit: str) -> None:
    server = start_server()
    machine.connect(server.profile(limit))
    pings = machine.pair.client.run(["ping", "-i", "0.01", "-c", "200", "-s", "1000", "-W", "2", server.TUNNEL_V4])
    assert " 0% packet loss" in pings.stdout
    assert server.log().count("TLS: soft reset") + server.log().count("VERIFY OK: depth=0") >= 2
