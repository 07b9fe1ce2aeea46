"""Chapter 05's canvas: what mouse and finger draw is prepared, answered, cleared, and does not scroll the page."""

import math
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Locator, expect

from test_controls import handle_of, pixels_of, text_of, wait_for_pixels, within

Stroke = Sequence[tuple[float, float]]  # points (x, y) in 0..1, from the upper left corner
TURN = [2 * math.pi * k / 24 for k in range(25)]
ONE: Stroke = [(0.55, 0.2), (0.48, 0.8)]
SEVEN: Stroke = [(0.25, 0.22), (0.72, 0.22), (0.45, 0.8)]
ZERO_IN_A_CORNER: Stroke = [(0.81 + 0.08 * math.sin(t), 0.19 - 0.13 * math.cos(t)) for t in TURN]
INK = (
    "canvas => canvas.getContext('2d').getImageData(0, 0, 280, 280).data.filter((v, k) => k % 4 === 0 && v > 0).length"
)
SCROLLED = """element => {
    let pixels = 0;
    for (let parent = element; parent; parent = parent.parentElement) pixels += parent.scrollTop;
    return pixels;
}"""


@pytest.fixture
def cell(notebook) -> Iterator[Locator]:
    """Return the cell with the canvas, wiped and with every step of the preparation switched on."""
    cell = notebook.cell("draw")
    for box in cell.get_by_role("checkbox").all():
        box.check()
    cell.get_by_role("button", name="clear the canvas").click()
    expect(text_of(cell)).to_contain_text("draw something")
    yield cell
    assert notebook.troubles() == []


@pytest.fixture
def pads(notebook) -> Iterator:
    """Return the notebook that shows one pad twice, both wiped."""
    notebook.type_and_run("drive", "pad.clear()")
    expect_ink(notebook, 0)
    yield notebook
    assert notebook.troubles() == []


def expect_ink(notebook, low: int, high: int | None = None) -> None:
    """Wait until both canvases have equally many pixels of ink, `low` to `high`."""
    notebook.page.wait_for_function(
        f"""([low, high]) => {{
            const ink = [...document.querySelectorAll('.drawing-pad canvas')].map({INK});
            return ink.length === 2 && ink[0] === ink[1] && low <= ink[0] && ink[0] <= high;
        }}""",
        arg=[low, low if high is None else high],
    )


def draw(cell: Locator, stroke: Stroke) -> None:
    """Draw one stroke with the mouse."""
    mouse, points = cell.page.mouse, on_page(cell.locator("canvas"), stroke)
    mouse.move(*points[0])
    mouse.down()
    for point in points[1:]:
        mouse.move(*point, steps=8)
    mouse.up()


