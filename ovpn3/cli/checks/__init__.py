"""What `doctor` looks at: the kernel, the machine's network, our services, profiles and sessions."""

from ovpn3.cli.checks.finding import Finding, Level

__all__ = ["Finding", "Level"]
