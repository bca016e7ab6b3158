"""What a .autoload file can say, and what it can't."""

import json
from pathlib import Path

import pytest

from ovpn3.cli.autoloadfile import read
from ovpn3.cli.command import CommandError


def write(tmp_path: Path, content: object) -> Path:
    file = tmp_path / "a.autoload"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_everything(tmp_path: Path) -> None:
    proxy = {"host": "proxy", "port": 3128, "username": "u", "password": "p", "allow-plain-text": True}
    wanted = read(
        write(
            tmp_path,
            {
                "autostart": True,
                "name": "office",
                "acl": {"public": True, "locked-down": True, "set-owner": 1000},
                "remote": {
                    "proto-override": "tcp",
                    "port-override": 443,
                    "compression": "no",
                    "timeout": "10",
                    "proxy": proxy,
                },
                "crypto": {
                    "tls-params": {"cert-profile": "suiteb", "min-version": "tls_1_2"},
                    "private-key-passphrase": "key",
                },
                "tunnel": {
                    "persist": True,
                    "ipv6": "no",
                    "dns-fallback": "google",
                    "dns-scope": "tunnel",
                    "dns-setup-disabled": False,
                    "dco": True,
                },
                "user-auth": {"username": "ann", "password": "", "totp": "GEZDGNBV", "autologin": True},
            },
        )
    )
    assert (wanted.autostart, wanted.name, wanted.public, wanted.locked_down) == (True, "office", True, True)
    assert (wanted.owner, wanted.timeout_s, wanted.notes) == (1000, 10.0, [])
    assert wanted.overrides == {
        "proto-override": "tcp",
        "port-override": "443",
        "allow-compression": "no",
        "proxy-host": "proxy",
        "proxy-port": "3128",
        "proxy-username": "u",
        "proxy-password": "p",
        "proxy-auth-cleartext": True,
        "tls-cert-profile": "suiteb",
        "tls-version-min": "tls_1_2",
        "persist-tun": True,
        "ipv6": "no",
        "dns-fallback-google": True,
        "dns-scope": "tunnel",
        "dns-setup-disabled": False,
    }
    answers = {name: value.text() for name, value in wanted.answers.items()}
    assert answers == {"username": "ann", "totp": "GEZDGNBV", "pk_passphrase": "key"}


def test_nothing(tmp_path: Path) -> None:
    wanted = read(write(tmp_path, {"name": "", "acl": {}, "tunnel": {"ipv6": None}}))
    assert (wanted.autostart, wanted.name, wanted.overrides, wanted.answers) == (False, "", {}, {})


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"remote": {"proto-override": "sctp"}}, "it takes one of tcp, udp"),
        ({"crypto": {"tls-params": {"min-version": "disabled"}}}, "it takes one of tls_1_0"),
        ({"tunnel": {"dns-fallback": "quad9"}}, "tunnel.dns-fallback is not known"),
        ({"user-auth": {"pin": "secret"}}, "user-auth.pin is not known"),
        ({"colour": "red"}, "colour is not known"),
    ],
)
def test_left_out(tmp_path: Path, content: object, note: str) -> None:
    wanted = read(write(tmp_path, content))
    assert [note in text for text in wanted.notes] == [True]
    assert (wanted.overrides, wanted.answers) == ({}, {})
    assert "secret" not in str(wanted)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not JSON"),
        ("[" * 50000, "not JSON"),
        ("[]", "not a JSON object"),
        ({"autostart": "yes"}, "autostart takes true or false"),
        ({"acl": {"set-owner": "root"}}, "acl.set-owner takes a number"),
        ({"acl": {"set-owner": -1}}, "takes a number"),
        ({"remote": {"port-override": True}}, "takes a number"),
        ({"name": 1}, "name takes a text"),
        ({"user-auth": {"password": ["secret"]}}, "user-auth.password takes a text"),
    ],
)
def test_refused(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        read(write(tmp_path, content))
    assert "secret" not in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't read none: No such file"):
        read(tmp_path / "none")
