"""Templates and a load balancer in, files out: the same bytes for the same values.

A text that may not be printed costs its instance (a service's own name or tags the service): what a
render refuses is left out and the set rendered once more. What refuses, and what a template may do,
is decided in untrusted.py and sandbox.py.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType

import jinja2
from jinja2.exceptions import SecurityError

from confsync.core import effort, filters, fragments, isolation, quoting, sandbox, views
from confsync.core.memory import Memory, remembering
from confsync.core.untrusted import Opaque, Refusal, Refusals, shown
from confsync.domain.loadbalancer import Backend, LoadBalancer, Problem
from confsync.domain.rendered import Language, RenderedConfig, RenderedFile, Template, TemplateSet
from confsync.errors import RenderError

ROUNDS = 8
"""Renders at most. Each round but the first leaves something out, and almost all need two."""

LEAST = 3
"""Instances that must lack a meta key before the template is to blame."""

_ANY = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
"""What code in a template can raise."""

_FAULTY = (
    jinja2.TemplateSyntaxError,
    jinja2.UndefinedError,
    filters.Forbidden,
    SecurityError,
)
_UNLUCKY = (filters.Unlucky, filters.NoItem)


class Renderer:
    """Renders one set of templates; compiles each on first use. Safe to use from any thread.

    `version`: confsync's. `stats_socket`, `target`: the target's settings, as templates see them.
    `steps`: of loops and calls that one template may take.
    """

    def __init__(
        self,
        templates: TemplateSet,
        *,
        version: str,
        stats_socket: str = "",
        target: str = "socket",
        steps: int = effort.MOST_STEPS,
    ) -> None:
        self._templates = templates
        self._steps = steps
        self._secrets = _secrets(templates)
        self._facts = {
            "confsync": views.Facts("confsync", {"version": version}),
            "target": views.Facts("target", {"type": target, "stats_socket": stats_socket}),
        }
        self._environments: dict[Language, sandbox.Environment] = {}
        self._compiled: dict[int, jinja2.Template] = {}
        self._numbers = itertools.count()
        self._memory = Memory()
        self._declared: RenderedConfig | None = None

    @property
    def made(self) -> int:
        """Count the services' texts that the last render made anew: all others it remembered."""
        return self._memory.made

    def declared(self) -> RenderedConfig:
        """Render with no services: what the templates declare by themselves. Raises RenderError."""
        if self._declared is None:
            self._declared, _ = self.render(LoadBalancer())
        return self._declared

    def render(self, lb: LoadBalancer) -> tuple[RenderedConfig, tuple[Problem, ...]]:
        """Render all files. Returns what was refused, too; raises RenderError."""
        problems: list[Problem] = []
        for _ in range(ROUNDS):
            refusals = Refusals()
            memory = self._memory.begun()
            with remembering(memory):
                files, failures = self._round(lb, refusals)
            if not refusals.found:
                if not failures:
                    self._memory = memory.ended()
                    config = RenderedConfig(files=tuple(files), secrets=self._secrets)
                    return config, tuple(problems)
                refusals.found |= self._blamed(lb, *failures[0])
            _demanded(lb, refusals.found)
            problems += _problems(lb, refusals.found.values())
            lb = _without(lb, refusals.found)
        raise RenderError(
            f"texts are still refused after {ROUNDS} renders",
            template=problems[-1].template,
            line=problems[-1].line,
            remedy="print them with |quote, or not at all",
        )

    def _round(
        self, lb: LoadBalancer, refusals: Refusals
    ) -> tuple[list[RenderedFile], list[tuple[int, RenderError]]]:
        """Render once. A failure after a refusal may be due to it, so it is only handed back."""
        services = views.Services(lb.backends, refusals)
        files: list[RenderedFile] = []
        failures: list[tuple[int, RenderError]] = []
        for place, template in enumerate(self._templates.templates):
            try:
                text = self._text(place, template, services)
            except RenderError as error:
                failures.append((place, error))
                continue
            files.append(
                RenderedFile(
                    destination=template.destination,
                    text=text,
                    template=template.name,
                    mode=template.mode,
                    seen_as=template.seen_as,
                )
            )
        return files, failures

    def _blamed(
        self, lb: LoadBalancer, place: int, failed: RenderError
    ) -> dict[tuple[str, str], Refusal]:
        """Find the instances, or else the services, whose data makes a template fail.

        Raises `failed` when it is not the data: an undefined name, or a failure that most share.
        """
        template = self._templates.templates[place]

        def attempt(some: LoadBalancer) -> RenderError | None:
            try:
                self._text(place, template, views.Services(some.backends, Refusals()))
            except RenderError as error:
                return error
            return None

        if not _by_data(failed) or attempt(LoadBalancer()) is not None:
            raise failed
        found: list[tuple[tuple[str, str], RenderError]]
        if attempt(_only(lb, frozenset())) is None:
            servers = [(b.slug, i.server) for b in lb.backends for i in b.instances]
            found = isolation.culprits(servers, lambda some: attempt(_only(lb, frozenset(some))))
        else:
            found = [
                ((backend.slug, ""), error)
                for backend, error in isolation.culprits(
                    lb.backends, lambda some: attempt(replace(lb, backends=tuple(some)))
                )
            ]
        if not found:
            raise failed
        return {
            (slug, server): Refusal(
                service=slug,
                server=server,
                what="makes the template fail: "
                + error.what.removeprefix(f"{error.template}:{error.line}: "),
                template=error.template,
                line=error.line,
            )
            for (slug, server), error in found
        }

    def _text(self, place: int, template: Template, services: views.Services) -> str:
        if template.raw:
            return template.text
        try:
            compiled = self._compile(place, template)
            names = {
                **self._facts,
                "services": services,
                "service": views.finder(services),
                "path": self._path,
                "vars": views.Variables(template.variables, template.name),
            }
            with effort.bounded(self._steps):
                text = effort.gathered(compiled.root_render_func(compiled.new_context(names)))
        except _ANY as error:
            raise _render_error(error, template) from error
        return text if text.endswith("\n") else text + "\n"

    def _compile(self, place: int, template: Template) -> jinja2.Template:
        if (found := self._compiled.get(place)) is not None:
            return found
        environment = self._environments.setdefault(
            template.language, sandbox.Environment(template.language, self._templates.includes)
        )
        tree = environment.parse(template.text, template.name, template.name)
        tree = fragments.marked(tree, self._numbers)
        code = environment.compile(tree, template.name, template.name)
        made = environment.template_class.from_code(
            environment, code, environment.make_globals(None)
        )
        return self._compiled.setdefault(place, made)

    def _path(self, name: object) -> str:
        """Give a destination as HAProxy sees it, by its name or its whole path."""
        if isinstance(name, Opaque):
            return name.refuse("is no destination")
        found = [
            t
            for t in self._templates.templates
            if name in {t.destination, t.seen_as, t.destination.rpartition("/")[2]}
        ]
        if len({t.seen_as for t in found}) == 1:
            return found[0].seen_as
        if found:
            raise filters.Forbidden(f"path({shown(str(name))}): several; name the whole path")
        known = ", ".join(t.destination.rpartition("/")[2] for t in self._templates.templates)
        raise filters.Forbidden(f"path({shown(str(name))}): no template makes it (known: {known})")


