"""openvpn3: what any user does with profiles and sessions."""

from ovpn3.cli.program import Program

OPENVPN3 = Program(
    "openvpn3",
    {
        "version": "Show the version",
        "config-import": "Import a profile",
        "config-manage": "Show and change name, tags and overrides of a profile",
        "config-acl": "Show and change who may use a profile",
        "config-dump": "Show the contents of a profile",
        "config-remove": "Remove a profile",
        "configs-list": "List profiles",
        "session-start": "Start a session",
        "session-manage": "Pause, resume, restart or end a session",
        "session-auth": "Continue sessions that wait for authentication",
        "session-acl": "Show and change who may use a session",
        "session-stats": "Show the counters of a session",
        "sessions-list": "List sessions",
        "log": "Follow the log of a session",
        "top": "Watch sessions with their rates, and manage them",
        "events": "Follow what happens to all sessions, and why",
        "run": "Run a profile in the foreground, without installed services (root)",
        "shell-completion": "Answer questions of the shell's completion",
    },
)


def main() -> int:
    return OPENVPN3.main()
