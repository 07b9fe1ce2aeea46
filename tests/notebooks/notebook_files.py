"""Read the notebooks as the tests need them: cells by tag, and exercises in their cells."""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name, the variable that holds the answer, and the sources of its cells."""

    name: str
    variable: str
    statement: str
    stub: str
    solution: str
    proof: str
    imports: str

    def __str__(self) -> str:
        return self.name


def read(path: Path) -> nbformat.NotebookNode:
    """Read one notebook."""
    return nbformat.read(path, as_version=4)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def exercises(path: Path) -> list[Exercise]:
    """Return a notebook's exercises. Raises AssertionError, naming the cell, where the five-cell pattern is broken."""
    cells = read(path).cells
    imports = next(cell.source for cell in cells if cell.id == "imports")
    found = []
    for k, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        check = cells[k + 1].source
        match = re.fullmatch(r'check\("(\d\d/\w+)", (\w+)\)', check.strip())
        assert match, f"{path.name}: the cell after {cell.id} should be check(name, answer), got {check!r}"
        rest = [follower for follower in cells[k + 2 : k + 4] if "solution" in tags(follower)]
        assert len(rest) == 2, f"{path.name}: {cell.id} lacks its solution cell or its strict assert"
        found.append(Exercise(*match.groups(), cells[k - 1].source, cell.source, *(c.source for c in rest), imports))
    return found


HEAD = re.compile(
    r"\*\*Takes\*\* (\d+) minutes for the core \(sections 1–(\d+)\) and (\d+) for the lab \((\d+)–(\d+)\); "
    r"of these, the cells run for (\d+) and (\d+)\."
)


def minutes(cells: list[nbformat.NotebookNode]) -> float:
    """Return how long a student takes, without what the cells run: the rule by which all chapters count.

    160 words of prose a minute (folded hints aside), 10 lines of code (stubs and solutions aside), and what the
    exercises say they take.
    """
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    exercises = sum(int(count) for count in re.findall(r"\*\*Exercise ●+ \((\d+) minutes?\)", prose))
    words = len(re.sub(r"<details>.*?</details>", "", prose, flags=re.S).split())
    code = [cell for cell in cells if cell.cell_type == "code" and not {"exercise", "solution"} & set(tags(cell))]
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.splitlines())
    return words / 160 + lines / 10 + exercises


ALL_EXERCISES = [exercise for path in PATHS for exercise in exercises(path)]
