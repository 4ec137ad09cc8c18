"""Settings from elsewhere, by a link or a file: what could hold the server up is left out."""

import json


def test_a_pattern_of_a_link_that_could_take_for_ever_is_left_out(open_page):
    app = open_page("Data")
    app.query_params["data.group_pattern"] = "(.*.*.*.*)!"
    app.query_params["augmentation.zoom"] = "0.3"
    app.run()
    assert not app.exception
    said = app.error[0].value.replace("\\", "")
    assert "is left out. The patient pattern may take for ever. Expected a plain one" in said
    assert "setting data.group_pattern" not in app.session_state
    assert app.slider(key="setting augmentation.zoom").value == 0.3


def test_a_plain_pattern_of_a_link_is_taken(open_page):
    app = open_page("Data")
    app.query_params["data.group_pattern"] = r"(patient-\d+)"
    app.run()
    assert not app.exception
    assert not app.error
    assert app.session_state["setting data.group_pattern"] == r"(patient-\d+)"


def test_a_pattern_of_a_file_that_could_take_for_ever_is_left_out(open_page):
    app = open_page("Train")
    values = {"data": {"group_pattern": "(.*.*.*.*)!"}, "training": {"epochs": 7}}
    app.file_uploader(key="settings file").set_value(
        ("settings.json", json.dumps(values).encode(), "application/json")
    ).run()
    assert not app.exception
    said = app.error[0].value.replace("\\", "")
    assert "is left out. The patient pattern may take for ever. Expected a plain one" in said
    assert app.number_input(key="setting training.epochs").value == 7
    tab = next(tab for tab in app.tabs if tab.label == "Save and load")
    assert len(tab.error) == len(app.error) == 1


def test_what_a_person_types_stays_free(open_page):
    app = open_page("Data", **{"setting data.group_pattern": r"(?i)(\w+)-(\w+)_.*.*"})
    assert not app.exception
    assert not any("for ever" in error.value for error in app.error)
