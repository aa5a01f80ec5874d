// Package httpload sends load over HTTP/1.1 with vegeta's attacker: one attacker
// an attack, our schedule under its pacer, our transport under its client, which over
// TLS is net/http's with its replays found out.
//
// What it must not do, because the numbers would lie: send a request twice, as
// net/http does on its own with a GET whose connection died; measure from when a
// worker was free instead of from when the request was due; or blame the target for
// what the generator lacked. A connection that a request had to wait for is part of its
// response time, so [record.Sample.Free] is always [record.None].
package httpload
