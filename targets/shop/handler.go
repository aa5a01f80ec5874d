package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// cookieName is the cookie that carries a session.
const cookieName = "session"

// maxBody bounds a request's body, in bytes.
const maxBody = 4 << 10

func (n *Node) handler() http.Handler {
	shop := http.NewServeMux()
	shop.HandleFunc("GET /{$}", n.getCatalogue)
	shop.HandleFunc("GET /items/{id}", n.getItem)
	shop.HandleFunc("POST /login", n.login)
	shop.HandleFunc("GET /cart", n.getCart)
	shop.HandleFunc("POST /cart", n.addToCart)
	shop.HandleFunc("POST /orders", n.order)
	shop.HandleFunc("GET /orders/{id}", n.getOrder)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", n.alive)
	mux.HandleFunc("GET /readyz", n.ready)
	mux.HandleFunc("POST /debug/bug", n.bug)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if pause(r.Context(), n.Delay) == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			shop.ServeHTTP(w, r)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(HeaderNode, n.Name)
		mux.ServeHTTP(w, r)
	})
}

// alive answers for the process itself. What it depends on is none of it: restarting a node does not mend a database.
func (n *Node) alive(w http.ResponseWriter, _ *http.Request) {
	if n.stuck() {
		reply(w, http.StatusServiceUnavailable, map[string]any{"alive": false})
		return
	}
	reply(w, http.StatusOK, map[string]any{"alive": true})
}

// ready says whether the node wants requests.
func (n *Node) ready(w http.ResponseWriter, _ *http.Request) {
	status := http.StatusOK
	why := n.unready()
	if len(why) > 0 {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]any{"ready": len(why) == 0, "why": why, "degraded": n.degraded()})
}

// bug is a mistake of the program's: it ends as a real one would, with a trace and exit code 2. Only what runs in the node itself may ask
// for it.
func (n *Node) bug(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	var none *catalogue
	// Outside of a handler, where nobody recovers from it; a moment later, so that the answer is out.
	time.AfterFunc(50*time.Millisecond, func() { n.Log.Info("never said", "products", len(none.products)) })
}

func (n *Node) getCatalogue(w http.ResponseWriter, _ *http.Request) {
	c := n.catalogue.Load()
	if c == nil {
		n.fail(w, fmt.Errorf("catalogue: %w", ErrUnavailable))
		return
	}
	page, err := c.render()
	if err != nil {
		n.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("ETag", page.tag)
	_, _ = w.Write(page.html) // the client has gone: nobody to tell
}

func (n *Node) getItem(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	p, how, err := n.product(r.Context(), id)
	if err != nil {
		n.fail(w, err)
		return
	}
	w.Header().Set("X-Cache", how)
	reply(w, http.StatusOK, p)
}

// product looks into the cache, then into the database.
func (n *Node) product(ctx context.Context, id int) (p *Product, how string, err error) {
	if !n.Cache {
		p, err = n.Database.Product(ctx, id)
		return p, "none", err
	}
	p, err = n.Redis.Product(ctx, id)
	switch {
	case p != nil:
		return p, "hit", nil
	case err != nil && n.CacheRequired:
		return nil, "", err
	}
	how = "miss"
	gone := err != nil
	if gone {
		how = "bypass"
	}
	if p, err = n.Database.Product(ctx, id); err == nil && !gone {
		_ = n.Redis.Keep(ctx, p) // the next one asks the database as well
	}
	return p, how, err
}

func (n *Node) login(w http.ResponseWriter, r *http.Request) {
	var who struct {
		User string `json:"user"`
	}
	if !n.read(w, r, &who) {
		return
	}
	if who.User == "" {
		http.Error(w, "user is missing", http.StatusBadRequest)
		return
	}
	id, err := n.Sessions.Login(r.Context(), who.User)
	if err != nil {
		n.fail(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(sessionLife.Seconds()),
	})
	reply(w, http.StatusOK, map[string]any{"session": id})
}

func (n *Node) getCart(w http.ResponseWriter, r *http.Request) {
	n.cart(w, r, n.Sessions.Cart)
}

func (n *Node) addToCart(w http.ResponseWriter, r *http.Request) {
	var what struct {
		Product  int `json:"product"`
		Quantity int `json:"quantity"`
	}
	if !n.read(w, r, &what) {
		return
	}
	if what.Product < 1 || what.Quantity < 1 || what.Quantity > 1000 {
		http.Error(w, "product must be above 0, and quantity 1 to 1000", http.StatusBadRequest)
		return
	}
	n.cart(w, r, func(ctx context.Context, id string) (Cart, error) {
		return n.Sessions.Add(ctx, id, what.Product, what.Quantity)
	})
}

// cart answers with what do makes of the session's cart.
func (n *Node) cart(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, id string) (Cart, error)) {
	c, err := r.Cookie(cookieName)
	if err != nil || c.Value == "" || len(c.Value) > 64 {
		n.fail(w, ErrNoSession)
		return
	}
	cart, err := do(r.Context(), c.Value)
	if err != nil {
		n.fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"cart": cart})
}

func (n *Node) order(w http.ResponseWriter, r *http.Request) {
	var what struct {
		Product  int `json:"product"`
		Quantity int `json:"quantity"`
	}
	if !n.read(w, r, &what) {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if what.Product < 1 || what.Quantity < 1 || what.Quantity > 1000 || len(key) > 128 {
		http.Error(w, "product must be above 0, quantity 1 to 1000, Idempotency-Key at most 128 bytes", http.StatusBadRequest)
		return
	}
	o, err := n.Database.Order(r.Context(), Order{Product: what.Product, Quantity: what.Quantity, Node: n.Name}, key)
	if err != nil {
		n.fail(w, err)
		return
	}
	w.Header().Set("Location", "/orders/"+strconv.FormatInt(o.ID, 10))
	reply(w, http.StatusCreated, o)
}

func (n *Node) getOrder(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	o, err := n.Database.FindOrder(r.Context(), id)
	if err != nil {
		n.fail(w, err)
		return
	}
	reply(w, http.StatusOK, o)
}

// read takes a JSON body, or answers why it does not.
func (n *Node) read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		http.Error(w, "the body is not as expected: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// fail answers with what an error means to the client.
func (n *Node) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var late net.Error
	switch {
	case errors.Is(err, ErrNoSession):
		status = http.StatusUnauthorized
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, ErrFull):
		status = http.StatusInsufficientStorage
	case errors.Is(err, ErrUnavailable), errors.As(err, &late):
		w.Header().Set("Retry-After", "1")
		status = http.StatusServiceUnavailable
	default:
		n.Log.Error("request failed", "error", err)
	}
	reply(w, status, map[string]any{"error": err.Error()})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nobody to tell
}
