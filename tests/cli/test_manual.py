"""The pages of the manual: complete, true to the parser, and clean for those who show them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP
from ovpn3.cli.manual import SECTIONS, pages
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import Program

PAGES = pages()
COMMANDS = [(p, name) for p in (OPENVPN3, ADMIN) for name in p.commands if name != "shell-completion"]


def test_each_program_and_command_has_a_page_that_others_name() -> None:
    of_commands = {f"{program.name}-{name}.{SECTIONS[program.name]}" for program, name in COMMANDS}
    known = of_commands | {f"{name}.{section}" for name, section in SECTIONS.items()}
    assert PAGES.keys() == known
    named = {".".join(found) for text in PAGES.values() for found in re.findall(r"\.(?:It )?Xr (\S+) (\d)", text)}
    assert named == known


@pytest.mark.parametrize(("program", "name"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_every_option_is_in_it(program: Program, name: str) -> None:
    text = PAGES[f"{program.name}-{name}.{SECTIONS[program.name]}"].replace("\\-", "-").replace("\\&", "")
    for option in (*program.command(name).options, HELP):
        assert re.search(rf"^\.It.* Fl {option.spellings[-1][1:]}( |$)", text, re.MULTILINE), option.name
        assert option.argument in text


@pytest.mark.parametrize(("program", "name"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_what_is_said_to_be_typed_is_there(program: Program, name: str) -> None:
    about = program.command(name).about
    assert about.count("`") % 2 == 0
    options = {spelling for option in (*program.command(name).options, HELP) for spelling in option.spellings}
    prose = "\n".join(line for line in about.split("\n") if not line.startswith("    "))
    assert {word.partition("=")[0] for word in re.findall(r"`(--[a-z-]+)", prose)} <= options
    for line in re.findall(r"^    (openvpn3\S*) (\S+) (.*)", about, re.MULTILINE):
        assert line[:2] == (program.name, name)
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", line[2])) <= options


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_has_nothing_to_say(tmp_path: Path) -> None:
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", *PAGES], cwd=tmp_path, capture_output=True, text=True)
    assert [line for line in done.stdout.splitlines() if "referenced manual not found" not in line] == []


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("openvpn3.1", "openvpn3 COMMAND [OPTIONS]"),
        ("openvpn2.1", "--profile-override KEY VALUE Override a setting"),
        ("openvpn3-session-manage.1", "--log-level[=LEVEL] Show the log level, or set it."),
        ("openvpn3-admin-log-service.8", "openvpn3-admin log-service [OPTIONS] [VALUE]"),
    ],
)
def test_groff_shows_it_without_a_warning(name: str, wanted: str) -> None:
    command = ["groff", "-ww", "-mandoc", "-Tascii", "-P-c", "-P-u", "-P-b", "-P-o"]
    done = subprocess.run(command, input=PAGES[name], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert wanted in shown
