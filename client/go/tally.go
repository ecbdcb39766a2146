// Package tally sends usage events to tallyd; README.md shows how. They wait in a queue. The first
// of them go out in a frame that never changes, again and again until it is acked; then the next.
package tally

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What the functions return, to be asked for with errors.Is.
var ErrFull = errors.New("tally: the buffer is full, nothing was taken")
var ErrInvalid = errors.New("tally: larger than 64 KiB, before 1970 or after 2106")
var ErrUnacked = errors.New("tally: not everything is acked")
var ErrClosed = errors.New("tally: the client is closed")

// Event is usage. Empty, ID is a UUIDv7, Value is 1 and Time is now.
type Event struct {
	Subject, Type, ID, Source string
	Value                     any // a number of any type, or decimal text
	Time                      time.Time
	Properties                map[string]string
	entry                     []byte // as it goes over the wire
}

// Client may be used by any goroutine. New has the defaults of its options.
type Client struct {
	Network, Address              string
	BufferEvents, BatchEvents     int           // that wait; that are on the wire, 1000 at most
	AckTimeout                    time.Duration // then it connects again
	RetryMin, RetryMax            time.Duration // the pause after a failure, doubled each time
	SharedKey, Username, Password string        // where the server asks for them
	Dial                          func(ctx context.Context, network, address string) (net.Conn, error)
	// They are told of each event that does not count, and of each connection that fails.
	OnRefusal func(event Event, reason string)
	OnError   func(error)
	// No options: how many events, and then batches sent again, and connections.
	Sent, Acked, Duplicates, Rejected, Conflicts, Resent, Connects atomic.Int64
	// With the mutex an event is put into the queue and counted. The frame is the goroutine's.
	over     context.Context
	stop     context.CancelFunc
	mutex    sync.Mutex
	isClosed bool
	queue    chan *Event
	acked    atomic.Value // a channel that the next ack closes
	inFrame  []*Event     // those that are on the wire
	frame    []byte
	chunk    string        // the name of the frame
	pause    time.Duration // after the next failure
}

// New starts a goroutine that connects and sends. Before that, change sets the client's options.
func New(network, address string, change func(*Client)) *Client {
	c := &Client{Network: network, Address: address, BufferEvents: 100000, BatchEvents: 1000,
		AckTimeout: 30 * time.Second, RetryMin: time.Second / 10, RetryMax: 10 * time.Second,
		Dial: new(net.Dialer).DialContext, OnError: func(error) {}, OnRefusal: func(Event, string) {}}
	change(c)
	c.queue, c.pause = make(chan *Event, c.BufferEvents), c.RetryMin
	c.acked.Store(make(chan struct{}))
	c.over, c.stop = context.WithCancel(context.Background())
	go c.run()
	return c
}

// Send takes the event and returns its id, without waiting. After an error nothing was taken.
func (c *Client) Send(event Event) (id string, err error) {
	event.pack()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case len(event.entry) > 64<<10 || event.Time.Unix()>>32 != 0:
		return "", ErrInvalid
	case c.isClosed:
		return "", ErrClosed
	case len(c.queue) == cap(c.queue):
		return "", ErrFull
	}
	c.queue <- &event
	c.Sent.Add(1)
	return event.ID, nil
}

// Flush waits until all sent before is acked.
func (c *Client) Flush(ctx context.Context) error {
	sent, acked := c.Sent.Load(), c.acked.Load()
	for ; c.Acked.Load() < sent && ctx.Err() == nil && c.over.Err() == nil; acked = c.acked.Load() {
		select {
		case <-acked.(chan struct{}):
		case <-ctx.Done():
		case <-c.over.Done():
		}
	}
	if left := sent - c.Acked.Load(); left > 0 {
		return fmt.Errorf("%w: %d events", ErrUnacked, left)
	}
	return nil
}

// Close flushes, then closes in any case. After ErrUnacked some events are lost.
func (c *Client) Close(ctx context.Context) error {
	c.mutex.Lock()
	c.isClosed = true
	c.mutex.Unlock()
	defer c.stop()
	return c.Flush(ctx)
}

// run connects and sends until Close. The clock shortens pauses: not all clients return at once.
func (c *Client) run() {
	for err := c.serve(); c.over.Err() == nil; err = c.serve() {
		c.OnError(err)
		select {
		case <-time.After(c.pause - c.pause*time.Duration(time.Now().Nanosecond()%1000)/2000):
		case <-c.over.Done():
		}
		if c.pause *= 2; c.pause > c.RetryMax {
			c.pause = c.RetryMax
		}
	}
}

// serve sends over one connection until it fails.
func (c *Client) serve() error {
	soon, enough := context.WithTimeout(c.over, 5*time.Second)
	conn, err := c.Dial(soon, c.Network, c.Address)
	if enough(); err != nil {
		return err
	}
	defer conn.Close()
	in, said := bufio.NewReader(conn), []any(nil)
	if c.SharedKey != "" {
		err = c.greet(conn, in)
	}
	if err == nil {
		c.Connects.Add(1)
	}
	for err == nil && c.fill() {
		conn.SetDeadline(time.Now().Add(c.AckTimeout))
		conn.Write(c.frame) // a failure shows in the answer
		if said, err = receive(in, "ack", c.chunk); err == nil {
			c.settle(said[2:])
		}
	}
	return err
}

