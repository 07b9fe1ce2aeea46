"""Seeds, devices, profiles, recorded results, and the ranks of a distributed run."""

import json
import math
import os
import random
import sys

import numpy as np
import pytest
import torch

from course_utils import runtime
from course_utils.runtime import (
    budget,
    compare,
    comparison_seeds,
    current_seed,
    has_bfloat16,
    is_main_process,
    is_measuring,
    mean_over_ranks,
    pick_device,
    profile,
    record,
    recorded_text,
    seed_everything,
    shown,
    write_whole,
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """Keep the reader's own environment and the course's own results out of these tests."""
    for name in ("COURSE_SEED", "COURSE_PROFILE", "COURSE_RESULTS", "COURSE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(runtime, "RESULTS_FILE", tmp_path / "no results.json")


# ------------------------------------------------------------------------------------------------------------ seeds


def draws():
    return random.random(), float(np.random.rand()), torch.rand(1).item()  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 + 7, 2**40])
def test_one_seed_repeats_python_numpy_and_torch(seed):
    seed_everything(seed)
    first = draws()
    others = draws()
    seed_everything(seed)
    assert draws() == first
    seed_everything(seed + 1)
    for again, before, later in zip(draws(), first, others, strict=True):
        assert again != before != later


def test_the_generator_is_seeded_alike_and_its_own():
    generator = seed_everything(3)
    state = torch.random.get_rng_state()
    numbers = torch.rand(5, generator=generator)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(numbers, torch.rand(5, generator=torch.Generator().manual_seed(3)))
    assert generator is not torch.default_generator


@pytest.mark.parametrize(("text", "seed"), [(None, 0), ("0", 0), ("12", 12)])
def test_course_seed_decides_when_no_seed_is_given(text, seed, monkeypatch):
    if text is not None:
        monkeypatch.setenv("COURSE_SEED", text)
    assert current_seed() == seed
    seed_everything()
    numbers = draws()
    seed_everything(seed)
    assert draws() == numbers


@pytest.mark.parametrize(
    ("profile", "results", "seeds"),
    [("full", "", [3, 4, 5, 6, 7]), ("tiny", "", [3, 4]), ("full", "kept.jsonl", [3]), ("tiny", "kept.jsonl", [3])],
)
def test_a_comparison_begins_with_the_current_seed(monkeypatch, profile, results, seeds):
    monkeypatch.setenv("COURSE_SEED", "3")
    monkeypatch.setenv("COURSE_PROFILE", profile)
    monkeypatch.setenv("COURSE_RESULTS", results)
    assert comparison_seeds() == seeds


def test_compare_runs_each_choice_with_each_seed():
    drawn = compare(lambda choice, seed: (choice, seed, torch.rand(1).item()), ["a", "b"], [0, 1])
    first, second = (torch.rand(1, generator=torch.Generator().manual_seed(seed)).item() for seed in (0, 1))
    assert drawn == {name: [(name, 0, first), (name, 1, second)] for name in ("a", "b")}


def test_compare_takes_the_seeds_of_a_comparison(monkeypatch):
    monkeypatch.setenv("COURSE_SEED", "3")
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    assert compare(lambda choice, seed: seed, ["a"]) == {"a": [3, 4]}


def test_an_explicit_seed_wins_over_course_seed(monkeypatch):
    monkeypatch.setenv("COURSE_SEED", "12")
    seed_everything(0)
    zero = draws()
    monkeypatch.delenv("COURSE_SEED")
    seed_everything()
    assert draws() == zero


@pytest.mark.parametrize("text", ["", "-1", "1.5", "three", "0x1", "²", str(2**63)])
def test_a_bad_course_seed_is_named(text, monkeypatch):
    monkeypatch.setenv("COURSE_SEED", text)
    for ask in (current_seed, seed_everything):
        with pytest.raises(ValueError, match=r"COURSE_SEED is .*whole number from 0"):
            ask()


# ------------------------------------------------------------------------------------------------ devices, profiles


