import subprocess
import sys
from pathlib import Path

import pytest

from ovpn3.deferred import defer


def run(code: str, folder: Path) -> str:
    folder.joinpath("plain.py").write_text("print('plain is run')\nvalue = 1\n")
    folder.joinpath("package").mkdir()
    folder.joinpath("package/__init__.py").write_text("print('package is run')\nfrom package import part\nvalue = 2\n")
    folder.joinpath("package/part.py").write_text("value = 3\n")
    code = f"import sys; sys.path.append({str(folder)!r})\nfrom ovpn3.deferred import defer\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_module_is_run_when_something_in_it_is_wanted(tmp_path: Path) -> None:
    code = "defer('plain')\nimport plain\nprint(plain.__name__)\nprint(plain.value)\nprint(plain.value)"
    assert run(code, tmp_path).split("\n") == ["plain", "plain is run", "1", "1", ""]


def test_a_name_may_be_imported_from_it(tmp_path: Path) -> None:
    assert run("defer('plain')\nfrom plain import value\nprint(value)", tmp_path) == "plain is run\n1\n"


@pytest.mark.parametrize("how", ["from package.part import value as v", "from package import part\nv = part.value"])
def test_parts_of_a_package_without_the_rest(tmp_path: Path, how: str) -> None:
    assert run(f"defer('package')\n{how}\nprint(v)", tmp_path) == "3\n"


def test_the_rest_of_a_package_after_a_part(tmp_path: Path) -> None:
    code = "defer('package')\nimport package.part\nprint(package.value)"
    assert run(code, tmp_path) == "package is run\n2\n"


def test_what_is_loaded_stays(tmp_path: Path) -> None:
    assert run("import plain\ndefer('plain')\nprint(plain.value)", tmp_path) == "plain is run\n1\n"


def test_what_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        defer("no_such_module")
