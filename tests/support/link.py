"""A one-way link that loses, repeats and reorders packets, reproducibly."""

import heapq
from random import Random


class Link:
    """Shares are probabilities; delays are drawn between `delay` and `delay + jitter` seconds."""

    def __init__(
        self,
        seed: int = 0,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        delay: float = 0.01,
        jitter: float = 0.0,
    ) -> None:
        self._random = Random(seed)
        self._loss, self._duplication, self._delay, self._jitter = loss, duplication, delay, jitter
        self._under_way: list[tuple[float, int, bytes]] = []
        self._count = 0
        self.sent = 0

    def send(self, packet: bytes, now: float) -> None:
        self.sent += 1
        if self._random.random() < self._loss:
            return
        for _ in range(2 if self._random.random() < self._duplication else 1):
            self._count += 1
            arrival = now + self._delay + self._jitter * self._random.random()
            heapq.heappush(self._under_way, (arrival, self._count, packet))

    def next_arrival(self) -> float | None:
        return self._under_way[0][0] if self._under_way else None

    def arrived(self, now: float) -> list[bytes]:
        packets = []
        while self._under_way and self._under_way[0][0] <= now:
            packets.append(heapq.heappop(self._under_way)[2])
        return packets
