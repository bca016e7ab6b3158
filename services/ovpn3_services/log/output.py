"""Every line's way to the writer, the log service's own included."""

import argparse
from contextlib import suppress
from pathlib import Path

from ovpn3.constants import LOG_NAME, LOG_PATH, LogCategory, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3_services.common.log import Log, clean
from ovpn3_services.log.event import Event
from ovpn3_services.log.writers import FileWriter, JournalWriter, StreamWriter, SyslogWriter, Writer


def make_writer(options: argparse.Namespace) -> Writer:
    """The writer that the settings ask for; OSError if its file can't be opened."""
    if options.syslog:
        return SyslogWriter(options, options.syslog_facility)
    if options.journald:
        return JournalWriter(options)
    if options.log_file and options.log_file != "stdout:":
        return FileWriter(options, Path(options.log_file))
    return StreamWriter(options)


class Output(Log):
    """Others send their Log signals here; this one writes. The level holds for all, after their own."""

    def __init__(self, bus: Bus, options: argparse.Namespace) -> None:
        super().__init__(bus, LogGroup.LOGGER, LOG_PATH, LOG_NAME, options.log_level)
        self._fallback = StreamWriter(options)
        self._complained = False
        try:
            self.writer: Writer = make_writer(options)
        except OSError as e:
            self.writer = self._fallback
            self.error(f"can't open {options.log_file}: {e.strerror}; logging to standard output")

    def close(self) -> None:
        self.writer.close()

    def event(self, category: LogCategory, text: str, *, path: str = "") -> None:
        self.write(Event(self.group, category, clean(text)))

    def write(self, event: Event) -> None:
        """A line that can't be written goes to standard output, with one complaint until it works again."""
        if event.category.level > self.level:
            return
        try:
            self.writer.write(event)
            self._complained = False
        except OSError as e:
            complaint = Event(self.group, LogCategory.ERROR, f"{self.writer.method}: {e.strerror or e}")
            with suppress(OSError):  # nowhere left to tell
                if not self._complained:
                    self._fallback.write(complaint)
                self._fallback.write(event)
            self._complained = True

    def reopen(self) -> None:
        try:
            self.writer.reopen()
        except OSError as e:
            self.error(f"the log file can't be opened anew: {e.strerror}")
