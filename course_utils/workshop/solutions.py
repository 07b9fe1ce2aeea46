"""Copy each exercise's right answer into its folded solution cell (`make format`), or say which cells differ.

The right answer stands once, in notebooks/exercises/topic.py, where the check reads it: readers may edit the cell.
"""

import re
import sys
from pathlib import Path

import nbformat

FIRST_LINE = "# Solution\n"  # JupyterLab shows the first line of a folded cell


def solution_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """Return the folded solution cells by the name of their exercise, which the check before them tells."""
    found, name = {}, ""
    for cell in notebook.cells:
        checked = re.match(r'check\("([\w/]+)"', cell.source)
        name = checked[1] if checked else name
        if "solution" in cell.metadata.get("tags", []) and cell.metadata.get("jupyter", {}).get("source_hidden"):
            found[name] = cell
    return found


def copy_solutions(folder: Path, *, write: bool) -> list[str]:
    """Return the names of exercises whose solution cell differs from the right answer; mend the cells with `write`."""
    sys.path.insert(0, str(folder))
    from course_utils.exercises import exercises

    different = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cells, before = solution_cells(notebook), len(different)
        for name, exercise in exercises(path.name[:2]).items():
            source = FIRST_LINE + exercise.right.strip("\n")
            if name in cells and cells[name].source != source:
                cells[name].source = source
                different.append(name)
        if write and len(different) > before:
            path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return different


if __name__ == "__main__":
    for name in copy_solutions(Path(__file__).resolve().parents[2] / "notebooks", write=True):
        print(f"{name}: the right answer is now in its solution cell")
