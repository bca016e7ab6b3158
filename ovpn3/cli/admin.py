"""openvpn3-admin: what root does to install and set up the services."""

from ovpn3.cli.program import Program

ADMIN = Program(
    "openvpn3-admin",
    {
        "version": "Show the version",
        "install": "Install the services of this environment into the system",
        "uninstall": "Undo install",
        "init-config": "Make the state directory and the services' settings",
        "shell-completion": "Answer questions of the shell's completion",
    },
)


def main() -> int:
    return ADMIN.main()
