"""What happens to a tensor on its way through a model: sizes, shapes, costs, receptive fields, activations."""

from course_utils.tracing.shapes import Call, ShapeTrace, count_parameters, shape_text, trace_shapes
from course_utils.tracing.sizes import conv_output_size, size_formula

__all__ = ["Call", "ShapeTrace", "conv_output_size", "count_parameters", "shape_text", "size_formula", "trace_shapes"]
