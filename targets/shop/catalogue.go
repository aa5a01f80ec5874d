package shop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"time"
)

// A catalogue is what a node last knew of all products.
type catalogue struct {
	products []Product
	at       time.Time // when it was loaded
}

// A page is what a browser gets.
type page struct {
	html []byte
	tag  string
}

// Products are for the template.
func (c *catalogue) Products() []Product { return c.products }

// Price is for the template.
func (p Product) Price() string { return fmt.Sprintf("%d.%02d", p.Cents/100, p.Cents%100) }

var catalogueTemplate = template.Must(template.New("catalogue").Parse(`<!doctype html>
<html lang="en"><title>Shop</title>
<h1>Catalogue</h1>
<ul>
{{- range .Products}}
<li><a href="/items/{{.ID}}">{{.Name}}</a> <b>{{.Price}}</b>
{{- end}}
</ul>
</html>
`))

// render makes the page anew for each request: it is the work that nodes share.
func (c *catalogue) render() (page, error) {
	var b bytes.Buffer
	if err := catalogueTemplate.Execute(&b, c); err != nil {
		return page{}, fmt.Errorf("render the catalogue: %w", err)
	}
	sum := sha256.Sum256(b.Bytes())
	return page{html: b.Bytes(), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}, nil
}
