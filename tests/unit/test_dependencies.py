"""pyproject.toml, its lock requirements.txt and its conda twin environment.yml say the same."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # those that differ
ONLY_FOR_CONDA = {"python", "pip"}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
LOCK_LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
LOCK = [Requirement(line) for line in LOCK_LINES if line.strip() and not line.startswith("#")]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def conda_requirements():
    """Return name → range as text, from the conda list and the pip list inside it; `-e .` is left out."""
    lines = [line for line in CONDA["dependencies"] if isinstance(line, str)]
    lines += [line for part in CONDA["dependencies"] if isinstance(part, dict) for line in part["pip"]]
    pairs = (re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups() for line in lines if line != "-e .")
    return dict(pairs)


# ---- conda


def test_environment_has_the_names_and_ranges_of_pyproject():
    expected = {CONDA_NAMES.get(one.name, one.name): str(one.specifier) for one in DIRECT}
    found = {name: text for name, text in conda_requirements().items() if name not in ONLY_FOR_CONDA}
    assert found == expected


def test_environment_python_lies_in_the_range_of_pyproject():
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    exact = re.fullmatch(r"=(3\.\d+)", conda_requirements()["python"])
    assert exact, "Binder recognizes only an exact version such as python=3.12"
    assert Version(exact.group(1)) in allowed


def test_environment_uses_conda_forge_alone_and_installs_the_course():
    assert CONDA["name"] == "convnet-course"
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]
    assert "-e ." in CONDA["dependencies"][-1]["pip"]
    assert "pip" in CONDA["dependencies"]


# ---- lock


@pytest.mark.parametrize("direct", DIRECT, ids=lambda one: one.name)
def test_every_direct_dependency_is_locked_within_its_range(direct):
    versions = locked(direct.name)
    assert versions, f"{direct.name} is not in requirements.txt: run `make lock`"
    for version in versions:
        assert version in direct.specifier, f"{direct.name} is locked at {version}, outside {direct.specifier}"


def locked(name):
    same = [one for one in LOCK if canonicalize_name(one.name) == canonicalize_name(name)]
    return [Version(next(iter(one.specifier)).version) for one in same]


def test_lock_holds_names_and_versions_and_nothing_else():
    for line in LOCK_LINES:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^#]+)?", line), f"unexpected in requirements.txt: {line}"
        for word in ("://", "file:", "--", "@"):
            assert word not in line, f"{word} in requirements.txt: {line}"


@pytest.mark.parametrize("python", ["3.11.9", "3.12.9", "3.13.5"])
@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_lock_gives_each_platform_one_version_of_each_package(python, platform):
    environment = {
        **default_environment(),
        "python_full_version": python,
        "python_version": python.rsplit(".", 1)[0],
        "sys_platform": platform,
        "os_name": "nt" if platform == "win32" else "posix",
    }
    names = [one.name for one in LOCK if one.marker is None or one.marker.evaluate(environment)]
    assert len(names) == len(set(names))
    assert {canonicalize_name(one.name) for one in DIRECT} <= {canonicalize_name(name) for name in names}


def test_build_tool_is_locked_too():
    """`pip install --no-build-isolation -e .` builds with what the lock has installed."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    for requirement in map(Requirement, build):
        versions = locked(requirement.name)
        assert versions
        assert all(version in requirement.specifier for version in versions)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_are_valid_yaml_and_have_jobs(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["jobs"]
    for job in workflow["jobs"].values():
        assert all("uses" in step or "run" in step for step in job["steps"])
