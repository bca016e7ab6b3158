"""When a client that died is replaced."""

import pytest

from ovpn3_services.sessionmgr.restarts import CALM_S, TRIES, Restarts


def test_waits_double_and_end() -> None:
    restarts = Restarts()
    delays = [restarts.next_delay(0.0, was_up=False) for _ in range(TRIES + 1)]
    assert delays == [3, 6, 12, 24, 48, 96, 192, 384, 768, 768, None]


@pytest.mark.parametrize(("later", "was_up", "delay"), [(CALM_S + 1, True, 3), (CALM_S + 1, False, 12), (1, True, 12)])
def test_a_tunnel_that_was_up_for_long_begins_anew(later: float, was_up: bool, delay: float) -> None:
    restarts = Restarts()
    for _ in range(2):
        restarts.next_delay(100.0, was_up=True)
    assert restarts.next_delay(100.0 + later, was_up=was_up) == delay
