"""The header before each packet of a tun with IFF_VNET_HDR (linux/virtio_net.h), in the machine's byte order."""

from libc.stdint cimport uint8_t, uint16_t

cdef enum:
    VNET_BYTES = 10
    NEEDS_CSUM = 1  # of flags: the sum from csum_start on is to be finished at csum_offset behind it

# Kinds of super packets; GSO_ECN may be added.
cdef enum:
    GSO_NONE = 0
    GSO_TCPV4 = 1
    GSO_TCPV6 = 4
    GSO_UDP_L4 = 5
    GSO_ECN = 0x80

# What a tun was granted (linux/if_tun.h).
cdef enum:
    TUN_F_CSUM = 0x01
    TUN_F_TSO4 = 0x02
    TUN_F_TSO6 = 0x04
    TUN_F_USO4 = 0x20
    TUN_F_USO6 = 0x40

cdef struct VnetHeader:
    uint8_t flags
    uint8_t gso_type
    uint16_t header_bytes
    uint16_t gso_size  # payload of each segment but the last
    uint16_t csum_start
    uint16_t csum_offset
