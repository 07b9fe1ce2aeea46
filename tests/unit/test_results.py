"""Recorded results: grouped by name, never from stand-in data, never lost, and the same in every file shown."""

import json
import math

import pytest

from course_utils.runtime import load_results
from course_utils.workshop import results, tables

MACHINE = {"device": "cpu, 2 threads", "torch": "2.14.1", "python": "3.11", "system": "Linux"}


def line(name="03/text_recipe", seed=0, profile="full", source="mnist/test", **numbers):
    """Return what one `record` call writes."""
    entry = {"name": name, "seed": seed, "numbers": numbers, "source": source, "profile": profile}
    return entry | {"machine": MACHINE}


def test_summarize_gives_mean_sd_and_values():
    summary = results.summarize([line(seed=0, test_accuracy=0.9), line(seed=1, test_accuracy=0.8)])
    entry = summary["03/text_recipe"]
    assert entry["seeds"] == [0, 1]
    assert entry["numbers"]["test_accuracy"]["values"] == [0.9, 0.8]
    assert entry["numbers"]["test_accuracy"]["mean"] == pytest.approx(0.85)
    assert entry["numbers"]["test_accuracy"]["sd"] == pytest.approx(math.sqrt(0.005))


def test_one_value_has_no_spread():
    assert results.spread([0.5]) == {"mean": 0.5, "sd": 0.0, "values": [0.5]}


@pytest.mark.parametrize("left_out", [{"profile": "tiny"}, {"source": "mnist/test (stand-in)"}])
def test_stand_in_runs_are_no_results(left_out):
    assert results.summarize([line(test_accuracy=0.9, **left_out)]) == {}


# ---- tables


@pytest.mark.parametrize("path", [tables.README, tables.RESULTS_PAGE], ids=lambda path: path.name)
def test_what_is_shown_is_what_is_recorded(path):
    assert path.read_text("utf-8") == tables.documents(load_results())[path], "run `make results ARGS=--tables`"


def test_every_recorded_number_is_shown_once_and_alone_in_its_cell():
    recorded = load_results()
    lines = [line for line in tables.page(recorded).splitlines() if line.startswith("|")]
    cells = [cell.strip() for line in lines for cell in line.strip("|").split("|")]
    numbers = [
        tables.summary_text(key, value) for entry in recorded.values() for key, value in entry["numbers"].items()
    ]
    assert sorted(cell for cell in cells if "±" in cell) == sorted(numbers)
    assert all(cell.count("±") <= 1 for cell in cells)


def test_headlines_are_few_and_recorded():
    recorded = load_results()
    assert len(tables.HEADLINES) <= 15
    for name, key, _, _ in tables.HEADLINES:
        assert key in recorded[name]["numbers"]


def test_readme_changes_between_the_markers_alone(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    monkeypatch.setattr(tables, "README", readme)
    readme.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter")
    text = tables.documents({})[readme]
    assert text.startswith("before\n<!-- results:begin -->\n| chapter |")
    assert text.endswith("\n<!-- results:end -->\nafter")
    assert "old" not in text
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="results:begin"):
        tables.documents({})


def summaries(entry):
    """Return one recorded entry as data/results.json holds it."""
    numbers = {key: results.spread(values) for key, values in entry.items()}
    return {"numbers": numbers, "seeds": [0, 1], "machine": MACHINE}


def test_a_family_becomes_a_grid_and_single_records_share_a_table():
    page = tables.page(
        {
            "03/long_run": summaries({"test_accuracy": [0.9, 0.8], "seconds": [1200.0, 1000.0]}),
            "03/short_run": summaries({"test_accuracy": [0.5, 0.5]}),
            "03/depth": summaries({f"{kind}_{n}_error": [0.5, 0.5] for kind in ("plain", "skip") for n in (9, 21)}),
        }
    )
    assert "Measured on: cpu, 2 threads, torch 2.14.1, Python 3.11, Linux." in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows == [
        "|  | test accuracy | seconds | seeds |",
        "| --- | ---: | ---: | ---: |",
        "| long run | 85.00 % ± 7.07 | 1100.0 s ± 141.4 | 2 |",
        "| short run | 50.00 % ± 0.00 |  | 2 |",
        "|  | 9 | 21 |",
        "| --- | ---: | ---: |",
        "| plain | 50.00 % ± 0.00 | 50.00 % ± 0.00 |",
        "| skip | 50.00 % ± 0.00 | 50.00 % ± 0.00 |",
    ]


