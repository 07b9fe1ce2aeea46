"""One thread for torch, set before anything imports it, so that test workers do not fight over the cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run_on_two_ranks(tmp_path):
    """Return a function that runs the body of a script in two processes of one gloo group and returns what they print.

    The script finds `rank`, `torch` and `dist`. A file in `tmp_path` brings the processes together: no port to clash.
    """

    def run(body):
        script = tmp_path / "ranks.py"
        meet = (tmp_path / "meet").as_uri()
        head = "import sys, torch, torch.distributed as dist\nrank = int(sys.argv[1])\ntorch.set_num_threads(1)\n"
        start = f"dist.init_process_group('gloo', init_method={meet!r}, rank=rank, world_size=2)\n"
        # gloo's threads now and then abort a process that is being torn down: leave together, without teardown. What
        # raises before that still ends with its traceback and another exit code.
        end = "\nimport os\ndist.barrier()\nsys.stdout.flush()\nos._exit(0)\n"
        script.write_text(head + start + body + end, encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ranks = [
            subprocess.Popen(
                [sys.executable, script, str(rank)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            )
            for rank in (0, 1)
        ]  # fmt: skip
        try:
            outputs = [process.communicate(timeout=60) for process in ranks]
        finally:
            for process in ranks:
                process.kill()
        for process, (_, errors) in zip(ranks, outputs, strict=True):
            assert process.returncode == 0, errors
        return [printed for printed, _ in outputs]

    return run
