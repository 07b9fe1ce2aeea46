"""Every control of every notebook: keys, mouse and typed text change the picture and the text beside it."""

import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
STEPPER, SIZES = ("04_convolution_arithmetic", "stepper"), ("04_convolution_arithmetic", "sizes")
POOLING, FIELD = ("04_convolution_arithmetic", "pooling-explorer"), ("04_convolution_arithmetic", "field")
BROWSER = "05_lenet", "browser"
CHANNEL, AXES = ("07_batchnorm", "channel"), ("07_batchnorm", "axes")
GALLERY, BORDER = ("09_data_augmentation", "gallery"), ("09_data_augmentation", "order-shown")
BLOCK, DEPTH, DROP = (("11_resnet", cell_id) for cell_id in ("block-explorer", "depth-explorer", "drop-explorer"))
# (notebook, cell): for each slider, from top to bottom, what the text says after one press of the right arrow key
SLIDERS = {
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
    STEPPER: {
        "stride": "stride = 2",
        "padding": "padding = 1",
        "dilation": "dilation = 2",
        "position": "position = 2: row 1, column 2",
    },
    SIZES: {
        "input H": "input H = 29",
        "kernel K": "kernel K = 6",
        "stride S": "stride S = 3",
        "padding P": "padding P = 1",
        "dilation D": "dilation D = 2",
    },
    POOLING: {
        "kind": "kind = stochastic",
        "window K": "window K = 3",
        "stride S": "stride S = 3",
        "padding P": "padding P = 1",
        "shift": "shift = 2",
        "draw": "draw = 2",
        "mode": "mode = eval",
    },
    FIELD: {"after layer": "after layer = 3", "row": "row = 5", "column": "column = 5"},
    BROWSER: {"digit": "digit = 1 ("},
    ("07_batchnorm", "gamma-beta"): {"γ (scale)": "γ = 1.25, β = 0:", "β (shift)": "β = 0.25:"},
    CHANNEL: {
        "batch size": "batch size = 16",
        "mode": "mode = eval",
        "companions": "companions = draw 2",
        "input shift": "input shift = 0.5",
    },
    AXES: {"groups": "groups = 8", "image": "image = 3", "channel": "channel = 6"},
    GALLERY: {
        "shift (px)": "shift = ± 3 px",
        "angle (°)": "angle = ± 20°",
        "scale (%)": "scale = ± 15 %",
        "cutout (px)": "cutout = 1 px",
        "redraw": "redraw = 2",
    },
    BORDER: {"padding (px)": "padding = 5 px"},
    DEPTH: {"convolutions": "convolutions = 33"},
    DROP: {"leave out block": "block left out = 1:", "image": "image = 1 ("},
    BLOCK: {"channels in": "channels in = 32", "channels out": "channels out = 64", "stride": "stride = 2"},
}
OTHER_KEYS = {
    "kind": "End",  # stochastic pooling: the only kind that uses draw and mode
    "after layer": "ArrowLeft",  # the first stack has four layers, and the slider begins at the fourth
    "convolutions": "ArrowLeft",  # it begins at the deepest network
}
# (cell, label of a menu, what the text says after the choice of an entry, without what follows a bracket)
MENUS = [
    (STEPPER, "kernel", "kernel = {} ("),
    (FIELD, "layers", "layers = {} ("),
    (BROWSER, "layer", "layer = {} ("),
    (BROWSER, "network", "network = {},"),
    (BROWSER, "remove map", "removed map = {} ("),
    (AXES, "layer", "layer = {},"),
    (BORDER, "border", "border = {},"),
    (BORDER, "order", "order = {}"),
    (DEPTH, "initial values", "initial values = default:"),
    (DROP, "network", "network = {},"),
    (BLOCK, "shortcut", "shortcut = {}:"),
]
TICKS = {
    SIZES: ("ceil (round up, as poolings can)",), POOLING: ("ceil", "count padding"),
    GALLERY: ("mirror", "upside down"), DEPTH: ("shortcut", "BatchNorm"),
}  # fmt: skip
FIELDS = {STEPPER: 9, FIELD: 1}
DRAWING = "05_lenet", "draw"  # see test_drawing.py
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


def menu_of(cell: Locator, label: str) -> Locator:
    """Return a menu by the label beside it."""
    return cell.get_by_role("combobox", name=label, exact=True)


