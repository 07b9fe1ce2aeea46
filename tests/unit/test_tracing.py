"""Shape tables against torchinfo and published figures, and messages whose advice mends the model."""

import html.parser
import math
import random
import re
import traceback
import weakref

import pytest
import torch
import torchinfo
import torchvision
from torch import nn
from torch.nn import functional as F

from course_utils.tracing import Call, capture_activations, count_parameters, receptive_field, trace_shapes


class Forward(nn.Module):
    """A model whose forward is the function given to it; it may use the modules and parameters given with it."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs, **named):
        return self.function(self, *inputs, **named)


class MyLinear(nn.Module):
    """A dense layer as a reader writes it."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.w = nn.Parameter(torch.ones(out_features, in_features))
        self.b = nn.Parameter(torch.zeros(out_features))

    def forward(self, x):
        return x @ self.w.T + self.b


def make_lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def make_block(channels):
    """Two convolutions with a shortcut: a layer that is called twice, and an addition between layers."""

    def forward(self, x):
        return self.relu(x + self.conv2(self.relu(self.norm(self.conv1(x)))))

    first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
    return Forward(forward, conv1=first, conv2=second, norm=nn.BatchNorm2d(channels), relu=nn.ReLU())


def make_cnn():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 14 * 14, 10))
    return nn.Sequential(stem, make_block(4), head)


def rows(trace):
    """Return layer, kind, output shapes and multiply-adds of each call: enough to recognize it."""
    return [(call.layer, call.kind, call.outputs, call.multiply_adds) for call in trace.calls]


def message(function, *args, **named):
    with pytest.raises(ValueError) as raised:
        function(*args, **named)
    return str(raised.value)


# ---------------------------------------------------------------------------------------------------- parameters


def shared_weights():
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    return nn.Sequential(first, second, first)


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
        (shared_weights(), 25 + 5 + 5),
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


def test_lenet_row_by_row():
    trace = trace_shapes(make_lenet(), torch.zeros(1, 1, 28, 28))
    a, b, c = (1, 6, 28, 28), (1, 16, 10, 10), (1, 120, 1, 1)
    pooled_a, pooled_b, rows_of_120 = (1, 6, 14, 14), (1, 16, 5, 5), (1, 120)
    assert trace.calls == (
        Call("0", "Conv2d", ((1, 1, 28, 28),), (a,), "⌊(28 + 2·2 − 5)/1⌋ + 1 = 28", 156, 117_600),
        Call("1", "Tanh", (a,), (a,), "", 0, 0),
        Call("2", "AvgPool2d", (a,), (pooled_a,), "⌊(28 − 2)/2⌋ + 1 = 14", 0, 0),
        Call("3", "Conv2d", (pooled_a,), (b,), "⌊(14 − 5)/1⌋ + 1 = 10", 2_416, 240_000),
        Call("4", "Tanh", (b,), (b,), "", 0, 0),
        Call("5", "AvgPool2d", (b,), (pooled_b,), "⌊(10 − 2)/2⌋ + 1 = 5", 0, 0),
        Call("6", "Conv2d", (pooled_b,), (c,), "⌊(5 − 5)/1⌋ + 1 = 1", 48_120, 48_000),
        Call("7", "Tanh", (c,), (c,), "", 0, 0),
        Call("8", "Flatten", (c,), (rows_of_120,), "120·1·1 = 120", 0, 0),
        Call("9", "Linear", (rows_of_120,), ((1, 84),), "120 → 84", 10_164, 10_080),
        Call("10", "Tanh", ((1, 84),), ((1, 84),), "", 0, 0),
        Call("11", "Linear", ((1, 84),), ((1, 10),), "84 → 10", 850, 840),
    )
    assert (trace.parameters, trace.multiply_adds, trace.notes) == (61_706, 416_520, ())
    assert trace_shapes(make_lenet(), torch.zeros(5, 1, 28, 28)).multiply_adds == 5 * 416_520


def test_nested_layers_and_one_that_is_called_twice():
    trace = trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
    maps = (2, 4, 14, 14)
    assert [(c.layer, c.kind, c.parameters, c.again) for c in trace.calls] == [
        ("0.0", "Conv2d", 104, False), ("0.1", "ReLU", 0, False), ("0.2", "MaxPool2d", 0, False),
        ("1.conv1", "Conv2d", 144, False), ("1.norm", "BatchNorm2d", 8, False), ("1.relu", "ReLU", 0, False),
        ("1.conv2", "Conv2d", 144, False), ("1", "add()", 0, False), ("1.relu", "ReLU", 0, False),
        ("2.0", "Flatten", 0, False), ("2.1", "Dropout", 0, False), ("2.2", "Linear", 7850, False),
    ]  # fmt: skip
    assert trace.calls[7].inputs == (maps, maps) and trace.calls[7].outputs == (maps,)
    assert trace.parameters == 8250 == sum(call.parameters for call in trace.calls)
    assert trace.multiply_adds == sum(call.multiply_adds for call in trace.calls) > 0


def test_a_layer_that_is_called_again_counts_once_but_works_twice():
    layer = nn.Linear(5, 5)
    trace = trace_shapes(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(3, 5))
    assert [(c.layer, c.parameters, c.multiply_adds, c.again) for c in trace.calls] == [
        ("0", 30, 75, False),
        ("1", 0, 0, False),
        ("0", 0, 75, True),
    ]
    assert trace.totals() == "30 parameters, 150 multiply-adds in all"
    assert [row[5] for row in trace.rows()] == ["30", "0", "(again)"]


def test_layers_that_share_a_weight_count_it_once():
    trace = trace_shapes(shared_weights(), torch.zeros(1, 5))
    assert [(call.parameters, call.again) for call in trace.calls] == [(30, False), (5, False), (0, True)]
    assert trace.totals() == "35 parameters, 75 multiply-adds in all"


