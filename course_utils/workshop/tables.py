"""Tables of the recorded results for people: all of them in data/RESULTS.md, the headlines in README.md."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from course_utils.runtime import REPOSITORY, label, shown, summary_text

README = REPOSITORY / "README.md"
RESULTS_PAGE = REPOSITORY / "data" / "RESULTS.md"
BEGIN, END = "<!-- results:begin -->\n", "\n<!-- results:end -->"
HEADLINES = [  # recorded name, number, what it is, the textbook's own figure
    ("01/textbook", "validation_accuracy", "three numbers, the textbook's recipe, *validation* rows", "67.17 %"),
    ("01/final", "test_accuracy", "the same task, a recipe chosen on validation rows", ""),
    ("03/text_recipe", "test_accuracy", "MNIST, dense network, the textbook's recipe, 5 epochs", "96.66 %"),
    ("04/equal_accuracy", "conv_2_226_accuracy", "MNIST, convolutional network of 2226 parameters", ""),
    ("05/textbook_recipe", "test_accuracy", "MNIST, LeNet-5, the textbook's recipe, 5 epochs", "97.94 %"),
    ("05/relu_max_onecycle", "test_accuracy", "LeNet-5 with ReLU, max-pooling and OneCycle, 5 epochs", ""),
    ("05/two_conv_one_epoch", "test_accuracy", "MNIST, two convolutions, one epoch", "“99 %” (3 epochs)"),
    ("07/lenet_batchnorm", "test_accuracy", "chapter 05's LeNet-5 with BatchNorm, 5 epochs", ""),
    ("11/depth_training", "plain_45_error", "MNIST, 45 convolutions in a row: training *error*", ""),
    ("11/depth_training", "residual_45_error", "the same with shortcuts: training *error*", ""),
    ("11/resnet20_eight_epochs", "held_out_accuracy", "ResNet-20, 8 epochs: *held-out* photos", "91.25 % (He et al.)"),
]


def documents(results: Mapping[str, Mapping]) -> dict[Path, str]:
    """Return the text of each file that shows the results. Raises ValueError where README.md lacks the markers."""
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"expected the lines {BEGIN.strip()} and {END.strip()} in README.md: put them back")
    head, tail = text.split(BEGIN)[0], text.split(END)[-1]
    return {README: head + BEGIN + headlines(results) + END + tail, RESULTS_PAGE: page(results)}


def headlines(results: Mapping[str, Mapping]) -> str:
    """Return README's table: a row for each of HEADLINES that is recorded."""
    recorded = [line for line in HEADLINES if line[0] in results]
    lines = ["| chapter | what | textbook | measured: mean ± sd | one run takes |", "|---|---|---|---|---|"]
    for name, key, what, textbook in recorded:
        numbers = results[name]["numbers"]
        times = [shown(unit, numbers[unit]["mean"]) for unit in ("seconds", "minutes") if unit in numbers]
        cells = [name[:2], what, textbook or "–", summary_text(key, numbers[key]), *(times or ["–"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", conditions(results[name] for name, *_ in recorded)])


def page(results: Mapping[str, Mapping]) -> str:
    """Return data/RESULTS.md: every recorded number, chapter by chapter."""
    parts = ["# All recorded results", "`make results` writes this page from results.json; README.md explains it."]
    parts.append(conditions(results.values()))
    for chapter, names in itertools.groupby(sorted(results, key=lambda name: name[:2]), key=lambda name: name[:2]):
        entries = {name[3:]: results[name] for name in names}
        notebook = next((REPOSITORY / "notebooks").glob(f"{chapter}_*.ipynb"))
        parts.append(f"## [{label(notebook.stem)}](../notebooks/{notebook.name})")
        if conditions(entries.values()) != parts[2]:
            parts.append(conditions(entries.values()))
        parts += chapter_tables(entries)
    return "\n\n".join(parts) + "\n"


def chapter_tables(entries: Mapping[str, Mapping]) -> list[str]:
    """Return a table of the records that hold different numbers, and one for each that holds a family of them."""
    together, seeds, families = {}, {}, []
    for name, entry in entries.items():
        texts = {key: summary_text(key, value) for key, value in entry["numbers"].items()}
        measures, count = {key.rpartition("_")[2] for key in texts}, len(entry["seeds"])
        if len(measures) == 1 < len(texts):
            families += [f"**{label(name)}**: {measures.pop()}, {count} seeds", grid(family(texts))]
        else:
            together |= {(name, key): text for key, text in texts.items()}
            seeds[name, "seeds"] = str(count)
    return [grid(together | seeds), *families] if together else families


def family(texts: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Arrange numbers that all measure the same: in rows and columns where their names make a full grid, else in rows.

    >>> family({"plain_9_error": "12 %", "plain_21_error": "36 %", "skip_9_error": "8 %", "skip_21_error": "6 %"})
    {('plain', '9'): '12 %', ('plain', '21'): '36 %', ('skip', '9'): '8 %', ('skip', '21'): '6 %'}
    >>> family({"shift_accuracy": "96 %", "turn_accuracy": "95 %"})
    {('shift', 'accuracy'): '96 %', ('turn', 'accuracy'): '95 %'}
    """
    names = [tuple(key.rsplit("_", 2)) for key in texts]
    rows, columns = {name[0] for name in names}, {name[1] for name in names}
    if len(rows) > 1 < len(columns) and len(rows) * len(columns) == len(names):
        return {name[:2]: text for name, text in zip(names, texts.values(), strict=True)}
    return {tuple(key.rsplit("_", 1)): text for key, text in texts.items()}


def grid(cells: Mapping[tuple[str, str], str]) -> str:
    """Return a Markdown table of texts by (row, column)."""
    rows, columns = dict.fromkeys(row for row, _ in cells), dict.fromkeys(column for _, column in cells)
    lines = [["", *map(label, columns)], ["---", *["---:"] * len(columns)]]
    lines += [[label(row), *[cells.get((row, column), "") for column in columns]] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions(entries: Iterable[Mapping]) -> str:
    """Say on which machines and with which versions results were measured."""
    machines = [entry["machine"] for entry in entries]
    texts = {f"{one['device']}, torch {one['torch']}, Python {one['python']}, {one['system']}" for one in machines}
    texts = {text.replace(", 1 threads", ", 1 thread") for text in texts}  # as older records have it
    return f"Measured on: {'; '.join(sorted(texts))}."
