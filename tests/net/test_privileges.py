"""What is left of root after the drop, as the kernel tells it."""

import subprocess
import sys
from pathlib import Path

import pytest

from ovpn3.errors import ConfigurationRefused
from ovpn3_services.common import privileges

pytestmark = pytest.mark.netns

ACCOUNT = "nobody"
ROOT = Path(__file__).parents[2]
PRELUDE = """
import os
from pathlib import Path
from ovpn3_services.common.privileges import Cap, drop, forget, raised
def show():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(("Uid", "Gid", "Groups", "Cap", "NoNew")):
            print(*line.split())
    print(end="", flush=True)
"""


def child(code: str) -> dict[str, list[str]]:
    """Last values of what the code shows, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'services'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {key.rstrip(":"): values for key, *values in lines}


def caps(shown: dict[str, list[str]]) -> dict[str, int]:
    return {key.removeprefix("Cap"): int(value[0], 16) for key, value in shown.items() if key[:3] == "Cap"}


def test_nothing_kept() -> None:
    shown = child(f"drop({ACCOUNT!r}); show()")
    assert set(caps(shown).values()) == {0}
    assert len(set(shown["Uid"] + shown["Gid"])) <= 2
    assert "0" not in shown["Uid"] + shown["Gid"]
    assert shown["Groups"] == []
    assert shown["NoNewPrivs"] == ["1"]


def test_kept_and_permitted_only() -> None:
    shown = child(f"drop({ACCOUNT!r}, {{Cap.NET_ADMIN, Cap.NET_RAW}}, {{Cap.DAC_OVERRIDE}}); show()")
    kept = 1 << 12 | 1 << 13
    assert caps(shown) == {"Inh": 0, "Prm": kept | 2, "Eff": kept, "Bnd": 0, "Amb": 0}


def test_raised_for_a_moment() -> None:
    code = f"drop({ACCOUNT!r}, {{12}}, {{1}})\n"
    assert caps(child(code + "with raised(1): show()"))["Eff"] == 1 << 12 | 2
    after = "try:\n with raised(1): raise KeyError\nexcept KeyError: show()"
    assert caps(child(code + after))["Eff"] == 1 << 12


def test_forgotten_for_good() -> None:
    shown = child(f"drop({ACCOUNT!r}, {{12}}, {{1}}); forget(1)\nwith raised(1): show()")
    assert caps(shown) == {"Inh": 0, "Prm": 1 << 12, "Eff": 1 << 12, "Bnd": 0, "Amb": 0}


@pytest.mark.parametrize("way_back", ["os.setuid(0)", "os.setgroups([0])", "os.setgid(0)"])
def test_no_way_back(way_back: str) -> None:
    child(f"drop({ACCOUNT!r}, {{12}})\ntry: {way_back}\nexcept PermissionError: pass\nelse: raise SystemExit(1)")


def test_a_device_of_root_opens_only_while_raised() -> None:
    child(
        f"path = '/dev/net/tun'; root_only = os.stat(path).st_mode & 0o066 == 0; drop({ACCOUNT!r}, {{12}}, {{1}})\n"
        "assert os.access(path, os.R_OK | os.W_OK) is not root_only\n"
        "with raised(1): os.close(os.open(path, os.O_RDWR))"
    )


def test_only_root_can_drop() -> None:
    child(
        "from ovpn3.errors import ConfigurationRefused\n"
        f"drop({ACCOUNT!r})\n"
        f"try: drop({ACCOUNT!r})\nexcept ConfigurationRefused: pass\nelse: raise SystemExit(1)"
    )


@pytest.mark.parametrize("account", ["no-such-account", "root"])
def test_accounts_we_won_t_become(account: str) -> None:
    with pytest.raises(ConfigurationRefused, match=account):
        privileges.drop(account)
