"""Each exercise: the solution passes, the stub is not attempted, each slip is refused in its own words.

A second list, answers/, holds what no slip makes: right answers in unusual forms and other wrong ones.
"""

import pytest

from answers import IMPORTS, RIGHT, WRONG
from course_utils.exercises import NOT_ATTEMPTED, PASSED, check, edited, exercises
from notebook_files import ALL_EXERCISES, PATHS

EVERY = {name: exercise for path in PATHS for name, exercise in exercises(path.name[:2]).items()}
SLIPS = [(name, k) for name, exercise in EVERY.items() for k in range(len(exercise.slips))]
VARIABLES = {exercise.name: exercise.variable for exercise in ALL_EXERCISES}
STUBS = pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=str)


def ran(source, variable):
    """Run a student's cell and return what it leaves in the answer's variable."""
    names = {}
    exec(IMPORTS + source, names)
    return names[variable]


@STUBS
def test_the_solution_passes(exercise):
    verdict = check(exercise.name, ran(exercise.solution, exercise.variable))
    assert verdict.status == PASSED and verdict.passed, verdict


@STUBS
def test_the_untouched_stub_is_not_attempted(exercise):
    verdict = check(exercise.name, ran(exercise.stub, exercise.variable))
    assert verdict.status == NOT_ATTEMPTED and not verdict.passed
    assert "not attempted yet" in str(verdict) and "not attempted yet" in verdict._repr_html_()


@STUBS
def test_the_strict_assert_fails_on_the_stub(exercise):
    with pytest.raises(AssertionError):
        ran(f"from course_utils.exercises import check\n{exercise.stub}\n{exercise.proof}", exercise.variable)


@pytest.mark.parametrize(("name", "k"), SLIPS, ids=[f"{name}-{k}" for name, k in SLIPS])
def test_a_slip_is_refused_in_its_own_words(name, k):
    """So its pieces occur in the right answer, and it changes some result."""
    message, *edits = EVERY[name].slips[k]
    if len(edits) == 1:
        answer = edits[0]
    else:
        source = edited(EVERY[name].right, edits)
        assert source, f"{edits[0]!r} does not occur in the right answer"
        answer = ran(source, VARIABLES[name])
    verdict = check(name, answer)
    assert message in verdict.message if message else verdict.passed, verdict


@pytest.mark.parametrize(("name", "source", "words"), WRONG, ids=[f"{name}-{k}" for k, (name, *_) in enumerate(WRONG)])
def test_another_mistake_is_named(name, source, words):
    verdict = check(name, ran(source, VARIABLES[name]))
    assert verdict.status == "not yet", verdict
    assert words in verdict.message, f"expected {words!r} in: {verdict.message}"


@pytest.mark.parametrize(("name", "source"), RIGHT, ids=[f"{name}-{k}" for k, (name, _) in enumerate(RIGHT)])
def test_a_right_answer_in_another_form_passes(name, source):
    verdict = check(name, ran(source, VARIABLES[name]))
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", [name for name, exercise in EVERY.items() if not exercise.slips])
def test_each_wrong_letter_is_answered(name):
    """Exercises without slips are choices: at least two other letters are known, and say something of their own."""
    messages = {check(name, letter).message for letter in "abcdef"} - {EVERY[name].praise}
    assert len(messages) >= 2 and "got '?'" in check(name, "?").message
