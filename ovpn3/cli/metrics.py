"""Sessions and services in the text format of Prometheus.

A session's statistics keep their values: `METRICS` and `STATISTICS` say which of them is which metric. What they have
beyond that is counted as an event of that name.
"""

import asyncio
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from ovpn3.cli import processes
from ovpn3.cli.selection import visible_sessions
from ovpn3.cli.text import STATES, state_word, user_name
from ovpn3.constants import SESSIONS_NAME
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "openvpn3_"

COUNTER, GAUGE = "counter", "gauge"
METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "build_info": (GAUGE, "The version, as a label; always 1."),
    "sessions": (GAUGE, "Sessions by state."),
    "session_info": (GAUGE, "What else is known of a session, as labels; always 1."),
    "session_connected": (GAUGE, "Whether the tunnel is up."),
    "session_created_timestamp_seconds": (GAUGE, "When the session was started."),
    "session_connected_timestamp_seconds": (GAUGE, "When the connection that is up was made."),
    "session_last_handshake_timestamp_seconds": (GAUGE, "When keys were last exchanged."),
    "session_handshake_seconds": (GAUGE, "From the first packet to the server's options, of the present connection."),
    "session_round_trip_seconds": (GAUGE, "Round trip to the server, as measured in the last handshake."),
    "session_receive_bytes_total": (COUNTER, "From the server, as encrypted."),
    "session_transmit_bytes_total": (COUNTER, "To the server, as encrypted."),
    "session_receive_packets_total": (COUNTER, "Packets from the server."),
    "session_transmit_packets_total": (COUNTER, "Packets to the server."),
    "session_tun_read_bytes_total": (COUNTER, "From this machine, into the tunnel."),
    "session_tun_write_bytes_total": (COUNTER, "To this machine, out of the tunnel."),
    "session_tun_read_packets_total": (COUNTER, "Packets from this machine, into the tunnel."),
    "session_tun_write_packets_total": (COUNTER, "Packets to this machine, out of the tunnel."),
    "session_dropped_packets_total": (COUNTER, "Packets that went no further, by reason."),
    "session_joined_packets_total": (COUNTER, "Messages to or from the kernel that held several packets, by where."),
    "session_reconnects_total": (COUNTER, "Attempts to connect after the first."),
    "session_renegotiations_total": (COUNTER, "Handshakes after the first of a connection."),
    "session_events_total": (COUNTER, "What else has happened: failures, by kind, and pauses."),
    "session_offload_active": (GAUGE, "Whether the tunnel uses an offload."),
    "session_memory_bytes": (GAUGE, "Memory of the session's process; what it shares counts in part."),
    "session_cpu_seconds_total": (COUNTER, "Processor time of the session's process."),
    "service_up": (GAUGE, "Whether the service runs; most end when there is nothing to do."),
    "service_memory_bytes": (GAUGE, "Memory of the service; what it shares counts in part."),
    "service_cpu_seconds_total": (COUNTER, "Processor time of the service."),
}

