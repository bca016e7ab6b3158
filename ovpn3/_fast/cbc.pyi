"""AES-CBC with an HMAC; tested through the data channel."""

AES_128_CBC: int  # numbers of ciphers
AES_192_CBC: int
AES_256_CBC: int