@pytest.mark.parametrize(
    ("cuda", "mps", "prefer", "device"),
    [
        (False, False, None, "cpu"),
        (False, True, None, "mps"),
        (True, False, None, "cuda"),
        (True, True, None, "cuda"),
        (True, True, "cpu", "cpu"),
        (True, True, "mps", "mps"),
        (True, False, "cuda:1", "cuda:1"),
    ],
)
def test_the_fastest_or_the_preferred_device(cuda, mps, prefer, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device(prefer) == torch.device(device)


@pytest.mark.parametrize(("text", "tiny"), [(None, False), ("auto", False), ("full", False), ("tiny", True)])
def test_profiles(text, tiny, monkeypatch):
    if text is not None:
        monkeypatch.setenv("COURSE_PROFILE", text)
    assert profile() == (text or "auto")
    assert budget(10, 2) == (2 if tiny else 10)
    assert budget(full=(1, 2), tiny=None) == (None if tiny else (1, 2))


@pytest.mark.parametrize("text", ["Tiny", "small", "tiny "])
def test_a_bad_profile_is_named(text, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", text)
    for ask in (profile, lambda: budget(1, 2)):
        with pytest.raises(ValueError, match=r"COURSE_PROFILE is .*expected one of auto, tiny, full"):
            ask()


# --------------------------------------------------------------------------------------------------------- results


def test_results_are_appended_as_json_lines(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    monkeypatch.setenv("COURSE_RESULTS", str(file))
    monkeypatch.setenv("COURSE_SEED", "4")
    record("03/text", source="mnist/test", test_accuracy=0.9721, seconds=12)
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    record("05/größer", loss=0.5)
    first, second = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert set(first) == {"name", "seed", "numbers", "source", "profile", "machine"}
    assert first["name"] == "03/text"
    assert first["seed"] == 4
    assert first["numbers"] == {"test_accuracy": 0.9721, "seconds": 12.0}
    assert first["source"] == "mnist/test"
    assert first["profile"] == "auto"
    assert set(first["machine"]) == {"device", "torch", "python", "system"}
    assert first["machine"]["torch"] == torch.__version__
    assert (second["name"], second["numbers"], second["profile"]) == ("05/größer", {"loss": 0.5}, "tiny")


def test_other_ranks_write_no_results(tmp_path, monkeypatch):
    file = tmp_path / "results.jsonl"
    monkeypatch.setenv("COURSE_RESULTS", str(file))
    monkeypatch.setattr(runtime, "is_main_process", lambda: False)
    record("03/text", loss=1.0)
    assert not file.exists()


def test_without_course_results_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record("03/text", loss=1.0)
    assert list(tmp_path.iterdir()) == []


def test_results_show_the_course_own_beside_this_run(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    values = [0.98, 0.984, 0.985]
    numbers = {
        "test_accuracy": {"mean": 0.983, "sd": 0.0026, "values": values},
        "seconds": {"mean": 31.25, "sd": 1.234, "values": values},
        "loss": {"mean": 0.05123, "sd": 0.00321, "values": values},
    }
    file.write_text(json.dumps({"results": {"03/text": {"numbers": numbers}}}), encoding="utf-8")
    monkeypatch.setattr(runtime, "RESULTS_FILE", file)
    text = str(record("03/text", test_accuracy=0.97216, seconds=9.04, loss=0.123456, parameters=98))
    assert text.splitlines() == [
        "03/text",
        "test accuracy: 97.22 % (recorded: 98.30 % ± 0.26 (3 seeds))",
        "seconds: 9.0 s (recorded: 31.2 s ± 1.2 (3 seeds))",
        "loss: 0.1235 (recorded: 0.05123 ± 0.00321 (3 seeds))",
        "parameters: 98 (recorded: not recorded yet)",
    ]
    assert repr(record("03/other", loss=1)) == "03/other\nloss: 1 (recorded: not recorded yet)"


@pytest.mark.parametrize(
    ("tiny", "source", "noted"),
    [
        (False, "", False),
        (False, "mnist/test", False),
        (False, "mnist/test (stand-in)", True),
        (True, "", True),
        (True, "mnist/test", True),
    ],
)
def test_stand_in_results_say_that_they_are(tiny, source, noted, monkeypatch):
    if tiny:
        monkeypatch.setenv("COURSE_PROFILE", "tiny")
    result = record("03/text", source=source, loss=1.0)
    for text in (str(result), result._repr_markdown_()):
        assert ("stand-in" in text) is noted


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.0,
        True,
        torch.tensor(1.0),
        torch.tensor([1.0]),
        torch.ones(1, 1),
        torch.tensor(1),
        np.float32(1),
        np.ones(()),
    ],
)
def test_a_number_or_a_tensor_of_one(value):
    result = record("03/text", loss=value)
    assert result.numbers == {"loss": 1.0}
    assert type(result.numbers["loss"]) is float


@pytest.mark.parametrize("value", ["much", None, [1.0], torch.tensor([1.0, 2.0]), torch.tensor([]), 1j, np.ones(2)])
def test_what_is_no_number_is_not_written(value, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "results.jsonl"))
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        record("03/text", loss=1.0, accuracy=value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_needs_its_chapter():
    with pytest.raises(ValueError, match=r'like "03/text_recipe", got \'text_recipe\''):
        record("text_recipe", loss=1.0)


def test_in_a_notebook_results_are_a_table(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    assert record("03/text", test_accuracy=0.5, seconds=2)._repr_markdown_().splitlines() == [
        "| 03/text | your run | recorded, mean ± sd |",
        "| --- | --- | --- |",
        "| test accuracy | 50.00 % | not recorded yet |",
        "| seconds | 2.0 s | not recorded yet |",
        "",
        "stand-in data or the tiny profile: not comparable with the record on real data",
    ]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("train_accuracy", 0.97216, "97.22 %"),
        ("epoch", 3, "3"),
        ("seconds", 9.04, "9.0 s"),
        ("learning_rate", 0.00001, "1e-05"),
        ("gradient_norm", math.nan, "nan"),
        ("parameters", 575_050, "575,050"),
    ],
)
def test_numbers_are_shown_as_what_their_names_say(key, value, text):
    assert shown(key, value) == text


# ----------------------------------------------------------------------------------------------------------- ranks


def test_one_process_is_the_main_one_and_its_mean_its_own():
    tensor = torch.tensor([1.0, 2.0])
    assert is_main_process()
    assert mean_over_ranks(tensor) is tensor


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a shared file")
def test_two_ranks_agree_on_their_mean(run_on_two_ranks):
    printed = run_on_two_ranks(
        "from course_utils.runtime import is_main_process, mean_over_ranks\n"
        "mine = torch.tensor([1.0, 10.0]) if rank == 0 else torch.tensor([4.0, -10.0])\n"
        "before = mine.clone()\n"
        "print(is_main_process(), mean_over_ranks(mine).tolist(), torch.equal(mine, before))\n"
    )
    assert [text.strip() for text in printed] == ["True [2.5, 0.0] True", "False [2.5, 0.0] True"]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx2": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_used_where_the_processor_has_instructions_for_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bfloat16(torch.device("cpu")) is expected
    assert has_bfloat16(torch.device("mps")) is False


def test_measuring_is_what_make_results_says(monkeypatch):
    monkeypatch.delenv("COURSE_RESULTS", raising=False)
    assert not is_measuring()
    assert not is_measuring(seeds=3)
    monkeypatch.setenv("COURSE_RESULTS", "somewhere")
    assert is_measuring()
    for seed, expected in (("0", True), ("2", True), ("3", False)):
        monkeypatch.setenv("COURSE_SEED", seed)
        assert is_measuring(seeds=3) is expected and is_measuring()


def test_a_run_that_is_too_short_is_shown_and_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "lines"))
    assert "accuracy" in str(record("11/one", keep=False, accuracy=0.5))
    assert not (tmp_path / "lines").exists()
    record("11/one", accuracy=0.5)
    assert len((tmp_path / "lines").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("test_accuracy", "25.00 % ± 1.50 (2 seeds)"),
        ("plain_45_error", "25.00 % ± 1.50 (2 seeds)"),
        ("minutes", "0.2 min ± 0.0 (2 seeds)"),
        ("loss", "0.25 ± 0.015 (2 seeds)"),
    ],
)
def test_recorded_numbers_are_written_as_what_they_are(key, text):
    assert recorded_text(key, {"mean": 0.25, "sd": 0.015, "values": [0.2, 0.3]}) == text


# ---- files


def test_leftovers_of_killed_processes_go_a_day_later(tmp_path):
    path = tmp_path / "run[1].pt"
    old, new, other = (tmp_path / name for name in ("run[1].pt.7.part", "run[1].pt.8.part", "run1.pt.7.part"))
    for part in (old, new, other):
        part.write_bytes(b"half")
    for part in (old, other):
        os.utime(part, (0, 0))
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([path, new, other])


def test_a_write_that_fails_says_what_stays(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    path = tmp_path / "run.pt"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"run\.pt could not be written \(No space left .*\): what stood there"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
