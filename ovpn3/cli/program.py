"""A program made of commands: which is meant, and what its end means to the caller."""

import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ovpn3.cli.command import BadOption, Command, CommandError
from ovpn3.cli.text import many_lines, one_line
from ovpn3.dbus.errors import DENIED
from ovpn3.errors import NetworkError, Ovpn3Error, ProfileError, RemoteError

NO_COMMAND, BUS_ERROR, COMMAND_ERROR, OTHER_ERROR, INTERRUPTED = 1, 7, 8, 9, 130
_PROGRAM_ERRORS = (BUS_ERROR, OTHER_ERROR)  # reported without the command's name
_HELP = ("help", "--help", "-h")
# Programs without commands, and the modules they are in.
ALONE = {"openvpn3-as": "accessserver", "openvpn3-autoload": "autoload", "openvpn3-systemd": "systemd"}


@dataclass(frozen=True)
class Program:
    """`commands` are names with their one-line description; the module of each is loaded when it is asked for."""

    name: str
    commands: Mapping[str, str]

    def command(self, name: str) -> Command:
        """The command of that name, one of `commands`."""
        command: Command = importlib.import_module(f"ovpn3.cli.verbs.{name.replace('-', '_')}").COMMAND
        return command

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the command that the arguments name; the exit code."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        return guarded(lambda: self._main(arguments), self.name, OTHER_ERROR)

    def _main(self, argv: list[str]) -> int:
        if not argv:
            print(f"{self.name}: which command? See '{self.name} help'")
            return NO_COMMAND
        name, *rest = argv
        if name in _HELP:
            print(self._help())
            return 0
        if name not in self.commands:
            print(f"{self.name}: there is no command '{one_line(name)}'. See '{self.name} help'")
            return NO_COMMAND
        return self._run(name, self.command(name), rest)

    def _run(self, name: str, command: Command, argv: list[str]) -> int:
        place = f"{self.name}/{name}: "
        try:
            options = command.parse(argv)
            if options.has("help"):
                print(command.help(self.name, name))
                return 0
            options.program = self.name
            return asyncio.run(command.run(options))
        except BadOption as e:
            return _complain(f"{place}{e}", COMMAND_ERROR)
        except Ovpn3Error as e:
            code = command.refused if isinstance(e, RemoteError) else _exit_code(e)
            return _complain(f"{self.name if code in _PROGRAM_ERRORS else place}** ERROR ** {_text(e)}", code)
        except BrokenPipeError:
            raise
        except OSError as e:
            return _complain(f"{self.name}** ERROR ** {e}", OTHER_ERROR)

    def _help(self) -> str:
        commands = {**self.commands, "help": "This list"}
        width = max(map(len, commands))
        lines = [f"  {name:<{width}}  {description}" for name, description in commands.items()]
        return "\n".join([f"Usage: {self.name} COMMAND [OPTIONS]", "", *lines])


def alone(name: str) -> Command:
    """What one of ALONE does; its module is loaded when it is asked for."""
    command: Command = importlib.import_module(f"ovpn3.cli.{ALONE[name]}").COMMAND
    return command


def run_alone(
    program: str,
    command: Command,
    argv: Sequence[str] | None,
    exit_code: Callable[[BadOption | Ovpn3Error], int],
    *,
    unwritable: int,
    interrupted: int = INTERRUPTED,
    mark: str = "",
) -> int:
    """Main of a program without commands. An error is told after `mark`; `exit_code` says with what it ends."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        try:
            options = command.parse(arguments)
            if options.has("help"):
                print(command.help(program))
                return 0
            return asyncio.run(command.run(options))
        except (BadOption, Ovpn3Error) as e:
            return _complain(f"{mark}{program}: ** ERROR ** {e}", exit_code(e))

    return guarded(run, f"{program}: ", unwritable, interrupted)


def guarded(run: Callable[[], int], program: str, unwritable: int, interrupted: int = INTERRUPTED) -> int:
    """The exit code of `run`, or one that says why its output or the user ended it; no traceback."""
    _fill_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A profile's name need not fit the terminal's encoding. Programs read lines from a pipe and act on them.
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()  # the reader has seen enough
        return INTERRUPTED
    except OSError as e:
        _discard_output()
        return _complain(f"{program}** ERROR ** can't write the output: {e.strerror or e}", unwritable)
    except KeyboardInterrupt:
        return interrupted
    return code


def _fill_standard_files() -> None:
    """Those that the caller has closed: else what we open next would be taken for them."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115


def _discard_output() -> None:
    """What is still buffered must not fail again at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _exit_code(error: Ovpn3Error) -> int:
    match error:
        case CommandError():
            return error.exit_code
        case ProfileError():
            return COMMAND_ERROR
        case NetworkError():
            return BUS_ERROR
    return OTHER_ERROR


def _text(error: Ovpn3Error) -> str:
    # The bus names every detail of the message, but not what it means.
    if isinstance(error, RemoteError) and error.name == DENIED and "matched rules" in str(error):
        return "the system bus doesn't let this user do that: it is for root or the services' own account"
    return str(error)


def _complain(text: str, code: int) -> int:
    print(many_lines(text), file=sys.stderr)
    return code
