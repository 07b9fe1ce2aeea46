"""Networks that several chapters use: each is the one that its chapter builds, and the shipped weights belong to it."""

import json
import struct

import nbformat
import pytest
import torch
from notebook_files import PATHS
from torch import nn

from course_utils import models
from course_utils.data import load_images
from course_utils.models import WEIGHTS_FOLDER, lenet5, load_weights, two_conv_net
from course_utils.tracing import count_parameters

IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def defined_in(notebook, cell_id, name):
    """Return what a cell of a notebook defines, run alone with torch's usual names."""
    cells = nbformat.read(next(path for path in PATHS if path.name.startswith(notebook)), as_version=4).cells
    source = next(cell.source for cell in cells if cell.id == cell_id).split("\n\n\ntrace")[0]
    namespace = {"nn": nn, "torch": torch}
    exec("from collections import OrderedDict\n" + source, namespace)
    return namespace[name]


def seeded(make, *arguments):
    torch.manual_seed(0)
    return make(*arguments)


@pytest.mark.parametrize("choices", [(), (nn.ReLU, nn.MaxPool2d), (nn.Tanh, nn.MaxPool2d)])
def test_lenet_is_the_one_of_chapter_05(choices):
    ours, chapter = seeded(lenet5, *choices), seeded(defined_in("05", "lenet", "lenet5"), *choices)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in chapter.named_modules()]
    assert torch.equal(ours(IMAGES), chapter(IMAGES))
    assert count_parameters(ours) == 61_706


@pytest.mark.parametrize(("first", "second"), [(16, 32), (2, 4)])
def test_the_two_convolution_net_is_the_one_of_chapter_04(first, second):
    ours, chapter = seeded(two_conv_net, first, second), seeded(defined_in("04", "nets", "conv_net"), first, second)
    assert torch.equal(ours(IMAGES), chapter(IMAGES))


def test_its_default_is_the_network_of_32_7_7():
    assert count_parameters(two_conv_net()) == 28_938 and two_conv_net().out.in_features == 32 * 7 * 7


def test_the_shipped_weights_read_digits():
    model = lenet5(nn.ReLU, nn.MaxPool2d)
    model.load_state_dict(load_weights("lenet5"))
    test = load_images("mnist", "test")
    with torch.no_grad():
        answers = model((test.images / 255 - 0.1307) / 0.3081).argmax(dim=1)
    assert (answers == test.labels).float().mean() > 0.95


def test_the_weights_say_how_they_were_made():
    with (WEIGHTS_FOLDER / "lenet5.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        story = json.loads(file.read(length))["__metadata__"]
    assert story["command"] == "python data/make_weights.py"
    assert float(story["test_accuracy"]) > 0.99
    assert (WEIGHTS_FOLDER / "lenet5.safetensors").stat().st_size < 300_000


def test_unknown_weights_are_named_with_those_that_exist():
    with pytest.raises(FileNotFoundError, match=r"no weights named 'resnet'.*there are lenet5"):
        load_weights("resnet")


def test_every_network_is_tested_here():
    offered = {name for name, value in vars(models).items() if getattr(value, "__module__", "") == models.__name__}
    assert offered <= set(globals())
