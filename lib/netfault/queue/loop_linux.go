package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A loop is the thread that serves all queues: it owns the engine and the socket.
type loop struct {
	*engine
	socket   int
	wake     int // an eventfd
	began    time.Time
	in       []byte
	seq      uint32
	commands chan command
	gone     chan struct{} // closed when the thread has ended
	err      error         // why, read after gone is closed
}

type command struct {
	do   func() error
	done chan error
}

var errClosed = errors.New("the queues are closed")

const (
	// batch is how many packets are read, or let go, before the other is looked at.
	batch = 256
	// patience is how long the kernel has to answer a command. It does at once.
	patience = 5 * time.Second
	// largest is the most that a message of the kernel can hold: a packet of 64 KiB and what is said of it.
	largest = 128 << 10
)

// start begins to serve a socket, which the loop closes when it ends.
func start(socket int) (*loop, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{
		engine: newEngine(), socket: socket, wake: wake, began: time.Now(), in: make([]byte, largest),
		commands: make(chan command, 1), gone: make(chan struct{}),
	}
	go l.run()
	return l, nil
}

// run serves until a command says errClosed. A thread of its own wakes up when it asked to; the runtime's timers are
// about 1 ms late.
func (l *loop) run() {
	runtime.LockOSThread() // never unlocked, so that its timer slack goes with it
	// Without slack (50 µs by default) the kernel wakes us when we asked to be woken. Without the right to, we are 50 µs later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer close(l.gone)
	defer unix.Close(l.socket) // the kernel ends the queues
	for l.err == nil {
		more, err := l.receive(batch)
		if err == nil {
			l.release(l.now(), batch)
			err = l.flush()
		}
		if err == nil && !more {
			err = l.wait()
		}
		l.err = err
	}
}

func (l *loop) now() time.Duration { return time.Since(l.began) }

// receive takes up to limit datagrams, and reports whether there may be more.
func (l *loop) receive(limit int) (more bool, err error) {
	for range limit {
		n, err := unix.Read(l.socket, l.in)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS):
			continue // what did not fit is missing in the packets' numbers
		case err != nil:
			return false, fmt.Errorf("read from the kernel's queues: %w", err)
		case n == 0:
			return false, errClosed
		}
		now := l.now()
		// An answer here is to a verdict on a packet that is gone: with its device, for example.
		if err := read(l.in[:n], func(p packet) { l.arrive(p, now) }, func(answer) {}); err != nil {
			return false, err
		}
		if len(l.out) > largest/2 {
			if err := l.flush(); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// flush sends the verdicts. Many go in one datagram, each with its packet's number, so that their order does not matter; the
// kernel's batch verdict would need that all older packets go, too.
func (l *loop) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	for {
		_, err := unix.Write(l.socket, l.out)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			if err := l.poll(time.Millisecond, unix.POLLOUT); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("send verdicts to the kernel's queues: %w", err)
		}
		l.sent(l.now())
		return nil
	}
}

// wait returns when a packet comes or is due, or when a command has been done.
func (l *loop) wait() error {
	timeout := time.Duration(-1)
	if due, ok := l.next(); ok {
		if timeout = due - l.now(); timeout <= 0 {
			return nil
		}
	}
	if err := l.poll(timeout, unix.POLLIN); err != nil {
		return err
	}
	var count [8]byte
	if _, err := unix.Read(l.wake, count[:]); err != nil { // nobody has called
		return nil //nolint:nilerr // EAGAIN says just that, and nothing else can come of an eventfd
	}
	select {
	case c := <-l.commands:
		err := c.do()
		c.done <- err
		if errors.Is(err, errClosed) {
			return errClosed
		}
	default:
	}
	return nil
}

// poll waits for the socket or a call, below 0 for as long as it takes.
func (l *loop) poll(timeout time.Duration, events int16) error {
	var limit *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		limit = &t
	}
	_, err := unix.Ppoll([]unix.PollFd{{Fd: int32(l.socket), Events: events}, {Fd: int32(l.wake), Events: unix.POLLIN}}, limit, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets: %w", err)
	}
	return nil
}

// do has the loop's thread do something between packets. One goroutine calls do and close.
func (l *loop) do(f func() error) error {
	c := command{f, make(chan error, 1)}
	select {
	case <-l.gone:
		return l.err
	case l.commands <- c:
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := unix.Write(l.wake, one[:]); err != nil {
		return fmt.Errorf("call the queues' thread: %w", err)
	}
	select {
	case err := <-c.done:
		return err
	case <-l.gone:
		return l.err
	}
}

// close ends the thread. It is called once.
func (l *loop) close() error {
	err := l.do(func() error { return errClosed })
	<-l.gone
	_ = unix.Close(l.wake)
	if errors.Is(err, errClosed) {
		return nil
	}
	return err
}

// finish ends a rule that leads nothing to its queue any more: what has come until now is served, and what is held let go. Called
// on the loop's thread.
func (l *loop) finish(f *flow) error {
	for range 2 * most / batch { // as much as may be waiting
		if more, err := l.receive(batch); err != nil {
			return err
		} else if !more {
			break
		}
	}
	l.end(f)
	if err := l.flush(); err != nil {
		return err
	}
	// Another processor may still be about to queue the last one.
	if err := l.poll(time.Millisecond, unix.POLLIN); err != nil {
		return err
	}
	if _, err := l.receive(batch); err != nil {
		return err
	}
	return l.flush()
}

// ask sends the kernel a command and waits for its answer. Packets that come meanwhile are served. Called on the loop's
// thread.
func (l *loop) ask(message func(seq uint32) []byte) error {
	l.seq++
	if _, err := unix.Write(l.socket, message(l.seq)); err != nil {
		return err
	}
	for limit := l.now() + patience; l.now() < limit; {
		n, err := unix.Read(l.socket, l.in)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := l.poll(time.Millisecond, unix.POLLIN); err != nil {
				return err
			}
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS):
			continue
		case err != nil:
			return err
		}
		var yes *answer
		now := l.now()
		err = read(l.in[:n], func(p packet) { l.arrive(p, now) }, func(a answer) {
			if a.seq == l.seq {
				yes = &a
			}
		})
		if err != nil {
			return err
		}
		if yes != nil && yes.code != 0 {
			return unix.Errno(-yes.code)
		}
		if yes != nil {
			return nil
		}
	}
	return errors.New("the kernel did not answer")
}

// connect opens the socket in the network namespace of the calling thread.
func connect() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, fmt.Errorf("open a netfilter socket: %w", err)
	}
	// A message takes about 1 KiB of it. Without the right to force it (in a user namespace) it is what the system allows;
	// what does not fit is let through and counted.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4*largest) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*largest)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("open a netfilter socket: %w", err)
	}
	return fd, nil
}

// socketBuffer is for packets that wait to be read, in bytes. The kernel doubles it.
const socketBuffer = 16 << 20
