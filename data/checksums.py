"""Write CHECKSUMS: one sha256 per CSV file that results are computed from, as `sha256sum -c CHECKSUMS` reads it."""

import hashlib
from pathlib import Path

DATA = Path(__file__).resolve().parent
FOLDERS = ("feeders", "mobility", "simbench", "smard", "studies")


def main() -> None:
    """Settings of a study (study.yaml) are left out: they are meant to be edited."""
    files = sorted(f for folder in FOLDERS for f in (DATA / folder).rglob("*.csv"))
    lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(DATA).as_posix()}\n" for f in files]
    (DATA / "CHECKSUMS").write_text("".join(lines))


if __name__ == "__main__":
    main()
