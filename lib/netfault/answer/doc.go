// Package answer carries out the faults that are in what is said and not in packets: look-ups of a node that get no
// answer, a wrong one or a late one, and HTTP answers of a node that are errors, late, or cut.
//
// # Look-ups
//
// A node's look-ups are what it sends to port 53 of anybody, by UDP or TCP. Docker leads those for its own resolver
// (127.0.0.11) to a port that it draws, by a table of its own in the node's namespace. Our rules therefore look at what
// conntrack says of a flow's first destination, or act before Docker's, whatever program has made those and with which tool.
//
// Silent drops on arrival: look-ups on the loopback interface, and answers on every interface. What a node answers
// as a name server for others is left alone. The other modes lead the look-ups to a resolver in this process. A slow
// answer is the true one: the resolver asks whom the node has asked, and holds the answer back. Docker's resolver asks
// other name servers out of the node's namespace; such a look-up, which comes because of ours, is passed at once.
// Connections for look-ups that were there before are reset.
//
// When the fault ends, what is held back goes at once. A socket with which a node has looked something up during the fault and
// that it goes on using is still answered by the resolver, truly, until this process ends; for that, an empty chain stays.
//
// # HTTP
//
// Connections to a node's ports that arrive from elsewhere (not from the node itself: its health checks stay what they
// were) are led to a reverse proxy in this process, which has one connection to the node for each connection of a
// client. The node therefore sees its own address as its peer's. Requests are passed on with their Host and headers and
// without any of ours, apart from what a proxy has to do: headers of one hop (Connection, Keep-Alive, TE) are
// its own, names of headers are written in their canonical form, and a request that HTTP does not allow is refused by the
// proxy. A connection that the node refuses is accepted first and then reset. What does not begin with a
// request of HTTP/1, such as TLS, HTTP/2 or another protocol, is passed through as it is and counted as passed. So
// are CONNECT (where a connection begins with it) and what follows an upgrade.
//
// Established connections are reset when the fault begins, since only new ones can be led elsewhere, and those through
// the proxy when it ends.
//
// # When this process is killed
//
// The kernel removes our table and closes the proxied connections: new look-ups and connections go where they
// went before. Such a UDP socket as above is answered by "port unreachable" until conntrack forgets it; and where nothing else
// in the namespace translates addresses, a client whose request was in the proxy learns of its end by its next packet alone.
package answer
