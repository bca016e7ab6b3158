"""Bounded rings between Python and the pump's thread, and the numbers of the events."""

CONTROL_PACKET: int
FIRST_DATA: int
KEY_EXPIRING: int
PEER_TIMEOUT: int
INACTIVE: int
PEER_EXIT: int
SOCKET_ERROR: int
TUN_ERROR: int
CLOSED: int
COMPRESSED: int
