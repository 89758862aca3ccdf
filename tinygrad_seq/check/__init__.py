"""Gradient checks: whether the gradients of an op, a composite or a whole unrolled model are the derivatives of what it computes.

`check_gradients(f, *arrays)` checks f at one point, `check_op(f, *shapes)` at many.  What is right is told by an oracle that knows nothing
of gradient rules: the complex step where every op on the way is analytic, else central differences that estimate their own error.
"""

from .case import GradientError, Report
from .gradients import check_gradients
from .many import check_op

__all__ = ["GradientError", "Report", "check_gradients", "check_op"]
