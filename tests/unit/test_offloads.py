"""Offloads by name: what is asked for, and how their use is told."""

import pytest

from ovpn3._fast import pump
from ovpn3._fast.aead import IPSEC_MB_OBJECTION
from ovpn3.constants import OFFLOADS, TunOffload
from ovpn3.datapath.offloads import pump_offloads, summary, tun_offloads

TSO = TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.TSO_ECN
USO = TunOffload.USO4 | TunOffload.USO6
BOTH = {"gso_active": 1, "gro_active": 1}


@pytest.mark.parametrize(
    ("names", "tun", "pumped"),
    [
        (OFFLOADS, TSO | USO, pump.GSO | pump.GRO | pump.IPSEC_MB),
        ((), TunOffload.NONE, 0),
        (("tso", "gro"), TSO, pump.GRO),
        (("uso", "ipsec-mb"), USO, pump.IPSEC_MB),
    ],
)
def test_bits(names: tuple[str, ...], tun: TunOffload, pumped: int) -> None:
    assert (tun_offloads(names), pump_offloads(names)) == (tun, pumped)


def test_summary_names_what_is_used_and_why_not_the_rest() -> None:
    text = summary(("tso", "uso", "gso", "gro"), TSO, {"gso_active": 0, "gro_active": 1}, stream=False)
    assert text == (
        "data path: tso gro; without uso (not granted by the kernel), gso (refused by the kernel), "
        "ipsec-mb (switched off)"
    )


def test_summary_of_everything() -> None:
    text = summary(OFFLOADS, TSO | USO, BOTH, stream=False)
    assert text.startswith("data path: tso uso gso gro")
    assert ("ipsec-mb" in text.partition(";")[0]) == (not IPSEC_MB_OBJECTION)


def test_summary_over_tcp_and_of_nothing() -> None:
    assert "without gso (not over TCP), gro (not over TCP)" in summary(OFFLOADS, TSO | USO, BOTH, stream=True)
    assert summary((), TunOffload.NONE, BOTH, stream=False).startswith(
        "data path: no offloads; without tso (switched off)"
    )