def _secrets(templates: TemplateSet) -> tuple[str, ...]:
    """List what no diff or message may show.

    The longest first, so that none leaves a part of another behind.
    """
    found = {form for t in templates.templates for s in t.secrets for form in _forms(s)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _forms(secret: str) -> Iterator[str]:
    """Give a secret as it is, and as `quote` writes it."""
    if secret:
        yield secret
        for language in Language:
            with contextlib.suppress(quoting.Unquotable):
                quoted = quoting.quote(secret, language, trusted=True)
                yield quoted[1:-1] if language is Language.NGINX else quoted


def _problems(lb: LoadBalancer, refused: Iterable[Refusal]) -> list[Problem]:
    names = {b.slug: b.name for b in lb.backends}
    ids = {(b.slug, i.server): i.id for b in lb.backends for i in b.instances}
    return [
        Problem(
            what=refusal.what,
            service=shown(names.get(refusal.service, refusal.service)),
            instance=shown(ids.get((refusal.service, refusal.server), refusal.server)),
            template=refusal.template,
            line=refusal.line,
        )
        for refusal in refused
    ]


def _demanded(lb: LoadBalancer, refused: dict[tuple[str, str], Refusal]) -> None:
    """Blame the template when it demands a meta key that most instances lack.

    Leaving them all out would be an outage made of a typo; a failed render changes nothing.
    """
    missing = [refusal for refusal in refused.values() if refusal.missing]
    instances = sum(len(backend.instances) for backend in lb.backends)
    if len(missing) >= LEAST and 2 * len(missing) > instances:
        raise RenderError(
            f"{missing[0].what} in {len(missing)} of {instances} instances",
            template=missing[0].template,
            line=missing[0].line,
            remedy='where a key may be missing, use meta.get("...")',
        )


def _by_data(error: RenderError) -> bool:
    cause = error.__cause__
    return isinstance(cause, _UNLUCKY) or not isinstance(cause, _FAULTY)


def _only(lb: LoadBalancer, servers: frozenset[tuple[str, str]]) -> LoadBalancer:
    def left(backend: Backend) -> Backend:
        kept = tuple(i for i in backend.instances if (backend.slug, i.server) in servers)
        return replace(backend, instances=kept)

    return replace(lb, backends=tuple(left(b) for b in lb.backends))


def _without(lb: LoadBalancer, refused: dict[tuple[str, str], Refusal]) -> LoadBalancer:
    def left(backend: Backend) -> Backend:
        kept = tuple(i for i in backend.instances if (backend.slug, i.server) not in refused)
        return backend if len(kept) == len(backend.instances) else replace(backend, instances=kept)

    return replace(lb, backends=tuple(left(b) for b in lb.backends if (b.slug, "") not in refused))


def _render_error(error: BaseException, template: Template) -> RenderError:
    """Put a failure in words with the innermost template and line."""
    name, line = template.name, 0
    what = str(error) or type(error).__name__
    if isinstance(error, jinja2.TemplateSyntaxError):
        name, line = error.name or name, error.lineno
        what = error.message or what
    elif isinstance(error, jinja2.TemplateNotFound):
        _, line = _where(error.__traceback__, name)
        what = f"there is no template {shown(str(error.name))} to include"
    else:
        name, line = _where(error.__traceback__, name)
        if not isinstance(error, jinja2.TemplateError):
            what = f"{type(error).__name__}: {what}"
    return RenderError(shown_line(what), template=name, line=line)


def shown_line(text: str) -> str:
    """Show a message of Jinja2 or Python, which may quote hostile text, on one line."""
    line = " ".join(text.split())
    if len(line) > 300:
        line = line[:300] + "..."
    return line if line.isprintable() and line.isascii() else ascii(line)[1:-1]


def _where(trace: TracebackType | None, name: str) -> tuple[str, int]:
    line = 0
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            name, line = str(template.name), template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return name, line
