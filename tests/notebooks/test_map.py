"""The map in chapter 00 and the table in README name every chapter, with the minutes that its head states."""

import math
import re

import pytest

from notebook_files import FOLDER, HEAD, PATHS, minutes, read

STANDING = {path.name[:2]: path for path in PATHS}
START = STANDING["00"]
TABLES = {
    "README.md": (FOLDER.parent / "README.md").read_text(encoding="utf-8"),
    START.name: next(cell.source for cell in read(START).cells if cell.id == "map"),
}
LAST = 14
each_table = pytest.mark.parametrize("table", TABLES)


def rows(table):
    """Return {"01": the cells of its row} of the table of chapters, in the order of its lines."""
    text = TABLES[table].split("| core | lab |\n")[1].split("\n\n")[0]
    lines = [line.strip("|").split("|") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {re.match(r"\[?(\d\d)", row[0])[1]: row for row in cells if not row[0].startswith("-")}


def stated(path):
    """Return the minutes of core and lab in a notebook's head; chapter 00 has no lab."""
    head = read(path).cells[0].source
    if path == START:
        return [re.search(r"\*\*Takes\*\* (\d+) minutes\.", head)[1], "–"]
    found = HEAD.search(head)
    assert found, f"{path.name}: expected a head like {HEAD.pattern}"
    return [found[1], found[3]]


@each_table
def test_no_number_is_skipped(table):
    assert list(rows(table)) == [f"{number:02}" for number in range(LAST + 1)]


@each_table
@pytest.mark.parametrize("number", STANDING)
def test_a_chapter_has_its_link_and_the_minutes_of_its_head(table, number):
    row = rows(table)[number]
    if (table, number) != (START.name, "00"):
        assert f"{STANDING[number].name})" in " ".join(row), row
    assert row[-2:] == stated(STANDING[number]), f"{table} shows other minutes for {number} than its head"


@each_table
def test_what_is_in_preparation_has_neither_link_nor_minutes(table):
    for number, row in rows(table).items():
        if number not in STANDING:
            assert "in preparation: " in row[-3].lower() and row[-2:] == ["–", "–"]
            assert "](" not in " ".join(row), row


def test_the_head_of_chapter_00_counts_by_the_rule():
    """Its cells run for seconds."""
    assert int(stated(START)[0]) == 5 * math.ceil(minutes(read(START).cells) / 5)
