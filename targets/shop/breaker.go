package shop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrUnavailable is wrapped by the errors of a dependency that did not answer, in time or at all.
var ErrUnavailable = errors.New("unavailable")

// A breaker bounds the calls of one dependency.
type breaker struct {
	name  string
	limit time.Duration
	cb    *gobreaker.CircuitBreaker[any]
}

// newBreaker makes the breaker of a dependency whose calls may take as long as limit. After three
// failures in a row nothing is asked for half a second, and then one call says how it is.
func newBreaker(name string, limit time.Duration) *breaker {
	return &breaker{name: name, limit: limit, cb: gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: 500 * time.Millisecond,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 3 },
		IsSuccessful: func(err error) bool { return !errors.Is(err, ErrUnavailable) },
	})}
}

// call runs f with a limit on its time. fault says which of its errors mean that the dependency is not
// there; they come back as [ErrUnavailable], as does a call that was not made.
func call[T any](ctx context.Context, b *breaker, fault func(error) bool, f func(context.Context) (T, error)) (T, error) {
	var out T
	_, err := b.cb.Execute(func() (any, error) {
		within, cancel := context.WithTimeout(ctx, b.limit)
		defer cancel()
		var err error
		if out, err = f(within); err == nil {
			return nil, nil
		}
		if ctx.Err() == nil && fault(err) { // a client that has gone is nobody's fault
			err = fmt.Errorf("%s: %w: %w", b.name, ErrUnavailable, err)
		}
		return nil, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		err = fmt.Errorf("%s: %w: not asked, as it has just failed", b.name, ErrUnavailable)
	}
	return out, err
}
