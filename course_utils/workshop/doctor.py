"""Look at this computer, and say of each thing that the course needs whether it is here and what to do."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from course_utils.workshop.set_up import MINIMUM, ROOT

IMPORT_NAMES = {"pillow": "PIL"}  # where it is not the package's own name
MARKS = {True: "✓", False: "✗", None: "–"}
INSTALL = "run `make setup`, or activate the environment you made"


class Finding(NamedTuple):
    """One line of the report: fine (True), broken (False) or worth knowing (None), and what to do if not fine."""

    fine: bool | None
    text: str
    advice: str = ""


def main(arguments: list[str]) -> int:
    """Print one line for each thing that the course needs; return 1 when something needed is broken."""
    argparse.ArgumentParser(prog="python -m course_utils doctor", description=__doc__).parse_args(arguments)
    looks = [find_python, find_packages, find_torch, find_machine, find_jupyter, find_data, find_variables, find_git]
    broken = 0
    for look in looks if sys.version_info >= MINIMUM else [find_python]:
        try:
            findings = list(look())
        except Exception as error:  # a doctor must finish the round, whatever is wrong with the patient
            findings = [Finding(False, f"{look.__name__} could not look: {type(error).__name__}: {error}", INSTALL)]
        for fine, text, advice in findings:
            print(f"{MARKS[fine]} {text}" + (f"\n    → {advice}" if advice and not fine else ""), flush=True)
            broken += fine is False
    print(f"\n{broken} ✗ to look after." if broken else "\nEverything that the course needs is here.")
    return 1 if broken else 0


def find_python() -> Iterator[Finding]:
    """Check the Python that runs this."""
    text = f"Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    yield Finding(sys.version_info >= MINIMUM, text, "install Python 3.12, then run: make lab PYTHON=python3.12")


def find_packages() -> Iterator[Finding]:
    """Import every package that the course uses, and compare its version with the lock."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for name in names(project["dependencies"]):
        locked = re.findall(rf"^{name}==([^\s;]+)", lock, flags=re.MULTILINE)  # the platform may decide which counts
        yield check_package(name, locked, importlib.import_module)
    missing = [name for name in names(project["optional-dependencies"]["test"]) if not installed(name)]
    if missing:
        yield Finding(None, f"not installed: {', '.join(missing)}", "only needed for `make test`: run `make setup`")


def names(requirements: list[str]) -> list[str]:
    """Return the names in requirements such as "torch>=2.10"."""
    return [re.match(r"[\w.-]+", requirement).group() for requirement in requirements]


def installed(name: str) -> str | None:
    """Return the installed version of a package, None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_package(name: str, locked: list[str], load: Callable[[str], object]) -> Finding:
    """Check that one package is installed in a locked version and can be imported with `load`."""
    version = installed(name)
    if version is None:
        return Finding(False, f"{name} is not installed", INSTALL)
    try:
        load(IMPORT_NAMES.get(name, name.replace("-", "_")))
    except Exception as error:  # a broken binary raises anything from ImportError to RuntimeError
        text = f"{name} {version} cannot be imported: {type(error).__name__}: {error}"
        return Finding(False, text, "run `make clean`, then `make setup`")
    if version.split("+")[0] not in locked:  # 2.14.1+cpu is a build of 2.14.1
        return Finding(None, f"{name} {version} (tested with {', '.join(locked) or 'no version'})")
    return Finding(True, f"{name} {version}")


def find_torch() -> Iterator[Finding]:
    """Try a convolution on the device that the course would choose."""
    import torch

    from course_utils.runtime import pick_device

    device = pick_device().type
    name = f" ({torch.cuda.get_device_name()})" if device == "cuda" else ""
    try:
        images = torch.ones(1, 1, 3, 3, device=device)
        total = torch.nn.functional.conv2d(images, images).item()
    except RuntimeError as error:
        advice = "update the graphics driver, or go on without the device: CUDA_VISIBLE_DEVICES= make lab"
        yield Finding(False, f"torch cannot compute on {device}{name}: {error}", advice)
        return
    text = f"torch computes on {device}{name}, with {torch.get_num_threads()} threads on {os.cpu_count()} CPU cores"
    yield Finding(total == 9, text)


def find_machine() -> Iterator[Finding]:
    """Look at memory and disk; the course runs with little of both, only larger steps may not."""
    import psutil

    memory, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(ROOT).free / 1e9
    advice = "a notebook takes about 1 GB: close other programs, and the notebooks you do not use"
    yield Finding(memory >= 2 or None, f"{memory:.1f} GB memory available", advice)
    advice = "the data sets and what the notebooks save need about 1 GB"
    yield Finding(disk >= 1 or None, f"{disk:.1f} GB disk space free", advice)


def find_jupyter() -> Iterator[Finding]:
    """Check that JupyterLab will show the sliders: it must find the extension that ipywidgets brings."""
    from jupyter_core.paths import jupyter_path

    extension = Path("@jupyter-widgets", "jupyterlab-manager", "package.json")
    found = any(Path(folder, extension).is_file() for folder in jupyter_path("labextensions"))
    text = "JupyterLab's extension for widgets" + ("" if found else " is missing")
    yield Finding(found, text, "run `make clean`, then `make setup`: without it you see text instead of sliders")


def find_data() -> Iterator[Finding]:
    """Tell for each data set whether the real files are here, and if not, whether the stand-in is."""
    from course_utils.download import PUBLISHED, altered_files, data_folder, missing_files

    folder, tiny = data_folder(), ROOT / "data" / "tiny"
    for name in PUBLISHED:
        if not missing_files(name, folder):
            yield Finding(True, f"{name}: the real data are in {folder}")
            for path in altered_files(name, folder):
                yield Finding(None, f"{path} is not as published", "delete it, then: make download ARGS=" + name)
        elif tiny.is_dir():
            text = f"{name}: not downloaded, so the small stand-in is used"
            yield Finding(None, text, f"for the real data run: make download ARGS={name}")
        else:
            text = f"{name}: neither the real data in {folder} nor the stand-in in {tiny}"
            yield Finding(False, text, "git checkout data")


def find_variables() -> Iterator[Finding]:
    """Show the environment variables that change what the course does."""
    from course_utils.download import data_folder
    from course_utils.runtime import PROFILES

    for name, value in sorted(os.environ.items()):
        if name == "COURSE_PROFILE" and value not in PROFILES:
            yield Finding(False, f"{name}={value}", f"expected one of {', '.join(PROFILES)}, or unset it")
        elif name == "COURSE_DATA" and not data_folder().is_dir():
            advice = "name the folder that holds the data sets, or unset it"
            yield Finding(False, f"{name}={value} is no folder", advice)
        elif name.startswith("COURSE_"):
            yield Finding(None, f"{name}={value}")


def find_git() -> Iterator[Finding]:
    """Tell whether git strips the outputs of notebooks; only those who commit need that."""
    command = ["git", "config", "--get", "filter.nbstripout.clean"]
    try:
        strips = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    except OSError:
        return  # no git: nothing will be committed from here
    text = f"git {'strips' if strips else 'does not strip'} the outputs of notebooks"
    yield Finding(strips or None, text, "before you commit, run once: make filter")
