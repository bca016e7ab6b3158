from pathlib import Path

import pytest

from ovpn3_services.common.commandline import BadArgument, CommandLine


def number(text: str) -> int:
    if text == "13":
        raise BadArgument("any number but 13")
    return int(text)


@pytest.fixture
def line() -> CommandLine:
    line = CommandLine("prog", "v1")
    line.value("--level", "N", "how much", default=3, read=number)
    line.value("--state-dir", "DIR", "where", default=None, read=Path)
    line.value("--file", "FILE", "which")
    line.switch("--loud", "not quiet")
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ("--level 5 --loud", {"level": 5, "loud": True}),
        ("--level=-1", {"level": -1}),
        ("--level -1 --level 2", {"level": 2}),
        ("--file= --state-dir=/a=b", {"state_dir": Path("/a=b")}),
        ("--file --loud", {"file": "--loud"}),
    ],
)
def test_what_is_found(line: CommandLine, arguments: str, expected: dict[str, object]) -> None:
    defaults = {"prog": "prog", "level": 3, "state_dir": None, "file": "", "loud": False}
    assert vars(line.parse(arguments.split())) == defaults | expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--level", "prog: --level takes a value, N (--help)"),
        ("--level x", "prog: --level can't be 'x' (--help)"),
        ("--level 13", "prog: --level: any number but 13 (--help)"),
        ("--loud=yes", "prog: --loud takes no value (--help)"),
        ("--lou", "prog: there is no option --lou (--help)"),
        ("-l", "prog: there is no option -l (--help)"),
        ("more", "prog: there must be no argument, not more (--help)"),
    ],
)
def test_what_is_wrong(line: CommandLine, capsys: pytest.CaptureFixture[str], arguments: str, text: str) -> None:
    with pytest.raises(SystemExit) as end:
        line.parse(arguments.split())
    assert end.value.code == 2
    assert capsys.readouterr().err == f"{text}\n"


def test_an_argument(line: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
    line.argument("token", "which one")
    assert line.parse(["--loud", "abc=d"]).token == "abc=d"
    with pytest.raises(SystemExit):
        line.parse([])
    assert capsys.readouterr().err == "prog: there must be token, not nothing (--help)\n"


HELP = """\
usage: prog [option...]

  --level N        how much
  --state-dir DIR  where
  --file FILE      which
  --loud           not quiet
"""


@pytest.mark.parametrize(("argument", "text"), [("--help", HELP), ("-h", HELP), ("--version", "prog v1\n")])
def test_what_is_told(line: CommandLine, capsys: pytest.CaptureFixture[str], argument: str, text: str) -> None:
    with pytest.raises(SystemExit) as end:
        line.parse([argument, "--nonsense"])
    assert end.value.code == 0
    assert capsys.readouterr().out == text
