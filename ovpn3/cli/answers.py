"""Answers without a person: credentials that are stored, for the questions of a session.

They are read once, at the start, and stay in this process: the client's own process gets each only when it asks for it.
None is ever an argument of a command. The first place that has a credential wins:

1. files named on the command line: --auth-user-pass FILE, --credentials DIR,
2. the credentials of a systemd unit, the directory $CREDENTIALS_DIRECTORY,
3. environment variables OPENVPN3_USERNAME, OPENVPN3_PASSWORD and so on.

A directory has a file for each credential, named as in NAMES.
"""

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from ovpn3.cli.command import CommandError, Option, Options
from ovpn3.cli.prompt import Ask, NoAnswer
from ovpn3.cli.totp import BadTotp, Totp
from ovpn3.proxies.attention import Slot
from ovpn3.secret import Secret, hide_memory

# Those of the questions, and a secret from which codes are made.
TOTP = "totp"
NAMES = ("username", "password", "pk_passphrase", "http_proxy_user", "http_proxy_pass", "static_challenge", TOTP)
CODES = ("static_challenge", "dynamic_challenge", "auth_pending")  # questions a code is the answer to
VARIABLE = "OPENVPN3_"
MAX_BYTES = 4096

OPTIONS = (
    Option("auth-user-pass", "", "FILE", "User name and password, a line each", values="files"),
    Option("credentials", "", "DIR", f"A file for each of {', '.join(NAMES)}", values="folders"),
)


async def nobody(slot: Slot) -> str:
    """Who to ask when there is nobody."""
    raise NoAnswer(f"the session asks for {slot.name} ({slot.label}), and none is stored")


class Answers:
    """The stored credentials. Each answers once until `renew`: the server that asks again has refused it.

    A code is made when it is asked for, and never two of the same period: what is waited for then is the next one.
    """

    def __init__(
        self,
        values: Mapping[str, Secret],
        ask: Ask = nobody,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._values, self._ask, self._clock, self._sleep = dict(values), ask, clock, sleep
        self._given: set[str] = set()
        self._step = -1
        secret = self._values.pop(TOTP, None)
        try:
            self._totp = Totp.parse(secret.text()) if secret else None
        except BadTotp as e:
            raise CommandError(f"the TOTP secret can't be used: {e}") from None

    async def __call__(self, slot: Slot) -> str:
        """The stored answer, else that of the one to ask. NoAnswer if nobody else can be asked."""
        stored = slot.name in self._values or (self._totp is not None and slot.name in CODES)
        if not stored or slot.name in self._given:
            if stored and self._ask is nobody:
                raise NoAnswer(f"the server does not take the stored {slot.name}")
            return await self._ask(slot)
        self._given.add(slot.name)
        if slot.name in self._values:
            return self._values[slot.name].text()
        return await self._code()

    def renew(self) -> None:
        """The session is connected: whatever is asked from now on is asked for another reason."""
        self._given.clear()

    async def _code(self) -> str:
        assert self._totp
        while (step := self._totp.step(self._clock())) <= self._step:
            await self._sleep((self._step + 1) * self._totp.period - self._clock() + 0.01)
        self._step = step
        return self._totp.code(step)


def stored(options: Options) -> dict[str, Secret]:
    """What the module's places hold. CommandError names a file that can't be used, and why.

    From here on nobody but root sees the memory of this process, nor the environment it was started with.
    """
    hide_memory()
    values = environment()
    values |= _directory(os.environ.get("CREDENTIALS_DIRECTORY", ""), check=False)  # systemd has seen to its rights
    values |= _directory(options.get("credentials"), check=True)
    if file := options.get("auth-user-pass"):
        lines = [line for line in _read(Path(file), check=True).splitlines() if line]
        values |= {name: Secret(line) for name, line in zip(("username", "password"), lines, strict=False)}
    return values


def environment() -> dict[str, Secret]:
    """What the environment has for us. It is taken out of it: no process we start gets it."""
    found = {name: os.environ.pop(f"{VARIABLE}{name.upper()}", "") for name in NAMES}
    return {name: Secret(value) for name, value in found.items() if value}


def _directory(name: str, *, check: bool) -> dict[str, Secret]:
    if not name:
        return {}
    folder = Path(name)
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a directory of credentials")
    return _values((n, _read(folder / n, check=check)) for n in NAMES if (folder / n).exists())


def _values(texts: Iterable[tuple[str, str]]) -> dict[str, Secret]:
    """The last line end is not meant."""
    plain = ((name, text.removesuffix("\n").removesuffix("\r")) for name, text in texts)
    return {name: Secret(text) for name, text in plain if text}


def _read(path: Path, *, check: bool) -> str:
    try:
        with path.open("rb") as file:
            if check:
                _check(path, os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CommandError(f"{path} is longer than {MAX_BYTES} bytes")
        return data.decode()
    except OSError as e:
        raise CommandError(f"can't read {path}: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise CommandError(f"can't read {path}: not a text file") from None


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        return  # a pipe, such as the shell's <(...), or a terminal
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise CommandError(f"{path} has mode {mode:04o}: others may read or change this secret; chmod 600 {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise CommandError(f"{path} belongs to another user (uid {found.st_uid}), who can change this secret")
