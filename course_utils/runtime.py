"""Where and how this run happens: seeds, device, profile, recorded results, and the ranks of a distributed run."""

import glob
import json
import os
import platform
import random
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm.auto import tqdm

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS_FILE = REPOSITORY / "data" / "results.json"
PROFILES = ("auto", "tiny", "full")


def seed_everything(seed: int | None = None) -> torch.Generator:
    """Seed Python, NumPy and torch with `seed` or `current_seed()`; return a generator of its own for shuffling.

    Runs repeat exactly on one machine with the same versions, not from one machine to another.
    """
    seed = current_seed() if seed is None else seed
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (the global state is what libraries without a generator use)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def current_seed() -> int:
    """Return the seed that COURSE_SEED asks for, or 0. Raises ValueError when it is no whole number."""
    text = os.environ.get("COURSE_SEED", "0")
    if not text.isdecimal() or int(text) >= 2**63:
        raise ValueError(f"the environment variable COURSE_SEED is {text!r}: expected a whole number from 0 to 2⁶³ − 1")
    return int(text)


def comparison_seeds(full: int = 5, tiny: int = 2) -> list[int]:
    """Return the seeds over which a chapter compares two choices: `current_seed()` and those after it."""
    count = 1 if is_measuring() else budget(full, tiny)  # `make results` runs each chapter once a seed
    return [current_seed() + k for k in range(count)]


def compare(
    run: Callable[[Any, int], Any], choices: Iterable[Any], seeds: Sequence[int] | None = None
) -> dict[Any, list]:
    """Return {choice: [run(choice, seed) for each seed]}: all under one progress bar, each with torch seeded anew.

    `seeds` are those of `comparison_seeds()` unless you pass others.
    """
    seeds = comparison_seeds() if seeds is None else seeds
    results = {choice: [] for choice in choices}
    with tqdm(total=len(results) * len(seeds), unit="run", leave=False) as bar:
        for choice in results:
            for seed in seeds:
                seed_everything(seed)
                results[choice].append(run(choice, seed))
                bar.update()
    return results


def is_measuring(seeds: int | None = None) -> bool:
    """Return whether `make results` runs this, and with `seeds`, whether with one of the first so many seeds.

    Notebooks train some networks longer then than a reader would wait, the longest with few seeds only.
    """
    return bool(os.environ.get("COURSE_RESULTS")) and (seeds is None or current_seed() < seeds)


def pick_device(prefer: str | None = None) -> torch.device:
    """Return the device you `prefer`, or the fastest that is here: CUDA, then Apple's MPS, then the CPU."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return torch.device(prefer or next(name for name, available in here.items() if available))


def has_bfloat16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 numbers in hardware, so that they are faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))


def profile() -> str:
    """Return the profile COURSE_PROFILE asks for: "auto" (default), "tiny" (stand-in data) or "full" (real data)."""
    name = os.environ.get("COURSE_PROFILE", "auto")
    if name not in PROFILES:
        raise ValueError(f"the environment variable COURSE_PROFILE is {name!r}: expected one of {', '.join(PROFILES)}")
    return name


def budget(full: Any, tiny: Any) -> Any:
    """Return `full` for a student's run and `tiny` in the tiny profile, where a notebook has seconds to finish."""
    return tiny if profile() == "tiny" else full


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all, also when the process is killed or the power fails.

    Half a file that a killed process left beside it goes a day later. Raises OSError, saying what stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        advice = "what stood there stays as it was. Make room, or choose another place"
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}): {advice}") from error
    finally:
        part.unlink(missing_ok=True)
        remove_old(path.parent, f"{glob.escape(path.name)}.*.part")


def remove_old(folder: Path, pattern: str) -> None:
    """Delete what matches and is more than a day old: the leftovers of processes that were killed."""
    for old in folder.glob(pattern):
        with suppress(OSError):  # another process was quicker
            if time.time() - old.stat().st_mtime > 86_400:
                shutil.rmtree(old) if old.is_dir() else old.unlink()


