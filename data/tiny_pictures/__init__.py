"""Photo-like color pictures of CIFAR-10's ten classes, drawn from nothing but numbers.

`parts` holds what objects are made of, `animals` and `vehicles` build them, `scenes` paints backgrounds, and `photo`
puts an object into a scene and takes the picture. All follow the two rules of `make_tiny.py`: chance comes from
`rng.random()` alone, and values stay float64 until one rounding at the end.
"""
