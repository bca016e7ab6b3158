"""Fixtures over tests/support, and what needs root or asking for."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.bus import BIN, SystemBusSandbox
from tests.support.cgroup import Cgroups
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

_ROOT_MARKS = {"netns", "interop", "system"}

# A failure in continuous integration is to be the same failure at the next run.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the whole product of modes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    if os.geteuid() != 0:
        for item in items:
            if _ROOT_MARKS & {mark.name for mark in item.iter_markers()}:
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces and a system bus are made"))


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def pair() -> Iterator[NamespacePair]:
    """A client and a server namespace for this test alone."""
    with NamespacePair() as pair:
        yield pair


@pytest.fixture
def start_server(pair: NamespacePair, pki: Pki) -> Iterator[Callable[..., OpenVpnServer]]:
    """Start an OpenVpnServer in the pair, with its keywords; the log of a failed test's server is shown."""
    with ExitStack() as stack:

        def start(**options: Any) -> OpenVpnServer:
            server = stack.enter_context(OpenVpnServer(pair, pki, **options))
            stack.callback(lambda: print(server.log()))
            return server

        yield start


@pytest.fixture
def machine(pair: NamespacePair) -> Iterator[Machine]:
    """The client namespace of the pair with a system bus, and the product installed as on a real machine."""
    install: list[str | Path] = [BIN / "openvpn3-admin", "install"]
    with SystemBusSandbox(pair.client, setup=[install]) as sandbox:
        yield Machine(sandbox, pair)
        print(sandbox.log())


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    try:
        cgroups = Cgroups()
    except OSError as e:
        pytest.skip(f"needs cgroups: {e}")
    with cgroups:
        yield cgroups
