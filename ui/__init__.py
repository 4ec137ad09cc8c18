"""All that the pages call."""

from ui.draft import fit_draft, get_data_config
from ui.findings import show_clean_split, show_counts, show_findings, show_verdict
from ui.frame import begin_page, errors, say_off, show_notice
from ui.learning_chart import show_learning_curve
from ui.link import read_link, write_link
from ui.model_import import show_import
from ui.predict_answers import answer_all, open_both, was_numbered
from ui.predict_intake import gather_files, show_problems, take_images
from ui.predict_models import choose_models
from ui.predict_results import find_visit, show_results
from ui.predict_samples import show_empty
from ui.queue_view import is_listed, watch_queue
from ui.readers import list_active_runs, load_audit, load_index
from ui.region import show_region
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
from ui.scroll_up import go_to, scroll_up
from ui.settings_form import show_form, take_settings
from ui.share_box import show_share
from ui.sources import has_folder, show_source_choice, take_next_source
from ui.study_form import show_study_form
from ui.study_view import is_study_first, show_studies
from ui.words import escape

__all__ = [
    "GRID_SIZES",
    "VIEWS",
    "answer_all",
    "begin_page",
    "choose_judged",
    "choose_models",
    "errors",
    "escape",
    "find_visit",
    "fit_draft",
    "gather_files",
    "get_data_config",
    "go_to",
    "has_folder",
    "is_listed",
    "is_study_first",
    "list_active_runs",
    "load_audit",
    "load_index",
    "open_both",
    "read_link",
    "say_off",
    "scroll_up",
    "show_augmentation",
    "show_checks",
    "show_clean_split",
    "show_counts",
    "show_empty",
    "show_external",
    "show_figures",
    "show_findings",
    "show_form",
    "show_gallery",
    "show_head",
    "show_import",
    "show_learning_curve",
    "show_more_curves",
    "show_notice",
    "show_numbers",
    "show_pairs",
    "show_problems",
    "show_region",
    "show_results",
    "show_run",
    "show_runs",
    "show_share",
    "show_slices",
    "show_source_choice",
    "show_studies",
    "show_study_form",
    "show_threshold",
    "show_verdict",
    "take_images",
    "take_next_source",
    "take_settings",
    "was_numbered",
    "watch_queue",
    "write_link",
    "write_results_link",
]
