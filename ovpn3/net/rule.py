"""Rules of policy routing: whose packets look for their way in a table of a tunnel's own."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ovpn3.net.netlink import CREATE, Netlink, asking, fibmsg, filled, nlmsg
from ovpn3.net.route import ROUTE_PROTOCOL
from ovpn3.net.rtnetlink import family

PRIORITY: Final = 1194  # before the main table, 32766, and behind the addresses of this machine, 0
LAST_UID: Final = 2**32 - 2

_FR_ACT_TO_TBL = 1  # linux/fib_rules.h

Uids = tuple[int, int]  # first and last


@dataclass(frozen=True, slots=True)
class Rule:
    """For packets of these users; with a mask, only for those with that mark under it."""

    table: int
    ipv6: bool
    uids: Uids
    mark: int = 0
    mask: int = 0


@dataclass(frozen=True, slots=True)
class Selector:
    """Packets with a mark, of whatever user, or with a mask of 0 those of some users."""

    mark: int = 0
    mask: int = 0
    uids: Uids = (0, LAST_UID)


def rules(table: int, selectors: Collection[Selector], client: int) -> Iterator[Rule]:
    """For both families, and for no packet of the user `client`: it sends the tunnel's own, which must not enter it.

    What has no user, such as packets that are forwarded, counts as root's with the kernel.
    """
    for selector in selectors:
        for uids in _without(selector.uids, client):
            for ipv6 in (False, True):
                yield Rule(table, ipv6, uids, selector.mark, selector.mask)


def _without(uids: Uids, one: int) -> Iterator[Uids]:
    first, last = uids
    if not first <= one <= last:
        yield uids
        return
    if first < one:
        yield first, one - 1
    if one < last:
        yield one + 1, last


async def add_rule(netlink: Netlink, rule: Rule) -> None:
    """NetworkError with EEXIST if it is there."""
    with asking(f"add a rule for table {rule.table}"):
        await netlink.new(_message(rule), CREATE)


async def remove_rule(netlink: Netlink, rule: Rule) -> None:
    """NetworkError with ENOENT if there is none."""
    with asking(f"remove a rule for table {rule.table}"):
        await netlink.delete(_message(rule))


def _message(rule: Rule) -> nlmsg:
    which: dict[str, Any] = {"FRA_FWMARK": rule.mark, "FRA_FWMASK": rule.mask} if rule.mask else {}
    if rule.uids != (0, LAST_UID):
        which["FRA_UID_RANGE"] = "{}:{}".format(*rule.uids)
    what = {"FRA_PRIORITY": PRIORITY, "FRA_TABLE": rule.table, "FRA_PROTOCOL": ROUTE_PROTOCOL}
    return filled(fibmsg(), what | which, family=family(6 if rule.ipv6 else 4), action=_FR_ACT_TO_TBL)
