// Package scenarios holds the ready scenarios, for a binary that runs far from its source
// tree.
package scenarios

import "embed"

// Files are the scenarios and the schema that they name, at the paths that they have below this folder. Their
// targets are in package targets, at ../targets. The planted defects are not among them:
// they test tutti, and nobody's target.
//
//go:embed *.yaml scenario.schema.json
var Files embed.FS
