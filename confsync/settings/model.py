"""All that an operator may set, one class a table, the meaning of each key beneath it.

docs/settings.md is made from this file (page.py). Nothing is read here: load.py finds, merges and
words the faults; kinds.py has the checks of single values. Times are numbers of seconds.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from confsync.domain import rendered
from confsync.settings import kinds
from confsync.settings.balancer import Lb, Nginx, Tls, Vip
from confsync.settings.table import Table


class ServiceSource(Table):
    """Keys that all sources share: which services and instances are taken."""

    services: tuple[kinds.Glob, ...] = Field(default=("*",), min_length=1)
    """Names or globs of the services to take."""

    exclude: tuple[kinds.Glob, ...] = ()
    """Names or globs of services to leave out of those. `"consul"` is always left out."""

    tags: tuple[kinds.Name, ...] = ()
    """Tags that an instance must carry, all of them, to be taken (an opt-in tag)."""

    status: tuple[kinds.Status, ...] = Field(default=(kinds.SERVING[0],), min_length=1)
    """Which instances are served, by the sum of their checks: `"passing"`, `"warning"`."""


class ConsulSource(ServiceSource):
    """Services come from a Consul agent."""

    type: Literal["consul"] = "consul"
    """Where services come from: `"consul"` or `"file"`."""

    address: kinds.Address = "http://127.0.0.1:8500"
    """The agent's HTTP API: `http://HOST:PORT`, `https://HOST:PORT` or `unix:///run/consul.sock`.
    Never with a token or password in it."""

    token_file: kinds.OptionalPath = ""
    """A file with the ACL token, read anew when it changes. It beats CONSUL_HTTP_TOKEN. Empty: that
    variable, else no token. The token needs `service:read` and `node:read` for what is selected."""

    ca_file: kinds.OptionalPath = ""
    """The authorities that the agent's certificate is checked against (PEM). Empty: the system's."""

    cert_file: kinds.OptionalPath = ""
    """confsync's own certificate (PEM), where the agent asks for one."""

    key_file: kinds.OptionalPath = ""
    """Its private key (PEM). Empty: it stands in `cert_file` too."""

    datacenter: kinds.Text = ""
    """Which datacenter to read. Empty: the agent's own."""

    wait: kinds.Seconds = Field(default=45, ge=1, le=600)
    """How long one blocking query waits for a change. Consul takes at most 600."""

    connections: kinds.Count = Field(default=90, ge=2, le=10_000)
    """How many connections to the agent are open at most. Consul allows one client 200 by default
    (`http_max_conns_per_client`), other programs on this host among them."""

    max_stale: kinds.Seconds = 10
    """An answer that its Consul server heard from the leader longer ago than this is asked again,
    consistently."""

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _only_with_tls(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("address", "https:").startswith("https:"):
            raise kinds.fault(
                "has no effect, since address does not begin with https://",
                "remove it, or change address",
            )
        if value and info.field_name == "key_file" and info.data.get("cert_file") == "":
            raise kinds.fault("needs a certificate", "set cert_file as well")
        return value


class FileSource(ServiceSource):
    """Services come from a file, watched for changes: for tests, demos and hosts without Consul."""

    type: Literal["file"]
    """Where services come from: `"consul"` or `"file"`."""

    path: kinds.Path
    """A JSON, TOML or YAML file: `{"services": [{"name": "web", "instances": [{"id": "web-1",
    "address": "127.0.0.1", "port": 8080}]}]}`. Optional for an instance: `tags`, `meta`, `status`,
    `weight`, `node`."""


class Template(Table):
    """One file that confsync writes. With no `[[template]]` at all, the built-in set is used."""

    source: kinds.TemplateFile
    """A Jinja2 template: a path, or `"builtin:haproxy.cfg"`, which brings `hosts.map` and
    `503.http` to the same folder."""

    destination: kinds.Destination
    """The file to write. It must be confsync's own, or adopted by `once --apply --adopt`."""

    language: rendered.Language = rendered.Language.HAPROXY
    """What `quote` means in the template: `"haproxy"`, `"map"`, `"nginx"` or `"plain"`."""

    mode: kinds.Mode = "0644"
    """The permissions of a new file. Owner, mode and attributes of an existing one are kept."""

    vars: kinds.Variables = Field(default={})
    """What the template sees as `vars`. The built-in set knows `bind`, `domain`, `stats_bind`,
    `stats_user`, `stats_password_file`, `hard_stop_after` (`"10m"`), `user`, `group`, `chroot`,
    `log`, and `tls_bind` and what goes with it, and no other."""

    @property
    def permissions(self) -> int:
        """The mode as a number."""
        return int(self.mode, 8)


class HaproxyTarget(Table):
    """Keys that all targets share. Paths are those that confsync sees."""

    config: kinds.Path = "/etc/haproxy/haproxy.cfg"
    """HAProxy's main file. Usually a template's destination; it may be written by hand, with only
    maps from templates."""

    master_socket: kinds.Path = "/run/haproxy-master.sock"
    """The socket of HAProxy's master process (`haproxy -W -S /run/haproxy-master.sock`). Reloads
    are asked for and confirmed there."""

    stats_socket: kinds.Path = "/run/haproxy/admin.sock"
    """The socket of the worker (`stats socket ... level admin` in its configuration)."""

    binary: kinds.Program = "haproxy"
    """The program that checks configurations: a name on PATH (else the one that the extra
    `confsync[haproxy]` brings) or a path. Its version must equal the running one's."""

    check: Literal["strict", "weak"] = "strict"
    """`"weak"`: a program of another version may check; every summary says so."""


class SocketTarget(HaproxyTarget):
    """An HAProxy that somebody else starts. confsync never starts or signals anything."""

    type: Literal["socket"] = "socket"
    """How HAProxy is reached: `"socket"`, `"systemd"` or `"docker"`."""


class SystemdTarget(HaproxyTarget):
    """An HAProxy under systemd. A stopped unit is never started.

    Where the master socket does not serve, reloads go through the unit, with a weaker proof.
    """

    type: Literal["systemd"]
    """How HAProxy is reached."""

    unit: kinds.Unit = "haproxy.service"
    """The unit's name."""


class DockerTarget(HaproxyTarget):
    """A HAProxy in a container, reached through its Docker engine (DOCKER_HOST and so on)."""

    type: Literal["docker"]
    """How HAProxy is reached."""

    container: kinds.Container = "label=confsync.target"
    """The container's name or id, or `label=KEY` or `label=KEY=VALUE` for the one that carries it."""

    directory: kinds.Inside = ""
    """The destinations' one folder as the container sees it. Empty: put over Docker's API; then
    `config` and the destinations are paths as the container sees them."""


class Reload(Table):
    """When HAProxy is reloaded. Only a change of structure needs it."""

    first: kinds.Seconds = 0.01
    """How long to gather changes after a calm: when `interval` went by without a reload."""

    quiet: kinds.Seconds = 0.25
    """Else: how long it must be quiet."""

    ceiling: kinds.Seconds = 2
    """A change waits no longer than this for quiet."""

    interval: kinds.Seconds = 2
    """The least time between two reloads. It doubles for each old worker above three, up to 30."""

    timeout: kinds.Seconds = Field(default=30, ge=1, le=600)
    """How long HAProxy has to load a configuration, before the previous one is put back."""

    retry: tuple[kinds.Seconds, kinds.Seconds] = (5, 60)
    """After a refused or failed reload: the first pause before it is tried again, checked anew, and
    the longest."""

    @field_validator("ceiling")
    @classmethod
    def _above_quiet(cls, value: float, info: ValidationInfo) -> float:
        return _not_below(value, "quiet", info)

    @field_validator("retry")
    @classmethod
    def _growing(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise kinds.fault(
                "must be two pauses above 0, the first not longer than the second",
                "write it as [5, 60]",
            )
        return value


class Runtime(Table):
    """Changes over HAProxy's socket, without a reload."""

    enabled: bool = True
    """Whether servers, weights and map entries change without a reload where that is proven. `false`:
    every change is a reload."""

    quiet: kinds.Seconds = 0.002
    """How long to gather changes."""

    ceiling: kinds.Seconds = 0.01
    """A change waits no longer than this."""

    audit: kinds.Seconds = 30
    """How often what runs is compared with the file."""

    operator: Literal["respect", "repair"] = "respect"
    """What becomes of a change that somebody made over HAProxy's socket by hand."""

    closed_until_checked: bool = False
    """Whether a new server waits for HAProxy's own check before it gets requests, as long as another
    one serves."""

    settle: kinds.Seconds = 0
    """A reload this long after the last addition, on builds where servers added at run time are
    worse than those of the file. 0: never."""

    @field_validator("ceiling")
    @classmethod
    def _above_quiet(cls, value: float, info: ValidationInfo) -> float:
        return _not_below(value, "quiet", info)


class Retire(Table):
    """How servers leave where changes need no reload (`[runtime]`)."""

    drain: kinds.Seconds = 60
    """A server in Consul's maintenance gets no new sessions for so long, then no requests at all.
    Deregistered or critical ones: at once; running requests finish."""

    leftovers: kinds.Count = Field(default=50, ge=0, le=100_000)
    """How many retired servers that cannot be deleted stay before a reload cleans up. Those that only
    wait for their last connections to end are not counted: a reload would not end these."""


class Guard(Table):
    """Keeps a service as it was when it loses too much at once, before anything is rendered."""

    share: kinds.Number = Field(default=0.5, ge=0, le=1)
    """A service is held when it lost more than this share of its instances within `window`.
    1: never."""

    least: kinds.Count = Field(default=3, ge=1, le=100_000)
    """And at least so many: a service of two may go to none at once."""

    window: kinds.Seconds = Field(default=10, gt=0)
    """Lost is the largest count within this time minus the count now; a replaced instance is no
    loss."""

    confirm: kinds.Seconds = 60
    """A hold is released when a consistent read still says so this long after it began, or
    HAProxy's own checks say that the servers are down. An empty registry: only by hand, or when it
    fills."""


class State(Table):
    """What confsync remembers: last good catalog, what runs, holds, previous and rejected files."""

    directory: kinds.Path = "/var/lib/confsync"
    """The folder for it. One agent a configuration; the control socket `agent.sock` is here too."""


class Log(Table):
    """What confsync says on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level to write."""

    format: Literal["auto", "text", "json"] = "auto"
    """`"auto"`: text on a terminal and in the journal, JSON elsewhere."""


Source = Annotated[ConsulSource | FileSource, Field(discriminator="type")]
Target = Annotated[SocketTarget | SystemdTarget | DockerTarget, Field(discriminator="type")]


WITH_OWN_PATHS = ("lb", "tls", "nginx")
"""The tables with paths that are defaults and relative, so that they must be validated too."""


class Settings(Table):
    """The whole tree."""

    source: Source = ConsulSource()
    template: tuple[Template, ...] = ()
    target: Target = SocketTarget()
    reload: Reload = Reload()
    runtime: Runtime = Runtime()
    retire: Retire = Retire()
    guard: Guard = Guard()
    lb: Lb = Lb()
    tls: Tls = Tls()
    nginx: Nginx = Nginx()
    vip: Vip = Vip()
    state: State = State()
    log: Log = Log()

    @property
    def templates(self) -> tuple[Template, ...]:
        """The templates to render: those given, else the built-in one for `target.config`."""
        if self.template:
            return self.template
        main = f"{kinds.BUILTIN}{kinds.BUILTIN_TEMPLATES[0]}"
        return (Template(source=main, destination=self.target.config),)

    @classmethod
    def tables(cls) -> dict[str, tuple[type[Table], ...]]:
        """Each table's name with the classes that it may be."""
        return {
            "source": (ConsulSource, FileSource),
            "template": (Template,),
            "target": (SocketTarget, SystemdTarget, DockerTarget),
            "reload": (Reload,),
            "runtime": (Runtime,),
            "retire": (Retire,),
            "guard": (Guard,),
            "lb": (Lb,),
            "tls": (Tls,),
            "nginx": (Nginx,),
            "vip": (Vip,),
            "state": (State,),
            "log": (Log,),
        }

    def with_level(self, level: Literal["debug", "info", "warning", "error"]) -> Self:
        """Copy the settings with another log level."""
        return self.model_copy(update={"log": self.log.model_copy(update={"level": level})})


def _not_below(value: float, name: str, info: ValidationInfo) -> float:
    if value < info.data.get(name, value):
        raise kinds.fault(f"is below {name}", f"set it to at least {info.data[name]:g}")
    return value
