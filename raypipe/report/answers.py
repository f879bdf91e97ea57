"""Answer the questions of a page in words: is the night complete, is the model still good, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from raypipe.pages.charts import Point
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import duration, interval, listed, plural
from raypipe.pages.page import Answer
from raypipe.report import experiments, nights, performance
from raypipe.report.events import Event
from raypipe.report.facts import Facts
from raypipe.report.model import Model, tested

# A night older than this is no longer last night.
STALE = timedelta(days=2)
SHOWN_EVENTS = 3


@dataclass(frozen=True)
class Action:
    """A thing to do: why, and the command to type; '' where the page itself says more."""

    pipeline: str
    why: str
    command: str
    state: str = "watch"


def complete(facts: Facts) -> Answer:
    """Answer whether the newest night is complete."""
    question = "Is last night complete?"
    if not facts.nights:
        return Answer(question, "open", "No run yet.", "`raypipe nightly` runs every pipeline.")
    night = facts.nights[0]
    lacking = nights.missing(night, facts.expected)
    age = facts.at.date() - night.day
    old = f" But this is {plural(age.days, 'day')} before the report was written." if age > STALE else ""
    if lacking:
        first = lacking[0]
        reason = f"{first} {nights.why(night, first)}. Type `{nights.remedy(night, first)}`."
        of = f"{len(night.published)} of {len(facts.expected)} pipelines published for {day_text(night.day)}."
        others = f" Missing, too: {listed(lacking[1:], 5)}." if lacking[1:] else ""
        return Answer(question, "bad", "No.", f"{of} {reason}{others}{old}")
    if not night.published:
        return Answer(question, "bad", "No.", f"Nothing is published for {day_text(night.day)}.{old}")
    done = f"{plural(len(night.published), 'pipeline')} published {plural(night.rows, 'row')} for {day_text(night.day)}"
    details = f"{done}, in {duration(night.seconds)} of work.{old}"
    return Answer(question, "watch" if old else "good", "Yes." if not old else "Yes, but it is old.", details)


def still_good(model: Model, facts: Facts) -> Answer:
    """Answer whether a pipeline's model is still good."""
    pipeline, metric = model.pipeline, model.metric
    question = f"Is the model of {pipeline} still good?"
    if not model.versions and model.latest is None:
        return Answer(
            question, "open", "There is no model yet.", f"`raypipe run {pipeline}` fits and publishes the first."
        )
    found = facts.performance_of(pipeline)
    newest = found.newest(metric)
    if newest is not None and newest.value is not None:
        return _measured(question, model, newest, found)
    estimated = max(found.estimated.get(metric, []), key=lambda point: point.day, default=None)
    if estimated is not None and estimated.value is not None:
        return _estimated(question, model, estimated)
    if model.loaded.config.label is None or model.loaded.config.ads is not None or metric not in found.measured:
        fitted = _at_its_fit(question, model)
        if fitted is not None and (model.loaded.config.label is None or model.loaded.config.label.horizon_days is None):
            return fitted
    return Answer(question, "open", "Not known yet.", _waiting(model, found))


def _measured(question: str, model: Model, newest: Point, found: performance.Performance) -> Answer:
    values = interval(newest.value, newest.low, newest.high)
    now = f"{name(model.metric)} {values} for the predictions of {day_text(newest.day)}"
    then = f"{found.fitted:.3f} at the fit" if found.fitted is not None else _then(model)
    if found.worse:
        command = f"`raypipe fit {model.pipeline}` fits a new version."
        return Answer(question, "bad", "No.", f"{now}, {then}: worse by more than chance. {command}")
    if found.worse is None and not then:
        return Answer(question, "open", "There is nothing to compare with.", f"{now}.")
    return Answer(question, "good", "Yes.", f"{now}, {then or 'no value at the fit'}: no worse than chance explains.")


def _then(model: Model) -> str:
    measured = tested(model.champion).get(model.metric) or {}
    value = measured.get("value")
    return f"{value:.3f} at the fit" if isinstance(value, float) else ""


