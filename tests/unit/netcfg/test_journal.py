"""netcfg's journal: what is put in is found by a successor in the same circumstances, and by no other."""

import json
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from ovpn3.net.cgroup import Cgroup
from ovpn3.net.guard import OUTSIDE_DNS, Barrier, Exit
from ovpn3.net.plan import AddAddress, AddRoute, Bypass, Place, SetLink, TunnelAddress, Wanted, WantedRoute
from ovpn3.net.rule import Rule
from ovpn3_services.netcfg.journal import (
    FILE_NAME,
    Entry,
    Journal,
    pack_guards,
    pack_steps,
    pack_wanted,
    unpack_guards,
    unpack_steps,
    unpack_wanted,
)

HERE = {"boot": "b", "netns": "n", "bus": "g"}


def never(reason: str) -> None:
    pytest.fail(reason)


def opened(path: Path, where: dict[str, str] = HERE) -> Journal:
    journal = Journal(path, never)
    journal.open(where)
    return journal


def test_a_successor_finds_what_is_left(tmp_path: Path) -> None:
    journal = opened(tmp_path / FILE_NAME)
    journal.put("device", "/one", name="tun0")
    journal.put("device", "/two", name="tun1")
    journal.put("bypass", "192.0.2.1/32", hop=[1, ""])
    journal.drop("device", "/one")
    journal.drop("device", "/none")
    successor = opened(tmp_path / FILE_NAME)
    assert list(successor.entries("device")) == [Entry("device", "/two", {"name": "tun1"})]
    assert list(successor.entries("bypass")) == [Entry("bypass", "192.0.2.1/32", {"hop": [1, ""]})]
    successor.drop("device", "/two")
    successor.drop("bypass", "192.0.2.1/32")
    assert list(tmp_path.iterdir()) == []


def test_what_came_last_counts(tmp_path: Path) -> None:
    """However often a thing changes, and whatever becomes of the file."""
    path = tmp_path / FILE_NAME
    journal = opened(path)
    for number in range(1000):
        journal.put("device", "/one", index=number)
        journal.put("device", "/two", index=number)
        journal.drop("device", "/two")
        assert list(opened(path).entries("device")) == [Entry("device", "/one", {"index": number})]
    assert len(path.read_text().splitlines()) < 300
    path.unlink()
    journal.put("device", "/two", index=1)
    assert [entry.key for entry in opened(path).entries("device")] == ["/one", "/two"]


def test_killed_while_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    journal = opened(path)
    for key in ("/one", "/two"):
        journal.put("device", key, index=1)
    path.write_text(path.read_text()[:-5])
    for successor in (opened(path), opened(path)):
        assert list(successor.entries("device")) == [Entry("device", "/one", {"index": 1})]
        successor.put("device", "/one", index=2)
        successor.put("device", "/one", index=1)


@pytest.mark.parametrize("what", HERE)
def test_elsewhere_it_means_nothing(tmp_path: Path, what: str) -> None:
    opened(tmp_path / FILE_NAME).put("device", "/one", name="tun0")
    journal = opened(tmp_path / FILE_NAME, HERE | {what: "other"})
    assert list(journal.entries("device")) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}\n[", b'{"boot": "b", "netns": "n", "bus": "g"}\n[1]\n{\n'])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    journal = opened(tmp_path / FILE_NAME)
    assert list(journal.entries("device")) == []
    journal.put("device", "/one", name="tun0")
    assert len(list(opened(tmp_path / FILE_NAME).entries("device"))) == 1


def test_a_place_that_can_t_be_written(tmp_path: Path) -> None:
    """Is told once, and stops nobody."""
    told: list[str] = []
    journal = Journal(tmp_path / "none" / FILE_NAME, told.append)
    journal.open(HERE)
    journal.put("device", "/one", name="tun0")
    journal.put("device", "/two", name="tun1")
    assert len(told) == 1
    assert "can't be written" in told[0]


def test_without_a_path_nothing_is_written() -> None:
    journal = Journal(None, never)
    journal.open(HERE)
    journal.put("device", "/one", name="tun0")
    journal.drop("device", "/one")


def test_plans_come_back_as_they_were() -> None:
    wanted = Wanted(
        addresses=(
            TunnelAddress(ip_interface("10.8.0.2/24"), ip_address("10.8.0.1")),
            TunnelAddress(ip_interface("fd08::2/64")),
        ),
        routes=(
            WantedRoute(ip_network("172.16.0.0/12"), 50),
            WantedRoute(ip_network("2001:db8::/32"), None, exclude=True),
        ),
        remote=ip_address("192.0.2.1"),
        mtu=1400,
        txqueuelen=55,
        reroute_ipv4=True,
        name="tun-work",
        place=Place(table=100),
    )
    assert unpack_wanted(pack_wanted(wanted)) == wanted
    assert unpack_wanted(pack_wanted(Wanted())) == Wanted()
    told = [
        AddAddress(ip_interface("10.8.0.2/32"), ip_address("10.8.0.1")),
        AddRoute(ip_network("::/1"), None, None),
        AddRoute(ip_network("172.16.0.0/12"), ip_address("10.8.0.1"), 50, 100),
    ]
    assert unpack_steps(pack_steps([Bypass(ip_network("192.0.2.1/32")), SetLink(1400, 0), *told])) == told


def test_guards_come_back_as_they_were() -> None:
    guards = [
        Barrier(ip_network("0.0.0.0/1")),
        Barrier(ip_network("::/1"), Place(netns="vpn")),
        Barrier(ip_network("::/1"), Place(table=100)),
        Exit(ip_network("192.0.2.0/24"), 100),
        Rule(100, True, (33, 34), 0x20, 0xFF),
        Cgroup("system.slice/backup.service", 100, 0x0300_0000),
        OUTSIDE_DNS,
    ]
    assert set(unpack_guards(json.loads(json.dumps(pack_guards(guards))))) == set(guards)


@pytest.mark.parametrize(
    "row",
    [
        [],
        ["gate", "::/1"],
        ["barrier", "::/1", "../vpn", 254],
        ["rule", 1, True, [1], 0, 0],
        ["cgroup", "a/../..", 1, 0x0100_0000],
        ["cgroup", "a", 1, 0],
        ["cgroup", "a", 1, 0x0100_0001],
    ],
)
def test_what_is_no_guard(row: list[object]) -> None:
    with pytest.raises(ValueError, match=r"no guard|no name"):
        unpack_guards([row])
