"""Every control of every notebook: arrow keys and the mouse change the picture and the text beside it."""

import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# (notebook, cell): for each control, from top to bottom, what the text says after one press of the right arrow key
EXPLORERS = {
    ("00_start_here", "wave"): {"frequency": "frequency = 3 Hz"},
    ("01_first_network", "neuron"): {
        "w1": "w1 = 1.25",
        "w2": "w2 = 0.25",
        "w3": "w3 = 0.25",
        "bias": "bias = -0.25",
    },
    ("01_first_network", "descent"): {"learning rate": "learning rate = 0.1,", "batch size": "batch size = 7,000"},
    ("03_mnist_dnn", "valley"): {
        "optimizer": "momentum, learning rate = 0.3",
        "learning rate": "learning rate = 0.5",
        "momentum": "momentum β = 0.91",  # has an effect because the first key press chose this optimizer
    },
}
TIMER = """image => {
    window.delays = [];
    addEventListener('keydown', () => { window.pressed = performance.now(); }, {capture: true});
    // the second frame after loading begins when the first, with the new picture, is on the screen
    const shown = () => window.delays.push(performance.now() - window.pressed);
    image.addEventListener('load', () => requestAnimationFrame(() => requestAnimationFrame(shown)));
}"""


def handle_of(cell: Locator, label: str) -> Locator:
    """Return the part of a slider that a person drags, found by the label beside it."""
    own_label = cell.page.locator(".widget-label").get_by_text(label, exact=True)
    return cell.locator(".widget-slider").filter(has=own_label).locator(".noUi-handle")


def wait_for_another_picture(image: Locator, before: bytes, seconds: float = 30) -> None:
    """Return when the pixels on the screen differ; fail when they stay the same."""
    deadline = time.monotonic() + seconds
    while image.screenshot() == before:
        assert time.monotonic() < deadline, f"the picture is still the same after {seconds:g} s"
        time.sleep(0.05)


def test_every_explorer_is_tested():
    written = {
        (path.stem, cell.id)
        for path in NOTEBOOKS.glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and "_explorer(" in cell.source
    }
    assert written == set(EXPLORERS)


@pytest.mark.parametrize(("name", "cell_id"), EXPLORERS)
def test_arrow_keys_change_picture_and_text(page_of, shoot, name, cell_id):
    notebook = page_of(name)
    notebook.run_all()
    cell = notebook.cell(cell_id)
    picture, controls = cell.locator("img"), EXPLORERS[name, cell_id]
    expect(cell.locator(".noUi-handle")).to_have_count(len(controls))
    shoot(cell, f"{name}-{cell_id}-before")
    for label, text in controls.items():
        handle_of(cell, label).click()
        before = picture.screenshot()
        expect(cell.locator(".widget-html")).not_to_contain_text(text)
        notebook.page.keyboard.press("ArrowRight")
        expect(cell.locator(".widget-html")).to_contain_text(text)
        wait_for_another_picture(picture, before)
    assert notebook.troubles() == []
    shoot(cell, f"{name}-{cell_id}-after")


def test_the_mouse_drags_a_slider(page_of):
    notebook = page_of("00_start_here")
    notebook.run_all()
    cell, mouse = notebook.cell("wave"), notebook.page.mouse
    handle, before = handle_of(cell, "frequency"), cell.locator("img").screenshot()
    handle.hover()
    mouse.down()
    end = cell.locator(".noUi-target").bounding_box()
    mouse.move(end["x"] + end["width"] + 40, end["y"], steps=5)
    mouse.up()
    expect(cell.locator(".widget-html")).to_contain_text("frequency = 10 Hz")
    wait_for_another_picture(cell.locator("img"), before)


@pytest.mark.parametrize(("name", "cell_id"), EXPLORERS)
def test_time_from_key_press_to_picture(page_of, latencies, name, cell_id):
    """Measure only: the summary at the end prints the medians."""
    notebook = page_of(name)
    notebook.run_all()
    cell, page = notebook.cell(cell_id), notebook.page
    cell.locator("img").evaluate(TIMER)
    for label in EXPLORERS[name, cell_id]:
        handle_of(cell, label).focus()
        for presses in range(1, 7):  # there and back, so that every slider ends where it was
            page.keyboard.press("ArrowLeft" if presses % 2 else "ArrowRight")
            page.wait_for_function("presses => window.delays.length === presses", arg=presses)
        latencies[f"{name} {cell_id}: {label}"] = page.evaluate("window.delays.splice(0)")
