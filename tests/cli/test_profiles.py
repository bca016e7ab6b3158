"""The config commands on an installed system, as ordinary users."""

import json
import re
import subprocess

import pytest

from ovpn3.constants import OVERRIDES
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
    heading = [
        "Configuration path",
        "Imported                        Last used                 Used",
        "Configuration Name                                        Owner",
        "Tags",
        "-" * 78,
    ]
    assert lines[:5] == heading
    assert lines[5] == path
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {13} {26}0", lines[6])
    assert lines[7:] == ["office                                                    alice", "Tags: work, vpn", "-" * 78]
    assert openvpn3(machine, "configs-list", "-v", "--filter-tag", "none").stdout.splitlines() == [*heading, "-" * 78]


def test_a_name_wider_than_its_column(machine: SystemBusSandbox, path: str) -> None:
    name = "n" * 60
    assert manage(machine, "--rename", name).returncode == 0
    assert f"\n{name} -\n" in openvpn3(machine, "configs-list").stdout
    assert f"\n{name} alice\n" in openvpn3(machine, "configs-list", "-v").stdout


def test_offload_to_the_kernel_is_kept_and_has_no_effect(machine: SystemBusSandbox, path: str) -> None:
    """As with the original on a machine whose kernel can't: scripts go on."""
    done = manage(machine, "--dco", "true", "--show")
    assert (done.returncode, "sessions do without" in done.stderr) == (0, True)
    assert "Data Channel Offload: Yes" in done.stdout


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
    assert done.returncode == 8
    assert done.stderr.startswith("openvpn3/config-import: ** ERROR ** ")


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
    assert openvpn3(machine, "config-dump", "-o", path, account=BOB).returncode == 8
    again = openvpn3(machine, "config-acl", "-c", "office", "-G", str(BOB.uid), "--public-access", "true")
    assert again.returncode == 3
    assert "Public access: yes" in again.stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "-R", "bob").returncode == 0


def test_access_for_the_owner(machine: SystemBusSandbox, path: str) -> None:
    """Scripts grant root access to what root has imported, and go on if that worked."""
    for change, listed in (("--grant", True), ("--revoke", False)):
        done = openvpn3(machine, "config-acl", "-c", "office", change, "alice", "--show")
        assert (done.returncode, done.stderr) == (0, "")
        assert (f"- ({ALICE.uid})  alice" in done.stdout) == listed


def test_seal_asks(machine: SystemBusSandbox, path: str) -> None:
    assert openvpn3(machine, "config-acl", "-c", "office", "--seal", input="yes\n").returncode == 0
    assert "Read-only: no" in openvpn3(machine, "config-acl", "-c", "office", "-s").stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "--seal", input="YES\n").returncode == 0
    assert "Read-only: yes" in openvpn3(machine, "config-acl", "-c", "office", "-s").stdout
    assert openvpn3(machine, "config-acl", "-c", "office", "--lock-down", "true").returncode == 7


def test_remove_asks(machine: SystemBusSandbox, path: str) -> None:
    declined = openvpn3(machine, "config-remove", "-c", "office", input="")
    assert (declined.returncode, declined.stdout.splitlines()[-1][-20:]) == (0, "Nothing was removed.")
    assert "\nAre you sure you want to do this? (enter yes in upper case) " in declined.stdout  # scripts wait for it
    assert openvpn3(machine, "config-remove", "-c", "office", input="YES\n").returncode == 0
    assert openvpn3(machine, "config-remove", "-c", "office", input="YES\n").returncode == 8


def test_a_name_must_be_unique(machine: SystemBusSandbox, path: str) -> None:
    assert openvpn3(machine, "config-import", "-c", FILE, "-n", "office").returncode == 0
    done = openvpn3(machine, "config-dump", "-c", "office")
    assert (done.returncode, "more than one" in done.stderr) == (8, True)
    assert openvpn3(machine, "config-dump", "--config-path", path).returncode == 0


