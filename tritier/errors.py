"""Errors a user can mend, and failed proofs."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: one line that names the file, the field and the mend (exit code 2)."""

    def __init__(self, file: object, field: str, problem: str, mend: str) -> None:
        self.file, self.field, self.problem, self.mend = str(file), field, problem, mend
        super().__init__(printable(f"{file}: {field}: {problem}; {mend}"))


def printable(text: str) -> str:
    """Text on one line: control characters, as of a file name, are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\n", " "))


class CertificateError(RuntimeError):
    """A result does not carry its proof: the failing figure is in the message (exit code 1)."""

    def __init__(self, certificate: str, figure: float, limit: float, detail: str = "") -> None:
        self.certificate, self.figure, self.limit = certificate, figure, limit
        tail = f" ({detail})" if detail else ""
        super().__init__(f"certificate {certificate} failed: {figure:.6g} exceeds {limit:.6g}{tail}")


class SolverError(RuntimeError):
    """A solver stopped without an answer that can be used; the status is in the message."""


class InfeasibleError(SolverError):
    """No point satisfies all rows: proved by the solver on a boxed problem."""


class NoRecoveryError(RuntimeError):
    """No optimal response to a design recovers the fixed and the network cost: a property of the design, not of a
    solver."""


class Interrupted(KeyboardInterrupt):
    """A search was told to stop; what it had found is in the message (exit code 128 and the signal's number)."""
