"""The completion script in a real bash, and the command that it asks."""

import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from ovpn3.cli.openvpn3 import OPENVPN3
from tests.support.bus import BIN

SCRIPT = files("ovpn3_services") / "data/bash-completion/completions/openvpn3"


def complete(line: str) -> list[str]:
    """What bash offers at the end of the line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"""
shopt -s extglob
source '{SCRIPT}'
compopt() {{ :; }}
COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
_openvpn3 openvpn3 '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere/bus"}
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=environment, cwd="/", check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("openvpn3 config-a", ["config-acl"]),
        ("openvpn3 sessions", ["sessions-list"]),
        ("openvpn3-admin inst", ["install"]),
        ("openvpn3 session-manage --re", ["--resume", "--restart"]),
        ("openvpn3 config-acl --public-access t", ["true"]),
        ("openvpn3 session-manage --log-level =", list("0123456")),
        ("openvpn3 config-acl --grant roo", ["root"]),
        ("openvpn3 config-manage --offloads g", ["gso", "gro"]),
        ("openvpn3 config-manage --unset-override tls", ["tls-version-min", "tls-cert-profile"]),
        ("openvpn3 log --config x", []),
    ],
)
def test_offers(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_names_are_not_expanded(tmp_path: Path) -> None:
    code = f"source '{SCRIPT}'; COMPREPLY=(); _openvpn3_words '$' <<< '$(touch${{IFS}}{tmp_path}/owned) other'"
    done = subprocess.run(["bash", "-c", code + '; echo "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("\\$\\(touch")
    assert not list(tmp_path.iterdir())


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = OPENVPN3.main(["shell-completion", *arguments])
    return code, capsys.readouterr().out.split()


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = ask(capsys, "--list-options", "session-manage")
    assert code == 0
    assert {"-P", "--pause", "--log-level", "--log-level=", "--session-path", "--help"} <= set(words)
    assert "--pause=" not in words


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    words = ask(capsys, "--list-commands")[1]
    assert "config-import" in words
    assert not {"help", "shell-completion"} & set(words)


def test_values(capsys: pytest.CaptureFixture[str]) -> None:
    for spelling in ("--log-level=", "log-level="):
        assert ask(capsys, "--list-options", "session-manage", "--arg-helper", spelling)[1] == list("0123456")
    for spelling in ("--log-level", "--timeout", "--nope"):
        assert ask(capsys, "--list-options", "session-manage", "--arg-helper", spelling) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--arg-helper", "x"],
        ["--list-commands", "--list-options", "log"],
        ["--list-options", "log", "--list-options", "run"],
        ["--list-options", "nope"],
    ],
)
def test_misuse(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert ask(capsys, *arguments)[0] == 8
