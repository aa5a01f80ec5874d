package record

import "fmt"

// An Account adds up the bins of one load, to be held against what the generator says of it: every scheduled request has exactly one
// class. The zero value is empty.
type Account struct {
	requests uint64
	seen     map[int]bool
	wrong    error // the first thing that is wrong with a bin
}

// Add adds a bin.
func (a *Account) Add(b *Bin) {
	var classes, good uint64
	for i := range b.Cells {
		classes += b.Cells[i].Count
		if b.Cells[i].Class.Good() {
			good += b.Cells[i].Count
		}
	}
	a.requests += classes
	if a.seen == nil {
		a.seen = make(map[int]bool)
	}
	switch {
	case a.wrong != nil:
	case a.seen[b.Index]:
		a.wrong = fmt.Errorf("bin %d is there twice", b.Index)
	case classes != b.Due:
		a.wrong = fmt.Errorf("%d requests were due in bin %d, and %d have a class", b.Due, b.Index, classes)
	case good != b.Good:
		a.wrong = fmt.Errorf("%d requests of bin %d were good, and %d have a good class", b.Good, b.Index, good)
	}
	a.seen[b.Index] = true
}

// Check is nil if scheduled = the sum of all classes, in all bins together and in each.
func (a *Account) Check(g Generator) error {
	switch {
	case g.Counted != g.Scheduled:
		return fmt.Errorf("%d of %d scheduled requests have an outcome", g.Counted, g.Scheduled)
	case a.wrong != nil:
		return a.wrong
	case a.requests != g.Counted:
		return fmt.Errorf("the recording holds %d requests, the generator counted %d", a.requests, g.Counted)
	}
	return nil
}

// Check holds the bins of one load against what the generator says of it.
func (g Generator) Check(bins []Bin) error {
	var a Account
	for i := range bins {
		a.Add(&bins[i])
	}
	return a.Check(g)
}
