"""Write docs/options.md from the table of options and what the other clients do with each: `make docs`."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from ovpn3.profile.options import Option, Reason, Status, table

PAGE = Path(__file__).with_name("options.md")
FACTS = Path(__file__).parents[1] / "tests" / "data" / "profiles" / "option-facts.toml"

INTRODUCTION = """\
# Options of a profile

What this client does with every option that OpenVPN knows, and what OpenVPN 3 (the C++ core) and OpenVPN 2.6 do with it
in a client. A profile is checked as a whole when it is imported: what can't be honoured is an error that names the line
and says what to do; what can be left out safely is a warning in the session's log.

`[words]` may be left out; `<block>` means that the option can be, or has to be, an inline block `<name>...</name>`.
Files that a profile names are put into it as blocks when it is imported. `setenv opt NAME ...` and
`ignore-unknown-option NAME` make a warning of an unknown or unsupported option.

This page is made from the table that the client itself uses: `make docs`.
"""
TITLES = {
    Status.USED: "Used",
    Status.WARNED: "Left out with a warning",
    Status.IGNORED: "Left out in silence: nothing is lost",
}
OPENVPN_3 = {"implement": "used", "ignore": "left out", "warn": "left out, warns", "reject": "refused"}
# Read, and nothing to do for it here.
NOTES = {
    "allow-compression": "`asym` and `yes`: the server may compress what it sends; what we send never is",
    "allow-password-save": "for front-ends that can save passwords; ours don't",
    "become-primary": "new keys are used 2 s after they are ready",
    "block-outside-dns": "takes a kernel with nf_tables; this machine's own addresses may always be asked",
    "explicit-exit-notify": "always done over UDP; so many good-byes, or seconds for the answer to one, 5 at most",
    "mark": "of the socket to the server; root has to allow it: [network.md](network.md)",
    "redirect-gateway": "every occurrence counts; what each flag does is in [network.md](network.md)",
    "remote-cache-lifetime": "a name is resolved for every attempt",
    "socks-proxy": "SOCKS 5, for TCP and UDP; the name of a UDP server is looked up here",
    "replay-window": "without it 2048 packets and 30 s; after a silence of that time no older packet counts",
}
# Not in its table: what importing makes of a file with credentials.
OURS = "not known"


def page() -> str:
    facts = {key: set(names.split()) for key, names in tomllib.loads(FACTS.read_text()).items()}
    return "\n".join([INTRODUCTION, *_sections(facts)]) + "\n"


def _sections(facts: dict[str, set[str]]) -> Iterator[str]:
    options = sorted(table().values(), key=lambda option: option.name)
    for status, title in TITLES.items():
        yield f"## {title}\n"
        yield from _rows([option for option in options if option.status is status], facts)
    yield "## Refused\n"
    for reason in Reason:
        refused = [option for option in options if option.status is Status.REFUSED and option.reason is reason]
        if refused:
            yield f"### It {reason.value}\n"
            yield from _rows(refused, facts)


def _rows(options: list[Option], facts: dict[str, set[str]]) -> Iterator[str]:
    yield "| option | default | OpenVPN 3 | OpenVPN 2.6 | note |"
    yield "|---|---|---|---|---|"
    for option in options:
        third = next((text for key, text in OPENVPN_3.items() if option.name in facts[key]), OURS)
        second = next((key for key in ("no", "ignored", "removed") if option.name in facts[f"v2_{key}"]), "yes")
        if third == OURS:
            second = OURS
        cells = (_form(option), option.default, third, second, _note(option))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _form(option: Option) -> str:
    words = f"`{option.name} {option.syntax}`".replace(" `", "`")
    if option.inline_only:
        return f"`<{option.name}>`"
    return f"{words}, `<block>`" if option.inline else words


def _note(option: Option) -> str:
    if option.name in NOTES:
        return NOTES[option.name]
    repeated = "every occurrence counts" if option.repeat and option.status is Status.USED else ""
    return option.hint or repeated


if __name__ == "__main__":
    PAGE.write_text(page())
