"""The installed files: bus policy, activation, polkit rule. What the policy means is tested on a bus."""

import re
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import pytest

from ovpn3.constants import BACKENDS_INTERFACE, BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME
from ovpn3.dbus.dispatch import DBusObject
from ovpn3_services.backend.objects import ClientObject
from ovpn3_services.backendstart.service import Starter
from ovpn3_services.configmgr.objects import Manager, ProfileObject
from ovpn3_services.log.objects import ProxyObject, Root
from ovpn3_services.netcfg.device import NetDevice
from ovpn3_services.netcfg.objects import NetCfg
from ovpn3_services.sessionmgr.objects import Manager as SessionRoot
from ovpn3_services.sessionmgr.objects import SessionObject

PROJECT = Path(__file__).parents[2]
DATA = Path(str(files("ovpn3_services"))) / "data"
POLICIES = sorted((DATA / "dbus-1/system.d").iterdir())
ACTIVATION = sorted((DATA / "dbus-1/system-services").iterdir())
EVERYBODY, ACCOUNT, ROOT = "default", "@USER@", "root"
CLIENT = "/net/openvpn/v3/backends/session"  # client processes are named by their path, whatever their bus name

# What netcfg of other versions has, and what only a kernel data channel would need.
NETCFG_BEYOND = {"AddBypassRoute", "GetDNSSEC", "NewPeer", "GetPipeFD", "NewKey", "SwapKeys", "SetPeer"}

Rule = dict[str, str]


def rules(file: Path, kind: str = "allow") -> list[tuple[str, Rule]]:
    """(who, attributes) of each rule of a kind."""
    return [
        (policy.get("user") or policy.get("context") or "", dict(rule.attrib))
        for policy in ET.parse(file).getroot()
        for rule in policy.iter(kind)
    ]


def calls() -> dict[tuple[str, str], set[str]]:
    """Members of our own interfaces that may be called, by destination and who."""
    found = defaultdict(set)
    for file in POLICIES:
        for who, rule in rules(file):
            ours = rule.get("send_interface", "").startswith("net.openvpn.v3.")
            if ours and rule["send_type"] == "method_call":
                found[rule.get("send_destination") or rule["send_path"], who].add(rule["send_member"])
    return found


@pytest.mark.parametrize("file", [*POLICIES, *ACTIVATION, *(DATA / "polkit-1/rules.d").iterdir()], ids=lambda f: f.name)
def test_placeholders(file: Path) -> None:
    assert set(re.findall(r"@\w+@", file.read_text())) <= {"@USER@", "@BINDIR@", "@STATEDIR@"}


# -- bus policy -----------------------------------------------------------------------------------
@pytest.mark.parametrize("file", POLICIES, ids=lambda f: f.name)
def test_every_call_is_allowed_by_name(file: Path) -> None:
    """No rule opens an interface, a destination or a path as a whole."""
    for who, rule in rules(file):
        if rule.get("send_type") == "signal":
            assert (rule["send_interface"], who) == (BACKENDS_INTERFACE, ACCOUNT)
        elif any(key.startswith("send_") for key in rule):
            assert rule["send_type"] == "method_call"
            assert {"send_interface", "send_member"} <= set(rule)
            standard = rule["send_interface"].startswith("org.freedesktop.DBus.") and who == ACCOUNT
            assert "send_destination" in rule or standard or (rule.get("send_path"), who) == (CLIENT, ACCOUNT)


def test_names_are_the_account_s() -> None:
    owned = {
        rule.get("own") or f"{rule['own_prefix']}*": who
        for file in POLICIES
        for who, rule in rules(file)
        if {"own", "own_prefix"} & set(rule)
    }
    names = (LOG_NAME, CONFIG_NAME, SESSIONS_NAME, BACKENDS_NAME, NETCFG_NAME, f"{BACKENDS_NAME}*")
    assert owned == dict.fromkeys(names, ACCOUNT)


@pytest.mark.parametrize(
    ("destination", "objects", "beyond"),
    [
        (LOG_NAME, [Root, ProxyObject], set()),
        (CONFIG_NAME, [Manager, ProfileObject], set()),
        (SESSIONS_NAME, [SessionRoot, SessionObject], {"TransferOwnership"}),  # foreign front-ends may try
        (BACKENDS_NAME, [Starter], set()),
        (CLIENT, [ClientObject], set()),
        (NETCFG_NAME, [NetCfg, NetDevice], NETCFG_BEYOND),
    ],
    ids=lambda v: v.rsplit(".", 1)[-1] if isinstance(v, str) else "",
)
def test_the_policy_knows_the_members_there_are(
    destination: str, objects: list[type[DBusObject]], beyond: set[str]
) -> None:
    allowed = set().union(*(members for (where, _), members in calls().items() if where == destination))
    assert allowed == {name for kind in objects for name in kind.methods} | beyond


