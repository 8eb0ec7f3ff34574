"""Which loops of a template print for each service what hangs on nothing but that service.

Such a loop prints the same text for the same service, whatever else changes, so that its texts are
remembered (memory.py). They are found when the template is compiled, by allow-list: what is not known
to be so is rendered each time.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from jinja2 import nodes

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

EVERY, REMEMBERED = "all services", "remembered texts"
KNOWN, TAKEN = "a known text", "the known text"
"""Filters and a test (sandbox.py) whose names no template can spell."""


def marked(tree: nodes.Template, numbers: Iterator[int]) -> nodes.Template:
    """Have the loops that allow it go through `memory`. `numbers`: one for each loop."""
    if _is_closed(tree):
        said = _Said()
        said.gather(tree.body, [])
        stable = said.stable()
        whole = "services" not in _set(tree)
        for loop, name in _loops(tree.body):
            if name != "loop" and _depends_on(loop.body, {name}, stable, said.names):
                tested = [loop.test, *loop.body] if loop.test is not None else []
                follows = _depends_on(tested, {name}, stable, said.names)
                _mark(_untested(loop, name, follows), name, next(numbers), whole=whole)
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


def _set(tree: nodes.Template) -> set[str]:
    """Name what a template gives a value of its own, anywhere."""
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    return macros | {name.name for name in _names(tree) if name.ctx != "load"}


def _place(node: nodes.Node) -> dict[str, Any]:
    return {"lineno": node.lineno, "environment": node.environment}


def _untested(loop: nodes.For, name: str, follows: bool) -> nodes.For:
    """Give a loop without a test that does the same. `follows`: the test depends on as little.

    Then it moves into the body, and its answer is remembered as well. Else it must be asked each
    time, and the loop goes around one over a single value.
    """
    if loop.test is None:
        return loop
    if follows and not loop.else_:
        loop.body = [nodes.If(loop.test, loop.body, [], [], **_place(loop.test))]
        loop.test = None
        return loop
    place = _place(loop)
    one = nodes.Tuple([nodes.Name(name, "load", **place)], "load", **place)
    inner = nodes.For(nodes.Name(name, "store", **place), one, loop.body, [], None, False, **place)
    loop.body = [inner]
    return inner


def _mark(loop: nodes.For, name: str, number: int, *, whole: bool) -> None:
    """Put the texts that are remembered in place of a loop's values, and print them as they are.

    `whole`: the name `services` means all of them, so that their views need not be made.
    """
    place = _place(loop)
    match loop.iter:
        case nodes.Filter(name="walked", node=nodes.Name(name="services")) as walked if whole:
            every = nodes.ContextReference(**place)
            walked.node = nodes.Filter(every, EVERY, [], [], None, None, **place)
    value = nodes.Name(name, "load", **place)
    given = [nodes.Const(number, **place)]
    loop.iter = nodes.Filter(loop.iter, REMEMBERED, given, [], None, None, **place)
    called = nodes.EnvironmentAttribute("fragment", **place)
    call = nodes.Call(called, [*given, value], [], None, None, **place)
    block = nodes.CallBlock(call, [], [], loop.body, **place)
    test = nodes.Test(value, KNOWN, [], [], None, None, **place)
    text = nodes.Filter(value, TAKEN, [], [], None, None, **place)
    loop.body = [nodes.If(test, [nodes.Output([text], **place)], [], [block], **place)]


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
