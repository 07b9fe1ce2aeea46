"""Chapter 00's control over its range."""

import numpy as np

from controls.start_here import draw_wave
from course_utils.plotting import new_figure


def test_wave_over_its_range():
    for frequency in range(1, 11):
        _, axes = new_figure()
        text = draw_wave(axes, frequency)
        assert f"at {frequency} Hz" in text and f"down {frequency} times in one second" in text
        x, y = axes.lines[0].get_data()
        crossings = int((np.diff(np.sign(y[1:-1])) != 0).sum())
        assert crossings == 2 * frequency - 1
        np.testing.assert_allclose(y, np.sin(2 * np.pi * frequency * x))
