//go:build !unix

package agent

import "time"

// usage is unknown here.
func usage() (cpu time.Duration, rss uint64) { return 0, 0 }
