"""Create .venv, install the locked packages into it, and do nothing where that is already done.

`make lab` and `make test` begin with `python3 -m course_utils.setup_venv`. It runs before anything is installed, so it
uses only the standard library, and it keeps to the syntax of Python 3.6: an old Python gets far enough to say so.
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

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STAMP = "course-setup.json"  # lies in .venv, and is written when everything else is done


class SetupError(RuntimeError):
    """The environment could not be set up; the message says why and what to do."""


def set_up(root, torch=None, *, run=None, say=print):
    """Make `root`/.venv hold the locked packages.

    `torch` is "default" (the lock as it is), "cpu" (PyTorch's small builds without CUDA) or None (what .venv has).
    `run(command, on_line=None)` starts a program and returns its exit code and its output. Raises SetupError.
    """
    run = run or run_program
    venv = root / ".venv"
    stamp = read_stamp(venv)
    torch = torch or stamp.get("torch", "default")
    version = python_in(venv, run)
    if version and stamp.get("fingerprint") == fingerprint(root, torch, version):
        say(f"The environment .venv (Python {version}, torch: {torch}) is ready.")
        return
    if not (version and can_be_kept(venv, stamp, root=root, torch=torch, version=version, run=run)):
        version = create(venv, torch, run=run, say=say)
    facts = {"root": str(root), "torch": torch, "python": version}
    write_stamp(venv, facts)  # without a fingerprint: begun, not ready
    for sentence, command in install_commands(root, torch):
        say(sentence)
        code, output = run(command, on_line=lambda line: show_large_download(line, say))
        if code:
            raise SetupError(explain(output, version) + "\n\nThe last lines of pip:\n" + last_lines(output))
    write_stamp(venv, dict(facts, fingerprint=fingerprint(root, torch, version)))
    say("The environment .venv is ready. `make help` lists what you can do with it.")


# ---- is it ready?


def fingerprint(root, torch, version):
    """Hash everything that decides what .venv must hold; where it lies belongs to it, for a .venv cannot be moved."""
    digest = hashlib.sha256()
    for part in (root / "requirements.txt", root / "pyproject.toml"):
        digest.update(part.read_bytes() + b"\0")
    digest.update(json.dumps([torch, version, str(root)]).encode())
    return digest.hexdigest()


def read_stamp(venv):
    """Return what the stamp in .venv says; {} where there is none, or none that can be read."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv, facts):
    """Write the stamp in one step, so that it is never half there."""
    temporary = venv / (STAMP + ".new")
    temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    os.replace(str(temporary), str(venv / STAMP))


def program_in(venv):
    """Return the path of the Python inside a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python_in(venv, run):
    """Return the version ("3.12") of the Python inside .venv, None when it does not run."""
    code, output = run([str(program_in(venv)), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    return output.strip() if code == 0 else None


def can_be_kept(venv, stamp, *, root, torch, version, run):
    """Tell whether packages can be installed into the .venv that is there, or whether it must be made anew."""
    same = {"root": str(root), "torch": torch, "python": version}
    if any(stamp.get(key, value) != value for key, value in same.items()):
        return False  # moved, other build of torch, or its Python was replaced by another
    if torch == "cpu" and not stamp:
        return False  # may hold the CUDA build, which has the same version number
    if tuple(int(number) for number in version.split(".")) < MINIMUM:
        return False
    return run([str(program_in(venv)), "-m", "pip", "--version"])[0] == 0  # creating it was not interrupted


# ---- make it so


def create(venv, torch, *, run, say):
    """Create .venv anew with the Python that runs this; return that Python's version. Raises SetupError."""
    if sys.version_info < MINIMUM:
        raise SetupError(version_message(sys.version_info[:3], sys.executable, newer_pythons(run)))
    version = "{}.{}".format(*sys.version_info[:2])
    try:
        if venv.is_symlink() or venv.is_file():
            venv.unlink()
        elif venv.exists():
            shutil.rmtree(str(venv))
    except OSError as error:
        raise SetupError(
            f"The old .venv cannot be deleted: {error}\n"
            "Close JupyterLab and every terminal that uses it, then run the same command again."
        ) from error
    free, needed = shutil.disk_usage(str(venv.parent)).free / 1e9, space_needed(torch, sys.platform)
    if free < needed:
        raise SetupError(disk_message(free, needed, venv.parent))
    say(f"Creating the environment .venv with Python {version} ...")
    # inside an active .venv, sys.executable is the very file that was just deleted: ask for the Python behind it
    code, output = run([getattr(sys, "_base_executable", None) or sys.executable, "-m", "venv", str(venv)])
    if code:
        raise SetupError(explain(output, version) + "\n\nThe last lines of venv:\n" + last_lines(output))
    return version


def install_commands(root, torch):
    """Return the installation as (sentence, pip command) pairs; they run one after the other."""
    venv = root / ".venv"
    pip = [str(program_in(venv)), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    pip += ["--progress-bar", "off"]
    lock = root / "requirements.txt"
    commands = []
    if torch == "cpu":
        text = lock.read_text(encoding="utf-8")
        lock = venv / "requirements-cpu.txt"
        lock.write_text(without_cuda(text), encoding="utf-8")
        commands.append(
            (
                "Installing PyTorch without CUDA ...",
                [*pip, "--no-deps", "--index-url", CPU_INDEX, *locked(text, ["torch", "torchvision"])],
            )
        )
    size = "several gigabytes" if space_needed(torch, sys.platform) > 5 else "a few hundred megabytes"
    commands.append(
        (
            f"Installing the packages of requirements.txt: {size} to download the first time. This takes between two "
            "minutes and half an hour; you may interrupt it and start it again ...",
            [*pip, "-r", str(lock)],
        )
    )
    commands.append(("Installing course_utils ...", [*pip, "--no-build-isolation", "--no-deps", "-e", str(root)]))
    return commands


def without_cuda(lock):
    """Return the lock without the packages that only the CUDA build of torch needs."""
    lines = lock.splitlines(True)
    return "".join(line for line in lines if not re.match(r"(nvidia-|cuda-|triton\b)", line))


def locked(lock, names):
    """Return the "name==version" of each name in the lock. Raises SetupError when one is missing."""
    found = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, flags=re.MULTILINE))
    missing = [name for name in names if name not in found]
    if missing:
        raise SetupError("requirements.txt does not list {}: make it anew with `make lock`.".format(", ".join(missing)))
    return [f"{name}=={found[name]}" for name in names]


