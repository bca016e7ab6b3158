"""What a service tells systemd, by sd_notify(3): nothing where systemd hasn't asked for it."""

import os
import socket
from contextlib import suppress


class Notifier:
    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.get("WATCHDOG_USEC", "") if mine else ""
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0  # 0: there is none

    def __call__(self, **values: str | int) -> None:
        """Tell these variables, such as READY=1. Lost if systemd doesn't listen: it will see us end."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in values.items())
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to, suppress(OSError):
            to.sendto(text.encode(), address)
