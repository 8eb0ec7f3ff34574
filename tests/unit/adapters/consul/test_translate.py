import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.consul import translate
from confsync.domain.catalog import Instance, Status

NODE: dict[str, Any] = {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1"}
SERVICE: dict[str, Any] = {
    "ID": "web-1",
    "Service": "web",
    "Tags": ["b", "a"],
    "Address": "10.1.1.1",
    "Meta": {"z": "1", "a": "2"},
    "Port": 8080,
    "Weights": {"Passing": 5, "Warning": 2},
    "ModifyIndex": 7,
}


def row(*checks: tuple[str, str], **service: Any) -> dict[str, Any]:
    rows = [{"CheckID": name, "Status": status} for name, status in checks]
    return {"Node": NODE, "Service": SERVICE | service, "Checks": rows}


def one(value: object) -> Instance:
    found, bad = translate.instances([value])
    assert (len(found), bad) == (1, 0)
    return found[0]


def test_whole_row() -> None:
    assert one(row(("serfHealth", "passing"))) == Instance(
        id="web-1",
        address="10.1.1.1",
        port=8080,
        status=Status.PASSING,
        tags=("b", "a"),
        meta=(("a", "2"), ("z", "1")),
        weight=5,
        node="n1",
        datacenter="dc1",
    )
    assert one(row()).modify_index == 7


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ((), Status.PASSING),
        ((("c", "passing"),), Status.PASSING),
        ((("c", "passing"), ("d", "warning")), Status.WARNING),
        ((("c", "critical"), ("d", "warning")), Status.CRITICAL),
        ((("serfHealth", "critical"), ("c", "passing")), Status.CRITICAL),
        ((("_node_maintenance", "critical"), ("c", "passing")), Status.MAINTENANCE),
        ((("c", "critical"), ("_service_maintenance:web-1", "critical")), Status.MAINTENANCE),
        ((("_node_maintenance_", "critical"),), Status.CRITICAL),
        ((("_node_maintenance", "passing"),), Status.PASSING),
        ((("c", "sparkling"),), Status.CRITICAL),
        ((("c", ""),), Status.CRITICAL),
    ],
)
def test_status_is_the_worst_of_all_checks(
    checks: tuple[tuple[str, str], ...], status: Status
) -> None:
    assert one(row(*checks)).status is status


def test_empty_address_is_the_nodes() -> None:
    assert one(row(Address="")).address == "10.0.0.1"
    without = {key: value for key, value in SERVICE.items() if key != "Address"}
    assert one({"Node": NODE, "Service": without, "Checks": None}).address == "10.0.0.1"


@pytest.mark.parametrize(
    ("weights", "status", "weight"),
    [
        ({"Passing": 5, "Warning": 2}, "passing", 5),
        ({"Passing": 5, "Warning": 2}, "warning", 2),
        ({"Passing": 5, "Warning": 2}, "critical", 5),
        ({"Passing": 0}, "passing", 0),
        ({"Passing": 5}, "warning", 1),
        ({"Passing": True}, "passing", 1),
        ({"Passing": "9"}, "passing", 1),
        (None, "passing", 1),
        ([], "passing", 1),
    ],
)
def test_weight_is_by_status(weights: object, status: str, weight: int) -> None:
    assert one(row(("c", status), Weights=weights)).weight == weight