def _estimated(question: str, model: Model, estimated: Point) -> Answer:
    measured = tested(model.champion).get(model.metric) or {}
    then, low = measured.get("value"), measured.get("low")
    values = interval(estimated.value, estimated.low, estimated.high)
    words = f"{name(model.metric)} is estimated at {values} for {day_text(estimated.day)}, before outcomes are known"
    at_fit = f", against {then:.3f} at the fit" if isinstance(then, float) else ""
    best = estimated.high if model.higher_is_better else estimated.low
    is_worse = low is not None and best is not None and best < low if model.higher_is_better else False
    state, first = ("watch", "Probably not.") if is_worse else ("good", "Probably.")
    return Answer(question, state, first, f"{words}{at_fit}.")


def _at_its_fit(question: str, model: Model) -> Answer | None:
    """Judge a model without later outcomes by the held-out rows of its newest fit."""
    points = model.fits(model.metric)
    newest = max(points, key=lambda point: point.day, default=None)
    if newest is None or model.champion is None:
        return None
    values = interval(newest.value, newest.low, newest.high)
    words = f"{name(model.metric)} {values} on held-out rows at the newest fit, {day_text(newest.day)}."
    if model.versions[0].version == model.champion.version:
        return Answer(question, "good", "Yes.", f"{words} That version is in use.")
    return Answer(
        question, "watch", "The newest fit was not promoted.", f"{words} Version {model.champion.version} stays in use."
    )


def _waiting(model: Model, found: performance.Performance) -> str:
    if found.reasons:
        newest = max(found.reasons)
        return f"Predictions of {day_text(newest)}: {found.reasons[newest]}."
    label = model.loaded.config.label
    if model.latest is not None and label is not None and label.horizon_days is not None:
        until = model.latest.date + timedelta(days=label.horizon_days)
        return f"Outcomes of the newest predictions, {day_text(model.latest.date)}, are known after {day_text(until)}."
    return "Its predictions have no later outcomes."


def worst(model: Model, facts: Facts) -> Answer:
    """Answer for whom a pipeline's model is worst."""
    question, found = "For whom is it worst?", facts.performance_of(model.pipeline)
    slices = performance.worst_first(model.metric, found.slices.get(model.metric, ()))
    if not slices:
        if model.loaded.config.label is None:
            return Answer(question, "open", "It has no outcomes to judge slices by.")
        return Answer(
            question,
            "open",
            "Not known yet.",
            "Slices are judged once outcomes are known; `monitor.slices` in the pipeline's YAML names their columns.",
        )
    first = slices[0]
    overall = found.newest(model.metric)
    beside = f", against {overall.value:.3f} for all" if overall and overall.value is not None else ""
    values = interval(first.value, first.low, first.high)
    words = f"{name(model.metric)} {values} of {plural(first.rows, 'row')}{beside} ({day_text(found.slices_of)})."
    if not _is_apart(first, overall, model):
        lowest = f"The worst value is that of {first.label}: {words} Its interval contains the value of all rows."
        return Answer(question, "good", "For nobody clearly.", lowest)
    others = f" Next: {listed([item.label for item in slices[1:3]])}." if len(slices) > 2 else ""
    return Answer(question, "watch", f"{first.label}.", words + others)


def _is_apart(item: performance.Slice, overall: Point | None, model: Model) -> bool:
    """Return whether a slice is worse than all rows by more than its interval explains."""
    if overall is None or overall.value is None:
        return False
    best = item.high if model.higher_is_better else item.low
    if best is None:
        return False
    return best < overall.value if model.higher_is_better else best > overall.value


def changed(events: Sequence[Event], *, subject: str = "") -> Answer:
    """Answer what changed last; events are newest first."""
    question = "What changed last?"
    shown = [event for event in events if event.day == events[0].day] if events else []
    if not shown:
        return Answer(question, "good", "Nothing.", "No new version, no failure, no alert, no jump in rows.")
    words = [f"{'' if subject else event.pipeline + ': '}{event.words}" for event in shown[:SHOWN_EVENTS]]
    more = f" And {len(shown) - SHOWN_EVENTS} more." if len(shown) > SHOWN_EVENTS else ""
    state = "watch" if any(event.state in ("watch", "bad") for event in shown) else "plain"
    return Answer(question, state, f"On {day_text(shown[0].day)}:", f"{'; '.join(words)}.{more}")


