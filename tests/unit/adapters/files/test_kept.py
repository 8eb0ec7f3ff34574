from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.files import kept

PATHS = st.text(
    st.one_of(st.sampled_from("/+%~ab.:"), st.characters(exclude_characters="\0", codec="utf-8")),
    min_size=1,
    max_size=300,
)


def test_a_file_name_is_readable() -> None:
    assert kept.file_name("/etc/haproxy/haproxy.cfg") == "etc+haproxy+haproxy.cfg"


@given(a=PATHS, b=PATHS)
def test_file_names_are_single_components_and_distinct(a: str, b: str) -> None:
    a, b = f"/{a}", f"/{b}"
    name = kept.file_name(a)
    assert "/" not in name
    assert name not in {"", ".", ".."} or a in {"/", "/.", "/.."}
    assert len(name.encode()) <= 240
    assert (name == kept.file_name(b)) == (a == b)


def test_names_that_look_alike_are_distinct() -> None:
    paths = ("/a/b", "/a+b", "/a%2Bb", "/a%b", "/a~1", "/a%7E1", "/a")
    assert len({kept.file_name(p) for p in paths}) == len(paths)


def test_long_paths_stay_distinct_and_short() -> None:
    names = {kept.file_name(f"/{'x' * 300}{n}/{'ü' * 100}") for n in range(50)}
    assert len(names) == 50
    assert max(len(n.encode()) for n in names) <= 240
