package shop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
)

// A catalogue is what a node last knew of all products.
type catalogue struct {
	products []Product
	look     *template.Template
}

func newCatalogue(products []Product) (*catalogue, error) {
	look, err := template.New("catalogue").Parse(catalogueTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue's template: %w", err)
	}
	return &catalogue{products: products, look: look}, nil
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

const catalogueTemplate = `<!doctype html>
<html lang="en"><title>Shop</title>
<h1>Catalogue</h1>
<ul>
{{- range .Products}}
<li><a href="/items/{{.ID}}">{{.Name}}</a> <b>{{.Price}}</b>
{{- end}}
</ul>
</html>
`

// render makes the page anew for each request: it is the work that nodes share.
func (c *catalogue) render() (page, error) {
	var b bytes.Buffer
	if err := c.look.Execute(&b, c); err != nil {
		return page{}, fmt.Errorf("render the catalogue: %w", err)
	}
	sum := sha256.Sum256(b.Bytes())
	return page{html: b.Bytes(), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}, nil
}
