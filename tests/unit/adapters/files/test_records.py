import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.files import records
from confsync.domain.catalog import Catalog, Instance, Service, Status
from confsync.domain.running import Record

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
RECORDS = st.builds(
    Record,
    files=TEXTS,
    text=TEXTS,
    promoted=TEXTS,
    worker_pid=st.integers(),
    worker_started=st.floats(0, 4e9),
    version=HOSTILE,
)


def through_disk(value: object) -> object:
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    loaded: object = json.loads(data.decode("utf-8", "surrogatepass"))
    return loaded


@given(CATALOGS)
def test_a_catalog_survives(catalog: Catalog) -> None:
    again = records.to_catalog(through_disk(records.from_catalog(catalog)))
    assert repr(again) == repr(catalog)  # == leaves out ages and indexes


@given(RECORDS)
def test_a_record_survives(record: Record) -> None:
    assert records.to_record(through_disk(records.from_record(record))) == record


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


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