# ---- say what is wrong


def version_message(version, executable, newer):
    """Say that this Python is too old, and how to use one of the `newer` commands, if there are any."""
    needed, found = (".".join(str(number) for number in numbers) for numbers in (MINIMUM, version))
    text = f"This course needs Python {needed} or newer, but {executable} is Python {found}.\n"
    if newer:
        return text + f"A newer one is on this machine. Run: make lab PYTHON={newer[0]}"
    return text + (
        "Install Python 3.12 from https://www.python.org/downloads/ and run: make lab PYTHON=python3.12\n"
        "(README.md describes the way with conda, which brings its own Python.)"
    )


def newer_pythons(run):
    """Return the commands python3.12, python3.13 and python3.11 that exist and really start."""
    names = ["python3.12", "python3.13", "python3.11"]
    return [name for name in names if shutil.which(name) and run([name, "-c", ""])[0] == 0]


def space_needed(torch, platform):
    """Return the disk space in GB that a new .venv needs, downloads included."""
    return 9 if platform.startswith("linux") and torch == "default" else 2


def disk_message(free, needed, folder):
    """Say that there is too little disk space (both numbers in GB), and what to do."""
    text = f"The environment needs about {needed} GB, but {folder} has only {free:.1f} GB free. Make room there"
    if needed > 2:
        text += ", or take PyTorch without CUDA, which needs about 2 GB: make lab TORCH=cpu"
    return text + "."


REASONS = (  # the first pattern that occurs wins: without a network, pip also says "no matching distribution"
    (
        r"No space left on device|Errno 28|not enough space on the disk|Disk quota exceeded",
        "The disk is full. Make room (on Linux, PyTorch with CUDA needs about 9 GB in all), or take PyTorch without "
        "CUDA, which needs about 2 GB: make lab TORCH=cpu",
    ),
    (
        r"ensurepip is not available|No module named '?(venv|ensurepip)",
        "This Python came without its venv module. On Debian and Ubuntu: sudo apt install python3-venv",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "The package index was reached, but its certificate could not be verified. Check this computer's clock; behind "
        "a company's or a university's proxy, ask for its certificate and name that file in the variable PIP_CERT.",
    ),
    (
        r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|ConnectionResetError|ProtocolError"
        r"|Name or service not known|name resolution|getaddrinfo failed|nodename nor servname|Network is unreachable"
        r"|Connection (broken|refused|reset)|[Rr]ead timed out|NameResolutionError|Max retries exceeded",
        "The package index could not be reached. Check the network connection (and the proxy settings, if you need "
        "a proxy), then run the same command again: it goes on from where it stopped.",
    ),
    (
        r"No matching distribution found|Could not find a version|Requires-Python|not a supported wheel",
        "A package has no version for this Python ({version}) on this computer. The course is tested with Python 3.11 "
        "and 3.13, 64-bit: make lab PYTHON=python3.13. If yours is one of them, look at the settings: pip config list",
    ),
)


def explain(output, version):
    """Return one sentence on why pip or venv failed, read from its output, and what to do."""
    for pattern, sentence in REASONS:
        if re.search(pattern, output):
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
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
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
    parser = argparse.ArgumentParser(prog="python3 -m course_utils.setup_venv", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--torch", choices=["default", "cpu"], help="cpu: PyTorch without CUDA (default: what .venv has)"
    )
    options = parser.parse_args(arguments)
    try:
        set_up(ROOT, options.torch, say=lambda text: print(text, flush=True))
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from where it stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
