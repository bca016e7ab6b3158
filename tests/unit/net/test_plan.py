"""The steps towards a wanted state: which, and in what order."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.constants import TunOffload
from ovpn3.net.plan import (
    AddAddress,
    Address,
    AddRoute,
    Bypass,
    LimitSegments,
    LooseReturn,
    Network,
    Place,
    SetLink,
    Step,
    TunnelAddress,
    Wanted,
    WantedRoute,
    excluded,
    guarded,
    plan,
    unreachable,
)

SUBNET = TunnelAddress(ip_interface("10.8.0.2/24"), ip_address("10.8.0.1"))
SUBNET_6 = TunnelAddress(ip_interface("fd08::2/64"), ip_address("fd08::1"))
SERVER = ip_address("203.0.113.1")


def steps(kind: type[Step], wanted: Wanted) -> list[Step]:
    return [step for step in plan(wanted) if isinstance(step, kind)]


def route(network: str, metric: int | None = None, exclude: bool = False) -> WantedRoute:
    return WantedRoute(ip_network(network), metric, exclude)


def test_nothing_wanted_is_a_device_that_is_up() -> None:
    assert plan(Wanted()) == (SetLink(1500, 0),)


def test_order() -> None:
    wanted = Wanted(
        addresses=(SUBNET, SUBNET_6),
        routes=(route("192.0.2.0/24", metric=7), route("fd00:2::/48"), route("10.1.0.0/16", exclude=True)),
        remote=SERVER,
        mtu=1400,
        txqueuelen=50,
        reroute_ipv4=True,
    )
    assert plan(wanted) == (
        Bypass(ip_network("10.1.0.0/16")),
        Bypass(ip_network("203.0.113.1/32"), announced=False),
        SetLink(1400, 50),
        AddAddress(ip_interface("10.8.0.2/24"), None),
        AddAddress(ip_interface("fd08::2/64"), None),
        AddRoute(ip_network("192.0.2.0/24"), ip_address("10.8.0.1"), 7),
        AddRoute(ip_network("fd00:2::/48"), ip_address("fd08::1"), None),
        AddRoute(ip_network("0.0.0.0/1"), ip_address("10.8.0.1"), None),
        AddRoute(ip_network("128.0.0.0/1"), ip_address("10.8.0.1"), None),
    )


@pytest.mark.parametrize(("mtu", "count"), [(68, 64), (989, 64), (990, 63), (1500, 42), (9000, 7), (65535, 1)])
def test_super_packets_go_with_one_send(mtu: int, count: int) -> None:
    steps = plan(Wanted(mtu=mtu, offloads=TunOffload.CSUM))
    assert steps == (LimitSegments(count), SetLink(mtu, 0))


def test_the_server_is_bypassed_only_if_a_route_would_swallow_it() -> None:
    assert steps(Bypass, Wanted(remote=SERVER, reroute_ipv4=True))
    assert steps(Bypass, Wanted(remote=SERVER, routes=(route("203.0.113.0/24"),)))
    assert not steps(Bypass, Wanted(remote=SERVER, reroute_ipv6=True))
    assert not steps(Bypass, Wanted(remote=SERVER, routes=(route("198.51.100.0/24"),)))
    assert not steps(Bypass, Wanted(remote=SERVER))


def test_a_route_to_the_server_itself_is_ignored() -> None:
    assert not steps(AddRoute, Wanted(remote=SERVER, routes=(route("203.0.113.1/32"),)))


def test_both_families_redirect_by_halves() -> None:
    networks = [str(s.network) for s in plan(Wanted(reroute_ipv4=True, reroute_ipv6=True)) if isinstance(s, AddRoute)]
    assert networks == ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"]


def test_an_excluded_network_is_not_also_routed_inside() -> None:
    wanted = Wanted(routes=(route("10.0.0.0/8"), route("10.0.0.0/8", exclude=True)))
    assert not steps(AddRoute, wanted)
    assert steps(Bypass, wanted) == [Bypass(ip_network("10.0.0.0/8"))]


def test_an_excluded_server_is_bypassed_once() -> None:
    wanted = Wanted(remote=SERVER, reroute_ipv4=True, routes=(route("203.0.113.1/32", exclude=True),))
    assert steps(Bypass, wanted) == [Bypass(ip_network("203.0.113.1/32"))]


def test_networks_on_the_link_go_inside_but_for_the_router() -> None:
    local = (ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64"))
    wanted = Wanted((SUBNET,), remote=SERVER, local=local, local_routers=(ip_address("192.168.1.1"),))
    inside = [ip_network("192.168.1.0/25"), ip_network("192.168.1.128/25")]
    assert [step.network for step in plan(wanted) if isinstance(step, AddRoute)] == inside
    assert steps(Bypass, wanted) == [Bypass(ip_network("192.168.1.1/32"), announced=False)]
    nowhere = {ip_network("2001:db8:1::/65"), ip_network("2001:db8:1:0:8000::/65")}
    assert unreachable(wanted) == nowhere
    assert guarded(wanted) == {*inside, *nowhere}
    on_link = replace(wanted, remote=ip_address("192.168.1.9"))
    assert Bypass(ip_network("192.168.1.9/32"), announced=False) in steps(Bypass, on_link)


def test_a_point_to_point_address_names_its_peer() -> None:
    address = TunnelAddress(ip_interface("10.8.0.6/32"), ip_address("10.8.0.5"))
    wanted = Wanted(addresses=(address,), routes=(route("192.0.2.0/24"),))
    assert steps(AddAddress, wanted) == [AddAddress(address.interface, ip_address("10.8.0.5"))]
    assert steps(AddRoute, wanted) == [AddRoute(ip_network("192.0.2.0/24"), ip_address("10.8.0.5"), None)]


def test_a_gateway_out_of_reach_is_left_out() -> None:
    address = TunnelAddress(ip_interface("10.8.0.2/24"), ip_address("10.99.0.1"))
    wanted = Wanted(addresses=(address,), routes=(route("192.0.2.0/24"),))
    assert steps(AddRoute, wanted) == [AddRoute(ip_network("192.0.2.0/24"), None, None)]


def test_our_own_address_is_no_gateway() -> None:
    address = TunnelAddress(ip_interface("10.8.0.2/24"), ip_address("10.8.0.2"))
    wanted = Wanted(addresses=(address,), reroute_ipv4=True)
    assert all(isinstance(s, AddRoute) and s.gateway is None for s in steps(AddRoute, wanted))


networks = st.ip_addresses().map(ip_network)


@given(st.lists(st.tuples(networks, st.booleans())), st.ip_addresses(), st.booleans(), st.booleans())
def test_every_plan_is_sound(routes: list[tuple[Network, bool]], remote: Address, four: bool, six: bool) -> None:
    wanted = Wanted(
        routes=tuple(WantedRoute(n, None, exclude) for n, exclude in routes),
        remote=remote,
        reroute_ipv4=four,
        reroute_ipv6=six,
    )
    result = plan(wanted)
    kinds = [type(step) for step in result]
    first_inside = kinds.index(SetLink)
    inside = [step.network for step in result if isinstance(step, AddRoute)]
    outside = [step.network for step in result if isinstance(step, Bypass)]
    assert Bypass not in kinds[first_inside:]
    assert len(set(inside)) == len(inside)
    assert not set(inside) & set(outside)
    assert {n for n, exclude in routes if exclude} <= set(outside)
    for network in inside:
        if remote in network:
            assert ip_network(remote) in outside


ELSEWHERE = Wanted(
    addresses=(SUBNET, SUBNET_6),
    routes=(route("192.0.2.0/24", metric=7), route("10.1.0.0/16", exclude=True)),
    remote=SERVER,
    reroute_ipv4=True,
)


def test_in_a_network_namespace_nothing_leads_around() -> None:
    wanted = replace(ELSEWHERE, place=Place(netns="vpn"))
    assert plan(wanted) == tuple(step for step in plan(ELSEWHERE) if not isinstance(step, Bypass))
    assert excluded(wanted) == frozenset()


def test_a_table_of_its_own() -> None:
    """Has the tunnel's own networks too, which the kernel puts into the main table; a gateway couldn't be checked."""
    wanted = replace(ELSEWHERE, place=Place(table=100))
    assert plan(wanted)[3:] == (
        LooseReturn(),
        AddRoute(ip_network("10.8.0.0/24"), None, None, 100),
        AddRoute(ip_network("fd08::/64"), None, None, 100),
        AddRoute(ip_network("192.0.2.0/24"), None, 7, 100),
        AddRoute(ip_network("0.0.0.0/1"), None, None, 100),
        AddRoute(ip_network("128.0.0.0/1"), None, None, 100),
    )
    assert not steps(Bypass, wanted)
    assert excluded(wanted) == {ip_network("10.1.0.0/16")}
    assert excluded(ELSEWHERE) == frozenset()
