"""Create .venv, install the locked packages into it, and do nothing where that is already done.

`make lab` and `make test` begin with `python3 -m course_utils.workshop.set_up`. It runs before anything is installed,
so it uses only the standard library, and it keeps to the syntax of Python 3.6: an old Python gets far enough to say so.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINIMUM = (3, 11)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STAMP = "course-setup.json"  # lies in .venv
ASIDE = ".venv.replaced"  # where the old .venv waits until its successor is ready


class SetupError(RuntimeError):
    """The environment could not be set up; the message says why and what to do."""


def set_up(root, torch=None, *, run=None, say=print):
    """Make `root`/.venv hold the locked packages; an old .venv goes when its successor is ready. Raises SetupError.

    `torch` is "default" (the lock as it is), "cpu" (PyTorch's small builds without CUDA) or None (what .venv has).
    `run(command, on_line=None)` starts a program and returns its exit code and its output.
    """
    run = run or run_program
    venv = root / ".venv"
    stamp = read_stamp(venv)
    torch = torch or stamp.get("torch", "default")
    version = python_in(venv, run)
    if not version or stamp != ready_stamp(root, torch, version):
        try:
            if not (version and can_be_kept(venv, stamp, ready_stamp(root, torch, version), run)):
                version = create(venv, torch, run=run, say=say)
            install(root, torch, version, run=run, say=say)
        except BaseException:
            put_back(venv)
            raise
    remove(venv.with_name(ASIDE))
    say(f"The environment .venv (Python {version}, torch: {torch}) is ready. `make help` lists what you can do.")


# ---- is it ready?


def ready_stamp(root, torch, version):
    """Return what decides what .venv must hold; where it lies belongs to it, for a .venv cannot be moved."""
    lists = (root / "requirements.txt").read_bytes() + (root / "pyproject.toml").read_bytes()
    packages = hashlib.sha256(lists).hexdigest()
    return {"root": str(root), "torch": torch, "python": version, "packages": packages}


def read_stamp(venv):
    """Return what the stamp in .venv says; {} where there is none, or none that can be read."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def program_in(venv):
    """Return the path of the Python inside a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_in(venv, run):
    """Return the version ("3.12") of the Python inside .venv, None when it does not run or is too old."""
    program = f"import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < {MINIMUM})"
    code, output = run([str(program_in(venv)), "-c", program])
    return output.strip() if code == 0 else None


def can_be_kept(venv, stamp, ready, run):
    """Tell whether packages can be installed into the .venv that is there, or whether it must be made anew."""
    if any(stamp.get(key, ready[key]) != ready[key] for key in ("root", "torch", "python")):
        return False  # moved, other build of torch, or its Python was replaced by another
    if ready["torch"] == "cpu" and not stamp:
        return False  # may hold the CUDA build, which has the same version number
    return run([str(program_in(venv)), "-m", "pip", "--version"])[0] == 0  # creating it was not interrupted


# ---- make it so


def create(venv, torch, *, run, say):
    """Create .venv anew with the Python that runs this; return that Python's version. Raises SetupError."""
    if sys.version_info < MINIMUM:
        raise SetupError(version_message(run))
    require_space(venv, torch)
    put_aside(venv)
    version = "{}.{}".format(*sys.version_info[:2])
    say(f"Creating the environment .venv with Python {version} ...")
    # inside an active .venv, sys.executable is the very file that was just moved: ask for the Python behind it
    python = getattr(sys, "_base_executable", None) or sys.executable
    take_step([python, "-m", "venv", str(venv)], version, run=run)
    return version


def put_aside(venv):
    """Move the old .venv aside. Where one waits there already, .venv is only its half-made successor, and goes."""
    if os.path.lexists(str(venv.with_name(ASIDE))):
        remove(venv)
    elif os.path.lexists(str(venv)):
        venv.rename(venv.with_name(ASIDE))


def put_back(venv):
    """Undo `put_aside`."""
    if os.path.lexists(str(venv.with_name(ASIDE))):
        remove(venv)
        venv.with_name(ASIDE).rename(venv)


def remove(path):
    """Delete a folder, a file or a link, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif os.path.lexists(str(path)):
        path.unlink()


def install(root, torch, version, *, run, say):
    """Install everything into .venv; until that is done, its stamp names no packages. Raises SetupError."""
    stamp, ready = root / ".venv" / STAMP, ready_stamp(root, torch, version)
    stamp.write_text(json.dumps(dict(ready, packages=None)), encoding="utf-8")
    for sentence, command in install_commands(root, torch):
        say(sentence)
        take_step(command, version, run=run, on_line=lambda line: show_large_download(line, say))
    stamp.write_text(json.dumps(ready), encoding="utf-8")


def install_commands(root, torch):
    """Return the installation as (sentence, pip command) pairs; they run one after the other."""
    venv, lock = root / ".venv", root / "requirements.txt"
    pip = [str(program_in(venv)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    pip += ["--progress-bar", "off", "--no-user"]
    commands = []
    if torch == "cpu":
        text = lock.read_text(encoding="utf-8")
        lock = venv / "requirements-cpu.txt"
        lock.write_text(without_cuda(text), encoding="utf-8")
        pair = re.findall(r"^(?:torch|torchvision)==\S+", text, flags=re.MULTILINE)
        commands.append(("Installing PyTorch without CUDA ...", [*pip, "--no-deps", "--index-url", CPU_INDEX, *pair]))
    size = "several gigabytes" if space_needed(torch, sys.platform) > 5 else "a few hundred megabytes"
    sentence = (
        f"Installing the packages of requirements.txt: {size} to download the first time. This takes between two "
        "minutes and half an hour; you may interrupt it and start it again ..."
    )
    commands.append((sentence, [*pip, "-r", str(lock)]))
    commands.append(("Installing course_utils ...", [*pip, "--no-build-isolation", "--no-deps", "-e", str(root)]))
    return commands


def without_cuda(lock):
    """Return the lock without the packages that only the CUDA build of torch needs."""
    lines = lock.splitlines(True)
    return "".join(line for line in lines if not re.match(r"(nvidia-|cuda-|triton\b)", line))


def take_step(command, version, *, run, on_line=None):
    """Run one program of the set-up. Raises SetupError with the reason and the last lines when it fails."""
    code, output = run(command, on_line=on_line)
    if code:
        raise SetupError(f"{explain(output, version)}\n\nThe last lines of its output:\n{last_lines(output)}")


# ---- say what is wrong


def version_message(run):
    """Say that this Python is too old, and how to use a newer one, if one is on this machine and really starts."""
    needed, found = (".".join(map(str, numbers)) for numbers in (MINIMUM, sys.version_info[:3]))
    text = f"This course needs Python {needed} or newer, but {sys.executable} is Python {found}.\n"
    for name in ("python3.12", "python3.13", "python3.11"):
        if shutil.which(name) and run([name, "-c", ""])[0] == 0:
            return text + f"A newer one is on this machine. Run: make lab PYTHON={name}"
    return text + (
        "Install Python 3.12 from https://www.python.org/downloads/ and run: make lab PYTHON=python3.12\n"
        "(README.md describes the way with conda, which brings its own Python.)"
    )


def space_needed(torch, platform):
    """Return the disk space in GB that a new .venv needs, downloads included."""
    return 9 if platform.startswith("linux") and torch == "default" else 2


def require_space(venv, torch):
    """Raise SetupError where too little disk space is free for a new .venv beside the old one."""
    free, needed = shutil.disk_usage(str(venv.parent)).free / 1e9, space_needed(torch, sys.platform)
    if free < needed:
        text = (
            f"The environment needs about {needed} GB, but {venv.parent} has only {free:.1f} GB free. Make room there"
        )
        text += ", delete the old environment first (make clean)" if venv.exists() else ""
        text += ", or take PyTorch without CUDA, which needs about 2 GB: make lab TORCH=cpu" if needed > 2 else ""
        raise SetupError(text + ".")


# What programs write when they fail, whatever its case, and what to say then. The first that occurs wins: without a
# network, pip also says "no matching distribution".
REASONS = r"""
no space left on device|errno 28|not enough space on the disk|disk quota exceeded
The disk is full. Make room (on Linux, PyTorch with CUDA needs about 9 GB in all), or take PyTorch without CUDA,
which needs about 2 GB: make lab TORCH=cpu

winerror (5|32)\b
The old .venv is still in use. Close JupyterLab and every terminal that uses it, then run the same command again.

read-only file system|permission denied
The course's folder cannot be written to. Copy it to a place of your own and run the same command there.

ensurepip is not available|no module named '?(venv|ensurepip)
This Python came without its venv module. On Debian and Ubuntu: sudo apt install python3-venv

certificate_verify_failed
The package index was reached, but its certificate could not be verified. Check this computer's clock; behind a
company's or a university's proxy, ask for its certificate and name that file in the variable PIP_CERT.

connection ?(broken|refused|reset|error)|timed? ?out|pro(xy|tocol)error|name ?resol|getaddrinfo|not known|unreachable
The package index could not be reached. Check the network connection (and the proxy settings, if you need a proxy),
then run the same command again: it goes on from where it stopped.

no matching distribution found|could not find a version|requires-python|not a supported wheel
A package has no version for this Python ({version}) on this computer. The course is tested with Python 3.11 and 3.13,
64-bit: make lab PYTHON=python3.13. If yours is one of them, look at the settings: pip config list
"""


def explain(output, version):
    """Return why pip or venv failed, read from its output, and what to do."""
    for reason in REASONS.strip().split("\n\n"):
        pattern, sentence = reason.split("\n", 1)
        if re.search(pattern, output, re.IGNORECASE):
            return sentence.replace("{version}", version)
    return "The installation failed. If the lines below do not help, run `make clean` and then the same command again."


def last_lines(output, count=12):
    """Return the last lines of a program's output, indented, without those about other platforms' packages."""
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("Ignoring ")]
    return "\n".join("  " + line for line in lines[-count:])


def show_large_download(line, say):
    """Name the packages that take long to arrive; the rest of pip's many lines stays hidden."""
    match = re.match(r"\s*Downloading (?:\S*/)?([\w.]+)-[\w.+]+-\S*whl.* \((\d{2,}(?:\.\d)?) MB\)", line)
    if match:
        say("  downloading {} ({} MB)".format(*match.groups()))
    elif line.startswith("Installing collected packages") and line.count(",") > 10:
        say("  unpacking all of them, which takes another minute or more")


def run_program(command, on_line=None):
    """Run a program and hand each line that it writes to `on_line`; return its exit code and all it wrote."""
    environment = {**os.environ, "PIP_USER": "0"}  # in a virtual environment, pip refuses what some set for all
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
    except OSError as error:
        return 127, str(error)
    lines = []
    with process:
        for line in process.stdout:
            lines.append(line)
            if on_line:
                on_line(line)
    return process.returncode, "".join(lines)


def main(arguments=None):
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m course_utils.workshop.set_up", description=__doc__.split("\n")[0])
    parser.add_argument("--torch", choices=["default", "cpu"], help="cpu: without CUDA (default: what .venv has)")
    options = parser.parse_args(arguments)
    try:
        set_up(ROOT, options.torch, say=lambda text: print(text, flush=True))
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:  # with a file of ours, not of pip
        print(f"\n{explain(str(error), '')}\n  {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from where it stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