# Of the session's statistics: metric, label and value; the unit of what isn't counted.
STATISTICS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "BYTES_IN": ("session_receive_bytes_total", {}),
    "BYTES_OUT": ("session_transmit_bytes_total", {}),
    "PACKETS_IN": ("session_receive_packets_total", {}),
    "PACKETS_OUT": ("session_transmit_packets_total", {}),
    "TUN_BYTES_IN": ("session_tun_read_bytes_total", {}),
    "TUN_BYTES_OUT": ("session_tun_write_bytes_total", {}),
    "TUN_PACKETS_IN": ("session_tun_read_packets_total", {}),
    "TUN_PACKETS_OUT": ("session_tun_write_packets_total", {}),
    "N_RECONNECT": ("session_reconnects_total", {}),
    "N_RENEGOTIATE": ("session_renegotiations_total", {}),
    "TUN_SUPER_PACKETS_IN": ("session_joined_packets_total", {"where": "tun_read"}),
    "TUN_SUPER_PACKETS_OUT": ("session_joined_packets_total", {"where": "tun_write"}),
    "UDP_GSO_SENDS": ("session_joined_packets_total", {"where": "transmit"}),
    "UDP_GRO_RECEIVES": ("session_joined_packets_total", {"where": "receive"}),
    **{
        name: ("session_dropped_packets_total", {"reason": reason})
        for name, reason in {
            "DECRYPT_ERROR": "not_authentic",
            "REPLAY_ERROR": "replayed",
            "KEY_STATE_ERROR": "unknown_key",
            "BUFFER_ERROR": "malformed_or_no_room",
            "COMPRESS_ERROR": "compressed",
            "TUN_FRAMING_ERROR": "not_ip",
            "TUN_WRITE_ERROR": "tun_refused",
            "TCP_OVERFLOW": "queue_full",
            "TCP_SIZE_ERROR": "bad_length",
            "NETWORK_SEND_ERROR": "not_sent",
            "TUN_SUPERSEDED_ACKS": "superseded_ack",
        }.items()
    },
    **{
        f"OFFLOAD_{name.upper()}": ("session_offload_active", {"offload": name})
        for name in ("tso", "uso", "gso", "gro", "ipsec_mb")
    },
    **{
        name: ("session_events_total", {"event": name.lower()})
        for name in (
            *("N_PAUSE", "KEEPALIVE_TIMEOUT", "INACTIVE_TIMEOUT", "CONNECTION_TIMEOUT", "HANDSHAKE_TIMEOUT"),
            *("RESOLVE_ERROR", "UDP_CONNECT_ERROR", "TCP_CONNECT_ERROR", "TRANSPORT_ERROR", "PROXY_ERROR"),
            *("NETWORK_RECV_ERROR", "NETWORK_EOF_ERROR", "TUN_READ_ERROR", "TUN_SETUP_FAILED"),
            *("AUTH_FAILED", "CERT_VERIFY_FAIL", "TLS_ALERT_MISC", "CLIENT_RESTART", "CLIENT_HALT"),
        )
    },
}
# Those that aren't there before there is a connection, and what one of theirs is in seconds.
TIMES: Final[Mapping[str, tuple[str, float]]] = {
    "CONNECTED_SINCE": ("session_connected_timestamp_seconds", 1),
    "LAST_HANDSHAKE": ("session_last_handshake_timestamp_seconds", 1),
    "HANDSHAKE_US": ("session_handshake_seconds", 1e-6),
    "ROUND_TRIP_US": ("session_round_trip_seconds", 1e-6),
}

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


async def metrics(bus: Bus) -> str:
    """As they are now, of the sessions that we may see. No service is started for it."""
    samples: list[Sample] = [("build_info", {"version": version("ovpn3")}, 1)]
    sessions = await visible_sessions(bus) if await bus.name_owner(SESSIONS_NAME) else []
    found = [values for values in await asyncio.gather(*map(_values, sessions)) if "config_name" in values]
    states = [state_word(values["status"]) for values in found]
    samples += [("sessions", {"state": word}, states.count(word)) for word in STATES]
    for values in found:
        samples += of_session(values)
    services = await processes.running(bus)
    for name in processes.BUS_NAMES:
        samples.append(("service_up", {"service": name}, name in services))
        samples += _of_process("service", {"service": name}, services.get(name, 0))
    return "".join(text(samples))


async def _values(session: Session) -> dict[str, Any]:
    """Empty if it has just ended."""
    try:
        return {"session": session.path.rpartition("/")[2], **await session.get_all()}
    except RemoteError:
        return {}


def of_session(values: Mapping[str, Any]) -> Iterator[Sample]:
    """From the session's properties and `session`, what it is called here."""
    owner = user_name(values["owner"], str(values["owner"]))
    labels = {"session": values["session"], "config": values["config_name"], "owner": owner}
    protocol, server, port = values["connected_to"]
    more = {"device": values["device_name"], "protocol": protocol, "server": server, "port": str(port or "")}
    yield "session_info", labels | more, 1
    yield "session_connected", labels, state_word(values["status"]) == "connected"
    yield "session_created_timestamp_seconds", labels, values["session_created"]
    statistics = dict(values["statistics"])
    for name, (metric, unit) in TIMES.items():
        if name in statistics:
            yield metric, labels, statistics.pop(name) * unit
    for name, (metric, label) in STATISTICS.items():
        yield metric, {**labels, **label}, statistics.pop(name, 0)
    for name, value in statistics.items():
        yield "session_events_total", labels | {"event": name.lower()}, value
    yield from _of_process("session", labels, values["backend_pid"])


def _of_process(what: str, labels: Labels, pid: int) -> Iterator[Sample]:
    if pid and (usage := processes.usage(pid)):
        yield f"{what}_memory_bytes", labels, usage.memory
        yield f"{what}_cpu_seconds_total", labels, usage.cpu_s


def text(samples: list[Sample]) -> Iterator[str]:
    """Each metric's lines together, in the order of METRICS."""
    lines_of: dict[str, list[str]] = {}
    for sample in samples:
        lines_of.setdefault(sample[0], []).append(_line(*sample))
    for metric, (kind, meaning) in METRICS.items():
        if lines := lines_of.get(metric):
            yield f"# HELP {PREFIX}{metric} {meaning}\n# TYPE {PREFIX}{metric} {kind}\n"
            yield from lines


def _line(metric: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{PREFIX}{metric}{{{inside}}} {value:.16g}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
