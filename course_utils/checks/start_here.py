"""Chapter 00's sample exercises."""

from course_utils.checks.engine import Mistake, function_exercise, value_exercise

EXERCISES = {
    "pixels": value_exercise(
        784,
        {
            56: "28 + 28 counts one row and one column: every one of the 28 rows has 28 pixels",
            28: "that is one row: there are 28 of them",
            2352: "a gray image has one channel, not three",
        },
        praise="28 · 28 = 784: you will meet this number again in chapter 03.",
        hints=["A picture of 28 rows has 28 pixels in each row.", "Multiply rows by columns."],
    ),
    "mean": function_exercise(
        lambda values: sum(values) / len(values),
        lambda generator: [([1.0, 2.0, 6.0],), ([5.0],), ([-1.0, 1.0, 0.5, 0.25],)],
        [
            Mistake("that is the sum: divide it by how many values there are", lambda values: sum(values)),
            Mistake("// rounds down: divide with /", lambda values: sum(values) // len(values)),
            Mistake(
                "the number of values is len(values), with nothing added or taken away",
                lambda values: sum(values) / (len(values) - 1),
            ),
        ],
        praise="Checks try several inputs, also ones that you did not think of.",
        hints=["sum(values) adds them up.", "len(values) says how many there are."],
    ),
}
