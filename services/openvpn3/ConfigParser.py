"""A profile from a command line as OpenVPN 2 takes it."""

import sys
from collections.abc import Sequence
from typing import Any

from ovpn3.cli.openvpn2args import USAGE, offered, option_names, understand
from ovpn3.profile import missing, parse

DEFAULT_VERBOSITY = 2


class ConfigParser:
    """`args` begins with the program's name. CommandError or ProfileError for what can't be understood."""

    def __init__(self, args: Sequence[str], descr: str) -> None:
        self._wish = understand(args[1:])
        if self._wish.help:
            print(f"{descr}\n\n{USAGE}" if descr else USAGE, end="")
            sys.exit(0)

    def SanityCheck(self) -> None:
        """RuntimeError says what the profile lacks to be used."""
        if lacks := missing(parse(self._wish.profile())):
            raise RuntimeError(f"the profile can't be used: {'; '.join(lacks)}")

    def GenerateConfig(self) -> str:
        """The profile, with all the files it names put in."""
        return self._wish.profile()

    def GetConfigName(self) -> str | None:
        """The first --config."""
        return self._wish.file or None

    def GetDaemon(self) -> bool:
        return self._wish.daemon

    def GetLogVerbosity(self) -> int:
        """The profile's own, within 1 and 6."""
        levels = [directive.args[0] for directive in parse(self._wish.profile()) if directive.name == "verb"]
        return min(max(int(levels[-1]), 1), 6) if levels else DEFAULT_VERBOSITY

    def GetPersistTun(self) -> bool:
        return bool(self._wish.all_overrides().get("persist-tun"))

    def GetDataChannelOffload(self) -> bool:
        return self._wish.dco

    def GetOverrides(self) -> dict[str, str | bool]:
        return dict(self._wish.overrides)

    def RetrieveShellCompletionData(self) -> dict[str, Any]:
        """`options`, and `argvalues`: what may follow those options of which that is known."""
        names = option_names()
        values = {f"--{name}": list(words) for name in names if (words := offered(name, 0))}
        return {"options": [f"--{name}" for name in names], "argvalues": values}