def test_what_only_some_may_call() -> None:
    found = calls()
    assert {where for where, who in found if who == EVERYBODY} == {CONFIG_NAME, SESSIONS_NAME}
    assert found[LOG_NAME, ROOT] == {"GetSubscriberList"}
    assert found[CONFIG_NAME, ROOT] == {"TransferOwnership"}
    assert found[CONFIG_NAME, ACCOUNT] == {"Fetch", "SessionTerms", "FetchForClient"}
    assert not found[CONFIG_NAME, EVERYBODY] & {"TransferOwnership", "SessionTerms", "FetchForClient"}
    assert found[BACKENDS_NAME, ACCOUNT] == {"StartClient"}
    assert found[NETCFG_NAME, ROOT] == {
        "NotificationSubscribe",
        "NotificationUnsubscribe",
        "NotificationSubscriberList",
        "FetchInterfaceList",
        "ReleaseGuards",
    }


@pytest.mark.parametrize(
    ("name", "path", "members"),
    [
        (LOG_NAME, "/net/openvpn/v3/log", {"Introspect", "Get", "GetAll", "Ping"}),
        (BACKENDS_NAME, "/net/openvpn/v3/backends", {"Introspect", "Get", "GetAll"}),
        (NETCFG_NAME, "/net/openvpn/v3/netcfg", {"Introspect", "Get"}),
    ],
)
def test_everybody_may_look_at_the_root_object_alone(name: str, path: str, members: set[str]) -> None:
    for file in POLICIES:
        for who, rule in rules(file):
            if who == EVERYBODY and rule.get("send_destination") == name and rule["send_member"] != "Ping":
                assert rule["send_path"] == path
                assert rule["send_member"] in members


def test_signals_of_client_processes_are_for_the_account_and_through_the_log_for_its_receivers() -> None:
    received = [(who, r) for f in POLICIES for who, r in rules(f) if "receive_interface" in r]
    assert all(rule["receive_interface"] == BACKENDS_NAME and rule["receive_type"] == "signal" for _, rule in received)
    for_account = {rule["receive_member"] for who, rule in received if who == ACCOUNT}
    assert for_account == {"Log", "StatusChange", "AttentionRequired", "RegistrationRequest"}
    through_log = {(r["receive_member"], r["receive_sender"]) for who, r in received if who == "mandatory"}
    assert through_log == {("Log", LOG_NAME), ("StatusChange", LOG_NAME)}
    denied = [rule for f in POLICIES for rule in rules(f, "deny")]
    assert denied == [
        (EVERYBODY, {f"{way}_type": "signal", f"{way}_interface": BACKENDS_INTERFACE}) for way in ("receive", "send")
    ]


# -- activation -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "user", "arguments"),
    [
        (LOG_NAME, ACCOUNT, '"@BINDIR@/openvpn3-service-log" --state-dir "@STATEDIR@"'),
        (CONFIG_NAME, ACCOUNT, '"@BINDIR@/openvpn3-service-configmgr" --state-dir "@STATEDIR@/configs"'),
        (SESSIONS_NAME, ACCOUNT, '"@BINDIR@/openvpn3-service-sessionmgr"'),
        (BACKENDS_NAME, ACCOUNT, '"@BINDIR@/openvpn3-service-backendstart"'),
        (
            NETCFG_NAME,
            ROOT,
            '"@BINDIR@/openvpn3-service-netcfg" --detect-resolver --state-dir "@STATEDIR@" --user "@USER@"',
        ),
    ],
)
def test_activation(name: str, user: str, arguments: str) -> None:
    head, *lines = (DATA / f"dbus-1/system-services/{name}.service.in").read_text().splitlines()
    assert head == "[D-BUS Service]"
    assert dict(line.split("=", 1) for line in lines) == {"Name": name, "User": user, "Exec": arguments}
    program = re.search(r"openvpn3-service-\w+", arguments)
    assert program
    assert program[0] in tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]


def test_there_are_no_other_activation_files() -> None:
    assert len(ACTIVATION) == 5


# -- polkit ---------------------------------------------------------------------------------------
def test_polkit_lets_the_account_set_up_name_servers_and_nothing_else() -> None:
    text = (DATA / "polkit-1/rules.d/net.openvpn.v3.rules").read_text()
    actions = {"set-dns-servers", "set-domains", "set-default-route", "set-dnssec", "set-dns-over-tls", "revert"}
    assert set(re.findall(r'"([a-z-]+)"', text)) == actions
    assert 'subject.user == "@USER@" &&' in text
    assert text.count("polkit.Result.YES") == text.count("polkit.Result.") == 1
