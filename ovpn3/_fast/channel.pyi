"""Data channel: keys by id, their limits, and the messages that travel inside data packets."""

from typing import final

from typing_extensions import Buffer

# What stands before a payload to say how it is compressed.
NO_FRAMING: int
LZO_STUB_FRAMING: int
STUB_FRAMING: int
STUB_V2_FRAMING: int

@final
class DataChannel:
    """The channel one packet at a time, for tests and benchmarks: the pump runs the same functions."""

    def __new__(cls, *, largest: int = 65535) -> DataChannel:
        """`largest`: octets of payload that may come out of a compressed packet."""
    def install(
        self,
        key_id: int,
        cipher: int,
        send_key: Buffer,
        send_iv: Buffer,
        recv_key: Buffer,
        recv_iv: Buffer,
        peer_id: int = -1,
        *,
        digest: str = "",
        framing: int = 0,
        decompress: bool = False,
        reneg_bytes: int = 0,
        reneg_packets: int = 0,
        epochs: bool = False,
        replay_reach: int = 2048,
        replay_silence_s: float = 30.0,
        packets_sent: int = 0,
        units_used: int = 0,
        fast: bool = True,
    ) -> None:
        """Copy a key into its slot; -1 as peer id means DATA_V1. For CBC the IVs are HMAC keys of the `digest`, which
        is OpenSSL's name of it, empty for none. After `reneg_bytes` of payload or `reneg_packets`, both ways, a key
        expires; 0 is never. With `decompress` payloads may be compressed by methods that were loaded. With `epochs`
        the keys are the secrets of the first epochs, and the IVs are empty.
        `replay_reach` and `replay_silence_s` as in `replay`; an epoch has a window of its own.
        `packets_sent` and `units_used` say what the key has done already, `fast` as in `aead`."""
    def use(self, key_id: int) -> None:
        """Seal with this key from now on."""
    def retire(self, key_id: int) -> None:
        """Wipe a key."""
    def seal(self, payload: Buffer) -> bytes:
        """The packet; ValueError "no key" or "spent"."""
    def open(self, packet: Buffer, now: float) -> bytes:
        """The payload; ValueError "malformed", "no key", "forged", "replayed", "spent" or "compressed"."""
    @property
    def expiring(self) -> list[int]:
        """Ids of the keys that are near a limit."""
