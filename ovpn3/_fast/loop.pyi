"""The loop of a tunnel's thread: sockets, tun, commands and timers. C level only."""
