"""`check`: is an answer right, and if not, which slip is in it?

What a chapter asks stands beside it, in notebooks/exercises/topic.py: each exercise holds its right answer as text (the
lines of the solution cell) and *slips*, typical mistakes written as edits of that text. An answer is compared with the
right one, then with each slip, then with pairs of slips; the first that gives the same names the mistake.
"""

from course_utils.exercises.checking import NOT_ATTEMPTED, PASSED, WRONG, Verdict, check, exercises, topics
from course_utils.exercises.comparing import Raised, as_tensor, attempt, describe, difference, same, untouched
from course_utils.exercises.draws import draws
from course_utils.exercises.kinds import choice, function, keeps_its_inputs, same_gradients, table, value
from course_utils.exercises.modules import module
from course_utils.exercises.slips import Exercise, NotAttempted, edited, variants, written
