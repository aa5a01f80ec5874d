package compose

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// A finder finds where a field stands in the files as the user wrote them. What
// comes from an included or extended file is not found: the name must do.
type finder struct {
	files []string
	roots []*yaml.Node // nil where a file is no YAML mapping
}

func newFinder(files []string) *finder {
	f := &finder{files: files, roots: make([]*yaml.Node, len(files))}
	for i, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // compose-go has read it or has said why not
		}
		var doc yaml.Node
		if yaml.Unmarshal(text, &doc) == nil && len(doc.Content) == 1 {
			f.roots[i] = doc.Content[0]
		}
	}
	return f
}

// find returns file:line:column of the longest part of the path that a file has, the
// last file first since it wins a merge; without any, the first file's name.
func (f *finder) find(path []string) string {
	best, at := 0, f.files[0]
	for i := len(f.roots) - 1; i >= 0; i-- {
		if f.roots[i] == nil {
			continue
		}
		if node, depth := descend(f.roots[i], path); depth > best {
			best, at = depth, fmt.Sprintf("%s:%d:%d", f.files[i], node.Line, node.Column)
		}
	}
	return at
}

// descend follows mapping keys and returns the last key that is there.
func descend(n *yaml.Node, path []string) (*yaml.Node, int) {
	at, depth := n, 0
	for _, key := range path {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind != yaml.MappingNode {
			break
		}
		found := false
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				at, n, found = n.Content[i], n.Content[i+1], true
				break
			}
		}
		if !found {
			break
		}
		depth++
	}
	return at, depth
}
