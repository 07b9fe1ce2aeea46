"""What stands behind `make` and `python -m course_utils`; notebooks never import it."""
