"""Every notebook keeps the form that readers, instructors and tools rely on."""

import ast
import math
import re

import pytest

from course_utils.exercises import exercises, topics
from course_utils.workshop.solutions import FIRST_LINE, copy_solutions
from notebook_files import ALL_EXERCISES, HEAD, PATHS, minutes, read, tags

NAMES = [path.stem for path in PATHS]
pytestmark = pytest.mark.parametrize("path", PATHS, ids=NAMES)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_opens_with_what_the_reader_gets(path):
    opening = read(path).cells[0].source
    assert opening.startswith(f"# {path.name[:2]} · ")
    for promise in ("**After this chapter you can**", "**Builds on**", "**Takes**"):
        assert promise in opening


def test_ends_with_a_summary_the_field_and_a_way_on(path):
    ends = ["## Summary"] if path.name.startswith("00") else ["## Summary", "## In the field today", "## Read further"]
    last = read(path).cells[-len(ends) :]
    assert [cell.source.splitlines()[0] for cell in last] == ends
    assert "Go on" in last[-1].source
    if ends[1:]:
        links = re.findall(r"\]\(https?://\S+\)", last[-1].source)
        assert 3 <= len(links) <= 8 and len(re.findall(r"\((?:19|20)\d\d\)", last[-1].source)) >= 3


def test_core_and_lab_are_marked_and_take_what_the_head_says(path):
    """The core fits a lecture. Minutes are rounded up to five, by the rule of `minutes`, plus what the cells run."""
    if path.name.startswith("00"):
        return
    cells = read(path).cells
    lab = next(k for k, cell in enumerate(cells) if cell.id == "lab")
    assert cells[lab].source.startswith("# Lab\n")
    headings = [
        re.match(r"## (\d+) · (Lab: )?(?!Lab)\S", cell.source) for cell in cells if cell.cell_type == "markdown"
    ]
    sections = [(int(found[1]), bool(found[2])) for found in headings if found]
    assert [number for number, _ in sections] == list(range(1, len(sections) + 1))
    core, last = sum(not in_lab for _, in_lab in sections), len(sections)
    assert sections == [(k, k > core) for k in range(1, last + 1)], "the lab comes behind the core"
    stated = HEAD.search(cells[0].source)
    assert stated, f"expected a head like {HEAD.pattern}"
    runs = int(stated[6]), int(stated[7])
    counted = [5 * math.ceil((minutes(cells[:lab]) + runs[0]) / 5), 5 * math.ceil((minutes(cells[lab:]) + runs[1]) / 5)]
    assert list(map(int, stated.groups()[:5])) == [counted[0], core, counted[1], core + 1, last]
    assert counted[0] <= 75, f"the core takes {minutes(cells[:lab]):.0f} minutes and runs {runs[0]}"


def test_import_cells_are_short(path):
    imports = next(cell for cell in read(path).cells if cell.id == "imports")
    assert len(imports.source.splitlines()) <= 12


def test_names_its_kernel(path):
    """Without a kernelspec JupyterLab asks each reader which kernel to start."""
    assert read(path).metadata == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    }


def test_cell_ids_are_unique_words(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in ids), "ids are words, so that links to cells last"


def test_holds_no_outputs_and_no_counts(path):
    for cell in code_cells(path):
        assert not cell.outputs and cell.execution_count is None, cell.id


def test_code_cells_parse_and_hold_one_idea(path):
    for cell in code_cells(path):
        tree = ast.parse(cell.source)
        assert cell.id == "imports" or len(cell.source.splitlines()) <= 27, f"{cell.id} is too long for one idea"
        assert not any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree))


def test_prose_comes_between_the_code(path):
    """At most four plain code cells in a row without prose (an exercise's four cells do not count)."""
    run = 0
    for cell in read(path).cells:
        own = {"exercise", "solution"} & set(tags(cell)) or cell.source.startswith("check(")
        run = 0 if cell.cell_type == "markdown" or own else run + 1
        assert run <= 4, f"{cell.id}: a long run of code without a word"


def test_prose_cells_are_short(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            plain = re.sub(r"^\|.*$|```.*?```|\$\$.*?\$\$|<details>.*?</details>", "", cell.source, flags=re.M | re.S)
            assert len(plain.split()) <= 170, f"{cell.id}: {len(plain.split())} words"


def test_predict_before_and_observe_after(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    least = 2 if path.name.startswith("00") else 8
    assert text.count("**Predict:") + text.count("**Predict**") >= least
    assert text.count("**Observe") >= least


def test_links_to_other_notebooks_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([\w.-]+\.ipynb)\)", cell.source):
            assert (path.parent / target).exists(), f"{cell.id} links to {target}"


def test_solutions_are_folded_and_do_not_show_the_answer(path):
    """JupyterLab shows a folded cell's first line."""
    cells = read(path).cells
    for stub in [k for k, cell in enumerate(cells) if "exercise" in tags(cell)]:
        solution = next(cell for cell in cells[stub:] if "solution" in tags(cell))
        assert solution.metadata.get("jupyter", {}).get("source_hidden"), solution.id
        assert solution.source.startswith(FIRST_LINE), solution.id


def test_hints_are_folded_in_the_statement(path):
    for exercise in [e for e in ALL_EXERCISES if e.name.startswith(path.name[:2])]:
        hints = re.findall(r"^<details><summary>Hint (\d) of (\d)</summary>(.+)</details>$", exercise.statement, re.M)
        assert hints and [int(k) for k, _, _ in hints] == list(range(1, len(hints) + 1)), exercise.name
        assert {int(count) for _, count, _ in hints} == {len(hints)}, exercise.name
        body = [line.strip() for line in exercise.solution.splitlines()[1:] if not line.startswith("def ")]
        assert not all(any(line in text for _, _, text in hints) for line in body), f"{exercise.name}: nothing is left"


def test_holds_no_marks_of_its_making(path):
    assert not [cell.id for cell in read(path).cells if "@@" in cell.source]


def test_exercises_and_checks_belong_together(path):
    chapter = path.name[:2]
    in_notebook = [exercise.name for exercise in ALL_EXERCISES if exercise.name.startswith(chapter)]
    assert in_notebook == list(exercises(chapter)) and topics()[chapter] == path.stem[3:]
    assert len(in_notebook) >= (1 if chapter == "00" else 4)


def test_statements_give_level_and_expected_shape(path):
    for exercise in [e for e in ALL_EXERCISES if e.name.startswith(path.name[:2])]:
        assert re.search(r"\*\*Exercise ●+ \(\d+ minutes?\)\.\*\*", exercise.statement), exercise.name
        assert "*Expected:" in exercise.statement, exercise.name


def test_has_a_bug_to_spot(path):
    text = "\n".join(cell.source for cell in read(path).cells)
    assert "Spot the bug" in text or path.name.startswith("00")


def test_no_accuracy_is_typed_into_prose_as_ours(path):
    """Percentages with two decimals are measured; in prose they may only be the textbook's figures, or a paper's."""
    textbook = {"67.17", "96.66", "97.94", "91.25"}
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            assert set(re.findall(r"(\d\d\.\d\d) %", cell.source)) <= textbook, cell.id


def test_solution_cells_hold_the_right_answers(path):
    """`make format` copies them there."""
    assert not [name for name in copy_solutions(path.parent, write=False) if name.startswith(path.name[:2])]
