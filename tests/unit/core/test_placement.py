from confsync.core import placement

SHARED = placement.shared("/srv/lb/haproxy.cfg", "/usr/local/etc/haproxy/")
MIRROR = placement.mirrored("/var/lib/confsync")


def test_without_a_container_both_see_the_same() -> None:
    one = placement.Placement()
    assert one.local("/etc/a.cfg") == one.seen("/etc/a.cfg") == one.reached("/etc/a.cfg")
    assert one.told("in /etc/a.cfg") == "in /etc/a.cfg"


def test_a_shared_folder_has_two_names() -> None:
    assert SHARED.local("/srv/lb/a.map") == "/srv/lb/a.map"
    assert SHARED.seen("/srv/lb/a.map") == "/usr/local/etc/haproxy/a.map"
    assert SHARED.seen("/srv/lb") == "/usr/local/etc/haproxy"
    assert SHARED.reached("/usr/local/etc/haproxy/.a.map.confsync") == "/srv/lb/.a.map.confsync"
    assert SHARED.told("/srv/lb/a.map: full") == "/srv/lb/a.map: full"


def test_what_is_not_in_the_shared_folder_stays_apart() -> None:
    assert SHARED.seen("/srv/lbx/a.map") == "/srv/lbx/a.map"
    assert SHARED.reached("/usr/local/etc/haproxy2/a.cfg") == ""
    assert SHARED.reached("/etc/ssl/a.pem") == ""


def test_a_mirror_has_the_same_path_below_a_folder_of_ours() -> None:
    local = "/var/lib/confsync/container/etc/haproxy/haproxy.cfg"
    assert MIRROR.local("/etc//haproxy/haproxy.cfg") == local
    assert MIRROR.seen(local) == "/etc/haproxy/haproxy.cfg"
    assert MIRROR.reached("/etc/haproxy/haproxy.cfg") == local
    assert MIRROR.seen("/tmp/x/a.cfg") == "/tmp/x/a.cfg"


def test_messages_name_what_the_operator_knows() -> None:
    text = "/var/lib/confsync/container/etc/a.cfg: kept as /var/lib/confsync/foreign/x"
    assert MIRROR.told(text) == "/etc/a.cfg: kept as /var/lib/confsync/foreign/x"


def test_the_root_as_a_shared_folder() -> None:
    one = placement.shared("/haproxy.cfg", "/lb")
    assert one.seen("/a.map") == "/lb/a.map"
    assert one.reached("/lb/a.map") == "/a.map"
