"""Where `resolvconf`, of either kind, keeps /etc/resolv.conf: what it does meanwhile and what it finds afterwards.

It isn't called, which would take privileges that the network service has given up; it need not be. The packages are
unpacked for the occasion.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.packages import fetched
from tests.support.server import OpenVpnServer
from tests.system.test_dns import PUSHED, put, servers, until

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]
LEASE = "printf 'search {0}.example\\nnameserver 192.0.2.{0}\\n' | /sbin/resolvconf -a eth0.dhcp"


@pytest.fixture(params=["openresolv", "resolvconf"])
def kind(request: pytest.FixtureRequest, machine: Machine, tmp_path: Path) -> str:
    """Installed, in charge of the file, with one lease."""
    package: str = request.param
    root = fetched([package], tmp_path)
    put(machine, "", "none")
    link = "ln -s /run/resolvconf/resolv.conf /etc/resolv.conf" if package == "resolvconf" else "true"
    script = f"""
    set -e
    layer=/run/overlay/usr/sbin  # the one directory of the machine's that is not the sandbox's own already
    mkdir -p $layer/upper $layer/work /run/resolvconf/interface /run/resolvconf/interfaces
    mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir=$layer/upper,workdir=$layer/work /usr/sbin
    cp -a {root}/usr/sbin/. /usr/sbin
    cp -a {root}/usr/lib/. /usr/lib
    cp -a {root}/etc/. /etc
    {link}
    /sbin/resolvconf --enable-updates || true
    {LEASE.format(1)}
    """
    machine.sandbox.run(["sh", "-c", script])
    assert servers(machine) == ["192.0.2.1"]
    return package


def test_a_lease_that_changes_meanwhile(machine: Machine, start_server: StartServer, kind: str) -> None:
    neighbours = "ls -l /etc | grep resolv | grep -v -e conf.d -e ' resolvconf' | sed 's/.* //'"
    before = machine.sandbox.run(["sh", "-c", neighbours]).stdout
    machine.connect(start_server(push=PUSHED).profile())
    assert servers(machine)[0] == "10.8.0.1"
    machine.sandbox.run(["sh", "-c", LEASE.format(2)])
    behind = (
        "192.0.2.2" if kind == "openresolv" else "192.0.2.1"
    )  # whose file is elsewhere, and comes back as it is then
    until(lambda: servers(machine) == ["10.8.0.1", behind])
    machine.disconnect()
    assert servers(machine) == ["192.0.2.2"]
    assert machine.sandbox.run(["sh", "-c", neighbours]).stdout == before
    machine.sandbox.run(["sh", "-c", LEASE.format(3)])
    assert servers(machine) == ["192.0.2.3"]
