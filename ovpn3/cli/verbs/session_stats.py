"""`session-stats`: what a session has counted."""

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.selection import SESSION_OPTIONS, chosen_session, system_bus
from ovpn3.cli.text import statistics_text, to_json


async def run(options: Options) -> int:
    async with system_bus() as bus:
        counters = await (await chosen_session(bus, options)).statistics()
    text = to_json(counters) if options.has("json") else statistics_text(counters)
    if text:
        print(text)
    return 0


ABOUT = """\
Shows those counters of a session that are not zero: octets and packets on the wire and in the tunnel, then errors and
other events by name.
"""
COMMAND = Command(run, (*SESSION_OPTIONS, Option("json", "j", help="As JSON")), about=ABOUT)
