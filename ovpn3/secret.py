"""Values that can't be shown, copied or pickled by accident, and a process that shows nobody its memory."""

import ctypes
import os
import resource
from typing import NoReturn, final

PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """No core dump of this process, and only root may trace it or read its environment and memory in /proc."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@final
class Secret:
    """Bytes that stay out of logs: repr, str and format say nothing, pickling and copying raise.

    `reveal()` gives the bytes to the one place that needs them; `wipe()` overwrites our copy.
    """

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview | str = b"") -> None:
        self._buffer = bytearray(value.encode() if isinstance(value, str) else value)

    def reveal(self) -> bytes:
        return bytes(self._buffer)

    def view(self) -> memoryview:
        """The bytes without a copy; valid until `wipe()`."""
        return memoryview(self._buffer).toreadonly()

    def text(self) -> str:
        return self._buffer.decode()

    def wipe(self) -> None:
        """Overwrite in place: the length stays, so an outstanding view only sees zeros."""
        self._buffer[:] = bytes(len(self._buffer))

    def __len__(self) -> int:
        return len(self._buffer)

    def __bool__(self) -> bool:
        return bool(self._buffer)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can't be pickled or copied")
