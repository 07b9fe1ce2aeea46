"""The set-up with a fake `run` in place of venv and pip: nothing is installed here."""

import ast
import collections
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.workshop import set_up as setup
from course_utils.workshop.set_up import SetupError, explain, read_stamp, set_up

ROOT = Path(__file__).resolve().parents[2]
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"
LOCK = """\
certifi==2026.1.1
cuda-bindings==13.5.0 ; sys_platform == 'linux'
cuda-toolkit==13.0.3.0 ; sys_platform == 'linux'
numpy==2.4.6 ; python_full_version < '3.12'
nvidia-cublas==13.1.1.3 ; sys_platform == 'linux'
torch==2.14.1
torchvision==0.29.1
triton==3.8.0 ; sys_platform == 'linux'
tritonish==1.0
"""


class FakeRun:
    """Do what venv and pip do to the disk, remember the commands, and fail at the step named by `fail`."""

    def __init__(self, root, *, fail=None, output=""):
        self.venv, self.fail, self.output = root / ".venv", fail, output
        self.steps = []

    def __call__(self, command, on_line=None):
        step = self.name(command)
        if step not in ("python", "pip --version"):
            self.steps.append(step)
        if step == self.fail:
            if step == "venv":  # interrupted half way: Python is there, pip is not
                self.write("bin/python", "Scripts/python.exe")
            return 1, self.output
        if step == "venv":
            self.write("bin/python", "Scripts/python.exe", "pip")
            (self.venv / "version").write_text(THIS)
        elif step == "python":
            python = setup.program_in(self.venv)
            return (0, (self.venv / "version").read_text() + "\n") if python.is_file() else (127, "not found")
        elif step == "pip --version":
            return (0, "") if (self.venv / "pip").is_file() else (1, "No module named pip")
        return 0, ""

    def write(self, *names):
        for name in [*names, "version"]:
            path = self.venv / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(THIS)

    @staticmethod
    def name(command):
        if "-c" in command:
            return "python"
        if command[-2:-1] == ["venv"]:
            return "venv"
        if command[-1] == "--version":
            return "pip --version"
        if "--index-url" in command:
            return "torch"
        return "lock" if "-r" in command else "course"


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setattr(setup, "space_needed", lambda torch, platform: 0)
    return tmp_path


def quietly(root, torch=None, **options):
    """Set up with a fake; return the steps that were taken and what was said."""
    run, said = FakeRun(root, **options), []
    set_up(root, torch, run=run, say=said.append)
    return run.steps, said


# ---- the stamp


def test_sets_up_once_and_then_does_nothing(root):
    assert quietly(root)[0] == ["venv", "lock", "course"]
    steps, said = quietly(root)
    assert steps == []
    assert len(said) == 1
    assert "is ready" in said[0]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_changed_list_of_packages_is_installed_into_the_same_environment(root, name):
    quietly(root)
    with (root / name).open("a") as file:
        file.write("# changed\n")
    assert quietly(root)[0] == ["lock", "course"]
    assert quietly(root)[0] == []


@pytest.mark.parametrize("step", ["venv", "lock", "course"])
def test_a_failed_step_is_never_taken_for_ready(root, step):
    with pytest.raises(SetupError):
        quietly(root, fail=step, output="boom")
    assert not read_stamp(root / ".venv").get("packages")
    expected = ["venv", "lock", "course"] if step == "venv" else ["lock", "course"]
    assert quietly(root)[0] == expected
    assert quietly(root)[0] == []


def test_a_failed_update_takes_the_readiness_away(root):
    quietly(root)
    (root / "requirements.txt").write_text(LOCK + "new==1\n")
    with pytest.raises(SetupError):
        quietly(root, fail="lock")
    (root / "requirements.txt").write_text(LOCK)  # even back at the old lock, .venv may hold half of the new one
    assert quietly(root)[0] == ["lock", "course"]


