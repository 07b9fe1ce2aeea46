"""The thin package behind the course: training loop, shape tracing, plotting, controls, exercise checks."""

__version__ = "0.1.0"
