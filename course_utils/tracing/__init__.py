"""What happens to a tensor on its way through a model: sizes, shapes, costs, receptive fields, activations."""

from course_utils.tracing.receptive import ReceptiveField, receptive_field, receptive_fields
from course_utils.tracing.shapes import ShapeTrace, capture_activations, count_parameters, trace_shapes
from course_utils.tracing.sizes import conv_output_size, size_formula
from course_utils.tracing.tracer import Call
