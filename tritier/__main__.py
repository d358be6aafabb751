"""The command line: ``tritier VERB ...`` or ``python -m tritier VERB ...``.

Exit codes: 0 done, 1 a certificate failed, 2 bad input or an infeasible study, 3 a bilevel problem is infeasible,
4 no optimum (a limit was hit, or a bilevel problem is unbounded), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys

from tritier.errors import CertificateError, InfeasibleError, InputError, SolverError

MODES = ("bigm", "sos1", "indicator", "strong_duality")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    top = Parser(prog="tritier", description="Tri-level coordination of DSO, P2P market and prosumers.")
    verbs = top.add_subparsers(dest="verb", required=True, parser_class=Parser)

    solve = verbs.add_parser("solve", help="design a case")
    solve.add_argument("study")
    solve.add_argument("--case", type=int, required=True)
    solve.add_argument("--preset", default="fast")
    solve.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override the preset or study.yaml"
    )
    solve.add_argument("--gap", type=float, default=None, help="largest gap accepted, share of the achievable gain")
    solve.add_argument("--jobs", type=int, default=1)
    solve.add_argument(
        "--engine", choices=("tree", "scip"), default="tree", help="our tree over the menu, or one tree of SCIP's"
    )
    solve.add_argument("--resume", action="store_true", help="go on from what an interrupted run has stored")
    solve.add_argument("--out", required=True)

    certify = verbs.add_parser("certify", help="recompute every certificate of a stored case")
    certify.add_argument("folder")
    certify.add_argument("--study", default=None, help="the study's folder, where it has moved")
    certify.add_argument("--jobs", type=int, default=1, help="processes that share the rows of the proof")

    evaluate = verbs.add_parser("evaluate", help="judge a stored design on other days, by AC power flow")
    evaluate.add_argument("folder")
    evaluate.add_argument("--days", default="held-out")
    evaluate.add_argument("--study", default=None)

    feeder = verbs.add_parser("feeder", help="AC and LinDistFlow figures of a feeder")
    feeder.add_argument("bus")
    feeder.add_argument("branch")
    feeder.add_argument("--json", action="store_true")

    bilevel = verbs.add_parser(
        "bilevel",
        help="solve a linear bilevel problem",
        epilog="status and exit code: optimal 0; infeasible 3; time_limit (with a point), no_solution (without one) "
        "and unbounded 4. A failed certificate is 1, a bad file 2, each with one line.",
    )
    bilevel.add_argument("file")
    bilevel.add_argument("--mode", choices=MODES, required=True)
    bilevel.add_argument("--time-limit", type=float, default=600.0)
    bilevel.add_argument("--json", action="store_true")

    hosting = verbs.add_parser("hosting", help="hosting capacity of a feeder")
    hosting.add_argument("study")
    hosting.add_argument("--model", choices=("deterministic", "stochastic", "robust"), required=True)
    hosting.add_argument("--flexibility", choices=("none", "der", "p2p"), required=True)
    hosting.add_argument("--preset", default="fast")
    hosting.add_argument("--hosted-mw", type=float, default=None, help="host this much at least cost")
    hosting.add_argument(
        "--budget", type=float, default=None, help="factors that may deviate at once (default: fitted)"
    )
    hosting.add_argument("--size-batteries", action="store_true", help="batteries are decisions")
    hosting.add_argument("--jobs", type=int, default=0, help="threads (default: two, or one on one core)")
    hosting.add_argument("--resume", action="store_true", help="go on from what an interrupted run has stored")
    hosting.add_argument("--out", required=True)

    book = verbs.add_parser("book", help="run stale chapters, check them, build the HTML book")
    book.add_argument("--preset", default="fast")
    return top


def run(arguments: argparse.Namespace) -> int:
    """Do what the parsed arguments ask."""
    from tritier import commands
    from tritier.preset import parse_changes

    a = arguments
    if a.verb == "solve":
        changes = parse_changes(a.set)
        return commands.solve(a.study, a.case, a.preset, changes, a.gap, a.jobs, a.engine, a.resume, a.out)
    if a.verb == "certify":
        return commands.certify(a.folder, a.study, a.jobs)
    if a.verb == "evaluate":
        return commands.evaluate(a.folder, a.days, a.study)
    if a.verb == "feeder":
        return commands.feeder(a.bus, a.branch, a.json)
    if a.verb == "bilevel":
        return commands.bilevel(a.file, a.mode, a.time_limit, a.json)
    if a.verb == "hosting":
        from tritier.hosting_run import Question
        from tritier.hosting_run import run as run_hosting

        hosted_kw = None if a.hosted_mw is None else 1e3 * a.hosted_mw
        asked = Question(a.model, a.flexibility, a.preset, hosted_kw, a.budget, a.size_batteries)
        run_hosting(a.study, asked, a.out, a.jobs, a.resume)
        return 0
    from tritier import book

    return book.main(a.preset)


def main(words: list[str] | None = None) -> int:
    """Entry point: errors a user can mend end in one line and exit code 2, failed certificates in exit code 1."""
    arguments = parser().parse_args(words)
    try:
        return run(arguments)
    except InputError as error:
        print(f"tritier: {error}", file=sys.stderr)
        return 2
    except CertificateError as error:
        print(f"tritier: {error}", file=sys.stderr)
        return 1
    except InfeasibleError as error:
        print(
            f"tritier: {arguments.verb}: infeasible: {error}; relax limits, lower the fixed cost or widen the menu",
            file=sys.stderr,
        )
        return 2
    except SolverError as error:
        print(f"tritier: {arguments.verb}: {error}", file=sys.stderr)
        return 4
    except BrokenPipeError:  # the reader of our output, say `head`, has gone: every verb prints last
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"tritier: {error.filename or arguments.verb}: {error.strerror}; check path, rights and free space",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        mend = "; --resume goes on from what is stored" if arguments.verb in ("solve", "hosting") else ""
        print(f"tritier: {arguments.verb}: interrupted{mend}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
