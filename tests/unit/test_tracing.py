"""Parameter counts and shape tables against torch, and messages that name the layer that does not fit."""

import re

import pytest
import torch
from torch import nn

from course_utils.tracing import Call, count_parameters, shape_text, trace_shapes


class Block(nn.Module):
    """Two convolutions with a shortcut: nested, with a layer that is called twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.relu = nn.BatchNorm2d(channels), nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.conv2(self.relu(self.norm(self.conv1(x)))))


def make_cnn():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 14 * 14, 10))
    return nn.Sequential(stem, Block(4), head)


class Outside(nn.Module):
    """A model whose forward fails between its layers."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.first(x).view(-1, 7))


class Shared(nn.Module):
    """A model that uses one layer twice and holds a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(5, 5), nn.Linear(5, 5)
        self.last.weight = self.layer.weight
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.last(self.layer(self.layer(x)))


# ---------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (nn.Linear(3, 5), 20),
        (nn.Linear(3, 5, bias=False), 15),
        (nn.Conv2d(3, 8, 5), 8 * (3 * 25 + 1)),
        (nn.Conv2d(4, 8, 3, groups=2), 8 * (2 * 9 + 1)),
        (nn.BatchNorm2d(7), 14),
        (nn.ReLU(), 0),
        (nn.Sequential(), 0),
        (make_cnn(), 4 * 26 + 2 * 4 * 36 + 8 + 4 * 14 * 14 * 10 + 10),
        (Shared(), 25 + 5 + 5 + 3),
    ],
)
def test_parameters_are_counted_once(model, count):
    assert count_parameters(model) == count
    assert count_parameters(model, trainable_only=True) == count


def test_frozen_parameters_are_left_out_on_request():
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    model[0].requires_grad_(False)
    assert count_parameters(model) == 32
    assert count_parameters(model, trainable_only=True) == 12


# --------------------------------------------------------------------------------------------------------- tables


def test_a_row_for_each_call_in_order():
    trace = trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
    map_shape = (2, 4, 14, 14)
    assert trace.calls == (
        Call("0.0", "Conv2d", (2, 1, 28, 28), (2, 4, 28, 28), 104),
        Call("0.1", "ReLU", (2, 4, 28, 28), (2, 4, 28, 28), 0),
        Call("0.2", "MaxPool2d", (2, 4, 28, 28), map_shape, 0),
        Call("1.conv1", "Conv2d", map_shape, map_shape, 144),
        Call("1.norm", "BatchNorm2d", map_shape, map_shape, 8),
        Call("1.relu", "ReLU", map_shape, map_shape, 0),
        Call("1.conv2", "Conv2d", map_shape, map_shape, 144),
        Call("1.relu", "ReLU", map_shape, map_shape, 0),
        Call("2.0", "Flatten", map_shape, (2, 784), 0),
        Call("2.1", "Dropout", (2, 784), (2, 784), 0),
        Call("2.2", "Linear", (2, 784), (2, 10), 7850),
    )
    assert trace.parameters == 104 + 2 * 144 + 8 + 7850


def test_shared_layers_have_a_row_a_call_and_count_once():
    trace = trace_shapes(Shared(), torch.zeros(1, 5))
    assert [call.layer for call in trace.calls] == ["layer", "layer", "last"]
    assert [call.parameters for call in trace.calls] == [30, 30, 30]
    assert trace.parameters == 38


def test_a_single_layer_is_named_by_its_kind():
    (call,) = trace_shapes(nn.Linear(3, 5), torch.zeros(4, 3)).calls
    assert call == Call("Linear", "Linear", (4, 3), (4, 5), 20)


@pytest.mark.parametrize("size", [5, 8, 28, 31])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 1), (5, 1, 0), (2, 2, 0)])
def test_output_shapes_are_torch_s(size, kernel, stride, padding):
    layer, x = nn.Conv2d(1, 2, kernel, stride=stride, padding=padding), torch.zeros(3, 1, size, size)
    (call,) = trace_shapes(layer, x).calls
    assert call.output_shape == tuple(layer(x).shape)


def test_the_text_is_an_aligned_table():
    trace = trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
    assert str(trace) == repr(trace)
    head, *rows, total = str(trace).splitlines()
    assert re.split(r"  +", head) == ["layer", "kind", "input", "output", "parameters"]
    assert len(rows) == len(trace.calls)
    assert {len(line) for line in [head, *rows]} == {len(head)}
    assert rows[-1].split("  ")[0] == "2.2" and rows[-1].endswith("7,850")
    assert "(2, 4, 14, 14)" in rows[2]
    assert total == "8,250 parameters in all"


def test_html_holds_every_row_and_is_escaped():
    trace = trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
    html = trace._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") == len(trace.calls) + 2
    for text in ("1.conv1", "Conv2d", "(2, 4, 14, 14)", "<td>7,850</td>", "<b>8,250</b>"):
        assert text in html

    class Odd(nn.Module):
        def forward(self, x):
            return x

    Odd.__name__ = "<script>"
    html = trace_shapes(nn.Sequential(Odd()), torch.zeros(1))._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("shape", "text"), [((64, 1, 28, 28), "(64, 1, 28, 28)"), ((3,), "(3,)"), ((), "()"), ((2, 5), "(2, 5)")]
)
def test_shapes_are_written_as_python_writes_them(shape, text):
    assert shape_text(shape) == text == str(shape)


# ------------------------------------------------------------------------------------------------ nothing is left


def hooks(model):
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]


@pytest.mark.parametrize("x", [torch.zeros(2, 1, 28, 28), torch.zeros(2, 3, 28, 28)], ids=["fits", "does not fit"])
def test_hooks_modes_weights_and_statistics_stay_as_they_were(x):
    model = make_cnn().train()
    model[1].norm.eval()
    mine = model[0][0].register_forward_hook(lambda *_: None)
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = hooks(model)
    random = torch.random.get_rng_state()
    try:
        trace_shapes(model, x)
    except ValueError:
        assert x.shape[1] == 3
    else:
        assert x.shape[1] == 1
    assert hooks(model) == before and sum(before) == 1
    mine.remove()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.is_grad_enabled()


def test_the_trace_runs_in_eval_mode_without_gradients():
    seen = []

    class Look(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return x

    trace_shapes(Look(), torch.zeros(1, 3))
    assert seen == [(False, False)]


def test_an_interrupted_trace_leaves_no_hook():
    class Interrupted(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(3, 3), Interrupted())
    with pytest.raises(KeyboardInterrupt):
        trace_shapes(model, torch.zeros(1, 3))
    assert hooks(model) == [0, 0, 0]
    assert model.training and model[1].training


# ------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("model", "x", "parts"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
            torch.zeros(2, 1, 32, 32),
            ['Linear "1" received an input of shape (2, 1024)', "expects 784 features", "set in_features=1024"],
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4 * 26 * 26, 10)),
            torch.zeros(2, 1, 28, 28),
            ['Linear "1"', "(2, 4, 26, 26)", "expects 2704 features", "is a flatten missing?"],
        ),
        (nn.Linear(3, 5), torch.zeros(4, 2), ['Linear "Linear"', "(4, 2)", "expects 3", "in_features=2"]),
        (
            make_cnn(),
            torch.zeros(2, 3, 28, 28),
            ['Conv2d "0.0"', "(2, 3, 28, 28)", "expects 1 channels", "set in_channels=3"],
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(8, 4, 3)),
            torch.zeros(2, 3, 9, 9),
            ['Conv2d "1"', "(2, 4, 7, 7)", "expects 8 channels", "set in_channels=4"],
        ),
        (make_cnn(), torch.zeros(28, 28), ['Conv2d "0.0"', "(28, 28)", "(B, C, H, W)", "x[None, None]"]),
        (make_cnn(), torch.zeros(1, 1, 1, 28, 28), ['Conv2d "0.0"', "(1, 1, 1, 28, 28)", "(B, C, H, W)"]),
        (make_cnn(), torch.zeros(2, 1, 28, 28).byte(), ['Conv2d "0.0"', "torch.uint8", "floating point", "x.float()"]),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
            torch.zeros(2, 2, 2).byte(),
            ['Linear "1"', "(2, 4)", "torch.uint8", "x.float()"],
        ),
        (Outside(), torch.zeros(2, 4), ["failed outside its layers", "view|shape|size"]),
        (
            nn.Sequential(nn.Conv2d(1, 2, 5)),
            torch.zeros(1, 1, 3, 3),
            ['Conv2d "0"', "(1, 1, 3, 3) and failed", "Kernel"],
        ),
        (nn.Sequential(nn.BatchNorm2d(3)), torch.zeros(1, 4, 3, 3), ['BatchNorm2d "0"', "(1, 4, 3, 3) and failed"]),
    ],
)
def test_a_mismatch_names_the_layer_what_came_and_what_is_expected(model, x, parts):
    with pytest.raises(ValueError) as error:
        trace_shapes(model, x)
    for part in parts:
        assert any(choice in str(error.value) for choice in part.split("|")), (part, str(error.value))


def test_an_image_without_its_batch_axis_is_not_taken_for_a_wrong_linear_layer():
    """torch convolves (C, H, W) too, and only the flatten after it gets the axes wrong."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 26 * 26, 10))
    assert trace_shapes(model, torch.zeros(1, 1, 28, 28)).calls[-1].output_shape == (1, 10)
    with pytest.raises(ValueError, match=r"batch|\(B, C, H, W\)"):
        trace_shapes(model, torch.zeros(1, 28, 28))


@pytest.mark.parametrize("shape", [(0, 3), (0,), (2, 0)])
def test_an_empty_input_is_refused(shape):
    with pytest.raises(ValueError, match=rf"at least one sample, got shape {re.escape(str(shape))}"):
        trace_shapes(nn.Linear(3, 5), torch.zeros(shape))


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Linear, torch.zeros(1, 3), r"expected a model \(nn.Module\), got type"),
        ("net", torch.zeros(1, 3), r"expected a model \(nn.Module\), got str"),
        (None, torch.zeros(1, 3), r"expected a model \(nn.Module\), got NoneType"),
        (nn.Linear(3, 5), (1, 3), "expected a tensor as input, got tuple: try torch.zeros"),
        (nn.Linear(3, 5), torch.zeros(1, 3).numpy(), "expected a tensor as input, got ndarray"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(model, x, message):
    with pytest.raises(TypeError, match=message):
        trace_shapes(model, x)


def test_a_layer_called_by_keyword_is_traced_too():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, x):
            return self.layer(input=x)

    (call,) = trace_shapes(Keyword(), torch.zeros(2, 3)).calls
    assert (call.input_shape, call.output_shape) == ((2, 3), (2, 5))
