"""Which compute unit runs which layer: NSGA-II over assignments."""

from alwann_c.search.cluster import DaskPool, dask_client, worker_setup
from alwann_c.search.evaluator import Evaluation, Evaluator
from alwann_c.search.explore import Exploration, explore
from alwann_c.search.pool import LocalPool
from alwann_c.search.select import FrontPoint, approximate_correct, refine, select

__all__ = [
    "DaskPool",
    "Evaluation",
    "Evaluator",
    "Exploration",
    "FrontPoint",
    "LocalPool",
    "approximate_correct",
    "dask_client",
    "explore",
    "refine",
    "select",
    "worker_setup",
]
