"""What each chapter lets you move: one file a chapter, plain drawing functions and the knobs around them."""
