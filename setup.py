"""Builds the extensions of ovpn3._fast; everything else about the package stands in pyproject.toml."""

import shlex
import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup


def pkg_config(library: str, what: str) -> list[str]:
    """Compiler or linker flags of a system library, or a clear error if it isn't there."""
    try:
        out = subprocess.run(["pkg-config", what, library], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(f"{library} not found: install pkg-config and libssl-dev (Debian names)") from e
    return shlex.split(out)


WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]
extensions = [
    Extension(
        f"ovpn3._fast.{source.stem}",
        [str(source)],
        extra_compile_args=["-O3", *WARNINGS, "-DOPENSSL_SUPPRESS_DEPRECATED", *pkg_config("libcrypto", "--cflags")],
        extra_link_args=[*pkg_config("libcrypto", "--libs"), "-lpthread"],
    )
    for source in sorted(Path("ovpn3/_fast").glob("*.pyx"))
]
if not extensions:
    raise SystemExit("ovpn3/_fast has no *.pyx: this source tree is not complete")

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "binding": False,
            "embedsignature": False,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    )
)
