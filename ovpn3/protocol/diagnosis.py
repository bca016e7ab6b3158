"""Words for the user when a session doesn't come about: what happened, and the likely cause."""

from ovpn3.protocol.config import SessionConfig, WrapMode
from ovpn3.protocol.states import KeyState


def no_answer(config: SessionConfig, forged: int, seconds: float) -> str:
    """The server sent nothing usable at all."""
    mode = config.wrap.mode
    if forged:
        return f"the server's answers don't authenticate: its {mode.value} key is not the profile's"
    text = f"no answer from the server within {seconds:g} s"
    causes = "wrong address, port or protocol, or a firewall in between"
    if mode is WrapMode.NONE:
        causes += "; a server with tls-auth or tls-crypt is also silent to a profile without"
    else:
        causes += f"; a server is also silent when the profile's {mode.value} key is not its own"
    return f"{text}: {causes}"


def silence(state: KeyState, seconds: float) -> str:
    """The server has stopped talking before the tunnel was up."""
    text = f"nothing heard from the server for {seconds:g} s"
    # It ends a handshake that it refuses without a word. With TLS 1.3 it judges our certificate after we are through.
    if state is KeyState.TLS:
        causes = "it may refuse our TLS versions, ciphers, groups or certificate (its log tells)"
        return f"{text}, since the middle of the TLS handshake: {causes}, or larger packets don't get through"
    if state is KeyState.KEYS:
        return f"{text}, since the TLS handshake: it may refuse our certificate (its log tells)"
    return text


def unfinished(state: KeyState, forged: int, seconds: float) -> str:
    """The server answered, but the handshake got stuck."""
    text = f"the handshake wasn't finished within {seconds:g} s (stuck while {state.value})"
    if forged:
        return f"{text}: {forged} packets didn't authenticate"
    if state is KeyState.TLS:
        return f"{text}: the server may refuse our certificate, or larger packets don't get through"
    return text


def connection_lost(config: SessionConfig, *, answered: bool, connected: bool) -> str:
    """The transport was closed from the other side."""
    if connected:
        return "the server closed the connection"
    if answered:
        return "the server closed the connection during the handshake: it may refuse our certificate"
    text = "the server closed the connection without an answer"
    if config.wrap.mode is WrapMode.NONE:
        return f"{text}: it may expect tls-auth or tls-crypt, or isn't an OpenVPN server"
    return f"{text}: its {config.wrap.mode.value} key may not be the profile's"


def no_options(*, pending: bool) -> str:
    if pending:
        return "authentication was not completed in the time the server gave"
    return "the server accepted us but sent no configuration"
