import dataclasses
from pathlib import Path

import pytest

from confsync.adapters.files.templates import TemplateFiles, TemplateOption, TemplateOptions
from confsync.core import placement
from confsync.core.builtin import BUILTIN_VARS, BUILTINS
from confsync.domain.rendered import Language, VarValue
from confsync.errors import SettingsError

MAIN = "/etc/haproxy/haproxy.cfg"


def source(base: Path, *templates: TemplateOption) -> TemplateFiles:
    return TemplateFiles(
        TemplateOptions(
            base=base, main=MAIN, templates=templates, builtin_variables=dict(BUILTIN_VARS)
        )
    )


def one(name: str = "a.j2", **variables: VarValue) -> TemplateOption:
    return TemplateOption(source=name, destination="/out/a", variables=variables)


def faults(files: TemplateFiles) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        files.load()
    return caught.value.faults


def test_no_template_at_all_means_the_built_in_set(tmp_path: Path) -> None:
    loaded = source(tmp_path).load().templates
    assert {t.name: (t.destination, t.language) for t in loaded} == {
        "builtin:haproxy.cfg": (MAIN, Language.HAPROXY),
        "builtin:hosts.map": ("/etc/haproxy/hosts.map", Language.MAP),
        "builtin:503.http": ("/etc/haproxy/503.http", Language.PLAIN),
    }
    assert all(t.text and t.seen_as == t.destination for t in loaded)
    assert len(loaded) == len(BUILTINS)
    assert all(t.variables["bind"] == ":80" for t in loaded)


def test_the_built_in_brings_its_companions_to_its_own_folder(tmp_path: Path) -> None:
    loaded = source(
        tmp_path,
        TemplateOption(
            source="builtin:haproxy.cfg",
            destination="/srv/lb.cfg",
            mode=0o640,
            variables={"domain": "example.org"},
        ),
    ).load()
    assert {t.destination for t in loaded.templates} == {
        "/srv/lb.cfg",
        "/srv/hosts.map",
        "/srv/503.http",
    }
    assert {(t.mode, t.variables["domain"]) for t in loaded.templates} == {(0o640, "example.org")}


def test_a_companion_that_is_listed_is_the_operators(tmp_path: Path) -> None:
    (tmp_path / "sorry.j2").write_text("sorry")
    loaded = source(
        tmp_path,
        TemplateOption(source="builtin:haproxy.cfg", destination=MAIN),
        TemplateOption(source="sorry.j2", destination="/etc/haproxy/503.http"),
    ).load()
    assert {t.destination: t.name for t in loaded.templates} == {
        MAIN: "builtin:haproxy.cfg",
        "/etc/haproxy/hosts.map": "builtin:hosts.map",
        "/etc/haproxy/503.http": "sorry.j2",
    }


