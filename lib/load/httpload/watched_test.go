package httpload

import (
	"context"
	"errors"
	"testing"

	"github.com/tutti-bench/tutti/lib/record"
)

// A header that is written a second time is the end of the request, and a failure: nobody here writes one, but a net/http to come
// might.
func TestSecondWriteIsFoundOut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{cancel: cancel}
	hooks := w.trace()
	hooks.WroteHeaderField("x", nil)
	hooks.WroteHeaders()
	if ctx.Err() != nil || !w.wrote.Load() {
		t.Fatalf("after the first: %v, wrote %v", ctx.Err(), w.wrote.Load())
	}
	if class := w.class(errors.New("other")); class == record.EOF {
		t.Errorf("after the first it is %v", class)
	}
	hooks.WroteHeaders()
	if ctx.Err() == nil {
		t.Fatal("after the second it goes on")
	}
	if class := w.class(context.Canceled); class != record.EOF {
		t.Errorf("after the second it is %v", class)
	}
}
