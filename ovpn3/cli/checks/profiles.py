"""Persistent profiles: whether they can be used, and for how long."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from ovpn3.cli.checks.finding import Finding, problem, warning
from ovpn3.cli.text import one_line, user_name
from ovpn3.errors import ProfileError
from ovpn3.profile import Directive, build, from_json

SOON: Final = timedelta(days=30)
MAX_FILE_BYTES: Final = 4 << 20
DAMAGED: Final = ".damaged"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_CRL = re.compile(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True)
class Stored:
    """A profile, and how it is called here."""

    title: str
    directives: tuple[Directive, ...]


def check(directory: Path, now: datetime) -> Iterator[Finding]:
    """The profiles whose files are in `directory`. Those that are not persistent only their owner can read."""
    seen, ends = 0, []
    try:
        files = sorted(directory.iterdir())
    except OSError as e:
        yield problem("profiles", f"{directory} can't be read: {e.strerror}", "openvpn3-admin install")
        return
    for file in files:
        if file.name.endswith(DAMAGED):
            advice = "it was put aside; mend it and rename it, or remove it and import the profile again"
            yield warning("profile", f"{file} is damaged", advice)
        elif file.suffix == ".json" and not file.name.startswith("."):
            try:
                profile = _read(file)
            except (OSError, ValueError, KeyError, TypeError, RecursionError, ProfileError):
                yield warning("profile", f"{file} can't be read", "import the profile again")
                continue
            seen += 1
            yield from _usable(profile)
            found = list(_validity(profile, now))
            ends += [end for end, _ in found]
            yield from (finding for _, finding in found if finding)
    text = f"{seen} persistent"
    yield Finding(
        "profiles", f"{text}, certificates good until {min(ends):%F} at least" if ends and min(ends) > now else text
    )


def _read(file: Path) -> Stored:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ProfileError("too large")
    document = json.loads(file.read_text(encoding="utf-8"))
    title = f"{user_name(document['owner'])}'s {one_line(document['name'])}"
    return Stored(title, from_json(document["profile"]))


def _usable(profile: Stored) -> Iterator[Finding]:
    try:
        build(profile.directives)
    except ProfileError as e:
        yield warning("profile", f"{profile.title} can't be used: {one_line(e)}", "import it again, mended")


def _validity(profile: Stored, now: datetime) -> Iterator[tuple[datetime, Finding | None]]:
    """When each of its certificates ends, and what is to be said of it."""
    for option, what, advice in (
        ("cert", "its certificate", "ask who runs the server for a new one"),
        ("ca", "the certificate of its authority", "ask who runs the server for the new one"),
        ("crl-verify", "its revocation list", "fetch a new list and import the profile again"),
    ):
        text = "\n".join(d.block or "" for d in profile.directives if d.name == option)
        spans = list(_spans(text))
        if not spans:
            continue
        # Of several authorities one that is good is enough; of our chain the first is ours.
        start, end = max(spans, key=lambda span: span[1]) if option == "ca" else spans[0]
        finding = None
        if end <= now:
            finding = problem("certificate", f"{profile.title}: {what} ended {end:%F}", advice)
        elif start > now:
            finding = problem("certificate", f"{profile.title}: {what} begins {start:%F %R} UTC", "is the clock right?")
        elif end - now < SOON:
            days = (end - now).days
            left = f"{days} day{'' if days == 1 else 's'}"
            finding = warning("certificate", f"{profile.title}: {what} ends {end:%F}, in {left}", advice)
        yield end, finding


def _spans(text: str) -> Iterator[tuple[datetime, datetime]]:
    try:
        for block in _CERTIFICATE.findall(text):
            certificate = x509.load_pem_x509_certificate(block.encode())
            yield certificate.not_valid_before_utc, certificate.not_valid_after_utc
        for block in _CRL.findall(text):
            crl = x509.load_pem_x509_crl(block.encode())
            if crl.next_update_utc:
                yield crl.last_update_utc, crl.next_update_utc
    except ValueError:
        return  # build has its say on that, or the session
