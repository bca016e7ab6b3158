"""`uninstall`: undo `install`, and nothing else."""

from pathlib import Path

from ovpn3.cli.command import Command, Options
from ovpn3.cli.install import Installation
from ovpn3.cli.verbs.install import DRY_RUN, ROOT, check_root, perform, reload_bus, systemctl
from ovpn3.cli.verbs.stop import stop
from ovpn3.constants import SERVICE_ACCOUNT


async def run(options: Options) -> int:
    check_root()
    installation = Installation(Path(options.get("root", "/")), SERVICE_ACCOUNT)
    steps = list(installation.uninstall_steps())
    dry = options.has("dry-run")
    if installation.live and not dry:
        await stop(with_clients=True)
    perform(steps, dry)
    if installation.live and not dry:
        await reload_bus()
        systemctl("daemon-reload")
    return 0


ABOUT = """\
Stops the services, removes what `install` has put there and nothing else. Persistent profiles stay, and with them the
account that owns them.
"""
COMMAND = Command(run, (ROOT, DRY_RUN), about=ABOUT)
