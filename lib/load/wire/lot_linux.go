package wire

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A lot is where lanes are parked whose answers are long in coming. A goroutine that waits needs 4 KiB of stack, and ten thousand of them forty
// megabytes; a lane that is parked needs its connection and a place here.
//
// One goroutine keeps it. Whoever has waited for the transport's patience it tells to go, by a read deadline in the past, and they
// park. Of those the kernel tells it by an epoll instance, which the runtime's poller watches as it does any other file: whose
// connection has something to read, or has ended, is called, and so is whose deadline has passed.
type lot struct {
	patience time.Duration
	epoch    time.Time // what durations count from
	poll     *os.File
	raw      syscall.RawConn // of poll
	gone     chan struct{}   // closed when nobody keeps it any more

	mu     sync.Mutex
	next   time.Duration // when the keeper looks around
	nudged time.Duration // when it last did at those who are not parked
	all    []*shot       // that may park
	parked []place
	free   []int32 // of parked
	ended  bool
}

// A place is one lane's.
type place struct {
	shot  *shot // nil: free
	limit time.Duration
}

const (
	// tick is how often a lot looks for those who have waited too long, and rest how often at most for those whose time is up.
	tick = 20 * time.Millisecond
	rest = time.Millisecond
	// batch is how many are called before they have a chance to do their work: each has a stack of its own.
	batch = 64
)

// newLot makes a lot, or none if the system has no room for it: then lanes keep their goroutines.
func newLot(t *Transport) *lot {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // without which the runtime does not watch it
		_ = syscall.Close(fd)
		return nil
	}
	l := &lot{patience: t.o.Patience, epoch: t.epoch, poll: os.NewFile(uintptr(fd), "epoll"), gone: make(chan struct{})}
	if l.raw, err = l.poll.SyscallConn(); err == nil {
		err = l.poll.SetReadDeadline(time.Now()) // it fails if the runtime does not watch it after all
	}
	if err != nil {
		_ = l.poll.Close()
		return nil
	}
	go l.keep()
	return l
}

// enter makes a shot one that may park.
func (l *lot) enter(s *shot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.entry = len(l.all)
	l.all = append(l.all, s)
}

// leave makes it one that may not. It is not parked.
func (l *lot) leave(s *shot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.all[len(l.all)-1]
	l.all[s.entry], last.entry = last, s.entry
	l.all[len(l.all)-1], l.all = nil, l.all[:len(l.all)-1]
}

// park parks it, and reports whether it has: then it belongs to its owner's ready, which may have been called already.
func (l *lot) park(s *shot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	n := len(l.free)
	if n == 0 {
		l.parked = append(l.parked, place{})
		l.free = append(l.free, int32(len(l.parked)-1))
		n = 1
	}
	at := l.free[n-1]
	// Under the lock, so that nobody is called from a place whose connection is not watched yet.
	if !l.control(s.raw, syscall.EPOLL_CTL_ADD, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT, Fd: at}) {
		return false // the connection has been closed, or the kernel watches no more
	}
	l.free = l.free[:n-1]
	limit := s.c.limit
	l.parked[at] = place{s, limit}
	if limit < l.next {
		l.wake(limit)
	}
	return true
}

// take frees a place, and returns whose it was; nil if it is free.
func (l *lot) take(at int32) *shot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.parked[at].shot
	if s != nil {
		l.parked[at] = place{}
		l.free = append(l.free, at)
	}
	return s
}

// control changes what the kernel watches. It fails on a closed connection.
func (l *lot) control(raw syscall.RawConn, op int, e *syscall.EpollEvent) bool {
	var err error
	outer := l.raw.Control(func(poll uintptr) {
		if inner := raw.Control(func(fd uintptr) { err = syscall.EpollCtl(int(poll), op, int(fd), e) }); inner != nil {
			err = inner
		}
	})
	return outer == nil && err == nil
}

// wake has the keeper look around at a moment. The lock is held.
func (l *lot) wake(at time.Duration) {
	l.next = at
	_ = l.poll.SetReadDeadline(l.epoch.Add(at)) // it is open until the keeper has gone
}

// keep calls those who are to be called, until the end.
func (l *lot) keep() {
	defer close(l.gone)
	defer l.poll.Close()
	events := make([]syscall.EpollEvent, batch)
	n := 0
	fetch := func(fd uintptr) { n, _ = syscall.EpollWait(int(fd), events, 0) }
	for !l.look() {
		n = 0
		err := l.raw.Read(func(fd uintptr) bool { fetch(fd); return n > 0 })
		if err != nil { // it is time to look around, and may have been so before anything was fetched
			_ = l.raw.Control(fetch)
		}
		for _, e := range events[:max(n, 0)] {
			l.call(e.Fd)
		}
		runtime.Gosched()
	}
}

// look looks around, if it is time: it tells those to go who have waited for long, and calls those whose time is up. At the end it calls all, and
// reports that.
func (l *lot) look() (ended bool) {
	late, ended := l.late()
	for i, at := range late {
		if i%batch == batch-1 {
			runtime.Gosched()
		}
		l.call(at)
	}
	return ended
}

// late is who is to be called without a word of the kernel's.
func (l *lot) late() (late []int32, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.epoch)
	if !l.ended && now < l.next {
		return nil, false
	}
	next := now + tick
	for at, p := range l.parked {
		switch {
		case p.shot == nil:
		case l.ended || p.limit <= now:
			late = append(late, int32(at))
		default:
			next = min(next, p.limit)
		}
	}
	if l.ended {
		return late, true
	}
	if now >= l.nudged+tick {
		l.nudged = now
		for _, s := range l.all {
			s.nudge(now, l.patience)
		}
	}
	l.wake(max(next, now+rest))
	return late, false
}

// nudge tells the goroutine that waits here to go, if it has waited for long enough. It may be another exchange by then, which finds out and
// stays. Any goroutine may call it.
func (s *shot) nudge(now, patience time.Duration) {
	since := time.Duration(s.since.Load())
	if since == 0 || now-since < max(patience, tick) {
		return
	}
	if c := s.on.Load(); c != nil {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // it fails on a closed connection, where nobody waits
	}
}

// call has the owner of whoever is parked there go on. Only the keeper calls, so that what the kernel said before concerns nobody who came
// since.
func (l *lot) call(at int32) {
	s := l.take(at)
	if s == nil {
		return
	}
	l.control(s.raw, syscall.EPOLL_CTL_DEL, &syscall.EpollEvent{}) // it fails on a closed connection, which nobody watches
	go s.ready()
}

// end calls everybody who is parked, keeps others from it, and returns when that is done.
func (l *lot) end() {
	l.mu.Lock()
	if !l.ended {
		l.ended = true
		l.wake(0)
	}
	l.mu.Unlock()
	<-l.gone
}