def on(events: Sequence[Event], day: date) -> list[Event]:
    """Return the changes of a day."""
    return [event for event in events if event.day == day]


def actions(facts: Facts, pipeline: str = "") -> list[Action]:
    """Return the things to do, the most urgent first; those of a pipeline, or all."""
    found: list[Action] = []
    if facts.nights:
        night = facts.nights[0]
        for lacking in nights.missing(night, facts.expected):
            found.append(Action(lacking, nights.why(night, lacking), nights.remedy(night, lacking), "bad"))
    for alert in facts.alerts:
        if alert.is_open:
            found.append(
                Action(alert.pipeline, f"open alert: {alert.words}", f"raypipe alerts {alert.pipeline}".strip())
            )
    for name_, model in facts.models.items():
        if still_good(model, facts).state == "bad":
            found.append(Action(name_, "the model is worse than at its fit", f"raypipe fit {name_}", "bad"))
        elif _is_waiting(model):
            reason = f"the challenger {model.challenger.version if model.challenger else ''} waits"
            found.append(Action(name_, reason, f"raypipe models promote {name_} challenger --if-better", "open"))
    for experiment in facts.experiments:
        verdict = experiments.answer(experiment)
        if verdict.state in ("good", "bad"):
            found.append(Action(experiment.name, experiment.decision, "", verdict.state))
    rank = {"bad": 0, "watch": 1, "good": 2, "open": 3}
    chosen = [action for action in found if pipeline in ("", action.pipeline)]
    return sorted(chosen, key=lambda action: rank[action.state])


def _is_waiting(model: Model) -> bool:
    """Return whether a newer version waits beside a champion that is not fitted every night."""
    if model.challenger is None or model.champion is None or model.loaded.config.model.refit == "nightly":
        return False
    return model.challenger.created_at > model.champion.created_at


def what_to_do(found: Sequence[Action]) -> Answer:
    """Answer what to do."""
    question = "What should I do?"
    urgent = [action for action in found if action.state in ("bad", "watch")]
    if not urgent:
        rest = f" {plural(len(found), 'hint')} below can wait." if found else ""
        return Answer(question, "good", "Nothing.", f"No failure, no open alert, no model worse than at its fit.{rest}")
    first = urgent[0]
    command = f" Type `{first.command}`." if first.command else ""
    more = f" And {plural(len(urgent) - 1, 'more thing')}, below." if len(urgent) > 1 else ""
    return Answer(question, first.state, f"{first.pipeline}:", f"{first.why}.{command}{more}")


def models_good(facts: Facts) -> Answer:
    """Answer whether all models are still good."""
    question = "Are the models still good?"
    judged = {name_: still_good(model, facts) for name_, model in facts.models.items()}
    if not judged:
        return Answer(question, "open", "There is no model yet.")
    bad = [name_ for name_, answer in judged.items() if answer.state in ("bad", "watch")]
    unknown = [name_ for name_, answer in judged.items() if answer.state == "open"]
    rest = f" Not known yet: {listed(unknown, 9)}." if unknown else ""
    if bad:
        return Answer(question, "bad", f"Not {listed(bad, 9)}.", f"{judged[bad[0]].details}{rest}")
    good = [name_ for name_, answer in judged.items() if answer.state == "good"]
    if not good:
        return Answer(question, "open", "Not known yet.", judged[unknown[0]].details)
    return Answer(question, "good", f"Yes: {listed(good, 9)}.", rest.strip())


def who_won(facts: Facts) -> Answer | None:
    """Answer which experiments have a winner; None without experiments."""
    if not facts.experiments:
        return None
    found = experiments.answer(facts.experiments[0])
    more = (
        f" {plural(len(facts.experiments) - 1, 'more experiment')} on their page." if len(facts.experiments) > 1 else ""
    )
    return Answer(found.question, found.state, found.words, found.details + more)


def name(metric: str) -> str:
    """Return a metric's name for readers."""
    known = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "ndcg": "NDCG", "f1": "F1", "ece": "ECE"}
    return known.get(metric, metric.replace("_", " "))
