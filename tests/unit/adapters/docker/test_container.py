from typing import Any

import pytest

from confsync.adapters.docker.container import (
    ONE_OFF,
    Container,
    Mount,
    NoContainer,
    Selector,
    moment,
    parse,
    told,
)
from tests.unit.adapters.docker.fake import listed

INSPECTED: dict[str, Any] = {
    "Id": "a" * 64,
    "Name": "/lb",
    "Path": "haproxy",
    "Args": ["-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"],
    "Image": "sha256:1",
    "State": {
        "Status": "running",
        "Pid": 4711,
        "ExitCode": 0,
        "OOMKilled": False,
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
    },
    "Config": {
        "Image": "haproxy:3.2",
        "Env": ["PATH=/bin", "EMPTY=", "A=b=c", "NONSENSE"],
        "User": "haproxy",
        "WorkingDir": "/var/lib/haproxy",
        "Labels": {"k": "v"},
    },
    "HostConfig": {
        "ReadonlyRootfs": True,
        "NetworkMode": "host",
        "Tmpfs": {"/run/": "size=1m"},
    },
    "Mounts": [
        {"Type": "bind", "Source": "/srv/etc", "Destination": "/etc/haproxy/", "RW": False},
        {"Type": "volume", "Source": "/var/lib/v", "Destination": "/etc/haproxy/maps", "RW": True},
    ],
}


def test_what_the_engine_tells_is_read_whole() -> None:
    assert parse(INSPECTED) == Container(
        id="a" * 64,
        name="lb",
        image="sha256:1",
        image_name="haproxy:3.2",
        state="running",
        pid=4711,
        started=1767323045.123456789,
        argv=("haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"),
        environment={"PATH": "/bin", "EMPTY": "", "A": "b=c"},
        user="haproxy",
        directory="/var/lib/haproxy",
        mounts=(
            Mount(kind="bind", source="/srv/etc", destination="/etc/haproxy", writable=False),
            Mount(kind="volume", source="/var/lib/v", destination="/etc/haproxy/maps"),
            Mount(kind="tmpfs", source="", destination="/run"),
        ),
        read_only=True,
        network="host",
        labels={"k": "v"},
    )


def test_a_container_that_never_ran_has_what_is_known() -> None:
    found = parse(
        {
            "Id": "b",
            "Name": "/x",
            "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"},
            "Config": {"Env": None, "Labels": None},
            "Mounts": None,
        }
    )
    assert (found.runs, found.started, found.argv, found.directory) == (False, 0.0, (), "/")


def test_an_environment_stays_out_of_what_is_printed() -> None:
    assert "b=c" not in repr(parse(INSPECTED))


def test_another_start_is_another_life() -> None:
    again = {**INSPECTED["State"], "StartedAt": "2026-01-02T03:04:06Z"}
    assert parse(INSPECTED).life == parse(INSPECTED).life
    assert parse(INSPECTED).life != parse({**INSPECTED, "State": again}).life


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T01:00:01.25+01:00", 1.25),
        ("0001-01-01T00:00:00Z", 0.0),
        ("yesterday", 0.0),
        ("", 0.0),
    ],
)
def test_times_of_the_engine(text: str, seconds: float) -> None:
    assert moment(text) == seconds


@pytest.mark.parametrize(
    ("path", "destination"),
    [
        ("/etc/haproxy/haproxy.cfg", "/etc/haproxy"),
        ("/etc/haproxy/maps/hosts.map", "/etc/haproxy/maps"),
        ("/etc/haproxy/maps/../haproxy.cfg", "/etc/haproxy"),
        ("/etc/haproxy", "/etc/haproxy"),
        ("/etc/haproxy.d/a", None),
        ("/run/x.sock", "/run"),
        ("/", None),
    ],
)
def test_the_deepest_mount_holds_a_path(path: str, destination: str | None) -> None:
    mount = parse(INSPECTED).mount_of(path)
    assert (mount.destination if mount else None) == destination


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("lb", Selector(name="lb")),
        ("/lb", Selector(name="lb")),
        ("project_lb.1-x", Selector(name="project_lb.1-x")),
        ("label=confsync.target", Selector(label="confsync.target")),
        ("label=a=b=c", Selector(label="a", value="b=c")),
        ("label=a=", Selector(label="a", value="")),
    ],
)
def test_selectors(text: str, selector: Selector) -> None:
    assert Selector.parse(text) == selector


@pytest.mark.parametrize("text", ["", "label=", "label==x", "a b", "..", "a/b", "-x", "x\n"])
def test_what_selects_nothing_is_refused_before_the_engine_is_asked(text: str) -> None:
    with pytest.raises(NoContainer, match="names no container"):
        Selector.parse(text)


LABEL = Selector(label="lb")


def test_the_one_with_the_label_is_chosen_although_it_ended() -> None:
    assert LABEL.chosen([listed("1", "old", "exited", lb="")]) == "1"


def test_the_only_one_that_lives_wins_over_those_that_ended() -> None:
    found = [
        listed("1", "old", "exited", lb=""),
        listed("2", "new", lb=""),
        listed("3", "older", "dead", lb=""),
    ]
    assert LABEL.chosen(found) == "2"


@pytest.mark.parametrize("state", ["paused", "restarting"])
def test_a_container_that_is_paused_or_restarting_lives(state: str) -> None:
    assert LABEL.chosen([listed("1", "a", "exited"), listed("2", "b", state)]) == "2"


@pytest.mark.parametrize("states", [("running", "running"), ("exited", "created")])
def test_several_are_refused_and_named(states: tuple[str, str]) -> None:
    found = [listed("1", "one", states[0]), listed("2", "two", states[1])]
    with pytest.raises(NoContainer) as caught:
        LABEL.chosen(found)
    assert caught.value.what.startswith("2 containers carry the label lb: one")
    assert "two" in caught.value.what


def test_containers_of_a_moment_are_never_meant() -> None:
    own = listed("1", "check", **{ONE_OFF: "1"})
    assert LABEL.chosen([own, listed("2", "lb")]) == "2"
    with pytest.raises(NoContainer, match="no container carries the label lb"):
        LABEL.chosen([own])
    assert "check" not in Selector(name="x").absent([own, listed("2", "lb")]).what


def test_an_absent_name_lists_what_there_is() -> None:
    found = [listed("2", "web"), listed("1", "db", "exited")]
    assert Selector(name="lb").absent(found).what == (
        "no container is named lb; there are db (exited), web"
    )
    assert Selector(name="lb").absent([]).what == "no container is named lb; there is none at all"


def test_a_long_list_is_cut() -> None:
    words = told([listed(str(n), f"c{n:02}") for n in range(13)])
    assert words.startswith("c00, c01")
    assert words.endswith("c09, 3 more")


def test_links_are_not_taken_for_the_name() -> None:
    linked = {**listed("1", "db"), "Names": ["/web/database", "/db"]}
    assert told([linked]) == "db"
