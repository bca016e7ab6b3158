"""openvpn3-admin: what root does to install and set up the services."""

from ovpn3.cli.program import Program

ADMIN = Program(
    "openvpn3-admin",
    {
        "version": "Show the version",
        "install": "Install the services of this environment into the system",
        "uninstall": "Undo install",
        "stop": "End every tunnel and service, as before a removal",
        "log-service": "Show and change how the log service logs",
        "netcfg-service": "Show and change the network service's settings",
        "sessionmgr-service": "List the sessions of all users",
        "variables": "Show what is told to servers about this machine",
        "journal": "Show what the services wrote to the systemd journal",
        "doctor": "Check what on this machine stands in the way of tunnels",
        "hooks": "Run root's programs when tunnels come up and go down",
        "metrics": "Show what Prometheus collects, or serve it",
        "init-config": "Make the state directory and the services' settings",
        "shell-completion": "Answer questions of the shell's completion",
    },
)


def main() -> int:
    return ADMIN.main()
