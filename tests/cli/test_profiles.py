"""The config commands on an installed system, as ordinary users."""

import json
import re
import subprocess

import pytest

from tests.support.account import ALICE, BOB, Account
from tests.support.bus import SystemBusSandbox

pytestmark = pytest.mark.system

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PROFILE = """client
dev tun
remote vpn.example.com 1194 udp
persist-tun
auth-user-pass
ca ca.crt
"""
FILE = f"{ALICE.home}/office.ovpn"


@pytest.fixture(scope="module", autouse=True)
def files(machine: SystemBusSandbox) -> None:
    machine.write(FILE, PROFILE, account=ALICE)
    machine.write(f"{ALICE.home}/ca.crt", CA, account=ALICE)


def openvpn3(
    machine: SystemBusSandbox, *arguments: str, account: Account = ALICE, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    return machine.run(["openvpn3", *arguments], account=account, check=False, input=input)


@pytest.fixture
def path(machine: SystemBusSandbox) -> str:
    """D-Bus path of a new profile of alice, called office; the only one there is."""
    listed = openvpn3(machine, "configs-list", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    for found in json.loads(listed.stdout):
        assert openvpn3(machine, "config-remove", "--force", "-o", found).returncode == 0
    done = openvpn3(machine, "config-import", "-c", FILE, "--name", "office", "--tag", "work", "--tag", "vpn")
    assert (done.returncode, done.stderr) == (0, "")
    match = re.fullmatch(r".*Configuration path: (/net/openvpn/v3/configuration/[0-9a-fx]{36})\n", done.stdout)
    assert match, done.stdout
    return match[1]


def test_dump_has_the_files_inline(machine: SystemBusSandbox, path: str) -> None:
    text = openvpn3(machine, "config-dump", "-c", "office").stdout
    assert "<ca>\n-----BEGIN CERTIFICATE-----\nAAAA\n" in text
    assert "remote vpn.example.com 1194 udp\n" in text
    assert "ca.crt" not in text


def test_dump_as_json(machine: SystemBusSandbox, path: str) -> None:
    dump = json.loads(openvpn3(machine, "config-dump", "--path", path, "--json").stdout)
    assert (dump["object_path"], dump["name"], dump["owner"]) == (path, "office", ALICE.uid)
    assert dump["tags"] == ["work", "vpn"]
    assert dump["overrides"] == {"persist-tun": True}
    assert dump["profile"][0]["remote"] == [["vpn.example.com", "1194", "udp"]]
    assert "acl" not in dump
    assert not {"used_count", "readonly", "dco", "public_access", "import_timestamp"} - set(dump)


def test_list(machine: SystemBusSandbox, path: str) -> None:
    lines = openvpn3(machine, "configs-list").stdout.splitlines()
    assert lines == [
        "Configuration Name                                        Last used",
        "-" * 78,
        "office                                                    -",
        "-" * 78,
    ]
    assert openvpn3(machine, "configs-list", "--count").stdout == "Configurations found: 1\n"


def test_long_list(machine: SystemBusSandbox, path: str) -> None:
    lines = openvpn3(machine, "configs-list", "-v").stdout.splitlines()
    assert lines[0] == path
    assert lines[1] == "Imported                        Last used                 Used"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {13} {26}0", lines[2])
    assert lines[3:] == [
        "Configuration Name                                        Owner",
        "office                                                    alice",
        "Tags: work, vpn",
    ]


def test_list_as_json(machine: SystemBusSandbox, path: str) -> None:
    listed = json.loads(openvpn3(machine, "configs-list", "--json").stdout)[path]
    imported = listed.pop("imported_tstamp")
    assert imported > 1_600_000_000
    assert listed.pop("imported")
    assert listed == {
        "name": "office",
        "lastused_tstamp": 0,
        "lastused": "",
        "use_count": 0,
        "valid": True,
        "dco": False,
        "transfer_owner_session": False,
        "tags": ["work", "vpn"],
        "acl": {"owner": "alice", "locked_down": False, "public_access": False},
    }


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--filter-config", "off"], 1),
        (["--filter-config", "on"], 0),
        (["--filter-tag", "work"], 1),
        (["--filter-tag", "wor"], 0),
        (["--filter-owner", "alice"], 1),
        (["--filter-owner", str(ALICE.uid), "--filter-config", "x"], 0),
    ],
)
def test_filters(machine: SystemBusSandbox, path: str, filters: list[str], count: int) -> None:
    assert openvpn3(machine, "configs-list", "--count", *filters).stdout == f"Configurations found: {count}\n"


