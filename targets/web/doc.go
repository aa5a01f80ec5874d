// Package web is the sample target: a stateless HTTP node, the balancer that stands in
// front of several of them, and the probe for their healthchecks. All three are part
// of the one binary, so that a target needs no image of its own.
//
// A node keeps a count of what it did ([Truth]), which tests hold against what
// was measured. The balancer sends a request to a node once, unless told otherwise, and
// says in a header which nodes it tried: it hides no failure.
package web
