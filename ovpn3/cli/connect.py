"""From a session that exists to one that is connected: questions answered, failures in words."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from ovpn3.cli.answers import Answers
from ovpn3.cli.command import CommandError, Options
from ovpn3.cli.prompt import Ask, NoAnswer
from ovpn3.cli.text import one_line, status_text
from ovpn3.cli.weburl import open_url
from ovpn3.constants import DOMAIN_READY, StatusMajor, StatusMinor
from ovpn3.errors import Ovpn3Error, RemoteError
from ovpn3.proxies.attention import provide, unanswered
from ovpn3.proxies.session import Session, Status
from ovpn3.proxies.watch import Ended, Event, Watch, watching

MAX_ROUNDS = 10  # of questions that bring us no further

_BAD_PASSPHRASE = "PEM_PASSWORD_FAIL"
NO_STATUS = Status(0, 0)
LOGIN_REFUSED = 77  # exit code of programs that something starts again: EX_NOPERM
AUTH_FAILED = (StatusMajor.CONNECTION, StatusMinor.CONN_AUTH_FAILED)
FAILURES = {
    (StatusMajor.CONNECTION, StatusMinor.CFG_ERROR),
    (StatusMajor.CONNECTION, StatusMinor.CONN_FAILED),
    AUTH_FAILED,
    (StatusMajor.CONNECTION, StatusMinor.CONN_DISCONNECTED),
    (StatusMajor.CONNECTION, StatusMinor.CONN_DONE),
    (StatusMajor.SESSION, StatusMinor.PROC_STOPPED),
    (StatusMajor.SESSION, StatusMinor.PROC_KILLED),
}
CONNECTING = (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTING)  # with words: after a round in vain
CONNECTED = (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
REQUIRE_USER = (StatusMajor.CONNECTION, StatusMinor.CFG_REQUIRE_USER)
WEB_AUTHENTICATION = (StatusMajor.SESSION, StatusMinor.SESS_AUTH_URL)


class Failed(CommandError):
    """The session could not be connected, or has ended; the text says why, `status` is its last one."""

    def __init__(self, text: str, status: Status = NO_STATUS) -> None:
        self.status = status
        super().__init__(text)


class Unreached(Failed):
    """No server has taken us yet. The session goes on trying unless it is ended."""


class LoginRefused(CommandError):
    """Trying again with the same answers would do nothing but lock the account."""

    exit_code = LOGIN_REFUSED


class Interrupted(CommandError):
    """By a signal."""


@contextmanager
def interruptible() -> Iterator[None]:
    """A block that SIGINT, SIGTERM and SIGHUP end with Interrupted."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    # One that is ignored, as nohup does, stays ignored.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    signals = []

    def interrupt(number: int) -> None:
        signals.append(number)
        task.cancel()

    for number in heard:
        loop.add_signal_handler(number, interrupt, number)
    try:
        yield
    except asyncio.CancelledError:
        if not signals:
            raise
        for _ in signals:
            task.uncancel()
        if sys.stderr.isatty():
            print(file=sys.stderr)  # what follows is not to stand behind ^C or a question
        raise Interrupted("interrupted") from None
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


async def connect(session: Session, ask: Ask) -> None:
    """Answer what the session asks until it is ready, then start to connect."""
    for _ in range(MAX_ROUNDS):
        try:
            await session.ready()
        except RemoteError as e:
            if e.name != DOMAIN_READY:
                raise
            slots = await unanswered(session)
            if not slots:
                raise Failed(f"the session is not ready to connect: {e}") from None
        else:
            return await session.connect()
        for slot in slots:
            await provide(session, slot, await ask(slot))
    raise Failed("the session asks for more and more")


async def outcome(
    watch: Watch, ask: Ask, show: Callable[[Event], None] = lambda _: None, *, patient: bool = False
) -> Status:
    """The status that ends connecting well: connected, or waiting for web authentication. Else Failed.

    `show` is given every event up to it. `patient`: servers that don't answer are waited for.
    """
    last = NO_STATUS
    rounds = 0
    while True:
        event = await watch.next()
        show(event)
        match event:
            case Ended():
                text = f"{event.reason}; its last status: {status_text(last)}" if any(last) else event.reason
                raise Failed(text, last)
            case Status():
                last = event
                state = event[:2]
                if state in (CONNECTED, WEB_AUTHENTICATION):
                    return event
                if state == CONNECTING and event.message and not patient:
                    raise Unreached(f"not connected: {event.message}", event)
                if state in FAILURES:
                    raise Failed(failure_text(event), event)
                # An older status of this kind may arrive when all has been answered already.
                if state == REQUIRE_USER and await unanswered(watch.session):
                    rounds += 1
                    if rounds > MAX_ROUNDS:
                        raise Failed("the server asks for credentials again and again")
                    await connect(watch.session, ask)


async def bring_up(session: Session, begin: Callable[[], Awaitable[None]], ask: Ask, timeout_s: float | None) -> Status:
    """Have `begin` start to connect the session, and await its outcome.

    Failed or cancelled: it is disconnected then. `timeout_s` counts from `begin`'s end.
    """
    async with watching(session) as watch:
        try:
            await begin()
            async with asyncio.timeout(timeout_s):
                return await outcome(watch, ask)
        except TimeoutError:
            text = f"not connected after {timeout_s:.0f} seconds: {status_text(await session.status())}"
            await end(session)
            raise Failed(text) from None
        except (CommandError, asyncio.CancelledError):
            await end(session)
            raise


async def stay(watch: Watch, answers: Answers, show: Callable[[Event], None]) -> NoReturn:
    """Keep a session that has been told to connect, answering what it asks, until it ends: that is Failed.

    `show` is given every event.
    """
    while True:
        status = await outcome(watch, answers, show)
        if status[:2] == CONNECTED:
            answers.renew()


async def report(session: Session, status: Status) -> None:
    """Say how connecting ended; an address to authenticate at is opened."""
    if status[:2] == WEB_AUTHENTICATION:
        await open_url(status.message)
        return
    values = await session.get_all()
    print(f"Connected to {one_line(values['connected_to'][1])} ({one_line(values['session_name'])})")


def login_refused(error: Ovpn3Error) -> bool:
    """Whether it is the server that says no, or there is nobody to answer it."""
    return isinstance(error, NoAnswer) or (isinstance(error, Failed) and error.status[:2] == AUTH_FAILED)


def timeout(options: Options) -> float | None:
    """Seconds given with --timeout; None for no limit."""
    seconds = options.number("timeout", -1)
    return seconds if seconds > 0 else None


async def end(session: Session) -> None:
    """Disconnect, unless the session has gone already."""
    with suppress(RemoteError):
        await session.disconnect()


def failure_text(status: Status) -> str:
    if _BAD_PASSPHRASE in status.message:
        return "the passphrase of the private key is wrong"
    return f"the session failed: {status_text(status)}"
