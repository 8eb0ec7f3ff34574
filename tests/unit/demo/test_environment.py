"""What children get of our own environment."""

from confsync.demo import children


def test_the_environment_steers_no_child() -> None:
    own = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "CONFSYNC_TARGET__CONFIG": "/etc/haproxy/haproxy.cfg",
        "CONSUL_HTTP_TOKEN": "secret",
        "HAPROXY_MWORKER": "1",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "LISTEN_FDS": "1",
        "https_proxy": "http://proxy",
        "HTTP_PROXY": "http://proxy",
    }
    assert children.environment(own) == {"PATH": "/bin", "HOME": "/home/x"}
