"""Offloads of the data path by the names of the override: the bits of the tun and of the pump, and what is in use."""

from collections.abc import Collection, Mapping

from ovpn3._fast import aead, pump
from ovpn3.constants import OFFLOADS, TunOffload

_TUN = {
    "tso": TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.TSO_ECN,
    "uso": TunOffload.USO4 | TunOffload.USO6,
}
_PUMP = {"gso": pump.GSO, "gro": pump.GRO, "ipsec-mb": pump.IPSEC_MB}


def tun_offloads(names: Collection[str]) -> TunOffload:
    """What to ask of a tun."""
    return TunOffload(sum(bits for name, bits in _TUN.items() if name in names))


def pump_offloads(names: Collection[str]) -> int:
    """The `offloads` of a Pump."""
    return sum(bits for name, bits in _PUMP.items() if name in names)


def summary(allowed: Collection[str], granted: TunOffload, counters: Mapping[str, int], *, stream: bool) -> str:
    """One line for the log: which offloads a tunnel starts with, and why not the others."""
    used, unused = [], []
    for name in OFFLOADS:
        if reason := _objection(name, allowed, granted, counters, stream):
            unused.append(f"{name} ({reason})")
        else:
            used.append(name)
    without = f"; without {', '.join(unused)}" if unused else ""
    return f"data path: {' '.join(used) or 'no offloads'}{without}"


def _objection(
    name: str, allowed: Collection[str], granted: TunOffload, counters: Mapping[str, int], stream: bool
) -> str:
    """Why an offload is not used; empty if it is."""
    if name not in allowed:
        return "switched off"
    if name in _TUN:
        return "" if granted & _TUN[name] else "not granted by the kernel"
    if name == "ipsec-mb":
        return aead.IPSEC_MB_OBJECTION
    if stream:
        return "not over TCP"
    return "" if counters[f"{name}_active"] else "refused by the kernel"
