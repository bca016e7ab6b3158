"""Every line's way to the writer, the log service's own included."""

from pathlib import Path

from ovpn3.constants import LOG_NAME, LOG_PATH, LogCategory, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.log import Log, clean
from ovpn3_services.log.event import Event
from ovpn3_services.log.outlet import Outlet
from ovpn3_services.log.writers import FileWriter, JournalWriter, StreamWriter, SyslogWriter, Writer


def make_writer(options: Options) -> Writer | None:
    """The writer that the settings ask for, None for standard output; OSError if its file can't be opened."""
    if options.syslog:
        return SyslogWriter(options, options.syslog_facility)
    if options.journald:
        return JournalWriter(options)
    if options.log_file and options.log_file != "stdout:":
        return FileWriter(options, Path(options.log_file))
    return None


class Output(Log):
    """Others send their Log signals here; this one writes. The level holds for all, after their own."""

    def __init__(self, bus: Bus, options: Options) -> None:
        super().__init__(bus, LogGroup.LOGGER, LOG_PATH, LOG_NAME, options.log_level)
        self._options = options
        self._stdout = self._outlet = Outlet(StreamWriter(options), self._failed)
        self._complained_at = -1  # lines written when it was last said that they can't be
        self.reopen()

    @property
    def writer(self) -> Writer:
        return self._outlet.writer

    @property
    def _outlets(self) -> set[Outlet]:
        return {self._outlet, self._stdout}

    def close(self) -> None:
        for outlet in self._outlets:
            outlet.close()

    def event(self, category: LogCategory, text: str, *, path: str = "") -> None:
        self.write(Event(self.group, category, clean(text)))

    def write(self, event: Event) -> None:
        if event.category.level <= self.level:
            self._outlet.put(event)

    def _failed(self, event: Event, error: OSError) -> None:
        """A line that can't be written goes to standard output, with one complaint until it works again."""
        if self._outlet is self._stdout:
            return  # nowhere left to tell
        if self._complained_at != self._outlet.written:
            self._complained_at = self._outlet.written
            complaint = f"{self.writer.method}: {error.strerror or error}; logging to standard output"
            self._stdout.put(Event(self.group, LogCategory.ERROR, complaint))
        self._stdout.put(event)

    def reopen(self) -> None:
        """Begin a new file where the old one was: for log rotation, and when a file can be opened at last."""
        try:
            writer = make_writer(self._options)
        except OSError as e:
            instead = "standard output" if self._outlet is self._stdout else "the old file"
            self.error(f"can't open {self._options.log_file}: {e.strerror}; logging to {instead}")
            return
        if writer is None:
            return
        if self._outlet is self._stdout:
            self._outlet = Outlet(writer, self._failed)
        else:
            self._outlet.replace(writer)