def entries_of(menu: Locator, kind: str) -> list[str]:
    """Return the texts of a menu's entries; the menu writes them with spaces that do not break."""
    return [text.replace("\xa0", " ") for text in menu.locator(kind).all_text_contents()]


def text_of(cell: Locator) -> Locator:
    """Return the text beside the picture."""
    return cell.locator(".widget-html")


def wait_for_another_picture(image: Locator, before: bytes, seconds: float = 30) -> None:
    """Return when the pixels on the screen differ; fail when they stay the same."""
    deadline = time.monotonic() + seconds
    while image.screenshot() == before:
        assert time.monotonic() < deadline, f"the picture is still the same after {seconds:g} s"
        time.sleep(0.05)


def expect_refusal(cell: Locator, text: str) -> None:
    """Wait until the control says in plain words what does not fit, this and nothing else, and shows no old picture."""
    expect(cell.get_by_role("alert")).to_contain_text(f"Not possible: {text}")
    expect(text_of(cell)).not_to_contain_text("Error")
    expect(cell.locator("img")).to_be_hidden()


def expect_healed(cell: Locator, text: str) -> None:
    """Wait until the text is this again, without a complaint, and the picture is back."""
    expect(text_of(cell)).to_contain_text(text)
    expect(cell.get_by_role("alert")).to_have_count(0)
    expect(cell.locator("img")).to_be_visible()


