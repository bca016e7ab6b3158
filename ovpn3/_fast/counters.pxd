"""What a tunnel has done so far. Written by the pump's thread alone, read by anybody."""

from libc.stdint cimport uint64_t

cdef struct Counters:
    uint64_t transport_bytes_in
    uint64_t transport_bytes_out
    uint64_t transport_packets_in
    uint64_t transport_packets_out
    uint64_t tun_bytes_in  # read from the tun
    uint64_t tun_bytes_out
    uint64_t tun_packets_in
    uint64_t tun_packets_out
    uint64_t tun_super_packets_in  # frames that held several packets
    uint64_t tun_super_packets_out
    uint64_t tun_superseded_acks  # not passed on, a later one came with them
    uint64_t receive_calls
    uint64_t send_calls
    uint64_t gro_receives  # messages of several datagrams that the kernel had joined
    uint64_t gso_sends  # messages of several datagrams for the kernel to cut
    uint64_t tso_active  # 1 while in use: TCP and UDP super packets of the tun,
    uint64_t uso_active
    uint64_t gro_active  # datagrams that the kernel joins, and cuts,
    uint64_t gso_active
    uint64_t ipsec_mb_active  # and the faster crypto library
    uint64_t pings_in
    uint64_t pings_out
    uint64_t decrypt_errors
    uint64_t replay_errors
    uint64_t malformed_packets
    uint64_t compressed_packets  # dropped: not allowed, damaged or too large
    uint64_t unknown_key_packets
    uint64_t unknown_payloads
    uint64_t control_dropped
    uint64_t unsent_packets  # refused by the kernel or without a usable key
    uint64_t queue_overflows  # stream: queue_limit reached
    uint64_t frame_errors
    uint64_t receive_errors
    uint64_t send_errors
    uint64_t end_of_stream
    uint64_t tun_read_errors
    uint64_t tun_write_errors
    uint64_t tun_malformed_frames
    uint64_t no_tun_packets  # came while no tun was attached
    uint64_t peer_timeouts
    uint64_t inactive_timeouts