def manage(machine: SystemBusSandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return openvpn3(machine, "config-manage", "-c", "office", *arguments)


def overrides_of(machine: SystemBusSandbox, path: str) -> dict[str, str | bool]:
    dump = json.loads(openvpn3(machine, "config-dump", "-o", path, "--json").stdout)
    overrides: dict[str, str | bool] = dump["overrides"]
    return overrides


def test_manage_shows(machine: SystemBusSandbox, path: str) -> None:
    done = manage(machine, "--show")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"  Configuration path: {path}",
        "                Name: office",
        "                Tags: work, vpn",
        "           Read only: No",
        "   Persistent config: No",
        "Data Channel Offload: No",
        "  DNS Resolver Scope: global (default)",
        "Overrides:",
        "  persist-tun: true",
    ]


def test_manage_changes_then_shows(machine: SystemBusSandbox, path: str) -> None:
    done = openvpn3(
        machine,
        *("config-manage", "--config-path", path, "--show", "--rename", "home", "--tag", "vpn", "--remove-tag", "vpn"),
        *("--tag", "new", "--remove-tag", "none", "--dco", "false", "--dns-scope", "tunnel", "--data-threads", "2"),
        *("--enterprise-profile", "laptop", "--proxy-password", "hunter2", "--persist-tun", "no"),
        *("--unset-override", "IPv6", "--unset-override", "offloads"),
    )
    assert done.returncode == 0
    assert done.stderr == "tag 'none' not removed: Non-existing tag\n"
    said, shown = done.stdout.split("-" * 60 + "\n")
    assert said.splitlines() == [
        "Configuration renamed: home",
        "Tag removed: vpn",
        "Tag added: vpn",
        "Tag added: new",
        "Data channel offload: no",
        "Override set: persist-tun",
        "Override set: dns-scope",
        "Override set: proxy-password",
        "Override set: enterprise-profile",
        "Override set: data-threads",
        "Override was not set: ipv6",
        "Override was not set: offloads",
    ]
    assert shown.splitlines()[1:] == [
        "                Name: home",
        "                Tags: work, vpn, new",
        "           Read only: No",
        "   Persistent config: No",
        "Data Channel Offload: No",
        "  DNS Resolver Scope: tunnel",
        "  Enterprise Profile: laptop",
        "Overrides:",
        "  data-threads: 2",
        "  persist-tun: false",
        "  proxy-password: (hidden)",
    ]


def test_manage_takes_overrides_back(machine: SystemBusSandbox, path: str) -> None:
    quiet = manage(machine, "--quiet", "--unset-override", "Persist-TUN", "--offloads", "gso,gro")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert overrides_of(machine, path) == {"offloads": "gso,gro"}
    assert manage(machine, "--unset-override", "offloads", "-s").stdout.endswith("Overrides: No overrides set.\n")


