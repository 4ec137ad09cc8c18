"""What the pages share: the frame, the draft of a run, cached readers, pictures and charts."""

from ui.draft import (
    choose_preset,
    get_data_config,
    get_draft,
    get_preset_name,
    has_folder,
    list_changes,
    show_preset_choice,
    show_setting,
    show_settings,
    show_source_choice,
)
from ui.frame import begin_page, errors, show_credentials, show_notice, show_problem
from ui.pictures import get_class_colours, is_dark, show_image
from ui.readers import (
    classify,
    draw_demo_data,
    find_active_run,
    list_demo_pictures,
    load_index,
    name_run,
    open_classifier,
    read_picture,
)
from ui.words import escape

CHART = {"displayModeBar": False}  # how every Plotly chart is shown

__all__ = [
    "CHART",
    "begin_page",
    "choose_preset",
    "classify",
    "draw_demo_data",
    "errors",
    "escape",
    "find_active_run",
    "get_class_colours",
    "get_data_config",
    "get_draft",
    "get_preset_name",
    "has_folder",
    "is_dark",
    "list_changes",
    "list_demo_pictures",
    "load_index",
    "name_run",
    "open_classifier",
    "read_picture",
    "show_credentials",
    "show_image",
    "show_notice",
    "show_preset_choice",
    "show_problem",
    "show_setting",
    "show_settings",
    "show_source_choice",
]
