"""The replay window against a set of ids."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ovpn3._fast.replay import Replay
from ovpn3.datapath.reference import ReplayWindow

WINDOW = 2048


class ReplayMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fast, self.model, self.now = Replay(), ReplayWindow(), 0.0
        self.agreed = True

    @initialize(
        reach=st.sampled_from([0, 1, 64, 65, 100, WINDOW, 65536]) | st.integers(0, 65536),
        silence_s=st.sampled_from([1.0, 15.0, 30.0, 600.0]),
    )
    def by(self, reach: int, silence_s: float) -> None:
        self.fast, self.model = Replay(reach, silence_s), ReplayWindow(reach, silence_s)

    def offer(self, packet_id: int) -> None:
        self.agreed = self.fast.accept(packet_id, self.now) == self.model.accept(packet_id, self.now)

    @rule(step=st.integers(1, 70) | st.sampled_from([WINDOW - 1, WINDOW, WINDOW + 1, 5000]))
    def ahead(self, step: int) -> None:
        self.offer(self.model.highest + step)

    @rule(back=st.integers(0, 130) | st.sampled_from([WINDOW - 2, WINDOW - 1, WINDOW, WINDOW + 1]))
    def behind(self, back: int) -> None:
        self.offer(max(0, self.model.highest - back))

    @rule(step=st.integers(-1, 1))
    def at_the_edge(self, step: int) -> None:
        self.offer(max(0, self.model.highest - self.model.reach + step))

    @rule(count=st.integers(1, 200))
    def run(self, count: int) -> None:
        for _ in range(count):
            self.ahead(1)

    @rule(packet_id=st.integers(0, 2**48))
    def anywhere(self, packet_id: int) -> None:
        self.offer(packet_id)

    @rule(seconds=st.sampled_from([0.5, 29.5, 30.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def same_verdict(self) -> None:
        assert self.agreed


TestReplay = ReplayMachine.TestCase


def test_a_packet_is_accepted_once() -> None:
    window = Replay()
    assert [window.accept(packet_id, 0) for packet_id in (1, 1, 3, 2, 2, 0)] == [True, False, True, True, False, False]


def test_the_window_is_as_long_as_promised() -> None:
    window = Replay()
    assert window.accept(WINDOW + 1, 0)
    assert window.accept(2, 0)
    assert not window.accept(1, 0)


@pytest.mark.parametrize(("reach", "silence_s"), [(-1, 30), (65537, 30), (64, -1), (64, 601), (64, float("nan"))])
def test_the_rule_is_checked(reach: int, silence_s: float) -> None:
    with pytest.raises(ValueError, match="replay window"):
        Replay(reach, silence_s)


def test_silence_forgets_what_did_not_come() -> None:
    window = Replay()
    assert window.accept(10, 100)
    assert window.accept(9, 129)
    assert not window.accept(8, 159)
    assert window.accept(11, 159)


@pytest.mark.parametrize("now", [-1.0, 1e9, float("nan")])
def test_the_time_is_checked(now: float) -> None:
    with pytest.raises(ValueError, match="time"):
        Replay().accept(1, now)


@pytest.mark.parametrize("packet_id", [-1, 2**64])
def test_the_id_is_checked(packet_id: int) -> None:
    with pytest.raises(OverflowError):
        Replay().accept(packet_id, 0)
