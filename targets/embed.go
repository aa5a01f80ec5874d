// Package targets holds the sample targets' Compose files, for a binary that runs far from
// its source tree. Each target's programs are in a package below.
package targets

import "embed"

// Files are the Compose files, at the paths that they have below this folder.
//
//go:embed web/compose*.yaml
var Files embed.FS
