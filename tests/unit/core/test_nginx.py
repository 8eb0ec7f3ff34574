"""nginx's main configuration, and its words."""

from confsync.core import nginx


def test_everything_of_its_own_is_in_one_folder() -> None:
    text = nginx.main(directory="/run/x", sites="/sites", user="www-data")
    assert text.index("http {") < text.index("include /sites/*.conf;") < text.rindex("}")
    assert "daemon off;" in text
    assert "user www-data;\n" in text
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        assert f"{kind}_temp_path /run/x/" in text
    assert "pid /run/x/nginx.pid;" in text
    assert "/var/" not in text
    assert "user " not in nginx.main(directory="/run/x", sites="/sites", user="").replace(
        "user; ", ""
    )


def test_the_fault_is_taken_from_what_it_says() -> None:
    said = (
        'nginx: [warn] the "user" directive makes sense only if ...\n'
        'nginx: [emerg] unknown directive "x" in /sites/a.conf:3\n'
        "nginx: configuration file /run/x/nginx.conf test failed\n"
    )
    assert nginx.said(said) == 'unknown directive "x" in /sites/a.conf:3'
    logged = (
        '2026/01/01 00:00:00 [emerg] 12#12: host not found in upstream "y" in /sites/b.conf:1\n'
    )
    assert nginx.said(logged) == 'host not found in upstream "y" in /sites/b.conf:1'
    assert nginx.said("cannot execute\n") == "cannot execute"
