"""What the chapters ask: one file a chapter, read by `course_utils.exercises.check`."""
