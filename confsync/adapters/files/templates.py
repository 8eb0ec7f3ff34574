"""Templates from disk: the operator's and the built-in set, with their variables and passwords.

Reads only; what a template means is core.rendering's.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from confsync.adapters.files import reasons
from confsync.core import builtin
from confsync.core.placement import Placement
from confsync.domain.rendered import Language, Template, TemplateSet, VarValue
from confsync.errors import SettingsError

BUILTIN = "builtin:"
DEFAULT = f"{BUILTIN}haproxy.cfg"

_FILE_KEY = "_password_file"
_SHOWN_NOWHERE = "_password"
_ASKS_FOR_OTHERS = re.compile(r"\{%[-+]?\s*(?:include|import|from|extends)\b")
_MOST_INCLUDES = 200
_LARGEST = 4 * 1024 * 1024

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOption:
    """One [[template]]. `source`: a path relative to the settings file, or "builtin:NAME".

    `raw`: no template, but a text; `beneath` tells, given that text, what is added at its end.
    """

    source: str
    destination: str
    language: Language = Language.HAPROXY
    mode: int = 0o644
    variables: dict[str, VarValue] = field(default_factory=dict, repr=False)
    raw: bool = False
    beneath: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOptions:
    """`base`: the settings file's folder. `main`: HAProxy's main file, the default destination.

    `builtin_variables`: the built-in set's defaults, which an operator's own go over.
    `templates`: none at all means the built-in set. `placement`: how HAProxy sees the destinations.
    """

    base: Path
    main: str
    templates: tuple[TemplateOption, ...] = ()
    builtin_variables: dict[str, VarValue] = field(default_factory=dict)
    placement: Placement = field(default_factory=Placement)


class TemplateFiles:
    """A TemplateSource."""

    def __init__(self, options: TemplateOptions) -> None:
        self._base = options.base
        self._defaults = options.builtin_variables
        self._placement = options.placement
        self._options = _with_companions(options)
        self._read: set[Path] = set()

    def load(self) -> TemplateSet:
        """Read all templates anew. Raises SettingsError with one line for each that cannot be."""
        faults: list[str] = []
        self._read = set()
        templates: list[Template] = []
        folders: dict[Path, None] = {}
        for option in self._options:
            template = self._load(option, faults)
            if template is None:
                continue
            templates.append(template)
            if (
                not _is_builtin(option)
                and not option.raw
                and _ASKS_FOR_OTHERS.search(template.text)
            ):
                folders[(self._base / option.source).parent] = None
        faults += [self._placement.told(fault) for fault in _shared_destinations(templates)]
        includes = self._includes(tuple(folders), faults)
        if faults:
            raise SettingsError(faults)
        return TemplateSet(templates=tuple(templates), includes=includes)

    def fingerprint(self) -> Fingerprint:
        """Tell cheaply whether a file that the last `load` read has changed since: stat only."""
        found = []
        for path in sorted(self._read):
            try:
                stat = path.stat()
            except OSError:
                found.append((str(path), 0, 0, 0))
            else:
                found.append((str(path), stat.st_mtime_ns, stat.st_ino, stat.st_size))
        return tuple(found)

    def _load(self, option: TemplateOption, faults: list[str]) -> Template | None:
        key = option.source if option.raw else f'[[template]] source = "{option.source}"'
        path = self._path(option)
        if path is None:
            known = ", ".join(b.name for b in builtin.BUILTINS)
            faults.append(f"{key}: there is no such built-in template; known are {known}")
            return None
        text = self._text(path, key, faults)
        variables, secrets = self._variables(option, faults)
        if text is None:
            return None
        destination = self._placement.local(str(self._base / option.destination))
        return Template(
            name=option.source,
            text=_joined(text, option.beneath(text)) if option.beneath else text,
            destination=destination,
            seen_as=self._placement.seen(destination),
            language=option.language,
            mode=option.mode,
            variables=variables,
            secrets=secrets,
            raw=option.raw,
        )

    def _path(self, option: TemplateOption) -> Path | None:
        if not _is_builtin(option):
            return self._base / option.source
        files = {b.name: b.file for b in builtin.BUILTINS}
        return _builtin_folder() / files[option.source] if option.source in files else None

    def _text(self, path: Path, key: str, faults: list[str]) -> str | None:
        self._read.add(path)
        try:
            if not path.is_file() and path.exists():
                faults.append(f"{key}: {path} is not a regular file; name a file")
                return None
            data = path.read_bytes()
        except OSError as error:
            reason = reasons.explain(error, path)
            where = "" if f'"{path}"' in key else f" {path}:"
            faults.append(f"{key}:{where} {reason.what}; {reason.remedy or 'make it readable'}")
            return None
        if len(data) > _LARGEST:
            faults.append(f"{key}: {path} has {len(data)} bytes, at most {_LARGEST} are read")
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            faults.append(f"{key}: {path}:{line}: not UTF-8; save it as UTF-8")
            return None

    def _variables(
        self, option: TemplateOption, faults: list[str]
    ) -> tuple[dict[str, VarValue], tuple[str, ...]]:
        """Lay the built-in set's defaults beneath; add NAME_password for each NAME_password_file."""
        defaults = self._defaults if _is_builtin(option) else {}
        variables = {**defaults, **option.variables}
        for name, value in tuple(variables.items()):
            if not name.endswith(_FILE_KEY):
                continue
            key = f'[template.vars] {name} = "{value}"'
            if not isinstance(value, str):
                faults.append(f"{key}: not the path of a file; write it in quotes")
            elif value:
                text = self._text(self._base / value, key, faults)
                if text is not None:
                    password = text.removesuffix("\n").removesuffix("\r")
                    if not password:
                        faults.append(f"{key}: the file is empty; write the password into it")
                    variables[name.removesuffix("_file")] = password
            else:
                variables.setdefault(name.removesuffix("_file"), "")
        secrets = {
            value
            for name, value in variables.items()
            if name.endswith(_SHOWN_NOWHERE) and isinstance(value, str) and value
        }
        return variables, tuple(sorted(secrets))

    def _includes(self, folders: tuple[Path, ...], faults: list[str]) -> dict[str, str]:
        """Read the other templates of the folders whose templates ask for any."""
        own = {self._base / o.source for o in self._options if not _is_builtin(o)}
        includes: dict[str, str] = {}
        origin: dict[str, Path] = {}
        for folder in folders:
            self._read.add(folder)
            others = sorted(p for p in folder.glob("*.j2") if p not in own)
            if len(others) > _MOST_INCLUDES:
                faults.append(
                    f"{folder}: {len(others)} templates to include from, at most {_MOST_INCLUDES} "
                    "are read; give confsync's a folder of their own"
                )
                continue
            for path in others:
                text = self._text(path, "template to include", faults)
                if text is None:
                    continue
                if includes.setdefault(path.name, text) != text:
                    faults.append(
                        f"{path} and {origin[path.name]} differ, and both are {path.name} to an "
                        "include; rename one"
                    )
                origin.setdefault(path.name, path)
        return includes