def test_an_interrupt_passes_through_and_is_never_taken_for_ready(root):
    def interrupted(command, on_line=None):
        if "-r" in command:
            raise KeyboardInterrupt
        return FakeRun(root)(command)

    with pytest.raises(KeyboardInterrupt):
        set_up(root, run=interrupted, say=lambda text: None)
    assert quietly(root)[0] == ["lock", "course"]


def break_python(venv):
    setup.program_in(venv).unlink()


def make_python_dangle(venv):
    break_python(venv)
    setup.program_in(venv).symlink_to(venv / "gone")


def exchange_python(venv):
    (venv / "version").write_text("3.99")


def move(venv):
    stamp = read_stamp(venv)
    (venv / setup.STAMP).write_text(json.dumps(stamp | {"root": "/somewhere/else"}))


def lose_stamp_and_pip(venv):
    (venv / setup.STAMP).unlink()
    (venv / "pip").unlink()


def replace_by_a_file(venv):
    shutil.rmtree(venv)
    venv.write_text("not a folder")


@pytest.mark.parametrize(
    "harm", [break_python, make_python_dangle, exchange_python, move, lose_stamp_and_pip, replace_by_a_file]
)
def test_a_broken_environment_is_made_anew(root, harm):
    quietly(root)
    (root / ".venv/leftover").write_text("of the broken one")
    harm(root / ".venv")
    assert quietly(root)[0] == ["venv", "lock", "course"]
    assert not (root / ".venv/leftover").exists()
    assert quietly(root)[0] == []


# ---- a working .venv goes only when its successor stands


@pytest.mark.parametrize("step", ["venv", "lock", "course"])
@pytest.mark.parametrize("torch", ["default", "cpu"])
def test_what_fails_leaves_the_old_environment_as_it_was(root, step, torch):
    quietly(root)
    if torch == "default":
        move(root / ".venv")
    (root / ".venv/mine").write_text("of the old one")
    before = read_stamp(root / ".venv")
    with pytest.raises(SetupError):
        quietly(root, torch, fail=step, output="boom")
    assert (root / ".venv/mine").exists()
    assert read_stamp(root / ".venv") == before
    assert sorted(path.name for path in root.iterdir()) == [".venv", "pyproject.toml", "requirements.txt"]


def test_a_set_up_that_was_killed_is_finished_or_undone(root):
    quietly(root)
    (root / ".venv/mine").write_text("of the old one")
    (root / ".venv").rename(root / setup.ASIDE)  # killed just then, or when half of the new one was there
    (root / ".venv").mkdir()
    with pytest.raises(SetupError):
        quietly(root, fail="lock")
    assert (root / ".venv/mine").exists()
    (root / ".venv").rename(root / setup.ASIDE)
    assert quietly(root)[0] == ["venv", "lock", "course"]
    assert not (root / setup.ASIDE).exists()
    assert not (root / ".venv/mine").exists()


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"packages": 1}'])
def test_without_a_readable_stamp_the_packages_are_installed_again(root, content):
    quietly(root)
    stamp = root / ".venv" / setup.STAMP
    stamp.unlink() if content is None else stamp.write_text(content)
    assert quietly(root)[0] == ["lock", "course"]


def test_the_build_of_torch_is_remembered_and_a_change_makes_the_environment_anew(root):
    assert quietly(root, "cpu")[0] == ["venv", "torch", "lock", "course"]
    assert quietly(root)[0] == []  # `make test` after `make lab TORCH=cpu` must not fetch CUDA
    assert quietly(root, "cpu")[0] == []
    assert quietly(root, "default")[0] == ["venv", "lock", "course"]
    assert quietly(root, "cpu")[0] == ["venv", "torch", "lock", "course"]


def test_an_environment_of_unknown_origin_is_not_trusted_to_be_without_cuda(root):
    quietly(root)
    (root / ".venv" / setup.STAMP).unlink()
    assert quietly(root, "cpu")[0] == ["venv", "torch", "lock", "course"]


# ---- what is installed


def test_cpu_mode_leaves_out_what_only_cuda_needs(root):
    left = setup.without_cuda(LOCK).splitlines()
    assert [line.split("==")[0] for line in left] == ["certifi", "numpy", "torch", "torchvision", "tritonish"]


