"""Chapter 00's sample exercises."""

from course_utils.exercises import function, value

pixels = value(
    right="pixels = 28 * 28",
    slips=[
        ("28 + 28 counts one row and one column: every one of the 28 rows has 28 pixels", "28 * 28", "28 + 28"),
        ("that is one row: there are 28 of them", 28),
        ("a gray image has one channel, not three", 3 * 28 * 28),
        ("these are the pixels of all ten pictures: how many has one of them?", 7840),
    ],
    praise="28 · 28 = 784: you will meet this number again in chapter 03.",
)

mean = function(
    right="""
def mean(values):
    return sum(values) / len(values)
""",
    cases=[([1.0, 2.0, 8.0],), ([5.0],), ([-1.0, -0.5],)],
    slips=[
        ("that is the sum: divide it by how many values there are", " / len(values)", ""),
        ("// rounds down: divide with /, which keeps the decimals", " / ", " // "),
        ("you rounded: keep the decimals", "sum(values) / len(values)", "round(sum(values) / len(values))"),
        ("you cut the decimals off: keep them", "sum(values) / len(values)", "int(sum(values) / len(values))"),
        (
            "that is rounded: return the mean as it is",
            "sum(values) / len(values)",
            "round(sum(values) / len(values), 2)",
        ),
        (
            "that is the median, the value in the middle",
            "sum(values) / len(values)",
            "sorted(values)[len(values) // 2]",
        ),
        ("the number of values is len(values), with nothing added or taken away", "len(values)", "(len(values) - 1)"),
    ],
    praise="Checks try several inputs, also ones that you did not think of.",
)
