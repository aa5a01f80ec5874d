package rundir

import "io"

// Fill makes a file of all requests as good as full.
func Fill(w io.Writer) { w.(*results).left = 3 }
