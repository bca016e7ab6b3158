"""A client machine with our services on a real system bus, used as its users use it."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovpn3.cli.program import INTERRUPTED
from tests.support.account import ALICE, ROOT, Account
from tests.support.bus import SystemBusSandbox
from tests.support.netns import NamespacePair

SERVICES = "openvpn3-service-"
CLIENT = "openvpn3-client"  # has the command line of the backend starter
# Commands that go on until they are told to end.
ENDLESS = re.compile("openvpn3 (events|run|log (?!.*--no-follow))|openvpn3-admin (hooks|metrics --listen)|make run")


@dataclass
class Machine:
    sandbox: SystemBusSandbox
    pair: NamespacePair

    def openvpn3(
        self, *arguments: str, account: Account = ALICE, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.sandbox.run(["openvpn3", *arguments], account=account, check=check, input=input)

    def write(self, name: str, text: str, account: Account = ALICE) -> str:
        """A file in a user's home; its path."""
        path = f"{account.home}/{name}"
        self.sandbox.write(path, text, account=account)
        return path

    def bring_in(self, profile: str, name: str, account: Account = ALICE) -> None:
        path = self.write(f"{name}.ovpn", profile, account)
        self.openvpn3("config-import", "--config", path, "--name", name, account=account)

    def connect(self, profile: str, name: str = "vpn", account: Account = ALICE) -> None:
        """Import a profile and start it; connected when this returns."""
        self.bring_in(profile, name, account)
        self.openvpn3("session-start", "--config", name, account=account)

    def disconnect(self, name: str = "vpn", account: Account = ALICE) -> None:
        self.openvpn3("session-manage", "--config", name, "--disconnect", account=account)

    def sessions(self, account: Account = ALICE) -> str:
        return self.openvpn3("sessions-list", account=account).stdout

    def type(
        self, script: str, placeholders: Mapping[str, str] | None = None, *, until: str = "", folder: str = ALICE.home
    ) -> str:
        """What commands of the documentation print, typed line by line: as root behind `sudo`, else as ALICE.

        One of ENDLESS is ended as by Ctrl-C after the first line that has `until` in it. `placeholders` are replaced
        before.
        """
        for text, value in (placeholders or {}).items():
            assert text in script
            script = script.replace(text, value)
        return "".join(self._typed(line, until, folder) for line in script.splitlines() if line)

    def _typed(self, line: str, until: str, folder: str) -> str:
        endless = ENDLESS.search(line)
        text = ("exec " if endless else "") + line.replace("sudo ", "")
        account = ROOT if "sudo " in line else ALICE
        argv = ["setsid", "env", f"--chdir={folder}", "sh", "-c", text]
        if not endless:
            return self.sandbox.run(argv, account=account).stdout
        pipe = subprocess.PIPE
        with self.sandbox.popen(argv, account=account, stdout=pipe, stderr=pipe) as process:
            assert process.stdout
            found = next((each for each in process.stdout if until in each), "")
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert found, f"{line}: {err}"
        assert process.returncode in (0, INTERRUPTED) or "make" in line, f"{line}: {process.returncode} {err}"
        return found

    def clients(self) -> list[int]:
        """Pids of the client processes."""
        return [pid for pid in self.pair.client.pids() if comm(pid) == CLIENT]

    def service(self, name: str) -> int:
        """Pid of one of the activated services, such as `netcfg`."""
        pids = [pid for pid in self.pair.client.pids() if comm(pid) != CLIENT]
        found = [pid for pid in pids if any(SERVICES + name in a for a in command(pid))]
        assert len(found) == 1, f"{name}: {found}"
        return found[0]


def comm(pid: int) -> str:
    return read(pid, "comm").strip()


def command(pid: int) -> list[str]:
    return read(pid, "cmdline").split("\0")


def read(pid: int, what: str) -> str:
    """Empty for a process that has just ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