# ---- measuring


LONG = {"11/resnet20_eight_epochs": 3}  # a quarter of an hour each: not compared with anything, so fewer seeds


def test_recorded_results_come_from_at_least_five_seeds_on_real_data():
    recorded = load_results()
    assert {"01/textbook", "01/final", "03/text_recipe"} <= set(recorded)
    for name, entry in recorded.items():
        assert len(set(entry["seeds"])) >= LONG.get(name, 5), name
        for number in entry["numbers"].values():
            assert number == results.spread(number["values"]), name


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Let everything be read and written in `tmp_path`, and let notebooks record 0.9 without being run."""
    (tmp_path / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    monkeypatch.setattr(tables, "README", tmp_path / "README.md")
    monkeypatch.setattr(tables, "RESULTS_PAGE", tmp_path / "RESULTS.md")
    monkeypatch.setattr(results, "RESULTS_FILE", tmp_path / "results.json")
    monkeypatch.setattr("course_utils.runtime.RESULTS_FILE", tmp_path / "results.json")
    monkeypatch.setattr(results, "PARTS", tmp_path / "parts")
    monkeypatch.setattr(results, "execute", lambda path, environment: record(environment))
    return tmp_path


def record(environment, accuracy=0.9):
    """Append what a notebook would record."""
    with open(environment["COURSE_RESULTS"], "a") as file:
        file.write(json.dumps(line(seed=int(environment["COURSE_SEED"]), test_accuracy=accuracy)) + "\n")


def test_main_measures_and_writes_all_files(place, monkeypatch):
    seen = []

    def execute(path, environment):
        seen.append((path.name[:2], environment["COURSE_SEED"], environment["COURSE_PROFILE"]))
        record(environment)

    monkeypatch.setattr(results, "execute", execute)
    assert results.main(["03", "--seeds", "2"]) == 0
    assert seen == [("03", "0", "full"), ("03", "1", "full")]
    assert json.loads((place / "results.json").read_text())["results"]["03/text_recipe"]["seeds"] == [0, 1]
    assert "| 96.66 % | 90.00 % ± 0.00 |" in (place / "README.md").read_text()
    assert "| text recipe | 90.00 % ± 0.00 | 2 |" in (place / "RESULTS.md").read_text()
    assert list((place / "parts").iterdir()) == []


def test_tables_alone_measure_nothing(place, monkeypatch):
    results.main(["03", "--seeds", "1"])
    (place / "RESULTS.md").unlink()
    monkeypatch.setattr(results, "execute", None)
    assert results.main(["--tables"]) == 0
    assert "90.00 %" in (place / "RESULTS.md").read_text()


def test_a_stopped_measurement_goes_on(place, monkeypatch, capsys):
    seen = []

    def execute(path, environment):
        seen.append(int(environment["COURSE_SEED"]))
        record(environment, accuracy=seen[-1] / 10)
        if seen == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(results, "execute", execute)
    assert results.main(["03", "--seeds", "3"]) == 130
    assert "same command goes on" in capsys.readouterr().err
    assert results.main(["03", "--seeds", "3"]) == 0
    assert seen == [0, 1, 1, 2]  # seed 0 was done; what seed 1 had recorded before it was stopped does not count
    assert load_results()["03/text_recipe"]["numbers"]["test_accuracy"]["values"] == [0.0, 0.1, 0.2]
    assert "1 of 3 runs are already in" in capsys.readouterr().out


@pytest.mark.parametrize("failing", ["summarize", "write_whole", "documents"])
def test_measured_runs_survive_whatever_fails_after_them(place, monkeypatch, failing):
    def fail(*arguments):
        raise OSError("of the test")

    with monkeypatch.context() as patch:
        patch.setattr(results, failing, fail)
        with pytest.raises(OSError, match="of the test"):
            results.main(["03", "--seeds", "2"])
    monkeypatch.setattr(results, "execute", None)  # nothing is measured again
    assert results.main(["03", "--seeds", "2"]) == 0
    assert load_results()["03/text_recipe"]["seeds"] == [0, 1]


def test_an_unreadable_results_file_is_met_before_measuring(place, monkeypatch):
    (place / "results.json").write_text("<<<<<<< HEAD")
    monkeypatch.setattr(results, "execute", None)
    with pytest.raises(json.JSONDecodeError):
        results.main(["03", "--seeds", "2"])


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["99"], ["--nonsense"]])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(SystemExit):
        results.main(arguments)
