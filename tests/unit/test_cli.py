"""`python -m course_utils`: the verbs, what they refuse, and the command that starts JupyterLab."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils import __main__ as cli
from course_utils.download import DownloadError
from course_utils.workshop import doctor, download, lab

ROOT = Path(__file__).resolve().parents[2]


def command_line(*arguments):
    return subprocess.run([sys.executable, "-m", "course_utils", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_lists_the_verbs():
    result = command_line("--help")
    assert result.returncode == 0
    for verb in ("doctor", "download", "lab", "results"):
        assert verb in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["doktor"], "invalid choice: 'doktor'"),
        (["download", "imagenet"], "invalid choice: 'imagenet'"),
        (["doctor", "--fast"], "unrecognized arguments: --fast"),
        (["download", "mnist", "cifar10"], "unrecognized arguments: cifar10"),
    ],
)
def test_bad_input_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_is_named_with_what_to_run(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "course_utils.workshop.download")
    monkeypatch.setitem(sys.modules, "course_utils.download", None)  # an import of it fails
    assert cli.main(["download"]) == 1
    assert "make setup" in capsys.readouterr().err


# ---- lab


@pytest.fixture
def computer(monkeypatch):
    """Return a function that lets `lab` see another computer."""

    def pretend(platform="linux", is_root=False, **environment):
        for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(lab.sys, "platform", platform)
        monkeypatch.setattr(lab.os, "geteuid", lambda: 0 if is_root else 1000, raising=False)

    return pretend


@pytest.mark.parametrize(("ours", "advice"), [(True, "Run `make clean`, then `make lab`"), (False, "Run `make lab`")])
def test_without_jupyterlab_the_advice_does_not_lead_in_a_circle(ours, advice, monkeypatch, capsys):
    """`make lab` takes .venv for complete when it has been."""
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(lab.sys, "prefix", str(lab.ROOT / ".venv") if ours else "/usr")
    assert lab.main([]) == 1
    assert f"\n{advice}, which installs it.\n" in capsys.readouterr().err


def test_lab_opens_the_first_notebook_from_the_root_of_the_repository(computer):
    computer(DISPLAY=":0")
    assert lab.lab_command([]) == [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={ROOT}",
        "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb",
    ]
    assert (ROOT / lab.START).is_file()


@pytest.mark.parametrize(
    ("platform", "environment", "opens"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "w3m"}, True),
        ("linux", {"DISPLAY": ":0", "CI": "true"}, False),
        ("darwin", {}, True),
        ("win32", {}, True),
        ("darwin", {"CI": "true"}, False),
    ],
)
def test_lab_opens_a_browser_only_where_there_is_a_screen(computer, platform, environment, opens):
    computer(platform, **environment)
    assert ("--no-browser" not in lab.lab_command([])) == opens


@pytest.mark.parametrize("is_root", [True, False])
def test_lab_may_run_as_root_only_where_it_does(computer, is_root):
    computer(is_root=is_root)
    assert ("--allow-root" in lab.lab_command([])) == is_root


def test_lab_passes_arguments_on_and_repeats_none(computer):
    computer(is_root=True)
    command = lab.lab_command(["--port", "9999", "--no-browser", "--allow-root"])
    assert command[-4:] == ["--port", "9999", "--no-browser", "--allow-root"]
    assert command.count("--no-browser") == command.count("--allow-root") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there JupyterLab is started, not exec'ed")
def test_lab_becomes_jupyterlab_with_its_own_programs_first_on_the_path(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(lab.os, "execve", lambda *call: started.append(call))
    monkeypatch.setenv("CI", "true")
    cli.main(["lab", "--port", "9999"])
    program, command, environment = started[0]
    assert program == sys.executable
    assert command[-2:] == ["--port", "9999"]
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert "open the address" in capsys.readouterr().out


def test_lab_without_jupyterlab_says_what_to_run(monkeypatch, capsys):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["lab"]) == 1
    err = capsys.readouterr().err
    assert "make lab" in err
    assert "make clean" in err  # where `make lab` itself finds none


# ---- download


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Catch the calls of `download` and send them to an empty data folder."""
    calls = []
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(download, "download", lambda name, folder: calls.append((name, folder)))
    return calls


