"""What is offered next on a command line, and that the real shells show and take it."""

import os
import pty
import shlex
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from ovpn3.cli.completion import FILES, FOLDERS, PROFILES, candidates, words_of
from ovpn3.cli.install import Installation
from ovpn3.cli.openvpn3 import OPENVPN3
from tests.support.bus import SystemBusSandbox

PATIENCE_S = 120.0
NOWHERE = "unix:path=/nowhere/bus"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a ", ["a", ""]),
        ("a  b", ["a", "b"]),
        (r"a b\ c", ["a", "b c"]),
        ("a b\\", ["a", "b"]),
        ("a 'b c", ["a", "b c"]),
        ("a \"b 'c", ["a", "b 'c"]),
        ("a 'b c' ", ["a", "b c", ""]),
        ("a --b=c:d # e", ["a", "--b=c:d", "#", "e"]),
    ],
)
def test_words_of_a_line_that_is_not_finished(line: str, words: list[str]) -> None:
    assert words_of(line) == words


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("openvpn3 ", ["config-import", "log"], ["shell-completion", "--help"]),
        ("/opt/bin/openvpn3-admin ", ["init-config"], ["config-import"]),
        ("openvpn3 session-manage ", ["--pause", "--log-level", "--log-level="], ["-P"]),
        ("openvpn3 session-manage -", ["--pause", "-P"], []),
        ("openvpn3 session-manage --log-level=", ["--log-level=0", "--log-level=6"], ["--pause"]),
        ("openvpn3 session-manage --log-level ", ["--pause"], ["0"]),
        ("openvpn3 session-acl --public-access ", ["true", "false"], ["--show"]),
        ("openvpn3 config-acl --grant ", ["root"], []),
        ("openvpn3 session-start --config ", [PROFILES], [FILES]),
        ("openvpn3 run ", [PROFILES, "--json"], []),
        ("openvpn3 run --auth-user-pass ", [FILES], [PROFILES]),
        ("openvpn3 config-manage --unset-override ", ["tls-version-min"], ["--show"]),
        ("openvpn3 nope ", [], ["--help"]),
        ("openvpn3-admin install --root ", [FOLDERS], []),
        ("openvpn3-admin log-service --config-set ", ["journald"], ["log-level"]),
        ("openvpn3-as ", ["--username", "--systemd-start", "--credentials"], ["--help=", FILES]),
        ("openvpn3-as --owner ", ["root"], ["--username"]),
        ("/opt/bin/openvpn3-as --credentials ", [FOLDERS], [FILES]),
        ("openvpn3-autoload ", ["--directory"], ["config-import"]),
        ("openvpn3-autoload --directory=", [FOLDERS], []),
        ("openvpn3-systemd -", ["--start", "-h"], []),
        ("openvpn3-systemd --start --log-level ", ["6"], ["--stop"]),
        ("openvpn2 ", [PROFILES], []),
        ("openvpn2 --ci", ["--cipher", "--config", "--daemon"], ["--management", "--connection"]),
        ("openvpn2 --ca ", [FILES], []),
        ("openvpn2 --auth-retry ", ["nointeract"], []),
        ("openvpn2 --auth-retry none ", [], ["nointeract"]),
        ("openvpn2 --profile-override ", ["proxy-host"], []),
        ("openvpn2 --remote x 1194 ", [], [FILES]),
    ],
)
async def test_candidates(line: str, some: list[str], none: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", NOWHERE)
    found = (await candidates(line))[1]
    assert set(some) <= found.keys()
    assert not set(none) & found.keys()


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("openvpn3 config-a", "config-a", ["config-acl"]),
        ("openvpn3 session-manage --log-level=", "=", list("0123456")),
        ("openvpn3 session-manage --log-level=3", "3", ["3"]),
        ("openvpn3 session-start --config AS:", ":", [PROFILES]),
    ],
)
def test_words_as_bash_takes_them_apart(
    line: str, word: str, offered: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert OPENVPN3.main(["shell-completion", "--line", line, "--word", word]) == 0
    assert [row.split("\t")[0] for row in capsys.readouterr().out.splitlines()] == offered


# -- in the shells ---------------------------------------------------------------------------------
TYPED = {
    "openvpn3 config-i": ["config-import"],
    "openvpn3-admin inst": ["install"],
    "openvpn3 session-manage --pau": ["session-manage", "--pause"],
    "openvpn3 config-acl --public-access t": ["config-acl", "--public-access", "true"],
    "openvpn3 session-manage --log-level=3": ["session-manage", "--log-level=3"],
    "openvpn3 run --auth-user-pass=oth": ["run", "--auth-user-pass=other.txt"],
    "openvpn3 config-import --config off": ["config-import", "--config", "office net.ovpn"],
    "openvpn3 config-import --config 'off": ["config-import", "--config", "office net.ovpn"],
    "openvpn3 run --auth-user-pass oth": ["run", "--auth-user-pass", "other.txt"],
    "openvpn2 --tls-cert-profile suit": ["--tls-cert-profile", "suiteb"],
    "openvpn3-as --user": ["--username"],
    "openvpn3-autoload --dir": ["--directory"],
    "openvpn3-systemd --res": ["--restart"],
}
PROGRAMS = "openvpn2 openvpn3 openvpn3-admin openvpn3-as openvpn3-autoload openvpn3-systemd"
# What is typed is only shown, a word each.
SHOW = f"""for p in {PROGRAMS}; do eval "$p() {{ printf '<%s>' \\"\\$@\\"; echo; }}"; done
"""
BASH = f"""bind 'set enable-bracketed-paste off'
for p in {PROGRAMS}; do . {{}}/bash-completion/completions/$p; done
"""
ZSH = """fpath=({}/zsh/vendor-completions $fpath); autoload -U compinit; compinit -u -D
"""
SHELLS = [
    pytest.param(["bash", "--norc", "-i"], BASH, id="bash"),
    pytest.param(["zsh", "-f", "-i"], ZSH, id="zsh"),
    pytest.param(["zsh", "-f", "-i"], ZSH.replace("vendor-completions", "site-functions"), id="zsh-site"),
]
FISH = {
    "openvpn3 config-i": ["config-import\tImport a profile"],
    "openvpn3-admin inst": ["install\tInstall the services of this environment into the system"],
    "openvpn3 config-acl --public-access t": ["true"],
    "openvpn3 session-manage --log-level=3": ["--log-level=3"],
    "openvpn3 config-import --config off": ["office net.ovpn"],
    "openvpn3 run --auth-user-pass oth": ["other.txt"],
    "openvpn2 --tls-cert-profile suit": ["suiteb"],
    "openvpn3-as --user": ["--username\tUser name at the server"],
    "openvpn3-autoload --dir": ["--directory\tWhere the profiles are, with a .autoload file beside each"],
    "openvpn3-systemd --res": ["--restart\tConnect the running session anew, and wait until it is connected"],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shells look for our files, with some profiles beside it."""
    root = tmp_path_factory.mktemp("root")
    for name, text in Installation(root, "openvpn").files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("office net.ovpn", "office.txt", "other.txt"):
        (root / name).touch()
    return root


def type_into(shell: list[str], prepare: str, lines: list[str], root: Path, bus: str = NOWHERE) -> list[str]:
    """What an interactive shell prints of each line, with a tab at its end."""
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    ours, theirs = pty.openpty()
    environment = {"PATH": "/usr/bin:/bin", "TERM": "vt100", "HOME": str(root), "LANG": "C.UTF-8"}
    environment["DBUS_SYSTEM_BUS_ADDRESS"] = bus
    files = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(["setsid", "--ctty", *shell], cwd=root, env=environment, **files) as process:
        os.close(theirs)
        limit = threading.Timer(PATIENCE_S, process.kill)  # it may ask something back
        limit.start()
        typed = [prepare.format(root / "usr/share"), SHOW, *(f"{line}\t\n" for line in lines), "exit\n"]
        os.write(ours, "".join(typed).encode())
        seen = b""
        with suppress(OSError):  # when nobody has the terminal open any more
            while chunk := os.read(ours, 65536):
                seen += chunk
        limit.cancel()
    os.close(ours)
    return [line for line in seen.decode().replace("\r", "").split("\n") if line.startswith("<")]


def words(*words: str) -> str:
    return "".join(f"<{word}>" for word in words)


@pytest.mark.parametrize(("shell", "prepare"), SHELLS)
def test_what_a_shell_makes_of_a_tab(shell: list[str], prepare: str, installed: Path) -> None:
    printed = type_into(shell, prepare, list(TYPED), installed)
    assert printed == [words(*expected) for expected in TYPED.values()]


@pytest.mark.system
@pytest.mark.parametrize(("shell", "prepare"), SHELLS[:2])
def test_names_of_profiles(shell: list[str], prepare: str, installed: Path, machine: SystemBusSandbox) -> None:
    """They are other people's, and nothing of them is run."""
    name = f"{shell[0]}:of $(touch owned) `touch owned` 'me'"
    machine.write("/root/office.ovpn", "client\n")
    machine.run(["openvpn3", "config-import", "--config", "/root/office.ovpn", "--name", name])
    lines = [f"openvpn3 config-dump --config {start}" for start in (shell[0], f"{shell[0]}:", f"{shell[0]}:of\\ ")]
    printed = type_into(shell, prepare, lines, installed, machine.address)
    assert printed == [words("config-dump", "--config", name)] * 3
    assert not (installed / "owned").exists()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize(("line", "offered"), FISH.items())
def test_what_fish_offers(line: str, offered: list[str], installed: Path) -> None:
    folder = installed / "usr/share/fish/vendor_completions.d"
    program = line.split()[0]
    command = ["fish", "--no-config", "-c", f"source {folder}/{program}.fish; complete -C {shlex.quote(line)}"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(installed), "DBUS_SYSTEM_BUS_ADDRESS": NOWHERE}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=installed, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == offered
