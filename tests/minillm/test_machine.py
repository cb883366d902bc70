import json

import numpy as np

from minillm import machine


def test_it_says_versions_blas_and_instructions_and_is_json():
    found = machine.facts()
    assert found["numpy"] == np.__version__
    assert found["cores"] >= 1
    assert json.loads(json.dumps(found)) == found


def test_what_changed_is_said_and_the_number_of_cores_changes_nothing():
    now = machine.facts()
    assert machine.differences(dict(now, cores=now["cores"] + 1)) == {}
    assert machine.differences(dict(now, numpy="1.0")) == {"numpy": f"'{np.__version__}' and was '1.0'"}
    for nothing in (None, 3, {}):
        assert set(machine.differences(nothing)) == set(now) - {"cores"}
