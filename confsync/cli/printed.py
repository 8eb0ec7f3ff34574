"""What a command gives back: texts and an exit code. main.py prints them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """`out`: for standard output; `err`: for standard error; both whole lines, safe to print."""

    out: str = ""
    err: str = ""
    exit_code: int = 0
