"""Accounts named on the command line, and access granted to them."""

import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from ovpn3.cli.command import CommandError
from ovpn3.cli.text import one_line, user_name
from ovpn3.errors import RemoteError


def uid_of(text: str) -> int | None:
    """uid of an account given by name or number; None, with a note to the user, if there is none."""
    if text.isascii() and text.isdigit() and int(text) < 2**32 - 1:
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        print(f"there is no account {one_line(text)!r}", file=sys.stderr)
        return None


async def change_access(what: str, change: Callable[[int], Awaitable[None]], accounts: list[str]) -> bool:
    """Apply `change` to each account and say so; whether no change was refused."""
    done = True
    for account in accounts:
        uid = uid_of(account)
        if uid is None:
            continue
        try:
            await change(uid)
            print(f"Access {what} {user_name(uid)}")
        except RemoteError as e:
            print(f"access not {what} {user_name(uid)}: {one_line(e)}", file=sys.stderr)
            done = False
    return done


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """A block that must not await anybody else's work, in which root is that user to whom it connects."""
    if uid == os.geteuid():
        yield
        return
    if os.geteuid() != 0:
        raise CommandError(f"only root can act for user {user_name(uid)}")
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
