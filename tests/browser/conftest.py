"""Real JupyterLab in a headless Chromium: these tests see what a student sees.

Each test names its notebook as the parameter of the fixture `notebook`. The tests of one notebook run after each other,
so it is opened and run once for all of them. With `-n 2` two workers share the notebooks; each has
a server, kernels and a browser of its own.
COURSE_SCREENSHOTS=folder keeps a picture of every control and of every figure, for a person to look at.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from textwrap import dedent
from typing import NamedTuple

import nbformat
import psutil
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

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

# Notebooks that the tests need beside the course's own: by name, the cells by id
OWN_NOTEBOOKS = {
    # everything goes wrong that the tests of the good notebooks look for
    "broken": {
        "callback": """
            import ipywidgets
            button = ipywidgets.Button(description="press me")
            button.on_click(lambda button: 1 / 0)
            button""",
        "no-extension": """display({"text/plain": "VBox(children=(FloatSlider(value=2.0),))"}, raw=True)""",
        "no-model": """display({"application/vnd.jupyter.widget-view+json": {"model_id": "none"}}, raw=True)""",
        "warning": """import sys; print("a warning", file=sys.stderr)""",
        "error": """undefined_name""",  # the last one: JupyterLab does not run the cells after an error
    },
    # one drawing pad shown twice, no network, and a cell that drives it
    "two_pads": {
        "one": "from controls.drawing import DrawingPad; pad = DrawingPad(); pad",
        "other": "pad",
        "drive": "",
    },
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of one notebook after each other, in the order in which they are written."""
    names = {item: item.callspec.params["notebook"] for item in items if ROOT / "tests/browser" in item.path.parents}
    items.sort(key=lambda item: (names[item], item.location[:2]) if item in names else ("", ("", 0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give all tests of a notebook to one worker, the notebooks with the most tests first.

    `--dist loadgroup` is meant for this, but pytest-xdist 3.8 loses the groups under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByNotebook(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            notebook = re.search(r"browser/.*\[(\w+)", nodeid)
            return notebook[1] if notebook else nodeid

    return ByNotebook(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long each control takes; nothing depends on it, since machines differ."""
    measured = [measure for report in terminalreporter.getreports("passed") for measure in report.user_properties]
    if measured:
        terminalreporter.section("from key press to picture, median")
    for control, times in measured:
        terminalreporter.write_line(f"{median(times):5.0f} ms  {control}  ({len(times)} presses)")


# ---- the program that shows pages


def find_chromium() -> str | None:
    """Return the path of a browser that Playwright can drive, or None."""
    found = [shutil.which(name) for name in PROGRAMS] + [place for place in USUAL_PLACES if Path(place).is_file()]
    return next(filter(None, found), None)


@pytest.fixture(scope="session")
def program() -> str:
    """Find a browser; without one skip visibly, but fail under CI, where these tests must run."""
    program = find_chromium()
    if program is None:
        reason = f"no browser found: install Chromium or Google Chrome (looked for {', '.join(PROGRAMS)})"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; with CI set these tests must run")
        pytest.skip(reason)
    return program


@pytest.fixture(scope="session")
def browser(program: str, lab: "Lab") -> Iterator[BrowserContext]:
    """Start a headless Chromium while the server starts; return when both are there."""
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        # containers have neither the rights for Chromium's sandbox nor much shared memory
        chromium = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ],
        )
        context = chromium.new_context(viewport={"width": 1280, "height": 1600})  # high: no picture is cut off
        context.set_default_timeout(1000 * PATIENCE)
        wait_for_server(lab)
        yield context
        chromium.close()


# ---- the server


class Lab(NamedTuple):
    """A JupyterLab that has been started, and what it writes about itself."""

    server: subprocess.Popen
    address: str
    log: Path


@pytest.fixture(scope="session")
def lab(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Serve a copy of the notebooks with a JupyterLab of its own, and end it with all its kernels."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "saved"))
    for name, sources in OWN_NOTEBOOKS.items():
        cells = [nbformat.v4.new_code_cell(dedent(source).strip(), id=cell_id) for cell_id, source in sources.items()]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
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
        yield Lab(server, f"http://127.0.0.1:{port}", log)
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


def wait_for_server(lab: Lab) -> None:
    """Return when the server answers; fail with the end of its log when it does not."""
    deadline = time.monotonic() + PATIENCE
    while lab.server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{lab.address}/api?token={TOKEN}", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{lab.log.read_text(encoding='utf-8')[-3000:]}")


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
        """Run all cells; `evaluate` alone would wait for ever for a cell that hangs."""
        run = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
        self.page.evaluate(f"window.hasRun = false; void {run}.finally(() => {{ window.hasRun = true; }})")
        self.page.wait_for_function("window.hasRun", timeout=4 * 1000 * PATIENCE)

    def close(self) -> None:
        """Ask for the end of the kernel, without waiting for it, and close the tab."""
        with self.page.expect_request(lambda request: request.method == "DELETE"):
            self.page.evaluate(f"void {PANEL}.sessionContext.shutdown()")
        self.page.close()

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
def notebook(request: pytest.FixtureRequest, lab: Lab, browser: BrowserContext) -> Iterator[Notebook]:
    """Open the notebook that the tests name as this fixture's parameter, and run all its cells."""
    notebook = Notebook(browser.new_page(), request.param)
    notebook.page.goto(f"{lab.address}/lab/tree/{request.param}.ipynb?reset&token={TOKEN}")
    notebook.wait_for_kernel()
    notebook.run_all()
    yield notebook
    notebook.close()


@pytest.fixture
def shoot() -> Callable[[Locator, str], None]:
    """Return a function that keeps a picture of a part of the page when COURSE_SCREENSHOTS names a folder."""
    folder = os.environ.get("COURSE_SCREENSHOTS")

    def keep(part: Locator, name: str) -> None:
        if folder:
            part.screenshot(path=Path(folder, f"{name}.png"))

    return keep
