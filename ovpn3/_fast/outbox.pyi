"""Packets on their way to the transport, one behind the other in one arena. C level only."""
