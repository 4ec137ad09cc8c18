"""CLAIM 2024, the checklist for artificial intelligence in medical imaging, asked in our words.

Numbers and sections are the publication's; its own wording stands there alone, with explanations.

References:
    Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update,
    Radiology: Artificial Intelligence 6(4):e240300 (2024), doi 10.1148/ryai.240300.
"""

from polyp_core.checklists import data_facts as data
from polyp_core.checklists import model_facts as model
from polyp_core.checklists import result_facts as result
from polyp_core.checklists.questions import Question

_DESIGN, _DATA = "Methods: study design", "Methods: data"
_STANDARD, _PARTITIONS = "Methods: reference standard", "Methods: data partitions"
_MODEL, _TRAINING = "Methods: model", "Methods: training"
_EVALUATION = "Methods: evaluation"
_CASES, _WORTH = "Results: data", "Results: model performance"
_OTHER = "Other information"

CLAIM = (
    Question(
        "1", "Title", "Does the title say that this is a study of an AI method, and which kind?",
        (model.say_kind,), "network",
    ),
    Question(
        "2", "Abstract",
        "Does the abstract sum up design, methods, results and conclusions, so that it can be "
        "read alone?",
        (result.say_performance,), "summary",
    ),
    Question(
        "3", "Introduction",
        "What is the medical background, and what is the model meant to do there, for whom?",
    ),
    Question(
        "4", "Introduction", "What did the study set out to show, and which hypothesis did it test?"
    ),
    Question("5", _DESIGN, "Were the images collected before the study was planned, or for it?"),
    Question(
        "6", _DESIGN,
        "What is the goal: to make a model, to show that it can work, or to compare it with "
        "others or with readers?",
    ),
    Question(
        "7", _DATA,
        "Where do the images come from: which places, machines and years, and are they public?",
        (data.say_source, data.say_counts), "data",
    ),
    Question(
        "8", _DATA,
        "By which rules, where and when were patients and images taken in or left out?",
        (data.say_exclusions,), "data",
    ),
    Question(
        "9", _DATA, "What was done to each image before the network saw it?",
        (data.say_preprocessing, data.say_augmentation), "preprocessing", is_enough=True,
    ),
    Question(
        "10", _DATA, "Was a part of each image or film chosen, and how?",
        (data.say_preprocessing, data.say_sizes), "preprocessing",
    ),
    Question("11", _DATA, "How were the images freed of what could name a patient?"),
    Question(
        "12", _DATA, "How were missing values handled?", (data.say_missing,), "data",
        is_enough=True,
    ),
    Question(
        "13", _DATA,
        "How were the images taken: machines, probes, presets, views, and who held the probe?",
        (data.say_sizes, data.say_columns), "data",
    ),
    Question(
        "14", _STANDARD, "What makes an image positive, and how was that found out?",
        (data.say_classes,), "data",
    ),
    Question(
        "15", _STANDARD, "Why this reference standard and no other, and what are its own errors?"
    ),
    Question(
        "16", _STANDARD, "Who gave the labels, with what training, and by which instructions?"
    ),
    Question(
        "17", _STANDARD, "How were the images that the model is judged on labelled, and by whom?"
    ),
    Question(
        "18", _STANDARD,
        "How far did readers agree with one another and with themselves, and what was done where "
        "they did not?",
    ),
    Question(
        "19", _PARTITIONS, "How were the images divided into training, validation and test?",
        (data.say_split, data.say_counts), "split", is_enough=True,
    ),
    Question(
        "20", _PARTITIONS,
        "At which level do the partitions have nothing in common: image, examination, patient or "
        "place?",
        (data.say_level,), "split", is_enough=True,
    ),
    Question(
        "21", "Methods: testing data",
        "How many cases were planned to be judged, and by which calculation?",
        (data.say_sample_size,), "performance",
    ),
    Question(
        "22", _MODEL, "What is the model, from input over its layers to output?",
        (model.say_network, model.say_output), "network", is_enough=True,
    ),
    Question(
        "23", _MODEL, "Which software, in which versions, and which hardware was used?",
        (model.say_software, model.say_machine), "environment", is_enough=True,
    ),
    Question(
        "24", _MODEL, "With which weights did the training begin?", (model.say_start,), "network",
        is_enough=True,
    ),
    Question(
        "25", _TRAINING, "How was the network trained, with which settings and augmentation?",
        (model.say_training, data.say_augmentation), "training", is_enough=True,
        adds=(model.say_choices,),
    ),
    Question(
        "26", _TRAINING, "How was the final model chosen?", (model.say_selection,), "selection",
        is_enough=True,
    ),
    Question(
        "27", _TRAINING, "If several models answer together, how are their answers combined?",
        (model.say_ensemble,), "selection", is_enough=True, explain=model.explain_no_ensemble,
    ),
    Question(
        "28", _EVALUATION, "By which measures was the model judged, and what is each good for?",
        (result.say_measures, result.say_threshold), "performance", is_enough=True,
    ),
    Question(
        "29", _EVALUATION, "How sure are the numbers, and how was that found?",
        (result.say_intervals,), "performance", is_enough=True,
    ),
    Question(
        "30", _EVALUATION,
        "How does the model bear other settings, worse images, or other groups of patients?",
        (result.say_robustness,), "robustness", is_enough=True, advice=result.NO_CHECKS,
    ),
    Question(
        "31", _EVALUATION, "How are answers explained, and was the explanation itself tested?",
        (result.say_saliency,), "saliency", is_enough=True, adds=(result.say_shortcuts,),
    ),
    Question(
        "32", _EVALUATION, "How was the model judged on images of the same source?",
        (result.say_internal,), "performance", is_enough=True,
    ),
    Question(
        "33", _EVALUATION, "How was the model tested on images of another place?",
        (result.say_external,), "performance", is_enough=True, advice=result.NO_EXTERNAL,
    ),
    Question("34", _EVALUATION, "If it was a clinical trial, where is it registered?"),
    Question(
        "35", _CASES,
        "How many patients and images were taken in and left out, at which step and why?",
        (data.say_counts, data.say_exclusions), "data",
    ),
    Question(
        "36", _CASES,
        "Who are the patients of each partition: age, sex, ethnicity, findings, machine?",
        (data.say_counts, data.say_columns), "data",
    ),
    Question(
        "37", _WORTH, "What are the results, how sure is each, and against which baseline?",
        (result.say_performance,), "performance", is_enough=True,
        adds=(result.say_other_level,),
    ),
    Question(
        "38", _WORTH, "How well does the model tell the classes apart, and how precisely is that "
        "known?",
        (result.say_performance, result.say_threshold), "performance", is_enough=True,
    ),
    Question(
        "39", _WORTH, "Which cases does it get wrong, and why, as far as can be seen?",
        (result.say_failures,), "failures",
    ),
    Question(
        "40", "Discussion", "What are the limits: bias, surprises, and where it cannot be used?",
        (result.say_limits,), "limits",
    ),
    Question(
        "41", "Discussion",
        "What follows for practice, and in which role and by whom could the model be used?",
    ),
    Question(
        "42", _OTHER, "Where can the full protocol and further technical details be read?",
        (model.say_repeat,), "repeat",
    ),
    Question(
        "43", _OTHER, "Where can software, trained model and images be had, and on what terms?",
        (model.say_file,), "repeat",
    ),
    Question("44", _OTHER, "Who paid, who else supported the work, and what part did they take?"),
)  # fmt: skip
