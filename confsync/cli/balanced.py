"""What `status` prints of the load balancer around the agent; nothing where there is none."""

from collections.abc import Mapping
from typing import Any

from confsync.cli import output, reading
from confsync.cli.standing import span
from confsync.domain.printable import printable

_ROLES = {
    "holds": "here",
    "waits": "with the other host",
    "parts": "on its way to the other host",
    "off": "not here",
    "left": "given away",
}


def fit(reply: Mapping[str, Any]) -> bool:
    """Tell whether HAProxy answers, as far as anybody looks after that."""
    return reading.table(reply, "balancer").get("healthy") is not False


def lines(reply: Mapping[str, Any], *, now: float, color: bool) -> list[str]:
    """Show programs, shared address and certificates. `now`: unix seconds."""
    balancer = reading.table(reply, "balancer")
    if not balancer:
        return []
    found = []
    if balancer.get("healthy") is not True:
        why = printable(reading.text(balancer, "why"))
        found.append(output.paint(f"unfit:    HAProxy does not answer: {why}", "red", color=color))
    children = [_child(each, now) for each in reading.tables(balancer, "children")]
    found.append(f"programs: {', '.join(children)}")
    if vip := reading.table(balancer, "vip"):
        role = reading.text(vip, "role")
        where = _ROLES.get(role, printable(role))
        names = ", ".join(map(printable, reading.texts(vip, "addresses")))
        engine = printable(reading.text(vip, "engine"))
        found.append(f"address:  {names} {where} ({engine})")
    certificates = reading.table(balancer, "certificates")
    served = reading.tables(certificates, "served")
    if served:
        first = served[0]
        names = ", ".join(map(printable, reading.texts(first, "names"))) or "one"
        days = int(reading.number(first, "days"))
        count = output.count(len(served), "certificate")
        found.append(f"tls:      {count}, the next ends in {days} days ({names})")
    refused = reading.texts(certificates, "refused")
    return found + [
        output.paint(f"refused:  {printable(each)}", "yellow", color=color) for each in refused
    ]


def _child(child: Mapping[str, Any], now: float) -> str:
    name, pid = printable(reading.text(child, "name")), int(reading.number(child, "pid"))
    last, starts = printable(reading.text(child, "last")), int(reading.number(child, "starts"))
    if not pid:
        return f"{name} does not run{f' ({last})' if last else ''}"
    again = f", start {starts} ({last})" if starts > 1 else ""
    return f"{name} {pid} for {span(now - reading.number(child, 'since'))}{again}"
