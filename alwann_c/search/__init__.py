"""Which compute unit runs which layer: NSGA-II over assignments."""

from alwann_c.search.evaluator import Evaluation, Evaluator
from alwann_c.search.explore import Exploration, explore
from alwann_c.search.select import FrontPoint, refine, select

__all__ = [
    "Evaluation",
    "Evaluator",
    "Exploration",
    "FrontPoint",
    "explore",
    "refine",
    "select",
]
