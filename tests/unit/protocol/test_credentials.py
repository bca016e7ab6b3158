import pytest

from ovpn3.errors import PeerError
from ovpn3.protocol.auth import Credentials, unpack_base64_text
from ovpn3.secret import Secret
from tests.support.vectors import load

MESSAGES = load("messages")


def login(credentials):
    username, password = credentials.login()
    return username, password.text()


def test_nothing_to_log_in_with():
    assert login(Credentials()) == ("", "")


def test_static_challenge():
    case = MESSAGES["static_challenge"]
    credentials = Credentials("u", Secret(case["password"]))
    credentials.answer_static(Secret(case["response"]))
    assert login(credentials) == ("u", case["sent_password"])
    credentials.answer_static(Secret(case["response"]), concatenate=True)
    assert login(credentials) == ("u", case["password"] + case["response"])


def test_dynamic_challenge_is_answered_once():
    case = MESSAGES["dynamic_challenge"]
    credentials = Credentials("old", Secret("pw"))
    credentials.answer_dynamic(case["state_id"], case["username"], Secret(case["response"]))
    assert login(credentials) == (case["sent_username"], case["sent_password"])
    credentials.login_sent()
    assert login(credentials) == ("old", "pw")


def test_a_token_replaces_password_and_static_answer():
    credentials = Credentials("u", Secret("pw"))
    credentials.answer_static(Secret("123"))
    credentials.accept_token(Secret("T1"))
    assert login(credentials) == ("u", "T1")
    credentials.accept_token(Secret("T2"), "token-user")
    credentials.accept_token(Secret("T3"))
    assert login(credentials) == ("token-user", "T3")
    assert credentials.drop_token()
    assert not credentials.drop_token()
    assert login(credentials) == ("u", "pw")


@pytest.mark.option("auth-nocache")
def test_nocache_forgets_the_password_for_a_token():
    password = Secret("pw")
    credentials = Credentials("u", password, nocache=True)
    credentials.accept_token(Secret("T"))
    assert b"pw" not in password.reveal()
    credentials.drop_token()
    assert login(credentials) == ("u", "")


@pytest.mark.parametrize("encoded", ["a", "!!!!", "/w=="])
def test_text_that_is_not_base64(encoded):
    with pytest.raises(PeerError):
        unpack_base64_text(encoded)
