"""The tables of `confsync lb`: the whole load balancer in one image, or in one unit.

Paths that are defaults here start from the settings file's folder, as written ones do; where there is
no settings file, from CONFSYNC_HOME (`/haproxy` in the image).
"""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from confsync.settings import kinds
from confsync.settings.table import Table


class Lb(Table):
    """What `confsync lb` starts, watches and ends."""

    config: kinds.Path = Field(default="haproxy.cfg", validate_default=True)
    """HAProxy's configuration where there is no settings file: a source, which is copied to
    `target.config`, checked and run from there, and read anew on SIGHUP."""

    directory: kinds.Path = "/run/confsync"
    """The folder for what does not outlive a start: sockets, certificates as HAProxy loads them, the
    password's file. The defaults of `target` are in here too: `haproxy.cfg`, `master.sock`,
    `admin.sock`."""

    probe: kinds.Text = ""
    """An address that must answer too, besides HAProxy's own socket: `http://127.0.0.1:8404/healthz`.
    Anything below status 500 is an answer. Empty: the socket alone."""

    interval: kinds.Seconds = Field(default=0.25, ge=0.05, le=60)
    """How often HAProxy is asked whether it answers, and how long it may take."""

    misses: kinds.Count = Field(default=3, ge=1, le=100)
    """After so many questions without an answer it is unhealthy: the address is given away."""

    answers: kinds.Count = Field(default=3, ge=1, le=100)
    """After so many answers in a row it is healthy again and takes part."""

    start: kinds.Seconds = Field(default=20, ge=1)
    """How long HAProxy may take from its start to its first answer."""

    hung: kinds.Seconds = Field(default=10, ge=1)
    """When it runs and its socket has not answered for so long, it is ended and started anew."""

    drain: kinds.Seconds = 8
    """How long a stop waits for running requests. Keep it below `docker stop`'s 10 s, or give that
    more time (`-t`)."""

    restart: tuple[kinds.Seconds, kinds.Seconds] = (0.25, 15)
    """A program that ended is started again after the first pause, which doubles up to the second."""

    @field_validator("probe")
    @classmethod
    def _of_a_page(cls, value: str) -> str:
        try:
            split = urlsplit(value)
            sound = split.scheme == "http" and split.hostname and split.port != 0
        except ValueError:
            sound = False
        if value and not (sound and value.isascii() and " " not in value and "@" not in value):
            raise kinds.fault(
                "is no address of a page over plain HTTP",
                'write it as "http://127.0.0.1:8404/healthz"',
            )
        return value

    @field_validator("restart")
    @classmethod
    def _growing(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise kinds.fault(
                "must be two pauses above 0, the first not longer than the second",
                "write it as [0.25, 15]",
            )
        return value


class Tls(Table):
    """TLS at the built-in template's `bind`, and the certificates that are taken over while it runs."""

    enabled: bool = False
    """Whether the built-in template terminates TLS. An own configuration may name the folder
    `certs` in `lb.directory` in any case."""

    bind: kinds.Name = ":443"
    """Where, as HAProxy's `bind` has it."""

    certificates: kinds.Path = Field(default="certs", validate_default=True)
    """The folder with certificates: `NAME.pem` with the chain and its private key, or `NAME.pem` and
    `NAME.pem.key`. Empty or absent: one is made, signed by nobody, and said loudly."""

    names: tuple[kinds.Name, ...] = Field(default=("localhost",), min_length=1)
    """The names in that certificate."""

    minimum: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """The oldest version that is spoken."""

    redirect: bool = True
    """Whether requests over plain HTTP are sent to HTTPS."""

    hsts: kinds.Count = Field(default=0, ge=0, le=63_072_000)
    """For how long browsers shall insist on HTTPS (Strict-Transport-Security's max-age in seconds).
    0: not said."""

    interval: kinds.Seconds = Field(default=10, ge=0.1)
    """How often the folder is looked at for renewed certificates."""

    warn: kinds.Count = Field(default=30, ge=0, le=3650)
    """How many days before its end a certificate is warned of."""

    @field_validator("bind")
    @classmethod
    def _somewhere(cls, value: str) -> str:
        if not value.strip():
            raise kinds.fault("is blank", 'write it as ":443"')
        return value


class Nginx(Table):
    """The web server behind HAProxy, for pages and files."""

    directory: kinds.Path = Field(default="nginx.d", validate_default=True)
    """The folder with its sites (`*.conf`). Empty or absent: it is not started."""

    binary: kinds.Program = "nginx"
    """The program: a name on PATH or a path."""


class Vip(Table):
    """The address that two load balancers share: one of them has it."""

    engine: Literal["ucarp", "keepalived", "none"] = "ucarp"
    """Who decides which of the two has it. With an empty `address`: nobody, as with `"none"`."""

    address: kinds.Ip = ""
    """The shared address. Empty: there is none. IPv6 needs keepalived."""

    more: tuple[kinds.Ip, ...] = ()
    """More addresses that go with it."""

    password_file: kinds.OptionalPath = ""
    """ucarp: a file with the password that both share, in its first line, at most 19 bytes long.
    keepalived has none: its VRRP version 3 knows no passwords."""

    device: kinds.Device = ""
    """The network interface. Empty: the one that the shared address would be reached over."""

    source: kinds.Ip = ""
    """This host's own address there. Empty: the interface's first."""

    vhid: kinds.Count = Field(default=42, ge=1, le=255)
    """The pair's number; another pair on the same network needs another one."""

    advbase: kinds.Count = Field(default=1, ge=0, le=254)
    """ucarp: seconds between two adverts. 0: `advskew` alone counts, the two hosts need different
    ones, and `immediate` must work."""

    advskew: kinds.Count = Field(default=0, ge=0, le=254)
    """ucarp: so many 256ths of a second more. The host with less is preferred."""

    ratio: kinds.Count = Field(default=3, ge=1, le=20)
    """ucarp: after so many adverts missed the other one takes over."""

    interval: kinds.Seconds = Field(default=0.1, ge=0.01, le=40)
    """keepalived: seconds between two adverts."""

    priority: kinds.Count = Field(default=100, ge=1, le=254)
    """keepalived: the host with more is preferred at the start."""

    peers: tuple[kinds.Ip, ...] = ()
    """keepalived: the other hosts' own addresses. With them, adverts go to these alone, and not to
    everybody on the network."""

    preempt: bool = False
    """Whether the preferred host takes the address back from one that works. With `advbase` 0 it does
    in any case."""

    lease: kinds.Count = Field(default=2, ge=1, le=60)
    """The kernel takes the address away by itself when it was not renewed for so many seconds."""

    immediate: bool = True
    """ucarp: whether it hears adverts at once, not up to a second late (by a preloaded library,
    where that is installed)."""

    @field_validator("more")
    @classmethod
    def _with_the_first(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and not info.data.get("address", True):
            raise kinds.fault("has no effect without an address", "set address, or remove it")
        return value

    @field_validator("address", "more")
    @classmethod
    def _of_a_kind(
        cls, value: str | tuple[str, ...], info: ValidationInfo
    ) -> str | tuple[str, ...]:
        given = value if isinstance(value, tuple) else (value,)
        if info.data.get("engine") == "ucarp" and any(":" in each for each in given):
            raise kinds.fault("is IPv6, which ucarp does not know", 'set engine = "keepalived"')
        return value

    @property
    def addresses(self) -> tuple[str, ...]:
        """All shared addresses, the first one first; empty: there is no failover."""
        if not self.address or self.engine == "none":
            return ()
        return tuple(dict.fromkeys((self.address, *self.more)))