def test_an_operators_template_has_its_own_variables_only(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("\ufeffhello\r\n", encoding="utf-8", newline="")
    (template,) = source(tmp_path, one(colour="blue")).load().templates
    assert (template.text, template.variables, template.secrets) == (
        "hello\r\n",
        {"colour": "blue"},
        (),
    )


def test_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.j2").write_text("x")
    option = TemplateOption(source="t/a.j2", destination="out/a")
    (template,) = source(tmp_path, option).load().templates
    assert template.destination == str(tmp_path / "out" / "a")


def test_a_password_file_is_read_and_its_content_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("x")
    (tmp_path / "pw").write_text("s3cret\n\n")
    files = source(tmp_path, one(stats_password_file="pw", other_password="inline"))
    (template,) = files.load().templates
    assert template.variables["stats_password"] == "s3cret\n"
    assert template.secrets == ("inline", "s3cret\n")
    assert "s3cret" not in repr(template)


def test_an_empty_path_of_a_password_file_means_no_password(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("x")
    (template,) = source(tmp_path, one(stats_password_file="")).load().templates
    assert template.variables["stats_password"] == ""
    assert template.secrets == ()


def test_all_faults_are_told_at_once_with_key_file_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "latin.j2").write_bytes(b"a\nb\xe9\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "folder.j2").mkdir()
    told = faults(
        source(
            tmp_path,
            TemplateOption(source="gone.j2", destination="/out/1"),
            TemplateOption(source="latin.j2", destination="/out/2"),
            TemplateOption(source="builtin:nginx.conf", destination="/out/3"),
            TemplateOption(source="folder.j2", destination="/out/4"),
            TemplateOption(
                source="builtin:503.http",
                destination="/out/5",
                variables={
                    "a_password_file": "none",
                    "b_password_file": "empty",
                    "c_password_file": 1,
                },
            ),
        )
    )
    texts = [
        f'[[template]] source = "gone.j2": {tmp_path}/gone.j2: it does not exist; create it',
        f'[[template]] source = "latin.j2": {tmp_path}/latin.j2:2: not UTF-8; save it as UTF-8',
        '[[template]] source = "builtin:nginx.conf": there is no such built-in template; known are',
        "folder.j2 is not a regular file",
        f'[template.vars] a_password_file = "none": {tmp_path}/none: it does not exist',
        '[template.vars] b_password_file = "empty": the file is empty; write',
        '[template.vars] c_password_file = "1": not the path of a file',
    ]
    assert len(told) == len(texts)
    for text, line in zip(texts, told, strict=True):
        assert text in line


def test_two_templates_for_one_destination_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("x")
    (tmp_path / "b.j2").write_text("x")
    (line,) = faults(source(tmp_path, one("a.j2"), one("b.j2")))
    assert "a.j2 would both write it" in line or "b.j2 and a.j2 would both write it" in line


def test_other_templates_of_the_folder_can_be_included(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{%- include 'part.j2' %}")
    (tmp_path / "b.j2").write_text("x")
    (tmp_path / "part.j2").write_text("part")
    (tmp_path / "secret.txt").write_text("no template")
    option = TemplateOption(source="b.j2", destination="/out/b")
    assert source(tmp_path, one(), option).load().includes == {"part.j2": "part"}


def test_nothing_is_read_for_templates_that_include_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("plain")
    (tmp_path / "broken.j2").write_bytes(b"\xff")
    assert source(tmp_path, one()).load().includes == {}


def test_includes_are_bounded_and_unambiguous(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.j2").write_text("{% import 'part.j2' as part %}")
        (tmp_path / folder / "part.j2").write_text(folder)
    options = [
        TemplateOption(source=f"{name}/{name}.j2", destination=f"/out/{name}")
        for name in ("one", "two")
    ]
    (line,) = faults(source(tmp_path, *options))
    assert line.endswith("rename one")
    for number in range(201):
        (tmp_path / "one" / f"{number}.j2").write_text("x")
    assert "202 templates to include from" in faults(source(tmp_path, options[0]))[0]


def test_the_fingerprint_follows_every_file_that_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("{% include 'part.j2' %}")
    (tmp_path / "part.j2").write_text("part")
    (tmp_path / "pw").write_text("secret")
    files = source(tmp_path, one(x_password_file="pw"))
    files.load()
    for name in ("a.j2", "part.j2", "pw"):
        before = files.fingerprint()
        assert files.fingerprint() == before
        (tmp_path / name).write_text("{% include 'part.j2' %} changed")
        assert files.fingerprint() != before
    before = files.fingerprint()
    (tmp_path / "pw").unlink()
    assert files.fingerprint() != before


def test_a_shared_folder_is_seen_under_the_containers_name(tmp_path: Path) -> None:
    options = TemplateOptions(
        base=tmp_path,
        main="/srv/lb/haproxy.cfg",
        placement=placement.shared("/srv/lb/haproxy.cfg", "/usr/local/etc/haproxy"),
    )
    loaded = TemplateFiles(options).load().templates
    assert {t.destination: t.seen_as for t in loaded} == {
        f"/srv/lb/{n}": f"/usr/local/etc/haproxy/{n}"
        for n in ("haproxy.cfg", "hosts.map", "503.http")
    }


def test_what_is_put_into_a_container_has_a_local_copy(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_text("")
    options = TemplateOptions(
        base=tmp_path,
        main="/etc/lb/haproxy.cfg",
        templates=(
            TemplateOption(source="a.j2", destination="/etc/lb/a.map"),
            TemplateOption(source="a.j2", destination="/etc/lb/b.map"),
        ),
        placement=placement.mirrored("/state"),
    )
    loaded = TemplateFiles(options).load().templates
    assert {t.destination: t.seen_as for t in loaded} == {
        "/state/container/etc/lb/a.map": "/etc/lb/a.map",
        "/state/container/etc/lb/b.map": "/etc/lb/b.map",
    }
    (twice,) = faults(
        TemplateFiles(
            dataclasses.replace(
                options, templates=(*options.templates, replaced := options.templates[0])
            )
        )
    )
    assert twice.startswith(f'[[template]] destination = "{replaced.destination}": a.j2')
