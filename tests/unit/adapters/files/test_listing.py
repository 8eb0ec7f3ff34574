import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.files import listing
from confsync.domain.catalog import Catalog, Instance, Service, Status

JSON = """{"services": [
  {"name": "web", "instances": [
    {"id": "b", "address": "10.0.0.2", "port": 80},
    {"id": "a", "address": "10.0.0.1", "port": 8080, "tags": ["x", "y"], "meta": {"k": "v", "a": "b"},
     "status": "warning", "weight": 5, "node": "n1"}]},
  {"name": "api", "instances": []}]}"""
TOML = """
[[services]]
name = "web"
[[services.instances]]
id = "b"
address = "10.0.0.2"
port = 80
[[services.instances]]
id = "a"
address = "10.0.0.1"
port = 8080
tags = ["x", "y"]
meta = {k = "v", a = "b"}
status = "warning"
weight = 5
node = "n1"
[[services]]
name = "api"
instances = []
"""
YAML = """
services:
- name: web
  instances:
  - {id: b, address: 10.0.0.2, port: 80}
  - id: a
    address: 10.0.0.1
    port: 8080
    tags: [x, "y"]
    meta: {k: v, a: b}
    status: warning
    weight: 5
    node: n1
- name: api
  instances: []
"""
EXPECTED = Catalog(
    services=(
        Service(name="api"),
        Service(
            name="web",
            instances=(
                Instance(
                    id="a",
                    address="10.0.0.1",
                    port=8080,
                    status=Status.WARNING,
                    tags=("x", "y"),
                    meta=(("a", "b"), ("k", "v")),
                    weight=5,
                    node="n1",
                ),
                Instance(id="b", address="10.0.0.2", port=80),
            ),
        ),
    )
)


@pytest.mark.parametrize(
    ("ending", "text"), [(".json", JSON), (".toml", TOML), (".yaml", YAML), (".yml", YAML)]
)
def test_all_formats_say_the_same(ending: str, text: str) -> None:
    found = listing.parse(text.encode(), ending, 5.0)
    assert found == EXPECTED
    assert {s.seen for s in found.services} == {5.0}


def parse(value: object) -> Catalog:
    return listing.parse(json.dumps(value).encode(), ".json", 0)


def test_a_service_named_twice_is_one_and_duplicates_are_left_to_the_model() -> None:
    row = {"id": "a", "address": "10.0.0.1", "port": 80}
    found = parse({"services": [{"name": "web", "instances": [row]}] * 2})
    assert [(s.name, len(s.instances)) for s in found.services] == [("web", 2)]


def service(**row: object) -> object:
    instance = {"id": "a", "address": "10.0.0.1", "port": 80} | row
    instance = {k: v for k, v in instance.items() if v != "-"}
    return {"services": [{"name": "web", "instances": [instance]}]}


AT = "services[0] ('web').instances[0]"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "the file: is a list; must be an object with services"),
        ({}, "services: missing or empty; must be a list"),
        ({"servces": []}, "the file: unknown key 'servces'; did you mean services?"),
        ({"services": [3]}, "services[0] = 3: must be an object with name, instances"),
        ({"services": [{"instances": []}]}, "services[0]: name is missing; every entry needs it"),
        ({"services": [{"name": 7, "instances": []}]}, "services[0].name = 7: must be a text"),
        (
            {"services": [{"name": "w\n", "instances": {}}]},
            "services[0] ('w\\n').instances: is an object; must be a list",
        ),
        (service(port="-"), f"{AT}: port is missing"),
        (service(port="80"), f"{AT}.port = '80': must be a whole number without quotes"),
        (service(port=True), f"{AT}.port = True: must be a whole number"),
        (service(port=8.5), f"{AT}.port = 8.5: must be a whole number"),
        (service(tags="a"), f"{AT}.tags = 'a': must be a list"),
        (service(tags=["a", False]), f"{AT}.tags[1] = False: must be a text: put it in quotes"),
        (service(meta={"k": 1}), f"{AT}.meta['k'] = 1: must be a text"),
        (service(meta=[]), f"{AT}.meta: is a list; must be an object of texts"),
        (service(status="up"), f"{AT}.status: must be one of passing, warning, critical, main"),
        (service(status=None), f"{AT}.status: must be one of"),
        (service(weight="1"), f"{AT}.weight = '1': must be a whole number"),
        (service(node=["x"]), f"{AT}.node: is a list; must be a text"),
        (service(adress="x"), f"{AT}: unknown key 'adress'; did you mean address?"),
        (service(zzz="x"), f"{AT}: unknown key 'zzz'; known are id, address"),
        (service(id="x" * 99, port="y" * 99), "..."),
    ],
)
def test_a_wrong_shape_is_told_with_its_place(value: object, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("ending", "data"),
    [
        (".json", b""),
        (".json", b'{"services": ['),
        (".json", b"[" * 100_000),
        (".json", b'{"a": ' + b"1" * 5000 + b"}"),
        (".json", b'\n\n{"services": "\xff"}'),
        (".toml", b"services = "),
        (".toml", b"a = " + b"[" * 5000),
        (".yaml", b"services: [\n"),
        (".yaml", b"services: &a [*a]\n"),
        (".yaml", b"a: !!python/object/apply:os.getcwd []\n"),
        (".yaml", b"\x00"),
        (".yaml", b"services: 2020-99-99\n"),
        (".yaml", b""),
    ],
)
def test_what_cannot_be_parsed_is_a_value_error_in_one_line(ending: str, data: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        listing.parse(data, ending, 0)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_line_of_bytes_that_are_no_utf8_is_told() -> None:
    with pytest.raises(ValueError, match="line 3: not UTF-8"):
        listing.parse(b'\n\n{"services": "\xff"}', ".json", 0)


def test_aliases_of_aliases_cost_nothing() -> None:
    value = "&a0 [x]"
    for n in range(1, 25):
        value = f"&a{n} [{value}{f', *a{n - 1}' * 8}]"
    with pytest.raises(ValueError, match=r"services\[0\]: is a list; must be an object"):
        listing.parse(f"services: {value}".encode(), ".yaml", 0)


@given(st.binary(max_size=60), st.sampled_from(sorted(listing.PARSERS)))
def test_no_bytes_crash_the_reader(data: bytes, ending: str) -> None:
    try:
        found = listing.parse(data, ending, 0)
    except ValueError:
        return
    assert isinstance(found, Catalog)
