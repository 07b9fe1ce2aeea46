"""The notebooks as a student meets them: they open, run, explain wrong answers, and keep solutions folded."""

import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from test_controls import within

NOTEBOOKS = {path.stem: path for path in sorted(Path(__file__).resolve().parents[2].glob("notebooks/*.ipynb"))}
MESSAGES = ("ZeroDivisionError", "VBox(children=", "Error displaying widget", "a warning", "NameError")


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    """Return the code cells of one of the course's notebooks, as git has them."""
    return [cell for cell in nbformat.read(NOTEBOOKS[name], as_version=4).cells if cell.cell_type == "code"]


@within("broken")
def test_trouble_is_seen_where_there_is_trouble(notebook):
    """Without this, a test that finds no trouble may only be blind."""
    assert "Select Kernel" in notebook.question, "the file names no kernel"
    notebook.cell("callback").get_by_role("button", name="press me").click()
    notebook.open_log()
    for message in MESSAGES:
        expect(notebook.page.locator(".jp-OutputArea-output").filter(has_text=message)).to_be_visible()
    assert len(notebook.troubles()) == len(MESSAGES)


@pytest.mark.parametrize("notebook", NOTEBOOKS, indirect=True)
def test_notebook_opens_without_asking_for_a_kernel(notebook):
    assert notebook.question == "", "JupyterLab asks which kernel to start; a student would not know"
    expect(notebook.page.locator(".jp-Toolbar-kernelName").first).to_contain_text("Python 3")


@pytest.mark.parametrize("notebook", NOTEBOOKS, indirect=True)
def test_all_cells_run_and_nothing_looks_broken(notebook, shoot):
    assert notebook.troubles() == []
    prompts = notebook.prompts()
    assert prompts
    assert [prompt for prompt in prompts if not re.fullmatch(r"\[\d+\]:", prompt)] == []
    for cell in code_cells(notebook.name):
        outputs = notebook.cell(cell.id).locator(".jp-Cell-outputArea")
        if outputs.locator("img, canvas").count():
            shoot(outputs, f"{notebook.name}-{cell.id}")


@pytest.mark.parametrize("notebook", NOTEBOOKS, indirect=True)
def test_solutions_are_folded(notebook):
    folded = [cell.id for cell in code_cells(notebook.name) if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert folded, f"{notebook.name} has no folded solution"
    for cell_id in folded:
        expect(notebook.cell(cell_id).locator(".cm-content")).not_to_be_visible()
        expect(notebook.cell(cell_id).locator(".jp-InputPlaceholder")).to_be_visible()


@within("00_start_here")
def test_a_click_on_the_dots_unfolds_a_solution(notebook):
    cell = notebook.cell("solution-mean")
    cell.locator(".jp-InputPlaceholder").locator(".jp-Placeholder-content").click()
    expect(cell.locator(".cm-content")).to_contain_text("sum(values) / len(values)")


@within("00_start_here")
def test_a_click_unfolds_a_hint(notebook):
    first, second = (notebook.page.locator("details").filter(has_text=f"Hint {k} of 2").first for k in (1, 2))
    expect(first).to_have_text("Hint 1 of 2", use_inner_text=True)  # what is folded is no inner text
    first.get_by_text("Hint 1 of 2").click()
    expect(first).to_contain_text("28 pixels in each row", use_inner_text=True)
    expect(second).to_have_text("Hint 2 of 2", use_inner_text=True)


@within("00_start_here")
def test_an_exercise_answers_wrong_and_right(notebook):
    verdict = notebook.cell("check-pixels").locator(".jp-OutputArea-output")
    for answer, message in (
        ("...", "not attempted yet"),
        ("28 + 28", "not yet. 28 + 28 counts one row and one column"),
        ("28 * 28", "passed"),
    ):
        notebook.type_and_run("exercise-pixels", f"pixels = {answer}")
        notebook.type_and_run("check-pixels")
        expect(verdict).to_contain_text(message)
    assert notebook.troubles() == []
