// Package shop is a web shop whose nodes keep nothing that a client could miss: a sample target with the parts that real ones
// have. The catalogue is real work for a processor; sessions are in Redis, or, for comparison, in the node's memory; orders and
// products are in PostgreSQL.
//
// A dependency that is gone costs what needs it and nothing else. Every call of one has a limit, and a breaker behind which it
// is not asked again for a while, so that requests fail fast instead of queueing.
package shop
