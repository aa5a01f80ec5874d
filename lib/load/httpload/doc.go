// Package httpload sends load over HTTP, by one of two engines.
//
// attack is vegeta's attacker, with our schedule under its pacer and our wire under its client. turbo is a loop of our own, for rates
// that the attacker cannot hold and for more open requests than it has room for: a request whose answer is long in coming keeps no goroutine. Both take the same claims of a schedule, send
// them in the same way and judge them by the same rules; they differ in who wakes whom.
//
//	schedule ─► attack: vegeta's pacer and workers ─┐
//	         └► turbo:  gate and workers ───────────┴► send ─► lane (plain HTTP) or carrier (sessions, TLS, HTTP/2) ─► sample
//
// What they must not do, because the numbers would lie: send a request twice, as
// net/http does on its own with a GET whose connection died; measure from when a
// worker was free instead of from when the request was due; or blame the target for
// what the generator lacked.
//
// A request that is due while all connections are taken waits for one, to its deadline. It waits as a number in the schedule and
// costs nothing. Its [record.Sample.Free] says when a connection came free; what the pacer overslept before that
// is in [record.Sample.Late]; the time from then on until it was sent is the generator's own. A request for which none came
// free in time is [record.Shed], the target's doing; one that the generator came to too late by itself is [record.Unsent]. The
// time that a new connection takes is part of the service time.
package httpload
