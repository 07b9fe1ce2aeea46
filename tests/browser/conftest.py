"""Real JupyterLab in a headless Chromium: these tests see what a student sees.

COURSE_SCREENSHOTS=folder keeps a picture of every control and of every figure, for a person to look at.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "browser-tests"
PATIENCE = 60  # seconds for one thing to happen on a busy machine; a whole notebook gets four times as long
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
USUAL_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
SETTINGS = {
    # without news from the network, which would lie over the page
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # every cell is on the page, also those far below, so that tests find them
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
RED_BOX = "application/vnd.jupyter.stderr"  # errors and warnings alike
BROKEN_CONTROL = re.compile(r"\w+\(children=|Error displaying widget|Loading widget")
PANEL = "window.jupyterapp?.shell.currentWidget"


LATENCIES = pytest.StashKey[dict[str, list[float]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what is measured."""
    config.stash[LATENCIES] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how long each control takes; nothing depends on it, since machines differ."""
    if config.stash[LATENCIES]:
        terminalreporter.section("from key press to picture, median")
    for control, times in config.stash[LATENCIES].items():
        terminalreporter.write_line(f"{statistics.median(times):5.0f} ms  {control}  ({len(times)} presses)")


@pytest.fixture(scope="session")
def latencies(pytestconfig: pytest.Config) -> dict[str, list[float]]:
    """Return where tests write, by control, the milliseconds from key press to picture."""
    return pytestconfig.stash[LATENCIES]


# ---- the program that shows pages


def find_chromium() -> str | None:
    """Return the path of a browser that Playwright can drive, or None."""
    found = [shutil.which(name) for name in PROGRAMS] + [place for place in USUAL_PLACES if Path(place).is_file()]
    return next(filter(None, found), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium; without one skip visibly, but fail under CI, where these tests must run."""
    program = find_chromium()
    if program is None:
        reason = f"no browser found: install Chromium or Google Chrome (looked for {', '.join(PROGRAMS)})"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; with CI set these tests must run")
        pytest.skip(reason)
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        # containers have neither the rights for Chromium's sandbox nor much shared memory
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


# ---- the server


class Lab(NamedTuple):
    """A running JupyterLab and the folder that it serves."""

    url: str
    folder: Path


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Serve a copy of the notebooks with a JupyterLab of its own, and end it with all its kernels."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "saved"))
    for name, values in SETTINGS.items():
        file = home / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    port = free_port()
    log = home / "jupyterlab.log"
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            lab_command(folder, port), env=lab_environment(home), stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for_server(server, f"http://127.0.0.1:{port}/api?token={TOKEN}", log)
        yield Lab(f"http://127.0.0.1:{port}/lab/tree", folder)
    finally:
        end_family(server)


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lab_command(folder: Path, port: int) -> list[str]:
    """Return the command that starts JupyterLab for these tests."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", *(["--allow-root"] if is_root else [])),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={TOKEN}"),
        "--LabApp.expose_app_in_browser=True",  # gives the tests `window.jupyterapp`
    ]


def lab_environment(home: Path) -> dict[str, str]:
    """Return the environment with the small data and with nothing of the user's own Jupyter settings."""
    foreign = ("JUPYTER", "COURSE_", "IPYTHON")
    own = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "COURSE_PROFILE": "tiny",
        "OMP_NUM_THREADS": 1,  # kernels that fight over the cores are many times slower
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {name: str(value) for name, value in own.items()}


