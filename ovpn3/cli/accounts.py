"""Accounts named on the command line, and access granted to them."""

import pwd
import sys
from collections.abc import Awaitable, Callable

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