def test_every_explorer_is_tested():
    written = {
        (path.stem, cell.id)
        for path in NOTEBOOKS.glob("*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and ("_explorer(" in cell.source or "draw_a_digit(" in cell.source)
    }
    assert written == {*SLIDERS, DRAWING}


@pytest.mark.parametrize("place", SLIDERS, ids="-".join)
def test_every_control_is_tested(page_of, place):
    name, cell_id = place
    notebook = page_of(name)
    notebook.run_all()
    cell = notebook.cell(cell_id)
    expect(cell.locator("img")).to_be_visible()
    expect(cell.locator(".noUi-handle")).to_have_count(len(SLIDERS[place]))
    expect(cell.locator("select")).to_have_count(sum(place == menu_place for menu_place, _, _ in MENUS))
    expect(cell.get_by_role("checkbox")).to_have_count(len(TICKS.get(place, ())))
    expect(cell.locator("input[type=text]")).to_have_count(FIELDS.get(place, 0))
    expect(cell.locator(".widget-button, canvas")).to_have_count(0)


@pytest.mark.parametrize(("name", "cell_id"), SLIDERS)
def test_arrow_keys_change_picture_and_text(page_of, latencies, shoot, name, cell_id):
    """Also measure the time from key press to picture; the summary at the end prints the medians."""
    notebook = page_of(name)
    cell, page = notebook.run_again(cell_id), notebook.page
    picture = cell.locator("img")
    picture.evaluate(TIMER)
    shoot(cell, f"{name}-{cell_id}-before")
    for label, text in SLIDERS[name, cell_id].items():
        handle_of(cell, label).click()
        before = picture.screenshot()
        expect(text_of(cell)).not_to_contain_text(text)
        page.keyboard.press(OTHER_KEYS.get(label, "ArrowRight"))
        expect_healed(cell, text)
        wait_for_another_picture(picture, before)
        page.wait_for_function("window.delays.length === 1")
        page.evaluate("window.delays.splice(0)")
        for presses in range(1, 5):  # there and back, so that the slider ends where it was
            page.keyboard.press("ArrowLeft" if presses % 2 else "ArrowRight")
            page.wait_for_function("presses => window.delays.length === presses", arg=presses)
        latencies[f"{name} {cell_id}: {label}"] = page.evaluate("window.delays.splice(0)")
    assert notebook.troubles() == []
    shoot(cell, f"{name}-{cell_id}-after")


def test_the_mouse_drags_a_slider(page_of):
    cell = page_of("00_start_here").run_again("wave")
    mouse, handle, before = cell.page.mouse, handle_of(cell, "frequency"), cell.locator("img").screenshot()
    handle.hover()
    mouse.down()
    end = cell.locator(".noUi-target").bounding_box()
    mouse.move(end["x"] + end["width"] + 40, end["y"], steps=5)
    mouse.up()
    expect(text_of(cell)).to_contain_text("frequency = 10 Hz")
    wait_for_another_picture(cell.locator("img"), before)


# ---- menus and boxes to tick


@pytest.mark.parametrize(("place", "label", "text"), MENUS, ids=[label for _, label, _ in MENUS])
def test_each_entry_of_a_menu_changes_picture_and_text(page_of, place, label, text):
    name, cell_id = place
    notebook = page_of(name)
    cell = notebook.run_again(cell_id)
    picture, menu = cell.locator("img"), menu_of(cell, label)
    entries = [entry for entry in entries_of(menu, "option") if entry not in (*entries_of(menu, ":checked"), "my own")]
    assert entries
    for entry in entries:
        before = picture.screenshot()
        menu.select_option(entry)
        expect_healed(cell, text.format(entry.partition(" (")[0]))
        wait_for_another_picture(picture, before)
    assert notebook.troubles() == []


def test_a_preset_fills_the_fields(page_of):
    cell = page_of(STEPPER[0]).run_again(STEPPER[1])
    fields = cell.locator("input[type=text]").all()
    menu_of(cell, "kernel").select_option("edge")
    expect_healed(cell, "kernel = edge (−1 −1 −1 | −1 8 −1 | −1 −1 −1)")
    for field, text in zip(fields, ["-1"] * 4 + ["8"] + ["-1"] * 4, strict=True):
        expect(field).to_have_value(text)


def test_another_layer_offers_its_own_maps(page_of):
    cell = page_of(BROWSER[0]).run_again(BROWSER[1])
    menu_of(cell, "remove map").select_option("5")
    expect_healed(cell, "removed map = 5 (")
    menu_of(cell, "layer").select_option("S4 (MaxPool2d)")
    expect_healed(cell, "layer = S4 (16 maps of 5×5), network = after training, removed map = none (")
    expect(menu_of(cell, "remove map").locator("option")).to_have_text(["none", *map(str, range(16))])


def test_ticking_ceil_adds_a_window(page_of):
    cell = page_of(SIZES[0]).run_again(SIZES[1])
    before = cell.locator("img").screenshot()
    expect(text_of(cell)).to_contain_text("⌊(28 − 5)/2⌋ + 1 = 12")
    cell.get_by_label(TICKS[SIZES][0]).check()
    expect_healed(cell, "⌈(28 − 5)/2⌉ + 1 = 13")
    wait_for_another_picture(cell.locator("img"), before)


def test_ticks_change_what_is_pooled(page_of):
    """The boxes need windows that overlap the edge and the kind that counts the padding."""
    notebook = page_of(POOLING[0])
    cell = notebook.run_again(POOLING[1])
    for label in ("kind", "window K", "padding P"):
        handle_of(cell, label).press("ArrowRight")
    expect_healed(cell, "kind = mean, window K = 3, stride S = 2, padding P = 1")
    for label, text in (("ceil", "ceil = on"), ("count padding", "count padding = off")):
        before = cell.locator("img").screenshot()
        cell.get_by_label(label, exact=True).click()
        expect_healed(cell, text)
        wait_for_another_picture(cell.locator("img"), before)
    assert notebook.troubles() == []


@pytest.mark.parametrize(
    ("place", "label", "text"),
    [
        (GALLERY, "mirror", "mirror = half of them"),
        (GALLERY, "upside down", "upside down = half of them"),
        (DEPTH, "shortcut", "shortcut = on"),
        (DEPTH, "BatchNorm", "BatchNorm = off"),
    ],
)
def test_a_tick_changes_picture_and_text(page_of, place, label, text):
    name, cell_id = place
    notebook = page_of(name)
    cell = notebook.run_again(cell_id)
    before = cell.locator("img").screenshot()
    expect(text_of(cell)).not_to_contain_text(text)
    cell.get_by_label(label, exact=True).click()
    expect_healed(cell, text)
    wait_for_another_picture(cell.locator("img"), before)
    assert notebook.troubles() == []


def test_a_batch_of_one_is_refused_in_training_mode(page_of):
    cell = page_of(CHANNEL[0]).run_again(CHANNEL[1])
    handle_of(cell, "batch size").click()
    cell.page.keyboard.press("Home")
    expect_refusal(cell, "in training mode a batch of 1 has one value in this channel")
    handle_of(cell, "mode").press("ArrowRight")
    expect_healed(cell, "batch size = 1, mode = eval")


def test_a_block_that_changes_the_shape_cannot_be_left_out(page_of):
    cell = page_of(DROP[0]).run_again(DROP[1])
    handle_of(cell, "leave out block").click()
    for _ in range(6):
        cell.page.keyboard.press("ArrowRight")
    expect_refusal(cell, "block 6 turns 8 maps of 7×7 into 16 maps of 4×4")
    cell.page.keyboard.press("ArrowRight")
    expect_healed(cell, "block left out = 7:")


# ---- what is typed, and what does not fit


@pytest.mark.parametrize("key", ["Enter", "Tab"])
def test_a_typed_weight_counts(page_of, key):
    notebook = page_of(STEPPER[0])
    cell = notebook.run_again(STEPPER[1])
    picture, field = cell.locator("img"), cell.locator("input[type=text]").first
    before = picture.screenshot()
    field.fill("1/9")
    field.press(key)
    expect_healed(cell, "kernel = my own (1/9 1 0 | 1 0 −1 | 0 −1 0)")
    expect(text_of(cell)).to_contain_text("12·1/9 + 3·1 + 5·0")
    wait_for_another_picture(picture, before)
    assert entries_of(menu_of(cell, "kernel"), ":checked") == ["my own"]
    assert notebook.troubles() == []


@pytest.mark.parametrize("entry", ["abc", "", "1e999", "nan", "1/0", "<b>1</b>"])
def test_a_bad_weight_is_explained_and_a_good_one_heals(page_of, shoot, entry):
    notebook = page_of(STEPPER[0])
    cell = notebook.run_again(STEPPER[1])
    picture, field = cell.locator("img"), cell.locator("input[type=text]").nth(5)
    before = picture.screenshot()
    field.fill(entry)
    field.press("Enter")
    got = f"holds '{entry}'" if entry else "is empty"
    expect_refusal(cell, f"row 2, column 3 of the kernel {got}: type a number from −9 to 9, such as 2, -0.5 or 1/9")
    shoot(cell, f"{STEPPER[0]}-{STEPPER[1]}-refused")
    field.fill("2")
    field.press("Enter")
    expect_healed(cell, "kernel = my own (0 1 0 | 1 0 2 | 0 −1 0)")
    wait_for_another_picture(picture, before)
    assert notebook.troubles() == []


@pytest.mark.parametrize(
    ("stack", "refusal"),
    [
        ("3 pol2 3", "'pol2' is not a layer: write one word a layer"),
        ("", "expected 1 to 6 layers, got 0"),
        ("3 3 3 3 3 3 3", "expected 1 to 6 layers, got 7"),
        ("3s0", "'3s0' has a number that is too large or too small"),
        ("15 15", "layer 2, 15:"),
    ],
    ids=["wrong word", "none", "too many", "stride 0", "too large"],
)
def test_bad_layers_are_explained_and_good_ones_heal(page_of, shoot, stack, refusal):
    notebook = page_of(FIELD[0])
    cell = notebook.run_again(FIELD[1])
    picture, field = cell.locator("img"), cell.locator("input[type=text]")
    before = picture.screenshot()
    field.fill(stack)
    field.press("Enter")
    expect_refusal(cell, refusal)
    shoot(cell, f"{FIELD[0]}-{FIELD[1]}-refused")
    field.fill("3 3d2 pool2")
    field.press("Tab")
    expect_healed(
        cell, "layers = my own (3 3d2 pool2), after layer = 4 (there are only 3), row = 4, column = 4: the unit"
    )
    wait_for_another_picture(picture, before)
    assert notebook.troubles() == []


def test_a_kernel_that_does_not_fit_is_explained(page_of, shoot):
    notebook = page_of(SIZES[0])
    cell = notebook.run_again(SIZES[1])
    handle_of(cell, "input H").press("Home")
    expect_refusal(cell, "")
    shoot(cell, f"{SIZES[0]}-{SIZES[1]}-refused")
    handle_of(cell, "kernel K").press("Home")
    expect_healed(cell, "input H = 1, kernel K = 1")
    assert notebook.troubles() == []


def test_a_padding_that_torch_refuses_is_explained(page_of):
    notebook = page_of(SIZES[0])
    cell = notebook.run_again(SIZES[1])
    handle_of(cell, "padding P").press("End")
    expect_healed(cell, "padding P = 5")
    ceil = cell.get_by_label(TICKS[SIZES][0])
    ceil.check()
    expect_refusal(cell, "only poolings round up, and they refuse a padding of 5 for a kernel of 5 pixels")
    ceil.uncheck()
    expect_healed(cell, "padding P = 5")
    assert notebook.troubles() == []
