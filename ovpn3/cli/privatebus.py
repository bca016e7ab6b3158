"""A message bus of our own, with the services' real policy, for as long as this process lives.

The bus daemon is told to end when we die, however that happens; services and clients end when their bus is gone.
"""

import asyncio
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovpn3.cli.command import CommandError
from ovpn3.cli.environment import program, render, templates
from ovpn3.constants import BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus

RUNTIME = Path("/run")
PREFIX = "openvpn3-run-"
GRACE_S = 10.0  # for services to put the network in order
POLICY = "dbus-1/system.d/"  # where the data files have it

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# The stock rules of a system bus, but open to root and the services only.
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}/services</servicedir>
  <policy context="default">
    <deny user="*"/>
    <allow user="root"/>
    <allow user="{account}"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"
          send_member="UpdateActivationEnvironment"/>
  </policy>
  <includedir>{folder}/policy</includedir>
</busconfig>
"""
# The tunnel's own log is forwarded; what others complain about comes by way of the daemon's output.
_COPY = "--log-level 2 --log-file stdout:"
_STATE = "state"  # of netcfg, should it be killed
_SERVICES = {
    LOG_NAME: ("log", "--log-file /dev/null"),
    CONFIG_NAME: ("configmgr", _COPY),
    SESSIONS_NAME: ("sessionmgr", _COPY),
    BACKENDS_NAME: ("backendstart", _COPY),
    NETCFG_NAME: ("netcfg", f"{_COPY} --detect-resolver --state-dir {{folder}}/{_STATE}"),
}


@contextmanager
def private_bus(account: str, netcfg: str = "") -> Iterator[str]:
    """Address of the bus; its services are started when needed and run as `account`. Needs root.

    `netcfg` are further arguments of that service.

    At the end of the block every process started on its behalf is gone, and its directory too.
    """
    with _locked(RUNTIME):
        _remove_stale()
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=RUNTIME))
        in_use = _lock(folder)
    try:
        folder.chmod(0o755)
        _write_files(folder, account, netcfg)
        # Whatever the daemon starts becomes our child when its parent has gone: so the end can be waited for.
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        daemon, address = _start(folder)
        try:
            yield address
        finally:
            _end(daemon)
    finally:
        shutil.rmtree(folder)
        os.close(in_use)


async def start_services(bus: Bus) -> None:
    """All at once, which is quicker than one after the other as they need each other."""
    starts = (bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "StartServiceByName", "su", s, 0) for s in _SERVICES)
    await asyncio.gather(*starts)


def reap() -> None:
    """Forget the children that have ended. As process 1, or for our services, we are given those of others."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def addresses() -> list[str]:
    """Of the private buses there are on this machine now, in this view of /run."""
    return [f"unix:path={socket}" for socket in sorted(RUNTIME.glob(f"{PREFIX}*/bus"))]


def service_account(wanted: str) -> str:
    """`wanted` if it exists, else nobody. CommandError if there is neither."""
    for account in (wanted, "nobody"):
        try:
            pwd.getpwnam(account)
        except KeyError:
            continue
        return account
    raise CommandError(f"there is no account {wanted!r} to run the services as")


def _remove_stale() -> None:
    """Directories of processes that were killed. Those of a container are not seen from here, but hold their lock."""
    for folder in RUNTIME.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with suppress(OSError), _locked(folder, fcntl.LOCK_NB):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    fd = _lock(folder, how)
    try:
        yield
    finally:
        os.close(fd)


def _lock(folder: Path, how: int = 0) -> int:
    """A descriptor that locks the directory until it is closed, at the latest by the end of this process."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | how)
    except OSError:
        os.close(fd)
        raise
    return fd


def _write_files(folder: Path, account: str, netcfg: str) -> None:
    (folder / "bus.conf").write_text(_CONFIG.format(folder=folder, account=account))
    (folder / _STATE).mkdir(mode=0o700)
    shutil.chown(folder / _STATE, account)
    (folder / "services").mkdir()
    (folder / "policy").mkdir()
    for name, (service, arguments) in _SERVICES.items():
        command = f"{program(service)} --user {account} {arguments.format(folder=folder)}"
        command += f" {netcfg}" if service == "netcfg" and netcfg else ""
        text = f"[D-BUS Service]\nName={name}\nExec={command}\n"
        (folder / "services" / f"{name}.service").write_text(text)
    for path, text in templates():
        if path.startswith(POLICY):
            name = path.removeprefix(POLICY).removesuffix(".in")
            (folder / "policy" / name).write_text(render(text, account, str(folder)))


def _start(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """The daemon and its address, when it accepts connections."""
    ours, theirs = os.pipe()
    parent = os.getpid()

    def die_with_parent() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    with open(ours) as addresses:
        try:
            daemon = subprocess.Popen(
                [
                    "dbus-daemon",
                    f"--config-file={folder}/bus.conf",
                    "--nofork",
                    "--nopidfile",
                    "--syslog-only",  # its own remarks on every service it starts
                    f"--print-address={theirs}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=2,  # with what services say; our standard output is for the session
                pass_fds=[theirs],
                preexec_fn=die_with_parent,
                start_new_session=True,  # Ctrl-C is for us; the others are told in order
                env={
                    "PATH": os.defpath,
                    "LANG": "C.UTF-8",
                    "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus",
                },
            )
        except FileNotFoundError:
            raise CommandError("dbus-daemon is not installed; on Debian it is in the package dbus-daemon") from None
        finally:
            os.close(theirs)
        address = addresses.readline().strip()
    if not address:
        daemon.wait()
        raise CommandError("dbus-daemon did not start")
    return daemon, address


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    daemon.terminate()
    daemon.wait()
    if not _children_gone(GRACE_S):
        for pid in _children():
            with suppress(PermissionError):  # in a container without CAP_KILL, where it ends with us
                os.kill(pid, signal.SIGKILL)
        _children_gone(GRACE_S)


def _children_gone(timeout_s: float) -> bool:
    """Wait for all children of this process. SIGCHLD must be blocked."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        left = deadline - time.monotonic()
        if not pid and (left <= 0 or signal.sigtimedwait([signal.SIGCHLD], left) is None):
            return False


def _children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for children in tasks for pid in children.read_text().split()]


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
