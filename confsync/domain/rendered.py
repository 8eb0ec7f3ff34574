"""Templates as texts, and the set of files that they make."""

import functools
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum


class Language(StrEnum):
    """What `quote` means in a template."""

    HAPROXY = "haproxy"
    MAP = "map"
    NGINX = "nginx"
    PLAIN = "plain"


VarValue = str | int | float | bool | None | tuple["VarValue", ...] | dict[str, "VarValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template with its text.

    `name`: as messages show it. `seen_as`: the destination's path as HAProxy sees it (equal to
    `destination` but for containers). `secrets`: values among the variables that no diff, log or
    message may show. `raw`: the text is no template, and is written as it stands.
    """

    name: str
    text: str
    destination: str
    seen_as: str
    language: Language = Language.HAPROXY
    mode: int = 0o644
    variables: dict[str, VarValue] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSet:
    """All templates, in the order of the settings. `includes`: name -> text, for include and import."""

    templates: tuple[Template, ...]
    includes: dict[str, str] = field(default_factory=dict)


@functools.lru_cache(maxsize=12)
def digest(text: str) -> str:
    """Name a text by its content (SHA-256, hex); those of one change are asked for many times."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFile:
    """One file as it should be on disk. `template`: the name of what made it."""

    destination: str
    text: str
    template: str
    mode: int = 0o644
    seen_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedConfig:
    """All files, in the order of the templates. `secrets`: what no diff or message may show."""

    files: tuple[RenderedFile, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def get(self, destination: str) -> RenderedFile | None:
        """Find a file by its destination."""
        return next((f for f in self.files if f.destination == destination), None)

    def masked(self, text: str) -> str:
        """Replace every secret in a text by asterisks."""
        for secret in self.secrets:
            text = text.replace(secret, "*****")
        return text

    def digests(self) -> dict[str, str]:
        """Destination -> digest of its text."""
        return {f.destination: digest(f.text) for f in self.files}
