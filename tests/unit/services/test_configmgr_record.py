"""A profile's form on the disk: what is written is read again, and nothing hostile gets further than ProfileError."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.constants import CONFIG_PATH, OVERRIDES
from ovpn3.dbus.access import AccessList
from ovpn3.errors import ProfileError
from ovpn3.profile import parse
from ovpn3_services.configmgr.record import Record, defects

CA = "<ca>\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n</ca>\n"
GOOD = f"client\ndev tun\nremote 192.0.2.1\nauth-user-pass\n{CA}"
PATH = f"{CONFIG_PATH}/0a1b2c3dx4e5fx4a6bx8c7dx9e0f1a2b3c4d"

uids = st.integers(0, 2**32 - 1)
names = st.text(st.characters(categories=("L", "N", "P")), min_size=1)
choices: dict[str, st.SearchStrategy[str | bool]] = {
    n: names if t == "s" else st.booleans() for n, t in OVERRIDES.items()
}
overrides: st.SearchStrategy[dict[str, str | bool]] = st.fixed_dictionaries({}, optional=choices)


@st.composite
def records(draw: st.DrawFn) -> Record:
    record = Record(
        PATH,
        draw(names),
        parse(GOOD),
        AccessList(draw(uids), draw(st.lists(uids)), draw(st.booleans())),
        draw(st.integers(0, 2**40)),
        persistent=True,
        tags=draw(st.lists(names)),
        overrides=draw(overrides),
        used_count=draw(uids),
    )
    for name in ("single_use", "locked_down", "transfer_owner_session", "readonly", "dco"):
        setattr(record, name, draw(st.booleans()))
    return record


@given(records())
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert vars(again.access) == vars(record.access)
    for field in fields(Record):
        if field.name not in ("access", "directives"):
            assert getattr(again, field.name) == getattr(record, field.name), field.name
    assert set(again.directives) == set(record.directives)
    assert again.reasons == record.reasons == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(Record(PATH, "x", parse(GOOD), AccessList(0), 0).to_json())), value=values)
def test_any_value_is_read_or_refused(key: str, value: object) -> None:
    document = Record(PATH, "x", parse(GOOD), AccessList(0), 0, tags=["t"]).to_json()
    try:
        record = Record.from_json({**document, key: value})
    except ProfileError:
        return
    assert json.dumps(record.to_json())
    assert all(text.isprintable() for text in (record.name, *record.tags))
    assert 0 <= record.access.owner < 2**32


@given(values)
def test_any_document_is_refused(document: object) -> None:
    with pytest.raises(ProfileError):
        Record.from_json(document)


def test_secrets_are_not_in_the_repr() -> None:
    record = Record(PATH, "x", parse(GOOD), AccessList(0), 0, overrides={"proxy-password": "hunter2"})
    assert "hunter2" not in repr(record)
    assert "AAAA" not in repr(record)


def test_a_bad_line_is_refused_and_a_missing_one_is_a_reason() -> None:
    assert defects(parse(GOOD)) == []
    assert "'ca' is missing" in defects(parse(GOOD.replace(CA, "")))[0]
    with pytest.raises(ProfileError, match="line 3"):
        defects(parse(GOOD.replace("192.0.2.1", "192.0.2.1 0")))
    stored = Record.from_json(
        {"object_path": PATH, "name": "x", "profile": {"client": None, "remote": [["192.0.2.1", "0"]]}}
    )
    assert stored.reasons, "an old profile with a bad line is kept, and says why it can't be used"