def test_functions_inside_a_forward_have_rows():
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2, ceil_mode=True)
        x = torch.cat([x, x[:, :2]], 1)
        x += F.avg_pool2d(x, 3, stride=1, padding=1)
        x = F.conv2d(x, self.kernel, stride=2)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = x.view(2, -1)
        return F.softmax(torch.matmul(x, self.matrix.t()), dim=1)

    kernel, matrix = nn.Parameter(torch.ones(3, 6, 1, 1)), nn.Parameter(torch.ones(7, 3))
    model = Forward(forward, conv=nn.Conv2d(1, 4, 3), kernel=kernel, matrix=matrix)
    trace = trace_shapes(nn.Sequential(model), torch.zeros(2, 1, 9, 9))
    maps = (2, 6, 4, 4)
    assert rows(trace) == [
        ("0.conv", "Conv2d", ((2, 4, 7, 7),), 2 * 4 * 49 * 9),
        ("0", "relu()", ((2, 4, 7, 7),), 0),
        ("0", "max_pool2d()", ((2, 4, 4, 4),), 0),
        ("0", "[…]", ((2, 2, 4, 4),), 0),
        ("0", "cat()", (maps,), 0),
        ("0", "avg_pool2d()", (maps,), 0),
        ("0", "add_()", (maps,), 0),
        ("0", "conv2d()", ((2, 3, 2, 2),), 2 * 3 * 4 * 6),
        ("0", "adaptive_avg_pool2d()", ((2, 3, 1, 1),), 0),
        ("0", "view()", ((2, 3),), 0),
        ("0", "t()", ((3, 7),), 0),
        ("0", "matmul()", ((2, 7),), 2 * 7 * 3),
        ("0", "softmax()", ((2, 7),), 0),
    ]
    formulas = {call.kind: call.formula for call in trace.calls}
    assert formulas["max_pool2d()"] == "⌈(7 − 2)/2⌉ + 1 = 4"
    assert formulas["cat()"] == "4 + 2 = 6"
    assert formulas["conv2d()"] == "⌊(4 − 1)/2⌋ + 1 = 2"
    assert formulas["adaptive_avg_pool2d()"] == "any size → 1·1"
    assert formulas["view()"] == "3·1·1 = 3"
    assert formulas["relu()"] == formulas["softmax()"] == formulas["[…]"] == ""
    assert trace.calls[4].inputs == ((2, 4, 4, 4), (2, 2, 4, 4))
    assert trace.totals() == "79 parameters (39 of them in no row), 3,714 multiply-adds in all"
    assert trace.notes == ()


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (lambda x: torch.relu(x), ["relu()"]),
        (lambda x: x.clone().relu_(), ["relu_()"]),
        (lambda x: x.sigmoid(), ["sigmoid()"]),
        (lambda x: torch.tanh(x), ["tanh()"]),
        (lambda x: F.log_softmax(x, 1), ["log_softmax()"]),
        (lambda x: F.dropout(x), ["dropout()"]),
        (lambda x: 1 + x, ["add()"]),
        (lambda x: x.exp() * 2 - x.mean(), ["exp()", "mul()", "mean()", "sub()"]),
        *((f, [f"{f.__name__}()"]) for f in (F.gelu, F.silu, F.leaky_relu, F.elu, F.softplus, F.hardswish)),
        (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), ["mean()", "sigmoid()", "mul()"]),
        (lambda x: x[:].double().float().contiguous().clone().detach().to("cpu").view(2, 3, 4, 6), []),
        (lambda x: x.permute(0, 2, 3, 1), ["permute()"]),
        (lambda x: x.mT, ["mT()"]),
        (lambda x: x.reshape(len(x), x.shape[1] * 4, -1), ["reshape()"]),
        (lambda x: x.clone().unsqueeze_(0), ["unsqueeze_()"]),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], ["max_pool2d_with_indices()"]),
        (lambda x: F.avg_pool2d(x, 2, padding=1), ["avg_pool2d()"]),
        (lambda x: F.interpolate(x, scale_factor=2), ["interpolate()"]),
        (lambda x: x @ torch.ones(6, 6), ["matmul()"]),  # the same shape, yet work
        (lambda x: x, []),
    ],
)
def test_which_functions_have_rows(function, shown):
    trace = trace_shapes(Forward(lambda self, x: function(x)), torch.ones(2, 3, 4, 6))
    assert [call.kind for call in trace.calls] == shown
    assert all(call.inputs[0] == (2, 3, 4, 6) for call in trace.calls[:1])  # also of one that changes its own input


@pytest.mark.parametrize(
    ("layer", "shape", "text", "work"),
    [
        (nn.Conv1d(2, 4, 3, stride=2), (5, 2, 9), "⌊(9 − 3)/2⌋ + 1 = 4", 5 * 4 * 4 * 6),
        (
            nn.Conv2d(4, 8, (3, 1), padding=(1, 0)),
            (5, 4, 6, 7),
            "⌊(6 + 2·1 − 3)/1⌋ + 1 = 6; ⌊(7 − 1)/1⌋ + 1 = 7",
            5 * 8 * 42 * 12,
        ),
        (nn.Conv2d(4, 8, 3, groups=4, dilation=2), (1, 4, 7, 7), "⌊(7 − 2·(3 − 1) − 1)/1⌋ + 1 = 3", 8 * 9 * 9),
        (nn.Conv2d(4, 8, 3, padding="same"), (1, 4, 7, 7), "⌊(7 + 2·1 − 3)/1⌋ + 1 = 7", 8 * 49 * 36),
        (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 1, 5, 5), "⌊(7 − 3)/1⌋ + 1 = 5", 2 * 25 * 9),
        (nn.Conv3d(1, 2, 2), (1, 1, 4, 4, 4), "⌊(4 − 2)/1⌋ + 1 = 3", 2 * 27 * 8),
        (nn.ConvTranspose1d(2, 3, 2, stride=2), (1, 2, 4), "(4 − 1)·2 + 2 = 8", 8 * 6),
        (
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            (1, 4, 5, 5),
            "(5 − 1)·2 − 2·1 + 3 + 1 = 10",
            100 * 27,
        ),
        (nn.MaxPool1d(2), (1, 2, 9), "⌊(9 − 2)/2⌋ + 1 = 4", 0),
        (nn.MaxPool2d(3, stride=2, padding=1), (1, 2, 9, 9), "⌊(9 + 2·1 − 3)/2⌋ + 1 = 5", 0),
        (nn.MaxPool2d(2, return_indices=True), (1, 2, 9, 9), "⌊(9 − 2)/2⌋ + 1 = 4", 0),
        (nn.MaxPool2d(3, dilation=2, stride=1), (1, 2, 9, 9), "⌊(9 − 2·(3 − 1) − 1)/1⌋ + 1 = 5", 0),
        (nn.MaxPool3d(2), (1, 2, 4, 4, 4), "⌊(4 − 2)/2⌋ + 1 = 2", 0),
        (nn.AvgPool2d((2, 3), ceil_mode=True), (1, 2, 9, 9), "⌈(9 − 2)/2⌉ + 1 = 5; ⌈(9 − 3)/3⌉ + 1 = 3", 0),
        (nn.AdaptiveAvgPool2d((6, 5)), (1, 2, 9, 9), "any size → 6·5", 0),
        (nn.AdaptiveAvgPool2d((6, 5)), (2, 9, 9), "any size → 6·5", 0),
        (nn.AdaptiveMaxPool1d(4), (1, 2, 9), "any size → 4", 0),
        (nn.Linear(3, 5), (2, 7, 3), "3 → 5", 2 * 7 * 15),
        (nn.Linear(3, 5), (3,), "3 → 5", 15),
        (nn.Flatten(), (2, 3, 4, 5), "3·4·5 = 60", 0),
        (nn.Flatten(2), (2, 3, 4, 5), "", 0),
        (nn.ReLU(inplace=True), (2, 3), "", 0),
        (nn.LayerNorm(3), (2, 3), "", 0),
    ],
)
def test_formula_and_work_of_each_kind_of_layer(layer, shape, text, work):
    x = torch.ones(shape)
    (call,) = trace_shapes(layer, x).calls
    assert call.inputs == (shape,) and call.kind == call.layer == type(layer).__name__
    assert (call.formula, call.multiply_adds) == (text, work)
    outputs = layer(x)
    assert call.outputs == tuple(tuple(y.shape) for y in (outputs if isinstance(outputs, tuple) else (outputs,)))
    for part in text.split("; ") if "⌊" in text or "⌈" in text else []:
        assert int(part.rpartition(" = ")[2]) in call.outputs[0]


@pytest.mark.parametrize(
    ("function", "work"),
    [
        (lambda a, b: a @ b, 2 * 3 * 4),
        (lambda a, b: a.matmul(b), 2 * 3 * 4),
        (lambda a, b: torch.mm(a, b), 2 * 3 * 4),
        (lambda a, b: torch.matmul(a, other=b), 2 * 3 * 4),
        (lambda a, b: torch.bmm(a[None], b[None]), 2 * 3 * 4),
        (lambda a, b: a[0] @ b, 3 * 4),
        (lambda a, b: F.linear(a, b.t()), 2 * 3 * 4),
        (lambda a, b: F.conv1d(a[None], weight=torch.ones(5, 2, 2)), 5 * 2 * 4),
        # 2 heads: 3 queries and 5 keys of 4 numbers, then 5 values of 6 numbers each
        (
            lambda a, b: F.scaled_dot_product_attention(torch.ones(2, 3, 4), torch.ones(2, 5, 4), torch.ones(2, 5, 6)),
            2 * 3 * 5 * 4 + 2 * 3 * 5 * 6,
        ),
        (lambda a, b: a * 2 + 1, 0),
    ],
)
def test_the_work_of_products(function, work):
    model = Forward(lambda self, a, b: function(a, b))
    assert trace_shapes(model, torch.ones(2, 3), torch.ones(3, 4)).multiply_adds == work


