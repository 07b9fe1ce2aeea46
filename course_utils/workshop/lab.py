"""Open JupyterLab on the first notebook."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from course_utils.workshop.set_up import ROOT

START = "notebooks/00_start_here.ipynb"


def main(arguments: list[str]) -> int:
    """Become JupyterLab; return an exit code only where that cannot be."""
    if importlib.util.find_spec("jupyterlab") is None:
        print(f"JupyterLab is not installed for {sys.executable}.", file=sys.stderr)
        ours = Path(sys.prefix) == ROOT / ".venv"  # then `make lab` takes it for complete
        advice = "Run `make clean`, then `make lab`" if ours else "Run `make lab`"
        print(f"{advice}, which installs it.", file=sys.stderr)
        return 1
    command = lab_command(arguments)
    if "--no-browser" in command:
        print("When JupyterLab has started, open the address that it prints below in your browser.\n", flush=True)
    # what a notebook or a terminal in JupyterLab calls, such as pip or torchrun, is to be that of this environment
    programs = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": programs + os.pathsep + os.environ.get("PATH", "")}
    if os.name == "nt":  # there, exec would return to the prompt while JupyterLab is still running
        return subprocess.call(command, env=environment)
    os.execve(command[0], command, environment)


def lab_command(extra: list[str]) -> list[str]:
    """Return the command that starts JupyterLab: as root with leave, and a browser only where one can open."""
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url=/lab/tree/{START}"]
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    has_screen = not sys.platform.startswith("linux") or any(os.environ.get(name) for name in screens)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in extra:
        command.append("--allow-root")
    if (os.environ.get("CI") or not has_screen) and "--no-browser" not in extra:
        command.append("--no-browser")
    return command + extra
