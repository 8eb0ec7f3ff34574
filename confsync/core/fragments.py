"""What a template prints for one service, kept for as long as the service stays as it is.

A loop over services whose body depends on nothing but its own service prints the same text for the
same service, whatever else changes. Which loops do is found in the template when it is compiled, by
allow-list: what is not known to be so is rendered each time. A remembered text costs as many steps
(effort.py) as rendering it did, so that no outcome hangs on what is remembered.
"""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes

from confsync.core import effort, views
from confsync.domain.loadbalancer import Backend

CONSTANT = frozenset({"vars", "target", "confsync", "path"})
"""Names that stand for the same in every render of a template."""
_CALLED = frozenset({"path", "range", "dict"})
_METHODS = frozenset(
    {"startswith", "endswith", "isdigit", "isalpha", "isalnum", "isdecimal", "isupper", "islower"}
    | {"count", "find", "rfind", "index", "rindex", "lower", "casefold", "upper", "strip", "split"}
    | {"lstrip", "rstrip", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix"}
    | {"title", "capitalize", "replace", "join", "get", "items", "keys", "values"}
)
"""Methods that templates can reach (sandbox.py) and that change nothing."""
_SEEN = (
    *(nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name),
    *(nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Getattr),
    *(nodes.Getitem, nodes.Slice, nodes.Call, nodes.Filter, nodes.Test, nodes.Compare),
    *(nodes.Operand, nodes.UnaryExpr, nodes.BinExpr, nodes.Concat, nodes.CondExpr),
)
"""What a body may be made of."""
_AWAY = (
    *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block),
    nodes.NSRef,
)

KNOWN, TAKEN = "known fragment", "taken fragment"
"""A test and a filter whose names no template can spell."""

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a loop's body printed for a service. `steps`: that it took."""

    source: Backend
    text: str
    steps: int


@dataclass(slots=True)
class Memory:
    """The fragments of the last whole render; `fresh` are those of the one that goes on."""

    kept: dict[Key, Fragment] = field(default_factory=dict)
    fresh: dict[Key, Fragment] = field(default_factory=dict)
    made: int = 0
    taken: Fragment | None = None

    def begun(self) -> "Memory":
        """Give the memory of a render that begins now."""
        return Memory(kept=self.kept)

    def ended(self) -> "Memory":
        """Give what is kept once a render has ended, and nothing was refused."""
        return Memory(kept=self.fresh, made=self.made)


_memory: ContextVar[Memory | None] = ContextVar("_memory", default=None)


@contextmanager
def remembering(memory: Memory | None) -> Iterator[None]:
    """Take fragments from a memory, and put them there."""
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)


def known(value: object, number: int) -> bool:
    """Tell, as a test, whether the text of a loop's body for a value is remembered, to be taken."""
    memory = _memory.get()
    source = value.source if isinstance(value, views.ServiceView) else None
    if memory is None or source is None:
        return False
    key = (number, source.slug)
    found = memory.kept.get(key)
    if found is None or not (found.source is source or found.source == source):
        return False
    if found.steps > effort.left():
        return False  # the body tells where it is too much
    if found.source is not source:
        found = Fragment(source, found.text, found.steps)  # so that the next look is a short one
    effort.spend(found.steps)
    memory.fresh[key] = memory.taken = found
    return True


def taken(_value: object, _number: int) -> str:
    """Give, as a filter, the text that `known` has just found."""
    memory = _memory.get()
    return memory.taken.text if memory is not None and memory.taken is not None else ""


def fragment(number: int, value: object, caller: Callable[[], str]) -> str:
    """Give what a loop's body prints for a value, and remember it."""
    memory = _memory.get()
    source = value.source if isinstance(value, views.ServiceView) else None
    if memory is None or source is None:
        return caller()
    before = effort.left()
    text = caller()
    steps = 1 + before - effort.left()  # with the call of this
    memory.fresh[number, source.slug] = Fragment(source, text, steps)
    memory.made += 1
    return text


def marked(tree: nodes.Template, numbers: Iterator[int]) -> nodes.Template:
    """Have the loops that allow it go through `fragment`. `numbers`: one for each loop."""
    if _is_closed(tree):
        said = _Said()
        said.gather(tree.body, [])
        stable = said.stable()
        for loop, name in _loops(tree.body):
            if name != "loop" and _depends_on(loop.body, {name}, stable, said.names):
                _mark(loop, name, next(numbers))
    return tree


def _is_closed(tree: nodes.Template) -> bool:
    """Tell whether nothing in a template changes a value that others see."""
    if any(next(tree.find_all(kind), None) is not None for kind in _AWAY):
        return False
    return all(found.attr != "append" for found in tree.find_all(nodes.Getattr)) and all(
        not isinstance(found.arg, nodes.Const) or found.arg.value != "append"
        for found in tree.find_all(nodes.Getitem)
    )


