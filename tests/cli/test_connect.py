"""How the end of connecting is told, from the events of a session."""

import asyncio
import signal

import pytest

from ovpn3.cli.command import CommandError
from ovpn3.cli.connect import CONNECTED, WEB_AUTHENTICATION, Failed, Interrupted, interruptible, outcome
from ovpn3.cli.weburl import open_url
from ovpn3.constants import StatusMajor, StatusMinor
from ovpn3.proxies.attention import Slot
from ovpn3.proxies.session import Status
from ovpn3.proxies.watch import Ended, Event, LogLine, Watch

CONNECTING = Status(StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTING)


class Told(Watch):
    """These events and no more."""

    def __init__(self, *events: Event) -> None:
        self.told = list(events)

    async def next(self) -> Event:
        return self.told.pop(0)


async def nobody(slot: Slot) -> str:
    raise AssertionError(f"asked for {slot.name}")


@pytest.mark.parametrize("end", [CONNECTED, WEB_AUTHENTICATION])
async def test_ends_well(end: tuple[int, int]) -> None:
    seen: list[Event] = []
    last = Status(*end, "https://x/")
    assert await outcome(Told(CONNECTING, LogLine(7, 4, "x"), last), nobody, seen.append) == last
    assert seen == [CONNECTING, LogLine(7, 4, "x"), last]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([CONNECTING, Status(2, 11, "AUTH_FAILED: no")], "authentication failed: AUTH_FAILED: no"),
        ([Status(2, 10, "TLS alert")], "Client connection failed: TLS alert"),
        ([Status(2, 10, "x PEM_PASSWORD_FAIL y")], "passphrase of the private key is wrong"),
        ([Status(2, 1, "bad profile")], "Configuration error: bad profile"),
        ([Status(2, 9)], "Client disconnected"),
        ([Status(3, 29)], "Process killed"),
        ([Ended("the session manager is gone")], "^the session manager is gone$"),
        ([CONNECTING, Ended("gone")], "gone; its last status: Connection, Client connecting"),
    ],
)
async def test_ends_badly(events: list[Event], text: str) -> None:
    with pytest.raises(Failed, match=text):
        await outcome(Told(*events), nobody)


async def test_interrupted() -> None:
    asyncio.get_running_loop().call_soon(_signal)
    with pytest.raises(Interrupted), interruptible():
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # the task is not cancelled any more


async def test_cancelled_by_others() -> None:
    async def wait() -> None:
        with interruptible():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _signal() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "javascript:1", "file:///etc/passwd", "--help", "https://", "https://x/\x1b[2J"]
)
async def test_not_a_web_address(url: str) -> None:
    with pytest.raises(CommandError, match="not a web address"):
        await open_url(url)


async def test_address_is_shown_without_a_desktop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    await open_url("https://login.example.com/?a=b")
    assert "\nhttps://login.example.com/?a=b\n" in capsys.readouterr().out
