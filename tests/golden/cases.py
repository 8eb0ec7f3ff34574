"""The golden cases: a catalog, as the file source has it, and the built-in set rendered from it."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from confsync.core import builtin, desired, rendering
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.loadbalancer import Problem
from confsync.domain.rendered import RenderedConfig, Template, TemplateSet

HERE = Path(__file__).parent
TEMPLATES = HERE.parent.parent / "templates"
CASES = sorted(path.parent.name for path in HERE.glob("*/catalog.json"))
LISTENERS = frozenset({("*", 80), ("127.0.0.1", 8404)})


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """What a case rendered to."""

    config: RenderedConfig
    problems: tuple[Problem, ...]


def templates(folder: str, variables: dict[str, Any] | None = None) -> TemplateSet:
    """The built-in set, with destinations in `folder`."""
    values = {**builtin.BUILTIN_VARS, **(variables or {})}
    return TemplateSet(
        templates=tuple(
            Template(
                name=one.name,
                text=(TEMPLATES / one.file).read_text(),
                destination=f"{folder}/{one.destination}",
                seen_as=f"{folder}/{one.destination}",
                language=one.language,
                variables=values,
                secrets=(str(values["stats_password"]),) if values["stats_password"] else (),
            )
            for one in builtin.BUILTINS
        )
    )


def catalog(found: list[dict[str, Any]]) -> Catalog:
    """The services of a JSON file."""
    return Catalog(
        services=tuple(
            Service(
                name=service["name"],
                instances=tuple(
                    Instance(
                        id=one["id"],
                        address=one["address"],
                        port=one["port"],
                        status=Status(one.get("status", "passing")),
                        tags=tuple(one.get("tags", ())),
                        meta=tuple(sorted(one.get("meta", {}).items())),
                        weight=one.get("weight", 1),
                        node=one.get("node", ""),
                    )
                    for one in service["instances"]
                ),
            )
            for service in sorted(found, key=lambda s: s["name"])
        )
    )


def render(
    services: list[dict[str, Any]],
    folder: str,
    *,
    variables: dict[str, Any] | None = None,
    target: str = "systemd",
    stats_socket: str = "/run/haproxy/admin.sock",
) -> Made:
    """Go from a catalog to files as the engine does."""
    renderer = rendering.Renderer(
        templates(folder, variables), version="0.0", stats_socket=stats_socket, target=target
    )
    declared = renderer.declared().files[-1].text
    lb, _ = desired.desired(
        catalog(services),
        statuses=frozenset({Status.PASSING}),
        reserved=frozenset(re.findall(r"(?m)^(?:frontend|backend|listen) (\S+)", declared)),
        loops=LISTENERS,
    )
    config, problems = renderer.render(lb)
    return Made(config, lb.problems + problems)


def made(case: str, folder: str = "/etc/haproxy", **more: str) -> Made:
    """Render one of CASES."""
    asked = json.loads((HERE / case / "catalog.json").read_text())
    options = {"target": asked.get("target", "systemd")} | more
    return render(asked["services"], folder, variables=asked.get("vars"), **options)
