import pytest

from polyp_core import queueing, workspace
from tests.pages.conftest import PAGES, read_texts


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_opens_with_its_navigation_and_no_word_of_trouble(open_page, name):
    app = open_page(name)
    assert not app.error
    assert "Nothing leaves this computer" in read_texts(app)
    links = [link.proto.label for link in app.sidebar.get("page_link")]
    assert links == ["Home", "Data", "Train", "Results", "Predict"]


@pytest.mark.parametrize("name", ["Home", "Train", "Results", "Predict"])
def test_the_notice_stands_where_results_are_shown(open_page, own_run, name):
    app = open_page(name, run="own")
    assert "For research and teaching, not for diagnosis." in read_texts(app)


def test_a_run_that_trains_is_seen_from_every_page(open_page, own_run):
    from filelock import FileLock

    own_run.write_json("status.json", {"state": "running", "message": "Epoch 2 of 3"})
    queueing.add_ticket(workspace.get_queue_dir(), own_run)
    with FileLock(own_run.path("lock")):
        for name in ("Home", "Data", "Results", "Predict"):
            assert "**own** is at work. Epoch 2 of 3" in read_texts(open_page(name))


def test_home_shows_the_best_run_and_the_ready_model(open_page, own_run):
    texts = read_texts(open_page("Home"))
    assert "Best run **own**" in texts
    assert "Ready: **own**" in texts


def test_home_before_any_run_shows_the_demo_model(open_page):
    texts = read_texts(open_page("Home"))
    assert "No run of your own yet" in texts
    assert "Demo model \\(synthetic images\\)" in texts
