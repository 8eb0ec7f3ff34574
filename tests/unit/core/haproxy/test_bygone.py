"""Old words get the line that replaces them; what is written today gets none."""

import pytest

from confsync.core.haproxy import bygone, served

POST = """\
global
    nbproc 3
    cpu-map 1 0

frontend www
    bind :80 process 1-3
    bind-process 1-3

listen stats1
    bind :8081
    bind-process 1
    stats enable
"""


def test_each_line_is_explained_where_it_stands() -> None:
    lines = bygone.explained({"haproxy.cfg": POST})
    places = [line.split(": ", 2)[:2] for line in lines]
    assert places == [
        ["haproxy.cfg:2", "nbproc"],
        ["haproxy.cfg:6", "bind ... process"],
        ["haproxy.cfg:7", "bind-process"],
        ["haproxy.cfg:11", "bind-process"],
    ]
    assert "`nbthread 3`" in lines[0]
    assert "`thread 1-3`" in lines[1]
    assert "complete over all threads" in lines[3]


@pytest.mark.parametrize(
    "text",
    [
        "global\n    nbthread 3\n",
        "# nbproc 3\n",
        "frontend process\n    bind :80 thread 1\n    # bind :80 process 1\n",
        "backend nbproc\n    server process 10.0.0.1:80\n",
        "frontend x\n    bind :80 name of-a-process\n",
    ],
)
def test_nothing_is_said_of_other_words(text: str) -> None:
    assert bygone.explained({"x": text}) == ()


def test_a_number_that_is_none_is_left_open() -> None:
    assert "`nbthread N`" in bygone.explained({"x": "nbproc\n"})[0]


class TestServed:
    def test_a_file_without_a_socket_gets_one_beneath(self) -> None:
        added = served.beneath(POST, "/run/x.sock")
        assert "\nglobal\n    stats socket /run/x.sock mode 600 level admin" in added
        assert added.startswith("\n")

    @pytest.mark.parametrize("path", ["/run/x.sock", "unix@/run/x.sock", '"/run/x.sock"'])
    def test_one_that_has_it_stays_as_it_is(self, path: str) -> None:
        assert served.beneath(f"global\n  stats socket {path} level admin\n", "/run/x.sock") == ""

    def test_another_socket_does_not_count(self) -> None:
        text = "global\n  stats socket /run/y.sock level admin\n  #stats socket /run/x.sock\n"
        assert served.beneath(text, "/run/x.sock") != ""

    def test_sockets_are_those_with_a_whole_path(self) -> None:
        text = (
            "global\n  stats socket /run/a.sock level admin\n  stats socket ipv4@127.0.0.1:99\n"
            '  stats socket "${DIR}/b.sock"\n  stats socket unix@/run/c.sock\n'
        )
        assert served.sockets(text) == ("/run/a.sock", "/run/c.sock")
