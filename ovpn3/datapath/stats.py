"""The pump's counters under the names of the session's statistics."""

from collections.abc import Mapping

# D-Bus name -> counters that add up to it, in the order of the wire.
STATISTICS = {
    "BYTES_IN": ("transport_bytes_in",),
    "BYTES_OUT": ("transport_bytes_out",),
    "PACKETS_IN": ("transport_packets_in",),
    "PACKETS_OUT": ("transport_packets_out",),
    "TUN_BYTES_IN": ("tun_bytes_in",),
    "TUN_BYTES_OUT": ("tun_bytes_out",),
    "TUN_PACKETS_IN": ("tun_packets_in",),
    "TUN_PACKETS_OUT": ("tun_packets_out",),
    "NETWORK_RECV_ERROR": ("receive_errors",),
    "NETWORK_EOF_ERROR": ("end_of_stream",),
    "NETWORK_SEND_ERROR": ("send_errors",),
    "DECRYPT_ERROR": ("decrypt_errors",),
    "REPLAY_ERROR": ("replay_errors",),
    "BUFFER_ERROR": ("malformed_packets", "control_dropped", "unsent_packets"),
    "TUN_READ_ERROR": ("tun_read_errors",),
    "TUN_WRITE_ERROR": ("tun_write_errors", "no_tun_packets"),
    "TUN_FRAMING_ERROR": ("unknown_payloads", "tun_malformed_frames"),
    "TCP_OVERFLOW": ("queue_overflows",),
    "TCP_SIZE_ERROR": ("frame_errors",),
    "COMPRESS_ERROR": ("compressed_packets",),
    "KEEPALIVE_TIMEOUT": ("peer_timeouts",),
    "INACTIVE_TIMEOUT": ("inactive_timeouts",),
    "KEY_STATE_ERROR": ("unknown_key_packets",),
    # Ours: packets that travelled together, on the tun and over UDP; acknowledgements that a later one made needless.
    "TUN_SUPER_PACKETS_IN": ("tun_super_packets_in",),
    "TUN_SUPER_PACKETS_OUT": ("tun_super_packets_out",),
    "TUN_SUPERSEDED_ACKS": ("tun_superseded_acks",),
    "UDP_GSO_SENDS": ("gso_sends",),
    "UDP_GRO_RECEIVES": ("gro_receives",),
}

# Ours: 1 while in use.
OFFLOADS_IN_USE = {
    "OFFLOAD_TSO": "tso_active",
    "OFFLOAD_USO": "uso_active",
    "OFFLOAD_GSO": "gso_active",
    "OFFLOAD_GRO": "gro_active",
    "OFFLOAD_IPSEC_MB": "ipsec_mb_active",
}

# Ours, of the connection that is up: Unix times of its start and of its last handshake; microseconds from the first
# packet to the server's options, and for a control packet to be acknowledged in the last handshake.
MEASURED = ("CONNECTED_SINCE", "LAST_HANDSHAKE", "HANDSHAKE_US", "ROUND_TRIP_US")


def as_statistics(counters: Mapping[str, int]) -> dict[str, int]:
    """The counters of `Pump.stats()` that are not zero, as the D-Bus property names them."""
    sums = {name: sum(counters[part] for part in parts) for name, parts in STATISTICS.items()}
    return {name: count for name, count in sums.items() if count}


def offloads_in_use(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: 1 for name, counter in OFFLOADS_IN_USE.items() if counters[counter]}
