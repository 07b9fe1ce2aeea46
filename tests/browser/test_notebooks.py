"""The notebooks as a student meets them: they open, run, explain wrong answers, and keep solutions folded."""

import re
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest
from playwright.sync_api import expect

NOTEBOOKS = {path.stem: path for path in sorted(Path(__file__).resolve().parents[2].glob("notebooks/*.ipynb"))}
BROKEN_CELLS = {
    "callback": """
        import ipywidgets
        button = ipywidgets.Button(description="press me")
        button.on_click(lambda button: 1 / 0)
        button""",
    "no-extension": """display({"text/plain": "VBox(children=(FloatSlider(value=2.0),))"}, raw=True)""",
    "no-model": """display({"application/vnd.jupyter.widget-view+json": {"model_id": "none"}}, raw=True)""",
    "warning": """import sys; print("a warning", file=sys.stderr)""",
    "error": """undefined_name""",  # the last one: JupyterLab does not run the cells after an error
}
MESSAGES = ("ZeroDivisionError", "VBox(children=", "Error displaying widget", "a warning", "NameError")


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    """Return the code cells of one of the course's notebooks, as git has them."""
    return [cell for cell in nbformat.read(NOTEBOOKS[name], as_version=4).cells if cell.cell_type == "code"]


def write_broken_notebook(path: Path) -> None:
    """Write a notebook in which everything goes wrong that the tests of the good ones look for."""
    cells = [nbformat.v4.new_code_cell(dedent(source).strip(), id=name) for name, source in BROKEN_CELLS.items()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_trouble_is_seen_where_there_is_trouble(lab, page_of):
    """Without this, a test that finds no trouble may only be blind."""
    write_broken_notebook(lab.folder / "broken.ipynb")
    notebook = page_of("broken")
    assert "Select Kernel" in notebook.question, "the file names no kernel"
    notebook.run_all()
    notebook.cell("callback").get_by_role("button", name="press me").click()
    notebook.open_log()
    for message in MESSAGES:
        expect(notebook.page.locator(".jp-OutputArea-output").filter(has_text=message)).to_be_visible()
    assert len(notebook.troubles()) == len(MESSAGES)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_opens_without_asking_for_a_kernel(page_of, name):
    notebook = page_of(name)
    assert notebook.question == "", "JupyterLab asks which kernel to start; a student would not know"
    expect(notebook.page.locator(".jp-Toolbar-kernelName").first).to_contain_text("Python 3")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_run_and_nothing_looks_broken(page_of, shoot, name):
    notebook = page_of(name)
    notebook.run_all()
    assert notebook.troubles() == []
    prompts = notebook.prompts()
    assert prompts
    assert [prompt for prompt in prompts if not re.fullmatch(r"\[\d+\]:", prompt)] == []
    for cell in code_cells(name):
        outputs = notebook.cell(cell.id).locator(".jp-Cell-outputArea")
        if outputs.locator("img, canvas").count():
            shoot(outputs, f"{name}-{cell.id}")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solutions_are_folded(page_of, name):
    notebook = page_of(name)
    folded = [cell.id for cell in code_cells(name) if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert folded, f"{name} has no folded solution"
    for cell_id in folded:
        expect(notebook.cell(cell_id).locator(".cm-content")).not_to_be_visible()
        expect(notebook.cell(cell_id).locator(".jp-InputPlaceholder")).to_be_visible()


def test_a_click_on_the_dots_unfolds_a_solution(page_of):
    cell = page_of("00_start_here").cell("solution-mean")
    cell.locator(".jp-InputPlaceholder").locator(".jp-Placeholder-content").click()
    expect(cell.locator(".cm-content")).to_contain_text("sum(values) / len(values)")


def test_a_click_unfolds_a_hint(page_of):
    notebook = page_of("00_start_here")
    notebook.run_all()
    cell = notebook.cell("hint-pixels")
    expect(cell.get_by_text("Hint 1 of 2")).to_be_visible()
    expect(cell.get_by_text("28 pixels in each row")).not_to_be_visible()
    cell.get_by_text("Hint 1 of 2").click()
    expect(cell.get_by_text("28 pixels in each row")).to_be_visible()
    expect(cell.get_by_text("Multiply rows by columns")).not_to_be_visible()


def test_an_exercise_answers_wrong_and_right(page_of):
    notebook = page_of("00_start_here")
    notebook.run_all()
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
