import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.files import records
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.change import (
    AddServer,
    Admin,
    ReplaceMap,
    RetireServer,
    SetAddress,
    SetMaxconn,
    SetState,
    SetWeight,
)
from confsync.domain.running import Leftover, Record

HOSTILE = st.text(st.characters(exclude_categories=()), max_size=12)  # surrogates, NUL, controls
INSTANCES = st.builds(
    Instance,
    id=HOSTILE,
    address=HOSTILE,
    port=st.integers(),
    status=st.sampled_from(Status),
    tags=st.lists(HOSTILE, max_size=3).map(tuple),
    meta=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=3).map(tuple),
    weight=st.integers(),
    node=HOSTILE,
    datacenter=HOSTILE,
    modify_index=st.integers(0),
)
CATALOGS = st.builds(
    Catalog,
    services=st.lists(
        st.builds(
            Service,
            name=HOSTILE,
            instances=st.lists(INSTANCES, max_size=3).map(tuple),
            denied=st.booleans(),
            seen=st.floats(0, 4e9),
        ),
        max_size=3,
    ).map(tuple),
)
TEXTS = st.dictionaries(HOSTILE, HOSTILE, max_size=3)
WORDS = st.lists(HOSTILE, max_size=3).map(tuple)
NAMED = {"backend": HOSTILE, "server": HOSTILE}
NUMBERS = st.integers(0, 256)
STATES = st.sampled_from(Admin)
STEPS = st.one_of(
    st.builds(AddServer, **NAMED, address=HOSTILE, port=NUMBERS, words=WORDS, state=STATES),
    st.builds(RetireServer, **NAMED, state=STATES, delete=st.booleans(), gone=st.booleans()),
    st.builds(SetWeight, **NAMED, weight=NUMBERS),
    st.builds(SetState, **NAMED, state=STATES),
    st.builds(SetMaxconn, **NAMED, maxconn=NUMBERS),
    st.builds(SetAddress, **NAMED, address=HOSTILE, port=NUMBERS, down=st.booleans()),
    st.builds(
        ReplaceMap,
        destination=HOSTILE,
        name=HOSTILE,
        entries=st.lists(st.tuples(HOSTILE, HOSTILE), max_size=2).map(tuple),
        text=HOSTILE,
    ),
)
RECORDS = st.builds(
    Record,
    files=TEXTS,
    text=TEXTS,
    promoted=TEXTS,
    worker_pid=st.integers(),
    worker_started=st.floats(0, 4e9),
    place=HOSTILE,
    version=HOSTILE,
    steps=st.lists(STEPS, max_size=4).map(tuple),
    leftovers=st.lists(
        st.builds(
            Leftover,
            backend=HOSTILE,
            server=HOSTILE,
            address=HOSTILE,
            port=st.integers(0, 65_535),
            options=WORDS,
            state=st.sampled_from(Admin),
            delete=st.booleans(),
            since=st.floats(0, 4e9) | st.integers(0, 9).map(float),
        ),
        max_size=2,
    ).map(tuple),
    named=TEXTS,
)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def through_disk(value: object) -> object:
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    loaded: object = json.loads(data.decode("utf-8", "surrogatepass"))
    return loaded


@given(CATALOGS)
def test_a_catalog_survives(catalog: Catalog) -> None:
    again = records.to_catalog(through_disk(records.from_catalog(catalog)))
    assert repr(again) == repr(catalog)  # == leaves out ages and indexes


@given(st.lists(CATALOGS, min_size=2, max_size=4), st.randoms())
def test_what_was_written_before_makes_no_difference(catalogs: list[Catalog], chance: Any) -> None:
    written, known = records.Written(), dict[str, Service]()
    for catalog in catalogs:
        services = [known.get(s.name, s) if chance.random() < 0.5 else s for s in catalog.services]
        known |= {s.name: s for s in services}
        shown = Catalog(services=tuple(services))
        assert written.text(shown) == records.dump(records.from_catalog(shown))


def test_a_service_that_changed_is_written_anew() -> None:
    written = records.Written()
    for port in (1, 2):
        instance = Instance(id="i", address="a", port=port)
        catalog = Catalog(services=(Service(name="web", instances=(instance,)),))
        assert written.text(catalog) == records.dump(records.from_catalog(catalog))


@given(RECORDS)
def test_a_record_survives(record: Record) -> None:
    assert records.to_record(through_disk(records.from_record(record))) == record


def test_a_record_of_a_version_that_knew_no_steps_is_read() -> None:
    value = records.from_record(Record(worker_pid=3))
    for name in ("steps", "leftovers", "named"):
        del value[name]
    assert records.to_record(value) == Record(worker_pid=3)


@given(st.data())
def test_a_damaged_step_is_a_value_error_or_another_step(data: st.DataObject) -> None:
    record = data.draw(RECORDS.filter(lambda r: r.steps or r.leftovers))
    value = records.from_record(record)
    place = data.draw(st.sampled_from([*value["steps"], *value["leftovers"]]))
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(JSON)
    try:
        records.to_record(through_disk(value))
    except ValueError:
        return
    assert type(place[key]) in {str, int, float, bool, list}


@given(JSON)
def test_any_other_value_is_a_value_error(value: object) -> None:
    for read in (records.to_catalog, records.to_record):
        with pytest.raises(ValueError):
            read(value)


@given(st.data())
def test_a_value_changed_in_one_place_is_a_value_error_or_another_catalog(
    data: st.DataObject,
) -> None:
    instance = Instance(id="i", address="a", port=1, tags=("t",), meta=(("k", "v"),))
    catalog = Catalog(services=(Service(name="web", instances=(instance,)),))
    value = records.from_catalog(catalog)
    place = data.draw(st.sampled_from([value, value["services"][0], _row(value)]))
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(JSON)
    try:
        records.to_catalog(value)
    except ValueError:
        return
    assert type(place[key]) in {str, int, float, bool, list}


def _row(value: dict[str, list[dict[str, list[dict[str, object]]]]]) -> dict[str, object]:
    return value["services"][0]["instances"][0]
