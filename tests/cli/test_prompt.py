"""Questions: on a terminal without echo, from a pipe line by line, from a file."""

import asyncio
import os
import pty
import termios
from collections.abc import Iterator

import pytest

from ovpn3.cli import prompt
from ovpn3.cli.command import CommandError
from ovpn3.constants import AttentionGroup, AttentionType
from ovpn3.proxies.attention import Slot

USERNAME = Slot(AttentionType.CREDENTIALS, AttentionGroup.USER_PASSWORD, 0, "username", "Auth User name", False)
PASSWORD = Slot(AttentionType.CREDENTIALS, AttentionGroup.USER_PASSWORD, 1, "password", "Auth \x1b[2JPassword", True)


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Put a pipe in the place of standard input; its writing end."""
    read, write = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    monkeypatch.setattr(prompt, "_standard_input", prompt.LineReader(0))
    yield write
    os.dup2(before, 0)
    for fd in (read, write, before):
        os.close(fd)


async def test_a_line_for_each_question(standard_input: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(standard_input, b"me\r\n\nsecret\nrest")
    assert await prompt.ask(USERNAME) == "me"
    assert await prompt.ask(PASSWORD) == "secret"
    out = capsys.readouterr().out
    assert out == "Auth User name: \nAuth  [2JPassword: \nAn answer is needed.\nAuth  [2JPassword: \n"


async def test_an_answer_is_awaited_without_blocking(standard_input: int) -> None:
    asking = asyncio.create_task(prompt.ask(USERNAME))
    await asyncio.sleep(0)
    assert not asking.done()
    os.write(standard_input, b"me\n")
    assert await asyncio.wait_for(asking, 5) == "me"


async def test_a_question_can_be_dropped(standard_input: int) -> None:
    asking = asyncio.create_task(prompt.ask(USERNAME))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    os.write(standard_input, b"later\n")
    assert await prompt.ask(USERNAME) == "later"


async def test_end_of_input(standard_input: int, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(prompt, "_standard_input", prompt.LineReader(empty))
    with pytest.raises(CommandError, match="Auth User name: standard input ended"):
        await prompt.ask(USERNAME)
    os.close(empty)


async def test_a_regular_file_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("in") / "answers"
    file.write_text("one\ntwo")
    with file.open() as f:
        reader = prompt.LineReader(f.fileno())
        assert [await reader.line(), await reader.line()] == ["one", "two"]
        with pytest.raises(EOFError):
            await reader.line()


@pytest.mark.parametrize(
    ("typed", "sure"), [(b"YES\n", True), (b"yes\n", False), (b"YES please\n", False), (b"\n", False)]
)
async def test_confirmation(standard_input: int, typed: bytes, sure: bool) -> None:
    os.write(standard_input, typed)
    assert await prompt.confirmed("Really?") is sure


def test_echo_is_off_on_a_terminal_and_back_afterwards() -> None:
    ours, theirs = pty.openpty()

    def echo() -> bool:
        return bool(termios.tcgetattr(theirs)[3] & termios.ECHO)

    with prompt._echo_off(theirs):
        assert not echo()
    assert echo()
    with pytest.raises(RuntimeError), prompt._echo_off(theirs):
        raise RuntimeError
    assert echo()
    os.close(ours)
    os.close(theirs)
