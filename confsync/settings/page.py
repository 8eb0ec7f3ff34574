"""Makes docs/settings.md from model.py, so that the page cannot say anything else.

    make docs

The texts are the docstrings under each key; only this module reads source code, when asked to.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator

from pydantic_core import PydanticUndefined

from confsync.settings.model import Settings
from confsync.settings.table import Table

_TOP = """\
# Settings

This page is made from `confsync/settings/model.py`; change that file.

**Where they are.** `-c FILE`, else the variable `CONFSYNC_CONFIG`, else `./confsync.toml`, else
`/etc/confsync/confsync.toml`, else the defaults below. The file is [TOML](https://toml.io). Where
`CONFSYNC_HOME` is set, as in the load balancer's image, `confsync.toml` of that folder stands in the
place of `./confsync.toml`, and the target's defaults are those of `confsync lb` ([lb.md](lb.md)).

**Who wins.** A flag beats the environment, the environment beats the file, the file beats the default.
A key's variable is `CONFSYNC_TABLE__KEY`: `CONFSYNC_TARGET__CONFIG=/etc/haproxy/haproxy.cfg`. Lists are
JSON or have commas: `CONFSYNC_SOURCE__TAGS=lb,public`. Templates are counted from 0:
`CONFSYNC_TEMPLATE__0__VARS__BIND=:8080`.

**Paths** that do not begin with `/` start from the settings file's folder (without a file: the working
directory, or `CONFSYNC_HOME`). **Times** are numbers of seconds, at most a day.

**Faults** are shown all at once, each with file and line (or the variable), key, value and what to do;
values that may be secret are left out. An unknown key is a fault, and so is an unknown variable that
looks like `CONFSYNC_X__Y`; other variables that begin with `CONFSYNC_` are told in a warning and
ignored, since Docker's links and Kubernetes make such names. The exit code is 78. A running agent
reads its settings anew on SIGHUP and keeps the old ones when the new ones are wrong.
"""


def text() -> str:
    """Make the whole page."""
    parts = [_TOP]
    for name, types in Settings.tables().items():
        parts.append(f"## {'[[template]]' if name == 'template' else f'[{name}]'}\n")
        for each in types:
            if len(types) > 1:
                kind = getattr(each.model_fields["type"].annotation, "__args__", ("",))[0]
                parts.append(f'### type = "{kind}"\n')
            parts.append(f"{_prose(each.__doc__ or '')}\n")
            parts.append("".join(_rows(each)))
    return "\n".join(parts)


def write() -> None:
    """Write the page to standard output."""
    sys.stdout.write(text())


def _rows(table: type[Table]) -> Iterator[str]:
    yield "| key | default | meaning |\n|---|---|---|\n"
    meanings = _meanings(table)
    first = [name for name in ("type",) if name in table.model_fields]
    own = [name for name in table.__annotations__ if name not in first]
    rest = [name for name in table.model_fields if name not in (*first, *own)]
    for name in (*first, *own, *rest):
        default = table.model_fields[name].default
        shown = "needed" if default is PydanticUndefined else f"`{_literal(default)}`"
        yield f"| `{name}` | {shown} | {meanings[name].replace('|', chr(92) + '|')} |\n"


def _meanings(table: type[Table]) -> dict[str, str]:
    """Read the docstring under each key, those of the classes above included."""
    found: dict[str, str] = {}
    for each in reversed(table.__mro__):
        if not issubclass(each, Table) or each is Table:
            continue
        source = textwrap.dedent(inspect.getsource(each))
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        key = ""
        for statement in definition.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=key)):
                    pass
                case ast.Expr(value=ast.Constant(value=str(words))) if key:
                    found[key] = _prose(words)
                    key = ""
                case _:
                    key = ""
    return found


def _prose(words: str) -> str:
    return " ".join(words.split())


def _literal(value: object) -> str:
    """Write a default as TOML does."""
    return json.dumps(value, ensure_ascii=False, default=str)
