"""TRIPOD+AI, the checklist for prediction models, asked in our words.

Numbers and sections are the publication's; its own wording stands there alone, with explanations.

References:
    Collins et al., TRIPOD+AI statement: updated guidance for reporting clinical prediction models
    that use regression or machine learning methods, BMJ 385:e078378 (2024),
    doi 10.1136/bmj-2023-078378.
"""

from polyp_core.checklists import data_facts as data
from polyp_core.checklists import model_facts as model
from polyp_core.checklists import result_facts as result
from polyp_core.checklists.questions import Question

_BACKGROUND, _DATA = "Introduction: background", "Methods: data"
_PARTICIPANTS, _OUTCOME = "Methods: participants", "Methods: outcome"
_PREDICTORS, _METHODS = "Methods: predictors", "Methods: analytical methods"
_OPEN, _CASES = "Open science", "Results: participants"
_WORTH, _USE = "Results: model performance", "Discussion: usability"

TRIPOD = (
    Question(
        "1", "Title",
        "Does the title say that a prediction model is made or judged, of what, and in whom?",
        (model.say_kind,), "summary",
    ),
    Question(
        "2", "Abstract",
        "Does the abstract follow the publication's own list for abstracts?",
        (result.say_performance,), "summary",
    ),
    Question(
        "3a", _BACKGROUND,
        "What is the medical setting, why is a model wanted there, and which models are there "
        "already?",
    ),
    Question(
        "3b", _BACKGROUND, "For which patients is it meant, at which point of their care, and who "
        "would use it?",
    ),
    Question(
        "3c", _BACKGROUND, "Which unequal chances in health between groups are known here?"
    ),
    Question(
        "4", "Introduction: objectives",
        "What does the study aim at, and does it make a model, judge one, or both?",
    ),
    Question(
        "5a", _DATA,
        "Where do the images for making and for judging the model come from, and how well do they "
        "stand for the patients meant?",
        (data.say_source, data.say_counts), "data",
    ),
    Question(
        "5b", _DATA, "When were the images taken: from when to when, and was anybody followed?"
    ),
    Question(
        "6a", _PARTICIPANTS,
        "In what kind of places, how many and where, were the patients seen?",
    ),
    Question(
        "6b", _PARTICIPANTS, "By which rules were patients taken in or left out?",
        (data.say_exclusions,), "data",
    ),
    Question(
        "6c", _PARTICIPANTS, "Which treatments had they had, and how was that dealt with?"
    ),
    Question(
        "7", "Methods: data preparation",
        "How were the images prepared and checked, and in the same way for all groups?",
        (data.say_preprocessing, data.say_augmentation), "preprocessing", is_enough=True,
    ),
    Question(
        "8a", _OUTCOME,
        "What exactly is predicted, at what time, how was it found out, and alike in all groups?",
        (data.say_classes,), "data",
    ),
    Question(
        "8b", _OUTCOME, "If finding it out takes judgement, who judged, with what training?"
    ),
    Question(
        "8c", _OUTCOME, "Did those who found it out know the images or the model's answers?"
    ),
    Question(
        "9a", _PREDICTORS, "What may the model go by?",
        (data.say_missing, data.say_preprocessing), "preprocessing", is_enough=True,
    ),
    Question(
        "9b", _PREDICTORS, "How, when and with which machines were the images taken?",
        (data.say_sizes, data.say_columns), "data",
    ),
    Question(
        "9c", _PREDICTORS,
        "Taking an ultrasound image needs judgement: who held the probe and chose the images?",
    ),
    Question(
        "10", "Methods: sample size",
        "How were the numbers of patients for making and for judging arrived at, and are they "
        "enough?",
        (data.say_sample_size, result.say_events), "performance",
    ),
    Question(
        "11", "Methods: missing data", "How were missing values handled?", (data.say_missing,),
        "data", is_enough=True,
    ),
    Question(
        "12a", _METHODS, "How were the images divided between making the model and judging it?",
        (data.say_split, data.say_level), "split", is_enough=True,
    ),
    Question(
        "12b", _METHODS, "In what form does the image enter the model: scale, size, changes?",
        (data.say_preprocessing,), "preprocessing", is_enough=True,
    ),
    Question(
        "12c", _METHODS,
        "What kind of model is it, why, and by which steps was it built, tuned and tested "
        "within the data?",
        (model.say_network, model.say_training, model.say_choices, model.say_selection),
        "training",
    ),
    Question(
        "12d", _METHODS,
        "If there are several places or machines, how was it looked at whether results differ "
        "between them?",
        (data.say_columns,), "performance",
    ),
    Question(
        "12e", _METHODS, "By which measures and curves was it judged, and how compared?",
        (result.say_measures, result.say_intervals), "performance", is_enough=True,
    ),
    Question(
        "12f", _METHODS, "Was the model changed after it was judged, such as recalibrated?",
        (result.say_update,), "calibration", is_enough=True, explain=result.explain_no_update,
    ),
    Question(
        "12g", _METHODS, "How were the probabilities computed on which it was judged?",
        (result.say_computation,), "performance", is_enough=True, adds=(model.say_ensemble,),
    ),
    Question(
        "13", "Methods: class imbalance",
        "If one class is rarer, what was done about it, and what does that do to the "
        "probabilities?",
        (data.say_balance,), "training", is_enough=True,
    ),
    Question(
        "14", "Methods: fairness", "What was done so that the model is fair to all groups, and why?"
    ),
    Question(
        "15", "Methods: model output",
        "What does the model give, and how were threshold and classes settled?",
        (model.say_output, result.say_threshold), "threshold", is_enough=True,
    ),
    Question(
        "16", "Methods: training versus evaluation",
        "In what do the images for making and for judging differ: place, rules, outcome, machine?",
        (data.say_split, result.say_external), "split",
    ),
    Question(
        "17", "Methods: ethical approval",
        "Which board approved the study, and did patients consent or was that waived?",
    ),
    Question("18a", _OPEN, "Who paid, and what part did they take?"),
    Question("18b", _OPEN, "Which interests and ties do the authors declare?"),
    Question("18c", _OPEN, "Where can the protocol be read, or was there none?"),
    Question("18d", _OPEN, "Where is the study registered, or is it not?"),
    Question("18e", _OPEN, "Where can the images be had, and on what terms?"),
    Question(
        "18f", _OPEN, "Where can the code be had, to repeat what was done?", (model.say_repeat,),
        "repeat",
    ),
    Question(
        "19", "Patient and public involvement",
        "What part did patients or the public take in the study, or did they take none?",
    ),
    Question(
        "20a", _CASES,
        "How many patients came to which step, how many had the finding, and who was followed "
        "how long?",
        (data.say_counts, data.say_exclusions), "data",
    ),
    Question(
        "20b", _CASES,
        "Who are the patients, in all and by source: age, sex, ethnicity, findings, dates?",
        (data.say_columns,), "data",
    ),
    Question(
        "20c", _CASES,
        "How do the patients that the model is judged on compare with those it was made on?",
        (data.say_counts,), "split",
    ),
    Question(
        "21", "Results: model development",
        "How many patients and how many positive ones were there in each analysis?",
        (result.say_events, data.say_counts), "split", is_enough=True,
    ),
    Question(
        "22", "Results: model specification",
        "How can the very model be used on new patients, and is its use restricted?",
        (model.say_network, model.say_file), "repeat",
    ),
    Question(
        "23a", _WORTH, "What are the results with their intervals, also in groups that matter?",
        (result.say_performance, result.say_other_level), "performance",
    ),
    Question(
        "23b", _WORTH, "If it was looked at, how do results differ between places or machines?",
        (result.say_external,), "performance", advice=result.NO_EXTERNAL,
    ),
    Question(
        "24", "Results: model updating",
        "If the model was changed after it was judged, what is it now, and what is it worth?",
        (result.say_update,), "calibration", is_enough=True, explain=result.explain_no_update,
    ),
    Question(
        "25", "Discussion: interpretation",
        "What do the results mean in the light of the aims and of other studies, and how fair is "
        "the model?",
        (result.say_performance,), "summary",
    ),
    Question(
        "26", "Discussion: limitations",
        "What are the limits: patients who do not stand for all, few of them, missing data, and "
        "what follows for the results?",
        (result.say_limits,), "limits",
    ),
    Question(
        "27a", _USE,
        "In use, how is a bad or missing image noticed, and what happens then?",
        (result.say_unfamiliar,), "limits", is_enough=True,
    ),
    Question(
        "27b", _USE, "What must users do or know when they give it images and read its answers?",
        (model.say_output, result.say_saliency), "limits",
    ),
    Question(
        "27c", _USE, "What should be studied next, for other places and for use?",
        (result.say_limits,), "limits",
    ),
)  # fmt: skip