def test_a_layer_that_the_reader_wrote_is_one_row_with_its_work():
    trace = trace_shapes(nn.Sequential(nn.Flatten(), MyLinear(12, 5)), torch.zeros(2, 3, 4))
    assert trace.calls[1] == Call("1", "MyLinear", ((2, 12),), ((2, 5),), "", 65, 120)
    assert len(trace.calls) == 2 and trace.notes == ()
    # alone it is the model, whose forward is shown function by function
    assert [call.kind for call in trace_shapes(MyLinear(3, 5), torch.zeros(2, 3)).calls] == ["T()", "matmul()", "add()"]


def test_several_inputs_keywords_and_structured_outputs():
    def forward(self, image, *, label):
        joined = torch.cat([self.a(input=image), self.b(label)], 1)
        return {"joined": joined, "parts": (image, [label])}

    model = Forward(forward, a=nn.Linear(3, 5), b=nn.Linear(2, 5))
    trace = trace_shapes(model, torch.zeros(4, 3), label=torch.zeros(4, 2))
    assert [(call.inputs, call.outputs) for call in trace.calls] == [
        (((4, 3),), ((4, 5),)),
        (((4, 2),), ((4, 5),)),
        (((4, 5), (4, 5)), ((4, 10),)),
    ]
    alone = trace_shapes(nn.Linear(3, 5), input=torch.zeros(4, 3))
    assert alone.calls[0].inputs == ((4, 3),)
    both = nn.Sequential(Forward(lambda self, x: {"a": x, "b": [x[:, :1]]}), Forward(lambda self, parts: parts["a"]))
    first, second = trace_shapes(both, torch.zeros(4, 3)).calls
    assert first.outputs == second.inputs == ((4, 3), (4, 1))
    assert second.outputs == ((4, 3),)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: F.max_pool2d(x, [2]), "⌊(6 − 2)/2⌋ + 1 = 3; ⌊(8 − 2)/2⌋ + 1 = 4"),
        (lambda x: F.avg_pool2d(x, (2, 4), None, 1), "⌊(6 + 2·1 − 2)/2⌋ + 1 = 4; ⌊(8 + 2·1 − 4)/4⌋ + 1 = 2"),
        (
            lambda x: F.conv2d(x, torch.ones(1, 1, 3, 5), None, 1, "same"),
            "⌊(6 + 2·1 − 3)/1⌋ + 1 = 6; ⌊(8 + 2·2 − 5)/1⌋ + 1 = 8",
        ),
        (lambda x: torch.cat([x, x, x], 3), "8 + 8 + 8 = 24"),
        (lambda x: torch.cat([x]), None),  # nothing changes its size
        (lambda x: x.view(-1, 24), ""),  # rows that are no samples have no such formula
        (lambda x: x.view(2, 6, 8), ""),
        (lambda x: F.conv_tbc(x[0], torch.ones(1, 8, 2), torch.ones(2)), None),  # not one of those whose order we know
    ],
)
def test_formulas_of_functions(function, text):
    trace = trace_shapes(Forward(lambda self, x: function(x)), torch.ones(2, 1, 6, 8))
    assert text is None or trace.calls[-1].formula == text


def test_a_bilinear_layer_shows_both_inputs():
    (call,) = trace_shapes(nn.Bilinear(3, 2, 5), torch.zeros(4, 3), torch.zeros(4, 2)).calls
    assert call.inputs == ((4, 3), (4, 2)) and call.outputs == ((4, 5),)
    assert " + ".join(map(str, call.inputs)) in str(
        trace_shapes(nn.Bilinear(3, 2, 5), torch.zeros(4, 3), torch.zeros(4, 2))
    )


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.LSTM(3, 4, num_layers=2), [torch.zeros(2, 5, 3)]),
        (nn.GRU(3, 4, bidirectional=True), [torch.zeros(2, 5, 3)]),
        (nn.MultiheadAttention(4, 2), [torch.zeros(2, 5, 4)] * 3),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), [torch.zeros(2, 5, 4)]),
        (nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2)), [torch.zeros(2, 3, dtype=torch.long)]),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), [torch.zeros(2, 3)]),
        (nn.Sequential(nn.Identity(), nn.Sequential()), [torch.zeros(2, 3)]),
    ],
)
def test_unusual_layers_are_traced(model, inputs):
    trace = trace_shapes(model, *inputs)
    assert trace.parameters == count_parameters(model)
    assert "multiply-adds in all" in str(trace)


def test_a_model_with_a_hook_that_computes_is_traced():
    model = nn.Sequential(nn.Linear(3, 5))
    model.register_forward_pre_hook(lambda module, args: (args[0].relu()[:, :3],))
    assert rows(trace_shapes(model, torch.zeros(2, 4))) == [("0", "Linear", ((2, 5),), 30)]


def test_lazy_layers_are_built_and_traced():
    model = nn.Sequential(nn.LazyConv2d(2, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
    trace = trace_shapes(model, torch.zeros(1, 1, 5, 5))
    assert [(call.kind, call.parameters) for call in trace.calls] == [
        ("Conv2d", 20), ("BatchNorm2d", 4), ("Flatten", 0), ("Linear", 95),
    ]  # fmt: skip
    assert trace == trace_shapes(model, torch.zeros(1, 1, 5, 5))


def test_the_meta_device_and_other_precisions_give_the_same_table():
    expected = trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
    assert trace_shapes(make_cnn().double(), torch.zeros(2, 1, 28, 28, dtype=torch.float64)) == expected
    assert trace_shapes(make_cnn().to("meta"), torch.zeros(2, 1, 28, 28, device="meta")) == expected


def test_a_model_that_catches_an_error_is_traced():
    def forward(self, x):
        try:
            return self.first(x)
        except RuntimeError:
            return self.second(x)

    model = Forward(forward, first=nn.Sequential(nn.Conv2d(3, 2, 1)), second=nn.Conv2d(1, 2, 1))
    trace = trace_shapes(model, torch.zeros(2, 1, 5, 5))
    assert rows(trace) == [("second", "Conv2d", ((2, 2, 5, 5),), 100)]
    assert trace.notes == ("not used in this pass: 'first.0'",)
    text = message(trace_shapes, model, torch.zeros(2, 4, 5, 5))
    assert text.startswith('conv2d "second" expects 1 channels but receives 4')  # the error that was not caught
    outer = Forward(lambda self, x: F.relu(self.inner(x)), inner=model)
    calls = trace_shapes(outer, torch.zeros(2, 1, 5, 5)).calls
    assert [(call.layer, call.kind) for call in calls] == [("inner.second", "Conv2d"), ("", "relu()")]


def test_an_error_that_the_model_wraps_is_explained():
    def forward(self, x):
        try:
            return self.layer(x)
        except RuntimeError as error:
            raise ValueError("something is wrong") from error

    text = message(trace_shapes, Forward(forward, layer=nn.Conv2d(3, 2, 1)), torch.zeros(2, 1, 5, 5))
    assert text == 'conv2d "layer" expects 3 channels but receives 1 in (2, 1, 5, 5): set in_channels=1'


# ---------------------------------------------------------------------------------------------------------- notes


def test_a_single_number_has_no_batch_to_mix():
    assert trace_shapes(nn.Flatten(0), torch.tensor(1.0)).notes == ()
    assert trace_shapes(Forward(lambda self, x: x.view(())), torch.ones(1)).notes == ()


def test_parameters_that_took_no_part_are_noted():
    def forward(self, x):
        return self.used(x)

    model = Forward(forward, used=nn.Linear(3, 3), idle=nn.Linear(3, 3), scale=nn.Parameter(torch.ones(3)))
    trace = trace_shapes(model, torch.zeros(2, 3))
    assert trace.notes == ("not used in this pass: 'scale', 'idle'",)
    assert trace.totals() == "27 parameters (15 of them in no row), 18 multiply-adds in all"
    for more, text in ((1, "'more.0'"), (2, "'more.0' and 1 more"), (4, "'more.0' and 3 more")):
        model.more = nn.ModuleList(nn.Linear(3, 3) for _ in range(more))
        assert trace_shapes(model, torch.zeros(2, 3)).notes == (f"not used in this pass: 'scale', 'idle', {text}",)


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), Forward(lambda self, x: x.view(-1, 392)), nn.Linear(392, 2)),
            None,  # inside a layer that the reader wrote nothing is shown, and nothing noted
        ),
        (Forward(lambda self, x: x.view(-1, 392)), "view() turns 2 samples into 4 rows, (4, 392)"),
        (Forward(lambda self, x: x.reshape(-1)), "reshape() turns 2 samples into 1568 rows, (1568,)"),
        (Forward(lambda self, x: torch.flatten(x)), "flatten() turns 2 samples into 1568 rows, (1568,)"),
        (nn.Flatten(0), "Flatten turns 2 samples into 1568 rows, (1568,)"),
        (nn.Flatten(), None),
        (Forward(lambda self, x: x.view(2, -1)), None),
        (Forward(lambda self, x: x.view(-1, 1, 14, 14)), None),  # cutting a picture into patches is no mistake
    ],
)
def test_a_flattening_that_mixes_samples_is_noted(model, note):
    trace = trace_shapes(model, torch.zeros(2, 1, 28, 28))
    keep = ": flatten(start_dim=1) and x.flatten(1) keep each sample in its row"
    if note is not None:
        assert trace.notes == (note + keep,)
        assert f"Note: {note}" in str(trace)
        assert f"<p role='alert'><b>Note:</b> {note}" in trace._repr_html_()
    else:
        assert trace.notes == () and "Note" not in str(trace) + trace._repr_html_()


