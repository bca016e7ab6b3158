"""Codec of data packet headers."""

from typing_extensions import Buffer

def pack_data_header(key_id: int, peer_id: int, packet_id: int) -> bytes:
    """Header up to the packet id; DATA_V1 if `peer_id` is 0xFFFFFF, else DATA_V2."""

def unpack_data_header(packet: Buffer) -> tuple[int, int, int, int]:
    """(key id, packet id, start of the authenticated part, header size); ValueError if it isn't a data packet."""
