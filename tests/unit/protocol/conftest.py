import pytest

from tests.support.clock import Clock
from tests.support.peer import Identity


@pytest.fixture(scope="session")
def identity():
    return Identity.make()


@pytest.fixture
def clock():
    return Clock()
