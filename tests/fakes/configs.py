"""Random configurations, and what a template makes of the next catalog: for laws about plans.

Shared by those that hold for a HAProxy of values and those that hold for a real one.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from confsync.domain.catalog import Status
from tests.fakes.runtime import MAP

OPTIONS = (
    "balance leastconn",
    "balance source",
    "balance source\n    hash-type consistent",
    "balance first",
    "balance static-rr",
    "balance random(2)",
    "option allbackups",
    "option httpchk GET /",
    "option external-check",
    "cookie SRV insert",
    "cookie SRV insert dynamic",
    "email-alert to x@y",
    "stick on src",
    "timeout server 5s",
    "unheard-of word",
    "use-server s1 if TRUE",
    "http-request deny if { srv_is_up(b1/s2) }",
)
SAFE = (0, 2, 3, 5, 6, 7, 9, 12, 13)
WORDS = (
    "check",
    "check inter 2s rise 3",
    "no-check",
    "weight 0",
    "weight 5",
    "weight 9",
    "maxconn 3",
    "maxconn 4 minconn 2",
    "backup",
    "disabled",
    "enabled",
    "ssl verify none",
    "no-ssl",
    "send-proxy",
    "cookie c",
    "resolvers r",
    "init-addr last",
    "agent-check agent-port 9",
    "on-marked-down shutdown-sessions",
    "port 99",
    "unheard-of",
)
COMMON = (0, 1, 3, 4, 5, 6, 8, 9, 11, 13, 16)


def some(r: Random, pool: Sequence[Any], most: int) -> list[Any]:
    return r.sample(pool, r.randint(0, min(most, len(pool))))


def server(r: Random, name: int, words: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "at": r.choice([name, name, name, name + 10]), "words": some(r, words, 2)}


def servers(r: Random, words: Sequence[int]) -> list[dict[str, Any]]:
    return [server(r, name, words) for name in some(r, range(1, 6), 4)]


def lines(r: Random, *, free: bool) -> dict[str, Any]:
    """One backend: its options, and its servers with the default-server lines between them."""
    words = range(len(WORDS)) if free else COMMON
    return {
        "options": some(r, range(len(OPTIONS)) if free else SAFE, 2),
        "folded": some(r, words, 1),
        "folded_at": r.randint(0, 2),
        "ids": r.choice(["all", "all", "some", "none"]),
        "servers": servers(r, words),
    }


def configs(r: Random) -> dict[str, Any]:
    free = r.random() < 0.3
    return {
        "defaults": some(r, SAFE, 1),
        "folded": some(r, COMMON, 1),
        "backends": {n: lines(r, free=free) for n in range(r.randint(1, 3))},
        "map": some(r, ["a b0", "b b1", "c b0", "# x"], 3),
    }


def changed(r: Random, config: dict[str, Any]) -> dict[str, Any]:
    """What a template makes of the next catalog: most stays, above all the options."""
    if r.random() < 0.05:
        return configs(r)
    backends = {}
    for n, backend in config["backends"].items():
        how = r.random()
        if how < 0.2:
            backends[n] = backend
        elif how < 0.25:
            backends[n] = lines(r, free=True)
        elif how < 0.35:
            shuffled = r.sample(backend["servers"], len(backend["servers"]))
            backends[n] = backend | {"servers": shuffled}
        else:
            kept = some(r, backend["servers"], 4)
            fresh = servers(r, range(len(WORDS)) if how > 0.9 else COMMON)
            chosen = {s["name"]: s for s in [*fresh, *kept]}
            order = list(chosen) if how < 0.7 else r.sample(list(chosen), len(chosen))
            backends[n] = backend | {"servers": [chosen[name] for name in order]}
    return config | {
        "backends": backends,
        "map": r.choice([config["map"], config["map"], ["a b0", "c b0"], ["a b0"]]),
    }


def absent(r: Random, config: dict[str, Any]) -> dict[str, dict[str, Status]]:
    """What the registry says of some that it does not serve: by their place, as confsync does."""
    words = (Status.MAINTENANCE, Status.MAINTENANCE, Status.CRITICAL)
    return {
        f"b{n}": {
            f"10.0.0.{at}:80": r.choice(words)
            for at in some(r, range(1, 6), 4)
            if all(one["at"] != at for one in backend["servers"])
        }
        for n, backend in config["backends"].items()
    }


def text(config: dict[str, Any]) -> str:
    found = ["global", "    maxconn 10", "defaults", "    mode http"]
    found += [f"    {OPTIONS[n]}" for n in config["defaults"]]
    found += [f"    default-server {WORDS[n]}" for n in config["folded"]]
    found += ["frontend f", f"    use_backend %[path,map({MAP})]"]
    for n, backend in config["backends"].items():
        found.append(f"backend b{n}")
        found += [f"    {OPTIONS[o]}" for o in backend["options"]]
        for at, one in enumerate([*backend["servers"], None]):
            if at == backend["folded_at"]:
                found += [f"    default-server {WORDS[w]}" for w in backend["folded"]]
            if one is not None:
                numbered = backend["ids"] == "all" or (backend["ids"] == "some" and one["name"] % 2)
                number = f" id {70_000 + one['name']}" if numbered else ""
                said = "".join(f" {WORDS[w]}" for w in one["words"])
                found.append(f"    server s{one['name']} 10.0.0.{one['at']}:80{number}{said}")
    return "\n".join(found) + "\n"
