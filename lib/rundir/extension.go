package rundir

// An Extension is what a range of repeats came to.
type Extension struct {
	Most  int    `json:"most"`
	Looks []Look `json:"looks"` // those that were taken
	Why   string `json:"why"`   // why there are not more blocks
}

// A Look is what was seen after so many valid blocks.
type Look struct {
	Blocks  int      `json:"blocks"`
	Verdict Verdict  `json:"verdict"`
	Open    []string `json:"open"` // objectives that gate and had neither passed nor failed
}
