package answer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFlows   = 4096 // connections through the proxy at once, of about 30 kB each; more wait to be accepted
	dialFor    = 10 * time.Second
	maxHeaders = 1 << 20 // bytes of an answer's headers
	copyBuffer = 32 << 10
)

// A proxy stands between clients and the node's ports, and answers in the node's place as the rules say. Who made
// it closes it.
type proxy struct {
	rules atomic.Pointer[map[uint16][]*served] // by port
	wires wires

	cancel context.CancelFunc // ends the context that all of it works in
	all    sync.WaitGroup
	slots  chan struct{}

	listeners []net.Listener
	server    *http.Server
	forward   *httputil.ReverseProxy
	feed      *feed
	buffers   sync.Pool

	mu     sync.Mutex
	flows  map[*flow]struct{}
	closed bool
}

// newProxy listens on all addresses. Nothing is led to it yet, and what comes to it unled is reset. It lasts until it
// is closed, longer than ctx.
func newProxy(ctx context.Context, w wires) (*proxy, error) {
	p := &proxy{
		wires: w, slots: make(chan struct{}, maxFlows), flows: make(map[*flow]struct{}),
		feed: &feed{conns: make(chan net.Conn), done: make(chan struct{})},
	}
	p.rules.Store(&map[uint16][]*served{})
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // what clients and nodes do wrong is not ours to tell
	p.forward = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: flowTransport{}, FlushInterval: -1, ErrorLog: quiet, BufferPool: (*buffers)(&p.buffers),
		ModifyResponse: modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = &http.Server{
		Handler: p, ErrorLog: quiet, DisableGeneralOptionsHandler: true,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, flowKey{}, c.(*clientConn).flow)
		},
		ConnState: func(c net.Conn, s http.ConnState) { c.(*clientConn).flow.state(s) },
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := new(net.ListenConfig).Listen(ctx, network, ":0")
		if err != nil {
			if network == "tcp6" && !speaksIPv6() {
				continue
			}
			return nil, errors.Join(err, p.Close())
		}
		p.listeners = append(p.listeners, l)
	}
	for _, l := range p.listeners {
		p.all.Go(func() { p.accept(ctx, l) })
	}
	p.all.Go(func() { _ = p.server.Serve(p.feed) }) // its error is that we have closed it
	return p, nil
}

// Close ends it and what goes through it, and returns when nothing of it runs.
func (p *proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.reset(nil)
	_ = p.server.Close()
	p.all.Wait()
	return nil
}

// reset resets the connections through the proxy to the ports that are not in stay, and counts them by port.
func (p *proxy) reset(stay map[uint16][]*served) map[uint16]uint64 {
	p.mu.Lock()
	var gone []*flow
	n := make(map[uint16]uint64)
	for f := range p.flows {
		if _, ok := stay[f.node.Port()]; !ok {
			gone = append(gone, f)
			n[f.node.Port()]++
		}
	}
	p.mu.Unlock()
	for _, f := range gone {
		f.reset()
	}
	return n
}

func (p *proxy) accept(ctx context.Context, l net.Listener) {
	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := l.Accept()
		if err != nil {
			<-p.slots
			if errors.Is(err, net.ErrClosed) || !rest(ctx) {
				return
			}
			continue
		}
		p.all.Go(func() { p.begin(ctx, c) })
	}
}

// begin connects a client to the node, finds out what they speak, and hands HTTP to the server.
func (p *proxy) begin(ctx context.Context, client net.Conn) {
	node, err := p.wires.original(client)
	f := &flow{proxy: p, client: client, node: node}
	if !p.add(f) {
		reset(client)
		<-p.slots
		return
	}
	rules, led := (*p.rules.Load())[node.Port()]
	if err != nil || !led { // who comes unasked, or when it is over
		f.reset()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialFor)
	defer cancel()
	server, err := p.wires.dial(ctx, "tcp", node.String())
	if err != nil || !f.connect(server) {
		f.reset()
		return
	}
	switch f.greet() {
	case speaksHTTP:
		if !p.feed.give(&clientConn{Conn: client, flow: f}) {
			f.end()
		}
	case speaksElse:
		for _, s := range rules {
			s.passed.Add(1)
		}
		f.splice()
	case speaksNothing:
		f.splice()
	}
}