# --------------------------------------------------------------------------- against torchinfo and published figures

MODELS = [
    "alexnet", "vgg11", "resnet18", "resnet50", "googlenet", "squeezenet1_0", "mobilenet_v2", "shufflenet_v2_x0_5",
    "densenet121", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf",
]  # fmt: skip


def products(info):
    """Return the multiply-adds of torchinfo's row that belong to products.

    torchinfo multiplies every parameter of a layer by the positions where it is used. That is right for weights, but
    it counts a bias, which is only added, and the parameters of a normalization too; both are taken off here.
    """
    layer = info.module
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return 0
    positions = info.output_size[0] * (math.prod(info.output_size[2:]) if isinstance(layer, nn.Conv2d) else 1)
    return info.macs - (layer.bias.numel() * positions if layer.bias is not None else 0)


@pytest.mark.parametrize("name", MODELS)
def test_layers_and_totals_are_torchinfo_s_and_torchvision_s(name):
    """Compare each layer with torchinfo, and the totals with the figures that torchvision publishes for 224×224."""
    options = {"init_weights": False} if name == "googlenet" else {}
    if name.startswith("regnet"):  # it computes its widths with tensors
        model = torchvision.models.get_model(name).to("meta")
    else:
        with torch.device("meta"):
            model = torchvision.models.get_model(name, **options)
    x = torch.zeros(1, 3, 224, 224, device="meta")
    trace = trace_shapes(model, x)
    summary = torchinfo.summary(model, input_data=x, device="meta", mode="eval", verbose=0)
    leaves = [info for info in summary.summary_list if info.is_leaf_layer]
    layers = [call for call in trace.calls if not call.kind.endswith(("()", "[…]"))]
    assert [(call.kind, call.outputs[0], call.multiply_adds) for call in layers] == [
        (info.class_name, tuple(info.output_size), products(info)) for info in leaves
    ]
    seen = set()
    for call, info in zip(layers, leaves, strict=True):
        assert call.parameters == (0 if info.layer_id in seen else info.num_params)
        seen.add(info.layer_id)
    assert trace.parameters == summary.total_params
    assert trace.multiply_adds == sum(map(products, leaves))

    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    assert round(trace.multiply_adds / 1e9, 3) == published["_ops"]
    if name == "googlenet":  # the published network has lost its two helpers, which only training uses
        assert trace.notes == ("not used in this pass: 'aux1.conv.conv', 'aux1.conv.bn', 'aux1.fc1' and 5 more",)
    else:
        assert trace.parameters == published["num_params"] and trace.notes == ()


def test_resnet_50_as_published():
    with torch.device("meta"):
        model = torchvision.models.resnet50()
    trace = trace_shapes(model, torch.zeros(2, 3, 224, 224, device="meta"))
    assert (trace.parameters, trace.multiply_adds) == (25_557_032, 2 * 4_089_184_256)
    assert sum(call.kind == "add_()" for call in trace.calls) == 16  # one shortcut a block


# -------------------------------------------------------------------------------------------------- how it is shown

HEADINGS = ["layer", "kind", "input", "how the size comes about", "output", "parameters", "multiply-adds"]


def test_the_text_is_an_aligned_table():
    trace = trace_shapes(nn.Sequential(make_cnn(), nn.ReLU()), torch.zeros(2, 1, 28, 28))
    assert str(trace) == repr(trace)
    head, *lines, total = str(trace).splitlines()
    assert re.split(r"  +", head) == HEADINGS
    assert len(lines) == len(trace.calls) == len(trace.rows())
    assert len({len(line) for line in [head, *lines]}) == 1  # the last column is set to the right
    starts = [head.index(heading) for heading in HEADINGS[:5]]
    ends = [head.index(heading) + len(heading) for heading in HEADINGS[5:]]
    for line, row in zip(lines, trace.rows(), strict=True):
        assert all(line[start:].startswith(cell) for start, cell in zip(starts, row[:5], strict=True))
        assert all(line[:end].endswith(cell) for end, cell in zip(ends, row[5:], strict=True))
    assert lines[-2].endswith("15,680") and "7,850" in lines[-2] and "(2, 4, 14, 14) + (2, 4, 14, 14)" in str(trace)
    assert total == trace.totals() == "8,250 parameters, 285,376 multiply-adds in all"


class Page(html.parser.HTMLParser):
    """Read the cells of a page's tables, and see that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.table, self.alerts, self.aligned = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in ("table", "tr", "th", "td", "p", "b"), tag
        self.open.append(tag)
        if tag == "tr":
            self.table.append([])
            self.aligned.append([])
        if tag in ("td", "th"):
            self.table[-1].append("")
            self.aligned[-1].append(dict(attributes)["style"].removeprefix("text-align:"))
        if dict(attributes).get("role") == "alert":
            self.alerts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.table[-1][-1] += data
        elif self.alerts:
            self.alerts[-1] += data


def test_html_holds_every_cell_the_totals_and_the_notes():
    trace = trace_shapes(
        Forward(lambda self, x: self.cnn(x), cnn=make_cnn(), idle=nn.Linear(2, 2)), torch.zeros(2, 1, 28, 28)
    )
    page = Page(trace._repr_html_())
    assert page.table == [HEADINGS, *map(list, trace.rows())]
    assert page.aligned == [["left"] * 5 + ["right"] * 2] * (len(trace.calls) + 1)
    assert page.alerts == ["Note: not used in this pass: 'idle'"]
    assert f"<p>{trace.totals()}</p>" in trace._repr_html_()


def test_html_is_escaped():
    class Odd(nn.Module):
        def forward(self, x):
            return x

    Odd.__name__ = "<script>"
    model = nn.Sequential()
    model.add_module("<b>&", Odd())
    model.add_module("<i>", nn.Linear(2, 2))
    model.forward = lambda x: model[0](x)
    page = Page(trace_shapes(model, torch.zeros(1))._repr_html_())
    assert page.table[1][:2] == ["<b>&", "<script>"]
    assert page.alerts == ["Note: not used in this pass: '<i>'"]


# ------------------------------------------------------------------------------------------------ nothing is left


class Stop(Exception):
    """An error of the model's own kind."""


def condition(model):
    """Return all that a pass could change: hooks, modes, numbers, gradients, the random state and torch's own mode."""
    hooks = [
        [dict(part) for name, part in sorted(vars(module).items()) if "hooks" in name and isinstance(part, dict)]
        for module in model.modules()
    ]
    numbers = {name: value.tolist() for name, value in model.state_dict().items()}
    gradients = [parameter.grad for parameter in model.parameters()]
    watching = torch._C._len_torch_function_stack()
    modes = [module.training for module in model.modules()]
    return hooks, numbers, gradients, watching, modes, torch.get_rng_state().tolist(), torch.is_grad_enabled()


