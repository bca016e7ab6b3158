"""What is told to systemd, and how the names of units are read."""

import os
import re
import socket
from pathlib import Path

import pytest

from ovpn3.cli.notify import Notifier
from ovpn3.cli.systemd import _spellings, unit_of


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        Notifier()(READY=1, STATUS="up")
        assert systemd.recv(100) == b"READY=1\nSTATUS=up"


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("", f"{tmp_path}/none"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        Notifier()(READY=1)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("3000000", "", 3.0), ("3000000", "ours", 3.0), ("3000000", "1", 0.0), ("x", "", 0.0), ("", "", 0.0)],
)
def test_watchdog(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)
    assert Notifier().watchdog_s == seconds


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("office", ["office"]),
        ("a-b", ["a-b", "a/b"]),
        (r"etc-vpn\x2d1.ovpn", [r"etc-vpn\x2d1.ovpn", "etc/vpn-1.ovpn"]),
        (r"caf\xc3\xa9\x20x", [r"caf\xc3\xa9\x20x", "café x"]),
        (r"\xff", [r"\xff", "\ufffd"]),
    ],
)
def test_names(name: str, spellings: list[str]) -> None:
    assert _spellings(name) == spellings


@pytest.mark.parametrize("name", ["office", "a-b", "AS:vpn.example.com", "a b", "a-b/c", "café-1", ".x", "a\\b"])
def test_unit_of_a_profile(name: str) -> None:
    unit = unit_of(name)
    assert re.fullmatch(r"openvpn3-session@[A-Za-z0-9:_.\\-]+\.service", unit)
    assert name in _spellings(unit.removeprefix("openvpn3-session@").removesuffix(".service"))
