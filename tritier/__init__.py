"""Three-level design of network tariffs and capacity limits for peer-to-peer energy markets in distribution networks.

>>> import tritier as tt
>>> study = tt.read_study("data/studies/ieee33", changes={"load.scale": 1.02})
>>> result = tt.solve(study, case=4, preset="fast", gap=0.05, jobs=2)
>>> result.design, result.bounds, result.summary(), result.certify(), result.write("out/c4")
>>> tt.read_result("out/c4").certify(); tt.evaluate(result, days="held-out")
>>> tt.hosting_capacity(study, model="robust", flexibility="p2p")
>>> tt.solve_bilevel(tt.LinearBilevel(...), mode="sos1")

Names are loaded when they are first used, so that the import itself takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritier.cases.result import Result, read_result, solve
    from tritier.errors import CertificateError, InfeasibleError, InputError, SolverError
    from tritier.evaluation.heldout import Evaluation, evaluate
    from tritier.hosting.run import HostingResult, hosting_capacity
    from tritier.inputs.study import Study, read_study
    from tritier.reformulation.bilevel import LinearBilevel
    from tritier.reformulation.solve import BilevelSolution
    from tritier.reformulation.solve import solve as solve_bilevel

__version__ = "0.1.0"

# module of each name, and its name there where it is another
_HOME = {
    "BilevelSolution": "reformulation.solve",
    "CertificateError": "errors",
    "Evaluation": "evaluation.heldout",
    "HostingResult": "hosting.run",
    "InfeasibleError": "errors",
    "InputError": "errors",
    "LinearBilevel": "reformulation.bilevel",
    "Result": "cases.result",
    "SolverError": "errors",
    "Study": "inputs.study",
    "evaluate": "evaluation.heldout",
    "hosting_capacity": "hosting.run",
    "read_result": "cases.result",
    "read_study": "inputs.study",
    "solve": "cases.result",
    "solve_bilevel": "reformulation.solve:solve",
}

__all__ = [  # noqa: RUF022 -- the order in which one needs them
    "Study",
    "read_study",
    "Result",
    "solve",
    "read_result",
    "Evaluation",
    "evaluate",
    "HostingResult",
    "hosting_capacity",
    "LinearBilevel",
    "BilevelSolution",
    "solve_bilevel",
    "InputError",
    "CertificateError",
    "SolverError",
    "InfeasibleError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _HOME[name].partition(":")
    found = getattr(import_module(f"tritier.{module}"), there or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
