"""What an agent's reply looks like, also when it is another version's or hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.cli import balanced, standing


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["healthy", "children", "served", "pid", "names", "role"]), inner
    )


NOW = 1_700_003_600.0
REPLY = {
    "workers": [
        {"pid": 77, "old": False, "sessions": 1, "requests": 900},
        {"pid": 70, "old": True, "sessions": 2, "requests": 12},
    ],
    "ok": True,
    "version": "0.1.0",
    "pid": 42,
    "started": NOW - 3700,
    "alive": True,
    "paused": False,
    "source": {"up": True, "error": "", "since": NOW - 90, "denied": ["se\ncret"], "notes": []},
    "haproxy": {
        "running": True,
        "version": "2.6.12",
        "worker_pid": 77,
        "old_workers": [{"pid": 1}],
        "loading": False,
        "notes": ["no socket"],
    },
    "report": {
        "outcome": "reloaded",
        "why": "web changed",
        "services": 3,
        "servers": 12,
        "stages": {"plan": 1.5, "apply": 30.0},
        "finished": NOW - 5,
        "error": "",
        "detail": "",
        "notes": ["no socket"],
    },
    "holds": [
        {
            "service": "web",
            "reason": "lost 3 of 4",
            "since": NOW - 30,
            "dropped": ["10.0.0.1:80"],
            "until": 0,
        }
    ],
    "problems": [{"what": "port 0", "service": "x", "instance": "x-1", "dropped": True}],
    "next_retry": 4.0,
    "exit_code": 4,
}

GOLDEN = """\
confsync 0.1.0, pid 42, running for 1 h 1 min
source:   answers for 1 min 30 s
haproxy:  2.6.12 runs, worker 77, 1 old worker finishing
serving:  3 sessions now, 912 requests so far; of them 2 sessions in 1 old worker
cycle:    reloaded, 5 s ago, 32 ms: 3 services, 12 servers (web changed)
retry:    in 4 s
Problems
  - service x, instance x-1: port 0; left out
Held
  - web: lost 3 of 4; held since 2023-11-14 23:12:50 UTC, by itself only when it fills again
      a release would drop 10.0.0.1:80
      to let it go: `confsync release web`
Notes
  - denied to the token: "se\\ncret"
  - no socket
"""


def test_status() -> None:
    assert standing.status(REPLY, now=NOW, color=False) == GOLDEN


def test_trouble() -> None:
    reply = {
        "alive": False,
        "paused": True,
        "source": {"up": False, "error": "refused"},
        "haproxy": {"running": False, "why": "stopped"},
        "report": {"outcome": "failed", "error": "no\nway", "detail": "a\n\x1bb", "finished": NOW},
    }
    lines = standing.status(reply, now=NOW, color=False).splitlines()[1:]
    assert lines == [
        "stuck: a cycle does not end",
        "paused: nothing is written or applied; `confsync resume` ends it",
        "source:   does not answer: refused",
        "haproxy:  does not run: stopped",
        "cycle:    failed, 0.0 s ago, 0 ms: 0 services, 0 servers",
        "error:    no\\nway",
        "  a",
        "  \\x1bb",
    ]


def test_an_agent_that_just_started() -> None:
    text = standing.status({"alive": True, "haproxy": None, "report": None}, now=NOW, color=False)
    assert "haproxy:  not looked at yet\ncycle:    none yet\n" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(REPLY)), JSON, st.data())
def test_any_reply_can_be_shown(key: str, value: object, data: st.DataObject) -> None:
    reply: dict[str, object] = {**REPLY, key: value}
    inner = REPLY[key]
    if isinstance(inner, list) and isinstance(inner[0], dict):
        name = data.draw(st.sampled_from(sorted(inner[0])))
        reply[key] = [{**inner[0], name: value}, value]
    elif isinstance(inner, dict):
        name = data.draw(st.sampled_from(sorted(inner)))
        reply[key] = {**inner, name: value}
    for text in (standing.status(reply, now=NOW, color=False), standing.release(reply, now=NOW)):
        assert text.replace("\n", "").isprintable()


def test_release() -> None:
    assert standing.release({"holds": []}, now=NOW) == "nothing is held\n"
    text = standing.release({"holds": REPLY["holds"], "released": []}, now=NOW)
    assert "web: lost 3 of 4; held since" in text
    assert "for 30 s so far" in text
    text = standing.release({"released": ["web", "a\nb"]}, now=NOW)
    assert text == 'let go with the next cycle: web, "a\\nb"\n'


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0.0 s"), (0.25, "0.2 s"), (59, "59 s"), (3600, "1 h 0 min"), (90_061, "1 d 1 h")],
)
def test_span(seconds: float, shown: str) -> None:
    assert standing.span(seconds) == shown


def test_what_was_done_without_a_reload_and_what_is_held_by_hand_is_shown() -> None:
    runtime = {
        "enabled": True,
        "counts": {"steps": 12, "repaired": 1, "doubts": 0},
        "leftovers": [{"backend": "web"}, {"backend": "web"}],
        "by_hand": ["web/a is in maint\x1b"],
    }
    text = standing.status({"runtime": runtime}, now=0, color=False)
    assert "runtime:  12 steps, 1 repair, 2 retired servers to be deleted\n" in text
    assert "  - held by hand: web/a is in maint\\x1b\n" in text
    assert "runtime:" not in standing.status({"runtime": {"counts": {}}}, now=0, color=False)


BALANCER = {
    "healthy": False,
    "why": "HAProxy ended: exit code 1",
    "children": [
        {"name": "haproxy", "pid": 0, "since": 0, "starts": 3, "last": "exit code 1"},
        {"name": "nginx", "pid": 12, "since": NOW - 61, "starts": 2, "last": "killed by SIGKILL"},
    ],
    "vip": {"role": "waits", "addresses": ["192.0.2.7", "192.0.2.8"], "engine": "ucarp"},
    "certificates": {
        "served": [{"names": ["example.org"], "days": 12}, {"names": ["x"], "days": 90}],
        "refused": ["a.pem: no key"],
    },
}


class TestBalancer:
    def test_nothing_is_shown_where_there_is_none(self) -> None:
        assert balanced.lines(REPLY, now=NOW, color=False) == []
        assert balanced.fit(REPLY)

    def test_its_parts_are_shown(self) -> None:
        nginx = "nginx 12 for 1 min 1 s, start 2 (killed by SIGKILL)"
        lines = balanced.lines({"balancer": BALANCER}, now=NOW, color=False)
        assert lines == [
            "unfit:    HAProxy does not answer: HAProxy ended: exit code 1",
            f"programs: haproxy does not run (exit code 1), {nginx}",
            "address:  192.0.2.7, 192.0.2.8 with the other host (ucarp)",
            "tls:      2 certificates, the next ends in 12 days (example.org)",
            "refused:  a.pem: no key",
        ]
        assert not balanced.fit({"balancer": BALANCER})
        assert lines[1] in standing.status(REPLY, now=NOW, color=False, more=lines)

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), _nested))
    def test_anything_may_be_missing_or_odd(self, value: object) -> None:
        for key in ("balancer", *BALANCER):
            reply = {"balancer": value if key == "balancer" else {**BALANCER, key: value}}
            for line in balanced.lines(reply, now=NOW, color=False):
                assert line.isprintable()
