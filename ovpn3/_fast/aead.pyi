"""AES-GCM and ChaCha20-Poly1305 with a 12-byte nonce and a 16-byte tag: by ipsec-mb where it works, or libcrypto."""

from typing import final

from typing_extensions import Buffer

AES_128_GCM: int
AES_192_GCM: int
AES_256_GCM: int
CHACHA20_POLY1305: int
IPSEC_MB_OBJECTION: str  # why ipsec-mb is not used on this machine; empty if it is

@final
class Aead:
    """One direction of one key. The key is copied, and wiped when the object goes.

    `fast`: by ipsec-mb where it works. ValueError if the cipher is unknown or a length is wrong. Sealing never checks
    that a nonce is fresh.
    """

    def __new__(cls, cipher: int, key: Buffer, *, sealing: bool, fast: bool = True) -> Aead: ...
    def seal(self, nonce: Buffer, aad: Buffer, plaintext: Buffer) -> bytes:
        """Tag, then ciphertext."""
    def open(self, nonce: Buffer, aad: Buffer, sealed: Buffer) -> bytes:
        """The plaintext of tag-then-ciphertext; ValueError if it isn't authentic."""
