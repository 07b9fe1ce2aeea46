"""Networks that several chapters use: each is the one that its chapter builds, and the shipped weights belong to it."""

import ast
import json
import struct
from collections import OrderedDict

import nbformat
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet

from course_utils import models
from course_utils.data import load_images
from course_utils.models import (
    WEIGHTS_FOLDER,
    Bottleneck,
    PadShortcut,
    ResidualBlock,
    lenet5,
    load_weights,
    projection,
    resnet20,
    two_conv_net,
    weights_file,
    weights_story,
)
from course_utils.tracing import count_parameters
from notebook_files import PATHS

IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def defined_in(notebook, cell_ids, name):
    """Return what some cells of a notebook define: their functions and classes, run alone with torch's usual names."""
    cells = nbformat.read(next(path for path in PATHS if path.name.startswith(notebook)), as_version=4).cells
    namespace = {"nn": nn, "torch": torch, "F": F, "OrderedDict": OrderedDict}
    for cell_id in cell_ids.split():
        tree = ast.parse(next(cell.source for cell in cells if cell.id == cell_id))
        tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ImportFrom)]
        exec(compile(tree, cell_id, "exec"), namespace)
    return namespace[name]


def seeded(make, *arguments):
    torch.manual_seed(0)
    return make(*arguments)


def test_lenet_is_the_one_that_readers_build_in_chapter_05():
    ours, chapter = seeded(lenet5), seeded(defined_in("05", "solution-lenet", "make_lenet"))
    assert torch.equal(ours(IMAGES), chapter(IMAGES))
    assert count_parameters(ours) == 61_706


def test_lenet_takes_another_activation_and_pooling():
    kinds = [type(layer) for layer in lenet5(nn.ReLU, nn.MaxPool2d)]
    assert kinds.count(nn.ReLU) == 4 and kinds.count(nn.MaxPool2d) == 2 and nn.Tanh not in kinds


@pytest.mark.parametrize(("first", "second"), [(16, 32), (2, 4)])
def test_the_two_convolution_net_is_the_one_of_chapter_04(first, second):
    ours, chapter = (
        seeded(two_conv_net, first, second),
        seeded(defined_in("04", "why-traced", "conv_net"), first, second),
    )
    assert torch.equal(ours(IMAGES), chapter(IMAGES))


def test_its_default_is_the_network_of_32_7_7():
    assert count_parameters(two_conv_net()) == 28_938 and two_conv_net().out.in_features == 32 * 7 * 7


# ---- residual networks


PHOTOS = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def with_the_weights_of(model, other):
    """Give a model the parameters and statistics of another one, which has them in the same order; return it."""
    with torch.no_grad():
        for name in ("parameters", "buffers"):
            for mine, theirs in zip(getattr(model, name)(), getattr(other, name)(), strict=True):
                mine.copy_(theirs)
    return model


def agree(ours, theirs, x):
    """Compare outputs in training and eval mode, and the statistics in between."""
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x))
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other)


SIZES = [(6, 6, 1), (6, 12, 2), (6, 6, 2), (6, 12, 1), (12, 6, 1)]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_residual_block_is_the_one_of_chapter_11(sizes):
    ours, chapter = seeded(ResidualBlock, *sizes), seeded(defined_in("11", "solution-block", "ResidualBlock"), *sizes)
    assert list(ours.state_dict()) == list(chapter.state_dict())
    agree(ours, chapter, torch.randn(4, sizes[0], 8, 8))


@pytest.mark.parametrize("sizes", SIZES)
def test_the_residual_block_is_torchvision_s(sizes):
    in_channels, out_channels, stride = sizes
    fits = in_channels == out_channels and stride == 1
    theirs = resnet.BasicBlock(in_channels, out_channels, stride, None if fits else projection(*sizes))
    # torchvision has the same parts in the same order
    agree(with_the_weights_of(ResidualBlock(*sizes), theirs), theirs, torch.randn(4, in_channels, 8, 8))


@pytest.mark.parametrize("sizes", SIZES[:4])
def test_the_block_without_parameters_in_its_shortcut_is_the_one_of_chapter_11(sizes):
    chapter = defined_in("11", "plain block", "Block")(*sizes)
    ours = with_the_weights_of(ResidualBlock(*sizes, shortcut=PadShortcut), chapter)
    agree(ours, chapter, torch.randn(4, sizes[0], 8, 8))


def test_the_padded_shortcut_skips_pixels_and_adds_zeros():
    x = torch.randn(2, 3, 5, 5)
    out = PadShortcut(3, 5, 2)(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2]) and out.shape == (2, 5, 3, 3) and not out[:, 3:].any()


@pytest.mark.parametrize("sizes", [(8, 2, 8, 1), (4, 2, 8, 2), (8, 2, 8, 2), (4, 4, 16, 1)])
def test_the_bottleneck_is_the_one_of_chapter_11_and_torchvision_s(sizes):
    in_channels, width, out_channels, stride = sizes
    x = torch.randn(4, in_channels, 8, 8)
    ours = seeded(Bottleneck, *sizes)
    agree(ours, seeded(defined_in("11", "solution-bottleneck", "Bottleneck"), *sizes), x)
    if out_channels == resnet.Bottleneck.expansion * width:
        fits = in_channels == out_channels and stride == 1
        shortcut = None if fits else projection(in_channels, out_channels, stride)
        agree(ours, with_the_weights_of(resnet.Bottleneck(in_channels, width, stride, shortcut), ours), x)


@pytest.mark.parametrize("blocks", [1, 3])
def test_resnet20_is_the_one_of_chapter_11(blocks):
    ours, chapter = seeded(resnet20, blocks), seeded(defined_in("11", "plain deep block resnet20", "resnet20"), blocks)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in chapter.parameters()]
    agree(ours, chapter, PHOTOS)


@pytest.mark.parametrize(("layers", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_residual_networks_are_as_large_as_the_paper_says(layers, millions):
    """He et al. 2016, table 6."""
    model = resnet20((layers - 2) // 6)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers
    assert round(count_parameters(model) / 1e6, 1 if layers == 110 else 2) == millions


def test_the_shipped_resnet20_fits_and_says_what_it_reached():
    resnet20().load_state_dict(load_weights("resnet20"))
    story = weights_story("resnet20")
    assert story["command"] == "python data/make_weights.py resnet20"
    assert all(float(story[f"{part}_accuracy"]) > 0.89 for part in ("first_1000_test_images", "held_out"))
    assert weights_file("resnet20").stat().st_size <= 1.5 * 2**20


# ---- shipped weights


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
    assert weights_story("lenet5") == story
    assert story["command"] == "python data/make_weights.py lenet5"
    assert float(story["test_accuracy"]) > 0.99
    assert (WEIGHTS_FOLDER / "lenet5.safetensors").stat().st_size < 300_000


def test_unknown_weights_are_named_with_those_that_exist():
    with pytest.raises(FileNotFoundError, match=r"no weights named 'resnet'.*there are lenet5, resnet20"):
        load_weights("resnet")
    with pytest.raises(FileNotFoundError, match="no weights named 'resnet'"):
        weights_story("resnet")


def test_every_network_is_tested_here():
    offered = {name for name, value in vars(models).items() if getattr(value, "__module__", "") == models.__name__}
    assert offered <= set(globals())


def test_damaged_weights_are_named_with_the_way_back(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "WEIGHTS_FOLDER", tmp_path)
    (tmp_path / "lenet5.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"lenet5\.safetensors is damaged .* `git checkout .*lenet5\.safetensors`"):
        load_weights("lenet5")
