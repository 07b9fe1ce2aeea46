"""Controls around pure drawings: one file a chapter, named like its notebook, and `canvas.py`, which they share."""
