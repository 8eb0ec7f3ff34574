"""Consistent hashing keeps its keys over changes at runtime and over the reload that follows them."""

import random

from tests.conftest import Soak
from tests.integration.runtime.conftest import Make
from tests.integration.runtime.field import Client, Field
from tests.support.figures import Figures

KEYS = 300


def owners(field: Field) -> list[str]:
    """Ask for each key once; name who answered."""
    with Client(field.port) as client:
        return [client.get(f"/?key={key}")[1] for key in range(KEYS)]


def test_no_key_moves_but_to_and_from_servers_that_change(
    field: Make, haproxy_version: str, soak: Soak, figures: Figures
) -> None:
    """Keys leave a server that stays only for one that is new, and no reload moves any."""
    changes = soak.n(20, 200)
    one = field(template="hashing", extra="[retire]\nleftovers = 500\n")
    stay = [one.add() for _ in range(5)]
    one.up()
    first = owners(one)
    loads = one.haproxy.reloads()
    chance = random.Random(1)
    guests = [one.add() for _ in range(2)]
    one.agreed()
    for _ in range(changes - 2):
        if len(guests) < 2 or (len(guests) < 5 and chance.random() < 0.5):
            guests.append(one.add())
        else:
            one.drop(guests.pop(chance.randrange(len(guests))))
        one.agreed()
    assert one.haproxy.reloads() == loads
    changed = owners(one)
    names, new = {s.name for s in stay}, {g.name for g in guests}
    stolen = [k for k in range(KEYS) if changed[k] != first[k] and changed[k] not in new]
    taken = sum(owner in new for owner in changed)
    one.haproxy.reload()
    reloaded = owners(one)
    moved = [k for k in range(KEYS) if reloaded[k] != changed[k]]
    for guest in guests:
        one.drop(guest)
    one.agreed()
    back = owners(one)
    figures(
        changes=changes,
        keys=KEYS,
        to_new_servers=taken,
        moved_among_those_that_stayed=len(stolen),
        moved_by_the_reload=len(moved),
        not_back_in_the_end=sum(a != b for a, b in zip(first, back, strict=True)),
    )
    assert set(first) == names
    assert 0 < taken < KEYS
    assert stolen == []
    assert moved == []
    assert back == first
    one.whole()
