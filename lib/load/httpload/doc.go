// Package httpload sends load over HTTP with vegeta's attacker: one attacker
// an attack, our schedule under its pacer, and under its client what carries the requests. Plain HTTP/1.1 goes by our own
// transport; TLS and HTTP/2 by single connections of net/http's, in a pool of ours, because its own sends requests again.
//
// What it must not do, because the numbers would lie: send a request twice, as
// net/http does on its own with a GET whose connection died; measure from when a
// worker was free instead of from when the request was due; or blame the target for
// what the generator lacked. A connection that a request had to wait for is part of its
// response time, so [record.Sample.Free] is always [record.None].
package httpload