def is_main_process() -> bool:
    """Say whether this process may print and write files: true unless another rank of a distributed run does."""
    return not dist.is_available() or not dist.is_initialized() or dist.get_rank() == 0


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """Return the mean of `tensor` over all ranks of a distributed run, or `tensor` itself when there is one process."""
    if not dist.is_available() or not dist.is_initialized():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


# ------------------------------------------------------------------------------------- numbers, as a person reads them


def label(key: str) -> str:
    """Return a number's name as a person reads it: `test_accuracy` becomes "test accuracy"."""
    return key.replace("_", " ")


def is_share(key: str) -> bool:
    """Return whether a number of this name is a share of all samples, from 0 to 1."""
    return "accuracy" in key or "error" in key


def shown(key: str, value: float) -> str:
    """Format a number by what its name says: accuracies and errors in %, seconds in s, the rest to four digits."""
    if is_share(key):
        return f"{100 * value:.2f} %"
    if "seconds" in key or "minutes" in key:
        return f"{value:.1f} {'s' if 'seconds' in key else 'min'}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def summary_text(key: str, summary: dict) -> str:
    """Format a recorded summary {"mean", "sd", "values"}, the unit after the mean: `98.38 % ± 0.10`."""
    return f"{shown(key, summary['mean'])} ± {shown(key, summary['sd']).split()[0]}"


def recorded_text(key: str, summary: dict | None) -> str:
    """Format what is recorded of a number as `98.38 % ± 0.10 (5 seeds)`."""
    return f"{summary_text(key, summary)} ({len(summary['values'])} seeds)" if summary else "not recorded yet"


@dataclass(frozen=True)
class Recorded:
    """Headline numbers of this run beside the course's own: (what, this run, recorded), shown as a table."""

    name: str
    numbers: dict[str, float]
    rows: list[tuple[str, str, str]]
    note: str

    def __repr__(self) -> str:
        lines = [f"{what}: {mine} (recorded: {recorded})" for what, mine, recorded in self.rows]
        return "\n".join([self.name, *lines, *filter(None, [self.note])])

    def _repr_markdown_(self) -> str:
        table = [(self.name, "your run", "recorded, mean ± sd"), ("---",) * 3, *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table) + f"\n\n{self.note}"


def record(name: str, *, source: str = "", keep: bool = True, **numbers: float) -> Recorded:
    """Show headline numbers beside the course's own, and append them to the file that COURSE_RESULTS names.

    `name` is "chapter/what", for example "03/text_recipe"; `numbers` are plain numbers (accuracies from 0 to 1, times
    in seconds); `source` is the data's own `ImageData.source`, so that stand-in data is never mistaken for the real.
    Nothing is appended without `keep`, for a run too short to be compared.
    """
    if "/" not in name:
        raise ValueError(f'expected a name like "03/text_recipe", got {name!r}')
    numbers = {key: float(value) for key, value in numbers.items()}
    if keep and is_measuring() and is_main_process():
        line = {"name": name, "seed": current_seed(), "numbers": numbers, "source": source, "profile": profile()}
        with open(os.environ["COURSE_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"machine": machine()}) + "\n")
    course = load_results().get(name, {}).get("numbers", {})
    rows = [(label(key), shown(key, value), recorded_text(key, course.get(key))) for key, value in numbers.items()]
    note = ""
    if profile() == "tiny" or "stand-in" in source:
        note = "stand-in data or the tiny profile: not comparable with the record on real data"
    elif "altered" in source:
        note = f"{source}: some files are not those that its authors published"
    return Recorded(name, numbers, rows, note)


def load_results() -> dict[str, dict]:
    """Return the course's recorded results by name, or {} when none were recorded yet."""
    return json.loads(RESULTS_FILE.read_text(encoding="utf-8"))["results"] if RESULTS_FILE.exists() else {}


def machine() -> dict[str, str]:
    """Return the versions and the device that a result was measured with."""
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{pick_device().type}, {threads}"
    versions = {"torch": torch.__version__, "python": platform.python_version(), "system": platform.system()}
    return {"device": device} | versions
