"""MPS beside AUX in both dialects: the examples of those who defined them, round trips, and lines refused by number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bilevel_problems import PUBLISHED, plain, random_problem
from bilevel_routes import DIALECTS as DIALECTS_WRITTEN
from bilevel_routes import answer, from_cvxpy, same, through_files, worst_case
from test_bilevel_literature import known_files

from tritier.bilevel import read_bilevel, read_mps, solve, write_bilevel, write_mps
from tritier.cli import main
from tritier.errors import InputError
from tritier.reformulation.bilevel import LinearBilevel, linear_bilevel

INF = np.inf
#: the example of MibS's page on its format, its integers relaxed: min -x - 7 y, y in argmin {z : 2x - z <= 7, ...}
EXAMPLE = """NAME generalExample
* rows 0 and 1 are the leader's
ROWS
 L  R0
 L  R1
 L  R2
 L  R3
 N  R4
COLUMNS
    C0   R0       -3   R1       1
    C0   R2       2
    C0   R3       -2
    C0   R4       -1
    C1   R0       2
    C1   R1       2
    C1   R2       -1
    C1   R3       4
    C1   R4       -7
RHS
    B    R0       12
    B    R1       20
    B    R2       7
    B    R3       16
BOUNDS
 UP BOUND C0      10
 UP BOUND C1      5
ENDATA
"""
NAMES = """@NUMVARS
1
@NUMCONSTRS
2
@VARSBEGIN
C1 1.
@VARSEND
@CONSTRSBEGIN
R2
R3
@CONSTRSEND
@NAME
General Example
@MPS
generalExample.mps
"""
LINES = "N 1\nM 2\nLC 1\nLR 2\nLR 3\nLO 1\nOS 1\n"
#: the form in which BOBILib, idol and MibS's own page spell the keywords, positions or names
DIALECTS = {
    "names": NAMES,
    "names, other spelling": NAMES.replace("CONSTRS", "CONSTR") + "@OBJSENSE\nMIN\n",
    "lines of positions": LINES,
    "lines of names": LINES.replace("LC 1", "LC C1").replace("LR 2", "LR R2"),
    "lines, maximising": LINES.replace("LO 1", "LO -1").replace("OS 1", "OS -1"),
}


@pytest.fixture
def written(tmp_path):
    """The example with changes; paths of both files."""

    def write(mps: str = EXAMPLE, aux: str = NAMES) -> tuple[str, str]:
        paths = tmp_path / "example.mps", tmp_path / "example.aux"
        for path, text in zip(paths, (mps, aux), strict=True):
            path.write_text(text)
        return str(paths[0]), str(paths[1])

    return write


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_example_in_each_dialect(dialect, written, capsys):
    """The follower answers y = max(0, 2x - 7); its row -2x + 4y <= 16 ends at x = 6, y = 5, as MibS says."""
    problem = read_mps(*written(aux=DIALECTS[dialect]))
    assert (problem.x_name, problem.y_name, problem.row_name) == (("C0",), ("C1",), ("R2", "R3"))
    assert main(["bilevel", *written(aux=DIALECTS[dialect]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["objective"] == pytest.approx(-41.0) and found["point"] == pytest.approx({"C0": 6.0, "C1": 5.0})


def test_sides_ranges_bounds_and_constants(written):
    text = """NAME
ROWS
 N cost
 N other
 E e1
 E e2
 L l
 G g
COLUMNS
 x cost 1 other 5
 x e1 1 e2 1
 MARK 'MARKER' 'INTORG'
 k cost 2 l 1
 MARK 'MARKER' 'INTEND'
 y l 1 g 1
 y e1 1
RHS
 cost -3 e1 4
 e2 5
 l 6 g 7
RANGES
 R e1 2 e2 -2
 R l 1 g 1
BOUNDS
 MI B x
 BV B k
 FR y