def _loops(body: list[nodes.Node]) -> Iterator[tuple[nodes.For, str]]:
    """Find loops of one name that stand in no macro and in no other loop, and that name."""
    for node in body:
        match node:
            case nodes.If():
                for branch in _branches(node):
                    yield from _loops(branch)
            case nodes.For(target=nodes.Name(name=name), recursive=False):
                yield node, name


def _branches(node: nodes.If) -> tuple[list[nodes.Node], ...]:
    return (node.body, *(each.body for each in node.elif_), node.else_)


def _mark(loop: nodes.For, name: str, number: int) -> None:
    """Put a look at what is known before a loop's body: a test and a filter cost less than a call."""
    place: dict[str, Any] = {"lineno": loop.lineno, "environment": loop.environment}

    def value() -> nodes.Name:
        return nodes.Name(name, "load", **place)

    given = [nodes.Const(number, **place)]
    test = nodes.Test(value(), KNOWN, given, [], None, None, **place)
    taken_text = nodes.Filter(value(), TAKEN, given, [], None, None, **place)
    called = nodes.EnvironmentAttribute("fragment", **place)
    call = nodes.Call(called, [*given, value()], [], None, None, **place)
    block = nodes.CallBlock(call, [], [], loop.body, **place)
    loop.body = [nodes.If(test, [nodes.Output([taken_text], **place)], [], [block], **place)]


class _Said:
    """What a template sets for all that follows: each name with what it hangs on, and parameters."""

    def __init__(self) -> None:
        self.names = {*CONSTANT, "services", "service"}
        self._values: list[tuple[str, list[nodes.Node], frozenset[str]]] = []
        self._doubtful: set[str] = set()

    def gather(self, body: list[nodes.Node], under: list[nodes.Node]) -> None:
        """Go over statements. `under`: the conditions that decide about them."""
        for node in body:
            match node:
                case nodes.Assign(target=nodes.Name(name=name)):
                    self._values.append((name, [*under, node.node], frozenset()))
                    self.names.add(name)
                case nodes.Macro():
                    given = frozenset(each.name for each in node.args)
                    self._values.append((node.name, [*under, *node.defaults, *node.body], given))
                    self.names.add(node.name)
                case nodes.If():
                    tests = [*under, node.test, *(each.test for each in node.elif_)]
                    for branch in _branches(node):
                        self.gather(branch, tests)
                case nodes.For() | nodes.Output():
                    pass  # what is set in there ends with it
                case _:
                    self._doubtful.update(n.name for n in _names(node) if n.ctx != "load")
        self.names |= self._doubtful

    def stable(self) -> frozenset[str]:
        """Name what has the same value in each render, at the same place."""
        found = CONSTANT.union(name for name, _, _ in self._values) - self._doubtful
        while True:
            wrong = {
                name
                for name, values, given in self._values
                if not _depends_on(values, given, found, self.names - given)
            }
            if not wrong & found:
                return found
            found -= wrong


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _depends_on(
    body: list[nodes.Node],
    given: AbstractSet[str],
    stable: frozenset[str],
    outside: AbstractSet[str],
) -> bool:
    """Tell whether a body surely does nothing but print what follows from `given` and `stable`.

    `outside`: names that mean something around it. One that is set in the body as well may be read
    before that, and is then the one outside.
    """
    stored = {name.name for node in body for name in _names(node) if name.ctx != "load"}
    own = given | (stored - outside)
    return all(_fits(node, own | stable, stable) for node in body)


def _fits(node: nodes.Node, names: AbstractSet[str], stable: frozenset[str]) -> bool:
    match node:
        case nodes.Name(ctx="load"):
            return node.name in names
        case nodes.For():
            if node.recursive or "loop" in {each.name for each in _names(node.target)}:
                return False
            inner = names | {"loop"}
            parts = [node.target, node.iter, *node.else_, *([node.test] if node.test else [])]
            return all(_fits(each, names, stable) for each in parts) and all(
                _fits(each, inner, stable) for each in node.body
            )
        case nodes.Assign():
            single = isinstance(node.target, nodes.Name) and node.target.name != "loop"
            return single and _fits(node.node, names, stable)
        case nodes.Call():
            match node.node:
                case nodes.Name(name=name):
                    known = name in _CALLED or name in stable - CONSTANT
                case nodes.Getattr(attr=attr):
                    known = attr in _METHODS and _fits(node.node, names, stable)
                case _:
                    known = False
            plain = node.dyn_args is None and node.dyn_kwargs is None
            return (
                known and plain and all(_fits(a, names, stable) for a in (*node.args, *node.kwargs))
            )
        case _ if isinstance(node, _SEEN):
            return all(_fits(each, names, stable) for each in node.iter_child_nodes())
        case _:
            return False
