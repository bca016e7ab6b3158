"""`events`: what happens to all sessions, live, and why."""

import json
import time
from datetime import datetime

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.connect import Interrupted, interruptible
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line, status_text, user_name
from ovpn3.cli.watchall import Happening, watching_all
from ovpn3.proxies.watch import Ended


async def run(options: Options) -> int:
    show = _as_json if options.has("json") else _as_text
    async with system_bus() as bus:
        try:
            with interruptible():
                async with watching_all(bus) as watch:
                    while happening := await watch.next():
                        print(show(happening), flush=True)
        except Interrupted:
            pass
    return 0


def _as_text(happening: Happening) -> str:
    """The cause stands in brackets unless the status's own words are the cause."""
    subject, event, cause = happening.subject, happening.event, happening.cause
    text = f"{event.reason[0].upper()}{event.reason[1:]}" if isinstance(event, Ended) else status_text(event)
    because = f" ({one_line(cause)})" if cause and (isinstance(event, Ended) or cause != event.message) else ""
    device = f" {one_line(subject.device)}" if subject.device else ""
    return f"{datetime.now():%Y-%m-%d %H:%M:%S} {one_line(subject.config_name)}{device}: {text}{because}"


def _as_json(happening: Happening) -> str:
    subject, event = happening.subject, happening.event
    content: dict[str, object] = {
        "time": round(time.time(), 3),
        "event": "end" if isinstance(event, Ended) else "present" if happening.first else "status",
        "session": subject.path,
        "config_name": subject.config_name,
        "owner": user_name(subject.owner),
        "device": subject.device,
        "cause": happening.cause,
    }
    if isinstance(event, Ended):
        content["reason"] = event.reason
    else:
        content |= {"major": event.major, "minor": event.minor, "message": event.message, "text": status_text(event)}
    return json.dumps(content)


ABOUT = """\
Tells what happens to all sessions the user may see, and why: first what there is, then every change and every end,
until it is interrupted. Root sees everybody's.

The log of a session, and each of its changes, is for its owner and for those whom `openvpn3 session-acl` lets read it.
Of other sessions the status is read once a second.

    openvpn3 events --json
"""
COMMAND = Command(run, (Option("json", help="As JSON, one event a line"),), about=ABOUT)
