package scenario

import "github.com/tutti-bench/tutti/lib/fault"

// Words are the keys of the format, by whether this version lacks them; for the test of the reference.
func Words(kinds fault.Kinds) map[string]bool {
	words := make(map[string]bool)
	var walk func(form)
	walk = func(f form) {
		switch f := f.(type) {
		case *keys:
			for _, k := range f.list {
				words[k.name] = k.later
				walk(k.form)
			}
		case shared:
			walk(f.form)
		case many:
			walk(f.of)
		case table:
			walk(f.of)
		case either:
			walk(f.short)
			walk(f.long)
		case requestForm:
			walk(f.request)
			walk(f.session)
		case enum:
			for _, w := range f.words {
				words[w] = false
			}
			for _, w := range f.later {
				words[w] = true
			}
		}
	}
	walk(vocabulary(kinds))
	return words
}
