"""The journal's entries as text and as JSON, and which of them."""

import datetime
import json
import stat
from pathlib import Path

import pytest

from ovpn3.cli.command import BadValue, CommandError
from ovpn3.cli.verbs import journal

ENTRIES = [
    {
        "__REALTIME_TIMESTAMP": "1795600000000000",
        "_PID": "77",
        "MESSAGE": "{tag:123} connected\nand more\x1b[31m",
        "O3_LOGTAG": "123",
        "O3_LOG_GROUP": "Client",
        "O3_LOG_CATEGORY": "INFO",
        "O3_SESSION_TOKEN": "abc",
        "O3_SENDER": ":1.5",
    },
    {"__REALTIME_TIMESTAMP": "1795600001000000", "MESSAGE": [104, 105, 255], "O3_LOG_GROUP": "99"},
]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that has these entries, and notes what it was asked."""
    program, note = tmp_path / "journalctl", tmp_path / "asked"
    lines = "\n".join(json.dumps(entry) for entry in ENTRIES)
    program.write_text(f"#!/bin/sh\necho \"$@\" > {note}\ncat <<'END'\n{lines}\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(journal, "check_root", lambda: None)
    return note


def asked(note: Path) -> str:
    return note.read_text()


async def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert await journal.COMMAND.run(journal.COMMAND.parse(words)) == 0
    return capsys.readouterr().out


async def test_text(called: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, more, second = (await shown(capsys)).splitlines()
    assert first.endswith(" 2026  {tag:123} Client INFO: connected")
    assert more == " " * 15 + "and more [31m"
    assert second.endswith("  hi\ufffd")
    assert "O3_LOG_SENDER=net.openvpn.v3.log + SYSLOG_IDENTIFIER=" in asked(called)


async def test_json(called: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = json.loads(await shown(capsys, "--json"))
    assert (first["TIMESTAMP"], first["PID"], first["O3_LOGTAG"]) == (1795600000000000, "77", "123")
    event = first["LOG_EVENT"]
    assert (event["LOG_GROUP"], event["LOG_GROUP_STRING"], event["LOG_CATEGORY_STRING"]) == (7, "Client", "INFO")
    assert (event["SESSION_TOKEN"], event["LOG_MESSAGE"][0]) == ("abc", "connected")
    assert second["LOG_EVENT"]["LOG_GROUP_STRING"] == "[[UNDEFINED]]"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--logtag", "123"], 1),
        (["--logtag", "12"], 0),
        (["--sender", ":1.5", "--session-token", "abc"], 1),
        (["--pid", "1"], 0),
    ],
)
async def test_filters(called: Path, capsys: pytest.CaptureFixture[str], words: list[str], count: int) -> None:
    assert len(json.loads(await shown(capsys, "--json", *words))) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", (2026, 1, 1)),
        ("2026-03", (2026, 3, 1)),
        ("2026-03-04 05", (2026, 3, 4, 5)),
        ("2026-03-04 05:06:07", (2026, 3, 4, 5, 6, 7)),
    ],
)
async def test_since(called: Path, capsys: pytest.CaptureFixture[str], text: str, expected: tuple[int, ...]) -> None:
    await shown(capsys, "--since", text)
    assert f"--since=@{datetime.datetime(*expected).timestamp():.0f}" in asked(called)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["soon", "2026-13", "2026-02-30", "20261", "2026-01-01T00"])
async def test_times_that_are_none(called: Path, text: str) -> None:
    with pytest.raises(BadValue, match="--since"):
        await journal.COMMAND.run(journal.COMMAND.parse(["--since", text]))


async def test_no_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(journal, "check_root", lambda: None)
    with pytest.raises(CommandError, match="journalctl"):
        await journal.COMMAND.run(journal.COMMAND.parse([]))
