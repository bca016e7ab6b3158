"""Files of the distribution's packages, which are not installed for that."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def fetched(packages: Sequence[str], folder: Path) -> Path:
    """The tree of those, as `unpacked`; the test is skipped where the distribution hasn't got them."""
    folder.chmod(0o755)
    done = subprocess.run(["apt-get", "download", *packages], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs packages of the distribution: {done.stderr.strip().splitlines()[-1]}")
    return unpacked(folder)


def unpacked(folder: Path) -> Path:
    """The tree of all packages in a folder, all of it below `usr`: older ones have a part beside."""
    root = folder / "root"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
        package.unlink()
    for beside in ("bin", "lib", "lib64", "sbin"):
        if (root / beside).is_dir():
            subprocess.run(["cp", "-a", root / beside, root / "usr"], check=True)
    return root
