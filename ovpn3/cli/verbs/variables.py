"""`variables`: what is told to servers about this machine."""

from ovpn3.cli.command import JSON, Command, Option, Options
from ovpn3.cli.text import to_json
from ovpn3.client.machine import hardware_id

OPTIONS = (
    Option("machine-id", help="Show the id of this machine, which profiles with push-peer-info send"),
    JSON,
)


async def run(options: Options) -> int:
    if options.has("machine-id"):
        value, source = hardware_id()
        if options.has("json"):
            print(to_json({"machine_id": value, "source": source}))
        else:
            print(f"Machine-ID (IV_HWADDR): {value}\nSource: {source}")
    return 0


COMMAND = Command(run, OPTIONS)
