"""A search's proof, checked without the search: every row read off its own basis, then the bound that they give.

Nothing of the run is trusted: rows are those that their bases prove, both ends lie between bounds of their own, and the
bound is that of a ledger filled with these rows alone, on the menu of the study.
"""

from __future__ import annotations

from tritier.cases.certificate import DesignProof, require
from tritier.inputs.instance import Design
from tritier.reformulation.joint import JointLP
from tritier.search.check import BOUND, check_pool
from tritier.search.ends import ENDS, End, check_end
from tritier.search.flat import check_flat
from tritier.search.ledger import Ledger
from tritier.search.menu import Coordinates
from tritier.search.pool import Pool
from tritier.search.scip import below, prove


def check_proof(joint: JointLP, design: Design, proof: DesignProof, pools: dict[str, Pool], jobs: int = 1) -> int:
    """Check the bounds on record of a design against the rows of its proof; returns their number.

    Raises CertificateError at the first figure that is not proved, from either side.
    """
    rows, instance = [], joint.instance
    for name in ENDS:
        rows += check_end(joint, name, End(getattr(proof, name), pools[name]), jobs)
    flat = pools["flat"].rows[0].request.design
    check_flat(JointLP(instance, network=joint.sees_network, lp=joint.bare), flat)
    menu = Coordinates.of(instance.menu, [flat])
    require("design.menu_points", abs(proof.menu_points - menu.n_points), 0.0, f"{menu.n_points} are on offer")
    rows += check_pool(joint, pools["search"], "search", jobs)
    ledger = Ledger(menu, instance.fixed_cost, rows)
    point = menu.point(design)
    ledger.require_not_below(proof.upper_bound, point)
    bound = ledger.lower_bound
    require("design.lower_bound", proof.lower_bound - bound, BOUND, f"{bound:.6f} is proved")
    require("design.lower_bound", proof.lower_bound - proof.upper_bound, 0.0, "is above the upper bound")
    if proof.proof != "not run":
        limit = below(min(bound, proof.lower_bound), proof.flat - proof.first_best)
        word = prove(ledger, limit, proof.upper_bound, point).word
        require("design.proof", float(word != proof.proof), 0.0, f"{proof.proof} is stored, SCIP leaves it {word}")
    return len(rows)
