"""Which rules lead to a table: never for the client's own packets."""

from hypothesis import given
from hypothesis import strategies as st

from ovpn3.net.rule import LAST_UID, Rule, Selector, rules

UIDS = st.integers(0, LAST_UID)


def matched(uid: int, selectors: list[Selector], client: int) -> bool:
    return any(rule.uids[0] <= uid <= rule.uids[1] for rule in rules(100, selectors, client))


@given(st.tuples(UIDS, UIDS).map(sorted), UIDS, UIDS)
def test_all_but_the_client(uids: list[int], client: int, other: int) -> None:
    selectors = [Selector(uids=(uids[0], uids[1]))]
    assert not matched(client, selectors, client)
    if other != client:
        assert matched(other, selectors, client) is (uids[0] <= other <= uids[1])


def test_by_mark_and_in_both_families() -> None:
    found = list(rules(100, [Selector(0x20, 0xFF), Selector(uids=(5, 5)), Selector(uids=(999, 999))], client=999))
    assert found == [
        Rule(100, False, (0, 998), 0x20, 0xFF),
        Rule(100, True, (0, 998), 0x20, 0xFF),
        Rule(100, False, (1000, LAST_UID), 0x20, 0xFF),
        Rule(100, True, (1000, LAST_UID), 0x20, 0xFF),
        Rule(100, False, (5, 5)),
        Rule(100, True, (5, 5)),
    ]
