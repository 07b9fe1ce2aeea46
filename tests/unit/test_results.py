"""Recorded results: grouped by name, never from stand-in data, and the same in README.md as in data/results.json."""

import json
import math
from pathlib import Path

import pytest

from course_utils import results
from course_utils.runtime import load_results

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


def test_table_stands_between_the_markers_and_nowhere_else():
    text = "before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter"
    new = results.with_table(text, "| new |")
    assert new == "before\n<!-- results:begin -->\n| new |\n<!-- results:end -->\nafter"
    with pytest.raises(ValueError, match="results:begin"):
        results.with_table("no markers", "| new |")


def test_readme_shows_what_is_recorded():
    text = results.README.read_text(encoding="utf-8")
    assert text == results.with_table(text, results.table(load_results())), "run `make results ARGS=--table-only`"


LONG = {"11/resnet20_eight_epochs": 3}  # a quarter of an hour each: not compared with anything, so fewer seeds


def test_recorded_results_come_from_at_least_five_seeds_on_real_data():
    recorded = load_results()
    assert {"01/text_recipe", "01/repaired", "03/text_recipe", "03/better_recipe"} <= set(recorded)
    for name, entry in recorded.items():
        assert len(set(entry["seeds"])) >= LONG.get(name, 5), name
        for number in entry["numbers"].values():
            assert number == results.spread(number["values"]), name


def test_main_measures_and_writes_both_files(tmp_path, monkeypatch, capsys):
    readme, kept = tmp_path / "README.md", tmp_path / "results.json"
    readme.write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    monkeypatch.setattr(results, "README", readme)
    monkeypatch.setattr(results, "RESULTS_FILE", kept)
    monkeypatch.setattr(results, "PARTS", tmp_path / "parts")
    monkeypatch.setattr(results, "load_results", lambda: {})
    seen = []

    def execute(path, environment):
        seen.append((path.name[:2], environment["COURSE_SEED"], environment["COURSE_PROFILE"]))
        with open(environment["COURSE_RESULTS"], "a") as file:
            file.write(json.dumps(line(seed=int(environment["COURSE_SEED"]), test_accuracy=0.9)) + "\n")

    monkeypatch.setattr(results, "execute", execute)
    assert results.main(["03", "--seeds", "2"]) == 0
    assert seen == [("03", "0", "full"), ("03", "1", "full")]
    assert json.loads(kept.read_text())["results"]["03/text_recipe"]["seeds"] == [0, 1]
    assert "90.00 % ± 0.00 (2 seeds)" in readme.read_text()


def test_a_stopped_measurement_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "PARTS", tmp_path / "parts")
    path, seen = Path("05_lenet.ipynb"), []

    def execute(path, environment):
        seed = int(environment["COURSE_SEED"])
        seen.append(seed)
        with open(environment["COURSE_RESULTS"], "a") as file:
            file.write(json.dumps(line(seed=seed, test_accuracy=seed / 10)) + "\n")
        if seen == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(results, "execute", execute)
    with pytest.raises(KeyboardInterrupt):
        results.measure([path], 3)
    lines = results.measure([path], 3)
    assert seen == [0, 1, 1, 2]  # seed 0 was done; what seed 1 had recorded before it was stopped does not count
    assert [record["seed"] for record in lines] == [0, 1, 2]
    assert "1 of 3 runs are already in" in capsys.readouterr().out
    assert list((tmp_path / "parts").iterdir()) == []


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["99"], ["--nonsense"]])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(SystemExit):
        results.main(arguments)
