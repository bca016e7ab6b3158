"""From root to the service account, keeping named capabilities and no way back: capabilities(7).

Capabilities belong to the calling thread: call these from the main thread, and `drop` before there are others.
"""

import ctypes
import os
import pwd
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from ovpn3.errors import ConfigurationRefused

_libc = ctypes.CDLL(None, use_errno=True)

# linux/prctl.h
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/capability.h, version 3: three sets of 64, each split over two groups of three words.
_HEADER = struct.pack("=Ii", 0x20080522, 0)
_SETS = struct.Struct("=6I")
_LOW = 0xFFFFFFFF


class Cap(IntEnum):
    """Those we ever keep, numbered as in linux/capability.h."""

    DAC_OVERRIDE = 1
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21


def drop(account: str, keep: Collection[int] = (), permitted_only: Collection[int] = ()) -> None:
    """Become `account` for good, with the capabilities `keep`; those `permitted_only` are for `raised`. One that we
    don't have, as in a container, is not kept: see `held`.

    No other groups, nothing in the bounding, inheritable and ambient sets, no new privileges by exec.
    ConfigurationRefused if we aren't root or there is no such account; OSError if the kernel refuses, and then
    the process must end: it may have dropped half.
    """
    if (os.getuid(), os.geteuid()) != (0, 0):
        raise ConfigurationRefused("must be started as root")
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise ConfigurationRefused(f"there is no account {account!r}") from None
    if entry.pw_uid == 0:
        raise ConfigurationRefused(f"account {account!r} is root itself")

    _prctl(_PR_SET_KEEPCAPS, 1)
    for cap in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        _prctl(_PR_CAPBSET_DROP, cap)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    _prctl(_PR_SET_KEEPCAPS, 0)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _, had = _get()
    _set(_mask(keep) & had, (_mask(keep) | _mask(permitted_only)) & had)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def held(cap: int) -> bool:
    """Whether this process has a capability, or can raise it."""
    return bool(_get()[1] >> cap & 1)


def forget(cap: int) -> None:
    """Give a capability up for good."""
    effective, permitted = _get()
    _set(effective & ~(1 << cap), permitted & ~(1 << cap))


@contextmanager
def raised(cap: int) -> Iterator[None]:
    """Make a capability effective for the block, which must not await; one not permitted stays off."""
    effective, permitted = _get()
    _set(effective | (1 << cap & permitted), permitted)
    try:
        yield
    finally:
        _set(effective, permitted)


def _mask(caps: Collection[int]) -> int:
    return sum(1 << cap for cap in set(caps))


def _get() -> tuple[int, int]:
    """Effective and permitted set."""
    sets = ctypes.create_string_buffer(_SETS.size)
    _check(_libc.capget(_HEADER, sets), "capget")
    low_effective, low_permitted, _, high_effective, high_permitted, _ = _SETS.unpack(sets.raw)
    return low_effective | high_effective << 32, low_permitted | high_permitted << 32


def _set(effective: int, permitted: int) -> None:
    """The inheritable set becomes empty."""
    sets = _SETS.pack(effective & _LOW, permitted & _LOW, 0, effective >> 32, permitted >> 32, 0)
    _check(_libc.capset(_HEADER, sets), "capset")


def _prctl(option: int, argument: int) -> None:
    unused = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(argument), unused, unused, unused), "prctl")


def _check(result: int, call: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")
