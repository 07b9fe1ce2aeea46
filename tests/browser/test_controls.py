"""Every control of every notebook: keys, mouse and typed text change the picture and the text beside it."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

NOTEBOOKS = sorted(Path(__file__).resolve().parents[2].glob("notebooks/*.ipynb"))
EXPLORERS = [
    (path.stem, cell.id)
    for path in NOTEBOOKS
    for cell in nbformat.read(path, as_version=4).cells
    if cell.cell_type == "code" and "_explorer(" in cell.source
]
KNOBS = ".widget-slider, .widget-dropdown, .widget-checkbox"
FIELDS = ".widget-text input"
STEPPER, FIELD = (("04_convolution_arithmetic", cell_id) for cell_id in ("stepper", "field"))
DRAWING = "05_lenet", "draw"  # see test_drawing.py
TYPED = {"stepper": "1/9", "field": "3 3d2 pool2"}  # by cell, what counts when it is typed into the first field
# Some knobs have no effect where their control begins: (cell, knob) -> the keys that other sliders need first.
NEEDS = {
    ("valley", "momentum β"): {"optimizer": "ArrowRight"},  # SGD has no momentum
    ("channel", "input shift"): {"mode": "ArrowRight"},  # in training mode the shift is subtracted again
    ("pooling-explorer", "ceil"): {"window K": "ArrowRight", "padding P": "ArrowRight"},
    ("pooling-explorer", "count padding"): {"kind": "ArrowRight", "window K": "ArrowRight", "padding P": "ArrowRight"},
    ("pooling-explorer", "draw"): {"kind": "End"},  # only stochastic pooling draws
    ("pooling-explorer", "mode"): {"kind": "End"},
    ("field", "after layer"): {"after layer": "ArrowLeft"},  # it begins at the last layer of its stack
}
BACK = {"ArrowRight": "ArrowLeft", "ArrowLeft": "ArrowRight", "End": "Home", "Home": "End"}
IDLE = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
PIXELS = """image => {
    if (!image.complete) return null;  // not yet loaded
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""
TIMER = """image => {
    addEventListener('keydown', () => { window.pressed = performance.now(); }, {capture: true});
    // the second frame after loading begins when the first, with the new picture, is on the screen
    const shown = () => window.delays.push(performance.now() - window.pressed);
    image.addEventListener('load', () => requestAnimationFrame(() => requestAnimationFrame(shown)));
}"""


def within(name: str) -> pytest.MarkDecorator:
    """Say in which notebook a test takes place."""
    return pytest.mark.parametrize("notebook", [name], indirect=True)


# ---- the parts of a control


def knob(cell: Locator, label: str) -> Locator:
    """Return the slider, menu or box to tick with this label beside it."""
    return next(box for box in cell.locator(KNOBS).all() if label_of(box) == label)


def label_of(box: Locator) -> str:
    """Return the description of a slider, a menu or a box to tick."""
    return "".join(box.locator("label").all_inner_texts()).strip("\u200b ")  # an empty label holds a space of no width


def handle_of(cell: Locator, label: str) -> Locator:
    """Return the part of a slider that a person drags."""
    return knob(cell, label).locator(".noUi-handle")


def menu_of(cell: Locator, label: str) -> Locator:
    """Return a menu by the label beside it."""
    return cell.get_by_role("combobox", name=label, exact=True)


def text_of(cell: Locator) -> Locator:
    """Return the text beside the picture."""
    return cell.locator(".widget-html").last


def readout(box: Locator) -> str:
    """Return what a knob shows of its own value."""
    if box.locator("select").count():
        return box.locator(":checked").inner_text().replace("\xa0", " ")  # the menu's spaces do not break
    if box.locator("input[type=checkbox]").count():
        return "on" if box.locator("input").is_checked() else "off"
    return box.locator(".widget-readout").inner_text()


def move(box: Locator) -> Callable[[], None]:
    """Move a knob by one step, as a person does; return the way back."""
    if box.locator("select").count():
        menu = box.locator("select")
        start, entries = menu.evaluate("menu => [menu.selectedIndex, menu.length]")
        menu.select_option(index=(start + 1) % entries)
        return lambda: menu.select_option(index=start)
    if box.locator("input[type=checkbox]").count():
        box.locator("input").click()
        return box.locator("input").click
    handle = box.locator(".noUi-handle")
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    key = "ArrowLeft" if at_end else "ArrowRight"
    handle.press(key)
    return lambda: handle.press(BACK[key])


# ---- what a person sees


def pixels_of(cell: Locator) -> str:
    """Return the picture on the page when the kernel has answered all that came before."""
    expect(cell.locator("img")).to_be_visible()
    cell.page.wait_for_function(IDLE)
    image = cell.locator("img").element_handle()
    return cell.page.wait_for_function(PIXELS, arg=image).json_value()


def wait_for_pixels(cell: Locator, before: str, *, equal: bool = False) -> None:
    """Return when the picture differs from, or equals, the one before; fail when that does not happen."""
    compare = f"""([image, before, equal]) => {{
        const now = ({PIXELS})(image);
        return now && (now === before) === equal;
    }}"""
    image = cell.locator("img").element_handle()
    cell.page.wait_for_function(compare, arg=[image, before, equal], timeout=30_000)


def named(label: str, value: str) -> re.Pattern:
    """Return how the text names a knob's value: as the knob shows it, with a printed or a typed minus."""
    return re.compile(re.escape(f"{label} = {value}").replace("−", "[-−]") + r"(?!\.?\d)")


def expect_refusal(cell: Locator, text: str) -> None:
    """Wait until the control says in plain words what does not fit, this and nothing else, and shows no old picture."""
    expect(cell.get_by_role("alert")).to_contain_text(f"Not possible: {text}")
    expect(text_of(cell)).not_to_contain_text("Error")
    expect(cell.locator("img")).to_be_hidden()


def expect_healed(cell: Locator, text: str | re.Pattern) -> None:
    """Wait until the text is this, without a complaint, and the picture is there."""
    expect(text_of(cell)).to_contain_text(text)
    expect(cell.get_by_role("alert")).to_have_count(0)
    expect(cell.locator("img")).to_be_visible()


# ---- every control of every notebook


@pytest.mark.parametrize("notebook", [path.stem for path in NOTEBOOKS], indirect=True)
def test_every_control_is_tested(notebook):
    shown = notebook.page.locator(".jp-Notebook-cell").filter(has=notebook.page.locator(KNOBS))
    tested = [cell_id for name, cell_id in [*EXPLORERS, DRAWING] if name == notebook.name]
    expect(shown).to_have_count(len(tested))
    for cell_id in tested:
        expect(notebook.cell(cell_id).locator(KNOBS).first).to_be_visible()


@pytest.mark.parametrize(("notebook", "cell_id"), EXPLORERS, indirect=["notebook"], scope="session")
def test_each_knob_moves_picture_and_text_and_back(notebook, cell_id, record_property, shoot):
    """Also measure the time from key press to picture; the summary at the end prints the medians."""
    cell = notebook.cell(cell_id)
    assert cell_id in TYPED or not cell.locator(FIELDS).count(), "say in TYPED what to type into this control"
    cell.locator("img").evaluate(TIMER)
    shoot(cell, f"{notebook.name}-{cell_id}")
    times = []
    for box in cell.locator(KNOBS).all():
        needs = NEEDS.get((cell_id, label_of(box)), {})
        for slider, key in needs.items():
            handle_of(cell, slider).press(key)
            expect_healed(cell, named(slider, readout(knob(cell, slider))))
        times += there_and_back(cell, box)
        for slider, key in needs.items():
            handle_of(cell, slider).press(BACK[key])
            expect_healed(cell, named(slider, readout(knob(cell, slider))))
    if times:
        record_property(f"{notebook.name} {cell_id}", times)
    assert notebook.troubles() == []


def there_and_back(cell: Locator, box: Locator) -> list[float]:
    """Move a knob and move it back; return the milliseconds from each key press to its picture."""
    value, text, picture = readout(box), text_of(cell).inner_text(), pixels_of(cell)
    cell.page.evaluate("window.delays = []")
    back = move(box)
    assert readout(box) != value
    expect_healed(cell, named(label_of(box), readout(box)))
    wait_for_pixels(cell, picture)
    back()
    expect_healed(cell, text)
    wait_for_pixels(cell, picture, equal=True)
    return cell.page.evaluate("window.delays") if box.locator(".noUi-handle").count() else []


@within("00_start_here")
def test_the_mouse_drags_a_slider(notebook):
    cell = notebook.cell("wave")
    mouse, handle, before = notebook.page.mouse, handle_of(cell, "frequency"), pixels_of(cell)
    handle.hover()
    mouse.down()
    end = cell.locator(".noUi-target").bounding_box()
    mouse.move(end["x"] + end["width"] + 40, end["y"], steps=5)
    mouse.up()
    expect_healed(cell, "frequency = 10")
    wait_for_pixels(cell, before)


@within("00_start_here")
def test_a_number_typed_beside_a_slider_counts(notebook):
    cell = notebook.cell("wave")
    number = knob(cell, "frequency").locator(".widget-readout")
    number.fill("7")
    number.press("Enter")
    expect_healed(cell, "frequency = 7")


# ---- what is typed, and what does not fit


@pytest.mark.parametrize(
    ("notebook", "cell_id", "key"), [(*STEPPER, "Enter"), (*FIELD, "Tab")], indirect=["notebook"], scope="session"
)
def test_a_typed_text_counts_until_an_entry_of_the_menu_is_chosen(notebook, cell_id, key):
    cell = notebook.cell(cell_id)
    menu, fields = cell.locator("select"), cell.locator(FIELDS)
    before, entry, preset = pixels_of(cell), readout(cell), [field.input_value() for field in fields.all()]
    fields.first.fill(TYPED[cell_id])
    fields.first.press(key)
    expect_healed(cell, re.compile(rf"= my own \({re.escape(TYPED[cell_id])}[ )]"))
    wait_for_pixels(cell, before)
    assert readout(cell) == "my own"
    menu.select_option(entry)
    expect_healed(cell, f"= {entry} (")
    for field, text in zip(fields.all(), preset, strict=True):
        expect(field).to_have_value(text)
    wait_for_pixels(cell, before, equal=True)


@pytest.mark.parametrize(
    ("notebook", "cell_id", "refusal"),
    [
        (*STEPPER, "row 1, column 1 of the kernel holds '<b>1</b>': type a number from −9 to 9"),
        (*FIELD, "'<b>1</b>' is not a layer: write one word a layer"),
    ],
    indirect=["notebook"],
    scope="session",
)
def test_a_bad_entry_is_explained_and_a_good_one_heals(notebook, cell_id, refusal, shoot):
    cell = notebook.cell(cell_id)
    field, before = cell.locator(FIELDS).first, pixels_of(cell)
    good = field.input_value()
    field.fill("<b>1</b>")
    field.press("Enter")
    expect_refusal(cell, refusal)
    shoot(cell, f"{notebook.name}-{cell_id}-refused")
    field.fill(good)
    field.press("Tab")
    wait_for_pixels(cell, before, equal=True)
    expect_healed(cell, good)
    assert notebook.troubles() == []


# ---- what single controls promise


@within("04_convolution_arithmetic")
def test_a_kernel_that_does_not_fit_is_explained(notebook):
    cell = notebook.cell("sizes")
    handle_of(cell, "input H").press("Home")
    expect_refusal(cell, "")
    handle_of(cell, "kernel K").press("Home")
    expect_healed(cell, "input H = 1, kernel K = 1")
    assert notebook.troubles() == []


@within("05_lenet")
def test_another_layer_offers_its_own_maps(notebook):
    cell = notebook.cell("browser")
    menu_of(cell, "remove map").select_option("5")
    expect_healed(cell, named("remove map", "5"))
    menu_of(cell, "layer").select_option("S4 (MaxPool2d)")
    expect_healed(cell, named("remove map", "none"))
    expect(menu_of(cell, "remove map").locator("option")).to_have_text(["none", *map(str, range(16))])
    assert notebook.troubles() == []


@within("07_batchnorm")
def test_a_batch_of_one_is_refused_in_training_mode(notebook):
    cell = notebook.cell("channel")
    handle_of(cell, "batch size").press("Home")
    expect_refusal(cell, "in training mode a batch of 1 has one value in this channel")
    handle_of(cell, "mode").press("ArrowRight")
    expect_healed(cell, "batch size = 1, mode = eval")


@within("11_resnet")
def test_a_block_that_changes_the_shape_cannot_be_left_out(notebook):
    cell = notebook.cell("drop-explorer")
    for _ in range(6):
        handle_of(cell, "leave out block").press("ArrowRight")
    expect_refusal(cell, "block 6 turns 8 maps of 7×7 into 16 maps of 4×4")
    handle_of(cell, "leave out block").press("ArrowRight")
    expect_healed(cell, named("leave out block", "7"))