def test_invalid_profile_is_stored_and_marked(machine: SystemBusSandbox, path: str) -> None:
    machine.write(f"{ALICE.home}/half.ovpn", "client\ndev tun\n", account=ALICE)
    done = openvpn3(machine, "config-import", "--config", f"{ALICE.home}/half.ovpn")
    assert done.returncode == 0
    assert "can't be used" in done.stderr
    name = f"!! {ALICE.home}/half.ovpn"
    assert name in openvpn3(machine, "configs-list").stdout
    assert "Invalid: " in openvpn3(machine, "configs-list", "-v").stdout
    listed = json.loads(openvpn3(machine, "configs-list", "--json").stdout)
    reasons = [profile["invalid_reason"] for profile in listed.values() if not profile["valid"]]
    assert "remote" in reasons[0]


def test_bad_profile_is_refused_with_its_line(machine: SystemBusSandbox) -> None:
    machine.write(f"{ALICE.home}/bad.ovpn", PROFILE + "no-such-option 1\n", account=ALICE)
    done = openvpn3(machine, "config-import", "--config", f"{ALICE.home}/bad.ovpn")
    assert done.returncode == 8
    assert done.stderr.startswith(f"openvpn3/config-import: ** ERROR ** {ALICE.home}/bad.ovpn, line 7: no-such-option")


def test_name_that_is_no_text(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "config-import", "--config", FILE, "--name", "\udcff")
    assert (done.returncode, done.stderr) == (9, "openvpn3** ERROR ** an argument is not UTF-8 text\n")


def test_name_no_profile_can_have(machine: SystemBusSandbox) -> None:
    done = openvpn3(machine, "config-import", "--config", FILE, "--name", "n" * 5000)
    assert done.returncode == 7
    assert done.stderr.startswith("openvpn3** ERROR ** ")


def test_access(machine: SystemBusSandbox, path: str) -> None:
    assert "Configurations found: 0" in openvpn3(machine, "configs-list", "--count", account=BOB).stdout
    done = openvpn3(
        machine, "config-acl", "-c", "office", "-G", "bob", "-G", "nobody-here", "--lock-down", "yes", "--show"
    )
    assert done.returncode == 0
    assert "there is no account 'nobody-here'" in done.stderr
    assert done.stdout.splitlines()[-9:] == [
        f"  Configuration path: {path}",
        "                Name: office",
        f"               Owner: ({ALICE.uid})  alice",
        "           Read-only: no",
        "         Locked down: yes",
        "  Ownership transfer: no",
        "       Public access: no",
        "Users granted access: 1 user",
        f"                      - ({BOB.uid})  bob",
    ]
    assert "Configurations found: 1" in openvpn3(machine, "configs-list", "--count", account=BOB).stdout
    assert openvpn3(machine, "config-dump", "-o", path, account=BOB).returncode == 7
    again = openvpn3(machine, "config-acl", "-c", "office", "-G", str(BOB.uid), "--public-access", "true")
    assert again.returncode == 3
    assert "Public access: yes" in again.stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "-R", "bob").returncode == 0


def test_seal_asks(machine: SystemBusSandbox, path: str) -> None:
    assert openvpn3(machine, "config-acl", "-c", "office", "--seal", input="yes\n").returncode == 0
    assert "Read-only: no" in openvpn3(machine, "config-acl", "-c", "office", "-s").stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "--seal", input="YES\n").returncode == 0
    assert "Read-only: yes" in openvpn3(machine, "config-acl", "-c", "office", "-s").stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "--lock-down", "true").returncode == 7


def test_remove_asks(machine: SystemBusSandbox, path: str) -> None:
    declined = openvpn3(machine, "config-remove", "-c", "office", input="")
    assert (declined.returncode, declined.stdout.splitlines()[-1][-20:]) == (0, "Nothing was removed.")
    assert openvpn3(machine, "config-remove", "-c", "office", input="YES\n").returncode == 0
    assert openvpn3(machine, "config-remove", "-c", "office", input="YES\n").returncode == 8


def test_a_name_must_be_unique(machine: SystemBusSandbox, path: str) -> None:
    assert openvpn3(machine, "config-import", "-c", FILE, "-n", "office").returncode == 0
    done = openvpn3(machine, "config-dump", "-c", "office")
    assert (done.returncode, "more than one" in done.stderr) == (8, True)
    assert openvpn3(machine, "config-dump", "--config-path", path).returncode == 0


def test_completion_knows_the_names(machine: SystemBusSandbox, path: str) -> None:
    def values(command: str, option: str) -> list[str]:
        arguments = ["shell-completion", "--list-options", command, "--arg-helper", option]
        return openvpn3(machine, *arguments).stdout.split()

    assert values("config-dump", "--config") == ["office"]
    assert values("config-dump", "-o") == values("config-remove", "--config-path") == [path]
    assert values("config-acl", "--public-access") == ["false", "true"]
    assert values("session-manage", "--path") == []