// fill makes a frame of the events that wait, and keeps one without an ack. It is false at the end.
func (c *Client) fill() bool {
	if len(c.inFrame) > 0 {
		c.Resent.Add(1)
		return true
	}
	entries := []byte{}
	for count := 0; count == 0 || count < c.BatchEvents && count < 1000 &&
		len(entries) < 256<<10 && len(c.queue) > 0; count++ {
		select {
		case event := <-c.queue:
			c.inFrame, entries = append(c.inFrame, event), append(entries, event.entry...)
		case <-c.over.Done():
			return false
		}
	}
	c.chunk = uuid7()
	c.frame = binary.BigEndian.AppendUint32([]byte("\x93\xa5tally\xc6"), uint32(len(entries)))
	c.frame = append(append(c.frame, entries...), "\x82\xa5tally\x81\xa7results\xc3\xa5chunk"...)
	c.frame = texts(c.frame, c.chunk)
	return true
}

// settle counts what the ack says and tells of the refusals. The frame is done with.
func (c *Client) settle(said []any) {
	for i, list := 0, any(nil); i < len(said); i++ {
		number, isNumber := said[i].(uint64)
		switch {
		case !isNumber:
			list = said[i]
		case list == "duplicates":
			c.Duplicates.Add(int64(number))
		case list == "conflicts" && number < uint64(len(c.inFrame)):
			c.Conflicts.Add(1)
			c.OnRefusal(*c.inFrame[number], "conflict")
		case list == "rejected" && number < uint64(len(c.inFrame)):
			i++ // behind the index is the reason
			c.Rejected.Add(1)
			c.OnRefusal(*c.inFrame[number], fmt.Sprint(said[i]))
		}
	}
	c.Acked.Add(int64(len(c.inFrame)))
	c.inFrame, c.pause = nil, c.RetryMin
	close(c.acked.Swap(make(chan struct{})).(chan struct{}))
}

// greet proves to the server that this end knows the shared key, and wants to see the same.
func (c *Client) greet(conn net.Conn, in io.Reader) error {
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	helo, err := receive(in, "HELO", "nonce") // and the nonce, "auth" and the salt of passwords
	if err != nil {
		return err
	}
	digest := func(parts ...any) string {
		return fmt.Sprintf("%x", sha512.Sum512([]byte(fmt.Sprint(parts...))))
	}
	host, salt, nonce := "go-"+uuid7(), uuid7(), helo[2]
	conn.Write(texts([]byte{0x96}, "PING", host, salt, digest(salt, host, nonce, c.SharedKey),
		c.Username, digest(helo[4], c.Username, c.Password)))
	pong, err := receive(in, "PONG", true) // and no reason, a name, a proof for this salt only
	if err == nil && (pong[3] == host || pong[4] != digest(salt, pong[3], nonce, c.SharedKey)) {
		return errors.New("the server does not know the shared key")
	}
	return err
}

func uuid7() string {
	id := make([]byte, 16)
	binary.BigEndian.PutUint64(id, uint64(time.Now().UnixMilli())<<16)
	if _, err := rand.Read(id[6:]); err != nil {
		panic(err) // ids would not be unique
	}
	id[6], id[8] = 0x70|id[6]&0x0f, 0x80|id[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// pack fills in what is missing and makes the entry: EventTime and record.
func (e *Event) pack() {
	if e.ID == "" {
		e.ID = uuid7()
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Value == nil {
		e.Value = 1
	}
	stamp := uint64(e.Time.Unix()<<32 | int64(e.Time.Nanosecond()))
	e.entry = binary.BigEndian.AppendUint64([]byte{0x92, 0xd7, 0}, stamp)
	e.entry = binary.BigEndian.AppendUint32(append(e.entry, 0xdf), uint32(5+len(e.Properties)))
	e.entry = texts(e.entry, "subject", e.Subject, "type", e.Type, "id", e.ID, "source", e.Source,
		"value", fmt.Sprint(e.Value))
	for name, value := range e.Properties {
		e.entry = texts(e.entry, name, value)
	}
}

// texts appends msgpack.
func texts(out []byte, all ...string) []byte {
	for _, text := range all {
		out = binary.BigEndian.AppendUint32(append(out, 0xdb), uint32(len(text)))
		out = append(out, text...)
	}
	return out
}

// receive reads what the server says, up to 256 KiB, as the flat list of its texts and numbers, and
// nils behind it. What is a list or a map can be told from their order.
func receive(from io.Reader, first, second any) (said []any, err error) {
	in := io.LimitReader(from, 256<<10)
	number := func(size uint64) uint64 {
		var data [8]byte
		_, err = io.ReadFull(in, data[8-size:])
		return binary.BigEndian.Uint64(data[:])
	}
	text := func(size uint64) string {
		data, _ := io.ReadAll(io.LimitReader(in, int64(size))) // cut short, the next read fails
		return string(data)
	}
	for left := uint64(1); left > 0 && err == nil; left-- {
		switch m := number(1); {
		case m < 0x80 || m > 0xdf:
			said = append(said, m)
		case m < 0xa0: // a map has twice as many
			left += (m & 15) << (^m >> 4 & 1)
		case m < 0xc0:
			said = append(said, text(m&31))
		case m < 0xc4:
			said = append(said, m == 0xc3)
		case m < 0xc7 || m > 0xd8 && m < 0xdc:
			said = append(said, text(number(1<<((m-0xc4)%7))))
		case m > 0xc9 && m < 0xd4:
			said = append(said, number(1<<(m&3)))
		case m > 0xdb:
			left += number(2<<(m&1)) << (m >> 1 & 1)
		default:
			err = errors.New("the server's answer is unknown msgpack")
		}
	}
	said = append(said, nil, nil, nil, nil, nil)
	if err == nil && (said[0] != first || said[1] != second) {
		err = fmt.Errorf("the server says %v (HELO asks for a shared key)", said[:3])
	}
	return said, err
}
