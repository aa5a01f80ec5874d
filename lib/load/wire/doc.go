// Package wire sends HTTP/1.1 requests over plain TCP, each of them once.
//
// A [Transport] is an http.RoundTripper for those who measure. Nothing is sent a
// second time, whatever became of the connection; each failure is an [Error] of one
// [Kind], and a shortage of our own is never blamed on the peer. See the README for
// what it holds to and how it differs from net/http.
package wire
