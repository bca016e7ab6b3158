"""What is generated in docs/ is up to date, and each command in the documentation is typed by a test."""

import ast
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO

import pytest

from docs import api, dbus, options
from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP, Command
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import ALONE, Program, alone
from tests.support.bus import PROJECT
from tests.support.pages import PAGES, blocks, commands, inline, spans

PROGRAMS = {program.name: program for program in (OPENVPN3, ADMIN)}
LANGUAGES = {"ini", "json", "nft", "promql", "python", "sh", "text"}  # of blocks
NOT_TYPED = {
    ("README.md", "sudo make test"): "it is what runs the tests",
    ("docs/containers.md", "docker build"): "takes docker and its registry; test_containers.py has the same without",
}


def test_the_reference_is_that_of_the_code() -> None:
    assert dbus.PAGE.read_text() == dbus.page(), "stale: make docs"


def test_the_reference_of_the_api_is_that_of_the_code() -> None:
    assert api.PAGE.read_text() == api.page(), "stale: make docs. Does API_VERSION have to change?"


def test_the_options_are_those_of_the_table() -> None:
    assert options.PAGE.read_text() == options.page(), "stale: make docs"


def test_everything_is_explained() -> None:
    for _, _, kind in dbus.OBJECTS:
        documented = [kind, *(m.function for m in kind.methods.values()), *(p.getter for p in kind.properties.values())]
        rules = [*(m.rule for m in kind.methods.values()), *(p.read for p in kind.properties.values())]
        rules += [p.write for p in kind.properties.values() if p.write]
        for what in (*documented, *rules):
            assert what.__doc__, f"{kind.__name__}: {what}"
    for what, methods in api.API:
        assert all(each.__doc__ for each in (what, *(getattr(what, name) for name in methods))), what


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (PROJECT / page).parent
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", (PROJECT / page).read_text()):
        path, _, anchor = target.partition("#")
        file = folder / path if path else PROJECT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall("^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings], target


# -- commands --------------------------------------------------------------------------------------
def typed() -> Iterator[tuple[str, str]]:
    """Page and beginning of the commands that tests ask for."""
    for file in (PROJECT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="command"), args=[ast.Constant(value=page), ast.Constant(value=start)]):
                    yield str(page), str(start)


def test_each_command_is_typed_by_a_test() -> None:
    known = {*typed(), *NOT_TYPED}
    for page in PAGES:
        starts = [start for known_page, start in known if known_page == page]
        assert [text for text in commands(page) if not text.startswith(tuple(starts))] == [], page
        assert [start for start in starts if not any(text.startswith(start) for text in commands(page))] == [], page


@pytest.mark.parametrize("page", PAGES)
def test_a_block_has_a_language(page: str) -> None:
    """So it can be seen which are commands."""
    assert {language for language, _ in blocks(page)} <= LANGUAGES
    text = (PROJECT / page).read_text()
    assert text.count("\n```") == 2 * len(blocks(page))
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^    .*", outside, re.MULTILINE)
    for language, block in blocks(page):
        if language == "text":
            assert not re.search(r"^(\$|sudo|make|openvpn3\S* \S+ --)", block, re.MULTILINE)


def named(words: list[str]) -> Command | None:
    """The command that words begin with; a placeholder may be any."""
    program, *rest = words
    if program in ALONE:
        return alone(program)
    name = "log" if rest[0] == "COMMAND" else rest[0]
    return None if name == "help" else PROGRAMS[program].command(name)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_exist(page: str) -> None:
    """Also those of which only the name is told, or that stand without their program."""
    of_programs = {name: program for program in PROGRAMS.values() for name in program.commands}
    found = [span.removeprefix("sudo ").split() for span in inline(page)]
    found += [
        [of_programs[span.split()[0]].name, *span.split()] for span in spans(page) if span.split()[0] in of_programs
    ]
    for words in found:
        if command := named(words):
            spellings = {spelling for option in (*command.options, HELP) for spelling in option.spellings}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= spellings, words


def test_make_has_what_is_named() -> None:
    [targets] = re.findall(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    named = {target for page in PAGES for span in spans(page) for target in re.findall(r"^(?:sudo )?make (\S+)", span)}
    assert named <= set(targets.split())


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_help(program: Program) -> None:
    """`openvpn3 help`, and `--help` of each command."""
    for argv in (["help"], *([name, "--help"] for name in program.commands)):
        with redirect_stdout(StringIO()) as out:
            assert program.main(argv) == 0
        assert out.getvalue().startswith("Usage: ")