def interrupted(error):
    """Return a CNN that takes random numbers and then raises an error, unless that is None."""

    def forward(self, x):
        torch.rand(3)
        if error is not None:
            raise error
        return F.dropout(x)

    model = nn.Sequential(make_cnn(), Forward(forward), nn.Linear(10, 2)).train()
    model[0][1].norm.eval()  # frozen, as in fine-tuning: it must not wake up
    model[2].requires_grad_(False)
    model[0][0][0].register_forward_hook(lambda *_: None)
    model[0].register_forward_pre_hook(lambda *_: None)
    return model


ERRORS = [
    None, RuntimeError("r"), ValueError("v"), IndexError("i"), TypeError("t"), KeyError("k"), AssertionError("a"),
    AttributeError("b"), NotImplementedError("n"), StopIteration(), Stop("s"), KeyboardInterrupt(), SystemExit(1),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("function", [trace_shapes, capture_activations, receptive_field])
def test_everything_is_as_it_was_also_after_an_error(function, error):
    model, x = interrupted(error), torch.rand(2, 1, 28, 28)
    before = condition(model)
    assert before[4].count(False) == 1 and sum(bool(hooks) for module in before[0] for hooks in module) == 2
    if error is None:
        function(model, x)
    else:
        with pytest.raises(BaseException) as raised:
            function(model, x)
        plain = isinstance(error, RuntimeError | ValueError | IndexError | TypeError)
        if function is not capture_activations:  # what does not fit is explained; other errors go through
            assert raised.type is (ValueError if plain else type(error))
        if plain and function is trace_shapes:
            assert str(raised.value).startswith(
                f'the model\'s forward fails in Forward "1", which receives (2, 10): {error}'
            )
            assert raised.value.__cause__ is error
    assert condition(model) == before


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 20, 20), (28, 28)])
def test_everything_is_as_it_was_after_shapes_that_do_not_fit(shape):
    model = interrupted(None)
    before = condition(model)
    message(trace_shapes, model, torch.ones(shape))
    assert condition(model) == before


def test_gradients_stay_switched_off_for_those_who_switched_them_off():
    with torch.no_grad():
        trace_shapes(make_cnn(), torch.zeros(2, 1, 28, 28))
        assert not torch.is_grad_enabled()


def test_the_model_runs_in_eval_mode_without_gradients_and_keeps_no_tensor():
    seen = []

    def forward(self, x):
        y = self.layer(x)
        seen.append((self.training, self.layer.training, torch.is_grad_enabled(), y.requires_grad, weakref.ref(y)))
        return y

    model = Forward(forward, layer=nn.Linear(3, 3))
    trace = trace_shapes(model, torch.zeros(1, 3, requires_grad=True))
    assert seen[0][:4] == (False, False, False, False)
    assert seen[0][4]() is None and len(trace.calls) == 1


# ------------------------------------------------------------------------------------------------------ diagnosis


def net(*layers, **named):
    """Return the layers one after the other; those with names come last, in their order."""
    model = nn.Sequential(*layers)
    for name, layer in named.items():
        model.add_module(name, layer)
    return model


def of(function, **parts):
    return Forward(lambda self, *inputs: function(self, *inputs), **parts)


def conv(*args, **options):
    return nn.Conv2d(*args, **options)


POOL, FLAT, RELU = nn.MaxPool2d(2), nn.Flatten(), nn.ReLU()
IMAGES = torch.zeros(2, 1, 28, 28)
C1, C2, FULL = conv(1, 16, 5, padding=2), conv(16, 32, 5, padding=2), nn.Linear(1568, 10)
SMALL = (
    conv(1, 16, 5, padding=2),
    nn.MaxPool2d(2),
    conv(16, 16, 5, padding=2),
    nn.MaxPool2d(2),
    FLAT,
)  # 784 = 16·7·7 numbers a sample


def lenet_without(padding):
    """Return LeNet up to its third convolution, with or without the padding of the first."""
    layers = conv(1, 6, 5, padding=padding), POOL, conv(6, 16, 5), POOL
    return net(*layers, C5=conv(16, 120, 5))


def residual(stride):
    return of(
        lambda self, x: self.a(x) + self.short(x),
        a=conv(1, 4, 3, stride=2, padding=1),
        short=conv(1, 4, 1, stride=stride),
    )