def _with_companions(options: TemplateOptions) -> tuple[TemplateOption, ...]:
    """Give the built-in haproxy.cfg the files that it names, but for those that are listed."""
    listed = options.templates or (TemplateOption(source=DEFAULT, destination=options.main),)
    taken = {str(options.base / o.destination) for o in listed}
    result: list[TemplateOption] = []
    for option in listed:
        result.append(option)
        if option.source != DEFAULT:
            continue
        for companion in builtin.BUILTINS:
            beside = (options.base / option.destination).with_name(companion.destination)
            if companion.name != DEFAULT and str(beside) not in taken:
                taken.add(str(beside))
                result.append(
                    TemplateOption(
                        source=companion.name,
                        destination=str(beside),
                        language=companion.language,
                        mode=option.mode,
                        variables=option.variables,
                    )
                )
    return tuple(result)


def _shared_destinations(templates: list[Template]) -> list[str]:
    first: dict[str, Template] = {}
    return [
        f'[[template]] destination = "{t.destination}": {t.name} and {first[t.destination].name} '
        "would both write it; give one another destination"
        for t in templates
        if first.setdefault(t.destination, t) is not t
    ]


def _joined(text: str, beneath: str) -> str:
    if not beneath:
        return text
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{beneath}"


def _is_builtin(option: TemplateOption) -> bool:
    return option.source.startswith(BUILTIN)


def _builtin_folder() -> Path:
    # a wheel has the templates inside the package, a checkout beside it (pyproject, force-include)
    package = Path(__file__).parents[2]
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"
