"""The targets with what is sensible, and with some of it spoilt by chance; `guided` looks further."""

from random import Random

import pytest

from tests.fuzz.control import TARGETS
from tests.support.hostile import mutated


@pytest.mark.parametrize("name", TARGETS)
def test_some_rounds(name: str) -> None:
    target, make_seeds = TARGETS[name]
    seeds, random = make_seeds(), Random(name)
    assert seeds
    for seed in seeds:
        target(seed)
    for _ in range(100):
        target(mutated(random, random.choice(seeds)))
