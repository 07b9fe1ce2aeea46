"""What happens to a tensor on its way through a model: sizes, shapes, costs, receptive fields, activations."""

from course_utils.tracing.functions import shape_text
from course_utils.tracing.receptive import ReceptiveField, receptive_field
from course_utils.tracing.recorder import eval_mode
from course_utils.tracing.shapes import Call, ShapeTrace, capture_activations, count_parameters, trace_shapes
from course_utils.tracing.sizes import conv_output_size, size_formula

__all__ = [
    "Call",
    "ReceptiveField",
    "ShapeTrace",
    "capture_activations",
    "conv_output_size",
    "count_parameters",
    "eval_mode",
    "receptive_field",
    "shape_text",
    "size_formula",
    "trace_shapes",
]
