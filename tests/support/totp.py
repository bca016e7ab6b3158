"""A server that wants a password and a one-time code, and takes no code twice. The codes are the test's own making."""

import sys
import time
from pathlib import Path

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PERIOD = 2
ADDRESS = f"otpauth://totp/lab:ann?secret={SECRET}&period={PERIOD}"

_SCRIPT = f"""
import base64, hmac, sys, time
user, password = open(sys.argv[1]).read().splitlines()
kind, *parts = password.split(":")
word, code = (base64.b64decode(part).decode() for part in parts) if kind == "SCRV1" else (password, "")
open("logins", "a").write(f"{{user}} {{kind == 'SCRV1'}} {{code}}\\n")
step = int(time.time()) // {PERIOD}
def made(step):
    digest = hmac.digest(base64.b32decode("{SECRET}"), step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    return f"{{(int.from_bytes(digest[at:at + 4], 'big') & 0x7fffffff) % 10**6:06}}"
used = [line.split()[-1] for line in open("logins").read().splitlines()[:-1]]
sys.exit(not (user == "ann" and word == "right" and code not in used and code in (made(step), made(step - 1))))
"""


def totp_script() -> str:
    """Body of an `auth` script. It notes each log-in in the file `logins`."""
    quoted = _SCRIPT.replace("'", "'\\''")
    return f"exec {sys.executable} -c '{quoted}' \"$1\""


def wait_for_another_code() -> None:
    """For a second program: none knows which codes others have used up."""
    time.sleep(PERIOD - time.time() % PERIOD)


def credentials(folder: Path, password: str = "right") -> Path:
    """A directory with all that is needed to log in."""
    folder.mkdir()
    for name, text in (("username", "ann"), ("password", password), ("totp", ADDRESS)):
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600)
    return folder
