"""Certificates: as files hold them, as HAProxy serves them, and what became of a renewal."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One that HAProxy has loaded, in its own words.

    `path`: the name under which HAProxy knows it. `names`: of its subject alternatives. `begins`,
    `ends`: unix seconds. `fingerprint`: SHA-1 of the certificate, upper case hex. `chain`: how many
    certificates are sent behind it.
    """

    path: str
    names: tuple[str, ...]
    begins: float
    ends: float
    fingerprint: str
    chain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one worker has: `worker` is its pid, `folders` its `crt` folders (and crt-lists).

    `certificates`: those that serve (clients' authorities and the like are left out), by path.
    """

    worker: int
    certificates: dict[str, Certificate] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A certificate with its chain and private key, read from files, and found to belong together.

    `pem`: the blocks alone, one after the other, as HAProxy takes them. `fingerprint`: as
    Certificate's. `digest`: of all that was read.
    """

    pem: str = field(repr=False)
    fingerprint: str
    digest: str
    chain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When a certificate ends. `days`: whole days that are left; below 0: it has ended."""

    path: str
    names: tuple[str, ...]
    ends: float
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What became of changed certificate files.

    `taken`, `gone`: paths that are served now, or no longer, without a reload. `refused`: a line for
    each file that is not taken; what was served before is served on. `reload`: why only a reload can
    do the rest; the files for it are in place. `waits`: HAProxy cannot be asked now, in words.
    """

    taken: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the status shows: the folder that HAProxy loads, what it serves, what it was not given."""

    directory: str
    served: tuple[Expiry, ...] = ()
    refused: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
