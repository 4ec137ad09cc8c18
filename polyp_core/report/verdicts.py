"""What a report concludes of a run: an answer to each question, and what must not be concluded."""

from polyp_core import words
from polyp_core.checks.wording import (
    FEW,
    FINE,
    SIGN,
    choose_measure,
    is_robust,
    list_shortcuts,
    say_robustness,
)
from polyp_core.evidence.wording import Plain, say_number
from polyp_core.report.facts import RunFacts
from polyp_core.report.page import clip, hide_names
from polyp_core.report.result_sections import find_calibration, say_standing


def list_verdicts(facts: RunFacts) -> list[tuple[str, str]]:
    """A question and its answer, each in a few words."""
    audited = facts.audited
    found = [("Images", audited.audit.verdict if audited.audit else audited.reason)]
    found.append(("Split", _say_split(facts)))
    if facts.metrics is not None:
        level, unit = words.get_main_level(facts.metrics)
        found.append(("Above the baseline", _say_baseline(facts, level)))
        found.append(("Sensitivity", _say_of(level["sensitivity"], unit)))
        found.append(("Specificity", _say_of(level["specificity"], unit)))
        found.append(("AUC", f"{words.say_auc(level['auc'])}, n = {level['auc']['n']:,} {unit}"))
    error = find_calibration(facts)
    if error is not None:
        found.append(
            ("Calibration error", f"{say_number(error, '.3f')}, n = {error['n']:,} images")
        )
    found.append(("Shortcuts", _say_shortcuts(facts)))
    found += [("Worse images", _say_robustness(facts)), ("Test images", _say_test(facts))]
    return found


def list_limits(facts: RunFacts) -> list[str]:
    """What must not be concluded from the numbers, a sentence or two each."""
    negative, positive = (clip(name, 40) for name in facts.class_names)
    found = ["For research and teaching only. It is no medical device and must not guide care."]
    if facts.origin.is_synthetic:
        found.append("All images are synthetic, so its numbers say nothing of patients.")
    standing = say_standing(facts)
    if facts.validation is not None and standing:
        found.append(standing)
    if facts.test is None and not facts.evaluations:
        found.append(
            "It was not tested on images that played no part in making it, nor on those of another "
            "hospital or scanner. There it may be worse."
        )
    if facts.index is not None and not facts.origin.are_patients_known:
        found.append(
            "Patients are unknown, of all images or of some, so images of one patient may be on "
            "both sides of the split, and intervals take them as independent. Both make it look "
            "better and surer than it is."
        )
    if facts.metrics is not None:
        level, unit = words.get_main_level(facts.metrics)
        for key, name in (("sensitivity", positive), ("specificity", negative)):
            n = level[key]["n"]
            if n < 30:
                found.append(f"Only {n} {unit} of class {name} were judged: the {key} is unsure.")
        doubt = words.say_doubt(level, facts.decision.goal.purpose)
        if doubt:
            found.append(f"The accuracy is not surely above the majority baseline. {doubt}")
    if facts.audited.audit is not None:
        found += [
            f"The audit found: {hide_names(finding.title, facts.class_names)}"
            for finding in facts.audited.audit.findings
            if finding.severity != "note" or finding.kind == "uneven_classes"
        ]
    if facts.checks is None:
        found.append("Whether it goes by shortcuts, and whether it bears worse images, is unknown.")
    else:
        shortcuts = list_shortcuts(facts.checks)
        found += [said for verdict, said in shortcuts if verdict in (SIGN, FEW)]
        effects, measured = facts.checks["robustness"], choose_measure(facts.checks)
        if not is_robust(effects, *measured):
            found.append(f"Worse images take from it: {say_robustness(effects, *measured)}")
    found += [
        "The images are a sample of whoever collected them. The share of positives, and with it "
        "PPV and NPV, will differ elsewhere.",
        f"It tells {negative} from {positive} and knows nothing else: any image gets one of the "
        "two, unless it is refused as unlike the training images.",
        "Saliency maps do not prove that a model looks at the finding.",
    ]
    return found


def _say_of(metric: Plain, unit: str) -> str:
    return f"{words.say_percent(metric)}, n = {metric['n']:,} {unit}"


def _say_split(facts: RunFacts) -> str:
    if facts.index is None:
        return "not known"
    images = facts.index.images
    if not facts.origin.are_patients_known:
        return "patients are unknown, of all images or of some"
    crossing = int((images.groupby("group")["split"].nunique() > 1).sum())
    if crossing:
        return f"{words.say_number(crossing, 'patient')} on both sides"
    study = facts.origin.study
    if study is not None and study.has_folds:
        return "by patient, in folds"
    return "by patient; none on both sides"


def _say_baseline(facts: RunFacts, level: Plain) -> str:
    if level["accuracy"]["n"] == 0:
        return "not judged"
    baseline = words.write_percent(level["majority_accuracy"]["value"])
    if not words.say_doubt(level):
        return f"yes: the whole interval lies above {baseline}"
    if level["accuracy"]["value"] > level["majority_accuracy"]["value"]:
        return f"not surely: the interval holds {baseline}"
    goal = facts.decision.goal
    return f"no: that is {baseline}" + (
        f", and the threshold is for {goal.say()}" if goal.kind != "hand" else ""
    )


def _say_shortcuts(facts: RunFacts) -> str:
    checks = facts.checks
    if checks is None:
        return "not tested"
    verdicts = [verdict for verdict, _ in list_shortcuts(checks)]
    if SIGN in verdicts:
        signs = words.say_number(verdicts.count(SIGN), "sign")
        return f"{signs} of a shortcut, see Robustness and shortcuts"
    if FEW in verdicts:
        few = f"too few images to tell in {verdicts.count(FEW)} of {len(verdicts)} checks"
        return f"{few}, no sign in the others" if FINE in verdicts else few
    return "no sign in the checks"


def _say_robustness(facts: RunFacts) -> str:
    checks = facts.checks
    if checks is None:
        return "not tested"
    return say_robustness(checks["robustness"], *choose_measure(checks))


def _say_test(facts: RunFacts) -> str:
    parts = []
    if facts.test is not None:
        parts.append(f"{len(facts.test.table):,} images that played no part")
    if facts.evaluations:
        parts.append(words.say_number(len(facts.evaluations), "other folder"))
    return ", ".join(parts) or "none: there is validation alone"
