import sys

if sys.modules.get("ssl", ...) is None:
    del sys.modules["ssl"]  # the netlink library doesn't do without
