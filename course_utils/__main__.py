"""The course from the command line: `python -m course_utils doctor | download | lab | results`."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
START = "notebooks/00_start_here.ipynb"
IMPORT_NAMES = {"pillow": "PIL"}  # where it is not the package's own name
MARKS = {True: "✓", False: "✗", None: "–"}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Windows console may lack ✓
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not options.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options.run(options, rest)


def make_parser() -> argparse.ArgumentParser:
    """Describe the verbs. Those that pass arguments on take any that they do not know themselves."""
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True)

    def add(name: str, run: Callable, description: str, *, passes_on: bool = False) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=description, description=description, add_help=name != "results")
        verb.set_defaults(run=run, passes_on=passes_on)
        return verb

    add("doctor", doctor, "check this computer, and say what to do about what is missing")
    data = add("download", fetch, "download a data set into COURSE_DATA, or into data/ where that is not set")
    data.add_argument("name", nargs="?", default="mnist", choices=["mnist", "cifar10", "all"], help="default: mnist")
    add("lab", lab, f"open JupyterLab on {START}; further arguments go to JupyterLab", passes_on=True)
    add("results", results, "measure the course's results on the full data; further arguments go on", passes_on=True)
    return parser


def data_folder() -> Path:
    """Return the folder that holds the data sets."""
    return Path(os.environ.get("COURSE_DATA") or ROOT / "data").expanduser()


# ---- download


def fetch(options: argparse.Namespace, rest: list[str]) -> int:
    """Download one data set, or all of them."""
    from course_utils.download import PUBLISHED, DownloadError, download, is_complete

    for name in PUBLISHED if options.name == "all" else [options.name]:
        if is_complete(name, data_folder()):
            print(f"{name} is already in {data_folder()}.")
            continue
        try:
            download(name, data_folder())
        except DownloadError as error:
            print(f"\n{error}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted. What has arrived is kept: the same command goes on from there.", file=sys.stderr)
            return 130
        print(f"{name} is now in {data_folder()}.")
    return 0


# ---- lab


def lab(options: argparse.Namespace, rest: list[str]) -> int:
    """Become JupyterLab, on the first notebook."""
    if importlib.util.find_spec("jupyterlab") is None:
        print(f"JupyterLab is not installed for {sys.executable}. Run `make lab`, which installs it.", file=sys.stderr)
        return 1
    command = lab_command(rest, environment=os.environ, platform=sys.platform, is_root=is_root())
    if "--no-browser" in command:
        print("When JupyterLab has started, open the address that it prints below in your browser.\n", flush=True)
    # what a notebook or a terminal in JupyterLab calls, such as pip or torchrun, is to be that of this environment
    programs = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": programs + os.pathsep + os.environ.get("PATH", "")}
    if os.name == "nt":  # there, exec would return to the prompt while JupyterLab is still running
        return subprocess.call(command, env=environment)
    os.execve(command[0], command, environment)


def is_root() -> bool:
    """Tell whether this is the administrator's account, under which Jupyter starts only when told to."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def lab_command(extra: list[str], *, environment: Mapping[str, str], platform: str, is_root: bool) -> list[str]:
    """Return the command that starts JupyterLab: as root only with leave, and with a browser only where one can open.

    >>> lab_command(["--port", "9999"], environment={"CI": "true"}, platform="linux", is_root=False)[-3:]
    ['--no-browser', '--port', '9999']
    """
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{START}",
    ]
    has_screen = not platform.startswith("linux") or any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if is_root and "--allow-root" not in extra:
        command.append("--allow-root")
    if (environment.get("CI") or not has_screen) and "--no-browser" not in extra:
        command.append("--no-browser")
    return command + extra


# ---- results


def results(options: argparse.Namespace, rest: list[str]) -> int:
    """Hand over to the module that measures; it is loaded only here because it needs torch."""
    from course_utils.results import main as measure

    return measure(rest) or 0


# ---- doctor


class Finding(NamedTuple):
    """One line of the doctor's report: fine (True), broken (False) or worth knowing (None), and what to do."""

    fine: bool | None
    text: str
    advice: str = ""


def doctor(options: argparse.Namespace, rest: list[str]) -> int:
    """Print one line for each thing that the course needs; return 1 when something needed is broken."""
    looks = [find_python, find_packages, find_torch, find_machine, find_jupyter, find_data, find_variables, find_git]
    broken = 0
    for look in looks if sys.version_info >= MINIMUM else [find_python]:
        try:
            findings = list(look())
        except Exception as error:  # a doctor must finish the round, whatever is wrong with the patient
            text = f"{look.__name__} could not look: {type(error).__name__}: {error}"
            findings = [Finding(False, text, "run `make setup`, or activate the environment you made")]
        for finding in findings:
            advice = f"\n    → {finding.advice}" if finding.advice else ""
            print(f"{MARKS[finding.fine]} {finding.text}{advice}", flush=True)
            broken += finding.fine is False
    print(f"\n{broken} ✗ to look after." if broken else "\nEverything that the course needs is here.")
    return 1 if broken else 0


