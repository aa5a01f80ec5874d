package export

import (
	"fmt"
	"io"
	"math"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tutti-bench/tutti/lib/record"
)

// hdrInterval is what one line of a log sums, in seconds.
const hdrInterval = 1

// Never is where a request that failed stands in a histogram log: it never arrived, and the format has no word for that.
// No timeout is as long.
const Never = time.Hour

// HDR writes a log of interval histograms (format 1.3, encoding V2): response times in nanoseconds, counted from when a
// request was due, one histogram a second, by the second in which they were due. Each trial has two tags: ARM-BLOCK has all requests, of which the failed ones stand
// at [Never], so that a percentile above the availability shows as that; ARM-BLOCK.ok has the good ones alone, and hides what failed.
// Values are within 0.8 %, as in the recording.
func HDR(w io.Writer, scenario string, trials []Trial) error {
	var base time.Time
	for _, t := range trials {
		if z := t.Of.Rec.Zero; !z.IsZero() && (base.IsZero() || z.Before(base)) {
			base = z
		}
	}
	base = base.Truncate(time.Second) // the reader's resolution
	log := hdrhistogram.NewHistogramLogWriter(w)
	for _, line := range []string{
		"scenario " + clean(scenario) + ", by tutti",
		"response times in nanoseconds since each request was due; the tag is ARM-BLOCK",
		fmt.Sprintf("a request that failed never arrived: it stands at %v h; tags that end in .ok have the good ones alone", Never.Hours()),
	} {
		if err := log.OutputComment(line); err != nil {
			return err
		}
	}
	if err := log.OutputLogFormatVersion(); err != nil {
		return err
	}
	if err := log.OutputStartTime(base.UnixMilli()); err != nil {
		return err
	}
	if err := log.OutputBaseTime(base.UnixMilli()); err != nil {
		return err
	}
	if err := log.OutputLegend(); err != nil {
		return err
	}
	log.SetBaseTime(base.UnixMilli())
	arms := words(names(trials))
	for _, t := range trials {
		if t.Of.Rec.Zero.IsZero() {
			continue // its load never began
		}
		for _, ok := range []bool{false, true} {
			if err := hdrTrial(log, label(t, arms), t.Of.Rec, ok); err != nil {
				return err
			}
		}
	}
	return nil
}

// hdrTrial writes the intervals of a trial.
func hdrTrial(log *hdrhistogram.HistogramLogWriter, tag string, r *record.Recording, ok bool) error {
	if ok {
		tag += ".ok"
	}
	h := hdrhistogram.New(1, max(int64(Never), int64(2*r.Timeout)), 3)
	now, begun := 0, false
	flush := func() error {
		if !begun {
			return nil
		}
		start := r.Zero.UnixMilli() + int64(now)*hdrInterval*1000
		h.SetTag(tag)
		h.SetStartTimeMs(start)
		h.SetEndTimeMs(start + hdrInterval*1000)
		err := log.OutputIntervalHistogram(h)
		h.Reset()
		return err
	}
	var failed error
	measured(r, func(at float64, b *record.Bin) {
		if i := int(math.Floor(at/hdrInterval + 1e-9)); !begun || i != now {
			if err := flush(); err != nil {
				failed = err
			}
			now, begun = i, true
		}
		if err := hdrBin(h, b, ok); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return failed
	}
	return flush()
}

func hdrBin(h *hdrhistogram.Histogram, b *record.Bin, ok bool) error {
	for i := range b.Cells {
		c := &b.Cells[i]
		if !c.Class.Good() {
			if !ok {
				if err := h.RecordValues(int64(Never), int64(c.Count)); err != nil {
					return err
				}
			}
			continue
		}
		var failed error
		c.Response.Each(func(value time.Duration, count uint64) {
			if err := h.RecordValues(int64(value), int64(count)); err != nil {
				failed = err
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
