"""What the planner decides: nothing, write only, or a reload; each with reasons in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NoChange:
    """What runs, what is on disk and what should be are the same."""

    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """The files change, what runs need not: comments only, or no HAProxy runs yet."""

    destinations: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadPlan:
    """HAProxy must load the files anew. `destinations`: those to write first, perhaps none."""

    destinations: tuple[str, ...]
    reasons: tuple[str, ...]


Plan = NoChange | WritePlan | ReloadPlan
