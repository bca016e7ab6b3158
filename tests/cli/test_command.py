"""Arguments are read by getopt_long's rules, and ends have their exit codes."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import BadOption, BadValue, Command, CommandError, Option, Options
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import Program
from ovpn3.errors import ProfileError, RemoteError


async def nothing(options: Options) -> int:
    return 0


COMMAND = Command(
    nothing,
    (
        Option("config", "c", "NAME"),
        Option("path", "o", "PATH", alias="config-path"),
        Option("persistent", "p"),
        Option("tag", "", "TAG"),
        Option("level", "", "LEVEL", optional=True, last=True),
    ),
)


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        (["--config", "x"], {"config": ["x"]}),
        (["--config=x"], {"config": ["x"]}),
        (["--persi"], {"persistent": [""]}),
        (["-cx"], {"config": ["x"]}),
        (["-pc", "x"], {"persistent": [""], "config": ["x"]}),
        (["-c", "-p"], {"config": ["-p"]}),
        (["--config-path", "/x"], {"path": ["/x"]}),
        (["--tag", "a", "-p", "--tag=b"], {"tag": ["a", "b"], "persistent": [""]}),
        (["--level"], {"level": [""]}),
        (["--lev", "-p"], {"level": [""], "persistent": [""]}),
        (["--level=4", "-p"], {"level": ["4"], "persistent": [""]}),
        (["--config", "a\x1b[2J\nb"], {"config": ["a[2Jb"]}),
    ],
)
def test_accepted(argv: list[str], given: dict[str, list[str]]) -> None:
    assert COMMAND.parse(argv).given == given


@pytest.mark.parametrize(
    "argv", [["--nope"], ["-x"], ["--conf=x"], ["--config"], ["--persistent=1"], ["--p"], ["extra"], ["--", "-p"]]
)
def test_refused(argv: list[str]) -> None:
    with pytest.raises(BadOption):
        COMMAND.parse(argv)


def test_positional_argument_may_stand_anywhere() -> None:
    command = Command(nothing, (Option("json"),), argument="PROFILE")
    assert command.parse(["a.ovpn", "--json"]) == Options({"json": [""]}, ["a.ovpn"])
    assert command.parse(["--json", "--", "-a"]).arguments == ["-a"]
    with pytest.raises(BadOption):
        command.parse(["a", "b"])


def test_first_or_last_occurrence_counts() -> None:
    options = COMMAND.parse(["-ca", "-cb", "--level=1", "--level=2"])
    assert (options.get("config"), options.get("level"), options.get("tag", "none")) == ("a", "2", "none")


@given(st.lists(st.text(st.characters(), max_size=12), max_size=6))
def test_any_arguments_are_read_or_refused(argv: list[str]) -> None:
    try:
        options = COMMAND.parse(argv)
    except (BadOption, BadValue):
        return
    assert all(ord(c) >= 0x20 for values in options.given.values() for value in values for c in value)


def test_values() -> None:
    options = Options({"a": ["yes"], "b": ["false"], "c": ["Yes"], "n": ["-3"], "x": ["4x"], "t": ["\u0661"]})
    assert (options.flag("a"), options.flag("b")) == (True, False)
    assert (options.number("n", 0), options.number("?", 7)) == (-3, 7)
    with pytest.raises(BadValue):
        options.flag("c")
    for name in ("x", "t"):
        with pytest.raises(BadValue):
            options.number(name, 0)
    with pytest.raises(CommandError, match="--a and --b exclude each other"):
        options.exclusive("a", "b")
    assert options.exclusive("a", "q") == "a"


@pytest.mark.parametrize("program", [OPENVPN3, ADMIN])
def test_every_command_is_there_and_has_its_help(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    for name in program.commands:
        assert program.main([name, "--help"]) == 0
        text = capsys.readouterr().out
        for option in program.command(name).options:
            assert option.usage() in text


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"]])
def test_list_of_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert OPENVPN3.main(argv) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("config-import", "sessions-list", "help"))


@pytest.mark.parametrize(
    ("argv", "code", "out", "err"),
    [
        ([], 1, "openvpn3: which command?", ""),
        (["no\x1bpe"], 1, "there is no command 'no pe'", ""),
        (["version", "--x"], 8, "", "openvpn3/version: option --x not recognized\n"),
        (["config-import"], 8, "", "openvpn3/config-import: ** ERROR ** which file? Give --config\n"),
        (
            ["configs-list", "--json", "--verbose"],
            9,
            "",
            "openvpn3** ERROR ** --json and --verbose exclude each other\n",
        ),
        (["config-acl", "-c", "x", "--public-access", "perhaps"], 9, "", "takes true or false"),
        (["session-manage", "-c", "x"], 8, "", "** ERROR **"),
        (["session-manage", "-P", "-R", "-c", "x"], 8, "", "exclude each other"),
        (["session-start"], 8, "", "Give --config"),
        (["session-start", "-c", "x", "-p", "/y"], 8, "", "exclude each other"),
        (["session-start", "-p", "/y", "--persist-tun"], 8, "", "for --config only"),
        (["session-start", "-c", "x", "--timeout", "soon"], 9, "", "takes a number"),
        (["log"], 8, "", "which session?"),
        (["log", "-c", "x", "-I", "tun0"], 9, "", "exclude each other"),
        (["log", "-c", "x", "--log-level", "7"], 9, "", "a log level is 0 to 6"),
        (["log", "-c", "x", "--log-level", "-1"], 9, "", "a log level is 0 to 6"),
        (["log", "-c", "x", "--log-level", "99999999999"], 9, "", "takes a number"),
        (["version"], 0, "(openvpn3)\n", ""),
    ],
)
def test_exit_codes(argv: list[str], code: int, out: str, err: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert OPENVPN3.main(argv) == code
    captured = capsys.readouterr()
    assert out in captured.out
    assert err in captured.err
    assert bool(captured.err) == bool(err)


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [
        (CommandError("no\x1b[31m"), 8, "p/version: ** ERROR ** no [31m\n"),
        (ProfileError("bad", line=3), 8, "p/version: ** ERROR ** line 3: bad\n"),
        (RemoteError("org.x", "gone"), 8, "p/version: ** ERROR ** gone\n"),
        (BadValue("v"), 9, "p** ERROR ** v\n"),
        (PermissionError(13, "Permission denied", "/x"), 9, "p** ERROR ** [Errno 13] Permission denied: '/x'\n"),
    ],
)
def test_errors(
    error: Exception, code: int, err: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(options: Options) -> int:
        raise error

    monkeypatch.setattr(Program, "command", lambda *_: Command(fail))
    assert Program("p", {"version": ""}).main(["version"]) == code
    assert capsys.readouterr().err == err


def test_no_bus_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    assert OPENVPN3.main(["sessions-list"]) == 7
    assert "can't reach the system message bus" in capsys.readouterr().err


def test_reader_that_goes_away_is_no_failure_to_report() -> None:
    code = "import sys; from ovpn3.cli.openvpn3 import OPENVPN3; sys.exit(OPENVPN3.main(['help']))"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("command", ["sessions-list", "session-start", "session-manage", "shell-completion"])
def test_start_is_quick_because_little_is_imported(command: str) -> None:
    code = f"import sys, ovpn3.cli.openvpn3 as m; m.OPENVPN3.command('{command}'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyroute2", "cryptography", "OpenSSL", "ovpn3.profile", "argparse"} & set(modules)
