// Package gateway is an HTTP face for a key-value store: PUT /kv/KEY keeps the request's body, GET /kv/KEY returns it.
//
// It is as thin as it can be, so that what a client sees is what the store does. It answers a write with 204 when the store has
// acknowledged it, and never before; it sends a write to the store once; and it says what it knows of a write that failed, in the
// status and in the header X-Outcome:
//
//	503  not-done  the store refused the write, or it never left the gateway
//	502  unknown   the connection broke, or the store said that it does not know
//	504  unknown   no answer within the limit
//
// A read that failed has the same statuses, and one of a key that is not there 404.
//
// /healthz answers while the process lives. /readyz answers 200 when every node that the gateway was told of is a working
// member of the store and a write went through; the key that it writes is [ReadyKey].
package gateway
