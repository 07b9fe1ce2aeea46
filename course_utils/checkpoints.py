"""A training as a file: what a checkpoint holds, how it is written whole, read, and compared."""

import copy
import io
import itertools
import pickle
import random
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim import Optimizer

from course_utils.runtime import write_whole
from course_utils.training import State, not_finite


def save_checkpoint(
    path: str | Path, model: nn.Module, optimizer: Optimizer, history: list[dict[str, float]], **more: object
) -> bytes:
    """Write the state of model and optimizer, the history and whatever else, whole or not at all; return the bytes.

    Raises ValueError for weights that are not finite, and for what could not be read back.
    """
    content = serialized(path, model, optimizer, history, **more)
    write_whole(Path(path), content)
    return content


def serialized(
    path: str | Path, model: nn.Module, optimizer: Optimizer, history: list[dict[str, float]], **more: object
) -> bytes:
    """Return what `save_checkpoint` writes to `path`. Raises ValueError as it does."""
    file = io.BytesIO()
    if broken := not_finite(model):
        fault = f"the weights are no longer finite ({broken[0]})"
        raise ValueError(f"{fault}, so {path} was not written: try a lower learning rate")
    weights = unwrapped(model).state_dict()
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "history": list(history), **more}, file)
    try:
        torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    except pickle.UnpicklingError as error:
        kind = str(error).partition("GLOBAL ")[2].split(" ")[0]  # the rest of torch's text advises to run any code
        advice = "history and callbacks may hold plain numbers, texts, lists and tensors: try float(…) or str(…)"
        raise ValueError(f"{path} could not be read again, so it was not written ({kind}): {advice}") from None
    return file.getvalue()


def load_checkpoint(path: str | Path, model: nn.Module, optimizer: Optimizer | None = None) -> list[dict[str, float]]:
    """Put a checkpoint's state into model and optimizer and return its history.

    Raises ValueError, naming the file, when it is damaged or of another model: then nothing has been changed.
    """
    content = read_checkpoint(path)
    load_parts(path, content, model, optimizer)
    return content["history"]


def settings(state: State) -> dict[str, str]:
    """Return what must not change between the parts of one training, by name, as text."""
    callbacks = [type(getattr(callback, "scheduler", callback)).__name__ for callback in state.callbacks]
    return {
        "model": str(unwrapped(state.model)),
        "optimizer": str(state.optimizer),
        "epochs": str(state.epochs),
        "batches": str(state.batches),
        "batch size": str(getattr(state.train_loader, "batch_size", None)),
        "callbacks": ", ".join(callbacks),
        "seed": str(torch.initial_seed()),
        "data": fingerprint(state.train_loader),
    }


def differences(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say of each setting that differs what is there and now: of a text with many lines, the first that differs."""
    found = []
    for name in now:
        texts = [
            [line.strip().removesuffix(" (") for line in of.get(name, "nothing").splitlines()] for of in (saved, now)
        ]
        pairs = itertools.zip_longest(*texts, fillvalue="nothing")
        found += [f"{name}: {there} there, {here} now" for there, here in pairs if there != here][:1]
    return found


def fingerprint(loader: object) -> str:
    """Return a checksum of the arrays that a loader, or its data set, keeps in memory: "crc32 …", or "unknown"."""
    held = getattr(getattr(loader, "dataset", loader), "__dict__", {}).values()
    single = itertools.chain.from_iterable(value if isinstance(value, tuple) else [value] for value in held)
    arrays = [torch.as_tensor(value) for value in single if isinstance(value, Tensor | np.ndarray)]
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(array.detach().cpu().contiguous().flatten().view(torch.uint8).numpy(), checksum)
    return f"crc32 {checksum:08x}" if arrays else "unknown"


def random_sources(loader: object, generators: Sequence[torch.Generator] = ()) -> dict[str, tuple[Callable, Callable]]:
    """Return, by name, how to read and how to set the state of each source of random numbers."""
    sources = {
        "torch": (torch.get_rng_state, torch.set_rng_state),
        "numpy": (lambda: [np.asarray(part).tolist() for part in np.random.get_state()], np.random.set_state),  # noqa: NPY002
        "python": (random.getstate, random.setstate),
    }
    if torch.cuda.is_available():
        sources["cuda"] = (torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)
    owners = {"loader": loader, "sampler": getattr(loader, "sampler", None)}
    found = {name: getattr(owner, "generator", None) for name, owner in owners.items()}
    found |= {f"generator {k}": generator for k, generator in enumerate(generators, start=1)}
    return sources | {name: (g.get_state, g.set_state) for name, g in found.items() if g is not None}


def load_parts(path: str | Path, content: dict, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Put weights and optimizer state in place, or neither and raise ValueError, naming the file."""
    model = unwrapped(model)
    kept = copy.deepcopy(model.state_dict())
    try:
        model.load_state_dict(content["model"])
        if optimizer is not None:
            optimizer.load_state_dict(content["optimizer"])
    except Exception as error:
        model.load_state_dict(kept)  # torch has replaced the layers that fit
        raise ValueError(f"{path} belongs to another model or optimizer: {error}") from error


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that DataParallel or DistributedDataParallel wraps, or the model itself."""
    return model.module if isinstance(model, DataParallel | DistributedDataParallel) else model


def before(path: Path) -> Path:
    """Return where the file before the last one is kept."""
    return path.with_name(path.name + ".before")


def read_latest(path: Path) -> tuple[dict, bytes | None]:
    """Return what `path` holds and its bytes; when it is damaged, what the file before it holds, and None."""
    try:
        return read_checkpoint(path), path.read_bytes()
    except ValueError as error:
        if not before(path).exists():
            raise
        warnings.warn(f"{error}. Going on from {before(path)}, one epoch earlier", stacklevel=4)
        return read_checkpoint(before(path)), None


def read_checkpoint(path: str | Path) -> dict:
    """Return what a file holds. Raises FileNotFoundError, or ValueError when any of it is damaged."""
    file = io.BytesIO(Path(path).read_bytes())
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        damaged = zipfile.ZipFile(file).testzip()  # torch writes a checksum for each part, but does not look at it
        if damaged or not content.keys() >= {"model", "optimizer", "history"}:
            raise ValueError
    except Exception as error:
        fault = f"{path} is no readable checkpoint ({type(error).__name__})"
        raise ValueError(f"{fault}: delete it and train again") from error
    return content
