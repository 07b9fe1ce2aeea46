"""Answers that no slip makes, a file a chapter: wrong ones with a piece of their message, and right ones.

They are written apart from the exercises, as a student would write them, so that checks are not tested by themselves.
"""

import importlib
from pathlib import Path

IMPORTS = (
    "import copy, math\nimport numpy as np\nimport torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
)


def changed(source: str, *pairs: str) -> str:
    """Return the source with each piece, which must occur, replaced by its successor."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, f"{old!r} does not occur in:\n{source}"
        source = source.replace(old, new)
    return source


TOPICS = [path.stem for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))]
CHAPTERS = [importlib.import_module(f"answers.{topic}") for topic in TOPICS]

WRONG = [
    (name, source, words) for chapter in CHAPTERS for name, pairs in chapter.WRONG.items() for source, words in pairs
]
RIGHT = [pair for chapter in CHAPTERS for pair in chapter.RIGHT]
