"""`openvpn3 run` with exactly what docs/containers/compose.yaml gives it."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bus import PROJECT
from tests.support.container import Container
from tests.support.netns import NamespacePair
from tests.support.pages import command
from tests.support.server import OpenVpnServer
from tests.support.totp import credentials, totp_script

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

FOLDER = PROJECT / "docs/containers"
COMPOSE = (FOLDER / "compose.yaml").read_text()
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
PAGE = (PROJECT / "docs/containers.md").read_text()


def listed(key: str) -> list[str]:
    """A list of the example's first service."""
    return [word.strip(' "') for word in re.findall(rf"^    {key}: \[(.*)\]$", COMPOSE, re.MULTILINE)[0].split(",")]


def words(instruction: str) -> list[str]:
    found: list[str] = json.loads(re.findall(rf"{instruction} (\[.*\])$", CONTAINERFILE, re.MULTILINE)[0])
    return found


ENTRYPOINT, CHECK = words("ENTRYPOINT"), words("CMD")


def test_the_page_gives_the_same() -> None:
    assert command("docs/containers.md", "openvpn3 run --check").split() == CHECK
    assert set(re.findall(r"--cap-add (\w+)", PAGE)) == set(listed("cap_add"))
    assert set(re.findall(r"--device (\S+)", PAGE)) == set(listed("devices"))
    assert not [name for name in listed("cap_add") if f"`{name}`" not in PAGE]


def test_compose(pair: NamespacePair, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(auth=totp_script(), push=["dhcp-option DNS 10.8.0.1"])
    (tmp_path / "office.ovpn").write_text(server.profile('static-challenge "Code" 0'))
    credentials(tmp_path / "secrets")
    before = pair.client.state()
    container = Container(pair.client, tmp_path, listed("cap_add"), listed("devices"))
    with container.start([*ENTRYPOINT, *listed("command")]) as process:
        assert process.stdout
        assert process.stderr
        events = (json.loads(line) for line in process.stdout)
        assert any(event.get("text") == "Connection, Client connected" for event in events), process.stderr.read()
        check = container.run(CHECK)
        assert (check.returncode, check.stdout) == (0, "office.ovpn: Connection, Client connected\n")
        assert "nameserver 10.8.0.1" in container.run(["cat", "/etc/resolv.conf"]).stdout
        assert pair.client.run(["ping", "-c1", "-W5", "10.8.0.1"]).returncode == 0
        os.kill(container.pid, signal.SIGTERM)
        assert [event["reason"] for event in events if event["event"] == "end"] == ["stopped"]
        assert (process.wait(20), process.stderr.read()) == (0, "")
    assert pair.client.state() == before


@pytest.mark.parametrize(
    ("missing", "device", "text"),
    [
        ("NET_ADMIN", True, "root lacks NET_ADMIN: the container has to be started with --cap-add"),
        ("SETPCAP", True, "root lacks SETPCAP"),
        ("", False, "there is no /dev/net/tun: load the module tun, or start the container with --device /dev/net/tun"),
    ],
)
def test_what_is_missing(
    pair: NamespacePair, start_server: StartServer, tmp_path: Path, missing: str, device: bool, text: str
) -> None:
    (tmp_path / "office.ovpn").write_text(start_server().profile())
    given = [name for name in listed("cap_add") if name != missing]
    container = Container(pair.client, tmp_path, given, listed("devices") if device else [])
    with container.start([*ENTRYPOINT, "/etc/openvpn3/office.ovpn"]) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert text in err
