"""Device names: refused before the kernel sees them."""

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net.tun import open_tun


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a" * 16, "a/b", "a b", "a\n", "tun\0", "%s", "tun%d%d", "a:b", "tün", "../net", "tun%", "%n%d"],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(NetworkError, match="not a device name"):
        open_tun(name)