def find_python() -> Iterator[Finding]:
    """Check the Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= MINIMUM
    advice = "" if fine else "install Python 3.12, then run: make lab PYTHON=python3.12"
    yield Finding(fine, f"Python {version} ({sys.executable})", advice)


def find_packages() -> Iterator[Finding]:
    """Import every package that the course uses, and compare its version with the lock."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = locked_versions((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    for requirement in project["dependencies"]:
        name = requirement_name(requirement)
        yield check_package(name, lock.get(name, set()), importlib.import_module)
    missing = [name for name in map(requirement_name, project["optional-dependencies"]["test"]) if not installed(name)]
    if missing:
        yield Finding(None, f"not installed: {', '.join(missing)}", "only needed for `make test`: run `make setup`")


def check_package(name: str, locked: set[str], load: Callable[[str], object]) -> Finding:
    """Check that one package is installed in a locked version and can be imported with `load`."""
    version = installed(name)
    if version is None:
        return Finding(False, f"{name} is not installed", "run `make setup`, or activate the environment you made")
    try:
        load(IMPORT_NAMES.get(name, name.replace("-", "_")))
    except Exception as error:  # a broken binary raises anything from ImportError to RuntimeError
        text = f"{name} {version} cannot be imported: {type(error).__name__}: {error}"
        return Finding(False, text, "run `make clean`, then `make setup`")
    if version.split("+")[0] not in locked:  # 2.14.1+cpu is a build of 2.14.1
        return Finding(None, f"{name} {version} (tested with {', '.join(sorted(locked)) or 'no version'})")
    return Finding(True, f"{name} {version}")


def requirement_name(requirement: str) -> str:
    """Return the name in a requirement such as "torch>=2.10"."""
    return re.match(r"[\w.-]+", requirement).group()


def locked_versions(lock: str) -> dict[str, set[str]]:
    """Return the versions of each name in a lock file; which one counts may depend on the platform.

    >>> locked_versions("numpy==2.4.6 ; python_full_version < '3.12'\\ntorch==2.14.1")
    {'numpy': {'2.4.6'}, 'torch': {'2.14.1'}}
    """
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, flags=re.MULTILINE):
        versions.setdefault(name, set()).add(version)
    return versions


def installed(name: str) -> str | None:
    """Return the installed version of a package, None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_torch() -> Iterator[Finding]:
    """Try a convolution on the device that the course would choose."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
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
    advice = "a notebook takes about 1 GB: close other programs, and the notebooks you do not use" if memory < 2 else ""
    yield Finding(None if advice else True, f"{memory:.1f} GB memory available", advice)
    advice = "the data sets and what the notebooks save need about 1 GB" if disk < 1 else ""
    yield Finding(None if advice else True, f"{disk:.1f} GB disk space free", advice)


def find_jupyter() -> Iterator[Finding]:
    """Check that JupyterLab will show the sliders: it must find the extension that ipywidgets brings."""
    from jupyter_core.paths import jupyter_path

    extension = Path("@jupyter-widgets", "jupyterlab-manager", "package.json")
    found = [folder for folder in jupyter_path("labextensions") if Path(folder, extension).is_file()]
    if found:
        yield Finding(True, "JupyterLab's extension for widgets")
    else:
        advice = "run `make clean`, then `make setup`: without it you see text instead of sliders"
        yield Finding(False, "JupyterLab's extension for widgets is missing", advice)


def find_data() -> Iterator[Finding]:
    """Tell for each data set whether the real files are here."""
    from course_utils.data import STAND_INS
    from course_utils.download import PUBLISHED, is_complete

    folder = data_folder()
    tiny = ROOT / "data" / "tiny"
    for name in PUBLISHED:
        if is_complete(name, folder):
            yield Finding(True, f"{name}: the real data are in {folder}")
        elif name not in STAND_INS:
            yield Finding(None, f"{name}: not downloaded, and it has no stand-in", f"run: make download ARGS={name}")
        elif tiny.is_dir():
            advice = f"for the real data run: make download ARGS={name}"
            yield Finding(None, f"{name}: not downloaded, so the small stand-in is used", advice)
        else:
            yield Finding(
                False, f"{name}: neither the real data in {folder} nor the stand-in in {tiny}", "git checkout data"
            )


def find_variables() -> Iterator[Finding]:
    """Show the environment variables that change what the course does."""
    from course_utils.runtime import PROFILES

    for name, value in sorted(os.environ.items()):
        if not name.startswith("COURSE_"):
            continue
        if name == "COURSE_PROFILE" and value not in PROFILES:
            yield Finding(False, f"{name}={value}", f"expected one of {', '.join(PROFILES)}, or unset it")
        elif name == "COURSE_DATA" and not data_folder().is_dir():
            yield Finding(
                False, f"{name}={value} is no folder", "name the folder that holds the data sets, or unset it"
            )
        else:
            yield Finding(None, f"{name}={value}")


def find_git() -> Iterator[Finding]:
    """Tell whether git strips the outputs of notebooks; only those who commit need that."""
    try:
        asked = subprocess.run(
            ["git", "config", "--get", "filter.nbstripout.clean"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return  # no git: nothing will be committed from here
    if asked.returncode == 0:
        yield Finding(True, "git strips the outputs of notebooks")
    else:
        yield Finding(None, "git does not strip the outputs of notebooks", "before you commit, run once: make filter")


if __name__ == "__main__":
    sys.exit(main())
