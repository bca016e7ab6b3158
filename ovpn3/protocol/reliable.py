"""Reliable, ordered delivery of control messages for one key generation, both directions.

Ids start at 0 without gaps. Every received message is acknowledged by its id, duplicates too; ids acknowledged
lately are repeated in free acknowledgement slots, since a lost one costs the peer a whole time-out.

How long we wait before a message is sent again follows from how long acknowledgements took so far (RFC 6298); the
configured time-out is what we begin with, and never exceeded by it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from ovpn3.protocol.packet import MAX_ACKS, Opcode

SEND_WINDOW: Final = 6  # messages outstanding
RECEIVE_WINDOW: Final = 12  # ids from the next expected one on
FAST_RETRANSMIT_ACKS: Final = 3  # later messages acknowledged: this one must be lost
MAX_TIMEOUT: Final = 60.0
GRANULARITY: Final = 0.2  # longer than that it takes at least: a server may be busy


@dataclass(slots=True)
class _Sent:
    """A packet that the peer hasn't acknowledged yet."""

    opcode: Opcode
    payload: bytes
    since: float  # first sent
    due: float
    timeout: float
    repeated: bool = False
    later_acks: int = 0


@final
class Reliable:
    """`stream`: the transport is reliable itself, so nothing is ever sent twice."""

    def __init__(self, timeout: float, *, stream: bool) -> None:
        self._timeout, self._longest, self._stream = timeout, timeout, stream
        self._round_trip: tuple[float, float] | None = None  # smoothed, and its variation
        self._waiting: deque[tuple[Opcode, bytes]] = deque()
        self._sent: dict[int, _Sent] = {}  # in order of id
        self._next_id = 0  # to send
        self._expected = 0  # to deliver
        self._received: dict[int, bytes] = {}
        self._fresh_acks: deque[int] = deque()
        self._old_acks: deque[int] = deque(maxlen=MAX_ACKS)  # latest first

    @property
    def next_id(self) -> int:
        """Id of the next message queued."""
        return self._next_id + len(self._waiting)

    @property
    def settled(self) -> bool:
        """Everything queued was sent and acknowledged."""
        return not self._waiting and not self._sent

    @property
    def round_trip(self) -> float | None:
        """Seconds an acknowledgement takes, smoothed; None before the first."""
        return self._round_trip[0] if self._round_trip else None

    @property
    def must_ack(self) -> bool:
        return bool(self._fresh_acks)

    def queue(self, opcode: Opcode, payload: bytes) -> None:
        self._waiting.append((opcode, payload))

    def acknowledged(self, ids: Iterable[int], now: float) -> None:
        """The peer has these; ids that aren't outstanding mean nothing."""
        for acked in ids:
            done = self._sent.pop(acked, None)
            if done is None:
                continue
            if not done.repeated:  # else it isn't known which of them was acknowledged
                self._measured(now - done.since)
            for message_id, sent in self._sent.items():
                if message_id < acked:
                    sent.later_acks += 1

    def receive(self, message_id: int, payload: bytes) -> None:
        """Take a message from the network; beyond the window it is dropped unacknowledged."""
        if message_id >= self._expected + RECEIVE_WINDOW:
            return
        if message_id not in self._fresh_acks:
            self._fresh_acks.append(message_id)
        if message_id >= self._expected:
            self._received.setdefault(message_id, payload)

    def deliver(self) -> Iterator[tuple[int, bytes]]:
        """(id, payload) of messages whose turn it is."""
        while (payload := self._received.pop(self._expected, None)) is not None:
            self._expected += 1
            yield self._expected - 1, payload

    def due(self, now: float) -> list[tuple[int, Opcode, bytes]]:
        """(id, opcode, payload) to send now, for the first time or again."""
        while self._waiting and self._has_room():
            opcode, payload = self._waiting.popleft()
            self._sent[self._next_id] = _Sent(opcode, payload, now, now, self._timeout)
            self._next_id += 1
        out = []
        for message_id, sent in self._sent.items():
            if now >= sent.due or (sent.later_acks >= FAST_RETRANSMIT_ACKS and not self._stream):
                out.append((message_id, sent.opcode, sent.payload))
                sent.repeated = now > sent.since
                sent.due = float("inf") if self._stream else now + sent.timeout
                sent.timeout = min(2 * sent.timeout, MAX_TIMEOUT)
                sent.later_acks = 0
        return out

    def take_acks(self, limit: int) -> tuple[int, ...]:
        """Ids for one packet's acknowledgement slots, fresh ones first."""
        fresh = [self._fresh_acks.popleft() for _ in range(min(limit, len(self._fresh_acks)))]
        acks = fresh + [i for i in self._old_acks if i not in fresh][: limit - len(fresh)]
        for acked in reversed(fresh):
            if acked in self._old_acks:
                self._old_acks.remove(acked)
            self._old_acks.appendleft(acked)
        return tuple(acks)

    def next_timer(self) -> float | None:
        """When `due` has something to send again, if ever."""
        return None if self._stream else min((sent.due for sent in self._sent.values()), default=None)

    def _measured(self, took: float) -> None:
        smoothed, variation = self._round_trip or (took, took)
        variation += (abs(smoothed - took) - variation) / 4
        smoothed += (took - smoothed) / 8
        self._round_trip = smoothed, variation
        self._timeout = min(smoothed + max(4 * variation, GRANULARITY), self._longest)

    def _has_room(self) -> bool:
        oldest = next(iter(self._sent), self._next_id)
        return len(self._sent) < SEND_WINDOW and self._next_id < oldest + SEND_WINDOW
