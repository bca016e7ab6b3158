"""What the services load while a user has a session: every process pays for it. bench/README.md has the figures."""

import sys
from collections.abc import Callable

import pytest

from ovpn3.constants import BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]

ACTIVATION = "/usr/share/dbus-1/system-services"
LISTS = "/run/imports"

# Of no use to any service; `ast` and `dis` are what `inspect` loads, and that what `dataclasses` of Python 3.13 load.
NOWHERE = {
    *("_ssl", "dbus_fast.message_bus", "dbus_fast.introspection", "dbus_fast.service", "xml.etree.ElementTree"),
    *("http", "importlib.metadata", "importlib.resources", "unittest.case"),
}
COMPILER = {"ast"} if sys.version_info >= (3, 13) else {"ast", "dis"}
OPENSSL = {"_hashlib", "cryptography", "OpenSSL"}
NETLINK = {"pyroute2.netlink"}
PROFILE = {"ovpn3.profile", "tomllib", "datetime"}
PROTOCOL = {"ovpn3.protocol", "ovpn3._fast.pump"}
CONVENIENCE = {"argparse", "tempfile", "shutil", "random", "uuid"}

MUST_NOT_LOAD = {
    LOG_NAME: COMPILER | OPENSSL | NETLINK | PROFILE | PROTOCOL | CONVENIENCE,
    SESSIONS_NAME: COMPILER | OPENSSL | NETLINK | PROFILE | PROTOCOL | CONVENIENCE,
    CONFIG_NAME: COMPILER | OPENSSL | NETLINK | PROTOCOL | CONVENIENCE,
    NETCFG_NAME: OPENSSL | PROFILE | PROTOCOL | {"argparse"},
    BACKENDS_NAME: NETLINK | {"argparse"},  # and its clients
}


def test_services_load_only_what_they_need(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    sandbox = machine.sandbox
    sandbox.run(["install", "-d", "-m", "1777", LISTS])
    for name in MUST_NOT_LOAD:
        told = f"Exec=/usr/bin/env PYTHONPROFILEIMPORTTIME=1 sh -c 'exec \"$@\" 2>{LISTS}/{name}' sh"
        sandbox.run(["sed", "-i", f"s|^Exec=|{told} |", f"{ACTIVATION}/{name}.service"])
    sandbox.stop_bus()
    sandbox.start_bus()
    machine.connect(start_server().profile())
    machine.sessions()
    machine.disconnect()
    for name, forbidden in MUST_NOT_LOAD.items():
        lines = sandbox.run(["cat", f"{LISTS}/{name}"]).stdout.splitlines()
        loaded = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
        ours = set(loaded[loaded.index("site") :])  # before that it's the interpreter's, or of a development install
        assert "ovpn3.dbus.bus" in ours, name
        unwanted = ours & (NOWHERE | forbidden)
        assert not unwanted, name