def test_instances_are_sorted() -> None:
    rows = [
        row(Address="b", Port=1, ID="1"),
        row(Address="a", Port=2, ID="2"),
        row(Address="a", Port=1, ID="4"),
        row(Address="a", Port=1, ID="3"),
    ]
    assert [i.id for i in translate.instances(rows)[0]] == ["3", "4", "2", "1"]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        1,
        "text",
        [],
        {},
        {"Service": None},
        {"Service": [], "Node": NODE},
        {"Service": SERVICE, "Node": "n1"},
        {"Service": SERVICE, "Node": NODE, "Checks": {}},
        {"Service": SERVICE, "Node": NODE, "Checks": ["passing"]},
        {"Service": SERVICE, "Node": NODE, "Checks": [{"CheckID": 1}]},
        row(ID=1),
        row(Address=["10.0.0.1"]),
        row(Port="80"),
        row(Port=80.0),
        row(Port=True),
        row(Tags="a"),
        row(Tags=[1]),
        row(Meta=["a"]),
        row(Meta={"a": 1}),
        row(ModifyIndex="1"),
    ],
)
def test_bad_row_costs_only_itself(bad: object) -> None:
    found, count = translate.instances([row(), bad, row(ID="web-2")])
    assert [i.id for i in found] == ["web-1", "web-2"]
    assert count == 1


def test_missing_fields_get_defaults() -> None:
    assert one({"Service": {}}) == Instance(id="", address="", port=0)


def test_half_surrogates_become_what_a_file_can_hold() -> None:
    value = json.loads(
        r'{"Service": {"ID": "a\ud800", "Meta": {"k\udfff": "v"}, "Tags": ["\ud9ff"]}}'
    )
    found = one(value)
    assert (found.id, found.meta, found.tags) == ("a?", (("k?", "v"),), ("?",))


def test_other_scripts_pass() -> None:
    assert one(row(ID="später-日本")).id == "später-日本"


def test_statuses_by_node_and_service() -> None:
    rows = [
        {"Node": "n1", "ServiceID": "a", "CheckID": "x", "Status": "warning"},
        {"Node": "n1", "ServiceID": "a", "CheckID": "y", "Status": "critical"},
        {"Node": "n1", "ServiceID": "", "CheckID": "_node_maintenance", "Status": "critical"},
        {"Node": "n2", "CheckID": "serfHealth", "Status": "critical"},
        {"Node": 3},
        None,
    ]
    assert translate.statuses(rows) == {
        ("n1", "a"): Status.CRITICAL,
        ("n1", ""): Status.MAINTENANCE,
        ("n2", ""): Status.CRITICAL,
    }


def test_registrations_of_a_node() -> None:
    table = {
        "Node": NODE,
        "Services": [
            SERVICE,
            {"ID": "x", "Service": "x", "Address": "", "ModifyIndex": 9},
            {"ID": 1},
            None,
        ],
    }
    assert translate.registrations(table) == {
        ("web", "web-1"): (7, "10.1.1.1"),
        ("x", "x"): (9, "10.0.0.1"),
    }


@pytest.mark.parametrize(
    "table",
    [{}, {"Node": None, "Services": None}, {"Node": 1, "Services": [SERVICE]}, {"Services": {}}],
)
def test_registrations_of_a_node_that_is_gone_or_senseless(table: dict[str, Any]) -> None:
    assert translate.registrations(table) == {}


def test_nodes() -> None:
    assert translate.nodes([NODE, {"Node": 1}, None, {"Node": "n2"}]) == {"n1", "n2"}


KEYS = ["Node", "Service", "Checks", "ID", "Address", "Port", "Tags", "Meta", "Weights", "Status"]
KEYS += ["CheckID", "ServiceID", "Services", "ModifyIndex", "Datacenter", "Passing", "Warning"]
TEXT = st.text(st.characters()) | st.sampled_from(["passing", "critical", "_node_maintenance"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | TEXT, inner, max_size=6)
    ),
    max_leaves=25,
)


@given(st.lists(VALUES, max_size=5))
def test_no_json_makes_it_raise(rows: list[Any]) -> None:
    found, bad = translate.instances([*rows, row()])
    assert len(found) + bad == len(rows) + 1
    assert "web-1" in [i.id for i in found]
    for instance in found:
        assert type(instance.port) is int
        assert type(instance.weight) is int
        repr(instance).encode()
    translate.statuses(rows)
    translate.nodes(rows)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_no_object_makes_it_raise(table: dict[str, Any]) -> None:
    translate.registrations(table)
    found, bad = translate.instances([table])
    assert len(found) + bad == 1