def test_cpu_mode_takes_torch_from_its_own_index_and_the_rest_as_locked(root):
    (root / ".venv").mkdir()
    (_, torch), (_, rest), (_, course) = setup.install_commands(root, "cpu")
    place = torch.index("--index-url")
    assert torch[place : place + 2] == ["--index-url", "https://download.pytorch.org/whl/cpu"]
    assert torch[-2:] == ["torch==2.14.1", "torchvision==0.29.1"]
    assert Path(rest[-1]).read_text() == setup.without_cuda(LOCK)
    assert "--index-url" not in rest
    assert course[-2:] == ["-e", str(root)]
    assert {"--no-build-isolation", "--no-deps"} <= set(course)


def test_default_mode_installs_the_lock_as_it_is(root):
    (_, rest), _ = setup.install_commands(root, "default")
    assert rest[-2:] == ["-r", str(root / "requirements.txt")]


def test_the_real_lock_names_torch_and_has_nothing_left_of_cuda():
    text = (ROOT / "requirements.txt").read_text()
    left = setup.without_cuda(text)
    assert "nvidia" not in left
    assert "torch==" in left


# ---- what it says when something is wrong


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError("
            "'<pip._vendor.urllib3.connection.HTTPSConnection object>: Failed to establish a new connection: "
            "[Errno -3] Temporary failure in name resolution')': /simple/torch/\n"
            "ERROR: Could not find a version that satisfies the requirement torch==2.14.1 (from versions: none)\n"
            "ERROR: No matching distribution found for torch==2.14.1",
            "could not be reached",
        ),
        (
            "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.",
            "could not be reached",
        ),
        ("socket.gaierror: [Errno 8] nodename nor servname provided, or not known", "could not be reached"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403'))", "could not be reached"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in chain; Max retries exceeded", "certificate"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [WinError 112] There is not enough space on the disk", "disk is full"),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.14.1 (from versions: 2.15.0)\n"
            "ERROR: No matching distribution found for torch==2.14.1",
            r"no version for this Python \(3.15\)",
        ),
        ("Error: [Errno 30] Read-only file system: '/course/.venv'", "Copy it to a place of your own"),
        ("PermissionError: [WinError 32] used by another process: '.venv'", "Close JupyterLab"),
        (
            "ERROR: Cannot install a and b.\nERROR: ResolutionImpossible: for help visit https://pip.pypa.io",
            "The installation failed",
        ),
        ("The virtual environment was not created successfully because ensurepip is not available.", "python3-venv"),
        ("Segmentation fault", "make clean"),
    ],
)
def test_failures_are_told_apart(root, output, expected):
    assert re.search(expected, explain(output, "3.15"))
    with pytest.raises(SetupError) as caught:
        quietly(root, fail="lock", output=output)
    assert output.splitlines()[-1] in str(caught.value)  # pip's own last words are always shown


def test_only_the_last_lines_of_pip_are_shown():
    output = "\n".join(f"line {number}" for number in range(100)) + "\n\nIgnoring appnope: markers do not match\n"
    shown = setup.last_lines(output, count=3)
    assert shown == "  line 97\n  line 98\n  line 99"


Version = collections.namedtuple("Version", "major minor micro")


def test_an_old_python_is_told_what_to_use_instead_if_that_starts(monkeypatch):
    monkeypatch.setattr(setup.sys, "version_info", Version(3, 9, 6))
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/bin/" + name if name != "python3.13" else None)
    text = setup.version_message(lambda command: (command[0] == "python3.12", ""))
    assert f"needs Python 3.11 or newer, but {sys.executable} is Python 3.9.6" in text
    assert text.endswith("make lab PYTHON=python3.11")
    assert "Install Python" in setup.version_message(lambda command: (1, ""))


