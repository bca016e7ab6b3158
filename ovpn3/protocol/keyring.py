"""The live key generations of a session, and which keys the data path has.

A generation receives as soon as its keys are known. Sending moves to it SWITCH_DELAY after it became active: the
server has our keys only once it got our last acknowledgement, which nothing acknowledges; if it is lost, the
server's first retransmission (2 s) makes us repeat it. Older generations stay for what is under way.
"""

from collections.abc import Iterator
from typing import Final, final

from ovpn3.protocol.actions import InstallKeys, RetireKey, UseKey
from ovpn3.protocol.generation import Generation
from ovpn3.protocol.keys import EKM_DATA_LABEL, KEY2_BYTES, Key2, data_keys, expand
from ovpn3.protocol.negotiate import Negotiated

KEY_IDS: Final = 7  # 1 to 7 in turn; 0 is the first generation's alone
MAX_INSTALLED: Final = 3  # the new one, its predecessor, and one the server may still be using


@final
class KeyRing:
    """Each change of the data path is returned as actions."""

    def __init__(self) -> None:
        self._generations: dict[int, Generation] = {}  # by key id, oldest first
        self._installed: list[int] = []  # key ids, oldest first
        self._sending: int | None = None

    @property
    def newest(self) -> Generation:
        return next(reversed(self._generations.values()))

    @property
    def next_key_id(self) -> int:
        return self.newest.key_id % KEY_IDS + 1

    def __iter__(self) -> Iterator[Generation]:
        return iter(self._generations.values())

    def get(self, key_id: int) -> Generation | None:
        return self._generations.get(key_id)

    def add(self, generation: Generation) -> None:
        self._generations[generation.key_id] = generation

    def clear(self) -> None:
        self._generations.clear()

    def is_installed(self, key_id: int) -> bool:
        return key_id in self._installed

    def install(
        self, generation: Generation, agreed: Negotiated, session_id: bytes, peer_session_id: bytes
    ) -> list[InstallKeys | RetireKey]:
        """Keys of a generation whose exchange is complete, in place of the oldest ones if there are too many."""
        key2 = _derive(generation, agreed, session_id, peer_session_id)
        keys = data_keys(key2, agreed.cipher, agreed.digest, epochs=agreed.epochs)
        key2.wipe()
        self._installed.append(generation.key_id)
        retired = [r for key_id in self._installed[:-MAX_INSTALLED] for r in self.retire(key_id)]
        made = InstallKeys(
            generation.key_id,
            agreed.cipher,
            keys,
            agreed.peer_id,
            digest=agreed.digest,
            framing=agreed.framing,
            epochs=agreed.epochs,
        )
        return [made, *retired]

    def use(self, key_id: int) -> list[UseKey]:
        """Send with these keys; nothing to do if that is so already or they are gone."""
        if key_id == self._sending or key_id not in self._installed:
            return []
        self._sending = key_id
        return [UseKey(key_id)]

    def retire(self, key_id: int) -> list[RetireKey]:
        """Forget a generation, unless it is in use."""
        if key_id not in self._installed or key_id in (self._sending, self.newest.key_id):
            return []
        self._installed.remove(key_id)
        del self._generations[key_id]
        return [RetireKey(key_id)]


def _derive(generation: Generation, agreed: Negotiated, session_id: bytes, peer_session_id: bytes) -> Key2:
    if agreed.tls_ekm:
        return Key2(generation.tls.export(EKM_DATA_LABEL, KEY2_BYTES))
    client, server = generation.sources()
    return expand(client, server, session_id, peer_session_id)
