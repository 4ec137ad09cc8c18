"""What the pages share: the frame, the draft of a run, cached readers, pictures and charts."""

from ui.charts import PLAIN as CHART
from ui.downloads import write_csv
from ui.draft import fit_draft, get_data_config
from ui.findings import show_clean_split, show_counts, show_findings, show_verdict
from ui.frame import begin_page, errors, show_credentials, show_notice, show_problem
from ui.learning_chart import show_learning_curve
from ui.link import read_link, write_link
from ui.pictures import get_class_colours, is_dark, show_image
from ui.queue_view import is_listed, list_active_runs, watch_queue
from ui.readers import (
    classify,
    draw_demo_data,
    find_active_run,
    list_demo_pictures,
    load_audit,
    load_index,
    name_run,
    open_classifier,
    read_picture,
)
from ui.region import outline, show_region
from ui.results_checks import show_checks
from ui.results_curves import show_figures, show_more_curves
from ui.results_external import show_external
from ui.results_gallery import show_gallery
from ui.results_head import choose_judged, show_head
from ui.results_link import write_link as write_results_link
from ui.results_numbers import show_numbers
from ui.results_pairs import show_pairs
from ui.results_slices import show_slices
from ui.results_threshold import show_threshold
from ui.run_table import show_runs
from ui.run_view import show_run
from ui.samples import GRID_SIZES, VIEWS, show_augmentation
from ui.settings_form import show_form, take_settings
from ui.sources import has_folder, show_source_choice, take_next_source
from ui.study_view import show_studies, show_study_form
from ui.words import escape

__all__ = [
    "CHART",
    "GRID_SIZES",
    "VIEWS",
    "begin_page",
    "choose_judged",
    "classify",
    "draw_demo_data",
    "errors",
    "escape",
    "find_active_run",
    "fit_draft",
    "get_class_colours",
    "get_data_config",
    "has_folder",
    "is_dark",
    "is_listed",
    "list_active_runs",
    "list_demo_pictures",
    "load_audit",
    "load_index",
    "name_run",
    "open_classifier",
    "outline",
    "read_link",
    "read_picture",
    "show_augmentation",
    "show_checks",
    "show_clean_split",
    "show_counts",
    "show_credentials",
    "show_external",
    "show_figures",
    "show_findings",
    "show_form",
    "show_gallery",
    "show_head",
    "show_image",
    "show_learning_curve",
    "show_more_curves",
    "show_notice",
    "show_numbers",
    "show_pairs",
    "show_problem",
    "show_region",
    "show_run",
    "show_runs",
    "show_slices",
    "show_source_choice",
    "show_studies",
    "show_study_form",
    "show_threshold",
    "show_verdict",
    "take_next_source",
    "take_settings",
    "watch_queue",
    "write_csv",
    "write_link",
    "write_results_link",
]
