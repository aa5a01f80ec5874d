package tutti

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tutti-bench/tutti/lib/agent"
	"github.com/tutti-bench/tutti/lib/target"
)

// primitivesLimit bounds the trying of what the kernel can do.
const primitivesLimit = 30 * time.Second

// primitives asks what the kernel can do where helpers run, by trying it there, in a network namespace of its own. A
// driver without helpers has none, which is no error.
func primitives(ctx context.Context, d target.Driver, run string) (map[string]target.Primitive, error) {
	scratch, ok := d.(target.Scratcher)
	if !ok {
		return map[string]target.Primitive{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, primitivesLimit)
	defer cancel()
	found, err := tryPrimitives(ctx, scratch, run)
	if err != nil {
		return nil, &target.UnavailableError{What: "try what the engine's kernel can do to a network", Err: err, Hint: "nothing was started"}
	}
	return found, nil
}

func tryPrimitives(ctx context.Context, scratch target.Scratcher, run string) (_ map[string]target.Primitive, err error) {
	p, err := scratch.Scratch(ctx, run, target.InNetwork, "helper", "probe")
	if err != nil {
		return nil, err
	}
	h, err := agent.DialHelper(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	parts, err := h.Read(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string]target.Primitive, len(parts))
	for name, raw := range parts {
		var one target.Primitive
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, fmt.Errorf("what the helper says of %s is not understood: %w", name, err)
		}
		found[name] = one
	}
	return found, nil
}
