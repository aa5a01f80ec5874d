// Package reports draws a run that is over: as a page of HTML, on the terminal,
// as Markdown for a job's summary, as JUnit XML, as OpenMetrics and as annotations for GitHub; what a
// verdict is to a pipeline is a [Policy]. It also shows a run while it goes on, see [Live].
//
// Everything is drawn from a [tutti.Result] and from nothing else: no clock, no
// disk, no network, so that the same result gives the same bytes. All formats are
// written from one sheet of tables and one sentence, so that their numbers cannot
// disagree. Names, errors and headers come from a target and are taken for hostile:
// they stay text in every format.
//
// [HTML] carries the [Data] that its numbers come from; [Figures] are its figures as files. README.md says what each shows.
//
// Drawing never judges. A figure that cannot be drawn is a visible note, and the
// verdict stands.
package reports
