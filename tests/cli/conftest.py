"""A machine with the product installed, for a module's tests in their order."""

from collections.abc import Iterator

import pytest

from tests.support.bus import BIN, SystemBusSandbox
from tests.support.netns import NamespacePair


@pytest.fixture(scope="module")
def network() -> Iterator[NamespacePair]:
    with NamespacePair() as pair:
        yield pair


@pytest.fixture(scope="module")
def machine(network: NamespacePair) -> Iterator[SystemBusSandbox]:
    with SystemBusSandbox(network.client, setup=[[BIN / "openvpn3-admin", "install"]]) as machine:
        yield machine
        print(machine.log())