def wait_for_server(server: subprocess.Popen, address: str, log: Path) -> None:
    """Return when the server answers; fail with the end of its log when it does not."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


def end_family(server: subprocess.Popen) -> None:
    """End the server, its process group and its kernels, which Jupyter puts into groups of their own."""
    children = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()  # JupyterLab then ends its kernels itself
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):  # the group is empty, as it should be
            os.killpg(server.pid, signal.SIGKILL)
    for child in psutil.wait_procs(children, timeout=5)[1]:
        child.kill()


# ---- a notebook on the page


class Notebook:
    """One notebook in its browser tab."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name = page, name
        self.question = ""  # what a dialog asked before a kernel ran
        self.is_started = False

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is idle; note and answer a dialog that comes first."""
        idle = f"{PANEL}?.sessionContext?.session?.kernel?.status === 'idle'"
        self.page.wait_for_function(f"{idle} || document.querySelector('.jp-Dialog')")
        dialog = self.page.locator(".jp-Dialog")
        if dialog.count():
            self.question = dialog.inner_text()
            dialog.locator(".jp-mod-accept").click()
        self.page.wait_for_function(idle)

    def index(self, cell_id: str) -> int:
        """Return where a cell stands, by its id in the file, which the page itself does not show."""
        index = self.page.evaluate(
            f"id => {PANEL}.content.widgets.findIndex(cell => cell.model.sharedModel.id === id)", cell_id
        )
        assert index >= 0, f"{self.name} has no cell {cell_id!r}"
        return index

    def cell(self, cell_id: str) -> Locator:
        """Return a cell by its id in the file."""
        return self.page.locator(".jp-Notebook-cell").nth(self.index(cell_id))

    def run_all(self) -> None:
        """Run all cells, once for all tests that look at the result."""
        if not self.is_started:
            self.start("notebook:run-all-cells")
            self.is_started = True
        self.wait_for_end()

    def run_again(self, cell_id: str) -> Locator:
        """Run all cells once, then this one again, so that its control is as it was made; return the cell."""
        self.run_all()
        self.page.evaluate(f"index => {{ ({PANEL}).content.activeCellIndex = index; }}", self.index(cell_id))
        self.start("notebook:run-cell")
        self.wait_for_end()
        return self.cell(cell_id)

    def start(self, command: str) -> None:
        """Start one of JupyterLab's commands."""
        run = f"window.jupyterapp.commands.execute('{command}')"
        self.page.evaluate(f"window.hasRun = false; void {run}.finally(() => {{ window.hasRun = true; }})")

    def wait_for_end(self) -> None:
        """Wait until the started command has ended; `evaluate` would wait for ever for a hanging one."""
        self.page.wait_for_function("window.hasRun", timeout=4 * 1000 * PATIENCE)

    def prompts(self) -> list[str]:
        """Return what stands left of the code cells that are not folded: `[3]:` when run, `[ ]:` or `[*]:` when not."""
        return self.page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts()

    def type_and_run(self, cell_id: str, text: str | None = None) -> None:
        """Click into a cell, replace its text when one is given, and press Shift + Enter."""
        self.cell(cell_id).locator(".cm-content").click()
        if text is not None:
            self.page.keyboard.press("ControlOrMeta+a")
            self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Shift+Enter")

    def open_log(self) -> None:
        """Open JupyterLab's log console: it shows errors of a control's callback, and nothing else does."""
        if not self.page.locator(".jp-LogConsolePanel").count():
            self.page.evaluate("window.jupyterapp.commands.execute('logconsole:open', {activate: false})")
            self.page.locator(".jp-LogConsolePanel").wait_for()

    def troubles(self) -> list[str]:
        """Return the text of every output, also in the log, that shows an error, a warning or a broken control."""
        self.open_log()
        outputs = self.page.locator(".jp-OutputArea-output").evaluate_all(
            "outputs => outputs.map(output => [output.dataset.mimeType, output.innerText])"
        )
        return [text for kind, text in outputs if kind == RED_BOX or BROKEN_CONTROL.search(text)]


@pytest.fixture(scope="session")
def page_of(lab: Lab, browser: Browser) -> Iterator[Callable[[str], Notebook]]:
    """Return a function that opens a notebook by its name; asked again, it returns the same tab."""
    opened: dict[str, Notebook] = {}

    def open_notebook(name: str) -> Notebook:
        if name not in opened:
            page = browser.new_page(viewport={"width": 1280, "height": 1600})  # high: no picture is cut off
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"{lab.url}/{name}.ipynb?reset&token={TOKEN}")
            opened[name] = Notebook(page, name)
            opened[name].wait_for_kernel()
        return opened[name]

    yield open_notebook
    for notebook in opened.values():
        notebook.page.close()


@pytest.fixture
def shoot() -> Callable[[Locator, str], None]:
    """Return a function that keeps a picture of a part of the page when COURSE_SCREENSHOTS names a folder."""
    folder = os.environ.get("COURSE_SCREENSHOTS")

    def keep(part: Locator, name: str) -> None:
        if folder:
            part.screenshot(path=Path(folder, f"{name}.png"))

    return keep
