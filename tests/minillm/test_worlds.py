import subprocess
import sys
import types
from pathlib import Path

import pytest

import envs
import minillm
from minillm.errors import UserError
from minillm.worlds import exact, find, load_envs


def test_our_own_package_is_found():
    assert load_envs() is envs


def test_a_foreign_package_is_named_with_its_place(monkeypatch):
    foreign = types.ModuleType("envs")
    foreign.__file__ = "/somewhere/envs/__init__.py"
    monkeypatch.setitem(sys.modules, "envs", foreign)
    with pytest.raises(UserError, match=r"'envs' at /somewhere/envs/__init__.py is not the one of minillm-numpy"):
        load_envs()


def test_an_unknown_environment_is_an_error_of_the_user():
    assert exact("grid/empty-3") is envs.exact("grid/empty-3")
    with pytest.raises(UserError, match="grid/emty-3"):
        exact("grid/emty-3")


def test_a_package_that_is_missing_is_an_error_of_the_user(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    envs.core._build.cache_clear()
    for ask in (exact, find):
        with pytest.raises(UserError, match=r"gymnasium is not installed: pip install 'minillm-numpy\[gym\]'"):
            ask("gymnasium:FrozenLake-v1")


def test_a_folder_that_shadows_is_named(tmp_path):
    """A plain folder ``envs`` with an ``__init__`` in front of ours on the path, in a fresh interpreter."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").touch()
    root = Path(minillm.__file__).parent.parent
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; import minillm.worlds as w; w.load_envs()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "UserError" in last
    assert str(tmp_path / "envs") in last


def test_importing_needs_numpy_and_scipy_alone(tmp_path):
    """Import everything in a fresh interpreter and list what came along from outside of the standard library."""
    root = Path(minillm.__file__).parent.parent
    names = [f"minillm.{path.stem}" for path in sorted((root / "minillm").glob("*.py")) if path.stem != "__main__"]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        f"import importlib; [importlib.import_module(name) for name in {names!r}]; import envs\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'tqdm', 'matplotlib', 'torch', 'jax', 'numba', "
        "'gymnasium', 'transformers', 'pytest', 'hypothesis', 'mpmath', 'autograd', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == ""
