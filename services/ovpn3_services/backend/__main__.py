"""openvpn3-service-client: one tunnel. Started by the backend starter, with the token of a session to register for."""

from collections.abc import Callable

from ovpn3.profile import build, parse
from ovpn3.protocol.tls import rehearse
from ovpn3_services.backend.service import BackendClient
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.harden import rename_process
from ovpn3_services.common.service import command_line, run


def options(argv: list[str] | None) -> Options:
    line = command_line("openvpn3-service-client", idle_exit=0)
    line.switch(
        "--disable-protect-socket", "don't ask the network service to keep the way to the server outside the tunnel"
    )
    line.argument("token", "names the session to the session manager")
    return line.parse(argv)


def main(argv: list[str] | None = None) -> int:
    return client(options(argv))


def client(given: Options) -> int:
    rename_process("openvpn3-client")
    return run(BackendClient, given)


def prepared(argv: list[str]) -> Callable[[str], int]:
    """For a process that is forked into clients: what each of them would do first, done once.

    What is returned runs the client of a token; `argv` are the arguments before that.
    """
    given = options([*argv, "token"])
    # Fill caches and have everything imported: pages that a client doesn't write to stay shared.
    build(parse(f"client\nremote localhost\nauth-user-pass\npeer-fingerprint {':'.join(['00'] * 32)}\n"))
    rehearse()
    "localhost".encode("idna")
    return lambda token: client(Options(**{**vars(given), "token": token}))


if __name__ == "__main__":
    raise SystemExit(main())
