// Package tally sends usage events to tallyd and knows what became of them.
//
//	client, err := tally.Open(tally.Options{Server: "127.0.0.1:24224"})
//	id, err := client.Send(tally.Event{Subject: "acme", Type: "api_call", Value: 1})
//	err = client.Close(ctx)
//
// Events are gathered in a batch. Large or old enough, it is sealed into a frame (Forward protocol
// v1, PackedForward), whose bytes never change again. A goroutine sends frames and keeps each until
// the server acked it; after a lost connection all unacked frames go out again in their order. Id,
// time and chunk are filled in once, so the server counts nothing twice. Any goroutine may use a
// client.
package tally

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	ErrFull    = errors.New("tally: the buffer is full, nothing was taken")
	ErrInvalid = errors.New("tally: invalid")
	ErrUnacked = errors.New("tally: not everything is acked")
	ErrClosed  = errors.New("tally: the client is closed")
)

const (
	frameBytes = 512 // what a frame adds to its events, at most
	headBytes  = 12  // of these, what stands before the events
)

// Options: what is zero has its default.
type Options struct {
	Server          string        // "HOST:PORT" or "unix:PATH"; default "127.0.0.1:24224"
	BufferBytes     int           // all that is unacked; default 64 MiB, at least 128 KiB
	BatchBytes      int           // a batch is sent at this size; default 256 KiB, at most 8 MiB
	BatchEvents     int           // or this count; default 1000, at most 65536
	BatchAge        time.Duration // or this age; default 50 ms
	InFlightBatches int           // unacked batches on the wire at once; default 8, at most 256
	AckTimeout      time.Duration // reconnect when no ack comes for so long; default 30 s
	ConnectTimeout  time.Duration // default 5 s
	RetryMin        time.Duration // first pause after a failure, doubled to RetryMax; default 100 ms
	RetryMax        time.Duration // default 10 s
	Backfill        string        // batch name: events of any age are accepted (needs the right)
	// Called on the client's goroutine for each event that was not counted; it must not call the
	// client but Send and Stats. Nil: they are counted only.
	OnRefusal func(Refusal)
}

// Event is some usage. Value: an integer, a float, decimal text, or a number that knows its text, such
// as *big.Int; nil is 1. Properties: what JSON could hold; the names subject, type, id, source and value are
// reserved.
type Event struct {
	Subject    string // whose usage it is: 1-255 bytes
	Type       string // 1-100 bytes
	ID         string // idempotency key, 1-128 bytes; empty: a UUIDv7
	Source     string // part of the identity, at most 255 bytes
	Value      any
	Time       time.Time // zero: now
	Properties map[string]any
}

// Refusal is what the server said of an event that it did not count.
type Refusal struct {
	Event      map[string]any // as it was sent: subject, type, id, ... and the properties
	Reason     string         // as the server names it
	IsConflict bool           // the id was used before with another payload
}

// Stats counts since Open.
type Stats struct {
	EventsSent, EventsAcked, EventsDuplicate, EventsRejected, EventsConflict uint64
	EventsBuffered, BufferedBytes                                            int // not acked yet
	BatchesResent, Connects                                                  uint64
	IsConnected                                                              bool
	LastError                                                                string // of the connection
}

type batch struct {
	sequence, sends, count, size int
	chunk                        string
	frame                        []byte
}

// Client: the state is guarded by the mutex. The batches unacked[:flying] are on the wire, the
// others wait; then comes the batch being filled.
type Client struct {
	options  Options
	mutex    sync.Mutex
	changed  chan struct{}   // closed and made anew at each change that somebody may wait for
	wake     chan struct{}   // to the goroutine: there is something to do
	context  context.Context // ends at Close
	cancel   context.CancelFunc
	done     chan struct{}
	stats    Stats
	entries  []byte // of the batch being filled
	count    int
	opened   time.Time
	heard    time.Time // of an ack, or when something was first put in flight
	unacked  []*batch
	flying   int
	sealed   int
	pause    time.Duration
	isClosed bool
}

// Open starts the goroutine, which connects in the background.
func Open(options Options) (*Client, error) {
	if err := options.complete(); err != nil {
		return nil, err
	}
	client := &Client{options: options, pause: options.RetryMin, changed: make(chan struct{}),
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	client.context, client.cancel = context.WithCancel(context.Background())
	go client.run()
	return client, nil
}

// Stats returns a copy.
func (c *Client) Stats() Stats {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.stats
}

// Send takes the event and returns its id, at once. After ErrFull and ErrInvalid nothing was taken.
func (c *Client) Send(event Event) (string, error) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	return c.SendWait(canceled, event)
}

// SendWait is Send that waits for room.
func (c *Client) SendWait(ctx context.Context, event Event) (string, error) {
	if event.ID == "" {
		event.ID = UUID7()
	}
	entry, err := packEntry(event)
	if err != nil {
		return "", err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for !c.isClosed {
		size := len(entry)
		if c.count == 0 {
			size += frameBytes
		}
		if c.stats.BufferedBytes+size <= c.options.BufferBytes {
			c.take(entry, size)
			return event.ID, nil
		}
		if !c.change(ctx) {
			return "", ErrFull
		}
	}
	return "", ErrClosed
}

// Flush sends what is batched and waits until all sent before is acked.
func (c *Client) Flush(ctx context.Context) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.seal()
	for sealed := c.sealed; len(c.unacked) > 0 && c.unacked[0].sequence <= sealed; {
		if !c.change(ctx) {
			return fmt.Errorf("%w: %d events; %s", ErrUnacked, c.stats.EventsBuffered, c.stats.LastError)
		}
	}
	return nil
}

// Close flushes, then closes in any case. ErrUnacked: some events were not acked.
func (c *Client) Close(ctx context.Context) error {
	c.mutex.Lock()
	c.isClosed = true
	c.announce()
	c.mutex.Unlock()
	err := c.Flush(ctx)
	c.cancel()
	<-c.done
	return err
}

// --- with the mutex held ---

func (c *Client) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Waits for a change; false: the time is over.
func (c *Client) change(ctx context.Context) bool {
	changed := c.changed
	c.mutex.Unlock()
	defer c.mutex.Lock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	case <-c.done:
		return false
	}
}

func (c *Client) take(entry []byte, size int) {
	c.stats.EventsSent++
	c.stats.EventsBuffered++
	c.stats.BufferedBytes += size
	c.entries = append(c.entries, entry...)
	if c.count++; c.count == 1 {
		c.opened = time.Now()
		c.rouse()
	}
	if c.count >= c.options.BatchEvents || len(c.entries) >= c.options.BatchBytes {
		c.seal()
	}
}

func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *Client) seal() {
	if c.count == 0 {
		return
	}
	c.sealed++
	sealed := &batch{sequence: c.sealed, chunk: UUID7(), count: c.count, size: len(c.entries)}
	sealed.frame = packFrame(sealed, c.entries, c.options.Backfill)
	c.unacked = append(c.unacked, sealed)
	c.entries, c.count = c.entries[:0], 0
	c.rouse()
}
