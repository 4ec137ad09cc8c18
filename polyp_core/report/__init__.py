"""A run becomes a report, a model card; a study a comparison: each a text that stands by itself.

`facts` reads a run; `charts`, `figures`, `flow` and `gallery` draw; the modules of sections write;
`card` is the Markdown, `comparison` the page of a study.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from polyp_core.report.card import write_model_card
from polyp_core.report.comparison import write_comparison
from polyp_core.report.data_sections import (
    write_audit,
    write_augmentation,
    write_data,
    write_preprocessing,
    write_split,
)
from polyp_core.report.facts import RunFacts
from polyp_core.report.page import clip, write_page, write_paragraph
from polyp_core.report.result_sections import (
    warn_of_state,
    write_calibration,
    write_failures,
    write_performance,
    write_threshold,
)
from polyp_core.report.training_sections import write_network, write_selection, write_training
from polyp_core.report.trust_sections import (
    write_checklists,
    write_environment,
    write_limits,
    write_repeat,
    write_robustness,
    write_saliency,
    write_summary,
)
from polyp_core.runs import Run

__all__ = ["SECTIONS", "write_comparison", "write_model_card", "write_report"]

# The ids are anchors of the page, to which checklists and pages point.
SECTIONS: Mapping[str, str] = {
    "summary": "Summary",
    "data": "Data",
    "audit": "Audit",
    "split": "Split",
    "preprocessing": "Preprocessing",
    "augmentation": "Augmentation",
    "network": "Network",
    "training": "Training",
    "selection": "Choice of the final model",
    "performance": "Performance",
    "calibration": "Calibration",
    "threshold": "Threshold and band",
    "failures": "Failures",
    "robustness": "Robustness and shortcuts",
    "saliency": "Saliency",
    "limits": "Limits",
    "environment": "Environment",
    "repeat": "How to repeat it",
    "checklists": "Checklists",
}
_WRITERS: Mapping[str, Callable[[RunFacts], str]] = {
    "summary": write_summary,
    "data": write_data,
    "audit": write_audit,
    "split": write_split,
    "preprocessing": write_preprocessing,
    "augmentation": write_augmentation,
    "network": write_network,
    "training": write_training,
    "selection": write_selection,
    "performance": write_performance,
    "calibration": write_calibration,
    "threshold": write_threshold,
    "failures": write_failures,
    "robustness": write_robustness,
    "saliency": write_saliency,
    "limits": write_limits,
    "environment": write_environment,
    "repeat": write_repeat,
    "checklists": write_checklists,
}


def write_report(run: Run, *, made_at: datetime | None = None) -> str:
    """One self-contained HTML page on a run: it opens offline, prints on A4 and runs nothing.

    What is not there, such as images that are gone, is said in its place.

    Args:
        run: Finished or not.
        made_at: Defaults to now, in local time.
    """
    facts = RunFacts(run)
    note = facts.run.read_notes()["note"].strip()
    sections = {name: (title, _WRITERS[name](facts)) for name, title in SECTIONS.items()}
    return write_page(
        f"Report: {clip(facts.title, 120)}",
        made_at or datetime.now().astimezone(),
        warn_of_state(facts) + (write_paragraph(clip(note, 1500)) if note else ""),
        sections,
    )
