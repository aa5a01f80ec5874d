package reports

import (
	"io"

	tutti "github.com/tutti-bench/tutti/lib"
)

// ThinHTML writes a page of which the data may hold so many bytes of trials.
func ThinHTML(w io.Writer, r *tutti.Result, data int) error {
	s := newSheet(r)
	s.detail.data = data
	return s.page(w)
}

// Levels is how many there are.
func Levels() int { return len(detailLevels) }

// LevelHTML writes a page with the detail of a level, whatever its size.
func LevelHTML(w io.Writer, r *tutti.Result, level int) error {
	s := newSheet(r)
	s.detail = detailLevels[level]
	return s.page(w)
}