def test_download_takes_mnist_unless_told_otherwise(asked, tmp_path):
    assert cli.main(["download"]) == 0
    assert cli.main(["download", "all"]) == 0
    assert asked == [("mnist", tmp_path), ("mnist", tmp_path), ("cifar10", tmp_path)]


def test_download_leaves_complete_data_alone(asked, monkeypatch, capsys):
    monkeypatch.setattr(download, "missing_files", lambda name, folder: [])
    assert cli.main(["download", "cifar10"]) == 0
    assert asked == []
    assert "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [(DownloadError("no network"), 1, "no network"), (KeyboardInterrupt(), 130, "same command again")],
)
def test_download_says_what_went_wrong(asked, monkeypatch, capsys, error, code, message):
    def fail(name, folder):
        raise error

    monkeypatch.setattr(download, "download", fail)
    assert cli.main(["download"]) == code
    assert message in capsys.readouterr().err


# ---- doctor


def test_doctor_finds_this_environment_healthy():
    result = command_line("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("✓ Python")
    for text in ("✓ torch 2.", "torch computes on", "memory available", "disk space free", "extension for widgets"):
        assert any(text in line for line in lines), text


def healthy(monkeypatch):
    """Let the slow parts of the doctor's round find nothing."""
    for look in ("find_packages", "find_torch", "find_machine", "find_jupyter", "find_data", "find_git"):
        monkeypatch.setattr(doctor, look, list)


def test_doctor_survives_a_console_without_its_marks(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    healthy(monkeypatch)
    assert cli.main(["doctor"]) == 0
    assert b"? Python" in buffer.getvalue()


def test_doctor_on_an_old_python_looks_no_further(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "MINIMUM", (99, 0))
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("✗ Python")
    assert "make lab PYTHON=" in out
    assert "torch" not in out


def broken_look():
    raise ZeroDivisionError("of the test")


def test_doctor_prints_what_to_do_and_fails_when_something_is_broken(monkeypatch, capsys):
    healthy(monkeypatch)
    monkeypatch.setenv("COURSE_PROFILE", "small")
    monkeypatch.setattr(doctor, "find_data", broken_look)
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "broken_look could not look: ZeroDivisionError" in out  # a check that breaks does not end the round
    assert "✗ COURSE_PROFILE=small\n    → expected one of" in out
    assert "2 ✗ to look after" in out


def test_doctor_judges_a_package(monkeypatch):
    monkeypatch.setattr(doctor, "installed", {"torch": "2.14.1+cpu", "newer": "3.0", "broken": "1.0"}.get)

    def load(name):
        if name == "broken":
            raise RuntimeError("operator torchvision::nms does not exist")

    def judge(name, locked):
        return doctor.check_package(name, locked, load)

    assert judge("torch", ["2.14.1"]).fine is True
    assert judge("newer", ["2.0"]).fine is None
    assert "tested with 2.0" in judge("newer", ["2.0"]).text
    broken, missing = judge("broken", ["1.0"]), judge("absent", ["1.0"])
    assert broken.fine is missing.fine is False
    assert "nms does not exist" in broken.text
    assert broken.advice
    assert missing.advice


def test_doctor_tells_real_data_from_the_stand_in(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert [finding.fine for finding in doctor.find_data()] == [False, False]
    (tmp_path / "data/tiny").mkdir(parents=True)
    assert [finding.fine for finding in doctor.find_data()] == [None, None]
    lacking = {"mnist": [], "cifar10": ["data_batch_1.bin"]}
    monkeypatch.setattr("course_utils.download.missing_files", lambda name, folder: lacking[name])
    assert [finding.fine for finding in doctor.find_data()] == [True, None]
    monkeypatch.setattr("course_utils.download.altered_files", lambda name, folder: [folder / "train"])
    assert [finding.text for finding in doctor.find_data()][1] == f"{tmp_path / 'train'} is not as published"


def test_doctor_misses_the_widgets_extension(monkeypatch):
    import jupyter_core.paths

    assert [finding.fine for finding in doctor.find_jupyter()] == [True]
    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *names: ["/nowhere"])
    assert [finding.fine for finding in doctor.find_jupyter()] == [False]


def test_doctor_refuses_a_data_folder_that_is_not_there(monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "/no/such/folder")
    findings = [finding for finding in doctor.find_variables() if finding.text.startswith("COURSE_DATA")]
    assert [finding.fine for finding in findings] == [False]