ENDATA
"""
    p = read_mps(*written(text, "@VARSBEGIN\ny 2\n@VARSEND\n@CONSTRSBEGIN\nl\ng\n@CONSTRSEND\n"))
    assert (p.F0, p.F.tolist(), p.f.tolist()) == (3.0, [1.0, 2.0, 0.0], [0.0, 0.0, 2.0])
    assert (p.U_lower.tolist(), p.U_upper.tolist()) == ([4.0, 3.0], [6.0, 5.0])
    assert (p.row_lower.tolist(), p.row_upper.tolist()) == ([5.0, 7.0], [6.0, 8.0])
    assert (p.x_lower.tolist(), p.x_upper.tolist()) == ([-INF, 0.0], [INF, 1.0]) and p.integer.tolist() == [False, True]
    assert (p.y_lower.tolist(), p.y_upper.tolist()) == ([-INF], [INF])


def same_data(a: LinearBilevel, b: LinearBilevel) -> None:
    """Equal up to the order of what decides nothing: rows without sides and constants of the follower."""
    for name in ("F", "F0", "x_lower", "x_upper", "y_lower", "y_upper", "integer"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert np.array_equal(a.f[a.nx :], b.f[b.nx :])
    for matrix, low, high in (("U", "U_lower", "U_upper"), ("A", "row_lower", "row_upper")):
        told = np.isfinite(getattr(a, low)) | np.isfinite(getattr(a, high))
        assert np.array_equal(getattr(a, matrix).toarray()[told], getattr(b, matrix).toarray())
        for side in (low, high):
            assert getattr(b, side) == pytest.approx(getattr(a, side)[told], rel=1e-15)


@pytest.mark.parametrize("dialect", ["names", "lines"])
@pytest.mark.parametrize("published", PUBLISHED, ids=lambda p: p.key)
def test_published_problems_go_round(published, dialect, tmp_path):
    paths = tmp_path / "p.mps", tmp_path / "p.aux"
    write_mps(published.problem, *paths, dialect)
    again = read_mps(*paths)
    same_data(published.problem, again)
    found = solve(again)
    assert found.status == ("infeasible" if published.optimum is None else "optimal")
    if published.optimum is not None:
        assert found.objective == pytest.approx(published.optimum, abs=1e-5)


def test_300_random_problems_go_round_through_mps_and_json(tmp_path):
    """Data equal after each trip, hence the same optima, which test_bilevel_random checks against brute force."""
    paths, file = (tmp_path / "p.mps", tmp_path / "p.aux"), tmp_path / "p.json"
    for seed in range(300):
        problem = random_problem(seed)
        write_bilevel(problem, file)
        again = read_bilevel(file)
        assert again.menu == problem.menu and np.array_equal(again.Q.toarray(), problem.Q.toarray())
        write_mps(plain(problem), *paths, "lines" if seed % 2 else "names")
        same_data(plain(problem), read_mps(*paths))


def test_the_collection_by_every_route(tmp_path):
    """All known answers from cvxpy, and through MPS + AUX and JSON."""
    for path in known_files():
        known = json.loads(path.read_text())["optimum_F"]
        problem = read_bilevel(path)
        found = {dialect: through_files(problem, tmp_path, dialect) for dialect in DIALECTS_WRITTEN}
        found["cvxpy"] = from_cvxpy(problem)
        write_bilevel(problem, tmp_path / "p.json")
        found["json"] = answer(solve(read_bilevel(tmp_path / "p.json")))
        wrong = {name: f for name, f in found.items() if not same(f, "infeasible" if known is None else known)}
        assert wrong == {}, path.name
        worst = worst_case(problem)
        assert worst is None or same(*worst), path.name


def test_names_with_blanks_and_names_that_collide(tmp_path):
    paths = tmp_path / "p.mps", tmp_path / "p.aux"
    p = linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, lower=([[1.0, 1.0]], [1.0], [INF]), x_bounds=[(0, 1)],
                       y_bounds=[(0, 1)], x_name=["gp[P2][0, 1]"], y_name=["a b"],
                       row_name=["power balance"])  # fmt: skip
    write_mps(p, *paths)
    assert read_mps(*paths).x_name == ("gp[P2][0,_1]",)
    write_mps(replace(p, x_name=("a_b",)), *paths)
    assert read_mps(*paths).y_name == ("C1",)


def test_what_the_files_cannot_tell_is_refused(tmp_path):
    paths = tmp_path / "p.mps", tmp_path / "p.aux"
    p = linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, Q=[[1.0]], x_bounds=[(0, 1)], y_bounds=[(0, 1)])
    with pytest.raises(InputError, match="Q: prices set by the leader have no place in MPS and AUX; write JSON"):
        write_mps(p, *paths)
    with pytest.raises(InputError, match="menu: a menu has no place"):
        write_mps(linear_bilevel([1.0, 1.0], [0.0, 1.0], 1, menu={0: [0.0, 1.0]}), *paths)
    assert not list(tmp_path.iterdir())


BROKEN_MPS = {
    "unknown row": (("C1   R2       -1", "C1   RX       -1"), "line 16: unknown row RX; name a row of ROWS"),
    "no number": (("C1   R2       -1", "C1   R2       x1"), "line 16: 'x1' is no number"),
    "entry twice": (("C1   R3       4", "C1   R2       4"), "line 17: the entry of C1 in R2 stands twice"),
    "row twice": ((" L  R3\n", " L  R2\n"), "line 7: row R2 stands twice"),
    "unknown variable": (("UP BOUND C1", "UP BOUND C9"), "line 26: unknown variable C9"),
    "unknown bound": (("UP BOUND C1", "XX BOUND C1"), "line 26: .* is no bound; give one of"),
    "cut off": (("ENDATA\n", ""), "file: has no ENDATA"),
    "no section": (("NAME generalExample", "hello"), "line 1: 'hello' stands in no section"),
    "maximised": (("ROWS\n", "OBJSENSE\n    MAX\nROWS\n"), "line 4: 'MAX'; write OBJSENSE MIN"),
    "too large": (("B    R0       12", "B    R0       1e20"), "line 20: 1e20 is too large"),
    "two kinds of row": ((" L  R3\n", " LG R3\n"), "line 7: 'LG R3' is no row; give N, L, G or E"),
    "data at the margin": (("    B    R0       12", "RHS  R0       12"), "line 20: 'RHS R0 12' is neither"),
    "second set of sides": (("    B    R3", "    B2   R3"), "line 23: B2 is a second set of RHS"),
    "second set of bounds": (("UP BOUND C1", "UP OTHER C1"), "line 26: OTHER is a second set of BOUNDS"),
    "words": (("    C0   R2       2\n", "    C0   R2\n"), "line 11: 2 words; give a name"),
    "crossed": (("UP BOUND C1      5", "UP BOUND C1      -5"), "C1: lower bound 0 above upper bound -5"),
    "integer without bounds": (
        ("    C0   R0       -3   R1       1\n", "    M 'MARKER' 'INTORG'\n    C2 R0 1\n    M 'MARKER' 'INTEND'\n"
         "    C0   R0       -3   R1       1\n"), "C2: an integer variable without bounds",
    ),
    "integer follower": (
        ("    C1   R0       2\n", "    M 'MARKER' 'INTORG'\n    C1   R0       2\n"),
        "C1: an integer variable of the follower: only followers that are linear programs",
    ),
}  # fmt: skip
BROKEN_AUX = {
    "unknown variable": (("C1 1.", "LV 1."), "LV: is no variable of example.mps"),
    "unknown row": (("R3\n", "R9\n"), "R9: is no row of example.mps"),
    "twice": (("R3\n", "R2\n"), "R2: stands twice"),
    "count": (("@NUMCONSTRS\n2", "@NUMCONSTRS\n4"), "rows: 4 are announced, 2 listed; mend the count"),
    "two rows in a line": (("R2\nR3\n", "R2 R3\n"), "line 9: 2 words; give one row"),
    "no cost": (("C1 1.", "C1"), "line 6: 1 words; give a variable and its cost"),
    "no number": (("C1 1.", "C1 one"), "line 6: 'one' is no number"),
    "maximised": (("@MPS", "@OBJSENSE\nMAX\n@MPS"), "line 15: sense 'MAX'"),
    "stray": (("@VARSEND\n", "@VARSEND\nC1 1\n"), "line 8: 'C1' stands in no section"),
}


def refused(paths: tuple[str, str], text: str, capsys) -> None:
    assert main(["bilevel", *paths]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    with pytest.raises(InputError, match=text):
        read_mps(*paths)


@pytest.mark.parametrize("case", BROKEN_MPS)
def test_a_broken_mps_file_is_one_line_with_its_number(case, written, capsys):
    (old, new), text = BROKEN_MPS[case]
    assert EXAMPLE.count(old) == 1
    refused(written(mps=EXAMPLE.replace(old, new)), text, capsys)


@pytest.mark.parametrize("case", BROKEN_AUX)
def test_a_broken_aux_file_is_one_line(case, written, capsys):
    (old, new), text = BROKEN_AUX[case]
    assert NAMES.count(old) == 1
    refused(written(aux=NAMES.replace(old, new)), text, capsys)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("OS 1", "OS 2", "line 7: sense 2"),
        ("LR 3", "LR 9", "9: is no row"), ("N 1", "N 3", "variables: 3 are announced"),
        ("LO 1\n", "", "costs: 0 for 1 variables"), ("M 2", "M two", "line 2: 'two' is no number"),
        ("LC 1", "LX 1", "line 3: 'LX 1'; give N, M, LC"),
    ],
)  # fmt: skip
def test_a_broken_file_of_lines_is_one_line(old, new, text, written, capsys):
    refused(written(aux=LINES.replace(old, new)), text, capsys)


def test_a_row_may_be_called_marker(written):
    text = EXAMPLE.replace("R3", "MARKER")
    assert "MARKER" in read_mps(*written(mps=text, aux=NAMES.replace("R3", "MARKER"))).row_name
    same_data(read_mps(*written(mps=text, aux=NAMES.replace("R3", "MARKER"))), read_mps(*written(mps=EXAMPLE)))


@pytest.mark.parametrize("dialect", ["names", "lines"])
def test_names_that_read_as_positions(dialect, tmp_path):
    """Written, they give way to names that do not; read, one that means two columns is refused."""
    paths = str(tmp_path / "a.mps"), str(tmp_path / "a.aux")
    problem = linear_bilevel([1.0, 2.0, 3.0], [0.0, 1.0, 1.0], 1, x_name=["2"], y_name=["0", "1"], x_bounds=[(0, 1)],
                             lower=([[1.0, 1.0, 0.0]], [1.0], [INF]), y_bounds=[(0, 5), (0, 5)])  # fmt: skip
    write_mps(problem, *paths, dialect)
    same_data(read_mps(*paths), problem)
    for name, place in (("C0", "1"), ("C1", "0")):
        Path(paths[0]).write_text(Path(paths[0]).read_text().replace(name, place))
    Path(paths[1]).write_text(LINES)
    with pytest.raises(InputError, match="1 is a name and a position; give names that are no numbers"):
        read_mps(*paths)


def test_files_that_are_not_there(tmp_path, capsys):
    assert main(["bilevel", str(tmp_path / "a.mps"), str(tmp_path / "a.aux")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert Path(tmp_path).is_dir()