def test_every_override_is_an_option(machine: SystemBusSandbox, path: str) -> None:
    def values(option: str) -> list[str]:
        arguments = ["shell-completion", "--list-options", "config-manage", "--arg-helper", option]
        return openvpn3(machine, *arguments).stdout.split()

    assert values("--unset-override") == list(OVERRIDES)
    wanted: dict[str, str | bool] = {}
    arguments = []
    for name, type_ in OVERRIDES.items():
        offered = values(f"--{name}")
        assert offered or type_ == "s"
        value = offered[-1] if offered else "3128"
        arguments += [f"--{name}", value]
        wanted[name] = value == "true" if type_ == "b" else value
    assert manage(machine, *arguments, "--proto-override", "tcp").returncode == 0
    assert overrides_of(machine, path) == wanted


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--quiet"], 8, "nothing to do"),
        (["--exists", "--show"], 8, "without other operations"),
        (["--dco", "on"], 9, "--dco takes true or false"),
        (["--rename", " "], 8, "the name is empty"),
        (["--persist-tun", "on"], 9, "--persist-tun takes true or false, not 'on'"),
        (["--tag", "new", "--ipv6", "no", "--port-override", "abc"], 9, "needs a number from 1 to 65535"),
        (["--data-threads", "3"], 9, "--data-threads needs one of: 1 2"),
        (["--offloads", "tso,lro"], 9, "--offloads needs auto, none, or those"),
        (["--dns-scope", "moon"], 9, "--dns-scope needs one of: global tunnel"),
        (["--proxy-port", "x"], 9, "--proxy-port needs a number"),
        (["--unset-override", "no-such"], 8, "there is no override 'no-such'"),
        (["--ipv6", "no", "--unset-override", "ipv6"], 8, "--ipv6 and --unset-override ipv6 exclude each other"),
        (["--server-override", "x" * 600], 9, "--server-override needs a host name"),
        (["--proxy-username", "x" * 600], 8, "takes up to 512"),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_manage_refuses(machine: SystemBusSandbox, path: str, arguments: list[str], code: int, error: str) -> None:
    done = manage(machine, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert done.stderr.count("\n") == 1
    dump = json.loads(openvpn3(machine, "config-dump", "-o", path, "--json").stdout)
    assert (dump["tags"], dump["overrides"]) == (["work", "vpn"], {"persist-tun": True})


def test_manage_warns_of_what_does_not_go_together(machine: SystemBusSandbox, path: str) -> None:
    done = manage(machine, "--proxy-host", "proxy.example.com")
    assert done.returncode == 0
    assert "No session can be started with the profile as it is now: proxy-host: needs proxy-port too" in done.stderr
    assert "all remotes use UDP" in manage(machine, "--proxy-port", "3128").stderr
    assert manage(machine, "--proto-override", "tcp").stderr == ""


def test_manage_shows_why_a_profile_is_invalid(machine: SystemBusSandbox, path: str) -> None:
    machine.write(f"{ALICE.home}/half.ovpn", "client\ndev tun\n", account=ALICE)
    openvpn3(machine, "config-import", "--config", f"{ALICE.home}/half.ovpn", "--name", "half")
    shown = openvpn3(machine, "config-manage", "-c", "half", "--show").stdout
    assert "\nThe profile can't be used: 'ca' is missing" in shown


def test_exists(machine: SystemBusSandbox, path: str) -> None:
    def exists(*arguments: str, account: Account = ALICE) -> tuple[int, str]:
        done = openvpn3(machine, "config-manage", "--exists", *arguments, account=account)
        return done.returncode, done.stdout

    assert exists("-c", "office") == (0, f"Configuration found: {path}\n")
    assert exists("-o", path, "--quiet") == exists("-c", "office", "--quiet") == (0, "")
    assert exists("-c", "home") == (1, "Configuration not found: no profile has the name 'home'\n")
    assert exists("-c", "home", "--quiet") == (1, "")
    assert exists("-o", "/nowhere", "--quiet") == exists("-o", path, "--quiet", account=BOB) == (1, "")
    assert exists("-o", "no path") == exists() == (8, "")
    openvpn3(machine, "config-import", "-c", FILE, "-n", "office")
    assert exists("-c", "office") == (8, "")


def test_only_the_owner_manages(machine: SystemBusSandbox, path: str) -> None:
    def as_bob(*arguments: str) -> tuple[int, str]:
        done = openvpn3(machine, "config-manage", "-o", path, *arguments, account=BOB)
        assert "hunter2" not in done.stdout
        return done.returncode, done.stderr

    assert manage(machine, "--proxy-password", "hunter2").returncode == 0
    no_access = (8, f"openvpn3/config-manage: ** ERROR ** there is no profile {path}, or you have no access to it\n")
    assert as_bob("--show") == as_bob("--rename", "x") == no_access
    openvpn3(machine, "config-acl", "-c", "office", "--public-access", "true")
    assert as_bob("--show") == as_bob("--unset-override", "ipv6") == (0, "")
    assert as_bob("--tag", "mine")[0] == 0  # a warning, as for any tag that is refused
    for change in (["--rename", "x"], ["--ipv6", "no"], ["--unset-override", "persist-tun"], ["--dco", "false"]):
        assert as_bob(*change)[0] == 8
    assert openvpn3(machine, "config-acl", "-c", "office", "--seal", input="YES\n").returncode == 0
    sealed = manage(machine, "--rename", "x")
    assert (sealed.returncode, "sealed" in sealed.stderr) == (8, True)
    assert "           Read only: Yes\n" in manage(machine, "--show").stdout


def test_completion_knows_the_names(machine: SystemBusSandbox, path: str) -> None:
    def values(command: str, option: str) -> list[str]:
        arguments = ["shell-completion", "--list-options", command, "--arg-helper", option]
        return openvpn3(machine, *arguments).stdout.split()

    assert values("config-dump", "--config") == ["office"]
    assert values("config-dump", "-o") == values("config-remove", "--config-path") == [path]
    assert values("config-acl", "--public-access") == ["false", "true"]
    assert values("session-manage", "--path") == []
