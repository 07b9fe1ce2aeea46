"""Measure the course's results: run the notebooks on the full data with several seeds and keep mean ± sd.

`make results` writes data/results.json, from which students see a recorded number beside their own, and the tables
made of it. Nothing in them is typed by hand.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from course_utils.runtime import REPOSITORY, RESULTS_FILE, load_results, write_whole
from course_utils.workshop.tables import documents

PARTS = REPOSITORY / "data" / "results.parts"  # what each finished run recorded, until all are summed up


def main(arguments: list[str]) -> int:
    """Run the notebooks, write the results file and the tables; return the exit code."""
    options = parse(arguments)
    results = load_results()  # before hours of measuring, in case that file cannot be read
    parts = []
    if not options.tables:
        try:
            parts = measure(find_notebooks(options.chapters), options.seeds)
        except KeyboardInterrupt:
            print("\nInterrupted. The finished runs are kept: the same command goes on from there.", file=sys.stderr)
            return 130
        results |= summarize(json.loads(line) for part in parts for line in part.read_text("utf-8").splitlines())
        text = json.dumps({"command": "make results", "results": results}, indent=1) + "\n"
        write_whole(RESULTS_FILE, text.encode())
    for path, text in documents(results).items():
        write_whole(path, text.encode())
        print(f"{path} is up to date.")
    for part in parts:  # only now that everything is written
        part.unlink()
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options of `make results ARGS=…`. Exits with 2, naming the fault, for bad ones."""
    parser = argparse.ArgumentParser(prog="python -m course_utils results", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="chapter numbers, for example 01 03 (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 on (default: 5)")
    parser.add_argument("--tables", action="store_true", help="measure nothing, only write the tables again")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"expected at least one seed, got {options.seeds}")
    return options


def find_notebooks(chapters: Iterable[str]) -> list[Path]:
    """Return the notebooks of these chapters, or all. Raises SystemExit for a chapter that does not exist."""
    paths = {path.name[:2]: path for path in sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    for chapter in chapters:
        if chapter not in paths:
            sys.exit(f"there is no chapter {chapter!r}: choose from {', '.join(paths)}")
    return [path for chapter, path in paths.items() if chapter in chapters or not chapters]


def measure(notebooks: Iterable[Path], seeds: int) -> list[Path]:
    """Execute each notebook once a seed, on the full data; return the files in PARTS that hold what they recorded.

    A measurement that was stopped goes on: runs whose file is there already are not repeated.
    """
    from tqdm.auto import tqdm

    runs = {PARTS / f"{path.stem}-seed{seed}.jsonl": (path, seed) for path in notebooks for seed in range(seeds)}
    if done := sum(part.exists() for part in runs):
        print(f"{done} of {len(runs)} runs are already in {PARTS}: delete that folder to measure them anew.")
    PARTS.mkdir(parents=True, exist_ok=True)
    for part, (path, seed) in (bar := tqdm(runs.items(), unit="notebook")):
        bar.set_description(f"{path.stem}, seed {seed}")
        if not part.exists():
            unfinished = part.with_suffix(".part")
            unfinished.write_text("")
            execute(path, {"COURSE_PROFILE": "full", "COURSE_SEED": str(seed), "COURSE_RESULTS": str(unfinished)})
            unfinished.replace(part)
    return list(runs)


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
            "source": group[-1]["source"],
            "machine": group[-1]["machine"],
        }
        for name, group in groups.items()
    }


def spread(values: list[float]) -> dict:
    """Return mean, sd (n − 1; 0 for a single value) and the values themselves."""
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": sd, "values": values}
