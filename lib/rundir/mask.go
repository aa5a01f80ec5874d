package rundir

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// minSecret is the shortest value that is masked: shorter ones stand everywhere by chance.
const minSecret = 4

const masked = "***"

// Mask replaces the values of keys that name secrets by asterisks, wherever they
// stand in the text, so that a scenario can be kept and shown. Lines keep their numbers.
func Mask(src []byte) []byte {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return src // it was parsed before; nothing to find in what cannot be read
	}
	secret := regexp.MustCompile(`(?i)(passw|secret|token|api[-_]?key|authorization|cookie|credential|private[-_]?key)`)
	text := string(src)
	for _, value := range secrets(&doc, secret, false) {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= minSecret {
				text = strings.ReplaceAll(text, line, masked)
			}
		}
	}
	return []byte(text)
}

// secrets collects the scalars below keys that match.
func secrets(n *yaml.Node, key *regexp.Regexp, inside bool) []string {
	var found []string
	switch n.Kind {
	case yaml.ScalarNode:
		if inside {
			found = append(found, n.Value)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			found = append(found, secrets(n.Content[i+1], key, inside || key.MatchString(n.Content[i].Value))...)
		}
	default:
		for _, c := range n.Content {
			found = append(found, secrets(c, key, inside)...)
		}
	}
	return found
}