def on_page(canvas: Locator, stroke: Stroke) -> list[tuple[float, float]]:
    """Return the stroke's points in pixels of the page, where the canvas is now."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


@pytest.mark.parametrize(("stroke", "digit"), [(ONE, 1), (SEVEN, 7)])
@within("05_lenet")
def test_a_drawn_digit_is_answered_and_cleared(cell, shoot, stroke, digit):
    before = pixels_of(cell)
    draw(cell, stroke)
    expect(text_of(cell)).to_contain_text(f"answer is {digit} ")
    wait_for_pixels(cell, before)
    shoot(cell, f"05_lenet-draw-{digit}")
    cell.get_by_role("button", name="clear the canvas").click()
    expect(text_of(cell)).to_contain_text("draw something")
    expect(text_of(cell)).not_to_contain_text("answer is")


@within("05_lenet")
def test_the_answer_comes_while_the_line_is_drawn(cell):
    mouse, points = cell.page.mouse, on_page(cell.locator("canvas"), ONE)
    mouse.move(*points[0])
    mouse.down()
    mouse.move(*points[1], steps=8)
    expect(text_of(cell)).to_contain_text("answer is")
    mouse.up()


@within("05_lenet")
def test_a_digit_in_the_corner_needs_the_crop(cell, shoot):
    handle_of(cell, "pen (px)").press("Home")  # the thinnest pen: the digit is small
    draw(cell, ZERO_IN_A_CORNER)
    expect(text_of(cell)).to_contain_text("answer is 0 ")
    before = pixels_of(cell)
    cell.get_by_label("crop to the ink").uncheck()
    expect(text_of(cell)).to_contain_text("crop to the ink = off")
    expect(text_of(cell)).not_to_contain_text("answer is 0 ")
    wait_for_pixels(cell, before)
    shoot(cell, "05_lenet-draw-corner")
    cell.get_by_label("crop to the ink").check()
    expect(text_of(cell)).to_contain_text("answer is 0 ")


@within("05_lenet")
def test_another_network_answers(cell):
    menu = cell.get_by_role("combobox", name="network")
    draw(cell, SEVEN)
    expect(text_of(cell)).to_contain_text("answer is 7 ")
    before = pixels_of(cell)
    menu.select_option("trained above")
    expect(text_of(cell)).to_contain_text("network = trained above")
    wait_for_pixels(cell, before)
    menu.select_option("shipped weights")
    expect(text_of(cell)).to_contain_text("network = shipped weights")
    expect(text_of(cell)).to_contain_text("answer is 7 ")


@pytest.mark.parametrize("label", ["box of 20", "center by mass"])
@within("05_lenet")
def test_each_step_of_the_preparation_changes_the_picture(cell, label):
    draw(cell, SEVEN)
    expect(text_of(cell)).to_contain_text("answer is")
    before = pixels_of(cell)
    cell.get_by_label(label).uncheck()
    expect(text_of(cell)).to_contain_text(f"{label} = off")
    wait_for_pixels(cell, before)


@within("05_lenet")
def test_the_pen_draws_wider_lines(cell):
    ink = {}
    for key, width in (("Home", 8), ("End", 32)):
        handle_of(cell, "pen (px)").press(key)
        expect(text_of(cell)).to_contain_text(f"pen (px) = {width},")
        draw(cell, ONE)
        expect(text_of(cell)).to_contain_text("answer is")
        ink[width] = cell.locator("canvas").evaluate(INK)
        cell.get_by_role("button", name="clear the canvas").click()
    assert ink[32] > 2 * ink[8] > 0


@within("05_lenet")
def test_the_keyboard_clears_the_canvas(cell):
    draw(cell, ONE)
    expect(text_of(cell)).to_contain_text("answer is")
    cell.get_by_role("button", name="clear the canvas").press("Enter")
    expect(text_of(cell)).to_contain_text("draw something")


@within("05_lenet")
def test_a_finger_draws_and_does_not_scroll(cell):
    """A swipe beside the canvas scrolls: without that, a page that cannot scroll at all would pass."""
    page, canvas = cell.page, cell.locator("canvas")
    size = page.viewport_size
    page.set_viewport_size({"width": 1280, "height": 640})
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def swipe_up(x: float) -> float:
        points, before = on_page(canvas, [(x, 0.9 - 0.08 * k) for k in range(10)]), canvas.evaluate(SCROLLED)
        for kind, point in [("touchStart", points[0]), *(("touchMove", point) for point in points[1:])]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": point[0], "y": point[1]}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(500)  # scrolling glides on
        return canvas.evaluate(SCROLLED) - before

    assert swipe_up(0.5) == 0
    expect(text_of(cell)).to_contain_text("answer is")
    assert swipe_up(1.2) != 0
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    session.detach()
    page.set_viewport_size(size)


# ---- the pad alone: a notebook of its own, so that a cell can drive it


@within("two_pads")
def test_two_views_of_a_pad_stay_in_step(pads):
    draw(pads.cell("one"), SEVEN)
    expect_ink(pads, 1000, 20_000)
    draw(pads.cell("other"), ONE)
    expect_ink(pads, 5000, 20_000)
    pads.cell("other").get_by_role("button").click()
    expect_ink(pads, 0)


@within("two_pads")
def test_a_cell_draws_reads_and_clears(pads):
    pads.type_and_run("drive", "pad.value = bytes(280 * 100) + b'\\xff' * 280 * 180")
    expect_ink(pads, 280 * 180)
    draw(pads.cell("one"), [(0.1, 0.1), (0.9, 0.1)])
    pads.type_and_run("drive", "sum(value > 0 for value in pad.value)")
    expect_ink(pads, 280 * 180 + 3000, 280 * 180 + 10_000)
    ink = pads.cell("one").locator("canvas").evaluate(INK)
    expect(pads.cell("drive").locator(".jp-OutputArea-output")).to_have_text(str(ink))
    pads.type_and_run("drive", "pad.clear()")
    expect_ink(pads, 0)


@within("two_pads")
def test_a_tap_leaves_a_dot_of_the_pen_s_size(pads):
    draw(pads.cell("one"), [(0.5, 0.5)])
    expect_ink(pads, 400, 560)  # a disc 24 pixels wide has 452


@within("two_pads")
def test_a_line_leaves_the_canvas_and_comes_back(pads):
    """A button released outside ends the line: the pointer that comes back without it draws nothing."""
    mouse, canvas = pads.page.mouse, pads.cell("one").locator("canvas")
    draw(pads.cell("one"), [(0.5, 0.5), (1.3, 0.5)])
    expect_ink(pads, 2000, 5000)
    before = canvas.evaluate(INK)
    for point in on_page(canvas, [(0.5, 0.9), (0.1, 0.1)]):
        mouse.move(*point, steps=5)
    draw(pads.cell("one"), [(0.5, 0.8), (1.3, 0.8), (1.3, 0.2), (0.5, 0.2)])
    expect_ink(pads, before + 6000, before + 10_000)


@within("two_pads")
def test_only_the_first_button_draws(pads):
    mouse, points = pads.page.mouse, on_page(pads.cell("one").locator("canvas"), ONE)
    mouse.move(*points[0])
    mouse.down(button="middle")
    mouse.move(*points[1], steps=4)
    mouse.up(button="middle")
    draw(pads.cell("one"), [(0.5, 0.5)])
    expect_ink(pads, 400, 560)
