"""Some rounds of the fuzzer, and that it tells how to come back to one."""

from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz import data_path


@pytest.mark.parametrize("target", data_path.TARGETS, ids=lambda target: target.__name__)
def test_some_rounds(target: Callable[[Random], None]) -> None:
    for number in range(10 * data_path.TARGETS[target]):
        target(Random(number))


def test_a_failure_names_its_round(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(random: Random) -> None:
        raise AssertionError

    monkeypatch.setattr(data_path, "TARGETS", {fails: 1})
    with pytest.raises(AssertionError) as caught:
        data_path.main(["--seconds", "0", "--seed", "7"])
    assert caught.value.__notes__ == ["fails, --seed 7"]
    assert capsys.readouterr().err == "round 7\n"
