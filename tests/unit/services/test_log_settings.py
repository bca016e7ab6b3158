"""log-service.json over the command line, and what is written back."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovpn3.settingsfile import read
from ovpn3_services.log.settings import FILE_NAME, MAX_IDLE_MINUTES, apply_file, parse, save


def test_defaults() -> None:
    options = parse([])
    assert (options.log_level, options.idle_exit, options.syslog_facility) == (3, 10, "LOG_DAEMON")
    assert not any((options.syslog, options.journald, options.log_file, options.timestamp, options.complaints))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--syslog", "--journald"],
        ["--journald", "--log-file", "x"],
        ["--colour", "--syslog"],
        ["--syslog-facility", "LOG_NONE"],
        ["--log-level", "7"],
    ],
)
def test_wrong_command_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        parse(arguments)
    assert e.value.code == 2
    assert capsys.readouterr().err


def with_file(folder: Path, text: str, *arguments: str) -> list[str]:
    (folder / FILE_NAME).write_text(text, encoding="utf-8", errors="surrogatepass")
    return ["--state-dir", str(folder), *arguments]


def test_the_file_wins(tmp_path: Path) -> None:
    text = """// by hand
    {
        // log to the journal
        "journald": true,
        "log_level": "5", "idle_exit": 0, "timestamp": "yes", "no_logtag_prefix": false, "unknown": [1]
    }
    """
    options = parse(with_file(tmp_path, text, "--log-file", "/tmp/x", "--log-level", "1", "--no-logtag-prefix"))
    assert (options.journald, options.syslog, options.log_file) == (True, False, "")
    assert (options.log_level, options.idle_exit, options.timestamp, options.no_logtag_prefix) == (5, 0, True, False)
    assert options.complaints == []


@pytest.mark.parametrize("setting", ['"journald": false', '"log_file": ""', '"log_level": 4'])
def test_no_method_in_the_file_leaves_the_command_line_s(tmp_path: Path, setting: str) -> None:
    assert parse(with_file(tmp_path, f"{{{setting}}}", "--syslog")).syslog is True


@pytest.mark.parametrize(
    "wrong",
    ['"log_level": 9', '"idle_exit": "soon"', '"idle_exit": true', '"log_file": 3', '"syslog_facility": ["LOG_FTP"]'],
)
def test_a_wrong_value_alone_is_left_out(tmp_path: Path, wrong: str) -> None:
    options = parse(with_file(tmp_path, f'{{{wrong}, "timestamp": true}}'))
    (complaint,) = options.complaints
    assert wrong.split('"')[1] in complaint
    assert options.timestamp is True
    assert (options.log_level, options.idle_exit, options.log_file, options.syslog_facility) == (
        3,
        10,
        "",
        "LOG_DAEMON",
    )


@pytest.mark.parametrize(("given", "minutes"), [("-5", 0), ("9" * 400, MAX_IDLE_MINUTES)])
def test_minutes_are_bounded(tmp_path: Path, given: str, minutes: int) -> None:
    assert parse(with_file(tmp_path, f'{{"idle_exit": "{given}"}}')).idle_exit == minutes


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    options = parse(["--state-dir", str(tmp_path), "--log-file", "/x/y", "--colour", "--timestamp", "--log-level", "0"])
    save(options)
    text = (tmp_path / FILE_NAME).read_text()
    comments = re.findall(r"^\t//.*\n\t\"(\w+)\": ", text, re.MULTILINE)
    document = json.loads(re.sub("(?m)^\t//.*", "", text))
    assert comments == list(document), "as the original writes it: a comment before each field"
    assert document == {
        "syslog_facility": "LOG_DAEMON",
        "log_file": "/x/y",
        "log_file_colour": True,
        "log_level": "0",
        "timestamp": True,
        "idle_exit": "10",
    }
    again = parse(["--state-dir", str(tmp_path)])
    assert vars(again) | {"switched_on": options.switched_on} == vars(options)


def test_fields_of_others_are_kept(tmp_path: Path) -> None:
    arguments = with_file(tmp_path, '{\n// of a later release\n"later": [1, "x"], "log_level": 4}')
    save(parse(arguments))
    assert read(tmp_path / FILE_NAME) == {
        "syslog_facility": "LOG_DAEMON",
        "log_level": "4",
        "idle_exit": "10",
        "later": [1, "x"],
    }


def test_what_is_switched_off_stays_off_whatever_the_command_line_says(tmp_path: Path) -> None:
    arguments = ["--state-dir", str(tmp_path), "--timestamp", "--syslog"]
    options = parse(arguments)
    options.timestamp = False
    save(options)
    assert parse(arguments).timestamp is False
    assert "journald" not in (tmp_path / FILE_NAME).read_text()


@given(
    st.text()
    | st.dictionaries(
        st.sampled_from(["journald", "syslog", "log_file", "log_level", "idle_exit", "syslog_facility", "timestamp"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ).map(json.dumps)
)
@example("[" * 100_000)
@example('{"idle_exit": 1e999}')
@example("\ud800")
def test_any_file_does_no_harm(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    options = parse(["--state-dir", str(tmp_path_factory.mktemp("state"))])
    with_file(options.state_dir, text)
    apply_file(options)
    assert 0 <= options.log_level <= 6
    assert 0 <= options.idle_exit <= MAX_IDLE_MINUTES
    save(options)
    assert apply_file(options) == []