def test_an_old_python_is_refused_before_anything_is_made_but_may_use_a_ready_environment(root, monkeypatch):
    newer = sys.version_info
    monkeypatch.setattr(setup.sys, "version_info", Version(3, 9, 6))
    with pytest.raises(SetupError, match=r"needs Python 3\.11 or newer"):
        quietly(root)
    assert not (root / ".venv").exists()
    monkeypatch.setattr(setup.sys, "version_info", newer)
    quietly(root)
    monkeypatch.setattr(setup.sys, "version_info", Version(3, 9, 6))
    assert quietly(root)[0] == []


def test_too_little_disk_space_is_said_before_anything_is_made(root, monkeypatch):
    monkeypatch.setattr(setup, "space_needed", lambda torch, platform: 10**9)
    with pytest.raises(SetupError, match=r"needs about 1000000000 GB, but .* has only .* TORCH=cpu") as caught:
        quietly(root)
    assert "make clean" not in str(caught.value)
    assert not (root / ".venv").exists()
    (root / ".venv").mkdir()
    with pytest.raises(SetupError, match=r"make clean"):
        quietly(root)


def test_a_python_that_is_too_old_inside_the_environment_counts_as_none(tmp_path, monkeypatch):
    program = setup.program_in(tmp_path)
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    assert setup.python_in(tmp_path, setup.run_program) == THIS
    monkeypatch.setattr(setup, "MINIMUM", (99, 0))
    assert setup.python_in(tmp_path, setup.run_program) is None


def test_space_needed_is_large_only_for_cuda_on_linux(monkeypatch):
    needed = setup.space_needed
    assert needed("default", "linux") > 6
    assert needed("cpu", "linux") == needed("default", "darwin") == needed("default", "win32") == 2


def test_large_downloads_are_named_and_small_ones_are_not():
    said = []
    for line in [
        "Collecting torch==2.14.1 (from -r requirements.txt (line 131))",
        "  Downloading torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (31 kB)",
        "  Downloading torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl (532.1 MB)",
        "Downloading tqdm-4.70.1-py3-none-any.whl (78 kB)",
        "Downloading json5-0.17.3-py3-none-any.whl (1.2 MB)",
        "Installing collected packages: course-utils",
    ]:
        setup.show_large_download(line, said.append)
    assert said == ["  downloading torch (532.1 MB)"]


def test_pip_may_install_into_an_environment_where_users_install_for_themselves(monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    program = "import os; print(os.environ['PIP_USER'])"
    assert setup.run_program([sys.executable, "-c", program])[1].strip() == "0"


def test_running_a_program_returns_its_code_and_all_its_output():
    lines = []
    program = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    code, output = setup.run_program([sys.executable, "-c", program], on_line=lines.append)
    assert code == 3
    assert output.splitlines() == ["out", "err"]
    assert len(lines) == 2
    assert setup.run_program(["/no/such/program"])[0] == 127


# ---- it must start on an old Python, and from the command line


@pytest.mark.parametrize("name", ["__init__.py", "workshop/__init__.py", "workshop/set_up.py"])
def test_old_pythons_can_read_it(name):
    """Syntax, and the two habits that parse but fail at run time there: new annotations and third-party imports."""
    tree = ast.parse((ROOT / "course_utils" / name).read_text(encoding="utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.args + node.args.kwonlyargs
            assert not [a for a in [*arguments, node] if getattr(a, "annotation", None) or getattr(a, "returns", None)]
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"
            assert node.module.split(".")[0] in sys.stdlib_module_names
        if isinstance(node, ast.Import):
            assert all(alias.name in sys.stdlib_module_names for alias in node.names)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SetupError("why, and what to do"), 1, "why, and what to do"),
        (PermissionError(13, "Permission denied", ".venv"), 1, "Copy it to a place of your own"),
        (KeyboardInterrupt(), 130, "same command again"),
    ],
)
def test_command_line_says_why_it_failed(monkeypatch, capsys, error, code, message):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(setup, "set_up", fail)
    assert setup.main([]) == code
    assert message in capsys.readouterr().err


def test_command_line_refuses_an_unknown_build():
    result = subprocess.run(
        [sys.executable, "-m", "course_utils.workshop.set_up", "--torch", "gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "invalid choice: 'gpu'" in result.stderr
