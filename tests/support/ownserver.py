"""The server of `serve` as a process, for tests and benchmarks: what `OpenVpnServer` is for the distribution's."""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import Self

from tests.support.bus import PROJECT
from tests.support.netns import NamespacePair, end
from tests.support.pki import Pki
from tests.support.server import Access, Proto, Wrap, on_link


class OwnServerFailed(Exception):
    """It ended before it listened: the text has its log."""


class OwnServer:
    """Our own data path at the server's end, in the server namespace of a pair; ready when the constructor returns.

    `offloads` is a value of the override of that name.
    """

    TUNNEL_V4, TUNNEL_V6 = "10.8.0.1", "fd08::1"
    CLIENT_V4, CLIENT_V6 = "10.8.0.2", "fd08::2"

    def __init__(
        self,
        pair: NamespacePair,
        pki: Pki,
        *,
        proto: Proto = "udp",
        wrap: Wrap = "none",
        cipher: str = "AES-256-GCM",
        reneg_sec: float = 0.0,
        offloads: str = "auto",
        threads: int = 1,
        epochs: bool = False,
        port: int = 1194,
    ) -> None:
        self.profile = Access(pki, on_link(pair, proto), port, proto, wrap, cipher).profile
        if wrap == "tls-crypt-v2":
            _ = pki.tls_crypt_v2_client_path  # to be there when the process reads it
        command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.serve", str(pki.directory)]
        command += ["--address", on_link(pair, proto), "--port", str(port), "--wrap", wrap, "--cipher", cipher]
        command += ["--reneg-sec", str(reneg_sec), "--threads", str(threads), "--offloads", offloads]
        command += [*(["--stream"] if proto.startswith("tcp") else []), *(["--epochs"] if epochs else [])]
        with ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile("w"))
            self.process = pair.server.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
            stack.enter_context(self.process)
            stack.callback(end, self.process)
            assert self.process.stdout
            if self.process.stdout.readline() != "ready\n":
                raise OwnServerFailed(self.log())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """What went wrong so far; nothing else is written."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def send(self, message: str) -> None:
        """Have the server send its client a message of the control channel."""
        assert self.process.stdin
        self.process.stdin.write(message + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self._stack.close()
