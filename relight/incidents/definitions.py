"""What the figures of `relight incidents stats` mean, a sentence each: for the help, the page and the JSON."""

from typing import Final

DEFINITIONS: Final = (
    (
        "MTBF",
        "mean time between failures: the span over the number of incidents that ended a run; the span goes from "
        "--since, or the first opening, to --until, or now.",
    ),
    (
        "MTTD",
        "mean time to detection: from the first line of the cause to the opening of the incident, of those whose "
        "cause has a time that is at most a day before.",
    ),
    (
        "MTTR",
        "mean time to recovery: from the first line of the cause, or the opening where it has no such time, to the end "
        "of the incident, of those that are over.",
    ),
    (
        "Lost GPU hours",
        "of runs that ended, the ranks that saw it times the time until the run went on, or until the last finding: "
        "at least so much, of incidents whose ranks are known.",
    ),
    ("Ended a run", "incidents whose impact is failed: the run did not go on after them."),
    (
        "Hosts",
        "an incident counts for the host that is to blame, where one is; the worst are those with which "
        "most runs ended.",
    ),
    ("Share", "incidents of a row in percent of all incidents; those of several hosts add up to more than 100."),
    ("Week", "the ISO week, in UTC, in which the incident was opened."),
    ("Merged", "incidents that proved to be one with another are not counted, unless --state merged asks for them."),
)
"""Names and sentences, in the order in which they are told."""
