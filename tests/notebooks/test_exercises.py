"""Each exercise three ways: the solution passes, the untouched stub is not attempted, typical mistakes are named."""

import matplotlib
import pytest
from notebook_files import ALL_EXERCISES
from wrong_answers import OTHER_RIGHT_ANSWERS, WRONG_ANSWERS

from course_utils.checks import check, hint
from course_utils.checks.engine import NOT_ATTEMPTED, PASSED, WRONG

IDS = [exercise.name for exercise in ALL_EXERCISES]


def answer(exercise, source):
    """Run a student's cell after the notebook's imports and return what it leaves in the answer's variable."""
    namespace = {}
    with matplotlib.rc_context():  # the imports cell sets the course's style for the whole process
        exec(exercise.imports, namespace)
        exec(source, namespace)
    return namespace[exercise.variable]


@pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=IDS)
def test_the_solution_passes(exercise):
    verdict = check(exercise.name, answer(exercise, exercise.solution))
    assert verdict.status == PASSED and verdict.passed, verdict


@pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=IDS)
def test_the_untouched_stub_is_not_attempted(exercise):
    verdict = check(exercise.name, answer(exercise, exercise.stub))
    assert verdict.status == NOT_ATTEMPTED and not verdict.passed
    assert "not attempted yet" in str(verdict) and "not attempted yet" in verdict._repr_html_()


@pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=IDS)
def test_the_strict_assert_fails_on_the_stub(exercise):
    with pytest.raises(AssertionError):
        answer(exercise, f"{exercise.stub}\n{exercise.imports}\n{exercise.proof}")


@pytest.mark.parametrize(
    ("exercise", "source", "names"),
    [(exercise, *wrong) for exercise in ALL_EXERCISES for wrong in WRONG_ANSWERS[exercise.name]],
    ids=[f"{e.name}-{k}" for e in ALL_EXERCISES for k, _ in enumerate(WRONG_ANSWERS[e.name])],
)
def test_a_typical_mistake_is_named(exercise, source, names):
    verdict = check(exercise.name, answer(exercise, source))
    assert verdict.status == WRONG, verdict
    assert names in verdict.message, f"expected {names!r} in: {verdict.message}"


@pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=IDS)
def test_at_least_two_mistakes_are_known(exercise):
    assert len(WRONG_ANSWERS[exercise.name]) >= 2


@pytest.mark.parametrize("exercise", ALL_EXERCISES, ids=IDS)
def test_hints_do_not_hold_the_whole_solution(exercise):
    text = str(hint(exercise.name))
    body = [line.strip() for line in exercise.solution.splitlines() if not line.startswith("def ")]
    assert text.startswith("Hint 1 of ")
    assert not all(line in text for line in body)


@pytest.mark.parametrize(
    ("name", "source"), OTHER_RIGHT_ANSWERS, ids=[f"{n}-{k}" for k, (n, _) in enumerate(OTHER_RIGHT_ANSWERS)]
)
def test_a_right_answer_in_another_style_passes(name, source):
    exercise = next(exercise for exercise in ALL_EXERCISES if exercise.name == name)
    verdict = check(name, answer(exercise, source))
    assert verdict.passed, verdict
