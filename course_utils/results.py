"""Measure the course's results: run the notebooks on the full data with several seeds and keep mean ± sd.

`make results` writes data/results.json, from which students see a recorded number beside their own, and the table in
README.md. Nothing in either is typed by hand.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from course_utils.runtime import REPOSITORY, RESULTS_FILE, label, load_results, recorded_text

README = REPOSITORY / "README.md"
PARTS = REPOSITORY / "data" / "results.parts"  # of a measurement that is not yet complete
MARKERS = ("<!-- results:begin -->", "<!-- results:end -->")


def main(arguments: list[str]) -> int:
    """Run the notebooks, write the results file and the table in README.md; return the exit code."""
    options = parse(arguments)
    lines = [] if options.table_only else measure(find_notebooks(options.chapters), options.seeds)
    results = load_results() | summarize(lines)
    if lines:
        write_whole(RESULTS_FILE, json.dumps({"command": "make results", "results": results}, indent=1) + "\n")
    text = README.read_text(encoding="utf-8")
    write_whole(README, with_table(text, table(results)))
    print(f"{RESULTS_FILE} and the table in {README} are up to date.")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options of `make results ARGS=…`. Exits with 2, naming the fault, for bad ones."""
    parser = argparse.ArgumentParser(prog="python -m course_utils results", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="chapter numbers, for example 01 03 (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: 5)")
    parser.add_argument("--table-only", action="store_true", help="only renew the table in README.md")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"expected at least one seed, got {options.seeds}")
    return options


def find_notebooks(chapters: Iterable[str]) -> list[Path]:
    """Return the notebooks of these chapters, or all. Raises SystemExit for a chapter that does not exist."""
    everything = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    chapters = list(chapters) or [path.name[:2] for path in everything]
    for chapter in chapters:
        if not any(path.name.startswith(f"{chapter}_") for path in everything):
            sys.exit(f"there is no chapter {chapter!r}: choose from {', '.join(path.name[:2] for path in everything)}")
    return [path for path in everything if path.name[:2] in chapters]


def measure(notebooks: Iterable[Path], seeds: int) -> list[dict]:
    """Execute each notebook once a seed, on the full data; return what they recorded, one dict a `record` call.

    What a finished run recorded is kept in data/results.parts until all are done, so a stopped measurement goes on.
    """
    from tqdm.auto import tqdm

    runs = [(path, seed) for path in notebooks for seed in range(seeds)]
    files = [part_of(path, seed) for path, seed in runs]
    if done := sum(file.exists() for file in files):
        print(f"{done} of {len(runs)} runs are already in {PARTS}: delete that folder to measure them anew.")
    for path, seed in (bar := tqdm(runs, unit="notebook")):
        bar.set_description(f"{path.stem}, seed {seed}")
        run_once(path, seed)
    lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    for file in files:
        file.unlink()
    return lines


def run_once(path: Path, seed: int) -> None:
    """Execute a notebook with one seed, unless that has been done, and keep what it recorded."""
    file = part_of(path, seed)
    if file.exists():
        return
    unfinished = file.with_suffix(".part")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_text("", encoding="utf-8")
    execute(path, {"COURSE_PROFILE": "full", "COURSE_SEED": str(seed), "COURSE_RESULTS": str(unfinished)})
    unfinished.replace(file)


def part_of(path: Path, seed: int) -> Path:
    """Return where the records of one run are kept."""
    return PARTS / f"{path.stem}-seed{seed}.jsonl"


def execute(path: Path, environment: Mapping[str, str]) -> None:
    """Run all cells of a notebook in a fresh kernel with these environment variables. Raises CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env={**os.environ, **environment})


def summarize(lines: Iterable[Mapping]) -> dict[str, dict]:
    """Group recorded lines by name: mean, sd (n − 1) and the single values of each number.

    Lines of the tiny profile or of stand-in data are left out: they are not results.
    """
    groups: dict[str, list[Mapping]] = {}
    for line in lines:
        if line["profile"] != "tiny" and "stand-in" not in line["source"]:
            groups.setdefault(line["name"], []).append(line)
    return {
        name: {
            "numbers": {key: spread([line["numbers"][key] for line in group]) for key in group[0]["numbers"]},
            "seeds": [line["seed"] for line in group],
            "machine": group[-1]["machine"],
        }
        for name, group in groups.items()
    }


def spread(values: list[float]) -> dict:
    """Return mean, sd (n − 1; 0 for a single value) and the values themselves."""
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": sd, "values": values}


def table(results: Mapping[str, Mapping]) -> str:
    """Return the results as a Markdown table, one line a recorded name."""
    lines = ["| chapter / result | measured: mean ± sd (seeds) | on |", "|---|---|---|"]
    for name, entry in sorted(results.items()):
        numbers = "<br>".join(f"{label(key)} {recorded_text(key, value)}" for key, value in entry["numbers"].items())
        machine = entry["machine"]
        lines.append(f"| {label(name)} | {numbers} | {machine['device']}, torch {machine['torch']} |")
    return "\n".join(lines)


def with_table(text: str, markdown: str) -> str:
    """Return README's text with the table between its markers. Raises ValueError when the markers are missing."""
    begin, end = MARKERS
    if begin not in text or end not in text:
        raise ValueError(f"expected the lines {begin} and {end} in README.md: put them where the table belongs")
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n{markdown}\n{end}{rest.split(end, 1)[1]}"


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)
