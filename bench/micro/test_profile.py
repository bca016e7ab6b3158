"""Reading a profile: what each import and each start of a tunnel pays."""

from typing import Any

from ovpn3.profile import build, parse, to_json

PEM = "-----BEGIN CERTIFICATE-----\n" + ("QUJD" * 16 + "\n") * 30 + "-----END CERTIFICATE-----"
ROUTES = "".join(f"route 10.{i // 256}.{i % 256}.0 255.255.255.0\n" for i in range(200))
TEXT = f"client\ndev tun\nremote vpn.example 1194 udp\nauth-user-pass\n{ROUTES}<ca>\n{PEM}\n</ca>\n"


def test_parse(benchmark: Any) -> None:
    directives = benchmark(parse, TEXT)
    assert len(directives) == 205


def test_build(benchmark: Any) -> None:
    profile = benchmark(build, parse(TEXT))
    assert len(profile.routes) == 200


def test_store(benchmark: Any) -> None:
    document = benchmark(to_json, parse(TEXT))
    assert len(document["route"]) == 200