func (p *proxy) add(f *flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.flows[f] = struct{}{}
	return true
}

// ServeHTTP answers a request by the rules of its port, or lets the node answer it.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.all.Done()
	f := r.Context().Value(flowKey{}).(*flow)
	if r.Method == http.MethodConnect {
		panic(http.ErrAbortHandler) // those that a connection begins with never come here
	}
	f.cut = false
	for _, s := range (*p.rules.Load())[f.node.Port()] {
		if !s.about(r.URL.Path) {
			continue
		}
		s.packets.Add(1)
		if !s.draw() {
			continue
		}
		s.hit.Add(1)
		if s.Delay > 0 && !s.hold(r.Context(), time.Now()) {
			continue // the rule is over, or the client gone
		}
		if s.Status != 0 {
			http.Error(w, http.StatusText(s.Status), s.Status)
			return
		}
		f.cut = f.cut || s.Cut
	}
	p.forward.ServeHTTP(&exact{ResponseWriter: w, flush: f.cut}, r)
}

// enter counts a request, unless the proxy is closed.
func (p *proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.all.Add(1)
	}
	return !p.closed
}

type flowKey struct{}

// rewrite undoes what ReverseProxy does to a request beyond what has to be.
func rewrite(r *httputil.ProxyRequest) {
	f := r.In.Context().Value(flowKey{}).(*flow)
	r.Out.URL.Scheme, r.Out.URL.Host = "http", f.node.String()
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Close = r.In.Close && r.In.ProtoAtLeast(1, 1) // before, it went without saying
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = v
		}
	}
}

// modify cuts an answer that is to be cut, and says when the node is about to close the connection.
func modify(r *http.Response) error {
	f := r.Request.Context().Value(flowKey{}).(*flow)
	if r.Close {
		r.Header.Set("Connection", "close")
	}
	if !f.cut || r.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if r.ContentLength == 0 || r.Request.Method == http.MethodHead || r.Body == http.NoBody {
		return errCut // there is no body that could be cut
	}
	r.Body = &cutBody{ReadCloser: r.Body, left: max(0, r.ContentLength/2)}
	return nil
}

var errCut = errors.New("cut by a fault")

// A cutBody ends in the middle.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (c *cutBody) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// exact is a ResponseWriter that adds nothing to what the node has said.
type exact struct {
	http.ResponseWriter
	flush bool // the headers at once
}

func (e *exact) WriteHeader(code int) {
	if h := e.Header(); code >= 200 {
		for _, name := range []string{"Date", "Content-Type"} {
			if _, ok := h[name]; !ok {
				h[name] = nil // the server's sign for: none
			}
		}
	}
	e.ResponseWriter.WriteHeader(code)
	if e.flush && code >= 200 {
		_ = http.NewResponseController(e.ResponseWriter).Flush() // fails where the client is gone
	}
}

func (e *exact) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// flowTransport sends each request over its flow's own connection to the node.
type flowTransport struct{}

func (flowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return r.Context().Value(flowKey{}).(*flow).transport.RoundTrip(r)
}

// A feed is the server's listener: it accepts connections whose first line is known.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (f *feed) give(c net.Conn) bool {
	select {
	case f.conns <- c:
		return true
	case <-f.done:
		return false
	}
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

// buffers are what bodies are copied with.
type buffers sync.Pool

func (b *buffers) Get() []byte {
	if one, ok := (*sync.Pool)(b).Get().(*[]byte); ok {
		return *one
	}
	return make([]byte, copyBuffer)
}

func (b *buffers) Put(one []byte) { (*sync.Pool)(b).Put(&one) }