# A broken model, its input, the message, and what the advice makes of it: another model, or another input.
BROKEN = {
    "a linear layer after maps of another size": (
        net(*SMALL, out=nn.Linear(1568, 10)),
        IMAGES,
        'linear "out" expects 1568 features but receives 784 = 16·7·7: set in_features=784',
        net(*SMALL, out=nn.Linear(784, 10)),
    ),
    "a pooling between layers": (
        of(lambda self, x: self.fc(F.max_pool2d(self.c(x), 2).flatten(1)), c=conv(1, 16, 5), fc=nn.Linear(2304, 10)),
        torch.zeros(2, 1, 12, 12),
        'linear "fc" expects 2304 features but receives 256 = 16·4·4: set in_features=256',
        of(lambda self, x: self.fc(F.max_pool2d(self.c(x), 2).flatten(1)), c=conv(1, 16, 5), fc=nn.Linear(256, 10)),
    ),
    "numbers that are no whole maps have no factors": (
        of(lambda self, x: self.fc(self.c(x).flatten(1)[:, :100]), c=conv(1, 4, 5), fc=nn.Linear(99, 10)),
        IMAGES,
        'linear "fc" expects 99 features but receives 100: set in_features=100',
        of(lambda self, x: self.fc(self.c(x).flatten(1)[:, :100]), c=conv(1, 4, 5), fc=nn.Linear(100, 10)),
    ),
    "no flatten": (
        net(C1, POOL, C2, POOL, nn.Linear(1568, 10)),
        IMAGES,
        'linear "4" expects 1568 features but receives (2, 32, 7, 7): flatten it before, 32·7·7 = 1568',
        net(C1, POOL, C2, POOL, FLAT, nn.Linear(1568, 10)),
    ),
    "no flatten, and another number": (
        net(C1, POOL, nn.Linear(1568, 10)),
        IMAGES,
        'linear "2" expects 1568 features but receives (2, 16, 14, 14): flatten it before, 16·14·14 = 3136, '
        "and set in_features=3136",
        net(C1, POOL, FLAT, nn.Linear(3136, 10)),
    ),
    "no flatten in a dense network": (
        net(nn.Linear(784, 10)),
        IMAGES,
        'linear "0" expects 784 features but receives (2, 1, 28, 28): flatten it before, 1·28·28 = 784',
        net(FLAT, nn.Linear(784, 10)),
    ),
    "maps of which each is a sample": (
        of(lambda self, x: self.fc(self.c(x).view(-1, 28, 28)), c=conv(1, 4, 1), fc=nn.Linear(784, 10)),
        IMAGES,
        'linear "fc" expects 784 features but receives 28: set in_features=28',
        of(lambda self, x: self.fc(self.c(x).view(-1, 28, 28)), c=conv(1, 4, 1), fc=nn.Linear(28, 10)),
    ),
    "a sequence has its features last": (
        net(nn.Linear(8, 4)),
        torch.zeros(2, 5, 6),
        'linear "0" expects 8 features but receives 6: set in_features=6',
        net(nn.Linear(6, 4)),
    ),
    "the batch flattened too": (
        net(C1, POOL, C2, POOL, nn.Flatten(0), FULL),
        IMAGES,
        'linear "5" expects 1568 features but receives one row of 3136, the whole batch: keep the batch axis, '
        "flatten(start_dim=1) or nn.Flatten()",
        net(C1, POOL, C2, POOL, FLAT, FULL),
    ),
    "the batch flattened too, and another number": (
        net(nn.Flatten(0), nn.Linear(100, 10)),
        IMAGES,
        'linear "1" expects 100 features but receives one row of 1568, the whole batch: keep the batch axis, '
        "flatten(start_dim=1) or nn.Flatten(), and set in_features=784",
        net(FLAT, nn.Linear(784, 10)),
    ),
    "a single row that is no flattened batch": (
        net(RELU, nn.Linear(3, 5)),
        torch.zeros(4),
        'linear "1" expects 3 features but receives 4: set in_features=4',
        net(RELU, nn.Linear(4, 5)),
    ),
    "an image without its batch axis": (
        net(conv(1, 10, 5), POOL, nn.Flatten(), out=nn.Linear(1440, 10)),
        torch.zeros(1, 28, 28),
        'linear "out" expects 1440 features but receives (10, 144), and a convolution before it no batch axis: '
        "pass (B, C, H, W), as x[None]",
        torch.zeros(1, 28, 28)[None],
    ),
    "samples cut in pieces": (
        of(lambda self, x: self.fc(x.view(-1, 392)), fc=nn.Linear(784, 10)),
        IMAGES,
        'linear "fc" expects 784 features but receives (4, 392), though there are 2 samples of 784 '
        "numbers: keep them apart with x.flatten(1)",
        of(lambda self, x: self.fc(x.flatten(1)), fc=nn.Linear(784, 10)),
    ),
    "samples cut in pieces, and another number": (
        of(lambda self, x: self.fc(self.c(x).view(-1, 392)), c=conv(1, 4, 1), fc=nn.Linear(100, 10)),
        IMAGES,
        'linear "fc" expects 100 features but receives (16, 392), though there are 2 samples of 3136 = 4·28·28 '
        "numbers: keep them apart with x.flatten(1), and set in_features=3136",
        of(lambda self, x: self.fc(self.c(x).flatten(1)), c=conv(1, 4, 1), fc=nn.Linear(3136, 10)),
    ),
    "a layer alone": (
        nn.Linear(3, 5),
        torch.zeros(4, 2),
        "Linear expects 3 features but receives 2: set in_features=2",
        nn.Linear(2, 5),
    ),
    "a convolution for other channels": (
        net(conv(3, 4, 3), RELU, conv(8, 4, 3)),
        torch.zeros(2, 3, 9, 9),
        'conv2d "2" expects 8 channels but receives 4 in (2, 4, 7, 7): set in_channels=4',
        net(conv(3, 4, 3), RELU, conv(4, 4, 3)),
    ),
    "a convolution in groups": (
        net(conv(6, 4, 3, groups=2)),
        torch.zeros(2, 4, 9, 9),
        'conv2d "0" expects 6 channels but receives 4 in (2, 4, 9, 9): set in_channels=4',
        net(conv(4, 4, 3, groups=2)),
    ),
    "a transposed convolution": (
        net(nn.ConvTranspose2d(6, 4, 2)),
        torch.zeros(2, 3, 9, 9),
        'convtranspose2d "0" expects 6 channels but receives 3 in (2, 3, 9, 9): set in_channels=3',
        net(nn.ConvTranspose2d(3, 4, 2)),
    ),
    "an image without its batch axis and with other channels": (
        net(conv(1, 4, 3)),
        torch.zeros(3, 28, 28),
        'conv2d "0" receives (3, 28, 28) and takes it for one image of 3 channels: add the channel axis, as x[:, None]',
        torch.zeros(3, 28, 28)[:, None],
    ),
    "channels last": (
        net(conv(3, 4, 3)),
        torch.zeros(2, 28, 28, 3),
        'conv2d "0" receives (2, 28, 28, 3): expects 3 channels in the second axis, but they come last: '
        "x.permute(0, 3, 1, 2)",
        torch.zeros(2, 28, 28, 3).permute(0, 3, 1, 2),
    ),
    "a bare image": (
        net(conv(1, 4, 3)),
        torch.zeros(28, 28),
        'conv2d "0" receives (28, 28), but expects (B, C, H, W): add the missing axes, as x[None, None]',
        torch.zeros(28, 28)[None, None],
    ),
    "flattened too early": (
        net(FLAT, conv(1, 4, 3)),
        IMAGES,
        'conv2d "1" receives (2, 784), but expects (B, C, H, W): is it flattened too early?',
        net(conv(1, 4, 3), FLAT),
    ),
    "a row for a one-dimensional convolution": (
        net(nn.Conv1d(1, 4, 3)),
        torch.zeros(28),
        'conv1d "0" receives (28,), but expects (B, C, W): is it flattened too early?',
        torch.zeros(28)[None, None],
    ),
    "images for a three-dimensional convolution": (
        net(nn.Conv3d(1, 4, 3)),
        torch.zeros(28, 28, 28),
        'conv3d "0" receives (28, 28, 28), but expects (B, C, D, H, W): is it flattened too early?',
        torch.zeros(28, 28, 28)[None, None],
    ),
    "LeNet without the padding of its first layer": (
        lenet_without(padding=0),
        IMAGES,
        'conv2d "C5" receives (2, 16, 4, 4): a kernel of 5 does not fit into 4 pixels: use a smaller kernel, '
        "or a padding of at least 1, or keep more pixels in the layers before it",
        lenet_without(padding=2),
    ),
    "a pooling of too few pixels": (
        net(POOL, nn.MaxPool2d(4)),
        torch.zeros(2, 1, 6, 6),
        'maxpool2d "1" receives (2, 1, 3, 3): a kernel of 4 does not fit into 3 pixels: use a smaller kernel, '
        "or a padding of at least 1, or keep more pixels in the layers before it",
        net(POOL, nn.MaxPool2d(3)),
    ),
    "a pooling between layers that does not fit": (
        of(lambda self, x: F.avg_pool2d(x, 4)),
        torch.zeros(2, 1, 3, 3),
        "avg_pool2d() in the model's forward receives (2, 1, 3, 3): a kernel of 4 does not fit into 3 pixels: use a "
        "smaller kernel, or a padding of at least 1, or keep more pixels in the layers before it",
        of(lambda self, x: F.avg_pool2d(x, 4, padding=1)),
    ),
    "a normalization for other channels": (
        net(conv(1, 4, 3), norm=nn.BatchNorm2d(3)),
        IMAGES,
        'batchnorm2d "norm" expects 3 channels but receives 4 in (2, 4, 26, 26): set num_features=4',
        net(conv(1, 4, 3), norm=nn.BatchNorm2d(4)),
    ),
    "branches of other sizes": (
        net(block=residual(stride=1)),
        torch.zeros(2, 1, 8, 8),
        'add() in "block" cannot join (2, 4, 4, 4) and (2, 4, 8, 8): axis 2 is 4 in one and 8 in the other; '
        "both branches need the same stride, padding and channels",
        net(block=residual(stride=2)),
    ),
    "branches of other widths": (
        of(lambda self, x: x * self.gate(x), gate=conv(4, 4, (1, 2))),
        torch.zeros(2, 4, 8, 8),
        "mul() in the model's forward cannot join (2, 4, 8, 8) and (2, 4, 8, 7): axis 3 is 8 in one and 7 in the "
        "other; both branches need the same stride, padding and channels",
        of(lambda self, x: x * self.gate(x), gate=conv(4, 4, (1, 1))),
    ),
    "an axis of one is repeated and not to blame": (
        of(lambda self, x: x - self.gate(x), gate=conv(4, 1, (1, 2))),
        torch.zeros(2, 4, 8, 8),
        "sub() in the model's forward cannot join (2, 4, 8, 8) and (2, 1, 8, 7): axis 3 is 8 in one and 7 in the "
        "other; both branches need the same stride, padding and channels",
        of(lambda self, x: x - self.gate(x), gate=conv(4, 1, 1)),
    ),
    "an addition in place": (
        of(lambda self, x: self.a(x).add_(x[:, :, 1:]), a=conv(1, 1, 1)),
        torch.zeros(2, 1, 8, 8),
        "add_() in the model's forward cannot join (2, 1, 8, 8) and (2, 1, 7, 8): axis 2 is 8 in one and 7 in the "
        "other; both branches need the same stride, padding and channels",
        of(lambda self, x: self.a(x).add_(x), a=conv(1, 1, 1)),
    ),
    "maps that cannot be joined": (
        of(lambda self, x: torch.cat([self.a(x), x], 1), a=conv(1, 4, 3)),
        torch.zeros(2, 1, 8, 8),
        "cat() in the model's forward cannot join (2, 4, 6, 6) and (2, 1, 8, 8): axis 2 is 6 in one and 8 in the "
        "other; both branches need the same stride, padding and channels",
        of(lambda self, x: torch.cat([self.a(x), x], 1), a=conv(1, 4, 3, padding=1)),
    ),
    "maps of one row are not repeated to be joined": (
        of(lambda self, x: torch.cat([x[:, :, :1], x], 1)),
        torch.zeros(2, 1, 8, 8),
        "cat() in the model's forward cannot join (2, 1, 1, 8) and (2, 1, 8, 8): axis 2 is 1 in one and 8 in the "
        "other; both branches need the same stride, padding and channels",
        of(lambda self, x: torch.cat([x, x], 1)),
    ),
    "maps and a row that cannot be joined": (
        of(lambda self, x: torch.cat([x, x.flatten(1)], 1)),
        torch.zeros(2, 1, 8, 8),
        "cat() in the model's forward cannot join (2, 1, 8, 8) and (2, 64); both branches need the same stride, "
        "padding and channels",
        of(lambda self, x: torch.cat([x.flatten(1), x.flatten(1)], 1)),
    ),
    "whole numbers from 0 to 255": (
        make_cnn(),
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
        'conv2d "0.0" receives numbers of torch.uint8, but its weights are torch.float32: convert them with x.float()',
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8).float(),
    ),
    "numbers of 64 bits are one problem, though two layers are dense": (
        net(nn.Linear(3, 4), nn.Linear(4, 2)),
        torch.zeros(2, 3, dtype=torch.float64),
        'linear "0" receives numbers of torch.float64, but its weights are torch.float32: convert them with x.float()',
        torch.zeros(2, 3, dtype=torch.float64).float(),
    ),
    "a model of 64 bits": (
        net(nn.Linear(3, 4)).double(),
        torch.zeros(2, 3),
        'linear "0" receives numbers of torch.float32, but its weights are torch.float64: convert them with '
        "x.to(torch.float64)",
        torch.zeros(2, 3).to(torch.float64),
    ),
    "a dense layer that the reader wrote": (
        net(MyLinear(3, 5)),
        torch.zeros(2, 3, dtype=torch.float64),
        'mylinear "0" receives numbers of torch.float64, but its weights are torch.float32: convert them with '
        "x.float()",
        torch.zeros(2, 3),
    ),
    "whole numbers for a normalization": (
        net(nn.LayerNorm(3)),
        torch.zeros(2, 3, dtype=torch.int64),
        'layernorm "0" receives numbers of torch.int64, but its weights are torch.float32: convert them with x.float()',
        torch.zeros(2, 3),
    ),
    "another device": (
        net(nn.BatchNorm2d(1)).to("meta"),
        IMAGES,
        "batchnorm2d \"0\" receives a tensor on cpu, but its weights are on meta: x.to('meta')",
        IMAGES.to("meta"),
    ),
    "a view that does not divide": (
        of(lambda self, x: self.c(x).view(2, 7), c=conv(1, 2, 3)),
        torch.zeros(2, 1, 5, 5),
        "view() in the model's forward receives (2, 2, 3, 3), which is 18 numbers a sample, and cannot cut it so: "
        "shape '[2, 7]' is invalid for input of size 36",
        of(lambda self, x: self.c(x).view(2, 18), c=conv(1, 2, 3)),
    ),
    "a number that is not in the table": (
        net(nn.Embedding(5, 4)),
        torch.full((2, 3), 7),
        'embedding "0" receives (2, 3) and (5, 4) and fails: index out of range in self',
        torch.full((2, 3), 4),
    ),
    "a product that does not fit": (
        net(MyLinear(3, 5)),
        torch.zeros(2, 4),
        'mylinear "0" receives (2, 4) and (3, 5) and fails: mat1 and mat2 shapes cannot be multiplied (2x4 and 3x5)',
        net(MyLinear(4, 5)),
    ),
    "a layer that refuses by itself": (
        net(FLAT, nn.BatchNorm2d(1)),
        IMAGES,
        'the model\'s forward fails in BatchNorm2d "1", which receives (2, 784): expected 4D input (got 2D input)',
        net(FLAT, nn.BatchNorm1d(784)),
    ),
    "an error between layers": (
        of(lambda self, x: [x][len(x)]),
        IMAGES,
        "the model's forward fails: list index out of range",
        of(lambda self, x: [x][0]),
    ),
    "a single number": (
        net(nn.Linear(3, 5)),
        torch.tensor(1.0),
        'linear "0" receives () and (5, 3) and (5,) and fails: both arguments to linear need to be at least 1D, but '
        "they are 0D and 2D",
        torch.zeros(3),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_message_names_what_to_change_and_the_advice_helps(case):
    model, x, text, repaired = BROKEN[case]
    head, *before = message(trace_shapes, model, x).splitlines()
    assert head == text
    assert before == [] or before[0] == "Before it, these went well:"
    for line in before[1:]:
        assert re.fullmatch(r"  \S+: \(.*\)", line)
    if isinstance(repaired, nn.Module):
        trace = trace_shapes(repaired, x)
        repaired(x)
    else:
        trace = trace_shapes(model, repaired)
        model(repaired)
    assert trace.notes == ()


def random_layers(rng):
    """Return two random layers; most inputs fit neither."""
    n, m = rng.choices([1, 2, 3], k=2)
    kinds = [
        lambda: nn.Linear(n, m), lambda: nn.Conv1d(n, m, 2), lambda: nn.Conv2d(n, m, 2), lambda: nn.Conv3d(n, m, 2),
        lambda: nn.ConvTranspose2d(n, m, 2), lambda: nn.MaxPool2d(m), lambda: nn.AvgPool1d(m),
        lambda: nn.BatchNorm2d(n),
        lambda: nn.BatchNorm1d(n), lambda: nn.Flatten(m - 1), lambda: nn.LayerNorm(n), lambda: nn.GroupNorm(1, n),
        lambda: nn.Embedding(n, m), lambda: MyLinear(n, m), lambda: nn.Softmax(m - 1), lambda: nn.AdaptiveAvgPool2d(m),
        lambda: of(lambda self, x: x + torch.ones(n, m)), lambda: of(lambda self, x: torch.cat([x, x[:1]], m - 1)),
        lambda: of(lambda self, x: x.view(n, m)), lambda: nn.Unflatten(-1, (n, -1)),
    ]  # fmt: skip
    return nn.Sequential(rng.choice(kinds)(), rng.choice(kinds)()).eval()


def test_what_torch_runs_is_traced_and_what_it_refuses_is_explained():
    rng = random.Random(0)
    ran, dtypes = 0, [*[torch.float32] * 6, torch.float64, torch.int64]
    for _ in range(800):
        model, shape = random_layers(rng), [rng.randint(1, 3) for _ in range(rng.randint(0, 5))]
        x = torch.zeros(shape, dtype=rng.choice(dtypes))
        try:
            expected = tuple(model(x).shape)
        except (RuntimeError, ValueError, IndexError, TypeError):
            with pytest.raises(ValueError) as raised:
                trace_shapes(model, x)
            frames = traceback.extract_tb(raised.value.__cause__.__traceback__) if raised.value.__cause__ else []
            assert not any(frame.filename.endswith("diagnosis.py") for frame in frames), f"{model} of {shape}"
        else:
            assert trace_shapes(model, x).calls[-1].outputs[0] == expected
            ran += 1
    assert 60 < ran < 600


def test_the_last_four_rows_that_went_well_follow():
    lines = message(trace_shapes, net(*SMALL, out=nn.Linear(1568, 10)), IMAGES).splitlines()
    assert lines[1:] == [
        "Before it, these went well:",
        "  1: (2, 16, 14, 14)",
        "  2: (2, 16, 14, 14)",
        "  3: (2, 16, 7, 7)",
        "  4: (2, 784)",
    ]
    functions = message(trace_shapes, of(lambda self, x: F.relu(x).view(2, 7)), IMAGES).splitlines()
    assert functions[1:] == ["Before it, these went well:", "  relu(): (2, 1, 28, 28)"]
    assert len(message(trace_shapes, nn.Linear(3, 5), torch.zeros(4, 2)).splitlines()) == 1


def test_all_wrong_linear_layers_are_found_in_one_pass():
    model = net(
        *SMALL, a=nn.Linear(100, 50), b=nn.ReLU(), c=nn.Linear(60, 40), d=nn.Linear(40, 20), e=nn.Linear(30, 10)
    )
    assert message(trace_shapes, model, IMAGES).splitlines()[:5] == [
        "3 layers do not fit:",
        'linear "a" expects 100 features but receives 784 = 16·7·7: set in_features=784',
        'linear "c" expects 60 features but receives 50: set in_features=50',
        'linear "e" expects 30 features but receives 20: set in_features=20',
        "Before it, these went well:",
    ]
    # where no zeros can stand in for the output, what follows is not judged
    sequence = of(lambda self, x: self.layer(x) + x[..., :4], layer=nn.Linear(8, 4))
    assert message(trace_shapes, sequence, torch.zeros(2, 5, 6)) == (
        'linear "layer" expects 8 features but receives 6: set in_features=6'
    )
    # the rows are those before the first that does not fit, and another kind of error ends the list
    model = net(FLAT, nn.Linear(3, 4), FLAT, nn.Linear(5, 6), conv(1, 2, 3), nn.Linear(7, 8))
    assert message(trace_shapes, model, IMAGES).splitlines() == [
        "3 layers do not fit:",
        'linear "1" expects 3 features but receives 784: set in_features=784',
        'linear "3" expects 5 features but receives 4: set in_features=4',
        'conv2d "4" receives (2, 6), but expects (B, C, H, W): is it flattened too early?',
        "Before it, these went well:",
        "  0: (2, 784)",
    ]


def test_a_normalization_whose_channels_fit_but_whose_variances_do_not():
    model = of(lambda self, x: F.batch_norm(x, torch.zeros(3), torch.ones(4)))
    start = "batch_norm() in the model's forward receives (2, 3) and (3,) and (4,) and fails: "
    assert message(trace_shapes, model, torch.zeros(2, 3)).startswith(start)


def test_a_linear_function_whose_features_fit_but_whose_bias_does_not():
    model = of(lambda self, x: F.linear(x, torch.ones(5, 3), torch.ones(4)))
    start = "linear() in the model's forward receives (2, 3) and (5, 3) and (4,) and fails: "
    assert message(trace_shapes, model, torch.zeros(2, 3)).startswith(start)


@pytest.mark.parametrize("shape", [(0, 3), (0,), (2, 0)])
def test_an_empty_input_is_refused(shape):
    text = message(trace_shapes, nn.Linear(3, 5), torch.zeros(shape))
    assert text == f"expected an input with at least one sample, got shape {shape}"
    assert message(capture_activations, nn.Linear(3, 5), torch.zeros(shape)) == text


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        (
            nn.Linear,
            [torch.zeros(1, 3)],
            "expected a model (nn.Module), got type: pass the model first, then its input",
        ),
        (torch.zeros(1, 3), [nn.Linear(3, 5)], "expected a model (nn.Module), got Tensor: pass the model first"),
        (None, [torch.zeros(1, 3)], "expected a model (nn.Module), got NoneType"),
        (nn.Linear(3, 5), [(1, 3)], "expected a tensor as input, got tuple: try torch.zeros(2, 1, 28, 28)"),
        (nn.Linear(3, 5), [torch.zeros(1, 3).numpy()], "expected a tensor as input, got ndarray"),
        (nn.Linear(3, 5), [], "expected a tensor as input, got nothing"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(model, inputs, text):
    with pytest.raises(TypeError, match=re.escape(text)):
        trace_shapes(model, *inputs)
    if inputs:
        with pytest.raises(TypeError, match=re.escape(text)):
            capture_activations(model, *inputs)


# ---------------------------------------------------------------------------------------------------- activations


def test_activations_are_what_the_modules_put_out():
    model, x = make_cnn().eval(), torch.rand(2, 1, 28, 28)
    expected = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: expected.update({name: output.clone()}))
    model(x)
    layers = [name for name, module in model.named_modules() if not list(module.children())]
    captured = capture_activations(model.train(), x)
    assert list(captured) == layers
    named = capture_activations(model, x, ["2.2", "", "1"])
    assert list(named) == ["2.2", "", "1"]
    for name, output in {**captured, **named}.items():
        assert torch.equal(output, expected[name]) and not output.requires_grad
    assert torch.equal(named["2.2"], named[""])
    assert list(capture_activations(model, x, "1.norm")) == ["1.norm"]
    assert capture_activations(model, x, []) == {}


def test_activations_are_copies_from_before_later_layers_work_in_place():
    model = net(nn.Linear(3, 3), nn.ReLU(inplace=True), Forward(lambda self, x: x.mul_(0)))
    x = torch.randn(4, 3)
    captured = capture_activations(model, x)
    assert torch.equal(captured["0"], model[0](x)) and (captured["0"] < 0).any()
    assert torch.equal(captured["1"], model[0](x).relu())
    assert not captured["2"].any()
    captured["2"].add_(1)
    assert not capture_activations(model, x)["2"].any()


def test_the_last_of_several_calls_is_kept():
    layer = nn.Linear(3, 3)
    x = torch.randn(2, 3)
    captured = capture_activations(Forward(lambda self, x: self.layer(self.layer(x)) * 0, layer=layer), x)
    assert list(captured) == ["layer"] and torch.equal(captured["layer"], layer(layer(x)))


def test_an_empty_branch_does_not_make_a_block_a_layer():
    block = Forward(lambda self, x: self.short(x), short=nn.Sequential())
    assert list(capture_activations(nn.Sequential(block), torch.zeros(1, 2))) == ["0.short"]


def test_names_that_do_not_exist_or_are_not_called():
    model = Forward(lambda self, x: self.lstm(x)[0], lstm=nn.LSTM(3, 4), idle=nn.Linear(3, 3))
    x = torch.zeros(2, 5, 3)
    before = condition(model)
    assert message(capture_activations, model, x, ["lstn"]) == (
        "the model has no module 'lstn': choose from 'lstm', 'idle'"
    )
    assert message(capture_activations, model, x, ["idle", "lstm"]) == (
        "'idle', 'lstm' was not called, or gave no tensor, for this input"
    )
    assert capture_activations(model, x) == {}  # without names, whatever gives a tensor
    assert condition(model) == before


# ------------------------------------------------------------------------------------------------- what is not counted


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.attention = nn.LSTM(8, 8, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.lstm(x)[0]
        return self.attention(x, x, x)[0]


def test_layers_whose_work_is_not_counted_are_named():
    (note,) = [note for note in trace_shapes(Recurrent(), torch.zeros(2, 5, 8)).notes if "multiply-adds" in note]
    assert note == "not among the multiply-adds: those of LSTM, multi_head_attention_forward()"
    assert trace_shapes(nn.Sequential(nn.Linear(8, 3), nn.ReLU()), torch.zeros(2, 8)).notes == ()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_compiled_module_is_refused():
    compiled = torch.jit.trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5))
    with pytest.raises(TypeError, match=r"torch\.jit has compiled hides its steps"):
        trace_shapes(compiled, torch.zeros(1, 1, 5, 5))
