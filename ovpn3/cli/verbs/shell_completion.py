"""`shell-completion`: what the shell may offer next."""

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP, Command, CommandError, Option, Options
from ovpn3.cli.completion import FOR_SHELL, NAME, Candidates, candidates, values, words_of
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import Program

OPTIONS = (
    Option("list-commands", help="All commands"),
    Option("list-options", "", "COMMAND", "The options of a command"),
    Option("arg-helper", "", "OPTION", "Values for an option of that command"),
    Option("line", "", "LINE", "What may come next on this command line, each with a tab and its description"),
    Option("word", "", "WORD", "With --line: only what goes on from this, its last word as bash takes it apart"),
)


async def run(options: Options) -> int:
    if options.has("line"):
        last, found = await candidates(options.get("line"))
        if options.has("word"):
            found = _going_on(found, last, options.get("word"))
        for word, text in found.items():
            print(f"{word}\t{text}")
        return 0
    program = ADMIN if options.program == ADMIN.name else OPENVPN3
    if options.has("list-commands") == options.has("list-options") or len(options.all("list-options")) > 1:
        raise CommandError("give one of --list-commands and --list-options, once")
    if options.has("list-commands"):
        if options.has("arg-helper"):
            raise CommandError("--arg-helper goes with --list-options")
        print(" ".join(name for name in program.commands if name != NAME))
        return 0
    known = _options(program, options.get("list-options"))
    if options.has("arg-helper"):
        print(" ".join(await _values(known, options.get("arg-helper"))))
    else:
        print(" ".join(word for option in known for word in _spellings(option)))
    return 0


def _going_on(found: Candidates, last: str, word: str) -> Candidates:
    """Bash takes = and : for words of their own: what stands before them is not to be repeated."""
    word = "" if word in ("=", ":") else words_of(word)[-1]
    before = last[: len(last) - len(word)] if last.endswith(word) else ""
    return {
        candidate.removeprefix(before): text
        for candidate, text in found.items()
        if candidate in FOR_SHELL or candidate.startswith(last)
    }


def _options(program: Program, command: str) -> tuple[Option, ...]:
    if command not in program.commands:
        raise CommandError(f"there is no command {command!r}")
    return (*program.command(command).options, HELP)


def _spellings(option: Option) -> list[str]:
    short = [f"-{option.short}"] if option.short else []
    attached = [f"--{option.name}="] if option.optional else []
    return [*short, f"--{option.name}", *attached, *([f"--{option.alias}"] if option.alias else [])]


async def _values(known: tuple[Option, ...], spelling: str) -> list[str]:
    name = spelling.lstrip("-").removesuffix("=")
    for option in known:
        if name in (*option.names, option.short):
            if option.optional and not spelling.endswith("="):
                return []
            return [word for word in await values(option.values) if word not in FOR_SHELL]
    return []


COMMAND = Command(run, OPTIONS)
