import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import PeerError
from ovpn3.protocol.packet import (
    ControlPacket,
    Opcode,
    pack_first,
    pack_rest,
    unpack_first,
    unpack_rest,
    unpack_tlvs,
    wants_wkc_again,
)
from tests.support.vectors import load

VECTORS = load("control_plain")
SESSION_ID = b"\1" * 8


@pytest.mark.parametrize("case", VECTORS["synthetic"], ids=lambda c: c["id"])
def test_synthetic_packets_both_ways(case):
    packet = ControlPacket(
        Opcode(case["opcode"]),
        case["key_id"],
        bytes.fromhex(case["session_id"]),
        tuple(case["acks"]),
        bytes.fromhex(case["peer_session_id"]) if case["peer_session_id"] else None,
        case["message_id"],
        bytes.fromhex(case["payload"]),
    )
    wire = bytes((pack_first(packet.opcode, packet.key_id),)) + packet.session_id + pack_rest(packet)
    assert wire.hex() == case["packet"]
    assert unpack_rest(wire[0], wire[1:9], wire[9:]) == packet


@pytest.mark.parametrize("case", VECTORS["captured"], ids=lambda c: f"{c['direction']}-{c['opcode']}")
def test_captured_packets(case):
    wire = bytes.fromhex(case["packet"])
    packet = unpack_rest(wire[0], wire[1:9], wire[9:])
    assert (packet.opcode, packet.key_id) == (case["opcode"], case["key_id"])
    assert list(packet.acks) == case["acks"]
    assert packet.message_id == case["message_id"]
    assert len(packet.payload) == case["payload_len"]
    assert pack_rest(packet) == wire[9:]


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\2\0\0\0\0",
        b"\1\0\0\0\0" + SESSION_ID[:7],
        b"\1\0\0\0\0" + SESSION_ID + b"\0\0\0",
        b"\x09" + bytes(9 * 4 + 8 + 4),
    ],
)
def test_malformed_control_packet_is_the_peers_fault(rest):
    with pytest.raises(PeerError):
        unpack_rest(pack_first(Opcode.CONTROL, 0), SESSION_ID, rest)


def test_an_ack_cut_inside_its_session_id_is_refused():
    with pytest.raises(PeerError):
        unpack_rest(pack_first(Opcode.ACK, 0), SESSION_ID, b"\1\0\0\0\0" + SESSION_ID[:3])


@pytest.mark.parametrize(("opcode", "message_id"), [(Opcode.CONTROL, 0), (Opcode.SOFT_RESET, 1)])
def test_only_resets_carry_message_id_zero(opcode, message_id):
    rest = b"\0" + message_id.to_bytes(4, "big")
    with pytest.raises(PeerError):
        unpack_rest(pack_first(opcode, 0), SESSION_ID, rest)


@pytest.mark.parametrize("opcode", [0, 1, 2, 6, 9, 12, 31])
def test_other_opcodes_are_no_control_packets(opcode):
    with pytest.raises(PeerError):
        unpack_first(opcode << 3)


@given(st.sampled_from(list(Opcode)), st.integers(0, 7), st.binary(max_size=80))
def test_any_octets_make_a_packet_or_a_peer_error(opcode, key_id, rest):
    try:
        packet = unpack_rest(pack_first(opcode, key_id), SESSION_ID, rest)
    except PeerError:
        return
    assert pack_rest(packet) == rest


def test_early_negotiation_flags():
    assert wants_wkc_again(bytes.fromhex("000100020001"))
    assert not wants_wkc_again(b"")
    assert not wants_wkc_again(bytes.fromhex("000100020002"))
    assert wants_wkc_again(bytes.fromhex("00ff0003aabbcc 000100020001"))
    assert list(unpack_tlvs(bytes.fromhex("00ff0001aa"))) == [(255, b"\xaa")]


@pytest.mark.parametrize("data", ["00", "000100", "0001000200", "0001000100", "000100030000ff"])
def test_malformed_early_negotiation(data):
    with pytest.raises(PeerError):
        wants_wkc_again(bytes.fromhex(data))
