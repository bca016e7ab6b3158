"""What each command prints and how it ends, against the real services: tests/data/cli/*.txt.

After a change that is meant, REWRITE=1 writes the transcripts anew; read what git shows of it.
"""

import asyncio
import json
import os
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ovpn3.cli import openvpn2
from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import Program
from ovpn3.cli.selection import PROFILE_OPTIONS, SESSION_OPTIONS, system_bus
from ovpn3.proxies.session import SessionManager
from tests.support import schema, transcript
from tests.support.account import ALICE, BOB, ROOT
from tests.support.bus import SystemBusSandbox
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer
from tests.support.transcript import Main, Names, Runner

DATA = Path(__file__).parents[1] / "data" / "cli"
TRANSCRIPTS = {path.stem: transcript.read(path) for path in sorted(DATA.glob("*.txt"))}
TABLE = tomllib.loads((DATA / "options.toml").read_text())
ACCOUNTS = {account.name: account for account in (ALICE, BOB, ROOT)}
HALF = "client\ndev tun\n"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OFFICE = f"{HALF}remote vpn.example.com 1194 udp\nauth-user-pass\n<ca>\n{PEM}</ca>\n"
FILES = {"half": HALF, "bad": "client\nno-such-option\n", "office": OFFICE}
# A machine with systemd has entries such as these.
JOURNAL = """\
#!/bin/sh
/bin/cat <<'END'
{"__REALTIME_TIMESTAMP": "1795600000000000", "_PID": "77", "MESSAGE": "{tag:1234567890} connected\\nand more", \
"O3_LOGTAG": "1234567890", "O3_LOG_GROUP": "7", "O3_LOG_CATEGORY": "4", "O3_SESSION_TOKEN": "abc", \
"O3_SENDER": ":1.5", "O3_SENDER_PID": "78", "O3_INTERFACE": "net.openvpn.v3.backends", \
"O3_OBJECT_PATH": "/net/openvpn/v3/backends/session"}
{"__REALTIME_TIMESTAMP": "1795600001000000", "_PID": "77", "MESSAGE": "ended", "O3_LOG_GROUP": "3"}
END
"""
# What only shows something, or is refused, is shown in a terminal too. It must look the same there.
LOOKS = ("version", "configs-list", "config-dump", "sessions-list", "session-auth", "session-stats", "shell-completion")
SHOWS = ("-s", "--show", "--json", "--list-sessions", "--list-sessions-verbose", "--list-subscribers", "--config-show")
SELECTION = {spelling for o in (*PROFILE_OPTIONS, *SESSION_OPTIONS) for spelling in o.spellings}
REFUSED = (1, 8, 9)


def new_tunnel(argv: Sequence[str]) -> int:
    """A session as another front-end makes one: nobody answers what it asks."""

    async def run() -> str:
        async with system_bus() as bus:
            return (await SessionManager(bus).new_tunnel(argv[0])).path

    print(f"Session path: {asyncio.run(run())}")
    return 0


PROGRAMS: dict[str, Main] = {
    "openvpn3": OPENVPN3.main,
    "openvpn3-admin": ADMIN.main,
    "openvpn2": openvpn2.main,
    "new-tunnel": new_tunnel,
}


@pytest.fixture(scope="module")
def runner(machine: SystemBusSandbox, network: NamespacePair, pki: Pki) -> Iterator[Runner]:
    for program in (OPENVPN3, ADMIN):
        for name in program.commands:
            program.command(name)  # loaded here, once, not in each fork
    with OpenVpnServer(network, pki) as server:
        profile = server.profile()
        silent = profile.replace(" 1194 udp", " 9 tcp").replace(network.SERVER_V4, network.SILENT_V4)
        login = f"{profile}auth-user-pass\n"
        closed = login.replace(" 1194 udp", " 9 tcp") + "connect-retry-max 1\n"
        files = FILES | {"vpn": profile, "nowhere": silent, "login": login, "closed": closed}
        for name, text in files.items():
            machine.write(f"{ALICE.home}/{name}.ovpn", text, account=ALICE)
        machine.run(["sh", "-c", f"mkdir {transcript.PROGRAMS}; cat > {transcript.PROGRAMS}/journalctl"], input=JOURNAL)
        machine.run(["chmod", "755", f"{transcript.PROGRAMS}/journalctl"])
        machine.run(["sh", "-c", "rm -f /etc/machine-id; echo 0123456789abcdef0123456789abcdef > /etc/machine-id"])
        runner = Runner(machine.pid, machine.address)
        yield runner
        runner.close()


@pytest.mark.system
@pytest.mark.interop
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript(name: str, runner: Runner) -> None:
    names, seen = Names(), []
    for step in TRANSCRIPTS[name]:
        program, *given = shlex.split(step.command)
        argv = [names.show(word) for word in given]
        main, account = PROGRAMS[program], ACCOUNTS[step.account]
        outcome = runner.run(main, argv, account, step, terminal=step.terminal)
        lines = outcome.lines(names)
        if "REWRITE" not in os.environ:
            assert lines == step.expected, step.command
        assert "Traceback" not in outcome.err, outcome.err
        if not step.interrupt and _changes_nothing(argv, outcome.code):
            shown = runner.run(main, argv, account, step, terminal=True).lines(names)
            assert shown == [line.removeprefix("! ") for line in lines], step.command
        if "--json" in argv and outcome.code == 0:
            schema.check(json.loads(outcome.out), _schema(program, argv))
        seen.append(replace(step, expected=lines))
    if "REWRITE" in os.environ:
        transcript.write(DATA / f"{name}.txt", seen)


def _changes_nothing(argv: list[str], code: int) -> bool:
    if "session-start" in argv or "--auth-req" in argv:
        return False  # may have tried
    if code in REFUSED:
        return True
    options = [word for word in argv if word.startswith("-") and word not in SELECTION]
    return not argv or argv[0] in LOOKS or (bool(options) and set(options) <= set(SHOWS))


def _schema(program: str, argv: list[str]) -> str:
    """The command, and which of its lists if it has several."""
    lists = ("--list-subscriptions", "--config-show")
    return " ".join([program, argv[0], *(word for word in argv if word in lists)])


@pytest.mark.parametrize("program", [OPENVPN3, ADMIN], ids=lambda p: p.name)
def test_every_option_of_the_original_is_there_and_shown(program: Program) -> None:
    shown: dict[str, set[str]] = {}
    for steps in TRANSCRIPTS.values():
        for name, *words in transcript.words(steps):
            if name == program.name and words:
                shown.setdefault(words[0], set()).update(words[1:])
    for command, spellings in TABLE[program.name].items():
        wanted = set(spellings.split())
        options = (*program.command(command).options, HELP)
        known = {spelling for option in options for spelling in option.spellings}
        assert wanted <= known, command
        assert wanted <= shown.get(command, set()), command
        assert command in shown
