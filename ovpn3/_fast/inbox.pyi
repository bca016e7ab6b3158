"""Packets fresh from the transport: a batch of datagrams, or a stretch of a stream of framed packets. C level only."""
